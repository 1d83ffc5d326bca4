package multi

import (
	"context"
	"fmt"
	"sync"
	"unsafe"

	"github.com/pandodb/pando/services/dataplane/internal/index"
)

// chunkBytes is how much memory a tail takes at a time, unless a row needs more.
const chunkBytes = 1 << 18

// Tail is the mutable form. Its caller's lock keeps writers from everybody else; any
// number of searches may run at once.
//
// Rows lie one after the other in chunks. A chunk that no row is left in is given back;
// when more is gone than is left, all rows move together.
type Tail struct {
	space      Space
	refs       []ref // by row
	chunks     []chunk
	n          int
	live, held int       // bytes
	scratch    sync.Pool // *searcher
}

// ref is where a row's vectors are; n is 0 if it has none.
type ref struct{ chunk, at, n uint32 }

type chunk struct {
	data []byte // as long as it is filled
	rows int
}

// NewTail makes an empty one.
func NewTail(s Space) (*Tail, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	t := &Tail{space: s}
	t.scratch.New = func() any { return newSearcher(s) }
	return t, nil
}

// Put stores a copy of one or more vectors, in their stored form, at row, in place of
// what was there. Errors: index.ErrDim, index.ErrRow; nothing is stored then.
func (t *Tail) Put(row uint32, v []float32) error {
	n, err := t.space.count(v)
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	if row > index.MaxRow {
		return fmt.Errorf("put: %w: %d", index.ErrRow, row)
	}
	t.Delete(row)
	for int(row) >= len(t.refs) {
		t.refs = append(t.refs, ref{})
	}
	raw := t.place(row, n)
	t.space.encode(raw, v)
	return nil
}

// place makes room for n vectors of a row.
func (t *Tail) place(row uint32, n int) []byte {
	need := padded(t.space.bytes(n))
	last := len(t.chunks) - 1
	if last < 0 || cap(t.chunks[last].data)-len(t.chunks[last].data) < need {
		t.chunks = append(t.chunks, chunk{data: aligned(max(need, chunkBytes))[:0]})
		last++
	}
	c := &t.chunks[last]
	at := len(c.data)
	c.data = c.data[:at+need]
	c.rows++
	t.refs[row] = ref{uint32(last), uint32(at / align), uint32(n)}
	t.n, t.live, t.held = t.n+1, t.live+need, t.held+need
	return c.data[at : at+t.space.bytes(n)]
}

// aligned is memory that any element may begin in.
func aligned(n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(make([]uint64, n/8)))), n)
}

// Delete takes row out and tells whether it held vectors.
func (t *Tail) Delete(row uint32) bool {
	if int(row) >= len(t.refs) || t.refs[row].n == 0 {
		return false
	}
	r := t.refs[row]
	t.refs[row] = ref{}
	t.n--
	t.live -= padded(t.space.bytes(int(r.n)))
	c := &t.chunks[r.chunk]
	if c.rows--; c.rows == 0 {
		t.held -= len(c.data)
		c.data = nil
	}
	// Chunks that were given back still have a place in the list.
	if t.held > 2*t.live+4*chunkBytes || len(t.chunks) > 2*t.live/chunkBytes+64 {
		t.compact()
	}
	return true
}

// compact moves all rows into new chunks.
func (t *Tail) compact() {
	chunks, refs := t.chunks, t.refs
	t.chunks, t.refs = nil, make([]ref, len(refs))
	t.n, t.live, t.held = 0, 0, 0
	for row, r := range refs {
		if r.n > 0 {
			copy(t.place(uint32(row), int(r.n)), chunks[r.chunk].data[r.at*align:])
		}
	}
}

func (t *Tail) bound() int { return len(t.refs) }

func (t *Tail) at(row uint32) ([]byte, int) {
	r := t.refs[row]
	if r.n == 0 {
		return nil, 0
	}
	at := int(r.at) * align
	return t.chunks[r.chunk].data[at : at+t.space.bytes(int(r.n))], int(r.n)
}

// Vector appends the elements of row's vectors to dst and gives their number; 0 if
// there are none.
func (t *Tail) Vector(row uint32, dst []float32) ([]float32, int) {
	return vector(t, t.space, row, dst)
}

func vector(r rows, s Space, row uint32, dst []float32) ([]float32, int) {
	if int(row) >= r.bound() {
		return dst, 0
	}
	raw, n := r.at(row)
	return s.decode(dst, raw), n
}

// Len counts the rows that hold vectors.
func (t *Tail) Len() int { return t.n }

// Search appends to dst at most q.K hits, the best first. Errors: index.ErrDim,
// index.ErrRow, or ctx's when it ended before the search did.
func (t *Tail) Search(ctx context.Context, q *Query, dst []index.Hit) ([]index.Hit, error) {
	s := t.scratch.Get().(*searcher)
	defer func() { s.release(); t.scratch.Put(s) }()
	return s.search(ctx, t, t.n, q, dst)
}

// SearchBatch answers queries as Search would one by one, in one pass over the rows.
// The first error fails all.
func (t *Tail) SearchBatch(ctx context.Context, qs []Query) ([][]index.Hit, error) {
	s := t.scratch.Get().(*searcher)
	defer func() { s.release(); t.scratch.Put(s) }()
	return s.batch(ctx, t, t.n, qs)
}
