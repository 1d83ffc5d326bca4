package kernel

import (
	"math"
	"unsafe"
)

// Columns is how many vectors a table compares with.
const Columns = 256

// Table sets out[i] to the comparison of q with vector i of 256, whose elements
// lie side by side: element j of vector i is columns[256*j+i]. Terms are added in
// the order of elements. It is for short vectors: parts of others. It panics if
// columns has another size.
func (m Metric) Table(q, columns []float32, out *[Columns]float32) {
	if len(columns) != Columns*len(q) || len(q) > 1024 {
		panic("kernel: columns do not fit the query")
	}
	if len(q) == 0 {
		clear(out[:])
		return
	}
	if !m.tableVector(&q[0], len(q), &columns[0], &out[0]) {
		m.tableLaw(q, columns, out)
	}
}

// tableLaw is the law.
func (m Metric) tableLaw(q, columns []float32, out *[Columns]float32) {
	clear(out[:])
	for j, x := range q {
		for i, y := range columns[Columns*j:][:Columns] {
			switch m {
			case Dot:
				out[i] += float32(x * y)
			case L2:
				d := x - y
				out[i] += float32(d * d)
			case L1:
				out[i] += abs(x - y)
			default:
				panic("kernel: unknown metric")
			}
		}
	}
}

// Least gives the place of the first of the smallest of numbers that are not
// negative; NaN counts as greater than all.
func Least(v *[Columns]float32) int {
	if i := leastVector((*uint32)(unsafe.Pointer(v))); i >= 0 {
		return i
	}
	return leastLaw(v)
}

// leastLaw is the law: without signs, bits are in the order of numbers.
func leastLaw(v *[Columns]float32) int {
	least, at := uint32(math.MaxUint32), 0
	for i, x := range v {
		if b := math.Float32bits(x); b < least {
			least, at = b, i
		}
	}
	return at
}
