package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/oplog"
	"github.com/pandodb/pando/services/dataplane/internal/oplog/statefile"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// home is where a replica is on a disk in memory.
const home = "/r"

// Where the old replica, the copy and the source's log are.
const oldAt, copyAt, logEnd = 10, 20, 40

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// course is the log of a shard over three terms, and what it folds to.
func course() []op.Entry {
	var out []op.Entry
	for n := 1; n <= logEnd; n++ {
		term := topology.Term{Epoch: 1, Run: 1}
		switch {
		case n > 15:
			term = topology.Term{Epoch: 5, Run: 1}
		case n > 8:
			term = topology.Term{Epoch: 3, Run: 1}
		}
		o := op.Op{Kind: op.Upsert, Points: []op.Point{{ID: topology.NumberID(uint64(n % 13)), Vectors: []op.Vector{{Data: []float32{float32(n), 1}}}}}}
		if n%5 == 0 {
			o = op.Op{Kind: op.Delete, IDs: []topology.PointID{topology.NumberID(uint64(n % 7))}}
		}
		out = append(out, op.Entry{Term: term, Seq: topology.Seq(n), HLC: op.MakeHLC(uint64(n), 0), Origin: 7,
			ID: op.ID{Request: [16]byte{byte(n)}, Part: op.LastPart}, Body: o.Append(nil)})
	}
	return out
}

// divergent gives the entries as another primary would have appended them.
func divergent(es []op.Entry) []op.Entry {
	out := slices.Clone(es)
	for i := range out {
		out[i].Term = topology.Term{Epoch: 4, Run: 1}
		out[i].Body = op.Op{Kind: op.Delete, IDs: []topology.PointID{topology.NumberID(1)}}.Append(nil)
	}
	return out
}

// source is a replica at copyAt, and its copy.
type source struct {
	t       testing.TB
	home    string // of the replica that takes the copy
	entries []op.Entry
	head    []byte
	body    []byte
	history []core.TermStart
	digests map[topology.Seq]point.Digest
}

func newSource(t testing.TB) *source {
	t.Helper()
	s := &source{t: t, home: home, entries: course(), digests: map[topology.Seq]point.Digest{}}
	fsys := memfs.New()
	must(t, fsys.MkdirAll(home, 0o750))
	p, err := s.storage(nil).Open(fsys, home, assign(shard0, 3, topology.Active, topology.Incarnation{}), core.Hard{})
	must(t, err)
	for _, e := range s.entries {
		must(t, errors.Join(p.Log.Append([]op.Entry{e}), p.Engine.Apply([]op.Entry{e})))
		_, s.digests[e.Seq] = p.Reads.Digest()
		if e.Seq != copyAt {
			continue
		}
		x, err := p.Export()
		must(t, err)
		h := x.Head()
		s.head, s.history = h.AppendBinary(nil), x.History()
		s.body, err = io.ReadAll(x)
		must(t, errors.Join(err, x.Close()))
	}
	must(t, p.Close())
	return s
}

func (s *source) storage(f Fetch) Storage {
	return Storage{SegmentBytes: 4 << 10, Fetch: f}
}

// fetch is a Fetch that needs no network.
func (s *source) fetch(ctx context.Context, _ replica.CopySource, _ topology.Shard, to Intake) error {
	if err := to.Begin(s.head, s.history); err != nil {
		return err
	}
	for b := s.body; len(b) > 0; {
		n := min(200, len(b))
		if _, err := to.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return ctx.Err()
}

// old makes a replica at oldAt whose log has these entries.
func (s *source) old(log []op.Entry) *memfs.FS {
	s.t.Helper()
	fsys := memfs.New()
	must(s.t, errors.Join(fsys.MkdirAll(s.home, 0o750), vfs.SyncDir(fsys, "/")))
	s.oldOn(fsys, log)
	return fsys.StrictClone()
}

func (s *source) oldOn(fsys vfs.FS, log []op.Entry) {
	s.t.Helper()
	p, err := s.open(fsys)
	must(s.t, err)
	must(s.t, p.Log.Append(log))
	_, err = p.Log.Sync()
	must(s.t, err)
	must(s.t, p.Engine.Apply(s.entries[:oldAt]))
	_, err = p.Engine.Checkpoint()
	must(s.t, errors.Join(err, p.Close()))
}

func (s *source) open(fsys vfs.FS) (Parts, error) {
	h := core.Hard{Commit: oldAt}
	if _, err := fsys.Stat(filepath.Join(s.home, stateDir)); err != nil {
		h = core.Hard{}
	}
	return s.storage(s.fetch).Open(fsys, s.home, assign(shard0, 3, topology.Partial, topology.Incarnation{}), h)
}

var fromHere = replica.CopySource{Peer: 9, Epoch: 5, After: oldAt}

// decide takes a copy and commits it. step is told how far it has come.
func (s *source) decide(fsys vfs.FS, step func(string)) error {
	step("fetch")
	p, err := s.open(fsys)
	if err != nil {
		return err
	}
	c, err := p.Copier.Fetch(context.Background(), fromHere, nil)
	if err == nil {
		step("commit")
		err = c.Commit()
	}
	if err == nil {
		step("open")
	}
	return errors.Join(err, p.Close())
}

// install takes a copy, opens the replica with it and lets it go on by an entry.
func (s *source) install(fsys vfs.FS, step func(string)) error {
	if err := s.decide(fsys, step); err != nil {
		return err
	}
	p, err := s.open(fsys)
	if err != nil {
		return err
	}
	step("end")
	next := s.entries[copyAt : copyAt+1]
	if p.Log.Tail().Last.Seq == copyAt {
		err = p.Log.Append(next)
	}
	if err == nil {
		_, err = p.Log.Sync()
	}
	if err == nil {
		err = p.Engine.Apply(next)
	}
	if err == nil {
		_, err = p.Engine.Checkpoint()
	}
	return errors.Join(err, p.Close())
}

// meeting is a log that a copy meets, and where the log ends with it.
type meeting struct {
	name string
	log  []op.Entry
	last topology.Seq
}

func (s *source) meetings() []meeting {
	return []meeting{
		{"holds the copy's place", s.entries[:30], 30},
		{"ends at the copy's place", s.entries[:copyAt], copyAt},
		{"ends before it", s.entries[:12], copyAt},
		{"ends with the state", s.entries[:oldAt], copyAt},
		{"goes another way before it", slices.Concat(s.entries[:oldAt], divergent(s.entries[oldAt:13])), copyAt},
		{"goes another way past it", slices.Concat(s.entries[:oldAt], divergent(s.entries[oldAt:30])), copyAt},
	}
}

// audit opens what is there: the old replica or the new one, whole.
func (s *source) audit(fsys vfs.FS, log []op.Entry, last topology.Seq) (isNew bool, err error) {
	p, err := s.open(fsys)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	at, digest := p.Reads.Digest()
	tail := p.Log.Tail()
	switch {
	case digest != s.digests[at]:
		return false, fmt.Errorf("digest at %d is %s", at, digest)
	case at == oldAt:
		if want := log[len(log)-1]; tail.Last != (core.Position{Term: want.Term, Seq: want.Seq}) {
			return false, fmt.Errorf("the old log ends at %+v, not %d", tail.Last, want.Seq)
		}
		i := 0
		return false, p.Log.Iterate(1, func(e op.Entry) error {
			if i++; !bytes.Equal(e.Body, log[i-1].Body) || e.Term != log[i-1].Term {
				return fmt.Errorf("entry %d differs", e.Seq)
			}
			return nil
		})
	case at != copyAt && at != copyAt+1:
		return false, fmt.Errorf("state at %d", at)
	}
	end := tail.Last.Seq
	if want := s.entries[end-1]; end != last && end != max(last, copyAt+1) || tail.Last != (core.Position{Term: want.Term, Seq: want.Seq}) {
		return true, fmt.Errorf("log ends at %+v, not %d", tail.Last, last)
	}
	if last == copyAt && fmt.Sprint(tail.History) != fmt.Sprint(s.history) {
		return true, fmt.Errorf("history %v, the source had %v", tail.History, s.history)
	}
	for _, name := range []string{newStateDir, filepath.Join(stateDir, installFile)} {
		if _, err := fsys.Stat(filepath.Join(s.home, name)); !errors.Is(err, fs.ErrNotExist) {
			return true, fmt.Errorf("%s is still there: %v", name, err)
		}
	}
	// It goes on as the source did.
	if err := p.Log.Append(s.entries[end:]); err != nil {
		return true, err
	}
	if _, err := p.Log.Sync(); err != nil {
		return true, err
	}
	if err := p.Engine.Apply(s.entries[at:]); err != nil {
		return true, err
	}
	if seq, d := p.Reads.Digest(); d != s.digests[logEnd] || seq != logEnd {
		return true, fmt.Errorf("after the rest of the log: digest %s at %d", d, seq)
	}
	if seq, _, err := p.Engine.Seen(s.entries[2].ID); seq != 3 || err != nil {
		return true, fmt.Errorf("an operation before the copy was seen at %d, %v", seq, err)
	}
	return true, nil
}

// TestInstall takes a copy to every kind of log, in memory and on a real disk.
func TestInstall(t *testing.T) {
	s := newSource(t)
	for _, c := range s.meetings() {
		mem := s.old(c.log)
		must(t, s.install(mem, func(string) {}))
		if isNew, err := s.audit(mem.StrictClone(), c.log, c.last); err != nil || !isNew {
			t.Errorf("%s: %v, %v", c.name, isNew, err)
		}
		real := newSource(t)
		real.home = t.TempDir()
		real.oldOn(vfs.OS(), c.log)
		must(t, real.install(vfs.OS(), func(string) {}))
		if isNew, err := real.audit(vfs.OS(), c.log, c.last); err != nil || !isNew {
			t.Errorf("%s, on a disk: %v, %v", c.name, isNew, err)
		}
	}
}

func TestCopyIsRefused(t *testing.T) {
	s := newSource(t)
	start := s.old(s.entries[:12])
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	flipped := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 4
		return b
	}
	for _, c := range []struct {
		name   string
		ctx    context.Context
		change func(s *source, from *replica.CopySource, fsys *memfs.FS)
		want   error
	}{
		{"not ahead", context.Background(), func(_ *source, from *replica.CopySource, _ *memfs.FS) { from.After = copyAt }, replica.ErrCopyOld},
		{"lacks what is committed here", context.Background(), func(_ *source, from *replica.CopySource, _ *memfs.FS) {
			from.Line = core.Line{History: []core.TermStart{{Term: topology.Term{Epoch: 99, Run: 1}, First: 1}}, Commit: 1}
		}, replica.ErrClash},
		{"cancelled", ended, func(*source, *replica.CopySource, *memfs.FS) {}, context.Canceled},
		{"cut short", context.Background(), func(s *source, _ *replica.CopySource, _ *memfs.FS) { s.body = s.body[:len(s.body)-9] }, shard.ErrCopy},
		{"nothing", context.Background(), func(s *source, _ *replica.CopySource, _ *memfs.FS) { s.body = nil }, shard.ErrCopy},
		{"flipped", context.Background(), func(s *source, _ *replica.CopySource, _ *memfs.FS) { s.body = flipped(s.body, len(s.body)/2) }, shard.ErrCopy},
		{"flipped head", context.Background(), func(s *source, _ *replica.CopySource, _ *memfs.FS) { s.head = flipped(s.head, 45) }, shard.ErrCopy},
		{"no history", context.Background(), func(s *source, _ *replica.CopySource, _ *memfs.FS) { s.history = nil }, errTerms},
		{"history of another", context.Background(), func(s *source, _ *replica.CopySource, _ *memfs.FS) { s.history = s.history[:1] }, errTerms},
		{"history out of order", context.Background(), func(s *source, _ *replica.CopySource, _ *memfs.FS) {
			s.history = []core.TermStart{s.history[1], s.history[0], s.history[2]}
		}, errTerms},
		{"no room", context.Background(), func(_ *source, _ *replica.CopySource, fsys *memfs.FS) {
			u, err := fsys.DiskUsage("/")
			must(t, err)
			fsys.SetCapacity(u.Used + spareRoom/2)
		}, replica.ErrNoSpace},
	} {
		mine, from, mem := *s, fromHere, start.StrictClone()
		c.change(&mine, &from, mem)
		p, err := mine.open(mem)
		must(t, err)
		if _, err := p.Copier.Fetch(c.ctx, from, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := mem.Stat(filepath.Join(home, newStateDir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something is left: %v", c.name, err)
		}
		must(t, p.Close())
		if isNew, err := s.audit(mem, s.entries[:12], 0); isNew || err != nil {
			t.Errorf("%s: the old replica: %v, %v", c.name, isNew, err)
		}
	}
	p, err := s.storage(nil).Open(start, home, assign(shard0, 3, topology.Partial, topology.Incarnation{}), core.Hard{Commit: oldAt})
	must(t, err)
	if _, err := p.Copier.Fetch(context.Background(), fromHere, nil); !errors.Is(err, errNoFetch) {
		t.Error(err)
	}
	must(t, p.Close())
}

// TestFateOfACopy: dropped or committed, once; progress is told on the way.
func TestFateOfACopy(t *testing.T) {
	s := newSource(t)
	mem := s.old(s.entries[:12])
	p, err := s.open(mem)
	must(t, err)
	var seen []replica.CopyProgress
	c, err := p.Copier.Fetch(context.Background(), fromHere, func(g replica.CopyProgress) { seen = append(seen, g) })
	must(t, err)
	if at := c.At(); at != (core.Position{Term: s.entries[copyAt-1].Term, Seq: copyAt}) {
		t.Errorf("at %+v", at)
	}
	last := seen[len(seen)-1]
	if last.Points != last.TotalPoints || last.Points == 0 || last.Bytes != uint64(len(s.body)) || last.TotalBytes < last.Bytes || len(seen) < 3 {
		t.Errorf("progress %+v", seen)
	}
	must(t, c.Drop())
	if err := c.Commit(); !errors.Is(err, errDecided) {
		t.Errorf("commit after drop: %v", err)
	}
	c, err = p.Copier.Fetch(context.Background(), fromHere, nil)
	must(t, err)
	must(t, c.Commit())
	if err := c.Drop(); !errors.Is(err, errDecided) {
		t.Errorf("drop after commit: %v", err)
	}
	if _, err := p.Copier.Fetch(context.Background(), fromHere, nil); !errors.Is(err, errNotFresh) {
		t.Errorf("another one over it: %v", err)
	}
	must(t, p.Close())
	if isNew, err := s.audit(mem, s.entries[:12], copyAt); err != nil || !isNew {
		t.Errorf("%v, %v", isNew, err)
	}
}

// TestLogAndStateDisagree: what no installation explains is refused, told apart from
// damage, and left as it is.
func TestLogAndStateDisagree(t *testing.T) {
	s := newSource(t)
	open := func(fsys vfs.FS, commit topology.Seq) error {
		p, err := s.storage(nil).Open(fsys, home, assign(shard0, 3, topology.Partial, topology.Incarnation{}), core.Hard{Commit: commit})
		if err == nil {
			must(t, p.Close())
		}
		return err
	}
	var damage *statefile.CorruptError

	mem := s.old(divergent(s.entries[:12]))
	if err := open(mem, 0); !errors.Is(err, errDisagree) || errors.As(err, &damage) {
		t.Errorf("another term at the state's place: %v", err)
	}
	mem = s.old(s.entries[:oldAt])
	must(t, errors.Join(mem.RemoveAll(filepath.Join(home, logDir)), vfs.SyncDir(mem, home)))
	if err := open(mem, 0); !errors.As(err, &damage) || errors.Is(err, errDisagree) {
		t.Errorf("a log that ends before the state: %v", err)
	}

	mem = s.old(slices.Concat(s.entries[:oldAt], divergent(s.entries[oldAt:30])))
	must(t, s.decide(mem, func(string) {}))
	for range 2 {
		if err := open(mem, copyAt); !errors.Is(err, errDisagree) {
			t.Errorf("a copy that contradicts a committed entry: %v", err)
		}
	}
	if err := open(mem, copyAt-1); err != nil {
		t.Errorf("the same when it was not committed: %v", err)
	}

	mem = s.old(s.entries[:12])
	must(t, s.decide(mem, func(string) {}))
	other := &install{at: oplog.Position{Term: s.entries[copyAt-1].Term, Seq: copyAt}, digest: point.Digest{A: 1}}
	must(t, other.mark(mem, home))
	if err := open(mem, 0); !errors.Is(err, errInstall) {
		t.Errorf("another state than was to be installed: %v", err)
	}
	for _, file := range []string{filepath.Join(newStateDir, installFile), filepath.Join(stateDir, installFile)} {
		mem = s.old(s.entries[:12])
		must(t, s.decide(mem, func(string) {}))
		if filepath.Dir(file) == stateDir {
			must(t, errors.Join(mem.RemoveAll(filepath.Join(home, stateDir)), mem.Rename(filepath.Join(home, newStateDir), filepath.Join(home, stateDir))))
		}
		f, err := mem.OpenReadWrite(filepath.Join(home, file))
		must(t, err)
		_, err = f.WriteAt([]byte{9}, 30)
		must(t, errors.Join(err, f.Close()))
		if err := open(mem, 0); !errors.As(err, &damage) || damage.File != filepath.Join(home, file) {
			t.Errorf("damaged %s: %v", file, err)
		}
	}
}
