package core

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
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
	return Timing{Deadline: 200, Repeat: 40, Heartbeat: 100, Silence: 500, Serve: 400, Move: 200, Compare: 300, Near: 4, Window: 400}
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
	binary.BigEndian.PutUint32(id.Request[:], n+1)
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

func (w *world) newDisk(h *simHost) {
	w.disks++
	h.disk, h.spoilt, h.overruled = simDisk{inc: topology.Incarnation{w.disks}, state: newSimEngine()}, false, false
	h.line = w.line
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
	return Time{Wall: w.mono + h.skew, Mono: w.mono}
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
		case r < 91:
			w.applySome(h)
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

// partition cuts a peer off: from all or one, in one direction or both.
func (w *world) partition(p topology.PeerID) {
	only := topology.PeerID(0)
	if w.chance(50) {
		only = topology.PeerID(1 + w.rng.IntN(simPeers))
	}
	for _, o := range w.hosts {
		if only != 0 && o.id != only {
			continue
		}
		w.cut[[2]topology.PeerID{p, o.id}] = true
		if w.chance(60) {
			w.cut[[2]topology.PeerID{o.id, p}] = true
		}
	}
	if w.chance(40) {
		w.cp.cut[p] = true
	}
	w.note("cut %v control plane %v", w.cut, w.cp.cut)
}

func (w *world) linked(a, b topology.PeerID) bool {
	switch {
	case a == 0:
		return !w.cp.down && !w.cp.cut[b]
	case b == 0:
		return !w.cp.down && !w.cp.cut[a]
	}
	return !w.cut[[2]topology.PeerID{a, b}]
}

func (w *world) send(m simMsg) {
	if len(w.net) > 80 { // something old is lost
		i := w.rng.IntN(len(w.net))
		w.net = slices.Delete(w.net, i, i+1)
	}
	w.net = append(w.net, m)
}

// deliver hands one message over, mostly in order, or loses or repeats it.
func (w *world) deliver() {
	if len(w.net) == 0 {
		return
	}
	i := 0
	if !w.healing && w.chance(20) {
		i = w.rng.IntN(len(w.net))
	}
	m := w.net[i]
	if w.healing || !w.chance(3) {
		w.net = slices.Delete(w.net, i, i+1)
	} else {
		w.counts["repeated messages"]++
	}
	if !w.linked(m.from, m.to) || !w.healing && w.chance(w.faults) {
		w.counts["lost messages"]++
		return
	}
	if m.to == 0 {
		w.cp.receive(w, m)
		return
	}
	h := w.host(m.to)
	if h.m == nil || h.failed {
		return
	}
	if !w.awake(h) {
		w.send(m)
		return
	}
	switch x := m.what.(type) {
	case Message:
		w.do(h, Received{m.from, x})
	case PlacementSeen, HandOver:
		w.do(h, x.(Event))
	case simConfirm:
		w.do(h, PlacementSeen{Placement: x.rec, Config: Config{w.conf, []byte("settings")}})
		if h.m != nil {
			w.send(simMsg{from: h.id, what: simConfirmed{x.nonce, h.disk.inc, h.m.Status().Placement.Epoch}, lease: h.lease})
		}
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
		dieAt = w.rng.IntN(6)
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
		if other := w.host(a.Peer); strings.HasPrefix(a.Reason, "its copy differs") && other.eng.rotten == 0 && other.m != nil && w.cp.activeIn(other) {
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
}

// judge does what the machine says of a copy, or of its own.
func (w *world) judge(h *simHost, fx Effects) {
	c := h.copied
	switch fx.Copy {
	case Install:
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

// install: C6a, as the shell does it: the log is kept if it continues the copy.
func (w *world) install(h *simHost, c *simCopy) {
	d := &h.disk
	d.state = c.state.clone()
	t, ok := termAt(d.terms, c.at.Seq)
	if ok && t == c.at.Term && d.end() >= c.at.Seq {
		d.synced = max(d.synced, c.at.Seq) // up to there the state has it
		return
	}
	d.log, d.front, d.synced, d.terms = nil, c.at.Seq, c.at.Seq, slices.Clone(c.terms)
}

// restart: the replica starts anew in its process, which goes on.
func (w *world) restart(h *simHost) {
	w.crash(h, false)
	if w.chance(80) || w.healing {
		w.boot(h)
	}
}

// read answers a Read, now or never.
func (w *world) read(h *simHost, r Read) {
	d, out := &h.disk, ReadDone{Read: r}
	if r.From > d.front && r.From <= d.end() {
		es := d.log[r.From-d.front-1:]
		out.Entries = slices.Clone(es[:min(len(es), 1+w.rng.IntN(3))])
	}
	w.do(h, out)
}

// copying moves a transfer on.
func (w *world) copying(h *simHost) {
	switch {
	case h.copied != nil:
		if c := h.copied; !w.mut.ignoreClash && h.m != nil && h.m.Line().Clashes(c.terms, c.at.Seq) {
			h.copied = nil
			w.do(h, FetchFailed{Clash: true})
			return
		}
		w.do(h, Fetched{h.copied.at.Seq})
	case h.fetching != 0:
		src := w.host(h.fetching)
		h.fetching = 0
		if src.m == nil || src.failed || src.m.Status().Role != Primary || !w.linked(h.id, src.id) || !w.linked(src.id, h.id) || w.chance(20) {
			w.do(h, FetchFailed{})
			return
		}
		h.copied = &simCopy{state: src.eng.clone(), other: src.overruled, line: src.line}
		h.copied.state.mark = point.Mark{} // what it did not compute itself proves nothing
		at := src.eng.applied
		t, ok := termAt(src.disk.terms, at)
		if !ok && at > 0 {
			w.fail("term of applied %d unknown at %d", at, src.id)
		}
		h.copied.at = Position{t, at}
		for _, s := range src.disk.terms {
			if s.First <= at {
				h.copied.terms = append(h.copied.terms, s)
			}
		}
		w.counts["copies"]++
		w.do(src, Pinned{h.id, at})
	}
}

// append puts entries into the page cache; dying leaves a part of them.
func (w *world) append(h *simHost, es []op.Entry, dies bool) bool {
	if dies {
		es = es[:w.rng.IntN(len(es)+1)]
	}
	d := &h.disk
	for _, e := range es {
		if e.Seq != d.end()+1 {
			w.fail("gap at %d: %d after %d", h.id, e.Seq, d.end())
		}
		at := Position{e.Term, e.Seq}
		if o, ok := w.places[at]; ok && (o.HLC != e.HLC || o.ID != e.ID) {
			w.fail("I4: two entries at %+v", at)
		}
		w.places[at] = e
		if n := len(d.terms); n == 0 || d.terms[n-1].Term != e.Term {
			if n > 0 && e.Term.Less(d.terms[n-1].Term) {
				w.fail("I4: term %v after %v at %d", e.Term, d.terms[n-1].Term, h.id)
			}
			d.terms = append(d.terms, TermStart{e.Term, e.Seq})
		}
		d.log = append(d.log, e)
	}
	if dies {
		w.crash(h, w.chance(50))
	}
	return !dies
}

// cutLog is durable, and so is what it leaves.
func (w *world) cutLog(h *simHost, after topology.Seq) {
	d := &h.disk
	w.counts["cuts"]++
	if after < h.eng.applied || after < topology.Seq(len(w.canon)) && after < d.synced && w.cp.activeIn(h) && h.forced == 0 {
		w.fail("I3: %d cuts its log to %d, applied %d, committed %d", h.id, after, h.eng.applied, len(w.canon))
	}
	d.log = slices.Clone(d.log[:after-d.front])
	d.synced = after
	w.trimTerms(d)
}

func (w *world) trimTerms(d *simDisk) {
	for n := len(d.terms); n > 0 && d.terms[n-1].First > d.end(); n-- {
		d.terms = d.terms[:n-1]
	}
}

func (w *world) truncate(h *simHost, to topology.Seq) {
	d := &h.disk
	if to > d.state.applied {
		w.fail("C9: %d truncated to %d, checkpoint %d", h.id, to, d.state.applied)
	}
	if n := int(to) - int(d.front); n > 0 {
		d.log = slices.Clone(d.log[n:])
		d.front = to
		w.counts["truncations"]++
	}
}

func (w *world) proposals(h *simHost) {
	if h.syncing > 0 || h.failed {
		return
	}
	if h.m.Status().Role != Primary && w.chance(85) {
		return
	}
	var ps []Proposal
	for range 1 + w.rng.IntN(3) {
		var n uint32
		again := len(w.ops) > 0 && w.chance(35)
		if again { // a repetition, while the client may still repeat it (D2)
			n = uint32(len(w.ops) - 1 - w.rng.IntN(min(len(w.ops), 6)))
			if w.chance(10) {
				n = uint32(len(w.ops) - 1 - w.rng.IntN(min(len(w.ops), 200)))
			}
			again = w.mono-w.ops[n].issued < simRetryWindowMS
		}
		if again {
			w.counts["repetitions"]++
		} else {
			n = uint32(len(w.ops))
			o := simOp{point: w.rng.IntN(simPoints), del: w.chance(30), parts: 1, factor: w.rng.IntN(4), issued: w.mono}
			if w.chance(10) {
				o.parts = 2 + w.rng.IntN(2)
			}
			if o.factor > 1 && w.chance(70) {
				o.factor = 1
			}
			if n%3 == 0 && w.conf > 1 {
				o.routed = w.conf - uint64(n/3%2)
			}
			o.floor = w.maxAck[o.point]
			w.ops = append(w.ops, o)
		}
		w.nextRef++
		o := &w.ops[n]
		p := Proposal{Ref: w.nextRef, ID: simID(n), Wait: WaitMode(w.rng.IntN(2)), Factor: o.factor, Routed: o.routed}
		p.Seen = h.eng.seen[op.ID{Request: p.ID.Request, Part: op.LastPart}]
		for range o.parts {
			b := []byte{byte(o.point), 0}
			if o.del {
				b[1] = 1
			}
			p.Bodies = append(p.Bodies, b)
		}
		o.tries++
		w.waiting[p.Ref] = simWait{op: n, mode: p.Wait, host: h.id}
		ps = append(ps, p)
	}
	w.do(h, Propose{ps})
}

func (w *world) reads(h *simHost) {
	if h.failed || h.m.Status().Role != Primary && w.chance(85) {
		return
	}
	w.nextRef++
	w.waiting[w.nextRef] = simWait{host: h.id, read: true, need: w.acked}
	w.do(h, Linearize{w.nextRef})
}

func (w *world) startSync(h *simHost) {
	if h.syncing == 0 && h.syncDue > 0 && !h.failed {
		h.syncing, h.syncDue = h.disk.end(), 0
	}
}

func (w *world) endSync(h *simHost) {
	if h.syncing == 0 {
		return
	}
	h.disk.synced = max(h.disk.synced, h.syncing)
	s := h.syncing
	h.syncing = 0
	w.do(h, Durable{s})
	held := h.held
	h.held = nil
	for _, ev := range held {
		w.do(h, ev)
	}
}

// failSync: the kernel drops what it could not write, the replica stops for good.
func (w *world) failSync(h *simHost) {
	w.counts["failed fsyncs"]++
	h.syncing, h.held = 0, nil
	w.do(h, Stop{})
	h.failed = h.m != nil
	w.loseTail(h)
}

func (w *world) loseTail(h *simHost) {
	d := &h.disk
	keep := int(d.synced - d.front)
	if n := len(d.log) - keep; n > 0 {
		d.log = slices.Clone(d.log[:keep+w.rng.IntN(n+1)])
	}
	w.trimTerms(d)
}

func (w *world) applySome(h *simHost) {
	n := min(len(h.queue), 1+w.rng.IntN(8))
	if h.failed || n == 0 && h.m.applied == h.eng.applied {
		return
	}
	for _, e := range h.queue[:n] {
		if e.Seq != h.eng.applied+1 {
			w.fail("%d applied %d after %d", h.id, e.Seq, h.eng.applied)
		}
		h.eng.apply(e)
	}
	h.queue = h.queue[n:]
	if w.healing || w.chance(80) { // else the report comes with the next one
		w.do(h, w.applied(h))
	}
}

func (w *world) applied(h *simHost) AppliedTo {
	return AppliedTo{h.eng.applied, h.eng.mark}
}

func (w *world) checkpoint(h *simHost) {
	if h.syncing > 0 || h.failed {
		return
	}
	h.disk.state = h.eng.clone()
	w.do(h, w.applied(h))
	if h.m != nil {
		w.do(h, Checkpointed{h.disk.state.applied})
	}
}

// crash: killed, or the power fails too and the page cache is lost.
func (w *world) crash(h *simHost, power bool) {
	if h.m == nil {
		return
	}
	w.counts["crashes"]++
	w.note("%d crash power=%v", h.id, power)
	h.m, h.queue, h.syncing, h.syncDue, h.failed, h.held, h.fetching, h.copied, h.lease, h.asleep = nil, nil, 0, 0, false, nil, 0, nil, 0, 0
	for ref, x := range w.waiting {
		if x.host == h.id {
			delete(w.waiting, ref)
		}
	}
	if power {
		w.counts["power losses"]++
		w.loseTail(h)
	}
}

// loseDisk: only while another intact Active copy is there; losing the last one
// loses data whatever the protocol does (replication.md §12). The window that C2a
// leaves open is left out as well: there an operator has to force a full copy.
func (w *world) loseDisk(h *simHost) {
	leant := w.cp.due != nil && w.cp.due.on == h.id || w.cp.rec.Primary == 0
	if leant || w.cp.activeIn(h) && !w.cp.another(w, h.id) {
		return
	}
	w.crash(h, true)
	w.newDisk(h)
	w.counts["disks lost"]++
	w.note("%d lost its disk", h.id)
}

// rot flips bits in a copy that is not vouched for yet.
func (w *world) rot(h *simHost) {
	if h.m == nil || h.m.Status().Role != Receiver || w.cp.activeIn(h) {
		return
	}
	p := w.host(max(w.cp.rec.Primary, 1))
	if p.m == nil || p.m.role != Primary || p.m.peers[h.id] == nil || p.m.peers[h.id].pending {
		return
	}
	h.eng.rotten, h.disk.state.rotten = h.eng.rotten+1, h.eng.rotten+1
	w.counts["rotten"]++
	w.note("%d rots at %d", h.id, h.eng.applied)
}

// spoil flips bits in one of three Active copies: the other two will tell.
func (w *world) spoil(h *simHost) {
	if h.m == nil || !w.cp.activeIn(h) || w.cp.rec.ActiveCount() < 3 || w.spoils > 0 {
		return
	}
	h.eng.rotten, h.disk.state.rotten, h.spoilt = h.eng.rotten+1, h.disk.state.rotten+1, true
	w.spoils++
	w.counts["spoilt"]++
	w.note("%d is spoilt at %d", h.id, h.eng.applied)
}

func (w *world) boot(h *simHost) {
	d := &h.disk
	h.eng = d.state.clone()
	st := Start{Hard: d.hard, Applied: h.eng.applied, MaxHLC: h.eng.maxHLC, Config: h.eng.config, Floor: h.eng.floor, Mark: h.eng.mark}
	st.Last.Seq, st.History = d.end(), slices.Clone(d.terms)
	if n := len(d.terms); n > 0 {
		st.Last.Term = d.terms[n-1].Term
	}
	for i, e := range d.log {
		st.MaxHLC = max(st.MaxHLC, e.HLC)
		if e.Seq > h.eng.applied {
			st.Entries = append(st.Entries, d.log[i])
		}
	}
	w.sessions++
	h.session, h.asleep = w.sessions, 0
	h.m = New(Options{Self: h.id, Incarnation: d.inc, Session: h.session, RetryWindowMS: simRetryWindowMS, Timing: simTiming()})
	h.m.mut = w.mut
	w.note("%d boots applied=%d last=%v synced=%d", h.id, st.Applied, st.Last, d.synced)
	w.counts["starts"]++
	w.do(h, st)
	if w.chance(80) {
		w.cp.tell(w, h.id)
	}
}
