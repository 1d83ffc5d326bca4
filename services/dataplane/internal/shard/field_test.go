package shard

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// fieldsOf reads the settings of these tests: a bit set of the indexes below in
// the first byte.
func fieldsOf(settings []byte) (out []query.FieldIndex, err error) {
	for i, f := range []query.FieldIndex{
		{Key: "k", Type: query.IntegerField, Lookup: true, Range: true}, {Key: "l", Type: query.KeywordField}, {Key: "l[]", Type: query.IntegerField, Lookup: true},
		{Key: "x0", Type: query.FloatField}, {Key: "x1", Type: query.IntegerField, Range: true},
	} {
		if len(settings) > 0 && settings[0]&(1<<i) != 0 {
			out = append(out, f)
		}
	}
	if len(settings) > 0 && settings[0] == 0xFF {
		err = errors.New("unreadable")
	}
	return out, err
}

func settingsOf(settings []byte) (out query.Settings, err error) {
	out.Fields, err = fieldsOf(settings)
	return out, err
}

func randomConfig(rng *rand.Rand, l *ledger) op.Op {
	return op.Op{Kind: op.Config, Revision: uint64(len(l.entries)) + 1, Settings: []byte{byte(rng.IntN(32))}}
}

// plain is a point of the fold as a filter sees it.
type plain struct{ *point.Point }

func (p plain) ID() topology.PointID { return p.Point.ID }
func (p plain) Payload() payload.Doc { return p.Point.Payload }
func (p plain) HasVector(name string) bool {
	return slices.ContainsFunc(p.Vectors, func(v point.Vector) bool { return v.Name == name && v.Data != nil })
}

// probes are filters of all forms over what randomOp writes.
func probes() []*filter.Filter {
	number := func(n int64) filter.Scalar { return filter.Scalar{Kind: filter.IntScalar, Int: n} }
	two := 2.0
	k := filter.Match{Key: "k", Value: number(1)}
	s := filter.Match{Key: "l", Value: filter.Scalar{Kind: filter.StringScalar, Str: "s"}}
	x := filter.Range{Key: "x0", GTE: &two}
	return []*filter.Filter{
		{Must: []filter.Condition{k}}, {Must: []filter.Condition{s, x}}, {Should: []filter.Condition{k, x}}, {MustNot: []filter.Condition{s, k}},
		{Must: []filter.Condition{filter.Range{Key: "x1", LT: &two}, filter.MatchAny{Key: "l[]", Values: []filter.Scalar{number(0), number(2)}}}},
		{Must: []filter.Condition{filter.IsEmpty{Key: "x1"}}, MustNot: []filter.Condition{filter.HasVector{Name: "img"}}},
		{Must: []filter.Condition{filter.HasID{IDs: []topology.PointID{num(3), num(1), num(99)}}, x}},
		{MinShould: &filter.MinShould{Conditions: []filter.Condition{k, s, x}, Count: 2}},
	}
}

// checkFields holds what is indexed and every filtered read against the fold.
func (l *ledger) checkFields(t testing.TB, s *Shard) {
	t.Helper()
	want, err := fieldsOf(l.config.Settings)
	ok(t, err)
	revision, points := s.Fields()
	var keys []string
	for _, f := range want {
		keys = append(keys, f.Key)
	}
	if got := slices.Sorted(maps.Keys(points)); revision != l.config.Revision || !slices.Equal(got, keys) {
		t.Fatalf("revision %d with indexes on %v, want %d with %v", revision, got, l.config.Revision, keys)
	}
	for i, f := range probes() {
		m, err := filter.Compile(f)
		ok(t, err)
		var ids []topology.PointID
		for _, p := range l.living() {
			if m.Match(plain{p}) {
				ids = append(ids, p.ID)
			}
		}
		n, err := s.Count(ctx, query.Count{Filter: f})
		ok(t, err)
		page, _, err := s.Scroll(ctx, query.Scroll{Filter: f, Limit: len(l.points) + 1})
		ok(t, err)
		if got := idsOf(page); int(n) != len(ids) || !slices.Equal(got, ids) {
			t.Fatalf("probe %d with indexes on %v: count %d, scroll %.300v, want %.300v", i, keys, n, fmt.Sprint(got), fmt.Sprint(ids))
		}
		l.checkFacet(t, s, f, ids)
		l.checkOrder(t, s, f, ids)
		ops, err := s.Resolve(ctx, &Write{Kind: op.Delete, Filter: f})
		ok(t, err)
		if got := len(ops) > 0; got != (len(ids) > 0) || got && !slices.Equal(ops[0].IDs, ids) {
			t.Fatalf("probe %d with indexes on %v: would delete %.300v, want %.300v", i, keys, fmt.Sprint(ops), fmt.Sprint(ids))
		}
	}
}

// numbers are the numbers that a point has at a key, the elements of a list each.
func numbers(p *point.Point, key string) (out []float64) {
	v, _ := p.Payload.Get(key)
	for e := range v.Elements() {
		if n, ok := e.Number(); ok {
			out = append(out, n)
		}
	}
	if n, ok := v.Number(); ok {
		out = append(out, n)
	}
	return out
}

func (l *ledger) checkFacet(t testing.TB, s *Shard, f *filter.Filter, ids []topology.PointID) {
	t.Helper()
	hits, err := s.Facet(ctx, query.Facet{Key: "k", Filter: f})
	if l.config.Settings == nil || l.config.Settings[0]&1 == 0 {
		if !errors.Is(err, ErrNoIndex) {
			t.Fatalf("facet without an index: %v, %v", hits, err)
		}
		return
	}
	ok(t, err)
	counts := map[int64]uint64{}
	for _, id := range ids {
		for _, n := range numbers(l.points[id], "k") {
			counts[int64(n)]++
		}
	}
	for i, h := range hits {
		if counts[h.Value.Int] != h.Count || i > 0 && query.CompareFacets(hits[i-1], h) >= 0 {
			t.Fatalf("facet gives %v, want %v", hits, counts)
		}
	}
	if len(hits) != len(counts) {
		t.Fatalf("facet gives %v, want %v", hits, counts)
	}
	if top, err := s.Facet(ctx, query.Facet{Key: "k", Filter: f, Limit: 1}); err != nil || !slices.Equal(top, hits[:min(1, len(hits))]) {
		t.Fatalf("the first is %v, %v", top, err)
	}
}

func (l *ledger) checkOrder(t testing.TB, s *Shard, f *filter.Filter, ids []topology.PointID) {
	t.Helper()
	for _, key := range []string{"x0", "k"} {
		for _, down := range []bool{false, true} {
			o := query.Order{Key: key, Desc: down, From: &query.OrderValue{Float: 3, IsFloat: true}}
			page, _, err := s.Scroll(ctx, query.Scroll{Filter: f, Order: &o, Limit: 5})
			if errors.Is(err, ErrNoIndex) {
				if bit := map[string]byte{"x0": 1 << 3, "k": 1}[key]; l.config.Settings != nil && l.config.Settings[0]&bit != 0 {
					t.Fatal(err)
				}
				continue
			}
			ok(t, err)
			type place struct {
				n  float64
				id topology.PointID
			}
			var want []place
			for _, id := range ids {
				for _, n := range numbers(l.points[id], key) {
					if n == 3 || (n < 3) == down {
						want = append(want, place{n, id})
					}
				}
			}
			slices.SortFunc(want, func(a, b place) int {
				c := cmp.Compare(a.n, b.n)
				if down {
					c = -c
				}
				return cmp.Or(c, a.id.Compare(b.id))
			})
			want = want[:min(5, len(want))]
			for i, r := range page {
				if n := r.Order.Float + float64(r.Order.Int); i >= len(want) || r.ID != want[i].id || n != want[i].n || r.Order.IsFloat != (key == "x0") {
					t.Fatalf("by %s, down %v: place %d is %s with %+v of %v", key, down, i, r.ID, r.Order, want)
				}
			}
			if len(page) != len(want) {
				t.Fatalf("by %s, down %v: %d points, want %d", key, down, len(page), len(want))
			}
		}
	}
}

func idsOf(rs []query.Record) (out []topology.PointID) {
	for _, r := range rs {
		out = append(out, r.ID)
	}
	return out
}

// TestFieldsTakeEffect: an index is there from its entry on, also for points that
// were there before, after a restart, in a copy, and gone from the entry that
// drops it.
func TestFieldsTakeEffect(t *testing.T) {
	fs := memfs.New()
	s, err := Open(options(fs))
	ok(t, err)
	l := newLedger()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		l.add(randomOp(rng, l))
	}
	l.catchUp(t, s)
	_, before := s.Digest()
	l.add(op.Op{Kind: op.Config, Revision: 100, Settings: []byte{0b11}})
	l.catchUp(t, s)
	if _, points := s.Fields(); points["k"] == 0 || points["l"] == 0 || len(points) != 2 {
		t.Fatalf("the indexes hold %v", points)
	}
	if _, after := s.Digest(); after != before {
		t.Errorf("an index changes the digest: %s, was %s", after, before)
	}
	_, err = s.Checkpoint()
	ok(t, errors.Join(err, s.Close()))
	s, err = Open(options(fs))
	ok(t, err)
	l.check(t, s)

	head, body := export(t, s)
	o := options(memfs.New())
	ok(t, take(o, head, body, 1000))
	c := open(t, o)
	l.mark = point.Mark{} // a copy brings none
	l.check(t, c)

	l.add(op.Op{Kind: op.Config, Revision: 101, Settings: []byte{0b10}})
	ok(t, c.Apply(l.entries[c.Applied().Seq:]))
	l.check(t, c)
	ok(t, s.Close())
}

// TestUnreadableSettings: the replica says so, at the entry and after a restart,
// and shows what it had.
func TestUnreadableSettings(t *testing.T) {
	s := open(t, options(memfs.New()))
	l := newLedger()
	l.add(op.Op{Kind: op.Config, Revision: 1, Settings: []byte{1}})
	l.catchUp(t, s)
	l.add(op.Op{Kind: op.Config, Revision: 2, Settings: []byte{0xFF}})
	if err := s.Apply(l.entries[1:]); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("got %v", err)
	}
	if revision, points := s.Fields(); revision != 1 || len(points) != 1 {
		t.Errorf("revision %d, indexes %v", revision, points)
	}
}

// TestReadersBesideIndexing: reads that are under way while indexes come and go
// answer the same.
func TestReadersBesideIndexing(t *testing.T) {
	s := open(t, options(memfs.New()))
	l := newLedger()
	var ps []op.Point
	for i := range uint64(500) {
		ps = append(ps, op.Point{ID: num(i), Vectors: []op.Vector{{Name: "", Data: []float32{float32(i), 1}}}, Payload: fields("k", int(i%5), "l", []any{"s"}, "x0", int(i))})
	}
	l.add(op.Op{Kind: op.Upsert, Points: ps})
	l.catchUp(t, s)
	var stop atomic.Bool
	var wg sync.WaitGroup
	low := 400.0
	f := &filter.Filter{Must: []filter.Condition{filter.Match{Key: "k", Value: filter.Scalar{Kind: filter.IntScalar, Int: 1}}, filter.Range{Key: "x0", GTE: &low}}}
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				n, err := s.Count(ctx, query.Count{Filter: f})
				hits, err2 := s.Nearest(ctx, []query.Nearest{{Vector: []float32{1, 0}, Limit: 50, Filter: f}})
				if err := errors.Join(err, err2); err != nil || n != 20 || len(hits[0]) != 20 {
					t.Errorf("count %d, %d hits, %v", n, len(hits[0]), err)
					return
				}
			}
		})
	}
	for i := range 60 {
		l.add(op.Op{Kind: op.Config, Revision: uint64(i) + 1, Settings: []byte{byte(i % 16)}})
		if i%3 == 0 {
			l.add(op.Op{Kind: op.SetPayload, Groups: []op.Group{{IDs: []topology.PointID{num(uint64(i))}, Payload: fields("x0", i)}}})
		}
		ok(t, s.Apply(l.entries[s.Applied().Seq:]))
	}
	stop.Store(true)
	wg.Wait()
	l.check(t, s)
}

// TestApproximateCount takes the indexes' word where they have one.
func TestApproximateCount(t *testing.T) {
	s := open(t, options(memfs.New()))
	l := newLedger()
	var ps []op.Point
	for i := range uint64(100) {
		ps = append(ps, op.Point{ID: num(i), Payload: fields("k", int(i%4), "x0", int(i))})
	}
	l.add(op.Op{Kind: op.Upsert, Points: ps})
	half := 50.0
	f := &filter.Filter{Must: []filter.Condition{filter.Match{Key: "k", Value: filter.Scalar{Kind: filter.IntScalar, Int: 1}}, filter.Range{Key: "x0", LT: &half}}}
	for settings, want := range map[byte]string{0: "13", 1: "13", 0b1001: "13"} { // 12.5 where it is an estimate
		l.add(op.Op{Kind: op.Config, Revision: uint64(len(l.entries)), Settings: []byte{settings}})
		l.catchUp(t, s)
		n, err := s.Count(ctx, query.Count{Filter: f, Approx: true})
		if ok(t, err); fmt.Sprint(n) != want {
			t.Errorf("settings %b: %d, want %s", settings, n, want)
		}
	}
}
