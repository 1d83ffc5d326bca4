package payload

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func validText(s string) bool { return utf8.ValidString(s) }

// TestGolden pins the bytes that docs/format/op.md draws.
func TestGolden(t *testing.T) {
	d := doc(t, map[string]any{"b": []any{nil, true, int64(-2)}, "a": math.Copysign(0, -1), "c": "é", "d": map[string]any{}})
	const want = "06" + "37000000" + "04000000" +
		"0161" + "03" + "0000000000000080" +
		"0162" + "05" + "10000000" + "03000000" + "00" + "0101" + "02feffffffffffffff" +
		"0163" + "04" + "02c3a9" +
		"0164" + "06" + "04000000" + "00000000"
	if got := hex.EncodeToString(d); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestBuilderRefuses(t *testing.T) {
	deep := func(n int) func(*Builder) {
		return func(b *Builder) {
			b.BeginObject()
			b.Key("k")
			for range n - 1 {
				b.BeginList()
			}
			for range n - 1 {
				b.End()
			}
			b.End()
		}
	}
	field := func(f func(*Builder)) func(*Builder) {
		return func(b *Builder) { b.BeginObject(); b.Key("k"); f(b); b.End() }
	}
	for _, c := range []struct {
		name string
		do   func(*Builder)
		want error
	}{
		{"empty object", func(b *Builder) { b.BeginObject(); b.End() }, nil},
		{"NaN", field(func(b *Builder) { b.Double(math.NaN()) }), ErrNotFinite},
		{"infinity", field(func(b *Builder) { b.Double(math.Inf(-1)) }), ErrNotFinite},
		{"text", field(func(b *Builder) { b.Str("\xff") }), ErrUTF8},
		{"key", func(b *Builder) { b.BeginObject(); b.Key("\xff"); b.Null(); b.End() }, ErrUTF8},
		{"twice", field(func(b *Builder) { b.Null(); b.Key("a"); b.Null(); b.Key("k"); b.Null() }), ErrDuplicate},
		{"128 levels", deep(128), nil},
		{"129 levels", deep(129), ErrDepth},
		{"too large", field(func(b *Builder) { b.Str(strings.Repeat("x", MaxSize)) }), ErrTooLarge},
		{"nothing", func(*Builder) {}, ErrMisuse},
		{"no key", func(b *Builder) { b.BeginObject(); b.Null(); b.End() }, ErrMisuse},
		{"no value", func(b *Builder) { b.BeginObject(); b.Key("a"); b.End() }, ErrMisuse},
		{"key in list", field(func(b *Builder) { b.BeginList(); b.Key("a"); b.End() }), ErrMisuse},
		{"open", func(b *Builder) { b.BeginObject() }, ErrMisuse},
		{"two values", func(b *Builder) { b.BeginObject(); b.End(); b.Null() }, ErrMisuse},
		{"no object", func(b *Builder) { b.Null() }, ErrMisuse},
		{"end of nothing", func(b *Builder) { b.End() }, ErrMisuse},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Builder
			c.do(&b)
			d, err := b.Doc()
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && Validate(d) != nil {
				t.Fatal("built bytes are not valid")
			}
			b.Reset()
			b.BeginObject()
			b.End()
			if d, err := b.Doc(); err != nil || d != nil {
				t.Fatalf("after Reset: %v, %v", d, err)
			}
		})
	}
	var b Builder
	deep(127)(&b)
	v, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	for outer, want := range map[int]error{1: nil, 2: ErrDepth} {
		b.Reset()
		for range outer {
			b.BeginList()
		}
		b.Value(v)
		for range outer {
			b.End()
		}
		if _, err := b.Finish(); !errors.Is(err, want) {
			t.Fatalf("value of 127 levels inside %d: %v", outer, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for n := range 1 << 15 {
		if s := strings.Repeat("x", n); n < 300 || n&(n+1) == 0 || n&(n-1) == 0 {
			if got, want := SizeOf(String, n), len(AppendString(nil, s)); got != want {
				t.Errorf("a string of %d bytes: %d, want %d", n, got, want)
			}
			if got, want := KeySize(s), len(appendKey(nil, s)); got != want {
				t.Errorf("a key of %d bytes: %d, want %d", n, got, want)
			}
		}
	}
	for k, want := range map[Kind][]byte{Null: AppendNull(nil), Bool: AppendBool(nil, true), Integer: AppendInt(nil, 1), Double: AppendDouble(nil, 1),
		List: open(nil, List), Object: open(nil, Object)} {
		if got := SizeOf(k, 0); got != len(want) {
			t.Errorf("kind %d: %d, want %d", k, got, len(want))
		}
	}
}

func TestPaths(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a", "a"}, {"a.b", "a.b"}, {"a[].b", "a[].b"}, {"a[0].b", "a[0].b"}, {`"a.b".c`, `"a.b".c`}, {`"a"`, "a"},
		{"a[][1]", "a[][1]"}, {"straße-1_x", "straße-1_x"}, {`""`, `""`},
	} {
		p, err := ParsePath(c.in)
		if err != nil || p.String() != c.want {
			t.Errorf("%q: %q, %v; want %q", c.in, p, err, c.want)
		}
	}
	for _, in := range []string{"", ".", "a.", ".a", "a..b", "[0]", "a[", "a[x]", "a[-1]", "a b", `"a`, "a]", "a[0]b", "a[99999999999]", "a\xff", `a"b"`} {
		if _, err := ParsePath(in); !errors.Is(err, ErrPath) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestEdits(t *testing.T) {
	base := map[string]any{
		"a": map[string]any{"x": int64(1), "y": int64(2)},
		"l": []any{map[string]any{"x": int64(1), "y": "z"}, int64(7), map[string]any{"y": int64(3)}},
		"s": "text",
	}
	d := doc(t, base)
	path := func(s string) Path {
		p, err := ParsePath(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	deep := Doc(nil)
	for range MaxDepth {
		next, err := SetAt(nil, path("k"), deep)
		if err != nil {
			break
		}
		var b Builder
		b.BeginObject()
		b.Key("k")
		b.Value(deep.Value())
		b.End()
		if deep, err = b.Doc(); err != nil || len(next) == 0 {
			break
		}
	}
	if _, err := SetAt(nil, path("a.b"), deep); !errors.Is(err, ErrDepth) {
		t.Errorf("set too deep: %v", err)
	}
	for _, c := range []struct {
		name    string
		in, out string
		want    map[string]any
	}{
		{"whole key", "s", "", map[string]any{"s": "text"}},
		{"inside object", "a.x", "", map[string]any{"a": map[string]any{"x": int64(1)}}},
		{"each", "l[].x", "", map[string]any{"l": []any{map[string]any{"x": int64(1)}, int64(7), map[string]any{}}}},
		{"one element selects none", "l[2]", "", map[string]any{"l": []any{}}},
		{"scalar on the way", "s.x", "", map[string]any{"s": "text"}},
		{"list instead of an object", "l.x", "", map[string]any{"l": []any{}}},
		{"object instead of a list", "a[]", "", map[string]any{"a": map[string]any{}}},
		{"exclude of one element takes none", "", "l[0]", base},
		{"exclude", "", "l", map[string]any{"a": base["a"], "s": "text"}},
		{"exclude inside", "a", "a.y", map[string]any{"a": map[string]any{"x": int64(1)}}},
	} {
		var in, out []Path
		if c.in != "" {
			in = []Path{path(c.in)}
		}
		if c.out != "" {
			out = []Path{path(c.out)}
		}
		if got := Project(d, in, out); !bytes.Equal(got, doc(t, c.want)) {
			t.Errorf("%s: %v", c.name, naive(got.Value()))
		}
	}
}

// TestDeletionCanBeRepeated: an element named by its place is left alone, since the next one would take it.
func TestDeletionCanBeRepeated(t *testing.T) {
	d := doc(t, map[string]any{"l": []any{map[string]any{"x": int64(1), "y": "z"}, int64(7)}, "m": []any{[]any{int64(1)}}})
	for in, want := range map[string]map[string]any{
		"l[0]":    naive(d.Value()).(map[string]any),
		"m[0][0]": naive(d.Value()).(map[string]any),
		"l[]":     {"l": []any{}, "m": []any{[]any{int64(1)}}},
		"m[0][]":  {"l": []any{map[string]any{"x": int64(1), "y": "z"}, int64(7)}, "m": []any{[]any{}}},
		"l[0].x":  {"l": []any{map[string]any{"y": "z"}, int64(7)}, "m": []any{[]any{int64(1)}}},
	} {
		p, err := ParsePath(in)
		if err != nil {
			t.Fatal(err)
		}
		once := DeleteAt(d, []Path{p})
		if twice := DeleteAt(once, []Path{p}); !bytes.Equal(once, doc(t, want)) || !bytes.Equal(twice, once) {
			t.Errorf("%s: %v, then %v", in, naive(once.Value()), naive(twice.Value()))
		}
	}
}

// TestReadingAllocatesNothing: filters run these for every point.
func TestReadingAllocatesNothing(t *testing.T) {
	d := doc(t, map[string]any{"a": int64(1), "b": []any{"x", map[string]any{"c": "y"}}, "c": 2.5})
	p, err := ParsePath("b[].c")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	visit := func(v Value) bool { n += len(v.Str()); return true }
	if got := testing.AllocsPerRun(100, func() {
		for k, v := range d.All() {
			n += len(k) + v.Len()
			for e := range v.Elements() {
				n += len(e.Str())
			}
		}
		if v, ok := d.Get("c"); ok {
			f, _ := v.Number()
			n += int(f)
		}
		p.Walk(d, visit)
	}); got != 0 {
		t.Fatalf("%v allocations", got)
	}
	if n == 0 {
		t.Fatal("read nothing")
	}
}

// FuzzValidate: bytes that pass can be read, rebuilt to the same bytes and edited.
func FuzzValidate(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte(emptyObject))
	f.Add([]byte(doc(f, map[string]any{"b": []any{nil, true, int64(-2), []any{}}, "a": 1.5, "c": "é", "d": map[string]any{"x": "y"}})))
	f.Fuzz(func(t *testing.T, in []byte) {
		if Validate(in) != nil {
			return
		}
		m, ok := naive(Doc(in).Value()).(map[string]any)
		if !ok {
			t.Fatal("no object")
		}
		if again := doc(t, m); !bytes.Equal(again, in) {
			t.Fatalf("not canonical: % x and % x", in, again)
		}
		p, err := ParsePath("a[].b")
		if err != nil {
			t.Fatal(err)
		}
		if out := DeleteAt(in, []Path{p}); Validate(out) != nil {
			t.Fatal("edit broke it")
		}
	})
}

// FuzzParsePath: a path that parses prints as one that parses to the same.
func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"a", "a[].b[0]", `"a.b".c`, "a[", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			return
		}
		q, err := ParsePath(p.String())
		if err != nil || q.String() != p.String() {
			t.Fatalf("%q prints as %q: %v", s, p, err)
		}
	})
}
