package oplog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// model is what a log must be: the slow, obvious way.
type model struct {
	base    Position // before the first entry
	entries []op.Entry
	acked   topology.Seq // durable for sure
	front   topology.Seq // TruncateFront was allowed up to here
	history []TermStart  // up to base
}

func (m model) last() Position {
	if n := len(m.entries); n > 0 {
		return Position{Term: m.entries[n-1].Term, Seq: m.entries[n-1].Seq}
	}
	return m.base
}

// explains says why the log cannot have come from m by a crash, or nil. Without
// a crash nothing unsynced may be missing either.
func (m model) explains(l *Log, crashed bool) error {
	first, last := l.First(), l.Last()
	got, err := readFrom(l, first)
	if err != nil {
		return err
	}
	least := m.last().Seq
	if crashed {
		least = m.acked
	}
	switch {
	case last.Seq > m.last().Seq, last.Seq < least:
		return fmt.Errorf("ends with %d, not in [%d, %d]", last.Seq, least, m.last().Seq)
	case first <= m.base.Seq, first > max(m.front, m.base.Seq)+1:
		return fmt.Errorf("begins with %d, truncated up to %d", first, m.front)
	case len(got) != int(last.Seq+1-first):
		return fmt.Errorf("%d entries in [%d, %d]", len(got), first, last.Seq)
	}
	want := m.entries[first-m.base.Seq-1:][:len(got)]
	for i := range got {
		if !equal(want[i], got[i]) {
			return fmt.Errorf("entry %d is not as it was appended", got[i].Seq)
		}
	}
	history := slices.Clone(m.history)
	for i := range m.entries[:last.Seq-m.base.Seq] {
		history = noteTerm(history, &m.entries[i])
	}
	if h := l.History(); !slices.Equal(history, h) {
		return fmt.Errorf("history: %v, want %v", h, history)
	}
	return nil
}

// script drives a log and its model with random steps. hope is the model as it
// is if the step that failed took effect all the same.
type script struct {
	dir  string
	rng  *rand.Rand
	log  *Log
	term topology.Term
	now  model
	hope model
}

func (s *script) step() error {
	s.hope = s.now
	if s.rng.IntN(12) == 0 {
		s.term.Run++
	}
	switch k := s.rng.IntN(20); {
	case k < 9:
		last := s.now.last().Seq
		b := make([]op.Entry, 1+s.rng.IntN(5))
		for i := range b {
			b[i] = makeEntry(s.term, last+1+topology.Seq(i), 1+s.rng.IntN(500))
		}
		s.hope.entries = slices.Concat(s.now.entries, b)
		return s.log.Append(b)
	case k < 14:
		durable, err := s.log.Sync()
		if err == nil && durable != s.now.last().Seq {
			return fmt.Errorf("sync returned %d", durable)
		}
		s.hope.acked = durable
		return err
	case k < 15:
		return s.log.Mark()
	case k < 17:
		s.hope.front = max(s.now.front, min(topology.Seq(s.rng.IntN(int(s.now.last().Seq)+1)), s.now.acked))
		s.now.front = s.hope.front
		return s.log.TruncateFront(s.hope.front)
	case k < 19:
		return s.truncateBack()
	}
	pos := Position{Term: s.term, Seq: s.now.last().Seq + topology.Seq(1+s.rng.IntN(10))}
	if s.rng.IntN(2) == 0 {
		return nil
	}
	s.hope = model{base: pos, acked: pos.Seq, front: pos.Seq, history: []TermStart{{Term: s.term, First: pos.Seq}}}
	return s.log.Reset(pos, nil)
}

func (s *script) truncateBack() error {
	first, last := s.log.First(), s.now.last().Seq
	after := first - 1 + topology.Seq(s.rng.IntN(int(last+2-first)))
	if after == last {
		return nil
	}
	s.hope.entries = s.now.entries[:after-s.now.base.Seq]
	s.hope.acked = after
	s.hope.front = min(s.now.front, after)
	s.term.Run++ // as the protocol does: a cut suffix is never made again
	return s.log.TruncateBack(after)
}

// run performs steps until one fails.
func (s *script) run(fsys vfs.FS, steps int) (err error) {
	opt := options(fsys)
	opt.Dir = s.dir
	if s.log, err = Open(opt); err != nil {
		return err
	}
	if err := s.now.explains(s.log, false); err != nil {
		return err
	}
	for range steps {
		if err := s.step(); err != nil {
			return err
		}
		s.now = s.hope
		if s.rng.IntN(15) == 0 {
			if err := s.log.Close(); err != nil {
				s.hope.acked = 0
				return err
			}
			s.now.acked = s.now.last().Seq
			s.hope = s.now
			if s.log, err = Open(opt); err != nil {
				return err
			}
		}
	}
	return s.log.Close()
}

// survives opens what a crash left and checks it against what was going on; the
// log must go on from there.
func (s *script) survives(t *testing.T, disk *memfs.FS, where string) {
	t.Helper()
	l, err := Open(options(disk))
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	err = s.now.explains(l, true)
	if err != nil {
		if other := s.hope.explains(l, true); other != nil {
			t.Fatalf("%s: neither before the step: %v\nnor after it: %v", where, err, other)
		}
	}
	if l.Durable() != l.Last().Seq {
		t.Fatalf("%s: durable %d of %d", where, l.Durable(), l.Last().Seq)
	}
	kept, err := readFrom(l, l.First())
	ok(t, err)
	more := batch(topology.Term{Epoch: 1 << 40}, l.Last().Seq+1, 3, 200)
	ok(t, l.Append(more))
	_, err = l.Sync()
	ok(t, err)
	again, err := Open(options(disk.StrictClone()))
	if err != nil {
		t.Fatalf("%s, then grown: %v", where, err)
	}
	got, err := readFrom(again, l.First())
	ok(t, err)
	same(t, got, slices.Concat(kept, more))
}

func newScript(seed uint64) *script {
	return &script{dir: "log", rng: rand.New(rand.NewPCG(seed, 99)), term: term(1, 1)}
}

// The machine crashes before each operation of the disk that a random workload
// makes, each time with several random losses, and again while it recovers.
func TestCrashEverywhere(t *testing.T) {
	points := 0
	for seed := range uint64(3) {
		for n := 1; ; n++ {
			var disks []*memfs.FS
			m := memfs.New()
			s := newScript(seed)
			loss := rand.New(rand.NewPCG(seed, uint64(n)))
			ffs := faultfs.New(m, faultfs.Crash(n, func() {
				disks = append(disks, m.StrictClone(), m.CrashClone(loss), m.CrashClone(loss))
			}))
			err := s.run(ffs, 60)
			if disks == nil {
				ok(t, err)
				break
			}
			points++
			if err == nil { // it was in removing a file that the chain no longer names
				s.hope = s.now
			} else {
				is(t, err, faultfs.ErrCrashed)
			}
			for i, d := range disks {
				where := fmt.Sprintf("seed %d, before operation %d (%s %s), loss %d", seed, n, ffs.Last().Kind, ffs.Last().Path, i)
				s.survives(t, crashAgain(t, d, loss), where+", recovery crashed")
				s.survives(t, d, where)
			}
		}
	}
	t.Logf("%d crash points", points)
	if points < 500 {
		t.Fatalf("only %d crash points", points)
	}
}

// crashAgain opens a copy of disk and crashes within that, somewhere.
func crashAgain(t *testing.T, disk *memfs.FS, loss *rand.Rand) *memfs.FS {
	t.Helper()
	m := disk.StrictClone()
	ffs := faultfs.New(m)
	l, err := Open(options(ffs))
	ok(t, err)
	ok(t, l.release())
	m = disk.StrictClone()
	out := m
	rule := faultfs.Crash(1+loss.IntN(ffs.Count()), func() { out = m.CrashClone(loss) })
	if _, err := Open(options(faultfs.New(m, rule))); !errors.Is(err, faultfs.ErrCrashed) {
		t.Fatalf("recovery survived its crash: %v", err)
	}
	return out
}

// An operation fails while the machine stays up: no entry is lost, and the log
// is as before the step or as after it when it is opened again.
func TestErrorEverywhere(t *testing.T) {
	eio := errors.New("input/output error")
	for seed := range uint64(3) {
		for n := 1; ; n++ {
			m := memfs.New()
			s := newScript(seed)
			ffs := faultfs.New(m, faultfs.Nth(n, eio))
			err := s.run(ffs, 60)
			if ffs.Count() < n {
				ok(t, err)
				break
			}
			if err != nil && !errors.Is(err, eio) {
				t.Fatalf("seed %d, operation %d (%s): %v", seed, n, ffs.Last().Kind, err)
			}
			if err == nil {
				s.hope = s.now
			}
			s.survives(t, m, fmt.Sprintf("seed %d, failed operation %d (%s)", seed, n, ffs.Last().Kind))
		}
	}
}

func TestRandomRunOnARealDisk(t *testing.T) {
	s := newScript(1)
	s.dir = filepath.Join(t.TempDir(), "log")
	ok(t, s.run(vfs.OS(), 100))
	opt := options(vfs.OS())
	opt.Dir = s.dir
	l, err := Open(opt)
	ok(t, err)
	ok(t, s.now.explains(l, false))
	ok(t, l.Close())
}

func TestRandomRunsWithoutFaults(t *testing.T) {
	for seed := range uint64(60) {
		m := memfs.New()
		s := newScript(seed)
		ok(t, s.run(m, 200))
		l := mustOpen(t, m.StrictClone())
		s.now.acked = s.now.last().Seq
		ok(t, s.now.explains(l, true))
	}
}
