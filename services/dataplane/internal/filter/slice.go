package filter

import (
	"encoding/binary"
	"math/bits"

	"github.com/pandodb/pando/services/internal/topology"
)

// SliceOf is the part, of total ones, that an id falls into: SipHash-2-4 without a
// key over the 8 bytes of a number, the lowest first, or the 16 of a UUID. total
// is not 0.
func SliceOf(id topology.PointID, total uint32) uint32 {
	s := sip{0x736f6d6570736575, 0x646f72616e646f6d, 0x6c7967656e657261, 0x7465646279746573}
	size := uint64(8)
	if !id.IsUUID() {
		s.block(id.Number())
	} else {
		b := id.UUID()
		s.block(binary.LittleEndian.Uint64(b[:8]))
		s.block(binary.LittleEndian.Uint64(b[8:]))
		size = 16
	}
	s.block(size << 56)
	s[2] ^= 0xff
	s.rounds(4)
	return uint32((s[0] ^ s[1] ^ s[2] ^ s[3]) % uint64(total))
}

// sip is the state of SipHash.
type sip [4]uint64

func (s *sip) block(m uint64) {
	s[3] ^= m
	s.rounds(2)
	s[0] ^= m
}

func (s *sip) rounds(n int) {
	for range n {
		s[0] += s[1]
		s[2] += s[3]
		s[1] = bits.RotateLeft64(s[1], 13) ^ s[0]
		s[3] = bits.RotateLeft64(s[3], 16) ^ s[2]
		s[0] = bits.RotateLeft64(s[0], 32)
		s[2] += s[1]
		s[0] += s[3]
		s[1] = bits.RotateLeft64(s[1], 17) ^ s[2]
		s[3] = bits.RotateLeft64(s[3], 21) ^ s[0]
		s[2] = bits.RotateLeft64(s[2], 32)
	}
}
