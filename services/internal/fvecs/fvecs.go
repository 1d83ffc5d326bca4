// Package fvecs reads vectors in the format of the TEXMEX data sets, row by row, so that a file may be larger than
// memory: each row is its length, a little-endian int32, and so many little-endian float32. It does not write.
package fvecs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// ErrFormat is wrapped by every error about the content of a file.
var ErrFormat = errors.New("not a readable .fvecs file")

// maxCols bounds the length of a row, so that a damaged file cannot ask for all memory.
const maxCols = 1 << 24

// width is the bytes of a length, and of a value.
const width = 4

// Reader gives the rows of one file, all of one length.
type Reader struct {
	Cols int // 0: the file is empty
	in   *bufio.Reader
	row  []byte
	next int
}

// NewReader reads the first length. Errors: ErrFormat.
func NewReader(r io.Reader) (*Reader, error) {
	f := &Reader{in: bufio.NewReaderSize(r, 1<<20)}
	head, err := f.in.Peek(width)
	switch {
	case err == io.EOF && len(head) == 0:
		return f, nil
	case err == io.EOF:
		return nil, fmt.Errorf("%w: it ends at byte %d, in the length of row 0", ErrFormat, len(head))
	case err != nil:
		return nil, fmt.Errorf("%w: byte 0: %w", ErrFormat, err)
	}
	n := int32(binary.LittleEndian.Uint32(head))
	if n < 1 || n > maxCols {
		return nil, fmt.Errorf("%w: row 0 at byte 0 has a length of %d, which must be 1 to %d", ErrFormat, n, maxCols)
	}
	f.Cols = int(n)
	return f, nil
}

// Rows tells how many rows a file of so many bytes has. Errors: ErrFormat if they are no whole number.
func (f *Reader) Rows(bytes int64) (int, error) {
	if f.Cols == 0 {
		return 0, nil
	}
	if over := bytes % f.size(); over != 0 {
		return 0, fmt.Errorf("%w: %d bytes are no multiple of the %d of a row of %d values; byte %d begins a row that is cut off, or of another length",
			ErrFormat, bytes, f.size(), f.Cols, bytes-over)
	}
	return int(bytes / f.size()), nil
}

// size of a row in bytes.
func (f *Reader) size() int64 { return int64(f.Cols+1) * width }

// Next appends the next row to dst[:0] and returns it; io.EOF after the last one. Errors: ErrFormat, with row and byte.
func (f *Reader) Next(dst []float32) ([]float32, error) {
	dst = dst[:0]
	if f.Cols == 0 {
		return dst, io.EOF
	}
	if f.row == nil {
		f.row = make([]byte, f.size())
	}
	at := int64(f.next) * f.size()
	n, err := io.ReadFull(f.in, f.row)
	if n >= width {
		if cols := int32(binary.LittleEndian.Uint32(f.row)); int(cols) != f.Cols {
			return dst, fmt.Errorf("%w: row %d at byte %d has a length of %d, row 0 has %d", ErrFormat, f.next, at, cols, f.Cols)
		}
	}
	switch {
	case err == io.EOF:
		return dst, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return dst, fmt.Errorf("%w: it ends at byte %d, in row %d, which began at byte %d and is of %d bytes: %w", ErrFormat, at+int64(n), f.next, at, len(f.row), err)
	case err != nil:
		return dst, fmt.Errorf("%w: row %d, byte %d: %w", ErrFormat, f.next, at+int64(n), err)
	}
	f.next++
	for b := f.row[width:]; len(b) > 0; b = b[width:] {
		dst = append(dst, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return dst, nil
}
