package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
)

// loop is what the owning goroutine works with.
type loop struct {
	r *Replica
	m *core.Machine

	resolve func(*shard.Write) ([][]byte, error)
	fetch   func(from CopySource)
	refs    map[uint64]*request
	asked   map[uint64]chan<- told
	nextRef uint64
	parked  *request // waits for earlier entries to be applied and holds back the mailbox (W3)

	sync     chan bool // true: mark only
	synced   chan syncDone
	syncing  bool // the log is the syncer's: nothing is appended, a batch collects
	syncDue  bool
	appended bool // since the last tick
	unmarked bool // appended since the log was marked

	reads   chan core.Read
	read    chan core.ReadDone
	copies  chan copied
	waking  *time.Timer
	held    []arrival               // wait for the log to be free
	late    bool                    // a tick does
	watched map[topology.Seq]string // trace contexts of entries in the log, by seq
	spans   map[topology.Seq]func() // of entries of others, until they are durable
	copy    Copy
	outcome error // of Run

	jobs     chan job
	finished chan jobDone
	working  bool
	stalled  bool       // the engine found the disk full; the next tick tries again
	queue    []op.Entry // committed, not handed to the worker yet

	grown          int64 // bytes appended since the last checkpoint
	checkpointTime time.Time
	checkpointSeq  topology.Seq
	checkpointDue  bool
	truncateTo     topology.Seq // checkpoint that the protocol was not told yet

	served  bool  // it was ready for reads once since its role began
	failed  error // log or state failed, or the engine in the background
	unsound error // the engine failed at what it was told
	full    bool
}

type syncDone struct {
	mark bool
	seq  topology.Seq
	err  error
}

// job is for the worker: entries to apply, or a checkpoint.
type job struct {
	entries    []op.Entry
	checkpoint bool
}

type jobDone struct {
	job
	at  Position
	seq topology.Seq // of the checkpoint
	err error
}

// Run loads the replica and runs it until ctx ends. An error means that it could
// not be loaded; whatever fails later shows in Status, since reads may go on.
func (r *Replica) Run(ctx context.Context) error {
	defer r.end()
	l := &loop{
		r: r, refs: map[uint64]*request{}, asked: map[uint64]chan<- told{}, watched: map[topology.Seq]string{},
		m:    core.New(core.Options{Self: r.o.Self, Incarnation: r.o.Incarnation, Session: r.o.Session, Timing: r.o.Timing}),
		sync: make(chan bool, 1), synced: make(chan syncDone, 1), jobs: make(chan job, 1), finished: make(chan jobDone, 1),
		reads: make(chan core.Read, maxReads), read: make(chan core.ReadDone, maxReads), copies: make(chan copied, 1),
		waking: time.NewTimer(time.Hour), checkpointTime: r.o.Now(),
	}
	defer l.waking.Stop()
	ld, start, err := load(ctx, r.o)
	if err != nil && ctx.Err() != nil {
		return nil // told to end: nothing is wrong with it
	}
	if err != nil {
		return fmt.Errorf("load shard %d of collection %d: %w", r.o.Shard.ID, r.o.Shard.Collection, err)
	}
	l.grown, l.checkpointSeq, l.truncateTo = ld.read, ld.from, ld.from // what was loaded was durable
	r.config.Store(r.o.Engine.Position().Config)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.syncer(ctx) })
	g.Go(func() error { return l.worker(ctx) })
	g.Go(func() error { return l.reader(ctx) })
	g.Go(func() error { return l.run(ctx, g, start) })
	if err := g.Wait(); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// end turns away whoever still waits in the mailbox, and waits until nobody is
// in the engine: its owner will close it.
func (r *Replica) end() {
	r.mu.Lock()
	r.mu.status.Phase, r.mu.status.Since, r.mu.status.Ready = Ended, r.o.Now(), false
	r.mu.readable = ErrStopped
	var drained chan struct{}
	if r.mu.users > 0 {
		drained = make(chan struct{})
		r.mu.drained = drained
	}
	r.mu.Unlock()
	close(r.ended)
	if drained != nil {
		<-drained
	}
}

func (l *loop) syncer(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case d := <-l.sync:
			if d {
				l.synced <- syncDone{mark: true, err: l.r.o.Log.Mark()}
				continue
			}
			seq, err := l.r.o.Log.Sync()
			l.synced <- syncDone{seq: seq, err: err}
		}
	}
}

func (l *loop) worker(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case j := <-l.jobs:
			d := jobDone{job: j}
			if j.checkpoint {
				d.seq, d.err = l.r.o.Engine.Checkpoint()
			} else {
				d.err = l.r.o.Engine.Apply(j.entries)
			}
			d.at = l.r.o.Engine.Position()
			l.finished <- d
		}
	}
}

func (l *loop) run(ctx context.Context, g *errgroup.Group, start core.Start) error {
	l.resolve = func(w *shard.Write) ([][]byte, error) { return resolve(ctx, l.r.o.Engine, w) }
	l.fetch = func(from CopySource) {
		l.r.progress.Store(nil) // what was there is of an earlier copy
		g.Go(func() error { return l.fetcher(ctx, from) })
	}
	defer l.leave()
	tick := time.NewTicker(l.r.o.Limits.Tick)
	defer tick.Stop()
	l.step(start)
	for l.outcome == nil {
		l.feed()
		mailbox, news, audits := l.r.mailbox, l.r.news, l.r.audits
		if l.syncing {
			mailbox, news, audits = nil, nil, nil
		}
		if l.parked != nil || l.m.Status().Unapplied > l.r.o.Limits.Unapplied {
			mailbox = nil
		}
		inbox := l.r.inbox
		if len(l.held) >= cap(inbox) {
			inbox = nil
		}
		select {
		case <-ctx.Done():
			l.step(core.Stop{})
			return ctx.Err()
		case q := <-mailbox:
			l.batch(q)
		case to := <-l.r.proofs:
			l.ask(to, func(ref uint64) core.Event { return core.Linearize{Ref: ref} })
		case to := <-audits:
			l.ask(to, func(ref uint64) core.Event { return core.Verify{Ref: ref} })
		case d := <-l.synced:
			l.onSync(d)
		case d := <-l.finished:
			l.onJob(d)
		case err := <-l.r.o.Failed:
			l.fail(fmt.Errorf("engine: %w", err))
		case a := <-inbox:
			l.arrive(a)
		case d := <-l.read:
			l.step(d)
		case c := <-l.copies:
			l.onCopy(c)
		case <-l.waking.C:
			l.ring()
		case <-news:
			l.step(l.r.told())
			l.idle()
		case <-tick.C:
			l.onTick()
		}
	}
	return l.outcome
}

func (r *Replica) told() core.PlacementSeen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.seen
}

// batch takes what is in the mailbox, up to the first write that has to be
// evaluated on a later state, into one step: one append, one fsync.
func (l *loop) batch(q *request) {
	var ps []core.Proposal
	for len(ps) < l.r.o.Limits.Batch {
		p, ok := l.admit(q, len(ps) == 0)
		if l.parked != nil {
			break
		}
		if ok {
			ps = append(ps, p)
		}
		select {
		case q = <-l.r.mailbox:
			continue
		default:
		}
		break
	}
	if len(ps) > 0 {
		l.step(core.Propose{Proposals: ps})
	}
	if l.parked != nil && l.m.Status().Detached { // what it waited for is shown
		l.unpark()
	}
}

// admit makes a proposal of a write, answers it, or parks it. quiet says that no
// proposal is ahead of it in this batch.
func (l *loop) admit(q *request, quiet bool) (core.Proposal, bool) {
	if q.state.Load() == abandoned {
		return core.Proposal{}, false
	}
	if l.failed != nil || l.unsound != nil {
		if q.take() {
			q.finish(Result{}, fmt.Errorf("%w: %w", ErrFailed, errors.Join(l.failed, l.unsound)))
		}
		return core.Proposal{}, false
	}
	p := core.Proposal{ID: q.id, Wait: q.wait, Factor: q.factor, Routed: q.write.Routed, Weak: q.write.Weak}
	var err error
	if p.Seen, _, err = l.r.o.Engine.Seen(q.id); err != nil { // appending might repeat it
		if q.take() {
			q.finish(Result{}, fmt.Errorf("%w: look up the operation: %w", ErrFailed, err))
		}
		return p, false
	}
	s := l.m.Status()
	if p.Seen == 0 && !l.m.Pending(q.id) && (s.Role == core.Primary || s.Detached) { // W2 before the evaluation: a repetition is not judged anew
		// Detached, it is decided on what is shown, to which a batch adds at once (P3, X3).
		hold := q.write.NeedsState() && (!quiet || !s.Detached && s.Applied != s.Last.Seq)
		if hold || !s.Settled && !s.Detached {
			l.parked = q
			return p, false
		}
		if q.bodies == nil && q.refused == nil || q.revision != l.r.config.Load() {
			q.bodies, q.refused = l.resolve(&q.write)
		}
		if q.refused != nil {
			if q.take() {
				q.finish(Result{}, q.refused)
			}
			return p, false
		}
		p.Bodies = q.bodies
		q.parts.Store(int64(len(q.bodies)))
	}
	if !q.take() {
		return p, false
	}
	l.nextRef++
	p.Ref = l.nextRef
	l.refs[p.Ref] = q
	return p, true
}

// now is what the clocks show.
func (r *Replica) now() core.Time {
	t := core.Time{Wall: r.o.Now().UnixMilli(), Mono: time.Since(r.began).Milliseconds() + 1}
	if t.Control = t.Mono; r.o.Control != nil {
		t.Control = r.o.Control().Sub(r.began).Milliseconds() + 1
	}
	return t
}

// step gives an event to the protocol and performs the effects in their order.
func (l *loop) step(ev core.Event) {
	now := l.r.now()
	ev, err := l.lookUp(ev)
	if err != nil {
		l.fail(err)
		return
	}
	fx := l.m.Step(now, ev)
	if fx.Wake != 0 {
		l.waking.Reset(time.Duration(fx.Wake-now.Mono) * time.Millisecond)
	} else {
		l.waking.Stop()
	}
	refused, failed := l.write(&fx)
	kept, refusedKeep, keepErr := l.keep(&fx)
	failed = errors.Join(failed, keepErr)
	l.syncDue = l.syncDue || fx.Sync && failed == nil
	l.queue = append(l.queue, fx.Apply...)
	if fx.Truncate > 0 && failed == nil {
		if err := l.r.o.Log.TruncateFront(fx.Truncate); err != nil && !errors.Is(err, ErrNoSpace) {
			failed = fmt.Errorf("truncate log up to %d: %w", fx.Truncate, err)
		}
	}
	l.accept(fx.Accepted)
	if failed == nil && !refused {
		l.speak(&fx)
	}
	l.publish()
	l.answer(fx.Answers)
	l.report(fx.Verified)
	if fx.Broken != "" {
		l.unsound = fmt.Errorf("invariant violated: %s", fx.Broken)
		failed = errors.Join(failed, l.unsound)
	}
	switch {
	case failed != nil:
		l.fail(failed)
	case refused:
		l.step(core.AppendFailed{From: fx.Append[0].Seq})
	default:
		l.judge(&fx)
	}
	switch {
	case l.failed != nil || l.outcome != nil:
	case refusedKeep:
		l.step(core.KeepFailed{From: fx.Keep[0].Seq})
	case kept != 0:
		l.step(core.KeptTo{Number: kept})
	}
}

// write does what has to be on the disk before anybody hears of the step. What
// rests on something that could not be written is taken out of the effects.
func (l *loop) write(fx *core.Effects) (refused bool, failed error) {
	if fx.Hard != nil {
		if err := l.r.o.State.Save(*fx.Hard); err != nil {
			fx.Apply, fx.Answers = nil, unproven(fx.Answers)
			return false, fmt.Errorf("save state: %w", err)
		}
	}
	if fx.Cut != nil {
		if err := l.r.o.Log.TruncateBack(fx.Cut.After); err != nil {
			return false, fmt.Errorf("cut log after %d: %w", fx.Cut.After, err)
		}
	}
	if len(fx.Append) == 0 {
		return false, nil
	}
	err := l.r.o.Log.Append(fx.Append)
	refused = errors.Is(err, ErrNoSpace)
	if err == nil {
		l.noteAppend(fx.Append)
	}
	l.setFull(refused, err)
	if err != nil && !refused {
		return false, fmt.Errorf("append to log at %d: %w", fx.Append[0].Seq, err)
	}
	return refused, nil
}

// unproven are the answers of a step whose small state could not be saved: what
// rests on it, such as a commit under a new placement, may not be acknowledged.
func unproven(as []core.Answer) []core.Answer {
	for i := range as {
		switch as[i].Outcome {
		case core.Committed, core.Applied, core.Provisional:
			as[i].Outcome = core.Unknown
		case core.Readable:
			as[i].Outcome = core.NotPrimary
		}
	}
	return as
}

func (l *loop) noteAppend(es []op.Entry) {
	l.appended, l.unmarked = true, true
	for i := range es {
		l.grown += int64(len(es[i].Body)) + op.EntryOverhead
	}
}

// accept notes the places of writes that wait now.
func (l *loop) accept(as []core.Answer) {
	for _, a := range as {
		q := l.refs[a.Ref]
		q.seq.Store(uint64(a.Seq))
		if q.trace != "" {
			l.watched[a.Seq] = q.trace
		}
	}
}

func (l *loop) answer(as []core.Answer) {
	for _, a := range as {
		if to, ok := l.asked[a.Ref]; ok {
			delete(l.asked, a.Ref)
			to <- told{err: l.errorOf(a.Outcome)}
			continue
		}
		q := l.refs[a.Ref]
		delete(l.refs, a.Ref)
		q.finish(Result{Seq: a.Seq, Applied: a.Outcome == core.Applied, Disks: a.Disks}, l.errorOf(a.Outcome))
	}
}

func (l *loop) errorOf(o core.Outcome) error {
	switch o {
	case core.Committed, core.Applied, core.Readable, core.Provisional:
		return nil
	case core.Detached:
		return ErrDetached
	case core.NotPrimary:
		return ErrNotPrimary
	case core.TooFewActive:
		return ErrTooFewActive
	case core.NoSpace:
		return ErrNoSpace
	case core.Rerouted:
		return ErrRerouted
	case core.Moving:
		return ErrMoving
	default:
		if l.failed != nil {
			return fmt.Errorf("%w: %w", ErrUnknownOutcome, l.failed)
		}
		return ErrUnknownOutcome
	}
}

// fail ends writing for good: after a failed write or fsync nobody knows what the
// disk holds, so nothing more is acknowledged. What is applied was durable before,
// so reads go on unless the engine itself is in doubt, or another replica may take
// writes that this one does not hear of (R2).
func (l *loop) fail(err error) {
	if l.failed != nil {
		return
	}
	l.failed = err
	p := l.m.Status().Placement
	l.served = l.served && p.Primary == l.r.o.Self && p.ActiveCount() == 1
	l.r.o.Logger.Error("replica failed, writes refused", "reason", err)
	l.step(core.Stop{})
	l.unpark()
}

func (l *loop) setFull(full bool, err error) {
	if full == l.full {
		return
	}
	l.full = full
	if full {
		l.r.o.Logger.Warn("disk full, writes refused", "reason", err)
	} else {
		l.r.o.Logger.Info("space again, writes accepted")
	}
}

// publish shows the state to other goroutines.
func (l *loop) publish() {
	s := Status{Status: l.m.Status(), Phase: Serving}
	switch {
	case l.failed != nil || l.unsound != nil:
		s.Phase, s.Reason = Failed, errors.Join(l.failed, l.unsound).Error()
	case l.full:
		s.Phase, s.Reason = Full, ErrNoSpace.Error()
	}
	if l.failed == nil {
		l.served = s.Ready
	}
	var readable error
	switch {
	case l.unsound != nil:
		readable = fmt.Errorf("%w: %w", ErrFailed, l.unsound)
	case !l.served:
		readable = fmt.Errorf("%w: %s of epoch %d, applied %d of %d", ErrNotReady, s.Role, s.Placement.Epoch, s.Applied, s.Last.Seq)
	}
	l.r.commit.Store(uint64(s.Commit))
	l.r.mu.Lock()
	old := l.r.mu.status
	changed := s.Phase != old.Phase || s.Role != old.Role || s.Detached != old.Detached
	if s.Since = old.Since; changed {
		s.Since = l.r.o.Now()
	}
	l.r.mu.status, l.r.mu.readable = s, readable
	if s.Placement.Epoch != old.Placement.Epoch {
		close(l.r.mu.placed)
		l.r.mu.placed = make(chan struct{})
	}
	l.r.mu.Unlock()
	if s.Diverged > old.Diverged {
		l.r.o.Logger.Error("copies of the shard differ", "epoch", uint64(s.Placement.Epoch), "applied", uint64(s.Applied), "found", s.Diverged)
	}
	if changed {
		l.r.o.Logger.Info("replica state", "phase", s.Phase.String(), "role", s.Role.String(), "detached", s.Detached, "epoch", uint64(s.Placement.Epoch),
			"run", uint64(s.Term.Run), "last", uint64(s.Last.Seq), "applied", uint64(s.Applied))
		l.r.o.Changed()
	}
}
