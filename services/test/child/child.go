// Package child runs a real pando as a child, on loopback ports of its own: for programs that watch it from outside
// and pull the plug. It knows nothing about what is stored.
package child

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// readyLimit bounds a start, stopLimit a graceful end.
const (
	readyLimit = 2 * time.Minute
	stopLimit  = 30 * time.Second
)

// Home is a folder in which a peer runs, again and again; the data stays.
type Home struct {
	Binary string   // path of pando
	Dir    string   // working directory; data in storage/, records in log
	Env    []string // settings on top, PANDO__SECTION__KEY=value
	Flags  []string
	// Clustered lets others join: the internal port is advertised, on loopback.
	Clustered bool
	// Bootstrap are internal addresses of peers to join, or to ask.
	Bootstrap []string
	// Internal is the internal port; 0 = a free one.
	Internal int
	// Until is the path that answers 200 once the process counts as started; "" = /readyz.
	Until string
}

// Process is one run. Exactly one of Kill and Stop ends it.
type Process struct {
	REST, GRPC, Internal string // host:port
	Ready                time.Duration
	cmd                  *exec.Cmd
	ended                chan error
}

// Start runs pando serve and returns when it is ready; Ready tells how long that took since the process was started.
// The error of a process that ends before wraps its *exec.ExitError and tells its last words.
func (h Home) Start(ctx context.Context) (*Process, error) {
	ports, err := FreePorts(3)
	if err != nil {
		return nil, err
	}
	ports[2] = cmp.Or(h.Internal, ports[2])
	log, err := os.OpenFile(filepath.Join(h.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own handle
	binary, err := filepath.Abs(h.Binary)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, append([]string{"serve"}, h.Flags...)...)
	if h.Clustered {
		cmd.Args = append(cmd.Args, "--uri", fmt.Sprintf("http://127.0.0.1:%d", ports[2]))
	}
	for _, b := range h.Bootstrap {
		cmd.Args = append(cmd.Args, "--bootstrap", "http://"+b)
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = h.Dir, log, log
	cmd.Env = append(append(os.Environ(), "PANDO__SERVICE__HOST=127.0.0.1", fmt.Sprintf("PANDO__SERVICE__HTTP_PORT=%d", ports[0]),
		fmt.Sprintf("PANDO__SERVICE__GRPC_PORT=%d", ports[1]), fmt.Sprintf("PANDO__CLUSTER__P2P__PORT=%d", ports[2])), h.Env...)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	p := &Process{REST: at(0), GRPC: at(1), Internal: at(2), cmd: cmd, ended: make(chan error, 1)}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.ended <- cmd.Wait() }()
	if err := p.untilReady(ctx, cmp.Or(h.Until, "/readyz")); err != nil {
		_ = p.Kill() // it may have ended already
		return nil, fmt.Errorf("%s serve in %s: %w\n%s", h.Binary, h.Dir, err, h.Tail(10))
	}
	p.Ready = time.Since(begin)
	return p, nil
}

// errEnded: it ended by itself without an error.
var errEnded = errors.New("exit status 0")

func (p *Process) untilReady(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", ctx.Err())
		case err := <-p.ended:
			p.ended <- err
			return fmt.Errorf("it ended: %w", cmp.Or(err, errEnded))
		case <-tick.C:
			if ready(ctx, p.REST+path) {
				return nil
			}
		}
	}
}

func ready(ctx context.Context, at string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at, nil)
	if err != nil {
		return false
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, r.Body)
	return errors.Join(err, r.Body.Close()) == nil && r.StatusCode == http.StatusOK
}

// Kill is kill -9: nothing is flushed, no handler runs. It returns when the process is gone.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	p.ended <- <-p.ended // being killed is no news; Kill may be called again
	return nil
}

// Stop asks it to end, and fails when it does not, or with a code other than 0.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	t := time.NewTimer(stopLimit)
	defer t.Stop()
	select {
	case err := <-p.ended:
		p.ended <- err
		return err
	case <-t.C:
		return errors.Join(fmt.Errorf("it has not stopped within %v", stopLimit), p.Kill())
	}
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Tail is the end of the log.
func (h Home) Tail(lines int) string {
	b, err := os.ReadFile(filepath.Join(h.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// FreePorts asks the system for ports that are free now. All are held until all are known, so that they differ.
func FreePorts(n int) ([]int, error) {
	var out []int
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close() // nobody has connected
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		held = append(held, l)
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out, nil
}
