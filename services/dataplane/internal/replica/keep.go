package replica

import (
	"errors"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/internal/topology"
)

// keep does what a step says of provisional operations (P3, P6): kept is the number up
// to which they are durable and shown now, 0 if nothing was to be kept.
func (l *loop) keep(fx *core.Effects) (kept topology.Seq, refused bool, failed error) {
	p := l.r.o.Provisional
	if n := len(fx.Keep); n > 0 {
		err := p.Keep(fx.Keep)
		switch refused = errors.Is(err, ErrNoSpace); {
		case err == nil:
			kept = fx.Keep[n-1].Seq
		case !refused:
			return 0, false, fmt.Errorf("keep provisional operations from %d on: %w", fx.Keep[0].Seq, err)
		}
	}
	for _, e := range fx.Late {
		l.r.o.Logger.Error("a provisional operation came too late for the log: it is not in the shard", "operation", fmt.Sprintf("%x-%d", e.ID.Request, e.ID.Index),
			"stamp_ms", e.HLC.Ms(), "peer", uint64(e.Origin))
	}
	if len(fx.Late) > 0 && l.r.o.Late != nil {
		l.r.o.Late(fx.Late)
	}
	if len(fx.Lift) > 0 || fx.Release > 0 {
		if err := p.Lift(fx.Lift, fx.Release); err != nil && !errors.Is(err, ErrNoSpace) {
			return 0, false, fmt.Errorf("release provisional operations up to %d: %w", fx.Release, err)
		}
	}
	return kept, refused, nil
}

// lookUp adds what the engine has of operations that another replica wants in the log
// (W2, P6).
func (l *loop) lookUp(ev core.Event) (core.Event, error) {
	r, ok := ev.(core.Received)
	if !ok {
		return ev, nil
	}
	x, ok := r.Message.(core.Reconcile)
	if !ok {
		return ev, nil
	}
	x.Seen = nil
	for _, e := range x.Entries {
		if !e.ID.IsLast() {
			continue
		}
		at, _, err := l.r.o.Engine.Seen(e.ID)
		if err != nil {
			return nil, fmt.Errorf("look up a provisional operation: %w", err)
		}
		x.Seen = append(x.Seen, at)
	}
	return core.Received{From: r.From, Message: x}, nil
}

// loopBack takes out the messages that the replica has for itself (P6): they come in
// as others' do.
func (l *loop) loopBack(fx *core.Effects) {
	for i := 0; i < len(fx.Send); i++ {
		if e := fx.Send[i]; e.To == l.r.o.Self {
			fx.Send = append(fx.Send[:i:i], fx.Send[i+1:]...)
			l.r.hear(arrival{core.Received{From: e.To, Message: e.Message}, nil})
			i--
		}
	}
}

// recall reads what was provisional when the replica ended.
func recall(p Provisional, st *core.Start) error {
	if p == nil {
		return nil
	}
	es, end, err := p.Load()
	if err != nil {
		return fmt.Errorf("read provisional operations: %w", err)
	}
	st.Provisional, st.Kept = es, end
	for _, e := range es {
		st.MaxHLC = max(st.MaxHLC, e.HLC)
	}
	return nil
}
