package core

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/line"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/floor"
	"github.com/pandodb/pando/services/internal/topology"
)

// boundAheadMS is how far the persisted clock bound runs ahead of the clock, so
// that it is written once in that time and not per entry.
const boundAheadMS = 2000

// maxWallMS leaves the highest 48-bit times to the counter's overflow.
const maxWallMS = 1<<48 - 1<<32

// Options name the replica.
type Options struct {
	Self        topology.PeerID
	Incarnation topology.Incarnation
	// Session is new with every start, never 0 (R2a).
	Session uint64
	// RetryWindowMS is how long ids of operations are kept (D2); 0: 15 minutes.
	RetryWindowMS uint64
	// Timing is validated by the caller; zero: DefaultTiming.
	Timing Timing
}

// Machine is the state of one replica. It is not safe for concurrent use.
type Machine struct {
	opt  Options
	mut  mutations
	hard Hard
	role Role
	now  Time

	// The log: entries after the applied position are held, the rest is on disk.
	tail    []op.Entry // tail[0].Seq == applied+1
	bytes   int        // of tail
	last    Position
	history []TermStart
	durable topology.Seq
	commit  topology.Seq
	issued  topology.Seq // handed to the engine
	applied topology.Seq
	index   map[op.ID]topology.Seq // last parts in tail

	clock     op.Clock
	boundLost bool // the durable clock bound may be lower than the one in hard
	own       noted
	base      noted        // as of the applied position
	oldest    op.HLC       // at most the stamp of the first client's entry above floor
	lastWrite op.HLC       // at least the stamp of the last client's entry
	written   topology.Seq // at least the place of the last client's entry in the log
	wanted    Config       // newest settings told
	upkeep    topology.Seq // of the last entry that Maintain asked for

	// The own state at its newest marks, ascending.
	marks []point.Mark

	leader   // as primary
	follower // as follower or receiver
	detached // in any role

	startedAt, placedAt int64 // when the process began, when the placement was adopted

	ready   bool
	wakeAt  int64 // as the last step asked for
	resumed int64 // when this process last ran on after it had stood still
	fx      Effects
	// hardDue: hard has to be saved in this step; it also sets fx.Hard.
	hardDue bool
}

// noted is what the protocol's own entries in the log say, up to its end.
type noted struct {
	config    uint64 // newest settings
	configSeq topology.Seq
	floor     op.HLC
	mark      topology.Seq // newest mark
}

// keptMarks is how many are kept for comparing; followers lag.
const keptMarks = 32

// New makes a machine that awaits Start.
func New(opt Options) *Machine {
	if opt.RetryWindowMS == 0 {
		opt.RetryWindowMS = op.RetryWindowMS
	}
	if opt.Timing == (Timing{}) {
		opt.Timing = DefaultTiming()
	}
	return &Machine{opt: opt, index: map[op.ID]topology.Seq{}, leader: newLeader(), detached: detached{acks: map[topology.PeerID][2]topology.Seq{}}}
}

// Changes tells whether an event may lead to Effects.Append or Cut, so that it has
// to wait while the log is being synced.
func Changes(ev Event) bool {
	switch e := ev.(type) {
	case Received:
		switch x := e.Message.(type) {
		case Ack, Mismatch, Kept, Reconciled:
			return false
		case Append:
			return len(x.Entries) > 0 || x.Placement != nil
		}
		return true
	case Start, PlacementSeen, Propose, Verify, Tick, Maintain, AppendFailed:
		return true
	}
	return false
}

// Step takes one event. The wall clock may jump, stamps do not (W4); the
// monotonic clock may not. The order of the effects binds, see Effects.
func (m *Machine) Step(now Time, ev Event) Effects {
	m.fx, m.hardDue = Effects{}, false
	m.passed(now)
	if m.role != Stopped {
		m.take(ev)
	}
	m.detach()
	m.advance()
	if m.role == Primary {
		m.lead()
	}
	m.hand()
	m.report()
	if m.hardDue {
		h := m.hard
		h.Commit = m.commit
		m.fx.Hard = &h
	}
	m.fx.Sync = m.fx.Sync || len(m.fx.Append) > 0
	m.wakeAt = m.wake()
	m.fx.Wake = m.wakeAt
	fx := m.fx
	m.fx = Effects{}
	return fx
}

func (m *Machine) take(ev Event) {
	switch e := ev.(type) {
	case Start:
		m.start(e)
	case PlacementSeen:
		m.see(e)
	case Propose:
		m.propose(e.Proposals)
	case Linearize:
		m.linearize(e.Ref)
	case Verify:
		m.verify(e.Ref)
	case Received:
		m.receive(e.From, e.Message)
	case Durable:
		m.synced(e.Seq)
	case AppliedTo:
		m.appliedTo(e)
	case KeptTo:
		m.list.Keep(e.Number)
	case KeepFailed:
		m.keepFailed(e.From)
	case AppendFailed:
		m.unappend(e.From)
	case Checkpointed:
		m.checkpointed(e.Seq)
	case Maintain:
		m.maintain(e.Op)
	case ReadDone:
		m.readDone(e)
	case Pinned:
		m.pinned(e)
	case Fetched:
		m.fetched(e.At)
	case FetchFailed:
		if m.fetching = false; e.Clash && m.role == Receiver && m.list.Len() == 0 {
			m.overrule("the shard was forced to go on without what is committed here, says a copy")
		}
	case HandOver:
		m.handOver(e.To)
	case Tick:
		m.open()
		m.raiseFloor()
	case Stop:
		m.enter(Stopped)
	default:
		m.broken("unknown event %T", ev)
	}
}

// start: S1, S2, S2a.
func (m *Machine) start(e Start) {
	h := e.Hard
	m.startedAt = m.now.Mono
	m.list.Load(e.Provisional, e.Kept)
	m.fx.Release = m.list.Front()
	m.hard, m.last, m.applied, m.issued = h, e.Last, e.Applied, e.Applied
	if len(e.Entries) != int(e.Last.Seq-e.Applied) || e.Last.Seq < e.Applied || h.Commit > e.Last.Seq {
		m.broken("log ends at %d with %d entries after applied %d, commit %d", e.Last.Seq, len(e.Entries), e.Applied, h.Commit)
		return
	}
	if m.mut.forgetPending {
		m.hard.Pending = Pending{}
	}
	m.base = noted{config: e.Config, configSeq: e.Applied, floor: e.Floor}
	m.own, m.lastWrite = m.base, e.MaxHLC
	if e.Mark.Seq > 0 {
		m.marks = []point.Mark{e.Mark}
	}
	m.tail = slices.Clone(e.Entries)
	for i := range m.tail {
		m.remember(&m.tail[i])
	}
	m.commit = max(e.Applied, h.Commit)
	m.durable, m.known = m.commit, m.commit
	if m.mut.trustLoaded {
		m.durable = e.Last.Seq
	}
	m.fx.Sync = m.last.Seq > m.durable
	m.told = m.applied
	m.clock.Observe(max(e.MaxHLC, h.HLCBound))
	m.history = slices.Clone(e.History)
	if m.hard.Promised.Less(e.Last.Term) {
		m.hard.Promised = e.Last.Term // S2a
	}
	if h.Incarnation != m.opt.Incarnation {
		m.hard.Incarnation, m.hardDue = m.opt.Incarnation, true
	}
	m.obey()
}

// see adopts a placement, the settings travel beside it (W11).
func (m *Machine) see(e PlacementSeen) {
	if e.Config.Revision > m.wanted.Revision {
		m.wanted = e.Config
	}
	if !m.adopt(e.Placement) {
		m.open()
	}
}

// adopt: only a higher epoch changes anything (C5).
func (m *Machine) adopt(p topology.Placement) bool {
	if p.Epoch <= m.hard.Placement.Epoch {
		return false
	}
	m.hard.Placement, m.hardDue, m.placedAt = p, true, m.now.Mono
	m.setAlone(false)
	if m.hard.Pending.Epoch < p.Epoch {
		m.hard.Pending = Pending{} // C8: only a higher epoch ends it
	}
	m.promise(topology.Term{Epoch: p.Epoch})
	m.obey()
	return true
}

// promise: C5. What was proven equal to the log of another term's primary says
// nothing of this one's, nor, after F1, does what that one had committed.
func (m *Machine) promise(t topology.Term) {
	if m.hard.Promised.Less(t) {
		m.hard.Promised, m.hardDue = t, true
		m.chief, m.proven, m.round, m.known = 0, 0, 0, min(m.known, m.commit)
	}
}

// obey takes the role that the placement gives. S3: another incarnation's state
// is not ours.
func (m *Machine) obey() {
	p := m.hard.Placement
	me, ok := p.Replica(m.opt.Self)
	switch {
	case !ok || me.Incarnation != m.opt.Incarnation:
		m.enter(Idle)
	case me.State == topology.Partial:
		m.enter(Receiver)
	case me.State != topology.Active:
		m.enter(Idle)
	case p.Primary != m.opt.Self:
		m.enter(Follower)
	default:
		m.elect()
	}
}

// enter takes a role other than the primary's. C5: clients that wait learn that
// the outcome is unknown (W10); the log stays as it is.
func (m *Machine) enter(to Role) {
	if m.role == Primary {
		m.giveUp()
		m.leader.resign()
	}
	if m.role != to {
		m.ready, m.assured = false, false
	}
	m.role = to
}

// elect: C4 after an election or a start, C5 when a new epoch names the primary
// again. Log, window and waiting clients are kept; acknowledgements of the old
// term are not.
func (m *Machine) elect() {
	run := m.hard.Run + 1
	if m.mut.keepRun && m.hard.Run > 0 {
		run = m.hard.Run
	}
	term := topology.Term{Epoch: m.hard.Placement.Epoch, Run: run}
	if term.Less(m.hard.Promised) {
		m.enter(Idle)
		return
	}
	m.hard.Run, m.hard.Promised, m.hardDue = run, term, !m.mut.lateHard
	if m.role != Primary {
		m.ready = false
		m.floors.Begin(m.now.Mono, m.last.Seq)
	}
	m.role, m.chief, m.proven, m.fetching = Primary, 0, 0, false
	m.term, m.opened, m.inherited, m.heir, m.markedAt = term, 0, m.last.Seq, 0, m.now.Mono
	m.gen++
	m.recruit()
	m.again()
	m.told = min(m.told, m.allApplied()) // who waited for a replica that is not required any more is answered now
	m.open()
}

// open appends what must come before any client's entry: the term's start (C4),
// newer settings (W11) and a mark for whoever is to be promoted (C8). The disk may
// have refused them before.
func (m *Machine) open() {
	if m.role != Primary || m.alone {
		return
	}
	if m.opened == 0 {
		m.append(op.ID{Part: op.LastPart}, op.Op{Kind: op.EpochStart}.Append(nil))
		m.opened = m.last.Seq
	}
	if m.wanted.Revision > m.own.config {
		m.append(op.ID{Part: op.LastPart}, op.Op{Kind: op.Config, Revision: m.wanted.Revision, Settings: m.wanted.Settings}.Append(nil))
	}
	if m.markDue() {
		m.append(op.ID{Part: op.LastPart}, op.Op{Kind: op.Mark}.Append(nil))
		m.markedAt = m.now.Mono
	}
}

// raiseFloor: D2, in package floor.
func (m *Machine) raiseFloor() {
	if m.role != Primary || m.opened == 0 || m.alone {
		return
	}
	s := floor.State{
		Mono: m.now.Mono, Wall: m.wall(), Clock: m.clock.Last(), Floor: m.own.floor, Oldest: m.oldest, Written: m.lastWrite, End: m.last.Seq,
		Seen: m.last.Seq, Whole: m.list.Len() == 0 && m.hard.Placement.ActiveCount() == len(m.hard.Placement.Replicas),
	}
	m.each(func(f *progress) {
		s.Seen, s.Whole = min(s.Seen, f.match), s.Whole && !f.owes && m.now.Mono-f.heardAt < m.opt.Timing.Detach
	})
	l := floor.Limits{Window: m.opt.RetryWindowMS, Away: m.opt.Timing.Away, Entries: floor.MaxEntries}
	if m.mut.forgetOwed {
		l.Away = 0
	}
	if m.mut.floorByWall {
		s.Clock, s.Mono = op.MakeHLC(max(s.Wall, s.Clock.Ms()), 0), int64(s.Wall)
	}
	if h := m.floors.Next(s, l); h != 0 {
		m.append(op.ID{Part: op.LastPart}, op.Op{Kind: op.Floor, Floor: h}.Append(nil))
	}
}

func (m *Machine) say(to topology.PeerID, msg Message) {
	m.fx.Send = append(m.fx.Send, Envelope{To: to, Message: msg})
}

func (m *Machine) maintain(o op.Op) {
	if m.role == Primary && m.opened > 0 && !m.alone && m.heir == 0 && m.upkeep <= m.applied {
		m.append(op.ID{Part: op.LastPart}, o.Append(nil))
		m.upkeep = m.last.Seq
	}
}

func (m *Machine) wall() uint64 { return uint64(min(max(m.now.Wall, 0), maxWallMS)) }

func (m *Machine) broken(format string, args ...any) {
	if m.fx.Broken == "" {
		m.fx.Broken = fmt.Sprintf(format, args...)
	}
}

// place names the entry at s of the own log; false if the history ends above it.
func (m *Machine) place(s topology.Seq) (Position, bool) {
	if s == 0 {
		return Position{}, true
	}
	t, ok := line.TermAt(m.history, s)
	return Position{Term: t, Seq: s}, ok && s <= m.last.Seq
}

// Status is a picture of a machine.
type Status struct {
	Role      Role
	Term      topology.Term // of the primary that this replica is
	Promised  topology.Term
	Placement topology.Placement
	Last      Position
	Durable   topology.Seq
	Commit    topology.Seq
	Applied   topology.Seq
	// Config is the newest revision in the log, Settled that the engine has it too.
	Config  uint64
	Settled bool
	// Unapplied is how many bytes of entries are held in memory.
	Unapplied int
	// Ready: default reads may be answered (R2a).
	Ready bool
	// Fetching: a copy of the state is on its way here.
	Fetching bool
	// Told is the commit index as a primary has told it, 0 if none has yet; Behind is
	// how many of these entries are not here. Of a Follower or Receiver.
	Told, Behind topology.Seq
	// Detached: it serves what it has, and takes weak writes provisionally (P1).
	Detached bool
	// Provisional counts the operations of which it is not known whether they are
	// committed.
	Provisional int
	// Diverged counts the replicas that this one, as primary, has found to differ.
	Diverged uint64
}

// Status tells where the machine stands.
func (m *Machine) Status() Status {
	s := Status{
		Role: m.role, Promised: m.hard.Promised, Placement: m.hard.Placement, Last: m.last,
		Durable: m.durable, Commit: m.commit, Applied: m.applied, Config: m.own.config, Settled: m.own.configSeq <= m.applied,
		Unapplied: m.bytes, Ready: m.ready, Fetching: m.fetching, Diverged: m.diverged,
		Detached: m.alone, Provisional: m.list.Len(),
	}
	switch m.role {
	case Primary:
		s.Term = m.term
	case Follower, Receiver:
		s.Told, s.Behind = m.ahead, m.ahead-min(m.ahead, max(m.proven, m.commit))
	}
	return s
}

// giveUp answers everybody who waits: writes with Unknown, in the order of the log.
func (m *Machine) giveUp() {
	for _, r := range m.reads {
		m.answer(r.ref, NotPrimary, 0)
	}
	m.reads = nil
	m.book.GiveUp(func(ref uint64) { m.answer(ref, NotPrimary, 0) })
	for _, w := range []map[topology.Seq][]uint64{m.onCommit, m.onApply} {
		for _, s := range slices.Sorted(maps.Keys(w)) {
			for _, ref := range w[s] {
				m.answer(ref, Unknown, s)
			}
		}
		clear(w)
	}
}
