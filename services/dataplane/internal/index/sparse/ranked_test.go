package sparse

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// TestRanks: both forms answer what scoring every row by each ranking does, bit for bit,
// those included that share no dimension with an example, or have none.
func TestRanks(t *testing.T) {
	for name, s := range map[string]shape{"signed": {3000, 8, signed}, "few": {60, 4, few}} {
		for _, datatype := range []query.Datatype{query.Float32, query.Float16, query.Uint8} {
			t.Run(fmt.Sprintf("%s/%d", name, datatype), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(4, uint64(datatype)))
				m := &model{datatype, someRows(rng, 5000, 9000, s)}
				m.rows[17], m.rows[8000] = Vector{}, Vector{}
				forms := m.forms(t, rng)
				stored := func(row uint32) (Vector, bool) { v, ok := m.rows[row]; return v, ok }
				ranks := indextest.Rankings(t, func() op.Vector { v := s.vector(rng); return op.Vector{Indices: v.Indices, Data: v.Weights} })
				for i, r := range slices.Concat(ranks, ranks) {
					q := m.query(rng, s, i)
					q.Rank, q.Threshold, q.Stored = r.Rank, nil, stored
					if i%10 == 6 {
						q.Threshold = new(float32(-0.5))
					}
					want := m.search(q)
					for form, x := range forms {
						if got := find(t, x, q); !slices.Equal(got, want) {
							t.Fatalf("%s, query %d, %s:\n got %v\nwant %v", form, i, r.Name, got, want)
						}
					}
				}
			})
		}
	}
}

// TestManyTerms: a ranking of more dimensions than are taken block by block is one too.
func TestManyTerms(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	s := shape{100, 6, signed}
	m := &model{query.Float32, someRows(rng, 300, 900, s)}
	wide := op.Vector{}
	for i := range uint32(mostTerms + 1) {
		wide.Indices, wide.Data = append(wide.Indices, i), append(wide.Data, signed(rng))
	}
	low := s.vector(rng)
	r, err := query.SumScores([]op.Vector{wide, {Indices: low.Indices, Data: low.Weights}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	q := &Query{Stored: func(row uint32) (Vector, bool) { v, ok := m.rows[row]; return v, ok }}
	q.Rank, q.K = r, 400
	want := m.search(q)
	for form, x := range m.forms(t, rng) {
		if got := find(t, x, q); !slices.Equal(got, want) || len(got) != len(m.rows) {
			t.Errorf("%s: %v, want %v", form, got, want)
		}
	}
}
