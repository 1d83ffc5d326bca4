//go:build !race

// Under the race detector pebble compiles its own assertions in, which a disk that
// fails does not meet, and these tests are long.
package node

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// TestCrashAtEveryStepOfInstall: whatever a crash leaves of a copy on its way is the
// old replica before it was decided and the new one after, and needs no help.
func TestCrashAtEveryStepOfInstall(t *testing.T) {
	s := newSource(t)
	for _, c := range s.meetings() {
		t.Run(c.name, func(t *testing.T) {
			start := s.old(c.log)
			count := map[bool]int{}
			for n := 1; ; n++ {
				mem := start.StrictClone()
				var after []*memfs.FS
				phase, then := "", ""
				fsys := faultfs.New(mem)
				fsys.SetRules(instant(n, func() {
					then = phase
					rng := rand.New(rand.NewPCG(uint64(n), 5))
					after = []*memfs.FS{mem.CrashClone(rng), mem.CrashClone(rng), mem.StrictClone()}
				}))
				if err := s.install(fsys, func(p string) { phase = p }); err != nil {
					t.Fatalf("step %d: %v", n, err)
				}
				if after == nil {
					t.Logf("%d steps: the old replica %d times, the new one %d times", n-1, count[false], count[true])
					return
				}
				for i, disk := range after {
					again := disk.StrictClone()
					isNew, err := s.audit(disk, c.log, c.last)
					if err != nil || isNew && then == "fetch" || !isNew && (then == "open" || then == "end") {
						t.Fatalf("crash %d at step %d, %s: new %v: %v", i, n, then, isNew, err)
					}
					count[isNew]++
					if n%20 == 0 {
						s.crashWhileOpening(t, again, c.log, c.last, isNew)
					}
				}
			}
		})
	}
}

// crashWhileOpening crashes once more, at every step of the opening after a crash.
func (s *source) crashWhileOpening(t *testing.T, start *memfs.FS, log []op.Entry, last topology.Seq, isNew bool) {
	t.Helper()
	for n := 1; ; n++ {
		mem := start.StrictClone()
		var after *memfs.FS
		p, err := s.open(faultfs.New(mem, instant(n, func() { after = mem.CrashClone(rand.New(rand.NewPCG(uint64(n), 6))) })))
		must(t, err)
		must(t, p.Close())
		if after == nil {
			return
		}
		if got, err := s.audit(after, log, last); err != nil || got != isNew {
			t.Fatalf("second crash at step %d: new %v, want %v: %v", n, got, isNew, err)
		}
	}
}

// TestDiskFailsAtEveryStepOfInstall: one operation fails, once. What is there then is
// the old replica or the new one; what was not decided before is not there after.
func TestDiskFailsAtEveryStepOfInstall(t *testing.T) {
	s := newSource(t)
	c := s.meetings()[2]
	start := s.old(c.log)
	for _, cause := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		failed, gone := 0, 0
		for n := 1; ; n++ {
			mem := start.StrictClone()
			fsys := faultfs.New(mem, faultfs.Nth(n, cause))
			phase := ""
			err := s.install(fsys, func(p string) { phase = p })
			if fsys.Count() < n {
				must(t, err)
				t.Logf("%v: %d steps, %d failed, %d of them without a trace", cause, n-1, failed, gone)
				break
			}
			isNew, bad := s.audit(mem.StrictClone(), c.log, c.last)
			if bad != nil || isNew && phase == "fetch" || !isNew && (phase == "open" || phase == "end") {
				t.Fatalf("%v at step %d, %s (%v): new %v: %v", cause, n, phase, err, isNew, bad)
			}
			if err == nil {
				continue
			}
			failed++
			if cause == syscall.ENOSPC && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, replica.ErrNoSpace) {
				t.Errorf("step %d, %s: %v", n, phase, err)
			}
			if _, there := mem.Stat(filepath.Join(home, newStateDir, installFile)); there == nil && phase == "commit" && !errors.Is(err, replica.ErrFailed) {
				t.Errorf("step %d: it may be decided, but the error is %v", n, err)
			}
			if _, err := mem.Stat(filepath.Join(home, newStateDir)); errors.Is(err, fs.ErrNotExist) {
				gone++
			}
		}
	}
}

// TestFullDiskDuringCopy: the disk fills up while a copy comes in. It says so, gives
// the space back, and the old replica goes on.
func TestFullDiskDuringCopy(t *testing.T) {
	s := newSource(t)
	mem := s.old(s.entries[:12])
	p, err := s.open(mem)
	must(t, err)
	u, err := mem.DiskUsage(home)
	must(t, err)
	mem.SetCapacity(u.Used + spareRoom + 1<<20)
	grow, err := mem.Create("/other")
	must(t, err)
	_, err = p.Copier.Fetch(t.Context(), fromHere, func(replica.CopyProgress) {
		if u, _ := mem.DiskUsage(home); u.Avail > 0 {
			if _, err := grow.Write(make([]byte, u.Avail)); err != nil {
				t.Error(err)
			}
		}
	})
	if !errors.Is(err, replica.ErrNoSpace) {
		t.Fatal(err)
	}
	if _, err := mem.Stat(filepath.Join(home, newStateDir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
	must(t, errors.Join(grow.Close(), p.Engine.Apply([]op.Entry{s.entries[oldAt]}), p.Close()))
	mem.SetCapacity(0)
	again, err := s.open(mem)
	must(t, err)
	if at, d := again.Reads.Digest(); at != oldAt || d != s.digests[topology.Seq(oldAt)] {
		t.Errorf("digest at %d is %s", at, d)
	}
	must(t, again.Close())
}
