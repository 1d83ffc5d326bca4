package quant

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// The bytes of codes are drawn in docs/format/codes.md.
const (
	magic  = "pandocod"
	format = 1
	fixed  = 64 // bytes before the tables
	align  = 64
)

// ErrCorrupt is wrapped by errors about bytes that are no codes, or damaged.
var ErrCorrupt = errors.New("corrupt codes")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// head encodes everything before the rows.
func (c *Codes) head() []byte {
	tables := c.scheme.tables()
	b := append(make([]byte, 0, padded(fixed+4*len(tables), align)), magic...)
	for _, v := range []uint32{
		format, fixed, uint32(c.rows), uint32(c.dim), uint32(c.metric.Distance), uint32(c.settings.Kind),
		math.Float32bits(c.settings.Quantile), uint32(c.settings.Compression), uint32(c.settings.Encoding) | uint32(c.settings.Query)<<8,
		uint32(c.stride), uint32(len(tables)),
	} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = b[:fixed]
	for _, v := range tables {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	b = b[:padded(len(b), align)]
	binary.LittleEndian.PutUint32(b[52:], crc32.Checksum(c.data, castagnoli()))
	binary.LittleEndian.PutUint32(b[56:], crc32.Checksum(b[fixed:], castagnoli()))
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli()))
	return b
}

// WriteTo writes c. Equal codes have equal bytes.
func (c *Codes) WriteTo(w io.Writer) (int64, error) {
	var n int64
	for _, part := range [][]byte{c.head(), c.data} {
		m, err := w.Write(part)
		if n += int64(m); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Open reads what WriteTo wrote. It checks everything but the rows, and uses them
// where they are: b must not change, and begin at a multiple of 64 to be fast.
// Rows with wrong bits give wrong estimates, nothing worse; see Verify.
// Errors: ErrCorrupt, with the offset.
func Open(b []byte) (*Codes, error) {
	if len(b) < fixed || string(b[:len(magic)]) != magic {
		return nil, corrupt(0, "the magic bytes are missing")
	}
	var f [11]uint32
	for i := range f {
		f[i] = binary.LittleEndian.Uint32(b[len(magic)+4*i:])
	}
	end := fixed + 4*int64(f[10])
	at := (end + align - 1) / align * align
	switch {
	case f[0] != format:
		return nil, corrupt(8, "format %d is not known, %d is", f[0], format)
	case crc32.Checksum(b[:60], castagnoli()) != binary.LittleEndian.Uint32(b[60:]):
		return nil, corrupt(60, "the checksum of the header does not match")
	case f[1] != fixed || at > int64(len(b)) || f[2] > index.MaxRow+1 || int64(f[2])*int64(f[9]) != int64(len(b))-at:
		return nil, corrupt(16, "%d rows of %d bytes behind %d are not %d bytes", f[2], f[9], at, len(b))
	case crc32.Checksum(b[fixed:at], castagnoli()) != binary.LittleEndian.Uint32(b[56:]):
		return nil, corrupt(fixed, "the checksum of the tables does not match")
	}
	q := query.Quantization{Kind: query.QuantizationKind(f[5]), Quantile: math.Float32frombits(f[6]), Compression: int(f[7])}
	q.Encoding, q.Query = query.BinaryEncoding(f[8]), query.BinaryEncoding(f[8]>>8)
	if uint32(q.Kind) != f[5] || f[8]>>16 != 0 || f[4] > math.MaxUint8 {
		return nil, corrupt(16, "%d rows, distance %d, kind %d", f[2], f[4], f[5])
	}
	c, err := newCodes(int(f[2]), int(f[3]), query.Distance(f[4]), q)
	if err != nil {
		return nil, corrupt(16, "%v", err)
	}
	if c.settings != q {
		return nil, corrupt(28, "the settings have another form")
	}
	tables := make([]float32, f[10])
	for i := range tables {
		tables[i] = float(b[fixed+4*i:])
	}
	if c.scheme = c.restore(tables); c.scheme == nil || c.scheme.size() != int(f[9]) || !zero(b[end:at]) {
		return nil, corrupt(44, "rows of %d bytes, %d numbers", f[9], f[10])
	}
	c.stride, c.data = int(f[9]), b[at:]
	return c, nil
}

// Verify reads all rows of what Open was given and compares them with their
// checksum. Errors: ErrCorrupt.
func Verify(b []byte) error {
	c, err := Open(b)
	if err != nil {
		return err
	}
	if crc32.Checksum(c.data, castagnoli()) != binary.LittleEndian.Uint32(b[52:]) {
		return corrupt(len(b)-len(c.data), "the checksum of %d rows does not match", c.rows)
	}
	return nil
}

// restore makes the scheme again, or nil if there are not as many tables as it has.
func (c *Codes) restore(tables []float32) scheme {
	switch c.settings.Kind {
	case query.ScalarQuantization:
		return restoreScalar(c, tables)
	case query.BinaryQuantization, query.TurboQuantization:
		if len(tables) == c.dim {
			return newFew(c, newSpread(c.dim, tables))
		}
	case query.ProductQuantization:
		return restoreProduct(c, tables)
	}
	return nil
}

func zero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

func corrupt[N int | int64](at N, form string, args ...any) error {
	return fmt.Errorf("%w: offset %d: %s", ErrCorrupt, at, fmt.Sprintf(form, args...))
}
