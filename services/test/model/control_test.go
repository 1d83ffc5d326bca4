package model

type status int8

const (
	absent status = iota
	initializing
	dead
	partial
	active
)

const nobody = -1

// placement is the record of the shard; every change of it is one
// compare-and-swap that increments the epoch.
type placement struct {
	epoch   int32
	primary int
	member  [peers]member
	lost    bool // the operator removed the last Active replica
}

type member struct {
	status      status
	incarnation int32
	joined      int32 // the epoch that took it in, 0 at birth
}

func (p *placement) count(least status) (n int) {
	for _, m := range p.member {
		if m.status >= least {
			n++
		}
	}
	return n
}

// control is the control plane. It has a clock of its own, by which session keys
// expire and T_confirm runs.
type control struct {
	w        *world
	up       bool
	cut      [peers]bool
	clock    int64
	record   placement
	atBirth  placement
	born     bool
	keys     [peers]key
	reported [peers]int32
	due      [peers + 1]decision // by the replica that it is about; the last: C3 without one
	nonce    int32
	settings int32       // newest revision of the collection's settings (W11)
	leaving  int         // the operator wants this replica out
	removed  [peers]bool // this disk was once taken out, on the operator's word (P7)
	// confirmedEpoch is the highest one that an Active replica has confirmed.
	confirmedEpoch int32
}

// key is all that the control plane sees of a process.
type key struct {
	on                 bool
	lease, incarnation int32
	expires            int64
}

// decision is a swap that waits for the Confirm of the replica that it leans on (C2a).
type decision struct {
	on, answered        bool
	change              change
	lean                int
	epoch, nonce, lease int32
	sent                int64
	asked               int
}

type change struct {
	birth, dead, remove bool
	primary             bool
	ask                 int32 // of a handover
}

// tick lets the clock run and leases end, and issues what was confirmed.
func (c *control) tick() {
	w := c.w
	if !c.up {
		return
	}
	x := w.rng.Uint32()
	c.clock += int64(x % 3)
	if x>>2%512 == 0 {
		c.clock += int64(x >> 12 % sessionTTL)
	}
	for i := range c.keys {
		k, r := &c.keys[i], w.replicas[i]
		switch {
		case !k.on:
		case r.up && !c.cut[i] && r.lease == k.lease:
			if x>>(16+i)%4 == 0 {
				k.expires = c.clock + sessionTTL
			}
		case c.clock >= k.expires && x>>(20+i)%4 == 0:
			k.on = false
		}
	}
	for slot := range c.due {
		if d := &c.due[slot]; d.on && d.answered && w.chance(4) {
			c.issue(slot)
		}
	}
}

// leaderChanged: a new leader gives every lease its whole time again.
func (c *control) leaderChanged() {
	for i := range c.keys {
		c.keys[i].expires = max(c.keys[i].expires, c.clock+sessionTTL)
	}
}

// register opens a session; its key replaces that of an earlier process.
func (c *control) register(r *replica) {
	k := &c.keys[r.id]
	if k.on && k.lease == r.lease && r.lease != 0 {
		return
	}
	c.w.sessions++
	r.lease = c.w.sessions
	*k = key{on: true, lease: r.lease, incarnation: r.incarnation, expires: c.clock + sessionTTL}
}

// live is what is known of a replica without asking it.
func (c *control) live(i int) bool {
	return c.keys[i].on && (c.keys[i].incarnation == c.record.member[i].incarnation || c.w.off[sameDisk])
}

// candidates may be made primary, or be leaned on (C2, C3).
func (c *control) candidates(but int) (q []int) {
	w := c.w
	for i, m := range c.record.member {
		if i != but && (c.live(i) || w.off[candidateLive]) && (m.status == active || w.off[activePrimary] && m.status >= dead) {
			q = append(q, i)
		}
	}
	if len(q) == 0 && w.off[deadAlone] && (but < 0 || !c.keys[but].on) {
		for i, m := range c.record.member {
			if i != but && c.live(i) && m.status >= dead {
				q = append(q, i)
			}
		}
	}
	return q
}

func (c *control) write(next placement, cause cause) {
	if w := c.w; !w.off[epochCounts] || next.primary == c.record.primary || w.chance(4) {
		next.epoch++
	}
	c.record = next
	c.w.note("control plane: %+v", next)
	for i := range peers {
		if c.w.chance(2) {
			c.w.send(controlPlane, i, told{next})
		}
	}
	c.w.vanished(cause)
}

// verdict looks at one replica: C1, C3, C7. A false alarm takes a healthy one for
// a failed one.
func (c *control) verdict(i int, falseAlarm bool) {
	w := c.w
	if !c.born || c.record.lost && !w.off[staysLost] {
		return
	}
	if p := c.record.primary; p == nobody || c.record.member[p].status != active {
		if q := c.candidates(nobody); len(q) > 0 {
			c.decide(peers, q[w.rng.IntN(len(q))], change{primary: true})
		} else if w.off[staysLost] && c.record.lost {
			c.revive()
		}
	}
	next, m := c.record, &c.record.member[i]
	sick := !c.live(i)
	switch {
	case m.status == dead && c.keys[i].on: // C7
		next.member[i].status, next.member[i].incarnation = partial, c.keys[i].incarnation
		c.write(next, bySwap)
	case m.status == partial && (sick || falseAlarm):
		next.member[i].status = dead
		c.write(next, bySwap)
	case m.status == active && (sick || falseAlarm):
		c.depose(i, sick)
	}
}

// depose: C2, C3.
func (c *control) depose(i int, sick bool) {
	w := c.w
	q := c.candidates(i)
	if len(q) == 0 {
		if w.off[lastActive] && sick {
			next := c.record
			next.member[i].status = dead
			c.write(next, bySwap)
			c.revive()
		}
		return
	}
	d := change{dead: sick || w.chance(2), primary: c.record.primary == i}
	if d.dead || d.primary {
		c.decide(i, q[w.rng.IntN(len(q))], d)
	}
}

// revive breaks C2 and C0: the first one that is back gets the shard.
func (c *control) revive() {
	next := c.record
	for i, m := range next.member {
		if c.keys[i].on && m.status >= dead {
			next.member[i].status, next.member[i].incarnation, next.primary = active, c.keys[i].incarnation, i
			c.write(next, bySwap)
			return
		}
	}
}

// decide: C2a. The same decision is asked for again while it stands.
func (c *control) decide(slot, lean int, ch change) {
	w, d := c.w, &c.due[slot]
	if d.on && (c.late(d) || d.epoch != c.record.epoch) {
		*d = decision{}
	}
	if d.on {
		if d.asked < 3 && !d.answered {
			d.asked++
			w.send(controlPlane, d.lean, confirm{d.nonce, c.record})
		}
		return
	}
	c.nonce++
	*d = decision{on: true, change: ch, lean: lean, epoch: c.record.epoch, nonce: c.nonce, lease: c.keys[lean].lease, sent: c.clock}
	keyAlone := w.off[confirmSwap] || w.off[candidateLive] || ch.remove && w.off[confirmDrop]
	if keyAlone && !ch.birth {
		c.issue(slot)
		return
	}
	w.count[confirms]++
	w.send(controlPlane, lean, confirm{d.nonce, c.record})
}

// late: T_confirm counts from the sending of the Confirm.
func (c *control) late(d *decision) bool {
	return c.clock-d.sent > confirmWithin && !c.w.off[confirmTime]
}

func (c *control) onConfirmed(from int, m confirmed) {
	w := c.w
	member := c.record.member[from]
	if m.epoch == c.record.epoch && m.incarnation == member.incarnation && member.status == active {
		c.confirmedEpoch = m.epoch
	}
	for i := range c.due {
		d := &c.due[i]
		known := m.incarnation == member.incarnation || d.change.birth && m.incarnation == c.reported[from]
		if d.on && d.lean == from && (d.nonce == m.nonce || w.off[confirmNonce]) && d.epoch == m.epoch && m.epoch == c.record.epoch && known {
			d.answered, d.lease = true, m.lease
		}
	}
}

// issue is the compare-and-swap of a decision.
func (c *control) issue(slot int) {
	w, d := c.w, c.due[slot]
	c.due[slot] = decision{}
	k := c.keys[d.lean]
	sameKey := k.on && k.lease == d.lease || w.off[candidateLive] || w.off[confirmKey] && !d.change.birth
	if d.epoch != c.record.epoch || c.late(&d) || !sameKey {
		w.count[refusals]++
		return
	}
	if d.change.birth {
		c.bear(d.lean)
		return
	}
	next := c.record
	about := slot < peers && (d.change.dead || d.change.remove)
	if about && next.member[slot].status < dead || d.change.dead && next.member[slot].status != active ||
		next.member[d.lean].status != active && !w.off[activePrimary] && !w.off[deadAlone] {
		w.count[refusals]++
		return
	}
	w.leans(d.lean)
	cause := bySwap
	if d.change.primary {
		w.count[failovers]++
		if d.change.ask != 0 {
			w.count[handovers]++
			w.handedOver(d, slot)
		}
		next.primary, next.member[d.lean].status = d.lean, active
	}
	switch {
	case d.change.dead:
		next.member[slot].status = dead
		w.count[deaths]++
	case d.change.remove:
		c.takeOut(&next, slot)
		cause = byDrop
	}
	c.write(next, cause)
}

// bear: C0. Those that reported a disk under a live session become Active.
func (c *control) bear(primary int) {
	w := c.w
	if !w.off[reportSession] && c.keys[primary].incarnation != c.reported[primary] {
		return
	}
	next := c.record
	for i := range next.member {
		m := &next.member[i]
		if m.status != initializing {
			continue
		}
		m.status = dead
		if k := c.keys[i]; c.reported[i] != 0 && k.on && (k.incarnation == c.reported[i] || w.off[reportSession]) {
			m.status, m.incarnation = active, c.reported[i]
		}
	}
	next.primary, c.born = primary, true
	c.write(next, bySwap)
	c.atBirth = c.record
}
