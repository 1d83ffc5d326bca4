package core

import (
	"maps"
	"math"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/provisional"
	"github.com/pandodb/pando/services/internal/topology"
)

// detached is what a replica knows of the operations that it holds without knowing
// whether they are committed, in whichever role (P1 to P9).
type detached struct {
	alone    bool         // P1: it is detached
	since    int64        // when that began
	probedAt int64        // when the others were asked last whether they know a newer placement
	suffix   topology.Seq // number up to which P4 is done once it is durable
	copyAt   int64        // when P4 is tried again; 0: it is done
	list     provisional.List
	acks     map[topology.PeerID][2]topology.Seq // copies: the sender's number, and the own one that has to be durable before it is answered
	handedAt int64                               // when Reconcile was sent last; 0: it was answered
}

// maxProvisional is how many bytes of provisional operations are held.
const maxProvisional = 128 << 20

// maxSkewMS: a stamp that is further ahead of the clock is not taken over (P9).
const maxSkewMS = 10_000

// detach: P1, and P4 where it begins.
func (m *Machine) detach() {
	m.setAlone(m.cutOff())
	if m.alone && m.copyAt != 0 && m.now.Mono >= m.copyAt {
		m.copyAt = 0
		m.copySuffix()
		m.suffix = m.list.End()
	}
}

// setAlone begins or ends it. What was shown meanwhile says nothing of R2a.
func (m *Machine) setAlone(on bool) {
	if m.alone == on {
		return
	}
	m.alone, m.since, m.probedAt, m.copyAt, m.ready = on, m.now.Mono, 0, m.now.Mono, m.ready && on
	if on && m.role == Primary {
		m.giveUp()
		m.heir = 0
	}
}

// cutOff: some replica that is required has not answered for long, and neither has the
// control plane, without which nobody can be marked Dead.
func (m *Machine) cutOff() bool {
	begun := m.startedAt
	if !m.alone {
		begun = max(begun, m.resumed)
	}
	long := func(since int64) bool { return m.now.Mono-max(since, begun) >= m.opt.Timing.Detach }
	switch {
	case !long(m.now.Control):
	case m.role == Follower:
		return long(max(m.heardAt, m.placedAt))
	case m.role == Primary:
		return slices.ContainsFunc(m.ranks, func(p topology.PeerID) bool { return m.peers[p].required && long(m.peers[p].heardAt) })
	}
	return false
}

// copySuffix: P4. What is in the log after the commit index may have been acknowledged.
// So it is shown, and so it must not vanish.
func (m *Machine) copySuffix() {
	if m.mut.forgetSuffix {
		return
	}
	clients := slices.DeleteFunc(slices.Clone(m.tail[m.commit-m.applied:]), func(e op.Entry) bool { return e.ID.Request == [16]byte{} })
	for _, parts := range provisional.Whole(clients) {
		m.hold(parts, true)
	}
}

// hold takes an operation into the list.
func (m *Machine) hold(parts []op.Entry, mine bool) {
	if !m.list.Holds(parts[len(parts)-1].ID) {
		m.fx.Keep = append(m.fx.Keep, m.list.Add(parts, mine)...)
	}
}

// provide: P3, a write at a detached replica.
func (m *Machine) provide(p Proposal, id op.ID) {
	if s, ok := m.find(id, p.Seen); ok && s <= m.commit {
		m.fx.Answers = append(m.fx.Answers, Answer{Ref: p.Ref, Outcome: Provisional, Disks: 1})
		return
	}
	switch known := m.list.Holds(id); {
	case !p.Weak:
		m.answer(p.Ref, Detached, 0)
		return
	case p.Factor > m.list.Reach(m.actives()):
		m.answer(p.Ref, TooFewActive, 0)
		return
	case !known && m.list.Bytes() > maxProvisional:
		m.answer(p.Ref, NoSpace, 0)
		return
	case !known:
		parts := make([]op.Entry, len(p.Bodies))
		for i, b := range p.Bodies {
			id.Part = part(i, len(p.Bodies))
			parts[i] = op.Entry{HLC: m.clock.Next(m.wall()), Origin: m.opt.Self, ID: id, Body: b}
		}
		m.bound()
		m.hold(parts, true)
	}
	m.list.Await(p.Ref, id, p.Factor)
}

// part numbers the i-th of n parts.
func part(i, n int) uint32 {
	if i == n-1 {
		return op.LastPart
	}
	return uint32(i)
}

// actives are the other replicas that are Active.
func (m *Machine) actives() (out []topology.PeerID) {
	for _, r := range m.hard.Placement.Replicas {
		if r.Peer != m.opt.Self && r.State == topology.Active {
			out = append(out, r.Peer)
		}
	}
	return out
}

// onCopy: P3, at a replica that is Active in the same epoch as the sender.
func (m *Machine) onCopy(from topology.PeerID, c Copy) {
	m.adopt(c.Placement)
	p := m.hard.Placement
	if c.Placement.Epoch < p.Epoch {
		m.say(from, Stale{Term: topology.Term{Epoch: c.Placement.Epoch}, Placement: p})
		return
	}
	if m.role != Primary && m.role != Follower || !slices.Contains(m.actives(), from) {
		return
	}
	for _, parts := range provisional.Whole(slices.Clone(c.Entries)) {
		if h := parts[len(parts)-1].HLC; h.Ms() <= m.wall()+maxSkewMS {
			m.clock.Observe(h)
		}
		m.hold(parts, false)
	}
	m.bound()
	m.acks[from] = [2]topology.Seq{c.Upto, m.list.End()}
}

// keepFailed: nothing from a number on is there, and never will be.
func (m *Machine) keepFailed(from topology.Seq) {
	for _, ref := range m.list.Refuse(from) {
		m.answer(ref, NoSpace, 0)
	}
	clear(m.acks)
	if m.suffix >= from {
		m.copyAt = m.now.Mono + m.opt.Timing.Repeat
	}
}

// onReconcile: P6, at the primary. Each operation keeps its stamps; W2 finds what is
// in the log already.
func (m *Machine) onReconcile(from topology.PeerID, r Reconcile) {
	if m.role != Primary || m.alone || m.opened == 0 || m.heir != 0 {
		return
	}
	var late []Settled
	for i, parts := range provisional.Whole(r.Entries) {
		e, seen := &parts[len(parts)-1], topology.Seq(0)
		if i < len(r.Seen) {
			seen = r.Seen[i]
		}
		s, ok := m.find(e.ID, seen)
		switch {
		case ok:
		case e.HLC <= e.ID.Remembered(m.own.floor, m.opt.RetryWindowMS): // D2a: nobody can tell any more
			late = append(late, Settled{ID: e.ID})
			continue
		default:
			for _, p := range parts {
				m.putAgain(p)
			}
			s = m.last.Seq
		}
		m.owed.Owe(from, e.ID, s)
	}
	if len(late) > 0 {
		m.say(from, Reconciled{Settled: late})
	}
}

// putAgain appends an entry under the stamp that it has, unless that is far ahead (P9).
func (m *Machine) putAgain(e op.Entry) {
	if h := e.HLC; h.Ms() > max(m.wall(), m.clock.Last().Ms())+maxSkewMS {
		m.append(e.ID, e.Body)
		return
	}
	if !m.mut.freshStamps {
		m.clock.Observe(e.HLC)
	} else {
		e.HLC = m.clock.Next(m.wall())
	}
	m.bound()
	e.Term, e.Seq = m.term, m.last.Seq+1
	m.put(e)
}

// onReconciled: P6, the end of provisional operations.
func (m *Machine) onReconciled(r Reconciled) {
	for _, s := range r.Settled {
		if s.Seq != 0 {
			m.list.Settle(s.ID, s.Seq)
		} else if lost := m.list.Take(s.ID); lost != nil {
			m.fx.Late = append(m.fx.Late, lost...)
			for i := range lost {
				m.fx.Lift = append(m.fx.Lift, lost[i].ID)
			}
			m.fx.Release = m.list.Front()
		}
	}
	m.handedAt = 0
}

// hand does what provisional operations need others for: copies while it is detached
// (P3), the way into the log when it is not any more (P6, P7).
func (m *Machine) hand() {
	if m.mut.keepUnsynced {
		m.list.Keep(m.list.End())
	}
	if m.alone && (m.probedAt == 0 || m.now.Mono-m.probedAt >= m.opt.Timing.Heartbeat) { // X2
		m.probedAt = m.now.Mono
		for _, p := range m.actives() {
			m.say(p, Copy{Placement: m.hard.Placement})
		}
	}
	if m.list.Len() == 0 && len(m.acks) == 0 && !m.list.Waits() {
		return
	}
	var others []topology.PeerID // who is waited for
	if m.alone {
		others = m.actives()
	}
	for _, p := range others {
		if es, upto := m.list.Copies(p, chunkBytes, m.now.Mono, m.opt.Timing.Repeat, m.opt.Timing.Deadline); len(es) > 0 {
			m.say(p, Copy{Placement: m.hard.Placement, Upto: upto, Entries: es})
		}
	}
	for _, d := range m.list.Ready(others) {
		a := Answer{Ref: d.Ref, Outcome: Provisional, Disks: d.Disks}
		if !d.Enough {
			a.Outcome = Unknown
		}
		m.fx.Answers = append(m.fx.Answers, a)
	}
	for _, p := range slices.Sorted(maps.Keys(m.acks)) {
		if k := m.acks[p]; k[1] <= m.list.Kept() {
			delete(m.acks, p)
			m.say(p, Kept{Upto: k[0]})
		}
	}
	m.reconcile()
}

// reconcile: P6. A replica that turns out Dead does it as well (P7).
func (m *Machine) reconcile() {
	upto := topology.Seq(math.MaxUint64)
	if (m.role == Primary || m.role == Follower) && !m.mut.dropUnapplied {
		upto = m.applied
	}
	m.fx.Lift = append(m.fx.Lift, m.list.Drop(upto)...)
	if len(m.fx.Lift) > 0 {
		m.fx.Release = m.list.Front()
	}
	to := m.hard.Placement.Primary
	if m.alone || to == 0 || m.handedAt != 0 && m.now.Mono-m.handedAt < m.opt.Timing.Deadline {
		return
	}
	var es []op.Entry
	for _, o := range m.list.Open(chunkBytes) {
		es = append(es, o.Parts...)
	}
	if len(es) > 0 {
		m.handedAt = m.now.Mono
		m.say(to, Reconcile{Entries: es})
	}
}
