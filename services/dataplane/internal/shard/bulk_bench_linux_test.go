package shard

import (
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/npy"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// rows150k are 150,000 vectors of 100 elements of length 1: those of the folder
// words-100-angular in that which PANDO_DATA names, or made ones around 1,000 centres.
func rows150k(b *testing.B) (out [][]float32) {
	defer func() {
		for _, v := range out {
			normalize(v)
		}
	}()
	if dir := os.Getenv("PANDO_DATA"); dir != "" {
		f, err := os.Open(filepath.Join(dir, "words-100-angular", "base.f16.npy.gz"))
		ok(b, err)
		defer func() { ok(b, f.Close()) }()
		z, err := gzip.NewReader(f)
		ok(b, err)
		r, err := npy.NewReader(z)
		ok(b, err)
		for {
			v, err := r.Next(nil)
			if err == io.EOF {
				return out
			}
			ok(b, err)
			out = append(out, v)
		}
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range 150_000 {
		centre, v := rand.New(rand.NewPCG(uint64(i%1000), 8)), make([]float32, 100)
		for j := range v {
			v[j] = float32(centre.NormFloat64() + 0.7*rng.NormFloat64())
		}
		out = append(out, v)
	}
	return out
}

// BenchmarkBulkLoad: 150,000 points of 100 elements, 1,000 to an entry, until all is
// sealed, merged and has graphs, whose primary merges as soon as it is due. cpu-s is CPU
// time, sources are the parts that merges took, recall is that of ten at the default ef.
func BenchmarkBulkLoad(b *testing.B) {
	vectors := rows150k(b)
	for _, c := range []query.Optimizers{
		{IndexingThresholdKB: 10_000},
		{IndexingThresholdKB: 10_000, SegmentNumber: 1},
		{IndexingThresholdKB: 2_000},
		{IndexingThresholdKB: 2_000, SegmentNumber: 1},
	} {
		b.Run(fmt.Sprintf("threshold=%d/segments=%d", c.IndexingThresholdKB, c.SegmentNumber), func(b *testing.B) {
			for b.Loop() {
				bulkLoad(b, vectors, c)
			}
		})
	}
}

func bulkLoad(b *testing.B, vectors [][]float32, c query.Optimizers) {
	o := options(vfs.OS())
	o.Dir = filepath.Join(b.TempDir(), "shard")
	o.Schema = query.Schema{Vectors: []query.VectorSchema{{Size: 100, Distance: query.Cosine}}}
	o.Settings = func([]byte) (query.Settings, error) {
		return query.Settings{Optimizers: c, Vectors: []query.VectorSettings{{HNSW: query.HNSW{M: 16, EfConstruct: 100, Threads: 1}}}}, nil
	}
	s := open(b, o)
	l := newLedger()
	sources := 0
	due := func() bool {
		next, due := s.Due()
		if due {
			sources += len(next.Parts)
			l.add(next)
			ok(b, s.Apply(l.entries[s.Applied().Seq:]))
			ok(b, s.Settle(ctx))
		}
		return due
	}
	from := spent()
	for at := 0; at < len(vectors); at += 1000 {
		var ps []op.Point
		for i := at; i < min(at+1000, len(vectors)); i++ {
			ps = append(ps, op.Point{ID: num(uint64(i)), Vectors: []op.Vector{{Data: vectors[i]}}, Payload: fields("k", i%10)})
		}
		l.add(op.Op{Kind: op.Upsert, Points: ps})
		ok(b, s.Apply(l.entries[s.Applied().Seq:]))
		for due() {
		}
	}
	for quiet := 0; quiet < 2*quietCalls; quiet++ {
		if due() {
			quiet = 0
		}
	}
	b.ReportMetric(spent()-from, "cpu-s")
	b.ReportMetric(float64(sources), "sources")
	b.ReportMetric(float64(s.Info().Segments), "segments")
	found := 0
	for i := range 200 {
		exact := nearest(b, s, vectors[i*701], true)
		near := nearest(b, s, vectors[i*701], false)
		for id := range near {
			if exact[id] {
				found++
			}
		}
	}
	b.ReportMetric(float64(found)/2000, "recall")
}

func nearest(b *testing.B, s *Shard, v []float32, exact bool) map[topology.PointID]bool {
	got, err := s.Nearest(ctx, []query.Nearest{{Vector: v, Limit: 10, Params: query.Params{Exact: exact}}})
	ok(b, err)
	ids := map[topology.PointID]bool{}
	for _, h := range got[0] {
		ids[h.ID] = true
	}
	return ids
}

// spent is the CPU time of the process, in seconds.
func spent() float64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
