package quant

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// BenchmarkGather estimates 32 rows at random out of more than caches hold, beside
// the same rows of float32. The codes are random bytes: their values do not matter.
// cpu-ns/row is the CPU time for one.
func BenchmarkGather(b *testing.B) {
	const n = 32
	for _, dim := range []int{128, 784, 1536} {
		rng := rand.New(rand.NewPCG(1, uint64(dim)))
		rows := (1 << 30) / (4 * dim)
		v := Vectors{Data: floats(b, rows*dim), Dim: dim, Stride: dim}
		for i := 0; i < len(v.Data); i += 1024 {
			v.Data[i] = 1
		}
		q, raws := make([]float32, dim), make([]float32, n)
		for i := range q {
			q[i] = float32(rng.NormFloat64())
		}
		ids := make([]uint32, n<<12)
		for i := range ids {
			ids[i] = uint32(rng.IntN(rows))
		}
		at := 0
		next := func() []uint32 { at = (at + n) % len(ids); return ids[at:][:n] }
		run := func(name string, bytes int, gather func(rows []uint32, raws []float32)) {
			b.Run(fmt.Sprintf("%d/%s", dim, name), func(b *testing.B) {
				used := cpuTime()
				for b.Loop() {
					gather(next(), raws)
				}
				b.ReportMetric(float64((cpuTime()-used).Nanoseconds())/float64(b.N*n), "cpu-ns/row")
				b.ReportMetric(float64(bytes), "B/row")
			})
		}
		table := kernel.Rows[float32]{Data: v.Data, Stride: dim}
		run("float32", 4*dim, func(rows []uint32, raws []float32) { kernel.L2.GatherFloat32(q, table, rows, raws) })
		for _, name := range sortedKinds() {
			c := build(b, Vectors{Data: q, Dim: dim, Stride: dim}, query.Euclid, kinds()[name], 1)
			c.rows, c.data = rows, bytesOf(floats(b, rows*c.stride/4))
			for i := 0; i < len(c.data); i += 1000 {
				c.data[i] = uint8(rng.Uint32())
			}
			run(name, c.stride, c.Prepare(q, &Scratch{}).Gather)
		}
	}
}

// BenchmarkPrepare encodes a query.
func BenchmarkPrepare(b *testing.B) {
	for _, dim := range []int{128, 784, 1536} {
		v := random(1, 2, dim, 0, query.Euclid)
		for _, name := range sortedKinds() {
			b.Run(fmt.Sprintf("%d/%s", dim, name), func(b *testing.B) {
				c := build(b, v, query.Euclid, kinds()[name], 1)
				var s Scratch
				used := cpuTime()
				for b.Loop() {
					c.Prepare(v.row(1), &s)
				}
				b.ReportMetric(float64((cpuTime()-used).Nanoseconds())/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// BenchmarkBuild makes codes of the excerpt and of the sets that PANDO_DATA names.
func BenchmarkBuild(b *testing.B) {
	for _, dir := range folders(b) {
		s := load(b, dir)
		for _, name := range sortedKinds() {
			b.Run(s.name+"/"+name, func(b *testing.B) {
				used := cpuTime()
				for b.Loop() {
					build(b, s.v, s.d, kinds()[name], 1)
				}
				b.ReportMetric((cpuTime()-used).Seconds()/float64(b.N), "cpu-s/op")
			})
		}
	}
}
