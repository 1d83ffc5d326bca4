package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pandodb/pando/services/controlplane/internal/evidence"
	"github.com/pandodb/pando/services/controlplane/internal/placement"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/topology"
)

// Limits bound the transfers that the loop begins by itself, by the peer that sends or receives. Those that a user asked for count and
// are not bound.
type Limits struct{ Incoming, Outgoing int }

// act is one thing to be done about a shard. Exactly one of plan, draft and handover is set.
type act struct {
	shard topology.Shard
	was   store.Versioned[store.Shard]
	kind  swap.Kind
	plan  *swap.Plan
	heirs []topology.PeerID // of the plan: those worth asking
	draft *swap.Draft
	conds []store.Cond
	to    topology.PeerID // handover: who succeeds the primary
	copy  store.Transfer  // return: what begins with it
}

// moves tells the acts after which the shard has another primary, which come before all others.
func (a *act) moves() bool { return a.kind == swap.Failover }

// care decides about living shards, from the records, what is held of the peers, and what earlier acts came to. It is a function of
// these and of the time; it performs nothing.
type care struct {
	state  *view.State
	now    time.Time
	heard  hearsay
	limits Limits
	past   *past

	// wake is when the passing of time alone will call for another look; zero = never.
	wake    time.Time
	in, out map[topology.PeerID]int // transfers, by who receives and who sends
}

// past is what a term of office remembers of its own acts.
type past struct {
	busy   map[topology.Shard]*act           // under way
	rested map[topology.Shard]rest           // tried in vain
	failed map[topology.Shard]topology.Epoch // the primary of this epoch was asked for a handover in vain
	quiet  map[topology.PeerID]time.Time     // did not answer a Confirm a moment ago: not asked before this
}

// rest is the wait after an act that was refused.
type rest struct {
	epoch topology.Epoch
	until time.Time
	pause time.Duration
	why   string
}

func newPast() *past {
	return &past{busy: map[topology.Shard]*act{}, rested: map[topology.Shard]rest{}, failed: map[topology.Shard]topology.Epoch{},
		quiet: map[topology.PeerID]time.Time{}}
}

// all looks at every shard that something may have to be done about, and gives the acts in the order of their urgency.
func (c *care) all() []*act {
	c.in, c.out = map[topology.PeerID]int{}, map[topology.PeerID]int{}
	for _, t := range c.state.Transfers {
		c.in[t.Record.To]++
		c.out[t.Record.From]++
	}
	for id, a := range c.past.busy {
		if _, seen := c.state.Copies[id][a.copy.To]; a.copy.To != 0 && !seen {
			c.in[a.copy.To]++
			c.out[a.copy.From]++
		}
	}
	ids := maps.Clone(c.state.Ailing)
	for id := range c.state.Copies {
		ids[id] = true
	}
	for p, shards := range c.state.On {
		if len(shards) > 0 && (!c.known(p) || c.dead(p) || c.state.Sessions[p].Record.Leaving) {
			maps.Copy(ids, shards)
		}
	}
	for r := range c.heard.replicas {
		ids[r.Shard] = true
	}
	for _, shards := range c.state.Replaced {
		maps.Copy(ids, shards)
	}
	var acts []*act
	for _, id := range slices.SortedFunc(maps.Keys(ids), compareShards) {
		if a := c.shard(id); a != nil {
			acts = append(acts, a)
		}
	}
	slices.SortStableFunc(acts, func(a, b *act) int { return -compareBools(a.moves(), b.moves()) })
	return acts
}

func compareShards(a, b topology.Shard) int {
	return cmp.Or(cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.ID, b.ID))
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// shard decides about one shard: at most one act, since each changes the epoch.
func (c *care) shard(id topology.Shard) *act {
	s, ok := c.state.Shard(id)
	if _, live := c.state.Collection(id.Collection); !ok || !live || unborn(s.Record) || s.Record.Frozen || c.past.busy[id] != nil {
		return nil
	}
	if r := c.past.rested[id]; r.epoch == s.Record.Epoch && c.now.Before(r.until) {
		c.wakeAt(r.until)
		return nil
	}
	for _, rule := range []func(store.Versioned[store.Shard]) *act{c.fail, c.clean, c.leave, c.move, c.back} {
		if a := rule(s); a != nil {
			a.shard, a.was = id, s
			if a.plan != nil {
				a.heirs = slices.DeleteFunc(a.plan.Heirs(), func(p topology.PeerID) bool { return !c.mayConfirm(p) })
			}
			return a
		}
	}
	return nil
}

func (c *care) wakeAt(at time.Time) {
	if c.wake.IsZero() || at.Before(c.wake) {
		c.wake = at
	}
}

func (c *care) known(p topology.PeerID) bool { _, ok := c.state.Peers[p]; return ok }

func (c *care) dead(p topology.PeerID) bool { return c.heard.peers[p].State == evidence.Dead }

// session of a peer that may be given something: it has one, is not about to stop, and is not held Dead.
func (c *care) session(p topology.PeerID) (store.Versioned[store.Session], bool) {
	s, ok := c.state.Sessions[p]
	return s, ok && !s.Record.Leaving && !c.dead(p)
}

// mayConfirm tells whether it makes sense to ask a peer now.
func (c *care) mayConfirm(p topology.PeerID) bool {
	_, alive := c.state.Sessions[p]
	return alive && !c.dead(p) && !c.now.Before(c.past.quiet[p])
}

// doom is why a replica is to be marked Dead; "" if it is not.
func (c *care) doom(id topology.Shard, p topology.PeerID) string {
	if v := c.heard.peers[p]; v.State == evidence.Dead {
		return "its peer does not answer: " + v.Why
	}
	if v, ok := c.heard.replicas[evidence.Replica{Shard: id, Peer: p}]; ok {
		return "it does not serve: " + v.Why
	}
	return ""
}

// lost is doom, or that the replica is not the one that the record counts on (S3).
func (c *care) lost(id topology.Shard, p topology.PeerID) string {
	if why := c.doom(id, p); why != "" || !c.state.Replaced[p][id] {
		return why
	}
	return "its disk was replaced: what it held is gone"
}

func (c *care) plan(s store.Versioned[store.Shard], kind swap.Kind) *swap.Plan {
	return &swap.Plan{Kind: kind, Was: s, Copies: c.state.Copies[s.Record.ID()], Dead: map[topology.PeerID]string{}}
}

func (c *care) draft(s store.Versioned[store.Shard]) *swap.Draft {
	return swap.New(s, c.state.Copies[s.Record.ID()], c.now)
}

// fail marks Active replicas Dead that are concluded to be, takes out those of peers that were removed, and names a primary where
// there is none: all of it in one swap (C2, C3). What would leave no Active replica is not done.
func (c *care) fail(s store.Versioned[store.Shard]) *act {
	rec, p := s.Record, c.plan(s, swap.Died)
	for _, peer := range rec.Actives() {
		if !c.known(peer) {
			p.Out, p.Anyway = append(p.Out, peer), true
		} else if why := c.lost(rec.ID(), peer); why != "" {
			p.Dead[peer] = why
		}
	}
	if len(p.Heirs()) == 0 { // better one that does not serve well than one that is not there
		maps.DeleteFunc(p.Dead, func(peer topology.PeerID, _ string) bool { return !c.dead(peer) })
	}
	if len(p.Heirs()) == 0 {
		clear(p.Dead)
	}
	primary := rec.Replica(rec.Primary)
	headless := primary == nil || primary.State != store.Active
	if len(p.Dead)+len(p.Out) == 0 && (!headless || !slices.ContainsFunc(rec.Actives(), c.mayConfirm)) {
		return nil
	}
	switch {
	case p.Moves() && len(p.Heirs()) > 0:
		p.Kind = swap.Failover
	case len(p.Out) > 0:
		p.Kind = swap.Drop
	}
	for _, r := range rec.Replicas {
		if r.State == store.Partial && c.known(r.Peer) && c.dead(r.Peer) {
			p.Dead[r.Peer] = c.doom(rec.ID(), r.Peer)
		}
	}
	return &act{kind: p.Kind, plan: p}
}

// clean needs nobody's word: it takes out what removed peers held that was not Active, and marks copies Dead whose peer is.
func (c *care) clean(s store.Versioned[store.Shard]) *act {
	d, kind := c.draft(s), swap.Kind("")
	for _, r := range s.Record.Replicas {
		switch {
		case r.State == store.Active:
		case !c.known(r.Peer):
			d.Out(r.Peer)
			kind = swap.Drop
		case r.State == store.Partial && c.lost(s.Record.ID(), r.Peer) != "":
			d.Set(r.Peer, store.Dead, c.lost(s.Record.ID(), r.Peer))
			kind = cmp.Or(kind, swap.Died)
		}
	}
	if kind == "" {
		return nil
	}
	return &act{kind: kind, draft: d}
}

// stopped is why replicas of a process that ends in good order are Dead.
const stopped = "its peer was stopped"

// leave takes what a process has that is about to stop: first the primary, by a handover, then the replica, by marking it Dead. A
// primary that does not hand over in time loses both at once.
func (c *care) leave(s store.Versioned[store.Shard]) *act {
	for _, r := range s.Record.Replicas {
		if !c.state.Sessions[r.Peer].Record.Leaving {
			continue
		}
		if r.State == store.Partial {
			d := c.draft(s)
			d.Set(r.Peer, store.Dead, stopped)
			return &act{kind: swap.Died, draft: d}
		}
		to := c.successor(s.Record)
		if r.State != store.Active || to == 0 {
			continue
		}
		return c.replace(s, r.Peer, to, func(p *swap.Plan) { p.Dead[r.Peer] = stopped })
	}
	return nil
}

// replace takes a replica's place in the shard: if it is the primary, by handing over to another one first, or without its help
// if it was asked in vain; finally by what the plan is given.
func (c *care) replace(s store.Versioned[store.Shard], peer, to topology.PeerID, goal func(*swap.Plan)) *act {
	kind := swap.Died
	if s.Record.Primary == peer {
		if c.past.failed[s.Record.ID()] != s.Record.Epoch {
			return &act{kind: swap.Handover, to: to}
		}
		kind = swap.Failover
	}
	p := c.plan(s, kind)
	goal(p)
	return &act{kind: kind, plan: p}
}

// successor of a primary: an Active replica on a peer that stays; 0 = there is none.
func (c *care) successor(rec store.Shard) topology.PeerID {
	var candidates []placement.Candidate
	for _, p := range rec.Actives() {
		session, fit := c.session(p)
		if !fit || p == rec.Primary {
			continue
		}
		candidate := placement.Candidate{Peer: p, Primaries: c.state.Load[p].Primaries}
		if r := session.Record.Report(rec.Collection, rec.Shard); r != nil {
			candidate.Last, candidate.LastSeq = topology.Term{Epoch: r.LastEpoch, Run: r.LastRun}, r.LastSeq
		}
		candidates = append(candidates, candidate)
	}
	if _, fit := c.session(rec.Primary); len(candidates) == 0 && fit {
		return rec.Primary // of a follower that leaves
	}
	return placement.Primary(rec.Collection, rec.Shard, candidates)
}

// move ends a move whose copy is Active: the source hands over if it is the primary, and goes.
func (c *care) move(s store.Versioned[store.Shard]) *act {
	copies := c.state.Copies[s.Record.ID()]
	for _, to := range slices.Sorted(maps.Keys(copies)) {
		t, target := copies[to].Record, s.Record.Replica(to)
		if !t.Move || target == nil || target.State != store.Active {
			continue
		}
		if source := s.Record.Replica(t.From); source == nil || source.State != store.Active {
			d := c.draft(s)
			d.Out(t.From)
			return &act{kind: swap.Drop, draft: d}
		}
		a := c.replace(s, t.From, to, func(p *swap.Plan) { p.Out = []topology.PeerID{t.From} })
		if a.plan != nil && a.kind != swap.Failover {
			a.kind, a.plan.Kind = swap.Drop, swap.Drop
		}
		return a
	}
	return nil
}

// back begins the return of a Dead replica (C7): its peer is there and well, so is the primary, and the limits allow it.
func (c *care) back(s store.Versioned[store.Shard]) *act {
	rec := s.Record
	primary := rec.Replica(rec.Primary)
	if primary == nil || primary.State != store.Active || !c.well(rec.Primary) {
		return nil
	}
	for _, r := range rec.Replicas {
		session, fit := c.session(r.Peer)
		if r.State != store.Dead || !fit || !c.well(r.Peer) || c.doom(rec.ID(), r.Peer) != "" {
			continue
		}
		report := session.Record.Report(rec.Collection, rec.Shard)
		if report == nil || !report.Loaded || report.Incarnation == (store.Incarnation{}) {
			continue
		}
		_, asked := c.state.Copies[rec.ID()][r.Peer]
		if !asked && (c.in[r.Peer] >= c.limits.Incoming || c.out[rec.Primary] >= c.limits.Outgoing) {
			continue
		}
		if c.now.Before(r.Retry) {
			c.wakeAt(r.Retry)
			continue
		}
		d := c.draft(s)
		d.Set(r.Peer, store.Partial, fmt.Sprintf("it is copied from peer %d", rec.Primary))
		d.Now.Replica(r.Peer).Incarnation = report.Incarnation // its present disk, which may be another one
		a := &act{kind: swap.Return, draft: d, conds: []store.Cond{store.Leased(session.Record.Key(), session.Record.Lease)}}
		if !asked {
			a.copy = store.Transfer{From: rec.Primary, To: r.Peer}
			d.Copy(a.copy)
			c.in[r.Peer]++
			c.out[rec.Primary]++
		}
		return a
	}
	return nil
}

// well tells whether a peer is held Alive. Observers damp one that comes and goes. One that nobody else is there to watch is taken at
// the word of its session.
func (c *care) well(p topology.PeerID) bool {
	_, fit := c.session(p)
	return fit && (c.heard.peers[p].State == evidence.Alive || !c.heard.watched(p))
}
