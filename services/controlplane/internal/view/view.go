// Package view keeps the whole store decoded in memory, current by one watch, for everything in the process that reads it:
// the leader's loop, the catalog's waits and the placement streams of all peers. It writes nothing and decides
// nothing. It may lag behind the store: who must not act on old facts compares revisions in its transaction.
package view

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pandodb/pando/services/controlplane/internal/store"
)

// history is how many revisions a slow reader may be behind before it must start over with a snapshot.
const history = 4096

// View of one store. Make it with New; it is empty until Ready.
type View struct {
	store store.Store
	log   *slog.Logger
	ready chan struct{}

	mu struct {
		sync.RWMutex
		state   *State
		recent  []Batch // ascending, the newest at the end
		oldest  int64   // Since(oldest-1) fails, Since(oldest) and later work
		changed chan struct{}
	}
}

// New makes a view; Run fills it.
func New(s store.Store, log *slog.Logger) *View {
	v := &View{store: s, log: log, ready: make(chan struct{})}
	v.mu.state = newState()
	v.mu.changed = make(chan struct{})
	return v
}

// Ready is closed when the first full read is done.
func (v *View) Ready() <-chan struct{} { return v.ready }

// Read calls fn with the present state. fn must be short, must not keep the state and must not call the view.
func (v *View) Read(fn func(*State)) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	fn(v.mu.state)
}

// Revision that the view has reached.
func (v *View) Revision() int64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.mu.state.Revision
}

// Told is the revision of the newest change that Since answers. A reader of changes who has reached it misses nothing, even where
// Revision, which sessions raise as well, is higher.
func (v *View) Told() int64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if n := len(v.mu.recent); n > 0 {
		return v.mu.recent[n-1].Revision
	}
	return v.mu.oldest
}

// Changed is closed at the next change.
func (v *View) Changed() <-chan struct{} {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.mu.changed
}

// Since answers the batches after a revision, the revision reached with them and the channel of the next change.
// store.ErrCompacted if they are no longer remembered, or if the view has not got that far.
func (v *View) Since(revision int64) ([]Batch, int64, <-chan struct{}, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	now := v.mu.state.Revision
	if revision < v.mu.oldest || revision > now {
		return nil, now, v.mu.changed, store.ErrCompacted
	}
	i := len(v.mu.recent)
	for i > 0 && v.mu.recent[i-1].Revision > revision {
		i--
	}
	return v.mu.recent[i:len(v.mu.recent):len(v.mu.recent)], now, v.mu.changed, nil
}

// Until blocks until cond holds, and calls it once for each change. It answers ctx's error if ctx ends first.
func (v *View) Until(ctx context.Context, cond func(*State) bool) error {
	for {
		changed, ok := v.Changed(), false
		v.Read(func(s *State) { ok = cond(s) })
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Wait blocks until the view has seen a revision.
func (v *View) Wait(ctx context.Context, revision int64) error {
	return v.Until(ctx, func(s *State) bool { return s.Revision >= revision })
}

// Pauses after a failed read of the store.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = time.Second
)

// Run keeps the view current until ctx ends (nil). While the store is unavailable the view stands still. A record that
// cannot be read ends it: acting on half of the records would be worse.
func (v *View) Run(ctx context.Context) error {
	pause := firstPause
	from := int64(0)
	for ctx.Err() == nil {
		var err error
		if from == 0 {
			from, err = v.load(ctx)
		}
		if err == nil {
			pause = firstPause
			err = v.store.Watch(ctx, store.Root, from, func(b store.Batch) error {
				from = b.Revision + 1
				return v.take(b)
			})
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, store.ErrCompacted):
			from = 0
			continue
		case !errors.Is(err, store.ErrUnavailable):
			return err
		}
		v.log.Debug("the store does not answer", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
	return nil
}

// load reads everything anew and answers the revision from which to watch.
func (v *View) load(ctx context.Context) (int64, error) {
	fresh := newState()
	revision, err := store.Scan(ctx, v.store, store.Root, func(kvs []store.KV) error {
		for _, kv := range kvs {
			if _, err := fresh.apply(store.Change{KV: kv}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	fresh.Revision = revision
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.state, v.mu.recent, v.mu.oldest = fresh, nil, revision
	v.announce()
	select {
	case <-v.ready:
	default:
		close(v.ready)
	}
	return revision + 1, nil
}

// take applies one batch of the watch, split by revision.
func (v *View) take(b store.Batch) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := 0; i < len(b.Changes); {
		batch := Batch{Revision: b.Changes[i].Modified}
		for ; i < len(b.Changes) && b.Changes[i].Modified == batch.Revision; i++ {
			change, err := v.mu.state.apply(b.Changes[i])
			if err != nil {
				return err
			}
			if change != nil {
				batch.Changes = append(batch.Changes, *change)
			}
		}
		if len(batch.Changes) > 0 {
			v.mu.recent = append(v.mu.recent, batch)
		}
	}
	if len(v.mu.recent) >= 2*history { // readers may hold the old array
		cut := len(v.mu.recent) - history
		v.mu.oldest = v.mu.recent[cut-1].Revision
		v.mu.recent = append([]Batch(nil), v.mu.recent[cut:]...)
		v.mu.state.forget()
	}
	v.announce()
	return nil
}

// announce wakes the waiters. Lock held.
func (v *View) announce() {
	close(v.mu.changed)
	v.mu.changed = make(chan struct{})
}
