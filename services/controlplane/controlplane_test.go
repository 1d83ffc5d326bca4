package controlplane_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/links"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/vfs"
)

// childEnv makes this binary a control plane with real etcd in the named folder, and a client of it that obeys one command a line.
const childEnv = "PANDO_TEST_CONTROLPLANE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// client speaks to a control plane in the same process.
type client struct {
	session   placementv1.SessionClient
	catalog   placementv1.CatalogClient
	decisions placementv1.DecisionsClient
}

func serve(s *controlplane.Service, log *slog.Logger) (*client, *rpc.Local, error) {
	local, err := rpc.NewLocal(rpc.Options{Logger: log})
	if err != nil {
		return nil, nil, err
	}
	s.Register(local)
	c := &client{session: placementv1.NewSessionClient(local), catalog: placementv1.NewCatalogClient(local)}
	c.decisions = placementv1.NewDecisionsClient(local)
	return c, local, nil
}

func child(dir string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	start := time.Now()
	identity := rpc.NewCluster("", rpc.CallRules{})
	identity.SetID("c1")
	known, err := links.New(links.Config{Self: "7", Peer: 7, Addr: "127.0.0.1:6335", FS: vfs.OS(), File: dir + ".book", Dial: rpc.DialOptions{Cluster: identity}, Log: log})
	if err != nil {
		return err
	}
	local, err := rpc.NewLocal(rpc.Options{Logger: log})
	if err != nil {
		return err
	}
	s, err := controlplane.New(controlplane.Config{Dir: dir, ID: "7", Peer: 7, Found: true}, controlplane.Deps{
		Links: known, Control: local, Usable: func(bool) {}, ClusterID: identity.ID, Removed: func() {}, Log: log,
	})
	if err != nil {
		return err
	}
	s.Register(local)
	c := &client{session: placementv1.NewSessionClient(local), catalog: placementv1.NewCatalogClient(local)}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	go func() {
		<-s.Ready()
		fmt.Println("ready", identity.ID(), time.Since(start).Milliseconds())
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			c.obey(ctx, strings.Fields(in.Text()))
		}
		stop()
	}()
	return <-done
}

func (c *client) obey(ctx context.Context, words []string) {
	switch words[0] {
	case "register":
		resp, err := c.register(ctx)
		fmt.Println(resp.GetClusterId(), err)
	case "create": // collections without end; each acknowledged one is announced
		for i := 0; ; i++ {
			name := fmt.Sprintf("%s%d", words[1], i)
			resp, err := c.catalog.CreateCollection(ctx, create(name))
			fmt.Println(name, resp.GetCollectionId(), err)
		}
	case "list":
		names, err := c.snapshot(ctx)
		fmt.Println(strings.Join(names, " "), err)
	case "status":
		resp, err := c.catalog.Status(ctx, &placementv1.StatusRequest{})
		fmt.Println(resp.GetLeader(), len(resp.GetMembers()), resp.GetMembers()[0].GetPeerId(), resp.GetTerm() > 0, err)
	}
}

func (c *client) register(ctx context.Context) (*placementv1.RegisterResponse, error) {
	return c.session.Register(ctx, &placementv1.RegisterRequest{
		Peer:      &placementv1.Peer{PeerId: 7, Uri: "http://h:6335", Wire: &placementv1.WireRange{Min: 1, Max: 1}},
		Inventory: &placementv1.Inventory{Full: true}, ProcessId: fmt.Sprint(os.Getpid()),
	})
}

// create asks for a collection whose shards live nowhere: with custom sharding there are none at the start.
func create(name string) *placementv1.CreateCollectionRequest {
	return &placementv1.CreateCollectionRequest{Name: name, Config: &qdrant.CollectionConfig{
		Params: &qdrant.CollectionParams{ShardingMethod: qdrant.ShardingMethod_Custom.Enum()},
	}}
}

// snapshot names what a fresh watch shows.
func (c *client) snapshot(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stream, err := c.session.WatchPlacement(ctx, &placementv1.WatchPlacementRequest{PeerId: 7})
	if err != nil {
		return nil, err
	}
	var names []string
	for {
		msg, err := stream.Recv()
		if err != nil {
			return names, err
		}
		for _, r := range msg.GetSnapshot().GetRecords() {
			if col := r.GetCollection(); col != nil {
				names = append(names, fmt.Sprintf("%s=%d", col.GetName(), col.GetCollectionId()))
			}
		}
		if msg.GetSnapshot().GetLast() {
			return names, nil
		}
	}
}

// process is a running child.
type process struct {
	*testing.T
	cmd *exec.Cmd
	in  interface{ Write([]byte) (int, error) }
	out *bufio.Scanner
}

func start(t *testing.T, dir string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), childEnv+"="+dir), t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{T: t, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func (p *process) line() string {
	p.Helper()
	if !p.out.Scan() {
		p.Fatalf("the process ended: %v", p.out.Err())
	}
	return p.out.Text()
}

func (p *process) ask(command string) string {
	p.Helper()
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		p.Fatal(err)
	}
	return p.line()
}

// TestKillKeepsTheCatalog: kill -9 in the middle of creations; every acknowledged collection is there under its id, the cluster
// is the same one, and the next session opens.
func TestKillKeepsTheCatalog(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	cluster := ""
	for round := range 3 {
		p := start(t, dir)
		var id string
		var ms int
		if _, err := fmt.Sscanf(p.line(), "ready %s %d", &id, &ms); err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: ready after %d ms", round, ms)
		if cluster != "" && id != cluster {
			t.Fatalf("cluster %s became %s", cluster, id)
		}
		cluster = id
		if got := p.ask("register"); got != cluster+" <nil>" {
			t.Fatalf("register: %s", got)
		}
		if got := p.ask("status"); got != "7 1 7 true <nil>" {
			t.Fatalf("status: %s", got)
		}
		listed := map[string]bool{}
		for _, name := range strings.Fields(p.ask("list")) {
			listed[name] = true
		}
		for name := range acknowledged {
			if !listed[name] {
				t.Errorf("%s was acknowledged and is gone", name)
			}
		}
		for got := p.ask(fmt.Sprintf("create r%d-", round)); ; got = p.line() {
			var name, id, none string
			if _, err := fmt.Sscan(got, &name, &id, &none); err != nil || none != "<nil>" {
				t.Fatalf("create: %q", got)
			}
			if acknowledged[name+"="+id] = true; len(acknowledged)%40 == 0 {
				break
			}
		}
		p.kill()
	}
}

// together are three control planes of one process on one Memory, that of process 100 first.
type together struct {
	memory  *controlplane.Memory
	clients []*client
	stops   []context.CancelFunc
	done    chan error
	locals  []*rpc.Local
}

func startTogether(t *testing.T) *together {
	t.Helper()
	g := &together{memory: controlplane.NewMemory(), done: make(chan error, 3)}
	log := slog.New(slog.DiscardHandler)
	for i := range 3 {
		s, err := controlplane.New(controlplane.Config{ID: fmt.Sprint(100 + i)}, controlplane.Deps{Memory: g.memory, Log: log,
			Dial: func(process string) (grpc.ClientConnInterface, error) {
				var n int
				if _, err := fmt.Sscan(process, &n); err != nil || n < 100 || n-100 >= len(g.locals) {
					return nil, fmt.Errorf("no process %q", process)
				}
				return g.locals[n-100], nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		c, local, err := serve(s, log)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		go func() { g.done <- s.Run(ctx) }()
		<-s.Ready()
		g.clients, g.stops, g.locals = append(g.clients, c), append(g.stops, stop), append(g.locals, local)
	}
	return g
}

// stop ends one of them.
func (g *together) stop(t *testing.T, i int) {
	t.Helper()
	g.stops[i]()
	if err := <-g.done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	synctest.Wait()
}

func (g *together) close(t *testing.T) {
	for _, l := range g.locals {
		l.Close(t.Context())
	}
}

// TestMemory: several control planes of one process on one Memory; any of them answers, reports reach the one that leads, and the loop
// moves on with its leader.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startTogether(t)
		defer g.close(t)
		clients := g.clients
		if _, err := clients[0].register(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		revisions := map[uint64]bool{}
		for i, c := range clients {
			req := create(fmt.Sprintf("c%d", i))
			req.Config.Params.ShardingMethod = nil
			resp, err := c.catalog.CreateCollection(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if !resp.GetSettling() {
				t.Error("settled although nobody makes replicas")
			}
			names, err := clients[2].snapshot(t.Context())
			if err != nil || len(names) != i+1 {
				t.Errorf("after %d creations: %v, %v", i+1, names, err)
			}
			report, err := clients[2].decisions.Report(t.Context(), &placementv1.ReportRequest{Observer: 7, OwnPeerId: 7})
			if err != nil || fmt.Sprint(report.GetSubjects()) != "[7]" {
				t.Errorf("a report to the third member while member %d leads: %v, %v", i, report, err)
			}
			if revisions[report.GetAssignmentRevision()] {
				t.Error("two leaders gave the same assignment")
			}
			revisions[report.GetAssignmentRevision()] = true
			if i < 2 { // the leader goes
				g.stop(t, i)
			}
		}
		st, err := clients[2].catalog.Status(t.Context(), &placementv1.StatusRequest{})
		if err != nil || len(st.GetMembers()) != 1 || st.GetTerm() < 3 {
			t.Errorf("status %v, %v", st, err)
		}
		g.memory.SetDown(true)
		_, err = clients[2].catalog.CreateCollection(t.Context(), create("d"))
		if f := fault.FromStatus(status.Convert(err)); f == nil || f.Code != codes.Unavailable || f.Reason != fault.NoLeader {
			t.Errorf("without a store: %v", err)
		}
		g.stop(t, 2)
	})
}

// TestMemoryCutOff: a leader that is cut off loses its office, not at once, and another one takes it; it writes nothing and hears
// of nothing until it is back, and then of all.
func TestMemoryCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startTogether(t)
		defer g.close(t)
		if _, err := g.clients[1].register(t.Context()); err != nil {
			t.Fatal(err)
		}
		term := func(i int) uint64 {
			st, err := g.clients[i].catalog.Status(t.Context(), &placementv1.StatusRequest{})
			if err != nil {
				t.Fatal(err)
			}
			return st.GetTerm()
		}
		synctest.Wait()
		before := term(1)
		g.memory.SetCutOff("100", true)
		if synctest.Wait(); term(1) != before {
			t.Error("another leader without an election")
		}
		<-time.After(2 * time.Second)
		if term(1) != before+1 {
			t.Errorf("term %d after the cut, %d before", term(1), before)
		}
		report, err := g.clients[2].decisions.Report(t.Context(), &placementv1.ReportRequest{Observer: 7, OwnPeerId: 7})
		if err != nil || report.GetAssignmentRevision() == 0 {
			t.Errorf("a report to the new leader: %v, %v", report, err)
		}
		_, err = g.clients[0].catalog.CreateCollection(t.Context(), create("lost"))
		if f := fault.FromStatus(status.Convert(err)); f == nil || f.Reason != fault.NoLeader {
			t.Errorf("a change at the one that is cut off: %v", err)
		}
		if _, err := g.clients[1].catalog.CreateCollection(t.Context(), create("c")); err != nil {
			t.Error(err)
		}
		g.memory.SetCutOff("100", false)
		synctest.Wait()
		names, err := g.clients[0].snapshot(t.Context())
		if err != nil || len(names) != 1 || !strings.HasPrefix(names[0], "c=") {
			t.Errorf("back: %v, %v", names, err)
		}
		for i := range 3 {
			g.stop(t, i)
		}
	})
}
