// Package memstore is the store in memory: for tests with several peers in one process and for simulations, where real
// etcd members cannot run. It is not durable and not replicated. storetest keeps it honest.
package memstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pandodb/pando/services/controlplane/internal/store"
)

// version of one key: what was written at a revision.
type version struct {
	kv      store.KV
	deleted bool
}

// lease ends at the timer, which each renewal resets.
type lease struct {
	ttl   time.Duration
	timer *time.Timer
	keys  map[store.Key]bool
}

// Store keeps every version of every key since the last compaction. The zero value is not usable; see New.
type Store struct {
	mu struct {
		sync.Mutex
		revision  int64
		compacted int64 // history up to and including this revision may be gone
		versions  map[store.Key][]version
		log       []store.Batch // one per revision, ascending
		leases    map[store.LeaseID]*lease
		lastLease store.LeaseID
		changed   chan struct{} // closed and replaced at each revision
		down      bool
	}
}

// New makes an empty store at revision 1, as etcd has it.
func New() *Store {
	s := &Store{}
	s.mu.revision = 1
	s.mu.versions = map[store.Key][]version{}
	s.mu.leases = map[store.LeaseID]*lease{}
	s.mu.changed = make(chan struct{})
	return s
}

// SetDown makes every call fail with ErrUnavailable, as a lost quorum does, until it is set back. Leases do not
// expire meanwhile; open watches stay silent.
func (s *Store) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.down = down
}

// Compact forgets the history up to and including the revision.
func (s *Store) Compact(revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.compacted = max(s.mu.compacted, min(revision, s.mu.revision))
	keep, _ := slices.BinarySearchFunc(s.mu.log, s.mu.compacted+1, func(b store.Batch, r int64) int { return int(b.Revision - r) })
	s.mu.log = slices.Clone(s.mu.log[keep:])
	for key, vs := range s.mu.versions {
		last := 0
		for i, v := range vs {
			if v.kv.Modified <= s.mu.compacted {
				last = i
			}
		}
		vs = slices.Clone(vs[last:])
		if len(vs) == 1 && vs[0].deleted {
			delete(s.mu.versions, key)
			continue
		}
		s.mu.versions[key] = vs
	}
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key store.Key) (store.KV, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return store.KV{}, err
	}
	kv, ok := s.at(key, s.mu.revision)
	if !ok {
		return store.KV{}, store.ErrNotFound
	}
	return kv, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, r store.Range) (store.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return store.Page{}, err
	}
	if r.Revision == 0 {
		r.Revision = s.mu.revision
	}
	if r.Revision > s.mu.revision {
		return store.Page{}, errors.New("memstore: list at a revision of the future")
	}
	if r.Revision < s.mu.compacted {
		return store.Page{}, store.ErrCompacted
	}
	page := store.Page{Revision: r.Revision}
	for key := range s.mu.versions {
		if !key.Under(r.Prefix) || (r.After != "" && key <= r.After) {
			continue
		}
		if kv, ok := s.at(key, r.Revision); ok {
			page.KVs = append(page.KVs, kv)
		}
	}
	slices.SortFunc(page.KVs, func(a, b store.KV) int { return strings.Compare(string(a.Key), string(b.Key)) })
	if r.Limit > 0 && len(page.KVs) > r.Limit {
		page.KVs, page.More = page.KVs[:r.Limit], true
	}
	return page, nil
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, txn store.Txn) (int64, error) {
	if err := txn.Check(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	for _, c := range txn.If {
		kv, exists := s.at(c.Key, s.mu.revision)
		if !exists {
			kv = store.KV{}
		}
		if !c.Holds(kv) {
			return 0, store.ErrConflict
		}
	}
	for _, op := range txn.Then {
		if op.Lease != 0 && s.mu.leases[op.Lease] == nil {
			return 0, store.ErrLeaseGone
		}
	}
	s.apply(txn.Then)
	return s.mu.revision, nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix store.Key, from int64, fn func(store.Batch) error) error {
	for {
		batches, changed, err := s.since(prefix, from)
		if err != nil {
			return err
		}
		for _, b := range batches {
			if ctx.Err() != nil {
				return nil
			}
			from = b.Revision + 1
			if len(b.Changes) == 0 {
				continue
			}
			if err := fn(b); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// Grant implements store.Store.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (store.LeaseID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	s.mu.lastLease++
	id := s.mu.lastLease
	l := &lease{ttl: ttl, keys: map[store.Key]bool{}}
	l.timer = time.AfterFunc(ttl, func() { s.expire(id) })
	s.mu.leases[id] = l
	return id, nil
}

// Renew implements store.Store.
func (s *Store) Renew(ctx context.Context, id store.LeaseID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	l := s.mu.leases[id]
	if l == nil {
		return store.ErrLeaseGone
	}
	l.timer.Reset(l.ttl)
	return nil
}

// Expire ends a lease at once, as if its time had run out.
func (s *Store) Expire(id store.LeaseID) { s.expire(id) }

func (s *Store) expire(id store.LeaseID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.mu.leases[id]
	if l == nil {
		return
	}
	if s.mu.down {
		l.timer.Reset(l.ttl)
		return
	}
	l.timer.Stop()
	delete(s.mu.leases, id)
	ops := make([]store.Op, 0, len(l.keys))
	for key := range l.keys {
		ops = append(ops, store.Delete(key))
	}
	slices.SortFunc(ops, func(a, b store.Op) int { return strings.Compare(string(a.Key), string(b.Key)) })
	s.apply(ops)
}

// since copies the batches of a prefix from a revision on, with the channel that announces the next one. Lock not held.
func (s *Store) since(prefix store.Key, from int64) ([]store.Batch, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from <= s.mu.compacted {
		return nil, nil, store.ErrCompacted
	}
	var out []store.Batch
	start, _ := slices.BinarySearchFunc(s.mu.log, from, func(b store.Batch, r int64) int { return int(b.Revision - r) })
	for _, b := range s.mu.log[start:] {
		mine := store.Batch{Revision: b.Revision}
		for _, c := range b.Changes {
			if c.Key.Under(prefix) {
				c.Value = slices.Clone(c.Value)
				mine.Changes = append(mine.Changes, c)
			}
		}
		out = append(out, mine)
	}
	return out, s.mu.changed, nil
}

// apply writes ops at the next revision. Lock held.
func (s *Store) apply(ops []store.Op) {
	batch := store.Batch{Revision: s.mu.revision + 1}
	for _, op := range ops {
		old, exists := s.at(op.Key, s.mu.revision)
		if op.Value == nil && !exists {
			continue
		}
		if l := s.mu.leases[old.Lease]; l != nil {
			delete(l.keys, op.Key)
		}
		kv := store.KV{Key: op.Key, Modified: batch.Revision}
		if op.Value != nil {
			kv.Value, kv.Lease, kv.Created = slices.Clone(op.Value), op.Lease, old.Created
			if !exists {
				kv.Created = batch.Revision
			}
			if op.Lease != 0 {
				s.mu.leases[op.Lease].keys[op.Key] = true
			}
		}
		deleted := op.Value == nil
		s.mu.versions[op.Key] = append(s.mu.versions[op.Key], version{kv: kv, deleted: deleted})
		batch.Changes = append(batch.Changes, store.Change{KV: kv, Deleted: deleted})
	}
	if len(batch.Changes) == 0 {
		return
	}
	s.mu.revision = batch.Revision
	s.mu.log = append(s.mu.log, batch)
	close(s.mu.changed)
	s.mu.changed = make(chan struct{})
}

// at reads a key as of a revision. Lock held.
func (s *Store) at(key store.Key, revision int64) (store.KV, bool) {
	vs := s.mu.versions[key]
	for i := len(vs) - 1; i >= 0; i-- {
		if vs[i].kv.Modified <= revision {
			kv := vs[i].kv
			kv.Value = slices.Clone(kv.Value)
			return kv, !vs[i].deleted
		}
	}
	return store.KV{}, false
}

// usable reports an ended context or a store that was set down. Lock held.
func (s *Store) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.mu.down {
		return store.ErrUnavailable
	}
	return nil
}
