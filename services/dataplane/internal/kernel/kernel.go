// Package kernel compares float32 vectors: inner product, squared Euclidean and
// Manhattan distance, for one pair or for one query against contiguous rows. It
// knows no collections, no scores and no order.
//
// Pure Go is the law, and its bits are the answer. Every sum is made in one
// order, which vector units can follow exactly, so all implementations are
// bit-equal on every CPU (any NaN equals any NaN) and replicas agree on scores:
//
//   - Sixteen lanes start at +0. Element i is added to lane i mod 16, in the
//     order of i, each operation rounded to float32: never a fused
//     multiply-add. A last part of fewer than sixteen elements counts as padded
//     with zeros, which changes no lane, for a lane is never -0.
//   - The lanes are folded in halves: l[j]+l[j+8], then +4, +2, +1.
//
// A call is not interrupted once it is in vector code, so callers hand out
// blocks: MaxBlock floats of rows take less than 50 µs on any CPU of this age.
package kernel

import "math"

// Lanes is how many partial sums run side by side.
const Lanes = 16

// MaxBlock is the greatest number of floats that a caller should hand to one
// batch call (256 KiB of rows, less than 50 µs).
const MaxBlock = 1 << 16

// Dot is the inner product of two vectors of equal length.
func Dot(a, b []float32) float32 {
	var out [1]float32
	DotBatch(a, b, out[:])
	return out[0]
}

// L2 is the squared Euclidean distance of two vectors of equal length.
func L2(a, b []float32) float32 {
	var out [1]float32
	L2Batch(a, b, out[:])
	return out[0]
}

// L1 is the Manhattan distance of two vectors of equal length.
func L1(a, b []float32) float32 {
	var out [1]float32
	L1Batch(a, b, out[:])
	return out[0]
}

// DotBatch sets out[i] to the inner product of q and row i of rows, which holds
// len(out) rows of len(q) floats each and nothing else; it panics otherwise.
func DotBatch(q, rows, out []float32) {
	check(q, rows, out)
	if !dotVector(q, rows, out) {
		dotRows(q, rows, out)
	}
}

// L2Batch is DotBatch for the squared Euclidean distance.
func L2Batch(q, rows, out []float32) {
	check(q, rows, out)
	if !l2Vector(q, rows, out) {
		l2Rows(q, rows, out)
	}
}

// L1Batch is DotBatch for the Manhattan distance.
func L1Batch(q, rows, out []float32) {
	check(q, rows, out)
	if !l1Vector(q, rows, out) {
		l1Rows(q, rows, out)
	}
}

func check(q, rows, out []float32) {
	if len(rows) != len(q)*len(out) {
		panic("kernel: rows do not fit query and output")
	}
}

// normal is how far the squared length of a vector may be from 1 for Normalize
// to leave it alone. It makes normalising idempotent: the rounding of a
// normalised vector stays below it.
const normal = 1e-6

// Normalize scales v to length 1 in place and tells whether it could: a zero
// vector stays as it is, and a vector of length 1 within rounding does too, so
// that normalising twice changes no bit. The length is summed in float64 in the
// order of elements, in Go on every CPU.
func Normalize(v []float32) bool {
	var sum float64
	for _, x := range v {
		sum += float64(float64(x) * float64(x))
	}
	if sum == 0 {
		return false
	}
	if math.Abs(sum-1) <= normal {
		return true
	}
	inv := 1 / math.Sqrt(sum)
	for i, x := range v {
		v[i] = float32(float64(x) * inv)
	}
	return true
}
