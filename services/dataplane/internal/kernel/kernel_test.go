package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// metrics are the three comparisons: batch, pair, law (the plainest code of the
// documented order), and one term in float64 for the error bound.
var metrics = []struct {
	name       string
	batch, law func(q, rows, out []float32)
	pair       func(a, b []float32) float32
	term       func(a, b float32) float32
	exact      func(a, b float64) float64
}{
	{"dot", DotBatch, dotRows, Dot, func(a, b float32) float32 { return a * b }, func(a, b float64) float64 { return a * b }},
	{"l2", L2Batch, l2Rows, L2, func(a, b float32) float32 { return (a - b) * (a - b) }, func(a, b float64) float64 { return (a - b) * (a - b) }},
	{"l1", L1Batch, l1Rows, L1, func(a, b float32) float32 { return float32(math.Abs(float64(a - b))) }, func(a, b float64) float64 { return math.Abs(a - b) }},
}

// plain follows the package comment word by word.
func plain(term func(a, b float32) float32, a, b []float32) float32 {
	var l [Lanes]float32
	for i := range a {
		l[i%Lanes] += float32(term(a[i], b[i]))
	}
	for half := Lanes / 2; half > 0; half /= 2 {
		for j := range half {
			l[j] += l[j+half]
		}
	}
	return l[0]
}

func same(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || (a != a && b != b)
}

var dims = []int{1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 63, 64, 65, 67, 96, 100, 127, 128, 130, 255, 300, 384, 777, 784, 1536}

func TestOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for k, m := range metrics {
		for _, dim := range dims {
			const n = 5
			buf := make([]float32, dim*(n+1)+1)
			for i := range buf {
				buf[i] = float32(rng.NormFloat64() * math.Pow(10, rng.Float64()*4-2))
			}
			q, rows := buf[1:dim+1], buf[dim+1:]
			out := []float32{7, 7, 7, 7, 7}
			m.batch(q, rows, out)
			law := make([]float32, n)
			m.law(q, rows, law)
			for i := range out {
				row := rows[i*dim : (i+1)*dim]
				if want := plain(m.term, q, row); !same(out[i], want) || !same(law[i], want) {
					t.Errorf("%s dim %d row %d: %v, law %v, want %v", m.name, dim, i, out[i], law[i], want)
				}
				for name, code := range vectorCode() {
					got := make([]float32, n)
					if code[k](q, rows, got); !same(got[i], out[i]) {
						t.Errorf("%s %s dim %d row %d: %v, want %v", m.name, name, dim, i, got[i], out[i])
					}
				}
				if got := m.pair(q, row); !same(got, out[i]) {
					t.Errorf("%s dim %d: pair %v, batch %v", m.name, dim, got, out[i])
				}
				var exact, size float64
				for j := range q {
					e := m.exact(float64(q[j]), float64(row[j]))
					exact, size = exact+e, size+math.Abs(e)
				}
				// Higham: (terms per lane + folds + roundings of a term) units of 2^-24
				bound := (float64(dim)/Lanes + 8) * size / (1 << 23)
				if math.Abs(float64(out[i])-exact) > bound {
					t.Errorf("%s dim %d: %v is off %v by more than %v", m.name, dim, out[i], exact, bound)
				}
			}
		}
	}
}

func TestBatchShapes(t *testing.T) {
	for _, m := range metrics {
		m.batch(nil, nil, nil)
		m.batch([]float32{1, 2}, nil, nil)
		out := []float32{5, 5}
		m.batch(nil, nil, out)
		if out[0] != 0 || out[1] != 0 {
			t.Errorf("%s of empty vectors: %v", m.name, out)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: short rows did not panic", m.name)
				}
			}()
			m.batch([]float32{1, 2}, []float32{1, 2, 3}, out)
		}()
	}
}

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
		if l := Dot(v, v); math.Abs(float64(l)-1) > 1e-6 {
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

// FuzzBatch compares whatever this CPU runs with the law, bit by bit, over any
// floats (NaN, infinities, subnormals), lengths and alignments.
func FuzzBatch(f *testing.F) {
	f.Add(uint8(3), uint8(0), []byte("0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Add(uint8(17), uint8(3), make([]byte, 17*4*6))
	f.Add(uint8(100), uint8(1), []byte{0, 0, 0x80, 0x7f, 0, 0, 0xc0, 0x7f, 0, 0, 0, 0x80, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, dim, shift uint8, raw []byte) {
		d := int(dim)%140 + 1
		const n = 6
		s := int(shift) % 8
		buf := make([]float32, s+d*(n+1))
		for i := range buf[s:] {
			if len(raw) >= 4 {
				o := i * 4 % (len(raw) - 3)
				buf[s+i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[o:]))
			}
		}
		q, rows := buf[s:s+d], buf[s+d:]
		got, want := make([]float32, n), make([]float32, n)
		for k, m := range metrics {
			m.law(q, rows, want)
			for i := range want {
				if p := plain(m.term, q, rows[i*d:(i+1)*d]); !same(want[i], p) {
					t.Fatalf("%s dim %d row %d: law %v, plain %v", m.name, d, i, want[i], p)
				}
			}
			for name, code := range vectorCode() {
				code[k](q, rows, got)
				if !slices.EqualFunc(got, want, same) {
					t.Fatalf("%s %s dim %d: %v, law %v", m.name, name, d, got, want)
				}
			}
		}
	})
}

// BenchmarkKernel gives GB/s of row data, rows in cache, for this CPU's code and
// for the law.
func BenchmarkKernel(b *testing.B) {
	for k, m := range metrics {
		for _, dim := range []int{100, 128, 384, 784, 1536} {
			n := 8192/dim + 1
			q, rows, out := make([]float32, dim), make([]float32, dim*n), make([]float32, n)
			for i := range rows {
				rows[i] = float32(i%13) - 6
			}
			copy(q, rows[3:])
			codes := map[string]func(q, rows, out []float32){"law": m.law}
			for name, code := range vectorCode() {
				codes[name] = code[k]
			}
			for name, f := range codes {
				b.Run(fmt.Sprintf("%s/%d/%s", m.name, dim, name), func(b *testing.B) {
					b.SetBytes(int64(len(rows) * 4))
					for b.Loop() {
						f(q, rows, out)
					}
				})
			}
		}
	}
}

// TestPageEnd puts query and rows right before a page that must not be read.
func TestPageEnd(t *testing.T) {
	for k, m := range metrics {
		for _, dim := range dims {
			const n = 3
			q, rows := beforeFault(t, dim), beforeFault(t, n*dim)
			for i := range rows {
				rows[i] = float32(i%11) - 5
			}
			for i := range q {
				q[i] = float32(i%3) - 1
			}
			want := make([]float32, n)
			m.law(q, rows, want)
			for name, code := range vectorCode() {
				got := make([]float32, n)
				if code[k](q, rows, got); !slices.Equal(got, want) {
					t.Errorf("%s %s dim %d: %v, want %v", m.name, name, dim, got, want)
				}
			}
		}
	}
}
