package rotation

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestRotation: lengths and angles stay, no direction is special, elements become as
// if normally distributed, and Back is the way back.
func TestRotation(t *testing.T) {
	for _, dim := range []int{1, 2, 3, 7, 16, 32, 100, 101, 112, 128, 208, 256, 784} {
		r := New(dim)
		turned := make([][]float32, r.N)
		for i := range turned {
			turned[i] = make([]float32, r.N)
			turned[i][i] = 1
			r.Turn(turned[i])
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
		if dim >= 100 {
			if k := kurtosis(turned); k < 2.7 || k > 3.3 {
				t.Errorf("dim %d: kurtosis of rotated basis vectors %v", dim, k)
			}
		}
		for i, x := range turned {
			r.Back(x)
			for j, y := range x {
				if want := map[bool]float64{true: 1}[i == j]; math.Abs(float64(y)-want) > 1e-5 {
					t.Fatalf("dim %d: element %d of basis vector %d comes back as %v", dim, j, i, y)
				}
			}
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
	for _, dim := range []int{112, 256, 784, 1536} {
		b.Run(fmt.Sprint(dim), func(b *testing.B) {
			r, x, draw := New(dim), make([]float32, dim), rand.New(rand.NewPCG(1, 1))
			for i := range x {
				x[i] = float32(draw.NormFloat64())
			}
			for b.Loop() {
				r.Turn(x)
			}
		})
	}
}
