//go:build !race

package hnsw

import (
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// The race detector makes pools forget, so it cannot count what a search takes.

// TestAllocations: a search takes memory for its answer only.
func TestAllocations(t *testing.T) {
	v := random(3, 5000, 20, 10, 0, query.Cosine)
	x := build(t, v, Params{M: 8, EfConstruct: 50}, BuildOptions{Threads: 1})
	third := func(row uint32) bool { return row%3 == 0 }
	var rows []uint32
	for r := uint32(0); r < 5000; r += 3 {
		rows = append(rows, r)
	}
	ranks := indextest.Rankings(t, func() op.Vector { return op.Vector{Data: v.Float32[20:40]} })
	ranked := func(name string, q Query) Query {
		at := slices.IndexFunc(ranks, func(r indextest.Ranking) bool { return strings.HasPrefix(r.Name, name) })
		q.Rank = ranks[at].Rank
		return q
	}
	for name, q := range map[string]Query{
		"best score":      ranked("best", Query{ScanBelow: 1}),
		"sum of scores":   ranked("sum", Query{ScanBelow: 1}),
		"discovery":       ranked("discovery", Query{Query: index.Query{Accept: third}, ScanBelow: 1}),
		"scan by context": ranked("context", Query{Exact: true}),
		"plain":           {ScanBelow: 1},
		"filtered":        {Query: index.Query{Accept: third}, ScanBelow: 1},
		"filtered by row": {Query: index.Query{Rows: rows}, ScanBelow: 1},
		"filtered by bit": {Bits: bitsOf(5000, third), ScanBelow: 1},
		"scan of bits":    {Bits: bitsOf(5000, third), Exact: true},
		"scan of a list":  {Query: index.Query{Rows: rows[:50]}},
		"scan of all":     {Exact: true},
		"scan of some":    {Query: index.Query{Accept: third}, Exact: true, At: 1},
	} {
		q.Vector, q.K = v.Float32[:20], 10
		var dst []index.Hit
		if n := testing.AllocsPerRun(50, func() { dst, _ = x.Search(t.Context(), &q, dst[:0]) }); n > 0 || len(dst) != 10 {
			t.Errorf("%s: %v allocations, %d hits", name, n, len(dst))
		}
	}
}
