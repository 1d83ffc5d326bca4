package op

import (
	"encoding/binary"
	"fmt"

	"github.com/pandodb/pando/services/internal/topology"
)

// entryVersion is the first byte of an entry's binary form.
const entryVersion = 1

// EntryOverhead is how many bytes an entry is longer than its body.
const EntryOverhead = 1 + 5*8 + 16 + 2*4

// IsLast tells whether the id is that of an operation's last or only part,
// the one that W2 looks up.
func (i ID) IsLast() bool { return i.Part == LastPart }

// Remembered is the lowest stamp at which replicas remember the id still, by a floor that
// lags by a window of so many milliseconds. An id that a coordinator made is kept for 2 of
// 15 minutes of it, since a coordinator repeats it no longer (D2a).
func (i ID) Remembered(floor HLC, windowMS uint64) HLC {
	if floor == 0 || i.Index&ClientIndexBit != 0 {
		return floor
	}
	return floor + MakeHLC(windowMS*13/15, 0)
}

// IDSize is the length of an ID's binary form.
const IDSize = 16 + 2*4

// Append adds the ID's binary form: the request's bytes, then index and part
// big-endian, so that the parts of an operation sort together, the last one last.
func (i ID) Append(dst []byte) []byte {
	dst = append(dst, i.Request[:]...)
	dst = binary.BigEndian.AppendUint32(dst, i.Index)
	return binary.BigEndian.AppendUint32(dst, i.Part)
}

// DecodeID reads exactly IDSize bytes.
func DecodeID(b []byte) (ID, error) {
	if len(b) != IDSize {
		return ID{}, fmt.Errorf("%w: operation id of %d bytes", ErrCorrupt, len(b))
	}
	return ID{Request: [16]byte(b), Index: binary.BigEndian.Uint32(b[16:]), Part: binary.BigEndian.Uint32(b[20:])}, nil
}

// AppendBinary adds the entry's binary form, of len(e.Body)+EntryOverhead bytes.
func (e Entry) AppendBinary(dst []byte) []byte {
	dst = append(dst, entryVersion)
	for _, n := range [...]uint64{uint64(e.Epoch), uint64(e.Run), uint64(e.Seq), uint64(e.HLC), uint64(e.Origin)} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	return append(e.ID.Append(dst), e.Body...)
}

// DecodeEntry reads an entry that fills b. Its Body aliases b and is not looked
// into. ErrVersion for a form of the future, ErrCorrupt for bytes that are none.
func DecodeEntry(b []byte) (Entry, error) {
	if len(b) < EntryOverhead || len(b) > EntryOverhead+MaxBody {
		return Entry{}, fmt.Errorf("%w: entry of %d bytes", ErrCorrupt, len(b))
	}
	if b[0] != entryVersion {
		return Entry{}, fmt.Errorf("%w: entry version %d", ErrVersion, b[0])
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[1+8*i:]) }
	id, err := DecodeID(b[EntryOverhead-IDSize : EntryOverhead])
	if err != nil {
		return Entry{}, err
	}
	return Entry{
		Term:   topology.Term{Epoch: topology.Epoch(word(0)), Run: topology.Run(word(1))},
		Seq:    topology.Seq(word(2)),
		HLC:    HLC(word(3)),
		Origin: topology.PeerID(word(4)),
		ID:     id,
		Body:   b[EntryOverhead:len(b):len(b)],
	}, nil
}
