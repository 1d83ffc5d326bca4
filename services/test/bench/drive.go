package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pandodb/pando/services/dataplane/bare"
	"github.com/pandodb/pando/services/test/percentile"
)

// portion is the points of one write.
const portion = 256

// held is what a driver of ours holds.
type held struct {
	engine  bare.Engine
	points  []bare.Point // kept, so that what is resident grows by the index alone
	queries []bare.Query
	scratch string
}

// drive answers requests, a line each, until the input ends.
func drive(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	h := &held{}
	defer func() { err = errors.Join(err, h.close()) }()
	enc := json.NewEncoder(out)
	for r := bufio.NewReaderSize(in, 1<<20); ; {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var q request
		var a reply
		if err = json.Unmarshal(line, &q); err == nil {
			a, err = h.answer(ctx, q)
		}
		if err != nil {
			a = reply{Error: err.Error()}
		}
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
}

func (h *held) answer(ctx context.Context, q request) (reply, error) {
	switch {
	case q.Do == "build" && h.engine == nil:
		return h.build(ctx, q)
	case q.Do == "search" && h.engine != nil:
		return h.search(ctx, q)
	case q.Do == "memory":
		rss, err := resident()
		return reply{RSS: rss}, err
	}
	return reply{}, fmt.Errorf("%q: must be one build, then search or memory", q.Do)
}

func (h *held) close() error {
	if h.engine == nil {
		return nil
	}
	return errors.Join(h.engine.Close(), os.RemoveAll(h.scratch))
}

func (h *held) build(ctx context.Context, q request) (a reply, err error) {
	points, err := h.read(q)
	if err != nil {
		return a, err
	}
	h.points = points
	if h.scratch, err = os.MkdirTemp(q.Scratch, "pando-bench-"); err != nil {
		return a, err
	}
	o := bare.Options{Dir: filepath.Join(h.scratch, "shard"), Dim: len(points[0].Vector), Distance: q.Distance, M: q.M, EfConstruct: q.EfConstruct,
		Threads: q.Threads, Quantization: q.Quantization, Fields: q.Fields}
	if q.Sparse {
		o.Dim = 0
	}
	if a.Before, err = resident(); err != nil {
		return a, err
	}
	begin, cpu := time.Now(), used()
	e, err := bare.Open(o)
	if err != nil {
		return a, errors.Join(err, os.RemoveAll(h.scratch))
	}
	h.engine = e
	for part := range slices.Chunk(points, portion) {
		if err := e.Add(ctx, part); err != nil {
			return a, err
		}
	}
	a.Adding = time.Since(begin).Seconds()
	if err := e.Seal(ctx); err != nil {
		return a, err
	}
	a.Wall, a.CPU = time.Since(begin).Seconds(), used()-cpu
	a.RSS, err = resident()
	return a, err
}

// read reads points and queries of a data set.
func (h *held) read(q request) (points []bare.Point, err error) {
	if q.Sparse {
		s, err := loadSparse(filepath.Join(q.Folder, "sparse"))
		if err != nil || s == nil {
			return nil, errors.Join(err, fmt.Errorf("%s: there are no sparse vectors", q.Folder))
		}
		for i, v := range s.base {
			points = append(points, bare.Point{ID: uint64(i), Vector: v.values, Indices: v.indices})
		}
		for _, v := range s.queries {
			h.queries = append(h.queries, bare.Query{Vector: v.values, Indices: v.indices})
		}
		return points, nil
	}
	base, queries, err := matrices(q.Folder)
	if err != nil {
		return nil, err
	}
	if q.Rows > 0 {
		base = base[:min(q.Rows, len(base))]
	}
	if len(base) == 0 || len(queries) == 0 {
		return nil, fmt.Errorf("%s: there are no vectors", q.Folder)
	}
	for i, v := range base {
		points = append(points, bare.Point{ID: uint64(i), Vector: v})
	}
	for _, v := range queries {
		h.queries = append(h.queries, bare.Query{Vector: v})
	}
	if len(q.Fields) == 0 {
		return points, nil
	}
	all, err := lines(filepath.Join(q.Folder, "base.jsonl.gz"), len(points))
	if err == nil && len(all) < len(points) {
		err = fmt.Errorf("%s: %d payloads for %d points", q.Folder, len(all), len(points))
	}
	if err != nil {
		return nil, err
	}
	for i := range points {
		points[i].Payload = all[i]
	}
	return points, nil
}

func (h *held) search(ctx context.Context, r request) (a reply, err error) {
	queries := slices.Clone(h.queries)
	if r.Queries > 0 {
		queries = queries[:min(r.Queries, len(queries))]
	}
	var filters []*bare.Filter
	for _, conditions := range r.Filters {
		f, err := bare.NewFilter(conditions)
		if err != nil {
			return a, err
		}
		filters = append(filters, f)
	}
	for i := range queries {
		q := &queries[i]
		q.K, q.Ef, q.Exact = r.K, r.Ef, r.Exact
		if len(filters) > 0 {
			q.Filter = filters[min(i, len(filters)-1)]
		}
	}
	a.IDs = make([][]uint64, len(queries)) // before anything is measured: it warms caches too
	for i := range queries {
		if a.IDs[i], err = h.engine.Search(ctx, &queries[i], nil); err != nil {
			return a, err
		}
	}
	threads := min(max(1, r.Threads), len(queries))
	took := make([][]time.Duration, threads)
	errs := make([]error, threads)
	var all sync.WaitGroup
	begin, cpu := time.Now(), used()
	for t := range threads {
		all.Go(func() {
			took[t], errs[t] = h.passes(ctx, queries[t*len(queries)/threads:(t+1)*len(queries)/threads], r.Seconds)
		})
	}
	all.Wait()
	sorted := slices.Sorted(slices.Values(slices.Concat(took...)))
	passes := float64(len(sorted)) / float64(len(queries))
	a.Wall, a.CPU = time.Since(begin).Seconds()/passes, (used()-cpu)/passes
	a.P50, a.P99 = percentile.Of(sorted, 50).Seconds(), percentile.Of(sorted, 99).Seconds()
	return a, errors.Join(errs...)
}

// passes searches for all queries, again and again until the time is over.
func (h *held) passes(ctx context.Context, queries []bare.Query, seconds float64) (took []time.Duration, err error) {
	var ids []uint64
	for start := time.Now(); len(took) == 0 || time.Since(start).Seconds() < seconds; {
		for i := range queries {
			begin := time.Now()
			if ids, err = h.engine.Search(ctx, &queries[i], ids[:0]); err != nil {
				return nil, err
			}
			took = append(took, time.Since(begin))
		}
	}
	return took, nil
}

// used is the CPU time of this process in seconds.
func used() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0 // it fails for wrong arguments only
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// resident is the memory of this process in bytes, without what is garbage.
func resident() (int64, error) {
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("/proc/self/status has no VmRSS")
}
