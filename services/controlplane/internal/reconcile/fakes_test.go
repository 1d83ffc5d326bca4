package reconcile

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pandodb/pando/services/controlplane/internal/evidence"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/store/memstore"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/topology"
)

// manner is how a peer answers a Confirm.
type manner int

const (
	honest           manner = iota
	silent                  // not at all
	late                    // well, and when it is too late to act
	refusing                // with an error
	otherDisk               // with another incarnation
	otherEpoch              // under an older placement
	otherSession            // of an earlier life
	withoutHandovers        // well; it does not hand over
)

// fakes are the peers as the loops meet them.
type fakes struct {
	mu       sync.Mutex
	manner   map[topology.PeerID]manner
	lease    map[topology.PeerID]store.LeaseID
	down     map[topology.PeerID]time.Time // since when; absent = it runs
	broken   map[evidence.Replica]bool
	asked    map[topology.PeerID]int // Confirms, by who was asked
	handed   int
	noCopies bool // primaries finish none
	mute     bool // nobody reports
}

var errDown = errors.New("connection refused")

func (f *fakes) with(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.manner == nil {
		f.manner, f.lease, f.down = map[topology.PeerID]manner{}, map[topology.PeerID]store.LeaseID{}, map[topology.PeerID]time.Time{}
		f.broken, f.asked = map[evidence.Replica]bool{}, map[topology.PeerID]int{}
	}
	fn()
}

func (f *fakes) set(id topology.PeerID, up bool) {
	f.with(func() {
		if up {
			delete(f.down, id)
		} else if _, down := f.down[id]; !down {
			f.down[id] = time.Now()
		}
	})
}

func (f *fakes) opened(id topology.PeerID, lease store.LeaseID) {
	f.with(func() { f.lease[id] = lease })
}

func (f *fakes) behave(id topology.PeerID, m manner) { f.with(func() { f.manner[id] = m }) }

func (f *fakes) get(id topology.PeerID) (m manner, lease store.LeaseID, up bool) {
	f.with(func() {
		_, down := f.down[id]
		m, lease, up = f.manner[id], f.lease[id], !down
	})
	return m, lease, up
}

// kill ends a peer as kill -9 does: its session stays for as long as its lease.
func (c *cluster) kill(id topology.PeerID) {
	if stop := c.peers[id]; stop != nil {
		c.fakes.set(id, false)
		stop()
		c.peers[id] = nil
	}
}

// Confirm implements swap.Asker.
func (c *cluster) Confirm(ctx context.Context, id topology.PeerID, rec store.Shard) (swap.Answer, error) {
	m, lease, up := c.fakes.get(id)
	c.fakes.with(func() { c.fakes.asked[id]++ })
	a := swap.Answer{Peer: id, Epoch: rec.Epoch, Session: lease, LastSeq: topology.Seq(id)}
	c.view.Read(func(s *view.State) {
		session := s.Sessions[id].Record
		if r := session.Report(rec.Collection, rec.Shard); r != nil {
			a.Incarnation = r.Incarnation
		}
	})
	if !up {
		return a, errDown
	}
	switch m {
	case silent:
		<-ctx.Done()
		return a, ctx.Err()
	case late:
		<-ctx.Done()
	case refusing:
		return a, errors.New("no such replica")
	case otherDisk:
		a.Incarnation[0]++
	case otherEpoch:
		a.Epoch--
	case otherSession:
		a.Session += 1000
	}
	return a, nil
}

// Handover implements Peers: a primary that stops, drains, and asks for the swap itself.
func (c *cluster) Handover(ctx context.Context, rec store.Shard, to topology.PeerID) error {
	m, lease, up := c.fakes.get(rec.Primary)
	if !up {
		return errDown
	}
	if m == withoutHandovers {
		<-ctx.Done()
		return ctx.Err()
	}
	now, copies, err := c.load(ctx, rec.ID())
	if err != nil || now.Record.Epoch != rec.Epoch {
		return errors.Join(errors.New("stale epoch"), err)
	}
	c.fakes.with(func() { c.fakes.handed++ })
	plan := swap.Plan{Kind: swap.Handover, Was: now, Copies: copies, To: to, If: []store.Cond{store.Leased(store.SessionKey(rec.Primary), lease)}}
	_, err = c.performer.Do(ctx, plan, plan.Heirs(), c.store.Commit)
	return err
}

// Probe implements Peers.
func (c *cluster) Probe(_ context.Context, id topology.PeerID) error {
	if _, _, up := c.fakes.get(id); !up {
		return errDown
	}
	return nil
}

func (c *cluster) load(ctx context.Context, id topology.Shard) (store.Versioned[store.Shard], swap.Copies, error) {
	rec, err := store.Load[store.Shard](ctx, c.store, store.ShardKey(id.Collection, id.ID))
	if err != nil {
		return rec, nil, err
	}
	list, _, err := store.LoadAll[store.Transfer](ctx, c.store, store.TransfersOf(id.Collection, id.ID))
	copies := swap.Copies{}
	for _, t := range list {
		copies[t.Record.To] = t
	}
	return rec, copies, err
}

// observe tells every loop what a peer's observer holds: Dead is who has been down for 1.5 s.
func (c *cluster) observe(id topology.PeerID) {
	mute := false
	if c.fakes.with(func() { mute = c.fakes.mute }); mute {
		return
	}
	r := evidence.Report{Observer: id, Own: id, Full: true, Peers: map[topology.PeerID]evidence.Said{}, Replicas: map[evidence.Replica]evidence.Said{}}
	var known []topology.PeerID
	c.view.Read(func(s *view.State) { known = slices.Collect(maps.Keys(s.Peers)) })
	c.fakes.with(func() {
		for _, p := range known {
			r.Peers[p] = evidence.Said{State: evidence.Alive}
			at, down := c.fakes.down[p]
			if own, cut := c.fakes.down[id]; cut && p != id {
				at, down = own, true
			}
			if down {
				r.Peers[p] = evidence.Said{State: evidence.Suspect, Why: errDown.Error()}
				if time.Since(at) >= 1500*time.Millisecond {
					r.Peers[p] = evidence.Said{State: evidence.Dead, Why: errDown.Error()}
				}
			}
		}
		for b := range c.fakes.broken {
			r.Replicas[b] = evidence.Said{State: evidence.Dead, Why: "input/output error"}
		}
	})
	for _, l := range c.loops {
		l.Report(r)
	}
}

// lead does a primary's part in returns: it makes every copy of its shards Active.
func (c *cluster) lead(ctx context.Context, id topology.PeerID, lease store.LeaseID) {
	idle := false
	c.fakes.with(func() { idle = c.fakes.noCopies })
	if idle {
		return
	}
	var mine []topology.Shard
	c.view.Read(func(s *view.State) {
		for shard := range s.Ailing {
			if rec, ok := s.Shard(shard); ok && rec.Record.Primary == id {
				mine = append(mine, shard)
			}
		}
	})
	for _, shard := range mine {
		now, copies, err := c.load(ctx, shard)
		if err != nil || now.Record.Primary != id {
			continue
		}
		for _, r := range now.Record.Replicas {
			if r.State == store.Partial {
				d := swap.New(now, copies, time.Now())
				d.Set(r.Peer, store.Active, "")
				_, _ = c.performer.Write(ctx, swap.Promote, d, c.store.Commit, store.Leased(store.SessionKey(id), lease)) // or the next time
				break
			}
		}
	}
}

// checked is the store as the loops write to it: it holds every transaction against the rules before it is tried.
type checked struct {
	*memstore.Store
	c *cluster
}

func (s checked) Commit(ctx context.Context, txn store.Txn) (int64, error) {
	office := false
	for _, cond := range txn.If {
		office = office || cond.Key == store.LeaderKey
	}
	for _, op := range txn.Then {
		if op.Key != store.LeaderKey && !office {
			s.c.Errorf("%s is written without a comparison of the office", op.Key)
		}
		if op.Key.Under(store.Shards) && op.Value != nil {
			s.shard(ctx, op, txn.If)
		}
	}
	return s.Store.Commit(ctx, txn)
}

// shard wants the record compared, and where an Active replica is lost or the primary moves, the session of the primary to be.
func (s checked) shard(ctx context.Context, op store.Op, conds []store.Cond) {
	var base, session *store.Cond
	now, err := store.Decode[store.Shard](store.KV{Key: op.Key, Value: op.Value})
	if err != nil {
		s.c.Error(err)
		return
	}
	for i, cond := range conds {
		if cond.Key == op.Key {
			base = &conds[i]
		}
		if cond.Key == store.SessionKey(now.Record.Primary) && cond.Lease != 0 {
			session = &conds[i]
		}
	}
	if base == nil || (base.Modified == 0 && now.Record.Epoch != 1) {
		s.c.Errorf("%s is written without a comparison of the record", op.Key)
		return
	}
	was, err := store.Load[store.Shard](ctx, s.Store, op.Key)
	if err != nil || was.Modified != base.Modified || unborn(was.Record) {
		return // it will conflict, or is a birth, which compares what is reported
	}
	known := true
	for _, p := range was.Record.Actives() {
		if _, err := s.Get(ctx, store.PeerKey(p)); errors.Is(err, store.ErrNotFound) {
			known = false
		}
		r := now.Record.Replica(p)
		lost := r == nil || r.State != store.Active || now.Record.Primary != was.Record.Primary
		if lost && session == nil && known {
			s.c.Errorf("%+v became %+v without the session of the primary being compared", was.Record, now.Record)
		}
	}
}
