package validate

import (
	"fmt"
	"math"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
)

// Bounds of one query with all that it prefetches.
const (
	MaxPrefetches    = 256 // in all
	MaxPrefetchDepth = 32
	MaxCandidates    = 16384 // of mmr
	MaxSample        = 16384 // of a distance matrix
)

// Tree checks what of a query, which is given as if it were a prefetch, does not
// depend on the collection. at is the place of its fields: `searches[2].`.
func (c *Check) Tree(at string, q *qdrant.PrefetchQuery) {
	n := 0
	c.tree(at, q, 0, &n)
}

// Sample checks how many points are compared with each other.
func (c *Check) Sample(n uint64) {
	between(c, "sample", n, 2, MaxSample)
}

func (c *Check) tree(at string, q *qdrant.PrefetchQuery, depth int, n *int) {
	if q.Limit != nil {
		c.LimitAt(at+"limit", *q.Limit)
	}
	c.Params(at, q.GetParams())
	c.Threshold(at, q.ScoreThreshold)
	c.query(at, q)
	c.threshold(q)
	if *n += len(q.GetPrefetch()); *n > MaxPrefetches || depth == MaxPrefetchDepth && len(q.GetPrefetch()) > 0 {
		c.Add(at+"prefetch", "a query has at most %d prefetches, up to %d levels deep", MaxPrefetches, MaxPrefetchDepth)
		return
	}
	for i, p := range q.GetPrefetch() {
		c.tree(fmt.Sprintf("%sprefetch[%d].", at, i), p, depth+1, n)
	}
}

// query checks the kind of a query and what it needs beside it.
func (c *Check) query(at string, q *qdrant.PrefetchQuery) {
	sources := len(q.GetPrefetch())
	alone := func(kind string) {
		switch {
		case sources == 0:
			c.refuse(fault.BadInput("Cannot perform %s without prefetches", kind))
		case q.GetUsing() != "":
			c.refuse(fault.BadInput("%s queries cannot be combined with the 'using' field", kind))
		}
	}
	switch o := q.GetQuery().GetVariant().(type) {
	case nil:
		if q.GetQuery() == nil && sources > 0 {
			c.refuse(fault.New(fault.InvalidArgument, "Bad request: A query is needed to merge the prefetches. Can't have prefetches without defining a query."))
		}
	case *qdrant.Query_Fusion:
		alone("Fusion")
	case *qdrant.Query_Rrf:
		alone("Fusion")
		optAtLeast(c, at+"query.rrf.k", o.Rrf.K, 1)
		if n := len(o.Rrf.GetWeights()); n > 0 && n != sources {
			c.Add(at+"query.rrf.weights", "%d weights for %d prefetches, must be one for each", n, sources)
		}
		for i, w := range o.Rrf.GetWeights() {
			if math.IsNaN(float64(w)) || math.IsInf(float64(w), 0) {
				c.Add(fmt.Sprintf("%squery.rrf.weights[%d]", at, i), "value %v invalid, must be a finite number", w)
			}
		}
	case *qdrant.Query_Formula:
		alone("Formula")
	case *qdrant.Query_NearestWithMmr:
		if m := o.NearestWithMmr.GetMmr(); m != nil {
			optBetween(c, at+"query.mmr.diversity", m.Diversity, 0, 1)
			optMost(c, at+"query.mmr.candidates_limit", m.CandidatesLimit, MaxCandidates)
		}
	case *qdrant.Query_Recommend:
		c.recommend(o.Recommend)
	case *qdrant.Query_Context:
		if len(o.Context.GetPairs()) == 0 {
			c.refuse(fault.BadInput("a context query needs at least one pair"))
		}
	case *qdrant.Query_RelevanceFeedback:
		c.feedback(at+"query.relevance_feedback.", o.RelevanceFeedback)
	case *qdrant.Query_Sample:
		if o.Sample != qdrant.Sample_Random {
			c.refuse(unable("Malformed query: sample %d is not known, must be random", int32(o.Sample)))
		}
	}
}

func (c *Check) recommend(r *qdrant.RecommendInput) {
	switch s := r.GetStrategy(); {
	case s < qdrant.RecommendStrategy_AverageVector || s > qdrant.RecommendStrategy_SumScores:
		c.refuse(unable("Malformed query: strategy %d is not known, must be average_vector, best_score or sum_scores", int32(s)))
	case s == qdrant.RecommendStrategy_AverageVector && len(r.GetPositive()) == 0:
		c.refuse(fault.New(fault.InvalidArgument, "Bad request: At least one positive vector ID required with this strategy"))
	case len(r.GetPositive())+len(r.GetNegative()) == 0:
		c.refuse(fault.New(fault.InvalidArgument, "Bad request: At least one positive or negative vector ID required with this strategy"))
	}
}

func (c *Check) feedback(at string, f *qdrant.RelevanceFeedbackInput) {
	naive := f.GetStrategy().GetNaive()
	if naive == nil {
		c.refuse(unable("Malformed query: relevance_feedback names no strategy, must be naive"))
		return
	}
	atLeast(c, at+"strategy.naive.b", naive.GetB(), 0)
	for _, x := range []struct {
		name  string
		value float32
	}{{"a", naive.GetA()}, {"c", naive.GetC()}} {
		if math.IsNaN(float64(x.value)) || math.IsInf(float64(x.value), 0) {
			c.Add(at+"strategy.naive."+x.name, "value %v invalid, must be a finite number", x.value)
		}
	}
	for i, item := range f.GetFeedback() {
		if s := float64(item.GetScore()); math.IsNaN(s) || math.IsInf(s, 0) {
			c.Add(fmt.Sprintf("%sfeedback[%d].score", at, i), "value %v invalid, must be a finite number", item.GetScore())
		}
	}
}

// threshold refuses one for what has no scores.
func (c *Check) threshold(q *qdrant.PrefetchQuery) {
	if q.ScoreThreshold == nil {
		return
	}
	switch q.GetQuery().GetVariant().(type) {
	case nil:
		if q.GetQuery() == nil {
			c.refuse(fault.BadInput("A query is needed to use the score_threshold"))
		}
	case *qdrant.Query_OrderBy:
		c.refuse(fault.BadInput("Can't use score_threshold with an order_by query"))
	case *qdrant.Query_Sample:
		c.refuse(fault.BadInput("Can't use score_threshold with a sample query"))
	}
}
