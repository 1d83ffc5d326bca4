package controlplane

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pandodb/pando/services/controlplane/internal/member"
	"github.com/pandodb/pando/services/controlplane/internal/reconcile"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/store/memstore"
)

// Memory stands in for an etcd cluster: all services that are given the same one are its members. Of those that run and reach
// the others, the one that has run longest leads. Nothing survives it.
type Memory struct {
	store *memstore.Store
	id    string
	mu    struct {
		sync.Mutex
		running []uint64               // member ids, the leader first
		process map[uint64]string      // by member id
		cut     map[string]*time.Timer // processes that reach no other; the timer is the election without them
		out     map[string]bool        // of these, those without whom it has been held
		next    uint64
		term    uint64
		changed chan struct{}
	}
}

// election is the time from the cut until another member leads, and the one that led has stepped down: at most two of etcd's
// timeouts.
const election = time.Second

// NewMemory makes an empty cluster.
func NewMemory() *Memory {
	m := &Memory{store: memstore.New(), id: fmt.Sprintf("%016x", newID())}
	m.mu.changed, m.mu.process = make(chan struct{}), map[uint64]string{}
	m.mu.cut, m.mu.out = map[string]*time.Timer{}, map[string]bool{}
	return m
}

// SetDown makes the store fail as a lost quorum does, or lets it work again.
func (m *Memory) SetDown(down bool) { m.store.SetDown(down) }

// SetCutOff takes a process off the network of the members, or puts it back. Its member fails as one without a quorum does:
// calls at once, watches by silence, and an office by its end. The others are taken for a majority, however few.
func (m *Memory) SetCutOff(process string, cut bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch t := m.mu.cut[process]; {
	case cut && t == nil:
		m.mu.cut[process] = time.AfterFunc(election, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.mu.cut[process] != nil {
				m.elect(func() { m.mu.out[process] = true })
			}
		})
	case !cut && t != nil:
		t.Stop()
		m.elect(func() {
			delete(m.mu.cut, process)
			delete(m.mu.out, process)
		})
	}
}

// reaches tells whether a member reaches the others, and what is closed when that may be different.
func (m *Memory) reaches(id uint64) (bool, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.cut[m.mu.process[id]] == nil, m.mu.changed
}

// elect changes who can lead. A new leader is a new term. Lock held.
func (m *Memory) elect(change func()) {
	before := m.leader()
	change()
	if m.leader() != before {
		m.mu.term++
	}
	close(m.mu.changed)
	m.mu.changed = make(chan struct{})
}

// leader is the first that runs and is not out; 0 = none. Lock held.
func (m *Memory) leader() uint64 {
	for _, id := range m.mu.running {
		if !m.mu.out[m.mu.process[id]] {
			return id
		}
	}
	return 0
}

// join makes a member that lives in the process with this id.
func (m *Memory) join(process string) *memoryEngine {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.next++
	m.mu.process[m.mu.next] = cmp.Or(process, fmt.Sprint(m.mu.next))
	return &memoryEngine{Memory: m, id: m.mu.next}
}

// memoryEngine is one member of a Memory.
type memoryEngine struct {
	*Memory
	id uint64
}

func (e *memoryEngine) run(ctx context.Context, work func(context.Context) error) error {
	e.enter(true)
	defer e.enter(false)
	return work(ctx)
}

func (e *memoryEngine) enter(runs bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.elect(func() {
		if runs {
			e.mu.running = append(e.mu.running, e.id)
			return
		}
		e.mu.running = slices.DeleteFunc(e.mu.running, func(id uint64) bool { return id == e.id })
	})
}

// known is the leader as this member knows it. Lock held.
func (e *memoryEngine) known() uint64 {
	if e.mu.out[e.mu.process[e.id]] {
		return 0
	}
	return e.leader()
}

func (e *memoryEngine) office() (reconcile.Office, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	leader := e.known()
	return reconcile.Office{Term: e.mu.term, Member: leader, Mine: leader == e.id}, e.mu.changed
}

func (e *memoryEngine) usable() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.known() != 0
}

func (e *memoryEngine) records() store.Store { return memberStore{e.Memory.store, e} }

func (e *memoryEngine) status() engineStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := engineStatus{term: e.mu.term, leader: e.known(), self: e.id}
	for _, id := range slices.Sorted(slices.Values(e.mu.running)) {
		st.members = append(st.members, member.Info{ID: id, Process: e.mu.process[id]})
	}
	return st
}

// memberStore is the store as one member reaches it.
type memberStore struct {
	all *memstore.Store
	e   *memoryEngine
}

func (s memberStore) err() error {
	if ok, _ := s.e.reaches(s.e.id); !ok {
		return store.ErrUnavailable
	}
	return nil
}

func (s memberStore) Get(ctx context.Context, key store.Key) (store.KV, error) {
	if err := s.err(); err != nil {
		return store.KV{}, err
	}
	return s.all.Get(ctx, key)
}

func (s memberStore) List(ctx context.Context, r store.Range) (store.Page, error) {
	if err := s.err(); err != nil {
		return store.Page{}, err
	}
	return s.all.List(ctx, r)
}

func (s memberStore) Commit(ctx context.Context, txn store.Txn) (int64, error) {
	if err := s.err(); err != nil {
		return 0, err
	}
	return s.all.Commit(ctx, txn)
}

func (s memberStore) Watch(ctx context.Context, prefix store.Key, from int64, fn func(store.Batch) error) error {
	return s.all.Watch(ctx, prefix, from, func(b store.Batch) error {
		for {
			ok, changed := s.e.reaches(s.e.id)
			if ok {
				return fn(b)
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return nil
			}
		}
	})
}

func (s memberStore) Grant(ctx context.Context, ttl time.Duration) (store.LeaseID, error) {
	if err := s.err(); err != nil {
		return 0, err
	}
	return s.all.Grant(ctx, ttl)
}

func (s memberStore) Renew(ctx context.Context, id store.LeaseID) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.all.Renew(ctx, id)
}
