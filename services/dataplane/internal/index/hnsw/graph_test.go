package hnsw

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// random makes n rows: points around few centres, with some rows equal to others.
func random(seed uint64, n, dim, centres int, equal float64, d query.Distance) Vectors {
	rng := rand.New(rand.NewPCG(seed, 1))
	v := Vectors{Dim: dim, Stride: dim, Distance: d}
	mid := make([]float32, centres*dim)
	for i := range mid {
		mid[i] = float32(rng.NormFloat64())
	}
	for i := range n {
		if i > 0 && rng.Float64() < equal {
			from := rng.IntN(i) * dim
			v.Float32 = append(v.Float32, v.Float32[from:from+dim]...)
			continue
		}
		c := rng.IntN(centres) * dim
		for j := range dim {
			v.Float32 = append(v.Float32, mid[c+j]+0.3*float32(rng.NormFloat64()))
		}
		if d == query.Cosine {
			kernel.Normalize(v.Float32[i*dim:])
		}
	}
	return v
}

// check holds the graph to what every graph promises.
func check(t rapid.TB, g *Graph, skip *mask.Mask) {
	t.Helper()
	linked := 0
	for r := range uint32(g.rows) {
		if !skip.Dead(r, mask.Now) {
			linked++
		}
	}
	if linked == 0 {
		if len(g.layers) != 0 || len(g.tops) != 0 {
			t.Fatalf("a graph of nothing has %d layers", len(g.layers))
		}
		return
	}
	for l := range g.layers {
		layer := &g.layers[l]
		for node := range uint32(layer.nodes()) {
			var links []uint32
			for i, id := range layer.of(node) {
				if id == none {
					for _, rest := range layer.of(node)[i:] {
						if rest != none {
							t.Fatalf("layer %d node %d: a link behind the last", l, node)
						}
					}
					break
				}
				if slices.Contains(links, id) || id == node || int(id) >= layer.nodes() || l == 0 && skip.Dead(id, mask.Now) {
					t.Fatalf("layer %d node %d links to %d", l, node, id)
				}
				links = append(links, id)
			}
			if l == 0 && skip.Dead(node, mask.Now) && len(links) > 0 {
				t.Fatalf("row %d was skipped and has links", node)
			}
		}
	}
	if reached := g.reach(); len(reached.list) != linked {
		t.Fatalf("%d of %d rows can be reached", len(reached.list), linked)
	}
}

// symmetric is the share of links of layer 0 that lead back too.
func symmetric(g *Graph) float64 {
	back, all := 0, 0
	for node := range uint32(g.rows) {
		for _, id := range g.layers[0].of(node) {
			if id == none {
				break
			}
			if all++; slices.Contains(g.layers[0].of(id), node) {
				back++
			}
		}
	}
	return float64(back) / float64(all)
}

func TestInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 2, 3, 40, 300, 700}).Draw(rt, "rows")
		d := rapid.SampledFrom([]query.Distance{query.Cosine, query.Dot, query.Euclid, query.Manhattan}).Draw(rt, "distance")
		equal := rapid.SampledFrom([]float64{0, 0.3, 0.95, 1}).Draw(rt, "equal")
		v := random(rapid.Uint64().Draw(rt, "vectors"), n, rapid.SampledFrom([]int{1, 2, 9}).Draw(rt, "dim"), 3, equal, d)
		p := Params{M: rapid.SampledFrom([]int{2, 3, 8}).Draw(rt, "m"), EfConstruct: rapid.SampledFrom([]int{1, 4, 30}).Draw(rt, "ef_construct")}
		o := BuildOptions{Threads: rapid.IntRange(1, 3).Draw(rt, "threads"), Seed: rapid.Uint64().Draw(rt, "seed")}
		if rapid.Bool().Draw(rt, "skip") {
			o.Skip = mask.New(n)
			rng := rand.New(rand.NewPCG(o.Seed, 2))
			for range n {
				o.Skip.Kill(uint32(rng.IntN(n)), 1)
			}
		}
		if rapid.Bool().Draw(rt, "groups") {
			p.PayloadM = 2
			o.Groups = make([][]uint32, 3)
			for r := range uint32(n) {
				o.Groups[r%7%3] = append(o.Groups[r%7%3], r)
			}
		}
		g, err := Build(context.Background(), v, p, o)
		if err != nil {
			rt.Fatal(err)
		}
		check(rt, g, o.Skip)
		o.Threads = rapid.IntRange(1, 5).Draw(rt, "other threads")
		again, err := Build(context.Background(), v, p, o)
		if err != nil || !bytes.Equal(again.Append(nil), g.Append(nil)) {
			rt.Fatalf("a second build differs: %v", err)
		}
	})
}

// TestEqualVectors: thousands of equal rows are neither an island nor a wall.
func TestEqualVectors(t *testing.T) {
	for seed := range uint64(4) {
		v := random(5, 6000, 8, 40, 0, query.Euclid)
		for r := range 3000 {
			copy(v.Float32[(2*r+1)*v.Stride:], v.Float32[:v.Dim])
		}
		x := build(t, v, Params{M: 8, EfConstruct: 64}, BuildOptions{Threads: 2, Seed: seed})
		check(t, x.g, nil)
		if s := symmetric(x.g); s < 0.5 {
			t.Errorf("%.2f of the links lead back", s)
		}
		missed := 0
		for r := 0; r < 6000; r += 2 {
			hits, err := x.Search(t.Context(), &Query{Query: index.Query{Vector: v.numbers(uint32(r)), K: 1}, Ef: 64, ScanBelow: 1}, nil)
			if err != nil || len(hits) != 1 {
				t.Fatalf("row %d: %v %v", r, hits, err)
			}
			if hits[0].Score != 0 {
				missed++
			}
		}
		if missed > 3 {
			t.Errorf("seed %d: %d of 3000 rows do not find themselves", seed, missed)
		}
	}
}

func TestRefusals(t *testing.T) {
	v := random(1, 10, 3, 1, 0, query.Dot)
	for p, field := range map[Params]string{{M: 1, EfConstruct: 5}: "m is 1", {M: -1, EfConstruct: 5}: "m is -1", {M: MaxM + 1, EfConstruct: 5}: "m is 257",
		{M: 4}: "ef_construct is 0", {M: 4, EfConstruct: MaxEfConstruct + 1}: "ef_construct is 65537"} {
		if _, err := Build(t.Context(), v, p, BuildOptions{}); !errors.Is(err, ErrParams) || !bytes.Contains([]byte(err.Error()), []byte(field)) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	p := Params{M: 4, EfConstruct: 10}
	for _, bad := range []Vectors{{Float32: v.Float32, Dim: 3, Stride: 2}, {Float32: v.Float32, Dim: 0, Stride: 3}, {Float32: v.Float32[:7], Dim: 3, Stride: 3}, {Float32: v.Float32, Dim: 3, Stride: 3, Distance: 99}} {
		if _, err := Build(t.Context(), bad, p, BuildOptions{}); err == nil {
			t.Errorf("vectors %d %d %d of %d floats were taken", bad.Dim, bad.Stride, bad.Distance, len(bad.Float32))
		}
	}
	g, err := Build(t.Context(), v, p, BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	short, other := v, v
	short.Float32, other.Distance = v.Float32[3:], query.Euclid
	for _, bad := range []Vectors{short, other} {
		if _, err := Open(bad, g, nil, Options{}); !errors.Is(err, ErrMismatch) {
			t.Errorf("opened beside other vectors: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, threads := range []int{1, 2} {
		if _, err := Build(ctx, random(1, 500, 3, 1, 0, query.Dot), p, BuildOptions{Threads: threads}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

// TestThreads: a graph over real vectors is the same to the byte, whatever the
// number of threads.
func TestThreads(t *testing.T) {
	d := load(t, words)
	var first []byte
	for _, threads := range []int{1, 2, 4} {
		x := build(t, d.v, Params{M: 8, EfConstruct: 40}, BuildOptions{Threads: threads, Seed: 3})
		check(t, x.g, nil)
		b := x.g.Append(nil)
		if first == nil {
			first = b
		}
		if !bytes.Equal(b, first) {
			t.Errorf("%d threads build another graph than one", threads)
		}
		if s := symmetric(x.g); s < 0.5 {
			t.Errorf("%.2f of the links lead back", s)
		}
	}
}
