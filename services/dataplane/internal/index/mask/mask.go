// Package mask tells which rows of an immutable part are dead, and since when, so
// that a reader of an older state still sees what died after it.
package mask

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// Now is the position at which everything that has been killed is dead.
const Now = math.MaxUint64

// chunkRows is how many rows share the memory for times of death, which is taken
// when the first of them dies: 4 KiB that the garbage collector does not scan.
const chunkRows = 512

// Mask is the set of dead rows of a part, each with the log position of its death.
// It may be read and added to by any number of goroutines. A nil Mask is empty and
// can only be read.
type Mask struct {
	rows   int
	words  []atomic.Uint64 // a bit for each dead row
	died   []atomic.Pointer[[chunkRows]atomic.Uint64]
	n      atomic.Int64
	newest atomic.Uint64 // the latest death
}

// New makes an empty mask for rows 0..rows-1.
func New(rows int) *Mask {
	return &Mask{rows: rows, words: make([]atomic.Uint64, (rows+63)/64),
		died: make([]atomic.Pointer[[chunkRows]atomic.Uint64], (rows+chunkRows-1)/chunkRows)}
}

// Kill lets row be dead from position at on, 0: at all positions. It tells whether
// the row was alive; the first death of a row counts. It panics if the mask was not
// made for such a row.
func (m *Mask) Kill(row uint32, at uint64) bool {
	if int(row) >= m.rows {
		panic("mask: row is outside of the part")
	}
	bit := uint64(1) << (row & 63)
	if m.words[row>>6].Load()&bit != 0 {
		return false
	}
	// Readers look at the bit first, so the time is there before the bit is, and so
	// is the newest before the count.
	m.chunk(row)[row%chunkRows].CompareAndSwap(0, at)
	for old := m.newest.Load(); at > old && !m.newest.CompareAndSwap(old, at); {
		old = m.newest.Load()
	}
	if m.words[row>>6].Or(bit)&bit != 0 {
		return false
	}
	m.n.Add(1)
	return true
}

func (m *Mask) chunk(row uint32) *[chunkRows]atomic.Uint64 {
	p := &m.died[row/chunkRows]
	for p.Load() == nil {
		p.CompareAndSwap(nil, new([chunkRows]atomic.Uint64))
	}
	return p.Load()
}

// Dead tells whether row is dead at a position. Rows that the mask was not made for
// are alive.
func (m *Mask) Dead(row uint32, at uint64) bool { return m.dying(row) && m.deathOf(row) <= at }

// dying tells whether row is dead now.
func (m *Mask) dying(row uint32) bool {
	return m != nil && int(row>>6) < len(m.words) && m.words[row>>6].Load()>>(row&63)&1 != 0
}

// deathOf is when a dead row died.
func (m *Mask) deathOf(row uint32) uint64 { return m.died[row/chunkRows].Load()[row%chunkRows].Load() }

// Keep clears the bits of dst that are of rows dead at a position: bit i of dst is
// row first+i. first must be a multiple of 64.
func (m *Mask) Keep(dst []uint64, first uint32, at uint64) {
	if m == nil {
		return
	}
	from := int(first >> 6)
	for i := range dst[:max(0, min(len(dst), len(m.words)-from))] {
		dead := m.words[from+i].Load() & dst[i]
		if dead == 0 {
			continue
		}
		if at < m.newest.Load() {
			for w := dead; w != 0; w &= w - 1 {
				if b := bits.TrailingZeros64(w); m.deathOf(uint32(from+i)<<6+uint32(b)) > at {
					dead &^= 1 << b
				}
			}
		}
		dst[i] &^= dead
	}
}

// Len counts the rows that are dead now.
func (m *Mask) Len() int {
	if m == nil {
		return 0
	}
	return int(m.n.Load())
}

// LenAt counts the rows that are dead at a position, if nothing has died since;
// then known is true. It is quick.
func (m *Mask) LenAt(at uint64) (n int, known bool) {
	if m == nil {
		return 0, true
	}
	n = int(m.n.Load()) // of deaths up to newest, which only grows
	return n, m.newest.Load() <= at
}

// Each calls f for the rows that are dead now, ascending, with the positions of
// their deaths.
func (m *Mask) Each(f func(row uint32, at uint64)) {
	if m == nil {
		return
	}
	for i := range m.words {
		for w := m.words[i].Load(); w != 0; w &= w - 1 {
			row := uint32(i)<<6 + uint32(bits.TrailingZeros64(w))
			f(row, m.deathOf(row))
		}
	}
}

// Clone copies what is dead now; nil gives nil.
func (m *Mask) Clone() *Mask {
	if m == nil {
		return nil
	}
	c := New(m.rows)
	m.Each(func(row uint32, at uint64) { c.Kill(row, at) })
	return c
}
