package payload

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The naive form of values: nil, bool, int64, float64, string, []any, map[string]any.

func feed(b *Builder, v any, perm func([]string) []string) {
	switch v := v.(type) {
	case nil:
		b.Null()
	case bool:
		b.Bool(v)
	case int64:
		b.Int(v)
	case float64:
		b.Double(v)
	case string:
		b.Str(v)
	case []any:
		b.BeginList()
		for _, e := range v {
			feed(b, e, perm)
		}
		b.End()
	case map[string]any:
		b.BeginObject()
		for _, k := range perm(slices.Sorted(maps.Keys(v))) {
			b.Key(k)
			feed(b, v[k], perm)
		}
		b.End()
	}
}

func inOrder(ks []string) []string { return ks }

func doc(t interface {
	Helper()
	Fatal(...any)
}, m map[string]any) Doc {
	t.Helper()
	var b Builder
	feed(&b, m, inOrder)
	d, err := b.Doc()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func naive(v Value) any {
	switch v.Kind() {
	case Bool:
		return v.Bool()
	case Integer:
		return v.Int()
	case Double:
		return v.Double()
	case String:
		return v.Str()
	case List:
		out := []any{}
		for e := range v.Elements() {
			out = append(out, naive(e))
		}
		return out
	case Object:
		out := map[string]any{}
		for k, e := range v.Fields() {
			out[k] = naive(e)
		}
		return out
	default:
		return nil
	}
}

var keyGen = rapid.SampledFrom([]string{"a", "b", "c", "ab", "", "é", "a.b"})

func valueGen(level int) *rapid.Generator[any] {
	gens := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int64().AsAny(),
		rapid.Float64Range(-1e300, 1e300).AsAny(), rapid.String().Filter(validText).AsAny(),
	}
	if level > 0 {
		gens = append(gens, rapid.Custom(func(t *rapid.T) any {
			return rapid.SliceOfN(valueGen(level-1), 0, 4).Draw(t, "list")
		}), objectGen(level-1).AsAny())
	}
	return rapid.OneOf(gens...)
}

func objectGen(level int) *rapid.Generator[map[string]any] {
	return rapid.MapOfN(keyGen, valueGen(level), 0, 5)
}

func pathGen() *rapid.Generator[Path] {
	return rapid.Custom(func(t *rapid.T) Path {
		p := Path{steps: []step{{key: keyGen.Draw(t, "key")}}}
		for range rapid.IntRange(0, 3).Draw(t, "len") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				p.steps = append(p.steps, step{kind: byEach})
			case 1:
				p.steps = append(p.steps, step{kind: byIndex, index: rapid.IntRange(0, 3).Draw(t, "i")})
			default:
				p.steps = append(p.steps, step{key: keyGen.Draw(t, "key")})
			}
		}
		return p
	})
}

// The edits once more, on maps.

func naiveMerge(dst, src map[string]any) map[string]any {
	out := maps.Clone(dst)
	for k, v := range src {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = v
		}
	}
	return out
}

func naiveSet(v any, steps []step, src map[string]any) any {
	if len(steps) == 0 {
		m, _ := v.(map[string]any)
		if m == nil {
			m = map[string]any{}
		}
		return naiveMerge(m, src)
	}
	if steps[0].kind == byKey {
		m, _ := v.(map[string]any)
		m = maps.Clone(m)
		if m == nil {
			m = map[string]any{}
		}
		m[steps[0].key] = naiveSet(m[steps[0].key], steps[1:], src)
		return m
	}
	l, _ := v.([]any)
	l = append([]any{}, l...)
	for i := range l {
		if steps[0].kind == byEach || steps[0].index == i {
			l[i] = naiveSet(l[i], steps[1:], src)
		}
	}
	return l
}

func naiveRemove(v any, steps []step) any {
	last := len(steps) == 1
	switch v := v.(type) {
	case map[string]any:
		if steps[0].kind != byKey {
			return v
		}
		v = maps.Clone(v)
		e, ok := v[steps[0].key]
		if ok && last {
			delete(v, steps[0].key)
		} else if ok {
			v[steps[0].key] = naiveRemove(e, steps[1:])
		}
		return v
	case []any:
		if steps[0].kind == byKey {
			return v
		}
		out := []any{}
		for i, e := range v {
			if steps[0].kind == byIndex && (last || steps[0].index != i) {
				out = append(out, e)
			} else if !last {
				out = append(out, naiveRemove(e, steps[1:]))
			}
		}
		return out
	}
	return v
}

func naiveWalk(v any, steps []step) []any {
	if len(steps) == 0 {
		return []any{v}
	}
	var out []any
	switch v := v.(type) {
	case map[string]any:
		if e, ok := v[steps[0].key]; ok && steps[0].kind == byKey {
			out = naiveWalk(e, steps[1:])
		}
	case []any:
		for i, e := range v {
			if steps[0].kind == byEach || (steps[0].kind == byIndex && steps[0].index == i) {
				out = append(out, naiveWalk(e, steps[1:])...)
			}
		}
	}
	return out
}

// TestModel holds reading, walking and editing against the naive form.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := objectGen(3).Draw(t, "doc")
		src := objectGen(1).Draw(t, "src")
		p := pathGen().Draw(t, "path")
		d, s := doc(t, m), doc(t, src)
		equal := func(what string, got Doc, want any) {
			if err := Validate(got); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if w := doc(t, want.(map[string]any)); !slices.Equal(got, w) {
				t.Fatalf("%s: got %v, want %v", what, naive(got.Value()), want)
			}
		}
		equal("naive form", doc(t, naive(d.Value()).(map[string]any)), m)
		merged, err := Merge(d, s)
		if err != nil {
			t.Fatal(err)
		}
		equal("merge", merged, naiveMerge(m, src))
		put, err := SetAt(d, p, s)
		if err != nil {
			t.Fatal(err)
		}
		equal("set", put, naiveSet(m, p.steps, src))
		equal("delete", DeleteAt(d, []Path{p}), naiveRemove(m, p.steps))
		var walked []any
		p.Walk(d, func(v Value) bool { walked = append(walked, naive(v)); return true })
		want := naiveWalk(m, p.steps)
		if len(want) != len(walked) {
			t.Fatalf("walk: %d values, want %d", len(walked), len(want))
		}
		for i := range want {
			if x, y := doc(t, map[string]any{"": walked[i]}), doc(t, map[string]any{"": want[i]}); !slices.Equal(x, y) {
				t.Fatalf("walk %d: got %v, want %v", i, walked[i], want[i])
			}
		}
		kept := Project(d, []Path{p}, nil)
		if err := Validate(kept); err != nil {
			t.Fatalf("project: %v", err)
		}
		if p.String() != "" && len(want) > 0 && !hasIndex(p) {
			n := 0
			p.Walk(kept, func(Value) bool { n++; return true })
			if n != len(want) {
				t.Fatalf("projection keeps %d of %d values", n, len(want))
			}
		}
	})
}

func hasIndex(p Path) bool {
	return slices.ContainsFunc(p.steps, func(s step) bool { return s.kind != byKey })
}

// TestCanonical: the order of keys in the source does not matter.
func TestCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := objectGen(3).Draw(t, "doc")
		d := doc(t, m)
		var b Builder
		feed(&b, m, func(ks []string) []string {
			if len(ks) == 0 {
				return ks
			}
			return rapid.Permutation(ks).Draw(t, "order")
		})
		other, err := b.Doc()
		if err != nil || !slices.Equal(d, other) {
			t.Fatalf("other order, other bytes (%v)", err)
		}
		if d.Len() != len(m) {
			t.Fatalf("Len %d, want %d", d.Len(), len(m))
		}
		for k := range m {
			if v, ok := d.Get(k); !ok || ValidateValue(v) != nil {
				t.Fatalf("key %q not found whole", k)
			}
		}
		if _, ok := d.Get("zz"); ok {
			t.Fatal("absent key found")
		}
	})
}
