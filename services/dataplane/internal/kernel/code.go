package kernel

import "unsafe"

// Codes are vectors of bytes, from quantisation or stored as such. Their sums are
// exact, whatever the order.

// PairUint8 compares two vectors of equal length.
func (m Metric) PairUint8(a, b []uint8) int64 { return pairCodes(m, a, b) }

// Uint8 sets out[i] to the comparison of q with row i. It panics if rows are
// missing or shorter than q.
func (m Metric) Uint8(q []uint8, rows Rows[uint8], out []int64) {
	compareCodes(m, q, rows, nil, out)
}

// GatherUint8 sets out[i] to the comparison of q with row ids[i]. It panics if
// that row does not exist, or if ids and out differ in length.
func (m Metric) GatherUint8(q []uint8, rows Rows[uint8], ids []uint32, out []int64) {
	compareCodes(m, q, rows, gathered(ids, len(out)), out)
}

// PairInt8 compares two vectors of equal length.
func (m Metric) PairInt8(a, b []int8) int64 { return pairCodes(m, a, b) }

// Int8 is Uint8 for signed codes.
func (m Metric) Int8(q []int8, rows Rows[int8], out []int64) {
	compareCodes(m, q, rows, nil, out)
}

// GatherInt8 is GatherUint8 for signed codes.
func (m Metric) GatherInt8(q []int8, rows Rows[int8], ids []uint32, out []int64) {
	compareCodes(m, q, rows, gathered(ids, len(out)), out)
}

func pairCodes[E int8 | uint8](m Metric, a, b []E) int64 {
	if len(a) != len(b) {
		panic("kernel: vectors differ in length")
	}
	var out [1]int64
	compareCodes(m, a, Rows[E]{b, len(b)}, nil, out[:])
	return out[0]
}

func compareCodes[E int8 | uint8](m Metric, q []E, rows Rows[E], ids []uint32, out []int64) {
	check(len(q), rows, ids, len(out))
	if len(q) == 0 {
		clear(out)
		return
	}
	signed := ^E(0) < 0
	for per := perCall(len(q)); len(out) > 0; {
		n := min(per, len(out))
		if !m.codeVector(signed, unsafe.Pointer(unsafe.SliceData(q)), unsafe.Pointer(unsafe.SliceData(rows.Data)), len(q), rows.Stride, unsafe.SliceData(ids), n, unsafe.SliceData(out)) {
			codeLaw(m, q, rows, ids, out[:n])
		}
		out = out[n:]
		rows, ids = rows.skip(n, ids)
	}
}

// codeLaw is the law.
func codeLaw[E int8 | uint8](m Metric, q []E, rows Rows[E], ids []uint32, out []int64) {
	for i := range out {
		row := rows.at(i, len(q), ids)
		switch m {
		case Dot:
			out[i] = dotCode(q, row)
		case L2:
			out[i] = l2Code(q, row)
		case L1:
			out[i] = l1Code(q, row)
		default:
			panic("kernel: unknown metric")
		}
	}
}

func dotCode[E int8 | uint8](a, b []E) (sum int64) {
	b = b[:len(a)]
	for i, x := range a {
		sum += int64(x) * int64(b[i])
	}
	return sum
}

func l2Code[E int8 | uint8](a, b []E) (sum int64) {
	b = b[:len(a)]
	for i, x := range a {
		d := int64(x) - int64(b[i])
		sum += d * d
	}
	return sum
}

func l1Code[E int8 | uint8](a, b []E) (sum int64) {
	b = b[:len(a)]
	for i, x := range a {
		d := int64(x) - int64(b[i])
		sum += max(d, -d)
	}
	return sum
}
