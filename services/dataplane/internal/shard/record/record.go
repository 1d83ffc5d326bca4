// Package record is the form in which the state of a shard travels from one
// replica to another: a head, then points, dedup entries and an end, each one a
// record (docs/format/copy.md). It says nothing about how either side keeps them
// and trusts nothing that it reads.
package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// formVersion is the first byte of a head; it covers the records as well.
const formVersion = 1

// MaxSize is the greatest record in bytes: several times the largest point.
const MaxSize = 256 << 20

// kind is the first byte of a record. They come in the order of their numbers.
type kind byte

const (
	pointKind kind = iota + 1
	dedupKind
	endKind
)

// Head says what a copy stands for. Mark and digest of a replica's own are no
// part of it: whoever takes the copy computes the digest anew.
type Head struct {
	// The last entry in the state, and the greatest stamp and floor up to it.
	topology.Term
	Seq   topology.Seq
	HLC   op.HLC
	Floor op.HLC
	// Digest of the points.
	Digest point.Digest
	// Points is how many records of points follow.
	Points uint64
	// Bytes is about how long the copy is: for progress and for the room it needs.
	Bytes uint64
	// Revision and Settings are those of the last Config entry (W11).
	Revision uint64
	Settings []byte
}

// AppendBinary adds the head's binary form.
func (h *Head) AppendBinary(dst []byte) []byte {
	dst = append(dst, formVersion)
	for _, n := range [...]uint64{uint64(h.Epoch), uint64(h.Run), uint64(h.Seq), uint64(h.HLC), uint64(h.Floor), h.Digest.A, h.Digest.B,
		h.Points, h.Bytes, h.Revision} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	return append(binary.AppendUvarint(dst, uint64(len(h.Settings))), h.Settings...)
}

// DecodeHead reads a head that fills b; the result does not alias it. op.ErrVersion
// for a form of the future, op.ErrCorrupt for bytes that are none.
func DecodeHead(b []byte) (h Head, err error) {
	r := op.NewReader(b)
	if v := r.Byte(); v != formVersion && r.Err() == nil {
		return h, fmt.Errorf("%w: copy of form %d", op.ErrVersion, v)
	}
	h.Epoch, h.Run, h.Seq = topology.Epoch(r.Uint64()), topology.Run(r.Uint64()), topology.Seq(r.Uint64())
	h.HLC, h.Floor = op.HLC(r.Uint64()), op.HLC(r.Uint64())
	h.Digest = point.Digest{A: r.Uint64(), B: r.Uint64()}
	h.Points, h.Bytes, h.Revision = r.Uint64(), r.Uint64(), r.Uint64()
	h.Settings = append([]byte(nil), r.Bytes()...)
	if err := r.Close(); err != nil {
		return Head{}, fmt.Errorf("head of a copy: %w", err)
	}
	return h, nil
}

// Dedup says where an operation was applied.
type Dedup struct {
	ID  op.ID
	Seq topology.Seq
	HLC op.HLC
}

const (
	dedupSize = op.IDSize + 8 + 8
	endSize   = 8 + 8 + 4
)

// Writer makes the bytes of a copy after its head. Points come first, in the order
// of their ids, then dedup entries in that of their ids' binary form, then End.
type Writer struct {
	sum           uint32
	points, dedup uint64
}

// NewWriter begins behind the bytes of a head.
func NewWriter(head []byte) *Writer { return &Writer{sum: checksum(0, head)} }

// Point adds a point in stored form.
func (w *Writer) Point(dst []byte, id topology.PointID, stored []byte) []byte {
	w.points++
	at := len(dst)
	dst = frame(dst, pointKind, topology.PointIDSize+len(stored))
	return w.done(append(id.Append(dst), stored...), at)
}

// Dedup adds a dedup entry.
func (w *Writer) Dedup(dst []byte, d Dedup) []byte {
	w.dedup++
	at := len(dst)
	dst = d.ID.Append(frame(dst, dedupKind, dedupSize))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(d.Seq))
	return w.done(binary.LittleEndian.AppendUint64(dst, uint64(d.HLC)), at)
}

// End closes the copy.
func (w *Writer) End(dst []byte) []byte {
	dst = frame(dst, endKind, endSize)
	dst = binary.LittleEndian.AppendUint64(dst, w.points)
	dst = binary.LittleEndian.AppendUint64(dst, w.dedup)
	return binary.LittleEndian.AppendUint32(dst, w.sum)
}

func (w *Writer) done(dst []byte, from int) []byte {
	w.sum = checksum(w.sum, dst[from:])
	return dst
}

func frame(dst []byte, k kind, size int) []byte {
	return binary.AppendUvarint(append(dst, byte(k)), uint64(size))
}

// checksum goes on with the CRC-32C of what came before.
func checksum(sum uint32, b []byte) uint32 {
	return crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), b)
}
