package query

import (
	"errors"
	"fmt"
	"math"

	"github.com/pandodb/pando/services/dataplane/internal/op"
)

// ErrRank reports a ranking that nothing can be ranked by.
var ErrRank = errors.New("malformed ranking")

// Rank scores points by how similar they are to several examples. A similarity is the
// inner product for Cosine and Dot, the negative squared distance for Euclid and the
// negative distance for Manhattan; larger scores are better whatever the distance. It
// does not change once it is made.
type Rank struct {
	by       ranking
	examples []op.Vector
	liked    int       // byBest: so many examples come first, disliked ones follow
	weights  []float64 // bySum: of each example
}

type ranking uint8

const (
	byBest    ranking = iota
	bySum             // weighted
	byTarget          // the first example, then as byContext
	byContext         // the examples are pairs
)

// Pair is two vectors of which a point should be nearer to the first.
type Pair struct{ Near, Far op.Vector }

// Judgement is a vector and how relevant somebody found it.
type Judgement struct {
	Vector op.Vector
	Score  float32
}

// MaxExamples is how many examples a ranking may have.
const MaxExamples = 1 << 12

// made gives r if its examples are not too many.
func made(r *Rank) (*Rank, error) {
	if n := len(r.examples); n > MaxExamples {
		return nil, fmt.Errorf("%w: %d vectors, the limit is %d", ErrRank, n, MaxExamples)
	}
	return r, nil
}

// BestScore ranks by the example that is most similar: h(similarity) if that is a
// liked one, -h(similarity) otherwise, with h(x) = (1 + x/(1+|x|))/2. Errors: ErrRank,
// if there is no example, or too many; so do the others.
func BestScore(liked, disliked []op.Vector) (*Rank, error) {
	if len(liked)+len(disliked) == 0 {
		return nil, fmt.Errorf("%w: at least one positive or negative vector is needed", ErrRank)
	}
	return made(&Rank{by: byBest, liked: len(liked), examples: append(liked[:len(liked):len(liked)], disliked...)})
}

// SumScores ranks by the sum of the similarities to liked examples less that to
// others. Errors: ErrRank, if there is no example.
func SumScores(liked, disliked []op.Vector) (*Rank, error) {
	r, err := BestScore(liked, disliked)
	if err != nil {
		return nil, err
	}
	r.by, r.liked, r.weights = bySum, 0, make([]float64, len(r.examples))
	for i := range r.weights {
		if r.weights[i] = 1; i >= len(liked) {
			r.weights[i] = -1
		}
	}
	return r, nil
}

// Discover ranks by in how many pairs a point is nearer to the near vector, less in
// how many to the far one, and then by h(similarity) to the target, as in BestScore.
func Discover(target op.Vector, pairs []Pair) (*Rank, error) {
	return made(&Rank{by: byTarget, examples: flatten([]op.Vector{target}, pairs)})
}

// Context ranks by how little a point is on the wrong side: the sum over the pairs of
// g(min(0, similarity to near - similarity to far - ε)), with g(x) = x/(1+|x|). 0 is the
// best. Errors: ErrRank, if there is no pair.
func Context(pairs []Pair) (*Rank, error) {
	if len(pairs) == 0 {
		return nil, fmt.Errorf("%w: at least one context pair is needed", ErrRank)
	}
	return made(&Rank{by: byContext, examples: flatten(nil, pairs)})
}

func flatten(out []op.Vector, pairs []Pair) []op.Vector {
	for _, p := range pairs {
		out = append(out, p.Near, p.Far)
	}
	return out
}

// Feedback ranks by a times the similarity to the target, and, for any two judgements
// of which one is better by d > 0, c·d^b times the similarity to the better less that to
// the other. Errors: ErrRank, if a factor is no number or b negative.
func Feedback(target op.Vector, judged []Judgement, a, b, c float32) (*Rank, error) {
	if b < 0 {
		return nil, fmt.Errorf("%w: b is %v, it must be 0 or larger", ErrRank, b)
	}
	r := &Rank{by: bySum, examples: []op.Vector{target}}
	for _, j := range judged {
		r.examples = append(r.examples, j.Vector)
	}
	if _, err := made(r); err != nil {
		return nil, err
	}
	r.weights = make([]float64, len(r.examples))
	r.weights[0] = float64(a)
	for i, j := range judged {
		for _, other := range judged {
			if d := float64(j.Score) - float64(other.Score); d != 0 {
				r.weights[1+i] += sign(d) * float64(c) * math.Pow(math.Abs(d), float64(b))
			}
		}
	}
	for _, w := range r.weights {
		if !(math.Abs(w) <= math.MaxFloat32) {
			return nil, fmt.Errorf("%w: the factors a, b, c and the scores of feedback give a weight of %v", ErrRank, w)
		}
	}
	return r, nil
}

// Examples are the vectors to be compared with, not to be changed; nil has none. Their
// names do not matter.
func (r *Rank) Examples() []op.Vector {
	if r == nil {
		return nil
	}
	return r.examples
}

// Weights are those of the examples, if the score is the weighted sum of similarities;
// nil if it is not.
func (r *Rank) Weights() []float64 { return r.weights }

// Leads are how many of the first examples the best points lie near to, one by one; 0:
// they are near to none of them alone.
func (r *Rank) Leads() int {
	switch {
	case r == nil:
		return 0
	case r.by == byTarget:
		return 1
	}
	return r.liked
}

// Steps is how many pairs decide about the order before nearness to the target does.
func (r *Rank) Steps() int {
	if r.by == byTarget {
		return len(r.examples) / 2
	}
	return 0
}

// Score sets scores to those of as many rows. sims holds the similarities of all rows
// to the first example, then to the second, and so on; NaN is the least. No score is NaN.
func (r *Rank) Score(sims, scores []float32) {
	n := len(scores)
	for i := range scores {
		var s float64
		switch row := (column{sims[i:], n}); r.by {
		case byBest:
			s = r.best(row)
		case bySum:
			for e, w := range r.weights {
				s += w * row.at(e)
			}
		case byTarget:
			s = half(row.at(0))
			for e := 1; e < len(r.examples); e += 2 {
				s += sign(row.at(e) - row.at(e+1))
			}
		case byContext:
			for e := 0; e < len(r.examples); e += 2 {
				s += soft(min(0, row.at(e)-row.at(e+1)-epsilon))
			}
		}
		scores[i] = float32(s)
	}
}

// column is the similarities of a row, n apart.
type column struct {
	sims []float32
	n    int
}

// at is the similarity to an example, as a finite number.
func (c column) at(example int) float64 {
	s := float64(c.sims[example*c.n])
	if s != s {
		return -math.MaxFloat32
	}
	return max(-math.MaxFloat32, min(math.MaxFloat32, s))
}

func (r *Rank) best(row column) float64 {
	liked, disliked := math.Inf(-1), math.Inf(-1)
	for e := range r.examples {
		if s := row.at(e); e < r.liked {
			liked = max(liked, s)
		} else {
			disliked = max(disliked, s)
		}
	}
	if liked > disliked {
		return half(liked)
	}
	return -half(disliked)
}

// epsilon is the distance from 1 to the next float32.
const epsilon = 0x1p-23

// soft maps numbers to -1..1.
func soft(x float64) float64 { return x / (1 + math.Abs(x)) }

// half maps numbers to 0..1.
func half(x float64) float64 { return (soft(x) + 1) / 2 }

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}
