package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestHadamard: what this CPU runs has the law's bits, and the law is the matrix
// whose element i, j is -1 to the number of bits that i and j have in common.
func TestHadamard(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for n := 1; n <= 4096; n *= 2 {
		mem := beforeFault[float32](t, n)
		for special := range 2 {
			x, law := make([]float32, n), make([]float32, n)
			for i := range x {
				if x[i] = float32(rng.NormFloat64()); special == 1 {
					x[i] = anyFloat32(rng)
				}
			}
			copy(law, x)
			copy(mem, x)
			hadamardLaw(law)
			if Hadamard(mem); !slices.EqualFunc(mem, law, same) {
				t.Fatalf("%d elements: %v, law %v", n, mem, law)
			}
			for i := range min(n, 64*(1-special)) {
				var want float64
				for j, v := range x {
					if PairHamming([]uint8{uint8(i & j), uint8(i & j >> 8)}, []uint8{0, 0})%2 == 0 {
						want += float64(v)
					} else {
						want -= float64(v)
					}
				}
				if math.Abs(float64(law[i])-want) > 1e-4*math.Sqrt(float64(n)) {
					t.Fatalf("%d elements: element %d is %v, want %v", n, i, law[i], want)
				}
			}
		}
	}
	for _, n := range []int{0, 3, 24, 2 * MaxDim} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d elements: did not panic", n)
				}
			}()
			Hadamard(make([]float32, n))
		}()
	}
}

func BenchmarkHadamard(b *testing.B) {
	for name, do := range map[string]func([]float32){"any": Hadamard, "law": hadamardLaw} {
		b.Run(name, func(b *testing.B) {
			x := lines[float32](1024)
			b.SetBytes(4096)
			for b.Loop() {
				do(x)
			}
		})
	}
}
