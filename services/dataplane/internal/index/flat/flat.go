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
	"sync"
	"sync/atomic"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/query/turbo"
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
	// Bytes: elements are whole numbers of 0..255 and take a byte each. Vectors of any
	// length are put, for Cosine too; queries lose their fractions.
	Bytes bool
	// Turbo: vectors, which query.Turbo4 has rounded, are kept as rows of package turbo.
	// Not for Manhattan.
	Turbo bool
}

// Index implements index.Index.
type Index struct {
	dim     int
	metric  rank.Metric
	workers int
	form    rank.Form
	width   int  // elements of a row
	shift   uint // log2 of the rows in a chunk

	// chunks only grows, by its writer; a reader's copy of the header stays valid.
	chunks  atomic.Pointer[[]*chunk]
	live    atomic.Int64
	coding  turbo.Scratch // the writer's
	scratch sync.Pool     // *scratch
}

// chunk holds 1<<shift rows.
type chunk struct {
	mu sync.RWMutex
	// Whole rows, from the chunk's first: one of the two, bytes for those of Turbo too.
	vecs    []float32
	bytes   []uint8
	inverse []float32 // of bytes, for Cosine: 1 / length of each row
	live    []uint64  // bit per row; other bits are clear
	n       int       // bits set in live
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
	x := &Index{dim: dim, metric: m, workers: max(1, o.Workers), form: rank.Form{Bytes: o.Bytes}, width: dim, shift: uint(bits.Len(uint(chunkFloats/dim))) - 1}
	if o.Turbo {
		if d == query.Manhattan {
			return nil, fmt.Errorf("flat index: rows of turbo4 are not compared by Manhattan")
		}
		x.form.Coder, x.width = turbo.New(dim), turbo.RowBytes(dim)
	}
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
	if x.put(c, r, v) {
		x.live.Add(1)
	}
	return nil
}

// put tells whether the row is new.
func (x *Index) put(c *chunk, r int, v []float32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	rows := 1 << x.shift
	switch {
	case x.form.Coder != nil:
		c.bytes = extend(c.bytes, r, x.width, rows)
		copy(c.bytes[r*x.width:], x.form.Coder.Append(nil, v, &x.coding))
	case x.form.Bytes:
		c.bytes = extend(c.bytes, r, x.dim, rows)
		code := rank.AppendBytes(c.bytes[:r*x.dim], v)[r*x.dim:]
		if x.metric.Distance == query.Cosine {
			c.inverse = extend(c.inverse, r, 1, rows)
			c.inverse[r] = rank.Inverse(code)
		}
	default:
		c.vecs = extend(c.vecs, r, x.dim, rows)
		copy(c.vecs[r*x.dim:], v)
	}
	if words := r/64 + 1; words > len(c.live) {
		c.live = append(c.live, make([]uint64, words-len(c.live))...)
	}
	fresh := !c.has(r)
	if fresh {
		c.live[r/64] |= 1 << (r % 64)
		c.n++
	}
	return fresh
}

// extend makes s hold row r of dim elements, of at most so many rows.
func extend[E any](s []E, r, dim, rows int) []E {
	need := (r + 1) * dim
	if need <= len(s) {
		return s
	}
	if need > cap(s) {
		room := max(firstRows, cap(s)/dim)
		for room <= r {
			room *= 2
		}
		grown := make([]E, len(s), min(room, rows)*dim)
		copy(grown, s)
		s = grown
	}
	return s[:need]
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
		c.vecs, c.bytes, c.inverse, c.live = nil, nil, nil, nil
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
	switch {
	case x.form.Coder != nil:
		at := len(dst)
		dst = append(dst, make([]float32, x.dim)...)
		x.form.Coder.Decode(dst[at:], c.bytes[r*x.width:])
		return dst, true
	case x.form.Bytes:
		for _, b := range c.bytes[r*x.dim : (r+1)*x.dim] {
			dst = append(dst, float32(b))
		}
		return dst, true
	}
	return append(dst, c.vecs[r*x.dim:(r+1)*x.dim]...), true
}

// score compares p with rows from.. of the chunk, at most most, into s.raws and
// copies their live bits into s.live. It gives the number of rows scored; from must
// be a multiple of 64.
func (x *Index) score(c *chunk, p *rank.Probe, from, most int, s *scratch) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n := min(most, (len(c.vecs)+len(c.bytes))/x.width-from)
	if n <= 0 {
		return 0
	}
	x.raws(c, p, from, n, s)
	copy(s.live[:], c.live[from/64:])
	return n
}

// scoreOne compares p with one row; false if it holds no vector.
func (x *Index) scoreOne(c *chunk, p *rank.Probe, r int, s *scratch) (float32, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.has(r) {
		return 0, false
	}
	x.raws(c, p, r, 1, s)
	return s.raws[0], true
}

// raws sets s.raws to the raw values of p and n rows; the chunk's lock is held.
func (x *Index) raws(c *chunk, p *rank.Probe, from, n int, s *scratch) {
	rows := rank.Rows{Float32: c.vecs, Uint8: c.bytes, Stride: x.width, Inverse: c.inverse, Form: x.form}
	if x.form.Coder != nil {
		rows.Uint8, rows.Turbo = nil, c.bytes
	}
	rows.Range(&x.metric, p, from, s.raws[:n])
}
