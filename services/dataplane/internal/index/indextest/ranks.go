package indextest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Ranking is a ranking and what kind of it.
type Ranking struct {
	Name string
	*query.Rank
}

// Rankings makes some of each kind out of vectors.
func Rankings(t rapid.TB, next func() op.Vector) (out []Ranking) {
	t.Helper()
	some := func(n int) (out []op.Vector) {
		for range n {
			out = append(out, next())
		}
		return out
	}
	pairs := func(n int) (out []query.Pair) {
		for range n {
			out = append(out, query.Pair{Near: next(), Far: next()})
		}
		return out
	}
	add := func(name string) func(*query.Rank, error) {
		return func(r *query.Rank, err error) {
			if out = append(out, Ranking{name, r}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	for _, n := range [][2]int{{3, 2}, {1, 0}, {10, 0}, {1, 1}, {0, 3}} {
		liked, disliked := some(n[0]), some(n[1])
		add(fmt.Sprintf("best score of %d less %d", n[0], n[1]))(query.BestScore(liked, disliked))
		add(fmt.Sprintf("sum of scores of %d less %d", n[0], n[1]))(query.SumScores(liked, disliked))
	}
	for _, n := range []int{1, 3, 6} {
		add(fmt.Sprintf("discovery by %d pairs", n))(query.Discover(next(), pairs(n)))
		add(fmt.Sprintf("context of %d pairs", n))(query.Context(pairs(n)))
	}
	add("discovery by no pair")(query.Discover(next(), nil))
	both := pairs(2)
	add("discovery by what cannot be")(query.Discover(next(), append(both, query.Pair{Near: both[0].Far, Far: both[0].Near})))
	add("feedback")(query.Feedback(next(), []query.Judgement{{Vector: next(), Score: 0.9}, {Vector: next(), Score: 0.4}, {Vector: next(), Score: 0.1}}, 1, 0.5, 0.7))
	return out
}

// Similarity is that of query.Rank, of dense vectors.
func Similarity(d query.Distance, q, v []float32) float32 {
	var dot, square, abs, length float64
	for i, x := range q {
		a, b := float64(x), float64(v[i])
		dot, square, abs, length = dot+a*b, square+(a-b)*(a-b), abs+math.Abs(a-b), length+a*a
	}
	switch d {
	case query.Cosine:
		return float32(dot / math.Sqrt(max(length, math.SmallestNonzeroFloat64)))
	case query.Euclid:
		return float32(-square)
	case query.Manhattan:
		return float32(-abs)
	}
	return float32(dot)
}

// RankScore is the score of a row by its similarities to the examples.
func RankScore(r *query.Rank, similarity func(example op.Vector) float32) float32 {
	var sims []float32
	for _, e := range r.Examples() {
		sims = append(sims, similarity(e))
	}
	score := []float32{0}
	r.Score(sims, score)
	return score[0]
}

// ranks: searches by a ranking answer rows that pass with their scores, larger ones
// first, and all that are good enough if the index is exact.
func (s Suite) ranks(t *testing.T, d query.Distance) {
	const dim, rows = 7, 300
	rng := rand.New(rand.NewPCG(6, uint64(d)))
	x, m := s.Open(t, dim, d), newModel(d)
	for row := range uint32(rows) {
		m.put(t, x, row*2, randomVector(rng, dim, d))
	}
	vector := func() op.Vector {
		v := randomVector(rng, dim, query.Dot)
		kernel.Normalize(v) // similarities of about 1, which no step hides
		for i := range v {
			v[i] *= 2
		}
		return op.Vector{Data: v}
	}
	for range 5 {
		for _, r := range Rankings(t, vector) {
			for _, q := range []index.Query{{}, {Accept: func(row uint32) bool { return row%3 == 0 }}, {Rows: []uint32{0, 4, 5, 6, 100, 200}}, {Threshold: new(float32(0.3))}} {
				q.Rank, q.K = r.Rank, 10
				hits, err := x.Search(context.Background(), &q, nil)
				if err != nil {
					t.Fatal(err)
				}
				want := map[uint32]float32{}
				var scores []float32
				for row, v := range m.rows {
					score := RankScore(r.Rank, func(e op.Vector) float32 { return Similarity(d, e.Data, v) })
					if passes(&q, row) && (q.Threshold == nil || score >= *q.Threshold) {
						want[row] = score
						scores = append(scores, score)
					}
				}
				slices.Sort(scores)
				slices.Reverse(scores)
				for i, h := range hits {
					score, ok := want[h.Row]
					if delete(want, h.Row); !ok || !near(score, h.Score) || i > 0 && h.Score > hits[i-1].Score {
						t.Fatalf("%s: hit %d is %v, its score %v", r.Name, i, h, score)
					}
					if s.Recall == 1 && !near(scores[i], h.Score) {
						t.Fatalf("%s: hit %d scores %v, the best %v", r.Name, i, h.Score, scores[i])
					}
				}
				if len(hits) != min(10, len(scores)) {
					t.Fatalf("%s: %d hits of %d rows", r.Name, len(hits), len(scores))
				}
			}
		}
	}
	short, err := query.Discover(vector(), []query.Pair{{Near: op.Vector{Data: make([]float32, dim-1)}, Far: vector()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Search(context.Background(), &index.Query{Rank: short, K: 1}, nil); !errors.Is(err, index.ErrDim) {
		t.Errorf("an example of another length: %v", err)
	}
}

// near allows for sums in another order.
func near(a, b float32) bool {
	return math.Abs(float64(a-b)) <= 1e-5*max(1, math.Abs(float64(a)))
}
