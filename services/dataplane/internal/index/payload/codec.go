package payload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"unicode/utf8"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// What is wrong with the bytes of an index. The wrapping text names the offset.
var (
	ErrCorrupt = errors.New("payload index: corrupt")
	// ErrStale: the file is whole, but its texts were cut by rules that changed
	// since. It has to be built anew.
	ErrStale = errors.New("payload index: made by other rules for texts")
)

const (
	magic  = "pandofld"
	format = 1
	// fixed is the header before the table of parts.
	fixed    = 24
	perPart  = 16
	headSize = fixed + perPart*partCount + 4
	// listed is how many rows of a key are written one by one.
	listed = 64
)

// The parts of a file, in their order.
const (
	specPart = iota
	typedPart
	filledPart
	nullsPart
	mixedPart
	keyEndsPart
	keysPart
	listEndsPart
	listsPart
	valuesPart
	rowsPart
	lineEndsPart
	linesPart
	partCount
)

type parts [partCount][]byte

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func padded(n int) int { return (n + 7) &^ 7 }

func corrupt(at int, format string, args ...any) error {
	return fmt.Errorf("%w at byte %d: %s", ErrCorrupt, at, fmt.Sprintf(format, args...))
}

// bytes puts the parts behind a header.
func (p *parts) bytes(rows uint32) []byte {
	size := padded(headSize)
	for _, part := range p {
		size += padded(len(part))
	}
	out := make([]byte, padded(headSize), size)
	copy(out, magic)
	binary.LittleEndian.PutUint32(out[8:], format)
	binary.LittleEndian.PutUint32(out[12:], headSize)
	binary.LittleEndian.PutUint32(out[16:], rows)
	for i, part := range p {
		entry := out[fixed+perPart*i:]
		binary.LittleEndian.PutUint64(entry, uint64(len(part)))
		binary.LittleEndian.PutUint32(entry[8:], crc32.Checksum(part, castagnoli()))
		out = append(out, part...)
		out = append(out, make([]byte, padded(len(part))-len(part))...)
	}
	binary.LittleEndian.PutUint32(out[headSize-4:], crc32.Checksum(out[:headSize-4], castagnoli()))
	return out
}

// split checks sizes and checksums; at is where each part begins.
func split(b []byte) (p parts, at [partCount]int, rows uint32, err error) {
	switch {
	case len(b) < padded(headSize) || string(b[:len(magic)]) != magic:
		return p, at, 0, corrupt(0, "the magic bytes are missing in %d bytes", len(b))
	case binary.LittleEndian.Uint32(b[8:]) != format:
		return p, at, 0, corrupt(8, "format %d is not known, %d is", binary.LittleEndian.Uint32(b[8:]), format)
	case binary.LittleEndian.Uint32(b[12:]) != headSize:
		return p, at, 0, corrupt(12, "%d bytes of header", binary.LittleEndian.Uint32(b[12:]))
	case crc32.Checksum(b[:headSize-4], castagnoli()) != binary.LittleEndian.Uint32(b[headSize-4:]):
		return p, at, 0, corrupt(headSize-4, "the checksum of the header does not match")
	case !zero(b[headSize:padded(headSize)]) || binary.LittleEndian.Uint32(b[20:]) != 0:
		return p, at, 0, corrupt(20, "the padding is not zero")
	}
	next := padded(headSize)
	for i := range p {
		entry := b[fixed+perPart*i:]
		n := binary.LittleEndian.Uint64(entry)
		if n > uint64(len(b)-next) || padded(int(n)) > len(b)-next || binary.LittleEndian.Uint32(entry[12:]) != 0 {
			return p, at, 0, corrupt(fixed+perPart*i, "part %d of %d bytes does not fit", i, n)
		}
		at[i], p[i] = next, b[next:next+int(n):next+int(n)]
		next += padded(int(n))
		if crc32.Checksum(p[i], castagnoli()) != binary.LittleEndian.Uint32(entry[8:]) {
			return p, at, 0, corrupt(at[i], "the checksum of part %d of %d bytes does not match", i, n)
		}
		if !zero(b[at[i]+int(n) : next]) {
			return p, at, 0, corrupt(at[i]+int(n), "the padding is not zero")
		}
	}
	if next != len(b) {
		return p, at, 0, corrupt(next, "%d bytes are left", len(b)-next)
	}
	return p, at, binary.LittleEndian.Uint32(b[16:]), nil
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

func appendSpec(dst []byte, f *query.FieldIndex) []byte {
	bits := byte(0)
	for i, is := range [...]bool{f.Lookup, f.Range, f.Text.Lowercase, f.Text.Folding, f.Text.Phrases} {
		if is {
			bits |= 1 << i
		}
	}
	dst = append(dst, byte(f.Type), bits, byte(f.Text.Tokenizer), analysis.Version)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(f.Text.MinLen))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(f.Text.MaxLen))
	for _, s := range [...]string{f.Key, f.Text.Stemmer, f.Text.StopLanguages, f.Text.StopWords} {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

func decodeSpec(at int, b []byte) (f query.FieldIndex, err error) {
	if len(b) < 12 || b[1] >= 1<<5 {
		return f, corrupt(at, "%d bytes of what is indexed", len(b))
	}
	f.Type = query.FieldType(b[0])
	f.Lookup, f.Range = b[1]&1 > 0, b[1]&2 > 0
	f.Text = analysis.Params{Tokenizer: analysis.Tokenizer(b[2]), Lowercase: b[1]&4 > 0, Folding: b[1]&8 > 0, Phrases: b[1]&16 > 0,
		MinLen: int(binary.LittleEndian.Uint32(b[4:])), MaxLen: int(binary.LittleEndian.Uint32(b[8:]))}
	version, rest := b[3], b[12:]
	for _, to := range [...]*string{&f.Key, &f.Text.Stemmer, &f.Text.StopLanguages, &f.Text.StopWords} {
		if len(rest) < 4 || uint64(binary.LittleEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return f, corrupt(at, "a text of what is indexed does not fit")
		}
		n := 4 + int(binary.LittleEndian.Uint32(rest))
		*to, rest = string(rest[4:n]), rest[n:]
	}
	switch {
	case len(rest) > 0 || !utf8.ValidString(f.Key):
		return f, corrupt(at, "what is indexed: %d bytes are left", len(rest))
	case f.Type == query.TextField && version != analysis.Version:
		return f, fmt.Errorf("%w: %d, now %d", ErrStale, version, analysis.Version)
	case f.Type != query.TextField && f.Text != analysis.Params{}, f.Type != query.IntegerField && (f.Lookup || f.Range):
		return f, corrupt(at, "parameters of another type than %d", f.Type)
	}
	return f, nil
}

// decodeBitmap copies a set of rows below rows.
func decodeBitmap(at int, b []byte, rows uint32) (*roaring.Bitmap, error) {
	set := roaring.New()
	n, err := set.ReadFrom(bytes.NewReader(b))
	return set, checkBitmap(at, b, rows, set, n, err)
}

// checkBitmap checks what was read out of b.
func checkBitmap(at int, b []byte, rows uint32, set *roaring.Bitmap, n int64, err error) error {
	if err == nil && !set.IsEmpty() {
		err = set.Validate()
	}
	switch {
	case err != nil:
		return corrupt(at, "bitmap: %v", err)
	case n != int64(len(b)):
		return corrupt(at, "bitmap of %d bytes in %d", n, len(b))
	case !set.IsEmpty() && set.Maximum() >= rows:
		return corrupt(at, "bitmap with row %d of %d", set.Maximum(), rows)
	}
	return nil
}
