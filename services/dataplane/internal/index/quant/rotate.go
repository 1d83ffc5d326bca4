package quant

import "github.com/pandodb/pando/services/dataplane/internal/kernel/rotation"

// spread centres vectors and rotates them, padded with zeros.
type spread struct {
	*rotation.Rotation
	n      int       // elements that come out
	centre []float32 // the mean of the rows
}

func newSpread(dim int, centre []float32) *spread {
	n := padded(dim, 16)
	return &spread{rotation.New(n), n, centre}
}

// learnSpread takes the mean of a sample, which is near enough: a centre that is
// off costs accuracy, never correctness.
func learnSpread(v *Vectors) *spread {
	sums := make([]float64, v.Dim)
	rows := v.sample(4096)
	var memory []float32
	for _, r := range rows {
		for i, x := range v.read(r, &memory) {
			sums[i] += float64(finite(x))
		}
	}
	s := newSpread(v.Dim, make([]float32, v.Dim))
	for i, sum := range sums {
		s.centre[i] = finite(float32(sum / float64(max(1, len(rows)))))
	}
	return s
}

// finite is 0 for what is no number: whose bits differ from machine to machine.
func finite(x float32) float32 {
	if x-x != 0 {
		return 0
	}
	return x
}

// put sets dst, of n elements, to what becomes of v.
func (s *spread) put(dst, v []float32) {
	dst = dst[:s.n]
	clear(dst[copy(dst, v):])
	for i, c := range s.centre {
		dst[i] = finite(v[i] - c)
	}
	s.Turn(dst)
}
