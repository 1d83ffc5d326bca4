package hnsw

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// first is the rows of v of a stage less than n, and what they are built with.
func first(v Vectors, o BuildOptions, n int) (Vectors, BuildOptions) {
	all := v
	v.Float32, v.Float16, v.Uint8, v.Turbo, v.Has = nil, nil, nil, nil, nil
	to := BuildOptions{Threads: o.Threads, Earlier: o.Earlier, Seed: o.Seed}
	if n <= len(o.Earlier) {
		to.Earlier, to.Seed = o.Earlier[:n-1], o.Earlier[n-1]
	}
	for r, stage := range o.Stage {
		if int(stage) >= n {
			continue
		}
		to.Stage = append(to.Stage, stage)
		from, end := r*all.Stride, (r+1)*all.Stride
		switch {
		case all.Float16 != nil:
			v.Float16 = append(v.Float16, all.Float16[from:end]...)
		case all.Turbo != nil:
			v.Turbo = append(v.Turbo, all.Turbo[from:end]...)
		case all.Uint8 != nil:
			v.Uint8 = append(v.Uint8, all.Uint8[from:end]...)
		default:
			v.Float32 = append(v.Float32, all.Float32[from:end]...)
		}
		if all.Has == nil {
			continue
		}
		at := len(to.Stage) - 1
		if at%64 == 0 {
			v.Has = append(v.Has, 0)
		}
		v.Has[at/64] |= all.Has[r/64] >> (r % 64) & 1 << (at % 64)
	}
	return v, to
}

// staged draws stages of rows: each is a random share of those that are left.
func staged(rng *rand.Rand, rows, stages int) (of []uint8) {
	share := make([]float64, stages)
	for i := range share {
		share[i] = rng.Float64()
	}
	for range rows {
		s := 0
		for s+1 < stages && rng.Float64() > share[s] {
			s++
		}
		of = append(of, uint8(s))
	}
	return of
}

// without masks the rows that have no vector.
func without(v Vectors, rows int) *mask.Mask {
	m := mask.New(rows)
	for r := range uint32(rows) {
		if v.Has != nil && v.Has[r/64]>>(r%64)&1 == 0 {
			m.Kill(r, 1)
		}
	}
	return m
}

// TestStages: a graph that is grown out of the graph of its first stages is that which
// is built from nothing, byte for byte, by any number of threads, whatever the vectors.
func TestStages(t *testing.T) {
	grown := 0
	rapid.Check(t, func(rt *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 6))
		n := rapid.SampledFrom([]int{0, 1, 5, 100, 500}).Draw(rt, "rows")
		d := rapid.SampledFrom([]query.Distance{query.Cosine, query.Dot, query.Euclid, query.Manhattan}).Draw(rt, "distance")
		dim := rapid.SampledFrom([]int{1, 3, 9}).Draw(rt, "dim")
		v := typed(rng.Uint64(), n, dim, d, datatype(rt, d))
		if rapid.Bool().Draw(rt, "many are equal") {
			v = random(rng.Uint64(), n, dim, 3, 0.9, d)
		}
		if rapid.Bool().Draw(rt, "some are missing") {
			v.Has = make([]uint64, (n+63)/64)
			for i := range v.Has {
				v.Has[i] = rng.Uint64()
			}
		}
		p := Params{M: rapid.SampledFrom([]int{0, 2, 3, 8}).Draw(rt, "m"), EfConstruct: rapid.SampledFrom([]int{1, 20}).Draw(rt, "ef_construct")}
		o := BuildOptions{Threads: 1, Seed: rng.Uint64()}
		for range rapid.IntRange(0, 3).Draw(rt, "earlier stages") {
			o.Earlier = append(o.Earlier, rng.Uint64())
		}
		o.Stage = staged(rng, n, len(o.Earlier)+1)
		if rapid.Bool().Draw(rt, "groups") {
			p.PayloadM = 2
			o.Groups = make([][]uint32, 3)
			for r := range uint32(n) {
				o.Groups[r%7%3] = append(o.Groups[r%7%3], r)
			}
		}
		whole, err := Build(rt.Context(), v, p, o)
		if err != nil {
			rt.Fatal(err)
		}
		if p.M > 0 {
			check(rt, whole, without(v, n))
		}
		want := whole.Append(nil)
		for stages := 1; stages <= len(o.Earlier)+1; stages++ {
			part, own := first(v, o, stages)
			own.Threads = rapid.SampledFrom([]int{1, 2, 4}).Draw(rt, "threads of the base")
			base, err := Build(rt.Context(), part, Params{M: p.M, EfConstruct: p.EfConstruct}, own)
			if err != nil {
				rt.Fatal(err)
			}
			// A base is a file as a rule.
			if base, err = View(base.Append(nil)); err != nil {
				rt.Fatal(err)
			}
			with := o
			with.Base, with.Threads = base, rapid.SampledFrom([]int{1, 2, 4}).Draw(rt, "threads")
			again, err := Build(rt.Context(), v, p, with)
			if err != nil {
				rt.Fatal(err)
			}
			if !bytes.Equal(again.Append(nil), want) {
				rt.Fatalf("grown from the graph of %d of %d rows it differs", base.rows, n)
			}
			grown++
		}
	})
	if grown < 100 {
		t.Errorf("only %d graphs were grown", grown)
	}
}

// TestBaseIsUsed: what a base has is not built again; one of other parameters, and one
// that is not built upon, does not matter; one of other rows is refused.
func TestBaseIsUsed(t *testing.T) {
	v := random(2, 600, 4, 5, 0, query.Euclid)
	p, o := Params{M: 8, EfConstruct: 30}, BuildOptions{Seed: 2, Earlier: []uint64{1}, Stage: make([]uint8, 600)}
	for r := 400; r < 600; r++ {
		o.Stage[r] = 1
	}
	plain := build(t, v, p, o).g.Append(nil)
	grown := func(base *Graph) []byte {
		with := o
		with.Base = base
		return build(t, v, p, with).g.Append(nil)
	}
	part, own := first(v, o, 1)
	base := build(t, part, p, own).g
	if !bytes.Equal(grown(base), plain) {
		t.Error("the base changes the graph")
	}
	layer := &base.layers[0]
	layer.of(7)[slices.Index(append(layer.of(7), none), none)-1] = none
	if bytes.Equal(grown(base), plain) {
		t.Error("a base that lacks a link makes no difference: it is not used")
	}
	if other := build(t, part, Params{M: 8, EfConstruct: 31}, own).g; !bytes.Equal(grown(other), plain) {
		t.Error("a base of another ef_construct changes the graph")
	}
	few, ownFew := first(v, o, 1)
	few.Float32, ownFew.Stage = few.Float32[:399*few.Stride], nil
	for name, bad := range map[string]BuildOptions{
		"base of fewer rows":   {Earlier: o.Earlier, Stage: o.Stage, Base: build(t, few, p, ownFew).g},
		"base of another size": {Earlier: o.Earlier, Stage: o.Stage, Base: build(t, random(2, 400, 5, 5, 0, query.Euclid), p, BuildOptions{}).g},
		"stages of fewer rows": {Earlier: o.Earlier, Stage: o.Stage[1:]},
		"unknown stage":        {Stage: o.Stage},
	} {
		if _, err := Build(t.Context(), v, p, bad); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// cut divides the rows of d into stages, in an order: the next stage begins after each
// share of all rows.
func cut(d *dataset, order func(row int) float64, shares ...float64) (stage []uint8) {
	rows := len(d.v.Float32) / d.v.Stride
	keys, place := make([]float64, rows), make([]int, rows)
	for r := range rows {
		keys[r], place[r] = order(r), r
	}
	slices.SortFunc(place, func(a, b int) int { return cmp.Or(cmp.Compare(keys[a], keys[b]), a-b) })
	stage = make([]uint8, rows)
	for i, r := range place {
		for _, share := range shares {
			if float64(i) >= share*float64(rows) {
				stage[r]++
			}
		}
	}
	return stage
}

// TestGrownRecall: graphs that are grown find as much as graphs that are built from
// nothing, in the mean of some seeds: also where rows that are near come together.
func TestGrownRecall(t *testing.T) {
	for _, dir := range folders(t) {
		d := load(t, dir)
		seeds := uint64(4)
		if dir != words {
			seeds = 1
		}
		recall := func(shares []float64, sorted bool) (sum [3]float64) {
			for seed := range seeds {
				o := BuildOptions{Threads: 2, Seed: seed}
				rng := rand.New(rand.NewPCG(seed, 8))
				o.Stage = cut(d, func(row int) float64 {
					if sorted {
						return float64(d.v.Float32[row*d.v.Stride])
					}
					return rng.Float64()
				}, shares...)
				for range shares {
					o.Earlier = append(o.Earlier, rng.Uint64())
				}
				x := build(t, d.v, figures(), o)
				for i := range sum {
					sum[i] += measure(t, x, d.queries, d.truth, func(int) Query { return Query{Ef: 32 << i, ScanBelow: 1} }) / float64(seeds)
				}
			}
			return sum
		}
		plain := recall(nil, false)
		for _, c := range []struct {
			name   string
			sorted bool
			shares []float64
		}{
			{"1/2, 1/4, 1/4", false, []float64{0.5, 0.75}},
			{"1/16, 3/16, 3/4", false, []float64{0.0625, 0.25}},
			{"eight stages", false, []float64{0.08, 0.11, 0.16, 0.23, 0.34, 0.49, 0.7}},
			{"1/2, 1/4, 1/4, sorted", true, []float64{0.5, 0.75}},
		} {
			for i, grown := range recall(c.shares, c.sorted) {
				if t.Logf("%s, %s, ef %d: recall %.4f from nothing, %.4f grown (%+.4f)", d.name, c.name, 32<<i, plain[i], grown, grown-plain[i]); grown < plain[i]-0.006 {
					t.Errorf("%s, %s, ef %d: recall %.4f, from nothing %.4f", d.name, c.name, 32<<i, grown, plain[i])
				}
			}
		}
	}
}

// BenchmarkGrow builds from nothing, and on top of the graph of a share of the rows.
func BenchmarkGrow(b *testing.B) {
	for _, dir := range folders(b) {
		d := load(b, dir)
		rows := len(d.v.Float32) / d.v.Stride
		for _, percent := range []int{0, 25, 50, 75} {
			o := BuildOptions{Threads: 1, Seed: 2, Earlier: []uint64{1}, Stage: make([]uint8, rows)}
			rng := rand.New(rand.NewPCG(1, 1))
			for r := range o.Stage {
				if rng.IntN(100) >= percent {
					o.Stage[r] = 1
				}
			}
			if percent > 0 {
				part, own := first(d.v, o, 1)
				o.Base = build(b, part, figures(), own).g
			}
			b.Run(fmt.Sprintf("%s/%d%%", d.name, percent), func(b *testing.B) {
				from := cpu()
				for b.Loop() {
					if _, err := Build(b.Context(), d.v, figures(), o); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((cpu()-from).Seconds()/float64(b.N), "cpu-s/op")
			})
		}
	}
}

// TestEmptyStages: stages without rows, or without vectors, change nothing.
func TestEmptyStages(t *testing.T) {
	v := random(4, 300, 4, 5, 0, query.Dot)
	p := Params{M: 4, EfConstruct: 20}
	want := build(t, v, p, BuildOptions{Seed: 9}).g.Append(nil)
	x := build(t, v, p, BuildOptions{Seed: 3, Earlier: []uint64{8, 9, 7}, Stage: slices.Repeat([]uint8{1}, 300)})
	if !bytes.Equal(x.g.Append(nil), want) {
		t.Error("empty stages change the graph")
	}
	if hits, err := x.Search(t.Context(), &Query{Query: index.Query{Vector: v.numbers(5), K: 1}}, nil); err != nil || len(hits) != 1 {
		t.Errorf("%v, %v", hits, err)
	}
}
