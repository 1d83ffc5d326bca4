package sparse

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// TestOracle: which rows are answered, in which order and with which scores is what
// the published Python client's own engine says. testdata/generate.py asked it.
func TestOracle(t *testing.T) {
	type vector struct {
		Indices []uint32
		Values  []float32
	}
	var cases []struct {
		IDF   bool
		Rows  []vector
		Query vector
		Hits  [][2]float64
	}
	b, err := os.ReadFile("testdata/oracle.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		m := &model{query.Float32, map[uint32]Vector{}}
		for i, v := range c.Rows {
			m.rows[uint32(i)] = Vector{v.Indices, v.Values}
		}
		for form, x := range m.forms(t, rand.New(rand.NewPCG(1, 1))) {
			weights := c.Query.Values
			if c.IDF {
				df := func(dim uint32) uint64 { return uint64(x.Frequency(dim)) }
				weights = scale(nil, Vector{c.Query.Indices, weights}, uint64(x.Len()), df)
			}
			got := find(t, x, &Query{Indices: c.Query.Indices, Query: index.Query{Vector: weights, K: len(c.Rows)}})
			if len(got) != len(c.Hits) {
				t.Fatalf("%s, idf %v: %d hits, not %d", form, c.IDF, len(got), len(c.Hits))
			}
			for i, want := range c.Hits {
				if got[i].Row != uint32(want[0]) || math.Abs(float64(got[i].Score)-want[1]) > 1e-5 {
					t.Errorf("%s, idf %v: hit %d is %v, not %v", form, c.IDF, i, got[i], want)
				}
			}
		}
	}
}
