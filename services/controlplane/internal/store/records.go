package store

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/pandodb/pando/services/internal/topology"
)

// Record is implemented by everything that is stored. The key follows from the value.
type Record interface {
	Key() Key
}

// Leader names the member whose reconcile loop is in office. Term only grows. A transaction of the loop compares the
// revision at which its own Leader record was written, so it can do nothing after its successor took office.
type Leader struct {
	Term   uint64 `json:"term"`
	Member uint64 `json:"member"`
}

// Peer is a registered data-plane process; the record outlives the process.
type Peer struct {
	ID         topology.PeerID `json:"id"` // below 2^53
	URI        string          `json:"uri"`
	Version    string          `json:"version"`
	Zone       string          `json:"zone,omitempty"`
	WireMin    uint32          `json:"wire_min"`
	WireMax    uint32          `json:"wire_max"`
	Registered time.Time       `json:"registered"`
	Folder     string          `json:"folder,omitempty"` // random, made with the data folder: whose the id is
}

// Session exists while a peer's process is alive and heard of; its key is bound to a lease, whose id is the session's.
type Session struct {
	Peer     topology.PeerID `json:"peer"`
	Process  string          `json:"process"` // random per start of the process
	Lease    LeaseID         `json:"lease"`
	Leaving  bool            `json:"leaving,omitempty"`  // the process is about to stop: it gets nothing new
	Replicas []Report        `json:"replicas,omitempty"` // sorted by (collection, shard)
}

// Report is one line of a peer's inventory: a replica that is on its disk.
type Report struct {
	Collection  topology.CollectionID `json:"collection"`
	Shard       topology.ShardID      `json:"shard"`
	Incarnation Incarnation           `json:"incarnation"`
	Epoch       topology.Epoch        `json:"epoch"` // highest placement epoch seen
	LastEpoch   topology.Epoch        `json:"last_epoch,omitempty"`
	LastRun     topology.Run          `json:"last_run,omitempty"`
	LastSeq     topology.Seq          `json:"last_seq,omitempty"`
	Applied     topology.Seq          `json:"applied,omitempty"`
	Bytes       uint64                `json:"bytes,omitempty"` // on disk
	Loaded      bool                  `json:"loaded"`
	Reason      int32                 `json:"reason,omitempty"` // pando.cluster.v1.Reason: why it is not loaded
	Detail      string                `json:"detail,omitempty"`
}

// Collection is a catalog entry. Its version is the revision at which it was last written.
type Collection struct {
	ID      topology.CollectionID `json:"id"` // random, never reused
	Name    string                `json:"name"`
	Wish    Wish                  `json:"wish"`
	Hash    Hash                  `json:"hash"`
	Groups  []Group               `json:"groups,omitempty"`
	Config  []byte                `json:"config"`            // qdrant.CollectionConfig, opaque here
	Indexes map[string][]byte     `json:"indexes,omitempty"` // qdrant.PayloadIndexParams by payload key, opaque here
	Created time.Time             `json:"created"`
	// Generations says of vectors how many had been dropped when they were added, if any, and VectorsDropped how many have been since.
	Generations    map[string]uint64 `json:"generations,omitempty"`
	VectorsDropped uint64            `json:"vectors_dropped,omitempty"`
	// NextShard is the id of the next shard that is added. Ids of dropped shards are not used again.
	NextShard topology.ShardID `json:"next_shard"`
}

// Wish is what placement needs to know of a collection's configuration. The factor keeps what was asked for, also
// where fewer peers exist.
type Wish struct {
	ShardNumber            uint32 `json:"shard_number"` // per shard key if Custom
	ReplicationFactor      uint32 `json:"replication_factor"`
	WriteConsistencyFactor uint32 `json:"write_consistency_factor"`
	Custom                 bool   `json:"custom,omitempty"` // sharded by user-defined keys
}

// Hash fixes how point ids map onto shards: algorithm 1 is jump hash over splitmix64.
type Hash struct {
	Algorithm topology.HashAlgorithm `json:"algorithm"`
	N         uint32                 `json:"n"`
	Seed      uint64                 `json:"seed"`
}

// Group is the ordered shard list of one user-defined shard key, or of the whole collection if the key is empty.
type Group struct {
	Key    string             `json:"key,omitempty"` // "s" and the text, or "n" and the decimal number
	Shards []topology.ShardID `json:"shards"`
	Factor uint32             `json:"factor,omitempty"` // replicas of each; 0 = the collection's wish
	Peers  []topology.PeerID  `json:"peers,omitempty"`  // that may hold them; none = all
	// Partial: the key takes no requests until points of another one have been copied.
	Partial bool `json:"partial,omitempty"`
	// Fill is such a copy that is under way.
	Fill *Fill `json:"fill,omitempty"`
}

// Fill is a copy of points of one shard key to another.
type Fill struct {
	From   string `json:"from"`             // the key that has them
	Filter []byte `json:"filter,omitempty"` // a message qdrant.Filter
	Claim  uint64 `json:"claim,omitempty"`  // drawn by who copies; 0 = nobody yet
}

// Alias is another name of a collection. It counts only while the collection with CollectionID exists, so a
// deletion takes all aliases with it at once, however many there are.
type Alias struct {
	Name         string                `json:"name"`
	Collection   string                `json:"collection"`
	CollectionID topology.CollectionID `json:"collection_id"`
}

// Tombstone stands for a deleted collection while a live session reports a replica of it, which may still take writes. Its name
// is not given to another collection or alias before.
type Tombstone struct {
	Name string                `json:"name"`
	ID   topology.CollectionID `json:"id"`
}

// Incarnation is topology.Incarnation, stored as 32 hexadecimal digits.
type Incarnation topology.Incarnation

// MarshalText implements encoding.TextMarshaler.
func (i Incarnation) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, i[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *Incarnation) UnmarshalText(text []byte) error {
	if len(text) != 2*len(i) {
		return fmt.Errorf("store: an incarnation has %d digits, not %d", 2*len(i), len(text))
	}
	_, err := hex.Decode(i[:], text)
	return err
}

// State of a replica. The names are those of the public API.
type State string

// Replica states (design.md §4). Only the first four are entered so far.
const (
	Initializing State = "Initializing"
	Active       State = "Active"
	Dead         State = "Dead"
	Partial      State = "Partial"
)

// Shard is the placement of one shard: the record on whose epoch every change is compared.
type Shard struct {
	Collection topology.CollectionID `json:"collection"`
	Shard      topology.ShardID      `json:"shard"`
	Group      string                `json:"group,omitempty"` // user-defined shard key, as in Group.Key
	Epoch      topology.Epoch        `json:"epoch"`
	Primary    topology.PeerID       `json:"primary,omitempty"` // peer id; 0 = none
	Replicas   []Replica             `json:"replicas"`          // sorted by peer
	Reasons    []string              `json:"reasons,omitempty"` // why fewer replicas than wished were placed
	Frozen     bool                  `json:"frozen,omitempty"`  // reads only
	Forced     bool                  `json:"forced,omitempty"`
	Lost       bool                  `json:"lost,omitempty"`
}

// Replica of a shard on a peer.
type Replica struct {
	Peer        topology.PeerID `json:"peer"`
	State       State           `json:"state"`
	Incarnation Incarnation     `json:"incarnation,omitzero"` // zero until it was reported
	Since       time.Time       `json:"since"`
	Why         string          `json:"why,omitempty"`
	FloorLost   bool            `json:"floor_lost,omitempty"`
	// Tries counts the copies begun since it last stayed Active for long; Retry is when the next one may begin at the earliest.
	Tries uint32    `json:"tries,omitempty"`
	Retry time.Time `json:"retry,omitzero"`
}

// Transfer copies a shard to a peer. It changes only together with the record of its shard, so that a transaction that compares that
// one needs not compare this.
type Transfer struct {
	Collection topology.CollectionID `json:"collection"`
	Shard      topology.ShardID      `json:"shard"`
	From       topology.PeerID       `json:"from"`
	To         topology.PeerID       `json:"to"`
	Method     string                `json:"method"`            // name in qdrant.ShardTransferMethod
	Move       bool                  `json:"move,omitempty"`    // drop the source afterwards
	Asked      bool                  `json:"asked,omitempty"`   // by a user: no limit, and tried again until it is done or ended
	Created    bool                  `json:"created,omitempty"` // the receiver's replica came into being for it
	Started    time.Time             `json:"started"`
}

// Metadata is a value of the cluster's metadata.
type Metadata struct {
	Name  string `json:"name"`
	Value string `json:"value"` // JSON text
}

func (r Metadata) Key() Key   { return MetadataKey(r.Name) }
func (Leader) Key() Key       { return LeaderKey }
func (r Peer) Key() Key       { return PeerKey(r.ID) }
func (r Session) Key() Key    { return SessionKey(r.Peer) }
func (r Collection) Key() Key { return CollectionKey(r.Name) }
func (r Alias) Key() Key      { return AliasKey(r.Name) }
func (r Tombstone) Key() Key  { return TombstoneKey(r.Name) }
func (r Shard) Key() Key      { return ShardKey(r.Collection, r.Shard) }
func (r Transfer) Key() Key   { return TransferKey(r.Collection, r.Shard, r.To) }

// ID of the shard in the whole cluster.
func (r Shard) ID() topology.Shard { return topology.Shard{Collection: r.Collection, ID: r.Shard} }

// ID of the shard that is copied.
func (r Transfer) ID() topology.Shard { return topology.Shard{Collection: r.Collection, ID: r.Shard} }

// Actives lists the peers of the Active replicas.
func (r Shard) Actives() []topology.PeerID {
	var out []topology.PeerID
	for _, rep := range r.Replicas {
		if rep.State == Active {
			out = append(out, rep.Peer)
		}
	}
	return out
}

// Bytes on the peer's disk.
func (r Session) Bytes() (n uint64) {
	for _, rep := range r.Replicas {
		n += rep.Bytes
	}
	return n
}

// Replica returns the replica on the peer, or nil.
func (r *Shard) Replica(peer topology.PeerID) *Replica {
	for i := range r.Replicas {
		if r.Replicas[i].Peer == peer {
			return &r.Replicas[i]
		}
	}
	return nil
}

// Holds tells whether the peer reports a replica of the collection.
func (r *Session) Holds(collection topology.CollectionID) bool {
	i, _ := slices.BinarySearchFunc(r.Replicas, Report{Collection: collection}, Report.Compare)
	return i < len(r.Replicas) && r.Replicas[i].Collection == collection
}

// Report returns the inventory line of a replica, or nil. It relies on the order of Replicas.
func (r *Session) Report(collection topology.CollectionID, shard topology.ShardID) *Report {
	i, found := slices.BinarySearchFunc(r.Replicas, Report{Collection: collection, Shard: shard}, Report.Compare)
	if !found {
		return nil
	}
	return &r.Replicas[i]
}

// Compare orders reports by collection and shard.
func (r Report) Compare(o Report) int {
	return cmp.Or(cmp.Compare(r.Collection, o.Collection), cmp.Compare(r.Shard, o.Shard))
}
