package oplog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// Sizes in bytes. Records start at multiples of align.
const (
	align      = 8
	segHead    = 72
	recordHead = 80
	maxRecord  = recordHead + op.MaxBody
)

const (
	segMagic   = "pandolog"
	format     = 1
	entryKind  = 1 // the only kind of record in format 1
	kindOffset = 76
)

// Why bytes are no record. They become the Reason of a CorruptError.
var (
	errShort    = errors.New("record is cut off")
	errKind     = errors.New("no record")
	errLength   = errors.New("record length out of range")
	errChecksum = errors.New("record checksum differs")
	errSeq      = errors.New("record is of another sequence number")
	errTerm     = errors.New("record is of an earlier term than the one before it")
)

// record is a decoded record; the entry's body aliases the decoded bytes.
type record struct {
	entry op.Entry
	size  int64 // on disk, padding included
	// durable is how far, in bytes from the start of the file, the segment was
	// known to be on the disk when the record was written.
	durable int64
}

func crcTable() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// recordSize returns what an entry with such a body takes on disk.
func recordSize(body int) int64 { return int64(recordHead+body+align-1) &^ (align - 1) }

// recordCRC binds the bytes after the checksum to the segment (seed) and to the
// place in it: the start value of a CRC is an injective part of its result, so
// the same bytes elsewhere in the file never pass.
func recordCRC(seed uint32, off int64, rest []byte) uint32 {
	return crc32.Update(seed^uint32(off), crcTable(), rest)
}

// appendRecord encodes e as it stands at off of the segment with that seed.
func appendRecord(b []byte, seed uint32, off, durable int64, e *op.Entry) []byte {
	start := len(b)
	le := binary.LittleEndian
	b = append(b, 0, 0, 0, 0)
	b = le.AppendUint32(b, uint32(len(e.Body)))
	b = le.AppendUint64(b, uint64(e.Seq))
	b = le.AppendUint64(b, uint64(e.Epoch))
	b = le.AppendUint64(b, uint64(e.Run))
	b = le.AppendUint64(b, uint64(e.HLC))
	b = le.AppendUint64(b, uint64(e.Origin))
	b = append(b, e.ID.Request[:]...)
	b = le.AppendUint32(b, e.ID.Index)
	b = le.AppendUint32(b, e.ID.Part)
	b = le.AppendUint32(b, uint32(durable))
	b = le.AppendUint32(b, entryKind)
	b = append(b, e.Body...)
	for pad := recordSize(len(e.Body)) - int64(recordHead+len(e.Body)); pad > 0; pad-- {
		b = append(b, 0)
	}
	le.PutUint32(b[start:], recordCRC(seed, off, b[start+4:]))
	return b
}

// peekSize reads the size of the record that b starts with, without proof.
func peekSize(b []byte) (int64, error) {
	if len(b) < recordHead {
		return 0, errShort
	}
	if binary.LittleEndian.Uint32(b[kindOffset:]) != entryKind {
		return 0, errKind
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n > op.MaxBody {
		return 0, errLength
	}
	return recordSize(int(n)), nil
}

// decodeRecord decodes the record that b starts with. b may be longer.
func decodeRecord(b []byte, seed uint32, off int64) (record, error) {
	size, err := peekSize(b)
	if err != nil {
		return record{}, err
	}
	if int64(len(b)) < size {
		return record{}, errShort
	}
	le := binary.LittleEndian
	if le.Uint32(b) != recordCRC(seed, off, b[4:size]) {
		return record{}, errChecksum
	}
	body := b[recordHead : recordHead+int(le.Uint32(b[4:]))]
	r := record{size: size, durable: int64(le.Uint32(b[72:]))}
	r.entry = op.Entry{
		Term:   topology.Term{Epoch: topology.Epoch(le.Uint64(b[16:])), Run: topology.Run(le.Uint64(b[24:]))},
		Seq:    topology.Seq(le.Uint64(b[8:])),
		HLC:    op.HLC(le.Uint64(b[32:])),
		Origin: topology.PeerID(le.Uint64(b[40:])),
		ID:     op.ID{Request: [16]byte(b[48:64]), Index: le.Uint32(b[64:]), Part: le.Uint32(b[68:])},
		Body:   body[:len(body):len(body)],
	}
	return r, nil
}
