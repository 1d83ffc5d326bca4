package core

import (
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/line"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// committed extends the committed log with what a primary believes in, and holds
// everybody else's belief against it (I2, I5).
func (w *world) committed(h *simHost) {
	if h.m == nil || w.otherLine(h) {
		return
	}
	s := h.m.Status()
	d := &h.disk
	if s.Commit > d.synced {
		w.fail("W6: commit %d at %d, synced %d", s.Commit, h.id, d.synced)
	}
	for q := max(d.front, h.eng.applied) + 1; q <= s.Commit; q++ {
		e := d.at(q)
		if q <= topology.Seq(len(w.canon)) {
			if c := w.canon[q-1]; c.Term != e.Term || c.ID != e.ID {
				w.fail("I2: committed entry %d of %v is %v at %d", q, c.Term, e.Term, h.id)
			}
			continue
		}
		if s.Role != Primary {
			w.fail("I2: %d knows %d as committed, nobody committed it", h.id, q)
		}
		w.commitOne(e)
	}
}

func (w *world) commitOne(e op.Entry) {
	w.counts["commits"]++
	w.canon = append(w.canon, e)
	w.canonConf = max(w.canonConf, simOwn(e).Revision)
	if f := simOwn(e).Floor; f > 0 {
		w.counts["floors"]++
		if f <= w.fold.floor || f >= e.HLC {
			w.fail("D2: floor %d after %d at %d", f.Ms(), w.fold.floor.Ms(), e.HLC.Ms())
		}
		for n := range w.ops {
			if o := &w.ops[n]; o.seq != 0 && w.mono-o.issued < simRetryWindowMS && w.canon[o.seq-1].HLC <= f && len(o.stamps) == 0 { // provisional ones have the stamp of whoever took them (P9)
				w.fail("D2: floor %d passes operation %d, which is repeated still", f.Ms(), n)
			}
		}
	}
	w.fold.apply(e)
	w.folds = append(w.folds, w.fold.points)
	again := e.ID.Request != [16]byte{} && len(w.ops[simNumber(e.ID)].stamps) > 0
	if !again && e.HLC <= w.highest {
		w.fail("W4: stamp of %d not above the one before", e.Seq)
	}
	w.highest = max(w.highest, e.HLC)
	if e.ID.Request == [16]byte{} || e.ID.Part != op.LastPart {
		return
	}
	n := simNumber(e.ID)
	o := &w.ops[n]
	p := w.cp.past[e.Epoch]
	if o.seq != 0 {
		w.fail("I6: operation %d at %d and %d", n, o.seq, e.Seq)
	}
	o.seq = e.Seq
	if again {
		w.counts["re-proposed"]++
		if e.Origin != p.Primary && !slices.Contains(o.stamps, e.HLC) {
			w.fail("P6: operation %d has another stamp than it was acknowledged with", n)
		}
		return
	}
	if p.ActiveCount() < min(o.factor, len(p.Replicas)) {
		w.fail("W9: operation %d of factor %d commits with %d Active replicas", n, o.factor, p.ActiveCount())
	}
	if o.routed != 0 && o.routed < w.canonConf {
		w.fail("W12: operation %d, sent by settings %d, comes after settings %d", n, o.routed, w.canonConf)
	}
	if o.refused && o.tries == 1 {
		w.fail("operation %d was refused and commits at %d", n, e.Seq)
	}
	if e.HLC <= o.floor {
		w.fail("I7: operation %d older than one acknowledged before it was issued", n)
	}
}

func (w *world) answered(h *simHost, as []Answer) {
	for _, a := range as {
		x, ok := w.waiting[a.Ref]
		if !ok {
			w.fail("reference %d answered twice or never asked", a.Ref)
		}
		delete(w.waiting, a.Ref)
		if w.otherLine(h) {
			w.orphans[x.op] = w.orphans[x.op] || !x.read && (a.Outcome == Committed || a.Outcome == Applied)
			continue
		}
		if x.read {
			w.answeredRead(h, x, a)
			continue
		}
		o := &w.ops[x.op]
		w.counts[a.Outcome.String()]++
		switch a.Outcome {
		case Committed, Applied:
			if (a.Outcome == Applied) != (x.mode == WaitApplied) {
				w.fail("W8: %v for mode %d", a.Outcome, x.mode)
			}
			if int(a.Seq) > len(w.canon) || w.canon[a.Seq-1].ID != simLast(x.op) {
				w.fail("answered %v at %d, which is not committed there", a.Outcome, a.Seq)
			}
			w.acknowledged(h, o, a)
		case Provisional:
			w.promise(h, x.op, a)
		case NotPrimary, Detached, NoSpace, TooFewActive, Moving, Rerouted:
			o.refused = !o.acked
		}
	}
}

// answeredRead: I10.
func (w *world) answeredRead(h *simHost, x simWait, a Answer) {
	switch {
	case a.Outcome == NotPrimary || a.Outcome == Detached:
	case a.Outcome != Readable:
		w.fail("a read was answered %v", a.Outcome)
	case h.eng.applied < x.need:
		w.fail("I10: %d reads at %d, %d was acknowledged before", h.id, h.eng.applied, x.need)
	default:
		w.counts["readable"]++
	}
}

func (w *world) acknowledged(h *simHost, o *simOp, a Answer) {
	e := h.m.term.Epoch
	if by, ok := w.ackedBy[e]; ok && by != h.id {
		w.fail("I5: %d and %d acknowledge under epoch %d", by, h.id, e)
	}
	w.ackedBy[e] = h.id
	if o.acked = true; o.under == 0 || e < o.under {
		o.under = e
	}
	w.acked = max(w.acked, a.Seq)
	w.maxAck[o.point] = max(w.maxAck[o.point], w.canon[a.Seq-1].HLC)
	if a.Outcome == Applied {
		w.shown = max(w.shown, a.Seq)
	}
}

func (w *world) check() {
	w.assemble()
	for _, h := range w.hosts {
		// With two Active copies, or none but the wrong one that can be copied, the primary is right by definition.
		w.lost = w.lost || h.spoilt && w.cp.activeIn(h) && w.cp.rec.ActiveCount() < 3
		w.durable(h)
		h.overruled = h.overruled && (!w.cp.activeIn(h) || h.forced != 0)
		if h.m == nil || h.failed || w.otherLine(h) {
			continue
		}
		w.committed(h)
		s := h.m.Status()
		if s.Applied > s.Commit || s.Commit > s.Durable || s.Durable > s.Last.Seq || s.Last.Seq != h.disk.end() {
			w.fail("I3: %d applied %d commit %d durable %d last %d of %d", h.id, s.Applied, s.Commit, s.Durable, s.Last.Seq, h.disk.end())
		}
		if h.eng.applied > topology.Seq(len(w.canon)) {
			w.fail("W7: %d has applied %d of %d committed", h.id, h.eng.applied, len(w.canon))
		}
		if h.eng.applied > 0 && h.eng.rotten == 0 && w.folds[h.eng.applied] != h.eng.points {
			w.fail("I2: state of %d at %d is not the fold", h.id, h.eng.applied)
		}
		if s.Ready && !s.Detached && w.cp.activeIn(h) && h.eng.applied < w.shown {
			w.fail("I8: %d serves %d, answered as applied %d", h.id, h.eng.applied, w.shown)
		}
		if h.eng.rotten > 0 && w.cp.activeIn(h) && !h.spoilt {
			w.fail("C8: a rotten copy is Active")
		}
		w.overlaid(h, s)
		if s.Diverged > 0 && w.spoils == 0 {
			w.fail("%d finds that copies differ, and none does", h.id)
		}
		if s.Diverged > 0 {
			w.counts["found"]++
		}
	}
}

// overrule: F1. What h has durable is the committed log from now on, and what was
// acknowledged beyond it is forgiven, as long as whoever has it is not destroyed.
func (w *world) overrule(h *simHost) {
	n := min(topology.Seq(len(w.canon)), h.disk.synced)
	for ; n > 0; n-- {
		if t, ok := line.TermAt(h.disk.terms, n); n <= h.disk.front || ok && t == w.canon[n-1].Term {
			break
		}
	}
	h.line, h.forced, h.overruled = h.forced, 0, false
	w.note("%d is forced, %d of %d committed entries stand", h.id, n, len(w.canon))
	for i := range w.ops {
		o := &w.ops[i]
		if o.seq > n {
			w.orphans[uint32(i)] = w.orphans[uint32(i)] || o.acked
			o.seq, o.acked, o.shown, o.under = 0, false, false, 0
		}
		if o.seq == 0 {
			o.floor = 0
		}
	}
	w.canon, w.folds, w.shown, w.acked = w.canon[:n], w.folds[:n+1], min(w.shown, n), min(w.acked, n)
	w.fold, w.maxAck, w.canonConf, w.highest = newSimEngine(), [simPoints]op.HLC{}, 0, 0
	for _, e := range w.canon {
		w.fold.apply(e)
		w.canonConf, w.highest = max(w.canonConf, simOwn(e).Revision), max(w.highest, e.HLC)
	}
	for i := range w.ops {
		if o := &w.ops[i]; o.acked && o.seq != 0 {
			w.maxAck[o.point] = max(w.maxAck[o.point], w.canon[o.seq-1].HLC)
		}
	}
	for ref, x := range w.waiting {
		x.need = min(x.need, n)
		w.waiting[ref] = x
	}
	w.line, w.stands = h.line, n
}

// hearOfForce: who hears of a forced epoch is on that line from then on. Until then
// it may go on as before, and what it knows as committed may be overruled.
func (w *world) hearOfForce(h *simHost, was Status) {
	switch e := h.m.Status().Placement.Epoch; {
	case h.forced != 0 && e >= h.forced:
		w.overrule(h)
	case h.line < w.line && e >= w.line:
		h.line = w.line
		h.overruled = h.overruled || max(was.Commit, h.disk.hard.Commit, h.disk.state.applied) > w.stands
	}
}

// otherLine: it goes by what the shard goes on without.
func (w *world) otherLine(h *simHost) bool { return h.overruled || h.line < w.line }

// destroyed: F1, the only copy of what was acknowledged may not go.
func (w *world) destroyed(h *simHost, left map[op.ID]topology.Seq, by string) {
	for n := range w.orphans {
		id := simLast(n)
		_, has := h.eng.seen[id]
		_, there := left[id]
		if w.orphans[n] && has && !there && w.ops[n].seq == 0 {
			w.fail("F1: operation %d was acknowledged and is destroyed at %d by %s", n, h.id, by)
		}
	}
}

// durable: I1, at every instant, up or down.
func (w *world) durable(h *simHost) {
	if n := topology.Seq(len(w.canon)); w.cp.activeIn(h) && n > 0 && h.forced == 0 {
		t, ok := line.TermAt(h.disk.terms, n)
		if h.disk.synced < n || !ok || t != w.canon[n-1].Term {
			w.fail("I1: Active replica %d has %d synced of %d committed", h.id, h.disk.synced, n)
		}
	}
}

// heal ends all faults and demands that everything comes to rest (I9).
func (w *world) heal() {
	w.healing = true
	clear(w.cut)
	w.cp.cut, w.cp.down = [simPeers + 1]bool{}, false
	for _, h := range w.hosts {
		h.asleep, h.disk.full = 0, false
		if h.failed {
			w.crash(h, true)
		}
	}
	for i := 0; i < 12_000 && !w.whole(); i++ {
		w.mono += int64(w.rng.IntN(4))
		w.ring()
		w.deliver()
		w.deliver()
		w.cp.act(w)
		for _, h := range w.hosts {
			if h.m == nil {
				w.boot(h)
			}
			w.startSync(h)
			w.endSync(h)
			w.applySome(h)
			w.keepSome(h)
			w.copying(h)
		}
		if p := w.cp.rec.Primary; slices.ContainsFunc(w.hosts, func(h *simHost) bool { return h.spoilt }) && p != 0 && w.host(p).m != nil && w.chance(5) { // states are compared while there are writes
			w.proposals(w.host(p))
		}
		if w.check(); w.lost {
			return
		}
		w.step++
	}
	if !w.whole() {
		for _, h := range w.hosts {
			if h.m != nil {
				w.note("stuck %d: %+v, engine %d of %d", h.id, h.m.Status(), h.eng.config, w.conf)
			}
		}
		for _, h := range w.hosts {
			w.note("stuck %d keeps %v", h.id, entries(h.disk.kept))
		}
		w.note("stuck waiting %v", w.waiting)
		w.fail("stuck: %+v", w.cp.rec)
	}
	for n, o := range w.ops {
		if o.promised() && (o.seq == 0 || w.canon[o.seq-1].ID.Request != simID(uint32(n)).Request) {
			w.fail("acknowledged operation %d lost: %+v", n, o)
		}
	}
}

// whole: all replicas are Active, serve, and have applied the same log to the end.
func (w *world) whole() bool {
	if w.cp.rec.Primary == 0 || len(w.waiting) > 0 {
		return false
	}
	for _, h := range w.hosts {
		if len(h.disk.kept) > 0 {
			return false
		}
	}
	p := w.host(w.cp.rec.Primary)
	for _, r := range w.cp.rec.Replicas {
		h := w.host(r.Peer)
		if h.m == nil || p.m == nil || r.State != topology.Active {
			return false
		}
		s, ps := h.m.Status(), p.m.Status()
		if s.Placement.Epoch != w.cp.rec.Epoch || !s.Ready || s.Last != ps.Last || s.Applied != s.Last.Seq || h.eng.config != w.conf || h.eng.sum() != p.eng.sum() {
			return false
		}
	}
	return true
}
