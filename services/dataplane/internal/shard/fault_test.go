//go:build !race

// Under the race detector pebble compiles its own assertions in. One of them
// fails when the manifest cannot be written, after which pebble expects the
// process to end; a replica here ends alone. So these run without it.
package shard

import (
	"errors"
	"math/rand/v2"
	"path"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// prefix is the ledger of the first n entries.
func (l *ledger) prefix(n int) *ledger {
	p := newLedger()
	for _, e := range l.entries[:n] {
		o, err := op.Decode(e.Body)
		if err != nil {
			panic(err)
		}
		p.stamped(o, e.HLC, e.ID)
	}
	return p
}

// live applies l in small steps with checkpoints and restarts. It tells which
// seq the last good checkpoint covered.
// settle: now and then all is made that there is to make.
func (l *ledger) live(o Options, settle bool) (durable topology.Seq, err error) {
	var s *Shard
	for at := 0; at < len(l.entries) && err == nil; {
		if s == nil {
			if s, err = Open(o); err != nil {
				return durable, err
			}
			at = int(s.Applied().Seq)
		}
		to := min(at+7, len(l.entries))
		err = s.Apply(l.entries[at:to])
		at = to
		if err == nil && settle && at%3 == 0 {
			err = s.Settle(ctx)
		}
		if err == nil && at%4 != 0 {
			var seq topology.Seq
			if seq, err = s.Checkpoint(); err == nil {
				durable = seq
			}
		}
		if err != nil || at%5 == 0 {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}
	if s != nil {
		err = errors.Join(err, s.Close())
	}
	return durable, err
}

// TestCrashes cuts the power before each (sampled) change of the disk, several
// times, since what survives of what was not synced is a matter of chance. What is
// found again is the fold of a prefix not shorter than the last checkpoint, and
// the log after it leads to the same state.
func TestCrashes(t *testing.T) {
	l := history(60)
	count := faultfs.New(memfs.New())
	_, err := l.live(options(count), false)
	ok(t, err)
	total := count.Count()
	if total < 50 {
		t.Fatalf("only %d changes", total)
	}
	step := 1 + total/50
	for n := 1; n <= total; n += step {
		mem := memfs.New()
		var after []*memfs.FS
		rng := rand.New(rand.NewPCG(uint64(n), 3))
		faulty := faultfs.New(mem, faultfs.Crash(n, func() {
			for range 3 {
				after = append(after, mem.CrashClone(rng))
			}
			after = append(after, mem.StrictClone())
		}))
		durable, err := l.live(options(faulty), false)
		if after == nil {
			// Background work differs from run to run; this one was shorter.
			ok(t, err)
			continue
		}
		for i, disk := range after {
			s, err := Open(options(disk))
			if err != nil {
				t.Fatalf("crash %d at %d of %d (%v): %v", i, n, total, faulty.Last(), err)
			}
			at := s.Applied().Seq
			if at < durable {
				t.Fatalf("crash %d at %d: applied %d, checkpoint was at %d", i, n, at, durable)
			}
			l.prefix(int(at)).check(t, s)
			l.catchUp(t, s)
			ok(t, s.Close())
		}
	}
}

// TestFailedSync: it sticks, nothing is written after it, reads go on, and what
// was durable before is there after a restart.
func TestFailedSync(t *testing.T) {
	l := history(40)
	mem := memfs.New()
	faulty := faultfs.New(mem)
	told := make(chan error, 1) // the event may come from pebble's own goroutine, after the call has failed
	o := options(faulty)
	o.Events.Failed = func(err error) { told <- err }
	s, err := Open(o)
	ok(t, err)
	ok(t, s.Apply(l.entries[:20]))
	if _, err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	ok(t, s.Apply(l.entries[20:30]))
	faulty.SetRules(faultfs.On(syscall.EIO, faultfs.KindSync))
	if _, err := s.Checkpoint(); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("checkpoint: %v", err)
	}
	faulty.SetRules()
	_ = s.Settle(ctx) // what was being made ends, however it ends
	before := faulty.Count()
	for range 2 {
		if err := s.Apply(l.entries[30:]); !errors.Is(err, ErrFailed) {
			t.Fatalf("apply after it: %v", err)
		}
		if _, err := s.Checkpoint(); !errors.Is(err, ErrFailed) {
			t.Fatalf("checkpoint after it: %v", err)
		}
	}
	if event := <-told; !errors.Is(event, ErrFailed) || !errors.Is(s.Err(), ErrFailed) {
		t.Errorf("event %v, Err %v", event, s.Err())
	}
	l.prefix(30).check(t, s)
	ok(t, s.Close())
	if n := faulty.Count(); n != before {
		t.Errorf("%d changes of the disk after the failure, last %+v", n-before, faulty.Last())
	}
	again := open(t, options(mem.StrictClone()))
	if at := again.Applied().Seq; at != 20 {
		t.Errorf("applied %d after restart", at)
	}
	l.catchUp(t, again)
}

// TestDiskFull: checkpoints and writes are refused, reads go on, and when there
// is space again everything does.
func TestDiskFull(t *testing.T) {
	mem := memfs.New()
	full := make(chan bool, 16)
	o := options(mem)
	o.Events.Full = func(f bool) { full <- f }
	s := open(t, o)
	l := history(30)
	l.catchUp(t, s)
	if _, err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 4 {
		bulk(l, rng)
	}
	u, err := mem.DiskUsage(dir)
	ok(t, err)
	mem.SetCapacity(u.Used + 1<<20)
	l.catchUp(t, s)
	if _, err := s.Checkpoint(); !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrFailed) {
		t.Fatalf("checkpoint on a full disk: %v", err)
	}
	if !<-full {
		t.Fatal("not told that the disk is full")
	}
	l.check(t, s)
	next := l.add(op.Op{Kind: op.Delete, IDs: []topology.PointID{num(1)}})
	if err := s.Apply([]op.Entry{next}); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("apply on a full disk: %v", err)
	}
	mem.SetCapacity(0)
	if <-full {
		t.Fatal("told twice")
	}
	l.catchUp(t, s)
	at, err := s.Checkpoint()
	ok(t, err)
	ok(t, s.Close())
	again := open(t, options(mem.StrictClone()))
	if again.Applied().Seq != at {
		t.Errorf("applied %d after restart, checkpoint was %d", again.Applied().Seq, at)
	}
	l.check(t, again)
}

// TestFullWhileApplying: what waits in memory for a full disk is bounded, and
// Apply gives up instead of waiting for ever.
func TestFullWhileApplying(t *testing.T) {
	mem := memfs.New()
	full := make(chan bool, 16)
	o := options(mem)
	o.Events.Full = func(f bool) { full <- f }
	s := open(t, o)
	mem.SetCapacity(1)
	big := fields("b", strings.Repeat("x", 1<<20))
	var entries []op.Entry
	for i := range topology.Seq(3 * store.MaxUnflushed >> 21) {
		o := op.Op{Kind: op.Upsert, Points: []op.Point{{ID: num(uint64(i)), Payload: big}}}
		entries = append(entries, op.Entry{Seq: i + 1, HLC: op.HLC(i + 1), Body: o.Append(nil)})
	}
	if err := s.Apply(entries); !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrFailed) {
		t.Fatalf("apply: %v", err)
	}
	at := s.Applied().Seq
	if n, err := s.Count(ctx, query.Count{}); err != nil || topology.Seq(n) != at || at == 0 || int(at) == len(entries) {
		t.Errorf("%d points at %d, %v", n, at, err)
	}
	mem.SetCapacity(0)
	for <-full {
		// The first event tells that it was full.
	}
	ok(t, s.Apply(entries))
	if n := points(t, s); n != len(entries) {
		t.Errorf("%d points, want %d", n, len(entries))
	}
}

// gated makes no tables of the store while its gate is shut.
type gated struct {
	vfs.FS
	gate chan struct{}
}

func (g gated) Create(name string) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") {
		<-g.gate
	}
	return g.FS.Create(name)
}

// TestMemoryAfterASlowDisk: what waited in memory for a slow disk, or is left of it, is
// little once the disk has it, though nobody writes any more.
func TestMemoryAfterASlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 40 << 20
		slow := gated{vfs.OS(), make(chan struct{})}
		o := options(slow)
		o.Dir = path.Join(t.TempDir(), "shard")
		before := heap()
		s, err := Open(o)
		ok(t, err)
		done := make(chan error, 1)
		go func() {
			var err error
			for seq := topology.Seq(1); err == nil && seq <= size>>20; seq++ {
				o := op.Op{Kind: op.Upsert, Points: []op.Point{{ID: num(1), Payload: fields("b", strings.Repeat("x", 1<<20))}}}
				err = s.Apply([]op.Entry{{Seq: seq, HLC: op.HLC(seq), Origin: 1, Body: o.Append(nil)}})
			}
			done <- err
		}()
		synctest.Wait()
		waiting := s.Applied().Seq
		close(slow.gate)
		ok(t, <-done)
		_, err = s.Checkpoint()
		ok(t, err)
		synctest.Wait()
		grown := heap() - before
		t.Logf("%d of %d MiB were taken, the heap grew by %d MiB", waiting, size>>20, grown>>20)
		if waiting > store.MaxUnflushed>>20+8 || grown > 28<<20 {
			t.Errorf("%d of %d MiB were taken, the heap grew by %d bytes", waiting, size>>20, grown)
		}
		ok(t, s.Close())
	})
}

// heap is how many bytes the garbage collector has to keep.
func heap() int64 {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what pools have goes at the second time
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestFailureWhileFull: closing does not wait for a disk that stays full.
func TestFailureWhileFull(t *testing.T) {
	mem := memfs.New()
	s, err := Open(options(mem))
	ok(t, err)
	l := newLedger()
	bulk(l, rand.New(rand.NewPCG(1, 1)))
	l.catchUp(t, s)
	mem.SetCapacity(1)
	if _, err := s.Checkpoint(); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("checkpoint: %v", err)
	}
	ok(t, s.Close())
}

// TestBitFlips: a flipped bit is found, and the damaged file is named, or it lay
// where nothing is kept; a wrong state is never shown.
func TestBitFlips(t *testing.T) {
	l := history(60)
	mem := memfs.New()
	s, err := Open(options(mem))
	ok(t, err)
	l.catchUp(t, s)
	_, err = s.Checkpoint()
	ok(t, err)
	ok(t, s.Close())
	names, err := mem.List(dir)
	ok(t, err)
	found, harmless := 0, 0
	rng := rand.New(rand.NewPCG(5, 5))
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		file := path.Join(dir, name)
		data, err := vfs.ReadFile(mem, file)
		ok(t, err)
		for range 60 {
			at, bit := rng.IntN(len(data)), byte(1)<<rng.IntN(8)
			damaged := mem.StrictClone()
			f, err := damaged.OpenReadWrite(file)
			ok(t, err)
			_, err = f.WriteAt([]byte{data[at] ^ bit}, int64(at))
			ok(t, errors.Join(err, f.Close()))
			s, err := Open(options(damaged))
			if err == nil {
				harmless++
				l.check(t, s)
				ok(t, s.Close())
				continue
			}
			found++
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name[:6]) {
				t.Errorf("byte %d of %s: %v", at, name, err)
			}
		}
	}
	if found == 0 || harmless > found {
		t.Errorf("found %d, harmless %d", found, harmless)
	}
	t.Logf("found %d of %d; the others were harmless", found, found+harmless)
}
