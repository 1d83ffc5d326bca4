// Command peers runs a cluster on this machine, on loopback: peers that find each other, their ports, their logs. Data
// stay: a second start goes on with them. A peer that ends is started again, so that it can be killed to see what
// happens. Ctrl-C stops all, one after the other.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pandodb/pando/services/test/child"
	"golang.org/x/sync/errgroup"
)

type options struct {
	binary, dir string
	peers, port int
	again       time.Duration
	flags       []string // for each pando serve
}

func main() {
	var o options
	flag.StringVar(&o.binary, "pando", "./pando", "the binary to run")
	flag.StringVar(&o.dir, "dir", "storage/cluster", "where data and logs are, a folder for each peer")
	flag.IntVar(&o.peers, "peers", 3, "how many peers")
	flag.IntVar(&o.port, "port", 6333, "REST port of the first; its gRPC port is one higher, its internal port two; those of the next peer are 10 higher")
	flag.DurationVar(&o.again, "again", 5*time.Second, "pause before a peer that has ended is started again: time to see the others go on without it")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: peers [flags] [-- flags of each pando serve]; PANDO__SECTION__KEY in the environment sets settings of all")
		flag.PrintDefaults()
	}
	flag.Parse()
	o.flags = flag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// peer is one of the cluster; it always has a process, which may have ended.
type peer struct {
	n    int
	home child.Home
	mu   sync.Mutex
	proc *child.Process
}

func (p *peer) launch() error {
	proc, err := p.home.Launch()
	if err != nil {
		return fmt.Errorf("peer %d: %w", p.n, err)
	}
	p.mu.Lock()
	p.proc = proc
	p.mu.Unlock()
	return nil
}

func (p *peer) process() *child.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	w := &lines{out: out}
	peers, err := o.homes(w)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d peers on this machine; data in %s, which stay: the next start goes on with them\n\n  peer  REST             gRPC             internal         log\n", o.peers, o.dir)
	for _, p := range peers {
		fmt.Fprintf(w, "  %-4d  127.0.0.1:%-5d  127.0.0.1:%-5d  127.0.0.1:%-5d  %s\n", p.n, p.home.REST, p.home.GRPC, p.home.Internal, filepath.Join(p.home.Dir, "log"))
	}
	fmt.Fprintln(w)
	begin := time.Now()
	started := 0
	defer func() { err = errors.Join(err, stop(peers[:started], w)) }()
	for _, p := range peers {
		if err := p.launch(); err != nil {
			return err
		}
		started++
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, p := range peers {
		g.Go(func() error { return p.process().AwaitReady(gctx) })
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	o.invite(w, peers, time.Since(begin))
	g, gctx = errgroup.WithContext(ctx)
	for _, p := range peers {
		g.Go(func() error { return p.keep(gctx, w, o.again) })
	}
	return g.Wait()
}

// invite says what can be done with a cluster that runs.
func (o options) invite(w io.Writer, peers []*peer, took time.Duration) {
	last := peers[len(peers)-1]
	fmt.Fprintf(w, `
ready after %.1f s. In another terminal:

  %s cluster status --watch --addr %s
  curl -X PUT %s/collections/c -d '{"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 6, "replication_factor": 2}'
  kill -9 %d     # peer %d; it is started again after %v

Ctrl-C here stops all.

`, took.Seconds(), o.binary, peers[0].process().GRPC, peers[0].process().REST, last.process().PID(), last.n, o.again)
}

// homes says where the peers live, and makes their folders.
func (o options) homes(w io.Writer) ([]*peer, error) {
	if last := o.port + 10*(o.peers-1) + 2; o.peers < 1 || o.peers > 9 || o.port < 1 || last > 65535 {
		return nil, fmt.Errorf("%d peers from port %d on: 1 to 9 are possible, with ports up to 65535", o.peers, o.port)
	}
	if _, err := os.Stat(filepath.Join(o.dir, strconv.Itoa(o.peers+1))); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds more than %d peers, and their data are missed when they do not run: start all of them, or take another folder", o.dir, o.peers)
	}
	work, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	var out []*peer
	for i := range o.peers {
		port := o.port + 10*i
		h := child.Home{Binary: o.binary, Dir: filepath.Join(o.dir, strconv.Itoa(i+1)), Work: work, Flags: o.flags, Clustered: true, Apart: true,
			REST: port, GRPC: port + 1, Internal: port + 2}
		if i > 0 {
			h.Bootstrap = []string{fmt.Sprintf("127.0.0.1:%d", o.port+2)}
		}
		h.Echo = &prefixed{to: w, prefix: fmt.Sprintf("%d | ", i+1)}
		if err := os.MkdirAll(h.Dir, 0o750); err != nil {
			return nil, err
		}
		out = append(out, &peer{n: i + 1, home: h})
	}
	return out, nil
}

// keep starts a peer again when it has ended, until ctx does.
func (p *peer) keep(ctx context.Context, w io.Writer, again time.Duration) error {
	for {
		proc := p.process()
		select {
		case <-ctx.Done():
			return nil
		case <-proc.Done():
		}
		why := "exit status 0"
		if err := proc.Err(); err != nil {
			why = err.Error()
		}
		fmt.Fprintf(w, "\npeer %d (process %d) ended: %s; it is started again in %v\n\n", p.n, proc.PID(), why, again)
		pause := time.NewTimer(again)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
		if err := p.launch(); err != nil {
			return err
		}
		if proc = p.process(); proc.AwaitReady(ctx) == nil { // otherwise it has ended, and the next turn tells
			fmt.Fprintf(w, "\npeer %d (process %d) is back: all of its replicas are Active %.1f s after its start\n\n", p.n, proc.PID(), proc.Ready.Seconds())
		}
	}
}

// stop ends the peers, the last one first: those that remain take over from it.
func stop(peers []*peer, w io.Writer) error {
	var failed error
	for i := len(peers) - 1; i >= 0; i-- {
		p := peers[i]
		select {
		case <-p.process().Done():
			continue // that was told
		default:
		}
		begin := time.Now()
		if err := p.process().Stop(); err != nil && p.process().Ready > 0 { // one that just begins knows no signal yet
			failed = errors.Join(failed, fmt.Errorf("peer %d: %w", p.n, err))
			continue
		}
		fmt.Fprintf(w, "peer %d stopped in %.1f s\n", p.n, time.Since(begin).Seconds())
	}
	return failed
}

// lines lets several write to one place.
type lines struct {
	mu  sync.Mutex
	out io.Writer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

// prefixed puts the peer's number before each line that it logs. It has one writer.
type prefixed struct {
	to     io.Writer
	prefix string
	rest   []byte // of a line that is not whole yet
}

func (p *prefixed) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	end := bytes.LastIndexByte(p.rest, '\n') + 1
	var s strings.Builder
	for line := range bytes.Lines(p.rest[:end]) {
		s.WriteString(p.prefix)
		s.Write(line)
	}
	p.rest = append(p.rest[:0], p.rest[end:]...)
	if s.Len() > 0 {
		if _, err := io.WriteString(p.to, s.String()); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}
