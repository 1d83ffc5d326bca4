package kernel

import "math"

// Half rounds to the nearest float16, ties to even; what is too large becomes the
// greatest finite one, NaN stays NaN. Widen undoes it where it is exact.
func Half(x float32) uint16 {
	const greatest, normal = 65504, 0x1p-14
	sign := uint16(math.Float32bits(x) >> 16 & 0x8000)
	size := math.Float32frombits(math.Float32bits(x) &^ (1 << 31))
	switch {
	case x != x:
		return sign | 0x7e00
	case size < normal: // in steps of the smallest
		return sign | uint16(math.RoundToEven(float64(size)*0x1p24))
	}
	b := math.Float32bits(min(size, greatest))
	b += 1<<12 - 1 + b>>13&1 // may carry into the exponent, where it must
	return sign | uint16(b>>13-(127-15)<<10)
}

// Narrow sets dst to Half of as many float32.
func Narrow(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	for i, x := range src {
		dst[i] = Half(x)
	}
}
