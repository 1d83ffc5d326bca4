package shard

import (
	"encoding/binary"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// The keys of the store (docs/format/shard.md). The first byte is the space.
const (
	metaSpace  = 0x00 // the one record of the shard itself
	pointSpace = 0x01 // id -> stored point; of forms 1 and 2 only
	openSpace  = 0x02 // id -> nothing: points that a Floor may change
	dedupSpace = 0x03 // op id -> seq, hlc
	ageSpace   = 0x04 // hlc big-endian, op id -> nothing: dedup by age
	tailSpace  = 0x05 // generation big-endian, id -> stored point: tails, that of now and those that wait to become segments
	deadSpace  = 0x06 // id -> stored point that is not alive; or nothing: not stored at all, whatever sealed parts say
	partsSpace = 0x07 // the manifest
	endSpace   = 0x08
)

// formVersion is the first byte of the meta record. Version 1 had no mark, version
// 2 all points in one space.
const formVersion = 3

func metaKey() []byte { return []byte{metaSpace} }

func partsKey() []byte { return []byte{partsSpace} }

// generation is the prefix of the keys of a tail.
func generation(dst []byte, gen topology.Seq) []byte {
	return binary.BigEndian.AppendUint64(append(dst[:0], tailSpace), uint64(gen))
}

// tailHead is how long a tail's key is before the id.
const tailHead = 1 + 8

func tailKey(dst []byte, gen topology.Seq, id topology.PointID) []byte {
	return id.Append(generation(dst, gen))
}

func idKey(dst []byte, space byte, id topology.PointID) []byte {
	return id.Append(append(dst[:0], space))
}

func dedupKey(dst []byte, id op.ID) []byte { return id.Append(append(dst[:0], dedupSpace)) }

func ageKey(dst []byte, h op.HLC, id op.ID) []byte {
	return id.Append(binary.BigEndian.AppendUint64(append(dst[:0], ageSpace), uint64(h)))
}

func decodeAgeKey(k []byte) (h op.HLC, id op.ID, err error) {
	if len(k) != 1+8+op.IDSize {
		return 0, op.ID{}, fmt.Errorf("%w: dedup key of %d bytes", ErrCorrupt, len(k))
	}
	id, err = op.DecodeID(k[9:])
	return op.HLC(binary.BigEndian.Uint64(k[1:])), id, err
}

func dedupValue(dst []byte, seq topology.Seq, h op.HLC) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst[:0], uint64(seq)), uint64(h))
}

func decodeDedupValue(v []byte) (seq topology.Seq, h op.HLC, err error) {
	r := op.NewReader(v)
	seq, h = topology.Seq(r.Uint64()), op.HLC(r.Uint64())
	if err := r.Close(); err != nil {
		return 0, 0, storedError(err)
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

// meta is the shard's own record, written in one batch with what it covers.
type meta struct {
	Position
	digest   point.Digest
	revision uint64 // of the last Config entry (W11)
	settings []byte
}

func (m *meta) append(dst []byte) []byte {
	dst = append(dst[:0], formVersion)
	for _, n := range [...]uint64{uint64(m.Epoch), uint64(m.Run), uint64(m.Seq), uint64(m.HLC), uint64(m.Floor), m.digest.A, m.digest.B, m.revision,
		uint64(m.Mark.Seq), m.Mark.Digest.A, m.Mark.Digest.B} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	return append(binary.AppendUvarint(dst, uint64(len(m.settings))), m.settings...)
}

// decodeMeta also tells the form that m was written in.
func decodeMeta(b []byte) (m meta, form byte, err error) {
	r := op.NewReader(b)
	version := r.Byte()
	if (version == 0 || version > formVersion) && r.Err() == nil {
		return m, version, fmt.Errorf("%w: form %d", ErrVersion, version)
	}
	m.Epoch, m.Run, m.Seq = topology.Epoch(r.Uint64()), topology.Run(r.Uint64()), topology.Seq(r.Uint64())
	m.HLC, m.Floor = op.HLC(r.Uint64()), op.HLC(r.Uint64())
	m.digest = point.Digest{A: r.Uint64(), B: r.Uint64()}
	m.revision = r.Uint64()
	if version > 1 {
		m.Mark = point.Mark{Seq: topology.Seq(r.Uint64()), Digest: point.Digest{A: r.Uint64(), B: r.Uint64()}}
	}
	m.settings = append([]byte(nil), r.Bytes()...)
	if err := r.Close(); err != nil {
		return m, version, fmt.Errorf("%w: meta record: %w", ErrCorrupt, err)
	}
	return m, version, nil
}
