package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/pandodb/pando/services/controlplane/internal/evidence"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/store/memstore"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// election is what one member believes about who leads.
type election struct {
	mu struct {
		sync.Mutex
		office  Office
		changed chan struct{}
	}
}

func newElection() *election {
	e := &election{}
	e.mu.changed = make(chan struct{})
	return e
}

func (e *election) set(o Office) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.office = o
	close(e.mu.changed)
	e.mu.changed = make(chan struct{})
}

func (e *election) get() (Office, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mu.office, e.mu.changed
}

// maxSteps is small, so that collections of some hundred shards need several passes.
const maxSteps = 3

// cluster is some members on one memory store, with peers that answer placements as real ones would.
type cluster struct {
	*testing.T
	store     *memstore.Store
	view      *view.View // of the test itself
	elections []*election
	term      uint64
	loops     []*Loop
	performer *swap.Performer
	group     *errgroup.Group
	peers     map[topology.PeerID]context.CancelFunc
	next      topology.CollectionID
	rng       *rand.Rand
	fakes     fakes
}

// run makes a cluster inside a bubble of virtual time and ends it when fn has returned.
func run(t *testing.T, members int, seed uint64, fn func(ctx context.Context, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		c := &cluster{
			T: t, store: memstore.New(), group: &errgroup.Group{}, next: 1,
			peers: map[topology.PeerID]context.CancelFunc{}, rng: rand.New(rand.NewPCG(seed, 1)),
		}
		c.performer = &swap.Performer{Ask: c, Now: time.Now}
		log := slog.New(slog.DiscardHandler)
		c.view = view.New(c.store, log)
		c.group.Go(func() error { return c.view.Run(ctx) })
		for range members {
			e, v := newElection(), view.New(c.store, log)
			loop := New(Config{Store: checked{c.store, c}, View: v, Office: e.get, Peers: c, Performer: c.performer, MaxSteps: maxSteps, Logger: log})
			c.elections, c.loops = append(c.elections, e), append(c.loops, loop)
			c.group.Go(func() error { return v.Run(ctx) })
			c.group.Go(func() error { return loop.Run(ctx) })
		}
		c.group.Go(func() error { return c.store.Watch(ctx, store.Shards, 2, c.checkHistory()) })
		<-c.view.Ready()
		fn(ctx, c)
		cancel()
		if err := c.group.Wait(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// elect makes a member leader of the next term. Those in deaf do not hear of it.
func (c *cluster) elect(member int, deaf ...int) {
	c.term++
	for i, e := range c.elections {
		if !slices.Contains(deaf, i) {
			e.set(Office{Term: c.term, Member: uint64(member + 1), Mine: i == member})
		}
	}
}

// start brings up a peer: it registers, keeps its session and makes every replica that a placement gives it.
func (c *cluster) start(ctx context.Context, id topology.PeerID, disk map[store.Key]store.Incarnation) {
	ctx, c.peers[id] = context.WithCancel(ctx)
	c.fakes.set(id, true)
	c.group.Go(func() error {
		for ctx.Err() == nil {
			err := c.session(ctx, id, disk)
			if err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrLeaseGone) &&
				!errors.Is(err, store.ErrConflict) && ctx.Err() == nil {
				return err
			}
			<-time.After(20 * time.Millisecond)
		}
		return nil
	})
}

func (c *cluster) session(ctx context.Context, id topology.PeerID, disk map[store.Key]store.Incarnation) error {
	lease, err := c.store.Grant(ctx, time.Second)
	if err != nil {
		return err
	}
	rec := store.Session{Peer: id, Process: fmt.Sprint(lease), Lease: lease}
	if _, err := c.store.Commit(ctx, store.Txn{Then: []store.Op{
		store.Put(store.Peer{ID: id}), store.PutLeased(rec, lease),
	}}); err != nil {
		return err
	}
	c.fakes.opened(id, lease)
	for ctx.Err() == nil {
		c.observe(id)
		c.lead(ctx, id, lease)
		changed, reports := c.view.Changed(), []store.Report(nil)
		c.view.Read(func(s *view.State) {
			for _, shards := range s.Shards {
				for _, shard := range shards {
					if shard.Record.Replica(id) == nil {
						continue
					}
					if disk[shard.Record.Key()] == (store.Incarnation{}) {
						disk[shard.Record.Key()] = store.Incarnation{byte(id), byte(len(disk) + 1)}
					}
					reports = append(reports, store.Report{
						Collection: shard.Record.Collection, Shard: shard.Record.Shard, Loaded: true,
						Incarnation: disk[shard.Record.Key()], Epoch: shard.Record.Epoch,
					})
				}
			}
		})
		if len(reports) != len(rec.Replicas) {
			slices.SortFunc(reports, store.Report.Compare)
			key := store.SessionKey(id)
			now, err := store.Load[store.Session](ctx, c.store, key)
			if err != nil || now.Record.Lease != lease {
				return errors.Join(store.ErrLeaseGone, err)
			}
			rec = now.Record
			rec.Replicas = reports
			if _, err := c.store.Commit(ctx, store.Txn{If: []store.Cond{now.Unchanged()}, Then: []store.Op{store.PutLeased(rec, lease)}}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			<-time.After(time.Millisecond) // a real peer batches too
		case <-time.After(250 * time.Millisecond):
		}
		if err := c.store.Renew(ctx, lease); err != nil {
			return err
		}
	}
	return nil
}

// create writes the catalog entry of a collection, as the catalog does.
func (c *cluster) create(ctx context.Context, name string, shards, factor int) {
	c.Helper()
	rec := store.Collection{ID: c.next, Name: name, Wish: store.Wish{ShardNumber: uint32(shards), ReplicationFactor: uint32(factor)}}
	c.next++ // also when the name is taken: ids are never used again
	g := store.Group{}
	for i := range shards {
		g.Shards = append(g.Shards, topology.ShardID(i))
	}
	rec.Groups = []store.Group{g}
	alias := store.Alias{Name: name + "-alias", Collection: name, CollectionID: rec.ID}
	revision, err := c.store.Commit(ctx, store.Txn{
		If: []store.Cond{store.Absent(rec.Key())}, Then: []store.Op{store.Put(rec), store.Put(alias)},
	})
	if err == nil {
		err = c.view.Wait(ctx, revision)
	}
	if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrUnavailable) {
		c.Fatal(err)
	}
}

func (c *cluster) drop(ctx context.Context, name string) {
	c.Helper()
	revision, err := c.store.Commit(ctx, store.Txn{Then: []store.Op{store.Delete(store.CollectionKey(name))}})
	if err == nil {
		err = c.view.Wait(ctx, revision)
	}
	if err != nil && !errors.Is(err, store.ErrUnavailable) {
		c.Fatal(err)
	}
}

// checkHistory holds every single change of a placement against the rules of C0.
func (c *cluster) checkHistory() func(store.Batch) error {
	last := map[store.Key]store.Shard{}
	return func(b store.Batch) error {
		for _, change := range b.Changes {
			if change.Deleted {
				delete(last, change.Key)
				continue
			}
			v, err := store.Decode[store.Shard](change.KV)
			if err != nil {
				return err
			}
			was, now := last[change.Key], v.Record
			if now.Epoch != was.Epoch+1 {
				c.Errorf("%s: epoch %d after %d", change.Key, now.Epoch, was.Epoch)
			}
			for i, r := range now.Replicas {
				if i > 0 && r.Peer <= now.Replicas[i-1].Peer {
					c.Errorf("%s: replicas out of order or two on peer %d", change.Key, r.Peer)
				}
				if was.Epoch == 0 && r.State != store.Initializing {
					c.Errorf("%s: born %s", change.Key, r.State)
				}
				if r.State == store.Active && r.Incarnation == (store.Incarnation{}) {
					c.Errorf("%s: peer %d is Active without an incarnation", change.Key, r.Peer)
				}
			}
			if was.Epoch > 0 && len(was.Actives()) > 0 && len(now.Actives()) == 0 && !now.Lost {
				c.Errorf("%s: nobody is Active any more: %+v became %+v", change.Key, was, now)
			}
			for _, r := range now.Replicas {
				if before := was.Replica(r.Peer); before != nil && before.State == store.Dead && r.State == store.Active {
					c.Errorf("%s: peer %d went from Dead to Active", change.Key, r.Peer)
				}
			}
			if primary := now.Replica(now.Primary); now.Primary != 0 && (primary == nil || primary.State != store.Active) {
				c.Errorf("%s: the primary %d is not Active", change.Key, now.Primary)
			}
			last[change.Key] = now
		}
		return nil
	}
}

// whole tells whether every shard of every live collection has a primary and nothing but Active replicas, and nothing else is left.
func whole(s *view.State) bool { return born(s) && len(s.Ailing) == 0 && len(s.Transfers) == 0 }

// born tells whether every shard of every live collection has a primary and nothing else is left.
func born(s *view.State) bool {
	n := 0
	for _, c := range s.Collections {
		for _, g := range c.Record.Groups {
			for _, id := range g.Shards {
				n++
				if shard, ok := s.Shards[c.Record.ID][id]; !ok || shard.Record.Primary == 0 {
					return false
				}
			}
		}
	}
	for id, shards := range s.Shards {
		n -= len(shards)
		if _, live := s.Names[id]; !live {
			return false
		}
	}
	for _, a := range s.Aliases {
		if !s.Live(a.Record) {
			return false
		}
	}
	return n == 0
}

func (c *cluster) wantWhole(ctx context.Context) {
	c.Helper()
	c.wants(ctx, whole)
}

func (c *cluster) wants(ctx context.Context, cond func(*view.State) bool) {
	c.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := c.view.Until(ctx, cond); err != nil {
		c.view.Read(func(s *view.State) {
			c.Fatalf("it does not get there: %d collections, shards %v, sessions %d, leader %+v", len(s.Collections), s.Shards, len(s.Sessions), s.Leader)
		})
	}
}

func TestBirth(t *testing.T) {
	run(t, 1, 1, func(ctx context.Context, c *cluster) {
		for id := range topology.PeerID(3) {
			c.start(ctx, id+1, map[store.Key]store.Incarnation{})
		}
		if err := c.view.Until(ctx, func(s *view.State) bool { return len(s.Sessions) == 3 }); err != nil {
			t.Fatal(err)
		}
		c.elect(0)
		c.create(ctx, "c", 6, 2)
		start := time.Now()
		c.wantWhole(ctx)
		if d := time.Since(start); d > time.Second {
			t.Errorf("birth took %v although every peer answers", d)
		}
		c.view.Read(func(s *view.State) {
			for id := range topology.PeerID(3) {
				if l := s.Load[id+1]; l.Replicas != 4 || l.Primaries != 2 {
					t.Errorf("peer %d has %d replicas and %d primaries, want 4 and 2", id+1, l.Replicas, l.Primaries)
				}
			}
			for _, shard := range s.Shards[1] {
				if shard.Record.Epoch != 2 {
					t.Errorf("shard %d is at epoch %d, want 2: one swap makes all Active", shard.Record.Shard, shard.Record.Epoch)
				}
			}
		})
	})
}

// TestLateReplica: a replica that is never reported is marked Dead after the wait, and the shard is usable.
func TestLateReplica(t *testing.T) {
	run(t, 1, 1, func(ctx context.Context, c *cluster) {
		c.start(ctx, 1, map[store.Key]store.Incarnation{})
		c.elect(0)
		lease, err := c.store.Grant(ctx, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.store.Commit(ctx, store.Txn{Then: []store.Op{
			store.Put(store.Peer{ID: 2}), store.PutLeased(store.Session{Peer: 2, Lease: lease}, lease),
		}}); err != nil {
			t.Fatal(err)
		}
		<-time.After(100 * time.Millisecond)
		c.create(ctx, "c", 1, 2)
		start := time.Now()
		c.wants(ctx, born)
		if d := time.Since(start); d < 5*time.Second || d > 6*time.Second {
			t.Errorf("born after %v, want the 5 s of BirthWait", d)
		}
		c.view.Read(func(s *view.State) {
			rec := s.Shards[1][0].Record
			if rec.Primary != 1 || rec.Replica(1).State != store.Active || rec.Replica(2).State != store.Dead || rec.Replica(2).Why == "" {
				t.Errorf("got %+v", rec)
			}
		})
	})
}

// TestNoPeerYet: a collection that was created before any peer is placed when one comes.
func TestNoPeerYet(t *testing.T) {
	run(t, 1, 1, func(ctx context.Context, c *cluster) {
		c.elect(0)
		c.create(ctx, "c", 3, 1)
		<-time.After(time.Minute)
		c.start(ctx, 9, map[store.Key]store.Incarnation{})
		c.wantWhole(ctx)
	})
}

// TestLargeCollection: more shards than fit one transaction or one pass, then all of them removed.
func TestLargeCollection(t *testing.T) {
	run(t, 1, 1, func(ctx context.Context, c *cluster) {
		for id := range topology.PeerID(2) {
			c.start(ctx, id+1, map[store.Key]store.Incarnation{})
		}
		c.elect(0)
		c.create(ctx, "c", 4*maxSteps*birthsPerTxn+7, 1)
		c.wantWhole(ctx)
		c.drop(ctx, "c")
		c.wantWhole(ctx)
		page, err := c.store.List(ctx, store.Range{Prefix: store.Shards})
		if err != nil || len(page.KVs) != 0 {
			t.Fatalf("%d shard records are left, %v", len(page.KVs), err)
		}
	})
}

// TestDeposed: a leader that has not heard of its successor changes nothing any more.
func TestDeposed(t *testing.T) {
	run(t, 2, 1, func(ctx context.Context, c *cluster) {
		c.elect(0)
		<-time.After(100 * time.Millisecond)
		c.elect(1, 0)
		<-time.After(100 * time.Millisecond)
		c.elections[1].set(Office{Term: c.term, Member: 2}) // the successor is silent too
		<-time.After(100 * time.Millisecond)                // it may finish what it has begun
		c.start(ctx, 1, map[store.Key]store.Incarnation{})
		c.create(ctx, "c", 1, 1)
		<-time.After(time.Minute)
		c.view.Read(func(s *view.State) {
			if len(s.Shards) != 0 || s.Leader.Record.Member != 2 {
				t.Errorf("a deposed leader worked on: %v", s.Shards)
			}
		})
		c.elect(0)
		c.wantWhole(ctx)
	})
}

// TestStaleOffice: the store itself refuses a step of an old term, also while the loop's own view lags behind.
func TestStaleOffice(t *testing.T) {
	ctx, s := t.Context(), memstore.New()
	l := New(Config{Store: s, Logger: slog.New(slog.DiscardHandler)})
	old, err := l.claim(ctx, Office{Term: 1, Member: 1})
	if err != nil {
		t.Fatal(err)
	}
	births := []step{{txn: store.Txn{Then: []store.Op{store.Put(store.Shard{Collection: 1, Epoch: 1})}}}}
	if _, err := l.claim(ctx, Office{Term: 2, Member: 2}); err != nil {
		t.Fatal(err)
	}
	if done, err := l.perform(ctx, old, births); done != 0 || err != nil {
		t.Fatalf("a step of term 1 was written at revision %d after term 2 began (%v)", done, err)
	}
	for _, o := range []Office{{Term: 1, Member: 1}, {Term: 2, Member: 1}} {
		if _, err := l.claim(ctx, o); !errors.Is(err, errDeposed) {
			t.Fatalf("office %+v was claimed: %v", o, err)
		}
	}
	if _, err := l.claim(ctx, Office{Term: 2, Member: 2}); err != nil {
		t.Fatalf("the same member takes the same term again after a restart of its loop: %v", err)
	}
}

// TestEndedReport: a report does not count once its session has ended or says something else, also if the loop has not seen that
// yet (C0: the session is compared in the swap).
func TestEndedReport(t *testing.T) {
	for name, meanwhile := range map[string]store.Op{
		"ended":    store.Delete(store.SessionKey(1)),
		"replaced": store.Put(store.Session{Peer: 1, Process: "another"}),
	} {
		t.Run(name, func(t *testing.T) {
			run(t, 0, 1, func(ctx context.Context, c *cluster) {
				l := New(Config{Store: c.store, View: c.view, Logger: slog.New(slog.DiscardHandler)})
				office, err := l.claim(ctx, Office{Term: 1, Member: 1})
				if err != nil {
					t.Fatal(err)
				}
				shard := store.Shard{Collection: 1, Epoch: 1, Replicas: []store.Replica{{Peer: 1, State: store.Initializing}}}
				session := store.Session{Peer: 1, Process: "p", Replicas: []store.Report{{Collection: 1, Incarnation: store.Incarnation{1}, Loaded: true}}}
				group := []store.Group{{Shards: []topology.ShardID{0}}}
				revision, err := c.store.Commit(ctx, store.Txn{Then: []store.Op{
					store.Put(store.Collection{ID: 1, Name: "c", Groups: group}), store.Put(store.Peer{ID: 1}), store.Put(session), store.Put(shard),
				}})
				if err != nil {
					t.Fatal(err)
				}
				if err := c.view.Wait(ctx, revision); err != nil {
					t.Fatal(err)
				}
				p, deposed := l.look(office, map[topology.CollectionID]int64{})
				if deposed || len(p.steps) != 1 {
					t.Fatalf("deposed %v, steps %+v", deposed, p.steps)
				}
				if _, err := c.store.Commit(ctx, store.Txn{Then: []store.Op{meanwhile}}); err != nil {
					t.Fatal(err)
				}
				if done, err := l.perform(ctx, office, p.steps); done != 0 || err != nil {
					t.Errorf("the shard was born at revision %d on the word of a session that is gone (%v)", done, err)
				}
			})
		})
	}
}

// TestChaos: leaders change, some without noticing, peers die and return, the store goes away; in the end all is whole, and
// checkHistory has seen every change on the way.
func TestChaos(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			run(t, 3, seed, func(ctx context.Context, c *cluster) {
				disks := map[topology.PeerID]map[store.Key]store.Incarnation{}
				for id := range topology.PeerID(4) {
					disks[id+1] = map[store.Key]store.Incarnation{}
					c.start(ctx, id+1, disks[id+1])
				}
				c.elect(0)
				for range 60 {
					c.upset(ctx, disks)
					<-time.After(time.Duration(c.rng.IntN(800)) * time.Millisecond)
				}
				c.store.SetDown(false)
				c.fakes.with(func() { clear(c.fakes.broken) })
				for id, disk := range disks {
					c.kill(id)
					c.fakes.behave(id, honest)
					c.start(ctx, id, copyDisk(disk))
				}
				c.elect(c.rng.IntN(3))
				c.wantWhole(ctx)
			})
		})
	}
}

// upset does one random thing to the cluster.
func (c *cluster) upset(ctx context.Context, disks map[topology.PeerID]map[store.Key]store.Incarnation) {
	name := fmt.Sprintf("c%d", c.rng.IntN(5))
	peer := topology.PeerID(c.rng.IntN(len(disks)) + 1)
	switch c.rng.IntN(12) {
	case 0, 1:
		c.create(ctx, name, 1+c.rng.IntN(40), 1+c.rng.IntN(3))
	case 2:
		c.drop(ctx, name)
	case 3:
		c.elect(c.rng.IntN(3), c.rng.IntN(3))
	case 4:
		c.elect(c.rng.IntN(3))
	case 5:
		c.kill(peer)
	case 6:
		if c.peers[peer] == nil {
			c.start(ctx, peer, copyDisk(disks[peer]))
		}
	case 7:
		c.store.SetDown(c.rng.IntN(3) == 0)
	case 8:
		c.fakes.behave(peer, manner(c.rng.IntN(int(withoutHandovers)+1)))
	case 9:
		s, err := store.Load[store.Session](ctx, c.store, store.SessionKey(peer))
		if err == nil { // it is about to stop
			s.Record.Leaving = true
			_, _ = c.store.Commit(ctx, store.Txn{If: []store.Cond{s.Unchanged()}, Then: []store.Op{store.PutLeased(s.Record, s.Lease)}})
		}
	case 10:
		r := evidence.Replica{Shard: topology.Shard{Collection: topology.CollectionID(c.rng.IntN(int(c.next)) + 1), ID: topology.ShardID(c.rng.IntN(40))}, Peer: peer}
		c.fakes.with(func() { c.fakes.broken[r] = true })
	case 11:
		c.fakes.set(peer, c.peers[peer] != nil && c.rng.IntN(2) == 0) // cut off, or not any more
	}
}

// copyDisk copies a disk: the goroutine of the killed process may still hold the old one.
func copyDisk(disk map[store.Key]store.Incarnation) map[store.Key]store.Incarnation {
	out := make(map[store.Key]store.Incarnation, len(disk))
	for k, v := range disk {
		out[k] = v
	}
	return out
}
