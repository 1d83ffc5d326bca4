package hnsw

import (
	"fmt"
	"math"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Vectors are the rows of one vector space, in the form in which they are stored
// (of length 1 for Cosine). They must not change while a graph uses them.
type Vectors struct {
	// Data holds row i from float i*Stride on.
	Data []float32
	// Dim is the length of a vector, Stride how far rows are apart: at least Dim.
	Dim, Stride int
	Distance    query.Distance
}

// space is Vectors that have been checked.
type space struct {
	Vectors
	metric rank.Metric
	rows   int
}

func newSpace(v Vectors) (space, error) {
	m, ok := rank.MetricOf(v.Distance)
	switch {
	case !ok:
		return space{}, fmt.Errorf("hnsw: unknown distance %d", v.Distance)
	case v.Dim < 1 || v.Dim > MaxDim:
		return space{}, fmt.Errorf("hnsw: %w: %d is not in 1..%d", index.ErrDim, v.Dim, MaxDim)
	case v.Stride < v.Dim || len(v.Data)%v.Stride != 0:
		return space{}, fmt.Errorf("hnsw: %d floats are not rows of %d, %d apart", len(v.Data), v.Dim, v.Stride)
	case len(v.Data)/v.Stride > int(index.MaxRow):
		return space{}, fmt.Errorf("hnsw: %w: %d rows", index.ErrRow, len(v.Data)/v.Stride)
	}
	return space{v, m, len(v.Data) / v.Stride}, nil
}

func (v *space) row(r uint32) []float32 {
	at := int(r) * v.Stride
	return v.Data[at : at+v.Dim : at+v.Dim]
}

// line is how many floats a cache line holds.
const line = 16

// gather sets raws[i] to the raw value of q and row rows[i].
func (v *space) gather(q []float32, rows []uint32, raws []float32) {
	v.metric.Raw.GatherFloat32(q, kernel.Rows[float32]{Data: v.Data, Stride: v.Stride}, rows, raws)
}

// pair gives the order of the distance of two rows.
func (v *space) pair(a, b uint32) uint32 {
	return v.order(v.metric.Raw.PairFloat32(v.row(a), v.row(b)))
}

// order maps raw values to integers that grow with the distance. NaN is farthest.
func (v *space) order(raw float32) uint32 {
	if raw != raw {
		return math.MaxUint32
	}
	b := math.Float32bits(0 - raw*v.metric.Sign) // never -0
	return b ^ (uint32(int32(b)>>31) | 1<<31)
}

// raw is what order was given.
func (v *space) raw(order uint32) float32 {
	if order == math.MaxUint32 {
		return float32(math.NaN())
	}
	b := order ^ (^uint32(int32(order)>>31) | 1<<31)
	if d := math.Float32frombits(b); d != 0 {
		return -d * v.metric.Sign
	}
	return 0
}

// A key orders nodes by distance, then by number. Its last bit is a flag.

const flag = 1

func key(order, node uint32) uint64 { return uint64(order)<<32 | uint64(node)<<1 }

func nodeOf(key uint64) uint32 { return uint32(key) >> 1 }

func orderOf(key uint64) uint32 { return uint32(key >> 32) }
