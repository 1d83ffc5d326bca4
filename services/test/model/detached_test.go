package model

import (
	"cmp"
	"slices"
)

func (r *replica) holds(op int32) int {
	return slices.IndexFunc(r.provisional, func(p provisional) bool { return p.op == op })
}

// detach: P1 and P4. Of the log after commit, whole groups are copied; they are
// shown from now on, so they must not vanish.
func (r *replica) detach() {
	w := r.w
	if r.detached || w.linked(r.id, controlPlane) || !r.active() {
		return
	}
	r.detached = true
	for i := r.commit; i < len(r.log); i++ {
		e := r.log[i]
		if e.kind != writeEntry || r.holds(e.op) >= 0 {
			continue
		}
		whole := e.part == w.ops[e.op].parts-1
		brokenOff := i+1 == len(r.log) || r.log[i+1].op != e.op
		if !whole && (!brokenOff || !w.off[wholeGroup]) {
			continue
		}
		p := provisional{op: e.op, have: e.part + 1}
		for k := range p.have {
			p.hlc[k] = r.log[i-int(e.part)+int(k)].hlc
		}
		w.ops[e.op].shown = w.ops[e.op].shown || whole
		if !w.off[keepSuffix] {
			r.provisional = append(r.provisional, p)
		}
	}
}

// proposeDetached: P3. Durable here and sent to the others before it is answered.
func (r *replica) proposeDetached(op int32) {
	w := r.w
	if q := r.find(op); r.holds(op) < 0 && (q == 0 || q > r.commit) {
		p := provisional{op: op, have: w.ops[op].parts}
		for k := range p.have {
			p.hlc[k] = r.stamp()
		}
		r.provisional = append(r.provisional, p)
		for f := range peers {
			if f != r.id && w.chance(2) {
				w.send(r.id, f, provisionalCopy{p})
			}
		}
	}
	w.acknowledge(nil, op)
}

func (r *replica) keepCopy(p provisional) {
	if r.active() && r.holds(p.op) < 0 {
		r.provisional = append(r.provisional, p)
		r.observe(p.hlc[p.have-1])
	}
}

// reconcile: P6, in the order of stamps; a Dead replica does so too (P7).
func (r *replica) reconcile() {
	if len(r.provisional) == 0 {
		return
	}
	slices.SortStableFunc(r.provisional, func(a, b provisional) int { return cmp.Compare(a.hlc[0], b.hlc[0]) })
	ops := slices.Clone(r.provisional[:min(3, len(r.provisional))])
	r.w.send(r.id, r.placement.primary, reconcile{ops, r.lowest(), r.placement.member[r.id].joined})
}

// listed answers a re-proposal that came too late: dedup has forgotten what is at
// or below the floor, so it is listed for the operator instead (D2a).
const listed = -1

// onReconcile: P6. Found and not committed means wait, not append.
func (r *replica) onReconcile(from int, m reconcile) {
	w := r.w
	of := r.placement.member[from]
	if !r.leads() || r.job.op != 0 || r.heir.on || (of.status == absent || of.joined != m.joined) && !w.off[joinAnew] {
		return
	}
	r.to[from].report(m.lowest)
	a := reconciled{ops: m.ops}
	_, floor := r.ahead()
	for _, p := range m.ops {
		q := r.find(p.op)
		switch {
		case q == 0 && floor.forgets(&w.ops[p.op], p.hlc[0]) && !w.off[floorGate]:
			q = listed
			w.count[listings]++
			// A replica that was taken out on the operator's word may come too late.
			w.ops[p.op].excused = w.ops[p.op].excused || w.control.removed[from]
		case q == 0 || w.off[reconcileDedup] && q <= r.commit && w.chance(3):
			for k := range p.have {
				r.log = append(r.log, entry{term: r.promised, kind: writeEntry, again: true, op: p.op, part: k, form: int8(r.id), hlc: p.hlc[k]})
				r.observe(p.hlc[k])
			}
			w.count[reproposals]++
			q = 0
		case q > r.commit:
			q = 0
		}
		a.seqs = append(a.seqs, q)
	}
	w.send(r.id, from, a)
}

// onReconciled drops what is committed and, if this replica serves, applied here.
func (r *replica) onReconciled(m reconciled) {
	for k, p := range m.ops {
		q := m.seqs[k]
		if x := r.holds(p.op); x >= 0 && q != 0 && (q == listed || r.applied >= q || r.placement.member[r.id].status != active) {
			r.provisional = slices.Delete(r.provisional, x, x+1)
		}
	}
}
