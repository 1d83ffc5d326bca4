package replica

import (
	"errors"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
)

// applyBytes is about how much one call of Engine.Apply gets, so that waiting
// clients are answered while a long tail is caught up.
const applyBytes = 8 << 20

// feed keeps syncer and worker busy.
func (l *loop) feed() {
	if l.syncDue && !l.syncing && l.failed == nil {
		l.syncDue, l.syncing = false, true
		l.sync <- false
	}
	if l.working || l.stalled || l.unsound != nil {
		return
	}
	switch {
	case l.checkpointDue:
		l.checkpointDue, l.working = false, true
		l.jobs <- job{checkpoint: true}
	case len(l.queue) > 0:
		n, size := 0, 0
		for n < len(l.queue) && size < applyBytes {
			size += len(l.queue[n].Body)
			n++
		}
		l.jobs <- job{entries: l.queue[:n:n]}
		l.queue, l.working = l.queue[n:], true
	}
}

func (l *loop) onSync(d syncDone) {
	l.syncing = false
	switch {
	case d.err != nil && !(d.mark && errors.Is(d.err, ErrNoSpace)):
		l.fail(fmt.Errorf("sync log: %w", d.err))
		return
	case !d.mark:
		l.settle(d.seq)
		l.step(core.Durable{Seq: d.seq})
	}
	l.release()
	l.idle()
}

func (l *loop) onJob(d jobDone) {
	l.working = false
	l.r.config.Store(d.at.Config)
	switch {
	case d.err == nil:
		l.setStalled(false, nil)
	case errors.Is(d.err, ErrNoSpace): // what is committed stays in memory until there is space
		l.setStalled(true, d.err)
		if !d.checkpoint {
			l.queue = append(d.entries, l.queue...)
		}
	default:
		err := fmt.Errorf("engine after %d: %w", d.at.Applied, d.err)
		if !d.checkpoint { // what is applied is as it was
			l.unsound = err
		}
		l.fail(err)
		return
	}
	l.step(core.AppliedTo{Seq: d.at.Applied, Mark: d.at.Mark})
	l.forget(d.at.Applied)
	if d.checkpoint && d.err == nil {
		l.checkpointSeq, l.grown, l.checkpointTime = d.seq, 0, l.r.o.Now()
		l.truncateTo = d.seq
	}
	l.idle()
}

func (l *loop) setStalled(on bool, err error) {
	if on != l.stalled {
		l.stalled = on
		l.setFull(on, err)
	}
}

// idle does what waited for the log to be free.
func (l *loop) idle() {
	if l.syncing || l.syncDue {
		return
	}
	if s := l.truncateTo; s > 0 && l.failed == nil {
		l.truncateTo = 0
		l.step(core.Checkpointed{Seq: s})
	}
	l.unpark()
}

// unpark gives the write that waited for the state another try.
func (l *loop) unpark() {
	if q := l.parked; q != nil {
		l.parked = nil
		l.batch(q)
	}
}

// maintain lets the primary's engine say how the state is to be kept.
func (l *loop) maintain() {
	if l.m.Status().Role != core.Primary || l.unsound != nil {
		return
	}
	if o, ok := l.r.o.Engine.Due(); ok {
		l.step(core.Maintain{Op: o})
	}
}

func (l *loop) onTick() {
	l.stalled = false
	if !l.syncing {
		l.step(core.Tick{})
		l.maintain()
	}
	s, lim := l.m.Status(), l.r.o.Limits
	grown := l.grown > lim.CheckpointBytes
	old := l.r.o.Now().Sub(l.checkpointTime) > lim.CheckpointEvery
	if s.Applied > l.checkpointSeq && (grown || old) {
		l.checkpointDue = true
	}
	l.idle()
	if !l.appended && l.unmarked && !l.syncing && !l.syncDue && l.failed == nil {
		l.unmarked, l.syncing = false, true
		l.sync <- true
	}
	l.appended = false
}
