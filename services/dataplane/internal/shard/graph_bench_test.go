package shard

import (
	"math/rand/v2"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// BenchmarkNearest: one search of a sealed segment of 20,000 unit vectors of 16
// dimensions, by the graph: what a search costs besides the walk.
func BenchmarkNearest(b *testing.B) {
	s, err := Open(withGraphs(memfs.New()))
	ok(b, err)
	rng, l := rand.New(rand.NewPCG(1, 1)), newLedger()
	for i := range 20 {
		clouds(l, rng, 1000*i, 1000)
	}
	l.add(op.Op{Kind: op.Seal})
	ok(b, s.Apply(l.entries))
	ok(b, s.Settle(ctx))
	v := unit(rng)
	b.ReportAllocs()
	for b.Loop() {
		_, err := s.Nearest(ctx, []query.Nearest{{Vector: v, Limit: 10, Params: query.Params{Ef: 10}}})
		ok(b, err)
	}
	ok(b, s.Close())
}
