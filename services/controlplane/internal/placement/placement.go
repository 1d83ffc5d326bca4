// Package placement decides where the replicas of a collection's shards go. It is pure: the same input gives the same
// answer on every member, whatever the order of the input.
//
// A choice passes filters, each of which rejects a peer for a reason that is kept, and then an order:
//
//  1. fewest replicas of this shard in the peer's zone (zones apart),
//  2. fewest replicas of this collection on the peer (even per collection),
//  3. fewest replicas of all collections on the peer,
//  4. fewest bytes on the peer,
//  5. a hash of shard and peer, so that equal peers share alike.
//
// It moves nothing: existing replicas stay where they are and count.
package placement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/internal/topology"
)

// Wish is what a collection asks for.
type Wish struct {
	Collection topology.CollectionID
	Shards     []topology.ShardID // that shall be placed now
	Factor     int                // replicas of each, at least 1
}

// Peer is a candidate with its present load.
type Peer struct {
	ID       topology.PeerID
	Zone     string // "" = unlabelled: never counts as the same zone as another
	Replicas int    // of all collections
	Bytes    uint64
	// Unfit is why the peer may take nothing new; Fit if it may.
	Unfit Reason
}

// Existing is a replica that is placed already.
type Existing struct {
	Shard topology.ShardID
	Peer  topology.PeerID
}

// Reason says why a peer did not get a replica.
type Reason uint8

// The reasons. First the filters, then the places in the order.
const (
	Fit Reason = iota
	NoSession
	Leaving
	HoldsReplica
	ZoneTaken
	MoreOfCollection
	MoreReplicas
	MoreBytes
	TieLost
	Enough
	reasons // their number
)

func reasonTexts() [reasons]string {
	return [...]string{
		Fit:              "chosen",
		NoSession:        "has no live session",
		Leaving:          "is about to stop",
		HoldsReplica:     "holds a replica of this shard already",
		ZoneTaken:        "is in a zone that has more replicas of this shard",
		MoreOfCollection: "has more replicas of this collection",
		MoreReplicas:     "has more replicas",
		MoreBytes:        "has more bytes",
		TieLost:          "is equal to a chosen peer and lost the tie",
		Enough:           "is not needed: the shard has enough replicas",
	}
}

// String is the reason in words, to follow "peer 7".
func (r Reason) String() string {
	if r < reasons {
		return reasonTexts()[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Rejection is one peer that did not get a replica, and why.
type Rejection struct {
	Peer   topology.PeerID
	Reason Reason
}

// Assignment is the decision on one shard.
type Assignment struct {
	Shard    topology.ShardID
	Peers    []topology.PeerID // to add, ascending; the existing ones not among them
	Missing  int               // replicas wished for that no peer could take
	Rejected []Rejection       // every other peer, ascending by id
}

// Place adds replicas until each shard has Factor of them or no peer is left, shard by shard in ascending order. Two
// replicas of a shard never share a peer.
func Place(w Wish, peers []Peer, existing []Existing) []Assignment {
	s := newBoard(w, peers, existing)
	shards := slices.Clone(w.Shards)
	slices.Sort(shards)
	shards = slices.Compact(shards)
	out := make([]Assignment, 0, len(shards))
	for _, shard := range shards {
		out = append(out, s.place(shard, w.Factor))
	}
	return out
}

// board is the running count while shards are placed one after the other.
type board struct {
	collection topology.CollectionID
	peers      []Peer // ascending by id
	inAll      []int  // replicas of all collections, by index of peers
	inThis     []int  // replicas of this collection
	holders    map[topology.ShardID][]topology.PeerID
	zoneOf     map[topology.PeerID]string
}

func newBoard(w Wish, peers []Peer, existing []Existing) *board {
	b := &board{
		collection: w.Collection, peers: slices.Clone(peers),
		holders: map[topology.ShardID][]topology.PeerID{}, zoneOf: map[topology.PeerID]string{},
	}
	slices.SortFunc(b.peers, func(x, y Peer) int { return cmp.Compare(x.ID, y.ID) })
	b.peers = slices.CompactFunc(b.peers, func(x, y Peer) bool { return x.ID == y.ID })
	b.inAll, b.inThis = make([]int, len(b.peers)), make([]int, len(b.peers))
	index := make(map[topology.PeerID]int, len(b.peers))
	for i, p := range b.peers {
		b.inAll[i], b.zoneOf[p.ID], index[p.ID] = p.Replicas, p.Zone, i
	}
	for _, e := range existing {
		b.holders[e.Shard] = append(b.holders[e.Shard], e.Peer)
		if i, ok := index[e.Peer]; ok {
			b.inThis[i]++
		}
	}
	return b
}

// score is the order of choice: the lesser tuple wins.
type score struct {
	zone, inThis, inAll int
	bytes, tie          uint64
}

func (a score) compare(b score) int {
	return cmp.Or(cmp.Compare(a.zone, b.zone), cmp.Compare(a.inThis, b.inThis), cmp.Compare(a.inAll, b.inAll),
		cmp.Compare(a.bytes, b.bytes), cmp.Compare(a.tie, b.tie))
}

// behind names the first place in the order at which a is worse than the winner b.
func (a score) behind(b score) Reason {
	switch {
	case a.zone != b.zone:
		return ZoneTaken
	case a.inThis != b.inThis:
		return MoreOfCollection
	case a.inAll != b.inAll:
		return MoreReplicas
	case a.bytes != b.bytes:
		return MoreBytes
	}
	return TieLost
}

func (b *board) place(shard topology.ShardID, factor int) Assignment {
	a := Assignment{Shard: shard}
	holders := slices.Clone(b.holders[shard])
	why := make([]Reason, len(b.peers))
	chosen := make([]bool, len(b.peers))
	scores := make([]score, len(b.peers))
	for len(holders) < factor {
		best, bestScore := -1, score{}
		for i, p := range b.peers {
			if why[i] = b.filter(p, chosen[i], holders); why[i] != Fit {
				continue
			}
			scores[i] = b.score(i, shard, holders)
			if best < 0 || scores[i].compare(bestScore) < 0 {
				best, bestScore = i, scores[i]
			}
		}
		if best < 0 {
			a.Missing = factor - len(holders)
			break
		}
		for i, sc := range scores {
			if why[i] == Fit {
				why[i] = sc.behind(bestScore)
			}
		}
		chosen[best] = true
		b.inAll[best]++
		b.inThis[best]++
		holders = append(holders, b.peers[best].ID)
		a.Peers = append(a.Peers, b.peers[best].ID)
	}
	b.holders[shard] = holders
	slices.Sort(a.Peers)
	for i, p := range b.peers {
		if chosen[i] {
			continue
		}
		if why[i] == Fit { // nothing had to be chosen
			why[i] = b.idle(p, holders)
		}
		a.Rejected = append(a.Rejected, Rejection{Peer: p.ID, Reason: why[i]})
	}
	return a
}

func (b *board) filter(p Peer, chosen bool, holders []topology.PeerID) Reason {
	if chosen || slices.Contains(holders, p.ID) {
		return HoldsReplica
	}
	return p.Unfit
}

// idle is the reason of a peer when the shard had enough replicas from the start.
func (b *board) idle(p Peer, holders []topology.PeerID) Reason {
	if r := b.filter(p, false, holders); r != Fit {
		return r
	}
	return Enough
}

func (b *board) score(i int, shard topology.ShardID, holders []topology.PeerID) score {
	p := b.peers[i]
	s := score{inThis: b.inThis[i], inAll: b.inAll[i], bytes: p.Bytes}
	for _, h := range holders {
		if p.Zone != "" && b.zoneOf[h] == p.Zone {
			s.zone++
		}
	}
	s.tie = mix(mix(uint64(b.collection)^uint64(shard)<<32) ^ uint64(p.ID))
	return s
}

// Candidate may become primary.
type Candidate struct {
	Peer      topology.PeerID
	Primaries int // shards that the peer leads already
	Last      topology.Term
	LastSeq   topology.Seq
}

// Primary picks one of several replicas of which each has every committed entry: the longest log, then the peer that leads
// fewest shards, then a hash. 0 if there are none.
func Primary(collection topology.CollectionID, shard topology.ShardID, candidates []Candidate) topology.PeerID {
	if len(candidates) == 0 {
		return 0
	}
	salt := mix(uint64(collection) ^ uint64(shard)<<32)
	return slices.MinFunc(candidates, func(a, b Candidate) int {
		if a.Last != b.Last {
			if b.Last.Less(a.Last) {
				return -1
			}
			return 1
		}
		return cmp.Or(-cmp.Compare(a.LastSeq, b.LastSeq), cmp.Compare(a.Primaries, b.Primaries),
			cmp.Compare(mix(salt^uint64(a.Peer)), mix(salt^uint64(b.Peer))), cmp.Compare(a.Peer, b.Peer))
	}).Peer
}

// Observers picks k of the candidates to watch a peer, never the peer itself: the k highest by a hash of both, so that one
// that comes or goes changes few assignments and every member computes the same.
func Observers(subject topology.PeerID, candidates []topology.PeerID, k int) []topology.PeerID {
	weight := func(c topology.PeerID) uint64 { return mix(mix(uint64(subject)) ^ uint64(c)) }
	out := slices.DeleteFunc(slices.Clone(candidates), func(c topology.PeerID) bool { return c == subject })
	slices.SortFunc(out, func(a, b topology.PeerID) int {
		return cmp.Or(-cmp.Compare(weight(a), weight(b)), cmp.Compare(a, b))
	})
	return out[:min(k, len(out))]
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
	x = (x ^ (x >> 27)) * 0x94D049BB133111EB
	return x ^ (x >> 31)
}

// Explain sums up rejections in one line each, "2 peers: has no live session (7, 9)", naming at most five peers.
func Explain(rejected []Rejection) []string {
	by := map[Reason][]topology.PeerID{}
	for _, r := range rejected {
		by[r.Reason] = append(by[r.Reason], r.Peer)
	}
	var out []string
	for reason := range reasons {
		peers := by[reason]
		if len(peers) == 0 {
			continue
		}
		list := ""
		for i, p := range peers[:min(len(peers), 5)] {
			if i > 0 {
				list += ", "
			}
			list += fmt.Sprint(uint64(p))
		}
		if len(peers) > 5 {
			list += ", …"
		}
		noun := "peer"
		if len(peers) > 1 {
			noun = "peers"
		}
		out = append(out, fmt.Sprintf("%d %s: %s (%s)", len(peers), noun, reason, list))
	}
	return out
}
