package kernel

import "math"

// normal is how far the squared length of a vector may be from 1 for Normalize
// to leave it alone. It makes normalising idempotent: the rounding of a
// normalised vector stays below it.
const normal = 1e-6

// Normalize scales v to length 1 in place and tells whether it could: a zero
// vector stays as it is, and a vector of length 1 within rounding does too, so
// that normalising twice changes no bit. The length is summed in float64 in the
// order of elements, in Go on every CPU.
func Normalize(v []float32) bool {
	var sum float64
	for _, x := range v {
		sum += float64(float64(x) * float64(x))
	}
	if sum == 0 {
		return false
	}
	if math.Abs(sum-1) <= normal {
		return true
	}
	inv := 1 / math.Sqrt(sum)
	for i, x := range v {
		v[i] = float32(float64(x) * inv)
	}
	return true
}
