package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/status"

	"github.com/pandodb/pando/services/controlplane/internal/evidence"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

const (
	// maxActs bounds what is under way at once: Confirms, handovers, transactions.
	maxActs = 64
	// handoverWithin is how long a primary is given to hand over before the swap is made without it.
	handoverWithin = time.Second
	// probeEvery and probeWithin: a peer without a session is asked whether it is there.
	probeEvery  = 500 * time.Millisecond
	probeWithin = 500 * time.Millisecond
	// settleIn is how long a new leader lets peers find their sessions before it probes them itself.
	settleIn = 1500 * time.Millisecond
	// firstRest and maxRest bound the wait before an act that was refused is tried again.
	firstRest = 50 * time.Millisecond
	maxRest   = 2 * time.Second
	// quietFor: a peer that did not answer a Confirm is not asked about other shards for so long.
	quietFor = 250 * time.Millisecond
)

// outcome is what an act or a probe came to.
type outcome struct {
	act *act
	err error
	// probe of a peer without a session.
	peer topology.PeerID
}

// tender performs the acts of one term of office. Only its own goroutine touches it.
type tender struct {
	l      *Loop
	office int64
	desk   *desk
	group  *errgroup.Group
	done   chan outcome
	under  int // acts under way

	past    *past
	probed  map[topology.PeerID]probed
	verdict map[topology.PeerID]evidence.State // as logged
}

// probed is what became of asking a peer that has no session.
type probed struct {
	at   time.Time
	busy bool
	err  error // it did not answer
}

// tend looks after living shards until ctx ends or somebody else takes office.
func (l *Loop) tend(ctx context.Context, office int64, d *desk) error {
	group, inner := errgroup.WithContext(ctx)
	t := &tender{l: l, office: office, desk: d, group: group, done: make(chan outcome, 2*maxActs), past: newPast(),
		probed: map[topology.PeerID]probed{}, verdict: map[topology.PeerID]evidence.State{}}
	group.Go(func() error { return t.run(inner) })
	return group.Wait()
}

func (t *tender) run(ctx context.Context) error {
	for {
		changed := t.l.cfg.View.Changed()
		acts, wake, deposed := t.survey(ctx)
		if deposed {
			return errDeposed
		}
		for _, a := range acts {
			if t.under >= maxActs {
				break
			}
			t.begin(ctx, a)
		}
		var timer <-chan time.Time
		if !wake.IsZero() {
			timer = time.After(max(wake.Sub(t.l.cfg.Now()), time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-t.desk.news:
		case <-timer:
		case o := <-t.done:
			t.note(o)
			for more := true; more; { // one look for all that have ended
				select {
				case o := <-t.done:
					t.note(o)
				default:
					more = false
				}
			}
		}
	}
}

// survey decides what is to be done now.
func (t *tender) survey(ctx context.Context) (acts []*act, wake time.Time, deposed bool) {
	now := t.l.cfg.Now()
	t.l.cfg.View.Read(func(s *view.State) {
		if s.Leader.Modified != t.office {
			deposed = true
			return
		}
		c := &care{state: s, now: now, heard: t.desk.conclude(now, s), limits: t.l.cfg.Limits, past: t.past}
		t.watch(ctx, c)
		t.report(c.heard)
		acts, wake = c.all(), c.wake
		t.forget(s)
	})
	return acts, wake, deposed
}

// watch asks peers that hold replicas and have no session whether they are there. One that does not answer is Dead: its session has
// expired, and a probe has failed.
func (t *tender) watch(ctx context.Context, c *care) {
	for p := range c.state.Peers {
		if _, alive := c.state.Sessions[p]; alive || len(c.state.On[p]) == 0 {
			delete(t.probed, p)
			continue
		}
		last := t.probed[p]
		if last.err != nil && c.heard.peers[p].State != evidence.Dead {
			c.heard.peers[p] = evidence.Conclusion{State: evidence.Dead, Why: "its session has expired, and the control plane's own probe failed: " + status.Convert(last.err).Message()}
		}
		next := last.at.Add(probeEvery)
		if begin := t.desk.since.Add(settleIn); next.Before(begin) {
			next = begin
		}
		switch {
		case last.busy:
		case c.now.Before(next):
			c.wakeAt(next)
		default:
			last.at, last.busy = c.now, true
			t.probed[p] = last
			t.group.Go(func() error {
				ctx, cancel := context.WithTimeout(ctx, probeWithin)
				defer cancel()
				t.tell(ctx, outcome{peer: p, err: t.l.cfg.Peers.Probe(ctx, p)})
				return nil
			})
		}
	}
}

// report logs what is concluded otherwise than before.
func (t *tender) report(h hearsay) {
	for p, v := range h.peers {
		switch was := t.verdict[p]; {
		case was == v.State:
		case v.State == evidence.Dead:
			t.l.cfg.Logger.Warn("peer concluded Dead", "peer", uint64(p), "why", v.Why)
		case was == evidence.Dead:
			t.l.cfg.Logger.Info("peer not Dead any more", "peer", uint64(p), "verdict", v.State.String())
		}
		t.verdict[p] = v.State
	}
}

// forget drops what is remembered of shards and peers that are gone.
func (t *tender) forget(s *view.State) {
	gone := func(id topology.Shard) bool { _, ok := s.Shard(id); return !ok }
	maps.DeleteFunc(t.past.rested, func(id topology.Shard, _ rest) bool { return gone(id) })
	maps.DeleteFunc(t.past.failed, func(id topology.Shard, _ topology.Epoch) bool { return gone(id) })
	unknown := func(p topology.PeerID) bool { _, ok := s.Peers[p]; return !ok }
	maps.DeleteFunc(t.probed, func(p topology.PeerID, _ probed) bool { return unknown(p) })
	maps.DeleteFunc(t.verdict, func(p topology.PeerID, _ evidence.State) bool { return unknown(p) })
	maps.DeleteFunc(t.past.quiet, func(p topology.PeerID, _ time.Time) bool { return unknown(p) })
}

func (t *tender) begin(ctx context.Context, a *act) {
	t.under++
	t.past.busy[a.shard] = a
	t.group.Go(func() error {
		t.tell(ctx, outcome{act: a, err: t.perform(ctx, a)})
		return nil
	})
}

func (t *tender) tell(ctx context.Context, o outcome) {
	select {
	case t.done <- o:
	case <-ctx.Done():
	}
}

// perform carries one act out and waits until the view shows it.
func (t *tender) perform(ctx context.Context, a *act) error {
	if a.to != 0 {
		return t.handOver(ctx, a)
	}
	var done swap.Done
	var err error
	if a.plan != nil {
		done, err = t.l.cfg.Performer.Do(ctx, *a.plan, a.heirs, t.commit)
	} else {
		done, err = t.l.cfg.Performer.Write(ctx, a.kind, a.draft, t.commit, a.conds...)
	}
	if err != nil {
		return err
	}
	t.l.cfg.Logger.Info("placement changed", "kind", string(a.kind), "collection", uint64(a.shard.Collection), "shard", uint64(a.shard.ID),
		"epoch", uint64(done.Shard.Epoch), "primary", uint64(done.Shard.Primary), "replicas", words(done.Shard))
	return t.l.cfg.View.Wait(ctx, done.Revision)
}

// words are the replicas of a record for a log line.
func words(rec store.Shard) string {
	out := ""
	for _, r := range rec.Replicas {
		out += fmt.Sprintf("%d=%s ", r.Peer, r.State)
	}
	return out
}

func (t *tender) commit(ctx context.Context, txn store.Txn) (int64, error) {
	return t.l.commit(ctx, t.office, txn)
}

// errNoHandover: the primary was asked in vain.
var errNoHandover = errors.New("reconcile: the primary did not hand over in time")

func (t *tender) handOver(ctx context.Context, a *act) error {
	ctx, cancel := context.WithTimeout(ctx, handoverWithin)
	defer cancel()
	if err := t.l.cfg.Peers.Handover(ctx, a.was.Record, a.to); err != nil {
		return errors.Join(errNoHandover, err)
	}
	err := t.l.cfg.View.Until(ctx, func(s *view.State) bool {
		now, ok := s.Shard(a.shard)
		return !ok || now.Record.Epoch > a.was.Record.Epoch
	})
	if err != nil {
		return errors.Join(errNoHandover, err)
	}
	return nil
}

// note learns from what an act came to.
func (t *tender) note(o outcome) {
	now := t.l.cfg.Now()
	if o.act == nil {
		last := t.probed[o.peer]
		last.busy, last.err = false, o.err
		t.probed[o.peer] = last
		return
	}
	t.under--
	delete(t.past.busy, o.act.shard)
	was := t.past.rested[o.act.shard]
	delete(t.past.rested, o.act.shard)
	if o.err == nil || errors.Is(o.err, context.Canceled) {
		return
	}
	if errors.Is(o.err, errNoHandover) {
		t.past.failed[o.act.shard] = o.act.was.Record.Epoch
	}
	if refused, ok := errors.AsType[*swap.Refusal](o.err); ok {
		for p, why := range refused.Why {
			if r := fault.ReasonOf(why); r == fault.Timeout || errors.Is(why, context.DeadlineExceeded) {
				t.past.quiet[p] = now.Add(quietFor)
			}
		}
	}
	r := rest{epoch: o.act.was.Record.Epoch, pause: firstRest, why: o.err.Error()}
	if errors.Is(o.err, store.ErrConflict) { // most often the view shows soon what came between
		r.why = was.why
	}
	switch {
	case errors.Is(o.err, errNoHandover): // goes on without the primary
		r.pause = 0
	case was.epoch == r.epoch:
		r.pause = min(max(2*was.pause, firstRest), maxRest)
	}
	r.until = now.Add(r.pause)
	t.past.rested[o.act.shard] = r
	if was.why != r.why {
		t.l.cfg.Logger.Warn("placement not changed", "kind", string(o.act.kind), "collection", uint64(o.act.shard.Collection),
			"shard", uint64(o.act.shard.ID), "epoch", uint64(r.epoch), "why", r.why)
	}
}
