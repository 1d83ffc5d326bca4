package rank

import (
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// TestBlendIsBounded: a ranking by many examples takes no more memory than one by few,
// and gives each row its own score.
func TestBlendIsBounded(t *testing.T) {
	for _, examples := range []int{1, 7, 1000, query.MaxExamples} {
		r, err := query.BestScore(make([]op.Vector, examples), nil)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := MetricOf(query.Euclid)
		var b Blend
		raws := make([]float32, 70)
		b.Raws(&m, r, raws, func(example, from int, raws []float32) {
			for i := range raws {
				raws[i] = float32(from+i) + float32(examples-example) // the last example is the nearest
			}
		})
		for i, raw := range raws {
			want := -(1 - float32(i+1)/float32(i+2)) / 2 // -h(-distance)
			if d := raw - want; d > 1e-6 || d < -1e-6 {
				t.Fatalf("%d examples, row %d: %v, not %v", examples, i, raw, want)
			}
		}
		if len(b.sims) > atOnce {
			t.Errorf("%d examples: %d values at once", examples, len(b.sims))
		}
	}
}
