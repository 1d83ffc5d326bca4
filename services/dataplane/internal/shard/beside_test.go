package shard

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// TestReadersBesideApply: every read sees whole entries. Each entry writes the
// same number into all points.
func TestReadersBesideApply(t *testing.T) {
	s := open(t, options(memfs.New()))
	l := newLedger()
	const points = 64
	write := func(n int) {
		var ps []op.Point
		for i := range uint64(points) {
			ps = append(ps, op.Point{ID: num(i), Vectors: []op.Vector{{Name: "", Data: []float32{float32(n), 1}}}, Payload: fields("n", n)})
		}
		if err := s.Apply([]op.Entry{l.add(op.Op{Kind: op.Upsert, Points: ps})}); err != nil {
			t.Error(err)
		}
	}
	write(0)
	var stop atomic.Bool
	var wg sync.WaitGroup
	all := query.Want{Payload: query.PayloadWant{All: true}, Vectors: true}
	uniform := func(rs []query.Record) {
		for _, r := range rs {
			if r.Version != rs[0].Version || len(rs) != points || string(r.Payload) != string(rs[0].Payload) {
				t.Errorf("a torn read: %d records", len(rs))
				return
			}
			if v, _ := r.Payload.Get("n"); len(r.Vectors) == 1 && r.Vectors[0].Data[0] != float32(v.Int()) {
				t.Errorf("a torn record: %v, %d", r.Vectors[0].Data, v.Int())
			}
		}
	}
	for reader := range 3 {
		wg.Go(func() {
			for !stop.Load() {
				var rs []query.Record
				var err error
				switch reader {
				case 0:
					rs, _, err = s.Scroll(ctx, query.Scroll{Limit: points, Want: all})
				case 1:
					var hits [][]query.Scored
					hits, err = s.Nearest(ctx, []query.Nearest{{Vector: []float32{1, 0}, Limit: points, Want: all}})
					for _, h := range hits[0] {
						rs = append(rs, h.Record)
					}
				default:
					var ids []topology.PointID
					for i := range uint64(points) {
						ids = append(ids, num(i))
					}
					rs, err = s.Get(ctx, query.Get{IDs: ids, Want: all})
				}
				if err != nil {
					t.Error(err)
					return
				}
				uniform(rs)
			}
		})
	}
	for n := 1; n <= 60; n++ {
		write(n)
	}
	stop.Store(true)
	wg.Wait()
}

func random(n, dim int, rng *rand.Rand) []op.Entry {
	l := newLedger()
	var out []op.Entry
	for at := 0; at < n; at += 1000 {
		var ps []op.Point
		for i := at; i < min(at+1000, n); i++ {
			v := make([]float32, dim)
			for j := range v {
				v[j] = rng.Float32()
			}
			ps = append(ps, op.Point{ID: num(uint64(i)), Vectors: []op.Vector{{Name: "", Data: v}}, Payload: fields("i", i, "s", fmt.Sprint("word ", i%100))})
		}
		o := op.Op{Kind: op.Upsert, Points: ps}
		out = append(out, op.Entry{Seq: topology.Seq(len(out) + 1), HLC: l.clock.Next(1), Origin: 1, ID: op.ID{Request: [16]byte{byte(len(out)), byte(len(out) >> 8), 1}}, Body: o.Append(nil)})
	}
	return out
}

func benchOptions(fs vfs.FS, dim int) Options {
	o := options(fs)
	o.Schema = query.Schema{Vectors: []query.VectorSchema{{Name: "", Size: dim, Distance: query.Dot}}}
	return o
}

// BenchmarkApply: points of 100 elements and a small payload, 1000 to an entry,
// one entry to a call, checkpoint at the end included.
func BenchmarkApply(b *testing.B) {
	const n = 50_000
	entries := random(n, 100, rand.New(rand.NewPCG(1, 1)))
	for b.Loop() {
		o := benchOptions(vfs.OS(), 100)
		o.Dir = path.Join(b.TempDir(), "shard")
		s, err := Open(o)
		ok(b, err)
		for _, e := range entries {
			ok(b, s.Apply([]op.Entry{e}))
		}
		_, err = s.Checkpoint()
		ok(b, errors.Join(err, s.Close()))
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "points/s")
}

// BenchmarkOpen: 100,000 points of 100 elements.
func BenchmarkOpen(b *testing.B) {
	const n = 100_000
	o := benchOptions(vfs.OS(), 100)
	o.Dir = path.Join(b.TempDir(), "shard")
	s, err := Open(o)
	ok(b, err)
	ok(b, s.Apply(random(n, 100, rand.New(rand.NewPCG(1, 1)))))
	_, err = s.Checkpoint()
	ok(b, errors.Join(err, s.Close()))
	for b.Loop() {
		s, err := Open(o)
		ok(b, err)
		if points(b, s) != n {
			b.Fatal("points missing")
		}
		ok(b, s.Close())
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "points/s")
}
