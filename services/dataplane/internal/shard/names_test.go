package shard

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// namesOf reads the settings of these tests: of "d", "m" and "s" each 0 where there is
// none, else its generation and 1. A "d" of an odd generation is longer.
func namesOf(b []byte) (s query.Settings, err error) {
	if len(b) == 0 {
		return s, nil
	}
	s.Schema = []query.VectorSchema{{Name: "", Size: 2, Distance: query.Dot}}
	if b[0] > 0 {
		s.Schema = append(s.Schema, query.VectorSchema{Name: "d", Size: 2 + int(b[0]-1)%2, Distance: query.Euclid, Generation: uint64(b[0] - 1)})
	}
	if b[1] > 0 {
		s.Schema = append(s.Schema, query.VectorSchema{Name: "m", Size: 2, Distance: query.Dot, Kind: query.Multi, Generation: uint64(b[1] - 1)})
	}
	if b[2] > 0 {
		s.Schema = append(s.Schema, query.VectorSchema{Name: "s", Distance: query.Dot, Kind: query.Sparse, Generation: uint64(b[2] - 1)})
	}
	return s, nil
}

func naming(fsys vfs.FS) Options {
	o := options(fsys)
	o.Schema, o.Settings = query.Schema{Vectors: []query.VectorSchema{{Name: "", Size: 2, Distance: query.Dot}}}, namesOf
	return o
}

// shown are the vectors that a shard should show, by point and name.
type shown map[topology.PointID]map[string]op.Vector

// randomVectors are some of the vectors that the settings have.
func randomVectors(rng *rand.Rand, settings []byte) (out []op.Vector) {
	floats := func(n int) (out []float32) {
		for range n {
			out = append(out, float32(rng.IntN(9)))
		}
		return out
	}
	s, _ := namesOf(settings)
	for _, v := range s.Schema {
		switch {
		case rng.IntN(3) == 0:
		case v.Kind == query.Multi:
			out = append(out, op.Vector{Name: v.Name, Data: floats(4), Count: 2})
		case v.Kind == query.Sparse:
			out = append(out, op.Vector{Name: v.Name, Data: floats(2), Indices: []uint32{uint32(rng.IntN(5)), 9}})
		default:
			out = append(out, op.Vector{Name: v.Name, Data: floats(v.Size)})
		}
	}
	return out
}

// follow applies what is new, and compares the digest.
func follow(t testing.TB, l *ledger, s *Shard) {
	t.Helper()
	ok(t, s.Apply(l.entries[s.Applied().Seq:]))
	if _, d := s.Digest(); d != l.digest() {
		t.Fatalf("at %d the digest is %s, that of the fold %s", len(l.entries), d, l.digest())
	}
}

// named is a ledger of these settings.
func named() *ledger {
	l := newLedger()
	l.keys = func() (out []string) {
		s, _ := namesOf(l.config.Settings)
		for _, v := range s.Schema {
			out = append(out, v.Key())
		}
		return out
	}
	return l
}

// step adds something random to the log, as s resolves it, and to what should be shown.
func (m shown) step(t testing.TB, rng *rand.Rand, l *ledger, s *Shard, settings []byte) {
	w := &Write{Kind: op.Upsert}
	switch n := rng.IntN(10); {
	case n < 6:
		for range 1 + rng.IntN(6) {
			p := op.Point{ID: num(uint64(rng.IntN(40))), Vectors: randomVectors(rng, settings)}
			w.Points = append(w.Points, p)
			m[p.ID] = map[string]op.Vector{}
			for _, v := range p.Vectors {
				m[p.ID][v.Name] = v
			}
		}
	case n < 8 && len(m) > 0:
		w.Kind = op.UpdateVectors
		ids := slices.SortedFunc(maps.Keys(m), topology.PointID.Compare)
		id := ids[rng.IntN(len(ids))]
		w.Points = []op.Point{{ID: id, Vectors: randomVectors(rng, settings)}}
		for _, v := range w.Points[0].Vectors {
			m[id][v.Name] = v
		}
	case n == 8:
		w.Kind, w.Keys = op.DeleteVectors, []string{"", "d", "m", "s"}[:1]
		for range 3 {
			id := num(uint64(rng.IntN(40)))
			if w.IDs = append(w.IDs, id); m[id] != nil {
				delete(m[id], "")
			}
		}
	default:
		id := num(uint64(rng.IntN(40)))
		w.Kind, w.IDs = op.Delete, []topology.PointID{id}
		delete(m, id)
	}
	ops, err := s.Resolve(ctx, w)
	ok(t, err)
	for _, o := range ops {
		l.add(o)
	}
}

// check compares what s shows.
func (m shown) check(t testing.TB, s *Shard, settings []byte) {
	t.Helper()
	schema, _ := namesOf(settings)
	ids := slices.SortedFunc(maps.Keys(m), topology.PointID.Compare)
	got, err := s.Get(ctx, query.Get{IDs: ids, Want: query.Want{Vectors: true}})
	if ok(t, err); len(got) != len(ids) || points(t, s) != len(ids) {
		t.Fatalf("%d of %d points are there", len(got), len(ids))
	}
	for _, r := range got {
		have := map[string]op.Vector{}
		for _, v := range r.Vectors {
			have[v.Name] = v
		}
		if want := fmt.Sprint(m[r.ID]); fmt.Sprint(have) != want {
			t.Fatalf("point %s has %v, want %s", r.ID, have, want)
		}
	}
	for _, v := range schema.Schema {
		var want []topology.PointID
		for _, id := range ids {
			if _, has := m[id][v.Name]; has {
				want = append(want, id)
			}
		}
		n, err := s.Count(ctx, query.Count{Filter: &filter.Filter{Must: []filter.Condition{filter.HasVector{Name: v.Name}}}})
		if ok(t, err); n != uint64(len(want)) {
			t.Fatalf("%d points have %q, want %d", n, v.Name, len(want))
		}
		if v.Kind == query.Sparse {
			continue // finds those only that share an index
		}
		q := query.Nearest{Using: v.Name, Vector: make([]float32, v.Size), Limit: 99}
		if v.Kind == query.Multi {
			q.Count = 1
		}
		hits, err := s.Nearest(ctx, []query.Nearest{q})
		ok(t, err)
		var found []topology.PointID
		for _, h := range hits[0] {
			found = append(found, h.ID)
		}
		if slices.SortFunc(found, topology.PointID.Compare); !slices.Equal(found, want) {
			t.Fatalf("a search of %q finds %v, want %v", v.Name, found, want)
		}
	}
}

// TestVectorNames: vectors are added, dropped and added again, with another size, under
// points that come and go, seals, merges, restarts and old operations. What a replica
// shows and what it counts as its digest follow from the log alone, though one has left
// the dropped vectors out of its segments and another has not yet.
func TestVectorNames(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 9))
		l, m, settings := named(), shown{}, []byte{0, 0, 0}
		diskA, diskB := memfs.New(), memfs.New()
		a, b := open(t, naming(diskA)), open(t, naming(diskB))
		generation := byte(0)
		for range 120 {
			switch n := rng.IntN(12); {
			case n < 7:
				m.step(t, rng, l, a, settings)
			case n == 7:
				l.add(op.Op{Kind: op.Seal})
			case n == 8:
				var parts []topology.Seq
				for _, n := range partNumbers(a) {
					if rng.IntN(2) == 0 {
						parts = append(parts, n)
					}
				}
				l.add(op.Op{Kind: op.Merge, Parts: parts})
			case n == 9 && rng.IntN(2) == 0:
				l.add(op.Op{Kind: op.Floor, Floor: l.clock.Last() - op.MakeHLC(uint64(rng.IntN(20)), 0)})
			case n == 9: // of a vector that is there no more, if it ever was
				l.stamped(op.Op{Kind: op.UpdateVectors, Points: []op.Point{{ID: num(uint64(rng.IntN(40))), Vectors: []op.Vector{{Name: "d\x0099", Data: []float32{1}}}}}},
					l.clock.Next(1), op.ID{})
			default:
				settings = slices.Clone(settings)
				if which := rng.IntN(3); settings[which] > 0 {
					settings[which] = 0
					generation++
					for id := range m {
						delete(m[id], []string{"d", "m", "s"}[which])
					}
				} else {
					settings[which] = generation + 1
				}
				l.add(op.Op{Kind: op.Config, Revision: uint64(len(l.entries)) + 1, Settings: settings})
			}
			follow(t, l, a)
			if rng.IntN(4) == 0 {
				ok(t, a.Settle(ctx))
			}
			if m.check(t, a, settings); rng.IntN(9) == 0 {
				_, err := b.Checkpoint()
				ok(t, err)
				ok(t, b.Close())
				b = open(t, naming(diskB))
				follow(t, l, b)
				m.check(t, b, settings)
			}
		}
		// One that makes all segments at the end makes the same files.
		diskC, diskD := memfs.New(), memfs.New()
		d := open(t, naming(diskD))
		follow(t, l, d)
		for _, s := range []*Shard{a, d} {
			ok(t, s.Settle(ctx))
			_, err := s.Checkpoint()
			ok(t, err)
		}
		if want, got := segmentFiles(t, diskA), segmentFiles(t, diskD); !slices.Equal(got, want) {
			t.Fatalf("seed %d: files %v, want %v", seed, got, want)
		}
		head, body := export(t, a)
		ok(t, take(naming(diskC), head, body, 100))
		c := open(t, naming(diskC))
		if m.check(t, c, settings); digestOf(c) != digestOf(a) {
			t.Fatalf("seed %d: a copy's digest is %s, not %s", seed, digestOf(c), digestOf(a))
		}
		again := open(t, naming(diskA.StrictClone()))
		follow(t, l, again)
		m.check(t, again, settings)
	}
}

func digestOf(s *Shard) string {
	_, d := s.Digest()
	return d.String()
}

// TestDroppedVectorIsFreed: what a dropped vector took goes with the next merge, which
// a part that mostly consists of it is due for.
func TestDroppedVectorIsFreed(t *testing.T) {
	disk := memfs.New()
	o := naming(disk)
	o.Settings = func(b []byte) (query.Settings, error) {
		s, err := namesOf(b)
		s.Optimizers = query.Optimizers{DeletedThreshold: 0.2, VacuumMinVectors: 100}
		return s, err
	}
	s := open(t, o)
	l := named()
	l.add(op.Op{Kind: op.Config, Revision: 1, Settings: []byte{1, 0, 0}})
	var ps []op.Point
	for i := range uint64(1000) {
		ps = append(ps, op.Point{ID: num(i), Vectors: []op.Vector{{Name: "", Data: []float32{1, 2}}, {Name: "d", Data: []float32{float32(i), 1}}}})
	}
	l.add(op.Op{Kind: op.Upsert, Points: ps})
	l.add(op.Op{Kind: op.Seal})
	follow(t, l, s)
	ok(t, s.Settle(ctx))
	_, is := s.Digest()
	if i := s.Info(); i.Points != 1000 || i.VectorBytes < 2*64*1000 || i.VectorBytes > 2*65*1000 {
		t.Errorf("%+v", i)
	}
	if o, due := s.Due(); due {
		t.Fatalf("%v is due though nothing was dropped", o)
	}
	before := s.Disk()
	l.add(op.Op{Kind: op.Config, Revision: 2, Settings: []byte{0, 0, 0}})
	follow(t, l, s)
	if i := s.Info(); i.VectorBytes < 64*1000 || i.VectorBytes > 65*1000 {
		t.Errorf("once it is dropped %+v", i)
	}
	merge, due := s.Due()
	if !due || merge.Kind != op.Merge || len(merge.Parts) != 1 {
		t.Fatalf("due is %v, %v", merge, due)
	}
	l.add(merge)
	follow(t, l, s)
	ok(t, s.Settle(ctx))
	// A row takes 64 bytes, and leaves a digest of 16.
	if after := s.Disk(); after+40*1000 > before {
		t.Errorf("%d bytes after the merge, %d before", after, before)
	}
	if o, due := s.Due(); due {
		t.Errorf("%v is due once more", o)
	}
	if _, now := s.Digest(); now != is {
		t.Errorf("the digest has become %s, it was %s", now, is)
	}
	// A point that is written again counts as it is now.
	l.add(op.Op{Kind: op.SetPayload, Groups: []op.Group{{IDs: []topology.PointID{num(5)}, Payload: fields("k", 1)}}})
	follow(t, l, s)
	again := open(t, Options{FS: disk.StrictClone(), Dir: dir, Schema: o.Schema, Settings: o.Settings})
	follow(t, l, again)
	if digestOf(again) != digestOf(s) {
		t.Errorf("after a restart the digest is %s, not %s", digestOf(again), digestOf(s))
	}
}

// TestVectorNamesBesideReads: whoever reads while vectors come and go gets an answer of
// one state, or is told that there is no such vector.
func TestVectorNamesBesideReads(t *testing.T) {
	s := open(t, naming(memfs.New()))
	l := named()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for _, using := range []string{"", "d", "m", "s"} {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				q := query.Nearest{Using: using, Vector: []float32{1, 1}, Limit: 5, Want: query.Want{Vectors: true}}
				switch using {
				case "m":
					q.Count = 1
				case "s":
					q.Indices = []uint32{1, 9}
				}
				_, err := s.Nearest(ctx, []query.Nearest{q})
				if err == nil {
					_, err = s.Get(ctx, query.Get{IDs: []topology.PointID{num(1), num(2)}, Want: query.Want{VecNames: []string{using}}})
				}
				if err == nil {
					_, _, err = s.Frequencies(ctx, query.Frequencies{Using: "s", Indices: []uint32{1}})
				}
				s.Info()
				if err != nil && !errors.Is(err, ErrVectorName) && !errors.Is(err, query.ErrVector) { // none, or of another size
					t.Errorf("%q: %v", using, err)
					return
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(5, 6))
	m, settings := shown{}, []byte{0, 0, 0}
	for i := range 300 {
		switch i % 6 {
		case 3:
			l.add(op.Op{Kind: op.Seal})
		case 4:
			settings = slices.Clone(settings)
			if which := rng.IntN(3); settings[which] > 0 {
				settings[which] = 0
			} else {
				settings[which] = byte(1 + i/2)
			}
			l.add(op.Op{Kind: op.Config, Revision: uint64(len(l.entries)) + 1, Settings: settings})
		case 5:
			if o, due := s.Due(); due {
				l.add(o)
			}
		default:
			m.step(t, rng, l, s, settings)
		}
		follow(t, l, s)
	}
	close(stop)
	readers.Wait()
	ok(t, s.Settle(ctx))
}
