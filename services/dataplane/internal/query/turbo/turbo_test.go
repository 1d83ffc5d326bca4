package turbo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
)

func random(draw *rand.Rand, dim int) []float32 {
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(draw.NormFloat64())
	}
	return v
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

var dims = []int{1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 64, 65, 100, 128, 257, 784, 1536}

// settled is v rounded, and checks what rounding promises.
func settled(t *testing.T, c *Coder, v []float32) []float32 {
	t.Helper()
	var s Scratch
	out := slices.Clone(v)
	if err := c.Round(out, &s); err != nil {
		t.Fatalf("%d elements %v: %v", len(v), v[:min(8, len(v))], err)
	}
	row := c.Append(nil, out, &s)
	again := make([]float32, len(out))
	c.Decode(again, row)
	for i := range out {
		if math.Float32bits(again[i]) != math.Float32bits(out[i]) {
			t.Fatalf("%d elements: element %d is %v, and %v when coded again", len(v), i, out[i], again[i])
		}
	}
	if !bytes.Equal(row, c.Append(nil, again, &s)) {
		t.Fatalf("%d elements have other codes when coded again", len(v))
	}
	if was, is := math.Sqrt(dot(v, v)), math.Sqrt(dot(out, out)); math.Abs(was-is) > 2e-5*was {
		t.Fatalf("%d elements: length %v became %v", len(v), was, is)
	}
	return out
}

// TestRound: what is kept of a vector is kept for ever, and has its length.
func TestRound(t *testing.T) {
	draw := rand.New(rand.NewPCG(7, 7))
	for _, dim := range dims {
		c := New(dim)
		spike, same, mixed := make([]float32, dim), make([]float32, dim), random(draw, dim)
		spike[dim/2] = -3
		for i := range same {
			same[i] = 0.25
			mixed[i] *= float32(math.Pow(10, float64(i%9)-4))
		}
		for _, v := range [][]float32{make([]float32, dim), spike, same, mixed} {
			settled(t, c, v)
		}
		worst := 1.0
		for range 40 {
			v := random(draw, dim)
			out := settled(t, c, v)
			worst = min(worst, dot(v, out)/math.Sqrt(dot(v, v)*dot(out, out)))
		}
		if worst < 0.97 || dim >= 100 && worst < 0.985 {
			t.Errorf("%d elements: cosine of a vector and what is kept of it is %v", dim, worst)
		}
		// What comes out of a rotation as one large element and small ones.
		turned := make([]float32, dim)
		for i := range turned {
			turned[i] = 1e-3
		}
		turned[0] = 1
		c.turn.Back(turned)
		settled(t, c, turned)
	}
}

// TestGolden: rows are written like this for ever.
func TestGolden(t *testing.T) {
	var got strings.Builder
	for _, dim := range []int{1, 2, 20, 100, 257} {
		v := make([]float32, dim)
		for i := range v {
			v[i] = float32((i*i*31+7*i)%101-50) / 16
		}
		var s Scratch
		c := New(dim)
		if err := c.Round(v, &s); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%d %x\n", dim, c.Append(nil, v, &s))
	}
	want, err := os.ReadFile("testdata/rows.v1.golden")
	if err != nil || got.String() != string(want) {
		t.Errorf("%v; rows are\n%s", err, got.String())
	}
}

// TestExtremes: lengths that floats can hardly hold.
func TestExtremes(t *testing.T) {
	c := New(100)
	draw := rand.New(rand.NewPCG(1, 2))
	for _, by := range []float32{1e-37, 1e-30, 1e-23, 1e-10, 1e10, MaxElement / 8} {
		v := random(draw, 100)
		for i := range v {
			v[i] *= by
		}
		if by > 1e-24 {
			settled(t, c, v)
			continue
		}
		var s Scratch
		if err := c.Round(v, &s); err != nil || slices.ContainsFunc(v, func(x float32) bool { return x != 0 }) {
			t.Errorf("a vector as short as %v is kept as %v: %v", by, v[:3], err)
		}
	}
}

// TestCompare: raw values are those of the vectors that are kept, to the precision of
// a query, and the same one by one, in a row and gathered.
func TestCompare(t *testing.T) {
	draw := rand.New(rand.NewPCG(3, 4))
	for _, dim := range dims {
		const n = 300
		c, s := New(dim), Scratch{}
		rows := Rows{Stride: RowBytes(dim) + 24}
		kept := make([][]float32, n)
		for i := range kept {
			kept[i] = random(draw, dim)
			if err := c.Round(kept[i], &s); err != nil {
				t.Fatal(err)
			}
			rows.Data = append(c.Append(rows.Data, kept[i], &s), make([]byte, 24)...)
		}
		var q Query
		probe := random(draw, dim)
		for _, m := range []kernel.Metric{kernel.Dot, kernel.L2} {
			for _, stand := range []bool{false, true} {
				if c.Aim(&q, probe); stand {
					c.Stand(&q, rows.Data[5*rows.Stride:])
					probe = kept[5]
				}
				raws, gathered := make([]float32, n), make([]float32, n)
				c.Compare(m, &q, rows, nil, raws)
				ids := make([]uint32, n)
				for i := range ids {
					ids[i] = uint32(n - 1 - i)
				}
				c.Compare(m, &q, rows, ids, gathered)
				for i, v := range kept {
					want := dot(probe, v)
					if m == kernel.L2 {
						want = dot(probe, probe) + dot(v, v) - 2*want
					}
					scale := math.Sqrt(dot(probe, probe)*dot(v, v)) + dot(probe, probe) + dot(v, v)
					if math.Abs(float64(raws[i])-want) > 3e-5*scale {
						t.Fatalf("%d elements, metric %d, row %d: %v, not %v", dim, m, i, raws[i], want)
					}
					if raws[i] != gathered[n-1-i] {
						t.Fatalf("%d elements, row %d: %v in order, %v gathered", dim, i, raws[i], gathered[n-1-i])
					}
				}
				if stand && m == kernel.L2 && raws[5] != 0 {
					t.Errorf("%d elements: a row is %v from itself", dim, raws[5])
				}
			}
		}
	}
}

// FuzzRound: any vector is kept for ever as it was kept first.
func FuzzRound(f *testing.F) {
	f.Add([]byte{0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64})
	f.Add(bytes.Repeat([]byte{1, 2, 3, 60}, 33))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v []float32
		for len(b) >= 4 && len(v) < 2048 {
			x := math.Float32frombits(binary.LittleEndian.Uint32(b))
			if x-x != 0 || x > MaxElement || x < -MaxElement {
				x = 1
			}
			v, b = append(v, x), b[4:]
		}
		if len(v) == 0 {
			return
		}
		var s Scratch
		c := New(len(v))
		if err := c.Round(v, &s); err != nil {
			t.Fatal(err)
		}
		out := make([]float32, len(v))
		if c.Decode(out, c.Append(nil, v, &s)); !slices.Equal(out, v) {
			t.Fatal("what was kept changed")
		}
	})
}

// FuzzDecode: any bytes are a row.
func FuzzDecode(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0x5a}, RowBytes(70)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < RowBytes(70) {
			return
		}
		c := New(70)
		c.Decode(make([]float32, 70), b)
		var q Query
		c.Stand(&q, b)
		c.Compare(kernel.L2, &q, Rows{Data: b, Stride: RowBytes(70)}, []uint32{0}, make([]float32, 1))
	})
}

// BenchmarkRound is what a vector costs when it is written.
func BenchmarkRound(b *testing.B) {
	for _, dim := range []int{100, 384, 1536} {
		b.Run(fmt.Sprint(dim), func(b *testing.B) {
			v, draw := make([]float32, dim), rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				for i := range v {
					v[i] = draw.Float32()
				}
				if err := New(dim).Round(v, &Scratch{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
