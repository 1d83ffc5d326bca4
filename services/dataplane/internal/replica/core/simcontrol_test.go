package core

import (
	"slices"

	"github.com/pandodb/pando/services/internal/topology"
)

// simControl is a control plane that follows C0 to C10: one record, session keys
// that outlive their process, and Confirm before a swap that needs it (C2a).
type simControl struct {
	rec   topology.Placement
	past  map[topology.Epoch]topology.Placement
	down  bool
	cut   [simPeers + 1]bool
	keys  map[topology.PeerID]simKey
	due   *simSwap // waits for its Confirm
	nonce uint64
	lease uint64
}

// simKey is all that the control plane sees of a process.
type simKey struct {
	lease   uint64
	inc     topology.Incarnation
	expires int64 // 0: renewed
}

type simConfirm struct {
	nonce uint64
	rec   topology.Placement
}

type simConfirmed struct {
	nonce uint64
	inc   topology.Incarnation
	epoch topology.Epoch
}

// simSwap is decided, and issued if the replica that it leans on confirms itself.
type simSwap struct {
	epoch  topology.Epoch
	on     topology.PeerID
	nonce  uint64
	sent   int64
	lease  uint64
	change func(*topology.Placement)
	what   string
}

const simConfirmWithin = 60

func (c *simControl) found(w *world, factor int) {
	c.keys, c.past = map[topology.PeerID]simKey{}, map[topology.Epoch]topology.Placement{}
	c.rec = topology.Placement{Epoch: 1}
	for i := range factor {
		c.rec.Replicas = append(c.rec.Replicas, topology.Replica{Peer: topology.PeerID(i + 1), State: topology.Initializing})
	}
	c.past[1] = c.rec
}

// activeIn tells whether the record counts on a host's disk.
func (c *simControl) activeIn(h *simHost) bool {
	r, ok := c.rec.Replica(h.id)
	return ok && r.State == topology.Active && r.Incarnation == h.disk.inc
}

func (c *simControl) another(w *world, than topology.PeerID) bool {
	for _, r := range c.rec.Replicas {
		if r.Peer != than && c.activeIn(w.host(r.Peer)) {
			return true
		}
	}
	return false
}

// act does one thing that is due.
func (c *simControl) act(w *world) {
	c.leases(w)
	if c.down {
		return
	}
	switch r := w.rng.IntN(100); {
	case c.rec.Primary == 0:
		c.birth(w)
	case r < 30:
		c.tell(w, topology.PeerID(1+w.rng.IntN(simPeers)))
	case r < 60:
		c.verdict(w)
	case r < 85:
		c.bringBack(w)
	case w.healing:
	case r < 90:
		c.grow(w)
	case r < 93:
		c.shrink(w)
	case r < 97:
		c.ask(w)
	default:
		c.force(w)
	}
}

// leases: processes register, keys without a process expire a little later.
func (c *simControl) leases(w *world) {
	for _, h := range w.hosts {
		k, on := c.keys[h.id]
		alive := h.m != nil && !h.failed && w.linked(h.id, 0) && w.awake(h)
		switch {
		case alive && (!on || k.lease != h.lease) && w.chance(50):
			c.lease++
			h.lease = c.lease
			c.keys[h.id] = simKey{lease: h.lease, inc: h.disk.inc}
		case on && alive && k.lease == h.lease:
			k.expires = 0
			c.keys[h.id] = k
		case on && k.expires == 0:
			k.expires = w.mono + int64(w.rng.IntN(150))
			c.keys[h.id] = k
		case on && k.expires <= w.mono:
			delete(c.keys, h.id)
		}
	}
}

// live: C2's session under the recorded incarnation.
func (c *simControl) live(r topology.Replica) bool {
	k, on := c.keys[r.Peer]
	return on && k.inc == r.Incarnation
}

func (c *simControl) tell(w *world, p topology.PeerID) {
	if !c.down {
		w.send(simMsg{to: p, what: PlacementSeen{Placement: c.rec, Config: Config{w.conf, []byte("settings")}}})
	}
}

// write is the compare-and-swap.
func (c *simControl) write(w *world, what string, change func(*topology.Placement)) {
	next := c.rec
	next.Replicas = slices.Clone(c.rec.Replicas)
	next.Forced = next.Forced && next.ActiveCount() < len(next.Replicas)
	change(&next)
	next.Epoch++
	c.rec, c.past[next.Epoch] = next, next
	w.counts["swap: "+what]++
	w.note("control plane: %s: %s", what, brief(next))
	for _, r := range next.Replicas {
		if w.chance(70) {
			c.tell(w, r.Peer)
		}
	}
}

func set(p *topology.Placement, peer topology.PeerID, state topology.ReplicaState, inc topology.Incarnation) {
	for i := range p.Replicas {
		if p.Replicas[i].Peer == peer {
			p.Replicas[i].State, p.Replicas[i].Incarnation = state, inc
		}
	}
}

// birth: C0.
func (c *simControl) birth(w *world) {
	var there []topology.PeerID
	for _, r := range c.rec.Replicas {
		if _, on := c.keys[r.Peer]; on {
			there = append(there, r.Peer)
		}
	}
	if len(there) == 0 || len(there) < len(c.rec.Replicas) && !w.chance(10) {
		return
	}
	c.write(w, "birth", func(p *topology.Placement) {
		for i := range p.Replicas {
			r := &p.Replicas[i]
			r.State = topology.Dead
			if slices.Contains(there, r.Peer) {
				r.State, r.Incarnation = topology.Active, c.keys[r.Peer].inc
			}
		}
		p.Primary = there[w.rng.IntN(len(there))]
	})
}

// confirm asks whoever a swap leans on.
func (c *simControl) confirm(w *world, on topology.Replica, what string, change func(*topology.Placement)) {
	if d := c.due; d != nil && d.epoch == c.rec.Epoch && w.mono-d.sent < simConfirmWithin {
		return // one at a time is enough here
	}
	c.nonce++
	c.due = &simSwap{epoch: c.rec.Epoch, on: on.Peer, nonce: c.nonce, sent: w.mono, lease: c.keys[on.Peer].lease, change: change, what: what}
	w.send(simMsg{to: on.Peer, what: simConfirm{c.nonce, c.rec}})
}

// actives lists the Active replicas with a live session, but for one.
func (c *simControl) actives(but topology.PeerID) (out []topology.Replica) {
	for _, r := range c.rec.Replicas {
		if r.Peer != but && r.State == topology.Active && c.live(r) {
			out = append(out, r)
		}
	}
	return out
}

// verdict: a replica is found dead, sometimes wrongly (C2, C3). In the end only
// those are that are another disk than the record's.
func (c *simControl) verdict(w *world) {
	r := c.rec.Replicas[w.rng.IntN(len(c.rec.Replicas))]
	h := w.host(r.Peer)
	sick := h.m == nil || h.failed || !w.awake(h) || !w.linked(h.id, 0) || h.disk.inc != r.Incarnation
	if r.State != topology.Active || !sick && (w.healing || !w.chance(2)) {
		return
	}
	c.markDead(w, r)
}

func (c *simControl) markDead(w *world, r topology.Replica) {
	left := c.actives(r.Peer)
	if len(left) == 0 {
		return // C2
	}
	q := left[w.rng.IntN(len(left))]
	c.confirm(w, q, "dead", func(p *topology.Placement) {
		set(p, r.Peer, topology.Dead, r.Incarnation)
		if p.Primary == r.Peer {
			p.Primary = q.Peer // C3
		}
	})
}

// bringBack: C7.
func (c *simControl) bringBack(w *world) {
	for _, r := range c.rec.Replicas {
		if k, on := c.keys[r.Peer]; on && r.State == topology.Dead {
			c.write(w, "partial", func(p *topology.Placement) { set(p, r.Peer, topology.Partial, k.inc) })
			return
		}
	}
}

// grow: C0, a new replica enters as Dead.
func (c *simControl) grow(w *world) {
	p := topology.PeerID(1 + w.rng.IntN(simPeers))
	if _, there := c.rec.Replica(p); there {
		return
	}
	c.write(w, "grow", func(rec *topology.Placement) {
		rec.Replicas = append(rec.Replicas, topology.Replica{Peer: p, State: topology.Dead})
	})
}

// shrink: C0, never the last Active one, never the primary. To take out an Active
// replica leans on another one as much as marking it Dead does, so it needs the
// same Confirm (C2a).
func (c *simControl) shrink(w *world) {
	r := c.rec.Replicas[w.rng.IntN(len(c.rec.Replicas))]
	if r.Peer == c.rec.Primary || len(c.rec.Replicas) < 3 {
		return
	}
	out := func(p *topology.Placement) {
		p.Replicas = slices.DeleteFunc(p.Replicas, func(x topology.Replica) bool { return x.Peer == r.Peer })
	}
	if left := c.actives(r.Peer); r.State != topology.Active {
		c.write(w, "shrink", out)
	} else if len(left) > 0 {
		c.confirm(w, left[w.rng.IntN(len(left))], "shrink", out)
	}
}

// ask: C3b, at the control plane's wish.
func (c *simControl) ask(w *world) {
	if to := c.actives(c.rec.Primary); len(to) > 0 {
		w.send(simMsg{to: c.rec.Primary, what: HandOver{to[w.rng.IntN(len(to))].Peer}})
	}
}

// force: F1, by an operator who sees that no Active one is there. They may be wrong to
// think that none comes back.
func (c *simControl) force(w *world) {
	for _, r := range c.rec.Replicas {
		if r.State == topology.Active && w.host(r.Peer).m != nil {
			return
		}
	}
	for _, r := range c.rec.Replicas {
		h := w.host(r.Peer)
		rotten := h.eng.rotten + h.disk.state.rotten
		if c.rec.Primary == 0 || r.State == topology.Active || !c.live(r) || h.m == nil || rotten > 0 || h.disk.synced == 0 || w.spoils > 0 || w.otherLine(h) {
			continue
		}
		c.confirm(w, r, "force", func(p *topology.Placement) {
			for _, other := range p.Replicas {
				if other.State == topology.Active {
					set(p, other.Peer, topology.Dead, other.Incarnation)
				}
			}
			set(p, r.Peer, topology.Active, r.Incarnation)
			p.Primary, p.Forced = r.Peer, true
			for _, other := range w.hosts {
				other.forced = 0
			}
			h.forced = c.rec.Epoch + 1
		})
		return
	}
}

func (c *simControl) receive(w *world, m simMsg) {
	switch x := m.what.(type) {
	case simConfirmed:
		d := c.due
		r, _ := c.rec.Replica(m.from)
		if d == nil || d.nonce != x.nonce || d.epoch != c.rec.Epoch || x.epoch != c.rec.Epoch || x.inc != r.Incarnation ||
			w.mono-d.sent >= simConfirmWithin || m.lease != d.lease || c.keys[m.from].lease != d.lease || d.lease == 0 {
			return
		}
		c.due = nil
		c.write(w, d.what, d.change)
	case SetState:
		if c.senderIs(m, x.Epoch) {
			c.setState(w, x)
		}
	case Move:
		r, ok := c.rec.Replica(x.To)
		if c.senderIs(m, x.Epoch) && ok && r.State == topology.Active && r.Incarnation == x.Incarnation && c.live(r) {
			c.confirm(w, r, "handover", func(p *topology.Placement) { p.Primary = x.To })
		}
	}
}

// senderIs: C10.
func (c *simControl) senderIs(m simMsg, e topology.Epoch) bool {
	r, ok := c.rec.Replica(m.from)
	return ok && e == c.rec.Epoch && m.from == c.rec.Primary && r.State == topology.Active && m.lease != 0 &&
		c.keys[m.from].lease == m.lease && c.keys[m.from].inc == r.Incarnation
}

func (c *simControl) setState(w *world, x SetState) {
	r, ok := c.rec.Replica(x.Peer)
	switch {
	case !ok || r.Incarnation != x.Incarnation:
	case r.State == topology.Active && x.To == topology.Dead:
		c.markDead(w, r)
	case r.State == topology.Partial && (x.To == topology.Active || x.To == topology.Dead):
		c.write(w, "asked "+x.To.String(), func(p *topology.Placement) { set(p, x.Peer, x.To, x.Incarnation) })
	}
}
