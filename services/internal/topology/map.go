package topology

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Peer is a data-plane process as the control plane knows it.
type Peer struct {
	ID      PeerID
	URI     string // advertised; what GET /cluster shows, never what is dialled
	Version string
	Zone    string
}

// Replica is one copy of a shard.
type Replica struct {
	Peer        PeerID
	State       ReplicaState
	Incarnation Incarnation
	Reason      string // why it is not Active
	SinceMs     int64  // when it entered its state, Unix milliseconds
	RetryMs     int64  // a Dead one is not copied anew before this, Unix milliseconds; 0: at once
}

// Placement is one shard's record: who holds it and who orders its writes.
type Placement struct {
	Shard    Shard
	Epoch    Epoch
	Primary  PeerID // 0: none
	Replicas []Replica
	Forced   bool // F1: an operator weakened the guarantees of this epoch
	Lost     bool // C0: its last Active replica was taken out by force
}

// Replica finds the copy on a peer.
func (p Placement) Replica(peer PeerID) (Replica, bool) {
	for _, r := range p.Replicas {
		if r.Peer == peer {
			return r, true
		}
	}
	return Replica{}, false
}

// ActiveCount counts the copies that are Active.
func (p Placement) ActiveCount() int {
	n := 0
	for _, r := range p.Replicas {
		if r.State == Active {
			n++
		}
	}
	return n
}

// Transfer fills one replica of a shard.
type Transfer struct {
	Shard     Shard
	From, To  PeerID
	Method    uint8 // number of the public enum
	Move      bool  // the source goes at the end
	Requested bool  // by a user
	StartedMs int64 // Unix milliseconds
}

// Copy names the transfer to a peer; a shard has at most one to each.
type Copy struct {
	Shard Shard
	To    PeerID
}

// Collection is a catalog entry. Settings are the API's own encoding of the
// collection's configuration; this package does not look inside.
type Collection struct {
	ID                CollectionID
	Name              string
	Revision          uint64
	Hash              HashRule
	Groups            []ShardGroup // with automatic sharding exactly one
	ReplicationFactor uint32       // the wish, kept even where fewer peers exist
	WriteConsistency  uint32
	FanOut            FanOut
	Settings          []byte
	Indexes           map[string][]byte // payload indexes by key
	Generations       map[string]uint64 // of vectors by name, apart from 0
	CreatedMs         int64             // Unix milliseconds; 0: not known
	Shards            []Placement       // ordered by shard id
}

// FanOut says how many more replicas are asked for a read, and after how long; the first
// answer counts. Without a delay they are asked at once, without a number one is.
type FanOut struct {
	Factor  uint32
	DelayMs uint64
}

// ShardGroup is the ordered list of shards that the hash rule counts.
type ShardGroup struct {
	Key string // the API's own encoding of the shard key; empty with automatic sharding
	IDs []ShardID
	// Partial: it takes no requests until points of another group have been copied to it.
	Partial bool
	// Fill is such a copy that is under way.
	Fill *Fill
}

// Fill is a copy of points of one group to another. Nobody changes it.
type Fill struct {
	From   string // the group's key
	Filter []byte // a message of the API; nil: all points
	Claim  uint64 // drawn by who copies; 0: nobody yet
}

// Group finds a group by its key.
func (c *Collection) Group(key string) (ShardGroup, bool) {
	i := slices.IndexFunc(c.Groups, func(g ShardGroup) bool { return g.Key == key })
	if i < 0 {
		return ShardGroup{}, false
	}
	return c.Groups[i], true
}

// Source is the group that a group's copy is from; false: none is under way.
func (c *Collection) Source(to ShardGroup) (ShardGroup, bool) {
	if to.Fill == nil {
		return ShardGroup{}, false
	}
	return c.Group(to.Fill.From)
}

// ShardOf is the shard that a point belongs to within a group.
func (c *Collection) ShardOf(g ShardGroup, id PointID) ShardID {
	r := c.Hash
	r.N = len(g.IDs)
	return g.IDs[r.Slot(id)]
}

// Map is the whole cluster as one peer knows it at one revision. It is
// immutable: Apply makes a new one that shares what did not change.
type Map struct {
	revision    uint64
	collections map[CollectionID]*Collection
	names       map[string]CollectionID
	aliases     map[string]string // alias -> collection name
	peers       map[PeerID]Peer
	transfers   map[Copy]Transfer
}

// Delta is what changed up to Revision. Reset says that it is a whole snapshot:
// what it does not name is gone. Collections carry no shards of their own:
// placements come in Placements.
type Delta struct {
	Revision        uint64
	Reset           bool
	Collections     []Collection
	GoneCollections []CollectionID
	Placements      []Placement
	GonePlacements  []Shard
	Transfers       []Transfer
	GoneTransfers   []Copy
	Aliases         map[string]string
	GoneAliases     []string
	Peers           []Peer
	GonePeers       []PeerID
}

// NewMap is the empty map of revision 0.
func NewMap() *Map {
	return &Map{collections: map[CollectionID]*Collection{}, names: map[string]CollectionID{},
		aliases: map[string]string{}, peers: map[PeerID]Peer{}, transfers: map[Copy]Transfer{}}
}

// Apply gives the map after d. A placement whose epoch is lower than the one
// held is ignored: the highest epoch wins whatever the order of arrival.
func (m *Map) Apply(d Delta) *Map {
	n := &Map{revision: max(m.revision, d.Revision)}
	if d.Reset {
		e := NewMap()
		n.collections, n.names, n.aliases, n.peers, n.transfers = e.collections, e.names, e.aliases, e.peers, e.transfers
	} else {
		n.collections, n.names = maps.Clone(m.collections), maps.Clone(m.names)
		n.aliases, n.peers, n.transfers = maps.Clone(m.aliases), maps.Clone(m.peers), maps.Clone(m.transfers)
	}
	for _, id := range d.GoneCollections {
		n.dropCollection(id)
	}
	for _, c := range d.Collections {
		n.putCollection(m, c)
	}
	fresh := map[CollectionID]bool{}
	for _, p := range d.Placements {
		n.putPlacement(m, p, fresh)
	}
	for _, s := range d.GonePlacements {
		n.dropPlacement(s, fresh)
	}
	for _, t := range d.GoneTransfers {
		delete(n.transfers, t)
	}
	for _, t := range d.Transfers {
		n.transfers[Copy{t.Shard, t.To}] = t
	}
	for _, a := range d.GoneAliases {
		delete(n.aliases, a)
	}
	maps.Copy(n.aliases, d.Aliases)
	for _, p := range d.GonePeers {
		delete(n.peers, p)
	}
	for _, p := range d.Peers {
		n.peers[p.ID] = p
	}
	return n
}

func (m *Map) dropCollection(id CollectionID) {
	c, ok := m.collections[id]
	if !ok {
		return
	}
	delete(m.collections, id)
	maps.DeleteFunc(m.transfers, func(c Copy, _ Transfer) bool { return c.Shard.Collection == id })
	if m.names[c.Name] == id {
		delete(m.names, c.Name)
	}
}

func (m *Map) putCollection(old *Map, c Collection) {
	if was, ok := old.collections[c.ID]; ok {
		if was.Revision > c.Revision {
			c = *was
		}
		c.Shards = was.Shards
	} else {
		c.Shards = nil
	}
	m.collections[c.ID] = &c
	m.names[c.Name] = c.ID
}

// own gives a collection that this map may change: a copy made once per Apply.
func (m *Map) own(id CollectionID, fresh map[CollectionID]bool) *Collection {
	c, ok := m.collections[id]
	if !ok {
		return nil
	}
	if !fresh[id] {
		cp := *c
		cp.Shards = slices.Clone(c.Shards)
		c, fresh[id] = &cp, true
		m.collections[id] = c
	}
	return c
}

func findShard(ps []Placement, id ShardID) (int, bool) {
	return slices.BinarySearchFunc(ps, id, func(p Placement, id ShardID) int { return cmp.Compare(p.Shard.ID, id) })
}

func (m *Map) putPlacement(old *Map, p Placement, fresh map[CollectionID]bool) {
	if was, ok := old.Placement(p.Shard); ok && was.Epoch > p.Epoch {
		p = was
	}
	c := m.own(p.Shard.Collection, fresh)
	if c == nil {
		return
	}
	i, found := findShard(c.Shards, p.Shard.ID)
	if found {
		c.Shards[i] = p
		return
	}
	c.Shards = slices.Insert(c.Shards, i, p)
}

func (m *Map) dropPlacement(s Shard, fresh map[CollectionID]bool) {
	c := m.own(s.Collection, fresh)
	if c == nil {
		return
	}
	if i, found := findShard(c.Shards, s.ID); found {
		c.Shards = slices.Delete(c.Shards, i, i+1)
	}
}

// Revision is the control plane's revision that the map has seen.
func (m *Map) Revision() uint64 { return m.revision }

// Resolve finds a collection by its name or an alias of it.
func (m *Map) Resolve(name string) (*Collection, bool) {
	if to, ok := m.aliases[name]; ok {
		name = to
	}
	id, ok := m.names[name]
	if !ok {
		return nil, false
	}
	return m.collections[id], true
}

// Collection finds a collection by id.
func (m *Map) Collection(id CollectionID) (*Collection, bool) {
	c, ok := m.collections[id]
	return c, ok
}

// Collections lists all collections by name.
func (m *Map) Collections() []*Collection {
	out := slices.Collect(maps.Values(m.collections))
	slices.SortFunc(out, func(a, b *Collection) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Placement finds a shard's record.
func (m *Map) Placement(s Shard) (Placement, bool) {
	c, ok := m.collections[s.Collection]
	if !ok {
		return Placement{}, false
	}
	i, found := findShard(c.Shards, s.ID)
	if !found {
		return Placement{}, false
	}
	return c.Shards[i], true
}

// Alias is a second name of a collection.
type Alias struct{ Name, Collection string }

// Aliases lists all aliases by name.
func (m *Map) Aliases() []Alias {
	out := make([]Alias, 0, len(m.aliases))
	for a, c := range m.aliases {
		out = append(out, Alias{a, c})
	}
	slices.SortFunc(out, func(a, b Alias) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Transfers lists those of a collection, by shard and receiver.
func (m *Map) Transfers(id CollectionID) []Transfer {
	var out []Transfer
	for c, t := range m.transfers {
		if c.Shard.Collection == id {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b Transfer) int {
		return cmp.Or(cmp.Compare(a.Shard.ID, b.Shard.ID), cmp.Compare(a.To, b.To))
	})
	return out
}

// Transfer finds the transfer of a shard to a peer.
func (m *Map) Transfer(c Copy) (Transfer, bool) {
	t, ok := m.transfers[c]
	return t, ok
}

// Peer finds a peer by id.
func (m *Map) Peer(id PeerID) (Peer, bool) {
	p, ok := m.peers[id]
	return p, ok
}

// Peers lists all peers by id.
func (m *Map) Peers() []Peer {
	out := slices.Collect(maps.Values(m.peers))
	slices.SortFunc(out, func(a, b Peer) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}
