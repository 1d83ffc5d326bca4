//go:build !race

// See fault_test.go for why these run without the race detector.
package shard

import (
	"errors"
	"math/rand/v2"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/manifest"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// gallery are options under which a segment of 2^14 points has artefacts of all kinds.
func gallery(fsys vfs.FS) Options {
	o := options(fsys)
	o.Schema = query.Schema{Vectors: []query.VectorSchema{
		{Name: "", Size: 16, Distance: query.Cosine}, {Name: "multi", Size: 2, Distance: query.Dot, Kind: query.Multi}, {Name: "sparse", Kind: query.Sparse, Distance: query.Dot},
	}}
	o.Settings = func(b []byte) (s query.Settings, err error) {
		s.Fields = []query.FieldIndex{{Key: "k", Type: query.IntegerField, Lookup: true, Range: true}}
		s.Optimizers = query.Optimizers{IndexingThresholdKB: 64}
		s.Vectors = []query.VectorSettings{{HNSW: query.HNSW{M: 4, EfConstruct: 8}, Quantization: query.Quantization{Kind: query.BinaryQuantization}}, {Name: "multi"}, {Name: "sparse"}}
		return s, err
	}
	return o
}

// furnish makes such a segment on a disk, and tells its artefacts and what it answers.
func furnish(t *testing.T) (disk *memfs.FS, artefacts []string, answers []any) {
	t.Helper()
	disk = memfs.New()
	l, rng := newLedger(), rand.New(rand.NewPCG(7, 7))
	for from := 0; from < 1<<14; from += 1 << 10 {
		var ps []op.Point
		for i := range 1 << 10 {
			p := op.Point{ID: num(uint64(from + i)), Vectors: []op.Vector{{Data: unit(rng)}}, Payload: fields("k", rng.IntN(50))}
			switch i % 16 {
			case 0:
				p.Vectors = append(p.Vectors, op.Vector{Name: "multi", Data: []float32{rng.Float32(), 1, rng.Float32(), 2}, Count: 2})
			case 1:
				p.Vectors = append(p.Vectors, op.Vector{Name: "sparse", Indices: []uint32{1, uint32(2 + i)}, Data: []float32{rng.Float32(), 1}})
			}
			ps = append(ps, p)
		}
		l.add(op.Op{Kind: op.Upsert, Points: ps})
	}
	l.add(op.Op{Kind: op.Seal})
	s, err := Open(gallery(disk))
	ok(t, err)
	ok(t, s.Apply(l.entries))
	for _, name := range settled(t, disk, s) {
		if slices.Contains([]string{".graph", ".codes", ".postings", ".multi", ".fields"}, path.Ext(name)) {
			artefacts = append(artefacts, name)
		}
	}
	if answers = quiz(t, s); len(artefacts) != 5 {
		t.Fatalf("artefacts %v", artefacts)
	}
	ok(t, s.Close())
	return disk, artefacts, answers
}

// quiz asks by all artefacts for what does not depend on their being there.
func quiz(t testing.TB, s *Shard) (out []any) {
	t.Helper()
	k := &filter.Filter{Must: []filter.Condition{filter.Match{Key: "k", Value: filter.Scalar{Kind: filter.IntScalar, Int: 3}}}}
	for _, q := range []query.Nearest{
		{Vector: slices.Repeat([]float32{0.25}, 16), Params: query.Params{Exact: true}},
		{Using: "multi", Vector: []float32{1, 0, 0, 1}, Count: 2}, {Using: "sparse", Vector: []float32{1, 2}, Indices: []uint32{1, 19}},
	} {
		for _, q.Filter = range []*filter.Filter{nil, k} {
			q.Limit = 10
			got, err := s.Nearest(ctx, []query.Nearest{q})
			ok(t, err)
			out = append(out, got[0])
		}
	}
	n, err := s.Count(ctx, query.Count{Filter: k})
	ok(t, err)
	return append(out, n)
}

// reports are the files that a shard told to be lost, and mended.
type reports struct {
	sync.Mutex
	lost, mended []string
}

func (r *reports) of(o Options) Options {
	o.Events.Lost = func(file string, _ error) { r.Lock(); defer r.Unlock(); r.lost = append(r.lost, filepath.Base(file)) }
	o.Events.Mended = func(file string) { r.Lock(); defer r.Unlock(); r.mended = append(r.mended, filepath.Base(file)) }
	return o
}

// TestLostArtefacts: whatever happens to the file of an artefact, the shard opens,
// answers right at once, and makes the same file again, once, also where nothing else is
// to be made. A restart finds all whole.
func TestLostArtefacts(t *testing.T) {
	whole, artefacts, answers := furnish(t)
	for _, name := range artefacts {
		file := path.Join(dir, "segments", name)
		want, err := vfs.ReadFile(whole, file)
		ok(t, err)
		size := int64(len(want))
		for what, spoil := range map[string]func(*memfs.FS) vfs.FS{
			"a bit of its header":   func(m *memfs.FS) vfs.FS { damage(t, m, file, 9, 0); return m },
			"a bit of its contents": func(m *memfs.FS) vfs.FS { damage(t, m, file, size/2, 3); return m },
			"a bit of its footer":   func(m *memfs.FS) vfs.FS { damage(t, m, file, size-5, 7); return m },
			"missing":               func(m *memfs.FS) vfs.FS { ok(t, m.Remove(file)); return m },
			"cut":                   func(m *memfs.FS) vfs.FS { cut(t, m, file, size/3); return m },
			"unreadable":            func(m *memfs.FS) vfs.FS { return unreadable(m, file, faultfs.KindRead) },
			"not to be opened":      func(m *memfs.FS) vfs.FS { return unreadable(m, file, faultfs.KindOpen) },
		} {
			for _, paused := range []bool{false, true} {
				var r reports
				disk := whole.StrictClone()
				o := r.of(gallery(spoil(disk)))
				if settings := o.Settings; paused {
					o.Settings = func(b []byte) (query.Settings, error) {
						s, err := settings(b)
						s.Optimizers.Threads = -1
						return s, err
					}
				}
				s, err := Open(o)
				if err != nil {
					t.Errorf("%s, %s: %v", name, what, err)
					continue
				}
				if got := quiz(t, s); !reflect.DeepEqual(got, answers) {
					t.Errorf("%s, %s: answers otherwise", name, what)
				}
				ok(t, s.Settle(ctx))
				got, err := vfs.ReadFile(disk, file)
				ok(t, err)
				if !slices.Equal(got, want) || len(r.lost) != 1 || r.lost[0] != name || !slices.Equal(r.lost, r.mended) || s.Info().Pending > 0 {
					t.Errorf("%s, %s: lost %v, mended %v, %+v", name, what, r.lost, r.mended, s.Info())
				}
				ok(t, s.Close())
				s, err = Open(r.of(gallery(disk.StrictClone())))
				ok(t, err)
				if got := quiz(t, s); !reflect.DeepEqual(got, answers) || len(r.lost) > 1 {
					t.Errorf("%s, %s: after a restart lost %v", name, what, r.lost)
				}
				ok(t, s.Close())
			}
		}
	}
}

func cut(t *testing.T, disk vfs.FS, file string, size int64) {
	t.Helper()
	f, err := disk.OpenReadWrite(file)
	ok(t, err)
	ok(t, errors.Join(f.Truncate(size), f.Close()))
}

// unreadable is a disk with dead sectors under a file, until another takes its name.
func unreadable(disk vfs.FS, file string, kind faultfs.Kind) vfs.FS {
	dead := true
	return faultfs.New(disk, func(o faultfs.Op) error {
		switch {
		case o.Path != file:
		case o.Kind == faultfs.KindRename:
			dead = false
		case dead && o.Kind == kind:
			return syscall.EIO
		}
		return nil
	})
}

// TestCrashesOfMending cuts the power before each change of the disk while all artefacts
// are made again. What is found then is right, and becomes the same files.
func TestCrashesOfMending(t *testing.T) {
	l := parts(6)
	whole := memfs.New()
	s, err := Open(derived(whole))
	ok(t, err)
	l.catchUp(t, s)
	want := settled(t, whole, s)
	ok(t, s.Close())
	rng := rand.New(rand.NewPCG(2, 2))
	spoilt := whole.StrictClone()
	hit := 0
	for _, name := range want {
		if ext := path.Ext(name); ext == ".graph" || ext == ".codes" || ext == ".postings" {
			file := path.Join(dir, "segments", name)
			if info, err := spoilt.Stat(file); err != nil || hit%4 == 3 {
				ok(t, errors.Join(err, spoilt.Remove(file)))
			} else {
				damage(t, spoilt, file, rng.Int64N(info.Size()), rng.IntN(8))
			}
			hit++
		}
	}
	ok(t, vfs.SyncDir(spoilt, path.Join(dir, "segments")))
	mend := func(disk vfs.FS) error {
		s, err := Open(derived(disk))
		if err != nil {
			return err
		}
		err = s.Settle(ctx)
		if err == nil {
			_, err = s.Checkpoint()
		}
		return errors.Join(err, s.Close())
	}
	all := faultfs.New(spoilt.StrictClone())
	ok(t, mend(all))
	tried := 0
	for n := 1; n <= all.Count(); n++ {
		mem := spoilt.StrictClone()
		var after []*memfs.FS
		faulty := faultfs.New(mem, faultfs.Crash(n, func() { after = append(after, mem.CrashClone(rng), mem.CrashClone(rng), mem.StrictClone()) }))
		if err := mend(faulty); after == nil {
			ok(t, err)
			continue
		}
		tried += count(path.Base(path.Dir(faulty.Last().Path)) == "segments")
		for i, disk := range after {
			s, err := Open(derived(disk))
			if err != nil {
				t.Fatalf("crash %d at %d (%v): %v", i, n, faulty.Last(), err)
			}
			l.check(t, s)
			if got := settled(t, disk, s); !slices.Equal(got, want) {
				t.Fatalf("crash %d at %d (%v): files %v, want %v", i, n, faulty.Last(), got, want)
			}
			ok(t, s.Close())
			for _, name := range want {
				a, erra := vfs.ReadFile(whole, path.Join(dir, "segments", name))
				b, errb := vfs.ReadFile(disk, path.Join(dir, "segments", name))
				if ok(t, errors.Join(erra, errb)); !slices.Equal(a, b) {
					t.Fatalf("crash %d at %d (%v): %s is another", i, n, faulty.Last(), name)
				}
			}
		}
	}
	t.Logf("%d artefacts, %d changes of the disk, crashed at %d in the segments", hit, all.Count(), tried)
	if hit < 3 || tried < 3*hit {
		t.Errorf("%d artefacts, crashed at %d", hit, tried)
	}
}

// TestMendingOnAFullDisk: what is lost is made again once there is room; reads go on.
func TestMendingOnAFullDisk(t *testing.T) {
	whole, artefacts, answers := furnish(t)
	i := slices.IndexFunc(artefacts, func(name string) bool { return path.Ext(name) == ".graph" })
	file := path.Join(dir, "segments", artefacts[i])
	disk := whole.StrictClone()
	damage(t, disk, file, 1000, 1)
	faulty := faultfs.New(disk)
	tried := make(chan bool, 1)
	faulty.SetRules(func(o faultfs.Op) error {
		if o.Kind == faultfs.KindWrite && strings.HasSuffix(o.Path, ".tmp") {
			select {
			case tried <- true:
			default:
			}
			return syscall.ENOSPC
		}
		return nil
	})
	s := open(t, gallery(faulty))
	<-tried
	if got := quiz(t, s); !reflect.DeepEqual(got, answers) || s.Err() != nil || s.Info().Pending != 1 {
		t.Errorf("on a full disk %v, %+v", s.Err(), s.Info())
	}
	faulty.SetRules()
	ok(t, s.Settle(ctx))
	a, err := vfs.ReadFile(whole, file)
	ok(t, err)
	if b, err := vfs.ReadFile(disk, file); err != nil || !slices.Equal(a, b) {
		t.Errorf("it was not made again: %v", err)
	}
}

// TestMendedOtherwise: an artefact that cannot be made again as it was condemns the
// replica: either its segment or this build is wrong.
func TestMendedOtherwise(t *testing.T) {
	whole, _, _ := furnish(t)
	for _, kind := range []segment.Kind{segment.KindGraph, segment.KindPostings} {
		disk := whole.StrictClone()
		o := gallery(disk)
		st, err := o.openStore()
		ok(t, err)
		var m manifest.Manifest
		ok(t, st.Record(store.ManifestKey(), func(v []byte) (err error) { m, err = manifest.Decode(v); return err }))
		as := m.Parts[0].Origin.Artefacts
		i := slices.IndexFunc(as, func(a manifest.Artefact) bool { return a.Kind == kind })
		as[i].Sum[0] ^= 1
		b := st.NewBatch()
		ok(t, b.Set(store.ManifestKey(), m.AppendBinary(nil), nil))
		ok(t, errors.Join(st.Commit(b), st.Flush(), st.Close()))
		s, err := Open(o)
		if err == nil {
			err = errors.Join(s.Settle(ctx), s.Close())
		}
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), as[i].FileName()) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestCopyWithoutLost: a copy is made beside an artefact that is gone, and brings what
// there is; its receiver makes the rest.
func TestCopyWithoutLost(t *testing.T) {
	whole, artefacts, answers := furnish(t)
	for _, name := range artefacts {
		disk := whole.StrictClone()
		ok(t, disk.Remove(path.Join(dir, "segments", name)))
		faulty := faultfs.New(disk)
		faulty.SetRules(func(o faultfs.Op) error { // so that it stays lost
			if o.Kind == faultfs.KindWrite && strings.HasSuffix(o.Path, ".tmp") && path.Ext(name) != ".postings" && path.Ext(name) != ".multi" {
				return syscall.ENOSPC
			}
			return nil
		})
		s, err := Open(gallery(faulty))
		ok(t, err)
		head, body := export(t, s)
		ok(t, s.Close())
		other := memfs.New()
		ok(t, take(gallery(other), head, body, 1<<16))
		c, err := Open(gallery(other))
		ok(t, err)
		if got := quiz(t, c); !reflect.DeepEqual(got, answers) {
			t.Errorf("without %s: the copy answers otherwise", name)
		}
		if got := settled(t, other, c); !slices.Contains(got, name) {
			t.Errorf("the copy did not make %s: %v", name, got)
		}
		ok(t, c.Close())
	}
}
