package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func float16Family(m Metric, name string) family[float32, uint16, float32] {
	return family[float32, uint16, float32]{
		name: name + "/float16", law: m.float16Law, batch: m.Float16, gather: m.GatherFloat16, pair: m.PairFloat16,
		codes: float16Codes(m), same: same, q: anyFloat32, row: anyFloat16,
	}
}

// anyFloat16 is a finite number; one in three thousand is special.
func anyFloat16(rng *rand.Rand) uint16 {
	special := []uint16{0x7c00, 0xfc00, 0x7e01, 0xfd00, 0x7bff, 0x0001, 0x83ff, 0x8000}
	if i := rng.IntN(3000 * len(special)); i < len(special) {
		return special[i]
	}
	return uint16(rng.IntN(2)<<15 | rng.IntN(0x7c00))
}

// value is what the standard says about the bits of a binary16.
func value(h uint16) float32 {
	sign, exp, frac := 1.0, int(h>>10&31), float64(h&1023)
	if h>>15 == 1 {
		sign = -1
	}
	switch {
	case exp == 31 && frac != 0:
		return float32(math.NaN())
	case exp == 31:
		return float32(math.Inf(int(sign)))
	case exp == 0:
		return float32(math.Copysign(math.Ldexp(frac, -24), sign))
	}
	return float32(sign * math.Ldexp(1024+frac, exp-25))
}

// TestFloat16Values: every float16 has the value that the standard gives it, in
// all implementations.
func TestFloat16Values(t *testing.T) {
	for h := range 1 << 16 {
		row := []uint16{uint16(h)}
		var got [1]float32
		Widen(got[:], row)
		want := value(uint16(h))
		if !same(got[0], want) {
			t.Fatalf("%#04x: %v, want %v", h, got[0], want)
		}
		for _, x := range float16Family(Dot, "").pairs([]float32{1}, row) {
			if !same(x, want+0) {
				t.Fatalf("%#04x: product with 1 is %v, want %v", h, x, want)
			}
		}
	}
}

// TestFloat16Order: comparing float16 is comparing what they widen to.
func TestFloat16Order(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for k, term := range terms {
		for dim := 1; dim <= 700; dim++ {
			q, row, wide := make([]float32, dim), make([]uint16, dim), make([]float32, dim)
			for i := range q {
				q[i], row[i] = anyFloat32(rng), anyFloat16(rng)
				wide[i] = value(row[i])
			}
			want := plain(term.f32, q, wide)
			for _, got := range float16Family(Metric(k), "").pairs(q, row) {
				if !same(got, want) {
					t.Fatalf("metric %d dim %d: %v, want %v", k, dim, got, want)
				}
			}
		}
	}
}
