package segment

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/query/turbo"
)

// Vectors are the dense vectors of one name, row after row, each padded to Stride
// elements. They begin at a multiple of 64, as does every row, lie off Go's heap and
// must not be used after Close of the segment.
type Vectors struct {
	query.VectorSchema
	Stride int // elements, of Turbo bytes, from one row to the next
	// The one of Datatype is set.
	F32 []float32
	F16 []uint16 // bits of IEEE 754 binary16
	U8  []uint8
	// Turbo has rows of package turbo.
	Turbo []uint8
	coder *turbo.Coder
	// Present has a bit for each row that has a vector, row r in bit r%64 of word
	// r/64; nil: every row has one. The others are zero.
	Present []uint64
	Len     int // how many rows have one
}

// Has tells whether a row has a vector.
func (v *Vectors) Has(row uint32) bool {
	return v.Present == nil || v.Present[row/64]>>(row%64)&1 != 0
}

// At is a copy of a row's vector, which there must be.
func (v *Vectors) At(row uint32) []float32 {
	out := make([]float32, v.Size)
	v.Read(row, out)
	return out
}

// Read sets dst to a row's vector, which there must be.
func (v *Vectors) Read(row uint32, dst []float32) {
	from := int(row) * v.Stride
	switch v.Datatype {
	case query.Float32:
		copy(dst, v.F32[from:from+v.Size])
	case query.Float16:
		kernel.Widen(dst, v.F16[from:from+v.Size])
	case query.Turbo4:
		v.coder.Decode(dst, v.Turbo[from:from+v.Stride])
	default:
		for i, n := range v.U8[from : from+v.Size] {
			dst[i] = float32(n)
		}
	}
}

// column are the vectors of one file.
type column struct {
	Vectors
	current bool // in the form of the present schema
}

// rowBytes is the size of a row: padded to a multiple of the alignment.
func rowBytes(d query.Datatype, size int) int {
	return (d.RowBytes(size) + alignment - 1) &^ (alignment - 1)
}

func openColumn(m *mapped, name string, spec Spec) (c column, err error) {
	d, size := query.Datatype(m.datatype), int(m.size)
	width := d.Size()
	if width == 0 || uint32(d) != m.datatype {
		return c, fmt.Errorf("%s: %w: datatype %d", m.path, ErrVersion, m.datatype)
	}
	if size < 1 || size > op.MaxVectorSize || int(m.stride)*width != rowBytes(d, size) {
		return c, m.damage(0, "size of a vector")
	}
	rows := int(m.rows)
	body, words := rows*rowBytes(d, size), 0
	if m.extra != m.rows {
		words = (rows + 63) / 64
	}
	if len(m.content) != body+8*words || m.extra > m.rows || m.extra == 0 {
		return c, m.damage(headerSize, "size of the contents")
	}
	c.VectorSchema = query.VectorSchema{Name: name, Kind: query.Dense, Size: size, Datatype: d}
	for _, v := range spec.Vectors {
		if v.Name == name && v.Kind == query.Dense && v.Size == size && v.Datatype == d {
			c.VectorSchema, c.current = v, true
		}
	}
	c.Stride, c.Len = int(m.stride), int(m.extra)
	base := unsafe.Pointer(unsafe.SliceData(m.content))
	switch d {
	case query.Float32:
		c.F32 = unsafe.Slice((*float32)(base), body/4)
	case query.Float16:
		c.F16 = unsafe.Slice((*uint16)(base), body/2)
	case query.Uint8:
		c.U8 = m.content[:body:body]
	case query.Turbo4:
		c.Turbo, c.coder = m.content[:body:body], turbo.New(size)
	}
	if words > 0 {
		c.Present = unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(m.content[body:]))), words)
	}
	return c, nil
}

// at is a row's vector in stored form; float32 aliases the file.
func (c *column) at(row uint32) []float32 {
	if c.Datatype != query.Float32 {
		return c.At(row)
	}
	from := int(row) * c.Stride
	to := from + c.Size
	return c.F32[from:to:to]
}

// turboWriter makes rows of Turbo4.
type turboWriter struct {
	*turbo.Coder
	turbo.Scratch
	again []float32
}

// append adds a row; false if that would change a bit of data.
func (t *turboWriter) append(dst []byte, data []float32) ([]byte, bool) {
	if t.Coder == nil {
		t.Coder, t.again = turbo.New(len(data)), make([]float32, len(data))
	}
	for _, x := range data {
		if !(x <= turbo.MaxElement && x >= -turbo.MaxElement) {
			return dst, false
		}
	}
	dst = t.Append(dst, data, &t.Scratch)
	t.Decode(t.again, dst[len(dst)-turbo.RowBytes(len(data)):])
	for i, x := range data {
		if math.Float32bits(x) != math.Float32bits(t.again[i]) {
			return dst, false
		}
	}
	return dst, true
}

// appendElements adds data in the datatype; false if that would change a bit.
func appendElements(dst []byte, d query.Datatype, data []float32) ([]byte, bool) {
	for _, x := range data {
		bits := math.Float32bits(x)
		switch d {
		case query.Float32:
			dst = binary.LittleEndian.AppendUint32(dst, bits)
		case query.Float16:
			h, ok := narrow(bits)
			if !ok {
				return dst, false
			}
			dst = binary.LittleEndian.AppendUint16(dst, h)
		default:
			n := uint8(max(0, min(x, math.MaxUint8)))
			if math.Float32bits(float32(n)) != bits {
				return dst, false
			}
			dst = append(dst, n)
		}
	}
	return dst, true
}

// narrow is the float16 of a finite float32; false if there is none of that value.
func narrow(bits uint32) (uint16, bool) {
	sign := uint16(bits >> 16 & 0x8000)
	exp, fraction := int(bits>>23&0xff)-127, bits&(1<<23-1)
	switch {
	case bits<<1 == 0:
		return sign, true
	case exp > 15 || exp < -24:
		return 0, false
	case exp >= -14:
		return sign | uint16(exp+15)<<10 | uint16(fraction>>13), fraction<<19 == 0
	}
	fraction |= 1 << 23 // below 2^-14: units of 2^-24
	shift := -1 - exp
	return sign | uint16(fraction>>shift), fraction&(1<<shift-1) == 0
}
