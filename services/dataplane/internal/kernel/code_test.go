package kernel

import (
	"math/rand/v2"
	"testing"
)

func uint8Family(m Metric, name string) family[uint8, uint8, int64] {
	return family[uint8, uint8, int64]{
		name: name + "/uint8", law: func(q []uint8, rows Rows[uint8], ids []uint32, out []int64) { codeLaw(m, q, rows, ids, out) },
		batch: m.Uint8, gather: m.GatherUint8, pair: m.PairUint8,
		codes: uint8Codes(m), same: equal, q: anyByte, row: anyByte,
	}
}

func int8Family(m Metric, name string) family[int8, int8, int64] {
	signed := func(rng *rand.Rand) int8 { return int8(anyByte(rng)) }
	return family[int8, int8, int64]{
		name: name + "/int8", law: func(q []int8, rows Rows[int8], ids []uint32, out []int64) { codeLaw(m, q, rows, ids, out) },
		batch: m.Int8, gather: m.GatherInt8, pair: m.PairInt8,
		codes: int8Codes(m), same: equal, q: signed, row: signed,
	}
}

func equal(a, b int64) bool { return a == b }

// anyByte is an extreme one in every fourth case.
func anyByte(rng *rand.Rand) uint8 {
	if rng.IntN(4) == 0 {
		return [...]uint8{0, 1, 127, 128, 129, 255}[rng.IntN(6)]
	}
	return uint8(rng.Uint32())
}

// TestCodeExtremes: the greatest sums that there are fit, and signs come out right.
func TestCodeExtremes(t *testing.T) {
	const n = MaxDim
	whole := func(v int) ([]uint8, []int8) {
		u, s := make([]uint8, n), make([]int8, n)
		for i := range u {
			u[i], s[i] = uint8(v), int8(v)
		}
		return u, s
	}
	u0, _ := whole(0)
	u255, s1 := whole(255) // as signed: -1
	_, low := whole(-128)
	_, high := whole(127)
	for name, c := range map[string]struct {
		got  []int64
		want int64
	}{
		"uint8 dot":          {uint8Family(Dot, "").pairs(u255, u255), n * 255 * 255},
		"uint8 l2":           {uint8Family(L2, "").pairs(u255, u0), n * 255 * 255},
		"uint8 l1":           {uint8Family(L1, "").pairs(u0, u255), n * 255},
		"int8 dot, highest":  {int8Family(Dot, "").pairs(low, low), n * 128 * 128},
		"int8 dot, lowest":   {int8Family(Dot, "").pairs(low, high), -n * 128 * 127},
		"int8 dot, of signs": {int8Family(Dot, "").pairs(s1, high), -n * 127},
		"int8 l2":            {int8Family(L2, "").pairs(low, high), n * 255 * 255},
		"int8 l1":            {int8Family(L1, "").pairs(high, low), n * 255},
	} {
		for _, got := range c.got {
			if got != c.want {
				t.Errorf("%s: %d, want %d", name, got, c.want)
			}
		}
	}
}
