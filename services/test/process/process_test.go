// Package process runs the real binary as a child process: how it starts, what
// it says when it cannot, and what is left after kill -9. It holds tests only.
package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "pando-process-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "pando")
	build := exec.Command("go", "build", "-o", binary, "github.com/pandodb/pando/services/cmd/pando")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	code := 1
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// child is a running pando.
type child struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *output
	rest string
	done chan struct{}
	err  error
}

// output collects what a process prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// ports finds three free ones.
func ports(t *testing.T) [3]int {
	t.Helper()
	var out [3]int
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out[i] = l.Addr().(*net.TCPAddr).Port
	}
	return out
}

func start(t *testing.T, dir string, p [3]int, env ...string) *child {
	t.Helper()
	c := &child{t: t, out: &output{}, done: make(chan struct{}), rest: fmt.Sprintf("http://127.0.0.1:%d", p[0])}
	c.cmd = exec.Command(binary, "serve")
	c.cmd.Dir = t.TempDir()
	c.cmd.Env = append(append(os.Environ(), "PANDO__SERVICE__HOST=127.0.0.1", "PANDO__STORAGE__STORAGE_PATH="+dir,
		fmt.Sprintf("PANDO__SERVICE__HTTP_PORT=%d", p[0]), fmt.Sprintf("PANDO__SERVICE__GRPC_PORT=%d", p[1]),
		fmt.Sprintf("PANDO__CLUSTER__P2P__PORT=%d", p[2])), env...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // it may have ended
		<-c.done
	})
	return c
}

// ready waits until the process says that all shards are ready.
func (c *child) ready() {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(60 * time.Second); ; {
		if r, err := http.Get(c.rest + "/readyz"); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-c.done:
			c.t.Fatalf("ended: %v\n%s", c.err, c.out)
		case <-deadline:
			c.t.Fatalf("not ready in time\n%s", c.out)
		}
	}
}

// exit waits for the end and gives the code.
func (c *child) exit() int {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(60 * time.Second):
		c.t.Fatalf("still running\n%s", c.out)
	}
	var e *exec.ExitError
	if errors.As(c.err, &e) {
		return e.ExitCode()
	}
	if c.err != nil {
		c.t.Fatal(c.err)
	}
	return 0
}

func (c *child) call(ctx context.Context, method, path, body string) (int, map[string]any, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.rest+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(bufio.NewReader(resp.Body))
	if err != nil {
		return 0, nil, err
	}
	out := map[string]any{}
	return resp.StatusCode, out, json.Unmarshal(b, &out)
}

func (c *child) ok(method, path, body string) any {
	c.t.Helper()
	code, out, err := c.call(c.t.Context(), method, path, body)
	if err != nil || code != http.StatusOK {
		c.t.Fatalf("%s %s: %d %v %v", method, path, code, out, err)
	}
	return out["result"]
}

func TestWhatKeepsItFromStarting(t *testing.T) {
	dir := t.TempDir()
	p := ports(t)
	first := start(t, dir, p)
	first.ready()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "peer.json"), []byte(`{"format":99,"peer_id":7}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		dir  string
		port [3]int
		env  []string
		code int
		text []string
	}{
		{"port taken", t.TempDir(), p, nil, 3, []string{"service.http_port", "another process has this port"}},
		{"folder in use", dir, ports(t), nil, 4, []string{"storage.storage_path", dir, "in use by another process"}},
		{"folder not writable", filepath.Join(dir, "file", "data"), ports(t), nil, 4, []string{"storage.storage_path", "not writable"}},
		{"folder of another version", other, ports(t), nil, 4, []string{"format 99", other}},
		{"TLS, not built", t.TempDir(), ports(t), []string{"PANDO__SERVICE__ENABLE_TLS=true"}, 2, []string{"service.enable_tls"}},
		{"JWT, not built", t.TempDir(), ports(t), []string{"QDRANT__SERVICE__JWT_RBAC=true"}, 2, []string{"service.jwt_rbac"}},
		{"unknown key", t.TempDir(), ports(t), []string{"PANDO__SERVICE__HTP_PORT=1"}, 2, []string{"service.htp_port", "http_port"}},
		{"join, not built", t.TempDir(), ports(t), []string{"QDRANT_BOOTSTRAP=http://127.0.0.1:1"}, 2, []string{"cluster.bootstrap"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ch := start(t, c.dir, c.port, c.env...)
			if code := ch.exit(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, text := range c.text {
				if !strings.Contains(ch.out.String(), text) {
					t.Errorf("does not say %q:\n%s", text, ch.out)
				}
			}
		})
	}
	first.ok("GET", "/collections", "")
}

func TestStopsInOrder(t *testing.T) {
	c := start(t, t.TempDir(), ports(t))
	c.ready()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := c.exit(); code != 0 {
		t.Errorf("exit code %d\n%s", code, c.out)
	}
}

func TestKeysAreEnforced(t *testing.T) {
	c := start(t, t.TempDir(), ports(t), "QDRANT__SERVICE__API_KEY=rw", "QDRANT__SERVICE__READ_ONLY_API_KEY=ro")
	c.ready()
	for _, x := range []struct {
		method, path, key string
		want              int
	}{
		{"GET", "/", "", 200}, {"GET", "/healthz", "", 200}, {"GET", "/collections", "", 401}, {"GET", "/collections", "bad", 401},
		{"GET", "/collections", "ro", 200}, {"PUT", "/collections/a", "ro", 403}, {"PUT", "/collections/a", "rw", 200},
		{"GET", "/metrics", "", 401}, {"GET", "/metrics", "ro", 200},
	} {
		r, err := http.NewRequestWithContext(t.Context(), x.method, c.rest+x.path, strings.NewReader(`{"vectors":{"size":4,"distance":"Dot"}}`))
		if err != nil {
			t.Fatal(err)
		}
		if x.key != "" {
			r.Header.Set("api-key", x.key)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != x.want {
			t.Errorf("%s %s with key %q: %d, want %d", x.method, x.path, x.key, resp.StatusCode, x.want)
		}
	}
}

// Every write that was acknowledged before kill -9 is there afterwards, also
// after several lives, on other ports each time.
func TestKillNine(t *testing.T) {
	dir := t.TempDir()
	acked, lost := map[int]int{}, 0
	var mu sync.Mutex
	for life := range 4 {
		c := start(t, dir, ports(t))
		c.ready()
		if life == 0 {
			c.ok("PUT", "/collections/c", `{"vectors":{"size":4,"distance":"Cosine"},"shard_number":3}`)
			c.ok("POST", "/collections/aliases", `{"actions":[{"create_alias":{"collection_name":"c","alias_name":"a"}}]}`)
		}
		lost += audit(c, acked)
		if life == 3 {
			break
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		killAt := 100 + rand.IntN(200)
		n := 0
		for w := range 8 {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					id, v := w*100_000+life*10_000+i, rand.IntN(1<<30)
					code, _, err := c.call(ctx, "PUT", fmt.Sprintf("/collections/a/points?wait=%v", i%2 == 0),
						fmt.Sprintf(`{"points":[{"id":%d,"vector":[1,2,3,4],"payload":{"v":%d}}]}`, id, v))
					if err != nil || code != http.StatusOK {
						return
					}
					mu.Lock()
					acked[id] = v
					if n++; n == killAt {
						_ = c.cmd.Process.Kill() // SIGKILL
						cancel()
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		cancel()
		<-c.done
	}
	t.Logf("acknowledged %d, lost %d", len(acked), lost)
}

// audit counts the acknowledged points that are not there as they were written.
func audit(c *child, acked map[int]int) (lost int) {
	c.t.Helper()
	for id, v := range acked {
		p, ok := c.ok("GET", fmt.Sprintf("/collections/c/points/%d", id), "").(map[string]any)
		if !ok || fmt.Sprint(p["payload"]) != fmt.Sprintf("map[v:%v]", float64(v)) {
			c.t.Errorf("point %d: %v, acknowledged %d", id, p, v)
			lost++
		}
	}
	return lost
}
