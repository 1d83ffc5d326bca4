package model

// obeys takes over the placement and the term of a message (C5).
func (r *replica) obeys(from int, t term, p placement, round int32) bool {
	w := r.w
	if p.member[r.id].incarnation != r.incarnation && !w.off[sameDisk] {
		return false
	}
	r.adopt(p)
	if t.less(r.promised) && !w.off[fence] {
		w.send(r.id, from, stale{r.placement})
		return false
	}
	if r.promised.less(t) {
		r.proven = 0
	}
	if r.leader && r.promised != t {
		r.leading = leading{}
	}
	r.promised, r.round = t, round
	return true
}

func (r *replica) onAppend(from int, m appendEntries) {
	w := r.w
	if !r.obeys(from, m.term, m.placement, m.round) {
		return
	}
	if m.gap {
		for len(r.log) < m.prev {
			r.log = append(r.log, entry{term: m.prevTerm})
		}
	}
	if m.prev > len(r.log) || m.prev > 0 && r.log[m.prev-1].term != m.prevTerm {
		terms := make([]term, len(r.log))
		for i := range terms {
			terms[i] = r.log[i].term
		}
		w.send(r.id, from, mismatch{m.term, terms, r.placement, r.session})
		return
	}
	for k, e := range m.entries {
		r.accept(m.prev+k+1, e)
	}
	if end := max(m.prev+len(m.entries), r.commit); end < len(r.log) && w.off[cutAtConflict] {
		r.log, r.synced, r.proven = r.log[:end], min(r.synced, end), min(r.proven, end)
	}
	r.proven = max(r.proven, m.prev+len(m.entries))
	r.told = max(r.told, min(m.commit, r.proven))
	r.learn()
	// R2a: a stream that was opened after the start told a complete commit index.
	if (m.complete || w.off[completeIndex]) && (m.session == r.session || w.off[openedAfter]) && r.applied >= m.commit {
		r.heard = true
	}
	r.acknowledge(from)
}

// accept: C6. The log is cut at the first entry that really conflicts.
func (r *replica) accept(q int, e entry) {
	w := r.w
	if q <= len(r.log) {
		if r.log[q-1].term == e.term {
			return
		}
		if q <= r.applied {
			w.fail("I3", "replica %d would cut an applied entry %d", r.id, q)
		}
		r.log = r.log[:q-1]
		r.synced = min(r.synced, q-1)
		w.count[logCuts]++
	}
	r.log = append(r.log, e)
	r.observe(e.hlc)
}

// onSnapshot: C6a. A late or repeated one never shortens a log.
func (r *replica) onSnapshot(from int, m snapshot) {
	w := r.w
	if !r.obeys(from, m.term, m.placement, m.round) {
		return
	}
	s := len(m.prefix)
	if r.applied < s {
		log := m.prefix
		if !w.off[snapshotKeeps] && len(r.log) >= s && (r.log[s-1].term == m.prefix[s-1].term || w.off[snapshotDrops]) {
			log = append(log, r.log[s:]...)
			r.synced = max(r.synced, s)
		} else {
			r.synced, r.proven = s, 0
		}
		r.log, r.applied, r.checkpoint, r.truncated, r.base, r.state = log, s, s, s, s, m.state
		if r.rotten = 0; !w.healing && !w.off[snapshotKeeps] && w.chance(10) {
			w.sessions++
			r.rotten = w.sessions
			w.count[rottenCopies]++
		}
		r.state.rotten = r.rotten
		for _, e := range m.prefix {
			r.observe(e.hlc)
		}
		r.commit, r.told = max(r.commit, s), max(r.told, s)
	}
	// What is applied is committed, so it equals the primary's log.
	r.proven = max(r.proven, s)
	r.acknowledge(from)
}

// onDiverged: C8 (3). A copy whose digest differs is made anew, unless a newer one
// has replaced it.
func (r *replica) onDiverged(m diverged) {
	if r.promised == m.term && r.incarnation == m.incarnation && r.placement.member[r.id].status == partial && (r.base <= m.at || r.w.off[divergedAt]) {
		r.w.count[wipes]++
		r.wipe()
		r.w.vanished(bySwap)
	}
}
