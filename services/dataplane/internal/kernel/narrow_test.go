package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestHalf: every float16 stays what it is, and everything else becomes the nearer
// of its neighbours.
func TestHalf(t *testing.T) {
	wide := func(h uint16) float64 {
		var out [1]float32
		Widen(out[:], []uint16{h})
		return float64(out[0])
	}
	for h := range uint16(0x7c00) {
		x := float32(wide(h))
		if Half(x) != h || Half(-x) != h|0x8000 {
			t.Fatalf("%v becomes %#x and %#x", x, Half(x), Half(-x))
		}
		if h == 0x7bff {
			break
		}
		next := wide(h + 1)
		tie := float32((float64(x) + next) / 2)
		if got := Half(tie); got != h+h&1 {
			t.Fatalf("%v, between %#x and the next, becomes %#x", tie, h, got)
		}
		if below, above := math.Nextafter32(tie, 0), math.Nextafter32(tie, 1e9); Half(below) != h || Half(above) != h+1 {
			t.Fatalf("beside %v: %#x and %#x", tie, Half(below), Half(above))
		}
	}
	for _, x := range []float32{65504, 65519, 65520, 1e9, math.MaxFloat32, float32(math.Inf(1))} {
		if Half(x) != 0x7bff || Half(-x) != 0xfbff {
			t.Errorf("%v becomes %#x", x, Half(x))
		}
	}
	if v := wide(Half(float32(math.NaN()))); v == v {
		t.Error("NaN becomes a number")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	src, dst := make([]float32, 99), make([]uint16, 100)
	for i := range src {
		src[i] = float32(rng.NormFloat64())
	}
	dst[99] = 7
	Narrow(dst, src)
	for i, x := range src {
		if dst[i] != Half(x) || math.Abs(wide(dst[i])-float64(x)) > math.Abs(float64(x))/2048 {
			t.Errorf("%v becomes %#x", x, dst[i])
		}
	}
	if dst[99] != 7 {
		t.Error("more than the source was written")
	}
}
