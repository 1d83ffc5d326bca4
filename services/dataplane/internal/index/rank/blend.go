package rank

import (
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Blend makes raw values of those to several vectors. The zero value is ready; it is for
// one goroutine at a time.
type Blend struct{ sims []float32 }

// atOnce is how many values a blend holds at most.
const atOnce = 8 * query.MaxExamples

// Raws sets raws to the scores of r, in the form of raw values of m: what orders those
// orders these. compare sets raws to the raw values of rows, from one of them on, to an
// example.
func (b *Blend) Raws(m *Metric, r *query.Rank, raws []float32, compare func(example, from int, raws []float32)) {
	examples := len(r.Examples())
	size := atOnce / examples
	for from := 0; from < len(raws); from += size {
		part := raws[from:min(from+size, len(raws))]
		n := len(part)
		b.sims = slices.Grow(b.sims[:0], n*examples)[:n*examples]
		for i := range examples {
			compare(i, from, b.sims[i*n:(i+1)*n])
		}
		for i := range b.sims {
			b.sims[i] *= m.Sign
		}
		r.Score(b.sims, part)
		for i := range part {
			part[i] *= m.Sign
		}
	}
}

// Sum is the vector, in the memory of dst, whose inner products are the scores of r, if
// r is of dense vectors and there is one.
func (m *Metric) Sum(r *query.Rank, dst []float32) ([]float32, bool) {
	weights := r.Weights()
	if m.Raw != kernel.Dot || weights == nil {
		return dst, false
	}
	n := len(r.Examples()[0].Data)
	dst = slices.Grow(dst[:0], 2*n)[:n]
	clear(dst)
	unit := dst[n : 2*n]
	for i, e := range r.Examples() {
		copy(unit, e.Data)
		if m.Normalize {
			kernel.Normalize(unit)
		}
		for j, x := range unit {
			dst[j] += float32(weights[i] * float64(x))
		}
	}
	return dst, true
}
