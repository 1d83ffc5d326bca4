package sparse

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/bits"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// The bytes of an index are drawn in docs/format/sparse.md.
const (
	magic  = "pandospr"
	format = 1
	header = 64
	align  = 64
	beyond = 8 // bytes behind the last block that unpack may read
)

// ErrCorrupt is wrapped by errors about bytes that are no index. Flipped bits are
// found by their owner's checksum, not here.
var ErrCorrupt = errors.New("corrupt sparse index")

// Builder gathers the rows of an index.
type Builder struct {
	datatype query.Datatype
	rows     int
	vectors  int
	postings uint64
	lists    lists
}

// NewBuilder begins an index whose weights have a datatype.
func NewBuilder(t query.Datatype) *Builder { return &Builder{datatype: t, lists: lists{}} }

// Add takes in a copy of the vector of a row; rows ascend. An empty vector counts as
// one. Errors: ErrVector, index.ErrRow; nothing is taken then.
func (b *Builder) Add(row uint32, v Vector) error {
	if row > index.MaxRow || int(row) < b.rows {
		return fmt.Errorf("build: %w: %d after %d", index.ErrRow, row, b.rows-1)
	}
	if err := v.check(); err != nil {
		return fmt.Errorf("build: row %d: %w", row, err)
	}
	b.lists.add(row, v, b.datatype)
	b.rows, b.vectors, b.postings = int(row)+1, b.vectors+1, b.postings+uint64(len(v.Indices))
	return nil
}

// Build makes an index in memory.
func Build(t query.Datatype, rows iter.Seq2[uint32, Vector]) (*Index, error) {
	b := NewBuilder(t)
	for row, v := range rows {
		if err := b.Add(row, v); err != nil {
			return nil, err
		}
	}
	return Open(b.Append(nil))
}

// WriteTo writes the bytes that Open takes: equal ones for equal rows.
func (b *Builder) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b.Append(nil))
	return int64(n), err
}

// Append appends what WriteTo writes. dst must be a multiple of 64 long if what it
// becomes is to be aligned.
func (b *Builder) Append(dst []byte) []byte {
	e := encoder{datatype: b.datatype}
	dims := b.lists.dims()
	for _, dim := range dims {
		e.add(dim, b.lists[dim])
	}
	e.starts = le32(e.starts, uint32(len(e.firsts)/4))
	begin := len(dst)
	dst = append(dst, magic...)
	for _, v := range []int{format, int(b.datatype), b.rows, b.vectors, len(dims), len(e.firsts) / 4} {
		dst = le32(dst, uint32(v))
	}
	dst = binary.LittleEndian.AppendUint64(dst, b.postings)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(e.data)))
	for _, part := range [][]byte{e.dims, e.starts, e.firsts, e.lo, e.hi, e.places, e.data} {
		dst = append(pad(dst, begin, align), part...)
	}
	return append(dst, make([]byte, beyond)...)
}

func le32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }

func pad(b []byte, begin, to int) []byte { return append(b, make([]byte, -(len(b)-begin)&(to-1))...) }

// encoder holds the sections.
type encoder struct {
	datatype                                   query.Datatype
	dims, starts, firsts, lo, hi, places, data []byte
}

func (e *encoder) add(dim uint32, p *postings) {
	e.dims, e.starts = le32(e.dims, dim), le32(e.starts, uint32(len(e.firsts)/4))
	for b := range p.blocks() {
		from, to := b*perBlock, min((b+1)*perBlock, len(p.slots))
		e.firsts = le32(e.firsts, p.slots[from])
		e.lo, e.hi = le32(e.lo, math.Float32bits(p.lo[b])), le32(e.hi, math.Float32bits(p.hi[b]))
		var widest uint32
		for i := from + 1; i < to; i++ {
			widest = max(widest, p.slots[i]-p.slots[i-1]-1)
		}
		width := bits.Len32(widest)
		e.places = binary.LittleEndian.AppendUint64(e.places, uint64(len(e.data))<<13|uint64(to-from-1)<<8|uint64(width))
		e.block(p.slots[from:to], p.weights[from:to], width)
	}
}

func (e *encoder) block(slots []uint32, ws []float32, width int) {
	for _, w := range ws {
		switch e.datatype {
		case query.Float16:
			e.data = binary.LittleEndian.AppendUint16(e.data, half(w))
		case query.Uint8:
			e.data = append(e.data, code(w))
		default:
			e.data = le32(e.data, math.Float32bits(w))
		}
	}
	var word uint64
	used := 0
	for i := 1; i < len(slots); i++ {
		word |= uint64(slots[i]-slots[i-1]-1) << used
		for used += width; used >= 8; used -= 8 {
			e.data = append(e.data, byte(word))
			word >>= 8
		}
	}
	if used > 0 {
		e.data = append(e.data, byte(word))
	}
	e.data = pad(e.data, 0, 8)
}

// Open reads what WriteTo wrote, in place: b must stay as it is while the index is
// used. It looks at what tells sizes and places, not at the postings; a search finds
// out whether they are in order. No bytes make it or a search panic.
// Errors: ErrCorrupt, with the offset.
func Open(b []byte) (*Index, error) {
	if len(b) < header || string(b[:len(magic)]) != magic {
		return nil, corrupt(0, "the magic bytes are missing")
	}
	f := func(i int) int { return int(u32(b[len(magic):], i)) }
	if f(0) != format {
		return nil, corrupt(8, "format %d is not known, %d is", f(0), format)
	}
	x := &Index{datatype: query.Datatype(f(1)), rows: f(2), vectors: f(3), numDims: f(4), postings: u64(b, 4)}
	blocks, data := f(5), u64(b, 5)
	switch {
	case f(1) > int(query.Uint8):
		return nil, corrupt(12, "datatype %d", f(1))
	case uint32(x.rows) > index.MaxRow+1 || x.vectors > x.rows:
		return nil, corrupt(16, "%d vectors in %d rows", x.vectors, x.rows)
	case data > uint64(len(b)):
		return nil, corrupt(40, "%d bytes of data in %d", data, len(b))
	}
	for _, c := range b[48:header] {
		if c != 0 {
			return nil, corrupt(48, "what is kept for later is not zero")
		}
	}
	at := header
	for _, part := range []struct {
		to   *[]byte
		size int
	}{{&x.dims, 4 * x.numDims}, {&x.starts, 4 * (x.numDims + 1)}, {&x.firsts, 4 * blocks}, {&x.lo, 4 * blocks}, {&x.hi, 4 * blocks},
		{&x.places, 8 * blocks}, {&x.data, int(data) + beyond}} {
		from := (at + align - 1) &^ (align - 1)
		if at = from + part.size; at > len(b) {
			return nil, corrupt(from, "a section of %d bytes ends after %d", part.size, len(b))
		}
		*part.to = b[from:at:at]
	}
	if at != len(b) {
		return nil, corrupt(at, "%d bytes are too many", len(b)-at)
	}
	for c := range x.numbers {
		x.numbers[c] = number(uint8(c))
	}
	x.scratch.New = newSearcher
	return x, x.checkLists(blocks)
}

// checkLists makes sure that all blocks lie within the data, in the order of rows.
func (x *Index) checkLists(blocks int) error {
	var total uint64
	for i := range x.numDims {
		from, to := int(u32(x.starts, i)), int(u32(x.starts, i+1))
		if from >= to || to > blocks || i == 0 && from != 0 || i > 0 && u32(x.dims, i) <= u32(x.dims, i-1) {
			return corrupt(header+4*i, "dimension %d has blocks %d..%d of %d", u32(x.dims, i), from, to, blocks)
		}
		for b := from; b < to; b++ {
			at, n, width := place(u64(x.places, b))
			bytes := uint64(n*x.datatype.Size() + ((n-1)*width+7)/8)
			first := u32(x.firsts, b)
			switch {
			case n > perBlock, n < perBlock && b+1 < to, width > 31, at > uint64(len(x.data)-beyond), bytes > uint64(len(x.data)-beyond)-at:
				return corrupt(header, "block %d has %d postings of %d bits at %d of the data", b, n, width, at)
			case int(first) >= x.rows, b > from && first <= u32(x.firsts, b-1):
				return corrupt(header, "block %d begins with row %d of %d", b, first, x.rows)
			}
			total += uint64(n)
		}
	}
	if x.numDims == 0 && blocks > 0 || x.numDims > 0 && int(u32(x.starts, x.numDims)) != blocks || total != x.postings {
		return corrupt(28, "%d blocks of %d postings, not %d", blocks, total, x.postings)
	}
	return nil
}

func corrupt(at int, form string, args ...any) error {
	return fmt.Errorf("%w: offset %d: %s", ErrCorrupt, at, fmt.Sprintf(form, args...))
}
