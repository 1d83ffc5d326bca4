package store

import (
	"encoding/binary"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// The spaces of the store that others read: first bytes of keys (docs/format/shard.md).
const (
	OpenSpace  = 0x02 // id -> nothing: points that a Floor may change
	DedupSpace = 0x03 // op id -> seq, hlc
	AgeSpace   = 0x04 // hlc big-endian, op id -> nothing: dedup by age
	TailSpace  = 0x05 // generation big-endian, id -> stored point: tails, that of now and those that wait to become segments
	DeadSpace  = 0x06 // id -> stored point that is not alive; or nothing: not stored at all, whatever sealed parts say
)

const (
	metaSpace  = 0x00 // the one record of the shard itself
	pointSpace = 0x01 // id -> stored point; of forms 1 and 2 only
	partsSpace = 0x07 // the manifest
)

// formVersion is the first byte of the meta record. Version 1 had no mark, version
// 2 all points in one space.
const formVersion = 3

// MetaKey is the key of the Meta record.
func MetaKey() []byte { return []byte{metaSpace} }

// ManifestKey is the key of the manifest.
func ManifestKey() []byte { return []byte{partsSpace} }

// Generation is the prefix of the keys of a tail; like the other keys it takes the
// place of dst.
func Generation(dst []byte, gen topology.Seq) []byte {
	return binary.BigEndian.AppendUint64(append(dst[:0], TailSpace), uint64(gen))
}

// TailHead is how long a tail's key is before the id.
const TailHead = 1 + 8

// TailKey is the key of a point in a generation.
func TailKey(dst []byte, gen topology.Seq, id topology.PointID) []byte {
	return id.Append(Generation(dst, gen))
}

// IDKey is the key of a point in the open space or that of the dead.
func IDKey(dst []byte, space byte, id topology.PointID) []byte {
	return id.Append(append(dst[:0], space))
}

// DedupKey is the key by which an operation is found that comes again.
func DedupKey(dst []byte, id op.ID) []byte { return id.Append(append(dst[:0], DedupSpace)) }

// AgeKey is the key by which an operation is found that is old enough to be forgotten.
func AgeKey(dst []byte, h op.HLC, id op.ID) []byte {
	return id.Append(binary.BigEndian.AppendUint64(append(dst[:0], AgeSpace), uint64(h)))
}

// DecodeAgeKey reads an AgeKey. Errors: ErrCorrupt, ErrVersion.
func DecodeAgeKey(k []byte) (h op.HLC, id op.ID, err error) {
	if len(k) != 1+8+op.IDSize {
		return 0, op.ID{}, fmt.Errorf("%w: dedup key of %d bytes", ErrCorrupt, len(k))
	}
	id, err = op.DecodeID(k[9:])
	return op.HLC(binary.BigEndian.Uint64(k[1:])), id, err
}

// DedupValue says where an operation was applied, and its stamp.
func DedupValue(dst []byte, seq topology.Seq, h op.HLC) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst[:0], uint64(seq)), uint64(h))
}

// DecodeDedupValue reads a DedupValue. Errors: ErrCorrupt, ErrVersion.
func DecodeDedupValue(v []byte) (seq topology.Seq, h op.HLC, err error) {
	r := op.NewReader(v)
	seq, h = topology.Seq(r.Uint64()), op.HLC(r.Uint64())
	if err := r.Close(); err != nil {
		return 0, 0, Damaged(err)
	}
	return seq, h, nil
}

// Position is the last applied entry and what was seen up to it.
type Position struct {
	topology.Term
	Seq topology.Seq
	// HLC is the greatest stamp applied (W4).
	HLC op.HLC
	// Floor is the greatest floor applied (D2).
	Floor op.HLC
	// Mark is the last one applied by this replica itself: a copy brings none.
	Mark point.Mark
}

// Meta is the shard's own record, written in one batch with what it covers.
type Meta struct {
	Position
	Digest   point.Digest
	Revision uint64 // of the last Config entry (W11)
	Settings []byte
}

// AppendBinary encodes m in the place of dst.
func (m *Meta) AppendBinary(dst []byte) []byte {
	dst = append(dst[:0], formVersion)
	for _, n := range [...]uint64{uint64(m.Epoch), uint64(m.Run), uint64(m.Seq), uint64(m.HLC), uint64(m.Floor), m.Digest.A, m.Digest.B, m.Revision,
		uint64(m.Mark.Seq), m.Mark.Digest.A, m.Mark.Digest.B} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	return append(binary.AppendUvarint(dst, uint64(len(m.Settings))), m.Settings...)
}

// decodeMeta also tells the form that m was written in.
func decodeMeta(b []byte) (m Meta, form byte, err error) {
	r := op.NewReader(b)
	version := r.Byte()
	if (version == 0 || version > formVersion) && r.Err() == nil {
		return m, version, fmt.Errorf("%w: form %d", ErrVersion, version)
	}
	m.Epoch, m.Run, m.Seq = topology.Epoch(r.Uint64()), topology.Run(r.Uint64()), topology.Seq(r.Uint64())
	m.HLC, m.Floor = op.HLC(r.Uint64()), op.HLC(r.Uint64())
	m.Digest = point.Digest{A: r.Uint64(), B: r.Uint64()}
	m.Revision = r.Uint64()
	if version > 1 {
		m.Mark = point.Mark{Seq: topology.Seq(r.Uint64()), Digest: point.Digest{A: r.Uint64(), B: r.Uint64()}}
	}
	m.Settings = append([]byte(nil), r.Bytes()...)
	if err := r.Close(); err != nil {
		return m, version, fmt.Errorf("%w: meta record: %w", ErrCorrupt, err)
	}
	return m, version, nil
}
