package model

import "slices"

// propose: W1 to W3. A request that finds its operation waits for that entry.
func (r *replica) propose(op int32) {
	w := r.w
	if r.detached && r.active() && !(w.off[detachedAppends] && w.chance(2)) {
		r.proposeDetached(op)
		return
	}
	if !r.leads() || r.detached && !w.off[detachedAppends] || r.heir.on && !w.off[stopAppending] {
		return
	}
	if r.job.op != 0 {
		if r.job.op == op && r.job.next > 0 && w.off[openGroup] {
			r.appendParts(op, r.job.config)
		}
		return
	}
	if q := r.find(op); q > 0 && !(w.off[dedup] && q <= r.commit) {
		if q <= r.commit {
			w.acknowledge(r, op)
		}
		return
	}
	r.job = job{op: op}
	r.work()
}

// work evaluates the operation in hand as soon as that is allowed, and appends its
// next part.
func (r *replica) work() {
	w := r.w
	if r.job.op == 0 || !r.leads() {
		return
	}
	o := &w.ops[r.job.op]
	if r.job.next == 0 {
		if config, _ := r.ahead(); config != r.state.config && !w.off[settingsFirst] {
			return // W11: evaluated under the settings in effect at its place
		}
		if o.kind == updatePresent {
			if r.applied < len(r.log) && !w.off[evaluateApplied] {
				return // W3
			}
			if !r.state.point[o.point].alive {
				r.job = job{} // refused before the append, never after the commit
				return
			}
		}
		r.job.config = r.state.config
	}
	r.appendPart(r.job.op, r.job.next, r.job.config)
	if r.job.next++; r.job.next == o.parts {
		r.job = job{}
	}
}

func (r *replica) appendPart(op int32, part int8, config int32) {
	r.log = append(r.log, entry{term: r.promised, kind: writeEntry, op: op, part: part, config: config, form: int8(r.id), hlc: r.stamp()})
}

func (r *replica) appendParts(op int32, config int32) {
	for part := range r.w.ops[op].parts {
		r.appendPart(op, part, config)
	}
}

// openSettings: W11. The primary appends the newest settings that it was told.
func (r *replica) openSettings() {
	w := r.w
	config, _ := r.ahead()
	newer := r.settled > config || w.off[settingsForward] && r.settled != config
	if newer && r.leads() && (r.job.next == 0 || w.off[consecutive]) && !r.heir.on {
		r.log = append(r.log, entry{term: r.promised, kind: configEntry, config: r.settled, hlc: r.clock})
		r.w.count[configs]++
	}
}

// raiseFloor: D2, D2a. Without detached mode nobody re-proposes: the floor is the
// primary's clock less the retry window. With it, no replica of the placement, Dead
// ones too, may still re-propose anything lower; who has not reported under this
// term is unknown.
func (r *replica) raiseFloor() {
	w := r.w
	if !r.leads() || r.job.next > 0 && !w.off[consecutive] || r.heir.on {
		return
	}
	lowest := r.stamp()
	r.to[r.id].lowest = r.lowest()
	r.seen = append(r.seen, moment{w.now, r.clock})
	if w.mix&detachable != 0 && !w.off[floorLowest] {
		for f, m := range r.placement.member {
			l := r.to[f].lowest
			if m.status == absent {
				continue
			}
			if !l.known {
				return
			}
			lowest = min(lowest, l.hlc)
		}
	}
	next := floor{lowest - clientWindow, lowest - coordinatorWindow}
	if !w.off[floorByBoot] {
		next.all, next.own = min(next.all, r.clockBefore(clientWindow)), min(next.own, r.clockBefore(coordinatorWindow))
	}
	switch {
	case w.off[retryWindow]:
		next = floor{lowest, lowest}
	case w.off[clientIDs]:
		next.all = next.own
	}
	if _, f := r.ahead(); next.all >= f.all+10 || next.own >= f.own+10 {
		r.log = append(r.log, entry{term: r.promised, kind: floorEntry, floor: f.max(next), hlc: r.clock})
		w.count[floors]++
	}
}

// clockBefore is what the own clock showed so long ago, by the time since boot; a
// wall clock may have jumped since.
func (r *replica) clockBefore(ago int64) (clock int64) {
	for _, m := range r.seen {
		if m.at <= r.w.now-ago {
			clock = m.clock
		}
	}
	return clock
}

// required: W6.
func (r *replica) required(f int) bool {
	if r.to[f].ignored {
		return false
	}
	return f == r.id || r.placement.member[f].status == active || r.isPending(f) && !r.w.off[pendingRequired]
}

func (r *replica) isPending(f int) bool {
	return r.pending.epoch == r.placement.epoch && r.pending.set[f]
}

// advance moves the commit index to what is durable at all required (W6), and what
// wait=true has been answered for to what they have applied (W8).
func (r *replica) advance() {
	w := r.w
	if !r.leads() {
		return
	}
	r.to[r.id].match, r.to[r.id].applied = r.synced, r.applied
	if w.off[ownFsync] {
		r.to[r.id].match = len(r.log)
	}
	commit, applied, n := len(r.log), r.applied, 0
	for f := range peers {
		if r.required(f) {
			commit, applied, n = min(commit, r.to[f].match), min(applied, r.to[f].applied), n+1
		}
	}
	if w.off[awaitAll] && n > 1 {
		commit = r.synced
	}
	if commit > r.commit {
		r.commitTo(commit, true)
	}
	if r.commit >= r.startSeq {
		r.complete, r.heard = true, r.heard || r.applied >= r.commit
	}
	if w.off[waitApplied] {
		applied = r.commit
	}
	w.waited = max(w.waited, min(applied, r.commit))
	r.work()
	r.succeed()
}

// pump sends to a follower what it lacks.
func (r *replica) pump(f int) {
	w := r.w
	st := r.placement.member[f].status
	if f == r.id || !r.leader || st < partial && !(w.off[fence] && st != absent) {
		return
	}
	to := &r.to[f]
	next := max(1, min(to.next, len(r.log)+1))
	gap := false
	if next <= r.truncated && next <= len(r.log) {
		switch {
		case w.off[noGap]:
			gap = true
		case (st == active || to.match >= r.truncated) && !w.off[copyNeeded]: // it has what is truncated here
		default:
			w.count[snapshots]++
			a := r.applied
			w.send(r.id, f, snapshot{term: r.promised, placement: r.placement, prefix: r.log[:a:a], state: r.state, round: r.read.round})
			return
		}
		next = r.truncated + 1
	}
	prev := next - 1
	m := appendEntries{term: r.promised, prev: prev, commit: r.commit, complete: r.complete, placement: r.placement,
		session: to.session, round: r.read.round, gap: gap}
	if prev > 0 {
		m.prevTerm = r.log[prev-1].term
	}
	m.entries = slices.Clone(r.log[prev:min(len(r.log), prev+1+w.rng.IntN(8))])
	w.send(r.id, f, m)
}

func (r *replica) onAck(from int, m appendAck) {
	w := r.w
	if !r.leader || m.term != r.promised && !w.off[ackEcho] {
		return
	}
	to := &r.to[from]
	to.match = max(to.match, min(m.durable, len(r.log)))
	to.applied = max(to.applied, m.applied)
	to.next = min(max(to.match+1, min(to.next, len(r.log)+1)), m.durable+1)
	to.session, to.provisionals = m.session, m.provisionals
	to.report(m.lowest)
	if m.applied == r.applied && (m.digest == r.state || w.off[digestGate]) {
		to.digest = max(to.digest, m.applied)
	} else if m.applied == r.applied && r.placement.member[from].status == partial {
		w.send(r.id, from, diverged{r.promised, r.placement.member[from].incarnation, m.applied})
	}
	r.advance()
	if r.read.open && m.round == r.read.round {
		to.proof = true
		r.answerRead()
	}
}

func (p *progress) report(l lowest) {
	if !p.lowest.known || l.at > p.lowest.at {
		p.lowest = l
	}
}

// onMismatch: C6, from the last entry that both have.
func (r *replica) onMismatch(from int, m mismatch) {
	if !r.leader || m.term != r.promised {
		return
	}
	r.adopt(m.placement)
	if !r.leader {
		return
	}
	s := min(len(m.terms), len(r.log))
	for s > 0 && m.terms[s-1] != r.log[s-1].term {
		s--
	}
	r.to[from].next, r.to[from].session = s+1, m.session
}

// promote: C8, in its order.
func (r *replica) promote(f int) {
	w := r.w
	if !r.leads() || r.placement.member[f].status != partial {
		return
	}
	to := &r.to[f]
	switch {
	case !r.isPending(f):
		if to.match+2 >= r.commit && to.match > 0 {
			if r.pending.epoch != r.placement.epoch {
				r.pending = pending{epoch: r.placement.epoch}
			}
			r.pending.set[f] = true
		}
	case w.off[caughtUp] || r.complete && to.match >= r.commit && to.applied >= r.commit && to.digest >= r.commit && (to.provisionals == 0 || w.off[openProvisional]):
		w.send(r.id, controlPlane, setState{epoch: r.placement.epoch, lease: r.lease, target: f, to: active,
			incarnation: r.placement.member[f].incarnation})
	}
}

// accuse: C1. A follower that is late stays required until a higher epoch.
func (r *replica) accuse(f int) {
	if !r.leader || f == r.id || r.placement.member[f].status != active {
		return
	}
	r.w.send(r.id, controlPlane, setState{epoch: r.placement.epoch, lease: r.lease, target: f, to: dead})
	if r.w.off[dropWhenConfirmed] {
		r.to[f].ignored = true
	}
}

// handOver: C3b. The primary stops appending.
func (r *replica) handOver(to int) {
	if r.leads() && !r.heir.on && to != r.id && r.placement.member[to].status == active {
		r.w.asks++
		r.heir = heir{on: true, to: to, ask: r.w.asks}
	}
}

// succeed asks for the swap once the heir's log is equal and all of it committed.
func (r *replica) succeed() {
	w, h := r.w, &r.heir
	if !h.on || h.told && !w.chance(4) {
		return
	}
	drained := r.commit == len(r.log) && r.job.op == 0 && r.to[h.to].match == len(r.log)
	if drained || w.off[drain] {
		h.told = true
		w.send(r.id, controlPlane, move{epoch: r.placement.epoch, lease: r.lease, to: h.to,
			incarnation: r.placement.member[h.to].incarnation, ask: h.ask})
	}
}

// startRead: R3.
func (r *replica) startRead() {
	if !r.leader || !r.complete || r.detached {
		return
	}
	for f := range r.to {
		r.to[f].proof = false
	}
	r.read = read{open: true, round: int32(r.w.step), commit: r.commit, canon: len(r.w.canon)}
	r.answerRead()
}

func (r *replica) answerRead() {
	w := r.w
	if !r.read.open || !r.complete || !r.leader {
		return
	}
	for f := range peers {
		if f != r.id && r.required(f) && !r.to[f].proof && !w.off[readProof] {
			return
		}
	}
	r.read.open = false
	w.count[linearReads]++
	if r.read.commit < r.read.canon {
		w.fail("I10", "linearizable read at %d sees %d of %d committed", r.id, r.read.commit, r.read.canon)
	}
}
