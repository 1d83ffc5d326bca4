package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pandodb/pando/services/test/child"
	"go.uber.org/goleak"
)

// stand makes the binary of this test stand in for a pando that is ready at once.
const stand = "PEERS_TEST_STAND_IN"

func TestMain(m *testing.M) {
	if os.Getenv(stand) != "" {
		os.Exit(standIn())
	}
	goleak.VerifyTestMain(m)
}

func standIn() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fmt.Println("arguments", os.Args[1:], "port", os.Getenv("PANDO__SERVICE__HTTP_PORT"))
	s := http.Server{Addr: "127.0.0.1:" + os.Getenv("PANDO__SERVICE__HTTP_PORT"), Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	served := make(chan error, 1)
	go func() { served <- s.ListenAndServe() }()
	select {
	case err := <-served:
		fmt.Println(err)
		return 3
	case <-ctx.Done():
		fmt.Print("ending") // no newline: a line that is never whole
		return 0
	}
}

// shown is what was written, and wakes who waits for it.
type shown struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (s *shown) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
	return s.text.Write(b)
}

func (s *shown) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *shown) await(t *testing.T, text string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for !strings.Contains(s.String(), text) {
		select {
		case <-s.more:
		case <-limit:
			t.Fatalf("%q is not in\n%s", text, s)
		}
	}
}

func base(t *testing.T) options {
	t.Helper()
	ports, err := child.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(stand, "1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return options{binary: self, dir: t.TempDir(), peers: 3, port: ports[0], again: time.Millisecond, flags: []string{"--config-path", "my.yaml"}}
}

// TestPeers: they find each other, one that is killed comes back, and the end is in order, the last one first.
func TestPeers(t *testing.T) {
	o, out := base(t), &shown{more: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o, out) }()
	out.await(t, "Ctrl-C here stops all")
	first := fmt.Sprintf("1 | arguments [serve --config-path my.yaml --uri http://127.0.0.1:%d] port %d\n", o.port+2, o.port)
	third := fmt.Sprintf("3 | arguments [serve --config-path my.yaml --uri http://127.0.0.1:%d --bootstrap http://127.0.0.1:%d] port %d\n", o.port+22, o.port+2, o.port+20)
	for _, want := range []string{first, third, fmt.Sprintf("127.0.0.1:%d", o.port+11), filepath.Join(o.dir, "2", "log")} {
		out.await(t, want)
	}
	var pid int
	_, text, _ := strings.Cut(out.String(), "kill -9 ")
	if _, err := fmt.Sscan(text, &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	out.await(t, fmt.Sprintf("peer 3 (process %d) ended: signal: killed", pid))
	out.await(t, "is back")
	stop()
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, end, _ := strings.Cut(out.String(), "is back")
	three, two, one := strings.Index(end, "peer 3 stopped"), strings.Index(end, "peer 2 stopped"), strings.Index(end, "peer 1 stopped")
	if three < 0 || two < three || one < two {
		t.Errorf("not in order:\n%s", end)
	}
	log, err := os.ReadFile(filepath.Join(o.dir, "3", "log"))
	if err != nil || !strings.HasPrefix(string(log), "arguments") || !strings.HasSuffix(string(log), "ending") {
		t.Errorf("%q %v", log, err)
	}

	o.peers = 2
	if err := run(t.Context(), o, out); err == nil || !strings.Contains(err.Error(), "more than 2 peers") {
		t.Errorf("a start without the third: %v", err)
	}
}

// TestWhatCannotStart: the others are stopped, and the reason is told.
func TestWhatCannotStart(t *testing.T) {
	o := base(t)
	for name, c := range map[string]struct {
		change func(*options)
		says   string
	}{
		"no peer":      {func(o *options) { o.peers = 0 }, "1 to 9"},
		"port too big": {func(o *options) { o.port = 65530 }, "up to 65535"},
		"no binary":    {func(o *options) { o.binary = "no-such-pando" }, "peer 1: "},
		"port taken": {func(o *options) {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", o.port+10))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
		}, "it ended: exit status 3"},
	} {
		o := o
		o.dir = t.TempDir()
		c.change(&o)
		out := &shown{more: make(chan struct{}, 1)}
		if err := run(t.Context(), o, out); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
