package op

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
	"unsafe"

	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/topology"
)

// Decode reads a body. Payloads, names and settings of the result alias body,
// vectors and ids are copies. It trusts nothing: payloads are validated, vectors
// are finite and their names sorted, every count is held against the bytes that
// are there. ErrVersion for a version or kind of the future, ErrCorrupt else.
func Decode(body []byte) (Op, error) {
	if len(body) < 2 || len(body) > MaxBody {
		return Op{}, fmt.Errorf("%w: body of %d bytes", ErrCorrupt, len(body))
	}
	if (body[0] != bodyVersion && body[0] != kindsVersion) || Kind(body[1]) > EditPayload {
		return Op{}, fmt.Errorf("%w: body version %d, kind %d", ErrVersion, body[0], body[1])
	}
	o := Op{Kind: Kind(body[1])}
	r := Reader{b: body[2:]}
	switch o.Kind {
	case Upsert, UpdateVectors:
		o.Points = make([]Point, r.Count(topology.PointIDSize+1))
		for i := range o.Points {
			p := &o.Points[i]
			p.ID, p.Vectors = r.PointID(), r.vectors(body[0] == kindsVersion)
			if o.Kind == Upsert {
				p.Payload = r.Doc()
			}
			if r.err != nil {
				break
			}
		}
	case SetPayload, OverwritePayload:
		o.Groups = r.groups()
	case EditPayload:
		o.Groups, o.Names = r.groups(), r.names()
	case Delete, ClearPayload:
		o.IDs = r.ids()
	case DeletePayload, DeleteVectors:
		o.IDs, o.Names = r.ids(), r.names()
	case Config:
		o.Revision, o.Settings = r.Uvarint(), r.Bytes()
	case Floor:
		o.Floor = HLC(r.Uint64())
	case Merge:
		o.Parts = make([]topology.Seq, r.Count(1))
		for i := range o.Parts {
			if o.Parts[i] = topology.Seq(r.Uvarint()); i > 0 && o.Parts[i] <= o.Parts[i-1] {
				r.Fail("parts out of order")
			}
		}
	case EpochStart, Mark, Seal:
	default:
		return Op{}, fmt.Errorf("%w: kind %d", ErrCorrupt, o.Kind)
	}
	if body[0] == kindsVersion && !r.other {
		r.Fail("nothing that the version is for")
	}
	if err := r.Close(); err != nil {
		return Op{}, fmt.Errorf("%w (kind %d, byte %d of %d)", err, o.Kind, len(body)-len(r.b), len(body))
	}
	return o, nil
}

// Reader takes apart the binary forms of this package and of stored points.
// The first mistake sticks; Close reports it.
type Reader struct {
	b     []byte
	err   error
	other bool // a vector was read that is not dense
}

// NewReader reads b, which the results of Text, Bytes and Doc alias.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Close tells whether everything was well and nothing is left over.
func (r *Reader) Close() error {
	if r.err == nil && len(r.b) > 0 {
		r.Fail("bytes left over")
	}
	return r.err
}

// Err is the first mistake so far.
func (r *Reader) Err() error { return r.err }

// More tells whether anything is left to read.
func (r *Reader) More() bool { return r.err == nil && len(r.b) > 0 }

// Fail records a mistake that the caller found, unless there was one before.
func (r *Reader) Fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
}

// take gives the next n bytes; none after a mistake.
func (r *Reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.b)) {
		r.Fail("cut short")
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint64 reads 8 bytes little-endian.
func (r *Reader) Uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// Uvarint reads a variable-length number in its shortest form.
func (r *Reader) Uvarint() uint64 {
	n, w := binary.Uvarint(r.b)
	if r.err != nil || w <= 0 || (w > 1 && r.b[w-1] == 0) {
		r.Fail("malformed number")
		return 0
	}
	r.b = r.b[w:]
	return n
}

// Count reads how many items of at least size bytes follow.
func (r *Reader) Count(size int) int {
	n := r.Uvarint()
	if n > uint64(len(r.b)/size) {
		r.Fail("count is larger than what follows")
		return 0
	}
	return int(n)
}

// Bytes reads a length and that many bytes; nil for none.
func (r *Reader) Bytes() []byte {
	if b := r.take(r.Uvarint()); len(b) > 0 {
		return b
	}
	return nil
}

// Text reads a string, which must be UTF-8.
func (r *Reader) Text() string {
	b := r.Bytes()
	if !utf8.Valid(b) {
		r.Fail("name is not UTF-8")
		return ""
	}
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// PointID reads a point's id.
func (r *Reader) PointID() topology.PointID {
	id, err := topology.DecodePointID(r.take(topology.PointIDSize))
	if err != nil {
		r.Fail("point id")
	}
	return id
}

func (r *Reader) groups() []Group {
	out := make([]Group, r.Count(2))
	for i := range out {
		out[i] = Group{IDs: r.ids(), Payload: r.Doc()}
		if r.err != nil {
			break
		}
	}
	return out
}

func (r *Reader) names() []string {
	out := make([]string, r.Count(1))
	for i := range out {
		out[i] = r.Text()
	}
	return out
}

func (r *Reader) ids() []topology.PointID {
	ids := make([]topology.PointID, r.Count(topology.PointIDSize))
	for i := range ids {
		ids[i] = r.PointID()
	}
	return ids
}

// vectors reads what appendVectors wrote; nil for none.
func (r *Reader) vectors(kinds bool) []Vector {
	n := r.Count(2)
	if n == 0 {
		return nil
	}
	vs := make([]Vector, n)
	for i := range vs {
		name := r.Text()
		if kinds {
			vs[i] = r.Value()
		} else {
			vs[i].Data = r.Floats()
		}
		vs[i].Name = name
		if i > 0 && vs[i-1].Name >= vs[i].Name {
			r.Fail("vector names out of order")
		}
		if r.err != nil {
			return nil
		}
	}
	return vs
}

// Value reads what AppendValue wrote into slices of its own.
func (r *Reader) Value() Vector {
	switch kind := r.Byte(); kind {
	case denseValue:
		return Vector{Data: r.Floats()}
	case sparseValue:
		r.other = true
		v := Vector{Indices: r.indices()}
		v.Data = r.elements(len(v.Indices))
		return v
	case multiValue:
		r.other = true
		v := Vector{Count: r.Count(4)}
		n := r.Count(4)
		if v.Count == 0 || n == 0 || n%v.Count != 0 || n > MaxMultiSize || n/v.Count > MaxVectorSize {
			r.Fail("size of a multi-vector")
			return Vector{}
		}
		v.Data = r.elements(n)
		return v
	}
	r.Fail("kind of a vector")
	return Vector{}
}

// Other tells whether a vector was read that is not dense.
func (r *Reader) Other() bool { return r.other }

// indices reads those of a sparse vector, which may be none.
func (r *Reader) indices() []uint32 {
	n := r.Count(1 + 4)
	if n > MaxSparseSize {
		r.Fail("size of a sparse vector")
		return []uint32{}
	}
	out, next := make([]uint32, n), uint64(0)
	for i := range out {
		d := r.Uvarint()
		if d > math.MaxUint32 || next+d > math.MaxUint32 {
			r.Fail("index of a sparse vector")
			return []uint32{}
		}
		out[i] = uint32(next + d)
		next += d + 1
	}
	return out
}

// Floats reads what AppendFloats wrote into a slice of its own.
func (r *Reader) Floats() []float32 {
	n := r.Count(4)
	if n == 0 || n > MaxVectorSize {
		r.Fail("vector size")
		return nil
	}
	return r.elements(n)
}

// elements reads n finite numbers.
func (r *Reader) elements(n int) []float32 {
	b := r.take(4 * uint64(n))
	data := make([]float32, len(b)/4)
	for i := range data {
		bits := binary.LittleEndian.Uint32(b[4*i:])
		if bits&0x7F800000 == 0x7F800000 {
			r.Fail("vector element is not finite")
			return nil
		}
		data[i] = math.Float32frombits(bits)
	}
	return data
}

// Doc reads a payload and validates it.
func (r *Reader) Doc() payload.Doc {
	b := r.Bytes()
	if err := payload.Validate(b); err != nil && r.err == nil {
		r.err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		return nil
	}
	return b
}
