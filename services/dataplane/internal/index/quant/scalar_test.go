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
			for r, raw := range raws {
				var want, size float64
				for i := range dim {
					x := float64(s.offset) + float64(s.scale)*float64(int8(c.data[r*c.stride+i]))
					step := p.times / float64(s.scale)
					f := float64(p.q[i])
					switch s.metric {
					case kernel.Dot:
						// the query's sum is not rounded
						want += float64(s.offset)*float64(q[i]) + (x-float64(s.offset))*step*f
						size += math.Abs(x * step * f)
					case kernel.L2:
						diff := x - float64(s.offset) + step/2*f
						want += diff * diff
						size += diff*diff + x*x
					default:
						edge := float64(s.scale) * top
						y := min(max(float64(q[i]), float64(s.offset)-edge), float64(s.offset)+edge)
						want += math.Abs(x-float64(s.offset)-float64(s.scale)*f) + math.Abs(float64(q[i])-y)
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

// TestScalarRange: a code is within half a step of its element, unless the
// quantile cut it off, and that many are cut off.
func TestScalarRange(t *testing.T) {
	v := random(7, 2000, 40, 0, query.Dot)
	for quantile, share := range map[float32]float64{0: 0, 0.99: 0.01, 0.5: 0.5} {
		c := build(t, v, query.Dot, query.Quantization{Kind: query.ScalarQuantization, Quantile: quantile}, 1)
		s := c.scheme.(*scalar)
		out := 0
		for r := range c.Rows() {
			for i, x := range v.row(r) {
				y := s.offset + s.scale*float32(int8(c.data[r*c.stride+i]))
				if off := math.Abs(float64(x - y)); off > float64(s.scale)*0.5001 {
					out++
				}
			}
		}
		// half a step beyond the bounds is still near enough
		if got := float64(out) / float64(len(v.Data)); got > share || got < share*0.9 {
			t.Errorf("quantile %v: %.4f of the elements are cut off", quantile, got)
		}
	}
}
