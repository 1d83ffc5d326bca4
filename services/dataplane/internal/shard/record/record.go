// Package record is the form in which the state of a shard travels from one
// replica to another: a head, then the manifest, files of segments, points of tails,
// the dead, dedup entries and an end, each one a record (docs/format/copy.md). It says nothing about how either side keeps them
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
const formVersion = 2

// MaxSize is the greatest record in bytes: several times the largest point.
const MaxSize = 256 << 20

// Kind is the first byte of a record. They come in the order of their numbers, the
// records of one kind in the order of their keys.
type Kind byte

// The kinds.
const (
	Manifest Kind = iota + 1 // which sealed parts there are; no key
	File                     // a piece of a file of a segment; key: number of the file, offset
	Tail                     // a point of a generation; key: generation, id
	Dead                     // a point that is not alive, or what keeps one buried; key: id
	Open                     // a point that a Floor may change; key: id
	Dedup                    // where an operation was applied; key: operation id
	endKind
)

// keySize by kind.
func (k Kind) keySize() int {
	return [endKind]int{File: 4 + 8, Tail: 8 + topology.PointIDSize, Dead: topology.PointIDSize, Open: topology.PointIDSize, Dedup: op.IDSize}[k]
}

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
	// Points is how many points the copy has, those that are not alive included.
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

// Applied says where an operation was applied: the value of a Dedup record.
type Applied struct {
	Seq topology.Seq
	HLC op.HLC
}

// Append adds the value.
func (a Applied) Append(dst []byte) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, uint64(a.Seq)), uint64(a.HLC))
}

const (
	appliedSize = 8 + 8
	endSize     = 8 + 4
)

// FileKey is the key of a piece of a file.
func FileKey(dst []byte, file uint32, off int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(dst, file), uint64(off))
}

// Piece reads what FileKey made.
func Piece(key []byte) (file uint32, off int64) {
	return binary.BigEndian.Uint32(key), int64(binary.BigEndian.Uint64(key[4:]))
}

// Writer makes the bytes of a copy after its head: records in their order, then End.
type Writer struct {
	sum uint32
	n   uint64
}

// NewWriter begins behind the bytes of a head.
func NewWriter(head []byte) *Writer { return &Writer{sum: checksum(0, head)} }

// Record adds one.
func (w *Writer) Record(dst []byte, k Kind, key, value []byte) []byte {
	w.n++
	at := len(dst)
	return w.done(append(append(frame(dst, k, len(key)+len(value)), key...), value...), at)
}

// End closes the copy.
func (w *Writer) End(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(frame(dst, endKind, endSize), w.n)
	return binary.LittleEndian.AppendUint32(dst, w.sum)
}

func (w *Writer) done(dst []byte, from int) []byte {
	w.sum = checksum(w.sum, dst[from:])
	return dst
}

func frame(dst []byte, k Kind, size int) []byte {
	return binary.AppendUvarint(append(dst, byte(k)), uint64(size))
}

// checksum goes on with the CRC-32C of what came before.
func checksum(sum uint32, b []byte) uint32 {
	return crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), b)
}
