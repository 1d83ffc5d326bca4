// Package child runs a real pando as a child, on ports of its own: for programs that watch it from outside and pull the
// plug. It knows nothing about what is stored.
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
	Dir    string   // data in storage/, records in log
	Work   string   // working directory, where pando looks for config/; "" = Dir
	Env    []string // settings on top, PANDO__SECTION__KEY=value
	Flags  []string
	// Host is the address that it binds; "" = 127.0.0.1.
	Host string
	// Begin starts the command elsewhere, such as in another network namespace; nil = as it is.
	Begin func(*exec.Cmd) error
	// Clustered lets others join: the internal port is advertised.
	Clustered bool
	// Bootstrap are internal addresses of peers to join, or to ask.
	Bootstrap []string
	// Ports; 0 = a free one.
	REST, GRPC, Internal int
	// Until is the path that answers 200 once the process counts as started; "" = /readyz.
	Until string
	// Apart takes it out of the terminal's group of processes: Ctrl-C does not reach it, whoever has started it stops it.
	Apart bool
	// Echo gets what it logs as well; nil: the file alone does.
	Echo io.Writer
}

// Process is one run. Stop or Kill ends it.
type Process struct {
	REST, GRPC, Internal string        // host:port
	Ready                time.Duration // from the start until AwaitReady saw it ready
	home                 Home
	began                time.Time
	logged               int64 // bytes in the log before
	cmd                  *exec.Cmd
	ended                chan struct{} // closed when it is gone
	err                  error         // what it ended with, once it has
}

// Start runs pando serve and returns when it is ready; Ready tells how long that took since the process was started.
// The error of a process that ends before wraps its *exec.ExitError and tells its last words.
func (h Home) Start(ctx context.Context) (*Process, error) {
	p, err := h.Launch()
	if err != nil {
		return nil, err
	}
	if err := p.AwaitReady(ctx); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

// Launch runs pando serve and waits for nothing.
func (h Home) Launch() (*Process, error) {
	ports, err := FreePorts(3)
	if err != nil {
		return nil, err
	}
	at := func(i, fixed int) string { return fmt.Sprintf("%s:%d", h.host(), cmp.Or(fixed, ports[i])) }
	p := &Process{REST: at(0, h.REST), GRPC: at(1, h.GRPC), Internal: at(2, h.Internal), home: h, ended: make(chan struct{})}
	if p.cmd, err = h.command(p); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(h.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if p.logged, err = log.Seek(0, io.SeekEnd); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if h.Echo != nil {
		both := io.MultiWriter(log, h.Echo)
		p.cmd.Stdout, p.cmd.Stderr = both, both // equal: one pipe, one writer at a time
	}
	begin := h.Begin
	if begin == nil {
		begin = (*exec.Cmd).Start
	}
	p.began = time.Now()
	if err := begin(p.cmd); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() {
		p.err = errors.Join(p.cmd.Wait(), log.Close())
		close(p.ended)
	}()
	return p, nil
}

func (h Home) host() string { return cmp.Or(h.Host, "127.0.0.1") }

// command is the command line with its environment.
func (h Home) command(p *Process) (*exec.Cmd, error) {
	binary, err := filepath.Abs(h.Binary)
	if err != nil {
		return nil, err
	}
	data, err := filepath.Abs(filepath.Join(h.Dir, "storage"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, append([]string{"serve"}, h.Flags...)...)
	if h.Clustered {
		cmd.Args = append(cmd.Args, "--uri", "http://"+p.Internal)
	}
	for _, b := range h.Bootstrap {
		cmd.Args = append(cmd.Args, "--bootstrap", "http://"+b)
	}
	port := func(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
	cmd.Dir = cmp.Or(h.Work, h.Dir)
	cmd.Env = append(append(os.Environ(), "PANDO__SERVICE__HOST="+h.host(), "PANDO__SERVICE__HTTP_PORT="+port(p.REST), "PANDO__SERVICE__GRPC_PORT="+port(p.GRPC),
		"PANDO__CLUSTER__P2P__PORT="+port(p.Internal), "PANDO__STORAGE__STORAGE_PATH="+data), h.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: h.Apart}
	return cmd, nil
}

// errEnded: it ended by itself without an error.
var errEnded = errors.New("exit status 0")

// AwaitReady returns when the process is ready. Its error, when it has ended or the time is over, tells its last words.
func (p *Process) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	fail := func(err error) error {
		return fmt.Errorf("%s serve in %s: %w\n%s", p.home.Binary, p.home.Dir, err, p.home.tail(10, p.logged))
	}
	for {
		select {
		case <-ctx.Done():
			return fail(fmt.Errorf("not ready: %w", ctx.Err()))
		case <-p.ended:
			return fail(fmt.Errorf("it ended: %w", cmp.Or(p.err, errEnded)))
		case <-tick.C:
			if ready(ctx, p.REST+cmp.Or(p.home.Until, "/readyz")) {
				p.Ready = time.Since(p.began)
				return nil
			}
		}
	}
}

// ready asks once. Whoever has the port may be somebody else, who never answers.
func ready(ctx context.Context, at string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
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

// Kill is kill -9: nothing is flushed, no handler runs. It returns when the process is gone; it may be already.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended // being killed is no news
	return nil
}

// Stop asks it to end, and fails when it does not, or with a code other than 0.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	t := time.NewTimer(stopLimit)
	defer t.Stop()
	select {
	case <-p.ended:
		return p.err
	case <-t.C:
		return errors.Join(fmt.Errorf("it has not stopped within %v", stopLimit), p.Kill())
	}
}

// Ended tells whether it has ended, by itself or not.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Pause stops it where it stands, its connections included, until Resume; Kill works all the same.
func (p *Process) Pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (p *Process) Resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// Done is closed when the process is gone.
func (p *Process) Done() <-chan struct{} { return p.ended }

// Err is what it ended with, once it has: nil for code 0.
func (p *Process) Err() error {
	<-p.ended
	return p.err
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Tail is the end of the log.
func (h Home) Tail(lines int) string { return h.tail(lines, 0) }

func (h Home) tail(lines int, from int64) string {
	b, err := os.ReadFile(filepath.Join(h.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b[min(from, int64(len(b))):])), "\n")
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
