package shard

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// files lists the segment files of a shard.
func segmentFiles(t testing.TB, fsys vfs.FS) []string {
	t.Helper()
	names, err := fsys.List(filepath.Join(dir, "segments"))
	ok(t, err)
	return names
}

// TestReplicasMakeEqualFiles: replicas that applied one log have equal files, however
// they took it: in pieces of any size, with restarts between, or as a copy.
func TestReplicasMakeEqualFiles(t *testing.T) {
	kinds := equalFiles(t, 20, options, func(rng *rand.Rand, l *ledger) {
		for range 30 + rng.IntN(60) {
			randomEntry(rng, l)
		}
	})
	if kinds[".ids"] < 20 {
		t.Errorf("files %v", kinds)
	}
}

// TestReplicasGrowEqualGraphs: the same of graphs, whichever of the parts that they are
// grown from a replica has made.
func TestReplicasGrowEqualGraphs(t *testing.T) {
	// No merge but those of the log is due: parts that are about to be merged get no graphs.
	with := func(fsys vfs.FS) Options {
		o := withGraphs(fsys)
		settings := o.Settings
		o.Settings = func(b []byte) (query.Settings, error) {
			s, err := settings(b)
			s.Optimizers = query.Optimizers{IndexingThresholdKB: 8, MaxSegmentKB: 1}
			return s, err
		}
		return o
	}
	kinds := equalFiles(t, 10, with, func(rng *rand.Rand, l *ledger) {
		points := 0
		for range 6 + rng.IntN(6) {
			n := 150 + rng.IntN(150)
			clouds(l, rng, points, n)
			points += n
			l.add(op.Op{Kind: op.Seal})
			for range rng.IntN(3) {
				l.add(l.merge(rng))
				switch one := rng.IntN(points); rng.IntN(12) { // a part that has it is no base any more
				case 0:
					l.add(op.Op{Kind: op.Delete, IDs: []topology.PointID{num(uint64(one))}})
				case 1:
					clouds(l, rng, one, 1)
				}
			}
		}
	})
	if kinds[".graph"] < 20 || kinds[".stages"] < 10 {
		t.Errorf("files %v", kinds)
	}
}

// equalFiles lets replicas apply one log after the other, each in its own way, and counts
// the files that they come to by their kind.
func equalFiles(t *testing.T, seeds uint64, with func(vfs.FS) Options, fill func(*rand.Rand, *ledger)) map[string]int {
	kinds := map[string]int{}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 21))
		l := newLedger()
		fill(rng, l)
		end := func(disk vfs.FS, s *Shard) []string {
			ok(t, s.Settle(ctx))
			_, err := s.Checkpoint()
			ok(t, err)
			return segmentFiles(t, disk)
		}
		diskA, diskB, diskC := memfs.New(), memfs.New(), memfs.New()
		a := open(t, with(diskA))
		l.catchUp(t, a)
		want := end(diskA, a)
		for _, name := range want {
			kinds[filepath.Ext(name)]++
		}

		b, err := Open(with(diskB))
		ok(t, err)
		copied := topology.Seq(0)
		for at := 0; at < len(l.entries); {
			to := min(len(l.entries), at+1+rng.IntN(9))
			ok(t, b.Apply(l.entries[at:to]))
			switch at = to; rng.IntN(6) {
			case 0:
				ok(t, b.Settle(ctx))
			case 1, 2:
				if rng.IntN(2) == 0 {
					_, err := b.Checkpoint()
					ok(t, err)
				}
				ok(t, b.Close())
				b, err = Open(with(diskB))
				ok(t, err)
				at = int(b.Applied().Seq)
			}
			if rng.IntN(12) == 0 { // what is under way travels, too
				head, body := export(t, b)
				ok(t, b.Close())
				diskB = memfs.New()
				ok(t, take(with(diskB), head, body, 1+rng.IntN(5000)))
				b, err = Open(with(diskB))
				ok(t, err)
				copied = b.Applied().Seq
			}
		}
		if got := end(diskB, b); !slices.Equal(got, want) {
			t.Fatalf("seed %d: files %v, want %v", seed, got, want)
		}
		l.check(t, a)
		alike(t, l, a, b, copied)
		head, body := export(t, b)
		ok(t, b.Close())
		ok(t, take(with(diskC), head, body, 1+rng.IntN(5000)))
		c := open(t, with(diskC))
		if got := end(diskC, c); !slices.Equal(got, want) {
			t.Fatalf("seed %d: files of a copy %v, want %v", seed, got, want)
		}
		alike(t, l, a, c, l.entries[len(l.entries)-1].Seq)
	}
	return kinds
}

// TestMergeIsDurable: once all is made, the files that were replaced are gone and a
// restart has nothing to make, though nobody calls Checkpoint.
func TestMergeIsDurable(t *testing.T) {
	disk := memfs.New()
	s := open(t, options(disk))
	l := newLedger()
	var made []topology.Seq
	for i := range 3 {
		l.add(op.Op{Kind: op.Upsert, Points: []op.Point{{ID: num(uint64(i)), Vectors: []op.Vector{{Data: []float32{1, float32(i)}}}}}})
		made = append(made, l.add(op.Op{Kind: op.Seal}).Seq)
		l.catchUp(t, s)
		ok(t, s.Settle(ctx))
	}
	l.add(op.Op{Kind: op.Merge, Parts: made})
	l.catchUp(t, s)
	ok(t, s.Settle(ctx))
	if files := segmentFiles(t, disk); len(files) != 6 {
		t.Errorf("files of one segment: %v", files)
	}
	again := open(t, options(disk.StrictClone()))
	l.check(t, again)
	if info := again.Info(); info.Pending != 0 || info.Segments != 2 {
		t.Errorf("after a restart %+v", info)
	}
}

// withGraphs are options under which segments of a few kB get graphs.
func withGraphs(fsys vfs.FS) Options {
	o := options(fsys)
	o.Schema = query.Schema{Vectors: []query.VectorSchema{{Name: "", Size: 16, Distance: query.Cosine}}}
	o.Settings = func(b []byte) (s query.Settings, err error) {
		s.Fields, err = fieldsOf(b)
		s.Optimizers = query.Optimizers{IndexingThresholdKB: 16, DeletedThreshold: 0.2, VacuumMinVectors: 100, SegmentNumber: 2}
		s.Vectors = []query.VectorSettings{{HNSW: query.HNSW{M: 8, EfConstruct: 64}}}
		if len(b) > 1 {
			s.Vectors[0].HNSW.M = int(b[1])
		}
		return s, err
	}
	return o
}

// clouds upserts points with unit vectors.
func clouds(l *ledger, rng *rand.Rand, from, n int) {
	var ps []op.Point
	for i := range n {
		ps = append(ps, op.Point{ID: num(uint64(from + i)), Vectors: []op.Vector{{Data: unit(rng)}}, Payload: fields("k", rng.IntN(5))})
	}
	l.add(op.Op{Kind: op.Upsert, Points: ps})
}

func unit(rng *rand.Rand) []float32 {
	v := make([]float32, 16)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	normalize(v)
	return v
}

// ask gives the ids of the nearest, by the indexes or exactly.
func ask(t testing.TB, s *Shard, v []float32, exact bool) (ids []topology.PointID, scores []float32) {
	t.Helper()
	got, err := s.Nearest(ctx, []query.Nearest{{Vector: v, Limit: 10, Params: query.Params{Exact: exact}}})
	ok(t, err)
	for _, h := range got[0] {
		ids, scores = append(ids, h.ID), append(scores, h.Score)
	}
	return ids, scores
}

// graphsOf counts the graphs of a shard.
func graphsOf(t testing.TB, fsys vfs.FS) (n int) {
	for _, name := range segmentFiles(t, fsys) {
		if filepath.Ext(name) == ".graph" {
			n++
		}
	}
	return n
}

// TestGraphs: segments get graphs by themselves; answers are near the exact ones and
// the same at two replicas; deletions and updates since are seen at once; a change
// of parameters makes the graphs anew.
func TestGraphs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	l := newLedger()
	for i := range 3 {
		clouds(l, rng, 1000*i, 1000)
		l.add(op.Op{Kind: op.Seal})
	}
	diskA, diskB := memfs.New(), memfs.New()
	a, b := open(t, withGraphs(diskA)), open(t, withGraphs(diskB))
	both := func() {
		t.Helper()
		l.catchUp(t, a)
		l.catchUp(t, b)
		for _, s := range []*Shard{a, b} {
			ok(t, s.Settle(ctx))
			_, err := s.Checkpoint()
			ok(t, err)
		}
		if fa, fb := segmentFiles(t, diskA), segmentFiles(t, diskB); !slices.Equal(fa, fb) {
			t.Fatalf("files %v and %v", fa, fb)
		}
		found, wanted := 0, 0
		for range 100 {
			v := unit(rng)
			exact, _ := ask(t, a, v, true)
			near, scores := ask(t, a, v, false)
			again, other := ask(t, b, v, false)
			if !slices.Equal(near, again) || !slices.Equal(scores, other) {
				t.Fatalf("replicas answer %v and %v", near, again)
			}
			wanted += len(exact)
			for _, id := range near {
				if slices.Contains(exact, id) {
					found++
				}
				if p := l.points[id]; p == nil || !p.Alive {
					t.Fatalf("%s is not alive", id)
				}
			}
		}
		if float64(found) < 0.95*float64(wanted) {
			t.Errorf("found %d of %d", found, wanted)
		}
	}
	both()
	if n := graphsOf(t, diskA); n == 0 {
		t.Fatal("no graph was made")
	}
	// Half of the points go, some move.
	for i := 0; i < 3000; i += 2 {
		l.add(op.Op{Kind: op.Delete, IDs: []topology.PointID{num(uint64(i))}})
	}
	clouds(l, rng, 1001, 1)
	both()
	// The optimizer has something to do: nobody is asked twice while it is done.
	for range 20 {
		if o, due := a.Due(); due {
			l.add(o)
			both()
		}
	}
	if info := a.Info(); info.Segments > 3 || info.Pending != 0 || points(t, a) != 1500 || info.Indexed[""] == 0 {
		t.Errorf("%+v, %d points", info, points(t, a))
	}
	before := segmentFiles(t, diskA)
	l.add(op.Op{Kind: op.Config, Revision: 9, Settings: []byte{0, 12}})
	both()
	if after := segmentFiles(t, diskA); slices.Equal(before, after) || graphsOf(t, diskA) == 0 {
		t.Errorf("files %v after the change of m, before %v", after, before)
	}
	ok(t, a.Close())
	a = open(t, withGraphs(diskA.StrictClone()))
	v := unit(rng)
	one, _ := ask(t, a, v, false)
	if other, _ := ask(t, b, v, false); !slices.Equal(one, other) {
		t.Errorf("after a restart %v, before %v", one, other)
	}
}

// TestUpgrade: a folder of the form before parts opens with everything in it.
func TestUpgrade(t *testing.T) {
	disk := memfs.New()
	l := history(60)
	o := options(disk)
	st, err := o.openStore()
	ok(t, err)
	b := st.NewBatch()
	var digest point.Digest
	for id, p := range l.points {
		v := p.AppendBinary(nil)
		d, _ := point.DigestOf(id, v, nil)
		digest = digest.Add(d)
		ok(t, b.Set(store.IDKey(nil, 0x01, id), v, nil))
		if !p.Settled() {
			ok(t, b.Set(store.IDKey(nil, store.OpenSpace, id), nil, nil))
		}
	}
	last := l.entries[len(l.entries)-1]
	m := store.Meta{Position: Position{Term: last.Term, Seq: last.Seq, HLC: l.clock.Last(), Mark: l.mark}, Digest: digest, Revision: l.config.Revision, Settings: l.config.Settings}
	v := m.AppendBinary(nil)
	v[0] = 2
	ok(t, b.Set(store.MetaKey(), v, nil))
	ok(t, errors.Join(st.Commit(b), st.Flush(), st.Close()))
	for range 2 {
		s, err := Open(o)
		ok(t, err)
		l.check(t, s)
		_, err = s.Checkpoint()
		ok(t, errors.Join(err, s.Close()))
	}
}
