// Package reconcile is the leader's loop: it turns what the catalog says into placements, by compare-and-swap and nothing
// else.
//
// It is level-triggered: each pass looks at the newest state, whatever led there, and every step is one transaction that is
// complete in itself. A loop that is killed between two steps leaves nothing half done, and its successor finds
// the rest from the records alone. A loop in office compares its own leader record in every transaction; once a successor has
// written that key, nothing of the old loop can happen any more.
//
// One half gives birth to shards and clears away what is gone (decide.go): it needs records alone, since sessions and
// inventories are records too. The other half tends living shards (care.go decides, tend.go acts): it also knows what observers hold of
// the peers, and asks peers to confirm themselves and to hand over.
package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/topology"
)

// Office says who leads the control plane. Term only grows.
type Office struct {
	Term, Member uint64
	Mine         bool // this process leads
}

// Config of the loop.
type Config struct {
	Store store.Store
	View  *view.View
	// Office answers who leads now, and a channel that is closed when that changes.
	Office func() (Office, <-chan struct{})
	// Peers asks data peers; Performer carries out what needs their word.
	Peers     Peers
	Performer *swap.Performer
	// Limits of transfers that the loop begins by itself; 0 = 4 each, less than 0 = none.
	Limits Limits
	// BirthWait is how long the birth of a shard waits for a replica that was not reported, if another one was. 0 = 5 s.
	BirthWait time.Duration
	// MaxSteps bounds the transactions of one pass; what is left over is found again in the next one. 0 = 64.
	MaxSteps int
	Now      func() time.Time // nil = time.Now
	Logger   *slog.Logger
}

// Peers asks data peers.
type Peers interface {
	// Handover asks the primary of a shard to be succeeded, and comes back when it was.
	Handover(ctx context.Context, rec store.Shard, to topology.PeerID) error
	// Probe fails if the process of the peer does not answer.
	Probe(ctx context.Context, peer topology.PeerID) error
}

// Loop works while its process leads. Make it with New.
type Loop struct {
	cfg  Config
	desk atomic.Pointer[desk] // of the present term; nil = not in office
}

// New starts nothing.
func New(cfg Config) *Loop {
	if cfg.BirthWait == 0 {
		cfg.BirthWait = 5 * time.Second
	}
	if cfg.MaxSteps == 0 {
		cfg.MaxSteps = 64
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	for _, limit := range []*int{&cfg.Limits.Incoming, &cfg.Limits.Outgoing} {
		switch {
		case *limit == 0:
			*limit = transfersPerPeer
		case *limit < 0:
			*limit = math.MaxInt
		}
	}
	return &Loop{cfg: cfg}
}

// transfersPerPeer is the default of both limits.
const transfersPerPeer = 4

// errDeposed ends a term of office.
var errDeposed = errors.New("reconcile: another member took office")

// Run serves every term of office that falls to this process until ctx ends (nil). All work of a term ends with it.
func (l *Loop) Run(ctx context.Context) error {
	select {
	case <-l.cfg.View.Ready():
	case <-ctx.Done():
		return nil
	}
	for ctx.Err() == nil {
		office, changed := l.cfg.Office()
		if office.Mine {
			if err := l.term(ctx, office, changed); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	return nil
}

// term serves one term of office and comes back when it has ended.
func (l *Loop) term(ctx context.Context, office Office, changed <-chan struct{}) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	watch := make(chan struct{})
	go func() {
		defer close(watch)
		select {
		case <-changed:
			end()
		case <-ctx.Done():
		}
	}()
	err := l.serve(ctx, office)
	if errors.Is(err, errDeposed) {
		l.cfg.Logger.Info("office lost", "term", office.Term)
		select { // nothing to do until the election says so too
		case <-ctx.Done():
		case <-changed:
		}
		err = nil
	}
	if ctx.Err() != nil {
		err = nil
	}
	end()
	<-watch
	return err
}

// serve takes office and works until ctx ends or somebody else takes office.
func (l *Loop) serve(ctx context.Context, office Office) error {
	revision, err := l.takeOffice(ctx, office)
	if err != nil {
		return err
	}
	l.cfg.Logger.Info("office taken", "term", office.Term, "member", office.Member)
	if err := l.cfg.View.Wait(ctx, revision); err != nil {
		return err
	}
	d := newDesk(revision, l.cfg.Now())
	l.desk.Store(d)
	defer l.desk.Store(nil)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.grow(ctx, revision) })
	group.Go(func() error { return l.tend(ctx, revision, d) })
	return group.Wait()
}

// grow gives birth to shards and clears away what is gone.
func (l *Loop) grow(ctx context.Context, revision int64) error {
	settled := map[topology.CollectionID]int64{}
	for {
		changed := l.cfg.View.Changed()
		p, deposed := l.look(revision, settled)
		if deposed {
			return errDeposed
		}
		done, err := l.perform(ctx, revision, p.steps)
		switch {
		case err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable):
			return err
		case done > 0:
			if err := l.cfg.View.Wait(ctx, done); err != nil {
				return err
			}
			continue
		}
		if err := l.rest(ctx, changed, p, len(p.steps) > 0); err != nil {
			return err
		}
	}
}

// retryPause bounds how soon a step is decided anew that met a conflict or no quorum.
const retryPause = 50 * time.Millisecond

// rest waits for the next change, for the time that a decision waits for or, after failed steps, for a moment.
func (l *Loop) rest(ctx context.Context, changed <-chan struct{}, p *pass, failed bool) error {
	var timer <-chan time.Time
	switch {
	case failed:
		timer = time.After(retryPause)
	case !p.wake.IsZero():
		timer = time.After(max(p.wake.Sub(l.cfg.Now()), time.Millisecond))
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
	case <-timer:
	}
	return nil
}

// takeOffice raises the leader record and answers the revision of that, which all later transactions compare.
func (l *Loop) takeOffice(ctx context.Context, office Office) (int64, error) {
	for {
		revision, err := l.claim(ctx, office)
		if err == nil || errors.Is(err, errDeposed) {
			return revision, err
		}
		if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrUnavailable) {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(retryPause):
		}
	}
}

func (l *Loop) claim(ctx context.Context, office Office) (int64, error) {
	cond := store.Absent(store.LeaderKey)
	old, err := store.Load[store.Leader](ctx, l.cfg.Store, store.LeaderKey)
	switch {
	case err == nil:
		if old.Record.Term > office.Term || (old.Record.Term == office.Term && old.Record.Member != office.Member) {
			return 0, errDeposed
		}
		cond = old.Unchanged()
	case !errors.Is(err, store.ErrNotFound):
		return 0, err
	}
	return l.cfg.Store.Commit(ctx, store.Txn{
		If:   []store.Cond{cond},
		Then: []store.Op{store.Put(store.Leader{Term: office.Term, Member: office.Member})},
	})
}

// look decides on everything that is not settled. settled remembers at which revision a collection was found so.
func (l *Loop) look(office int64, settled map[topology.CollectionID]int64) (p *pass, deposed bool) {
	p = &pass{
		now: l.cfg.Now(), birthWait: l.cfg.BirthWait, maxSteps: l.cfg.MaxSteps,
		primaries: map[topology.PeerID]int{}, replicas: map[topology.PeerID]int{},
	}
	l.cfg.View.Read(func(s *view.State) {
		if s.Leader.Modified != office {
			deposed = true
			return
		}
		p.state = s
		var open []topology.CollectionID
		for id, touched := range s.Touched {
			if settled[id] < touched {
				open = append(open, id)
			}
		}
		for id := range settled {
			if _, known := s.Touched[id]; !known {
				delete(settled, id)
			}
		}
		slices.Sort(open)
		for _, id := range open {
			if p.full() {
				break
			}
			if p.collection(id) {
				settled[id] = s.Revision
			}
		}
		p.state = nil
	})
	return p, deposed
}

// perform commits the steps one after the other and answers the last revision written, 0 if none was. A conflict is no
// error: the state has moved on and is looked at anew.
func (l *Loop) perform(ctx context.Context, office int64, steps []step) (int64, error) {
	var last int64
	for _, s := range steps {
		revision, err := l.commit(ctx, office, s.txn)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return last, err
		}
		l.cfg.Logger.Info(s.what, s.args...)
		if s.kind != "" && l.cfg.Performer.Swapped != nil {
			l.cfg.Performer.Swapped(s.kind)
		}
		last = revision
	}
	return last, nil
}

// commit is a transaction that this term of office makes: nothing of it happens once a successor has taken office.
func (l *Loop) commit(ctx context.Context, office int64, txn store.Txn) (int64, error) {
	txn.If = append([]store.Cond{store.Unchanged(store.LeaderKey, office)}, txn.If...)
	return l.cfg.Store.Commit(ctx, txn)
}
