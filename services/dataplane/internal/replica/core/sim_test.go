package core

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// The simulator drives the machines of one shard, on disks that lose what was not
// synced, over a network that loses, repeats, delays and reorders, under clocks
// that jump and a control plane that follows C0 to C10 (simcontrol_test.go), with
// clients that repeat themselves anywhere. It checks the invariants of
// docs/replication.md after every step (simcheck_test.go). One seed, one run,
// always the same bytes of trace.

const (
	simPoints        = 3
	simPeers         = 4 // of which two or three hold a replica at first
	simRetryWindowMS = 1500
)

// simTiming is quick, and its window is small enough to be felt.
func simTiming() Timing {
	return Timing{Deadline: 200, Repeat: 40, Heartbeat: 100, Silence: 500, Serve: 400, Detach: 250, Away: 3000, Move: 200, Compare: 300, Near: 4, Window: 400}
}

// simOp is an operation that a client issues and repeats under one id.
type simOp struct {
	point   int
	del     bool
	parts   int
	factor  int
	routed  uint64 // settings that it was sent by; 0: any
	floor   op.HLC // highest stamp acknowledged on the point before it was issued
	issued  int64  // when, by the time that no clock shows
	tries   int
	refused bool // its only try was
	seq     topology.Seq
	acked   bool
	under   topology.Epoch // of the acknowledgement; 0: a provisional one, or none
	shown   bool           // by a detached replica
	loose   bool           // it was held by a replica that was taken out (P7)
	late    bool           // D2a: listed instead
	stamps  []op.HLC       // that it was kept provisionally with
}

// promised: it must be in the log when all has come to rest.
func (o *simOp) promised() bool { return (o.acked || o.shown) && !o.late }

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
	mark    point.Mark
	rotten  uint64 // bits flipped in it
}

func newSimEngine() simEngine { return simEngine{seen: map[op.ID]topology.Seq{}} }

func (e simEngine) clone() simEngine {
	seen := make(map[op.ID]topology.Seq, len(e.seen))
	for k, v := range e.seen {
		seen[k] = v
	}
	e.seen = seen
	return e
}

func (e *simEngine) sum() point.Digest {
	h := fnv.New64a()
	fmt.Fprint(h, e.points, e.config, e.floor, e.rotten)
	return point.Digest{A: h.Sum64(), B: uint64(e.applied)}
}

func (e *simEngine) apply(en op.Entry) {
	e.applied, e.maxHLC = en.Seq, max(e.maxHLC, en.HLC)
	if en.ID.Request == [16]byte{} {
		o := simOwn(en)
		e.config, e.floor = max(e.config, o.Revision), max(e.floor, o.Floor)
		if o.Kind == op.Mark {
			e.mark = point.Mark{Seq: en.Seq, Digest: e.sum()}
		}
		return
	}
	e.seen[en.ID] = en.Seq
	if p := &e.points[en.Body[0]]; en.HLC > p.hlc {
		*p = simPoint{en.HLC, en.Body[1] == 0, simNumber(en.ID)}
	}
}

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
	id.Index = op.ClientIndexBit
	binary.BigEndian.PutUint32(id.Request[:], n+1)
	return id
}

// simLast is the id of its last part.
func simLast(n uint32) op.ID {
	id := simID(n)
	id.Part = op.LastPart
	return id
}

func simNumber(id op.ID) uint32 { return binary.BigEndian.Uint32(id.Request[:]) - 1 }

// simDisk is what a crash leaves. log[0] has place front+1.
type simDisk struct {
	inc    topology.Incarnation
	hard   Hard
	log    []op.Entry
	front  topology.Seq // truncated up to here
	synced topology.Seq
	terms  []TermStart
	state  simEngine // last checkpoint
	full   bool
	// Provisional operations, and how many of the entries are durable.
	kept       []op.Entry
	keptSynced int
	released   topology.Seq // number of the last one that was ever there
}

func (d *simDisk) end() topology.Seq { return d.front + topology.Seq(len(d.log)) }

func (d *simDisk) at(s topology.Seq) op.Entry { return d.log[s-d.front-1] }

// simHost is a peer with its replica.
type simHost struct {
	id      topology.PeerID
	disk    simDisk
	m       *Machine // nil: down
	eng     simEngine
	queue   []op.Entry // handed to the engine, not applied yet
	skew    int64      // of the wall clock
	asleep  int64      // until then it gets no time
	wake    int64
	session uint64
	lease   uint64 // session at the control plane, 0: none
	// syncing: an fsync is running that will cover the log up to it.
	syncing, syncDue topology.Seq
	failed           bool           // an fsync failed: only a restart helps
	forced           topology.Epoch // F1: from this one on what it has is the committed log; 0: no such one is coming
	line             topology.Epoch // F1: the newest forced one that it has heard of
	overruled        bool           // F1: it knows as committed what the shard goes on without
	spoilt           bool           // bits flipped in it while it was Active
	over             map[op.ID]bool // shown over the state
	control          int64          // when the control plane was heard last
	held             []Event        // wait for the log to be free
	fetching         topology.PeerID
	copied           *simCopy // fetched, not judged yet
}

// simCopy is a copy of a state.
type simCopy struct {
	state simEngine
	at    Position
	terms []TermStart
	other bool // F1: of what the shard goes on without
	line  topology.Epoch
}

// simMsg is on its way. To 0 is the control plane.
type simMsg struct {
	from, to topology.PeerID
	what     any // Message, SetState, Move, simConfirm, simConfirmed, PlacementSeen
	lease    uint64
}

type simWait struct {
	op   uint32
	mode WaitMode
	host topology.PeerID
	read bool
	need topology.Seq // of a read: all that was acknowledged before it
}

type world struct {
	rng      *rand.Rand
	mut      mutations
	hosts    []*simHost
	net      []simMsg
	cut      map[[2]topology.PeerID]bool // direction
	mono     int64
	cp       simControl
	faults   float64 // chance of one in a step, in percent
	conf     uint64
	sessions uint64
	disks    byte

	ops     []simOp
	waiting map[uint64]simWait
	nextRef uint64

	highest   op.HLC     // stamp in the committed log
	canonConf uint64     // the newest settings in it
	canon     []op.Entry // the committed log
	fold      simEngine
	folds     [][simPoints]simPoint
	places    map[Position]op.Entry
	shown     topology.Seq // highest place answered as applied
	acked     topology.Seq // highest place answered
	maxAck    [simPoints]op.HLC
	ackedBy   map[topology.Epoch]topology.PeerID
	step      int
	counts    map[string]int
	trace     *strings.Builder
	healing   bool
	spoils    int             // copies that were spoilt
	wholeAt   int64           // when all replicas were Active last, and nothing was provisional
	orphans   map[uint32]bool // F1: operations that were acknowledged and that the shard goes on without
	line      topology.Epoch  // F1: the newest forced one
	stands    topology.Seq    // so far the committed log was kept then
	lost      bool            // nobody can tell any more which of two copies is right
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
		rng: rand.New(rand.NewPCG(seed, 0x50616e646f)), mut: mut, mono: 1_000_000, waiting: map[uint64]simWait{},
		places: map[Position]op.Entry{}, counts: map[string]int{}, orphans: map[uint32]bool{}, trace: trace, cut: map[[2]topology.PeerID]bool{},
		fold: newSimEngine(), folds: make([][simPoints]simPoint, 1), ackedBy: map[topology.Epoch]topology.PeerID{}, conf: 1,
	}
	for i := range simPeers {
		h := &simHost{id: topology.PeerID(i + 1), skew: 1_700_000_000_000 + int64(w.rng.IntN(4000))}
		w.newDisk(h)
		w.hosts = append(w.hosts, h)
	}
	w.faults = []float64{0.2, 0.7, 2, 4}[w.rng.IntN(4)]
	w.cp.found(w, 2+w.rng.IntN(2))
	return w
}

func (w *world) host(p topology.PeerID) *simHost { return w.hosts[p-1] }

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
	for ; w.step < steps && !w.lost; w.step++ {
		w.act()
		w.check()
	}
	if w.lost {
		w.counts["two copies that differ"]++
		return ""
	}
	w.heal()
	return ""
}

func (w *world) chance(percent float64) bool { return w.rng.Float64()*100 < percent }

func (w *world) now(h *simHost) Time {
	if w.linked(h.id, 0) && h.lease != 0 {
		h.control = w.mono
	}
	return Time{Wall: w.mono + h.skew, Mono: w.mono, Control: h.control}
}

func (w *world) act() {
	w.mono += int64(w.rng.IntN(4))
	w.ring()
	if w.chance(w.faults) {
		w.around()
		return
	}
	if w.chance(w.faults) {
		w.spoil(w.hosts[w.rng.IntN(len(w.hosts))])
	}
	switch r := w.rng.IntN(100); {
	case r < 45:
		w.deliver()
	case r < 53:
		w.cp.act(w)
	default:
		w.busy(w.hosts[w.rng.IntN(len(w.hosts))])
	}
}

// ring gives time to whoever asked for it.
func (w *world) ring() {
	for _, h := range w.hosts {
		if h.m != nil && h.wake != 0 && h.wake <= w.mono && w.chance(60) {
			w.do(h, Tick{})
		}
	}
}

// busy is what goes on in a process.
func (w *world) busy(h *simHost) {
	if h.m == nil {
		if w.chance(15) {
			w.boot(h)
		}
		return
	}
	if w.awake(h) {
		switch r := w.rng.IntN(100); {
		case r < 22:
			w.proposals(h)
		case r < 25:
			w.reads(h)
		case r < 45:
			w.startSync(h)
		case r < 65:
			w.endSync(h)
		case r < 84:
			w.applySome(h)
		case r < 91:
			w.keepSome(h)
		case r < 92:
			w.do(h, Maintain{op.Op{Kind: op.Seal}})
		case r < 95:
			w.checkpoint(h)
		default:
			w.copying(h)
		}
	}
}

func (w *world) awake(h *simHost) bool { return h.asleep <= w.mono }

// around is what happens to processes and links rather than in them.
func (w *world) around() {
	h := w.hosts[w.rng.IntN(len(w.hosts))]
	switch r := w.rng.IntN(100); {
	case r < 25:
		w.crash(h, w.chance(50))
	case r < 33:
		h.skew += int64(w.rng.IntN(30_000)) - 10_000
		if w.chance(5) {
			h.skew += 2 * simRetryWindowMS
		}
		w.note("%d clock %d", h.id, h.skew)
	case r < 38:
		w.mono += int64(w.rng.IntN(600))
	case r < 44:
		h.asleep = w.mono + int64(w.rng.IntN(1500))
		w.note("%d sleeps", h.id)
	case r < 50:
		w.conf++
	case r < 56:
		h.disk.full = !h.disk.full
		w.note("%d full %v", h.id, h.disk.full)
	case r < 76:
		w.partition(h.id)
	case r < 84:
		clear(w.cut)
		w.cp.cut, w.cp.down = [simPeers + 1]bool{}, false
		w.note("links whole")
	case r < 88:
		w.cp.down = !w.cp.down
		if w.cp.down && w.chance(60) { // with a peer of the data plane
			h.asleep = w.mono + int64(500+w.rng.IntN(2000))
		}
		w.note("control plane down %v", w.cp.down)
	case r < 92:
		w.loseDisk(h)
	case r < 95:
		w.rot(h)
	case r < 97 && h.syncing > 0:
		w.failSync(h)
	case h.m != nil:
		w.do(h, Stop{})
		w.crash(h, false)
	}
}

// do steps the machine and performs the effects; it may die between any two.
func (w *world) do(h *simHost, ev Event) {
	if h.m == nil || h.failed || !w.awake(h) {
		return
	}
	if h.syncing > 0 && Changes(ev) {
		if len(h.held) < 20 {
			h.held = append(h.held, ev)
		}
		return
	}
	if r, ok := ev.(Received); ok {
		ev = Received{r.From, w.lookedUp(h, r.Message)}
	}
	was := h.m.Status()
	fx := h.m.Step(w.now(h), ev)
	h.wake = fx.Wake
	w.hearOfForce(h, was)
	if w.trace != nil {
		w.note("%d %s =>%s", h.id, brief(ev), brief(fx))
	}
	if fx.Broken != "" {
		w.fail("broken at %d: %s", h.id, fx.Broken)
	}
	if !Changes(ev) && (fx.Cut != nil || len(fx.Append) > 0) {
		w.fail("%T changes the log", ev)
	}
	w.perform(h, was, fx)
}

func (w *world) perform(h *simHost, was Status, fx Effects) {
	dieAt := -1
	if !w.healing && w.chance(w.faults/5) {
		dieAt = w.rng.IntN(7)
	}
	die := func(at int) bool {
		if dieAt == at {
			w.crash(h, w.chance(50))
		}
		return h.m == nil
	}
	if die(0) {
		return
	}
	if fx.Hard != nil {
		h.disk.hard = *fx.Hard
	}
	if die(1) {
		return
	}
	if fx.Cut != nil {
		w.cutLog(h, fx.Cut.After)
	}
	full := w.keep(h, fx)
	if die(5) {
		return
	}
	refused := len(fx.Append) > 0 && h.disk.full
	if !refused && !w.append(h, fx.Append, dieAt == 2) {
		return
	}
	if fx.Sync {
		h.syncDue = h.disk.end()
	}
	h.queue = append(h.queue, fx.Apply...)
	w.committed(h)
	if die(3) {
		return
	}
	if fx.Truncate > 0 {
		w.truncate(h, fx.Truncate)
	}
	if !refused {
		for _, e := range fx.Send {
			w.send(simMsg{from: h.id, to: e.To, what: e.Message})
		}
	}
	for _, a := range fx.Ask {
		if other := w.host(a.Peer); strings.HasPrefix(a.Reason, "its copy differs") && a.Epoch == w.cp.rec.Epoch && other.eng.rotten == 0 && other.m != nil && w.cp.activeIn(other) {
			w.fail("a good copy is taken out: %s", a.Reason)
		}
		w.send(simMsg{from: h.id, what: a, lease: h.lease})
	}
	if fx.Move != nil {
		w.send(simMsg{from: h.id, what: *fx.Move, lease: h.lease})
	}
	w.answered(h, fx.Answers)
	if die(4) {
		return
	}
	for _, r := range fx.Read {
		w.read(h, r)
	}
	if fx.Fetch != 0 {
		h.fetching = fx.Fetch
	}
	w.judge(h, fx)
	if refused && h.m != nil {
		w.counts["refused"]++
		w.do(h, AppendFailed{fx.Append[0].Seq})
	}
	if full && h.m != nil {
		w.counts["not kept"]++
		w.do(h, KeepFailed{fx.Keep[0].Seq})
	}
}

// judge does what the machine says of a copy, or of its own.
func (w *world) judge(h *simHost, fx Effects) {
	c := h.copied
	switch fx.Copy {
	case Install:
		w.guardKept(h, "a copy")
		w.counts["copies installed"]++
		h.copied = nil
		w.destroyed(h, c.state.seen, "a copy")
		w.install(h, c)
		h.overruled = h.overruled || h.line == w.line && (c.other || c.line < w.line && c.at.Seq > w.stands)
		w.restart(h)
	case Drop:
		w.counts["copies dropped"]++
		h.copied = nil
	}
	if fx.Wipe != "" {
		w.guardKept(h, "a wipe")
		w.counts["wiped"]++
		if fx.Aside {
			w.counts["set aside"]++
		} else {
			w.destroyed(h, nil, "a wipe")
		}
		w.newDisk(h)
		w.restart(h)
	}
}

// restart: the replica starts anew in its process, which goes on.
func (w *world) restart(h *simHost) {
	w.crash(h, false)
	if w.chance(80) || w.healing {
		w.boot(h)
	}
}
