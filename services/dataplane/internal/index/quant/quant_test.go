package quant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

var distances = map[string]query.Distance{"cosine": query.Cosine, "euclid": query.Euclid, "dot": query.Dot, "manhattan": query.Manhattan}

// kinds are settings of every form.
func kinds() map[string]query.Quantization {
	all := map[string]query.Quantization{
		"scalar":      {Kind: query.ScalarQuantization},
		"scalar 0.99": {Kind: query.ScalarQuantization, Quantile: 0.99},
	}
	for name, encoding := range map[string]query.BinaryEncoding{"1": query.OneBit, "1.5": query.OneAndHalfBits, "2": query.TwoBits} {
		for query8, of := range map[string]query.BinaryEncoding{"as rows": query.OneBit, "4": query.Scalar4Bits, "8": query.Scalar8Bits} {
			all["binary "+name+" by "+query8] = query.Quantization{Kind: query.BinaryQuantization, Encoding: encoding, Query: of}
		}
	}
	for name, encoding := range map[string]query.BinaryEncoding{"1": query.OneBit, "1.5": query.OneAndHalfBits, "2": query.TwoBits, "4": query.FourBits} {
		all["turbo "+name] = query.Quantization{Kind: query.TurboQuantization, Encoding: encoding}
	}
	for _, x := range []int{4, 16, 64} {
		all[fmt.Sprint("product x", x)] = query.Quantization{Kind: query.ProductQuantization, Compression: x}
	}
	return all
}

// each runs a test for every kind and distance.
func each(t *testing.T, test func(t *testing.T, d query.Distance, q query.Quantization)) {
	for kind, q := range kinds() {
		for name, d := range distances {
			t.Run(kind+" "+name, func(t *testing.T) { test(t, d, q) })
		}
	}
}

// random gives n rows with a mean, of length 1 for Cosine.
func random(seed uint64, n, dim, pad int, d query.Distance) Vectors {
	rng := rand.New(rand.NewPCG(seed, 1))
	v := Vectors{Data: make([]float32, n*(dim+pad)), Dim: dim, Stride: dim + pad}
	mean := make([]float32, dim)
	for i := range mean {
		mean[i] = float32(rng.NormFloat64() / 2)
	}
	for r := range n {
		row := v.row(r)
		for i := range row {
			row[i] = mean[i] + float32(rng.NormFloat64())
		}
		if d == query.Cosine {
			kernel.Normalize(row)
		}
	}
	return v
}

func build(t testing.TB, v Vectors, d query.Distance, q query.Quantization, threads int) *Codes {
	t.Helper()
	c, err := Build(context.Background(), v, d, q, threads)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func encoded(t testing.TB, c *Codes) []byte {
	t.Helper()
	var b bytes.Buffer
	if n, err := c.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("%d of %d bytes: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// exact gives the raw values of all rows.
func exact(v *Vectors, d query.Distance, q []float32) []float32 {
	m, _ := rank.MetricOf(d)
	raws := make([]float32, v.rows())
	m.Raw.Float32(q, kernel.Rows[float32]{Data: v.Data, Stride: v.Stride}, raws)
	return raws
}

// fit gives slope and correlation of estimates over true values.
func fit(truth, estimates []float32) (slope, correlation float64) {
	var mx, my, xx, xy, yy float64
	n := float64(len(truth))
	for i := range truth {
		mx, my = mx+float64(truth[i])/n, my+float64(estimates[i])/n
	}
	for i := range truth {
		x, y := float64(truth[i])-mx, float64(estimates[i])-my
		xx, xy, yy = xx+x*x, xy+x*y, yy+y*y
	}
	return xy / xx, xy / math.Sqrt(xx*yy)
}

// TestEstimates: what is estimated goes with the true value, and a scan and a
// gather give the same numbers.
func TestEstimates(t *testing.T) {
	each(t, func(t *testing.T, d query.Distance, q query.Quantization) {
		for _, dim := range []int{1, 2, 3, 5, 17, 31, 32, 33, 64, 100, 129, 300, 784} {
			v := random(uint64(dim), 600, dim, dim%3, d)
			c := build(t, v, d, q, 2)
			var s Scratch
			vec := random(99, 1, dim, 0, d).row(0)
			p := c.Prepare(vec, &s)
			all, some := make([]float32, c.Rows()), make([]float32, 300)
			p.Range(0, all)
			rows := make([]uint32, len(some))
			for i := range rows {
				rows[i] = uint32(i * 577 % c.Rows())
			}
			p.Gather(rows, some)
			for i, r := range rows {
				if some[i] != all[r] {
					t.Fatalf("dim %d row %d: gathered %v, scanned %v", dim, r, some[i], all[r])
				}
			}
			p.Range(3, some)
			for i, raw := range some {
				if raw != all[3+i] {
					t.Fatalf("dim %d row %d: scanned from 3 %v, from 0 %v", dim, 3+i, raw, all[3+i])
				}
			}
			if slope, r := fit(exact(&v, d, vec), all); r < least(d, q, dim) {
				t.Errorf("dim %d: correlation %.4f, slope %.3f", dim, r, slope)
			}
		}
	})
}

// least is the least correlation of estimates with true values that a kind has on
// these vectors, whose distances hardly differ.
func least(d query.Distance, q query.Quantization, dim int) float64 {
	switch q.Kind {
	case query.ScalarQuantization:
		return 0.99
	case query.ProductQuantization:
		return map[int]float64{4: 0.99, 8: 0.95, 16: 0.8, 32: 0.5, 64: 0.35}[q.Compression]
	}
	rows := map[query.BinaryEncoding]float64{query.OneBit: 0.68, query.OneAndHalfBits: 0.75, query.TwoBits: 0.87, query.FourBits: 0.98}[q.Encoding]
	asRows := q.Kind == query.BinaryQuantization && q.Query == query.OneBit
	switch {
	case asRows && dim < 64:
		return 0.3
	case asRows:
		return 0.65 * rows // both are coarse
	case d == query.Manhattan:
		return min(0.93*rows, 0.87) // it is concluded from another distance
	}
	return rows
}

// TestEqualBytes: codes follow from vectors and settings, whatever computes them.
func TestEqualBytes(t *testing.T) {
	each(t, func(t *testing.T, d query.Distance, q query.Quantization) {
		for _, dim := range []int{1, 30, 100, 260} {
			if dim > 100 && q.Kind == query.ProductQuantization {
				continue // learned by pure Go it takes long
			}
			v := random(5, 600, dim, 3, d)
			v.Skip = func(row uint32) bool { return row%7 == 3 }
			c := build(t, v, d, q, 1)
			want := encoded(t, c)
			var s Scratch
			raws, again := make([]float32, c.Rows()), make([]float32, c.Rows())
			vec := random(6, 1, dim, 0, d).row(0)
			c.Prepare(vec, &s).Range(0, raws)
			for i := range v.Data {
				if r := i / v.Stride; v.skip(r) || i%v.Stride >= dim {
					v.Data[i] = 1e9 // nobody reads it
				}
			}
			levels(func(level string) {
				c := build(t, v, d, q, 3)
				if !bytes.Equal(encoded(t, c), want) {
					t.Errorf("dim %d, %s: other bytes", dim, level)
				}
				c.Prepare(vec, &s).Range(0, again)
				for i := range raws {
					if raws[i] != again[i] {
						t.Fatalf("dim %d, %s, row %d: %v, not %v", dim, level, i, again[i], raws[i])
					}
				}
			})
		}
	})
}

// TestEdges: what is not random.
func TestEdges(t *testing.T) {
	each(t, func(t *testing.T, d query.Distance, q query.Quantization) {
		var s Scratch
		const dim = 70
		one := random(1, 1, dim, 0, d)
		for name, v := range map[string]Vectors{
			"no rows":  {Dim: dim, Stride: dim},
			"one row":  one,
			"zeros":    {Dim: dim, Stride: dim, Data: make([]float32, 3*dim)},
			"all skip": {Dim: dim, Stride: dim, Data: one.Data, Skip: func(uint32) bool { return true }},
		} {
			c := build(t, v, d, q, 2)
			if c.Rows() != v.rows() || c.Dim() != dim || c.Distance() != d {
				t.Fatalf("%s: %d rows", name, c.Rows())
			}
			for _, vec := range [][]float32{one.row(0), make([]float32, dim)} {
				raws, truth := make([]float32, c.Rows()), exact(&v, d, vec)
				c.Prepare(vec, &s).Range(0, raws)
				for i, raw := range raws {
					if math.IsNaN(float64(raw)) || name != "all skip" && math.Abs(float64(raw-truth[i])) > tolerance(q)*(1+math.Abs(float64(truth[i]))) {
						t.Errorf("%s: raw %v, exactly %v", name, raw, truth[i])
					}
				}
			}
		}
		wild := random(2, 40, dim, 0, d)
		for i, x := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32} {
			wild.Data[i*dim+i] = x
		}
		c := build(t, wild, d, q, 2)
		for r := range c.Rows() {
			c.Prepare(wild.row(r), &s).Range(0, make([]float32, c.Rows()))
		}
		if one := build(t, wild, d, q, 1); !bytes.Equal(encoded(t, one), encoded(t, c)) {
			t.Error("numbers that are none have other bytes")
		}
	})
}

// tolerance is how far estimates of single rows may be off.
func tolerance(q query.Quantization) float64 {
	if q.Kind == query.BinaryQuantization || q.Kind == query.TurboQuantization {
		return 1.5
	}
	return 0.01 // product codes of few rows are exact
}

func TestRefused(t *testing.T) {
	v := random(1, 4, 3, 0, query.Dot)
	for name, c := range map[string]struct {
		v    Vectors
		d    query.Distance
		q    query.Quantization
		want error
	}{
		"kind":      {v, query.Dot, query.Quantization{}, ErrSettings},
		"quantile":  {v, query.Dot, query.Quantization{Kind: query.ScalarQuantization, Quantile: 0.3}, ErrSettings},
		"quantile+": {v, query.Dot, query.Quantization{Kind: query.ScalarQuantization, Quantile: 1.1}, ErrSettings},
		"encoding":  {v, query.Dot, query.Quantization{Kind: query.TurboQuantization, Encoding: query.Scalar4Bits}, ErrSettings},
		"four bits": {v, query.Dot, query.Quantization{Kind: query.BinaryQuantization, Encoding: query.FourBits}, ErrSettings},
		"distance":  {v, 9, query.Quantization{Kind: query.ScalarQuantization}, nil},
		"stride":    {Vectors{Data: v.Data, Dim: 3, Stride: 2}, query.Dot, query.Quantization{Kind: query.ScalarQuantization}, nil},
		"rows":      {Vectors{Data: v.Data, Dim: 3, Stride: 5}, query.Dot, query.Quantization{Kind: query.ScalarQuantization}, nil},
		"dim":       {Vectors{Data: make([]float32, 1<<17), Dim: 1 << 17, Stride: 1 << 17}, query.Dot, query.Quantization{Kind: query.ScalarQuantization}, index.ErrDim},
	} {
		if _, err := Build(t.Context(), c.v, c.d, c.q, 1); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for name, q := range kinds() {
		if _, err := Build(ended, v, query.Dot, q, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, cancelled: %v", name, err)
		}
		p := build(t, v, query.Dot, q, 1).Prepare(v.row(0), &Scratch{})
		for name, ask := range map[string]func(){
			"row":   func() { p.Gather([]uint32{4}, make([]float32, 1)) },
			"range": func() { p.Range(2, make([]float32, 3)) },
			"after": func() { p.Range(7, make([]float32, 1)) },
			"raws":  func() { p.Gather([]uint32{1}, make([]float32, 2)) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%v: %s did not panic", q, name)
					}
				}()
				ask()
			}()
		}
	}
}

// TestGreatest: the longest vectors that there are.
func TestGreatest(t *testing.T) {
	each(t, func(t *testing.T, d query.Distance, q query.Quantization) {
		if q.Kind == query.ProductQuantization && q.Compression < 64 {
			return // centroids of thousands of parts take minutes
		}
		v := random(8, 3, kernel.MaxDim, 0, d)
		c := build(t, v, d, q, 2)
		raws, vec := make([]float32, 3), random(9, 1, v.Dim, 0, d).row(0)
		c.Prepare(vec, &Scratch{}).Gather([]uint32{2, 0, 1}, raws)
		truth := exact(&v, d, vec)
		for i, r := range []int{2, 0, 1} {
			if diff := math.Abs(float64(raws[i] - truth[r])); !(diff <= 0.05*(1+math.Abs(float64(truth[r])))) && !(diff < 1500) {
				t.Errorf("row %d: %v, exactly %v", r, raws[i], truth[r])
			}
		}
	})
}

func ExampleCodes() {
	v := Vectors{Data: []float32{1, 0, 0, 1, 0.6, 0.8}, Dim: 2, Stride: 2}
	c, err := Build(context.Background(), v, query.Dot, query.Quantization{Kind: query.ScalarQuantization}, 1)
	if err != nil {
		panic(err)
	}
	var s Scratch
	raws := make([]float32, 2)
	c.Prepare([]float32{1, 0}, &s).Gather([]uint32{2, 0}, raws)
	fmt.Printf("%.2f, %d bytes a row\n", raws, c.RowBytes())
	// Output: [0.60 1.00], 32 bytes a row
}
