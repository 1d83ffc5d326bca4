package segment

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// MaxRows is the greatest number of points of a segment: rows are uint32.
const MaxRows = math.MaxUint32

// descriptionVersion is the first byte of a description.
const descriptionVersion = 1

// Description is what a manifest keeps of a segment.
type Description struct {
	Part   topology.Seq
	Rows   int
	Digest point.Digest // sum of the rows' point.DigestOf
	Files  []File       // by kind, then name
}

// AppendBinary adds the description's binary form.
func (d *Description) AppendBinary(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, descriptionVersion), uint64(d.Part))
	dst = binary.AppendUvarint(dst, uint64(d.Rows))
	dst = binary.LittleEndian.AppendUint64(dst, d.Digest.A)
	dst = binary.LittleEndian.AppendUint64(dst, d.Digest.B)
	dst = binary.AppendUvarint(dst, uint64(len(d.Files)))
	for _, f := range d.Files {
		dst = binary.AppendUvarint(append(dst, byte(f.Kind)), uint64(len(f.Name)))
		dst = binary.AppendUvarint(append(dst, f.Name...), uint64(f.Size))
		dst = append(dst, f.Sum[:]...)
	}
	return dst
}

// DecodeDescription reads a description that fills b; the result does not alias it.
// ErrVersion for a form of the future, ErrCorrupt for bytes that are none.
func DecodeDescription(b []byte) (d Description, err error) {
	r := op.NewReader(b)
	if v := r.Byte(); v != descriptionVersion && r.Err() == nil {
		return d, fmt.Errorf("%w: description of form %d", ErrVersion, v)
	}
	d.Part = topology.Seq(r.Uvarint())
	rows := r.Uvarint()
	d.Digest = point.Digest{A: r.Uint64(), B: r.Uint64()}
	if rows > MaxRows {
		r.Fail("number of rows")
	}
	d.Rows = int(rows)
	d.Files = make([]File, r.Count(1+1+1+sumSize))
	for i := range d.Files {
		f := &d.Files[i]
		f.Kind, f.Name = Kind(r.Byte()), strings.Clone(r.Text())
		size := r.Uvarint()
		binary.LittleEndian.PutUint64(f.Sum[:], r.Uint64())
		binary.LittleEndian.PutUint64(f.Sum[8:], r.Uint64())
		if f.Size = int64(size); f.Size < 0 {
			r.Fail("size of a file")
		}
		if i > 0 && d.Files[i-1].compare(*f) >= 0 {
			r.Fail("files out of order")
		}
		if r.Err() == nil && (f.Kind == 0 || f.Kind >= kinds) {
			return Description{}, fmt.Errorf("%w: file of kind %d", ErrVersion, f.Kind)
		}
	}
	if err := r.Close(); err != nil {
		return Description{}, fmt.Errorf("%w: description: %w", ErrCorrupt, err)
	}
	return d, nil
}

func (f File) compare(o File) int {
	return cmp.Or(cmp.Compare(f.Kind, o.Kind), cmp.Compare(f.Name, o.Name))
}
