package view

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/store/memstore"
	"github.com/pandodb/pando/services/internal/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs a view on a memory store under virtual time.
func run(t *testing.T, fn func(ctx context.Context, s *memstore.Store, v *View, done <-chan error)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := memstore.New()
		v := New(s, slog.New(slog.DiscardHandler))
		done := make(chan error, 1)
		go func() { done <- v.Run(ctx) }()
		<-v.Ready()
		fn(ctx, s, v, done)
		cancel()
		synctest.Wait()
	})
}

func write(t *testing.T, s store.Store, ops ...store.Op) int64 {
	t.Helper()
	revision, err := s.Commit(t.Context(), store.Txn{Then: ops})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func shard(collection topology.CollectionID, primary topology.PeerID, peers ...topology.PeerID) store.Shard {
	s := store.Shard{Collection: collection, Epoch: 1, Primary: primary}
	for _, p := range peers {
		s.Replicas = append(s.Replicas, store.Replica{Peer: p, State: store.Active})
	}
	return s
}

func TestFollows(t *testing.T) {
	run(t, func(ctx context.Context, s *memstore.Store, v *View, _ <-chan error) {
		c := store.Collection{ID: 7, Name: "c"}
		write(t, s, store.Put(c), store.Put(store.Alias{Name: "a", Collection: "c", CollectionID: 7}), store.Put(shard(7, 1, 1, 2)))
		write(t, s, store.Put(store.Session{Peer: 1}), store.Put(store.Peer{ID: 1}), store.Put(store.Leader{Term: 3}))
		from := write(t, s, store.Put(shard(7, 2, 2, 3)))
		if err := v.Wait(ctx, from); err != nil {
			t.Fatal(err)
		}
		v.Read(func(st *State) {
			if l := fmt.Sprint(st.Load[1], st.Load[2], st.Load[3]); l != "{0 0} {1 1} {1 0}" {
				t.Errorf("load %s", l)
			}
			got, live := st.Collection(7)
			if !live || got.Record.Name != "c" || !st.Live(st.Aliases["a"].Record) || st.Touched[7] != from {
				t.Errorf("collection %+v, touched %v", got, st.Touched)
			}
			if st.Leader.Record.Term != 3 || len(st.Sessions) != 1 || len(st.Peers) != 1 {
				t.Errorf("leader %+v, sessions %v, peers %v", st.Leader, st.Sessions, st.Peers)
			}
		})
		gone := write(t, s, store.Delete(c.Key()))
		if err := v.Wait(ctx, gone); err != nil {
			t.Fatal(err)
		}
		batches, reached, _, err := v.Since(from)
		if err != nil || reached != gone || len(batches) != 1 || len(batches[0].Changes) != 1 {
			t.Fatalf("since %d: %v, reached %d, %v", from, batches, reached, err)
		}
		if was, ok := batches[0].Changes[0].Was.(store.Versioned[store.Collection]); !ok || was.Record.ID != 7 || batches[0].Changes[0].Now != nil {
			t.Errorf("change %+v", batches[0].Changes[0])
		}
		v.Read(func(st *State) {
			if st.Live(st.Aliases["a"].Record) {
				t.Error("an alias outlives its collection")
			}
		})
	})
}

// TestForgets: a reader that is too far behind, or ahead, must start over; one within the history must not.
func TestForgets(t *testing.T) {
	run(t, func(ctx context.Context, s *memstore.Store, v *View, _ <-chan error) {
		last := write(t, s, store.Put(store.Tombstone{Name: "c", ID: 7}))
		for i := range 2*history + 10 {
			last = write(t, s, store.Put(store.Metadata{Name: "k", Value: fmt.Sprint(i)}))
		}
		if err := v.Wait(ctx, last); err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			revision int64
			batches  int
			is       error
		}{{last, 0, nil}, {last - 5, 5, nil}, {last - history, history, nil}, {1, 0, store.ErrCompacted}, {last + 1, 0, store.ErrCompacted}} {
			got, _, _, err := v.Since(tc.revision)
			if !errors.Is(err, tc.is) || len(got) != tc.batches {
				t.Errorf("since %d: %d batches, %v; want %d, %v", tc.revision, len(got), err, tc.batches, tc.is)
			}
		}
		v.Read(func(s *State) {
			if s.Touched[7] == 0 {
				t.Error("a tombstone that nobody would look at any more")
			}
		})
	})
}

// flaky fails the first reads and watches.
type flaky struct {
	*memstore.Store
	lists, watches int
}

func (f *flaky) List(ctx context.Context, r store.Range) (store.Page, error) {
	if f.lists--; f.lists >= 0 {
		return store.Page{}, store.ErrUnavailable
	}
	return f.Store.List(ctx, r)
}

func (f *flaky) Watch(ctx context.Context, prefix store.Key, from int64, fn func(store.Batch) error) error {
	if f.watches--; f.watches >= 0 {
		return store.ErrUnavailable
	}
	return f.Store.Watch(ctx, prefix, from, fn)
}

// TestOutage: while the store is away the view stands still and tries again, ever more slowly.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := &flaky{Store: memstore.New(), lists: 8, watches: 8}
		v := New(f, slog.New(slog.DiscardHandler))
		go func() {
			if err := v.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		start := time.Now()
		<-v.Ready()
		if d := time.Since(start); d < time.Second || d > 10*time.Second {
			t.Errorf("ready after %v of pauses", d)
		}
		last := write(t, f, store.Put(store.Peer{ID: 1}))
		short, end := context.WithTimeout(ctx, time.Minute)
		if err := v.Wait(short, last); err != nil {
			t.Error(err)
		}
		if err := v.Wait(short, last+1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waited for a revision that does not come: %v", err)
		}
		end()
		cancel()
		synctest.Wait()
	})
}

// TestUnreadable: a record of a newer release ends the view with an error that says so.
func TestUnreadable(t *testing.T) {
	run(t, func(_ context.Context, s *memstore.Store, _ *View, done <-chan error) {
		write(t, s, store.Op{Key: store.PeerKey(1), Value: []byte(`{"v":2,"record":{"id":1}}`)})
		if err := <-done; !errors.Is(err, store.ErrVersion) {
			t.Fatalf("got %v", err)
		}
	})
}

// lagging is a store whose history is compacted away between the first read and each watch, a few times.
type lagging struct {
	*memstore.Store
	times int
}

func (l *lagging) Watch(ctx context.Context, prefix store.Key, from int64, fn func(store.Batch) error) error {
	if l.times > 0 {
		l.times--
		if _, err := l.Commit(ctx, store.Txn{Then: []store.Op{store.Put(store.Peer{ID: topology.PeerID(l.times + 1)})}}); err != nil {
			return err
		}
		l.Compact(from)
	}
	return l.Store.Watch(ctx, prefix, from, fn)
}

// TestCompactedUnderTheWatch: the view reads everything anew, and readers of the old history start over.
func TestCompactedUnderTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &lagging{Store: memstore.New(), times: 3}
		v := New(l, slog.New(slog.DiscardHandler))
		go func() {
			if err := v.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		v.Read(func(s *State) {
			if len(s.Peers) != 3 {
				t.Errorf("%d peers, want 3", len(s.Peers))
			}
		})
		if _, _, _, err := v.Since(1); !errors.Is(err, store.ErrCompacted) {
			t.Errorf("since a revision before the reload: %v", err)
		}
		cancel()
		synctest.Wait()
	})
}
