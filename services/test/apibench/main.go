// Command apibench measures one peer from outside: searches and upserts over gRPC and REST, by one connection and by eight, on
// real vectors and on long ones that it makes; where the CPU time of searches goes; what a search allocates; and what groups,
// fusion and formulas cost beside it. It states what it finds and judges nothing.
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
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/pandodb/pando/services/cli"
	"github.com/pandodb/pando/services/suite"
	"github.com/pandodb/pando/services/test/child"
)

// limit bounds the whole run.
const limit = 20 * time.Minute

// profilesVar names the folder that serve writes profiles to.
const profilesVar = "APIBENCH_PROFILES"

type options struct {
	dir, data string
	rows      int
	each      time.Duration
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		os.Exit(serve())
	}
	var o options
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where data is put; it should be a real disk")
	flag.StringVar(&o.data, "data", "services/test/demo/words", "folder of the real vectors")
	flag.IntVar(&o.rows, "rows", 30_000, "so many of them")
	flag.DurationVar(&o.each, "each", 3*time.Second, "how long to ask, or to write, in each setting")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx, o)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "apibench:", err)
		os.Exit(1)
	}
}

// serve is `pando serve` with a CPU profiler that each SIGUSR1 starts, or ends.
func serve() int {
	toggle := make(chan os.Signal, 1)
	signal.Notify(toggle, syscall.SIGUSR1)
	go func() {
		for n := 0; ; n++ {
			<-toggle
			f, err := os.Create(profile(os.Getenv(profilesVar), n))
			if err == nil {
				err = pprof.StartCPUProfile(f)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			<-toggle
			pprof.StopCPUProfile()
			_ = f.Close() // a profile that is cut short is noticed by who reads it
		}
	}()
	return cli.Main(context.Background(), cli.Runners{Serve: suite.Serve}, cli.IO{Args: os.Args[1:], Env: os.Environ(), Out: os.Stdout, Err: os.Stderr})
}

func profile(dir string, n int) string { return filepath.Join(dir, fmt.Sprintf("search-%d.pprof", n)) }

func run(ctx context.Context, o options) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil { // the peer has another working directory
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "pando-apibench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Printf("%d cores, %s/%s, %s; clients and peer share them\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	h := child.Home{Binary: self, Dir: filepath.Join(dir, "peer"), Apart: true, Env: []string{profilesVar + "=" + dir}}
	if err := os.Mkdir(h.Dir, 0o700); err != nil {
		return err
	}
	p, err := h.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	s, err := newSubject(o, p, self, dir)
	if err != nil {
		return err
	}
	defer s.close()
	return s.measure(ctx)
}
