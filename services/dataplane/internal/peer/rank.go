package peer

import (
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/fault"
)

// rankOf reads a query by several vectors of one name. Errors: query.ErrRank, faults.
func rankOf(name string, q *qdrant.Query) (*query.Rank, error) {
	r := reader{name: name}
	var out *query.Rank
	var err error
	switch o := q.GetVariant().(type) {
	case *qdrant.Query_Recommend:
		out, err = r.recommend(o.Recommend)
	case *qdrant.Query_Discover:
		out, err = query.Discover(r.one(o.Discover.GetTarget()), r.pairs(o.Discover.GetContext()))
	case *qdrant.Query_Context:
		out, err = query.Context(r.pairs(o.Context))
	case *qdrant.Query_RelevanceFeedback:
		out, err = r.feedback(o.RelevanceFeedback)
	default:
		return nil, fault.Missing("this kind of query")
	}
	if r.err != nil {
		return nil, r.err
	}
	return out, err
}

// reader reads vectors of one name, and keeps the first error.
type reader struct {
	name string
	err  error
}

func (r *reader) one(v *qdrant.VectorInput) op.Vector {
	out, err := inputOf(r.name, v)
	if r.err == nil {
		r.err = err
	}
	return out
}

func (r *reader) list(vs []*qdrant.VectorInput) (out []op.Vector) {
	for _, v := range vs {
		out = append(out, r.one(v))
	}
	return out
}

func (r *reader) pairs(c *qdrant.ContextInput) (out []query.Pair) {
	for _, p := range c.GetPairs() {
		out = append(out, query.Pair{Near: r.one(p.GetPositive()), Far: r.one(p.GetNegative())})
	}
	return out
}

func (r *reader) recommend(q *qdrant.RecommendInput) (*query.Rank, error) {
	liked, disliked := r.list(q.GetPositive()), r.list(q.GetNegative())
	switch q.GetStrategy() {
	case qdrant.RecommendStrategy_BestScore:
		return query.BestScore(liked, disliked)
	case qdrant.RecommendStrategy_SumScores:
		return query.SumScores(liked, disliked)
	}
	return nil, fault.BadInput("a shard does not recommend by strategy %v; the mean of the vectors is a nearest query", q.GetStrategy())
}

func (r *reader) feedback(q *qdrant.RelevanceFeedbackInput) (*query.Rank, error) {
	naive := q.GetStrategy().GetNaive()
	if naive == nil {
		return nil, fault.BadInput("relevance feedback needs a strategy: naive")
	}
	var judged []query.Judgement
	for _, f := range q.GetFeedback() {
		judged = append(judged, query.Judgement{Vector: r.one(f.GetExample()), Score: f.GetScore()})
	}
	return query.Feedback(r.one(q.GetTarget()), judged, naive.GetA(), naive.GetB(), naive.GetC())
}
