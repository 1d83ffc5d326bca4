package shard

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/budget"
	"github.com/pandodb/pando/services/internal/vfs"
)

// BenchmarkBesideMerge: how long searches and upserts of one point take that come at a
// steady pace while two parts of 20,000 points of 128 dimensions are merged and get a
// graph, on a disk. An upsert is a write and a sync of a log, and its application.
func BenchmarkBesideMerge(b *testing.B) {
	for _, c := range []struct {
		name  string
		merge bool
		budget.Options
	}{
		{"alone", false, budget.Options{Threads: 1}},
		{"one thread, 100 MiB per s", true, budget.Options{Threads: 1, BytesPerSecond: 100 << 20}},
		{"two threads, no pace", true, budget.Options{Threads: 2}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				besideMerge(b, c.merge, c.Options)
			}
		})
	}
}

func besideMerge(b *testing.B, merge bool, budgeted budget.Options) {
	const dim, half = 128, 20_000
	b.StopTimer()
	o := benchOptions(vfs.OS(), dim)
	o.Dir = filepath.Join(b.TempDir(), "shard")
	o.Background = budget.New(budgeted)
	o.Settings = func([]byte) (query.Settings, error) {
		return query.Settings{Optimizers: query.Optimizers{IndexingThresholdKB: 1000},
			Vectors: []query.VectorSettings{{HNSW: query.HNSW{M: 16, EfConstruct: 100}}}}, nil
	}
	s := open(b, o)
	l, rng := newLedger(), rand.New(rand.NewPCG(4, 2))
	vector := func() []float32 {
		v := make([]float32, dim)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	upsert := func(from, n int) op.Op {
		o := op.Op{Kind: op.Upsert}
		for i := range n {
			o.Points = append(o.Points, op.Point{ID: num(uint64(from + i)), Vectors: []op.Vector{{Data: vector()}}, Payload: fields("k", i%10)})
		}
		return o
	}
	for part := range 2 {
		for at := range half / 1000 {
			l.add(upsert(half*part+1000*at, 1000))
		}
		l.add(op.Op{Kind: op.Seal})
	}
	l.catchUp(b, s)
	ok(b, s.Settle(ctx))
	log, err := o.FS.Create(filepath.Join(filepath.Dir(o.Dir), "log"))
	ok(b, err)
	defer func() { ok(b, log.Close()) }()
	b.StartTimer()
	end := make(chan struct{})
	if merge {
		l.add(op.Op{Kind: op.Merge, Parts: partNumbers(s)})
		l.catchUp(b, s)
		go func() {
			defer close(end)
			ok(b, s.Settle(ctx))
		}()
	} else {
		time.AfterFunc(8*time.Second, func() { close(end) })
	}
	var wg sync.WaitGroup
	queries := [][]float32{vector(), vector(), vector(), vector()}
	wg.Go(func() {
		steadily(b, "search", 20*time.Millisecond, end, func(i int) {
			_, err := s.Nearest(ctx, []query.Nearest{{Vector: queries[i%4], Limit: 10}})
			ok(b, err)
		})
	})
	wg.Go(func() {
		steadily(b, "upsert", 20*time.Millisecond, end, func(i int) {
			e := l.add(upsert(3*half+i%500, 1))
			_, err := log.Write(e.Body)
			ok(b, err)
			ok(b, log.SyncData())
			ok(b, s.Apply([]op.Entry{e}))
		})
	})
	wg.Wait()
}

// steadily calls do at a pace until end, and reports how long after they were due the
// calls ended.
func steadily(b *testing.B, what string, every time.Duration, end <-chan struct{}, do func(i int)) {
	var took []time.Duration
	start := time.Now()
	for i := 0; ; i++ {
		due := start.Add(time.Duration(i) * every)
		select {
		case <-end:
			slices.Sort(took)
			for _, p := range []int{50, 99} {
				b.ReportMetric(float64(took[len(took)*p/100].Microseconds())/1000, fmt.Sprintf("%s-p%d-ms", what, p))
			}
			b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, what+"-max-ms")
			return
		case <-time.After(time.Until(due)):
		}
		do(i)
		took = append(took, time.Since(due))
	}
}
