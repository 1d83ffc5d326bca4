// Package rotation turns vectors at random, without changing lengths and angles:
// what was in few elements is spread evenly over all, and each is nearly normally
// distributed, whatever the data. It is part of the formats of codes. Pure.
package rotation

import (
	"math"
	"math/bits"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
)

// Rotation is one of vectors of N elements; it does not change.
//
// They go through some rounds: signs are flipped at random; the first t elements, or
// the last in every second round, go through a Hadamard transform, where t is the
// greatest power of two up to N; then, unless t is N, elements i and i+N/2 become
// their sum and their difference, but for the last of an odd number. What that
// multiplies lengths by is divided out together with the signs.
type Rotation struct {
	N     int
	t     int
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

// New makes that of n elements, 1 to kernel.MaxDim.
func New(n int) *Rotation {
	r := &Rotation{N: n, t: 1 << (bits.Len(uint(n)) - 1), signs: make([][]float32, rounds(n&(n-1) == 0))}
	inside, outside := float32(1/math.Sqrt(float64(r.t))), float32(1)
	if r.t < n {
		inside, outside = float32(1/math.Sqrt(2*float64(r.t))), float32(math.Sqrt(0.5))
	}
	var state uint64
	for round := range r.signs {
		r.signs[round] = make([]float32, n)
		from := r.from(round)
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

// from is the first element that a round transforms.
func (r *Rotation) from(round int) int {
	if round%2 == 1 {
		return r.N - r.t
	}
	return 0
}

// mix makes a random number of state: the last step of splitmix64.
func mix(state uint64) uint64 {
	state = (state ^ state>>30) * 0xbf58476d1ce4e5b9
	state = (state ^ state>>27) * 0x94d049bb133111eb
	return state ^ state>>31
}

// Turn rotates x, which has N elements, in place.
func (r *Rotation) Turn(x []float32) {
	x = x[:r.N]
	for round, signs := range r.signs {
		kernel.Times(x, signs)
		kernel.Hadamard(x[r.from(round):][:r.t])
		r.cross(x)
	}
}

// Back undoes Turn, but for rounding: each step of it is its own inverse up to a
// factor.
func (r *Rotation) Back(x []float32) {
	x = x[:r.N]
	for round := len(r.signs) - 1; round >= 0; round-- {
		r.cross(x)
		kernel.Hadamard(x[r.from(round):][:r.t])
		kernel.Times(x, r.signs[round])
	}
}

func (r *Rotation) cross(x []float32) {
	if r.t == r.N {
		return
	}
	half := r.N / 2
	kernel.Cross(x[:half], x[half:2*half])
	if r.N%2 == 1 { // it is scaled as those that have a partner
		x[r.N-1] *= math.Sqrt2
	}
}
