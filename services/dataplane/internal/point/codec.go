package point

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// The first byte of every stored point. Each has one form only: kindsVersion is
// that of points with a vector that is not dense.
const (
	formVersion  = 1
	kindsVersion = 2
)

const (
	flagAlive = 1 << iota
	flagPayloadBase
)

// Flags of a vector field.
const (
	fieldValue = 1 << iota
	fieldStamp
)

// AppendBinary adds the stored form without the id, which is the key it is
// stored under (docs/format/shard.md).
func (p *Point) AppendBinary(dst []byte) []byte {
	flags := byte(0)
	if p.Alive {
		flags |= flagAlive
	}
	if p.PayloadBase != (Stamp{}) {
		flags |= flagPayloadBase
	}
	version := byte(formVersion)
	if slices.ContainsFunc(p.Vectors, func(v Vector) bool { return v.Indices != nil || v.Count > 0 }) {
		version = kindsVersion
	}
	dst = appendStamp(append(dst, version, flags), p.Base)
	if flags&flagPayloadBase != 0 {
		dst = appendStamp(dst, p.PayloadBase)
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.Payload)))
	dst = append(dst, p.Payload...)
	dst = binary.AppendUvarint(dst, uint64(len(p.Keys)))
	for _, k := range p.Keys {
		dst = appendStamp(appendText(dst, k.Name), k.Stamp)
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.Vectors)))
	for _, v := range p.Vectors {
		dst = appendText(dst, v.Name)
		at := len(dst)
		dst = append(dst, 0)
		if v.Stamp != (Stamp{}) {
			dst[at] |= fieldStamp
			dst = appendStamp(dst, v.Stamp)
		}
		switch {
		case v.Data == nil:
		case version == kindsVersion:
			dst[at] |= fieldValue
			dst = op.AppendValue(dst, v.Value())
		default:
			dst[at] |= fieldValue
			dst = op.AppendFloats(dst, v.Data)
		}
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendStamp(dst []byte, s Stamp) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.HLC))
	return binary.AppendUvarint(dst, uint64(s.Origin))
}

// Decode reads the stored form of the point id. Names and payload alias b,
// vectors are copies. op.ErrVersion for a form of the future, op.ErrCorrupt for
// bytes that are none; either names the point.
func Decode(id topology.PointID, b []byte) (Point, error) {
	p, err := decode(op.NewReader(b))
	if err != nil {
		return Point{}, fmt.Errorf("point %s: %w", id, err)
	}
	p.ID = id
	return p, nil
}

func decode(r *op.Reader) (p Point, err error) {
	version := r.Byte()
	if version != formVersion && version != kindsVersion && r.Err() == nil {
		return p, fmt.Errorf("%w: stored form %d", op.ErrVersion, version)
	}
	flags := r.Byte()
	p.Alive, p.Base = flags&flagAlive != 0, readStamp(r)
	if flags&flagPayloadBase != 0 {
		p.PayloadBase = readStamp(r)
	}
	p.Payload = r.Doc()
	if n := r.Count(1 + 8 + 1); n > 0 {
		p.Keys = make([]Key, n)
		for i := range p.Keys {
			p.Keys[i] = Key{Name: r.Text(), Stamp: readStamp(r)}
			if i > 0 && p.Keys[i-1].Name >= p.Keys[i].Name {
				r.Fail("keys out of order")
			}
			if !p.Keys[i].Stamp.After(p.payloadBase()) {
				r.Fail("key older than its base")
			}
		}
	}
	if n := r.Count(2); n > 0 {
		p.Vectors = make([]Vector, n)
		for i := range p.Vectors {
			p.Vectors[i] = readVector(r, version == kindsVersion)
			if i > 0 && p.Vectors[i-1].Name >= p.Vectors[i].Name {
				r.Fail("vectors out of order")
			}
			if s := p.Vectors[i].Stamp; s != (Stamp{}) && !s.After(p.Base) {
				r.Fail("vector older than its base")
			}
		}
	}
	if flags > flagAlive|flagPayloadBase || (flags&flagPayloadBase != 0 && !p.PayloadBase.After(p.Base)) {
		r.Fail("flags")
	}
	if version == kindsVersion && !r.Other() {
		r.Fail("nothing that the form is for")
	}
	return p, r.Close()
}

func readStamp(r *op.Reader) Stamp {
	return Stamp{HLC: op.HLC(r.Uint64()), Origin: topology.PeerID(r.Uvarint())}
}

func readVector(r *op.Reader, kinds bool) Vector {
	v := Vector{Name: r.Text()}
	flags := r.Byte()
	if flags&fieldStamp != 0 {
		if v.Stamp = readStamp(r); v.Stamp == (Stamp{}) {
			r.Fail("zero stamp")
		}
	}
	switch {
	case flags&fieldValue == 0:
	case kinds:
		value := r.Value()
		v.Data, v.Indices, v.Count = value.Data, value.Indices, value.Count
	default:
		v.Data = r.Floats()
	}
	if flags > fieldValue|fieldStamp || flags == 0 {
		r.Fail("vector flags")
	}
	return v
}

// Digest is an additive hash over a set of stored points (design: "Becoming
// Active is gated by proof"): two lanes, each the sum modulo 2^64 of 8 bytes of
// SHA-256 over (domain, id, stored form). Points come and go in any order at a
// constant price. It detects damage and divergence, not an adversary who
// chooses points.
type Digest struct{ A, B uint64 }

// digestDomain keeps the hash apart from other uses of the same bytes.
const digestDomain = "pando.point.1\x00"

// DigestOf is the contribution of one point, given in stored form. scratch is
// reused if it is large enough; the grown one is returned.
func DigestOf(id topology.PointID, stored, scratch []byte) (Digest, []byte) {
	scratch = append(id.Append(append(scratch[:0], digestDomain...)), stored...)
	sum := sha256.Sum256(scratch)
	return Digest{binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])}, scratch
}

// Digest is what p counts for, whose stored form is given. scratch is as in DigestOf.
func (p *Point) Digest(stored, scratch []byte) (Digest, []byte) {
	if p.Written != nil {
		return p.Written.Digest, scratch
	}
	return DigestOf(p.ID, stored, scratch)
}

// Add puts a point in.
func (d Digest) Add(o Digest) Digest { return Digest{d.A + o.A, d.B + o.B} }

// Sub takes a point out.
func (d Digest) Sub(o Digest) Digest { return Digest{d.A - o.A, d.B - o.B} }

// Mark is the digest of a state right after the log entry Seq, which asked for
// it. The zero Mark: none was asked for.
type Mark struct {
	Seq    topology.Seq
	Digest Digest
}

// String is the hexadecimal form, 32 digits.
func (d Digest) String() string { return fmt.Sprintf("%016x%016x", d.A, d.B) }
