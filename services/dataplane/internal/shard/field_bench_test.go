package shard

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

const benchPoints = 150_000

// fieldBench: 150,000 points of 100 dimensions; with all of five indexes if the
// settings say so.
func fieldBench() Options {
	return Options{FS: memfs.New(), Dir: dir, Schema: query.Schema{Vectors: []query.VectorSchema{{Size: 100, Distance: query.Dot}}},
		Settings: func(settings []byte) (out query.Settings, _ error) {
			if len(settings) > 0 {
				out.Fields = []query.FieldIndex{{Key: "kind", Type: query.KeywordField}, {Key: "word", Type: query.KeywordField}, {Key: "length", Type: query.IntegerField, Lookup: true, Range: true},
					{Key: "rank", Type: query.FloatField}, {Key: "at", Type: query.DatetimeField}}
			}
			return out, nil
		}}
}

func benchShard(b *testing.B, o Options) (*Shard, *ledger) {
	b.Helper()
	s, err := Open(o)
	ok(b, err)
	l, rng := newLedger(), rand.New(rand.NewPCG(1, 1))
	for from := 0; from < benchPoints; from += 1000 {
		var ps []op.Point
		for i := from; i < from+1000; i++ {
			v := make([]float32, 100)
			for d := range v {
				v[d] = rng.Float32()
			}
			ps = append(ps, op.Point{ID: num(uint64(i)), Vectors: []op.Vector{{Data: v}}, Payload: benchDoc(i, rng)})
		}
		l.clock.Next(uint64(from))
		o := op.Op{Kind: op.Upsert, Points: ps}
		ok(b, s.Apply([]op.Entry{l.stamped(o, l.clock.Next(uint64(from)), op.ID{})}))
	}
	return s, l
}

func benchDoc(i int, rng *rand.Rand) payload.Doc {
	return fields("kind", []string{"alpha", "mixed", "number"}[i%3], "word", fmt.Sprintf("word%d", i), "length", rng.IntN(17), "rank", rng.IntN(benchPoints),
		"at", fmt.Sprintf("2024-%02d-%02dT10:11:12Z", 1+i%12, 1+i%28), "first", string(rune('a'+i%26)))
}

// BenchmarkFields reads the same with and without indexes.
func BenchmarkFields(b *testing.B) {
	s, l := benchShard(b, fieldBench())
	b.Cleanup(func() { ok(b, s.Close()) })
	text := func(s string) filter.Scalar { return filter.Scalar{Kind: filter.StringScalar, Str: s} }
	few, many := 1500., 135_000.
	v := make([]float32, 100)
	for i := range v {
		v[i] = float32(i) / 100
	}
	reads := []struct {
		name string
		f    *filter.Filter
	}{
		{"third", &filter.Filter{Must: []filter.Condition{filter.Match{Key: "kind", Value: text("alpha")}}}},
		{"one", &filter.Filter{Must: []filter.Condition{filter.Match{Key: "word", Value: text("word777")}}}},
		{"percent", &filter.Filter{Must: []filter.Condition{filter.Range{Key: "rank", LT: &few}}}},
		{"nine-tenths", &filter.Filter{Must: []filter.Condition{filter.Range{Key: "rank", LT: &many}}}},
		{"three", &filter.Filter{Must: []filter.Condition{filter.Match{Key: "kind", Value: text("mixed")}, filter.Range{Key: "rank", LT: &few}},
			MustNot: []filter.Condition{filter.Match{Key: "length", Value: filter.Scalar{Kind: filter.IntScalar, Int: 3}}}}},
	}
	for _, how := range []string{"plain", "indexed"} {
		if how == "indexed" {
			ok(b, s.Apply([]op.Entry{l.stamped(op.Op{Kind: op.Config, Revision: 1, Settings: []byte{1}}, l.clock.Next(0), op.ID{})}))
		}
		for _, r := range reads {
			b.Run("count/"+r.name+"/"+how, func(b *testing.B) {
				for b.Loop() {
					if n, err := s.Count(ctx, query.Count{Filter: r.f}); n == 0 || err != nil {
						b.Fatal(n, err)
					}
				}
			})
			b.Run("scroll/"+r.name+"/"+how, func(b *testing.B) {
				for b.Loop() {
					if page, _, err := s.Scroll(ctx, query.Scroll{Filter: r.f, Limit: 10}); len(page) == 0 || err != nil {
						b.Fatal(len(page), err)
					}
				}
			})
			b.Run("nearest/"+r.name+"/"+how, func(b *testing.B) {
				for b.Loop() {
					if hits, err := s.Nearest(ctx, []query.Nearest{{Vector: v, Filter: r.f, Limit: 10}}); len(hits[0]) == 0 || err != nil {
						b.Fatal(hits, err)
					}
				}
			})
		}
	}
}

// BenchmarkFieldsBuild is what indexes cost: when they are made, at each open and
// in memory; five of them.
func BenchmarkFieldsBuild(b *testing.B) {
	o := fieldBench()
	s, l := benchShard(b, o)
	_, err := s.Checkpoint()
	ok(b, err)
	reopen := func(name string) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ok(b, s.Close())
				if s, err = Open(o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	reopen("open/plain")
	before := heap()
	on := byte(1)
	b.Run("entry", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			ok(b, s.Apply([]op.Entry{l.stamped(op.Op{Kind: op.Config, Revision: 1}, l.clock.Next(0), op.ID{})}))
			b.StartTimer()
			ok(b, s.Apply([]op.Entry{l.stamped(op.Op{Kind: op.Config, Revision: 2, Settings: []byte{on}}, l.clock.Next(0), op.ID{})}))
		}
		b.ReportMetric(float64(heap()-before)/benchPoints, "B/point")
	})
	_, err = s.Checkpoint()
	ok(b, err)
	reopen("open/indexed")
	ok(b, s.Close())
}
