package core

import (
	"maps"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// propose: W2, W9, W4, then the append. The parts of one operation take
// consecutive places; its identity is that of its last part.
func (m *Machine) propose(ps []Proposal) {
	for _, p := range ps {
		id := p.ID
		id.Part = op.LastPart
		if m.alone {
			m.provide(p, id)
			continue
		}
		if m.role != Primary {
			m.answer(p.Ref, NotPrimary, 0)
			continue
		}
		if s, ok := m.find(id, p.Seen); ok { // W2: append nothing, wait for that entry
			m.await(p, s)
			continue
		}
		if len(p.Bodies) == 0 {
			m.broken("operation without a body proposed as new")
			return
		}
		if !m.mut.ignoreFactor && m.hard.Placement.ActiveCount() < min(p.Factor, len(m.hard.Placement.Replicas)) {
			m.answer(p.Ref, TooFewActive, 0) // W9
			continue
		}
		if m.heir != 0 {
			m.answer(p.Ref, Moving, 0) // C3b
			continue
		}
		m.open()
		if p.Routed != 0 && p.Routed < m.own.config && !m.mut.ignoreRoute { // W12: by newer ones it may belong elsewhere
			m.answer(p.Ref, Rerouted, 0)
			continue
		}
		for i, b := range p.Bodies {
			id.Part = part(i, len(p.Bodies))
			m.append(id, b)
		}
		m.await(p, m.last.Seq)
	}
}

// find is W2's lookup: the engine's dedup, and every entry that it may lack.
func (m *Machine) find(id op.ID, seen topology.Seq) (topology.Seq, bool) {
	if m.mut.noDedup {
		return 0, false
	}
	if seen != 0 {
		return seen, true
	}
	if m.mut.forgetUnapplied {
		return 0, false
	}
	s, ok := m.index[id]
	return s, ok
}

// Pending tells whether the operation is in the log and not yet reported as
// applied, or is held provisionally. With the engine's dedup, asked first, it tells a repetition (W2).
func (m *Machine) Pending(id op.ID) bool {
	id.Part = op.LastPart
	_, ok := m.index[id]
	return ok || m.alone && m.list.Holds(id)
}

// append gives an entry its place and stamp (W4).
func (m *Machine) append(id op.ID, body []byte) {
	if m.mut.wallClockOnly {
		m.clock = op.Clock{}
	}
	h := m.clock.Next(m.wall())
	m.bound()
	m.put(op.Entry{Term: m.term, Seq: m.last.Seq + 1, HLC: h, Origin: m.opt.Self, ID: id, Body: body})
}

// bound keeps the durable bound above the clock.
func (m *Machine) bound() {
	if h := m.clock.Last(); h > m.hard.HLCBound || m.boundLost {
		m.hard.HLCBound = max(m.hard.HLCBound, h+1<<16, op.MakeHLC(h.Ms()+boundAheadMS, 0))
		m.boundLost = false
		m.hardDue = m.hardDue || !m.mut.lateHard
	}
}

// put adds an entry to the end of the log.
func (m *Machine) put(e op.Entry) {
	if m.last.Term != e.Term {
		m.history = append(m.history, TermStart{Term: e.Term, First: e.Seq})
	}
	m.last = Position{Term: e.Term, Seq: e.Seq}
	m.tail = append(m.tail, e)
	m.remember(&m.tail[len(m.tail)-1])
	m.fx.Append = append(m.fx.Append, e)
}

// remember keeps the books of an entry that joined the tail.
func (m *Machine) remember(e *op.Entry) {
	m.bytes += len(e.Body) + op.EntryOverhead
	switch {
	case e.ID.Request == [16]byte{}:
		m.note(&m.own, e)
	case e.ID.Part == op.LastPart:
		m.index[e.ID] = e.Seq
		fallthrough
	default:
		if m.lastWrite <= m.own.floor || e.HLC < m.oldest {
			m.oldest = e.HLC
		}
		m.lastWrite, m.written = max(m.lastWrite, e.HLC), e.Seq
	}
}

// note reads an entry of the protocol's own.
func (m *Machine) note(n *noted, e *op.Entry) {
	if e.ID.Request != [16]byte{} {
		return
	}
	o, err := op.Decode(e.Body)
	if err != nil {
		m.broken("entry %d: %v", e.Seq, err)
		return
	}
	switch o.Kind {
	case op.Config:
		n.config, n.configSeq = max(n.config, o.Revision), e.Seq
	case op.Floor:
		n.floor = max(n.floor, o.Floor)
	case op.Mark:
		n.mark = e.Seq
	}
}

// await answers at once what is reached already and queues the rest (W8).
func (m *Machine) await(p Proposal, s topology.Seq) {
	switch {
	case p.Wait == WaitApplied && s <= m.allApplied():
		m.answer(p.Ref, Applied, s)
	case p.Wait == WaitApplied:
		m.told = min(m.told, s-1) // a replica that is required since may lack it
		m.onApply[s] = append(m.onApply[s], p.Ref)
		m.fx.Accepted = append(m.fx.Accepted, Answer{Ref: p.Ref, Seq: s})
	case s <= m.commit:
		m.answer(p.Ref, Committed, s)
	default:
		m.onCommit[s] = append(m.onCommit[s], p.Ref)
		m.fx.Accepted = append(m.fx.Accepted, Answer{Ref: p.Ref, Seq: s})
	}
}

func (m *Machine) answer(ref uint64, o Outcome, s topology.Seq) {
	m.fx.Answers = append(m.fx.Answers, Answer{Ref: ref, Outcome: o, Seq: s})
}

func (m *Machine) synced(s topology.Seq) {
	if s > m.last.Seq {
		m.broken("durable up to %d of a log that ends at %d", s, m.last.Seq)
		return
	}
	if s > m.durable {
		m.durable, m.ackDue = s, true
	}
}

func (m *Machine) appliedTo(e AppliedTo) {
	if e.Seq > min(m.issued, m.last.Seq) {
		m.broken("applied %d, handed over %d of a log that ends at %d", e.Seq, m.issued, m.last.Seq)
		return
	}
	if n := len(m.marks); e.Mark.Seq > 0 && (n == 0 || m.marks[n-1].Seq < e.Mark.Seq) {
		m.marks = append(m.marks, e.Mark)
		m.marks = m.marks[max(0, len(m.marks)-keptMarks):]
		m.ackDue = true
	}
	if e.Seq <= m.applied {
		return
	}
	n := int(e.Seq - m.applied)
	for i := range m.tail[:n] {
		e := &m.tail[i]
		m.bytes -= len(e.Body) + op.EntryOverhead
		if m.index[e.ID] == e.Seq {
			delete(m.index, e.ID)
		}
		m.note(&m.base, e)
	}
	clear(m.tail[:n]) // let the bodies go
	m.tail = m.tail[n:]
	m.applied, m.ackDue = e.Seq, true
}

// advance moves commit (W6), hands over what may be applied (W7) and answers
// (W8). A commit that is reached stays: at a replica that is no primary any more
// only the applying goes on.
func (m *Machine) advance() {
	switch m.role {
	case Primary:
		own := m.durable
		if m.mut.answerUnsynced {
			own = m.last.Seq
		}
		c := m.reached(own, func(f *progress) topology.Seq { return f.match })
		if m.mut.ignoreFollowers {
			c = own
		}
		if c > m.commit {
			m.tellUpTo(m.onCommit, m.commit, c, Committed)
			m.commit = c
		}
	case Follower, Receiver:
		m.commit = max(m.commit, min(m.known, m.durable))
	}
	m.issue()
	if m.role == Primary {
		a := m.allApplied()
		if m.mut.waitAtCommit {
			a = m.commit
		}
		if m.told < a {
			m.tellUpTo(m.onApply, m.told, a, Applied)
			m.told = a
		}
	}
	m.ready = m.serves()
}

// serves: R1, R2, R2a. A primary that waits for others' acknowledgements is as
// cut off as any follower when it hears none.
func (m *Machine) serves() bool {
	if m.alone { // P4
		asked := m.now.Mono-m.since >= m.opt.Timing.Repeat // X2: who knows a newer placement has said so
		return asked && m.list.Kept() >= m.suffix && m.applied >= m.commit
	}
	switch m.role {
	case Primary:
		// All that an earlier term may have acknowledged is committed and applied
		// here. The term's own start entry adds nothing to that, and a full disk may
		// refuse it while reads go on.
		heard := true
		m.each(func(f *progress) { heard = heard && (!f.required || m.now.Mono-f.heardAt < m.opt.Timing.Serve) })
		return heard && (m.ready || m.commit >= m.inherited && m.applied >= m.inherited)
	case Follower:
		if m.now.Mono-m.heardAt >= m.opt.Timing.Serve {
			m.assured = false
		}
		return m.assured && m.applied >= m.readyAt || m.mut.serveAtOnce
	}
	return false
}

// issue hands what is committed to the engine.
func (m *Machine) issue() {
	to := m.commit
	if m.mut.applyUncommitted {
		to = m.last.Seq
	}
	if to <= m.issued {
		return
	}
	from := int(m.issued - m.applied)
	m.fx.Apply = append(m.fx.Apply, m.tail[from:int(to-m.applied)]...)
	m.issued = to
}

// tellUpTo answers those who wait for a place in (from, to], in order.
func (m *Machine) tellUpTo(w map[topology.Seq][]uint64, from, to topology.Seq, o Outcome) {
	if int(to-from) <= len(w) {
		for s := from + 1; s <= to; s++ {
			m.tell(w, s, o)
		}
		return
	}
	for _, s := range slices.Sorted(maps.Keys(w)) {
		if s > to {
			return
		}
		m.tell(w, s, o)
	}
}

func (m *Machine) tell(w map[topology.Seq][]uint64, s topology.Seq, o Outcome) {
	for _, ref := range w[s] {
		m.answer(ref, o, s)
	}
	delete(w, s)
}

// unappend takes back entries that never were on any disk: the log refused them,
// so nobody can have them, and their places are free.
func (m *Machine) unappend(from topology.Seq) {
	if from > m.last.Seq {
		return
	}
	if from <= max(m.durable, m.commit) || m.role == Primary && from <= m.inherited {
		m.broken("append of %d refused, durable is %d, commit %d", from, m.durable, m.commit)
		return
	}
	outcome := NoSpace
	if m.escape() {
		outcome = Moving
	}
	for s := from; s <= m.last.Seq; s++ {
		m.tell(m.onCommit, s, outcome)
		m.tell(m.onApply, s, outcome)
	}
	m.owed.Refuse(from)
	m.shorten(from - 1)
	m.proven = min(m.proven, from-1)
	if m.opened >= from {
		m.opened = 0
	}
	m.each(func(f *progress) {
		if f.next > from { // that message was not sent
			f.next, f.mode, f.flight, f.inFlight = from, streaming, nil, 0
		}
		f.due = true
	})
	m.boundLost = true // it may not have been written either
}
