package sparse

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"
	"sync"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Index is the immutable form. Any number of searches may run at once.
type Index struct {
	datatype query.Datatype
	rows     int // row numbers are below
	vectors  int // rows that hold a vector
	postings uint64
	numDims  int

	// Parts of the bytes that it was opened from.
	dims, starts   []byte // u32 each; starts has one more
	firsts, lo, hi []byte // 4 bytes for each block
	places         []byte // u64 for each block
	data           []byte

	numbers [256]float32 // of bytes
	scratch sync.Pool    // *searcher
}

// Rows is one more than the greatest row number may be.
func (x *Index) Rows() int { return x.rows }

// Len counts the rows that hold a vector.
func (x *Index) Len() int { return x.vectors }

// Postings counts the weights.
func (x *Index) Postings() uint64 { return x.postings }

// Datatype of the weights.
func (x *Index) Datatype() query.Datatype { return x.datatype }

func u32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }

func u64(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }

// find gives the blocks of a dimension; from == to if there is none.
func (x *Index) find(dim uint32) (from, to int) {
	i := sort.Search(x.numDims, func(i int) bool { return u32(x.dims, i) >= dim })
	if i == x.numDims || u32(x.dims, i) != dim {
		return 0, 0
	}
	return int(u32(x.starts, i)), int(u32(x.starts, i+1))
}

// Frequency counts the rows that have a dimension, those that died since the index
// was made included.
func (x *Index) Frequency(dim uint32) int {
	from, to := x.find(dim)
	if from == to {
		return 0
	}
	_, n, _ := place(u64(x.places, to-1))
	return (to-from-1)*perBlock + n
}

// place takes apart where a block lies: its byte in the data, its number of
// postings and how many bits a gap has.
func place(p uint64) (at uint64, n, width int) {
	return p >> 16 << 3, int(p>>8&0xff) + 1, int(p & 0xff)
}

// view is the list of one dimension.
type view struct {
	x        *Index
	from, to int // blocks
}

func (v *view) blocks() int { return v.to - v.from }

func (v *view) extent(b int) (first uint32, lo, hi float32) {
	b += v.from
	return u32(v.x.firsts, b), math.Float32frombits(u32(v.x.lo, b)), math.Float32frombits(u32(v.x.hi, b))
}

func (v *view) load(b int, to *block) error {
	x, b := v.x, v.from+b
	at, n, width := place(u64(x.places, b))
	raw := x.data[at:]
	to.n = n
	raw = x.weights(raw, to.weights[:n])
	limit := uint64(x.rows)
	if b+1 < v.to {
		limit = uint64(u32(x.firsts, b+1))
	}
	if last := unpack(raw, width, u32(x.firsts, b), to.slots[:n]); last >= limit {
		return fmt.Errorf("search: %w: block %d ends with row %d, not below %d", ErrCorrupt, b, last, limit)
	}
	return nil
}

// weights decodes those of a block and gives what follows them.
func (x *Index) weights(raw []byte, to []float32) []byte {
	n := len(to)
	switch x.datatype {
	case query.Float16:
		var h [perBlock]uint16
		i := 0
		for ; i+4 <= n; i += 4 {
			four, out := binary.LittleEndian.Uint64(raw[2*i:]), h[i:i+4:i+4]
			out[0], out[1], out[2], out[3] = uint16(four), uint16(four>>16), uint16(four>>32), uint16(four>>48)
		}
		for ; i < n; i++ {
			h[i] = binary.LittleEndian.Uint16(raw[2*i:])
		}
		kernel.Widen(to, h[:n])
	case query.Uint8:
		for i, c := range raw[:n] {
			to[i] = x.numbers[c]
		}
	default:
		words := raw
		for len(to) >= 4 && len(words) >= 16 {
			to[0], to[1] = math.Float32frombits(u32(words, 0)), math.Float32frombits(u32(words, 1))
			to[2], to[3] = math.Float32frombits(u32(words, 2)), math.Float32frombits(u32(words, 3))
			to, words = to[4:], words[16:]
		}
		for i := range to {
			to[i] = math.Float32frombits(u32(words, i))
		}
	}
	return raw[n*x.datatype.Size():]
}

// unpack adds up gaps of width bits, each one less than the distance of two slots,
// and gives the last slot, which may be too large for its place. Eight bytes behind
// the gaps are readable.
func unpack(raw []byte, width int, first uint32, to []uint32) uint64 {
	slot, w, mask := uint64(first), uint(width), uint64(1)<<width-1
	to[0] = first
	i, bit := 1, 0
	if 4*width+7 <= 64 { // four gaps in a word
		for ; i+4 <= len(to); i += 4 {
			word := binary.LittleEndian.Uint64(raw[bit>>3:]) >> (bit & 7)
			out := to[i : i+4 : i+4]
			a := slot + word&mask + 1
			word >>= w & 63
			b := a + word&mask + 1
			word >>= w & 63
			c := b + word&mask + 1
			slot = c + word>>(w&63)&mask + 1
			out[0], out[1], out[2], out[3] = uint32(a), uint32(b), uint32(c), uint32(slot)
			bit += 4 * width
		}
	}
	for ; i < len(to); i++ {
		slot += binary.LittleEndian.Uint64(raw[bit>>3:])>>(bit&7)&mask + 1
		to[i] = uint32(slot)
		bit += width
	}
	return slot
}

// Search appends to dst at most q.K hits, the best first. Errors: ErrVector,
// index.ErrRow, ErrCorrupt, or ctx's when it ended before the search did.
func (x *Index) Search(ctx context.Context, q *Query, dst []index.Hit) ([]index.Hit, error) {
	if err := q.check(); err != nil {
		return dst, err
	}
	s := x.scratch.Get().(*searcher)
	defer func() { s.release(); x.scratch.Put(s) }()
	s.begin(q, x.datatype, x.rows, nil)
	if s.scans() {
		return s.run(ctx, dst)
	}
	if q.Rows != nil {
		s.only = s.only[:0]
		for _, row := range q.Rows {
			if int(row) < x.rows {
				s.only = append(s.only, row)
			}
		}
	}
	s.views = slices.Grow(s.views[:0], q.dims()) // terms point into it
	s.look(func(dim uint32, weight float32) {
		if from, to := x.find(dim); from < to {
			s.views = append(s.views, view{x, from, to})
			s.term(weight, &s.views[len(s.views)-1])
		}
	})
	return s.run(ctx, dst)
}
