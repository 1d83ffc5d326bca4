package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/internal/topology"
)

// maxReads is how many reads for followers may wait; the protocol has one under
// way for each follower at most.
const maxReads = 64

// copied is what became of a Fetch.
type copied struct {
	copy Copy
	err  error
}

// reader reads entries for followers that lag behind what is in memory.
func (l *loop) reader(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-l.reads:
			es, err := l.r.o.Log.Read(r.From, r.Bytes)
			if err != nil {
				l.r.o.Logger.Warn("log not read for a follower", "peer", uint64(r.Peer), "from", uint64(r.From), "reason", err)
				es = nil
			}
			select {
			case l.read <- core.ReadDone{Read: r, Entries: es}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// fetcher brings one copy.
func (l *loop) fetcher(ctx context.Context, from CopySource) error {
	begun := time.Now()
	c, err := l.r.o.Copier.Fetch(ctx, from, func(p CopyProgress) {
		p.Elapsed = time.Since(begun)
		l.r.progress.Store(&p)
	})
	select {
	case l.copies <- copied{c, err}:
		return nil
	case <-ctx.Done():
		if err == nil {
			err = c.Drop()
		}
		return errors.Join(ctx.Err(), err)
	}
}

// arrive steps a message, or keeps it until the log is free.
func (l *loop) arrive(a arrival) {
	if l.syncing && core.Changes(a.Event) {
		l.held = append(l.held, a)
		return
	}
	l.take(a)
}

func (l *loop) take(a arrival) {
	if l.failed != nil {
		return // nothing it says could be kept
	}
	l.follow(a)
	l.step(a.Event)
}

// release steps what waited for the log to be free.
func (l *loop) release() {
	held := l.held
	l.held = nil
	for _, a := range held {
		l.take(a)
	}
	if l.late {
		l.ring()
	}
}

// ring is the time that the protocol asked for.
func (l *loop) ring() {
	if l.late = l.syncing; !l.late {
		l.step(core.Tick{})
		l.idle()
	}
}

// speak sends what a step has to say to others.
func (l *loop) speak(fx *core.Effects) {
	p := l.r.o.Peers
	l.loopBack(fx)
	if p == nil {
		return
	}
	if len(fx.Send) > 0 {
		p.Send(fx.Send, l.watched)
	}
	for _, a := range fx.Ask {
		l.r.o.Logger.Info("asking for another state of a replica", "peer", uint64(a.Peer), "state", a.To.String(), "epoch", uint64(a.Epoch), "reason", a.Reason)
		p.SetState(a)
	}
	if fx.Move != nil {
		p.HandOver(*fx.Move)
	}
	for _, r := range fx.Read {
		select {
		case l.reads <- r:
		default: // never: there are fewer followers
			l.r.o.Logger.Error("no room for a read", "peer", uint64(r.Peer))
		}
	}
	if fx.Fetch != 0 {
		s := l.m.Status()
		l.fetch(CopySource{Peer: fx.Fetch, Epoch: s.Placement.Epoch, After: s.Applied, Line: l.m.Line()})
	}
}

// onCopy hands the protocol the news of a copy.
func (l *loop) onCopy(c copied) {
	if c.err != nil {
		l.r.o.Logger.Warn("no copy of the state was fetched", "reason", c.err)
		l.step(core.FetchFailed{Clash: errors.Is(c.err, ErrClash)})
		return
	}
	l.copy = c.copy
	l.step(core.Fetched{At: c.copy.At().Seq})
}

// judge does what the protocol says of a copy, or of this one's own.
func (l *loop) judge(fx *core.Effects) {
	switch fx.Copy {
	case core.Install:
		// Also after an error: what the disk holds then, opening finds out.
		l.outcome = ErrReopen
		if err := l.copy.Commit(); err != nil {
			l.outcome = fmt.Errorf("%w: copy of entry %d: %w", ErrReopen, l.copy.At().Seq, err)
		}
		l.copy = nil
	case core.Drop:
		l.dropCopy()
	}
	if fx.Wipe != "" {
		end := ErrWipe
		if fx.Aside {
			end = ErrOverruled
		}
		l.outcome = fmt.Errorf("%w: %s", end, fx.Wipe)
	}
}

func (l *loop) dropCopy() {
	if l.copy == nil {
		return
	}
	if err := l.copy.Drop(); err != nil {
		l.r.o.Logger.Warn("a copy was not removed: the next start removes it", "reason", err)
	}
	l.copy = nil
}

// leave gives back what came too late.
func (l *loop) leave() {
	l.dropCopy()
	select {
	case c := <-l.copies:
		if c.err == nil {
			l.copy = c.copy
			l.dropCopy()
		}
	default:
	}
}

// follow opens the spans of traced entries that arrive; they end when the entry is
// durable here, which is when the primary may count on it.
func (l *loop) follow(a arrival) {
	if l.r.o.Tracer.Follow == nil {
		return
	}
	for seq, parent := range a.traceparents {
		if l.spans == nil {
			l.spans = map[topology.Seq]func(){}
		}
		if l.spans[seq] == nil && len(l.spans) < maxSpans {
			l.spans[seq] = l.r.o.Tracer.Follow(parent, l.r.o.Shard)
		}
	}
}

// maxSpans bounds what is kept for entries that never come.
const maxSpans = 1024

// settle ends the spans of entries up to a durable place.
func (l *loop) settle(upTo topology.Seq) {
	for seq, end := range l.spans {
		if seq <= upTo {
			end()
			delete(l.spans, seq)
		}
	}
}

// forget drops the trace contexts of entries that everybody required has applied.
func (l *loop) forget(upTo topology.Seq) {
	for seq := range l.watched {
		if seq <= upTo {
			delete(l.watched, seq)
		}
	}
}
