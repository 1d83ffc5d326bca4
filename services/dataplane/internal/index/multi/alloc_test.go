//go:build !race

package multi

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
)

// The race detector makes pools forget, so it cannot count what a search takes.
func TestAllocations(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 7))
	for _, s := range spaces(16) {
		m := &model{s, map[uint32][]float32{}}
		for row := range uint32(100) {
			m.rows[row] = vectors(rng, s, 9)
		}
		q := &Query{Query: index.Query{Vector: vectors(rng, s, 9), K: 10}}
		hits := make([]index.Hit, 0, 10)
		for form, x := range m.forms(t) {
			// A collection of garbage may take the pool's searcher away once.
			if n := testing.AllocsPerRun(100, func() { hits, _ = x.Search(context.Background(), q, hits[:0]) }); n >= 1 {
				t.Errorf("%s, %+v: %v allocations a search", form, s, n)
			}
		}
	}
}
