// Package npy reads matrices in NumPy's format, row by row, so that a file may be larger than memory. It reads
// versions 1 to 3, little-endian, C order, one or two dimensions of f2, f4, f8, i1, u1, i4 or i8; it does not write.
package npy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// ErrFormat is wrapped by every error about the content of a file.
var ErrFormat = errors.New("not a readable .npy file")

// maxHeader bounds the header, maxRow the bytes of one row, so that a damaged file cannot ask for all memory.
const (
	maxHeader = 1 << 16
	maxRow    = 1 << 26
)

// Reader gives the rows of one file. A vector (one dimension) is a matrix of rows of one value.
type Reader struct {
	Rows, Cols int
	in         *bufio.Reader
	kind       string
	row        []byte
	next       int
	body       int64 // offset of row 0
}

// NewReader reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	var head [8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil || string(head[:6]) != "\x93NUMPY" {
		return nil, fmt.Errorf("%w: the magic bytes are missing", ErrFormat)
	}
	size, err := headerSize(in, head[6])
	if err != nil {
		return nil, err
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, fmt.Errorf("%w: the header is cut off", ErrFormat)
	}
	n := &Reader{in: in, body: int64(len(head) + 2 + size)}
	if head[6] > 1 {
		n.body += 2
	}
	if err := n.parse(string(text)); err != nil {
		return nil, err
	}
	return n, nil
}

func headerSize(in io.Reader, version byte) (int, error) {
	switch version {
	case 1:
		var b [2]byte
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return 0, fmt.Errorf("%w: the header is cut off", ErrFormat)
		}
		return int(binary.LittleEndian.Uint16(b[:])), nil
	case 2, 3:
		var b [4]byte
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return 0, fmt.Errorf("%w: the header is cut off", ErrFormat)
		}
		if n := binary.LittleEndian.Uint32(b[:]); n <= maxHeader {
			return int(n), nil
		}
		return 0, fmt.Errorf("%w: the header is too long", ErrFormat)
	}
	return 0, fmt.Errorf("%w: version %d", ErrFormat, version)
}

// parse reads a header such as {'descr': '<f2', 'fortran_order': False, 'shape': (150000, 100), }.
func (n *Reader) parse(h string) error {
	descr := regexp.MustCompile(`'descr':\s*'([^']*)'`).FindStringSubmatch(h)
	shape := regexp.MustCompile(`'shape':\s*\(([0-9, ]*)\)`).FindStringSubmatch(h)
	switch {
	case descr == nil:
		return fmt.Errorf("%w: 'descr' is missing in header %.200q", ErrFormat, h)
	case !strings.Contains(h, "'fortran_order': False"):
		return fmt.Errorf("%w: 'fortran_order' must be False (rows one after the other) in header %.200q", ErrFormat, h)
	case shape == nil:
		return fmt.Errorf("%w: 'shape' must be (rows,) or (rows, columns) in header %.200q", ErrFormat, h)
	}
	kind := regexp.MustCompile(`^[<|]([fiu][1248])$`).FindStringSubmatch(descr[1])
	if kind == nil {
		kind = []string{"", ""}
	}
	n.kind = kind[1]
	width, ok := map[string]int{"f2": 2, "f4": 4, "f8": 8, "i1": 1, "u1": 1, "i4": 4, "i8": 8}[n.kind]
	if !ok {
		return fmt.Errorf("%w: 'descr' is %.20q, and must be <f2, <f4, <f8, |i1, |u1, <i4 or <i8", ErrFormat, descr[1])
	}
	dims := []int{}
	for d := range strings.SplitSeq(shape[1], ",") {
		if d = strings.TrimSpace(d); d == "" {
			continue
		}
		v, err := strconv.Atoi(d)
		if err != nil {
			return fmt.Errorf("%w: 'shape' is (%.50s)", ErrFormat, shape[1])
		}
		dims = append(dims, v)
	}
	switch len(dims) {
	case 1:
		n.Rows, n.Cols = dims[0], 1
	case 2:
		n.Rows, n.Cols = dims[0], dims[1]
	default:
		return fmt.Errorf("%w: 'shape' has %d dimensions, and must have 1 or 2", ErrFormat, len(dims))
	}
	if n.Cols > maxRow/width {
		return fmt.Errorf("%w: 'shape' has rows of %d values; %d are the limit", ErrFormat, n.Cols, maxRow/width)
	}
	n.row = make([]byte, n.Cols*width)
	return nil
}

// Next appends the next row to dst[:0] and returns it; io.EOF after the last one. A file that ends early is an error.
func (n *Reader) Next(dst []float32) ([]float32, error) {
	dst = dst[:0]
	err := n.each(func(v float64) { dst = append(dst, float32(v)) })
	return dst, err
}

// NextInts is Next for integers below 2^53, such as ids; fractions are cut off.
func (n *Reader) NextInts(dst []int64) ([]int64, error) {
	dst = dst[:0]
	err := n.each(func(v float64) { dst = append(dst, int64(v)) })
	return dst, err
}

func (n *Reader) each(take func(float64)) error {
	if n.next == n.Rows {
		return n.end()
	}
	if got, err := io.ReadFull(n.in, n.row); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("%w: row %d of %d, byte %d: %w", ErrFormat, n.next, n.Rows, n.body+int64(n.next)*int64(len(n.row))+int64(got), err)
	}
	n.next++
	b := n.row
	for range n.Cols {
		switch n.kind {
		case "f2":
			take(half(binary.LittleEndian.Uint16(b)))
			b = b[2:]
		case "f4":
			take(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
			b = b[4:]
		case "f8":
			take(math.Float64frombits(binary.LittleEndian.Uint64(b)))
			b = b[8:]
		case "i1":
			take(float64(int8(b[0])))
			b = b[1:]
		case "u1":
			take(float64(b[0]))
			b = b[1:]
		case "i4":
			take(float64(int32(binary.LittleEndian.Uint32(b))))
			b = b[4:]
		case "i8":
			take(float64(int64(binary.LittleEndian.Uint64(b))))
			b = b[8:]
		}
	}
	return nil
}

// end looks behind the last row: only there a compressed file tells that it is damaged.
func (n *Reader) end() error {
	switch _, err := n.in.ReadByte(); err {
	case io.EOF:
		return io.EOF
	case nil:
		return fmt.Errorf("%w: there is more at byte %d, behind the last of %d rows", ErrFormat, n.body+int64(n.Rows)*int64(len(n.row)), n.Rows)
	default:
		return fmt.Errorf("%w: behind the last of %d rows: %w", ErrFormat, n.Rows, err)
	}
}

// half decodes IEEE binary16, subnormals included.
func half(h uint16) float64 {
	sign, exp, frac := 1.0, int(h>>10&31), float64(h&1023)
	if h&0x8000 != 0 {
		sign = -1
	}
	switch exp {
	case 0:
		return sign * math.Ldexp(frac, -24)
	case 31:
		if frac == 0 {
			return sign * math.Inf(1)
		}
		return math.NaN()
	}
	return sign * math.Ldexp(1024+frac, exp-25)
}
