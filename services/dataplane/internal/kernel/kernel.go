// Package kernel compares vectors: inner product, squared Euclidean and
// Manhattan distance, for one pair, for one query against contiguous rows, or
// against rows named by number. It knows no collections, no scores and no order.
//
// Pure Go is the law, and its bits are the answer: all implementations are
// bit-equal on every CPU (any NaN equals any NaN), so replicas agree on scores.
// Floats are added in one order, which vector units can follow exactly:
//
//   - Sixteen lanes start at +0. Element i is added to lane i mod 16, in the
//     order of i, each operation rounded to float32: never a fused
//     multiply-add. A last part of fewer than sixteen elements counts as padded
//     with zeros, which changes no lane, for a lane is never -0.
//   - The lanes are folded in halves: l[j]+l[j+8], then +4, +2, +1.
//
// Vector code cannot be interrupted, so it is called for some rows at a time:
// less than 50 µs of work, even if every row comes from main memory. A page that
// has to be read from a disk is beyond that bound.
package kernel

// Lanes is how many partial sums run side by side.
const Lanes = 16

// MaxDim is the greatest length of a vector.
const MaxDim = 1 << 16

// Metric is how two vectors are compared.
type Metric uint8

// Metrics; cosine similarity is Dot of vectors that Normalize has scaled.
const (
	Dot Metric = iota // inner product
	L2                // squared Euclidean distance
	L1                // Manhattan distance
)

// Rows is a table of vectors: row i begins at Data[i*Stride].
type Rows[E any] struct {
	Data   []E
	Stride int // elements, at least the length of a vector
}

// at is the row that place i of the output is for.
func (r Rows[E]) at(i, dim int, ids []uint32) []E {
	if ids != nil {
		i = int(ids[i])
	}
	return r.Data[i*r.Stride:][:dim]
}

// skip goes on n places.
func (r Rows[E]) skip(n int, ids []uint32) (Rows[E], []uint32) {
	if ids != nil {
		return r, ids[n:]
	}
	r.Data = r.Data[min(n*r.Stride, len(r.Data)):]
	return r, nil
}

// check panics unless all rows that are asked for lie inside the table: vector
// code would read whatever is there, or crash.
func check[E any](dim int, rows Rows[E], ids []uint32, n int) {
	if dim > MaxDim {
		panic("kernel: vector is longer than MaxDim")
	}
	if rows.Stride < dim {
		panic("kernel: stride is shorter than the query")
	}
	if dim == 0 || n == 0 {
		return
	}
	last := n - 1
	if ids != nil {
		top := uint32(0)
		for _, id := range ids {
			top = max(top, id)
		}
		last = int(top)
	}
	if len(rows.Data) < dim || last > (len(rows.Data)-dim)/rows.Stride {
		panic("kernel: row is outside of the table")
	}
}

// gathered panics unless there is one id per place of the output, and tells ids
// from none: a nil list means contiguous rows further down.
func gathered(ids []uint32, n int) []uint32 {
	if len(ids) != n {
		panic("kernel: ids do not fit output")
	}
	if ids == nil {
		return []uint32{}
	}
	return ids
}

// Bounds of one call of vector code. A row from main memory takes about 0.1 µs,
// and its bytes come at 8 GB/s or more.
const (
	callRows  = 256
	callBytes = 1 << 18
)

// perCall is how many rows of size bytes one call of vector code takes.
func perCall(size int) int { return max(1, min(callRows, callBytes/size)) }
