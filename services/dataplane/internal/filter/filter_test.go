package filter

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/topology"
)

func compile(t testing.TB, f *Filter) *Matcher {
	t.Helper()
	m, err := Compile(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestOracle replays what the published Python client's in-memory mode answers
// (testdata/generate*.py). The 600 filters over 64 points of each table know no
// difference. Differences outside of them: the client compares integers above 2^53
// with range bounds exactly, the server and we as doubles.
func TestOracle(t *testing.T) {
	for _, table := range []string{"oracle", "more"} {
		t.Run(table, func(t *testing.T) { oracle(t, "testdata/"+table+".json") })
	}
}

func oracle(t *testing.T, table string) {
	raw, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	var o struct {
		Points []struct {
			ID      json.RawMessage
			Vectors []string
			Payload json.RawMessage
		}
		Cases []struct {
			Filter json.RawMessage
			Match  []int
		}
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	var points []*point
	for _, p := range o.Points {
		points = append(points, newPoint(t, pointID(decode(t, p.ID)), p.Vectors, decode(t, p.Payload).(map[string]any)))
	}
	if len(points) < 64 || len(o.Cases) < 600 {
		t.Fatalf("%d points, %d cases: the table is not whole", len(points), len(o.Cases))
	}
	for _, c := range o.Cases {
		f := parseFilter(t, decode(t, c.Filter))
		m := compile(t, f)
		got, model := []int{}, []int{}
		for i, p := range points {
			if m.Match(p) {
				got = append(got, i)
			}
			if modelFilter(f, p, p.tree) {
				model = append(model, i)
			}
		}
		if !slices.Equal(got, c.Match) {
			t.Errorf("filter %s\n got %v\nwant %v", c.Filter, got, c.Match)
		}
		if !slices.Equal(model, c.Match) {
			t.Errorf("model of %s\n got %v\nwant %v", c.Filter, model, c.Match)
		}
	}
}

func TestMatch(t *testing.T) {
	str := func(s string) Scalar { return Scalar{Kind: StringScalar, Str: s} }
	num := func(n int64) Scalar { return Scalar{Kind: IntScalar, Int: n} }
	f64 := func(f float64) *float64 { return &f }
	doc := `{"s":"x","i":5,"d":5.0,"big":9223372036854775807,"b":true,"nul":null,"none":[],"nulls":[null],
		"list":["x",7,[1]],"obj":{"k":1},"objs":[{"k":1,"v":"a"},{"k":2,"v":"b"},3]}`
	p := newPoint(t, topology.NumberID(7), []string{"", "img"}, decode(t, []byte(doc)).(map[string]any))
	for name, c := range map[string]struct {
		cond Condition
		want bool
	}{
		"string":                         {Match{"s", str("x")}, true},
		"string is not its prefix":       {Match{"s", str("")}, false},
		"missing":                        {Match{"q", str("x")}, false},
		"integer":                        {Match{"i", num(5)}, true},
		"integer does not match double":  {Match{"d", num(5)}, false},
		"integer does not match bool":    {Match{"b", num(1)}, false},
		"greatest integer":               {Match{"big", num(math.MaxInt64)}, true},
		"bool":                           {Match{"b", Scalar{Kind: BoolScalar, Bool: true}}, true},
		"other bool":                     {Match{"b", Scalar{Kind: BoolScalar}}, false},
		"any element":                    {Match{"list", num(7)}, true},
		"lists in lists stay shut":       {Match{"list", num(1)}, false},
		"element by path":                {Match{"list[2][]", num(1)}, true},
		"key into list finds nothing":    {Match{"objs.k", num(1)}, false},
		"key through list":               {Match{"objs[].k", num(2)}, true},
		"any of none":                    {MatchAny{Key: "s"}, false},
		"except none":                    {MatchAny{Key: "s", Except: true}, true},
		"except it":                      {MatchAny{"s", []Scalar{str("x")}, true}, false},
		"except of another type":         {MatchAny{"i", []Scalar{str("x")}, true}, true},
		"except one of the elements":     {MatchAny{"list", []Scalar{str("x")}, true}, true},
		"except, missing":                {MatchAny{Key: "q", Except: true}, false},
		"except, null":                   {MatchAny{Key: "nul", Except: true}, false},
		"except, empty list":             {MatchAny{Key: "none", Except: true}, false},
		"range over integer":             {Range{Key: "i", GTE: f64(5), LT: f64(5.5)}, true},
		"range over double":              {Range{Key: "d", GT: f64(4.5), LTE: f64(5)}, true},
		"range, open bound":              {Range{Key: "d", GT: f64(5)}, false},
		"range over string":              {Range{Key: "s", LT: f64(1e9)}, false},
		"range, NaN bound":               {Range{Key: "i", LT: f64(math.NaN())}, false},
		"range without bounds":           {Range{Key: "i"}, true},
		"empty: missing":                 {IsEmpty{"q"}, true},
		"empty: null":                    {IsEmpty{"nul"}, true},
		"empty: list":                    {IsEmpty{"none"}, true},
		"empty: list of null":            {IsEmpty{"nulls"}, false},
		"empty: value":                   {IsEmpty{"i"}, false},
		"null: missing":                  {IsNull{"q"}, false},
		"null: null":                     {IsNull{"nul"}, true},
		"null: empty list":               {IsNull{"none"}, false},
		"null: list of null":             {IsNull{"nulls"}, true},
		"id":                             {HasID{[]topology.PointID{topology.NumberID(9), topology.NumberID(7)}}, true},
		"no ids":                         {HasID{}, false},
		"default vector":                 {HasVector{""}, true},
		"no such vector":                 {HasVector{"txt"}, false},
		"nested ties one element":        {Nested{"objs", Filter{Must: []Condition{Match{"k", num(1)}, Match{"v", str("a")}}}}, true},
		"nested does not mix elements":   {Nested{"objs", Filter{Must: []Condition{Match{"k", num(1)}, Match{"v", str("b")}}}}, false},
		"nested in brackets":             {Nested{"objs[]", Filter{MustNot: []Condition{Match{"k", num(1)}}}}, true},
		"nested wants a list":            {Nested{"obj", Filter{}}, false},
		"nested passes over scalars":     {Nested{"list", Filter{}}, false},
		"id holds for no element":        {Nested{"objs", Filter{Must: []Condition{HasID{[]topology.PointID{topology.NumberID(7)}}}}}, false},
		"vector holds for no element":    {Nested{"objs", Filter{Must: []Condition{HasVector{""}}}}, false},
		"sub-filter":                     {&Filter{Should: []Condition{Match{"i", num(1)}, Match{"s", str("x")}}}, true},
		"min_should reached":             {&Filter{MinShould: &MinShould{[]Condition{IsNull{"nul"}, IsNull{"i"}, IsNull{"nulls"}}, 2}}, true},
		"min_should missed":              {&Filter{MinShould: &MinShould{[]Condition{IsNull{"nul"}, IsNull{"i"}}, 2}}, false},
		"min_should of nothing":          {&Filter{MinShould: &MinShould{nil, 1}}, false},
		"must_not of a missing key":      {&Filter{MustNot: []Condition{Match{"q", num(1)}}}, true},
		"empty sub-filter takes all":     {&Filter{}, true},
		"should and must both have say":  {&Filter{Must: []Condition{IsNull{"i"}}, Should: []Condition{IsNull{"nul"}}}, false},
		"quoted key is one key":          {Match{`"obj.k"`, num(1)}, false},
		"key on its way through objects": {Match{"obj.k", num(1)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := &Filter{Must: []Condition{c.cond}}
			m := compile(t, f)
			if got := m.Match(p); got != c.want {
				t.Errorf("got %v", got)
			}
			if n := testing.AllocsPerRun(20, func() { m.Match(p) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	deep := &Filter{}
	for range MaxDepth {
		deep = &Filter{Must: []Condition{deep}}
	}
	for name, c := range map[string]struct {
		f    *Filter
		says string
		is   error
	}{
		"bad key":           {&Filter{Must: []Condition{Match{Key: "a..b", Value: Scalar{Kind: BoolScalar}}}}, `must[0]`, payload.ErrPath},
		"bad key elsewhere": {&Filter{MinShould: &MinShould{Conditions: []Condition{IsNull{"x"}, IsEmpty{"a[x]"}}}}, `min_should[1]`, payload.ErrPath},
		"no value":          {&Filter{Should: []Condition{Match{Key: "colour"}}}, `"colour"`, ErrFilter},
		"mixed values":      {&Filter{MustNot: []Condition{MatchAny{Key: "k", Values: []Scalar{{Kind: IntScalar}, {Kind: StringScalar}}}}}, `"k"`, ErrFilter},
		"bools in any":      {&Filter{Must: []Condition{MatchAny{Key: "k", Values: []Scalar{{Kind: BoolScalar}}}}}, `"k"`, ErrFilter},
		"bad nested key":    {&Filter{Must: []Condition{Nested{Key: "[]"}}}, `must[0]`, ErrFilter},
		"inside nested":     {&Filter{Must: []Condition{Nested{"a", Filter{Must: []Condition{IsNull{""}}}}}}, `nested "a"`, ErrFilter},
		"no place":          {&Filter{Must: []Condition{GeoBox{"k", Place{0, 91}, Place{}}}}, "lat 91", ErrFilter},
		"no place in hole":  {&Filter{Must: []Condition{GeoPolygon{"k", nil, [][]Place{{{math.NaN(), 0}}}}}}, "lon NaN", ErrFilter},
		"bad radius":        {&Filter{Must: []Condition{GeoRadius{"k", Place{}, math.NaN()}}}, "radius NaN", ErrFilter},
		"bad mode":          {&Filter{Must: []Condition{Text{Key: "k", Mode: 3}}}, "mode 3", ErrFilter},
		"bad slice":         {&Filter{Must: []Condition{Slice{2, 2}}}, "slice 2 of 2", ErrFilter},
		"no slices":         {&Filter{Must: []Condition{Slice{}}}, "slice 0 of 0", ErrFilter},
		"no condition":      {&Filter{Must: []Condition{nil}}, "must[0]", ErrFilter},
		"no sub-filter":     {&Filter{Must: []Condition{(*Filter)(nil)}}, "must[0]", ErrFilter},
		"too deep":          {deep, "deeper", ErrFilter},
	} {
		if _, err := Compile(c.f); !errors.Is(err, c.is) || !errors.Is(err, ErrFilter) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsAsked(t *testing.T) {
	m := compile(t, &Filter{Must: []Condition{HasID{[]topology.PointID{topology.NumberID(1)}}}})
	if m.NeedsPayload() || m.All() || !compile(t, &Filter{}).All() || !compile(t, &Filter{Must: []Condition{IsNull{"a"}}}).NeedsPayload() {
		t.Error("NeedsPayload or All is wrong")
	}
}

// TestLazyPayload: conditions without payload are asked first.
func TestLazyPayload(t *testing.T) {
	p := &lazy{}
	m := compile(t, &Filter{Must: []Condition{IsNull{"a"}, HasID{}}})
	if m.Match(p) || p.reads != 0 {
		t.Errorf("payload was read %d times", p.reads)
	}
	m = compile(t, &Filter{Must: []Condition{IsEmpty{"a"}, IsEmpty{"b.c"}}, Should: []Condition{IsEmpty{"c"}}})
	if !m.Match(p) || p.reads != 1 {
		t.Errorf("payload was read %d times", p.reads)
	}
}

type lazy struct {
	point
	reads int
}

func (l *lazy) Payload() payload.Doc { l.reads++; return nil }

// Generators for the property: small domains, so that conditions often hold.

var keys = []string{"a", "b", "c", "a.b", "a[]", "a[].b", "a[1]", "a[0].c", "b.a.c", "c[][]", `"a.b"`, "c[].a[].b"}

func genScalar() *rapid.Generator[any] {
	return rapid.SampledFrom([]any{nil, true, false, int64(0), int64(1), int64(-7), 1.0, 0.5, "", "x", "y", "x yx",
		map[string]any{"lon": 0.5, "lat": int64(1)}, map[string]any{"lon": int64(-180), "lat": 90.0}, map[string]any{"lon": int64(181), "lat": 0.0}})
}

func genValue(depth int) *rapid.Generator[any] {
	if depth == 0 {
		return genScalar()
	}
	return rapid.OneOf(genScalar(),
		rapid.Map(rapid.SliceOfN(genValue(depth-1), 0, 3), func(l []any) any { return l }),
		rapid.Map(genObject(depth-1), func(o map[string]any) any { return o }))
}

func genObject(depth int) *rapid.Generator[map[string]any] {
	return rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "a.b"}), genValue(depth), 0, 4)
}

func genCondition(depth int) *rapid.Generator[Condition] {
	return rapid.Custom(func(t *rapid.T) Condition {
		key := Key(rapid.SampledFrom(keys).Draw(t, "key"))
		kinds := 16
		if depth == 0 {
			kinds = 14
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return Match{key, rapid.SampledFrom([]Scalar{scalarOf(true), scalarOf(int64(1)), scalarOf("x"), scalarOf("")}).Draw(t, "value")}
		case 1:
			vs := rapid.SampledFrom([][]Scalar{nil, {scalarOf("x"), scalarOf("")}, {scalarOf(int64(-7)), scalarOf(int64(1))}}).Draw(t, "values")
			return MatchAny{key, vs, rapid.Bool().Draw(t, "except")}
		case 2:
			f := rapid.Ptr(rapid.SampledFrom([]float64{-7, 0, 0.5, 1}), true)
			return Range{key, f.Draw(t, "gt"), f.Draw(t, "gte"), f.Draw(t, "lt"), f.Draw(t, "lte")}
		case 3:
			return IsEmpty{key}
		case 4:
			return IsNull{key}
		case 5:
			return HasID{rapid.SliceOfN(rapid.Map(rapid.Uint64Range(0, 3), topology.NumberID), 0, 3).Draw(t, "ids")}
		case 6:
			return HasVector{rapid.SampledFrom([]string{"", "u"}).Draw(t, "name")}
		case 7:
			n := rapid.Ptr(rapid.Uint64Range(0, 3), true)
			return ValuesCount{key, n.Draw(t, "gt"), n.Draw(t, "gte"), n.Draw(t, "lt"), n.Draw(t, "lte")}
		case 8:
			total := rapid.Uint32Range(1, 3).Draw(t, "total")
			return Slice{total, rapid.Uint32Range(0, total-1).Draw(t, "index")}
		case 9:
			return Prefix{key, rapid.SampledFrom([]string{"", "x", "x y"}).Draw(t, "text")}
		case 10:
			return Substring{key, rapid.SampledFrom([]string{"", "x", " y"}).Draw(t, "text")}
		case 11:
			return Text{Key: key, Words: rapid.SampledFrom([]string{"", "x", "y x", " z y"}).Draw(t, "words"), Mode: analysis.Mode(rapid.IntRange(0, 2).Draw(t, "mode"))}
		case 12:
			place := rapid.Custom(func(t *rapid.T) Place {
				return Place{rapid.SampledFrom([]float64{-180, 0, 0.5, 1, 180}).Draw(t, "lon"), rapid.SampledFrom([]float64{-90, 0, 1, 2, 90}).Draw(t, "lat")}
			})
			if rapid.Bool().Draw(t, "box") {
				return GeoBox{key, place.Draw(t, "top left"), place.Draw(t, "bottom right")}
			}
			return GeoPolygon{key, rapid.SliceOfN(place, 3, 5).Draw(t, "ring"), rapid.SliceOfN(rapid.SliceOfN(place, 3, 3), 0, 1).Draw(t, "holes")}
		case 13:
			return GeoRadius{key, Place{rapid.SampledFrom([]float64{-180, 0.5}).Draw(t, "lon"), 1}, rapid.SampledFrom([]float64{0, 1, 1e5, 1e7, 3e7}).Draw(t, "radius")}
		case 14:
			return Nested{key, *genFilter(depth-1).Draw(t, "nested")}
		default:
			return genFilter(depth-1).Draw(t, "sub")
		}
	})
}

func genFilter(depth int) *rapid.Generator[*Filter] {
	return rapid.Custom(func(t *rapid.T) *Filter {
		cs := rapid.SliceOfN(genCondition(depth), 0, 2)
		f := &Filter{Must: cs.Draw(t, "must"), Should: cs.Draw(t, "should"), MustNot: cs.Draw(t, "must_not")}
		if rapid.IntRange(0, 3).Draw(t, "min") == 0 {
			f.MinShould = &MinShould{cs.Draw(t, "conditions"), rapid.Uint64Range(0, 2).Draw(t, "count")}
		}
		return f
	})
}

// TestModel compares Match with the model.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := genFilter(2).Draw(rt, "filter")
		p := newPoint(t, topology.NumberID(rapid.Uint64Range(0, 3).Draw(rt, "id")),
			rapid.SampledFrom([][]string{nil, {""}, {"", "u"}}).Draw(rt, "vectors"), genObject(3).Draw(rt, "payload"))
		m := compile(t, f)
		got := m.Match(p)
		if want := modelFilter(f, p, p.tree); got != want {
			rt.Fatalf("got %v, want %v", got, want)
		}
		if m.All() && !got {
			rt.Fatal("All, but no match")
		}
	})
}

// TestBind: with an index on its path a text is read as the index cuts it, inside
// of nested conditions and sub-filters too, and what was given stays as it is.
func TestBind(t *testing.T) {
	words, err := analysis.New(analysis.Params{Tokenizer: analysis.Word, Lowercase: true})
	if err != nil {
		t.Fatal(err)
	}
	texts := Texts{"t": words, "l[].t": words}
	doc := newPoint(t, topology.NumberID(1), nil, decode(t, []byte(`{"t":["Red fox","dog"],"u":"Red fox","l":[{"t":"a Cat"},{"t":["big","hat"]}]}`)).(map[string]any))
	ask := func(key Key, mode analysis.Mode, s string) Condition { return Text{Key: key, Mode: mode, Words: s} }
	in := func(key Key, c Condition) Condition { return Nested{key, Filter{Must: []Condition{c}}} }
	for i, c := range []struct {
		cond         Condition
		plain, bound bool
	}{
		{ask("t", analysis.All, "red"), false, true}, {ask("t", analysis.All, "re"), false, false}, {ask("t", analysis.All, "Re"), true, false},
		{ask("t", analysis.All, "dog red"), false, true}, {ask("t", analysis.Any, "cat fo"), true, false}, {ask("t", analysis.Any, "cat dog"), true, true},
		{ask("t", analysis.Phrase, "red  FOX"), false, true}, {ask("t", analysis.Phrase, "fox dog"), false, false}, {ask("t", analysis.Phrase, "d f"), true, false},
		{ask(`"t"`, analysis.All, "red"), false, true}, {ask("u", analysis.All, "red"), false, false}, {ask("t[]", analysis.All, "red"), false, false},
		{in("l", ask("t", analysis.All, "cat")), false, true}, {in("l[]", ask("t", analysis.All, "hat big")), false, true}, {in("l", ask("t", analysis.All, "cat hat")), false, false},
		{ask("l[].t", analysis.All, "cat hat"), false, true}, {&Filter{Should: []Condition{ask("t", analysis.All, "red")}}, false, true},
		{&Filter{MinShould: &MinShould{[]Condition{ask("t", analysis.All, "red")}, 1}}, false, true}, {&Filter{MustNot: []Condition{ask("t", analysis.All, "red")}}, true, false},
	} {
		f := &Filter{Must: []Condition{c.cond}}
		if bound := compile(t, texts.Bind(f)).Match(doc); bound != c.bound {
			t.Errorf("%d: %+v with indexes: %v", i, c.cond, bound)
		}
		if plain := compile(t, f).Match(doc); plain != c.plain {
			t.Errorf("%d: %+v without: %v", i, c.cond, plain)
		}
	}
	if f := (&Filter{}); texts.Bind(nil) != nil || Texts(nil).Bind(f) != f {
		t.Error("nothing to bind")
	}
}

// FuzzMatch: no key and no valid payload makes Compile or Match fail otherwise
// than by ErrFilter; a condition and its must_not never agree.
func FuzzMatch(f *testing.F) {
	p := newPoint(f, topology.NumberID(1), nil, map[string]any{"a": []any{int64(1), map[string]any{"b": "x"}}, "c": nil})
	for _, k := range keys {
		f.Add(k, []byte(p.doc), "x", int64(1))
	}
	f.Fuzz(func(t *testing.T, key string, doc []byte, s string, n int64) {
		if len(doc) > 0 && payload.Validate(doc) != nil {
			return
		}
		p := &point{doc: doc}
		inner := Filter{Must: []Condition{IsEmpty{"b"}}}
		words, err := analysis.New(analysis.Params{Tokenizer: analysis.Prefix, Lowercase: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []Condition{Match{Key(key), scalarOf(s)}, MatchAny{Key(key), []Scalar{scalarOf(n)}, true},
			Range{Key: Key(key)}, IsNull{Key(key)}, IsEmpty{Key(key)}, Nested{Key(key), inner},
			Prefix{Key(key), s}, Substring{Key(key), s}, Text{Key: Key(key), Words: s}, Text{Key: Key(key), Words: s, Mode: analysis.Any}, Text{Key: Key(key), Words: s, With: words},
			ValuesCount{Key: Key(key), LT: new(uint64(n))}, GeoRadius{Key(key), Place{}, 1e6}, GeoPolygon{Key: Key(key), Exterior: []Place{{0, 0}, {10, 0}, {0, 10}}}} {
			yes, err := Compile(&Filter{Must: []Condition{c}})
			if err != nil {
				if !errors.Is(err, ErrFilter) {
					t.Fatal(err)
				}
				continue
			}
			if no := compile(t, &Filter{MustNot: []Condition{c}}); yes.Match(p) == no.Match(p) {
				t.Fatalf("%T %q holds and does not", c, key)
			}
		}
	})
}

// BenchmarkMatch runs filters over 150,000 payloads of the shape
// {word, length, first, rank, kind}; rows/s is the figure.
func BenchmarkMatch(b *testing.B) {
	const rows = 150_000
	points := make([]point, rows)
	for i := range points {
		points[i] = *newPoint(b, topology.NumberID(uint64(i)), nil, map[string]any{
			"word": "w" + string(rune('a'+i%26)) + "ord", "length": int64(i % 17), "first": string(rune('a' + i%26)),
			"rank": int64(i * 7 % 341479), "kind": []string{"alpha", "mixed", "number"}[i%3]})
	}
	limit := 20000.0
	str := func(s string) Scalar { return Scalar{Kind: StringScalar, Str: s} }
	for name, f := range map[string]*Filter{
		"range":  {Must: []Condition{Range{Key: "rank", LT: &limit}}},
		"string": {Must: []Condition{Match{"first", str("q")}}},
		"three":  {Must: []Condition{Match{"kind", str("alpha")}, Range{Key: "rank", LT: &limit}}, MustNot: []Condition{MatchAny{"first", []Scalar{str("a"), str("b")}, false}}},
		"path":   {Must: []Condition{Match{"kind[]", str("alpha")}}},
	} {
		m := compile(b, f)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for i := range points {
					m.Match(&points[i])
				}
			}
			b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
