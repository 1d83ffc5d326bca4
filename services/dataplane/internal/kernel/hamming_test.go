package kernel

import "testing"

func hammingFamily() family[uint8, uint8, int64] {
	return family[uint8, uint8, int64]{
		name: "hamming", law: lawOf(differing), batch: Hamming, gather: GatherHamming, pair: PairHamming,
		codes: hammingCodes(), same: equal, q: anyByte, row: anyByte,
	}
}

func commonFamily() family[uint8, uint8, int64] {
	return family[uint8, uint8, int64]{
		name: "common", law: lawOf(common), batch: Common, gather: GatherCommon, pair: PairCommon,
		codes: commonCodes(), same: equal, q: anyByte, row: anyByte,
	}
}

func lawOf(c bitCount) func(q []uint8, rows Rows[uint8], ids []uint32, out []int64) {
	return func(q []uint8, rows Rows[uint8], ids []uint32, out []int64) { bitLaw(c, q, rows, ids, out) }
}

func TestHammingCounts(t *testing.T) {
	for _, n := range []int{1, 7, 8, 31, 32, 33, 63, 64, 65, 127, MaxDim} {
		zero, ones, every, mixed := make([]uint8, n), make([]uint8, n), make([]uint8, n), make([]uint8, n)
		want := int64(0)
		for i := range ones {
			ones[i], every[i], mixed[i] = 1, 0xff, uint8(1<<(i%8+1)-1)
			want += int64(i%8 + 1)
		}
		for name, c := range map[string]struct {
			got  []int64
			want int64
		}{
			"one bit a byte":    {hammingFamily().pairs(zero, ones), int64(n)},
			"every bit":         {hammingFamily().pairs(every, zero), int64(8 * n)},
			"no bit":            {hammingFamily().pairs(mixed, mixed), 0},
			"growing counts":    {hammingFamily().pairs(mixed, zero), want},
			"common with none":  {commonFamily().pairs(mixed, zero), 0},
			"common with every": {commonFamily().pairs(mixed, every), want},
			"common with one":   {commonFamily().pairs(ones, mixed), int64(n)},
		} {
			for _, got := range c.got {
				if got != c.want {
					t.Errorf("%s, %d bytes: %d, want %d", name, n, got, c.want)
				}
			}
		}
	}
}
