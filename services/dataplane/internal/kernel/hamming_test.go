package kernel

import "testing"

func hammingFamily() family[uint8, uint8, int64] {
	return family[uint8, uint8, int64]{
		name: "hamming", law: hammingLaw, batch: Hamming, gather: GatherHamming, pair: PairHamming,
		codes: hammingCodes(), same: equal, q: anyByte, row: anyByte,
	}
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
			"one bit a byte": {hammingFamily().pairs(zero, ones), int64(n)},
			"every bit":      {hammingFamily().pairs(every, zero), int64(8 * n)},
			"no bit":         {hammingFamily().pairs(mixed, mixed), 0},
			"growing counts": {hammingFamily().pairs(mixed, zero), want},
		} {
			for _, got := range c.got {
				if got != c.want {
					t.Errorf("%s, %d bytes: %d, want %d", name, n, got, c.want)
				}
			}
		}
	}
}
