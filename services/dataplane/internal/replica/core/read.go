package core

import (
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// reading is a linearizable read that waits for its proof (R3).
type reading struct {
	ref   uint64
	seq   topology.Seq // commit index when it came
	round uint64       // its answers are the proof
}

// linearize: R3. What was acknowledged before is committed here, or another replica
// acknowledged it, which then has a higher term, and is one that the proof asks.
func (m *Machine) linearize(ref uint64) {
	next := m.asked + 1
	if m.mut.readByOldRound {
		next = m.asked
	}
	if m.leads(ref, m.role == Primary) {
		m.reads = append(m.reads, reading{ref, m.commit, next})
	}
}

// verify appends the mark that a question is about.
func (m *Machine) verify(ref uint64) {
	if m.leads(ref, m.role == Primary && m.heir == 0 && m.opened != 0) {
		m.append(op.ID{Part: op.LastPart}, op.Op{Kind: op.Mark}.Append(nil))
		m.book.Ask(ref, m.last.Seq)
	}
}

// leads answers what takes all replicas where it cannot be had.
func (m *Machine) leads(ref uint64, can bool) bool {
	switch {
	case m.alone:
		m.answer(ref, Detached, 0)
	case !can:
		m.answer(ref, NotPrimary, 0)
	}
	return can && !m.alone
}

// again: what was answered under another term proves nothing.
func (m *Machine) again() {
	m.asked = 0
	for i := range m.reads {
		m.reads[i].round = 1
	}
}

// prove asks the required followers whether they still obey, one round at a time,
// and answers the reads that came before a round that all have answered, once the
// state has come as far. Where nobody else is required, nobody is asked.
func (m *Machine) prove() {
	if len(m.reads) == 0 {
		return
	}
	if m.proof() == m.asked && m.reads[len(m.reads)-1].round > m.asked {
		m.asked++
		m.each(func(f *progress) { f.due = f.due || f.required })
	}
	proof, n := m.proof(), 0
	for _, r := range m.reads {
		if r.round > proof && !m.mut.readUnproven || m.commit < m.inherited || m.applied < max(r.seq, m.inherited) {
			break
		}
		m.answer(r.ref, Readable, r.seq)
		n++
	}
	m.reads = m.reads[n:]
}

// proof is the newest round that all required followers have answered.
func (m *Machine) proof() uint64 {
	round := m.asked
	m.each(func(f *progress) {
		if f.required {
			round = min(round, f.round)
		}
	})
	return round
}
