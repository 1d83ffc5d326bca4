//go:build !race

package sparse

import (
	"context"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// The race detector makes pools forget, so it cannot count what a search takes.
func TestAllocations(t *testing.T) {
	s := synthetic(3000, 5)
	x, err := Build(query.Float32, s.all)
	if err != nil {
		t.Fatal(err)
	}
	tail := NewTail(query.Float32)
	for row, v := range s.all {
		if err := tail.Put(row, v); err != nil {
			t.Fatal(err)
		}
	}
	hits := make([]index.Hit, 0, 10)
	q := ask(s.queries[0], 10)
	few := ask(s.queries[0], 10)
	few.Rows = []uint32{1, 5, 99}
	example := op.Vector{Indices: q.Indices, Data: q.Vector}
	r, err := query.Discover(example, []query.Pair{{Near: example, Far: example}})
	if err != nil {
		t.Fatal(err)
	}
	ranked := &Query{Stored: func(uint32) (Vector, bool) { return Vector{}, true }}
	ranked.Rank, ranked.K = r, 10
	for form, x := range map[string]searching{"index": x, "tail": tail} {
		for _, q := range []*Query{q, few, ranked} {
			// A collection of garbage may take the pool's searcher away once.
			if n := testing.AllocsPerRun(200, func() { hits, _ = x.Search(context.Background(), q, hits[:0]) }); n >= 1 {
				t.Errorf("%s: %v allocations a search", form, n)
			}
		}
	}
}
