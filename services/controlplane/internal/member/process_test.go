package member_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/pandodb/pando/services/controlplane/internal/member"
)

// A member owns the working directory and the environment of its process, so each one under test is this binary, started
// again. It obeys one command a line on its standard input and answers one line each.
const childEnv = "PANDO_TEST_MEMBER"

type childConfig struct {
	Dir, ID, Addr string
	Members       []string
	Join          bool
	Book          map[string]string // addresses by process
	NoFsync       bool
}

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		if err := runChild(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runChild(spec string) error {
	var cc childConfig
	if err := json.Unmarshal([]byte(spec), &cc); err != nil {
		return err
	}
	l, err := net.Listen("tcp", cc.Addr)
	if err != nil {
		return err
	}
	var known addresses
	known.learn(cc.Book)
	m, err := member.New(member.Config{
		Dir: cc.Dir, ID: cc.ID, Members: cc.Members, Join: cc.Join, UnsafeNoFsync: cc.NoFsync, Dial: known.dial,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	srv := &http.Server{Handler: m.Handler()}
	go func() { _ = srv.Serve(l) }()
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			fmt.Println(obey(ctx, m, &known, strings.Fields(in.Text())))
		}
		stop()
	}()
	return <-done
}

// addresses stand in for the address book.
type addresses struct {
	mu sync.Mutex
	of map[string]string
}

func (a *addresses) learn(news map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = map[string]string{}
	}
	maps.Copy(a.of, news)
}

func (a *addresses) dial(ctx context.Context, process string) (net.Conn, error) {
	a.mu.Lock()
	addr := a.of[process]
	a.mu.Unlock()
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func obey(ctx context.Context, m *member.Member, known *addresses, words []string) string {
	if words[0] == "learn" {
		known.learn(map[string]string{words[1]: words[2]})
		return "learned"
	}
	<-m.Ready()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	switch words[0] {
	case "ready":
		return fmt.Sprint("ready ", m.ClusterID())
	case "fill": // puts without end; each acknowledged one is announced
		for i := 0; ; i++ {
			if _, err := m.Client().Put(context.Background(), fmt.Sprintf("fill/%08d", i), "x"); err != nil {
				return err.Error()
			}
			fmt.Println(i)
		}
	case "burst": // that many puts, many at once
		n, err := strconv.Atoi(words[1])
		if err != nil {
			return err.Error()
		}
		var group errgroup.Group
		group.SetLimit(64)
		for i := range n {
			group.Go(func() error {
				_, err := m.Client().Put(ctx, fmt.Sprint("burst/", i%8), words[1])
				return err
			})
		}
		return fmt.Sprint(group.Wait())
	case "put":
		var err error
		for ctx.Err() == nil {
			try, end := context.WithTimeout(ctx, 700*time.Millisecond)
			_, err = m.Client().Put(try, words[1], words[2])
			end()
			if err == nil {
				return "ok"
			}
		}
		return err.Error()
	case "get":
		resp, err := m.Client().Get(ctx, words[1])
		if err != nil || len(resp.Kvs) == 0 {
			return fmt.Sprint("none ", err)
		}
		return string(resp.Kvs[0].Value)
	case "count":
		resp, err := m.Client().Get(ctx, words[1], clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(resp.Count)
	case "leader":
		for {
			office, changed := m.Leader()
			if office.Leader != 0 {
				return fmt.Sprint(office.Mine)
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return "no leader"
			}
		}
	case "defragment":
		return fmt.Sprint(m.Defragment())
	}
	return change(ctx, m, words)
}

// change is obey for what concerns the members.
func change(ctx context.Context, m *member.Member, words []string) string {
	list, err := m.List(ctx)
	if err != nil {
		return err.Error()
	}
	id := uint64(0)
	for _, i := range list {
		if len(words) > 1 && i.Process == words[1] {
			id = i.ID
		}
	}
	switch words[0] {
	case "members":
		var out []string
		for _, i := range list {
			out = append(out, fmt.Sprint(i.Process, " ", i.Learner))
		}
		slices.Sort(out)
		return strings.Join(out, ", ")
	case "add":
		for {
			_, err := m.AddLearner(ctx, words[1])
			if err == nil || ctx.Err() != nil {
				return fmt.Sprint(err)
			}
			<-time.After(100 * time.Millisecond) // etcd makes ids from seconds, and takes no removed one back
		}
	case "promote":
		for {
			if err := m.Promote(ctx, id); !errors.Is(err, member.ErrNotReady) {
				return fmt.Sprint(err)
			}
		}
	case "remove":
		return fmt.Sprint(m.Remove(ctx, id))
	case "move":
		for {
			if err := m.MoveLeader(ctx, id); err == nil || ctx.Err() != nil { // it may not know of its vote yet
				return fmt.Sprint(err)
			}
		}
	}
	return "unknown command"
}

// child is a running member process.
type child struct {
	*testing.T
	cmd *exec.Cmd
	in  interface{ Write([]byte) (int, error) }
	out *bufio.Scanner
	log *bytes.Buffer // complete once it was waited for
}

func start(t *testing.T, cc childConfig) *child {
	t.Helper()
	spec, err := json.Marshal(cc)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(spec), "HTTP_PROXY=http://10.255.255.1:3128")
	log := &bytes.Buffer{}
	cmd.Stderr = io.MultiWriter(t.Output(), log)
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
	c := &child{T: t, cmd: cmd, in: in, out: bufio.NewScanner(out), log: log}
	t.Cleanup(func() { c.kill() })
	return c
}

// kill is SIGKILL, then waits for the end.
func (c *child) kill() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
}

func (c *child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return c.cmd.Wait()
}

func (c *child) line() string {
	c.Helper()
	if !c.out.Scan() {
		c.Fatalf("the member ended: %v", c.out.Err())
	}
	return c.out.Text()
}

func (c *child) tell(format string, args ...any) {
	c.Helper()
	if _, err := fmt.Fprintf(c.in, format+"\n", args...); err != nil {
		c.Fatal(err)
	}
}

func (c *child) ask(format string, args ...any) string {
	c.Helper()
	c.tell(format, args...)
	return c.line()
}

func (c *child) want(want, format string, args ...any) {
	c.Helper()
	if got := c.ask(format, args...); got != want {
		c.Fatalf("%s: got %q, want %q", fmt.Sprintf(format, args...), got, want)
	}
}

// TestKillLosesNothing: with fsync on, whatever was acknowledged before SIGKILL is there afterwards.
func TestKillLosesNothing(t *testing.T) {
	cc := childConfig{Dir: t.TempDir(), Addr: "127.0.0.1:0"}
	acknowledged := -1
	var cluster string
	for round, puts := range []int{150, 1, 400} {
		c := start(t, cc)
		if id := c.ask("ready"); cluster != "" && id != cluster {
			t.Fatalf("round %d: cluster %s became %s", round, cluster, id)
		} else {
			cluster = id
		}
		c.tell("fill")
		for range puts {
			var n int
			if _, err := fmt.Sscan(c.line(), &n); err != nil {
				t.Fatal(err)
			}
			acknowledged = max(acknowledged, n)
		}
		c.kill()
		c = start(t, cc)
		var count int
		if _, err := fmt.Sscan(c.ask("count fill/"), &count); err != nil {
			t.Fatal(err)
		}
		if count < acknowledged+1 {
			t.Fatalf("round %d: %d keys are left of %d acknowledged ones", round, count, acknowledged+1)
		}
		c.want("<nil>", "defragment")
		if err := c.stop(); err != nil {
			t.Fatalf("graceful end: %v", err)
		}
	}
}

// TestStartAfterManyChanges: a start is as quiet after 5,000 changes as before.
func TestStartAfterManyChanges(t *testing.T) {
	cc := childConfig{Dir: t.TempDir(), Addr: "127.0.0.1:0", NoFsync: true}
	for _, changes := range []int{4990, 20} {
		c := start(t, cc)
		c.want("<nil>", "burst %d", changes)
		c.kill()
		c = start(t, cc)
		c.ask("ready")
		if err := c.stop(); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(c.log.String(), "too many requests"); n > 0 {
			t.Fatalf("the start after %d changes more says %d times that it is behind", changes, n)
		}
	}
}

// TestThreeMembers: three processes with one listener each form a cluster by stable names, survive the leader's kill,
// and find it again at another address.
func TestThreeMembers(t *testing.T) {
	ids := []string{"m0", "m1", "m2"}
	configs := map[string]childConfig{}
	known := map[string]string{}
	for _, id := range ids {
		addr := freeAddr(t)
		// A folder deeper than a socket path may be long.
		dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 30), id)
		configs[id] = childConfig{Dir: dir, ID: id, Addr: addr, Members: ids, NoFsync: true}
		known[id] = addr
	}
	running := map[string]*child{}
	for _, id := range ids {
		cc := configs[id]
		cc.Book = known
		running[id] = start(t, cc)
	}
	leader := ""
	for _, id := range ids {
		if running[id].ask("leader") == "true" {
			leader = id
		}
	}
	if leader == "" {
		t.Fatal("no member says that it leads")
	}
	for i, id := range ids {
		running[id].want("ok", "put from/%s %d", id, i)
	}
	running[leader].kill()
	for _, id := range ids {
		if id != leader {
			running[id].want("ok", "put after/%s 1", id)
			running[id].want("0", "get from/m0")
		}
	}

	moved := configs[leader]
	moved.Addr, moved.Book = freeAddr(t), known
	back := start(t, moved)
	for _, id := range ids {
		if id != leader {
			running[id].want("learned", "learn %s %s", leader, moved.Addr)
		}
	}
	for _, id := range ids {
		if id != leader {
			back.want("1", "get after/%s", id)
		}
	}
	back.want("ok", "put back 1")
}

// TestLearner: a process joins as a learner, gets its vote and the leadership, is removed, which it notices, and joins again
// from an empty folder under the same name.
func TestLearner(t *testing.T) {
	at := map[string]string{"a": freeAddr(t), "b": freeAddr(t)}
	first := start(t, childConfig{Dir: t.TempDir(), ID: "a", Addr: at["a"], Book: at, NoFsync: true})
	first.want("ok", "put k 1")
	dir := t.TempDir()
	for range 2 {
		first.want("<nil>", "add b")
		second := start(t, childConfig{Dir: dir, ID: "b", Addr: at["b"], Members: []string{"a", "b"}, Join: true, Book: at, NoFsync: true})
		second.want("1", "get k")
		second.want("a false, b true", "members")
		first.want("<nil>", "promote b")
		first.want("<nil>", "move b")
		first.want("false", "leader")
		second.want("ok", "put k 1")
		second.want("<nil>", "move a")
		first.want("true", "leader")
		first.want("<nil>", "remove b")
		first.want("<nil>", "remove b") // it is not there any more
		if err := second.cmd.Wait(); err == nil {
			t.Fatal("the removed member ended without saying why")
		}
		first.want("a false", "members")
		if err := member.Empty(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestFolderRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		file, id string
		is       error
	}{
		"newer format": {`{"format":2,"id":"a"}`, "", member.ErrFolderVersion},
		"another id":   {`{"format":1,"id":"a"}`, "b", nil},
		"damaged":      {`{"format":`, "", nil},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "member.json"), []byte(tc.file), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := member.New(member.Config{Dir: dir, ID: tc.id})
		if err == nil || (tc.is != nil && !errors.Is(err, tc.is)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestFolderInUse: a second process is told, and the first goes on.
func TestFolderInUse(t *testing.T) {
	cc := childConfig{Dir: t.TempDir(), Addr: "127.0.0.1:0", NoFsync: true}
	first := start(t, cc)
	first.ask("ready")
	second := start(t, cc)
	if err := second.cmd.Wait(); err == nil {
		t.Error("the second process ran")
	}
	first.want("ok", "put k v")
}

func TestHandlerBeforeRun(t *testing.T) {
	m, err := member.New(member.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w := &statusWriter{}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/raft", nil)
	if err != nil {
		t.Fatal(err)
	}
	m.Handler().ServeHTTP(w, req)
	if w.status != http.StatusServiceUnavailable {
		t.Fatalf("status %d", w.status)
	}
}

type statusWriter struct{ status int }

func (w *statusWriter) Header() http.Header         { return http.Header{} }
func (w *statusWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *statusWriter) WriteHeader(status int)      { w.status = status }
