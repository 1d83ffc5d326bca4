package hnsw

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// TestRankRecall: a search by a ranking finds at least 0.95 of the best ten among real
// vectors at the default ef, with and without a filter.
func TestRankRecall(t *testing.T) {
	for _, dir := range folders(t) {
		d := load(t, dir)
		t.Run(d.name, func(t *testing.T) {
			x := graph(t, d)
			rng := rand.New(rand.NewPCG(1, 1))
			half := bitsOf(x.v.rows, func(r uint32) bool { return r%2 == 0 })
			found := map[string]float64{}
			const rounds = 20
			for range rounds {
				for _, r := range indextest.Rankings(t, func() op.Vector { return op.Vector{Data: d.queries[rng.IntN(len(d.queries))]} }) {
					q := Query{Query: index.Query{Rank: r.Rank, K: 10}}
					for how, bits := range map[string][]uint64{"": nil, ", filtered": half} {
						q.Bits, q.Exact, q.ScanBelow = bits, true, 0
						want, err := x.Search(t.Context(), &q, nil)
						if err != nil || len(want) != 10 {
							t.Fatal(want, err)
						}
						q.Exact, q.ScanBelow = false, 1
						got, err := x.Search(t.Context(), &q, nil)
						if err != nil || len(got) != 10 {
							t.Fatal(got, err)
						}
						found[r.Name+how] += indextest.Recall(query.Dot, got, want) / rounds
					}
				}
			}
			for name, recall := range found {
				least := 0.95
				if strings.Contains(name, " of 0 less") && !strings.HasPrefix(d.name, "words") {
					least = 0.75 // what is like nothing is scattered, and few links lead to it
				}
				if t.Logf("%-45s recall@10 %.4f", name, recall); recall < least {
					t.Errorf("%s: recall@10 is %.4f", name, recall)
				}
			}
		})
	}
}
