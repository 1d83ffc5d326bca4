package kernel

import "unsafe"

// Levels are codes of a few bits, each of which stands for one of some numbers: the
// best to approximate a normal distribution by (Max, IRE Transactions on Information
// Theory 6, 1960), scaled to 127 for the greatest. A row is whole blocks of 32 bytes.
// Code i of a block lies in its byte i mod 32: in the lowest bits for the first 32
// codes, from bit 4 on for the second; of two bits, from bit 2 and 6 on for the others.
type Levels uint8

// The kinds of codes, by their bits.
const (
	Levels2 Levels = 2
	Levels4 Levels = 4
)

const levelBlock = 32

// levelBits are the first bits of the codes of a byte, in their order.
var levelBits = [...]uint8{0, 4, 2, 6}

// Block is how many codes a block holds.
func (l Levels) Block() int { return levelBlock * 8 / int(l) }

// Values are what codes stand for.
func (l Levels) Values() []int8 {
	switch l {
	case Levels2:
		return []int8{-127, -38, 38, 127}
	case Levels4:
		return []int8{-127, -96, -75, -58, -44, -31, -18, -6, 6, 18, 31, 44, 58, 75, 96, 127}
	}
	panic("kernel: unknown levels")
}

// Place is the byte and the bit of a row at which the code of an element begins.
func (l Levels) Place(element int) (at int, bit uint8) {
	in := element % l.Block()
	return element/l.Block()*levelBlock + in%levelBlock, levelBits[in/levelBlock]
}

// Pair is the inner product of a query, an element for each code, and a row. It
// panics if they differ in length, or are not whole blocks.
func (l Levels) Pair(q []int8, row []uint8) int64 {
	if len(q) != len(row)*8/int(l) {
		panic("kernel: vectors differ in length")
	}
	var out [1]int64
	l.Dot(q, Rows[uint8]{row, len(row)}, out[:])
	return out[0]
}

// Dot sets out[i] to the inner product of q and row i. It panics if rows are missing
// or shorter than q, or q is not whole blocks.
func (l Levels) Dot(q []int8, rows Rows[uint8], out []int64) { l.compare(q, rows, nil, out) }

// GatherDot sets out[i] to the inner product of q and row ids[i]. It panics as Dot
// does, and if ids and out differ in length.
func (l Levels) GatherDot(q []int8, rows Rows[uint8], ids []uint32, out []int64) {
	l.compare(q, rows, gathered(ids, len(out)), out)
}

func (l Levels) compare(q []int8, rows Rows[uint8], ids []uint32, out []int64) {
	if len(q)%l.Block() != 0 || len(q) > MaxDim {
		panic("kernel: the query is not whole blocks, or longer than MaxDim")
	}
	size := len(q) * int(l) / 8
	check(size, rows, ids, len(out))
	if size == 0 {
		clear(out)
		return
	}
	for per := perCall(size); len(out) > 0; {
		n := min(per, len(out))
		if !l.vector(unsafe.SliceData(q), unsafe.SliceData(rows.Data), size, rows.Stride, unsafe.SliceData(ids), n, unsafe.SliceData(out)) {
			l.law(q, rows, ids, out[:n])
		}
		out = out[n:]
		rows, ids = rows.skip(n, ids)
	}
}

// law is the law.
func (l Levels) law(q []int8, rows Rows[uint8], ids []uint32, out []int64) {
	var values [256]int8
	copy(values[:], l.Values())
	mask, block := uint8(1)<<l-1, l.Block()
	for i := range out {
		row := rows.at(i, len(q)*int(l)/8, ids)
		var sum int64
		for q := q; len(q) > 0; q, row = q[block:], row[levelBlock:] {
			for k, bit := range levelBits[:8/l] {
				for j, x := range q[k*levelBlock:][:levelBlock] {
					sum += int64(x) * int64(values[row[j]>>bit&mask])
				}
			}
		}
		out[i] = sum
	}
}
