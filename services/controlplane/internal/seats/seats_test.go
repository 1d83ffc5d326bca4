package seats

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pandodb/pando/services/controlplane/internal/member"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// council is a cluster under the loop: members that do as they are told, and processes that start theirs after a while.
type council struct {
	mu      sync.Mutex
	world   world
	changed chan struct{} // closed when the leader is another one
	counted chan struct{} // closed when the census changed
	census  int64
	started map[uint64]time.Time // when a member can say that it runs
	gone    map[string]int
	fail    error
	looks   int
}

func newCouncil(processes ...string) *council {
	c := &council{changed: make(chan struct{}), counted: make(chan struct{}), started: map[uint64]time.Time{1: time.Now()}, gone: map[string]int{}}
	c.world.Applied, c.world.Self = 1000, 1
	c.world.Members = []Member{{ID: 1, Process: processes[0]}}
	for _, p := range processes {
		c.world.Processes = append(c.world.Processes, Process{ID: p, Belongs: true, Alive: true})
	}
	return c
}

func (c *council) Position() (uint64, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.world.Self, c.world.Applied
}

func (c *council) List(context.Context) ([]member.Info, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []member.Info
	for _, m := range c.world.Members {
		out = append(out, member.Info{ID: m.ID, Process: m.Process, Learner: m.Learner})
	}
	return out, c.fail
}

func (c *council) AddLearner(_ context.Context, process string) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.world.next++
	id := 100 + c.world.next
	c.world.Members = append(c.world.Members, Member{ID: id, Process: process, Learner: true})
	c.started[id] = time.Now().Add(300 * time.Millisecond)
	return id, c.fail
}

func (c *council) Promote(_ context.Context, id uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started[id].After(time.Now()) {
		return member.ErrNotReady
	}
	c.world.Members[c.at(id)].Learner = false
	return c.fail
}

func (c *council) Remove(_ context.Context, id uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.at(id); at >= 0 { // as with etcd, it may have been removed by a leader that does not know yet that it is none
		c.world.Members = slices.Delete(c.world.Members, at, at+1)
	}
	return c.fail
}

func (c *council) MoveLeader(_ context.Context, to uint64) error {
	c.elect(to)
	return nil
}

func (c *council) at(id uint64) int {
	return slices.IndexFunc(c.world.Members, func(m Member) bool { return m.ID == id })
}

func (c *council) elect(leader uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.world.Self = leader
	close(c.changed)
	c.changed = make(chan struct{})
}

// happen changes what is known of processes.
func (c *council) happen(change func(map[string]*Process)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := map[string]*Process{}
	for i := range c.world.Processes {
		known[c.world.Processes[i].ID] = &c.world.Processes[i]
	}
	change(known)
	c.census++
	close(c.counted)
	c.counted = make(chan struct{})
}

func (c *council) config(self uint64) Config {
	return Config{
		Members: c, Logger: slog.New(slog.DiscardHandler),
		Leads: func() (bool, <-chan struct{}) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.world.Self == self, c.changed
		},
		Processes: func(context.Context) ([]Process, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return slices.Clone(c.world.Processes), nil
		},
		Census: func() (int64, <-chan struct{}) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.census, c.counted
		},
		Look: func(_ context.Context, process string, should uint64) (Report, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.looks++
			for _, p := range c.world.Processes {
				if p.ID == process && !p.Alive {
					return Report{}, errors.New("connection refused")
				}
			}
			return Report{Member: should, Applied: c.world.Applied, Ready: !c.started[should].After(time.Now())}, nil
		},
		Gone: func(process string) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.gone[process]++
			return nil
		},
	}
}

func (c *council) seats() (voters, learners []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.world.Members {
		if m.Learner {
			learners = append(learners, m.Process)
		} else {
			voters = append(voters, m.Process)
		}
	}
	slices.Sort(voters)
	slices.Sort(learners)
	return voters, learners
}

// run runs one loop for each of the member ids under virtual time.
func run(t *testing.T, c func() *council, members []uint64, fn func(*council, map[uint64]*Loop)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c, loops := c(), map[uint64]*Loop{}
		var group sync.WaitGroup
		for _, id := range members {
			loop := New(c.config(id))
			loops[id] = loop
			group.Go(func() {
				if err := loop.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		fn(c, loops)
		cancel()
		group.Wait()
	})
}

func wantSeats(t *testing.T, c *council, voters, learners []string) {
	t.Helper()
	if v, l := c.seats(); !slices.Equal(v, voters) || !slices.Equal(l, learners) {
		t.Errorf("voters %v, learners %v; want %v, %v", v, l, voters, learners)
	}
}

func TestGrows(t *testing.T) {
	run(t, func() *council { return newCouncil("a", "b", "c", "d", "e", "f", "g", "h") }, []uint64{1}, func(c *council, loops map[uint64]*Loop) {
		<-time.After(3 * time.Second)
		wantSeats(t, c, []string{"a", "b", "c", "d", "e"}, []string{"f", "g"})
		up, even, leads := loops[1].Seen()
		if !leads || even != "" || len(up) != 7 || slices.Contains(slices.Collect(maps.Values(up)), false) {
			t.Errorf("seen %v, %q, %v", up, even, leads)
		}
		c.mu.Lock()
		before := c.looks
		c.mu.Unlock()
		<-time.After(10 * time.Second)
		c.mu.Lock()
		if n := c.looks - before; n > 6*11 {
			t.Errorf("%d looks in 10 s of rest", n)
		}
		c.mu.Unlock()
	})
}

// TestTakenOut: the leader's own process is taken out: it hands over, its successor removes it and says so to the book.
func TestTakenOut(t *testing.T) {
	run(t, func() *council { return newCouncil("a", "b", "c") }, []uint64{1, 101, 102}, func(c *council, _ map[uint64]*Loop) {
		<-time.After(3 * time.Second)
		wantSeats(t, c, []string{"a", "b", "c"}, nil)
		c.happen(func(p map[string]*Process) { p["a"].Belongs, p["a"].Alive = false, false })
		<-time.After(5 * time.Second)
		wantSeats(t, c, []string{"b"}, []string{"c"})
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.world.Self == 1 || len(c.gone) != 1 || c.gone["a"] == 0 {
			t.Errorf("leader %d, gone %v", c.world.Self, c.gone)
		}
	})
}

// TestEndsWithOffice: who does not lead any more changes nothing, and a successor goes on.
func TestEndsWithOffice(t *testing.T) {
	run(t, func() *council { return newCouncil("a", "b", "c") }, []uint64{1}, func(c *council, loops map[uint64]*Loop) {
		<-time.After(100 * time.Millisecond)
		wantSeats(t, c, []string{"a"}, []string{"b", "c"})
		c.elect(7)
		<-time.After(time.Minute)
		wantSeats(t, c, []string{"a"}, []string{"b", "c"})
		if _, _, leads := loops[1].Seen(); leads {
			t.Error("it still says that it leads")
		}
		c.elect(1)
		<-time.After(time.Second)
		wantSeats(t, c, []string{"a", "b", "c"}, nil)
	})
}

// TestFailingStep: what does not go is tried again, and does not end the loop.
func TestFailingStep(t *testing.T) {
	run(t, func() *council { return newCouncil("a", "b", "c") }, []uint64{1}, func(c *council, _ map[uint64]*Loop) {
		c.mu.Lock()
		c.fail = errors.New("no quorum")
		c.mu.Unlock()
		<-time.After(time.Minute)
		c.mu.Lock()
		c.fail = nil
		c.mu.Unlock()
		<-time.After(3 * time.Second)
		wantSeats(t, c, []string{"a", "b", "c"}, nil)
	})
}
