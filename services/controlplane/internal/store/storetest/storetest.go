// Package storetest is the conformance suite of store.Store: what every implementation must do, and what all callers
// may rely on. A new implementation is one call of Run.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/internal/topology"
)

// Harness is a store under test. Every case works below its own prefix, so all cases may share one store.
type Harness struct {
	Store   store.Store
	Compact func(ctx context.Context, revision int64) error
}

// Run runs all cases. open is called once per case.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	cases := map[string]func(*suite){
		"get and put":              (*suite).getAndPut,
		"conditions":               (*suite).conditions,
		"all or nothing":           (*suite).allOrNothing,
		"delete and create again":  (*suite).deleteAndCreateAgain,
		"transaction limits":       (*suite).limits,
		"one winner of a race":     (*suite).race,
		"list pages":               (*suite).listPages,
		"list as of a revision":    (*suite).listAsOf,
		"list after compaction":    (*suite).listCompacted,
		"watch from the past":      (*suite).watchPast,
		"watch goes on":            (*suite).watchLive,
		"watch keeps a revision":   (*suite).watchWhole,
		"watch after compaction":   (*suite).watchCompacted,
		"watch stops on fn error":  (*suite).watchFnError,
		"watch ends with context":  (*suite).watchContext,
		"lease ends":               (*suite).leaseEnds,
		"lease is renewed":         (*suite).leaseRenewed,
		"lease is gone":            (*suite).leaseGone,
		"lease compared":           (*suite).leaseCompared,
		"typed records":            (*suite).typed,
		"ended context":            (*suite).endedContext,
		"put without lease frees":  (*suite).leaseDropped,
		"scan sees one revision":   (*suite).scanOneRevision,
		"alive outlives a rewrite": (*suite).alive,
	}
	for name, fn := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			h := open(t)
			fn(&suite{T: t, Harness: h, ctx: func() context.Context { return ctx }, root: store.Root + store.Key(fmt.Sprintf("test/%s/", name))})
		})
	}
}

type suite struct {
	*testing.T
	Harness
	ctx  func() context.Context
	root store.Key
}

func (s *suite) key(name string) store.Key { return s.root + store.Key(name) }

func put(key store.Key, value string) store.Op { return store.Op{Key: key, Value: []byte(value)} }

// commit must succeed.
func (s *suite) commit(txn store.Txn) int64 {
	s.Helper()
	rev, err := s.Store.Commit(s.ctx(), txn)
	if err != nil {
		s.Fatalf("commit: %v", err)
	}
	return rev
}

func (s *suite) write(ops ...store.Op) int64 {
	s.Helper()
	return s.commit(store.Txn{Then: ops})
}

func (s *suite) wantErr(what string, got, want error) {
	s.Helper()
	if !errors.Is(got, want) {
		s.Fatalf("%s: got error %v, want %v", what, got, want)
	}
}

// want checks value and revisions of a key.
func (s *suite) want(key store.Key, value string, created, modified int64) {
	s.Helper()
	kv, err := s.Store.Get(s.ctx(), key)
	if err != nil {
		s.Fatalf("get %s: %v", key, err)
	}
	want := store.KV{Key: key, Value: []byte(value), Created: created, Modified: modified, Lease: kv.Lease}
	if d := cmp.Diff(want, kv); d != "" {
		s.Fatalf("get %s: (-want +got)\n%s", key, d)
	}
}

func (s *suite) absent(key store.Key) {
	s.Helper()
	_, err := s.Store.Get(s.ctx(), key)
	s.wantErr("get "+string(key), err, store.ErrNotFound)
}

func (s *suite) getAndPut() {
	a := s.key("a")
	s.absent(a)
	r1 := s.write(put(a, "1"))
	s.want(a, "1", r1, r1)
	r2 := s.write(put(a, "2"))
	if r2 <= r1 {
		s.Fatalf("revision %d after %d", r2, r1)
	}
	s.want(a, "2", r1, r2)
	s.write(store.Delete(a))
	s.absent(a)
	s.write(store.Delete(a))
}

func (s *suite) conditions() {
	a := s.key("a")
	r1 := s.commit(store.Txn{If: []store.Cond{store.Absent(a)}, Then: []store.Op{put(a, "1")}})
	for name, c := range map[string]store.Cond{
		"absent": store.Absent(a), "unchanged": store.Unchanged(a, r1-1), "alive": store.Alive(a, r1+1),
		"other key": store.Unchanged(s.key("b"), r1),
	} {
		_, err := s.Store.Commit(s.ctx(), store.Txn{If: []store.Cond{c}, Then: []store.Op{put(a, name)}})
		s.wantErr(name, err, store.ErrConflict)
	}
	s.want(a, "1", r1, r1)
	r2 := s.commit(store.Txn{
		If:   []store.Cond{store.Unchanged(a, r1), store.Alive(a, r1), store.Absent(s.key("b"))},
		Then: []store.Op{put(a, "2")},
	})
	s.want(a, "2", r1, r2)
}

func (s *suite) alive() {
	a, b := s.key("a"), s.key("b")
	r1 := s.write(put(a, "1"))
	s.write(put(a, "2"))
	s.commit(store.Txn{If: []store.Cond{store.Alive(a, r1)}, Then: []store.Op{put(b, "1")}})
	s.write(store.Delete(a))
	s.write(put(a, "3"))
	_, err := s.Store.Commit(s.ctx(), store.Txn{If: []store.Cond{store.Alive(a, r1)}, Then: []store.Op{put(b, "2")}})
	s.wantErr("alive after a new birth", err, store.ErrConflict)
}

func (s *suite) allOrNothing() {
	a, b, c := s.key("a"), s.key("b"), s.key("c")
	r1 := s.write(put(a, "1"), put(b, "1"))
	s.want(a, "1", r1, r1)
	s.want(b, "1", r1, r1)
	_, err := s.Store.Commit(s.ctx(), store.Txn{
		If:   []store.Cond{store.Unchanged(a, r1), store.Absent(b)},
		Then: []store.Op{put(a, "2"), put(c, "2"), store.Delete(b)},
	})
	s.wantErr("second condition", err, store.ErrConflict)
	s.want(a, "1", r1, r1)
	s.want(b, "1", r1, r1)
	s.absent(c)
}

func (s *suite) deleteAndCreateAgain() {
	a := s.key("a")
	r1 := s.write(put(a, "1"))
	s.write(store.Delete(a))
	_, err := s.Store.Commit(s.ctx(), store.Txn{If: []store.Cond{store.Unchanged(a, r1)}, Then: []store.Op{put(a, "2")}})
	s.wantErr("write of a deleted record", err, store.ErrConflict)
	r2 := s.commit(store.Txn{If: []store.Cond{store.Absent(a)}, Then: []store.Op{put(a, "3")}})
	s.want(a, "3", r2, r2)
}

func (s *suite) limits() {
	var full store.Txn
	for i := range store.MaxOps {
		k := s.key(fmt.Sprintf("%03d", i))
		full.If, full.Then = append(full.If, store.Absent(k)), append(full.Then, put(k, "x"))
	}
	over := store.Txn{If: full.If, Then: append(full.Then[:store.MaxOps:store.MaxOps], put(s.key("more"), "x"))}
	_, err := s.Store.Commit(s.ctx(), over)
	s.wantErr("one operation too many", err, store.ErrTooLarge)
	s.absent(s.key("000"))
	s.commit(full)
	if _, err := s.Store.Commit(s.ctx(), store.Txn{Then: []store.Op{put(s.key("d"), "1"), put(s.key("d"), "2")}}); err == nil {
		s.Fatal("a key written twice in one transaction was accepted")
	}
	s.absent(s.key("d"))
}

func (s *suite) race() {
	const racers = 8
	a := s.key("a")
	results := make(chan error, racers)
	for i := range racers {
		go func() {
			_, err := s.Store.Commit(s.ctx(), store.Txn{If: []store.Cond{store.Absent(a)}, Then: []store.Op{put(a, fmt.Sprint(i))}})
			results <- err
		}()
	}
	won := 0
	for range racers {
		switch err := <-results; {
		case err == nil:
			won++
		case !errors.Is(err, store.ErrConflict):
			s.Errorf("loser got %v", err)
		}
	}
	if won != 1 {
		s.Fatalf("%d winners, want 1", won)
	}
}

func (s *suite) endedContext() {
	ctx, cancel := context.WithCancel(s.ctx())
	cancel()
	_, err := s.Store.Get(ctx, s.key("a"))
	s.wantErr("get", err, context.Canceled)
	_, err = s.Store.Commit(ctx, store.Txn{Then: []store.Op{put(s.key("a"), "1")}})
	s.wantErr("commit", err, context.Canceled)
}

func (s *suite) typed() {
	const id topology.PeerID = 1<<53 - 1
	key := store.PeerKey(id)
	peer := store.Peer{ID: id, URI: "http://h:6335", Registered: time.Unix(1, 0).UTC()}
	rev := s.write(store.Put(peer))
	got, err := store.Load[store.Peer](s.ctx(), s.Store, key)
	if err != nil {
		s.Fatal(err)
	}
	if d := cmp.Diff(store.Versioned[store.Peer]{Record: peer, Created: rev, Modified: rev}, got); d != "" {
		s.Fatalf("(-want +got)\n%s", d)
	}
	peer.Zone = "z"
	s.commit(store.Txn{If: []store.Cond{got.Unchanged(), got.Alive()}, Then: []store.Op{store.Put(peer)}})
	_, err = s.Store.Commit(s.ctx(), store.Txn{If: []store.Cond{got.Unchanged()}, Then: []store.Op{store.Delete(key)}})
	s.wantErr("stale delete", err, store.ErrConflict)
	s.write(store.Delete(key))
	_, err = store.Load[store.Peer](s.ctx(), s.Store, key)
	s.wantErr("load after delete", err, store.ErrNotFound)
}
