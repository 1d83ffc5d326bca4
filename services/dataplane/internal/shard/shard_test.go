package shard

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dir = "shard"

var ctx = context.Background()

func num(n uint64) topology.PointID { return topology.NumberID(n) }

func schema() query.Schema {
	return query.Schema{Vectors: []query.VectorSchema{{Name: "", Size: 2, Distance: query.Dot}, {Name: "img", Size: 3, Distance: query.Euclid}}}
}

func options(fs vfs.FS) Options {
	return Options{FS: fs, Dir: dir, Schema: schema(), Settings: settingsOf}
}

func open(t testing.TB, o Options) *Shard {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ok(t, s.Close()) })
	return s
}

func ok(t interface {
	Helper()
	Fatal(...any)
}, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fields builds a payload of integers (int), strings, lists and nested payloads.
func fields(kv ...any) payload.Doc {
	var b payload.Builder
	b.BeginObject()
	for i := 0; i < len(kv); i += 2 {
		b.Key(kv[i].(string))
		value(&b, kv[i+1])
	}
	b.End()
	d, err := b.Doc()
	if err != nil {
		panic(err)
	}
	return d
}

func value(b *payload.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.Null()
	case int:
		b.Int(int64(v))
	case string:
		b.Str(v)
	case payload.Doc:
		b.Value(v.Value())
	case []any:
		b.BeginList()
		for _, e := range v {
			value(b, e)
		}
		b.End()
	}
}

// ledger makes entries and keeps the fold of all of them, as a replica's log
// would: the reference for what a shard must hold.
type ledger struct {
	entries []op.Entry
	points  map[topology.PointID]*point.Point
	clock   op.Clock
	origin  topology.PeerID
	mark    point.Mark
	config  op.Op // the newest
	// keys are the vectors that there are; nil: dropped ones are not left out.
	keys func() []string
}

// trim leaves dropped vectors out of a point that is written.
func (l *ledger) trim(p *point.Point) {
	if l.keys != nil && l.config.Revision > 0 { // the settings name the vectors
		p.Vectors = slices.DeleteFunc(p.Vectors, func(v point.Vector) bool { return !slices.Contains(l.keys(), v.Name) })
	}
}

func newLedger() *ledger {
	return &ledger{points: map[topology.PointID]*point.Point{}, origin: 1}
}

func (l *ledger) add(o op.Op) op.Entry {
	n := len(l.entries) + 1
	return l.stamped(o, l.clock.Next(uint64(n)), op.ID{Request: [16]byte{1, byte(n), byte(n >> 8), byte(n >> 16)}, Part: op.LastPart})
}

func (l *ledger) stamped(o op.Op, h op.HLC, id op.ID) op.Entry {
	e := op.Entry{Term: topology.Term{Epoch: 1, Run: 1}, Seq: topology.Seq(len(l.entries) + 1), HLC: h, Origin: l.origin, ID: id, Body: o.Append(nil)}
	l.entries = append(l.entries, e)
	l.clock.Observe(h)
	point.Changes(&o, func(id topology.PointID, c point.Change) bool {
		p := l.points[id]
		if p == nil {
			p = &point.Point{ID: id}
		}
		if p.Apply(point.Stamp{HLC: h, Origin: l.origin}, c) != point.Lost {
			l.trim(p)
		}
		if !p.Blank() {
			l.points[id] = p
		}
		return true
	})
	if o.Kind == op.Floor {
		for id, p := range l.points {
			if !p.Settled() {
				l.trim(p)
			}
			if p.Fold(o.Floor) {
				delete(l.points, id)
			}
		}
	}
	if o.Kind == op.Config {
		l.config = o
	}
	if o.Kind == op.Mark {
		l.mark = point.Mark{Seq: e.Seq, Digest: l.digest()}
	}
	return e
}

func (l *ledger) digest() (d point.Digest) {
	for _, p := range l.points {
		one, _ := point.DigestOf(p.ID, p.AppendBinary(nil), nil)
		d = d.Add(one)
	}
	return d
}

// living are the visible points in the order of ids.
func (l *ledger) living() (out []*point.Point) {
	for _, p := range l.points {
		if p.Alive {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *point.Point) int { return a.ID.Compare(b.ID) })
	return out
}

func (l *ledger) catchUp(t testing.TB, s *Shard) {
	t.Helper()
	ok(t, s.Apply(l.entries[s.Applied().Seq:]))
	l.check(t, s)
}

// check holds everything that can be read against the fold.
func (l *ledger) check(t testing.TB, s *Shard) {
	t.Helper()
	seq, d := s.Digest()
	if int(seq) != len(l.entries) || d != l.digest() {
		t.Fatalf("digest at %d is %s, the fold of %d entries has %s", seq, d, len(l.entries), l.digest())
	}
	if m := s.Applied().Mark; m != l.mark {
		t.Fatalf("mark %+v, want %+v", m, l.mark)
	}
	all := query.Want{Payload: query.PayloadWant{All: true}, Vectors: true}
	got, next, err := s.Scroll(ctx, query.Scroll{Limit: len(l.points) + 1, Want: all})
	ok(t, err)
	want := l.living()
	if len(got) != len(want) || next != nil {
		t.Fatalf("scroll gives %d points (next %v), want %d", len(got), next, len(want))
	}
	for i, p := range want {
		same(t, got[i], p)
	}
	n, err := s.Count(ctx, query.Count{})
	ok(t, err)
	if int(n) != len(want) {
		t.Fatalf("count %d, want %d", n, len(want))
	}
	l.checkFields(t, s)
}

func same(t testing.TB, r query.Record, p *point.Point) {
	t.Helper()
	var vs []op.Vector
	for _, v := range p.Vectors {
		if v.Data != nil {
			vs = append(vs, op.Vector{Name: v.Name, Data: v.Data, Indices: v.Indices, Count: v.Count})
		}
	}
	if r.ID != p.ID || r.Version != uint64(p.Version()) || !slices.Equal(r.Payload, p.Payload) || fmt.Sprint(r.Vectors) != fmt.Sprint(vs) {
		t.Fatalf("record %+v, want %+v", r, p)
	}
}

func TestLifeOfAPoint(t *testing.T) {
	s := open(t, options(memfs.New()))
	l := newLedger()
	write := func(w Write) {
		t.Helper()
		ops, err := s.Resolve(ctx, &w)
		ok(t, err)
		for _, o := range ops {
			ok(t, s.Apply([]op.Entry{l.add(o)}))
		}
		l.check(t, s)
	}
	atOnce := func(w Write) {
		t.Helper()
		if ops, err := s.Resolve(ctx, &w); err != nil || len(ops) > 1 {
			t.Errorf("%d operations, %v: somebody could see half of it", len(ops), err)
		}
		write(w)
	}
	get := func(id uint64) string {
		t.Helper()
		rs, err := s.Get(ctx, query.Get{IDs: []topology.PointID{num(id)}, Want: query.Want{Payload: query.PayloadWant{All: true}, Vectors: true}})
		ok(t, err)
		if len(rs) == 0 {
			return "none"
		}
		out := ""
		for _, v := range rs[0].Vectors {
			out += fmt.Sprint(v.Name, v.Data, " ")
		}
		for k, v := range rs[0].Payload.All() {
			out += fmt.Sprint(k, "=", v.Int(), v.Str(), v.Len(), " ")
		}
		return out
	}
	vec := func(x float32) []op.Vector { return []op.Vector{{Name: "", Data: []float32{x, 1}}} }
	having := func(name string) *filter.Filter {
		return &filter.Filter{Must: []filter.Condition{filter.HasVector{Name: name}}}
	}
	img := []op.Vector{{Name: "img", Data: []float32{1, 2, 3}}}
	one := []topology.PointID{num(1)}
	for _, c := range []struct {
		name string
		w    Write
		want string
	}{
		{"upsert", Write{Kind: op.Upsert, Points: []op.Point{{ID: num(1), Vectors: vec(5), Payload: fields("a", 1, "b", "x")}}}, "[5 1] a=10 b=0x0 "},
		{"last of two wins", Write{Kind: op.Upsert, Points: []op.Point{{ID: num(1), Vectors: vec(6)}, {ID: num(1), Vectors: vec(7), Payload: fields("a", 2)}}}, "[7 1] a=20 "},
		{"insert only", Write{Kind: op.Upsert, Mode: InsertOnly, Points: []op.Point{{ID: num(1), Vectors: vec(8)}, {ID: num(2), Vectors: vec(8)}}}, "[7 1] a=20 "},
		{"update only", Write{Kind: op.Upsert, Mode: UpdateOnly, Points: []op.Point{{ID: num(1), Vectors: vec(9)}, {ID: num(3), Vectors: vec(9)}}}, "[9 1] "},
		{"upsert where", Write{Kind: op.Upsert, Filter: having("img"), Points: []op.Point{{ID: num(1), Vectors: vec(5)}, {ID: num(4), Vectors: vec(5)}}}, "[9 1] "},
		{"vectors where", Write{Kind: op.UpdateVectors, Filter: having("img"), Points: []op.Point{{ID: num(1), Vectors: vec(5)}}}, "[9 1] "},
		{"vectors where it holds", Write{Kind: op.UpdateVectors, Filter: having(""), Points: []op.Point{{ID: num(1), Vectors: vec(6)}}}, "[6 1] "},
		{"insert where", Write{Kind: op.Upsert, Mode: InsertOnly, Filter: having(""), Points: []op.Point{{ID: num(1), Vectors: vec(5)}, {ID: num(5), Vectors: vec(5)}}}, "[6 1] "},
		{"update where", Write{Kind: op.Upsert, Mode: UpdateOnly, Filter: having(""), Points: []op.Point{{ID: num(1), Vectors: vec(9)}, {ID: num(3), Vectors: vec(9)}}}, "[9 1] "},
		{"set", Write{Kind: op.SetPayload, IDs: append(one, num(1)), Payload: fields("a", 1, "l", []any{1, 2})}, "[9 1] a=10 l=02 "},
		{"nulls and values", Write{Kind: op.SetPayload, IDs: one, Payload: fields("a", nil, "q", 4, "zz", nil)}, "[9 1] l=02 q=40 "},
		{"and back", Write{Kind: op.SetPayload, IDs: one, Payload: fields("a", 1, "q", nil)}, "[9 1] a=10 l=02 "},
		{"null removes", Write{Kind: op.SetPayload, IDs: one, Payload: fields("l", nil, "c", 3)}, "[9 1] a=10 c=30 "},
		{"set under a path", Write{Kind: op.SetPayload, IDs: one, Path: "n.m", Payload: fields("x", 1, "y", 2)}, "[9 1] a=10 c=30 n=01 "},
		{"delete keys", Write{Kind: op.DeletePayload, IDs: one, Keys: []string{"a", "n.m.x", "zz", "zz.y"}}, "[9 1] c=30 n=01 "},
		{"more vectors", Write{Kind: op.UpdateVectors, Points: []op.Point{{ID: num(1), Vectors: vec(4)}, {ID: num(1), Vectors: img}}}, "[4 1] img[1 2 3] c=30 n=01 "},
		{"less vectors", Write{Kind: op.DeleteVectors, IDs: []topology.PointID{num(1), num(99)}, Keys: []string{""}}, "img[1 2 3] c=30 n=01 "},
		{"overwrite by filter", Write{Kind: op.OverwritePayload, Filter: having("img"), Payload: fields("o", nil)}, "img[1 2 3] o=00 "},
		{"clear", Write{Kind: op.ClearPayload, IDs: one}, "img[1 2 3] "},
		{"filter finds none", Write{Kind: op.Delete, Filter: &filter.Filter{Must: []filter.Condition{filter.HasID{}}}}, "img[1 2 3] "},
		{"delete", Write{Kind: op.Delete, IDs: []topology.PointID{num(1), num(77)}}, "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if atOnce(c.w); get(1) != c.want {
				t.Fatalf("got %q, want %q", get(1), c.want)
			}
		})
	}
	if get(2) == "none" || get(3) != "none" || get(4) == "none" || get(5) == "none" {
		t.Errorf("insert only: %s, %s; update only: %s; upsert where: %s", get(2), get(5), get(3), get(4))
	}
}

func TestResolveRefuses(t *testing.T) {
	s := open(t, options(memfs.New()))
	inf := float32(math.Inf(1))
	up := func(vs ...op.Vector) Write {
		return Write{Kind: op.Upsert, Points: []op.Point{{ID: num(1), Vectors: vs}}}
	}
	none := []topology.PointID{num(4)}
	for _, c := range []struct {
		name string
		w    Write
		want error
	}{
		{"dimension", up(op.Vector{Data: []float32{1}}), query.ErrVector},
		{"empty vector", up(op.Vector{}), query.ErrVector},
		{"vector name", up(op.Vector{Name: "x", Data: []float32{1, 2}}), ErrVectorName},
		{"infinity", up(op.Vector{Data: []float32{1, inf}}), ErrNotFinite},
		{"NaN", up(op.Vector{Data: []float32{1, inf - inf}}), ErrNotFinite},
		{"twice", up(op.Vector{Data: []float32{1, 2}}, op.Vector{Data: []float32{1, 2}}), ErrWrite},
		{"kind", Write{Kind: op.Floor}, ErrWrite},
		{"set", Write{Kind: op.SetPayload, IDs: none, Payload: fields("a", 1)}, ErrNoPoint},
		{"overwrite", Write{Kind: op.OverwritePayload, IDs: none}, ErrNoPoint},
		{"delete payload", Write{Kind: op.DeletePayload, IDs: none, Keys: []string{"a"}}, ErrNoPoint},
		{"clear", Write{Kind: op.ClearPayload, IDs: none}, ErrNoPoint},
		{"update vectors", Write{Kind: op.UpdateVectors, Points: []op.Point{{ID: num(4)}}}, ErrNoPoint},
		{"filter", Write{Kind: op.Delete, Filter: &filter.Filter{Must: []filter.Condition{filter.IsNull{Key: "a["}}}}, filter.ErrFilter},
		{"delete missing", Write{Kind: op.Delete, IDs: none}, nil},
		{"delete vectors of missing", Write{Kind: op.DeleteVectors, IDs: none, Keys: []string{""}}, nil},
	} {
		if _, err := s.Resolve(ctx, &c.w); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	l := newLedger()
	ok(t, s.Apply([]op.Entry{l.add(op.Op{Kind: op.Upsert, Points: []op.Point{{ID: num(4)}}})}))
	for _, w := range []Write{
		{Kind: op.SetPayload, IDs: none, Path: "a[", Payload: fields("a", 1)},
		{Kind: op.DeletePayload, IDs: none, Keys: []string{""}},
	} {
		if _, err := s.Resolve(ctx, &w); !errors.Is(err, payload.ErrPath) {
			t.Errorf("path: %v", err)
		}
	}
	if _, err := s.Resolve(ctx, &Write{Kind: op.DeleteVectors, IDs: none, Keys: []string{"x"}}); !errors.Is(err, ErrVectorName) {
		t.Errorf("vector name to delete: %v", err)
	}
	var dim *DimensionError
	if _, err := s.Nearest(ctx, []query.Nearest{{Using: "img", Vector: []float32{1}, Limit: 1}}); !errors.As(err, &dim) || dim.Want != 3 || dim.Got != 1 || dim.Name != "img" {
		t.Errorf("query of another dimension: %v", err)
	}
	if _, err := s.Nearest(ctx, []query.Nearest{{Using: "no", Vector: []float32{1}, Limit: 1}}); !errors.Is(err, ErrVectorName) {
		t.Errorf("query by an unknown name: %v", err)
	}
}

// A payload that grows by parts stops at its limit; one that is beyond it all
// the same, because sides that did not see each other added to it, is read again.
func TestPayloadThatGrows(t *testing.T) {
	o := options(memfs.New())
	s, err := Open(o)
	ok(t, err)
	l, one := newLedger(), []topology.PointID{num(1)}
	half := fields("a", strings.Repeat("x", payload.MaxSize/2))
	other := fields("b", strings.Repeat("x", payload.MaxSize/2))
	for _, e := range []op.Op{{Kind: op.Upsert, Points: []op.Point{{ID: num(1)}}}, {Kind: op.SetPayload, Groups: []op.Group{{IDs: one, Payload: half}}}} {
		ok(t, s.Apply([]op.Entry{l.add(e)}))
	}
	set := func(path filter.Key, d payload.Doc) error {
		_, err := s.Resolve(ctx, &Write{Kind: op.SetPayload, IDs: one, Path: path, Payload: d})
		return err
	}
	for _, path := range []filter.Key{"", "n"} {
		if err := set(path, other); !errors.Is(err, payload.ErrTooLarge) || !strings.Contains(err.Error(), "point 1") {
			t.Errorf("growing at %q: %v", path, err)
		}
		ok(t, set(path, fields("b", 1)))
	}
	ok(t, set("", half))
	ok(t, s.Apply([]op.Entry{l.add(op.Op{Kind: op.SetPayload, Groups: []op.Group{{IDs: one, Payload: other}}})}))
	_, err = s.Checkpoint()
	ok(t, errors.Join(err, s.Close()))
	l.check(t, open(t, o))
}

// TestCosine: W3a stores what was normalised; the zero vector stays.
func TestCosine(t *testing.T) {
	o := options(memfs.New())
	o.Schema = query.Schema{Vectors: []query.VectorSchema{{Name: "", Size: 2, Distance: query.Cosine}}}
	s := open(t, o)
	given := []float32{3, 4}
	ops, err := s.Resolve(ctx, &Write{Kind: op.Upsert, Points: []op.Point{
		{ID: num(1), Vectors: []op.Vector{{Data: given}}}, {ID: num(2), Vectors: []op.Vector{{Data: []float32{0, 0}}}}}})
	ok(t, err)
	if got := ops[0].Points[0].Vectors[0].Data; got[0] != 0.6 || got[1] != 0.8 || given[0] != 3 {
		t.Errorf("stored %v of %v", got, given)
	}
	if got := ops[0].Points[1].Vectors[0].Data; got[0] != 0 || got[1] != 0 {
		t.Errorf("zero vector became %v", got)
	}
}

func TestReads(t *testing.T) {
	s := open(t, options(memfs.New()))
	l := newLedger()
	var ps []op.Point
	for i := range uint64(50) {
		ps = append(ps, op.Point{ID: num(i * 2), Vectors: []op.Vector{{Name: "", Data: []float32{float32(i % 10), 0}}},
			Payload: fields("g", int(i%3), "n", fields("deep", int(i)))})
	}
	ok(t, s.Apply([]op.Entry{l.add(op.Op{Kind: op.Upsert, Points: ps})}))
	third := &filter.Filter{Must: []filter.Condition{filter.Match{Key: "g", Value: filter.Scalar{Kind: filter.IntScalar, Int: 1}}}}

	from := num(9)
	page, next, err := s.Scroll(ctx, query.Scroll{Filter: third, Offset: &from, Limit: 3})
	ok(t, err)
	if len(page) != 3 || page[0].ID != num(14) || page[2].ID != num(26) || next == nil || *next != num(32) {
		t.Errorf("page %+v, next %v", page, next)
	}
	if page[0].Payload != nil || page[0].Vectors != nil {
		t.Error("parts answered that were not asked for")
	}
	has := &filter.Filter{Must: []filter.Condition{filter.HasID{IDs: []topology.PointID{num(40), num(2), num(3)}}}}
	page, next, err = s.Scroll(ctx, query.Scroll{Filter: has, Limit: 5, Want: query.Want{Payload: query.PayloadWant{Include: []filter.Key{"n.deep"}}}})
	ok(t, err)
	if len(page) != 2 || page[1].ID != num(40) || next != nil || !slices.Equal(page[1].Payload, fields("n", fields("deep", 20))) {
		t.Errorf("page by ids %+v, next %v", page, next)
	}
	if n, err := s.Count(ctx, query.Count{Filter: third}); err != nil || n != 17 {
		t.Errorf("count %d, %v", n, err)
	}
	threshold := float32(9)
	hits, err := s.Nearest(ctx, []query.Nearest{
		{Vector: []float32{1, 0}, Limit: 3},
		{Vector: []float32{1, 0}, Limit: 100, ScoreThreshold: &threshold, Filter: third},
		{Using: "img", Vector: []float32{1, 0, 0}, Limit: 3},
		{Vector: []float32{1, 0}, Limit: 3, Filter: has},
	})
	ok(t, err)
	ids := func(ss []query.Scored) (out []uint64) {
		for _, h := range ss {
			out = append(out, h.ID.Number())
		}
		return out
	}
	for i, want := range [][]uint64{{18, 38, 58}, {38, 98}, nil, {2, 40}} {
		if !slices.Equal(ids(hits[i]), want) {
			t.Errorf("query %d: %v, want %v", i, ids(hits[i]), want)
		}
	}
	rs, err := s.Get(ctx, query.Get{IDs: []topology.PointID{num(8), num(5), num(0)}, Want: query.Want{VecNames: []string{""}}})
	ok(t, err)
	if len(rs) != 2 || rs[0].ID != num(8) || rs[1].Vectors[0].Data[0] != 0 {
		t.Errorf("get %+v", rs)
	}
	if _, err := s.Get(ctx, query.Get{Want: query.Want{VecNames: []string{"x"}}}); !errors.Is(err, ErrVectorName) {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Count(ended, query.Count{Filter: third}); !errors.Is(err, context.Canceled) {
		t.Errorf("count after the end: %v", err)
	}
	if info := s.Info(); points(t, s) != 50 || info.Segments != 1 || info.Pending != 0 || info.Failure != "" || s.Disk() == 0 {
		t.Errorf("info %+v", info)
	}
}

func TestDedupAndFloor(t *testing.T) {
	fs := memfs.New()
	s := open(t, options(fs))
	l := newLedger()
	ms := func(m int) op.HLC { return op.MakeHLC(uint64(m), 0) }
	const minute = 60_000
	client := op.ID{Request: [16]byte{1}, Index: op.ClientIndexBit, Part: op.LastPart}
	coordinator := op.ID{Request: [16]byte{2}, Part: op.LastPart}
	late := op.ID{Request: [16]byte{3}, Index: op.ClientIndexBit, Part: op.LastPart}
	up := op.Op{Kind: op.Upsert, Points: []op.Point{{ID: num(1), Payload: fields("a", 1)}}}
	set := op.Op{Kind: op.SetPayload, Groups: []op.Group{{IDs: []topology.PointID{num(1), num(2)}, Payload: fields("b", 1)}}}
	del := op.Op{Kind: op.Delete, IDs: []topology.PointID{num(1), num(3)}}
	l.stamped(up, ms(10*minute), client)
	l.stamped(set, ms(11*minute), coordinator)
	l.stamped(del, ms(30*minute), late)
	l.catchUp(t, s)
	seen := func(id op.ID) topology.Seq {
		t.Helper()
		seq, found, err := s.Seen(id)
		ok(t, err)
		if found != (seq != 0) {
			t.Fatal("found at 0")
		}
		return seq
	}
	if seen(client) != 1 || seen(coordinator) != 2 || seen(late) != 3 || seen(op.ID{}) != 0 {
		t.Fatal("dedup")
	}
	l.add(op.Op{Kind: op.Floor, Floor: ms(5 * minute)})
	l.catchUp(t, s)
	if seen(client) != 1 || seen(coordinator) != 0 || seen(late) != 3 {
		t.Error("D2a: a coordinator's id is kept for less long than a client's")
	}
	l.add(op.Op{Kind: op.Floor, Floor: ms(29 * minute)})
	l.catchUp(t, s)
	if seen(client) != 0 || seen(late) != 3 {
		t.Error("D2: dedup below floor stays")
	}
	l.add(op.Op{Kind: op.Config, Revision: 7, Settings: []byte("x")})
	l.add(op.Op{Kind: op.Floor, Floor: ms(60 * minute)})
	l.catchUp(t, s)
	if len(l.points) != 0 || l.digest() != (point.Digest{}) {
		t.Errorf("tombstones below floor stay: %v", l.points)
	}
	if p := s.Applied(); p.Floor != ms(60*minute) || p.HLC < ms(30*minute) || p.Epoch != 1 {
		t.Errorf("position %+v", p)
	}
	if rev, set := s.Config(); rev != 7 || string(set) != "x" {
		t.Errorf("config %d %q", rev, set)
	}
	if at, err := s.Checkpoint(); err != nil || int(at) != len(l.entries) {
		t.Errorf("checkpoint %d, %v", at, err)
	}
	ok(t, s.Close())
	again := open(t, options(fs.StrictClone()))
	l.check(t, again)
	if rev, _ := again.Config(); rev != 7 {
		t.Errorf("config %d after restart", rev)
	}
}

// The parts of an operation that lost its last one come again: they are forgotten
// by their own stamp, so that a copy, which has the entry only, forgets alike.
func TestPartsThatCameTwice(t *testing.T) {
	s := open(t, options(memfs.New()))
	l := newLedger()
	part := op.ID{Request: [16]byte{9}, Index: op.ClientIndexBit}
	up := op.Op{Kind: op.Upsert, Points: []op.Point{{ID: num(1)}}}
	l.stamped(up, op.MakeHLC(1000, 0), part)
	l.stamped(up, op.MakeHLC(9000, 0), part)
	l.add(op.Op{Kind: op.Floor, Floor: op.MakeHLC(5000, 0)})
	l.catchUp(t, s)
	if seq, _, err := s.Seen(part); seq != 2 || err != nil {
		t.Errorf("seen at %d, %v", seq, err)
	}
	l.add(op.Op{Kind: op.Floor, Floor: op.MakeHLC(9001, 0)})
	l.catchUp(t, s)
	if _, found, err := s.Seen(part); found || err != nil {
		t.Errorf("still seen, %v", err)
	}
}

func TestApplyRefuses(t *testing.T) {
	fs := memfs.New()
	s := open(t, options(fs))
	if _, err := Open(options(fs)); !errors.Is(err, ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	l := newLedger()
	a, b := l.add(op.Op{Kind: op.EpochStart}), l.add(op.Op{Kind: op.Delete, IDs: []topology.PointID{num(1)}})
	if err := s.Apply([]op.Entry{b}); !errors.Is(err, ErrGap) {
		t.Errorf("gap: %v", err)
	}
	ok(t, s.Apply([]op.Entry{a, b, a}))
	ok(t, s.Apply(l.entries))
	bad := op.Entry{Seq: 3, Body: []byte{1}}
	if err := s.Apply([]op.Entry{bad}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("broken entry: %v", err)
	}
	long := l.add(op.Op{Kind: op.Upsert, Points: []op.Point{{ID: num(1), Vectors: []op.Vector{{Data: []float32{1}}}}}})
	if err := s.Apply([]op.Entry{long}); !errors.Is(err, ErrCorrupt) || !errors.Is(err, query.ErrVector) {
		t.Errorf("vector that the schema does not allow: %v", err)
	}
	if s.Applied().Seq != 2 {
		t.Errorf("applied %d", s.Applied().Seq)
	}
	ok(t, s.Close())
	if err := s.Apply(nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := s.Checkpoint(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// history is a fixed list of entries with everything in it.
func history(n int) *ledger {
	rng := rand.New(rand.NewPCG(7, 7))
	l := newLedger()
	for range n {
		l.add(randomOp(rng, l))
	}
	return l
}

// merge joins some of the parts that seals and merges have made, or would have.
func (l *ledger) merge(rng *rand.Rand) op.Op {
	o := op.Op{Kind: op.Merge}
	for _, e := range l.entries {
		if (e.Body[1] == byte(op.Seal) || e.Body[1] == byte(op.Merge)) && rng.IntN(3) == 0 {
			o.Parts = append(o.Parts, e.Seq)
		}
	}
	return o
}

// randomOp is an operation over few points, so that they meet.
func randomOp(rng *rand.Rand, l *ledger) op.Op {
	id := func() topology.PointID {
		if rng.IntN(4) == 0 {
			return topology.UUIDID([16]byte{byte(rng.IntN(5)), 15: 1})
		}
		return num(uint64(rng.IntN(20)))
	}
	ids := func() (out []topology.PointID) {
		for range 1 + rng.IntN(3) {
			out = append(out, id())
		}
		return out
	}
	doc := func() payload.Doc {
		return fields("k", rng.IntN(5), "l", []any{rng.IntN(3), "s"}, fmt.Sprint("x", rng.IntN(3)), rng.IntN(9))
	}
	vectors := func() (out []op.Vector) {
		if rng.IntN(4) > 0 {
			out = append(out, op.Vector{Name: "", Data: []float32{float32(rng.IntN(9)), rng.Float32()}})
		}
		if rng.IntN(2) == 0 {
			out = append(out, op.Vector{Name: "img", Data: []float32{rng.Float32(), rng.Float32(), 1}})
		}
		return out
	}
	points := func(doc func() payload.Doc) (out []op.Point) {
		for range 1 + rng.IntN(4) {
			out = append(out, op.Point{ID: id(), Vectors: vectors(), Payload: doc()})
		}
		return out
	}
	switch rng.IntN(18) {
	case 17:
		return op.Op{Kind: op.EditPayload, Groups: []op.Group{{IDs: ids(), Payload: doc()}, {IDs: ids()}}, Names: []string{"y", "z"}}
	case 14, 15:
		return op.Op{Kind: op.Seal}
	case 16:
		return l.merge(rng)
	case 0, 1, 2, 3:
		return op.Op{Kind: op.Upsert, Points: points(doc)}
	case 4:
		return op.Op{Kind: op.Delete, IDs: ids()}
	case 5, 6:
		return op.Op{Kind: op.SetPayload, Groups: []op.Group{{IDs: ids(), Payload: doc()}}}
	case 7:
		return op.Op{Kind: op.OverwritePayload, Groups: []op.Group{{IDs: ids(), Payload: doc()}}}
	case 8:
		return op.Op{Kind: op.DeletePayload, IDs: ids(), Names: []string{"k", "x1"}}
	case 9:
		return op.Op{Kind: op.UpdateVectors, Points: points(func() payload.Doc { return nil })}
	case 10:
		return op.Op{Kind: op.DeleteVectors, IDs: ids(), Names: []string{"img"}}
	case 11:
		return op.Op{Kind: op.Mark}
	case 12:
		return randomConfig(rng, l)
	default:
		return op.Op{Kind: op.Floor, Floor: max(l.clock.Last(), op.MakeHLC(5, 0)) - op.MakeHLC(5, 0)}
	}
}

// TestModel: random operations, some re-proposed with old stamps, read back
// against the fold and, filtered and searched, against a scan of it.
func TestModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fs := memfs.New()
		o := options(fs)
		s, err := Open(o)
		ok(t, err)
		l := newLedger()
		for range 60 {
			if rng.IntN(5) == 0 && l.clock.Last() > op.MakeHLC(4, 0) {
				old := l.clock.Last() - op.MakeHLC(uint64(1+rng.IntN(3)), 0) + op.HLC(rng.IntN(1000)+1)
				l.origin = 2
				l.stamped(randomOp(rng, l), old, op.ID{Request: [16]byte{2, byte(len(l.entries))}, Part: op.LastPart})
				l.origin = 1
			} else {
				l.add(randomOp(rng, l))
			}
			if rng.IntN(3) == 0 {
				l.catchUp(t, s)
				l.search(t, s, rng)
			}
			if rng.IntN(20) == 0 {
				if rng.IntN(2) == 0 {
					_, err := s.Checkpoint()
					ok(t, err)
				}
				ok(t, s.Close())
				s, err = Open(o)
				ok(t, err)
				l.catchUp(t, s)
			}
		}
		l.catchUp(t, s)
		ok(t, s.Close())
	}
}

// search compares filtered reads with a scan of the fold.
func (l *ledger) search(t *testing.T, s *Shard, rng *rand.Rand) {
	t.Helper()
	k := int64(rng.IntN(5))
	f := &filter.Filter{Must: []filter.Condition{filter.Match{Key: "k", Value: filter.Scalar{Kind: filter.IntScalar, Int: k}}}}
	if rng.IntN(2) == 0 {
		f.MustNot = []filter.Condition{filter.HasVector{Name: "img"}}
	}
	v := []float32{rng.Float32(), rng.Float32()}
	var want []query.Scored
	n := 0
	for _, p := range l.living() {
		got, _ := p.Payload.Get("k")
		has := map[string][]float32{}
		for _, x := range p.Vectors {
			if x.Data != nil {
				has[x.Name] = x.Data
			}
		}
		if got.Kind() != payload.Integer || got.Int() != k || (f.MustNot != nil && has["img"] != nil) {
			continue
		}
		n++
		if x := has[""]; x != nil {
			want = append(want, query.Scored{Record: query.Record{ID: p.ID}, Score: x[0]*v[0] + x[1]*v[1]})
		}
	}
	slices.SortFunc(want, func(a, b query.Scored) int {
		if query.Less(query.Dot, a, b) {
			return -1
		}
		return 1
	})
	if got, err := s.Count(ctx, query.Count{Filter: f}); err != nil || int(got) != n {
		t.Fatalf("count %d, %v; want %d", got, err, n)
	}
	page, _, err := s.Scroll(ctx, query.Scroll{Filter: f, Limit: 1000})
	ok(t, err)
	if len(page) != n {
		t.Fatalf("scroll %d, want %d", len(page), n)
	}
	limit := 1 + rng.IntN(5)
	hits, err := s.Nearest(ctx, []query.Nearest{{Vector: v, Filter: f, Limit: limit}})
	ok(t, err)
	if len(hits[0]) != min(limit, len(want)) {
		t.Fatalf("%d hits, want %d of %d", len(hits[0]), limit, len(want))
	}
	for i, h := range hits[0] {
		if d := h.Score - want[i].Score; d > 1e-5 || d < -1e-5 {
			t.Fatalf("hit %d: score %v of %s, want %v of %s", i, h.Score, h.ID, want[i].Score, want[i].ID)
		}
	}
}

func normalize(v []float32) { kernel.Normalize(v) }

func points(t testing.TB, s *Shard) int {
	t.Helper()
	n, err := s.Count(ctx, query.Count{})
	ok(t, err)
	return int(n)
}
