package multi

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// TestOracle: order and scores are what the published Python client's own engine
// says. testdata/generate.py asked it.
func TestOracle(t *testing.T) {
	var cases []struct {
		Distance query.Distance
		Rows     [][][]float32
		Query    [][]float32
		Hits     [][2]float64
	}
	b, err := os.ReadFile("testdata/oracle.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		m := &model{Space{3, c.Distance, query.Float32}, map[uint32][]float32{}}
		for i, vs := range c.Rows {
			if c.Distance == query.Cosine {
				for _, v := range vs {
					kernel.Normalize(v)
				}
			}
			m.rows[uint32(i)] = slices.Concat(vs...)
		}
		for form, x := range m.forms(t) {
			q := &Query{Query: index.Query{Vector: slices.Concat(c.Query...), K: len(c.Rows)}}
			got, err := x.Search(t.Context(), q, nil)
			if err != nil || len(got) != len(c.Hits) {
				t.Fatalf("%s, distance %d: %v, %v", form, c.Distance, got, err)
			}
			for i, want := range c.Hits {
				if got[i].Row != uint32(want[0]) || math.Abs(float64(got[i].Score)-want[1]) > 1e-5 {
					t.Errorf("%s, distance %d: hit %d is %v, not %v", form, c.Distance, i, got[i], want)
				}
			}
		}
	}
}
