package grouping

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"pgregory.net/rapid"
)

// world is a ranking of points with the groups of each.
type world []Member[int]

// rank gives the first n places of those that pass.
func (w world) rank(n int, pass func(Member[int]) bool) []Member[int] {
	var out []Member[int]
	for _, m := range w {
		if pass(m) && len(out) < n {
			out = append(out, m)
		}
	}
	return out
}

// whole is what the ranking says if it is read to its end.
func (w world) whole(most, size int) (keys []Key, points map[Key][]int) {
	points = map[Key][]int{}
	for _, m := range w {
		for _, k := range m.Keys {
			if _, ok := points[k]; !ok {
				keys = append(keys, k)
			}
			if len(points[k]) < size {
				points[k] = append(points[k], m.Point)
			}
		}
	}
	return keys[:min(most, len(keys))], points
}

// TestCutRankingsSayAll: gathered from rankings that are cut anywhere, groups are what the whole ranking says.
func TestCutRankingsSayAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := make(world, rapid.IntRange(0, 60).Draw(t, "points"))
		for i := range w {
			w[i].Point = i
			for _, n := range rapid.SliceOfNDistinct(rapid.Int64Range(0, 8), 0, 3, func(n int64) int64 { return n }).Draw(t, "keys") {
				k := Key{Int: n, IsInt: true}
				if n > 4 {
					k = Key{Text: fmt.Sprint(n)}
				}
				w[i].Keys = append(w[i].Keys, k)
			}
		}
		most, size := rapid.IntRange(1, 6).Draw(t, "most"), rapid.IntRange(1, 5).Draw(t, "size")
		g := New[int](most, size)
		for n := rapid.IntRange(1, 9).Draw(t, "cut"); !g.Full(); n *= 2 {
			known := g.Known()
			found := w.rank(n, func(m Member[int]) bool {
				return slices.ContainsFunc(m.Keys, func(k Key) bool { return !slices.Contains(known, k) })
			})
			if g.Discover(found); len(found) < n {
				break
			}
		}
		for n := rapid.IntRange(1, 9).Draw(t, "fill"); ; n *= 2 {
			open := g.Open()
			found := w.rank(n, func(m Member[int]) bool {
				return slices.ContainsFunc(m.Keys, func(k Key) bool { return slices.Contains(open, k) })
			})
			if g.Fill(found); len(found) < n {
				break
			}
		}
		keys, points := w.whole(most, size)
		if !slices.Equal(g.Known(), keys) {
			t.Fatalf("groups %v, want %v", g.Known(), keys)
		}
		for _, k := range keys {
			if !slices.Equal(g.Of(k), points[k]) {
				t.Fatalf("group %v has %v, want %v", k, g.Of(k), points[k])
			}
		}
	})
}

func TestKeys(t *testing.T) {
	var b payload.Builder
	b.BeginObject()
	b.Key("a")
	b.BeginList()
	for range 2 {
		b.Str("x")
		b.Int(-3)
	}
	b.End()
	b.Key("o")
	b.BeginObject()
	b.Key("n")
	b.Int(7)
	b.End()
	b.Key("bad")
	b.BeginList()
	b.Int(1)
	b.Bool(true)
	b.End()
	b.Key("f")
	b.Double(1.5)
	b.End()
	d, err := b.Doc()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]Key{"a": {{Text: "x"}, {Int: -3, IsInt: true}}, "a[]": {{Text: "x"}, {Int: -3, IsInt: true}}, "o.n": {{Int: 7, IsInt: true}},
		"bad": nil, "f": nil, "gone": nil, "o": nil} {
		p, err := payload.ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := Keys(p, d); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}
