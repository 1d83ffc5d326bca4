// Package fusion makes one ranking of several, and a varied one of a ranking. It is
// pure.
//
// A ranking is a list of points, the best first. What is made is in the order of
// falling scores, ties by id, so that it does not depend on the order in which
// points were met. The formulas are those of Cormack, Clarke and Buettcher, SIGIR
// 2009 (RRF), and of Carbonell and Goldstein, SIGIR 1998 (MMR), in the form that
// Qdrant documents.
package fusion

import (
	"cmp"
	"math"
	"slices"

	"github.com/pandodb/pando/services/internal/topology"
)

// DefaultK is the k of RRF where none is given.
const DefaultK = 2

// Hit is a point of a ranking.
type Hit struct {
	ID    topology.PointID
	Score float32
}

// List is a ranking. In one of distances the smallest score is the best.
type List struct {
	Hits            []Hit
	SmallerIsBetter bool
}

// Compare orders hits of larger-is-better scores: the best first, ties by id.
func Compare(a, b Hit) int {
	return cmp.Or(cmp.Compare(b.Score, a.Score), a.ID.Compare(b.ID))
}

// RRF adds up, over the lists, 1/((place+1)/weight + k - 1), the first place being
// 0. Without weights all are 1; a list whose weight is not above 0 adds nothing to
// the scores of its points. weights is empty or has one for each list.
func RRF(lists []List, k uint32, weights []float32) []Hit {
	s := sums{}
	for i, l := range lists {
		weight := 1.0
		if len(weights) > 0 {
			weight = float64(weights[i])
		}
		for place, h := range l.Hits {
			score := 0.0
			if weight > 0 {
				score = 1 / (float64(place+1)/weight + float64(k) - 1)
			}
			s[h.ID] += score
		}
	}
	return s.ranking()
}

// DBSF adds up, over the lists, the scores brought to a common scale: a list's mean
// less three times its deviation becomes 0, its mean and three times that 1, beyond
// which scores may lie. The deviation is that of a sample (n-1); where there is none,
// all are 0.5. In a list of distances the near end becomes 1.
func DBSF(lists []List) []Hit {
	s := sums{}
	for _, l := range lists {
		mean, deviation := l.moments()
		for _, h := range l.Hits {
			score := 0.5
			if deviation > 0 {
				score += (float64(h.Score) - mean) / (6 * deviation)
			}
			if l.SmallerIsBetter {
				score = 1 - score
			}
			s[h.ID] += score
		}
	}
	return s.ranking()
}

func (l List) moments() (mean, deviation float64) {
	n := float64(len(l.Hits))
	equal := !slices.ContainsFunc(l.Hits, func(h Hit) bool { return h.Score != l.Hits[0].Score })
	if n < 2 || equal { // a rounded mean would differ from equal scores
		return 0, 0
	}
	for _, h := range l.Hits {
		mean += float64(h.Score) / n
	}
	for _, h := range l.Hits {
		d := float64(h.Score) - mean
		deviation += d * d / (n - 1)
	}
	return mean, math.Sqrt(deviation)
}

// sums are scores on their way.
type sums map[topology.PointID]float64

func (s sums) ranking() []Hit {
	out := make([]Hit, 0, len(s))
	for id, score := range s {
		out = append(out, Hit{id, float32(score)})
	}
	slices.SortFunc(out, Compare)
	return out
}

// MMR gives the places of up to limit candidates in the order in which they are
// taken: the most relevant first, then again and again the one with the greatest
// lambda*relevance - (1-lambda)*(similarity to the most similar of those taken), of
// equals the first. Both are larger for what is nearer, and on one scale.
func MMR(relevance []float32, similarity func(i, j int) float32, lambda float32, limit int) []int {
	left := make([]int, len(relevance))
	closest := make([]float32, len(relevance)) // to those that are taken
	for i := range left {
		left[i], closest[i] = i, float32(math.Inf(-1))
	}
	var taken []int
	for len(left) > 0 && len(taken) < limit {
		best, top := 0, float32(math.Inf(-1))
		for at, i := range left {
			score := relevance[i]
			if len(taken) > 0 {
				closest[i] = max(closest[i], similarity(i, taken[len(taken)-1]))
				score = lambda*score - (1-lambda)*closest[i]
			}
			if score > top {
				best, top = at, score
			}
		}
		taken = append(taken, left[best])
		left = slices.Delete(left, best, best+1)
	}
	return taken
}
