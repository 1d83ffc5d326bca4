package quant

import (
	"math"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// TestScalarIdentities: an estimate is the comparison of what the codes of row and
// query stand for.
func TestScalarIdentities(t *testing.T) {
	for name, d := range distances {
		for _, dim := range []int{1, 3, 28, 29, 64, 100, 257, 2000} {
			v := random(3, 60, dim, 1, d)
			c := build(t, v, d, query.Quantization{Kind: query.ScalarQuantization, Quantile: 0.95}, 1)
			s := c.scheme.(*scalar)
			var sc Scratch
			q := random(4, 1, dim, 0, d).row(0)
			raws := make([]float32, c.Rows())
			p := c.Prepare(q, &sc).(*scalarScorer)
			p.Range(0, raws)
			step := math.Abs(p.times) / float64(s.scale) // of the query's codes
			switch s.metric {
			case kernel.L2:
				step /= 2
			case kernel.L1:
				step = float64(s.scale)
			}
			for r, raw := range raws {
				var want, size float64
				if s.metric == kernel.Dot {
					want = float64(kernel.Dot.PairFloat32(s.spread.centre, q))
				}
				for i := range s.dim {
					x := float64(s.scale) * float64(int8(c.data[r*c.stride+i]))
					y := step * float64(p.q[i])
					switch s.metric {
					case kernel.Dot:
						want, size = want+x*y, size+math.Abs(x*y)
					case kernel.L2:
						want, size = want+(x-y)*(x-y), size+x*x+y*y
					default:
						edge := float64(s.scale) * top
						u := float64(q[i]) - float64(s.offset)
						want += math.Abs(x-y) + max(0, math.Abs(u)-edge)
						size = want
					}
				}
				if math.Abs(float64(raw)-want) > 1e-5*size {
					t.Fatalf("%s dim %d row %d: %v, want %v", name, dim, r, raw, want)
				}
			}
		}
	}
}

// off gives how many codes are farther than half a step from their element, and
// the mean squared error.
func off(c *Codes, v Vectors) (beyond int, squared float64) {
	s := c.scheme.(*scalar)
	x := make([]float32, s.dim)
	for r := range c.Rows() {
		s.put(x, v.row(r))
		for i, u := range x {
			diff := float64(u) - float64(s.offset) - float64(s.scale)*float64(int8(c.data[r*c.stride+i]))
			if squared += diff * diff; math.Abs(diff) > float64(s.scale)*0.5001 {
				beyond++
			}
		}
	}
	return beyond, squared / float64(c.Rows()*s.dim)
}

// TestScalarRange: without a quantile every element is within half a step of its
// code. With one, as many may be cut off, and the error is never greater, nor than
// if exactly so many were.
func TestScalarRange(t *testing.T) {
	for name, d := range distances {
		for _, wild := range []float32{0, 2} {
			v := random(7, 2000, 48, 0, d)
			for r := range 2 {
				for i := range v.row(r) {
					v.row(r)[i] *= 1 + wild
				}
			}
			whole := build(t, v, d, query.Quantization{Kind: query.ScalarQuantization}, 2)
			beyond, widest := off(whole, v)
			if beyond > 0 {
				t.Errorf("%s: %d of %d elements are cut off", name, beyond, len(v.Data))
			}
			for _, quantile := range []float32{0.5, 0.9, 0.99, 0.999} {
				c := build(t, v, d, query.Quantization{Kind: query.ScalarQuantization, Quantile: quantile}, 2)
				beyond, squared := off(c, v)
				if share := float64(beyond) / float64(len(v.Data)); share > 1.01-float64(quantile) {
					t.Errorf("%s: quantile %v cuts off %.4f", name, quantile, share)
				}
				if squared > widest*1.0001 {
					t.Errorf("%s: quantile %v: error %v, without %v", name, quantile, squared, widest)
				}
			}
		}
	}
}
