package model

import "slices"

// Scenarios for rules that a random search misses in tens of millions of steps.

// played plays one; nil if nothing was found.
func played(o options, play func(*world)) (v *violation) {
	o.mix = someMix | detachable
	defer func() {
		if p := recover(); p != nil {
			x, ok := p.(violation)
			if !ok {
				panic(p)
			}
			v = &x
		}
	}()
	play(newWorld(o))
	return nil
}

// found makes a shard whose first n peers are Active and level, 0 being primary.
func (w *world) found(n int) {
	c := &w.control
	for i := range n {
		c.record.member[i] = member{status: active, incarnation: w.replicas[i].incarnation}
	}
	c.born = true
	w.swap(0, func(p *placement) { p.primary = 0 })
	for _, r := range w.replicas {
		c.register(r)
		r.adopt(c.record)
	}
	for i := 1; i < n; i++ {
		w.level(0, i)
	}
}

// swap changes the record, of which only one peer hears.
func (w *world) swap(hears int, change func(*placement)) {
	next := w.control.record
	change(&next)
	w.control.write(next, bySwap)
	w.flying = nil
	w.replicas[hears].adopt(w.control.record)
}

func (w *world) mark(hears, i int, s status) {
	w.swap(hears, func(p *placement) { p.member[i].status, p.member[i].incarnation = s, w.replicas[i].incarnation })
}

func (w *world) appoint(primary int) {
	w.swap(primary, func(p *placement) { p.primary = primary })
}

// carry lets a primary send to a follower, and the answers come back.
func (w *world) carry(from, to int) {
	w.replicas[from].pump(to)
	w.settle()
}

// settle delivers all that is on the way.
func (w *world) settle() {
	for len(w.flying) > 0 {
		w.receive(w.take(0))
		w.check()
	}
}

// take takes a message off the way.
func (w *world) take(k int) message {
	m := w.flying[k]
	w.flying = slices.Delete(w.flying, k, k+1)
	return m
}

// level brings a follower up to its primary.
func (w *world) level(primary, f int) {
	for range 3 {
		w.syncAll(primary)
		w.carry(primary, f)
		w.syncAll(f)
		w.carry(primary, f)
	}
}

func (w *world) write(at int) {
	w.ops = append(w.ops, operation{parts: 1, deadline: w.now + retryTime})
	w.replicas[at].propose(int32(len(w.ops) - 1))
}

// syncAll makes the log of a replica durable; a primary goes on.
func (w *world) syncAll(i int) {
	r := w.replicas[i]
	r.synced = len(r.log)
	r.learn()
	r.advance()
}

// lostPromise: entry 2 of primary 0 is at 1 and not at 2. Primary 2 begins with
// another entry at its place, and reaches nobody. 0 is primary again and has entry 2
// committed, by an answer of 1 that only its promise stands for. 1 crashes; then the
// entry of 2 arrives.
func lostPromise(w *world) {
	w.found(3)
	w.write(0)
	w.syncAll(0)
	w.carry(0, 1)
	w.syncAll(1)
	w.appoint(2)
	w.swap(0, func(p *placement) { p.primary, p.member[2].status = 0, dead })
	w.syncAll(0)
	w.carry(0, 1)
	b := w.replicas[1]
	b.crashKeeping(b.synced)
	b.restart()
	w.carry(2, 1)
}

// oldMatch: entry 2 of primary 0 is durable at 1, which tells so. Then 1 replaces it
// by the entry of primary 2, which is not committed. 0 is primary again, and only 2
// hears of it.
func oldMatch(w *world) {
	w.found(3)
	w.write(0)
	w.syncAll(0)
	w.carry(0, 1)
	w.syncAll(1)
	w.carry(0, 1)
	w.appoint(2)
	w.carry(2, 1)
	w.appoint(0)
	w.level(0, 2)
}

// oldRequest: the request to make 2 Active arrives when 2 has been marked Dead,
// lacks an entry that was committed then, and is Partial again.
func oldRequest(w *world) {
	w.found(2)
	w.mark(0, 2, partial)
	w.level(0, 1)
	w.level(0, 2)
	p := w.replicas[0]
	p.promote(2)
	p.promote(2)
	request := w.take(0)
	w.mark(0, 2, dead)
	w.write(0)
	w.level(0, 1)
	w.mark(0, 2, partial)
	w.receive(request)
	w.check()
}

// copyOf installs a copy of the primary's state at a Partial replica, with damage or
// without, and returns its acknowledgement.
func (w *world) copyOf(primary, at int, damage int32) message {
	p, f := w.replicas[primary], w.replicas[at]
	p.checkpoint, p.truncated = p.applied, p.applied
	p.to[at].next = 1
	p.pump(at)
	w.receive(w.take(slices.IndexFunc(w.flying, func(m message) bool { _, ok := m.body.(snapshot); return ok })))
	f.rotten, f.state.rotten = damage, damage
	w.flying = nil
	f.acknowledge(primary)
	return w.take(0)
}

// copiedOperation: 2 has an operation from a copy, and becomes primary. A
// coordinator, which lost the answer, repeats the operation there.
func copiedOperation(w *world) {
	w.found(2)
	w.write(0)
	w.level(0, 1)
	w.mark(0, 2, partial)
	w.level(0, 1)
	w.receive(w.copyOf(0, 2, 0))
	w.level(0, 2)
	w.mark(0, 2, active)
	w.appoint(2)
	w.replicas[2].propose(1)
	for range 2 {
		w.level(2, 0)
		w.level(2, 1)
	}
}

// lateDiverged: the word that the copy of 2 differs arrives after another copy has
// replaced it and 2 has become Active, of which 2 has not heard.
func lateDiverged(w *world) {
	w.found(2)
	w.mark(0, 2, partial)
	w.level(0, 1)
	w.receive(w.copyOf(0, 2, 1))
	word := w.take(0)
	w.write(0)
	w.level(0, 1)
	w.receive(w.copyOf(0, 2, 0))
	w.settle()
	w.mark(0, 2, active)
	w.receive(word)
	w.check()
}

// rejoined: 1 was taken out and does not know. 0 commits an operation, of which 1
// takes a repetition, detached, with a later stamp. Nobody waits for 1, so dedup
// forgets the operation. 1 is taken in again, with its disk.
func rejoined(w *world) {
	c := &w.control
	p, f := w.replicas[0], w.replicas[1]
	p.skew, f.skew = 0, 0
	w.found(2)
	c.cut[1] = true
	w.swap(0, func(next *placement) { c.takeOut(next, 1) })
	w.syncAll(0)
	w.now = 100
	w.write(0)
	w.syncAll(0)
	w.now++
	p.raiseFloor()
	w.now += retryTime - 10
	f.detach()
	f.propose(1)
	w.flying = nil
	w.now = 102 + coordinatorWindow
	p.raiseFloor()
	w.syncAll(0)
	c.cut[1] = false
	c.grow(1)
	w.mark(0, 1, partial)
	f.adopt(c.record)
	f.reconcile()
	w.settle()
	w.syncAll(0)
}
