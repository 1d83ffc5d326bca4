package kernel

import "math"

// lanes are the partial sums of one comparison.
type lanes [Lanes]float32

// fold adds the lanes up in halves.
func (l *lanes) fold() float32 {
	a0, a1, a2, a3 := l[0]+l[8], l[1]+l[9], l[2]+l[10], l[3]+l[11]
	a4, a5, a6, a7 := l[4]+l[12], l[5]+l[13], l[6]+l[14], l[7]+l[15]
	a0, a1, a2, a3 = a0+a4, a1+a5, a2+a6, a3+a7
	return (a0 + a2) + (a1 + a3)
}

// Each xxRows walks a row twice: eight sums fit into registers, sixteen do not,
// and a row that was just read is in the nearest cache.

func dotRows(q, rows, out []float32) {
	n := len(q) &^ (Lanes - 1)
	for i := range out {
		row := rows[i*len(q) : (i+1)*len(q)]
		var l lanes
		l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7] = dotHalf(q[:n], row[:n])
		if n > 0 {
			l[8], l[9], l[10], l[11], l[12], l[13], l[14], l[15] = dotHalf(q[8:n], row[8:n])
		}
		tail := row[n:]
		for j, x := range q[n:] {
			l[j] += float32(x * tail[j])
		}
		out[i] = l.fold()
	}
}

// dotHalf sums elements 0..7 of every sixteen.
func dotHalf(a, b []float32) (s0, s1, s2, s3, s4, s5, s6, s7 float32) {
	b = b[:len(a)]
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
	return s0, s1, s2, s3, s4, s5, s6, s7
}

func l2Rows(q, rows, out []float32) {
	n := len(q) &^ (Lanes - 1)
	for i := range out {
		row := rows[i*len(q) : (i+1)*len(q)]
		var l lanes
		l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7] = l2Half(q[:n], row[:n])
		if n > 0 {
			l[8], l[9], l[10], l[11], l[12], l[13], l[14], l[15] = l2Half(q[8:n], row[8:n])
		}
		tail := row[n:]
		for j, x := range q[n:] {
			d := x - tail[j]
			l[j] += float32(d * d)
		}
		out[i] = l.fold()
	}
}

// l2Half sums elements 0..7 of every sixteen.
func l2Half(a, b []float32) (s0, s1, s2, s3, s4, s5, s6, s7 float32) {
	b = b[:len(a)]
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
	return s0, s1, s2, s3, s4, s5, s6, s7
}

func l1Rows(q, rows, out []float32) {
	n := len(q) &^ (Lanes - 1)
	for i := range out {
		row := rows[i*len(q) : (i+1)*len(q)]
		var l lanes
		l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7] = l1Half(q[:n], row[:n])
		if n > 0 {
			l[8], l[9], l[10], l[11], l[12], l[13], l[14], l[15] = l1Half(q[8:n], row[8:n])
		}
		tail := row[n:]
		for j, x := range q[n:] {
			l[j] += abs(x - tail[j])
		}
		out[i] = l.fold()
	}
}

// l1Half sums elements 0..7 of every sixteen.
func l1Half(a, b []float32) (s0, s1, s2, s3, s4, s5, s6, s7 float32) {
	b = b[:len(a)]
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
	return s0, s1, s2, s3, s4, s5, s6, s7
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
