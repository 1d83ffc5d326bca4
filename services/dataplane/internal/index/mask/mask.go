// Package mask is the set of dead rows of rows that do not change otherwise. Each
// row carries when it died, so that a search that began before still sees it.
package mask

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// Now is a time at which all that have died are dead.
const Now uint64 = math.MaxUint64

// chunkRows is for how many rows times are kept together.
const chunkRows = 1 << 12

type chunk [chunkRows]atomic.Uint64

// Mask may be read and added to by any number of goroutines. A nil Mask is empty.
type Mask struct {
	words []atomic.Uint64
	died  []atomic.Pointer[chunk]
	n     atomic.Int64
}

// New makes an empty mask for rows 0..rows-1.
func New(rows int) *Mask {
	return &Mask{words: make([]atomic.Uint64, (rows+63)/64), died: make([]atomic.Pointer[chunk], (rows+chunkRows-1)/chunkRows)}
}

// Kill lets row die at a time, and tells whether it was alive. It panics if the
// mask was not made for such a row.
func (m *Mask) Kill(row uint32, at uint64) bool {
	bit := uint64(1) << (row & 63)
	if m.words[row>>6].Load()&bit != 0 {
		return false
	}
	c := m.died[row/chunkRows].Load()
	if c == nil {
		fresh := new(chunk)
		if c = fresh; !m.died[row/chunkRows].CompareAndSwap(nil, fresh) {
			c = m.died[row/chunkRows].Load()
		}
	}
	c[row%chunkRows].Store(at)
	if m.words[row>>6].Or(bit)&bit != 0 {
		return false
	}
	m.n.Add(1)
	return true
}

// Dead tells whether row is dead at a time.
func (m *Mask) Dead(row uint32, at uint64) bool {
	if m == nil || int(row>>6) >= len(m.words) || m.words[row>>6].Load()>>(row&63)&1 == 0 {
		return false
	}
	return m.died[row/chunkRows].Load()[row%chunkRows].Load() <= at
}

// Len counts the dead of all times.
func (m *Mask) Len() int {
	if m == nil {
		return 0
	}
	return int(m.n.Load())
}

// Each visits the dead of all times in ascending order.
func (m *Mask) Each(visit func(row uint32, at uint64)) {
	if m.Len() == 0 {
		return
	}
	for i := range m.words {
		for w := m.words[i].Load(); w != 0; w &= w - 1 {
			row := uint32(i<<6 + bits.TrailingZeros64(w))
			visit(row, m.died[row/chunkRows].Load()[row%chunkRows].Load())
		}
	}
}
