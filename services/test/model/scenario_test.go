package model

import (
	"slices"
	"testing"
)

// Scenarios for rules that a random search misses in tens of millions of steps.

// found makes a shard whose first n peers are Active, 0 being primary.
func (w *world) found(n int) {
	c := &w.control
	for i := range n {
		c.record.member[i] = member{status: active, incarnation: w.replicas[i].incarnation}
	}
	c.born = true
	w.appoint(0)
	for _, r := range w.replicas {
		r.adopt(c.record)
	}
}

// appoint is a swap that names another primary, and marks some Dead.
func (w *world) appoint(primary int, gone ...int) {
	next := w.control.record
	next.primary = primary
	for _, i := range gone {
		next.member[i].status = dead
	}
	w.control.write(next, bySwap)
	w.flying = nil
	w.replicas[primary].adopt(w.control.record)
}

// carry lets a primary send to a follower, and the answers come back.
func (w *world) carry(from, to int) {
	w.replicas[from].pump(to)
	w.settle()
}

// settle delivers all that is on the way.
func (w *world) settle() {
	for len(w.flying) > 0 {
		m := w.flying[0]
		w.flying = w.flying[1:]
		w.receive(m)
		w.check()
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
	w.syncAll(0)
	for i := range 2 {
		w.carry(0, i+1)
		w.syncAll(i + 1)
		w.carry(0, i+1)
	}
	w.write(0)
	w.syncAll(0)
	w.carry(0, 1)
	w.syncAll(1)
	w.appoint(2)
	w.appoint(0, 2)
	w.syncAll(0)
	w.carry(0, 1)
	b := w.replicas[1]
	b.crashKeeping(b.synced)
	b.restart()
	w.carry(2, 1)
}

// lateDiverged: the word that the copy of 2 differs arrives after another copy has
// replaced it and 2 has become Active, of which 2 has not heard.
func lateDiverged(w *world) {
	w.found(2)
	w.syncAll(0)
	w.carry(0, 1)
	w.syncAll(1)
	w.carry(0, 1)
	p, f := w.replicas[0], w.replicas[2]
	next := w.control.record
	next.member[2] = member{status: partial, incarnation: f.incarnation}
	w.control.write(next, bySwap)
	w.flying = nil
	p.adopt(w.control.record)
	copyTo := func(damage int32) {
		for range 2 { // the own start entry, and what waits for it
			w.syncAll(0)
			w.carry(0, 1)
			w.syncAll(1)
			w.carry(0, 1)
		}
		p.checkpoint, p.truncated = p.applied, p.applied
		p.to[2].next = 1
		p.pump(2)
		s := slices.IndexFunc(w.flying, func(m message) bool { _, ok := m.body.(snapshot); return ok })
		m := w.flying[s]
		w.flying = nil
		w.receive(m)
		f.rotten, f.state.rotten = damage, damage
		w.flying = nil
		f.acknowledge(0)
	}
	copyTo(1)
	ack := w.flying[0]
	w.flying = nil
	w.receive(ack)
	word := w.flying[0]
	w.flying = nil
	w.write(0)
	copyTo(0)
	w.settle()
	next = w.control.record
	next.member[2].status = active
	w.control.write(next, bySwap)
	w.flying = nil
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
	w.syncAll(0)
	w.carry(0, 1)
	w.syncAll(1)
	w.carry(0, 1)
	c.cut[1] = true
	next := c.record
	c.takeOut(&next, 1)
	c.write(next, byDrop)
	w.flying = nil
	p.adopt(c.record)
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
	next = c.record
	next.member[1].status, next.member[1].incarnation = partial, f.incarnation
	c.write(next, bySwap)
	w.flying = nil
	p.adopt(c.record)
	f.adopt(c.record)
	f.reconcile()
	w.settle()
	w.syncAll(0)
}

func TestScenarios(t *testing.T) {
	for _, s := range []struct {
		rule rule
		seen string
		play func(*world)
	}{
		{promiseDurable, "I1", lostPromise},
		{divergedAt, "I1", lateDiverged},
		{joinAnew, "I6", rejoined},
	} {
		name := ruleTable()[s.rule].name
		o := options{mix: someMix | detachable}
		if v := played(o, s.play); v != nil {
			t.Errorf("%s: %s with all rules on", name, v)
		}
		o.off[s.rule] = true
		if v := played(o, s.play); v == nil || v.rule != s.seen {
			t.Errorf("%s is off: %v, not %s", name, v, s.seen)
		}
	}
}

func played(o options, play func(*world)) (v *violation) {
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
