// Package indextest is the suite that every index.Index passes. It compares an
// index with a model that sorts everything.
package indextest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Suite says what is tested.
type Suite struct {
	// Open makes an empty index.
	Open func(t testing.TB, dim int, d query.Distance) index.Index
	// Recall is the least share of the true hits that a search must find: 1 for
	// an exact index, whose answers then equal the model's bit for bit, ties
	// included.
	Recall float64
}

var distances = map[string]query.Distance{"cosine": query.Cosine, "euclid": query.Euclid, "dot": query.Dot, "manhattan": query.Manhattan}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	for name, d := range distances {
		t.Run(name, func(t *testing.T) {
			t.Run("rows", func(t *testing.T) { s.rows(t, d) })
			t.Run("search", func(t *testing.T) { s.search(t, d) })
			t.Run("model", func(t *testing.T) { s.model(t, d) })
			t.Run("ties", func(t *testing.T) { s.ties(t, d) })
			t.Run("ranks", func(t *testing.T) { s.ranks(t, d) })
			t.Run("concurrent", func(t *testing.T) { s.concurrent(t, d) })
		})
	}
	t.Run("refusals", s.refusals)
	t.Run("cosine query of any length", s.cosineScale)
}

func (s Suite) rows(t *testing.T, d query.Distance) {
	x := s.Open(t, 3, d)
	get := func(row uint32) []float32 { v, _ := x.Vector(row, nil); return v }
	put := func(row uint32, v ...float32) {
		t.Helper()
		if err := x.Put(row, v); err != nil {
			t.Fatal(err)
		}
	}
	put(0, 1, 0, 0)
	put(900, 0, 0, 1)
	put(2, 0, 1, 0)
	put(0, 0, 0.6, 0.8)
	if x.Len() != 3 || !cmp.Equal(get(0), []float32{0, 0.6, 0.8}) || !cmp.Equal(get(900), []float32{0, 0, 1}) {
		t.Errorf("%d rows, row 0 %v, row 900 %v", x.Len(), get(0), get(900))
	}
	for _, row := range []uint32{1, 899, 901, 1 << 20, index.MaxRow, 1<<32 - 1} {
		if v, ok := x.Vector(row, []float32{7}); ok || len(v) != 1 || x.Delete(row) {
			t.Errorf("row %d is there", row)
		}
	}
	if v, ok := x.Vector(2, []float32{7}); !ok || !cmp.Equal(v, []float32{7, 0, 1, 0}) {
		t.Errorf("appended: %v", v)
	}
	v := []float32{1, 0, 0}
	put(5, v...)
	v[0] = 9
	got := get(5)
	got[1] = 9
	if !cmp.Equal(get(5), []float32{1, 0, 0}) {
		t.Error("the index shares memory with its caller")
	}
	for _, row := range []uint32{0, 2, 5, 900} {
		if !x.Delete(row) || x.Delete(row) || get(row) != nil {
			t.Errorf("row %d was not deleted once", row)
		}
	}
	if hits := s.find(t, x, index.Query{Vector: []float32{1, 0, 0}, K: 5}); x.Len() != 0 || len(hits) != 0 {
		t.Errorf("%d rows, hits %v", x.Len(), hits)
	}
	put(2, 0, 1, 0)
	if hits := s.find(t, x, index.Query{Vector: []float32{0, 1, 0}, K: 5}); x.Len() != 1 || len(hits) != 1 || hits[0].Row != 2 {
		t.Errorf("after putting it back: %v", hits)
	}
}

func (s Suite) refusals(t *testing.T) {
	x := s.Open(t, 2, query.Dot)
	ctx := t.Context()
	if err := x.Put(0, []float32{1}); !errors.Is(err, index.ErrDim) {
		t.Errorf("short vector: %v", err)
	}
	if err := x.Put(index.MaxRow+1, []float32{1, 2}); !errors.Is(err, index.ErrRow) {
		t.Errorf("row: %v", err)
	}
	if x.Len() != 0 {
		t.Error("something was stored")
	}
	if err := x.Put(3, []float32{1, 2}); err != nil {
		t.Fatal(err)
	}
	bad := []index.Query{{Vector: []float32{1, 2}, K: 1}, {Vector: []float32{1, 2, 3}, K: 1}}
	if _, err := x.Search(ctx, &bad[1], nil); !errors.Is(err, index.ErrDim) {
		t.Errorf("long query: %v", err)
	}
	if _, err := x.SearchBatch(ctx, bad); !errors.Is(err, index.ErrDim) {
		t.Errorf("long query in a batch: %v", err)
	}
	if _, err := x.Search(ctx, &index.Query{Vector: []float32{1, 2}, K: 1, Rows: []uint32{3, index.MaxRow + 1}}, nil); !errors.Is(err, index.ErrRow) {
		t.Errorf("row in a query: %v", err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	for _, q := range []index.Query{bad[0], {Vector: []float32{1, 2}, K: 1, Rows: []uint32{3}}} {
		if _, err := x.Search(over, &q, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		if _, err := x.SearchBatch(over, []index.Query{q}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled batch: %v", err)
		}
	}
	if hits := s.find(t, x, bad[0]); len(hits) != 1 || hits[0] != (index.Hit{Row: 3, Score: 5}) {
		t.Errorf("after all that: %v", hits)
	}
}

func (s Suite) cosineScale(t *testing.T) {
	x := s.Open(t, 2, query.Cosine)
	for row, v := range [][]float32{{1, 0}, {0.6, 0.8}, {0, 1}} {
		if err := x.Put(uint32(row), v); err != nil {
			t.Fatal(err)
		}
	}
	want := []index.Hit{{Row: 2, Score: 1}, {Row: 1, Score: 0.8}}
	q := index.Query{Vector: []float32{0, 50}, K: 2}
	if got := s.find(t, x, q); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if q.Vector[1] != 50 {
		t.Error("the query was changed")
	}
}

// search runs queries of all kinds over enough rows for several blocks.
func (s Suite) search(t *testing.T, d query.Distance) {
	const dim, n = 100, 1500
	rng := rand.New(rand.NewPCG(7, uint64(d)))
	x, m := s.Open(t, dim, d), newModel(d)
	for row := range uint32(n) {
		m.put(t, x, row*3/2, randomVector(rng, dim, d)) // gaps
	}
	for range 150 {
		m.delete(t, x, uint32(rng.IntN(n)))
	}
	var qs []index.Query
	for i := range 30 {
		q := index.Query{Vector: randomVector(rng, dim, d), K: []int{1, 10, 100, 0, -1, 5000}[i%6]}
		if i%5 == 1 {
			q.Accept = func(row uint32) bool { return row%7 == 0 }
		}
		if i%5 == 2 {
			for range 500 {
				q.Rows = append(q.Rows, uint32(rng.IntN(2*n)))
			}
			slices.Sort(q.Rows)
		}
		if i%5 == 3 {
			near := m.search(&index.Query{Vector: q.Vector, K: 20})
			q.Threshold = &near[len(near)-1].Score
		}
		if i%10 == 4 {
			q.Rows = []uint32{}
		}
		qs = append(qs, q)
	}
	batch, err := x.SearchBatch(t.Context(), qs)
	if err != nil {
		t.Fatal(err)
	}
	found, total := 0, 0
	for i := range qs {
		want, got := m.search(&qs[i]), s.find(t, x, qs[i])
		if s.Recall == 1 && !slices.Equal(got, want) {
			t.Fatalf("query %d:\n got %v\nwant %v", i, got, want)
		}
		if !slices.Equal(batch[i], got) {
			t.Errorf("query %d: in the batch %v, alone %v", i, batch[i], got)
		}
		m.plausible(t, &qs[i], got)
		total += len(want)
		for _, h := range got {
			if slices.Contains(want, h) {
				found++
			}
		}
	}
	if total == 0 || float64(found) < s.Recall*float64(total) {
		t.Errorf("found %d of %d", found, total)
	}
	one := qs[1]
	if hits, err := x.Search(t.Context(), &one, []index.Hit{{Row: 42}}); err != nil || hits[0].Row != 42 || !slices.Equal(hits[1:], batch[1]) {
		t.Errorf("appended: %v %v", hits, err)
	}
}

// ties puts few distinct vectors into many rows: which rows are kept at the end
// of the result is decided by Before.
func (s Suite) ties(t *testing.T, d query.Distance) {
	if s.Recall < 1 {
		return
	}
	x, m := s.Open(t, 2, d), newModel(d)
	vs := [][]float32{{1, 0}, {0, 1}, {0.6, 0.8}}
	for row := range uint32(2500) {
		m.put(t, x, row, vs[row%3])
	}
	for _, before := range []func(a, b uint32) bool{nil, func(a, b uint32) bool { return a > b }, func(a, b uint32) bool {
		return a*2654435761 < b*2654435761
	}} {
		for _, k := range []int{1, 5, 834, 840, 2500} {
			q := index.Query{Vector: []float32{0, 1}, K: k, Before: before}
			if got, want := s.find(t, x, q), m.search(&q); !slices.Equal(got, want) {
				t.Errorf("k %d:\n got %v\nwant %v", k, got, want)
			}
		}
	}
}

// model drives an index and the model by the same random steps.
func (s Suite) model(t *testing.T, d query.Distance) {
	rapid.Check(t, func(rt *rapid.T) {
		dim := rapid.SampledFrom([]int{1, 5, 17}).Draw(rt, "dim")
		x, m := s.Open(t, dim, d), newModel(d)
		row := rapid.Uint32Range(0, 40)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		rt.Repeat(map[string]func(*rapid.T){
			"put":    func(rt *rapid.T) { m.put(t, x, row.Draw(rt, "row"), randomVector(rng, dim, d)) },
			"delete": func(rt *rapid.T) { m.delete(t, x, row.Draw(rt, "row")) },
			"search": func(rt *rapid.T) {
				q := index.Query{Vector: randomVector(rng, dim, d), K: rapid.IntRange(0, 12).Draw(rt, "k")}
				if rapid.Bool().Draw(rt, "rows") {
					q.Rows = rapid.SliceOfDistinct(row, rapid.ID).Draw(rt, "which")
				}
				if by := rapid.Uint32Range(1, 4).Draw(rt, "accept every"); by > 1 {
					q.Accept = func(row uint32) bool { return row%by == 0 }
				}
				got, want := s.find(t, x, q), m.search(&q)
				if s.Recall == 1 && !slices.Equal(got, want) {
					rt.Fatalf("got %v\nwant %v", got, want)
				}
				m.plausible(t, &q, got)
			},
			"": func(rt *rapid.T) {
				if x.Len() != len(m.rows) {
					rt.Fatalf("%d rows, want %d", x.Len(), len(m.rows))
				}
			},
		})
	})
}

// concurrent searches beside a writer: an answer is always whole vectors, either
// old or new (both of every row have the same score by construction).
func (s Suite) concurrent(t *testing.T, d query.Distance) {
	const dim, n = 300, 400
	x := s.Open(t, dim, d)
	vec := func(row uint32) []float32 {
		v := make([]float32, dim)
		v[row%dim] = 1
		return v
	}
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for r := range 3 {
		readers.Go(func() {
			q := index.Query{Vector: vec(uint32(r)), K: 10, Before: func(a, b uint32) bool { return a > b }}
			for ctx.Err() == nil {
				hits, err := x.Search(context.Background(), &q, nil)
				if err != nil {
					t.Error(err)
				}
				for _, h := range hits {
					want := score(d, q.Vector, vec(h.Row))
					if h.Score != want || h.Row >= n {
						t.Errorf("row %d scores %v, not %v", h.Row, h.Score, want)
					}
				}
				x.Vector(uint32(r), nil)
				x.Len()
			}
		})
	}
	for round := range 3 {
		for row := range uint32(n) {
			if err := x.Put(row, vec(row)); err != nil {
				t.Error(err)
			}
			if round < 2 && row%3 == 0 {
				x.Delete(row)
			}
		}
	}
	stop()
	readers.Wait()
	if x.Len() != n {
		t.Errorf("%d rows", x.Len())
	}
}

func (s Suite) find(t testing.TB, x index.Index, q index.Query) []index.Hit {
	t.Helper()
	hits, err := x.Search(context.Background(), &q, nil)
	if err != nil {
		t.Fatal(err)
	}
	return hits
}

// Recall is the share of the rows in want that are among hits, by distance: a
// hit at least as good as the last of want counts, as ties are no error.
func Recall(d query.Distance, hits, want []index.Hit) float64 {
	if len(want) == 0 {
		return 1
	}
	worst, n := want[len(want)-1].Score, 0
	for _, h := range hits {
		if d.Within(h.Score, worst) {
			n++
		}
	}
	return float64(min(n, len(want))) / float64(len(want))
}
