// Package flat is the exact index: it compares the query with every row, block
// by block. It is not a graph, needs no building and persists nothing.
//
// Rows lie in chunks of at most chunkFloats floats, so growth copies no
// vectors of full chunks and the garbage collector finds no pointer in them.
// Each chunk has a lock of its own, held while one block is copied or scored
// (tens of microseconds), never while Accept or Before run.
package flat

import (
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// MaxDim is the greatest vector length: one row must fit into a block.
const MaxDim = kernel.MaxDim

// chunkFloats is the greatest number of floats in a chunk: 256 KiB, so that its
// lock is held for tens of microseconds.
const chunkFloats = MaxDim

// firstRows is how many rows a chunk has room for at first; it doubles from there.
const firstRows = 8

// Options tune an Index; the zero value is a sound choice.
type Options struct {
	// Workers is the greatest number of goroutines that one search uses; large
	// scans alone use more than one. 0 and 1: the caller's only.
	Workers int
}

// Index implements index.Index.
type Index struct {
	dim     int
	metric  rank.Metric
	workers int
	shift   uint // log2 of the rows in a chunk

	// chunks only grows, by its writer; a reader's copy of the header stays valid.
	chunks  atomic.Pointer[[]*chunk]
	live    atomic.Int64
	scratch sync.Pool // *scratch
}

// chunk holds 1<<shift rows.
type chunk struct {
	mu   sync.RWMutex
	vecs []float32 // whole rows, from the chunk's first
	live []uint64  // bit per row of vecs; other bits are clear
	n    int       // bits set in live
}

var _ index.Index = (*Index)(nil)

// New makes an empty index of vectors of dim floats, 1..MaxDim.
func New(dim int, d query.Distance, o Options) (*Index, error) {
	if dim < 1 || dim > MaxDim {
		return nil, fmt.Errorf("flat index: %w: %d is not in 1..%d", index.ErrDim, dim, MaxDim)
	}
	m, ok := rank.MetricOf(d)
	if !ok {
		return nil, fmt.Errorf("flat index: unknown distance %d", d)
	}
	x := &Index{dim: dim, metric: m, workers: max(1, o.Workers), shift: uint(bits.Len(uint(chunkFloats/dim))) - 1}
	x.chunks.Store(&[]*chunk{})
	x.scratch.New = func() any { return &scratch{} }
	return x, nil
}

// Len counts the rows that hold a vector.
func (x *Index) Len() int { return int(x.live.Load()) }

// at finds the chunk of row and the row's number in it; nil if there is none.
func (x *Index) at(row uint32) (*chunk, int) {
	cs := *x.chunks.Load()
	i := int(row >> x.shift)
	if i >= len(cs) {
		return nil, 0
	}
	return cs[i], int(row) & (1<<x.shift - 1)
}

// Put stores a copy of v at row.
func (x *Index) Put(row uint32, v []float32) error {
	if len(v) != x.dim {
		return fmt.Errorf("put: %w: %d, not %d", index.ErrDim, len(v), x.dim)
	}
	if row > index.MaxRow {
		return fmt.Errorf("put: %w: %d", index.ErrRow, row)
	}
	if cs := *x.chunks.Load(); int(row>>x.shift) >= len(cs) {
		for int(row>>x.shift) >= len(cs) {
			cs = append(cs, &chunk{})
		}
		x.chunks.Store(&cs)
	}
	c, r := x.at(row)
	if c.put(r, v, 1<<x.shift) {
		x.live.Add(1)
	}
	return nil
}

// put tells whether the row is new.
func (c *chunk) put(r int, v []float32, rows int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	dim := len(v)
	if need := (r + 1) * dim; need > len(c.vecs) {
		if need > cap(c.vecs) {
			room := max(firstRows, cap(c.vecs)/dim)
			for room <= r {
				room *= 2
			}
			grown := make([]float32, len(c.vecs), min(room, rows)*dim)
			copy(grown, c.vecs)
			c.vecs = grown
		}
		c.vecs = c.vecs[:need]
		if words := r/64 + 1; words > len(c.live) {
			c.live = append(c.live, make([]uint64, words-len(c.live))...)
		}
	}
	copy(c.vecs[r*dim:], v)
	fresh := !c.has(r)
	if fresh {
		c.live[r/64] |= 1 << (r % 64)
		c.n++
	}
	return fresh
}

func (c *chunk) has(r int) bool { return r/64 < len(c.live) && c.live[r/64]>>(r%64)&1 != 0 }

// Delete takes row out. A chunk without rows gives its memory back.
func (x *Index) Delete(row uint32) bool {
	c, r := x.at(row)
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.has(r) {
		return false
	}
	c.live[r/64] &^= 1 << (r % 64)
	if c.n--; c.n == 0 {
		c.vecs, c.live = nil, nil
	}
	x.live.Add(-1)
	return true
}

// Vector appends the stored vector of row to dst.
func (x *Index) Vector(row uint32, dst []float32) ([]float32, bool) {
	c, r := x.at(row)
	if c == nil {
		return dst, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.has(r) {
		return dst, false
	}
	return append(dst, c.vecs[r*x.dim:(r+1)*x.dim]...), true
}

// score compares q with rows from.. of the chunk, as many as out has room for,
// and copies their live bits. It gives the number of rows scored; from must be
// a multiple of 64.
func (c *chunk) score(m *rank.Metric, q []float32, from int, out []float32, live []uint64) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	dim := len(q)
	n := min(len(out), len(c.vecs)/dim-from)
	if n <= 0 {
		return 0
	}
	m.Raw.Float32(q, kernel.Rows[float32]{Data: c.vecs[from*dim:], Stride: dim}, out[:n])
	copy(live, c.live[from/64:])
	return n
}

// scoreOne compares q with one row; false if it holds no vector.
func (c *chunk) scoreOne(m *rank.Metric, q []float32, r int) (float32, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.has(r) {
		return 0, false
	}
	return m.Raw.PairFloat32(q, c.vecs[r*len(q):(r+1)*len(q)]), true
}

// prepare copies the query vector into buf in the form that rows have.
func (x *Index) prepare(q *index.Query, buf []float32) ([]float32, error) {
	if len(q.Vector) != x.dim {
		return nil, fmt.Errorf("search: %w: %d, not %d", index.ErrDim, len(q.Vector), x.dim)
	}
	if len(q.Rows) > 0 {
		if top := slices.Max(q.Rows); top > index.MaxRow {
			return nil, fmt.Errorf("search: %w: %d", index.ErrRow, top)
		}
	}
	buf = append(buf[:0], q.Vector...)
	if x.metric.Normalize {
		kernel.Normalize(buf)
	}
	return buf, nil
}
