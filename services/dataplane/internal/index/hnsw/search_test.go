package hnsw

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// measure gives recall@10, by distance, of the queries that have a truth.
func measure(t testing.TB, x *Index, queries, truth [][]float32, make func(i int) Query) float64 {
	t.Helper()
	sum := 0.0
	var hits []index.Hit
	for i, want := range truth {
		q := make(i)
		q.Vector, q.K = queries[i], 10
		var err error
		if hits, err = x.Search(t.Context(), &q, hits[:0]); err != nil {
			t.Fatal(err)
		}
		worst := want[9] + 1e-6*max(1, want[9])
		if x.v.Distance == query.Cosine {
			worst = 1 - worst
		}
		sum += indextest.Recall(x.v.Distance, hits, []index.Hit{9: {Score: worst}})
	}
	return sum / float64(len(truth))
}

// TestRecall: at the default ef, at least 0.95 of the nearest ten are found among
// real vectors, with every filter, whether its rows are listed or asked for. The
// excerpt is small enough for scans, so walks are asked for as well.
func TestRecall(t *testing.T) {
	for _, dir := range folders(t) {
		d := load(t, dir)
		t.Run(d.name, func(t *testing.T) {
			x := build(t, d.v, Params{M: 16, EfConstruct: 128}, BuildOptions{Threads: 2, Seed: 1})
			check(t, x.g, nil)
			expect := func(name string, recall float64) {
				t.Helper()
				if t.Logf("%-40s recall@10 %.4f", name, recall); recall < 0.95 {
					t.Errorf("%s: recall@10 is %.4f", name, recall)
				}
			}
			expect("no filter", measure(t, x, d.queries, d.truth, func(int) Query { return Query{ScanBelow: 1} }))
			for _, f := range d.filters {
				expect(f.name+", listed", measure(t, x, d.queries, f.truth, func(i int) Query { return Query{Query: index.Query{Rows: f.rows(i)}} }))
				dense := func(i int) Query {
					pass := make([]uint64, (x.v.rows+63)/64)
					for _, r := range f.rows(i) {
						pass[r/64] |= 1 << (r % 64)
					}
					return Query{Bits: pass}
				}
				expect(f.name+", as bits", measure(t, x, d.queries, f.truth, dense))
				accept := func(i int) Query {
					pass := mask.New(x.v.rows)
					for _, r := range f.rows(i) {
						pass.Kill(r, 1)
					}
					return Query{Query: index.Query{Accept: func(r uint32) bool { return pass.Dead(r, mask.Now) }}}
				}
				expect(f.name+", asked for", measure(t, x, d.queries, f.truth, accept))
				if dir == words {
					expect(f.name+", by a walk", measure(t, x, d.queries, f.truth, func(i int) Query { q := accept(i); q.ScanBelow = 1; return q }))
					expect(f.name+", as bits, by a walk", measure(t, x, d.queries, f.truth, func(i int) Query { q := dense(i); q.ScanBelow = 1; return q }))
				}
			}
		})
	}
}

// exact sorts all rows that pass.
func exact(t rapid.TB, x *Index, q Query) []index.Hit {
	t.Helper()
	q.ScanBelow = 1 << 30
	hits, err := x.Search(context.Background(), &q, nil)
	if err != nil {
		t.Fatal(err)
	}
	return hits
}

// TestFilters: over all shares of rows that pass, near to the query, far from it,
// or anywhere, with deleted rows among them, a search finds as many rows as there
// are, none that does not pass, and most of the nearest.
func TestFilters(t *testing.T) {
	v := random(9, 4000, 16, 30, 0.02, query.Euclid)
	dead := mask.New(4000)
	x := build(t, v, Params{M: 12, EfConstruct: 64}, BuildOptions{Threads: 1, Skip: dead})
	rng := rand.New(rand.NewPCG(4, 4))
	for range 500 {
		dead.Kill(uint32(rng.IntN(4000)), 1)
	}
	found, wanted := 0.0, 0
	rapid.Check(t, func(rt *rapid.T) {
		from := int(rapid.Uint32Range(0, 3999).Draw(rt, "query"))
		q := Query{Query: index.Query{Vector: v.Float32[from*16 : from*16+16], K: rapid.IntRange(1, 30).Draw(rt, "k")}, ScanBelow: 1}
		share := rapid.SampledFrom([]float64{1, 0.9, 0.5, 0.2, 0.1, 0.04, 0.01, 0.001, 0}).Draw(rt, "share")
		all := exact(rt, x, Query{Query: index.Query{Vector: q.Vector, K: 4000}})
		switch rapid.SampledFrom([]string{"near", "far", "anywhere"}).Draw(rt, "where") {
		case "far":
			slices.Reverse(all)
		case "anywhere":
			rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		}
		pass := mask.New(4000)
		rows := []uint32{}
		for _, h := range all[:int(share*float64(len(all)))] {
			pass.Kill(h.Row, 1)
			rows = append(rows, h.Row)
		}
		slices.Sort(rows)
		switch accept := func(r uint32) bool { return pass.Dead(r, mask.Now) }; rapid.SampledFrom([]string{"listed", "bits", "asked", "both"}).Draw(rt, "form") {
		case "listed":
			q.Rows = rows
		case "bits":
			q.Bits = bitsOf(4000, accept)
		case "asked":
			q.Accept = accept
		case "both":
			q.Bits = bitsOf(4000, func(r uint32) bool { return r%5 == 0 || accept(r) })
			q.Accept = accept
		}
		if rapid.Bool().Draw(rt, "estimated") {
			q.Estimate = rapid.IntRange(1, 4000).Draw(rt, "estimate")
		}
		hits, err := x.Search(t.Context(), &q, nil)
		if err != nil {
			rt.Fatal(err)
		}
		want := exact(rt, x, q)
		if len(hits) != len(want) {
			rt.Fatalf("%d hits of %d", len(hits), len(want))
		}
		for i, h := range hits {
			if !pass.Dead(h.Row, mask.Now) || dead.Dead(h.Row, mask.Now) || i > 0 && hits[i-1].Score > h.Score {
				rt.Fatalf("hit %d is wrong: %v", i, h)
			}
		}
		found += indextest.Recall(query.Euclid, hits, want) * float64(len(want))
		wanted += len(want)
	})
	// Walks are asked for where a scan would be planned, so a few miss.
	if t.Logf("%.0f of %d found", found, wanted); found < 0.85*float64(wanted) {
		t.Errorf("%.0f of %d found", found, wanted)
	}
}

// TestShortBits: bits for some of the rows only are refused.
func TestShortBits(t *testing.T) {
	v := random(9, 130, 4, 3, 0, query.Euclid)
	x := build(t, v, Params{M: 4, EfConstruct: 16}, BuildOptions{Threads: 1})
	q := Query{Query: index.Query{Vector: v.Float32[:4], K: 3}, Bits: make([]uint64, 2)}
	if _, err := x.Search(t.Context(), &q, nil); !errors.Is(err, index.ErrRow) {
		t.Errorf("2 words for 130 rows: %v", err)
	}
}

// TestDeaths: rows die beside searches; those dead before a search are not in it.
func TestDeaths(t *testing.T) {
	v := random(2, 2000, 8, 10, 0, query.Dot)
	dead := mask.New(2000)
	x := build(t, v, Params{M: 8, EfConstruct: 50}, BuildOptions{Threads: 2, Skip: dead})
	var group sync.WaitGroup
	for s := range 3 {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(s), 1))
			for range 300 {
				row := uint32(rng.IntN(2000))
				dead.Kill(row, 1)
				q := Query{Query: index.Query{Vector: v.Float32[row*8 : row*8+8], K: 20}, ScanBelow: 1}
				hits, err := x.Search(t.Context(), &q, nil)
				if err != nil || len(hits) != 20 {
					t.Errorf("%d hits, %v", len(hits), err)
				}
				if slices.ContainsFunc(hits, func(h index.Hit) bool { return h.Row == row }) {
					t.Errorf("row %d is dead and was found", row)
				}
			}
		})
	}
	group.Wait()
	n := 0
	for row := range uint32(2000) {
		if !dead.Dead(row, mask.Now) {
			n++
		}
	}
	if x.Len() != n || dead.Len() != 2000-n {
		t.Errorf("%d rows and %d dead, not %d", x.Len(), dead.Len(), n)
	}
	for row := range uint32(2000) {
		dead.Kill(row, 1)
	}
	if hits, err := x.Search(t.Context(), &Query{Query: index.Query{Vector: v.Float32[:8], K: 5}}, nil); err != nil || len(hits) != 0 || x.Len() != 0 {
		t.Errorf("all are dead, and %v was found: %v", hits, err)
	}
}

// TestAt: a walk at an older position sees what has died since, and nothing that was
// dead by then.
func TestAt(t *testing.T) {
	v := random(2, 3000, 8, 10, 0, query.Euclid)
	dead := mask.New(3000)
	x := build(t, v, Params{M: 8, EfConstruct: 50}, BuildOptions{Threads: 2})
	x.dead = dead
	for row := range uint32(3000) {
		if row%3 > 0 {
			dead.Kill(row, uint64(row%3))
		}
	}
	for _, at := range []uint64{0, 1, 2, 7} {
		for row := range uint32(60) {
			q := Query{Query: index.Query{Vector: v.numbers(row), K: 10}, At: at, ScanBelow: 1}
			hits, err := x.Search(t.Context(), &q, nil)
			if err != nil || len(hits) != 10 {
				t.Fatalf("%d hits, %v", len(hits), err)
			}
			alive := row%3 == 0 || row%3 == 2 && at == 1
			if found := hits[0].Row == row; found != alive {
				t.Errorf("row %d at %d: found is %v", row, at, found)
			}
			for _, h := range hits {
				if h.Row%3 == 1 || h.Row%3 == 2 && at != 1 {
					t.Errorf("row %d is dead at %d", h.Row, at)
				}
			}
		}
	}
}

// TestNoLinks: with m = 0 a search is a scan.
func TestNoLinks(t *testing.T) {
	v := random(2, 500, 8, 10, 0, query.Manhattan)
	x := build(t, v, Params{EfConstruct: 1}, BuildOptions{})
	hits, err := x.Search(t.Context(), &Query{Query: index.Query{Vector: v.Float32[80:88], K: 3}, ScanBelow: 1}, nil)
	if err != nil || len(hits) != 3 || hits[0] != (index.Hit{Row: 10}) {
		t.Errorf("%v %v", hits, err)
	}
}

// TestPlan: few rows are compared, most are walked over, and of those between a
// walk sees only what passes, unless it would lose its way.
func TestPlan(t *testing.T) {
	rows := 1_000_000
	x := &Index{v: space{Vectors: Vectors{Dim: 128}, rows: rows, held: rows}, g: &Graph{params: Params{M: 16, EfConstruct: 100}, layers: []layer{{width: 32}}}}
	for _, c := range []struct {
		passing, below int
		want           way
	}{
		{0, 0, scan}, {14_000, 0, scan}, {20_000, 0, filtered}, {500_000, 0, filtered}, {700_000, 0, plain}, {rows, 0, plain},
		{rows, rows, scan}, {500_000, 400_000, filtered}, {20_000, 1, filtered}, {2_000, 1, scan},
	} {
		s := &searcher{x: x, ef: 150, query: Query{ScanBelow: c.below}}
		if got := s.choose(c.passing); got != c.want {
			t.Errorf("%d of %d pass, scan below %d: plan %d, not %d", c.passing, rows, c.below, got, c.want)
		}
	}
}

// TestBadEstimate: an estimate that is wrong costs time, not answers.
func TestBadEstimate(t *testing.T) {
	v := random(6, 8000, 4, 20, 0, query.Euclid)
	x := build(t, v, Params{M: 8, EfConstruct: 20}, BuildOptions{Threads: 2})
	rare := func(row uint32) bool { return row%1000 == 3 }
	limit := float32(1e9)
	for _, estimate := range []int{0, 1, 4000, 8000} {
		q := Query{Query: index.Query{Vector: v.Float32[:4], K: 5, Accept: rare}, Estimate: estimate, ScanBelow: 1}
		if hits, err := x.Search(t.Context(), &q, nil); err != nil || !slices.Equal(hits, exact(t, x, q)) {
			t.Errorf("estimate %d: %v %v", estimate, hits, err)
		}
		q.Threshold = &limit
		if hits, err := x.Search(t.Context(), &q, nil); err != nil || len(hits) != 5 {
			t.Errorf("estimate %d, with a threshold: %v %v", estimate, hits, err)
		}
	}
}
