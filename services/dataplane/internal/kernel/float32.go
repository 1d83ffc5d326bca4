package kernel

import (
	"math"
	"unsafe"
)

// PairFloat32 compares two vectors of equal length.
func (m Metric) PairFloat32(a, b []float32) float32 {
	if len(a) != len(b) {
		panic("kernel: vectors differ in length")
	}
	var out [1]float32
	m.Float32(a, Rows[float32]{b, len(b)}, out[:])
	return out[0]
}

// Float32 sets out[i] to the comparison of q with row i. It panics if rows are
// missing or shorter than q.
func (m Metric) Float32(q []float32, rows Rows[float32], out []float32) {
	m.float32s(q, rows, nil, out)
}

// GatherFloat32 sets out[i] to the comparison of q with row ids[i]. It panics if
// that row does not exist, or if ids and out differ in length.
func (m Metric) GatherFloat32(q []float32, rows Rows[float32], ids []uint32, out []float32) {
	m.float32s(q, rows, gathered(ids, len(out)), out)
}

func (m Metric) float32s(q []float32, rows Rows[float32], ids []uint32, out []float32) {
	check(len(q), rows, ids, len(out))
	if len(q) == 0 {
		clear(out)
		return
	}
	for per := perCall(4 * len(q)); len(out) > 0; {
		n := min(per, len(out))
		if !m.float32Vector(unsafe.SliceData(q), unsafe.SliceData(rows.Data), len(q), 4*rows.Stride, unsafe.SliceData(ids), n, unsafe.SliceData(out)) {
			m.float32Law(q, rows, ids, out[:n])
		}
		out = out[n:]
		rows, ids = rows.skip(n, ids)
	}
}

// float32Law is the law.
func (m Metric) float32Law(q []float32, rows Rows[float32], ids []uint32, out []float32) {
	for i := range out {
		row := rows.at(i, len(q), ids)
		var l lanes
		l.take(m, q, row)
		out[i] = l.fold()
	}
}

// lanes are the partial sums of one comparison.
type lanes [Lanes]float32

// take adds the terms of two vectors to the lanes, or of a part of two vectors
// that begins with lane 0.
func (l *lanes) take(m Metric, q, row []float32) {
	switch m {
	case Dot:
		l.dot(q, row)
	case L2:
		l.l2(q, row)
	case L1:
		l.l1(q, row)
	default:
		panic("kernel: unknown metric")
	}
}

// fold adds the lanes up in halves.
func (l *lanes) fold() float32 {
	a0, a1, a2, a3 := l[0]+l[8], l[1]+l[9], l[2]+l[10], l[3]+l[11]
	a4, a5, a6, a7 := l[4]+l[12], l[5]+l[13], l[6]+l[14], l[7]+l[15]
	a0, a1, a2, a3 = a0+a4, a1+a5, a2+a6, a3+a7
	return (a0 + a2) + (a1 + a3)
}

// A row is walked twice: eight sums fit into registers, sixteen do not, and a row
// that was just read is in the nearest cache.

func (l *lanes) dot(q, row []float32) {
	n := len(q) &^ (Lanes - 1)
	if n > 0 {
		dotHalf((*[8]float32)(l[:8]), q[:n], row[:n])
		dotHalf((*[8]float32)(l[8:]), q[8:n], row[8:n])
	}
	tail := row[n:]
	for j, x := range q[n:] {
		l[j] += float32(x * tail[j])
	}
}

// dotHalf sums elements 0..7 of every sixteen.
func dotHalf(l *[8]float32, a, b []float32) {
	b = b[:len(a)]
	s0, s1, s2, s3, s4, s5, s6, s7 := l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7]
	for i := 0; i+8 <= len(a); i += Lanes {
		x, y := a[i:i+8:i+8], b[i:i+8:i+8]
		s0 += float32(x[0] * y[0])
		s1 += float32(x[1] * y[1])
		s2 += float32(x[2] * y[2])
		s3 += float32(x[3] * y[3])
		s4 += float32(x[4] * y[4])
		s5 += float32(x[5] * y[5])
		s6 += float32(x[6] * y[6])
		s7 += float32(x[7] * y[7])
	}
	l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7] = s0, s1, s2, s3, s4, s5, s6, s7
}

func (l *lanes) l2(q, row []float32) {
	n := len(q) &^ (Lanes - 1)
	if n > 0 {
		l2Half((*[8]float32)(l[:8]), q[:n], row[:n])
		l2Half((*[8]float32)(l[8:]), q[8:n], row[8:n])
	}
	tail := row[n:]
	for j, x := range q[n:] {
		d := x - tail[j]
		l[j] += float32(d * d)
	}
}

// l2Half sums elements 0..7 of every sixteen.
func l2Half(l *[8]float32, a, b []float32) {
	b = b[:len(a)]
	s0, s1, s2, s3, s4, s5, s6, s7 := l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7]
	for i := 0; i+8 <= len(a); i += Lanes {
		x, y := a[i:i+8:i+8], b[i:i+8:i+8]
		d0, d1, d2, d3 := x[0]-y[0], x[1]-y[1], x[2]-y[2], x[3]-y[3]
		s0 += float32(d0 * d0)
		s1 += float32(d1 * d1)
		s2 += float32(d2 * d2)
		s3 += float32(d3 * d3)
		d0, d1, d2, d3 = x[4]-y[4], x[5]-y[5], x[6]-y[6], x[7]-y[7]
		s4 += float32(d0 * d0)
		s5 += float32(d1 * d1)
		s6 += float32(d2 * d2)
		s7 += float32(d3 * d3)
	}
	l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7] = s0, s1, s2, s3, s4, s5, s6, s7
}

func (l *lanes) l1(q, row []float32) {
	n := len(q) &^ (Lanes - 1)
	if n > 0 {
		l1Half((*[8]float32)(l[:8]), q[:n], row[:n])
		l1Half((*[8]float32)(l[8:]), q[8:n], row[8:n])
	}
	tail := row[n:]
	for j, x := range q[n:] {
		l[j] += abs(x - tail[j])
	}
}

// l1Half sums elements 0..7 of every sixteen.
func l1Half(l *[8]float32, a, b []float32) {
	b = b[:len(a)]
	s0, s1, s2, s3, s4, s5, s6, s7 := l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7]
	for i := 0; i+8 <= len(a); i += Lanes {
		x, y := a[i:i+8:i+8], b[i:i+8:i+8]
		s0 += abs(x[0] - y[0])
		s1 += abs(x[1] - y[1])
		s2 += abs(x[2] - y[2])
		s3 += abs(x[3] - y[3])
		s4 += abs(x[4] - y[4])
		s5 += abs(x[5] - y[5])
		s6 += abs(x[6] - y[6])
		s7 += abs(x[7] - y[7])
	}
	l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7] = s0, s1, s2, s3, s4, s5, s6, s7
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
