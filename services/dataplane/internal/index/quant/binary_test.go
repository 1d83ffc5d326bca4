package quant

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// sphere gives n normally distributed rows around 0, of length 1.
func sphere(seed uint64, n, dim int) Vectors {
	rng := rand.New(rand.NewPCG(seed, 2))
	v := Vectors{Data: make([]float32, n*dim), Dim: dim, Stride: dim}
	for r := range n {
		var squares float64
		row := v.row(r)
		for i := range row {
			row[i] = float32(rng.NormFloat64())
			squares += float64(row[i]) * float64(row[i])
		}
		for i := range row {
			row[i] /= float32(math.Sqrt(squares))
		}
	}
	return v
}

// TestBitsQuality: codes lie as near to vectors as theory says, estimates are right
// on average, and are wrong by what Deviations says.
func TestBitsQuality(t *testing.T) {
	const dim, rows, queries = 256, 4000, 40
	v, qs := sphere(1, rows, dim), sphere(2, queries, dim)
	ids := make([]uint32, rows)
	for i := range ids {
		ids[i] = uint32(i)
	}
	bits := func(e query.BinaryEncoding) query.Quantization {
		return query.Quantization{Kind: query.BinaryQuantization, Encoding: e, Query: query.Scalar8Bits}
	}
	turbo := func(e query.BinaryEncoding) query.Quantization {
		return query.Quantization{Kind: query.TurboQuantization, Encoding: e}
	}
	for name, want := range map[string]struct {
		q           query.Quantization
		cosine      float64 // of code and vector
		sd, percent float64 // of an estimate, times the root of dim; how near it has to be
	}{
		"one bit":                  {bits(query.OneBit), 0.798, 0.755, 2},
		"one and half bits":        {bits(query.OneAndHalfBits), 0.872, 0.563, 2},
		"two bits":                 {bits(query.TwoBits), 0.939, 0.368, 3},
		"turbo, one bit":           {turbo(query.OneBit), 0.798, 0.755, 2},
		"turbo, one and half bits": {turbo(query.OneAndHalfBits), 0.872, 0.563, 2},
		"turbo, two bits":          {turbo(query.TwoBits), 0.9394, 0.365, 3},
		"turbo, four bits":         {turbo(query.FourBits), 0.9952, 0.0984, 3},
	} {
		c := build(t, v, query.Dot, want.q, 2)
		var cosine float64
		for r := range rows {
			of := rowTerms(c, r)
			// F²|u|² = |r|² + (n-1)E², and its root is |r| over the cosine
			cosine += 1 / math.Sqrt(1+float64(dim-1)*of.wrong*of.wrong) / rows
			if of.factor <= 0 {
				t.Fatalf("%s: factor %v", name, of.factor)
			}
		}
		if math.Abs(cosine-want.cosine) > 0.003 {
			t.Errorf("%s: mean cosine of codes %.4f, want %.3f", name, cosine, want.cosine)
		}
		var s Scratch
		var xy, xx, squares, predicted float64
		raws, sds := make([]float32, rows), make([]float32, rows)
		beyond := 0
		for i := range queries {
			p := c.Prepare(qs.row(i), &s)
			p.Range(0, raws)
			if !p.Deviations(ids, sds) {
				t.Fatal("no deviations")
			}
			for r, truth := range exact(&v, query.Dot, qs.row(i)) {
				off := float64(raws[r] - truth)
				xy, xx = xy+float64(raws[r])*float64(truth), xx+float64(truth)*float64(truth)
				squares, predicted = squares+off*off, predicted+float64(sds[r])*float64(sds[r])
				if math.Abs(off) > 3*float64(sds[r]) {
					beyond++
				}
			}
		}
		const n = rows * queries
		sd, said := math.Sqrt(squares/n), math.Sqrt(predicted/n)
		t.Logf("%s: cosine %.4f, slope %.4f, sd·√dim %.4f, deviations say %.4f, %.2f %% beyond three", name, cosine, xy/xx, sd*math.Sqrt(dim), said*math.Sqrt(dim), 100*float64(beyond)/n)
		// the slope's own deviation is sd·√dim over the root of how many estimates there are
		if slope := xy / xx; math.Abs(slope-1) > 0.002+3*sd*math.Sqrt(dim/float64(n)) {
			t.Errorf("%s: estimates rise by %.4f", name, slope)
		}
		if math.Abs(said/sd-1) > 0.02 || math.Abs(sd*math.Sqrt(dim)/want.sd-1) > want.percent/100 {
			t.Errorf("%s: deviation %.4f, said %.4f, want %.4f", name, sd*math.Sqrt(dim), said*math.Sqrt(dim), want.sd)
		}
		if beyond > n*5/1000 {
			t.Errorf("%s: %d of %d are beyond three deviations", name, beyond, n)
		}
	}
}

// rowTerms are the terms of a row.
func rowTerms(c *Codes, row int) terms {
	if _, ok := c.scheme.(*levelCodes); ok {
		return (&levelScorer{c: c}).terms(row)
	}
	t, _ := (&bitsScorer{c: c}).terms(row)
	return t
}

// TestBitsNear: the estimates of a vector and itself, which rows and queries of one
// bit would take for nearer than possible.
func TestBitsNear(t *testing.T) {
	v := sphere(3, 50, 200)
	for kind, q := range kinds() {
		if q.Kind != query.BinaryQuantization && q.Kind != query.TurboQuantization {
			continue
		}
		c := build(t, v, query.Dot, q, 1)
		var s Scratch
		var mean float64
		for r := range c.Rows() {
			var raw [1]float32
			c.Prepare(v.row(r), &s).Gather([]uint32{uint32(r)}, raw[:])
			mean += float64(raw[0]) / float64(c.Rows())
		}
		if math.Abs(mean-1) > 0.15 {
			t.Errorf("%s: product with itself %.3f", kind, mean)
		}
	}
}

func TestTranspose(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		x := rng.Uint64()
		y := transpose(x)
		for i := range 8 {
			for k := range 8 {
				if x>>(8*i+k)&1 != y>>(8*k+i)&1 {
					t.Fatalf("%#x: %#x", x, y)
				}
			}
		}
	}
}
