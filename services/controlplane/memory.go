package controlplane

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/pandodb/pando/services/controlplane/internal/member"
	"github.com/pandodb/pando/services/controlplane/internal/reconcile"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/store/memstore"
)

// Memory stands in for an etcd cluster: all services that are given the same one are its members. Of those that run, the one
// that has run longest leads. Nothing survives it.
type Memory struct {
	store *memstore.Store
	id    string
	mu    struct {
		sync.Mutex
		running []uint64          // member ids, the leader first
		process map[uint64]string // by member id
		next    uint64
		term    uint64
		changed chan struct{}
	}
}

// NewMemory makes an empty cluster.
func NewMemory() *Memory {
	m := &Memory{store: memstore.New(), id: fmt.Sprintf("%016x", newID())}
	m.mu.changed, m.mu.process = make(chan struct{}), map[uint64]string{}
	return m
}

// SetDown makes the store fail as a lost quorum does, or lets it work again.
func (m *Memory) SetDown(down bool) { m.store.SetDown(down) }

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
	e.elect(func(running []uint64) []uint64 { return append(running, e.id) })
	defer e.elect(func(running []uint64) []uint64 {
		return slices.DeleteFunc(running, func(id uint64) bool { return id == e.id })
	})
	return work(ctx)
}

// elect changes who runs. A new leader is a new term.
func (e *memoryEngine) elect(change func([]uint64) []uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.leader()
	e.mu.running = change(e.mu.running)
	if e.leader() != before {
		e.mu.term++
	}
	close(e.mu.changed)
	e.mu.changed = make(chan struct{})
}

// leader is the first that runs; 0 = none. Lock held.
func (e *memoryEngine) leader() uint64 {
	if len(e.mu.running) == 0 {
		return 0
	}
	return e.mu.running[0]
}

func (e *memoryEngine) office() (reconcile.Office, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	leader := e.leader()
	return reconcile.Office{Term: e.mu.term, Member: leader, Mine: leader == e.id}, e.mu.changed
}

func (e *memoryEngine) usable() bool { return true }

func (e *memoryEngine) records() store.Store { return e.Memory.store }

func (e *memoryEngine) status() engineStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := engineStatus{term: e.mu.term, leader: e.leader(), self: e.id}
	for _, id := range slices.Sorted(slices.Values(e.mu.running)) {
		st.members = append(st.members, member.Info{ID: id, Process: e.mu.process[id]})
	}
	return st
}
