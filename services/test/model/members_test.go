package model

// receive takes what replicas ask for.
func (c *control) receive(m message) {
	switch b := m.body.(type) {
	case report:
		c.onReport(m.from, b)
	case confirmed:
		c.onConfirmed(m.from, b)
	case setState:
		c.onSetState(m.from, b)
	case move:
		c.onMove(m.from, b)
	}
}

// onReport: C0. A report counts with a live session key of the same incarnation only.
func (c *control) onReport(from int, m report) {
	w, k := c.w, c.keys[from]
	if c.born || c.record.member[from].status == absent || !w.off[reportSession] && (!k.on || k.lease != m.lease || k.incarnation != m.incarnation) {
		return
	}
	c.reported[from] = m.incarnation
	missing := 0
	for i, x := range c.record.member {
		if x.status == initializing && c.reported[i] == 0 {
			missing++
		}
	}
	if missing > 0 && !w.chance(6) {
		return
	}
	if k.on && (k.incarnation == m.incarnation || w.off[reportSession]) {
		c.decide(from, from, change{birth: true})
	}
}

// sender: C10.
func (c *control) sender(from int, epoch, lease int32) bool {
	k, m := c.keys[from], c.record.member[from]
	if epoch != c.record.epoch && !c.w.off[expectedEpoch] {
		return false
	}
	return c.w.off[senderSession] ||
		k.on && k.lease == lease && k.incarnation == m.incarnation && m.status == active && c.record.primary == from
}

func (c *control) onSetState(from int, s setState) {
	w := c.w
	if !c.sender(from, s.epoch, s.lease) {
		return
	}
	next := c.record
	switch m := &next.member[s.target]; {
	case s.to == active && (m.status != partial || m.incarnation != s.incarnation), s.to == dead && m.status < partial:
		return
	case s.to == dead && m.status == active && !w.off[senderSession]:
		c.decide(s.target, from, change{dead: true})
		return
	case s.to == active:
		w.count[promotions]++
		m.status = active
	default:
		if m.status == active {
			w.leans(from)
		}
		m.status = dead
	}
	c.write(next, bySwap)
	if r := w.replicas[from]; r.up && w.chance(2) {
		r.adopt(c.record)
	}
}

// onMove: C3b is a swap under C3 and C2a; the old primary stays Active.
func (c *control) onMove(from int, m move) {
	to := c.record.member[m.to]
	if c.sender(from, m.epoch, m.lease) && to.status == active && to.incarnation == m.incarnation && c.live(m.to) {
		c.decide(from, m.to, change{primary: true, ask: m.ask})
	}
}

// grow: C0. A new replica enters as Dead.
func (c *control) grow(i int) {
	if !c.born || c.record.lost || c.record.member[i].status != absent {
		return
	}
	next := c.record
	next.member[i] = member{status: dead, joined: next.epoch + 1}
	if c.w.off[enterDead] && c.keys[i].on {
		next.member[i].status, next.member[i].incarnation = active, c.keys[i].incarnation
	}
	c.w.count[growths]++
	c.write(next, bySwap)
}

// drop: C0. A primary is handed over first, by C3 if it does not answer. To take an
// Active replica out leans on another one, which must confirm itself (C2a).
func (c *control) drop(i int) {
	w, m := c.w, c.record.member[i]
	if !c.born || c.record.lost || m.status == absent || c.record.count(dead) == 1 {
		return
	}
	q := c.candidates(i)
	switch {
	case c.record.primary == i && !(w.off[keepLastActive] && len(q) == 0):
		if len(q) == 0 {
			return
		}
		if to := q[w.rng.IntN(len(q))]; w.chance(4) {
			c.decide(i, to, change{primary: true})
		} else {
			w.send(controlPlane, i, handOver{to})
		}
	case m.status != active, w.off[liveDrop] && c.record.count(active) > 1, w.off[keepLastActive] && len(q) == 0:
		next := c.record
		for j, other := range next.member {
			if j != i && m.status == active && other.status == active {
				w.leans(j)
				break
			}
		}
		c.takeOut(&next, i)
		c.write(next, byDrop)
	case len(q) > 0:
		c.decide(i, q[w.rng.IntN(len(q))], change{remove: true})
	}
}

func (c *control) takeOut(next *placement, i int) {
	c.w.count[drops]++
	if next.member[i].status == active {
		c.w.count[activeDrops]++
	}
	if next.primary == i {
		next.primary = nobody
	}
	next.member[i] = member{}
	c.removed[i] = true
	if c.leaving == i {
		c.leaving = nobody
	}
}

// force is DELETE /cluster/peer with force: the operator's word. It takes out the
// last Active replica too; then the shard is lost.
func (c *control) force(i int) {
	if !c.born || c.record.lost || c.record.member[i].status == absent || c.record.count(dead) == 1 {
		return
	}
	next := c.record
	c.takeOut(&next, i)
	c.w.count[forced]++
	if next.count(active) == 0 {
		next.lost, next.primary = true, nobody
		c.w.count[lostShards]++
		c.w.lostEpoch = next.epoch + 1
	}
	c.write(next, byForce)
}

// assure asks an Active replica whether it is there, so that peers may delete what
// was taken out.
func (c *control) assure() {
	if q := c.candidates(nobody); c.born && len(q) > 0 {
		c.w.send(controlPlane, q[c.w.rng.IntN(len(q))], confirm{0, c.record})
	}
}
