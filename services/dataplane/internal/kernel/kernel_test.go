package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestLengths(t *testing.T) { each(t, suite.lengths) }

func TestShapes(t *testing.T) { each(t, suite.shapes) }

func TestUnknownMetric(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("did not panic")
		}
	}()
	Metric(3).PairFloat32([]float32{1}, []float32{1})
}

// FuzzKernels compares whatever this CPU runs with the law, bit by bit, over any
// bits (NaN, infinities, subnormals), lengths, strides and lists of rows.
func FuzzKernels(f *testing.F) {
	f.Add(uint16(3), uint8(0), []byte{0, 1, 2, 3, 4}, []byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Add(uint16(17), uint8(3), []byte{7, 7, 0}, make([]byte, 17*4*6))
	f.Add(uint16(100), uint8(1), []byte{1}, []byte{0, 0, 0x80, 0x7f, 0, 0, 0xc0, 0x7f, 0, 0, 0, 0x80, 1, 0, 0, 0})
	f.Add(uint16(2099), uint8(5), []byte{3, 2, 1, 0, 6, 6, 6, 6, 6}, []byte{0xff, 0x7f, 0x80, 1, 2, 3, 0x7c})
	f.Fuzz(func(t *testing.T, dim uint16, pad uint8, places, raw []byte) {
		if len(places) == 0 {
			return
		}
		places = places[:min(len(places), 11)]
		ids := make([]uint32, len(places))
		for i, p := range places {
			ids[i] = uint32(int(p) % len(places))
		}
		for _, s := range suites() {
			s.fuzz(t, int(dim)%2100+1, int(pad)%70, ids, raw)
		}
	})
}

func TestPerCall(t *testing.T) {
	for size := 1; size <= 4*MaxDim; size++ {
		if n := perCall(size); n < 1 || n > callRows || n > 1 && n*size > callBytes {
			t.Fatalf("%d rows of %d bytes", n, size)
		}
	}
}

var dims = []int{1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 63, 64, 65, 67, 96, 100, 127, 128, 130, 255, 300, 384, 777, 784, 1536}

func TestNormalize(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, dim := range dims {
		v := make([]float32, dim)
		for i := range v {
			v[i] = float32(rng.NormFloat64()*100) + 0.01
		}
		if !Normalize(v) {
			t.Fatal("refused")
		}
		if l := Dot.PairFloat32(v, v); math.Abs(float64(l)-1) > 1e-6 {
			t.Errorf("dim %d: squared length %v", dim, l)
		}
		again := append([]float32(nil), v...)
		Normalize(again)
		for i := range v {
			if !same(v[i], again[i]) {
				t.Fatalf("dim %d: normalising twice changed element %d", dim, i)
			}
		}
	}
	for _, c := range []struct{ in, want []float32 }{
		{[]float32{3e38, 3e38}, []float32{0.70710677, 0.70710677}},
		{[]float32{1e-45, 0}, []float32{1, 0}},
		{[]float32{-4}, []float32{-1}},
	} {
		if !Normalize(c.in) || !same(c.in[0], c.want[0]) {
			t.Errorf("got %v, want %v", c.in, c.want)
		}
	}
	if z := []float32{0, 0}; Normalize(z) || z[0] != 0 {
		t.Error("a zero vector was normalised")
	}
}

// BenchmarkKernel is the table: metric, element type, length, form, code; "any"
// is what callers get. Rows lie in the nearest caches.
func BenchmarkKernel(b *testing.B) {
	for _, s := range suites() {
		b.Run(fmt.Sprint(s), s.bench)
	}
}

// BenchmarkRAM gathers rows at random out of 1 GiB.
func BenchmarkRAM(b *testing.B) {
	for _, s := range suites() {
		b.Run(fmt.Sprint(s), s.ram)
	}
}
