package core

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// The simulator drives a Machine through a disk that loses what was not synced,
// a clock that jumps and clients that repeat themselves, and checks the
// invariants of docs/replication.md after every step. One seed, one run, always
// the same bytes of trace.

const (
	simPoints        = 3
	simRetryWindowMS = 90_000
)

// simOp is an operation that a client issues and repeats under one id.
type simOp struct {
	point  int
	del    bool
	parts  int
	factor int
	floor  op.HLC // highest stamp acknowledged on the point before it was issued
	seq    topology.Seq
	live   bool // proposed, and not refused since
	acked  bool
	copies int // places in the committed log
}

// simPoint is the fold's state of one point (P5 without fields).
type simPoint struct {
	hlc   op.HLC
	alive bool
	by    uint32
}

// simEngine is the state with its position and dedup.
type simEngine struct {
	points  [simPoints]simPoint
	applied topology.Seq
	seen    map[op.ID]topology.Seq
	maxHLC  op.HLC
	config  uint64
	floor   op.HLC
}

func (e simEngine) clone() simEngine {
	seen := make(map[op.ID]topology.Seq, len(e.seen))
	for k, v := range e.seen {
		seen[k] = v
	}
	e.seen = seen
	return e
}

func (e *simEngine) apply(en op.Entry) {
	e.applied, e.maxHLC = en.Seq, max(e.maxHLC, en.HLC)
	if en.ID.Request == [16]byte{} {
		e.config, e.floor = max(e.config, simConfig(en)), max(e.floor, simOwn(en).Floor)
		return
	}
	e.seen[en.ID] = en.Seq
	if p := &e.points[en.Body[0]]; en.HLC > p.hlc {
		*p = simPoint{en.HLC, en.Body[1] == 0, simNumber(en.ID)}
	}
}

func simConfig(e op.Entry) uint64 { return simOwn(e).Revision }

// simOwn decodes an entry of the protocol's own.
func simOwn(e op.Entry) (o op.Op) {
	if e.ID.Request != [16]byte{} {
		return o
	}
	o, err := op.Decode(e.Body)
	if err != nil {
		panic(err)
	}
	return o
}

func simID(n uint32) (id op.ID) {
	binary.BigEndian.PutUint32(id.Request[:], n+1)
	return id
}

func simNumber(id op.ID) uint32 { return binary.BigEndian.Uint32(id.Request[:]) - 1 }

// simDisk is what a crash leaves. log[0] has place front+1.
type simDisk struct {
	hard   Hard
	log    []op.Entry
	front  topology.Seq // truncated up to here
	synced topology.Seq
	terms  []TermStart
	state  simEngine // last checkpoint
	full   bool
}

func (d *simDisk) end() topology.Seq { return d.front + topology.Seq(len(d.log)) }

type simWait struct {
	op   uint32
	mode WaitMode
}

type world struct {
	rng   *rand.Rand
	mut   mutations
	disk  simDisk
	m     *Machine // nil: down
	eng   simEngine
	queue []op.Entry // handed to the engine, not applied yet
	wall  int64
	// wallMax is the latest time that the wall clock ever showed.
	wallMax int64
	// syncing: an fsync is running that will cover the log up to it.
	syncing, syncDue topology.Seq
	failed           bool // an fsync failed: only a restart helps

	place   topology.Placement
	conf    uint64
	ops     []simOp
	waiting map[uint64]simWait
	nextRef uint64

	canon   []op.Entry // the committed log
	fold    simEngine
	folds   [][simPoints]simPoint
	places  map[Position]op.Entry
	shown   topology.Seq // highest place answered as applied
	maxAck  [simPoints]op.HLC
	terms   topology.Term // highest term that appended
	step    int
	counts  map[string]int
	trace   *strings.Builder
	healing bool
}

type violation string

func (w *world) fail(format string, args ...any) { panic(violation(fmt.Sprintf(format, args...))) }

func (w *world) note(format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%d "+format+"\n", append([]any{w.step}, args...)...)
	}
}

func newWorld(seed uint64, mut mutations, trace *strings.Builder) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 0x50616e646f)), mut: mut, wall: 1_700_000_000_000, waiting: map[uint64]simWait{},
		places: map[Position]op.Entry{}, counts: map[string]int{}, trace: trace,
		fold: simEngine{seen: map[op.ID]topology.Seq{}}, folds: make([][simPoints]simPoint, 1),
	}
	w.disk.state = simEngine{seen: map[op.ID]topology.Seq{}}
	w.place = topology.Placement{Epoch: 1, Primary: 7, Replicas: []topology.Replica{{Peer: 7, State: topology.Active, Incarnation: topology.Incarnation{1}}, {Peer: 9, State: topology.Dead}}}
	w.conf = 1
	return w
}

// run plays steps and then heals: everything in the log commits and is applied.
func (w *world) run(steps int) (caught string) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case violation:
			caught = string(v)
		default:
			panic(v)
		}
	}()
	for ; w.step < steps; w.step++ {
		w.act()
		w.check()
	}
	w.heal()
	return ""
}

func (w *world) chance(percent float64) bool { return w.rng.Float64()*100 < percent }

func (w *world) act() {
	w.wallMax = max(w.wallMax, w.wall)
	w.wall += int64(w.rng.IntN(3))
	if w.disk.full && w.chance(8) {
		w.disk.full = false
		w.note("space again")
	}
	if w.m == nil {
		if w.chance(60) {
			w.boot()
		} else {
			w.around()
		}
		return
	}
	switch r := w.rng.IntN(100); {
	case r < 40:
		w.proposals()
	case r < 55:
		w.startSync()
	case r < 70:
		w.endSync()
	case r < 88:
		w.applySome()
	case r < 91:
		w.checkpoint()
	default:
		w.around()
	}
}

// around is what happens to the peer rather than in it.
func (w *world) around() {
	switch r := w.rng.IntN(100); {
	case r < 12:
		w.crash(w.chance(50))
	case r < 24:
		w.wall += int64(w.rng.IntN(30_000)) - 10_000
		w.wallMax = max(w.wallMax, w.wall)
		w.note("clock %d", w.wall)
	case r < 34:
		w.place.Epoch += topology.Epoch(1 + w.rng.IntN(2))
		w.seePlacement()
	case r < 42:
		w.conf++
		w.seePlacement()
	case r < 52:
		w.disk.full = !w.disk.full
		w.note("full %v", w.disk.full)
	case r < 70:
		w.do(Tick{})
	case r < 73 && w.m != nil:
		w.do(Stop{})
		w.crash(false)
	case r < 78 && w.syncing > 0:
		w.failSync()
	}
}

func (w *world) seePlacement() {
	w.do(PlacementSeen{Placement: w.place, Config: Config{w.conf, []byte("settings")}})
}

// do steps the machine and performs the effects; it may die between any two.
func (w *world) do(ev Event) {
	if w.m == nil || w.failed {
		return
	}
	fx := w.m.Step(w.wall, ev)
	if w.trace != nil {
		w.note("%T%v hard=%v append=%v apply=%d cut=%d answers=%v", ev, ev, fx.Hard != nil, fx.Append, len(fx.Apply), fx.Truncate, fx.Answers)
	}
	if fx.Broken != "" {
		w.fail("broken: %s", fx.Broken)
	}
	dieAt := -1
	if !w.healing && w.chance(0.5) {
		dieAt = w.rng.IntN(4)
	}
	if fx.Hard != nil {
		if w.disk.full && len(fx.Append) > 0 && fx.Hard.Promised == w.disk.hard.Promised && fx.Hard.Placement.Epoch == w.disk.hard.Placement.Epoch {
			w.unappend(fx)
			return
		}
		w.disk.hard = *fx.Hard
	}
	if dieAt == 0 {
		w.crash(w.chance(50))
		return
	}
	if len(fx.Append) > 0 && w.disk.full {
		w.unappend(fx)
		return
	}
	if !w.append(fx.Append, dieAt == 1) {
		return
	}
	if fx.Sync {
		w.syncDue = w.disk.end()
	}
	w.queue = append(w.queue, fx.Apply...)
	w.committed()
	if dieAt == 2 {
		w.crash(w.chance(50))
		return
	}
	if fx.Truncate > 0 {
		w.truncate(fx.Truncate)
	}
	w.answered(fx.Answers)
}

// unappend: the disk refused the step's entries; the rest of the effects stands.
func (w *world) unappend(fx Effects) {
	w.counts["refused"]++
	if fx.Sync {
		w.syncDue = w.disk.end()
	}
	w.queue = append(w.queue, fx.Apply...)
	w.answered(fx.Answers)
	w.do(AppendFailed{fx.Append[0].Seq})
}

// append puts entries into the page cache; dying leaves a part of them.
func (w *world) append(es []op.Entry, die bool) bool {
	if die {
		es = es[:w.rng.IntN(len(es)+1)]
	}
	for _, e := range es {
		if e.Seq != w.disk.end()+1 {
			w.fail("gap: %d after %d", e.Seq, w.disk.end())
		}
		at := Position{e.Term, e.Seq}
		if o, ok := w.places[at]; ok && (o.HLC != e.HLC || o.ID != e.ID) {
			w.fail("I4: two entries at %+v", at)
		}
		w.places[at] = e
		if e.Term.Less(w.terms) {
			w.fail("I5: term %v after %v", e.Term, w.terms)
		}
		w.terms = e.Term
		if n := len(w.disk.terms); n == 0 || w.disk.terms[n-1].Term != e.Term {
			w.disk.terms = append(w.disk.terms, TermStart{e.Term, e.Seq})
		}
		w.disk.log = append(w.disk.log, e)
	}
	if die {
		w.crash(w.chance(50))
	}
	return !die
}

func (w *world) truncate(to topology.Seq) {
	if to > w.disk.state.applied {
		w.fail("C9: truncated to %d, checkpoint %d", to, w.disk.state.applied)
	}
	if n := int(to) - int(w.disk.front); n > 0 {
		w.disk.log = slices.Clone(w.disk.log[n:])
		w.disk.front = to
		w.counts["truncations"]++
	}
}

func (w *world) proposals() {
	var ps []Proposal
	for range 1 + w.rng.IntN(3) {
		var n uint32
		if len(w.ops) > 0 && w.chance(35) {
			n = uint32(len(w.ops) - 1 - w.rng.IntN(min(len(w.ops), 6))) // a repetition
			w.counts["repetitions"]++
		} else {
			n = uint32(len(w.ops))
			o := simOp{point: w.rng.IntN(simPoints), del: w.chance(30), parts: 1}
			if w.chance(10) {
				o.parts = 2 + w.rng.IntN(2)
			}
			if w.chance(3) {
				o.factor = 2 // one replica is Active, so never met
			}
			o.floor = w.maxAck[o.point]
			w.ops = append(w.ops, o)
		}
		w.nextRef++
		p := Proposal{Ref: w.nextRef, ID: simID(n), Wait: WaitMode(w.rng.IntN(2)), Factor: w.ops[n].factor}
		p.Seen = w.eng.seen[op.ID{Request: p.ID.Request, Part: op.LastPart}]
		o := &w.ops[n]
		for range o.parts {
			b := []byte{byte(o.point), 0}
			if o.del {
				b[1] = 1
			}
			p.Bodies = append(p.Bodies, b)
		}
		o.live = true
		w.waiting[p.Ref] = simWait{n, p.Wait}
		ps = append(ps, p)
	}
	if w.failed {
		for _, p := range ps {
			delete(w.waiting, p.Ref)
		}
		return
	}
	w.do(Propose{ps})
}

func (w *world) startSync() {
	if w.syncing == 0 && w.syncDue > w.disk.synced && !w.failed {
		w.syncing = w.disk.end()
		w.note("fsync starts up to %d", w.syncing)
	}
}

func (w *world) endSync() {
	if w.syncing == 0 {
		return
	}
	w.disk.synced = max(w.disk.synced, w.syncing)
	s := w.syncing
	w.syncing = 0
	w.do(Durable{s})
}

// failSync: the kernel drops what it could not write, the replica stops for good.
func (w *world) failSync() {
	w.counts["failed fsyncs"]++
	w.syncing = 0
	w.do(Stop{})
	w.failed = w.m != nil
	w.loseTail()
	w.note("fsync fails, log ends at %d", w.disk.end())
}

func (w *world) loseTail() {
	keep := int(w.disk.synced - w.disk.front)
	if n := len(w.disk.log) - keep; n > 0 {
		w.disk.log = slices.Clone(w.disk.log[:keep+w.rng.IntN(n+1)])
	}
	for n := len(w.disk.terms); n > 0 && w.disk.terms[n-1].First > w.disk.end(); n-- {
		w.disk.terms = w.disk.terms[:n-1]
	}
}

func (w *world) applySome() {
	n := min(len(w.queue), 1+w.rng.IntN(8))
	if n == 0 {
		return
	}
	for _, e := range w.queue[:n] {
		if e.Seq != w.eng.applied+1 {
			w.fail("applied %d after %d", e.Seq, w.eng.applied)
		}
		w.eng.apply(e)
	}
	w.queue = w.queue[n:]
	if w.chance(80) { // else the report comes with the next one
		w.do(AppliedTo{w.eng.applied})
	}
}

func (w *world) checkpoint() {
	w.disk.state = w.eng.clone()
	w.do(AppliedTo{w.eng.applied})
	if w.m != nil {
		w.do(Checkpointed{w.disk.state.applied})
	}
}

// crash: killed, or the power fails too and the page cache is lost.
func (w *world) crash(power bool) {
	if w.m == nil {
		return
	}
	w.counts["crashes"]++
	w.note("crash power=%v", power)
	w.m, w.queue, w.syncing, w.syncDue, w.failed = nil, nil, 0, 0, false
	clear(w.waiting)
	if power {
		w.counts["power losses"]++
		w.loseTail()
	}
}

func (w *world) boot() {
	d := &w.disk
	w.eng = d.state.clone()
	if d.end() < topology.Seq(len(w.canon)) {
		w.fail("lost: log ends at %d, committed %d", d.end(), len(w.canon))
	}
	st := Start{Hard: d.hard, Applied: w.eng.applied, MaxHLC: w.eng.maxHLC, ConfigRevision: w.eng.config, Floor: w.eng.floor}
	st.Last.Seq, st.History = d.end(), slices.Clone(d.terms)
	if n := len(d.terms); n > 0 {
		st.Last.Term = d.terms[n-1].Term
	}
	for i, e := range d.log {
		st.MaxHLC = max(st.MaxHLC, e.HLC)
		if e.Seq > w.eng.applied {
			st.Entries = append(st.Entries, d.log[i])
			st.Floor = max(st.Floor, simOwn(e).Floor)
			st.ConfigRevision = max(st.ConfigRevision, simConfig(e))
		}
	}
	w.m = New(Options{Self: 7, Incarnation: topology.Incarnation{1}, RetryWindowMS: simRetryWindowMS})
	w.m.mut = w.mut
	w.note("boot applied=%d last=%v synced=%d", st.Applied, st.Last, d.synced)
	w.counts["starts"]++
	w.do(st)
	if w.m != nil {
		w.seePlacement()
	}
}

// committed extends the committed log with what the machine believes in.
func (w *world) committed() {
	if w.m == nil {
		return
	}
	c := w.m.Status().Commit
	if c > w.disk.synced {
		w.fail("W6: commit %d, synced %d", c, w.disk.synced)
	}
	for s := topology.Seq(len(w.canon)) + 1; s <= c; s++ {
		e := w.disk.log[s-w.disk.front-1]
		w.canon = append(w.canon, e)
		if f := simOwn(e).Floor; f > 0 {
			w.counts["floors"]++
			if f <= w.fold.floor || f.Ms()+simRetryWindowMS > max(e.HLC.Ms(), uint64(w.wallMax)) {
				w.fail("D2: floor %d after %d at %d", f.Ms(), w.fold.floor.Ms(), e.HLC.Ms())
			}
		}
		w.fold.apply(e)
		w.folds = append(w.folds, w.fold.points)
		w.committedOne(e)
	}
}

func (w *world) committedOne(e op.Entry) {
	w.counts["commits"]++
	if n := len(w.canon); n > 1 && e.HLC <= w.canon[n-2].HLC {
		w.fail("W4: stamp of %d not above the one before", e.Seq)
	}
	if e.ID.Request == [16]byte{} || e.ID.Part != op.LastPart {
		return
	}
	o := &w.ops[simNumber(e.ID)]
	if o.factor > 1 {
		w.fail("W9: operation %d commits with one Active replica", simNumber(e.ID))
	}
	if !o.live {
		w.fail("operation %d was refused and commits at %d", simNumber(e.ID), e.Seq)
	}
	if e.HLC <= o.floor {
		w.fail("I7: operation %d older than one acknowledged before it was issued", simNumber(e.ID))
	}
	if o.copies++; o.copies > 1 {
		w.fail("I6: operation %d at %d and %d", simNumber(e.ID), o.seq, e.Seq)
	}
	o.seq = e.Seq
}

func (w *world) answered(as []Answer) {
	for _, a := range as {
		x, ok := w.waiting[a.Ref]
		if !ok {
			w.fail("reference %d answered twice or never asked", a.Ref)
		}
		delete(w.waiting, a.Ref)
		o := &w.ops[x.op]
		w.counts[a.Outcome.String()]++
		switch a.Outcome {
		case Committed, Applied:
			if (a.Outcome == Applied) != (x.mode == WaitApplied) {
				w.fail("W8: %v for mode %d", a.Outcome, x.mode)
			}
			if int(a.Seq) > len(w.canon) || w.canon[a.Seq-1].ID != (op.ID{Request: simID(x.op).Request, Part: op.LastPart}) {
				w.fail("answered %v at %d, which is not committed there", a.Outcome, a.Seq)
			}
			o.acked = true
			w.maxAck[o.point] = max(w.maxAck[o.point], w.canon[a.Seq-1].HLC)
			if a.Outcome == Applied {
				w.shown = max(w.shown, a.Seq)
			}
		case NotPrimary, NoSpace, TooFewActive:
			if a.Outcome == TooFewActive && o.factor < 2 {
				w.fail("W9: factor %d refused", o.factor)
			}
			o.live = o.acked || w.elsewhere(x.op)
		}
	}
}

// elsewhere: an earlier attempt left an entry, or another one waits.
func (w *world) elsewhere(n uint32) bool {
	for _, x := range w.waiting {
		if x.op == n {
			return true
		}
	}
	id := op.ID{Request: simID(n).Request, Part: op.LastPart}
	for _, e := range w.disk.log {
		if e.ID == id {
			return true
		}
	}
	return false
}

func (w *world) check() {
	if w.eng.applied > 0 && w.m != nil {
		if int(w.eng.applied) > len(w.canon) {
			w.fail("W7: applied %d, committed %d", w.eng.applied, len(w.canon))
		}
		if w.folds[w.eng.applied] != w.eng.points {
			w.fail("I2: state at %d is not the fold", w.eng.applied)
		}
	}
	if w.m == nil || w.failed {
		return
	}
	s := w.m.Status()
	if s.Applied > s.Commit || s.Commit > s.Durable || s.Durable > s.Last.Seq {
		w.fail("I3: applied %d commit %d durable %d last %d", s.Applied, s.Commit, s.Durable, s.Last.Seq)
	}
	if s.Ready && w.eng.applied < w.shown {
		w.fail("I8: serves %d, answered as applied %d", w.eng.applied, w.shown)
	}
	w.committed()
}

// heal ends all faults and demands that everything comes to rest.
func (w *world) heal() {
	w.healing, w.disk.full = true, false
	if w.failed {
		w.crash(true)
	}
	if w.m == nil {
		w.boot()
	}
	w.do(Tick{})
	for i := 0; i < 20 || len(w.queue) > 0; i++ {
		w.startSync()
		w.endSync()
		w.applySome()
		w.check()
	}
	w.do(AppliedTo{w.eng.applied})
	s := w.m.Status()
	if s.Role != Primary || !s.Ready || s.Applied != s.Last.Seq || s.Config != w.conf || w.eng.config != w.conf {
		w.fail("stuck: %+v, settings %d, engine %d of %d", s, s.Config, w.eng.config, w.conf)
	}
	if len(w.waiting) > 0 {
		w.fail("%d clients never answered", len(w.waiting))
	}
	for n, o := range w.ops {
		if o.acked && (o.seq == 0 || w.canon[o.seq-1].ID.Request != simID(uint32(n)).Request) {
			w.fail("acknowledged operation %d lost", n)
		}
	}
}
