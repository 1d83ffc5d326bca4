package hnsw

import "sync/atomic"

// Mask is a set of rows, those that are dead. It may be read and added to by any
// number of goroutines. A nil Mask is empty.
type Mask struct {
	words []atomic.Uint64
	n     atomic.Int64
}

// NewMask makes an empty mask for rows 0..rows-1.
func NewMask(rows int) *Mask { return &Mask{words: make([]atomic.Uint64, (rows+63)/64)} }

// Add puts row in and tells whether it was not there. It panics if the mask was
// not made for such a row.
func (m *Mask) Add(row uint32) bool {
	bit := uint64(1) << (row & 63)
	if m.words[row>>6].Or(bit)&bit != 0 {
		return false
	}
	m.n.Add(1)
	return true
}

// Has tells whether row is in.
func (m *Mask) Has(row uint32) bool {
	return m != nil && int(row>>6) < len(m.words) && m.words[row>>6].Load()>>(row&63)&1 != 0
}

// Len counts the rows that are in.
func (m *Mask) Len() int {
	if m == nil {
		return 0
	}
	return int(m.n.Load())
}
