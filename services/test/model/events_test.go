package model

// event is one kind of thing that happens, with its weight.
type event struct {
	weight int
	do     func(*world)
}

// events lists them for a mix of faults.
func (w *world) events() []event {
	has := func(m mix, yes, no int) int {
		if w.mix&m != 0 {
			return yes
		}
		return no
	}
	return []event{
		{420 - has(crashy, 100, 0), (*world).deliver},
		{140, (*world).pumpOne},
		{120, func(w *world) { w.running((*replica).fsync) }},
		{100, (*world).request},
		{40 + has(steady, 14, 0), func(w *world) { w.contact(w.pick()) }},
		{has(calm, 12, 30), (*world).judge},
		{45, func(w *world) { w.running(func(r *replica) { r.promote(w.rng.IntN(peers)) }) }},
		{10, func(w *world) { w.running(func(r *replica) { r.accuse(w.rng.IntN(peers)) }) }},
		{10, func(w *world) { w.running((*replica).keepCheckpoint) }},
		{has(calm, 2, 10) + has(crashy, 24, 0), (*world).fault},
		{25 + has(crashy, 76, 0), (*world).comeBack},
		{has(calm, 4, 10) + has(slow, 20, 0), (*world).link},
		{has(steady, 0, 8), (*world).outage},
		{has(steady, 0, 6), (*world).cutOff},
		{has(detachable, 10, 0), func(w *world) { w.running((*replica).detach) }},
		{has(detachable, 4, 0), func(w *world) { w.replicas[w.pick()].detached = false }},
		{has(detachable, 17, 1), func(w *world) { w.running((*replica).reconcile) }},
		{15, func(w *world) { w.running((*replica).startRead) }},
		{20, func(w *world) { w.running((*replica).workOn) }},
		{12, func(w *world) { w.running((*replica).raiseFloor) }},
		{2, func(w *world) { w.control.settings++ }},
		{3, (*world).jump},
		{has(moving, 12, 3), (*world).wishHandOver},
		{has(moving, 4, 1), func(w *world) { w.control.whenUp(func(c *control) { c.grow(w.rng.IntN(peers)) }) }},
		{has(moving, 4, 1), func(w *world) { w.control.leaving = w.pick() }},
		{has(moving, 12, 4), (*world).membership},
		{has(forcing, 1, 0), func(w *world) { w.control.whenUp(func(c *control) { c.force(w.pick()) }) }},
	}
}

// running does something at a replica that is up.
func (w *world) running(do func(*replica)) {
	if r := w.replicas[w.pick()]; r.up {
		do(r)
		w.show(r)
	}
}

func (c *control) whenUp(do func(*control)) {
	if c.up {
		do(c)
	}
}

func (w *world) pumpOne() {
	i := w.pick()
	if p := w.control.record.primary; p != nobody && w.chance(2) {
		i = p
	}
	if r := w.replicas[i]; r.up {
		r.pump(w.pick())
	}
}

// contact: a process that reaches the control plane registers, takes over the
// record and the settings, and leaves detached mode.
func (w *world) contact(i int) {
	r, c := w.replicas[i], &w.control
	if !r.up || !w.linked(i, controlPlane) {
		return
	}
	c.register(r)
	if !c.born {
		w.send(i, controlPlane, report{r.incarnation, r.lease})
	}
	r.adopt(c.record)
	r.settled = max(r.settled, c.settings)
	r.openSettings()
	r.detached = false
	if c.record.member[i].status == absent {
		r.discard()
	}
}

// judge lets the control plane conclude something.
func (w *world) judge() {
	c := &w.control
	if !c.up {
		return
	}
	alarm := w.chance(6)
	if alarm {
		w.count[falseAlarms]++
	}
	c.verdict(w.pick(), alarm)
}

// membership: what the operator wants goes on.
func (w *world) membership() {
	c := &w.control
	switch {
	case !c.up:
	case c.leaving != nobody:
		c.drop(c.leaving)
	default:
		c.assure()
	}
}

func (w *world) wishHandOver() {
	if c := &w.control; c.up && c.record.primary != nobody {
		w.send(controlPlane, c.record.primary, handOver{w.pick()})
	}
}

// workOn goes on with an operation in parts, or gives up a handover.
func (r *replica) workOn() {
	r.work()
	r.succeed()
	if r.w.chance(6) {
		r.heir = heir{}
	}
}

// keepCheckpoint makes the applied state durable, and may truncate the log (C9).
func (r *replica) keepCheckpoint() {
	r.checkpoint = r.applied
	if r.w.chance(2) {
		r.truncated = r.checkpoint
	}
}

// fault: a crash, or the loss of a disk. A disk is lost only while another Active
// one is intact: with one Active copy its loss is the end of what it acknowledged,
// whatever the protocol does (W9).
func (w *world) fault() {
	r := w.replicas[w.pick()]
	if !r.up {
		return
	}
	if !w.chance(12) {
		r.crash()
	} else if !w.control.born || w.intact(r.id) {
		w.count[diskLosses]++
		r.lose()
		w.vanished(bySwap)
	}
	if w.chance(2) {
		r.restart()
	}
}

func (w *world) comeBack() {
	if r := w.replicas[w.pick()]; !r.up {
		r.restart()
	}
}

func (w *world) link() {
	if i, j := w.rng.IntN(peers), w.rng.IntN(peers); i != j {
		c := w.chance(3)
		w.cut[i][j], w.cut[j][i] = c, c
		w.count[linkCuts]++
	}
}

func (w *world) outage() {
	c := &w.control
	was := c.up
	if c.up = w.rng.IntN(3) > 0; c.up && !was {
		c.leaderChanged()
	}
	if was && !c.up {
		w.count[outages]++
	}
}

func (w *world) cutOff() { w.control.cut[w.pick()] = w.chance(3) }

func (w *world) jump() {
	r := w.replicas[w.rng.IntN(peers)]
	r.skew = w.skew()
	if w.mix&jumping != 0 && w.chance(2) {
		r.skew = int64(w.rng.IntN(60*maxSkew+1) - 30*maxSkew)
	}
	w.count[clockJumps]++
}

// heal ends all faults and lets everything come to rest.
func (w *world) heal() {
	c := &w.control
	w.healing, c.up, c.leaving = true, true, nobody
	w.cut, c.cut = [peers][peers]bool{}, [peers]bool{}
	for _, r := range w.replicas {
		if !r.up {
			r.restart()
		}
	}
	for round := 0; round < 400 && !(w.whole() && w.tidy()); round++ {
		for i := range peers {
			w.healOne(i)
		}
	}
}

// tidy: nothing is left on peers outside of the shard.
func (w *world) tidy() bool {
	for i, m := range w.control.record.member {
		if r := w.replicas[i]; m.status == absent && (len(r.log) > 0 || len(r.provisional) > 0) {
			return false
		}
	}
	return true
}

func (w *world) healOne(i int) {
	c, r := &w.control, w.replicas[i]
	w.advanceTime()
	r.detached, r.heir = false, heir{}
	w.contact(i)
	if m := c.record.member[i]; m.status != partial || m.incarnation != r.incarnation {
		c.verdict(i, false)
	}
	c.assure()
	r.adopt(c.record)
	r.fsync()
	r.reconcile()
	for f := range peers {
		r.pump(f)
		r.promote(f)
	}
	for k := 0; len(w.flying) > 0 && k < 100; k++ {
		m := w.flying[0]
		w.flying = w.flying[1:]
		w.receive(m)
		w.check()
	}
}
