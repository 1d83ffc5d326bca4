package core

import (
	"maps"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// propose: W2, W9, W4, then the append. The parts of one operation take
// consecutive places; its identity is that of its last part.
func (m *Machine) propose(wallMS int64, ps []Proposal) {
	for _, p := range ps {
		if m.role != Primary {
			m.answer(p.Ref, NotPrimary, 0)
			continue
		}
		id := p.ID
		id.Part = op.LastPart
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
		m.open(wallMS)
		for i, b := range p.Bodies {
			id.Part = uint32(i)
			if i == len(p.Bodies)-1 {
				id.Part = op.LastPart
			}
			m.append(wallMS, id, b)
		}
		if m.lastWrite <= m.floor {
			m.oldest = m.clock.Last() // parts of it may be older by their number: no matter
		}
		m.lastWrite = m.clock.Last()
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
// applied. With the engine's dedup, asked first, it tells a repetition (W2).
func (m *Machine) Pending(id op.ID) bool {
	id.Part = op.LastPart
	_, ok := m.index[id]
	return ok
}

// append gives an entry its place and stamp (W4).
func (m *Machine) append(wallMS int64, id op.ID, body []byte) {
	wall := uint64(min(max(wallMS, 0), maxWallMS))
	if m.mut.wallClockOnly {
		m.clock = op.Clock{}
	}
	h := m.clock.Next(wall)
	if h > m.hard.HLCBound || m.boundLost {
		m.hard.HLCBound = max(m.hard.HLCBound, h+1<<16, op.MakeHLC(wall+boundAheadMS, 0))
		m.boundLost = false
		m.hardDue = m.hardDue || !m.mut.lateHard
	}
	e := op.Entry{Term: m.term, Seq: m.last.Seq + 1, HLC: h, Origin: m.opt.Self, ID: id, Body: body}
	if m.last.Term != e.Term {
		m.history = append(m.history, TermStart{e.Term, e.Seq})
	}
	m.last = Position{e.Term, e.Seq}
	m.tail = append(m.tail, e)
	m.remember(e)
	m.bytes += len(e.Body) + op.EntryOverhead
	m.fx.Append = append(m.fx.Append, e)
}

// remember puts the last part of a client's operation into the lookup.
func (m *Machine) remember(e op.Entry) {
	if e.ID.Part == op.LastPart && e.ID.Request != [16]byte{} {
		m.index[e.ID] = e.Seq
	}
}

// await answers at once what is reached already and queues the rest (W8).
func (m *Machine) await(p Proposal, s topology.Seq) {
	switch {
	case p.Wait == WaitApplied && s <= m.allApplied():
		m.answer(p.Ref, Applied, s)
	case p.Wait == WaitApplied:
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
	m.fx.Answers = append(m.fx.Answers, Answer{ref, o, s})
}

func (m *Machine) synced(s topology.Seq) {
	if s > m.last.Seq {
		m.broken("durable up to %d of a log that ends at %d", s, m.last.Seq)
		return
	}
	m.durable = max(m.durable, s)
}

func (m *Machine) appliedTo(s topology.Seq) {
	if s > m.issued {
		m.broken("applied %d, handed over %d", s, m.issued)
		return
	}
	if s <= m.applied {
		return
	}
	n := int(s - m.applied)
	for i := range m.tail[:n] {
		m.bytes -= len(m.tail[i].Body) + op.EntryOverhead
		if e := &m.tail[i]; m.index[e.ID] == e.Seq {
			delete(m.index, e.ID)
		}
	}
	clear(m.tail[:n]) // let the bodies go
	m.tail = m.tail[n:]
	m.applied = s
}

// advance moves commit (W6), hands over what may be applied (W7) and answers
// (W8). A commit that is reached stays: at a replica that is no primary any more
// only the applying goes on.
func (m *Machine) advance() {
	if m.role == Primary {
		own := m.durable
		if m.mut.answerUnsynced {
			own = m.last.Seq
		}
		if c := m.reached(own, m.match); c > m.commit {
			m.tellUpTo(m.onCommit, m.commit, c, Committed)
			m.commit = c
		}
	}
	m.handOver()
	if m.role != Primary {
		return
	}
	a := m.allApplied()
	if m.mut.waitAtCommit {
		a = m.commit
	}
	if m.told < a {
		m.tellUpTo(m.onApply, m.told, a, Applied)
		m.told = a
	}
	// R2a: all that an earlier term may have acknowledged is committed and applied
	// here. The term's own start entry adds nothing to that, and a full disk may
	// refuse it while reads go on.
	if m.commit >= m.inherited && m.applied >= m.inherited {
		m.ready = true
	}
}

func (m *Machine) handOver() {
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
	if from <= max(m.durable, m.inherited) || from <= m.commit {
		m.broken("append of %d refused, durable is %d, commit %d", from, m.durable, m.commit)
		return
	}
	for s := from; s <= m.last.Seq; s++ {
		e := m.tail[int(s-m.applied)-1]
		m.bytes -= len(e.Body) + op.EntryOverhead
		delete(m.index, e.ID)
		m.tell(m.onCommit, s, NoSpace)
		m.tell(m.onApply, s, NoSpace)
	}
	keep := int(from-m.applied) - 1
	clear(m.tail[keep:])
	m.tail = m.tail[:keep]
	for len(m.history) > 0 && m.history[len(m.history)-1].First >= from {
		m.history = m.history[:len(m.history)-1]
	}
	m.last = Position{Seq: from - 1}
	if n := len(m.history); n > 0 {
		m.last.Term = m.history[n-1].Term
	}
	if m.opened >= from {
		m.opened = 0
	}
	if m.configSeq >= from {
		m.configRev, m.configSeq = m.configWas, from-1
	}
	if m.floorSeq >= from {
		m.floor, m.floorSeq = m.floorWas, 0
	}
	m.boundLost = true // it may not have been written either
}

// checkpointed: C9. The log is kept after the lowest checkpoint of the Active
// replicas; a replica whose checkpoint is not known keeps all of it.
func (m *Machine) checkpointed(s topology.Seq) {
	if s > m.applied {
		m.broken("checkpoint %d after applied %d", s, m.applied)
		return
	}
	if m.role != Primary {
		return
	}
	if t := m.reached(s, m.checkpoints); t > m.truncated {
		m.truncated = t
		m.fx.Truncate = t
	}
}
