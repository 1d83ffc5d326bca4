// Package cli is the command line: what can be typed, how it is explained, and how answers are shown. It starts
// services only through the Runners that main passes in, and talks to running ones by gRPC like any client.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pandodb/pando/services/internal/boot"
	"github.com/pandodb/pando/services/internal/config"
)

// Runner does the work of one service until ctx ends. It registers what must be released with p.Defer.
type Runner func(ctx context.Context, p *boot.Process, c *config.Loaded) error

// Runners are the services that this binary can start; a nil one is named as missing when it is asked for.
type Runners struct {
	Serve, ControlPlane, DataPlane, HealthCheck Runner
}

// IO is the world of a command, so that a test has one of its own.
type IO struct {
	Args     []string
	Env      []string
	Out, Err io.Writer
}

// Main runs one command and returns the exit code (see package boot).
func Main(ctx context.Context, r Runners, w IO) int {
	root := newRoot(r, w)
	root.SetArgs(w.Args)
	root.SetOut(w.Out)
	root.SetErr(w.Err)
	err := root.ExecuteContext(ctx)
	if exit, ok := errors.AsType[silentExit](err); ok {
		return int(exit)
	}
	if err != nil {
		fmt.Fprintf(w.Err, "pando: %v\n", err)
	}
	return boot.Code(err)
}

// silentExit ends with a code where everything has been said already.
type silentExit int

func (e silentExit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func newRoot(r Runners, w IO) *cobra.Command {
	root := &cobra.Command{
		SuggestionsMinimumDistance: 2,

		Use:   "pando",
		Short: "A replicated vector database whose cluster heals itself",
		Long: `Pando is a replicated vector database. It speaks the gRPC and REST API of Qdrant 1.19, so clients of that work unchanged.

Start one peer, with data in ./storage, then look at it:

  pando serve
  curl localhost:6333/collections
  pando cluster status

Every command explains itself: pando <command> --help. Exit codes: 0 fine, 1 failed, 2 wrong usage or settings,
3 a port is taken, 4 the data folder cannot be used, 5 stored data is damaged, 101 the cluster refused this process
or could not be joined.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return boot.Exit(boot.ExitUsage, fmt.Errorf("%w; see %s --help", err, c.CommandPath()))
	})
	root.AddCommand(serviceCommands(r, w)...)
	root.AddCommand(versionCommand(), configCommand(w), clusterCommand(w), importCommand(w))
	for _, c := range allCommands(root) {
		if c.Args == nil {
			c.Args = cobra.NoArgs
		}
		if c.RunE == nil { // a group: alone it explains itself
			c.Args, c.RunE = knownCommand, func(c *cobra.Command, _ []string) error { return c.Help() }
		}
		args := c.Args
		c.Args = func(c *cobra.Command, a []string) error {
			if err := args(c, a); err != nil {
				return boot.Exit(boot.ExitUsage, fmt.Errorf("%w; see %s --help", err, c.CommandPath()))
			}
			return nil
		}
	}
	return root
}

// knownCommand refuses what is left of a command line after the commands that exist.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if s := c.SuggestionsFor(args[0]); len(s) > 0 {
		hint = fmt.Sprintf(" (did you mean %s?)", strings.Join(s, " or "))
	}
	return fmt.Errorf("there is no command %q%s", args[0], hint)
}

func allCommands(c *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		out = append(out, allCommands(sub)...)
	}
	return out
}
