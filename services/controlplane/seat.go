package controlplane

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/member"
	"github.com/pandodb/pando/services/controlplane/internal/reconcile"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/store/etcdstore"
)

const (
	// askEvery is how often a process without a member asks whether it is to have one; the leader lets it ask at once.
	askEvery = 5 * time.Second
	// askAgain is the pause after no answer, and after a start that failed.
	askAgain = 500 * time.Millisecond
	// askWithin bounds one question.
	askWithin = 2 * time.Second
)

// seat is the engine of a real cluster: it runs a member while this process is to have one, and waits for a seat
// otherwise. A member is never told by a message that it was removed: it finds out from the members themselves, by a
// linearizable read that begins after the question. Only then is its folder emptied.
type seat struct {
	cfg   Config
	deps  Deps
	slot  *member.Slot
	wake  chan struct{} // ask for the seat now
	ready atomic.Bool   // see usable
	first chan struct{} // closed when it was usable for the first time
	once  sync.Once
	// vacant: there are no data of a member, and none is about to be made.
	vacant atomic.Bool
}

func newSeat(cfg Config, deps Deps) *seat {
	return &seat{cfg: cfg, deps: deps, slot: member.NewSlot(), wake: make(chan struct{}, 1), first: make(chan struct{})}
}

func (e *seat) records() store.Store { return etcdstore.New(e.slot.Client) }

func (e *seat) office() (reconcile.Office, <-chan struct{}) {
	o, changed := e.slot.Leader()
	return reconcile.Office{Term: o.Term, Member: o.Leader, Mine: o.Mine}, changed
}

func (e *seat) usable() bool { return e.ready.Load() }

func (e *seat) status() engineStatus {
	m, _ := e.slot.Get()
	if m == nil {
		return engineStatus{}
	}
	o, _ := m.Leader()
	id, _ := m.Position()
	return engineStatus{term: o.Term, leader: o.Leader, self: id, members: m.Members()}
}

// handler serves etcd's traffic of whatever member runs.
func (e *seat) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m, _ := e.slot.Get(); m != nil {
			m.Handler().ServeHTTP(w, r)
			return
		}
		http.Error(w, "no member of the control plane runs in this process", http.StatusServiceUnavailable)
	})
}

// room fails while the disk has too little space for new records.
func (e *seat) room() error {
	if m, _ := e.slot.Get(); m != nil {
		return m.Room()
	}
	return nil
}

// run lives one life of a member after the other. work runs while one does.
func (e *seat) run(ctx context.Context, work func(context.Context) error) error {
	found := e.cfg.Found
	for ctx.Err() == nil {
		cfg := e.memberConfig()
		has, err := member.HasData(e.cfg.Dir)
		if err != nil {
			return err
		}
		if !has && !found {
			if cfg.Members = e.await(ctx); cfg.Members == nil {
				return nil
			}
			cfg.Join = true
			if err := member.Empty(e.cfg.Dir); err != nil { // what a start that failed left behind
				return err
			}
		}
		found = false
		if err := e.between(ctx, cfg, work); err != nil {
			return err
		}
	}
	return nil
}

func (e *seat) memberConfig() member.Config {
	return member.Config{
		Dir: e.cfg.Dir, ID: e.cfg.ID, Token: e.deps.ClusterID(), Tick: e.cfg.Tick, Election: e.cfg.Election, Quota: e.cfg.QuotaBytes,
		UnsafeNoFsync: e.cfg.UnsafeNoFsync, Dial: e.deps.DialMember, Logger: e.deps.Log,
	}
}

// between lives a life and decides what its end means: nil to go on with the next one.
func (e *seat) between(ctx context.Context, cfg member.Config, work func(context.Context) error) error {
	m, err := member.New(cfg)
	if err != nil {
		return err
	}
	err = e.live(ctx, m, work)
	has, hasErr := member.HasData(e.cfg.Dir)
	switch {
	case ctx.Err() != nil:
		return err
	case hasErr != nil:
		return errors.Join(err, hasErr)
	case errors.Is(err, member.ErrStopped):
		id, _ := m.Position()
		return e.stopped(ctx, id, err)
	case cfg.Join && !has: // the members changed under its hands, or none of them could be reached
		e.deps.Log.Debug("the member cannot start yet", "error", err)
		pause(ctx, nil, askAgain)
		return nil
	}
	return err
}

// live runs a member and, once it is ready, work. The member outlives work; work ends with the member.
func (e *seat) live(ctx context.Context, m *member.Member, work func(context.Context) error) error {
	memberCtx, stopMember := context.WithCancel(context.WithoutCancel(ctx))
	workCtx, stopWork := context.WithCancel(ctx)
	defer stopMember()
	defer stopWork()
	e.slot.Put(m)
	defer e.slot.Put(nil)
	var group errgroup.Group
	group.Go(func() error {
		defer stopWork()
		return m.Run(memberCtx)
	})
	group.Go(func() error {
		defer stopMember()
		select {
		case <-m.Ready():
		case <-workCtx.Done():
			return nil
		}
		if err := e.deps.Links.Announce(true); err != nil {
			return err
		}
		return work(workCtx)
	})
	return group.Wait()
}

// stopped finds out why etcd ended by itself. A removed member is forgotten, since its id never comes back; anything else is the
// end of the process.
func (e *seat) stopped(ctx context.Context, id uint64, why error) error {
	known := e.deps.Links.Book()
	if !slices.ContainsFunc(known.Processes(), func(p string) bool { a, _ := known.Lookup(p); return a.Member && p != e.cfg.ID }) {
		return why // nobody could have removed it
	}
	e.deps.Log.Info("the member of the control plane has stopped; asking the others whether it was removed")
	for {
		resp, err := e.ask(ctx)
		if err == nil {
			for _, s := range resp.GetMembers() {
				if s.GetMember() == id {
					return why
				}
			}
			e.deps.Log.Info("the member of the control plane was removed")
			if resp.GetBelongs() {
				err = e.deps.Links.Announce(false)
			}
			return errors.Join(err, member.Empty(e.cfg.Dir))
		}
		if !pause(ctx, nil, askAgain) {
			return nil
		}
	}
}

// await waits until this process has a seat, and answers the processes of all members; nil when ctx ends. Without data only a
// learner that never ran can be started: the leader removes a member whose data are lost, and adds another one.
func (e *seat) await(ctx context.Context) []string {
	said := false
	e.vacant.Store(true)
	defer e.vacant.Store(false)
	for {
		next := askEvery
		resp, err := e.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			next = askAgain
		case !resp.GetBelongs():
			e.deps.Removed()
			<-ctx.Done()
			return nil
		default:
			var all []string
			fresh := false
			for _, s := range resp.GetMembers() {
				all = append(all, s.GetProcess())
				fresh = fresh || s.GetProcess() == e.cfg.ID && s.GetLearner() && !s.GetStarted()
			}
			if fresh {
				e.deps.Log.Info("this process has a seat in the control plane", "members", len(all))
				return all
			}
			if !said && !slices.Contains(all, e.cfg.ID) {
				e.deps.Log.Info("this process has no member of the control plane; it uses those of others", "members", len(all))
				said = true
			}
		}
		if !pause(ctx, e.wake, next) {
			return nil
		}
	}
}

func (e *seat) ask(ctx context.Context) (*placementv1.SeatResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return placementv1.NewMembersClient(e.deps.Control).Seat(ctx, &placementv1.SeatRequest{Process: e.cfg.ID, PeerId: uint64(e.cfg.Peer)})
}

// look answers the leader, which knows whether this process is to have a member.
func (e *seat) look(should uint64) *placementv1.LookResponse {
	resp := &placementv1.LookResponse{Ready: e.usable(), Vacant: e.vacant.Load()}
	if m, _ := e.slot.Get(); m != nil {
		resp.Member, resp.Applied = m.Position()
	}
	if resp.GetMember() != should {
		select {
		case e.wake <- struct{}{}:
		default:
		}
	}
	return resp
}

// watch keeps usable current while a member runs: it is ready, the view has caught up with what was there at the start, and
// there is a leader.
func (e *seat) watch(ctx context.Context, caughtUp func(context.Context) error) error {
	defer e.setUsable(false)
	for {
		err := caughtUp(ctx)
		if err == nil {
			break
		}
		if !pause(ctx, nil, askAgain) {
			return nil
		}
	}
	for led := true; ; {
		office, changed := e.office()
		e.setUsable(office.Member != 0)
		if has := office.Member != 0; has != led {
			led = has
			if has {
				e.deps.Log.Info("the control plane has a leader again", "term", office.Term)
			} else {
				e.deps.Log.Warn("the control plane has no leader that this process can reach")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (e *seat) setUsable(usable bool) {
	e.ready.Store(usable)
	e.deps.Usable(usable)
	if usable {
		e.once.Do(func() { close(e.first) })
	}
}

// pause waits for the time or for wake; false when ctx has ended.
func pause(ctx context.Context, wake <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-t.C:
	}
	return true
}
