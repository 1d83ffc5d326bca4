// Package process runs the real binary as a child process: how it starts, what
// it says when it cannot, and what is left after kill -9. It holds tests only.
package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pandodb/pando/services/test/child"
)

// binary is built once for all tests.
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

// peer is a pando that runs.
type peer struct {
	t *testing.T
	*child.Process
}

func start(t *testing.T, dir string, env ...string) peer {
	t.Helper()
	p, err := child.Home{Binary: binary, Dir: dir, Env: env}.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return peer{t, p}
}

func (p peer) call(ctx context.Context, method, path, key, body string) (int, map[string]any, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+p.REST+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if key != "" {
		r.Header.Set("api-key", key)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	out := map[string]any{}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		err = json.NewDecoder(resp.Body).Decode(&out)
	}
	return resp.StatusCode, out, err
}

func (p peer) ok(method, path, body string) any {
	p.t.Helper()
	code, out, err := p.call(p.t.Context(), method, path, "", body)
	if err != nil || code != http.StatusOK {
		p.t.Fatalf("%s %s: %d %v %v", method, path, code, out, err)
	}
	return out["result"]
}

func TestWhatKeepsItFromStarting(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir)
	_, port, err := net.SplitHostPort(first.REST)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	other := t.TempDir()
	for name, content := range map[string]string{file: "", filepath.Join(other, "peer.json"): `{"format":99,"peer_id":7}`} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		dir  string // "" = a new one
		env  string
		code int
		text []string
	}{
		{"port taken", "", "PANDO__SERVICE__HTTP_PORT=" + port, 3, []string{"service.http_port", "another process has this port"}},
		{"folder in use", dir, "", 4, []string{"storage.storage_path", dir, "in use by another process"}},
		{"folder not writable", "", "PANDO__STORAGE__STORAGE_PATH=" + filepath.Join(file, "data"), 4, []string{"storage.storage_path", "not writable", "another storage path"}},
		{"folder of another version", "", "PANDO__STORAGE__STORAGE_PATH=" + other, 4, []string{"format 99", other}},
		{"TLS, not built", "", "PANDO__SERVICE__ENABLE_TLS=true", 2, []string{"service.enable_tls"}},
		{"JWT, not built", "", "QDRANT__SERVICE__JWT_RBAC=true", 2, []string{"service.jwt_rbac"}},
		{"unknown key", "", "PANDO__SERVICE__HTP_PORT=1", 2, []string{"service.htp_port", "http_port"}},
		{"join without a URI", "", "QDRANT_BOOTSTRAP=http://127.0.0.1:1", 2, []string{"cluster.bootstrap", "cluster.uri"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.dir == "" {
				c.dir = t.TempDir()
			}
			p, err := child.Home{Binary: binary, Dir: c.dir, Env: []string{c.env}}.Start(t.Context())
			if err == nil {
				t.Fatal(errors.Join(errors.New("it started"), p.Kill()))
			}
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != c.code {
				t.Errorf("%v, want exit code %d", err, c.code)
			}
			for _, text := range c.text {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("does not say %q: %v", text, err)
				}
			}
		})
	}
	first.ok("GET", "/collections", "")
}

func TestStopsInOrder(t *testing.T) {
	if err := start(t, t.TempDir()).Stop(); err != nil {
		t.Error(err)
	}
}

func TestKeysAreEnforced(t *testing.T) {
	p := start(t, t.TempDir(), "QDRANT__SERVICE__API_KEY=rw", "QDRANT__SERVICE__READ_ONLY_API_KEY=ro")
	for _, x := range []struct {
		method, path, key string
		want              int
	}{
		{"GET", "/", "", 200}, {"GET", "/healthz", "", 200}, {"GET", "/collections", "", 401}, {"GET", "/collections", "bad", 401},
		{"GET", "/collections", "ro", 200}, {"PUT", "/collections/a", "ro", 403}, {"PUT", "/collections/a", "rw", 200},
		{"GET", "/metrics", "", 401}, {"GET", "/metrics", "ro", 200},
	} {
		code, _, err := p.call(t.Context(), x.method, x.path, x.key, `{"vectors":{"size":4,"distance":"Dot"}}`)
		if err != nil || code != x.want {
			t.Errorf("%s %s with key %q: %d %v, want %d", x.method, x.path, x.key, code, err, x.want)
		}
	}
}

// What the settings say of new collections is what a collection gets.
func TestDefaultsOfCollections(t *testing.T) {
	p := start(t, t.TempDir(), "QDRANT__STORAGE__COLLECTION__REPLICATION_FACTOR=2", "PANDO__STORAGE__COLLECTION__SHARD_NUMBER_PER_NODE=3")
	p.ok("PUT", "/collections/a", `{"vectors":{"size":4,"distance":"Dot"}}`)
	_, info, err := p.call(t.Context(), "GET", "/collections/a", "", "")
	if got := fmt.Sprint(info); err != nil || !strings.Contains(got, "replication_factor:2") || !strings.Contains(got, "shard_number:3") {
		t.Errorf("%v %s", err, got)
	}
}

// Every write that was acknowledged before kill -9 is there afterwards, also
// after several lives, on other ports each time.
func TestKillNine(t *testing.T) {
	const lives = 4
	dir := t.TempDir()
	acked, lost := map[int]int{}, 0
	for life := range lives {
		p := start(t, dir)
		if life == 0 {
			p.ok("PUT", "/collections/c", `{"vectors":{"size":4,"distance":"Cosine"},"shard_number":3}`)
			p.ok("POST", "/collections/aliases", `{"actions":[{"create_alias":{"collection_name":"c","alias_name":"a"}}]}`)
		}
		lost += audit(p, acked)
		if life < lives-1 {
			loadAndKill(p, life, acked)
		}
	}
	t.Logf("acknowledged %d, lost %d", len(acked), lost)
}

// loadAndKill writes with eight clients and kills the process in the middle.
func loadAndKill(p peer, life int, acked map[int]int) {
	ctx, cancel := context.WithCancel(p.t.Context())
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	n, killAt := 0, 100+rand.IntN(200)
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id, v := w*100_000+life*10_000+i, rand.IntN(1<<30)
				code, _, err := p.call(ctx, "PUT", fmt.Sprintf("/collections/a/points?wait=%v", i%2 == 0), "",
					fmt.Sprintf(`{"points":[{"id":%d,"vector":[1,2,3,4],"payload":{"v":%d}}]}`, id, v))
				if err != nil || code != http.StatusOK {
					return
				}
				mu.Lock()
				acked[id] = v
				if n++; n == killAt {
					if err := p.Kill(); err != nil {
						p.t.Error(err)
					}
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// audit counts the acknowledged points that are not there as they were written.
func audit(p peer, acked map[int]int) (lost int) {
	p.t.Helper()
	for id, v := range acked {
		got, ok := p.ok("GET", fmt.Sprintf("/collections/c/points/%d", id), "").(map[string]any)
		if !ok || fmt.Sprint(got["payload"]) != fmt.Sprintf("map[v:%v]", float64(v)) {
			p.t.Errorf("point %d: %v, acknowledged %d", id, got, v)
			lost++
		}
	}
	return lost
}
