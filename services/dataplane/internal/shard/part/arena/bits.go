package arena

import "math/bits"

// Bits is a set of rows.
type Bits []uint64

// Has tells whether a row is in it.
func (b Bits) Has(row uint32) bool {
	return int(row>>6) < len(b) && b[row>>6]&(1<<(row&63)) != 0
}

// Set puts a row in.
func (b *Bits) Set(row uint32) {
	for int(row>>6) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[row>>6] |= 1 << (row & 63)
}

// Clear takes a row out.
func (b Bits) Clear(row uint32) {
	if int(row>>6) < len(b) {
		b[row>>6] &^= 1 << (row & 63)
	}
}

// Count counts the rows in it.
func (b Bits) Count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}
