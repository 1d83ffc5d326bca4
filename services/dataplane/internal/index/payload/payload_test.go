package payload

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	doc "github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
)

// table is rows with payloads, the tests' Rows and filter.Subject.
type table struct {
	docs []doc.Doc
	used []bool
	row  uint32
}

func (t *table) Len() int { return len(t.docs) }

func (t *table) Points() int { return int(t.Used().GetCardinality()) }

func (t *table) Used() *roaring.Bitmap {
	set := roaring.New()
	for row, used := range t.used {
		if used {
			set.Add(uint32(row))
		}
	}
	return set
}

func (t *table) Row(id topology.PointID) (uint32, bool) {
	n := id.Number()
	return uint32(n), n < uint64(len(t.used)) && t.used[n]
}

func (t *table) ID() topology.PointID  { return topology.NumberID(uint64(t.row)) }
func (t *table) Payload() doc.Doc      { return t.docs[t.row] }
func (t *table) HasVector(string) bool { return t.row%2 == 0 }

func (t *table) put(s *Set, row uint32, d doc.Doc, used bool) {
	for int(row) >= len(t.docs) {
		t.docs, t.used = append(t.docs, nil), append(t.used, false)
	}
	s.Put(row, t.docs[row], d)
	t.docs[row], t.used[row] = d, used
}

// check compares what the plan of f says with asking f about every row.
func (t *table) check(tb interface{ Fatalf(string, ...any) }, s *Set, f *filter.Filter) (bounded, exact bool) {
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

var (
	keys  = []string{"a", "b", "a.b", "a[]", "a[].b", `"a.b"`, "a[0]"}
	texts = []string{"", "x", "red", "2024-05-06T07:08:09Z", "2024-05-06 07:08", "1999-12-31", "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
		"6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "urn:uuid:6ba7b811-9dad-11d1-80b4-00c04fd430c8"}
	wholes = []int64{-7, 0, 1, 2, math.MaxInt64, math.MaxInt64 - 1, math.MinInt64}
	floats = []float64{-7, math.Copysign(0, -1), 0, 0.5, 1, 1e300, -1e300, math.MaxInt64}
	times  = []int64{math.MinInt64, 0, 1714979289000000, 1714979280000000, 946598400000000, math.MaxInt64}
)

func feed(b *doc.Builder, t *rapid.T, depth int) {
	kinds := 7
	if depth == 0 {
		kinds = 5
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		b.Null()
	case 1:
		b.Bool(rapid.Bool().Draw(t, "bool"))
	case 2:
		b.Int(rapid.SampledFrom(wholes).Draw(t, "int"))
	case 3:
		b.Double(rapid.SampledFrom(floats).Draw(t, "float"))
	case 4:
		b.Str(rapid.SampledFrom(texts).Draw(t, "text"))
	case 5:
		b.BeginList()
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			feed(b, t, depth-1)
		}
		b.End()
	default:
		feedObject(b, t, depth-1)
	}
}

func feedObject(b *doc.Builder, t *rapid.T, depth int) {
	b.BeginObject()
	for _, k := range []string{"a", "a.b", "b"} {
		if rapid.IntRange(0, 3).Draw(t, k) > 0 {
			b.Key(k)
			feed(b, t, depth)
		}
	}
	b.End()
}

var genDoc = rapid.Custom(func(t *rapid.T) doc.Doc {
	var b doc.Builder
	feedObject(&b, t, 3)
	d, err := b.Doc()
	if err != nil {
		t.Fatalf("payload: %v", err)
	}
	return d
})

func genScalar() *rapid.Generator[filter.Scalar] {
	return rapid.OneOf(
		rapid.Map(rapid.SampledFrom(texts), func(s string) filter.Scalar { return filter.Scalar{Kind: filter.StringScalar, Str: s} }),
		rapid.Map(rapid.SampledFrom(wholes), func(n int64) filter.Scalar { return filter.Scalar{Kind: filter.IntScalar, Int: n} }),
		rapid.Map(rapid.Bool(), func(b bool) filter.Scalar { return filter.Scalar{Kind: filter.BoolScalar, Bool: b} }))
}

func genCondition(depth int) *rapid.Generator[filter.Condition] {
	return rapid.Custom(func(t *rapid.T) filter.Condition {
		key := filter.Key(rapid.SampledFrom(keys).Draw(t, "key"))
		kinds := 10
		if depth == 0 {
			kinds = 8
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return filter.Match{Key: key, Value: genScalar().Draw(t, "value")}
		case 1:
			of := rapid.SampledFrom([]filter.ScalarKind{filter.StringScalar, filter.IntScalar}).Draw(t, "of")
			same := genScalar().Filter(func(s filter.Scalar) bool { return s.Kind == of })
			return filter.MatchAny{Key: key, Values: rapid.SliceOfN(same, 0, 3).Draw(t, "values"), Except: rapid.Bool().Draw(t, "except")}
		case 2:
			n := rapid.Ptr(rapid.SampledFrom(append(floats, math.Inf(1), math.Inf(-1), math.NaN())), true)
			return filter.Range{Key: key, GT: n.Draw(t, "gt"), GTE: n.Draw(t, "gte"), LT: n.Draw(t, "lt"), LTE: n.Draw(t, "lte")}
		case 3:
			n := rapid.Ptr(rapid.SampledFrom(times), true)
			return filter.TimeRange{Key: key, GT: n.Draw(t, "gt"), GTE: n.Draw(t, "gte"), LT: n.Draw(t, "lt"), LTE: n.Draw(t, "lte")}
		case 4:
			return filter.IsEmpty{Key: key}
		case 5:
			return filter.IsNull{Key: key}
		case 6:
			return filter.HasID{IDs: rapid.SliceOfN(rapid.Map(rapid.Uint64Range(0, 12), topology.NumberID), 0, 4).Draw(t, "ids")}
		case 7:
			return filter.HasVector{}
		case 8:
			return filter.Nested{Key: key, Filter: *genFilter(depth-1).Draw(t, "nested")}
		default:
			return genFilter(depth-1).Draw(t, "sub")
		}
	})
}

func genFilter(depth int) *rapid.Generator[*filter.Filter] {
	return rapid.Custom(func(t *rapid.T) *filter.Filter {
		cs := rapid.SliceOfN(genCondition(depth), 0, 2)
		f := &filter.Filter{Must: cs.Draw(t, "must"), Should: cs.Draw(t, "should"), MustNot: cs.Draw(t, "must_not")}
		if rapid.IntRange(0, 3).Draw(t, "min") == 0 {
			f.MinShould = &filter.MinShould{Conditions: cs.Draw(t, "conditions"), Count: rapid.Uint64Range(0, 2).Draw(t, "count")}
		}
		return f
	})
}

var genSpec = rapid.Custom(func(t *rapid.T) query.FieldIndex {
	f := query.FieldIndex{Key: rapid.SampledFrom(keys).Draw(t, "key"), Type: rapid.SampledFrom([]query.FieldType{query.KeywordField, query.IntegerField,
		query.FloatField, query.BoolField, query.DatetimeField, query.UUIDField}).Draw(t, "type")}
	if f.Type == query.IntegerField {
		f.Lookup = rapid.Bool().Draw(t, "lookup")
		f.Range = !f.Lookup || rapid.Bool().Draw(t, "range")
	}
	return f
})

// TestSameAnswer: whatever is indexed, put, replaced and taken out, a plan bounds
// what the filter itself answers, and is it where it says exact.
func TestSameAnswer(t *testing.T) {
	bounded, exact := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		specs := rapid.SliceOfN(genSpec, 1, 8).Draw(rt, "indexes")
		s, _, err := (&Set{}).Change(specs)
		if err != nil {
			rt.Fatalf("indexes %v: %v", specs, err)
		}
		var rows table
		for range rapid.IntRange(1, 24).Draw(rt, "writes") {
			row := rapid.Uint32Range(0, 9).Draw(rt, "row")
			if rapid.IntRange(0, 4).Draw(rt, "gone") == 0 {
				rows.put(s, row, nil, false)
			} else {
				rows.put(s, row, genDoc.Draw(rt, "payload"), true)
			}
		}
		for range 4 {
			b, e := rows.check(rt, s, genFilter(2).Draw(rt, "filter"))
			bounded, exact = bounded+btoi(b), exact+btoi(e)
		}
		for row := range rows.docs {
			rows.put(s, uint32(row), nil, false)
		}
		for _, f := range s.fields {
			if n := len(f.words) + len(f.ids) + len(f.whole); n > 0 || f.order != nil && len(f.order.blocks) > 0 {
				rt.Fatalf("%s %d: something is left of rows that are gone", f.Key, f.Type)
			}
		}
	})
	if bounded == 0 || exact == 0 || exact == bounded {
		t.Errorf("%d plans with a bound, %d of them exact: the test tests nothing", bounded, exact)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// FuzzSameAnswer is TestSameAnswer under the fuzzer.
func FuzzSameAnswer(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(rt *rapid.T) {
		s, _, err := (&Set{}).Change(rapid.SliceOfN(genSpec, 1, 4).Draw(rt, "indexes"))
		if err != nil {
			rt.Fatalf("%v", err)
		}
		var rows table
		for row := range rapid.Uint32Range(1, 6).Draw(rt, "rows") {
			rows.put(s, row, genDoc.Draw(rt, "payload"), true)
		}
		rows.check(rt, s, genFilter(2).Draw(rt, "filter"))
	}))
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

func TestChange(t *testing.T) {
	a := query.FieldIndex{Key: "a", Type: query.KeywordField}
	b := query.FieldIndex{Key: "b", Type: query.IntegerField, Lookup: true}
	one, fresh, err := (&Set{}).Change([]query.FieldIndex{a})
	if err != nil || len(fresh.fields) != 1 {
		t.Fatal(fresh, err)
	}
	var rows table
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
	var rows table
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
			m, err := filter.Compile(f)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for row := range rows.docs {
				if rows.row = uint32(row); rows.used[row] && m.Match(&rows) {
					n++
				}
			}
			if !ok || guess > 3*n+10 || n > 3*guess+10 {
				t.Errorf("%s, below %v: about %d rows, there are %d", name, high, guess, n)
			}
		}
	}
}
