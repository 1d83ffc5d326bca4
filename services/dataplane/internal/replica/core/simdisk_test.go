package core

import (
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/line"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// What happens to the disks and states of the simulator's peers.

func (w *world) newDisk(h *simHost) {
	w.disks++
	w.losesKept(h)
	h.disk, h.spoilt, h.overruled = simDisk{inc: topology.Incarnation{w.disks}, state: newSimEngine()}, false, false
	h.line = w.line
}

// install: C6a, as the shell does it: the log is kept if it continues the copy.
func (w *world) install(h *simHost, c *simCopy) {
	d := &h.disk
	d.state = c.state.clone()
	t, ok := line.TermAt(d.terms, c.at.Seq)
	if ok && t == c.at.Term && d.end() >= c.at.Seq {
		d.synced = max(d.synced, c.at.Seq) // up to there the state has it
		return
	}
	d.log, d.front, d.synced, d.terms = nil, c.at.Seq, c.at.Seq, slices.Clone(c.terms)
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
		at := Position{Term: e.Term, Seq: e.Seq}
		if o, ok := w.places[at]; ok && (o.HLC != e.HLC || o.ID != e.ID) {
			w.fail("I4: two entries at %+v", at)
		}
		w.places[at] = e
		if n := len(d.terms); n == 0 || d.terms[n-1].Term != e.Term {
			if n > 0 && e.Term.Less(d.terms[n-1].Term) {
				w.fail("I4: term %v after %v at %d", e.Term, d.terms[n-1].Term, h.id)
			}
			d.terms = append(d.terms, TermStart{Term: e.Term, First: e.Seq})
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
		d := &h.disk
		d.kept = d.kept[:d.keptSynced+w.rng.IntN(len(d.kept)-d.keptSynced+1)]
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
	leant := w.cp.due != nil && w.cp.due.on == h.id // it is about to be forced
	if h.m == nil || h.m.Status().Role != Receiver || w.cp.activeIn(h) || leant {
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
	h.control = 0
	if n := len(d.terms); n > 0 {
		st.Last.Term = d.terms[n-1].Term
	}
	for i, e := range d.log {
		st.MaxHLC = max(st.MaxHLC, e.HLC)
		if e.Seq > h.eng.applied {
			st.Entries = append(st.Entries, d.log[i])
		}
	}
	// A log of operations is synced when it is opened.
	d.keptSynced = len(d.kept)
	h.over, st.Provisional = map[op.ID]bool{}, slices.Clone(d.kept)
	if n := len(d.kept); n > 0 {
		d.released = d.kept[n-1].Seq
	}
	st.Kept = d.released
	for _, e := range d.kept {
		if st.MaxHLC = max(st.MaxHLC, e.HLC); e.ID.IsLast() {
			h.over[e.ID] = true
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
