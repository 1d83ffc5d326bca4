package multi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"unsafe"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// The bytes of an index are drawn in docs/format/multi.md.
const (
	magic  = "pandomul"
	format = 1
	header = 64
	align  = 64
)

// ErrCorrupt is wrapped by errors about bytes that are no index. Flipped bits are
// found by their owner's checksum, not here.
var ErrCorrupt = errors.New("corrupt multi-vectors")

// ErrAlign reports bytes that do not begin where their elements may.
var ErrAlign = errors.New("multi-vectors begin at an odd address")

func padded(n int) int { return (n + align - 1) &^ (align - 1) }

// Builder gathers the rows of an index.
type Builder struct {
	space          Space
	starts, counts []byte
	data           []byte
	vectors        uint64
	n              int
}

// NewBuilder begins an index.
func NewBuilder(s Space) (*Builder, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return &Builder{space: s}, nil
}

// Add takes in a copy of one or more vectors, in their stored form, of a row; rows
// ascend. Errors: index.ErrDim, index.ErrRow; nothing is taken then.
func (b *Builder) Add(row uint32, v []float32) error {
	n, err := b.space.count(v)
	if err != nil {
		return fmt.Errorf("build: row %d: %w", row, err)
	}
	if row > index.MaxRow || int(row) < len(b.counts)/4 {
		return fmt.Errorf("build: %w: %d after %d", index.ErrRow, row, len(b.counts)/4-1)
	}
	for int(row) >= len(b.counts)/4 {
		b.counts, b.starts = le32(b.counts, 0), le32(b.starts, uint32(len(b.data)/align))
	}
	binary.LittleEndian.PutUint32(b.counts[4*row:], uint32(n))
	at, size := len(b.data), b.space.bytes(n)
	b.data = append(b.data, make([]byte, padded(size))...)
	b.space.encode(b.data[at:at+size], v)
	b.vectors, b.n = b.vectors+uint64(n), b.n+1
	return nil
}

func le32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }

// WriteTo writes the bytes that Open takes: equal ones for equal rows.
func (b *Builder) WriteTo(w io.Writer) (int64, error) {
	rows := len(b.counts) / 4
	head := []byte(magic)
	for _, v := range []int{format, int(b.space.Distance), int(b.space.Datatype), b.space.Dim, rows, b.n} {
		head = le32(head, uint32(v))
	}
	head = binary.LittleEndian.AppendUint64(head, b.vectors)
	head = binary.LittleEndian.AppendUint64(head, uint64(len(b.data)))
	starts := le32(b.starts[:len(b.starts):len(b.starts)], uint32(len(b.data)/align))
	var done int64
	for _, part := range [][]byte{head, starts, b.counts, b.data} {
		for _, piece := range [][]byte{part, make([]byte, padded(len(part))-len(part))} {
			n, err := w.Write(piece)
			if done += int64(n); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

// Index is the immutable form. Any number of searches may run at once.
type Index struct {
	space          Space
	rows, n        int
	vectors        uint64
	starts, counts []byte
	data           []byte
	scratch        sync.Pool // *searcher
}

// Open reads what WriteTo wrote, in place: b must stay as it is while the index is
// used, and begin at a multiple of 64, or of an element at least. It looks at sizes
// and places, not at elements. Errors: ErrAlign, ErrCorrupt with the offset.
func Open(b []byte) (*Index, error) {
	if len(b) < header || string(b[:len(magic)]) != magic {
		return nil, corrupt(0, "the magic bytes are missing")
	}
	f := func(i int) int { return int(u32(b[len(magic):], i)) }
	if f(0) != format {
		return nil, corrupt(8, "format %d is not known, %d is", f(0), format)
	}
	if f(1) > 255 || f(2) > 255 {
		return nil, corrupt(12, "distance %d, datatype %d", f(1), f(2))
	}
	x := &Index{space: Space{f(3), query.Distance(f(1)), query.Datatype(f(2))}, rows: f(4), n: f(5), vectors: binary.LittleEndian.Uint64(b[32:])}
	if err := x.space.check(); err != nil {
		return nil, corrupt(12, "%v", err)
	}
	data := binary.LittleEndian.Uint64(b[40:])
	if uint32(x.rows) > index.MaxRow+1 || x.n > x.rows || data > uint64(len(b)) {
		return nil, corrupt(24, "%d of %d rows in %d of %d bytes", x.n, x.rows, data, len(b))
	}
	counts := header + padded(4*(x.rows+1))
	from := counts + padded(4*x.rows)
	if from+int(data) != len(b) || data%align != 0 {
		return nil, corrupt(40, "%d rows of %d bytes in %d bytes", x.rows, data, len(b))
	}
	x.starts, x.counts, x.data = b[header:counts], b[counts:from], b[from:]
	for _, c := range b[48:header] {
		if c != 0 {
			return nil, corrupt(48, "what is kept for later is not zero")
		}
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(x.space.Datatype.Size()) != 0 {
		return nil, fmt.Errorf("open: %w", ErrAlign)
	}
	space := x.space
	x.scratch.New = func() any { return newSearcher(space) }
	return x, x.checkRows()
}

// checkRows makes sure that the rows fill the data.
func (x *Index) checkRows() error {
	n, vectors, at := 0, uint64(0), 0
	for i := range x.rows {
		count := int(u32(x.counts, i))
		if int(u32(x.starts, i)) != at {
			return corrupt(header+4*i, "row %d begins at %d, not %d", i, u32(x.starts, i), at)
		}
		if count > 0 {
			n++
			vectors += uint64(count)
		}
		// A count that is too large for the data ends here, before it can overflow.
		if at += padded(x.space.bytes(count)) / align; at > len(x.data)/align {
			return corrupt(header+4*i, "row %d of %d vectors ends behind the data", i, count)
		}
	}
	if int(u32(x.starts, x.rows)) != at || at != len(x.data)/align || n != x.n || vectors != x.vectors {
		return corrupt(header+4*x.rows, "%d rows, %d vectors in %d lines", n, vectors, at)
	}
	return nil
}

func u32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }

func corrupt(at int, form string, args ...any) error {
	return fmt.Errorf("%w: offset %d: %s", ErrCorrupt, at, fmt.Sprintf(form, args...))
}

func (x *Index) bound() int { return x.rows }

func (x *Index) at(row uint32) ([]byte, int) {
	n := int(u32(x.counts, int(row)))
	if n == 0 {
		return nil, 0
	}
	at := int(u32(x.starts, int(row))) * align
	return x.data[at : at+x.space.bytes(n)], n
}

// Space of the vectors.
func (x *Index) Space() Space { return x.space }

// Rows is one more than the greatest row number.
func (x *Index) Rows() int { return x.rows }

// Len counts the rows that hold vectors.
func (x *Index) Len() int { return x.n }

// Vectors counts the vectors of all rows.
func (x *Index) Vectors() uint64 { return x.vectors }

// Vector appends the elements of row's vectors to dst and gives their number; 0 if
// there are none.
func (x *Index) Vector(row uint32, dst []float32) ([]float32, int) {
	return vector(x, x.space, row, dst)
}

// Search appends to dst at most q.K hits, the best first. Errors: index.ErrDim,
// index.ErrRow, or ctx's when it ended before the search did.
func (x *Index) Search(ctx context.Context, q *Query, dst []index.Hit) ([]index.Hit, error) {
	s := x.scratch.Get().(*searcher)
	defer func() { s.release(); x.scratch.Put(s) }()
	return s.search(ctx, x, x.n, q, dst)
}

// SearchBatch answers queries as Search would one by one, in one pass over the rows.
// The first error fails all.
func (x *Index) SearchBatch(ctx context.Context, qs []Query) ([][]index.Hit, error) {
	s := x.scratch.Get().(*searcher)
	defer func() { s.release(); x.scratch.Put(s) }()
	return s.batch(ctx, x, x.n, qs)
}
