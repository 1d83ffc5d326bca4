package kernel

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// PairHamming counts the bits in which two vectors of equal length differ.
func PairHamming(a, b []uint8) int64 {
	if len(a) != len(b) {
		panic("kernel: vectors differ in length")
	}
	var out [1]int64
	Hamming(a, Rows[uint8]{b, len(b)}, out[:])
	return out[0]
}

// Hamming sets out[i] to the number of bits in which q and row i differ. It
// panics if rows are missing or shorter than q.
func Hamming(q []uint8, rows Rows[uint8], out []int64) { countBits(differing, q, rows, nil, out) }

// GatherHamming sets out[i] to the number of bits in which q and row ids[i]
// differ. It panics if that row does not exist, or if ids and out differ in length.
func GatherHamming(q []uint8, rows Rows[uint8], ids []uint32, out []int64) {
	countBits(differing, q, rows, gathered(ids, len(out)), out)
}

// PairCommon counts the bits that are set in both of two vectors of equal length.
func PairCommon(a, b []uint8) int64 {
	if len(a) != len(b) {
		panic("kernel: vectors differ in length")
	}
	var out [1]int64
	Common(a, Rows[uint8]{b, len(b)}, out[:])
	return out[0]
}

// Common sets out[i] to the number of bits that are set in both q and row i. It
// panics if rows are missing or shorter than q.
func Common(q []uint8, rows Rows[uint8], out []int64) { countBits(common, q, rows, nil, out) }

// GatherCommon sets out[i] to the number of bits that are set in both q and row
// ids[i]. It panics if that row does not exist, or if ids and out differ in length.
func GatherCommon(q []uint8, rows Rows[uint8], ids []uint32, out []int64) {
	countBits(common, q, rows, gathered(ids, len(out)), out)
}

// bitCount is which bits of two vectors are counted.
type bitCount uint8

const (
	differing bitCount = iota
	common
)

func countBits(c bitCount, q []uint8, rows Rows[uint8], ids []uint32, out []int64) {
	check(len(q), rows, ids, len(out))
	if len(q) == 0 {
		clear(out)
		return
	}
	for per := perCall(len(q)); len(out) > 0; {
		n := min(per, len(out))
		if !bitsVector(c, unsafe.SliceData(q), unsafe.SliceData(rows.Data), len(q), rows.Stride, unsafe.SliceData(ids), n, unsafe.SliceData(out)) {
			bitLaw(c, q, rows, ids, out[:n])
		}
		out = out[n:]
		rows, ids = rows.skip(n, ids)
	}
}

// bitLaw is the law.
func bitLaw(c bitCount, q []uint8, rows Rows[uint8], ids []uint32, out []int64) {
	for i := range out {
		row := rows.at(i, len(q), ids)
		if c == common {
			out[i] = int64(both(q, row))
		} else {
			out[i] = int64(differ(q, row))
		}
	}
}

func differ(a, b []uint8) (n int) {
	b = b[:len(a)]
	for len(a) >= 8 {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(a) ^ binary.LittleEndian.Uint64(b))
		a, b = a[8:], b[8:]
	}
	for i, x := range a {
		n += bits.OnesCount8(x ^ b[i])
	}
	return n
}

func both(a, b []uint8) (n int) {
	b = b[:len(a)]
	for len(a) >= 8 {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(a) & binary.LittleEndian.Uint64(b))
		a, b = a[8:], b[8:]
	}
	for i, x := range a {
		n += bits.OnesCount8(x & b[i])
	}
	return n
}
