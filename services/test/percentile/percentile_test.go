package percentile

import "testing"

func TestOf(t *testing.T) {
	upTo := func(n int) []int {
		v := make([]int, n)
		for i := range v {
			v[i] = i + 1
		}
		return v
	}
	for _, tc := range []struct{ n, p, want int }{
		{500, 50, 250}, {500, 99, 495}, {500, 100, 500}, {10, 50, 5}, {10, 99, 10}, {3, 50, 2}, {1, 50, 1}, {1, 99, 1}, {0, 99, 0},
	} {
		if got := Of(upTo(tc.n), tc.p); got != tc.want {
			t.Errorf("percentile %d of 1 to %d: %d, want %d", tc.p, tc.n, got, tc.want)
		}
	}
}
