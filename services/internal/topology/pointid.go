package topology

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
)

// PointID is a point's name: a 64-bit number or a UUID. The zero value is the
// number 0. It is comparable and holds no pointer, so maps keyed by it are not
// scanned by the garbage collector.
type PointID struct {
	hi, lo uint64
	uuid   bool
}

// PointIDSize is the length of the binary form: one tag byte and 16 bytes,
// big-endian, so that bytewise order is the order of ids.
const PointIDSize = 17

const (
	tagNumber = 0
	tagUUID   = 1
)

// ErrPointID reports bytes that are not a point id.
var ErrPointID = errors.New("malformed point id")

// NumberID makes the id of a number.
func NumberID(n uint64) PointID { return PointID{lo: n} }

// UUIDID makes the id of a UUID from its 16 bytes in network order.
func UUIDID(b [16]byte) PointID {
	return PointID{hi: binary.BigEndian.Uint64(b[:8]), lo: binary.BigEndian.Uint64(b[8:]), uuid: true}
}

// IsUUID tells a UUID from a number.
func (p PointID) IsUUID() bool { return p.uuid }

// Number is the id's number; only meaningful if it is not a UUID.
func (p PointID) Number() uint64 { return p.lo }

// UUID gives the 16 bytes of a UUID in network order.
func (p PointID) UUID() (b [16]byte) {
	binary.BigEndian.PutUint64(b[:8], p.hi)
	binary.BigEndian.PutUint64(b[8:], p.lo)
	return b
}

// Compare orders ids: numbers by value, then UUIDs bytewise.
func (p PointID) Compare(o PointID) int {
	if p.uuid != o.uuid {
		if p.uuid {
			return 1
		}
		return -1
	}
	if c := cmp.Compare(p.hi, o.hi); c != 0 {
		return c
	}
	return cmp.Compare(p.lo, o.lo)
}

// String prints a number in decimal and a UUID hyphenated.
func (p PointID) String() string {
	if !p.uuid {
		return fmt.Sprintf("%d", p.lo)
	}
	b := p.UUID()
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Append adds the binary form.
func (p PointID) Append(dst []byte) []byte {
	tag := byte(tagNumber)
	if p.uuid {
		tag = tagUUID
	}
	dst = append(dst, tag)
	dst = binary.BigEndian.AppendUint64(dst, p.hi)
	return binary.BigEndian.AppendUint64(dst, p.lo)
}

// DecodePointID reads the first PointIDSize bytes of b.
func DecodePointID(b []byte) (PointID, error) {
	if len(b) < PointIDSize || b[0] > tagUUID {
		return PointID{}, ErrPointID
	}
	p := PointID{hi: binary.BigEndian.Uint64(b[1:]), lo: binary.BigEndian.Uint64(b[9:]), uuid: b[0] == tagUUID}
	if !p.uuid && p.hi != 0 {
		return PointID{}, ErrPointID
	}
	return p, nil
}
