package quant

import (
	"fmt"
	"math"
	"testing"
)

// TestRotation: lengths and angles stay, no direction is special, and elements
// become as if normally distributed.
func TestRotation(t *testing.T) {
	for _, dim := range []int{1, 16, 17, 100, 128, 200, 256, 784} {
		r := newRotation(dim)
		turned := make([][]float32, r.n)
		for i := range turned {
			turned[i] = make([]float32, r.n)
			turned[i][i] = 1
			r.turn(turned[i])
		}
		for i, x := range turned {
			for j, y := range turned[:i+1] {
				var dot float64
				for k := range x {
					dot += float64(x[k]) * float64(y[k])
				}
				if want := map[bool]float64{true: 1}[i == j]; math.Abs(dot-want) > 1e-5 {
					t.Fatalf("dim %d: product of %d and %d is %v", dim, i, j, dot)
				}
			}
		}
		if dim < 100 {
			continue
		}
		if k := kurtosis(turned); k < 2.7 || k > 3.3 {
			t.Errorf("dim %d: kurtosis of rotated basis vectors %v", dim, k)
		}
	}
}

// kurtosis of all elements of vectors of length 1.
func kurtosis(xs [][]float32) (k float64) {
	n := float64(len(xs[0]))
	for _, x := range xs {
		for _, u := range x {
			k += math.Pow(float64(u), 4) * n * n
		}
	}
	return k / n / float64(len(xs))
}

func BenchmarkRotation(b *testing.B) {
	for _, dim := range []int{100, 256, 784, 1536} {
		b.Run(fmt.Sprint(dim), func(b *testing.B) {
			r, x := newRotation(dim), random(1, 1, dim, padded(dim, 16)-dim, 1)
			for b.Loop() {
				r.turn(x.Data)
			}
		})
	}
}
