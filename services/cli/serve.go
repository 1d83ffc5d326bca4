package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pandodb/pando/services/internal/boot"
	"github.com/pandodb/pando/services/internal/config"
)

func serviceCommands(r Runners, w IO) []*cobra.Command {
	return []*cobra.Command{
		serviceCommand(w, "serve", r.Serve, "Start a peer with everything in one process", `Start a peer: data plane, control plane and health check in one process. Nothing else has to be installed.

The first peer needs no flags. It is a cluster of one: REST on 6333, gRPC on 6334, and an internal port 6335 that only
this machine can reach. To let others join, tell them how to reach this one with --uri; a later start may add it or
change it. Stored data stays in storage.storage_path (./storage).

Others join with --bootstrap, the URI of any peer that is there, or of several. A peer that has joined remembers it: later
starts need no --bootstrap, may have another --uri, and use --bootstrap as a hint where to ask for addresses. Keep it
where addresses change, best with a name that is resolved anew. A peer whose --bootstrap is its own --uri is the first
one. Who cannot join within cluster.consensus.bootstrap_timeout_sec (15), or is refused, ends with exit code 101 and the
reason. One to five peers run a voting member of the control plane, an odd number, chosen by themselves.

A peer that was taken out of the cluster (DELETE /cluster/peer/{id}) goes on serving what it holds and does not come back
by itself. --reinit, given once, lets a peer leave its cluster and keep its id:
  with --bootstrap     it joins anew; what the cluster does not place on it is removed from its disk
  without --bootstrap  it becomes a cluster of one. Collections stay, with the shards that it holds itself; use it for
                       the last peer of a cluster that will not come back, never beside peers that are still running

Settings come from config/config.yaml, config/$RUN_MODE.yaml, config/local.yaml, --config-path, QDRANT__SECTION__KEY,
PANDO__SECTION__KEY and flags; later ones win. pando config print shows the result.`,
			`  # one peer, data in ./storage
  pando serve

  # with a key, and another folder
  PANDO__SERVICE__API_KEY=secret PANDO__STORAGE__STORAGE_PATH=/data pando serve

  # a cluster of three: the first …
  PANDO__CLUSTER__SECRET=s3cret pando serve --uri http://first:6335
  # … and each of the others, on its own machine
  PANDO__CLUSTER__SECRET=s3cret pando serve --bootstrap http://first:6335 --uri http://me:6335`),
		serviceCommand(w, "controlplane", r.ControlPlane, "Start a control-plane member alone", `Start one member of the control plane: it decides where shards live, and holds no data. Run one, three or five, each on
its own machine, and data planes beside them. Most clusters need only pando serve.`,
			`  pando controlplane --uri http://cp-1:6335
  pando controlplane --uri http://cp-2:6335 --bootstrap http://cp-1:6335`),
		serviceCommand(w, "dataplane", r.DataPlane, "Start a data peer alone", `Start a peer that stores and searches, and takes its placement from control-plane members that run elsewhere. It can
restart and serve from the last placement it saw while none of them is up.`,
			`  pando dataplane --uri http://peer-1:6335 --bootstrap http://cp-1:6335`),
		serviceCommand(w, "healthcheck", r.HealthCheck, "Start a health observer alone", `Start an observer: it probes peers and replicas and reports what it concludes to the control plane. Every pando serve
is one already; more of them, in other places of the network, make verdicts better founded.`,
			`  pando healthcheck --uri http://watch-1:6335 --bootstrap http://cp-1:6335`),
	}
}

func serviceCommand(w IO, use string, run Runner, short, long, example string) *cobra.Command {
	if run == nil {
		short, long = short+" (not built yet)", "Not built yet: pando serve runs all three services in one process.\n\n"+long
	}
	c := &cobra.Command{Use: use, Short: short, Long: long, Example: example}
	load := configFlags(c, w)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if run == nil {
			return fmt.Errorf("%s is not built yet: pando serve runs all three services in one process", c.CommandPath())
		}
		loaded, err := load()
		if err != nil {
			return err
		}
		code := boot.Main(boot.Options{Name: "pando", Level: loaded.Level(), JSON: loaded.Logger.Format == "json", Log: w.Err, Env: w.Env},
			func(ctx context.Context, p *boot.Process) error {
				for _, warning := range loaded.Warnings {
					p.Log.Warn("configuration", "warning", warning)
				}
				return run(ctx, p, loaded)
			})
		if code != boot.ExitOK {
			return silentExit(code)
		}
		return nil
	}
	return c
}

// configFlags adds the flags that are settings, and returns what loads them together with files and environment.
func configFlags(c *cobra.Command, w IO) func() (*config.Loaded, error) {
	f := c.Flags()
	path := f.String("config-path", "", "read this file as well (YAML, TOML or JSON)")
	uri := f.String("uri", "", "address under which others reach this process, http://host:6335 (cluster.uri)")
	bootstrap := f.StringArray("bootstrap", nil, "URI of a peer of the cluster to join, http://host:6335; may be repeated (cluster.bootstrap)")
	insecure := f.Bool("insecure-internal", false, "let others reach the internal port without a shared secret (cluster.insecure_internal)")
	// Qdrant's flags: two that ask for what is the case anyway, and those that would restore data.
	f.Bool("disable-telemetry", false, "accepted; Pando reports to nobody")
	f.Bool("stacktrace", false, "accepted; panics are always logged with their stack")
	f.StringArray("snapshot", nil, "not built yet")
	f.StringArray("collection-snapshot", nil, "not built yet")
	f.String("storage-snapshot", "", "not built yet")
	f.BoolP("force-snapshot", "f", false, "not built yet")
	reinit := f.Bool("reinit", false, "once: leave the cluster and, with --bootstrap, join anew, or become a cluster of one; keeps the peer id")
	hidden := strings.Fields("disable-telemetry stacktrace snapshot collection-snapshot storage-snapshot force-snapshot")
	for _, name := range hidden {
		f.Lookup(name).Hidden = true
	}
	return func() (*config.Loaded, error) {
		for _, name := range hidden[2:] {
			if f.Changed(name) {
				return nil, boot.Exit(boot.ExitUsage, fmt.Errorf("--%s is not built yet; refusing to start without doing what it asks for", name))
			}
		}
		values, names := map[string]any{}, map[string]string{}
		set := func(key, flag string, value any) {
			if f.Changed(flag) {
				values[key], names[key] = value, "--"+flag
			}
		}
		set("cluster.uri", "uri", *uri)
		set("cluster.bootstrap", "bootstrap", *bootstrap)
		set("cluster.insecure_internal", "insecure-internal", *insecure)
		l, err := config.Load(config.Sources{FS: os.DirFS("."), Env: w.Env, ConfigPath: *path, ReadFile: os.ReadFile, Flags: values, FlagNames: names})
		if err != nil {
			return nil, boot.Exit(boot.ExitUsage, fmt.Errorf("the settings are wrong:\n  %s", strings.ReplaceAll(err.Error(), "\n", "\n  ")))
		}
		l.Reinit = *reinit
		return l, nil
	}
}

func configCommand(w IO) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Look at the settings"}
	show := &cobra.Command{
		Use:   "print",
		Short: "Print the settings that serve would use, and where each comes from",
		Long: `Print all settings as YAML, each with the place it comes from: a file, a variable of the environment, a flag or the
default. Keys are hidden. Warnings go to standard error; wrong settings end with exit code 2 and say all that is wrong.`,
		Example: `  pando config print
  QDRANT__SERVICE__HTTP_PORT=7333 pando config print --config-path my.yaml | grep http_port`,
	}
	load := configFlags(show, w)
	show.RunE = func(c *cobra.Command, _ []string) error {
		l, err := load()
		if err != nil {
			return err
		}
		for _, warning := range l.Warnings {
			fmt.Fprintf(c.ErrOrStderr(), "warning: %s\n", warning)
		}
		return l.Print(c.OutOrStdout())
	}
	c.AddCommand(show)
	return c
}
