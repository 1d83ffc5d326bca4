package sparse

import (
	"math"

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

// size is the bytes of a weight in a list.
func size(t query.Datatype) int {
	switch t {
	case query.Float16:
		return 2
	case query.Uint8:
		return 1
	}
	return 4
}

const (
	halfMax = 65504
	codeMax = 3840
)

// minifloat rounds |w| to a number of mantissa bits below a leading one, at steps of
// at least 1/scale, which is 2^mantissa steps at the least exponent.
func minifloat(w float32, mantissa uint32, scale, greatest float32) uint32 {
	w = min(w, greatest)
	if w < scale*float32(uint32(1)<<mantissa) {
		return uint32(math.RoundToEven(float64(w) / float64(scale)))
	}
	// The rounding carries into the exponent where it must.
	drop := 23 - mantissa
	b := math.Float32bits(w)
	b += 1<<(drop-1) - 1 + b>>drop&1
	return b>>drop - (math.Float32bits(scale)>>23+mantissa-1)<<mantissa
}

func half(w float32) uint16 {
	bits := minifloat(float32(math.Abs(float64(w))), 10, 0x1p-24, halfMax)
	if w < 0 && bits != 0 {
		bits |= 0x8000
	}
	return uint16(bits)
}

func widen(h uint16) float32 {
	b := uint32(h&0x7fff) << 13
	if b >= 0x7c00<<13 {
		return 0 // no weight is infinite
	}
	w := math.Float32frombits(b) * 0x1p112
	return math.Float32frombits(math.Float32bits(w) | uint32(h&0x8000)<<16)
}

func code(w float32) uint8 {
	bits := minifloat(float32(math.Abs(float64(w))), 3, 0x1p-6, codeMax)
	if w < 0 && bits != 0 {
		bits |= 0x80
	}
	return uint8(bits)
}

func number(c uint8) float32 {
	w := math.Float32frombits(uint32(c&0x7f)<<20) * 0x1p123
	return math.Float32frombits(math.Float32bits(w) | uint32(c&0x80)<<24)
}
