package quant

import (
	"encoding/binary"
	"math"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
)

// estimator makes raw values of products with codes of a few bits. With r for a row
// that was centred and rotated, q' for such a query and u for the row's codes, as
// numbers around 0,
//
//	<r,q'> ≈ F*<u,q'>, F = |r|²/<r,u>
//
// is right on average (RaBitQ: Gao and Long, SIGMOD 2024), and wrong by E*|q'| for one
// standard deviation:
//
//	dot  <x,q>  = <r,q'> + T + <centre,q>      T = <r,centre>
//	L2   |x-q|² = T + |q'|² - 2<r,q'>          T = |r|²
//	L1   |x-q|  ≈ √(2/π * dim * L2)            T = |r|²
type estimator struct {
	*spread
	metric  kernel.Metric
	squared float64 // |u|² to be expected
}

// terms are F, T and E of a row.
type terms struct{ factor, term, wrong float64 }

const termBytes = 12

func termsOf(b []byte) terms {
	return terms{float64(float(b)), float64(float(b[4:])), float64(float(b[8:]))}
}

func (e *estimator) tables() []float32 { return e.centre }

// residual sets dst to what becomes of v, and gives its squared length.
func (e *estimator) residual(dst, v []float32) (squares float64) {
	e.put(dst, v)
	for _, x := range dst {
		squares += float64(float64(x) * float64(x))
	}
	return squares
}

// write writes the terms of a row v with |r|², <r,u> and |u|².
func (e *estimator) write(dst []byte, v []float32, squares, along, length float64) {
	term := squares
	if e.metric == kernel.Dot {
		term = 0
		for i, c := range e.centre {
			term += float64(float64(finite(v[i]-c)) * float64(c))
		}
	}
	var factor, wrong float64
	if along > 0 {
		factor = squares / along
		wrong = math.Sqrt(max(0, float64(float64(factor*factor)*length)-squares) / float64(e.n-1))
	}
	for i, f := range []float64{factor, term, wrong} {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(finite(float32(f))))
	}
}

// base is what a query adds to the estimates of all rows.
func (e *estimator) base(q []float32, length float64) float64 {
	if e.metric == kernel.Dot {
		return float64(kernel.Dot.PairFloat32(e.centre, q))
	}
	return length
}

func (e *estimator) raw(estimate float64, t terms, base float64) float32 {
	if e.metric == kernel.Dot {
		return float32(estimate + t.term + base)
	}
	raw := max(0, base+t.term-float64(2*estimate))
	if e.metric == kernel.L1 {
		raw = math.Sqrt(2 / math.Pi * float64(len(e.centre)) * raw)
	}
	return float32(raw)
}

// deviation is that of an estimate for a query of this squared length, whose elements
// are wrong by this variance.
func (e *estimator) deviation(t terms, length, noise float64) float32 {
	times := 1.0
	if e.metric == kernel.L2 {
		times = 2
	}
	return float32(times * math.Sqrt(float64(t.wrong*t.wrong*length)+float64(t.factor*t.factor*e.squared*noise)))
}
