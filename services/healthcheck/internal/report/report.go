// Package report turns the outcomes of probes into verdicts, one for each peer
// and one for each replica, and says which of them the control plane has not
// heard yet. It keeps what it holds between rounds and sends nothing itself.
package report

import (
	"cmp"
	"slices"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/healthcheck/internal/probe"
	"github.com/pandodb/pando/services/healthcheck/internal/verdict"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// subject is a peer, or a replica on it.
type subject struct {
	peer    topology.PeerID
	shard   topology.Shard
	replica bool
}

func (s subject) compare(o subject) int {
	return cmp.Or(cmp.Compare(s.peer, o.peer), cmp.Compare(s.shard.Collection, o.shard.Collection), cmp.Compare(s.shard.ID, o.shard.ID))
}

type held struct {
	verdict.Subject
	epoch    uint64
	failures uint32
	told     verdict.State
}

// Book holds the verdicts of one observer.
type Book struct {
	rules verdict.Rules
	// wall gives the time that people read; verdicts are timed by probes' own clock.
	wall func() time.Time
	held map[subject]*held
}

// NewBook starts with no opinion of anybody.
func NewBook(r verdict.Rules, wall func() time.Time) *Book {
	return &Book{rules: r, wall: wall, held: map[subject]*held{}}
}

// Take learns from one probe. Replicas that the peer no longer names are
// forgotten; a silent peer says nothing of its replicas: what is held of them
// stays, the peer's own verdict covers them.
func (b *Book) Take(o probe.Outcome) {
	b.step(subject{peer: o.Peer}, verdict.Observation{At: o.At, OK: o.Err == nil && o.Answer.GetDisk().GetFailure() == nil, Why: why(o)}, 0)
	if o.Err != nil {
		return
	}
	seen := map[subject]bool{}
	for _, r := range o.Answer.GetReplicas() {
		s := subject{peer: o.Peer, replica: true, shard: topology.Shard{
			Collection: topology.CollectionID(r.GetCollectionId()), ID: topology.ShardID(r.GetShardId())}}
		seen[s] = true
		b.step(s, verdict.Observation{At: o.At, OK: r.GetFailure() == nil, Why: r.GetFailure().GetMessage()}, r.GetEpoch())
	}
	for s := range b.held {
		if s.replica && s.peer == o.Peer && !seen[s] {
			delete(b.held, s)
		}
	}
}

// Keep forgets all peers but these, with their replicas.
func (b *Book) Keep(peers []topology.PeerID) {
	for s := range b.held {
		if !slices.Contains(peers, s.peer) {
			delete(b.held, s)
		}
	}
}

func why(o probe.Outcome) string {
	if o.Err != nil {
		return "no answer: " + status.Convert(o.Err).Message()
	}
	return o.Answer.GetDisk().GetFailure().GetMessage()
}

func (b *Book) step(s subject, o verdict.Observation, epoch uint64) {
	h, ok := b.held[s]
	if !ok {
		h = &held{}
		b.held[s] = h
	}
	h.Subject = verdict.Step(b.rules, h.Subject, o)
	h.epoch = epoch
	h.failures++
	if o.OK {
		h.failures = 0
	}
}

// State is what is held of a peer.
func (b *Book) State(p topology.PeerID) verdict.State {
	if h, ok := b.held[subject{peer: p}]; ok {
		return h.State
	}
	return verdict.Unknown
}

// Count tells how many subjects are in each state, peers and replicas apart.
func (b *Book) Count() (peers, replicas map[verdict.State]int) {
	peers, replicas = map[verdict.State]int{}, map[verdict.State]int{}
	for s, h := range b.held {
		if s.replica {
			replicas[h.State]++
		} else {
			peers[h.State]++
		}
	}
	return peers, replicas
}

// News are verdicts to be told.
type News struct {
	Peers    []*placementv1.PeerVerdict
	Replicas []*placementv1.ReplicaVerdict
	states   map[subject]verdict.State
}

// Empty tells whether there is nothing to tell.
func (n News) Empty() bool { return len(n.states) == 0 }

// News lists the verdicts that were not told, or with all set every one, in a
// fixed order. Told must follow once they have arrived.
func (b *Book) News(all bool) News {
	n := News{states: map[subject]verdict.State{}}
	for _, s := range b.subjects() {
		h := b.held[s]
		if !all && h.told == h.State {
			continue
		}
		n.states[s] = h.State
		since := timestamppb.New(b.wall())
		if s.replica {
			n.Replicas = append(n.Replicas, &placementv1.ReplicaVerdict{CollectionId: uint64(s.shard.Collection), ShardId: uint64(s.shard.ID),
				PeerId: uint64(s.peer), Epoch: h.epoch, Verdict: protoVerdict(h.State), Since: since, Evidence: h.Why})
			continue
		}
		n.Peers = append(n.Peers, &placementv1.PeerVerdict{PeerId: uint64(s.peer), Verdict: protoVerdict(h.State),
			Since: since, Evidence: h.Why, Failures: h.failures})
	}
	return n
}

// Told marks verdicts as known to the control plane, as they were when told.
func (b *Book) Told(n News) {
	for s, state := range n.states {
		if h := b.held[s]; h != nil {
			h.told = state
		}
	}
}

func (b *Book) subjects() []subject {
	out := make([]subject, 0, len(b.held))
	for s := range b.held {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, c subject) int {
		if a.replica != c.replica {
			if a.replica {
				return 1
			}
			return -1
		}
		return a.compare(c)
	})
	return out
}

func protoVerdict(s verdict.State) placementv1.Verdict {
	switch s {
	case verdict.Alive:
		return placementv1.Verdict_VERDICT_ALIVE
	case verdict.Suspect:
		return placementv1.Verdict_VERDICT_SUSPECT
	case verdict.Dead:
		return placementv1.Verdict_VERDICT_DEAD
	}
	return placementv1.Verdict_VERDICT_UNSPECIFIED
}
