package shard

import (
	"math/rand/v2"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/budget"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// rested waits until a worker has nothing to do.
func rested(s *Shard, which int) {
	for {
		w := &s.work
		w.mu.Lock()
		idle, changed := w.mu.idle[which], w.mu.changed
		w.mu.Unlock()
		if idle {
			return
		}
		<-changed
	}
}

// TestSealsWaitForNoBudget: where others have all threads, tails that were sealed still
// leave memory, and graphs wait for a thread.
func TestSealsWaitForNoBudget(t *testing.T) {
	disk := memfs.New()
	o := withGraphs(disk)
	o.Background = budget.New(budget.Options{Threads: 1})
	_, release, err := o.Background.Take(ctx, 1)
	ok(t, err)
	s := open(t, o)
	l := newLedger()
	rng := rand.New(rand.NewPCG(7, 7))
	for part := range 3 {
		clouds(l, rng, 1000*part, 1000)
		l.add(op.Op{Kind: op.Seal})
	}
	l.catchUp(t, s)
	rested(s, sealing)
	for _, p := range s.state.Sealed.List {
		if _, waits := p.Generation(); waits {
			t.Errorf("part %d is still in memory", p.Number)
		}
	}
	if i := s.Info(); graphsOf(t, disk) != 0 || i.Indexed[""] != 0 || i.Pending < 3 || i.Paused {
		t.Errorf("without a thread: %d graphs, %+v", graphsOf(t, disk), i)
	}
	release()
	ok(t, s.Settle(ctx))
	if i := s.Info(); graphsOf(t, disk) != 3 || i.Indexed[""] != 3000 {
		t.Errorf("with a thread: %d graphs, %+v", graphsOf(t, disk), i)
	}
}

// TestOptimizersOff: below 0 threads nothing is merged and no graph is made or taken
// off; tails are sealed, and pending work shows as paused.
func TestOptimizersOff(t *testing.T) {
	disk := memfs.New()
	o := withGraphs(disk)
	inner := o.Settings
	o.Settings = func(b []byte) (query.Settings, error) {
		s, err := inner(b[:min(1, len(b))])
		if len(b) > 1 {
			s.Optimizers.Threads = -1
		}
		return s, err
	}
	s := open(t, o)
	l := newLedger()
	rng := rand.New(rand.NewPCG(8, 8))
	l.add(op.Op{Kind: op.Config, Revision: 1, Settings: []byte{0, 1}})
	for part := range 5 {
		clouds(l, rng, 1000*part, 1000)
		l.catchUp(t, s)
		if i := s.Info(); i.Pending == 0 || i.Paused {
			t.Errorf("with a tail to be sealed: %+v", i)
		}
		d, due := s.Due()
		if !due || d.Kind != op.Seal {
			t.Fatalf("due: %v, kind %d", due, d.Kind)
		}
		l.add(d)
		l.catchUp(t, s)
	}
	ok(t, s.Settle(ctx))
	for range 2 * quietCalls {
		if d, due := s.Due(); due {
			t.Fatalf("due: kind %d", d.Kind)
		}
	}
	if i := s.Info(); graphsOf(t, disk) != 0 || !i.Paused || i.Pending != 6 || i.Segments != 6 { // five graphs and a merge
		t.Errorf("off: %d graphs, %+v", graphsOf(t, disk), i)
	}
	l.add(op.Op{Kind: op.Config, Revision: 2, Settings: []byte{0}})
	l.catchUp(t, s)
	settleDue(t, l, s)
	if i := s.Info(); i.Paused || i.Pending != 0 || i.Segments > 3 || i.Indexed[""] != 5000 {
		t.Errorf("on again: %+v", i)
	}
}

// settleDue does what a primary does until nothing is due.
func settleDue(t testing.TB, l *ledger, s *Shard) {
	t.Helper()
	for quiet := 0; quiet <= quietCalls; quiet++ {
		if d, due := s.Due(); due {
			l.add(d)
			l.catchUp(t, s)
			quiet = 0
		}
		ok(t, s.Settle(ctx))
	}
}

// TestMergesComeWithGraphs: parts with graphs serve until the part that is made of them
// has one.
func TestMergesComeWithGraphs(t *testing.T) {
	s := open(t, withGraphs(memfs.New()))
	l := newLedger()
	rng := rand.New(rand.NewPCG(9, 8))
	for part := range 2 {
		clouds(l, rng, 1000*part, 1000)
		l.add(op.Op{Kind: op.Seal})
	}
	l.catchUp(t, s)
	ok(t, s.Settle(ctx))
	l.add(op.Op{Kind: op.Merge, Parts: partNumbers(s)})
	l.catchUp(t, s)
	for merged := false; !merged; {
		i := s.Info()
		if merged = i.Segments == 2; i.Indexed[""] != 2000 {
			t.Fatalf("searches compare rows one by one: %+v", i)
		}
	}
	ok(t, s.Settle(ctx))
}
