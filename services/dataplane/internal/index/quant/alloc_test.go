//go:build !race

package quant

import (
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// TestAllocations: a query takes no memory once its scratch has grown.
func TestAllocations(t *testing.T) {
	each(t, func(t *testing.T, d query.Distance, q query.Quantization) {
		v := random(3, 600, 100, 0, d)
		c := build(t, v, d, q, 1)
		var s Scratch
		rows, raws := make([]uint32, 40), make([]float32, 600)
		if n := testing.AllocsPerRun(20, func() {
			p := c.Prepare(v.row(1), &s)
			p.Gather(rows, raws[:len(rows)])
			p.Range(0, raws)
			p.Deviations(rows, raws[:len(rows)])
		}); n > 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
