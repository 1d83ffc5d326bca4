// Package topology holds the nouns that every plane shares: who is who (peers,
// shards, epochs), how a point id is formed and ordered, and which shard a
// point belongs to. It is pure: no clock, goroutine, disk, network or log.
package topology

// PeerID names a data-plane process for the life of its disk. It stays below
// 2^53, because it is printed as a JSON number.
type PeerID uint64

// MaxPeerID is the greatest id a peer may carry.
const MaxPeerID PeerID = 1<<53 - 1

// CollectionID names one life of a collection. It is minted at creation and
// never used again, so what is left on a disk of a dropped collection cannot be
// taken for a new one of the same name.
type CollectionID uint64

// ShardID numbers the shards of one collection from 0.
type ShardID uint64

// Shard names a shard in the whole cluster.
type Shard struct {
	Collection CollectionID
	ID         ShardID
}

// Epoch is the version of a shard's replica set. It grows with every change of
// membership, state or primary and fences older ones.
type Epoch uint64

// Run counts the starts of a replica as primary (replication.md §1, `run`).
type Run uint64

// Seq is a place in a shard's operation log. Logs are dense and start at 1;
// 0 means "nothing yet".
type Seq uint64

// Incarnation is made with the disk of a replica. A replica whose incarnation
// differs from the placement's is Dead and empty (S3).
type Incarnation [16]byte

// Term is the authority under which entries are ordered: first the epoch, then
// the primary's start counter.
type Term struct {
	Epoch Epoch
	Run   Run
}

// Less orders terms: epoch first.
func (t Term) Less(o Term) bool {
	return t.Epoch < o.Epoch || (t.Epoch == o.Epoch && t.Run < o.Run)
}

// ReplicaState says what a replica may do. The numbers are those of the public
// enum qdrant.ReplicaState.
type ReplicaState uint8

// The states of a replica and their public numbers.
const (
	Active ReplicaState = iota
	Dead
	Partial
	Initializing
	Listener
	PartialSnapshot
	Recovery
	Resharding
	ReshardingScaleDown
	ActiveRead
	ManualRecovery
)

var stateNames = [...]string{"Active", "Dead", "Partial", "Initializing", "Listener", "PartialSnapshot",
	"Recovery", "Resharding", "ReshardingScaleDown", "ActiveRead", "ManualRecovery"}

// String gives the state's public name.
func (s ReplicaState) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "Unknown"
}
