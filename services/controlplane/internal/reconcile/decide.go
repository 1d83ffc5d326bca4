package reconcile

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/pandodb/pando/services/controlplane/internal/placement"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/topology"
)

// step is one transaction that is complete in itself. The loop adds the comparison of its office.
type step struct {
	txn  store.Txn
	kind swap.Kind // "" = no swap of a shard's record
	what string    // for the log
	args []any
}

// Bounds of one transaction.
const (
	// maxReplicas of a shard: all their sessions are compared in one transaction. A greater wish is kept and not fulfilled.
	maxReplicas  = 64
	birthsPerTxn = 30
	dropsPerTxn  = 40
)

// pass looks at the newest state once. It is a function of that state and of the time; it performs nothing.
type pass struct {
	state     *view.State
	now       time.Time
	birthWait time.Duration
	maxSteps  int

	steps []step
	// wake is when the passing of time alone will call for another look; zero = never.
	wake time.Time
	// primaries and replicas count what this pass adds to the load of each peer.
	primaries, replicas map[topology.PeerID]int
}

// collection decides what is to be done for one collection id. It answers whether nothing will be left to do once the steps
// are done; otherwise the collection must be looked at again.
func (p *pass) collection(id topology.CollectionID) (settled bool) {
	c, live := p.state.Collection(id)
	if !live {
		return p.clear(id)
	}
	settled = p.place(c) && p.prune(c)
	for _, shard := range slices.Sorted(maps.Keys(p.state.Shards[id])) {
		s := p.state.Shards[id][shard]
		if unborn(s.Record) {
			settled = false
			p.birth(s)
		}
	}
	return settled
}

// prune removes the shards that no group lists any more: those of a dropped shard key. Their ids do not come back.
func (p *pass) prune(c store.Versioned[store.Collection]) (settled bool) {
	listed := map[topology.ShardID]bool{}
	for _, g := range c.Record.Groups {
		for _, id := range g.Shards {
			listed[id] = true
		}
	}
	var doomed []store.Cond
	for id, s := range p.state.Shards[c.Record.ID] {
		if !listed[id] {
			doomed = append(doomed, s.Unchanged())
		}
	}
	for _, t := range p.state.Transfers {
		if t.Record.Collection == c.Record.ID && !listed[t.Record.Shard] {
			doomed = append(doomed, t.Unchanged())
		}
	}
	return p.drop(doomed, "cleared after a dropped shard key", c.Record.ID)
}

func (p *pass) full() bool { return len(p.steps) >= p.maxSteps }

// clear removes what a deleted collection left behind, in batches, and its tombstone once nobody holds a replica of it.
func (p *pass) clear(id topology.CollectionID) (settled bool) {
	var doomed []store.Cond
	for _, s := range p.state.Shards[id] {
		doomed = append(doomed, s.Unchanged())
	}
	for _, a := range p.state.Aliases {
		if a.Record.CollectionID == id {
			doomed = append(doomed, a.Unchanged())
		}
	}
	for _, t := range p.state.Transfers {
		if t.Record.Collection == id {
			doomed = append(doomed, t.Unchanged())
		}
	}
	settled = p.drop(doomed, "cleared after a deleted collection", id)
	for _, t := range p.state.Tombstones {
		if t.Record.ID != id {
			continue
		}
		if settled && len(p.state.Holders(id)) == 0 {
			p.drop([]store.Cond{t.Unchanged()}, "deleted collection dropped everywhere", id)
		}
		settled = false
	}
	return settled
}

// drop deletes the compared records in batches. It answers whether there were none.
func (p *pass) drop(doomed []store.Cond, what string, id topology.CollectionID) (settled bool) {
	slices.SortFunc(doomed, func(a, b store.Cond) int { return cmp.Compare(a.Key, b.Key) })
	settled = len(doomed) == 0
	for len(doomed) > 0 && !p.full() {
		n := min(len(doomed), dropsPerTxn)
		txn := store.Txn{If: doomed[:n]}
		for _, c := range txn.If {
			txn.Then = append(txn.Then, store.Delete(c.Key))
		}
		p.steps = append(p.steps, step{txn: txn, what: what, args: []any{"collection", uint64(id), "records", n}})
		doomed = doomed[n:]
	}
	return settled
}

// place gives every shard of the groups a record (C0: epoch 1, all Initializing, no primary). It answers whether none was missing.
func (p *pass) place(c store.Versioned[store.Collection]) (settled bool) {
	shards := p.state.Shards[c.Record.ID]
	settled = true
	var existing []placement.Existing
	for id, s := range shards {
		if p.stranded(s.Record) {
			continue
		}
		for _, r := range s.Record.Replicas {
			existing = append(existing, placement.Existing{Shard: id, Peer: r.Peer})
		}
	}
	for _, g := range c.Record.Groups {
		wish := placement.Wish{Collection: c.Record.ID, Factor: int(min(cmp.Or(g.Factor, c.Record.Wish.ReplicationFactor, 1), maxReplicas))}
		for _, id := range g.Shards {
			if s, placed := shards[id]; !placed || p.stranded(s.Record) {
				wish.Shards = append(wish.Shards, id)
			}
		}
		if len(wish.Shards) == 0 {
			continue
		}
		settled = false
		assignments := placement.Place(wish, p.candidates(g), existing)
		for _, a := range assignments {
			for _, peer := range a.Peers {
				existing = append(existing, placement.Existing{Shard: a.Shard, Peer: peer})
				p.replicas[peer]++
			}
		}
		p.births(c, g, assignments)
	}
	return settled
}

// stranded tells a shard that was given to peers that were all removed before one of them had made it.
func (p *pass) stranded(rec store.Shard) bool {
	return unborn(rec) && !slices.ContainsFunc(rec.Replicas, func(r store.Replica) bool { _, known := p.state.Peers[r.Peer]; return known })
}

func (p *pass) candidates(g store.Group) []placement.Peer {
	out := make([]placement.Peer, 0, len(p.state.Peers))
	for id, peer := range p.state.Peers {
		if len(g.Peers) > 0 && !slices.Contains(g.Peers, id) {
			continue
		}
		session, alive := p.state.Sessions[id]
		candidate := placement.Peer{
			ID: id, Zone: peer.Record.Zone, Replicas: p.state.Load[id].Replicas + p.replicas[id], Bytes: session.Record.Bytes(),
		}
		switch {
		case !alive:
			candidate.Unfit = placement.NoSession
		case session.Record.Leaving:
			candidate.Unfit = placement.Leaving
		}
		out = append(out, candidate)
	}
	return out
}

// births writes the first record of each shard that got a replica at least, in batches. A batch compares that the collection
// and the peers that it names are still there.
func (p *pass) births(c store.Versioned[store.Collection], g store.Group, assignments []placement.Assignment) {
	var batch *step
	shards := 0
	flush := func() {
		if batch != nil {
			batch.args = []any{"collection", c.Record.Name, "shards", shards}
			p.steps = append(p.steps, *batch)
		}
		batch, shards = nil, 0
	}
	named := map[topology.PeerID]bool{}
	for _, a := range assignments {
		if len(a.Peers) == 0 {
			continue
		}
		if p.full() {
			return
		}
		if batch == nil {
			batch = &step{txn: store.Txn{If: []store.Cond{c.Alive()}}, what: "shards placed"}
			clear(named)
		}
		rec := store.Shard{Collection: c.Record.ID, Shard: a.Shard, Group: g.Key, Epoch: 1}
		fresh := store.Absent(rec.Key())
		if old, ok := p.state.Shards[rec.Collection][rec.Shard]; ok { // stranded
			rec.Epoch, fresh = old.Record.Epoch+1, old.Unchanged()
		}
		for _, peer := range a.Peers {
			rec.Replicas = append(rec.Replicas, store.Replica{Peer: peer, State: store.Initializing, Since: p.now, Why: "is being made"})
			if !named[peer] {
				named[peer] = true
				batch.txn.If = append(batch.txn.If, p.state.Peers[peer].Alive())
			}
		}
		if a.Missing > 0 {
			rec.Reasons = placement.Explain(a.Rejected)
		}
		batch.txn.If, batch.txn.Then = append(batch.txn.If, fresh), append(batch.txn.Then, store.Put(rec))
		if shards++; shards == birthsPerTxn || len(batch.txn.If) > store.MaxOps-maxReplicas-3 {
			flush()
		}
	}
	flush()
}

// unborn tells a shard of which no replica was ever Active.
func unborn(s store.Shard) bool {
	return s.Primary == 0 && !s.Lost && len(s.Replicas) > 0 &&
		!slices.ContainsFunc(s.Replicas, func(r store.Replica) bool { return r.State != store.Initializing })
}

// birth makes the replicas that were reported Active, one of them primary, and late ones Dead, in one swap (C0). A report counts
// only while the session that made it is unchanged, which the swap compares.
func (p *pass) birth(s store.Versioned[store.Shard]) {
	rec := s.Record
	rec.Epoch++
	rec.Replicas = slices.Clone(rec.Replicas)
	txn := store.Txn{If: []store.Cond{s.Unchanged()}}
	var candidates []placement.Candidate
	deadline := time.Time{}
	late := 0
	for i := range rec.Replicas {
		r := &rec.Replicas[i]
		deadline = r.Since.Add(p.birthWait)
		session, alive := p.state.Sessions[r.Peer]
		report := session.Record.Report(rec.Collection, rec.Shard)
		if !alive || report == nil || !report.Loaded || report.Incarnation == (store.Incarnation{}) {
			r.State, r.Since, r.Why = store.Dead, p.now, "did not report in time after the birth of the shard"
			late++
			continue
		}
		r.State, r.Since, r.Why, r.Incarnation = store.Active, p.now, "", report.Incarnation
		txn.If = append(txn.If, session.Unchanged())
		candidates = append(candidates, placement.Candidate{
			Peer: r.Peer, Primaries: p.state.Load[r.Peer].Primaries + p.primaries[r.Peer],
			Last: topology.Term{Epoch: report.LastEpoch, Run: report.LastRun}, LastSeq: report.LastSeq,
		})
	}
	if len(candidates) == 0 {
		return // nobody to name: another look when a session changes
	}
	if late > 0 && p.now.Before(deadline) {
		if p.wake.IsZero() || deadline.Before(p.wake) {
			p.wake = deadline
		}
		return
	}
	if p.full() {
		return
	}
	rec.Primary = placement.Primary(rec.Collection, rec.Shard, candidates)
	p.primaries[rec.Primary]++
	txn.Then = []store.Op{store.Put(rec)}
	p.steps = append(p.steps, step{txn: txn, kind: swap.Birth, what: "shard born", args: []any{
		"collection", rec.Collection, "shard", rec.Shard, "epoch", rec.Epoch, "primary", rec.Primary,
		"active", len(candidates), "dead", late,
	}})
}
