package query

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/internal/topology"
)

var equal = cmp.Options{cmp.AllowUnexported(topology.PointID{}), cmpopts.EquateEmpty()}

func genID() *rapid.Generator[topology.PointID] {
	return rapid.Custom(func(t *rapid.T) topology.PointID {
		n := rapid.Uint64Range(0, 30).Draw(t, "n")
		if rapid.Bool().Draw(t, "uuid") {
			return topology.UUIDID([16]byte{15: byte(n)})
		}
		return topology.NumberID(n)
	})
}

// genParts gives what shards might hold: ids unique in a shard, mostly in one
// shard only; scores from few values, so that ties are common.
func genParts() *rapid.Generator[[][]Scored] {
	one := rapid.Custom(func(t *rapid.T) Scored {
		return Scored{Record: Record{ID: genID().Draw(t, "id"), Version: rapid.Uint64Range(1, 3).Draw(t, "version")},
			Score: rapid.SampledFrom([]float32{-1, 0, 0.5, 2}).Draw(t, "score")}
	})
	return rapid.SliceOfN(rapid.SliceOfNDistinct(one, 0, 12, func(s Scored) topology.PointID { return s.ID }), 0, 5)
}

func byScore(d Distance) func(a, b Scored) int {
	return func(a, b Scored) int {
		switch {
		case Less(d, a, b):
			return -1
		case Less(d, b, a):
			return 1
		default:
			return 0
		}
	}
}

// TestMergeNearest: merging equals sorting everything, dropping ids that came
// before and cutting out the page.
func TestMergeNearest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := rapid.SampledFrom([]Distance{Cosine, Euclid, Dot, Manhattan}).Draw(rt, "distance")
		parts := genParts().Draw(rt, "parts")
		offset, limit := rapid.IntRange(-1, 8).Draw(rt, "offset"), rapid.IntRange(-1, 12).Draw(rt, "limit")
		all := slices.Concat(parts...)
		slices.SortStableFunc(all, byScore(d))
		var want []Scored
		seen := map[topology.PointID]bool{}
		for _, s := range all {
			if !seen[s.ID] {
				want = append(want, s)
			}
			seen[s.ID] = true
		}
		if offset < 0 || limit <= 0 {
			want = nil
		}
		want = want[min(len(want), max(0, offset)):]
		want = want[:min(len(want), max(0, limit))]
		for i, p := range parts {
			p = slices.Clone(p)
			slices.SortStableFunc(p, byScore(d))
			if len(seen) == len(all) { // no id on two shards: offset+limit of each are enough
				p = p[:min(len(p), max(0, offset+limit))]
			}
			parts[i] = p
		}
		before := cloneParts(parts)
		if got := MergeNearest(d, parts, offset, limit); !cmp.Equal(got, want, equal) {
			rt.Fatalf("got %v\nwant %v", got, want)
		}
		if !cmp.Equal(parts, before, equal) {
			rt.Fatal("parts were changed")
		}
	})
}

func cloneParts(parts [][]Scored) (out [][]Scored) {
	for _, p := range parts {
		out = append(out, slices.Clone(p))
	}
	return out
}

func records(parts [][]Scored) (out [][]Record) {
	for _, p := range parts {
		var rs []Record
		for _, s := range p {
			rs = append(rs, s.Record)
		}
		slices.SortFunc(rs, func(a, b Record) int { return a.ID.Compare(b.ID) })
		out = append(out, rs)
	}
	return out
}

// newest is every id's record of the highest version, the first of equals.
func newest(parts [][]Record) map[topology.PointID]Record {
	m := map[topology.PointID]Record{}
	for _, r := range slices.Concat(parts...) {
		if old, ok := m[r.ID]; !ok || r.Version > old.Version {
			m[r.ID] = r
		}
	}
	return m
}

// TestMergeScroll walks all pages: together they are the set, in order, once.
func TestMergeScroll(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		parts := records(genParts().Draw(rt, "parts"))
		limit := rapid.IntRange(1, 7).Draw(rt, "limit")
		want := newest(parts)
		var got []Record
		var from *topology.PointID
		for {
			asked := make([][]Record, len(parts))
			for i, p := range parts {
				at := 0
				if from != nil {
					at, _ = slices.BinarySearchFunc(p, *from, func(r Record, id topology.PointID) int { return r.ID.Compare(id) })
				}
				asked[i] = p[at:min(len(p), at+limit+1)]
			}
			page, next := MergeScroll(asked, limit)
			if next != nil && len(page) != limit {
				rt.Fatalf("a page of %d before the end", len(page))
			}
			got = append(got, page...)
			if from = next; next == nil {
				break
			}
		}
		if len(got) != len(want) || !slices.IsSortedFunc(got, func(a, b Record) int { return a.ID.Compare(b.ID) }) {
			rt.Fatalf("got %v, want %v", got, want)
		}
		for _, r := range got {
			if !cmp.Equal(r, want[r.ID], equal) {
				rt.Fatalf("got %v, want %v", r, want[r.ID])
			}
		}
	})
	if page, next := MergeScroll([][]Record{{{}}}, 0); page != nil || next != nil {
		t.Error("limit 0 gives something")
	}
}

func TestMergeGet(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		parts := records(genParts().Draw(rt, "parts"))
		ids := rapid.SliceOfN(genID(), 0, 20).Draw(rt, "ids")
		have := newest(parts)
		var want []Record
		for i, id := range ids {
			if r, ok := have[id]; ok && !slices.Contains(ids[:i], id) {
				want = append(want, r)
			}
		}
		if got := MergeGet(ids, parts); !cmp.Equal(got, want, equal) {
			rt.Fatalf("got %v\nwant %v", got, want)
		}
	})
}

func TestOrder(t *testing.T) {
	a, b := Scored{Score: 1}, Scored{Score: 2, Record: Record{ID: topology.NumberID(1)}}
	for d, smaller := range map[Distance]bool{Cosine: false, Dot: false, Euclid: true, Manhattan: true} {
		if Less(d, a, b) != smaller || Less(d, b, a) == smaller || d.SmallerIsBetter() != smaller {
			t.Errorf("distance %d: the order of scores is wrong", d)
		}
		if d.Within(1, 2) != smaller || d.Within(2, 1) == smaller || !d.Within(1, 1) {
			t.Errorf("distance %d: the threshold is wrong", d)
		}
		b1 := b
		b1.Score = 1
		if !Less(d, a, b1) || Less(d, b1, a) || Less(d, a, a) {
			t.Errorf("distance %d: ties do not go by id", d)
		}
	}
	if n := MergeCounts([]uint64{1, 2, 3}); n != 6 {
		t.Errorf("counted %d", n)
	}
}
