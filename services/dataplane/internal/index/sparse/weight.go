package sparse

import (
	"math"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Round is the weight that is kept for w, and that scores are made of:
//
//   - Float32: w itself.
//   - Float16: the nearest number of IEEE binary16.
//   - Uint8: the nearest of 255 numbers in floating point, one bit of sign, four of
//     exponent, three of mantissa: multiples of 1/64 up to 1/8, then with an error of
//     at most 1/17 up to 3840. The step does not depend on other weights, so that
//     scores do not depend on what else is in a segment.
//
// Ties go to the even mantissa, what is too large becomes the greatest number, NaN
// becomes 0, and so does -0.
func Round(t query.Datatype, w float32) float32 {
	switch {
	case w != w || w == 0:
		return 0
	case t == query.Float16:
		return widen(half(w))
	case t == query.Uint8:
		return number(code(w))
	}
	return max(-math.MaxFloat32, min(math.MaxFloat32, w))
}

const codeMax = 3840

// half is the float16 of a weight.
func half(w float32) uint16 {
	if h := kernel.Half(w); h != 0x8000 {
		return h
	}
	return 0 // and not -0
}

func widen(h uint16) float32 {
	var w [1]float32
	kernel.Widen(w[:], []uint16{h})
	return w[0]
}

// code is the byte of a weight.
func code(w float32) uint8 {
	size := float32(math.Abs(float64(w)))
	var bits uint8
	if size < 1.0/8 {
		bits = uint8(math.RoundToEven(float64(size) * 64))
	} else {
		b := math.Float32bits(min(size, codeMax))
		b += 1<<19 - 1 + b>>20&1 // may carry into the exponent, where it must
		bits = uint8(b>>20 - (127-4)<<3)
	}
	if w < 0 && bits != 0 {
		bits |= 0x80
	}
	return bits
}

func number(c uint8) float32 {
	w := math.Float32frombits(uint32(c&0x7f)<<20) * 0x1p123
	return math.Float32frombits(math.Float32bits(w) | uint32(c&0x80)<<24)
}
