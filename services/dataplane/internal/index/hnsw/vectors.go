package hnsw

import (
	"fmt"
	"math"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/query/turbo"
)

// Vectors are the rows of one vector space, in the form in which they are stored
// (of length 1 for Cosine, but for Uint8). They must not change while an Index or a
// build uses them.
type Vectors struct {
	// One of these holds row i from element i*Stride on; all are nil if there are no
	// rows.
	Float32 []float32
	Float16 []uint16 // IEEE 754 binary16
	Uint8   []uint8
	Turbo   []uint8 // rows of query.Turbo4, in bytes
	// Dim is the length of a vector, Stride how far rows are apart: at least Dim,
	// of Turbo turbo.RowBytes.
	Dim, Stride int
	Distance    query.Distance
	// Has is a bit for each row that has a vector; nil: all have one.
	Has []uint64
}

// space is Vectors that have been checked.
type space struct {
	Vectors
	metric rank.Metric
	rows   int
	held   int // rows that have a vector
	stored rank.Rows
}

func newSpace(v Vectors) (space, error) {
	m, ok := rank.MetricOf(v.Distance)
	n := len(v.Float32) + len(v.Float16) + len(v.Uint8) + len(v.Turbo)
	width := v.Dim
	if v.Turbo != nil {
		width = turbo.RowBytes(v.Dim)
	}
	switch {
	case !ok:
		return space{}, fmt.Errorf("hnsw: unknown distance %d", v.Distance)
	case v.Dim < 1 || v.Dim > MaxDim:
		return space{}, fmt.Errorf("hnsw: %w: %d is not in 1..%d", index.ErrDim, v.Dim, MaxDim)
	case n > max(len(v.Float32), len(v.Float16), len(v.Uint8), len(v.Turbo)):
		return space{}, fmt.Errorf("hnsw: rows of more than one type")
	case v.Turbo != nil && v.Distance == query.Manhattan:
		return space{}, fmt.Errorf("hnsw: rows of turbo4 are not compared by Manhattan")
	case v.Stride < width || n%v.Stride != 0:
		return space{}, fmt.Errorf("hnsw: %d elements are not rows of %d, %d apart", n, v.Dim, v.Stride)
	case n/v.Stride > int(index.MaxRow):
		return space{}, fmt.Errorf("hnsw: %w: %d rows", index.ErrRow, n/v.Stride)
	case v.Has != nil && len(v.Has) < (n/v.Stride+63)/64:
		return space{}, fmt.Errorf("hnsw: %d words do not have a bit for each of %d rows", len(v.Has), n/v.Stride)
	}
	s := space{Vectors: v, metric: m, rows: n / v.Stride, held: n / v.Stride}
	s.stored = rank.Rows{Float32: v.Float32, Float16: v.Float16, Uint8: v.Uint8, Turbo: v.Turbo, Stride: v.Stride, Form: rank.Form{Bytes: v.Uint8 != nil}}
	if v.Turbo != nil {
		s.stored.Coder = turbo.New(v.Dim)
	}
	if v.Has != nil {
		s.held = 0
		for r := range uint32(s.rows) {
			if s.has(r) {
				s.held++
			}
		}
	}
	if len(v.Uint8) > 0 && v.Distance == query.Cosine {
		s.stored.Inverse = make([]float32, s.rows)
		for r := range s.stored.Inverse {
			s.stored.Inverse[r] = rank.Inverse(v.Uint8[r*v.Stride:][:v.Dim])
		}
	}
	return s, nil
}

// has tells whether row r, which must be one, has a vector.
func (v *space) has(r uint32) bool { return v.Has == nil || v.Has[r>>6]>>(r&63)&1 != 0 }

// size is how many bytes a row takes.
func (v *space) size() int {
	switch {
	case v.Float32 != nil:
		return 4 * v.Stride
	case v.Float16 != nil:
		return 2 * v.Stride
	default:
		return v.Stride
	}
}

// probe is what rows are compared with.
type probe struct{ rank.Probe }

// stand makes p the vector of row r.
func (p *probe) stand(v *space, r uint32) { p.Stand(&v.stored, v.Dim, r) }

// line is how many float32 a cache line holds.
const line = 16

// gather sets raws[i] to the raw value of p and row rows[i].
func (v *space) gather(p *probe, rows []uint32, raws []float32) {
	v.stored.Gather(&v.metric, &p.Probe, rows, raws)
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
