package kernel

import (
	"math"
	"unsafe"
)

// Rows of float16 are IEEE 754 binary16 bits. The query is float32 and each element
// of a row is widened, which is exact; from there on the law of float32 holds.

// PairFloat16 compares a vector with one of float16; they have equal length.
func (m Metric) PairFloat16(a []float32, b []uint16) float32 {
	if len(a) != len(b) {
		panic("kernel: vectors differ in length")
	}
	var out [1]float32
	m.Float16(a, Rows[uint16]{b, len(b)}, out[:])
	return out[0]
}

// Float16 sets out[i] to the comparison of q with row i. It panics if rows are
// missing or shorter than q.
func (m Metric) Float16(q []float32, rows Rows[uint16], out []float32) {
	m.float16s(q, rows, nil, out)
}

// GatherFloat16 sets out[i] to the comparison of q with row ids[i]. It panics if
// that row does not exist, or if ids and out differ in length.
func (m Metric) GatherFloat16(q []float32, rows Rows[uint16], ids []uint32, out []float32) {
	m.float16s(q, rows, gathered(ids, len(out)), out)
}

func (m Metric) float16s(q []float32, rows Rows[uint16], ids []uint32, out []float32) {
	check(len(q), rows, ids, len(out))
	if len(q) == 0 {
		clear(out)
		return
	}
	for per := perCall(2 * len(q)); len(out) > 0; {
		n := min(per, len(out))
		if !m.float16Vector(unsafe.SliceData(q), unsafe.SliceData(rows.Data), len(q), 2*rows.Stride, unsafe.SliceData(ids), n, unsafe.SliceData(out)) {
			m.float16Law(q, rows, ids, out[:n])
		}
		out = out[n:]
		rows, ids = rows.skip(n, ids)
	}
}

// float16Law is the law.
func (m Metric) float16Law(q []float32, rows Rows[uint16], ids []uint32, out []float32) {
	var wide [16 * Lanes]float32
	for i := range out {
		row := rows.at(i, len(q), ids)
		var l lanes
		for from := 0; from < len(q); from += len(wide) {
			part := wide[:min(len(wide), len(q)-from)]
			Widen(part, row[from:])
			l.take(m, q[from:][:len(part)], part)
		}
		out[i] = l.fold()
	}
}

// Widen sets dst to the float32 values of as many float16. Any NaN becomes some NaN.
func Widen(dst []float32, src []uint16) {
	src = src[:len(dst)]
	for i, h := range src {
		b := uint32(h&0x7fff) << 13
		if b >= 0x7c00<<13 {
			b += 0x7f800000 - 0x7c00<<13 // infinity, NaN
		} else {
			b = math.Float32bits(math.Float32frombits(b) * 0x1p112) // rebias, exact for subnormals too
		}
		dst[i] = math.Float32frombits(b | uint32(h&0x8000)<<16)
	}
}
