package model

import "slices"

// replica is a peer's copy of the shard, or the peer without one.
type replica struct {
	w    *world
	id   int
	skew int64 // of the peer's wall clock
	disk
	process
}

// disk is what outlives a process.
type disk struct {
	incarnation int32
	log         []entry // whole, so that the checker can look; truncated says how much of it is gone
	synced      int
	checkpoint  int
	truncated   int
	promised    term
	placement   placement
	pending     pending
	run         int32
	provisional []provisional
	hlcBound    int64
	base        int   // where the newest snapshot was installed
	rotten      int32 // damage that it came with
}

type pending struct {
	epoch int32
	set   [peers]bool
}

// provisional is an operation of detached mode. Its first have parts are there.
type provisional struct {
	op   int32
	have int8
	hlc  [maxParts]int64
}

// process is what a crash takes.
type process struct {
	up      bool
	session int32 // of the replica's streams (R2a)
	lease   int32 // the session at the control plane
	clock   int64 // highest stamp seen
	told    int   // commit index that is known here, of the log that is proven
	commit  int
	applied int
	state   state
	proven  int // so far the log equals that of the promised term's primary
	heard   bool
	round   int32
	settled int32 // newest settings told by the control plane
	leading
	detached bool
}

// leading is what a primary knows.
type leading struct {
	leader   bool
	startSeq int
	complete bool // the own start entry is committed
	to       [peers]progress
	job      job
	heir     heir
	read     read
	seen     []moment // oldest first
}

type progress struct {
	match, applied, digest, next int
	session                      int32
	provisionals                 int
	ignored, proof               bool
	lowest                       lowest
}

// lowest is the least stamp that a replica may still re-propose (D2). Reports are
// ordered by their sender: an older one never replaces a newer one.
type lowest struct {
	known bool
	hlc   int64
	at    int
}

// job is the operation that the primary works on; others are held back (W3).
type job struct {
	op     int32
	next   int8
	config int32
}

type heir struct {
	on   bool
	to   int
	ask  int32
	told bool
}

// moment is what the primary's clock showed at a time since its boot.
type moment struct{ at, clock int64 }

// read is a linearizable read that waits for its proof (R3).
type read struct {
	open          bool
	round         int32
	commit, canon int
}

func (r *replica) own() bool {
	return r.w.off[sameDisk] || r.placement.member[r.id].incarnation == r.incarnation
}

func (r *replica) active() bool { return r.placement.member[r.id].status == active && r.own() }

// serves: R1, R2a.
func (r *replica) serves() bool {
	return r.up && r.active() && (r.heard || r.w.off[serveAfterCommit])
}

// leads tells whether it may commit and append.
func (r *replica) leads() bool {
	return r.leader && (r.promised.epoch == r.placement.epoch || r.w.off[fence])
}

func (r *replica) observe(hlc int64) {
	r.clock = max(r.clock, hlc)
	if r.clock > r.hlcBound {
		r.hlcBound = r.clock + 8
	}
}

// stamp: W4.
func (r *replica) stamp() int64 {
	h := r.w.now + r.skew
	if !r.w.off[stampAbove] {
		h = max(h, r.clock+1)
	}
	r.observe(h)
	return h
}

// find: W2. The place of an operation's last part in dedup or the unapplied log.
// Dedup has forgotten what is at or below the floor (D2).
func (r *replica) find(op int32) int {
	last := r.w.ops[op].parts - 1
	for i := len(r.log) - 1; i >= 0; i-- {
		e := &r.log[i]
		if i < r.base && r.w.off[dedupCopied] {
			break
		}
		if e.op == op && e.kind == writeEntry && (e.part == last || r.w.off[lastPart]) && (i >= r.applied || !r.state.floor.forgets(&r.w.ops[op], e.hlc)) {
			return i + 1
		}
	}
	return 0
}

// ahead is the state's settings and floor as they will be at the end of the log.
func (r *replica) ahead() (config int32, f floor) {
	config, f = r.state.config, r.state.floor
	for _, e := range r.log[min(r.applied, len(r.log)):] {
		config, f = max(config, e.settings()), f.max(e.floor)
	}
	return config, f
}

func (e entry) settings() int32 {
	if e.kind == configEntry {
		return e.config
	}
	return 0
}

// adopt: C5. Only a higher epoch changes anything.
func (r *replica) adopt(p placement) {
	if p.epoch <= r.placement.epoch {
		return
	}
	if me := p.member[r.id]; (me.status == absent || me.joined != r.placement.member[r.id].joined) && !r.w.off[joinAnew] {
		r.voidProvisional()
	}
	r.placement = p
	if r.pending.epoch < p.epoch {
		r.pending = pending{}
	}
	for f := range r.to {
		r.to[f].ignored = false
	}
	if !r.leader || !r.w.off[fence] {
		r.leader, r.job, r.heir = false, job{}, heir{}
	}
	if r.promised.epoch < p.epoch && !r.leader && !r.w.off[promiseEpoch] {
		r.promised, r.proven = term{epoch: p.epoch}, 0
	}
	r.elect()
}

// elect: C4 and S2; C5 when a new epoch names the primary again.
func (r *replica) elect() {
	w, p := r.w, r.placement
	if p.primary != r.id || !r.own() || p.member[r.id].status != active && !w.off[activePrimary] && !w.off[deadAlone] {
		return
	}
	if !w.off[runCounts] {
		r.run++
	}
	t := term{p.epoch, r.run}
	if t.less(r.promised) {
		return
	}
	r.promised = t
	if w.off[keepLog] {
		r.log, r.synced = r.log[:r.commit], min(r.synced, r.commit)
	}
	old := r.to
	r.leading = leading{leader: true}
	for f := range r.to {
		r.to[f].next = len(r.log) + 1
		if w.off[clearAcks] {
			r.to[f].match, r.to[f].applied = old[f].match, old[f].applied
		}
	}
	r.log = append(r.log, entry{term: t, kind: startEntry, hlc: r.clock})
	r.startSeq = len(r.log)
	r.seen = append(r.seen, moment{w.now, r.clock})
	r.openSettings()
}

// commitTo moves the commit index; a primary acknowledges with it (W6, W8).
func (r *replica) commitTo(s int, acknowledge bool) {
	w := r.w
	for q := r.commit + 1; q <= s; q++ {
		w.committed(r, q)
	}
	if acknowledge {
		for q := r.commit + 1; q <= s; q++ {
			if e := r.log[q-1]; e.kind == writeEntry && e.part == w.ops[e.op].parts-1 {
				w.acknowledge(r, e.op)
			}
		}
	}
	r.commit = max(r.commit, s)
	r.apply()
}

// apply: W7.
func (r *replica) apply() {
	to := r.commit
	if r.w.off[applyCommitted] {
		to = r.synced
	}
	for ; r.applied < to; r.applied++ {
		e := r.log[r.applied]
		if r.w.off[storedForm] {
			e.form = int8(r.id)
		}
		r.w.fold(&r.state, e)
		if r.w.off[floorInLog] {
			r.state.prune(floor{all: r.clock - clientWindow})
		}
	}
}

// learn takes over the commit index that the primary told, as far as it is durable
// here (I3).
func (r *replica) learn() {
	if c := min(r.told, r.synced); c > r.commit {
		r.commitTo(c, false)
	}
	r.apply()
}

// fsync makes a random part of the log durable.
func (r *replica) fsync() {
	r.synced += r.w.rng.IntN(len(r.log) - r.synced + 1)
	if r.w.healing {
		r.synced = len(r.log)
	}
	switch {
	case r.leader:
		r.apply()
		r.advance()
	default:
		r.learn()
		if p := r.placement.primary; p != r.id && r.proven > 0 {
			r.acknowledge(p)
		}
	}
}

// acknowledge answers the primary: durable only of a log proven equal to its own.
func (r *replica) acknowledge(to int) {
	durable := min(r.synced, r.proven)
	if r.w.off[ackAfterFsync] {
		durable = r.proven
	}
	r.w.send(r.id, to, appendAck{term: r.promised, durable: durable, applied: r.applied, digest: r.state,
		session: r.session, provisionals: len(r.provisional), round: r.round, lowest: r.lowest()})
}

// lowest is reported with every answer.
func (r *replica) lowest() lowest {
	if !r.w.off[stampAbove] {
		r.observe(r.w.now + r.skew)
	}
	h := r.clock
	for _, p := range r.provisional {
		h = min(h, p.hlc[0])
	}
	for _, e := range r.log[min(r.commit, len(r.log)):] {
		if e.kind == writeEntry {
			h = min(h, e.hlc)
		}
	}
	return lowest{true, h, r.w.step}
}

// crash ends the process: a random part of the unsynced log is lost, and all that
// was applied since the last checkpoint.
func (r *replica) crash() {
	w := r.w
	r.crashKeeping(r.synced + w.rng.IntN(len(r.log)-r.synced+1))
}

func (r *replica) crashKeeping(keep int) {
	w := r.w
	w.count[crashes]++
	w.died(r)
	r.log, r.synced = r.log[:keep:keep], keep
	c := r.checkpoint
	r.process = process{clock: r.hlcBound, told: c, commit: c, applied: c}
	if w.off[pendingDurable] {
		r.pending.set = [peers]bool{}
	}
	if w.off[promiseDurable] {
		r.promised = term{}
		if keep > 0 {
			r.promised = r.log[keep-1].term // S2a
		}
	}
	if w.off[placementDurable] && r.placement.epoch > 1 {
		r.placement = w.control.atBirth
	}
	r.state.rotten = r.rotten
	for _, e := range r.log[:c] {
		w.fold(&r.state, e)
	}
}

// restart: S1, S2.
func (r *replica) restart() {
	r.w.sessions++
	r.up, r.session = true, r.w.sessions
	r.elect()
}

// lose makes an empty disk of another incarnation (S3).
func (r *replica) lose() {
	w := r.w
	w.died(r)
	r.voidProvisional()
	w.incarnations++
	w.control.removed[r.id] = false
	*r = replica{w: w, id: r.id, skew: r.skew, disk: disk{incarnation: w.incarnations}}
}

// voidProvisional: the disk is lost, or the replica was taken out, whether or not it
// is in again: nobody waited for what it might re-propose, which is listed for the
// operator instead (P7).
func (r *replica) voidProvisional() {
	w := r.w
	for _, p := range r.provisional {
		other := slices.ContainsFunc(w.replicas[:], func(q *replica) bool { return q != r && q.holds(p.op) >= 0 })
		w.ops[p.op].excused = w.ops[p.op].excused || !other
	}
	r.provisional = nil
}

// wipe makes the replica anew under another incarnation, the peer stays up.
func (r *replica) wipe() {
	if m := r.w.control.record.member[r.id]; m.status == active && m.incarnation == r.incarnation {
		r.w.fail("I1", "Active replica %d deletes itself", r.id)
	}
	p := r.placement
	r.lose()
	r.placement = p
	r.restart()
}

// discard deletes a replica that was taken out of the shard (C0), once the control
// plane says that the shard is whole without it.
func (r *replica) discard() {
	w := r.w
	if len(r.log) == 0 && len(r.provisional) == 0 || !w.off[keepRemoved] && w.control.confirmedEpoch < r.placement.epoch {
		return
	}
	w.count[discards]++
	r.wipe()
	w.vanished(byDrop)
}
