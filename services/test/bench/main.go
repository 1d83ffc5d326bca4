// Command bench measures the search engine on real vectors: what building takes, how fast searches are at which recall, alone
// or beside other libraries, which are driven through the same lines of JSON. It states what it finds and judges nothing.
// docs/benchmarks.md tells how to run it and what the columns are.
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
	"strings"
	"syscall"
)

// The parameters of all graphs.
const links, efConstruct = 16, 128

type options struct {
	data, sets, out, scratch string
	quick                    bool
	rows, rounds             int
	peers, python            string
	cpu                      int
	extras                   bool
	seconds                  float64 // of each measurement, at least

	self string
	gaps []string // what could not be measured
}

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "serve": // a peer under a profiler
		os.Exit(serve())
	case len(os.Args) > 1 && os.Args[1] == "drive":
		if err := drive(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench drive:", err)
			os.Exit(1)
		}
		return
	}
	o := &options{}
	flag.StringVar(&o.data, "data", "", "folder of data sets, or one of them (needed)")
	flag.StringVar(&o.sets, "sets", "", "only sets whose names contain one of these, by commas; empty: all")
	flag.BoolVar(&o.quick, "quick", false, "30,000 rows of each set and fewer rounds")
	flag.IntVar(&o.rows, "rows", 0, "only so many rows of each set, with answers computed anew; 0: all")
	flag.IntVar(&o.rounds, "rounds", 0, "rounds over all settings; 0: 3, or 2 if -quick")
	flag.StringVar(&o.out, "out", ".bin/benchmarks", "folder of the CSV files")
	flag.StringVar(&o.scratch, "scratch", ".bin", "where indexes are put; it should be a real disk")
	flag.StringVar(&o.peers, "peers", "", "program that drives other libraries: compare with them instead")
	flag.StringVar(&o.python, "python", "python3", "interpreter of that program")
	flag.IntVar(&o.cpu, "cpu", runtime.NumCPU()-1, "core on which all are compared")
	flag.BoolVar(&o.extras, "extras", true, "measure scans against a read of memory, and upserts into a running peer, too (from the root of the sources)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := o.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o *options) run(ctx context.Context) (err error) {
	if o.data == "" {
		return errors.New("-data is needed: a folder of data sets, each with base.*.npy(.gz), queries.*.npy and distances.f32.npy")
	}
	if o.self, err = os.Executable(); err != nil {
		return err
	}
	if o.quick && o.rows == 0 {
		o.rows = 30_000
	}
	o.seconds = 0.25
	if o.quick {
		o.seconds = 0.1
	}
	if o.rounds == 0 {
		o.rounds = 3
		if o.quick {
			o.rounds = 2
		}
	}
	for _, dir := range []*string{&o.out, &o.scratch} {
		if err := os.MkdirAll(*dir, 0o755); err != nil {
			return err
		}
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
	dirs, err := find(o.data, strings.FieldsFunc(o.sets, func(r rune) bool { return r == ',' || r == ' ' }))
	if err != nil {
		return err
	}
	note("%d cores, %s/%s, %s; %s; m %d, ef_construct %d, k %d", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), processor(), links, efConstruct, k)
	if o.peers != "" {
		err = o.compare(ctx, dirs)
	} else {
		err = o.alone(ctx, dirs)
	}
	if err == nil && len(o.gaps) > 0 {
		err = fmt.Errorf("not measured:\n  %s", strings.Join(o.gaps, "\n  "))
	}
	return err
}

// gap notes what could not be measured; the rest goes on.
func (o *options) gap(what string, err error) {
	o.gaps = append(o.gaps, fmt.Sprintf("%s: %v", what, err))
	note("not measured: %s: %v", what, err)
}

// driver starts an engine of ours.
func (o *options) driver(ctx context.Context, cpu int) (*driver, error) {
	return start(ctx, "pando", cpu, o.self, "drive")
}

// build asks for an index over a data set.
func (o *options) build(d *dataset, threads int) request {
	return request{Do: "build", Folder: d.dir, Rows: len(d.base), Distance: d.distance, M: links, EfConstruct: efConstruct, Threads: threads, Scratch: o.scratch}
}

// efs are the settings that curves are drawn over.
func (o *options) efs() []int {
	if o.quick {
		return []int{10, 16, 32, 64, 128, 256, 512}
	}
	return []int{10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768}
}

func note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// processor is its name, as Linux tells it.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "processor unknown"
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "processor unknown"
}
