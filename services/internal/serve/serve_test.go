package serve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/pandodb/pando/services/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func loopback() Config {
	return Config{Host: "127.0.0.1", InternalHost: "127.0.0.1", Identity: member("1")}
}

// running is one process's worth of sockets.
type running struct {
	*Sockets
	health *rpc.Health
	stop   context.CancelFunc
	result chan error
}

func run(t *testing.T, cfg Config, change func(*Parts)) *running {
	t.Helper()
	s, err := Listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Sockets: s, health: rpc.NewHealth(slog.New(slog.DiscardHandler)), result: make(chan error, 1)}
	server := func() *grpc.Server {
		g, err := rpc.NewServer(rpc.Options{Health: r.health})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	p := Parts{REST: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "rest") }),
		Public: server(), Internal: server(), Health: r.health}
	r.health.RegisterPublic(p.Public)
	r.health.RegisterInternal(p.Internal)
	if change != nil {
		change(&p)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r.stop = cancel
	go func() { r.result <- s.Run(ctx, p) }()
	return r
}

func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.result; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func get(t *testing.T, addr string) (int, string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// raft asks as a member of the cluster does.
func raft(t *testing.T, addr string) (int, string) {
	t.Helper()
	c, err := member("7").DialPeer(t.Context(), addr, "1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func check(t *testing.T, addr string) healthpb.HealthCheckResponse_ServingStatus {
	t.Helper()
	cc, err := rpc.Dial(addr, rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	r, err := healthpb.NewHealthClient(cc).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetStatus()
}

func TestThreePorts(t *testing.T) {
	r := run(t, loopback(), nil)
	defer r.end(t)
	at := r.Addrs()
	if code, body := get(t, at.REST); code != 200 || body != "rest" {
		t.Errorf("REST: %d %q", code, body)
	}
	if got := check(t, at.GRPC); got != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("public gRPC: %v", got)
	}
	if got := check(t, at.Internal); got != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("internal gRPC tells %v before Ready", got)
	}
	r.health.Ready()
	if got := check(t, at.Internal); got != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("internal gRPC: %v", got)
	}
	if code, _ := raft(t, at.Internal); code != 503 {
		t.Errorf("members' HTTP without a member: %d", code)
	}
	r.MountPeer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "raft") }))
	if code, body := raft(t, at.Internal); code != 200 || body != "raft" {
		t.Errorf("members' HTTP: %d %q", code, body)
	}
	r.MountPeer(nil)
	if code, _ := raft(t, at.Internal); code != 503 {
		t.Errorf("members' HTTP after the member has gone: %d", code)
	}
}

// member is a process of cluster c1 with the secret s.
func member(self string) *rpc.Cluster {
	c := rpc.NewCluster("s", rpc.CallRules{})
	c.SetID("c1")
	c.SetSelf(self)
	return c
}

// TestHello: etcd's port is closed to those who do not show the cluster's identity, and to those who want another process.
func TestHello(t *testing.T) {
	r := run(t, loopback(), nil)
	defer r.end(t)
	r.MountPeer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "raft") }))
	other, guess := member("7"), rpc.NewCluster("guess", rpc.CallRules{})
	other.SetID("c2")
	guess.SetID("c1")
	for name, tc := range map[string]struct {
		from *rpc.Cluster // nil: no hello
		to   string
		want string
	}{
		"right":           {member("7"), "1", "HTTP/1.1 200 OK"},
		"wrong secret":    {guess, "1", ""},
		"another cluster": {other, "1", ""},
		"another process": {member("7"), "2", ""},
		"none":            {nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var c net.Conn
			var err error
			if tc.from != nil {
				c, err = tc.from.DialPeer(t.Context(), r.Addrs().Internal, tc.to)
			} else {
				c, err = net.Dial("tcp", r.Addrs().Internal)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(c).ReadString('\n')
			if strings.TrimSpace(line) != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("%q %v", line, err)
			}
		})
	}
	if got := check(t, r.Addrs().Internal); got != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("gRPC has its own check in package rpc; got %v", got)
	}
	if _, err := rpc.NewCluster("s", rpc.CallRules{}).DialPeer(t.Context(), r.Addrs().Internal, "1"); err == nil {
		t.Error("a process without a cluster was let in")
	}
}

// TestSilentConnectionDoesNotHoldUpAStop: one that has not said what it is is simply closed.
func TestSilentConnectionDoesNotHoldUpAStop(t *testing.T) {
	r := run(t, loopback(), nil)
	c, err := net.Dial("tcp", r.Addrs().Internal)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("PR")); err != nil {
		t.Fatal(err)
	}
	if got := check(t, r.Addrs().Internal); got != healthpb.HealthCheckResponse_NOT_SERVING { // others are not held up either
		t.Errorf("got %v", got)
	}
	r.end(t)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for key, set := range map[string]func(*Config){
		"service.http_port": func(c *Config) { c.HTTPPort = port },
		"service.grpc_port": func(c *Config) { c.GRPCPort = port },
		"cluster.p2p.port":  func(c *Config) { c.InternalPort = port },
	} {
		cfg := loopback()
		set(&cfg)
		_, err := Listen(t.Context(), cfg)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), strconv.Itoa(port)) {
			t.Errorf("%s: %v", key, err)
		}
	}
	cfg := loopback()
	cfg.Host = "192.0.2.1"
	if _, err := Listen(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "service.host") {
		t.Errorf("foreign address: %v", err)
	}
}

func TestOpenInternalPortNeedsASecret(t *testing.T) {
	cfg := Config{Host: "127.0.0.1", InternalHost: "0.0.0.0"}
	if _, err := Listen(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "cluster.secret") {
		t.Errorf("got %v", err)
	}
	for name, set := range map[string]func(*Config){
		"secret":   func(c *Config) { c.Identity = member("1") },
		"insecure": func(c *Config) { c.InsecureInternal = true },
		"loopback": func(c *Config) { c.InternalHost = "::1" },
		"off":      func(c *Config) { c.InternalPort = Off },
	} {
		c := cfg
		set(&c)
		s, err := Listen(t.Context(), c)
		if err != nil {
			if name == "loopback" && errors.Is(err, syscall.EADDRNOTAVAIL) {
				continue // no IPv6 here; the check before it has passed
			}
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInternalHost(t *testing.T) {
	for _, tc := range [][3]string{
		{"0.0.0.0", "", "127.0.0.1"}, {"0.0.0.0", "127.0.0.1", "127.0.0.1"}, {"0.0.0.0", "localhost", "127.0.0.1"},
		{"0.0.0.0", "::1", "127.0.0.1"}, {"0.0.0.0", "peer-1", "0.0.0.0"}, {"10.0.0.3", "10.0.0.3", "10.0.0.3"},
	} {
		if got := InternalHost(tc[0], tc[1]); got != tc[2] {
			t.Errorf("InternalHost(%q, %q) = %q, want %q", tc[0], tc[1], got, tc[2])
		}
	}
}

// TestAdvertised: others dial what cluster.uri says, and what it leaves open is where the port is bound.
func TestAdvertised(t *testing.T) {
	s, err := Listen(t.Context(), loopback())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, bound, err := net.SplitHostPort(s.Addrs().Internal)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range [][3]string{
		{"", "", "127.0.0.1:" + bound}, {"peer-1", "", "peer-1:" + bound}, {"peer-1", "7335", "peer-1:7335"}, {"::1", "7335", "[::1]:7335"},
	} {
		if got := s.Advertised(tc[0], tc[1]); got != tc[2] {
			t.Errorf("Advertised(%q, %q) = %q, want %q", tc[0], tc[1], got, tc[2])
		}
	}
}

// TestStopOrder: a request under way is finished, with the planes still there; only then do they end.
func TestStopOrder(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	events := make(chan string, 8)
	r := run(t, loopback(), func(p *Parts) {
		p.REST = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-release
			events <- "answered"
		})
		p.Planes = func(ctx context.Context) error {
			<-ctx.Done()
			events <- "planes end"
			return ctx.Err()
		}
	})
	r.health.Ready()
	watching := watch(t, r.Addrs().Internal)
	status := make(chan int)
	go func() {
		code, _ := get(t, r.Addrs().REST)
		status <- code
	}()
	<-entered
	if got := <-watching; got != "SERVING" {
		t.Fatalf("watch: %s", got)
	}
	r.stop()
	if got := <-watching; got != "NOT_SERVING" { // said before anything is closed: the request still runs
		t.Errorf("watch: %s", got)
	}
	if got := <-watching; got != "end" {
		t.Errorf("watch: %s", got)
	}
	close(release)
	if code := <-status; code != 200 {
		t.Errorf("request under way: %d", code)
	}
	if err := <-r.result; err != nil {
		t.Errorf("Run: %v", err)
	}
	if a, b := <-events, <-events; a != "answered" || b != "planes end" {
		t.Errorf("order: %s, %s", a, b)
	}
}

func watch(t *testing.T, addr string) <-chan string {
	t.Helper()
	cc, err := rpc.Dial(addr, rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	st, err := healthpb.NewHealthClient(cc).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan string)
	go func() {
		defer cc.Close()
		for {
			m, err := st.Recv()
			if err != nil {
				out <- "end"
				return
			}
			out <- m.GetStatus().String()
		}
	}()
	return out
}

// TestForce: what does not end within the grace is cut off.
func TestForce(t *testing.T) {
	cfg := loopback()
	cfg.Grace = 50 * time.Millisecond
	entered := make(chan struct{})
	r := run(t, cfg, func(p *Parts) {
		p.REST = http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			close(entered)
			<-req.Context().Done()
		})
	})
	failed := make(chan error)
	go func() {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + r.Addrs().REST)
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	<-entered
	start := time.Now()
	r.end(t)
	if err := <-failed; err == nil {
		t.Error("the request cannot have been answered")
	}
	if d := time.Since(start); d < cfg.Grace || d > 5*time.Second {
		t.Errorf("stopped after %v, grace %v", d, cfg.Grace)
	}
}

// TestPlanesFail: a plane that ends takes the process down, with its error.
func TestPlanesFail(t *testing.T) {
	broken := errors.New("broken")
	r := run(t, loopback(), func(p *Parts) { p.Planes = func(context.Context) error { return broken } })
	defer r.stop()
	if err := <-r.result; !errors.Is(err, broken) {
		t.Errorf("Run: %v", err)
	}
	for _, addr := range []string{r.Addrs().REST, r.Addrs().GRPC, r.Addrs().Internal} {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			t.Errorf("%s still listens", addr)
		}
	}
}

func TestOff(t *testing.T) {
	cfg := loopback()
	cfg.GRPCPort, cfg.InternalPort = Off, Off
	r := run(t, cfg, nil)
	defer r.end(t)
	if at := r.Addrs(); at.GRPC != "" || at.Internal != "" || at.REST == "" {
		t.Errorf("addresses %+v", at)
	}
	r.MountPeer(http.NotFoundHandler())
	if code, _ := get(t, r.Addrs().REST); code != 200 {
		t.Errorf("REST: %d", code)
	}
}
