package core

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/line"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/floor"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/proof"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/provisional"
	"github.com/pandodb/pando/services/internal/topology"
)

// chunkBytes is about how much one message carries.
const chunkBytes = 1 << 20

// leader is what a primary knows. Outside of that role only the counters count.
type leader struct {
	term      topology.Term
	opened    topology.Seq // place of this term's start entry, 0 while it has none
	inherited topology.Seq // end of the log at the election: all that earlier terms may have acknowledged
	peers     map[topology.PeerID]*progress
	ranks     []topology.PeerID // keys of peers, ascending: effects must not depend on a map's order
	gen       uint64            // of elections, so that answers to Read can be told apart
	heir      topology.PeerID   // C3b: nothing is appended until it has everything
	heirSince int64
	heirAsked int64
	floors    floor.Keeper
	escaped   int64        // when the lead was last given away because the disk was full, or the state is wrong
	markedAt  int64        // when the last mark was appended, or the term began
	judged    topology.Seq // the mark at which the Active replicas were compared last
	outvoted  bool         // there more of the others agreed with each other than with this one
	diverged  uint64

	onCommit map[topology.Seq][]uint64
	onApply  map[topology.Seq][]uint64
	told     topology.Seq // waiters on apply are answered up to here

	owed  provisional.Debts
	reads []reading // in the order of their coming
	asked uint64    // newest round of this term
	book  proof.Book
}

func newLeader() leader {
	return leader{onCommit: map[topology.Seq][]uint64{}, onApply: map[topology.Seq][]uint64{}}
}

func (l *leader) resign() {
	l.owed, l.term, l.opened, l.outvoted, l.heir, l.peers, l.ranks = nil, topology.Term{}, 0, false, 0, nil, nil
}

// mode says how a follower is fed.
type mode uint8

const (
	// streaming: entries go out as they come, as far as the window allows.
	streaming mode = iota
	// probing: what it holds is not sure; one message at a time.
	probing
	// copying: its place in the log is gone, it fetches a copy.
	copying
)

// progress is what a primary knows of one other replica, under one term.
type progress struct {
	topology.Replica
	required bool // W6: Active or pending
	pending  bool // C8
	mode     mode
	session  uint64
	round    uint64 // it has answered (R3)
	acked    bool   // it has a placement of this epoch
	owes     bool   // provisional operations
	reading  bool   // entries for it are being read
	due      bool   // it should hear from us although there is nothing to send

	match, applied, next topology.Seq // durable, applied there; to be sent
	mark                 point.Mark
	told                 topology.Seq // commit index
	pinned               topology.Seq // of the copy that it was given
	gate                 topology.Seq // a mark above it, applied on both sides, proves the copy
	flight               []sent
	inFlight             int // bytes

	sentAt, heardAt, movedAt, askedAt int64
}

// sent is a message on its way: up to a place, so many bytes.
type sent struct {
	upTo  topology.Seq
	bytes int
}

// recruit starts the books of a term: those of the replicas that it feeds.
func (m *Machine) recruit() {
	old := m.peers
	m.peers, m.ranks = map[topology.PeerID]*progress{}, nil
	for _, r := range m.hard.Placement.Replicas {
		if r.Peer == m.opt.Self || r.State != topology.Active && r.State != topology.Partial {
			continue
		}
		f := &progress{Replica: r, required: r.State == topology.Active, next: m.last.Seq + 1, sentAt: m.now.Mono, heardAt: m.now.Mono, movedAt: m.now.Mono}
		if m.hard.Pending.Epoch == m.hard.Placement.Epoch && slices.Contains(m.hard.Pending.Peers, r.Peer) {
			f.required, f.pending, f.gate = true, true, m.last.Seq
		}
		if was := old[r.Peer]; was != nil && was.Incarnation == r.Incarnation {
			f.session, f.pinned = was.session, was.pinned
		}
		m.peers[r.Peer] = f
	}
	m.ranks = slices.Sorted(maps.Keys(m.peers))
}

// each goes through the followers in a fixed order.
func (m *Machine) each(do func(f *progress)) {
	for _, p := range m.ranks {
		do(m.peers[p])
	}
}

// reached is the lowest position over the required replicas; the own one is given (W6).
func (m *Machine) reached(own topology.Seq, of func(*progress) topology.Seq) topology.Seq {
	m.each(func(f *progress) {
		if f.required {
			own = min(own, of(f))
		}
	})
	return own
}

func (m *Machine) allApplied() topology.Seq {
	return m.reached(m.applied, func(f *progress) topology.Seq { return f.applied })
}

// passed forgives lateness that is our own: a process that stood still must not
// judge others by what it did not hear meanwhile.
func (m *Machine) passed(now Time) {
	if m.wakeAt != 0 && now.Mono-m.wakeAt > m.opt.Timing.Deadline/2 {
		m.resumed = now.Mono
	}
	m.now = now
	m.each(func(f *progress) {
		if !m.behind(f) {
			f.movedAt = now.Mono
		}
	})
}

// behind: it lacks something that others may wait for, or owes an answer.
func (m *Machine) behind(f *progress) bool {
	return f.match < m.last.Seq || f.applied < m.commit || f.required && f.round < m.asked
}

// lead does what follows from the step for the other replicas.
func (m *Machine) lead() {
	t := m.opt.Timing
	m.fx.Send = append(m.fx.Send, m.owed.Settle(m.commit)...)
	if m.book.Asked() {
		m.fx.Verified = m.book.Conclude(m.term.Epoch, m.opt.Self, m.applied, m.marks, m.actives())
	}
	m.compare()
	m.each(func(f *progress) {
		switch silent, stuck := m.now.Mono-max(f.heardAt, m.resumed), m.now.Mono-max(f.movedAt, m.resumed); {
		case f.required && stuck >= t.Deadline: // C1, C8a: until a new epoch it stays required
			m.ask(f, topology.Dead, fmt.Sprintf("no acknowledgement of the primary's log for %d ms", stuck))
			if m.mut.dropOnAsk {
				f.required = false
			}
		case !f.required && silent >= t.Silence:
			m.ask(f, topology.Dead, fmt.Sprintf("said nothing to the primary for %d ms", silent))
		}
		m.promote(f)
	})
	m.succeed()
	m.prove()
	m.each(m.pump)
}

// promote: C8, in its order.
func (m *Machine) promote(f *progress) {
	if f.State != topology.Partial {
		return
	}
	if !f.pending {
		near := f.mode == streaming && f.acked && f.match+m.opt.Timing.Near >= m.last.Seq
		near = near && (!f.owes || m.mut.forgetOwed) // P7
		if !near || m.heir != 0 || m.commit < m.inherited {
			return
		}
		f.pending, f.gate, f.movedAt = true, m.last.Seq, m.now.Mono
		f.required = !m.mut.skipPending
		if m.hard.Pending.Epoch != m.hard.Placement.Epoch {
			m.hard.Pending = Pending{Epoch: m.hard.Placement.Epoch}
		}
		m.hard.Pending.Peers = append(slices.Clone(m.hard.Pending.Peers), f.Peer)
		m.hardDue = true
		return
	}
	i := slices.IndexFunc(m.marks, func(k point.Mark) bool { return k.Seq == f.mark.Seq })
	switch {
	case f.mark.Seq <= f.gate || i < 0 || f.match < m.commit && !m.mut.skipPending:
	case m.marks[i] != f.mark && !m.mut.ignoreDigest:
		m.send(f, Diverged{Term: m.term, Mark: f.mark.Seq})
		m.ask(f, topology.Dead, proof.Differs(f.mark, m.marks[i]))
	case m.compareAt() != math.MaxInt64 && m.judged <= f.gate: // the Active ones come first
	case !m.outvoted || m.mut.promoteOutvoted: // a copy of what is wrong would be a vote for it
		m.ask(f, topology.Active, "")
	}
}

// markDue: somebody is pending and no mark was appended since, or it is time to
// compare the Active replicas anew.
func (m *Machine) markDue() bool {
	due := m.written > m.own.mark && m.now.Mono >= m.compareAt()
	m.each(func(f *progress) { due = due || f.pending && m.own.mark <= f.gate })
	return due
}

// compareAt is when the next mark is due, if anybody is there to compare with.
func (m *Machine) compareAt() int64 {
	if m.hard.Placement.ActiveCount() < 2 {
		return math.MaxInt64
	}
	return m.markedAt + m.opt.Timing.Compare
}

// compare looks at the states of the Active replicas at a mark that is the newest of all
// others; it need not be the log's newest, which some may not have applied for long.
// One that differs from this one is taken out: it comes back through a copy that is
// proven (C8). If more of the others agree with each other than with this one, it is
// this one that is wrong, and one of them takes the lead.
func (m *Machine) compare() {
	low, at := topology.Seq(math.MaxUint64), topology.Seq(0)
	m.each(func(f *progress) {
		if f.State == topology.Active {
			low, at = min(low, f.mark.Seq), max(at, f.mark.Seq)
		}
	})
	i := slices.IndexFunc(m.marks, func(k point.Mark) bool { return k.Seq == at })
	if low != at || at == 0 || i < 0 || m.mut.neverCompare {
		return
	}
	votes := map[point.Digest]int{}
	for _, p := range m.actives() {
		votes[m.peers[p].mark.Digest]++
	}
	own, most, heir := votes[m.marks[i].Digest]+1, 0, topology.PeerID(0)
	m.each(func(f *progress) {
		if n := votes[f.mark.Digest]; f.State == topology.Active && f.mark.Digest != m.marks[i].Digest && n > most {
			most, heir = n, f.Peer
		}
	})
	first := m.judged != at
	m.judged, m.outvoted = at, most > own && !m.mut.primaryIsRight
	switch {
	case heir == 0:
	case m.outvoted:
		if first {
			m.diverged++
		}
		m.giveWay(heir)
	default:
		m.each(func(f *progress) {
			if f.State != topology.Active || f.mark == m.marks[i] {
				return
			}
			if first {
				m.diverged++
			}
			m.ask(f, topology.Dead, proof.Differs(f.mark, m.marks[i]))
		})
	}
}

// ask goes out again while its cause stands.
func (m *Machine) ask(f *progress, to topology.ReplicaState, reason string) {
	if f.askedAt != 0 && m.now.Mono-f.askedAt < m.opt.Timing.Repeat {
		return
	}
	f.askedAt = m.now.Mono
	m.fx.Ask = append(m.fx.Ask, SetState{Epoch: m.term.Epoch, Peer: f.Peer, Incarnation: f.Incarnation, To: to, Reason: reason})
}

// handOver: C3b begins. Whoever writes meanwhile is told to come again.
func (m *Machine) handOver(to topology.PeerID) {
	if f := m.peers[to]; m.role == Primary && f != nil && f.State == topology.Active && m.heir == 0 {
		m.heir, m.heirSince, m.heirAsked = to, m.now.Mono, 0
	}
}

// escape has another replica take the lead when the own disk is full: it may have
// room. Not too often, since it may have none either.
func (m *Machine) escape() bool {
	for _, p := range m.ranks {
		if f := m.peers[p]; f.State == topology.Active && f.acked && f.match >= m.commit {
			return m.giveWay(p)
		}
	}
	return false
}

// giveWay begins a handover that this replica has a reason of its own for.
func (m *Machine) giveWay(to topology.PeerID) bool {
	if m.role != Primary || m.heir != 0 || m.escaped != 0 && m.now.Mono-m.escaped < m.opt.Timing.Serve {
		return false
	}
	m.escaped = m.now.Mono
	m.handOver(to)
	return true
}

// succeed: C3b, asked for when the heir's log is equal, all of it is committed, and
// nobody waits any more.
func (m *Machine) succeed() {
	f := m.peers[m.heir]
	switch {
	case m.heir == 0:
	case m.now.Mono-m.heirSince >= m.opt.Timing.Move:
		m.heir = 0
	case m.commit == m.last.Seq && f.match == m.last.Seq && len(m.onApply) == 0 && (m.heirAsked == 0 || m.now.Mono-m.heirAsked >= m.opt.Timing.Repeat):
		m.heirAsked = m.now.Mono
		m.fx.Move = &Move{Epoch: m.term.Epoch, To: f.Peer, Incarnation: f.Incarnation}
	}
}

func (m *Machine) send(f *progress, msg Message) {
	f.sentAt = m.now.Mono
	m.say(f.Peer, msg)
}

// pump sends what a follower lacks, as far as its window and the memory reach.
func (m *Machine) pump(f *progress) {
	for f.mode == streaming && f.next <= m.last.Seq {
		if f.inFlight > 0 && f.inFlight >= m.opt.Timing.Window || f.reading {
			break
		}
		if f.next <= m.applied {
			f.reading = true
			m.fx.Read = append(m.fx.Read, Read{Peer: f.Peer, From: f.next, Bytes: chunkBytes, Gen: m.gen})
			break
		}
		if !m.sendEntries(f, chunk(m.tail[f.next-m.applied-1:])) {
			return
		}
	}
	switch quiet := m.now.Mono - f.sentAt; {
	case f.due, quiet >= m.patience(f), f.mode == streaming && f.told < m.commit && f.next > m.last.Seq: // W7: the pipe is idle
		m.sendEntries(f, nil)
	}
}

// patience is how long a follower is left in peace.
func (m *Machine) patience(f *progress) int64 {
	switch {
	case f.mode == copying:
		return m.opt.Timing.Deadline
	case m.behind(f):
		return m.opt.Timing.Repeat
	}
	return m.opt.Timing.Heartbeat
}

// chunk is a prefix for one message.
func chunk(es []op.Entry) []op.Entry {
	n, size := 0, 0
	for n < len(es) && (n == 0 || size+len(es[n].Body) <= chunkBytes) {
		size += len(es[n].Body) + op.EntryOverhead
		n++
	}
	return slices.Clone(es[:n]) // the tail is cleared behind it
}

// sendEntries sends the entries from next on, or none; false: the place before
// them is not known any more, so a copy is offered.
func (m *Machine) sendEntries(f *progress, es []op.Entry) bool {
	f.due = false
	prev, ok := m.place(f.next - 1)
	if !ok {
		f.mode = copying
	}
	if f.mode == copying {
		m.send(f, Offer{Term: m.term, Session: f.session})
		return false
	}
	a := Append{Term: m.term, Prev: prev, Entries: es, Commit: m.commit, Complete: m.commit >= m.inherited, Session: f.session, Round: m.asked}
	if !f.acked {
		p := m.hard.Placement
		a.Placement = &p
	}
	f.told = m.commit
	if n := len(es); n > 0 {
		size := 0
		for i := range es {
			size += len(es[i].Body) + op.EntryOverhead
		}
		f.next = es[n-1].Seq + 1
		f.flight, f.inFlight = append(f.flight, sent{es[n-1].Seq, size}), f.inFlight+size
	}
	m.send(f, a)
	return true
}

func (m *Machine) readDone(e ReadDone) {
	f := m.peers[e.Peer]
	if m.role != Primary || f == nil || e.Gen != m.gen {
		return
	}
	f.reading = false
	switch {
	case e.From != f.next || f.mode != streaming:
	case len(e.Entries) == 0:
		m.offer(f)
	default:
		m.sendEntries(f, e.Entries)
	}
}

// offer: C6a. An Active replica has everything that was truncated, so it never
// needs a copy; if it seems to, it keeps being asked what it has.
func (m *Machine) offer(f *progress) {
	if f.State == topology.Active {
		f.mode = probing
		return
	}
	f.mode, f.pinned = copying, 0
	m.send(f, Offer{Term: m.term, Session: f.session})
}

// peer gives the books of a sender that answers under this term.
func (m *Machine) peer(from topology.PeerID, t topology.Term) *progress {
	f := m.peers[from]
	if m.role != Primary || f == nil || t != m.term && !m.mut.anyTerm {
		return nil
	}
	f.heardAt = m.now.Mono
	return f
}

func (m *Machine) onAck(from topology.PeerID, a Ack) {
	f := m.peer(from, a.Term)
	if f == nil {
		return
	}
	f.acked, f.owes = true, a.Owes
	if f.session != a.Session { // R2a: it wants to hear from us under its new session
		f.session, f.due = a.Session, true
		if f.mode == copying && f.pinned > 0 { // it may have started on the copy
			f.mode, f.next = probing, f.pinned+1
		}
	}
	durable := min(a.Durable, m.last.Seq)
	if durable > f.match || a.Applied > f.applied || a.Round > f.round {
		f.movedAt = m.now.Mono
	}
	f.match, f.applied, f.round = max(f.match, durable), max(f.applied, a.Applied), max(f.round, a.Round)
	if a.Mark.Seq >= f.mark.Seq {
		f.mark = a.Mark
		m.book.Hear(from, a.Mark, a.Applied)
	}
	n := 0
	for n < len(f.flight) && f.flight[n].upTo <= f.match {
		f.inFlight -= f.flight[n].bytes
		n++
	}
	f.flight = f.flight[n:]
	if f.next <= f.match {
		f.next = f.match + 1
	}
	if f.mode == probing && f.match+1 >= f.next || f.mode == copying && f.pinned > 0 && f.match >= f.pinned {
		f.mode = streaming
	}
}

// onMismatch: C6, from the last entry that both histories have.
func (m *Machine) onMismatch(from topology.PeerID, x Mismatch) {
	f := m.peer(from, x.Term)
	if f == nil {
		return
	}
	f.acked = true
	if f.session != x.Session {
		f.session, f.mode = x.Session, streaming
	}
	s, known := line.Common(m.history, m.last.Seq, x.History, x.Last)
	next := max(s, f.match) + 1
	if !known && f.match == 0 {
		m.offer(f)
		return
	}
	if f.mode == probing && next >= f.next { // an answer to something sent before the probe
		return
	}
	f.next, f.mode, f.flight, f.inFlight = next, probing, nil, 0
	if _, ok := m.place(next - 1); !ok {
		m.offer(f)
		return
	}
	m.sendEntries(f, nil)
}

// pinned: the log after the copy is kept until the receiver has got there (C9).
func (m *Machine) pinned(e Pinned) {
	if f := m.peers[e.Peer]; m.role == Primary && f != nil {
		f.pinned = e.Seq
	}
}

// checkpointed: C9. What the engine has without the log, this replica needs no
// more, and neither does an Active one, which has every committed entry durable
// in its own log (I1). A Partial needs what it has not got yet.
func (m *Machine) checkpointed(s topology.Seq) {
	if s > m.applied {
		m.broken("checkpoint %d after applied %d", s, m.applied)
		return
	}
	if m.role == Primary {
		m.each(func(f *progress) {
			switch {
			case f.State == topology.Active:
			case f.mode == copying && f.pinned > 0:
				s = min(s, f.pinned)
			case f.mode != copying:
				s = min(s, f.match)
			}
		})
	}
	if s > m.truncated {
		m.truncated = s
		m.fx.Truncate = s
	}
}

// wake is when the passing of time alone calls for a step.
func (m *Machine) wake() int64 {
	t, at := m.opt.Timing, int64(0)
	sooner := func(w int64) {
		if at == 0 || w < at {
			at = w
		}
	}
	switch m.role {
	case Primary:
		if m.markDue() {
			sooner(m.now.Mono)
		}
		if at := m.compareAt(); m.written > m.own.mark && at != math.MaxInt64 {
			sooner(at)
		}
		if m.heir != 0 {
			sooner(m.now.Mono + t.Repeat)
		}
		m.each(func(f *progress) {
			sooner(f.sentAt + m.patience(f))
			switch {
			case f.pending, f.required && m.behind(f):
				sooner(m.now.Mono + t.Repeat)
			case f.required && m.ready:
				sooner(f.heardAt + t.Serve)
			}
		})
	case Follower:
		if m.ready {
			sooner(m.heardAt + t.Serve)
		}
	}
	if m.role == Primary && len(m.peers) > 0 || m.role == Follower {
		sooner(m.now.Mono + t.Detach)
	}
	if m.alone || m.list.Len() > 0 || m.list.Waits() {
		sooner(m.now.Mono + t.Repeat)
	}
	if at != 0 {
		at = max(at, m.now.Mono+1)
	}
	return at
}
