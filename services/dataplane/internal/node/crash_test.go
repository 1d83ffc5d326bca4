package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
	"golang.org/x/sync/errgroup"
)

// ledger is what clients know of one point that only one of them writes: values
// grow, and a deletion counts as a value that shows nothing.
type ledger struct {
	acked, tried int
}

// visible tells what a point shows at a value: every fifth value is a deletion.
func visible(v int) bool { return v > 0 && v%5 != 0 }

// crew writes to a node until it is stopped, each writer to its own points.
type crew struct {
	mu      sync.Mutex
	books   map[topology.Shard]map[uint64]ledger
	acks    int
	unknown int
}

func (c *crew) write(ctx context.Context, n *Node, id topology.Shard, p uint64) error {
	c.mu.Lock()
	b := c.books[id][p]
	b.tried++
	c.books[id][p] = b
	c.mu.Unlock()
	w := upsert(p, float32(b.tried))
	if !visible(b.tried) {
		w = shard.Write{Kind: op.Delete, IDs: []topology.PointID{topology.NumberID(p)}}
	}
	r, err := n.Replica(id)
	if err != nil {
		return err
	}
	wait := replica.WaitMode(b.tried % 2)
	_, err = r.Propose(ctx, newID(), w, wait, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.unknown++
		return err
	}
	c.acks++
	b.acked = b.tried
	c.books[id][p] = b
	return nil
}

// snapshot copies what is acknowledged by now.
func (c *crew) snapshot() map[topology.Shard]map[uint64]ledger {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[topology.Shard]map[uint64]ledger{}
	for id, b := range c.books {
		out[id] = map[uint64]ledger{}
		for p, l := range b {
			out[id][p] = l
		}
	}
	return out
}

// setting reads a number from the environment.
func setting(name string, def uint64) uint64 {
	if v, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return v
	}
	return def
}

// TestNothingAcknowledgedIsLost writes, lets the disk fail or crashes at any
// moment with what memfs keeps of unsynced bytes, starts again, audits every
// acknowledged write, and goes on from there. PANDO_CRASHES sets how many times,
// PANDO_SEED the choice of faults (not the interleaving).
func TestNothingAcknowledgedIsLost(t *testing.T) {
	crashes, seed := int(setting("PANDO_CRASHES", 16)), setting("PANDO_SEED", uint64(time.Now().UnixNano()))
	t.Logf("PANDO_SEED=%d", seed)
	v := &voyage{t: t, rng: rand.New(rand.NewPCG(seed, 1)), mem: memfs.New(), crew: &crew{books: map[topology.Shard]map[uint64]ledger{shard0: {}, shard1: {}}}}
	v.lim = replica.Limits{CheckpointBytes: 20 << 10, Tick: 3 * time.Millisecond}
	h := enter(t, v.mem, v.lim)
	v.as = h.birth(1, shard0, shard1)
	h.leave()
	for crash := range crashes {
		sure, after := v.leg()
		v.mem = after
		h := enter(t, v.mem, v.lim)
		h.n.Apply(Desired{Revision: 2, Assignments: v.as})
		h.ready(shard0, shard1)
		if err := v.crew.audit(h, sure); err != nil {
			t.Fatalf("crash %d: %v", crash, err)
		}
		h.leave()
	}
	t.Logf("%d crashes, %d acknowledged, %d unknown or refused", crashes, v.crew.acks, v.crew.unknown)
	names, err := v.mem.List("/data/collections/5/0/log")
	if err != nil || v.crew.acks > 5000 && slices.Contains(names, "0000000000000001-00000000.log") {
		t.Errorf("the log was never truncated: %v %v", names, err)
	}
}

// instant is a crash of which only the clone knows: the running node goes on, to
// no effect.
func instant(n int, crash func()) faultfs.Rule {
	return func(o faultfs.Op) error {
		if o.N >= n && crash != nil {
			crash()
			crash = nil
		}
		return nil
	}
}

type voyage struct {
	t    *testing.T
	rng  *rand.Rand
	lim  replica.Limits
	mem  *memfs.FS
	as   []Assignment
	crew *crew
}

// leg runs a node under load until something happens to it. It returns what was
// acknowledged before, and what the disk holds after.
func (v *voyage) leg() (sure map[topology.Shard]map[uint64]ledger, after *memfs.FS) {
	fsys := faultfs.New(v.mem)
	h := enter(v.t, fsys, v.lim)
	dice := rand.New(rand.NewPCG(v.rng.Uint64(), 2))
	kind, at := v.rng.IntN(4), v.rng.IntN(300)
	crashed := make(chan struct{})
	crash := instant(fsys.Count()+at, func() {
		sure, after = v.crew.snapshot(), v.mem.CrashClone(dice)
		close(crashed)
	})
	if kind == 0 { // perhaps while it starts
		fsys.SetRules(crash)
	}
	h.n.Apply(Desired{Revision: 2, Assignments: v.as})
	if kind != 0 {
		h.ready(shard0, shard1)
	}
	switch kind {
	case 1:
		fsys.SetRules(crash)
	case 2:
		broken := false
		fsys.SetRules(func(o faultfs.Op) error { // the engine's own folder is its own tests' matter
			if at--; at > 0 || broken || o.N == 0 || strings.Contains(o.Path, "/state") {
				return nil
			}
			broken = true
			return syscall.EIO
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	for i := range uint64(6) {
		id := []topology.Shard{shard0, shard1}[i%2]
		g.Go(func() error {
			for n := uint64(0); ctx.Err() == nil; n++ {
				if v.crew.write(ctx, h.n, id, i*100+n%7) != nil {
					select {
					case <-ctx.Done():
					case <-time.After(time.Millisecond):
					}
				}
			}
			return nil
		})
	}
	if kind < 2 {
		await(v.t, "the crash", func() bool {
			select {
			case <-crashed:
				return true
			default:
				return false
			}
		})
	} else {
		<-time.After(time.Duration(1+v.rng.IntN(60)) * time.Millisecond)
		sure = v.crew.snapshot()
		after = v.mem.CrashClone(dice)
	}
	cancel()
	if err := g.Wait(); err != nil {
		v.t.Fatal(err)
	}
	h.stop()
	<-h.ended // whatever a broken disk made of it
	return sure, after
}

// TestCrashAtEveryStepOfBirth: whatever a crash leaves of a new folder and a new
// replica, the next start comes to an empty replica that serves.
func TestCrashAtEveryStepOfBirth(t *testing.T) {
	for n := 1; ; n++ {
		mem := memfs.New()
		var after *memfs.FS
		fsys := faultfs.New(mem, instant(n, func() { after = mem.CrashClone(rand.New(rand.NewPCG(uint64(n), 3))) }))
		if h, err := tryEnter(t, fsys, "/data", 0, replica.Limits{}); err == nil {
			h.n.Apply(Desired{Revision: 1, Assignments: []Assignment{assign(shard0, 1, topology.Initializing, topology.Incarnation{})}})
			await(t, "made or not", func() bool {
				x, ok := h.holding(shard0)
				return ok && x.Loaded || fsys.Count() >= n
			})
			h.stop()
			<-h.ended
		}
		if after == nil {
			t.Logf("%d steps", n-1)
			return
		}
		h := enter(t, after, replica.Limits{})
		h.birth(1, shard0)
		if _, err := h.write(shard0, upsert(1, 1)); err != nil {
			t.Fatalf("after a crash at step %d: %v", n, err)
		}
		h.leave()
	}
}

// audit checks what is shown against what was sure, and takes it as the truth.
func (c *crew) audit(h *house, sure map[topology.Shard]map[uint64]ledger) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, b := range c.books {
		for p, l := range b {
			low := sure[id][p].acked
			shown, ok := h.value(id, p)
			v := int(shown)
			if !ok { // a deletion at or after what is sure, or nothing yet
				for v = low; v <= l.tried && visible(v); v++ {
				}
			}
			if v < low || v > l.tried || ok && !visible(v) {
				return fmt.Errorf("point %d of shard %d shows %v (%v), acknowledged %d, tried %d", p, id.ID, shown, ok, low, l.tried)
			}
			l.acked = v
			b[p] = l
		}
	}
	return nil
}

// A full disk refuses writes, keeps reads, and forgets nothing when there is space.
func TestFullDisk(t *testing.T) {
	fsys := memfs.New()
	h := enter(t, fsys, replica.Limits{})
	as := h.birth(1, shard0)
	if _, err := h.write(shard0, upsert(1, 1)); err != nil {
		t.Fatal(err)
	}
	u, err := fsys.DiskUsage("/")
	if err != nil {
		t.Fatal(err)
	}
	fsys.SetCapacity(u.Used)
	acked := uint64(1)
	for {
		if _, err = h.write(shard0, upsert(acked+1, 1)); err != nil {
			break
		}
		acked++
	}
	if !errors.Is(err, replica.ErrNoSpace) {
		t.Fatalf("after %d writes: %v", acked, err)
	}
	if _, ok := h.value(shard0, acked); !ok {
		t.Error("an acknowledged write is not shown")
	}
	if x, _ := h.holding(shard0); x.Status.Phase != replica.Full {
		t.Errorf("%+v", x.Status)
	}
	fsys.SetCapacity(0)
	if _, err := h.write(shard0, upsert(acked+2, 1)); err != nil {
		t.Errorf("with space again: %v", err)
	}
	h.leave()
	h = enter(t, fsys.StrictClone(), replica.Limits{})
	h.n.Apply(Desired{Revision: 2, Assignments: as})
	h.ready(shard0)
	for p := uint64(1); p <= acked+2; p++ {
		if _, ok := h.value(shard0, p); ok == (p == acked+1) {
			t.Errorf("point %d: %v", p, ok)
		}
	}
	h.leave()
	t.Logf("%d writes until the disk was full", acked)
}
