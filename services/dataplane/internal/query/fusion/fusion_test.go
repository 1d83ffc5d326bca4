package fusion

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"pgregory.net/rapid"
)

func list(pairs ...[2]float64) (l List) {
	for _, p := range pairs {
		l.Hits = append(l.Hits, Hit{topology.NumberID(uint64(p[0])), float32(p[1])})
	}
	return l
}

// TestOracle: rankings are what the published Python client makes of the same lists.
// testdata/generate.py asked it.
func TestOracle(t *testing.T) {
	var all struct {
		Fused []struct {
			Lists   [][][2]float64
			DBSF    bool
			K       uint32
			Weights []float32
			Fused   [][2]float64
		}
		Spread []struct {
			Distance string
			Lambda   float32
			Limit    int
			Target   []float32
			Vectors  [][]float32
			Taken    []int
		}
	}
	b, err := os.ReadFile("testdata/oracle.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Fused) != 120 || len(all.Spread) != 60 {
		t.Fatalf("%d and %d cases", len(all.Fused), len(all.Spread))
	}
	for i, c := range all.Fused {
		var lists []List
		for _, l := range c.Lists {
			lists = append(lists, list(l...))
		}
		got := RRF(lists, c.K, c.Weights)
		if c.DBSF {
			got = DBSF(lists)
		}
		want := list(c.Fused...).Hits
		slices.SortFunc(want, Compare)
		if len(got) != len(want) {
			t.Fatalf("case %d: %v, want %v", i, got, want)
		}
		for j := range got {
			if got[j].ID != want[j].ID || math.Abs(float64(got[j].Score-want[j].Score)) > 1e-5 {
				t.Fatalf("case %d: %v, want %v", i, got, want)
			}
		}
	}
	distances := map[string]query.Distance{"Cosine": query.Cosine, "Dot": query.Dot, "Euclid": query.Euclid, "Manhattan": query.Manhattan}
	for i, c := range all.Spread {
		d := distances[c.Distance]
		relevance := make([]float32, len(c.Vectors))
		for j := range c.Vectors {
			relevance[j] = Similarity(d, op.Vector{Data: c.Target}, op.Vector{Data: c.Vectors[j]})
		}
		similarity := func(a, b int) float32 {
			return Similarity(d, op.Vector{Data: c.Vectors[a]}, op.Vector{Data: c.Vectors[b]})
		}
		if got := MMR(relevance, similarity, c.Lambda, c.Limit); !slices.Equal(got, c.Taken) {
			t.Errorf("case %d, %s: %v, want %v", i, c.Distance, got, c.Taken)
		}
	}
}

// TestEqualScoresAreHalf: also where their mean, rounded, is none of them.
func TestEqualScoresAreHalf(t *testing.T) {
	for _, h := range DBSF([]List{list([2]float64{1, 0.1}, [2]float64{2, 0.1}, [2]float64{3, 0.1}), list([2]float64{4, 7}), {}}) {
		if h.Score != 0.5 {
			t.Errorf("%v", h)
		}
	}
}

// TestNearIsGood: in lists of distances the nearest point gets most.
func TestNearIsGood(t *testing.T) {
	near := list([2]float64{1, 0.5}, [2]float64{2, 1.5}, [2]float64{3, 2.5})
	near.SmallerIsBetter = true
	if got := DBSF([]List{near}); got[0].ID.Number() != 1 || got[2].ID.Number() != 3 || got[1].Score != 0.5 {
		t.Errorf("%v", got)
	}
}

func TestSimilarity(t *testing.T) {
	sparse := func(indices []uint32, data ...float32) op.Vector { return op.Vector{Indices: indices, Data: data} }
	rows := func(data ...float32) op.Vector { return op.Vector{Count: len(data) / 2, Data: data} }
	for _, c := range []struct {
		d    query.Distance
		a, b op.Vector
		want float32
	}{
		{query.Dot, sparse([]uint32{1, 4, 9}, 1, 2, 3), sparse([]uint32{0, 4, 9}, 5, 7, 1), 17},
		{query.Dot, sparse([]uint32{1}, 1), sparse([]uint32{2}, 1), 0},
		{query.Dot, rows(1, 0, 0, 1), rows(2, 1, 0, 3), 5},
		{query.Euclid, rows(1, 0), rows(1, 2, 4, 0), -4},
		{query.Cosine, op.Vector{Data: []float32{3, 4}}, op.Vector{Data: []float32{6, 8}}, 1},
		{query.Cosine, op.Vector{Data: []float32{0, 0}}, op.Vector{Data: []float32{6, 8}}, 0},
		{query.Manhattan, op.Vector{Data: []float32{1, 1}}, op.Vector{Data: []float32{3, 0}}, -3},
	} {
		if got := Similarity(c.d, c.a, c.b); math.Abs(float64(got-c.want)) > 1e-6 {
			t.Errorf("distance %d, %v and %v: %v, want %v", c.d, c.a, c.b, got, c.want)
		}
	}
}

// TestOrderOfSourcesDoesNotMatter: a fused ranking follows from the lists, not from the order of the lists or from that
// of a map; it is sorted and has every point once.
func TestOrderOfSourcesDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lists := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) List {
			ids := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 9), 0, 6, func(n uint64) uint64 { return n }).Draw(t, "ids")
			var l List
			for i, id := range ids {
				l.Hits = append(l.Hits, Hit{topology.NumberID(id), float32(-i)})
			}
			return l
		}), 1, 4).Draw(t, "lists")
		back := slices.Clone(lists)
		slices.Reverse(back)
		for name, fuse := range map[string]func([]List) []Hit{"dbsf": DBSF, "rrf": func(l []List) []Hit { return RRF(l, DefaultK, nil) }} {
			got, again := fuse(lists), fuse(back)
			if len(got) != len(again) || !slices.IsSortedFunc(got, Compare) {
				t.Fatalf("%s: %v, %v", name, got, again)
			}
			seen := map[topology.PointID]float32{}
			for _, h := range got {
				if _, twice := seen[h.ID]; twice {
					t.Fatalf("%s: %v twice", name, h.ID)
				}
				seen[h.ID] = h.Score
			}
			for _, h := range again {
				if math.Abs(float64(seen[h.ID]-h.Score)) > 1e-5 {
					t.Fatalf("%s: %v has %v and %v", name, h.ID, seen[h.ID], h.Score)
				}
			}
		}
	})
}

func TestVarietyOfNothing(t *testing.T) {
	if got := MMR(nil, nil, 0.5, 3); got != nil {
		t.Errorf("%v", got)
	}
	same := func(int, int) float32 { return 1 }
	if got := MMR([]float32{1, 1, 1}, same, 0.5, 9); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("of equals the first comes first: %v", got)
	}
}
