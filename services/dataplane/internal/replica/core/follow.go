package core

import (
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// follower is what a follower or receiver knows of the primary.
type follower struct {
	chief   topology.PeerID // who has the promise; 0: nobody yet
	proven  topology.Seq    // up to here the log equals the chief's
	round   uint64          // highest of the chief's appends (R3)
	known   topology.Seq    // commit index as far as it was told and proven
	ahead   topology.Seq    // commit index that a primary has told
	heardAt int64           // when a primary of the promised term was heard last
	ackDue  bool
	// assured: under this session a primary has told a commit index that covers all
	// that was acknowledged before, readyAt (R2a).
	assured   bool
	readyAt   topology.Seq
	fetching  bool // a copy is on its way
	truncated topology.Seq
}

func (m *Machine) receive(from topology.PeerID, msg Message) {
	switch x := msg.(type) {
	case Append:
		m.onAppend(from, x)
	case Ack:
		m.onAck(from, x)
	case Stale:
		m.adopt(x.Placement)
	case Mismatch:
		m.onMismatch(from, x)
	case Stranger:
		// The control plane sees it in the inventory; until then the peer stays required.
	case Offer:
		if m.obeys(from, x.Term) && m.role == Receiver {
			m.ackDue = true
			if m.list.Len() == 0 && x.Session == m.opt.Session && !m.fetching {
				m.fetching, m.fx.Fetch = true, from
			}
		}
	case Diverged:
		// A late one may be about a copy that another one has replaced since.
		mine := slices.ContainsFunc(m.marks, func(k point.Mark) bool { return k.Seq == x.Mark })
		if m.obeys(from, x.Term) && m.role == Receiver && mine && !m.mut.ignoreDigest && m.list.Len() == 0 {
			m.fx.Wipe = "the primary found another digest"
			m.enter(Stopped)
		}
	case Copy:
		m.onCopy(from, x)
	case Kept:
		m.list.Acked(from, x.Upto, m.now.Mono)
	case Reconcile:
		m.onReconcile(from, x)
	case Reconciled:
		m.onReconciled(x)
	default:
		m.broken("unknown message %T", msg)
	}
}

// obeys: C5, the follower's rule. It answers what it refuses.
func (m *Machine) obeys(from topology.PeerID, t topology.Term) bool {
	p := m.hard.Placement
	fenced := t.Less(m.hard.Promised) && !m.mut.noFence
	switch {
	case fenced || t.Epoch < p.Epoch:
		m.say(from, Stale{Term: t, Placement: p})
		return false
	case t.Epoch > p.Epoch || p.Primary != from || from == m.opt.Self:
		return false // the sender repeats the placement until it was acknowledged
	}
	me, ok := p.Replica(m.opt.Self)
	if ok && me.Incarnation != m.opt.Incarnation {
		m.say(from, Stranger{Term: t})
	}
	if m.role != Follower && m.role != Receiver {
		return false
	}
	m.promise(t)
	m.chief, m.heardAt = from, m.now.Mono
	return true
}

func (m *Machine) onAppend(from topology.PeerID, a Append) {
	if a.Placement != nil {
		m.adopt(*a.Placement)
	}
	if !m.obeys(from, a.Term) {
		return
	}
	if p, found := m.clash(&a); found {
		mine, _ := m.place(p.Seq)
		if m.role != Receiver {
			m.broken("I2: committed entry %d is of term %v here, %v at the primary", p.Seq, mine.Term, p.Term)
			return
		}
		if m.list.Len() > 0 {
			return // first what was acknowledged provisionally (P7)
		}
		m.overrule(fmt.Sprintf("the shard was forced to go on without its entry %d of term %v, where the primary has one of term %v", p.Seq, mine.Term, p.Term))
		return
	}
	m.ahead, m.round = max(m.ahead, a.Commit), max(m.round, a.Round)
	if !m.holds(a.Prev) {
		m.say(from, Mismatch{Term: a.Term, History: slices.Clone(m.history), Last: m.last.Seq, Session: m.opt.Session})
		return
	}
	for i := range a.Entries {
		if !m.accept(a.Entries[i], a.Prev.Seq+topology.Seq(i)+1) {
			return
		}
	}
	m.ackDue = true
	m.proven = max(m.proven, a.Prev.Seq+topology.Seq(len(a.Entries)))
	m.known = max(m.known, min(a.Commit, m.proven))
	if a.Complete && (a.Session == m.opt.Session || m.mut.anySession) && !m.assured {
		m.assured, m.readyAt = true, a.Commit
	}
}

// holds: by I2 a place up to the commit index is equal everywhere.
func (m *Machine) holds(p Position) bool {
	if p.Seq > m.last.Seq {
		return false
	}
	mine, ok := m.place(p.Seq)
	return p.Seq <= m.commit || ok && mine == p
}

// clash is the first place of an append that is committed here under another term: by I2
// there is none, but after F1.
func (m *Machine) clash(a *Append) (at Position, found bool) {
	p := a.Prev
	for i := 0; p.Seq <= m.commit && !m.mut.ignoreClash; i++ {
		if mine, ok := m.place(p.Seq); ok && mine != p {
			return p, true
		}
		if i == len(a.Entries) {
			break
		}
		p = Position{Term: a.Entries[i].Term, Seq: a.Entries[i].Seq}
	}
	return Position{}, false
}

// Line is the machine's now.
func (m *Machine) Line() Line { return Line{History: slices.Clone(m.history), Commit: m.commit} }

// overrule ends a replica that has applied what the shard goes on without (F1). It is
// made anew, and what it has is set aside.
func (m *Machine) overrule(why string) {
	m.fx.Wipe, m.fx.Aside = why, true
	m.enter(Stopped)
}

// accept puts one entry at its place. What conflicts is cut: it was never applied (C6).
func (m *Machine) accept(e op.Entry, at topology.Seq) bool {
	if e.Seq != at {
		m.broken("entry %d arrived at place %d", e.Seq, at)
		return false
	}
	if at <= m.commit {
		return true
	}
	if at <= m.last.Seq {
		if mine, _ := m.place(at); mine.Term == e.Term {
			return true
		}
		m.cut(at - 1)
	}
	m.put(e)
	m.clock.Observe(e.HLC)
	m.bound()
	return true
}

// cut takes the log's end back to a place.
func (m *Machine) cut(after topology.Seq) {
	if after < m.commit {
		m.broken("I3: committed entry %d would be cut", after+1)
		return
	}
	m.shorten(after)
	m.durable, m.proven = min(m.durable, after), min(m.proven, after)
	m.fx.Cut = &Cut{after}
}

// shorten forgets the entries after a place.
func (m *Machine) shorten(after topology.Seq) {
	keep := int(after - m.applied)
	for i := keep; i < len(m.tail); i++ {
		e := &m.tail[i]
		m.bytes -= len(e.Body) + op.EntryOverhead
		if m.index[e.ID] == e.Seq {
			delete(m.index, e.ID)
		}
	}
	clear(m.tail[keep:])
	m.tail = m.tail[:keep]
	for n := len(m.history); n > 0 && m.history[n-1].First > after; n-- {
		m.history = m.history[:n-1]
	}
	m.last, m.written = Position{Seq: after}, min(m.written, after)
	if n := len(m.history); n > 0 {
		m.last.Term = m.history[n-1].Term
	}
	m.own = m.base
	for i := range m.tail {
		m.note(&m.own, &m.tail[i])
	}
}

// fetched: C6a.
func (m *Machine) fetched(at topology.Seq) {
	m.fetching = false
	if m.role != Receiver || m.applied >= at {
		m.fx.Copy = Drop
		if m.role == Receiver && m.chief != 0 {
			m.proven, m.ackDue = max(m.proven, min(at, m.commit)), true
		}
		return
	}
	m.fx.Copy = Install
	m.enter(Stopped)
}

// report answers the primary: what is durable, what is applied.
func (m *Machine) report() {
	if !m.ackDue || m.chief == 0 || m.role != Follower && m.role != Receiver {
		return
	}
	m.ackDue = false
	a := Ack{Term: m.hard.Promised, Durable: min(m.durable, m.proven), Applied: m.applied, Session: m.opt.Session, Round: m.round, Owes: m.list.Len() > 0}
	if m.mut.ackUnsynced {
		a.Durable = m.proven
	}
	if n := len(m.marks); n > 0 {
		a.Mark = m.marks[n-1]
	}
	m.say(m.chief, a)
}
