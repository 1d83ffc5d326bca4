package payload

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	doc "github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
)

// shown is rows with payloads, the tests' Rows and filter.Subject.
type shown struct {
	docs []doc.Doc
	used []bool
	row  uint32
}

func (t *shown) Len() int { return len(t.docs) }

func (t *shown) Points() int { return int(t.Used().GetCardinality()) }

func (t *shown) Used() *roaring.Bitmap {
	set := roaring.New()
	for row, used := range t.used {
		if used {
			set.Add(uint32(row))
		}
	}
	return set
}

func (t *shown) Row(id topology.PointID) (uint32, bool) {
	n := id.Number()
	return uint32(n), n < uint64(len(t.used)) && t.used[n]
}

func (t *shown) ID() topology.PointID  { return topology.NumberID(uint64(t.row)) }
func (t *shown) Payload() doc.Doc      { return t.docs[t.row] }
func (t *shown) HasVector(string) bool { return t.row%2 == 0 }

func (t *shown) put(s *Set, row uint32, d doc.Doc, used bool) {
	for int(row) >= len(t.docs) {
		t.docs, t.used = append(t.docs, nil), append(t.used, false)
	}
	old, lent := bytes.Clone(t.docs[row]), bytes.Clone(d)
	s.Put(row, old, lent)
	for _, b := range [][]byte{old, lent} { // nothing of them may be kept
		for i := range b {
			b[i] = 0xa5
		}
	}
	t.docs[row], t.used[row] = d, used
}

// check compares what the plan of f says with asking f about every row.
func (t *shown) check(tb interface{ Fatalf(string, ...any) }, s *Set, f *filter.Filter) (bounded, exact bool) {
	m, err := filter.Compile(f)
	if err != nil {
		tb.Fatalf("compile: %v", err)
	}
	p := s.Plan(f, t)
	most, ok := p.Most()
	if n, sure := p.Estimate(); sure && (n < 0 || n > t.Len()) {
		tb.Fatalf("estimate %d of %d rows", n, t.Len())
	}
	if !ok {
		return false, false
	}
	got := p.Select()
	if got.Len() > most {
		tb.Fatalf("%d rows, at most %d were foretold", got.Len(), most)
	}
	for row := range t.docs {
		t.row = uint32(row)
		want := t.used[row] && m.Match(t)
		if has := got.Has(t.row); want && !has || has && !want && got.Exact || has && !t.used[row] {
			tb.Fatalf("row %d: selected %v (exact %v), satisfies %v", row, has, got.Exact, want)
		}
	}
	return true, got.Exact
}

// satisfying is how many rows satisfy f, by asking it about each.
func (t *shown) satisfying(tb testing.TB, f *filter.Filter) (n int) {
	m, err := filter.Compile(f)
	if err != nil {
		tb.Fatal(err)
	}
	for row := range t.docs {
		if t.row = uint32(row); t.used[row] && m.Match(t) {
			n++
		}
	}
	return n
}

var (
	keys  = []string{"a", "b", "a.b", "a[]", "a[].b", `"a.b"`, "a[0]"}
	texts = []string{"", "x", "red", "Red fox", "a fox, red", "fox", "2024-05-06T07:08:09Z", "2024-05-06 07:08", "1999-12-31", "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
		"6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "urn:uuid:6ba7b811-9dad-11d1-80b4-00c04fd430c8"}
	wholes = []int64{-7, 0, 1, 2, math.MaxInt64, math.MaxInt64 - 1, math.MinInt64}
	floats = []float64{-7, math.Copysign(0, -1), 0, 0.5, 1, 1e300, -1e300, math.MaxInt64}
	words  = []string{"", "red", "fox red", "re fo", "Red fox", "x 07", "the"}
	places = []filter.Place{{Lon: 0, Lat: 0}, {Lon: 180, Lat: 1}, {Lon: -180, Lat: 90}, {Lon: 0.5, Lat: 0.5}, {Lon: -179.5, Lat: -2}, {Lon: 13.4, Lat: 52.5}, {Lon: 2, Lat: -90}}
	metres = []float64{0, 1, 1e5, 2e6, 1.2e7, 3e7}
	times  = []int64{math.MinInt64, 0, 1714979289000000, 1714979280000000, 946598400000000, math.MaxInt64}
)

// dice throws 0..n-1.
type dice func(n int) int

func pick[T any](d dice, from []T) T { return from[d(len(from))] }

// maybe is one of from, or nil.
func maybe[T any](d dice, from []T) *T {
	if d(2) == 0 {
		return nil
	}
	return new(pick(d, from))
}

func (d dice) value(b *doc.Builder, depth int) {
	kinds := 10
	if depth == 0 {
		kinds = 8
	}
	switch d(kinds) {
	case 7:
		p := pick(d, places)
		b.BeginObject()
		b.Key("lat")
		b.Double(p.Lat)
		b.Key("lon")
		b.Double(p.Lon)
		b.End()
	case 0:
		b.Null()
	case 1:
		b.Bool(d(2) == 0)
	case 2, 3:
		b.Int(pick(d, wholes))
	case 4:
		b.Double(pick(d, floats))
	case 5, 6:
		b.Str(pick(d, texts))
	case 8:
		b.BeginList()
		for range d(4) {
			d.value(b, depth-1)
		}
		b.End()
	default:
		d.object(b, depth-1)
	}
}

func (d dice) object(b *doc.Builder, depth int) {
	b.BeginObject()
	for _, k := range []string{"a", "a.b", "b"} {
		if d(4) > 0 {
			b.Key(k)
			d.value(b, depth)
		}
	}
	b.End()
}

func (d dice) doc(tb testing.TB) doc.Doc {
	var b doc.Builder
	d.object(&b, 3)
	out, err := b.Doc()
	if err != nil {
		tb.Fatalf("payload: %v", err)
	}
	return out
}

func (d dice) scalar(k filter.ScalarKind) filter.Scalar {
	return filter.Scalar{Kind: k, Str: pick(d, texts), Int: pick(d, wholes), Bool: d(2) == 0}
}

func (d dice) condition(depth int) filter.Condition {
	key := filter.Key(pick(d, keys))
	kinds := 18
	if depth == 0 {
		kinds = 15
	}
	switch d(kinds) {
	case 0:
		return filter.Match{Key: key, Value: d.scalar(filter.ScalarKind(1 + d(3)))}
	case 1:
		any := filter.MatchAny{Key: key, Except: d(3) == 0}
		for kind, n := filter.ScalarKind(1+d(2)), d(4); n > 0; n-- {
			any.Values = append(any.Values, d.scalar(kind))
		}
		return any
	case 2:
		n := append([]float64{math.Inf(1), math.Inf(-1), math.NaN()}, floats...)
		return filter.Range{Key: key, GT: maybe(d, n), GTE: maybe(d, n), LT: maybe(d, n), LTE: maybe(d, n)}
	case 3:
		return filter.TimeRange{Key: key, GT: maybe(d, times), GTE: maybe(d, times), LT: maybe(d, times), LTE: maybe(d, times)}
	case 4:
		return filter.IsEmpty{Key: key}
	case 5:
		return filter.IsNull{Key: key}
	case 6:
		var h filter.HasID
		for range d(5) {
			h.IDs = append(h.IDs, topology.NumberID(uint64(d(13))))
		}
		return h
	case 7:
		if d(3) == 0 {
			return filter.HasVector{}
		}
		return filter.Range{Key: key, GT: maybe(d, floats)}
	case 8:
		return filter.Text{Key: key, Words: pick(d, words), Mode: analysis.Mode(d(3))}
	case 9:
		if d(2) == 0 {
			return filter.Substring{Key: key, Text: pick(d, words)}
		}
		return filter.Prefix{Key: key, Text: pick(d, words)}
	case 10:
		sizes := []uint64{0, 1, 2, 3}
		return filter.ValuesCount{Key: key, GT: maybe(d, sizes), GTE: maybe(d, sizes), LT: maybe(d, sizes), LTE: maybe(d, sizes)}
	case 11:
		return filter.GeoBox{Key: key, TopLeft: pick(d, places), BottomRight: pick(d, places)}
	case 12:
		return filter.GeoRadius{Key: key, Center: pick(d, places), Radius: pick(d, metres)}
	case 13:
		ring := func() []filter.Place { return []filter.Place{pick(d, places), pick(d, places), pick(d, places)} }
		return filter.GeoPolygon{Key: key, Exterior: ring(), Interiors: [][]filter.Place{ring()}}
	case 14:
		return filter.Slice{Total: 3, Index: uint32(d(3))}
	case 15, 16:
		return filter.Nested{Key: key, Filter: *d.filter(depth - 1)}
	default:
		return d.filter(depth - 1)
	}
}

func (d dice) filter(depth int) *filter.Filter {
	some := func(most int) (out []filter.Condition) {
		for range d(most + 1) {
			out = append(out, d.condition(depth))
		}
		return out
	}
	f := &filter.Filter{}
	switch d(4) {
	case 0:
		f.Must = some(3)
	case 1:
		f.Must, f.MustNot = some(2), some(2)
	case 2:
		f.Must, f.Should, f.MustNot = some(1), some(2), some(1)
	default:
		f.Must, f.MinShould = some(1), &filter.MinShould{Conditions: some(3), Count: uint64(d(3))}
	}
	return f
}

func (d dice) index() query.FieldIndex {
	f := query.FieldIndex{Key: pick(d, keys), Type: query.FieldType(1 + d(8))}
	if f.Type == query.TextField {
		f.Text = analysis.Params{Tokenizer: analysis.Tokenizer(1 + d(4)), Lowercase: d(2) == 0, Phrases: d(2) == 0, MinLen: d(3)}
	}
	if f.Type == query.IntegerField {
		f.Lookup = d(3) > 0
		f.Range = !f.Lookup || d(2) == 0
	}
	return f
}

// sameAnswer plays one life of a set.
func sameAnswer(tb testing.TB, d dice, writes, filters int) (bounded, exact int) {
	specs := make([]query.FieldIndex, 1+d(24))
	for i := range specs {
		specs[i] = d.index()
	}
	s, _, err := (&Set{}).Change(specs)
	if err != nil {
		tb.Fatalf("indexes %v: %v", specs, err)
	}
	bound := textsOf(tb, specs)
	var rows shown
	for range writes {
		if row := uint32(d(10)); d(5) == 0 {
			rows.put(s, row, nil, false)
		} else {
			rows.put(s, row, d.doc(tb), true)
		}
	}
	opened := build(tb, specs, rows.docs)
	for range filters {
		f := bound.Bind(d.filter(2))
		b, e := rows.check(tb, s, f)
		bounded, exact = bounded+btoi(b), exact+btoi(e)
		rows.check(tb, opened, f)
	}
	for _, row := range rows.docs { // dead ones stay in what was opened
		if i := d(len(rows.docs)); row == nil {
			rows.used[i] = false
		}
	}
	for range filters / 4 {
		rows.check(tb, opened, bound.Bind(d.filter(2)))
	}
	for row := range rows.docs {
		rows.put(s, uint32(row), nil, false)
	}
	for _, f := range s.fields {
		sets := f.typed.GetCardinality() + f.filled.GetCardinality() + f.nulls.GetCardinality() + f.mixed.GetCardinality()
		if len(f.own) > 0 || sets > 0 || f.pairs != nil && len(f.pairs.blocks) > 0 {
			tb.Fatalf("%s %d: something is left of rows that are gone", f.Key, f.Type)
		}
	}
	return bounded, exact
}

// build seals rows.
func build(tb interface {
	Helper()
	Fatal(...any)
}, specs []query.FieldIndex, docs []doc.Doc) *Set {
	tb.Helper()
	b, err := NewBuilder(specs)
	if err != nil {
		tb.Fatal(err)
	}
	for row, d := range docs {
		b.Add(uint32(row), d)
	}
	s, err := Open(b.Files(uint32(len(docs)))...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// textsOf is what filters are bound to where specs are in effect.
func textsOf(tb interface {
	Helper()
	Fatal(...any)
}, specs []query.FieldIndex) filter.Texts {
	tb.Helper()
	s, _, err := (&Set{}).Change(specs)
	if err != nil {
		tb.Fatal(err)
	}
	return s.Texts()
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestSameAnswer: whatever is indexed, put, replaced and taken out, a plan bounds
// what the filter itself answers, and is it where it says exact.
func TestSameAnswer(t *testing.T) {
	bounded, exact := 0, 0
	for seed := range uint64(300) {
		b, e := sameAnswer(t, rand.New(rand.NewPCG(seed, 5)).IntN, 24, 60)
		bounded, exact = bounded+b, exact+e
	}
	if bounded < 5000 || exact < 1000 || exact > bounded*9/10 {
		t.Errorf("%d plans with a bound, %d of them exact: too few to tell", bounded, exact)
	}
}

// FuzzSameAnswer is the same with dice that the fuzzer loads.
func FuzzSameAnswer(f *testing.F) {
	f.Add([]byte("a life of a set"))
	f.Fuzz(func(t *testing.T, b []byte) {
		sameAnswer(t, func(n int) int {
			if len(b) == 0 {
				return 0
			}
			v := int(b[0])
			b = b[1:]
			return v % n
		}, 4, 3)
	})
}

// TestRanked compares the ordered pairs with a sorted slice, over many blocks.
func TestRanked(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var r ranked
		var want []pair
		step := rapid.SampledFrom([]int64{0, 1, 7919}).Draw(rt, "step")
		size := rapid.IntRange(1, 4*blockPairs).Draw(rt, "size")
		for i := range size {
			p := pair{int64(i) * step % 1000, uint32(i % 700)}
			r.add(p.value, p.row)
			if at, there := slices.BinarySearchFunc(want, p, pair.compare); !there {
				want = slices.Insert(want, at, p)
			}
		}
		for i := range rapid.IntRange(0, size).Draw(rt, "removed") {
			p := pair{int64(i) * step % 1000, uint32(i % 700)}
			r.remove(p.value, p.row)
			if at, there := slices.BinarySearchFunc(want, p, pair.compare); there {
				want = slices.Delete(want, at, at+1)
			}
		}
		low, high := rapid.Int64Range(-1, 1001).Draw(rt, "low"), rapid.Int64Range(-1, 1001).Draw(rt, "high")
		want = slices.DeleteFunc(want, func(p pair) bool { return p.value < low || p.value > high })
		var got []pair
		r.runs(low, high, func(ps []pair) { got = append(got, ps...) })
		if n := r.count(low, high); n != len(got) {
			rt.Fatalf("[%d, %d]: %d pairs are foretold, there are %d", low, high, n, len(got))
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("[%d, %d]: %d pairs, want %d", low, high, len(got), len(want))
		}
		for _, down := range []bool{false, true} {
			var walked []pair
			r.walk(map[bool]int64{false: low, true: high}[down], down, func(p pair) bool {
				walked = append(walked, p)
				return true
			})
			slices.SortStableFunc(walked, pair.compare)
			walked = slices.DeleteFunc(walked, func(p pair) bool { return p.value < low || p.value > high })
			if low <= high && !slices.Equal(walked, want) {
				rt.Fatalf("walk, down %v, from [%d, %d]: %d pairs, want %d", down, low, high, len(walked), len(want))
			}
		}
		for i, b := range r.blocks {
			if len(b) == 0 || len(b) > blockPairs {
				rt.Fatalf("block %d of %d has %d pairs", i, len(r.blocks), len(b))
			}
		}
	})
}

// TestNested: conditions that different elements satisfy bound the rows, and do
// not tell exactly.
func TestNested(t *testing.T) {
	s, _, err := (&Set{}).Change([]query.FieldIndex{{Key: "l[].a", Type: query.KeywordField}, {Key: "l[].b", Type: query.KeywordField}})
	if err != nil {
		t.Fatal(err)
	}
	var rows shown
	for row, elements := range [][]doc.Doc{{object(t, "a", "x", "b", "y")}, {object(t, "a", "x", "b", "z"), object(t, "a", "q", "b", "y")}, {object(t, "a", "q", "b", "y")}} {
		var b doc.Builder
		b.BeginObject()
		b.Key("l")
		b.BeginList()
		for _, e := range elements {
			b.Value(e.Value())
		}
		b.End()
		b.End()
		d, err := b.Doc()
		if err != nil {
			t.Fatal(err)
		}
		rows.put(s, uint32(row), d, true)
	}
	is := func(key filter.Key, text string) filter.Condition {
		return filter.Match{Key: key, Value: filter.Scalar{Kind: filter.StringScalar, Str: text}}
	}
	f := &filter.Filter{Must: []filter.Condition{filter.Nested{Key: "l", Filter: filter.Filter{Must: []filter.Condition{is("a", "x"), is("b", "y")}}}}}
	rows.check(t, s, f)
	if got := s.Plan(f, &rows).Select(); got.Exact || !slices.Equal(got.Rows(), []uint32{0, 1}) {
		t.Errorf("rows %v, exact %v", got.Rows(), got.Exact)
	}
}

func TestChange(t *testing.T) {
	a := query.FieldIndex{Key: "a", Type: query.KeywordField}
	b := query.FieldIndex{Key: "b", Type: query.IntegerField, Lookup: true}
	one, fresh, err := (&Set{}).Change([]query.FieldIndex{a})
	if err != nil || len(fresh.fields) != 1 {
		t.Fatal(fresh, err)
	}
	var rows shown
	rows.put(one, 0, object(t, "a", "x"), true)
	two, fresh, err := one.Change([]query.FieldIndex{b, a})
	if err != nil || len(fresh.fields) != 1 || fresh.fields[0].Key != "b" {
		t.Fatal(fresh, err)
	}
	if got, want := fmt.Sprint(two.Count()), "map[a:1 b:0]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b.Range = true // another index
	if _, fresh, err = two.Change([]query.FieldIndex{a, b}); err != nil || len(fresh.fields) != 1 {
		t.Error(fresh, err)
	}
	if _, _, err := two.Change([]query.FieldIndex{{Key: "a", Type: 99}}); err == nil {
		t.Error("an unknown type was taken")
	}
	if _, _, err := two.Change([]query.FieldIndex{{Key: "[", Type: query.KeywordField}}); err == nil {
		t.Error("a malformed path was taken")
	}
}

func object(tb testing.TB, kv ...any) doc.Doc {
	tb.Helper()
	var b doc.Builder
	b.BeginObject()
	for i := 0; i < len(kv); i += 2 {
		b.Key(kv[i].(string))
		switch v := kv[i+1].(type) {
		case string:
			b.Str(v)
		case int:
			b.Int(int64(v))
		case float64:
			b.Double(v)
		case bool:
			b.Bool(v)
		}
	}
	b.End()
	d, err := b.Doc()
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// TestManyRows: sets of all sizes, through lists, bitmaps and skipped parts.
func TestManyRows(t *testing.T) {
	s, _, err := (&Set{}).Change([]query.FieldIndex{{Key: "n", Type: query.FloatField}, {Key: "k", Type: query.KeywordField}, {Key: "m", Type: query.IntegerField, Lookup: true, Range: true}})
	if err != nil {
		t.Fatal(err)
	}
	var rows shown
	for i := range 20_000 {
		rows.put(s, uint32(i), object(t, "n", float64(i*7919%20_000), "k", fmt.Sprint("k", i%40), "m", i%3), i%11 != 0)
	}
	for row, used := range rows.used { // as a shard does with a point that is gone
		if !used {
			rows.put(s, uint32(row), nil, false)
		}
	}
	text := func(s string) filter.Scalar { return filter.Scalar{Kind: filter.StringScalar, Str: s} }
	for _, high := range []float64{0, 3, 200, 400, 5000, 19_000, 1e9} {
		narrow := filter.Range{Key: "n", LT: &high}
		for name, f := range map[string]*filter.Filter{
			"alone":    {Must: []filter.Condition{narrow}},
			"and":      {Must: []filter.Condition{narrow, filter.Match{Key: "k", Value: text("k7")}}},
			"and not":  {Must: []filter.Condition{filter.MatchAny{Key: "k", Values: []filter.Scalar{text("k7"), text("k9")}}}, MustNot: []filter.Condition{narrow}},
			"and wide": {Must: []filter.Condition{narrow, filter.Range{Key: "m", GTE: new(0.)}}},
			"or":       {Should: []filter.Condition{narrow, filter.Match{Key: "k", Value: text("k7")}}},
		} {
			if bounded, _ := rows.check(t, s, f); !bounded {
				t.Errorf("%s, below %v: no bound", name, high)
			}
			p := s.Plan(f, &rows)
			guess, ok := p.Estimate()
			n := rows.satisfying(t, f)
			if !ok || guess > 3*n+10 || n > 3*guess+10 {
				t.Errorf("%s, below %v: about %d rows, there are %d", name, high, guess, n)
			}
		}
	}
}
