package segment

import (
	"encoding/binary"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// appendRecord adds what of a point is neither payload nor in a column: the stored
// form of that rest, the stamps of the vectors that are in columns, and the digest of
// the point if vectors of it are left out.
func appendRecord(dst, rest []byte, stamps []point.Key, whole *point.Digest) []byte {
	dst = append(binary.AppendUvarint(dst, uint64(len(rest))), rest...)
	dst = binary.AppendUvarint(dst, uint64(len(stamps)))
	for _, s := range stamps {
		dst = append(binary.AppendUvarint(dst, uint64(len(s.Name))), s.Name...)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(s.Stamp.HLC))
		dst = binary.AppendUvarint(dst, uint64(s.Stamp.Origin))
	}
	if whole != nil {
		dst = binary.LittleEndian.AppendUint64(dst, whole.A)
		dst = binary.LittleEndian.AppendUint64(dst, whole.B)
	}
	return dst
}

// decodeRecord takes a record apart. Results but the digest alias b.
func decodeRecord(b []byte) (rest []byte, stamps []point.Key, whole *point.Digest, err error) {
	r := op.NewReader(b)
	rest = r.Bytes()
	if n := r.Count(1 + 8 + 1); n > 0 {
		stamps = make([]point.Key, n)
	}
	for i := range stamps {
		stamps[i] = point.Key{Name: r.Text(), Stamp: point.Stamp{HLC: op.HLC(r.Uint64()), Origin: topology.PeerID(r.Uvarint())}}
	}
	if r.More() {
		whole = &point.Digest{A: r.Uint64(), B: r.Uint64()}
	}
	return rest, stamps, whole, r.Close()
}
