package member

import (
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Office says who leads. Term only grows; the same (Leader, Term) is never given to two members.
type Office struct {
	Leader uint64 // member id; 0 = none known
	Term   uint64
	Mine   bool
}

// cell holds the newest Office and announces each change.
type cell struct {
	mu struct {
		sync.Mutex
		office  Office
		changed chan struct{}
	}
}

func newCell() *cell {
	c := &cell{}
	c.mu.changed = make(chan struct{})
	return c
}

func (c *cell) set(o Office) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o == c.mu.office {
		return
	}
	c.mu.office = o
	close(c.mu.changed)
	c.mu.changed = make(chan struct{})
}

func (c *cell) get() (Office, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.office, c.mu.changed
}

// Slot holds the member that runs in this process now, if any. Make it with NewSlot.
type Slot struct {
	mu struct {
		sync.Mutex
		member  *Member
		changed chan struct{}
	}
}

// NewSlot is empty.
func NewSlot() *Slot {
	s := &Slot{}
	s.mu.changed = make(chan struct{})
	return s
}

// Put replaces the member; nil empties the slot.
func (s *Slot) Put(m *Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.member = m
	close(s.mu.changed)
	s.mu.changed = make(chan struct{})
}

// Get answers the member, nil if there is none, and a channel that is closed when there is another one or none.
func (s *Slot) Get() (*Member, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.member, s.mu.changed
}

// Client is that of the member; nil while none is ready.
func (s *Slot) Client() *clientv3.Client {
	if m, _ := s.Get(); m != nil {
		return m.Client()
	}
	return nil
}

// Leader is that of the member; nobody while there is none.
func (s *Slot) Leader() (Office, <-chan struct{}) {
	m, changed := s.Get()
	if m == nil {
		return Office{}, changed
	}
	return m.Leader()
}
