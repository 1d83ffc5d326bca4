package model

import "fmt"

// violation is what a run ends with when the checker found something.
type violation struct{ rule, text string }

func (v violation) String() string { return v.rule + ": " + v.text }

func (w *world) fail(rule, format string, args ...any) {
	panic(violation{rule, fmt.Sprintf(format, args...)})
}

// committed takes the entry at q of a replica's log into the committed log, or
// compares it with what is there (I2, I5).
func (w *world) committed(r *replica, q int) {
	e := r.log[q-1]
	if q <= len(w.canon) {
		if w.canon[q-1] != e {
			w.fail("I2", "replica %d has another committed entry at %d", r.id, q)
		}
		return
	}
	before := w.canonState[q-1]
	w.canon = append(w.canon, e)
	after := before
	w.fold(&after, e)
	w.canonState = append(w.canonState, after)
	switch e.kind {
	case writeEntry:
		w.committedWrite(e, q, &before)
	case configEntry:
		if e.config <= before.config {
			w.fail("W11", "settings %d at %d come after %d", e.config, q, before.config)
		}
	}
}

func (w *world) committedWrite(e entry, q int, before *state) {
	o := &w.ops[e.op]
	if before.floor.forgets(o, e.hlc) {
		w.fail("D2", "operation %d at %d has the stamp %d, the floor is %v", e.op, q, e.hlc, before.floor)
	}
	if !e.again {
		target := o.target(e.part)
		if e.hlc <= o.after[target] {
			w.fail("I7", "operation %d at %d has the stamp %d, %d was committed before it was issued", e.op, q, e.hlc, o.after[target])
		}
		if e.config != before.config {
			w.fail("W11", "operation %d at %d was evaluated under settings %d, not %d", e.op, q, e.config, before.config)
		}
		if o.kind == updatePresent && !before.point[target].alive {
			w.fail("W3", "operation %d at %d was evaluated on another state", e.op, q)
		}
	}
	w.highest[o.target(e.part)] = max(w.highest[o.target(e.part)], e.hlc)
	if e.part != o.parts-1 {
		return
	}
	if o.seq != 0 {
		w.fail("I6", "operation %d takes effect at %d and at %d", e.op, o.seq, q)
	}
	o.seq = q
	for part := range e.part {
		if p := q - int(e.part-part); p < 1 || w.canon[p-1].op != e.op || w.canon[p-1].part != part {
			w.fail("parts", "part %d of operation %d is not before its last one at %d", part, e.op, q)
		}
	}
}

// check holds after every step.
func (w *world) check() {
	n := len(w.canon)
	for i, r := range w.replicas {
		if r.applied > r.commit || r.commit > r.synced {
			w.fail("I3", "replica %d has applied %d, commit %d, durable %d", i, r.applied, r.commit, r.synced)
		}
		s := r.state
		s.rotten = 0
		if r.applied < len(w.canonState) && s != w.canonState[r.applied] {
			w.fail("I2", "state of replica %d at %d is not the fold of the committed log", i, r.applied)
		}
		m := w.control.record.member[i]
		if m.status != active || m.incarnation != r.incarnation {
			continue
		}
		if r.synced < n || n > 0 && r.log[n-1] != w.canon[n-1] {
			w.fail("I1", "Active replica %d lacks entry %d", i, n)
		}
		if r.state.rotten != 0 {
			w.fail("C8", "Active replica %d has a damaged copy", i)
		}
		if r.serves() && !r.detached && r.applied < w.waited {
			w.fail("I8", "replica %d serves %d, wait=true was answered for %d", i, r.applied, w.waited)
		}
	}
	if w.step%32 == 0 {
		w.prefixes()
	}
}

// prefixes: I4.
func (w *world) prefixes() {
	for i, a := range w.replicas {
		for j, b := range w.replicas[:i] {
			s := min(len(a.log), len(b.log))
			for s > 0 && a.log[s-1].term != b.log[s-1].term {
				s--
			}
			for q := range s {
				if a.log[q] != b.log[q] {
					w.fail("I4", "replicas %d and %d agree at %d and differ at %d", i, j, s, q+1)
				}
			}
		}
	}
}

// show marks what reads may have shown of provisional operations (I9).
func (w *world) show(r *replica) {
	if len(r.provisional) > 0 && (r.detached || r.serves()) {
		for _, p := range r.provisional {
			w.ops[p.op].shown = w.ops[p.op].shown || p.have == w.ops[p.op].parts
		}
	}
}

// died notes when a replica, as the record counts on it, was there last.
func (w *world) died(r *replica) {
	if r.up || r.incarnation == w.control.record.member[r.id].incarnation {
		w.gone[r.id] = w.control.clock
	}
}

// leans: C2a. Whoever a swap leans on was there within T_confirm.
func (w *world) leans(i int) {
	r, c := w.replicas[i], &w.control
	if r.up && r.incarnation == c.record.member[i].incarnation {
		return
	}
	w.count[leaned]++
	if ago := c.clock - w.gone[i]; ago > confirmWithin && !w.countStuck {
		w.fail("C2a", "a swap leans on replica %d, which has been gone for %d", i, ago)
	}
}

// handedOver: C3b. Nothing is left for clients to wait for.
func (w *world) handedOver(d decision, from int) {
	p, q := w.replicas[from], w.replicas[d.lean]
	if !p.up || !p.leader || p.heir.ask != d.change.ask || q.incarnation != w.control.record.member[q.id].incarnation {
		return
	}
	w.count[cleanHandovers]++
	if n := len(p.log); p.commit < n || p.job.op != 0 || len(q.log) < n || n > 0 && q.log[n-1] != p.log[n-1] {
		w.fail("C3b", "replica %d hands over %d entries of which %d are committed, replica %d has %d", from, n, p.commit, q.id, len(q.log))
	}
}

// intact tells whether an Active disk is left, but for one replica; holder whether
// anybody has everything.
func (w *world) intact(but int) bool {
	for i, r := range w.replicas {
		m := w.control.record.member[i]
		if i != but && m.status == active && m.incarnation == r.incarnation {
			return true
		}
	}
	return false
}

func (w *world) holder() bool {
	n := len(w.canon)
	for _, r := range w.replicas {
		if r.synced >= n && (n == 0 || r.log[n-1] == w.canon[n-1]) {
			return true
		}
	}
	return false
}

// cause is what left a shard without an Active replica.
type cause int

const (
	bySwap cause = iota
	byDrop
	byForce
	causes
)

// vanished looks whether the last intact Active replica is gone, after a swap or
// a loss.
func (w *world) vanished(by cause) {
	switch in := w.intact(nobody); {
	case !w.control.born || in:
		w.stuck = false
	case !w.stuck:
		w.stuck, w.stuckBy = true, by
	}
}

// final holds after healing.
func (w *world) final() {
	c := &w.control
	if w.lostEpoch > 0 {
		if c.record.primary != nobody || c.record.count(active) > 0 {
			w.fail("C0", "the lost shard has a primary or an Active replica: %+v", c.record)
		}
		return
	}
	if w.stuck {
		w.isStuck()
		return
	}
	if !w.whole() {
		s := ""
		for i, r := range w.replicas {
			s += fmt.Sprintf("\n  %d: %+v log %d durable %d commit %d applied %d provisional %v promised %v epoch %d leader %v", i, c.record.member[i],
				len(r.log), r.synced, r.commit, r.applied, r.provisional, r.promised, r.placement.epoch, r.leader)
		}
		w.fail("I9", "no convergence: epoch %d primary %d committed %d%s", c.record.epoch, c.record.primary, len(w.canon), s)
	}
	for i, o := range w.ops {
		if o.seq == 0 && !o.excused && (o.acked || o.shown) {
			w.fail("I9", "operation %d (%+v) vanished", i, o)
		}
	}
	last := &w.canonState[len(w.canon)]
	if got, want := last.picture(), w.sequential(); got != want {
		w.fail("I9", "final state %v, one write after the other gives %v", got, want)
	}
}

// isStuck counts shards that are left without an intact Active replica for good. C2a
// bounds this, it does not exclude it; that a full copy is left, is asserted.
func (w *world) isStuck() {
	if w.control.record.count(active) == 0 {
		w.fail("C2", "nobody is Active, and the operator did not say so")
	}
	w.count[stuckBySwap+count(w.stuckBy)]++
	if !w.holder() {
		w.count[lostBySwap+count(w.stuckBy)]++
		if w.stuckBy != byForce && !w.countStuck {
			w.fail("I9", "nobody has the %d committed entries any more", len(w.canon))
		}
	}
}

// whole: all members are Active and alike.
func (w *world) whole() bool {
	n := len(w.canon)
	for i, m := range w.control.record.member {
		r := w.replicas[i]
		if m.status == absent {
			continue
		}
		if m.status != active || m.incarnation != r.incarnation || len(r.log) != n || r.applied != n || r.state != w.canonState[n] || len(r.provisional) > 0 {
			return false
		}
	}
	return true
}
