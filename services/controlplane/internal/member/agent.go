package member

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"
)

// agents stand in for the remote members. etcd dials unix://<name>, which is the file <name> in the working
// directory; the agent behind it dials the process of that name and joins the two.
type agents struct {
	dir  string
	dial Dialer
	log  *slog.Logger

	mu struct {
		sync.Mutex
		group *errgroup.Group // nil unless running
		ctx   func() context.Context
		open  map[string]bool
	}
}

// start makes add effective; every goroutine ends with ctx and is waited for by group.
func (a *agents) start(ctx context.Context, group *errgroup.Group) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.group, a.mu.ctx = group, func() context.Context { return ctx }
	a.mu.open = map[string]bool{}
}

// add opens the agent of another process unless it is open.
func (a *agents) add(process string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.group == nil || a.mu.open[process] {
		return nil
	}
	name := nameOf(process)
	file := filepath.Join(a.dir, name)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) { // left behind by a killed process
		return err
	}
	// Relative to the working directory, so that a deep folder does not exceed the 108 bytes of a socket path.
	l, err := net.Listen("unix", name)
	if err != nil {
		return err
	}
	a.mu.open[process] = true
	ctx := a.mu.ctx()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	a.mu.group.Go(func() error {
		defer stop()
		defer l.Close()
		return a.serve(ctx, process, l)
	})
	return nil
}

func (a *agents) serve(ctx context.Context, process string, l net.Listener) error {
	var conns errgroup.Group
	defer conns.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		conns.Go(func() error {
			defer c.Close()
			remote, err := a.dial(ctx, process)
			if err != nil {
				a.log.Debug("member unreachable", "process", process, "error", err)
				return nil
			}
			splice(ctx, c, remote)
			return nil
		})
	}
}

// splice copies both ways until one end closes or ctx ends, then closes both.
func splice(ctx context.Context, a, b net.Conn) {
	closeBoth := func() { a.Close(); b.Close() }
	stop := context.AfterFunc(ctx, closeBoth)
	defer stop()
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			defer closeBoth()
			_, _ = io.Copy(pair[0], pair[1]) // an ended stream is what etcd must notice, by the close
		})
	}
	both.Wait()
}
