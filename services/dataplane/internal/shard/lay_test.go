package shard

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
	"pgregory.net/rapid"
)

// laidSchema reads the settings of these tests, a vector name to a byte: 0 where there is
// none, else its generation and 1. The index bits come first.
func laidSchema(b []byte) (s query.Settings, err error) {
	if s.Fields, err = fieldsOf(b); len(b) < 4 {
		return s, err
	}
	s.Schema = []query.VectorSchema{{Name: "", Size: 2, Distance: query.Dot}}
	for i, v := range []query.VectorSchema{{Name: "img", Size: 3, Distance: query.Euclid}, {Name: "m", Size: 2, Distance: query.Dot, Kind: query.Multi},
		{Name: "s", Distance: query.Dot, Kind: query.Sparse}} {
		if b[1+i] > 0 {
			v.Generation = uint64(b[1+i] - 1)
			s.Schema = append(s.Schema, v)
		}
	}
	return s, err
}

func laidOptions(fsys vfs.FS) Options {
	o := options(fsys)
	o.Settings = laidSchema
	return o
}

// scene is a log, the operations that are laid over its fold, and the shards that have
// to show it: a has both, c the log alone.
type scene struct {
	rapid.TB
	*ledger
	settings   []byte
	generation byte
	now        uint64 // ms
	count      uint64
	laid       []op.Entry
	disks      [2]*memfs.FS
	a, c       *Shard
}

func newScene(t rapid.TB) *scene {
	s := &scene{TB: t, ledger: newLedger(), settings: []byte{0}, now: 1000, disks: [2]*memfs.FS{memfs.New(), memfs.New()}}
	s.open()
	return s
}

func (s *scene) open() {
	for i, x := range []**Shard{&s.a, &s.c} {
		var err error
		*x, err = Open(laidOptions(s.disks[i]))
		ok(s, err)
	}
}

func (s *scene) close() {
	for _, x := range []*Shard{s.a, s.c} {
		_, err := x.Checkpoint()
		ok(s, errors.Join(err, x.Close()))
	}
}

// stamp is one that no other entry has, a little off the clock.
func (s *scene) stamp(rng *rand.Rand) op.HLC {
	s.count++
	return op.MakeHLC(s.now-20+uint64(rng.IntN(25)), uint16(s.count))
}

func (s *scene) vectors(rng *rand.Rand) (out []op.Vector) {
	schema, _ := laidSchema(s.settings)
	if schema.Schema == nil {
		schema.Schema = options(nil).Schema.Vectors
	}
	floats := func(n int) (out []float32) {
		for range n {
			out = append(out, float32(rng.IntN(7)-2))
		}
		return out
	}
	for _, v := range schema.Schema {
		x := op.Vector{Name: v.Key(), Data: floats(v.Size)}
		switch {
		case rng.IntN(3) == 0:
			continue
		case v.Kind == query.Multi:
			x.Data, x.Count = floats(4), 2
		case v.Kind == query.Sparse:
			x.Data, x.Indices = floats(2), []uint32{uint32(rng.IntN(5)), 9}
		}
		out = append(out, x)
	}
	return out
}

// operation is one of a client, over few points.
func (s *scene) operation(rng *rand.Rand) op.Op {
	var ids []topology.PointID
	for range 1 + rng.IntN(4) {
		ids = append(ids, num(uint64(rng.IntN(24))))
	}
	doc := func() payload.Doc {
		return fields("k", rng.IntN(4), "l", []any{rng.IntN(3), "s"}, fmt.Sprint("x", rng.IntN(3)), rng.IntN(9))
	}
	points := func(doc func() payload.Doc) (out []op.Point) {
		for _, id := range ids {
			out = append(out, op.Point{ID: id, Vectors: s.vectors(rng), Payload: doc()})
		}
		return out
	}
	switch rng.IntN(14) {
	case 0, 1:
		return op.Op{Kind: op.Delete, IDs: ids}
	case 2:
		return op.Op{Kind: op.SetPayload, Groups: []op.Group{{IDs: ids, Payload: doc()}}}
	case 3:
		return op.Op{Kind: op.OverwritePayload, Groups: []op.Group{{IDs: ids, Payload: doc()}}}
	case 4:
		return op.Op{Kind: op.DeletePayload, IDs: ids, Names: []string{"k", "x1"}}
	case 5:
		return op.Op{Kind: op.ClearPayload, IDs: ids}
	case 6:
		return op.Op{Kind: op.EditPayload, Groups: []op.Group{{IDs: ids, Payload: doc()}}, Names: []string{"y"}}
	case 7, 8:
		return op.Op{Kind: op.UpdateVectors, Points: points(func() payload.Doc { return nil })}
	case 9:
		return op.Op{Kind: op.DeleteVectors, IDs: ids, Names: []string{"", "img"}[rng.IntN(2):]}
	default:
		return op.Op{Kind: op.Upsert, Points: points(doc)}
	}
}

// log adds an entry that both apply.
func (s *scene) log(o op.Op, h op.HLC, id op.ID) {
	e := s.stamped(o, h, id)
	ok(s, s.a.Apply([]op.Entry{e}))
	ok(s, s.c.Apply([]op.Entry{e}))
}

func (s *scene) id() op.ID {
	s.count++
	return op.ID{Request: [16]byte{7, byte(s.count), byte(s.count >> 8)}, Part: op.LastPart}
}

// lay lays some operations, and some again.
func (s *scene) lay(rng *rand.Rand) {
	var es []op.Entry
	for range 1 + rng.IntN(3) {
		o := s.operation(rng)
		es = append(es, op.Entry{HLC: s.stamp(rng), Origin: topology.PeerID(2 + rng.IntN(2)), ID: s.id(), Body: o.Append(nil)})
	}
	s.laid = append(s.laid, es...)
	if rng.IntN(3) == 0 {
		again := s.laid[rng.IntN(len(s.laid))]
		again.HLC += 1 << 20 // an id that is laid is not laid again
		es = append(es, again, op.Entry{Body: (&op.Op{Kind: op.EpochStart}).Append(nil)})
	}
	ok(s, s.a.Lay(es))
}

// lift takes some of the operations out, n at most.
func (s *scene) lift(rng *rand.Rand, n int) {
	ids := []op.ID{{Request: [16]byte{9}}} // nobody laid it
	for range min(n, len(s.laid)) {
		i := rng.IntN(len(s.laid))
		ids = append(ids, s.laid[i].ID)
		s.laid = slices.Delete(s.laid, i, i+1)
	}
	ok(s, s.a.Lift(ids))
}

// config changes indexes and which vectors there are.
func (s *scene) config(rng *rand.Rand) {
	next := []byte{byte(rng.IntN(32)), 0, 0, 0}
	for i := 1; i < 4; i++ {
		switch old := s.settings; {
		case len(old) < 4 || old[i] == 0 && rng.IntN(3) > 0:
			s.generation++
			next[i] = s.generation + 1
		case rng.IntN(3) > 0:
			next[i] = old[i]
		}
	}
	s.settings = next
	s.log(op.Op{Kind: op.Config, Revision: uint64(len(s.entries)) + 1, Settings: next}, s.stamp(rng), op.ID{})
}

// floor is below all that can still come.
func (s *scene) floor() {
	h := op.MakeHLC(s.now-40, 0)
	for _, e := range s.laid {
		h = min(h, e.HLC)
	}
	s.log(op.Op{Kind: op.Floor, Floor: h}, op.MakeHLC(s.now, 0), op.ID{})
}

// commit logs an operation that is laid, as its primary would, and lifts it or not yet.
func (s *scene) commit(rng *rand.Rand) {
	if len(s.laid) == 0 {
		return
	}
	i := rng.IntN(len(s.laid))
	e := s.laid[i]
	e.Term, e.Seq = topology.Term{Epoch: 1, Run: 1}, topology.Seq(len(s.entries)+1)
	s.entries = append(s.entries, e)
	ok(s, s.a.Apply([]op.Entry{e}))
	ok(s, s.c.Apply([]op.Entry{e}))
	if rng.IntN(2) == 0 {
		s.laid = slices.Delete(s.laid, i, i+1)
		ok(s, s.a.Lift([]op.ID{e.ID}))
	}
}

func (s *scene) step(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 4))
	s.now++
	switch n := rng.IntN(32); {
	case n < 10:
		s.log(s.operation(rng), s.stamp(rng), s.id())
	case n < 18:
		s.lay(rng)
	case n < 20:
		s.lift(rng, 2)
	case n == 20:
		s.lift(rng, len(s.laid))
	case n < 23:
		s.commit(rng)
	case n < 25:
		s.log(op.Op{Kind: op.Seal}, s.stamp(rng), op.ID{})
	case n == 25:
		s.log(s.merge(rng), s.stamp(rng), op.ID{})
	case n < 28:
		s.config(rng)
	case n == 28:
		s.floor()
	case n == 29:
		s.close()
		s.open()
		ok(s, s.a.Lay(s.laid))
	default:
		ok(s, errors.Join(s.a.Settle(ctx), s.c.Settle(ctx)))
	}
}

// check compares a with one that applied the laid operations, in any order, behind the
// log, and its stored state with c.
func (s *scene) check(seed uint64) {
	b, err := Open(laidOptions(memfs.New()))
	ok(s, err)
	defer func() { ok(s, b.Close()) }()
	es := slices.Clone(s.entries)
	laid := slices.Clone(s.laid)
	rand.New(rand.NewPCG(seed, 5)).Shuffle(len(laid), func(i, j int) { laid[i], laid[j] = laid[j], laid[i] })
	for _, e := range laid {
		e.Term, e.Seq = topology.Term{Epoch: 1, Run: 1}, topology.Seq(len(es)+1)
		es = append(es, e)
	}
	ok(s, b.Apply(es[:len(s.entries)]))
	made := seed%3 == 0
	if made {
		ok(s, errors.Join(s.a.Settle(ctx), b.Settle(ctx)))
	}
	ok(s, b.Apply(es[len(s.entries):]))
	got, want := s.reads(s.a), s.reads(b)
	for i := range want {
		if !reflect.DeepEqual(got[i].answer, want[i].answer) {
			s.Fatalf("%d entries, %d laid: %s:\n%+v\nwant\n%+v", len(s.entries), len(s.laid), want[i].name, got[i].answer, want[i].answer)
		}
	}
	if made { // dead rows are counted until then
		q := query.Frequencies{Using: "s", Indices: []uint32{0, 1, 9}}
		n, each, err := s.a.Frequencies(ctx, q)
		m, all, wrong := b.Frequencies(ctx, q)
		if n != m || !slices.Equal(each, all) || (err == nil) != (wrong == nil) {
			s.Fatalf("frequencies %d %v, want %d %v", n, each, m, all)
		}
	}
	s.estimates(b)
	seq, digest := s.a.Digest()
	if at, d := s.c.Digest(); at != seq || d != digest || !reflect.DeepEqual(s.a.Applied(), s.c.Applied()) {
		s.Fatalf("digest %s at %d, without the overlay %s at %d", digest, seq, d, at)
	}
}

// estimates of counts lie between the counts and those of a shard whose dead rows are
// counted until they are merged.
func (s *scene) estimates(b *Shard) {
	if s.settings[0]&1 == 0 {
		return
	}
	f := probes()[0]
	ask := func(x *Shard, approx bool) uint64 {
		n, err := x.Count(ctx, query.Count{Filter: f, Approx: approx})
		ok(s, err)
		return n
	}
	if about, exact, most := ask(s.a, true), ask(b, false), ask(b, true); about < exact || about > most {
		s.Fatalf("about %d, of %d or %d", about, exact, most)
	}
}

type read struct {
	name   string
	answer any
}

// reads are answers of all kinds.
func (s *scene) reads(x *Shard) (out []read) {
	add := func(name string, answers ...any) {
		for i := range answers {
			if err, is := answers[i].(error); is {
				answers[i] = err.Error()
			}
		}
		out = append(out, read{name, answers})
	}
	all := query.Want{Payload: query.PayloadWant{All: true}, Vectors: true}
	var ids []topology.PointID
	for i := range uint64(26) {
		ids = append(ids, num(25-i))
	}
	records, err := x.Get(ctx, query.Get{IDs: ids, Want: all})
	add("get", records, err)
	revision, held := x.Fields()
	add("fields", revision, held)
	add("points", x.Info().Points)
	for i, f := range append(probes(), nil) {
		name := fmt.Sprint("probe ", i)
		n, err := x.Count(ctx, query.Count{Filter: f})
		add(name+" count", n, err)
		offset := num(5)
		page, next, err := x.Scroll(ctx, query.Scroll{Filter: f, Limit: 4, Offset: &offset, Want: all})
		add(name+" scroll", page, next, err)
		page, _, err = x.Scroll(ctx, query.Scroll{Filter: f, Limit: 4, Sample: new(uint64(7))})
		add(name+" sample", page, err)
		for _, key := range []string{"k", "x0"} {
			page, _, err = x.Scroll(ctx, query.Scroll{Filter: f, Limit: 5, Order: &query.Order{Key: key, Desc: i%2 == 0}})
			add(name+" by "+key, page, err)
		}
		hits, err := x.Facet(ctx, query.Facet{Key: "k", Filter: f})
		add(name+" facet", hits, err)
		for _, w := range []Write{{Kind: op.Delete, Filter: f}, {Kind: op.SetPayload, Filter: f, Path: "n.o", Payload: fields("x", 1)}} {
			ops, err := x.Resolve(ctx, &w)
			add(name+" resolve", ops, err)
		}
		for _, q := range []query.Nearest{{Vector: []float32{1, 2}}, {Using: "img", Vector: []float32{1, 0, 2}}, {Using: "m", Vector: []float32{1, 0, 0, 1}, Count: 2},
			{Using: "s", Vector: []float32{1, -2, 0.5}, Indices: []uint32{0, 4, 9}}} {
			q.Filter, q.Limit, q.Want = f, 7, all
			qs := []query.Nearest{q}
			if i%4 == 0 {
				for _, r := range indextest.Rankings(s, examplesOf(q)) {
					ranked := q
					ranked.Rank = r.Rank
					qs = append(qs, ranked)
				}
			}
			hits, err := x.Nearest(ctx, qs)
			add(name+" nearest "+q.Using, hits, err)
		}
		points, each, err := x.Frequencies(ctx, query.Frequencies{Using: "s", Indices: []uint32{0, 9}, Corpus: corpusOf(f)})
		add(name+" frequencies", points, each, err)
	}
	return out
}

// corpusOf is a corpus that is never all points.
func corpusOf(f *filter.Filter) *filter.Filter {
	if f == nil {
		return &filter.Filter{Must: []filter.Condition{filter.HasVector{Name: "s"}}}
	}
	return f
}

func (s *scene) files() (out [2][]string) {
	for i, x := range []*Shard{s.a, s.c} {
		ok(s, x.Settle(ctx))
		_, err := x.Checkpoint()
		ok(s, err)
		names, err := s.disks[i].List(dir + "/segments")
		ok(s, err)
		out[i] = names
	}
	return out
}

// TestLay: reads show the operations that are laid as if they had been applied behind the
// log, whatever their order and whatever happens below, and what is stored does not
// change by a bit.
func TestLay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newScene(t)
		defer func() { ok(t, errors.Join(s.a.Close(), s.c.Close())) }()
		for _, seed := range rapid.SliceOfN(rapid.Uint64(), 1, 60).Draw(t, "steps") {
			s.step(seed)
			s.check(seed)
		}
		if files := s.files(); !slices.Equal(files[0], files[1]) {
			t.Fatalf("files %v, without the overlay %v", files[0], files[1])
		}
		if a, c := s.a.apply.manifest.AppendBinary(nil), s.c.apply.manifest.AppendBinary(nil); !slices.Equal(a, c) {
			t.Fatal("the manifests differ")
		}
		s.lift(rand.New(rand.NewPCG(1, 1)), len(s.laid))
		if s.a.state.Overlay != nil {
			t.Fatal("an overlay without operations")
		}
		s.check(1)
	})
}

// laying is operations as a replica keeps them.
type laying struct {
	clock op.Clock
	count uint32
}

func (l *laying) entry(o op.Op) op.Entry {
	l.count++
	return op.Entry{HLC: l.clock.Next(1 << 30), Origin: 2, ID: op.ID{Request: [16]byte{3}, Index: l.count, Part: op.LastPart}, Body: o.Append(nil)}
}

// TestLayOverGraphs: what is laid over points that a graph finds takes their place in
// searches by the graph, filtered or not.
func TestLayOverGraphs(t *testing.T) {
	a, b := open(t, withGraphs(memfs.New())), open(t, withGraphs(memfs.New()))
	rng, l := rand.New(rand.NewPCG(1, 2)), newLedger()
	l.add(op.Op{Kind: op.Config, Revision: 1, Settings: []byte{1}})
	for i := range 3 {
		clouds(l, rng, 1000*i, 1000)
		l.add(op.Op{Kind: op.Seal})
	}
	clouds(l, rng, 3000, 100)
	for _, s := range []*Shard{a, b} {
		ok(t, s.Apply(l.entries))
		ok(t, s.Settle(ctx))
	}
	var w laying
	var es []op.Entry
	for range 100 {
		ids := []topology.PointID{num(uint64(rng.IntN(3100))), num(uint64(rng.IntN(3100)))}
		es = append(es, w.entry(op.Op{Kind: op.Delete, IDs: ids}),
			w.entry(op.Op{Kind: op.Upsert, Points: []op.Point{{ID: num(uint64(rng.IntN(3300))), Vectors: []op.Vector{{Data: unit(rng)}}, Payload: fields("k", rng.IntN(5))}}}),
			w.entry(op.Op{Kind: op.SetPayload, Groups: []op.Group{{IDs: []topology.PointID{num(uint64(rng.IntN(3100)))}, Payload: fields("k", 1)}}}))
	}
	ok(t, a.Lay(es))
	for i, e := range es {
		e.Seq = topology.Seq(len(l.entries) + i + 1)
		ok(t, b.Apply([]op.Entry{e}))
	}
	if a.Info().Indexed[""] == 0 {
		t.Fatal("no graph was made")
	}
	found, wanted := 0, 0
	for i := range 150 {
		q := query.Nearest{Vector: unit(rng), Limit: 10, Params: query.Params{Exact: true}}
		if i%3 > 0 {
			q.Filter = probes()[0]
		}
		want, err := b.Nearest(ctx, []query.Nearest{q})
		ok(t, err)
		exact, err := a.Nearest(ctx, []query.Nearest{q})
		ok(t, err)
		if !reflect.DeepEqual(exact, want) {
			t.Fatalf("query %d: %v, want %v", i, exact, want)
		}
		q.Params.Exact = false
		near, err := a.Nearest(ctx, []query.Nearest{q})
		ok(t, err)
		seen := map[topology.PointID]bool{}
		for _, h := range near[0] {
			if slices.ContainsFunc(want[0], func(x query.Scored) bool { return reflect.DeepEqual(x, h) }) {
				found++
			}
			if seen[h.ID] {
				t.Fatalf("query %d: %s twice", i, h.ID)
			}
			seen[h.ID] = true
		}
		wanted += len(want[0])
	}
	if float64(found) < 0.95*float64(wanted) {
		t.Errorf("found %d of %d", found, wanted)
	}
}

// TestLaidOutlivesParts: what is kept of a stored point does not lie in the memory of its
// part, which goes when that is merged.
func TestLaidOutlivesParts(t *testing.T) {
	o := kinds(vfs.OS())
	o.Dir = t.TempDir() + "/shard"
	s := open(t, o)
	l, one := newLedger(), []topology.PointID{num(1)}
	v := op.Vector{Name: "sparse", Indices: []uint32{1, 7}, Data: []float32{3, 4}}
	var parts []topology.Seq
	for i := range uint64(2) {
		l.add(op.Op{Kind: op.Upsert, Points: []op.Point{{ID: num(i), Vectors: []op.Vector{v}, Payload: fields("a", 1)}}})
		parts = append(parts, l.add(op.Op{Kind: op.Seal}).Seq)
	}
	ok(t, s.Apply(l.entries))
	ok(t, s.Settle(ctx))
	var w laying
	set, more := w.entry(op.Op{Kind: op.SetPayload, Groups: []op.Group{{IDs: one, Payload: fields("b", 2)}}}), w.entry(op.Op{Kind: op.SetPayload, Groups: []op.Group{{IDs: one, Payload: fields("c", 3)}}})
	ok(t, s.Lay([]op.Entry{set, more}))
	l.add(op.Op{Kind: op.Merge, Parts: parts})
	ok(t, s.Apply(l.entries))
	ok(t, s.Settle(ctx))
	_, err := s.Checkpoint()
	ok(t, errors.Join(err, s.Lift([]op.ID{more.ID})))
	got, err := s.Get(ctx, query.Get{IDs: one, Want: query.Want{Vectors: true, Payload: query.PayloadWant{All: true}}})
	ok(t, err)
	if want := []query.Record{{ID: num(1), Version: uint64(set.HLC), Payload: fields("a", 1, "b", 2), Vectors: []op.Vector{v}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestLayRefuses(t *testing.T) {
	s := open(t, options(memfs.New()))
	var w laying
	up := func(v ...float32) op.Entry {
		return w.entry(op.Op{Kind: op.Upsert, Points: []op.Point{{ID: num(1), Vectors: []op.Vector{{Data: v}}}}})
	}
	good, bad := up(1, 2), up(1, 2)
	bad.Body = bad.Body[:len(bad.Body)-1]
	for _, e := range []op.Entry{bad, up(1, 2, 3)} {
		if err := s.Lay([]op.Entry{good, e}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("laid: %v", err)
		}
		if points(t, s) != 0 || s.state.Overlay != nil {
			t.Error("half of the operations are laid")
		}
	}
	if err := s.Lay([]op.Entry{up(1, 2, 3)}); !errors.Is(err, query.ErrVector) {
		t.Errorf("a vector that the schema does not allow: %v", err)
	}
	ok(t, s.Lay([]op.Entry{good, good}))
	if points(t, s) != 1 {
		t.Errorf("%d points", points(t, s))
	}
	ok(t, s.Close())
	if err := errors.Join(s.Lay(nil), s.Lift(nil)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestReadersBesideLay: every read sees whole operations, laid, lifted or applied, and
// each point once, while parts are sealed and merged below. Each operation writes the
// same number into all points.
func TestReadersBesideLay(t *testing.T) {
	s := open(t, options(memfs.New()))
	l := newLedger()
	const points = 64
	write := func(n int) op.Op {
		o := op.Op{Kind: op.Upsert}
		for i := range uint64(points) {
			o.Points = append(o.Points, op.Point{ID: num(i), Vectors: []op.Vector{{Data: []float32{float32(n), 1}}}, Payload: fields("n", n)})
		}
		return o
	}
	ok(t, s.Apply([]op.Entry{l.add(write(0))}))
	var ids []topology.PointID
	for i := range uint64(points) {
		ids = append(ids, num(i))
	}
	all := query.Want{Payload: query.PayloadWant{All: true}, Vectors: true}
	reads := []func() ([]query.Record, error){
		func() ([]query.Record, error) {
			rs, _, err := s.Scroll(ctx, query.Scroll{Limit: 2 * points, Want: all})
			return rs, err
		},
		func() (rs []query.Record, err error) {
			hits, err := s.Nearest(ctx, []query.Nearest{{Vector: []float32{1, 0}, Limit: 2 * points, Want: all}})
			for _, list := range hits {
				for _, h := range list {
					rs = append(rs, h.Record)
				}
			}
			return rs, err
		},
		func() ([]query.Record, error) { return s.Get(ctx, query.Get{IDs: ids, Want: all}) },
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for _, read := range reads {
		wg.Go(func() {
			for !stop.Load() {
				rs, err := read()
				if err != nil || len(rs) != points {
					t.Errorf("%d records, %v", len(rs), err)
					return
				}
				for _, r := range rs {
					n, _ := r.Payload.Get("n")
					if r.Version != rs[0].Version || string(r.Payload) != string(rs[0].Payload) || r.Vectors[0].Data[0] != float32(n.Int()) {
						t.Errorf("torn: %+v beside %+v", r, rs[0])
						return
					}
				}
			}
		})
	}
	var laid []op.Entry
	var parts []topology.Seq
	for n := 1; n <= 80; n++ {
		e := l.add(write(n))
		l.entries = l.entries[:len(l.entries)-1]
		laid = append(laid, e)
		ok(t, s.Lay([]op.Entry{e}))
		if n%3 == 0 { // one of those that are laid comes in the log, among others
			x := laid[n%len(laid)]
			x.Seq = s.Applied().Seq + 1
			ok(t, s.Apply([]op.Entry{x, {Seq: x.Seq + 1, Body: (&op.Op{Kind: op.Seal}).Append(nil)}}))
			parts = append(parts, x.Seq+1)
		}
		if n%5 == 0 {
			ok(t, s.Lift([]op.ID{laid[0].ID, laid[len(laid)-1].ID}))
			laid = laid[1 : len(laid)-1]
		}
		if n%16 == 0 {
			ok(t, s.Apply([]op.Entry{{Seq: s.Applied().Seq + 1, Body: (&op.Op{Kind: op.Merge, Parts: parts}).Append(nil)}}))
			parts = []topology.Seq{s.Applied().Seq}
		}
	}
	stop.Store(true)
	wg.Wait()
	ok(t, s.Settle(ctx))
}

// BenchmarkLaid: a search of 100,000 points in a segment without a graph, in one with a
// graph, and in a tail, with nothing and with 1,000 operations laid.
func BenchmarkLaid(b *testing.B) {
	const n, dim = 100_000, 100
	rng := rand.New(rand.NewPCG(1, 1))
	entries := random(n, dim, rng)
	vector := func() (v []float32) {
		for range dim {
			v = append(v, rng.Float32())
		}
		return v
	}
	q := query.Nearest{Vector: vector(), Limit: 10}
	for _, where := range []string{"tail", "plain", "graph"} {
		o := benchOptions(vfs.OS(), dim)
		o.Dir = b.TempDir() + "/shard"
		o.Settings = func([]byte) (s query.Settings, err error) {
			s.Vectors = []query.VectorSettings{{HNSW: query.HNSW{M: 16, EfConstruct: 100}}}
			if s.Optimizers.IndexingThresholdKB = 1 << 30; where == "graph" {
				s.Optimizers.IndexingThresholdKB = 1000
			}
			return s, nil
		}
		s, err := Open(o)
		ok(b, err)
		ok(b, s.Apply(entries))
		if where != "tail" {
			ok(b, s.Apply([]op.Entry{{Seq: s.Applied().Seq + 1, Body: (&op.Op{Kind: op.Seal}).Append(nil)}}))
			ok(b, s.Settle(ctx))
		}
		search := func(b *testing.B) {
			for b.Loop() {
				_, err := s.Nearest(ctx, []query.Nearest{q})
				ok(b, err)
			}
		}
		b.Run(where+"/nothing", search)
		var w laying
		var es []op.Entry
		for range 1000 {
			es = append(es, w.entry(op.Op{Kind: op.Upsert, Points: []op.Point{{ID: num(uint64(rng.IntN(n))), Vectors: []op.Vector{{Data: vector()}}}}}))
		}
		ok(b, s.Lay(es))
		b.Run(where+"/1000", search)
		b.Run(where+"/one more and away", func(b *testing.B) {
			e := w.entry(op.Op{Kind: op.Delete, IDs: []topology.PointID{num(77)}})
			for b.Loop() {
				ok(b, s.Lay([]op.Entry{e}))
				ok(b, s.Lift([]op.ID{e.ID}))
			}
		})
		ok(b, s.Close())
	}
}
