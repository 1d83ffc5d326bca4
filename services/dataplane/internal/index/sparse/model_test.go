package sparse

import (
	"context"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// model is an index that scores everything and sorts it.
type model struct {
	t    query.Datatype
	rows map[uint32]Vector
}

func (m *model) score(q *Query, v Vector) (float32, bool) {
	if q.Rank != nil {
		return indextest.RankScore(q.Rank, func(e op.Vector) float32 {
			one := Query{Indices: e.Indices}
			one.Vector = e.Data
			s, _ := m.score(&one, v)
			return s
		}), true
	}
	weights := map[uint32]float32{}
	for i, dim := range v.Indices {
		weights[dim] = Round(m.t, v.Weights[i])
	}
	sum, shared := 0.0, false
	for i, dim := range q.Indices {
		if w, ok := weights[dim]; ok {
			sum += float64(q.Vector[i]) * float64(w)
			shared = true
		}
	}
	return float32(sum), shared
}

func (m *model) search(q *Query) []index.Hit {
	hits := []index.Hit{}
	for row, v := range m.rows {
		s, ok := m.score(q, v)
		if ok && (q.Threshold == nil || s >= *q.Threshold) && (q.Accept == nil || q.Accept(row)) &&
			(q.Rows == nil || slices.Contains(q.Rows, row)) && (q.Dead == nil || !q.Dead(row)) {
			hits = append(hits, index.Hit{Row: row, Score: s})
		}
	}
	before := q.Before
	if before == nil {
		before = func(a, b uint32) bool { return a < b }
	}
	slices.SortFunc(hits, func(a, b index.Hit) int {
		switch {
		case a.Row == b.Row:
			return 0
		case a.Score > b.Score, a.Score == b.Score && before(a.Row, b.Row):
			return -1
		}
		return 1
	})
	return hits[:min(len(hits), max(0, q.K))]
}

// all gives the rows in order.
func (m *model) all() iter.Seq2[uint32, Vector] {
	return func(yield func(uint32, Vector) bool) {
		for _, row := range slices.Sorted(maps.Keys(m.rows)) {
			if !yield(row, m.rows[row]) {
				return
			}
		}
	}
}

// searching is what an Index and a Tail have in common.
type searching interface {
	Search(ctx context.Context, q *Query, dst []index.Hit) ([]index.Hit, error)
	Frequency(dim uint32) int
	Len() int
}

// forms are the model's rows as an Index and as a Tail that was put together in
// disorder, with rows that came and went.
func (m *model) forms(t testing.TB, rng *rand.Rand) map[string]searching {
	t.Helper()
	x, err := Build(m.t, m.all())
	if err != nil {
		t.Fatal(err)
	}
	tail := NewTail(m.t)
	put := func(row uint32, v Vector) {
		if err := tail.Put(row, v); err != nil {
			t.Fatal(err)
		}
	}
	rows := slices.Sorted(maps.Keys(m.rows))
	rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	for i, row := range rows {
		put(row+1000000, m.rows[row])
		if i%3 == 0 {
			put(row, m.rows[rows[0]])
		}
		put(row, m.rows[row])
	}
	for _, row := range rows {
		if !tail.Delete(row+1000000) || tail.Delete(row+1000000) {
			t.Fatalf("row %d was not deleted once", row+1000000)
		}
	}
	return map[string]searching{"index": x, "tail": tail}
}

// shape says what random vectors look like.
type shape struct {
	dims, nonzeros int
	weight         func(*rand.Rand) float32
}

// vector has dimensions of which low ones are frequent.
func (s shape) vector(rng *rand.Rand) (v Vector) {
	dims := map[uint32]bool{}
	for range s.nonzeros {
		dims[zipf(rng, s.dims)*2654435761] = true // anywhere in 32 bits
	}
	v.Indices = slices.Sorted(maps.Keys(dims))
	for range v.Indices {
		v.Weights = append(v.Weights, s.weight(rng))
	}
	return v
}

// zipf is a number below n; the chance of k falls like 1/(k+1).
func zipf(rng *rand.Rand, n int) uint32 {
	for {
		x := 1.0
		for u := rng.Float64(); x < float64(n); x *= 2 {
			if u -= 1 / float64(bitsOf(n)); u < 0 {
				break
			}
		}
		if k := int(x * (1 + rng.Float64())); k <= n {
			return uint32(k - 1)
		}
	}
}

func bitsOf(n int) (b int) {
	for ; n > 0; n >>= 1 {
		b++
	}
	return b
}

func positive(rng *rand.Rand) float32 { return float32(rng.ExpFloat64()) }

func signed(rng *rand.Rand) float32 { return float32(rng.NormFloat64()) }

func few(rng *rand.Rand) float32 { return float32(rng.IntN(3)) / 2 }

func someRows(rng *rand.Rand, n, bound int, s shape) map[uint32]Vector {
	rows := map[uint32]Vector{}
	for range n {
		rows[uint32(rng.IntN(bound))] = s.vector(rng)
	}
	return rows
}

func find(t testing.TB, x searching, q *Query) []index.Hit {
	t.Helper()
	hits, err := x.Search(context.Background(), q, []index.Hit{})
	if err != nil {
		t.Fatal(err)
	}
	return hits
}
