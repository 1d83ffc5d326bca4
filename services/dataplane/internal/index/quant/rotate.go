package quant

import (
	"math"
	"math/bits"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
)

// rotation turns vectors at random, without changing lengths and angles: what was
// in few elements is spread evenly over all, and each is nearly normally
// distributed, whatever the data. It is part of the format.
//
// n elements, the vector's padded with zeros, go through some rounds: signs are
// flipped at random; the first t elements, or the last in every second round, go
// through a Hadamard transform, where t is the greatest power of two up to n; then,
// unless t is n, elements i and i+n/2 become their sum and their difference. What
// that multiplies lengths by is divided out together with the signs.
type rotation struct {
	n, t  int
	signs [][]float32 // factors, per round
}

// rounds are as many as it takes for the elements of a rotated basis vector to
// have the kurtosis of a normal distribution.
func rounds(whole bool) int {
	if whole {
		return 3
	}
	return 6
}

func newRotation(dim int) *rotation {
	n := padded(dim, 16)
	r := &rotation{n: n, t: 1 << (bits.Len(uint(n)) - 1), signs: make([][]float32, rounds(n&(n-1) == 0))}
	inside, outside := float32(1/math.Sqrt(float64(r.t))), float32(1)
	if r.t < n {
		inside, outside = float32(1/math.Sqrt(2*float64(r.t))), float32(math.Sqrt(0.5))
	}
	var state uint64
	for round := range r.signs {
		r.signs[round] = make([]float32, n)
		from := 0
		if round%2 == 1 {
			from = n - r.t
		}
		for i := range n {
			if i%32 == 0 {
				state += 0x9e3779b97f4a7c15
			}
			by := outside
			if i >= from && i < from+r.t {
				by = inside
			}
			if mix(state)>>(i%32)&1 != 0 {
				by = -by
			}
			r.signs[round][i] = by
		}
	}
	return r
}

// mix makes a random number of state: the last step of splitmix64.
func mix(state uint64) uint64 {
	state = (state ^ state>>30) * 0xbf58476d1ce4e5b9
	state = (state ^ state>>27) * 0x94d049bb133111eb
	return state ^ state>>31
}

// turn rotates x, which has n elements, in place.
func (r *rotation) turn(x []float32) {
	x = x[:r.n]
	for round, signs := range r.signs {
		kernel.Times(x, signs)
		if round%2 == 0 {
			kernel.Hadamard(x[:r.t])
		} else {
			kernel.Hadamard(x[r.n-r.t:])
		}
		if r.t < r.n {
			kernel.Cross(x[:r.n/2], x[r.n/2:])
		}
	}
}

// spread centres vectors and rotates them.
type spread struct {
	*rotation
	centre []float32 // the mean of the rows
}

// learnSpread takes the mean of a sample, which is near enough: a centre that is
// off costs accuracy, never correctness.
func learnSpread(v *Vectors) spread {
	sums := make([]float64, v.Dim)
	rows := v.sample(4096)
	var memory []float32
	for _, r := range rows {
		for i, x := range v.read(r, &memory) {
			sums[i] += float64(finite(x))
		}
	}
	s := spread{newRotation(v.Dim), make([]float32, v.Dim)}
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
	s.turn(dst)
}
