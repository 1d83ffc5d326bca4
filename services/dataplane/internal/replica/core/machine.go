package core

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// boundAheadMS is how far the persisted clock bound runs ahead of the wall clock,
// so that it is written once in that time and not per entry.
const boundAheadMS = 2000

// maxWallMS leaves the highest 48-bit times to the counter's overflow.
const maxWallMS = 1<<48 - 1<<32

// defaultRetryWindowMS: how long a client may repeat an operation by its id (D2).
const defaultRetryWindowMS = 15 * 60 * 1000

// Options name the replica.
type Options struct {
	Self        topology.PeerID
	Incarnation topology.Incarnation
	// RetryWindowMS is how long ids of operations are kept (D2); 0: 15 minutes.
	RetryWindowMS uint64
}

// mutations switch single rules off. Only tests set them, to show that the
// simulator notices.
type mutations struct {
	applyUncommitted bool // W7
	answerUnsynced   bool // W6: own fsync not awaited
	keepRun          bool // S2: run not incremented
	noDedup          bool // W2
	trustLoaded      bool // S1: what was read counts as durable
	wallClockOnly    bool // W4
	waitAtCommit     bool // W8
	forgetUnapplied  bool // W2: only the engine's dedup is asked
	ignoreFactor     bool // W9
	lateHard         bool // the term's start is appended without the durable promise
}

// Machine is the state of one replica. It is not safe for concurrent use.
type Machine struct {
	opt  Options
	mut  mutations
	hard Hard
	role Role

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
	boundLost bool   // the durable clock bound may be lower than the one in hard
	floor     op.HLC // highest one in the log (D2)
	floorWas  op.HLC // before the last floor entry, at floorSeq
	floorSeq  topology.Seq
	oldest    op.HLC // at most the stamp of the first client's entry above floor
	lastWrite op.HLC // at least the stamp of the last client's entry
	wanted    Config // newest settings told
	configRev uint64 // newest settings in the log
	configWas uint64 // configRev before the last config entry, at configSeq
	configSeq topology.Seq

	// As primary.
	term        topology.Term
	opened      topology.Seq      // place of this term's start entry, 0 while it has none
	inherited   topology.Seq      // end of the log at the election: all that earlier terms may have acknowledged
	others      []topology.PeerID // required besides this replica (W6)
	match       map[topology.PeerID]topology.Seq
	appliedAt   map[topology.PeerID]topology.Seq
	checkpoints map[topology.PeerID]topology.Seq
	truncated   topology.Seq
	ready       bool

	onCommit map[topology.Seq][]uint64
	onApply  map[topology.Seq][]uint64
	told     topology.Seq // waiters on apply are answered up to here

	fx      Effects
	hardDue bool
}

// New makes a machine that awaits Start.
func New(opt Options) *Machine {
	if opt.RetryWindowMS == 0 {
		opt.RetryWindowMS = defaultRetryWindowMS
	}
	return &Machine{
		opt:         opt,
		index:       map[op.ID]topology.Seq{},
		match:       map[topology.PeerID]topology.Seq{},
		appliedAt:   map[topology.PeerID]topology.Seq{},
		checkpoints: map[topology.PeerID]topology.Seq{},
		onCommit:    map[topology.Seq][]uint64{},
		onApply:     map[topology.Seq][]uint64{},
	}
}

// Step takes one event. wallMS is the wall clock in ms since 1970; it may jump,
// stamps do not (W4). The order of the effects binds, see Effects.
func (m *Machine) Step(wallMS int64, ev Event) Effects {
	m.fx, m.hardDue = Effects{}, false
	switch e := ev.(type) {
	case Start:
		m.start(wallMS, e)
	case PlacementSeen:
		m.see(wallMS, e)
	case Propose:
		m.propose(wallMS, e.Proposals)
	case Durable:
		m.synced(e.Seq)
	case AppliedTo:
		m.appliedTo(e.Seq)
	case AppendFailed:
		m.unappend(e.From)
	case Checkpointed:
		m.checkpointed(e.Seq)
	case Tick:
		m.open(wallMS)
		m.raiseFloor(wallMS)
	case Stop:
		m.stepDown(Stopped)
	default:
		m.broken("unknown event %T", ev)
	}
	m.advance()
	if m.hardDue {
		h := m.hard
		h.Commit = m.commit
		m.fx.Hard = &h
	}
	m.fx.Sync = m.fx.Sync || len(m.fx.Append) > 0
	fx := m.fx
	m.fx = Effects{}
	return fx
}

// start: S1, S2, S2a.
func (m *Machine) start(wallMS int64, e Start) {
	h := e.Hard
	m.hard, m.last, m.applied, m.issued = h, e.Last, e.Applied, e.Applied
	if len(e.Entries) != int(e.Last.Seq-e.Applied) || e.Last.Seq < e.Applied || h.Commit > e.Last.Seq {
		m.broken("log ends at %d with %d entries after applied %d, commit %d", e.Last.Seq, len(e.Entries), e.Applied, h.Commit)
		return
	}
	m.tail = slices.Clone(e.Entries)
	for _, en := range m.tail {
		m.remember(en)
		m.bytes += len(en.Body) + op.EntryOverhead
	}
	m.commit = max(e.Applied, h.Commit)
	m.durable = m.commit
	if m.mut.trustLoaded {
		m.durable = e.Last.Seq
	}
	m.fx.Sync = m.last.Seq > m.durable
	m.told = m.applied
	m.clock.Observe(max(e.MaxHLC, h.HLCBound))
	m.floor, m.lastWrite = e.Floor, e.MaxHLC
	m.configRev, m.configSeq = e.ConfigRevision, e.Last.Seq // where exactly does not matter
	m.history = slices.Clone(e.History)
	if m.hard.Promised.Less(e.Last.Term) {
		m.hard.Promised = e.Last.Term // S2a
	}
	if h.Incarnation != m.opt.Incarnation {
		m.hard.Incarnation, m.hardDue = m.opt.Incarnation, true
	}
	m.take(wallMS)
}

// see adopts a placement: only a higher epoch changes anything (C5), the settings
// travel beside it (W11).
func (m *Machine) see(wallMS int64, e PlacementSeen) {
	if e.Config.Revision > m.wanted.Revision {
		m.wanted = e.Config
	}
	if m.role == Stopped {
		return
	}
	if e.Placement.Epoch > m.hard.Placement.Epoch {
		m.hard.Placement, m.hardDue = e.Placement, true
		if m.hard.Pending.Epoch < e.Placement.Epoch {
			m.hard.Pending = Pending{} // C8: only a higher epoch ends it
		}
		if p := (topology.Term{Epoch: e.Placement.Epoch}); m.hard.Promised.Less(p) {
			m.hard.Promised = p
		}
		m.take(wallMS)
		return
	}
	m.open(wallMS)
}

// take takes the role that the placement gives. S3: another incarnation's state
// is not ours.
func (m *Machine) take(wallMS int64) {
	p := m.hard.Placement
	me, ok := p.Replica(m.opt.Self)
	switch {
	case !ok || me.State != topology.Active || me.Incarnation != m.opt.Incarnation:
		m.stepDown(Idle)
	case p.Primary != m.opt.Self:
		m.stepDown(Follower)
	default:
		m.elect(wallMS)
	}
}

// stepDown: C5. Clients that wait learn that the outcome is unknown (W10); the
// log stays as it is.
func (m *Machine) stepDown(to Role) {
	if m.role == Primary {
		m.giveUp()
		m.ready = false
	}
	m.role, m.term, m.opened = to, topology.Term{}, 0
}

// elect: C4 after an election or a start, C5 when a new epoch names the primary
// again. Log, window and waiting clients are kept; acknowledgements of the old
// term are not.
func (m *Machine) elect(wallMS int64) {
	run := m.hard.Run + 1
	if m.mut.keepRun && m.hard.Run > 0 {
		run = m.hard.Run
	}
	term := topology.Term{Epoch: m.hard.Placement.Epoch, Run: run}
	if term.Less(m.hard.Promised) {
		m.stepDown(Idle)
		return
	}
	m.hard.Run, m.hard.Promised, m.hardDue = run, term, !m.mut.lateHard
	m.role, m.term, m.opened, m.inherited = Primary, term, 0, m.last.Seq
	clear(m.match)
	clear(m.appliedAt)
	m.others = m.required()
	m.told = m.allApplied()
	m.open(wallMS)
}

// open appends what must come before any client's entry: the term's start (C4)
// and newer settings (W11). The disk may have refused them before.
func (m *Machine) open(wallMS int64) {
	if m.role != Primary {
		return
	}
	if m.opened == 0 {
		m.append(wallMS, op.ID{Part: op.LastPart}, op.Op{Kind: op.EpochStart}.Append(nil))
		m.opened = m.last.Seq
	}
	if m.wanted.Revision > m.configRev {
		m.append(wallMS, op.ID{Part: op.LastPart}, op.Op{Kind: op.Config, Revision: m.wanted.Revision, Settings: m.wanted.Settings}.Append(nil))
		m.configWas, m.configRev, m.configSeq = m.configRev, m.wanted.Revision, m.last.Seq
	}
}

// raiseFloor: D2. Below the floor nobody re-proposes any more, so that all replicas
// may forget stamps, tombstones and operation ids at the same entry. No replica
// takes provisional writes, hence the floor is the primary's clock less the window.
// It moves in steps, and only when there is something to forget.
func (m *Machine) raiseFloor(wallMS int64) {
	now := max(m.clock.Last().Ms(), uint64(min(max(wallMS, 0), maxWallMS)))
	if m.role != Primary || m.opened == 0 || m.lastWrite <= m.floor || now < m.opt.RetryWindowMS {
		return
	}
	floor := op.MakeHLC(now-m.opt.RetryWindowMS, 0)
	if floor <= max(m.oldest, m.floor+op.MakeHLC(m.opt.RetryWindowMS/15, 0)) {
		return
	}
	m.floorWas, m.floor = m.floor, floor
	m.append(wallMS, op.ID{Part: op.LastPart}, op.Op{Kind: op.Floor, Floor: floor}.Append(nil))
	m.floorSeq = m.last.Seq
}

func (m *Machine) broken(format string, args ...any) {
	if m.fx.Broken == "" {
		m.fx.Broken = fmt.Sprintf(format, args...)
	}
}

// required: W6, Active(e) ∪ pending(e), but for this replica, which always is.
func (m *Machine) required() []topology.PeerID {
	var out []topology.PeerID
	add := func(p topology.PeerID) {
		if p != m.opt.Self && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	for _, r := range m.hard.Placement.Replicas {
		if r.State == topology.Active {
			add(r.Peer)
		}
	}
	if m.hard.Pending.Epoch == m.hard.Placement.Epoch {
		for _, p := range m.hard.Pending.Peers {
			add(p)
		}
	}
	return out
}

// reached is the lowest position over the required replicas; the own one is given.
func (m *Machine) reached(own topology.Seq, of map[topology.PeerID]topology.Seq) topology.Seq {
	for _, p := range m.others {
		own = min(own, of[p])
	}
	return own
}

func (m *Machine) allApplied() topology.Seq { return m.reached(m.applied, m.appliedAt) }

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
}

// Status tells where the machine stands.
func (m *Machine) Status() Status {
	return Status{
		Role: m.role, Term: m.term, Promised: m.hard.Promised, Placement: m.hard.Placement, Last: m.last,
		Durable: m.durable, Commit: m.commit, Applied: m.applied, Config: m.configRev, Settled: m.configSeq <= m.applied,
		Unapplied: m.bytes, Ready: m.ready,
	}
}

// giveUp answers everybody who waits with Unknown, in the order of the log.
func (m *Machine) giveUp() {
	for _, w := range []map[topology.Seq][]uint64{m.onCommit, m.onApply} {
		for _, s := range slices.Sorted(maps.Keys(w)) {
			for _, ref := range w[s] {
				m.answer(ref, Unknown, s)
			}
		}
		clear(w)
	}
}
