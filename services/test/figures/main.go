// Command figures measures what a reader of the README wants to know. Of one peer on this machine: size, memory, start,
// round trips, durable writes, exact search. Of three peers on it: searches, durable writes, what they cost while idle, and
// what follows when one is killed. It states what it finds and judges nothing; recall stands with `make demo`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/pandodb/pando/services/test/child"
	"github.com/pandodb/pando/services/test/gobench"
)

// limit bounds the whole run.
const limit = 20 * time.Minute

type options struct {
	dir, data    string
	idle, each   time.Duration
	benches      bool
	one, cluster bool
	kills        int
	keep         bool
}

func main() {
	var h child.Home
	var o options
	flag.StringVar(&h.Binary, "pando", "./pando", "the binary to measure")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where data is put; it should be a real disk")
	flag.DurationVar(&o.idle, "idle", 30*time.Second, "how long to look at idle peers")
	flag.DurationVar(&o.each, "each", 3*time.Second, "how long to write, or to search, in each setting")
	flag.BoolVar(&o.benches, "benches", true, "run the Go benchmarks too (from the root of the sources)")
	flag.BoolVar(&o.one, "one", true, "measure one peer")
	flag.BoolVar(&o.cluster, "cluster", true, "measure clusters of two and three peers")
	flag.StringVar(&o.data, "data", "services/test/demo/words", "folder of the vectors that clusters are searched for")
	flag.IntVar(&o.kills, "kills", 10, "kill -9 so many times each: a peer of followers, one of primaries, the control plane's leader")
	flag.BoolVar(&o.keep, "keep", false, "leave the folders of the peers, with what they have logged")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx, h, o)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, h child.Home, o options) (err error) {
	info, err := os.Stat(h.Binary)
	if err != nil {
		return err
	}
	say("machine", "%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	say("binary", "%.1f MB", float64(info.Size())/1e6)
	top, err := os.MkdirTemp(o.dir, "pando-figures-")
	if err != nil {
		return err
	}
	h.Apart = true // whoever interrupts this program wants the peers to be stopped in order
	if o.one {
		err = alone(ctx, h, o, top)
	}
	if o.cluster && err == nil {
		err = together(ctx, h, o, top)
	}
	if o.keep || err != nil && !errors.Is(err, context.Canceled) {
		say("folders", "of the peers, with what they have logged: %s", top)
		return err
	}
	return errors.Join(err, os.RemoveAll(top))
}

// alone measures one peer.
func alone(ctx context.Context, h child.Home, o options, top string) (err error) {
	if err := starts(ctx, h, top); err != nil {
		return err
	}
	h.Dir = filepath.Join(top, "work")
	if err := os.Mkdir(h.Dir, 0o700); err != nil {
		return err
	}
	p, err := h.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	if err := idle(ctx, "1 peer", o.idle, p.PID()); err != nil {
		return err
	}
	if err := roundTrips(ctx, p); err != nil {
		return err
	}
	if err := syncs(top); err != nil {
		return err
	}
	if err := writes(ctx, p, o.each); err != nil {
		return err
	}
	if o.benches {
		return benches(ctx)
	}
	return nil
}

// starts measures the first start in an empty folder, and the next one in the same.
func starts(ctx context.Context, h child.Home, top string) error {
	var took [2][]time.Duration
	for n := range 5 {
		h.Dir = filepath.Join(top, fmt.Sprintf("start-%d", n))
		if err := os.Mkdir(h.Dir, 0o700); err != nil {
			return err
		}
		for again := range took {
			p, err := h.Start(ctx)
			if err != nil {
				return err
			}
			took[again] = append(took[again], p.Ready)
			if err := p.Stop(); err != nil {
				return err
			}
		}
	}
	for again, what := range []string{"in an empty folder", "again in the same"} {
		slices.Sort(took[again])
		say("start", "%s: ready after %d ms (median of %d, %d to %d)", what, took[again][2].Milliseconds(), len(took[again]), took[again][0].Milliseconds(), took[again][4].Milliseconds())
	}
	return nil
}

// syncs is what the disk offers: 4 KiB appended and synced, one at a time.
func syncs(dir string) error {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return err
	}
	defer f.Close() // it is thrown away
	block, n, begin := make([]byte, 4096), 0, time.Now()
	for ; time.Since(begin) < 2*time.Second; n++ {
		if _, err := f.Write(block); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	say("disk", "%.0f appends of 4 KiB with fsync a second, one after the other", float64(n)/time.Since(begin).Seconds())
	return nil
}

// benches runs Go benchmarks that live beside the code, and prints their lines.
func benches(ctx context.Context) error {
	for _, b := range []struct{ what, pkg, match string }{
		{"call", "./test/figures", "^BenchmarkCall$"},
		{"REST", "./dataplane/internal/rest", "^BenchmarkOverhead$"},
		{"search", "./dataplane/internal/index/flat", "^BenchmarkScanOfStream$"},
	} {
		lines, err := gobench.Lines(ctx, "services", b.pkg, b.match)
		if err != nil {
			return err
		}
		for _, l := range lines {
			say(b.what, "%s", l)
		}
	}
	return nil
}

func say(what, format string, args ...any) {
	fmt.Printf("%-8s %s\n", what, fmt.Sprintf(format, args...))
}
