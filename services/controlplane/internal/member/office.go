package member

import "sync"

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
