package topology

// HashAlgorithm numbers the rule from point to shard that a collection records.
type HashAlgorithm uint32

// JumpSplitMix is algorithm 1: jump consistent hash over the splitmix64 of the id.
const JumpSplitMix HashAlgorithm = 1

// HashRule is recorded with a collection at its birth: which algorithm spreads
// its points over how many shards, and with which seed.
type HashRule struct {
	Algorithm HashAlgorithm
	N         int
	Seed      uint64
}

// splitmix64 is the finaliser of Steele, Lea and Flood (2014): it adds the
// golden gamma first, then mixes.
func splitmix64(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
	x = (x ^ (x >> 27)) * 0x94D049BB133111EB
	return x ^ (x >> 31)
}

// HashPoint is h(id) of algorithm 1.
func HashPoint(id PointID, seed uint64) uint64 {
	x := id.lo
	if id.uuid {
		x = id.hi ^ splitmix64(id.lo)
	}
	return splitmix64(x ^ seed)
}

// Jump maps a hash to one of n buckets so that growing n by one moves 1/(n+1)
// of the keys (Lamping and Veach, 2014). n must be at least 1.
func Jump(h uint64, n int) int {
	b, j := int64(-1), int64(0)
	for j < int64(n) {
		b = j
		h = h*2862933555777941757 + 1
		j = int64(float64(b+1) * (float64(int64(1)<<31) / float64((h>>33)+1)))
	}
	return int(b)
}

// Slot is the index, in the ordered shard list of (collection, shard key), of
// the shard that a point belongs to.
func (r HashRule) Slot(id PointID) int { return Jump(HashPoint(id, r.Seed), r.N) }
