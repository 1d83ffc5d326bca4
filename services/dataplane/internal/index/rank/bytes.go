package rank

import (
	"math"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
)

// AppendBytes appends the elements of v as query.Uint8 stores them: without their
// fractions, within 0..255.
func AppendBytes(dst []uint8, v []float32) []uint8 {
	for _, x := range v {
		if !(x > 0) { // NaN too
			x = 0
		}
		dst = append(dst, uint8(min(x, math.MaxUint8)))
	}
	return dst
}

// Inverse is 1 / length, which makes a cosine of an inner product; 0 of the zero
// vector, which is near to nothing.
func Inverse(v []uint8) float32 {
	if n := kernel.Dot.PairUint8(v, v); n > 0 {
		return float32(1 / math.Sqrt(float64(n)))
	}
	return 0
}
