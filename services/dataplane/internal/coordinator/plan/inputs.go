package plan

import "github.com/pandodb/pando/gen/go/qdrant"

// Inputs gives a query whose vectors and ids are what each makes of them, in the order
// in which they stand there. The query itself stays as it is.
func Inputs(q *qdrant.Query, each func(*qdrant.VectorInput) *qdrant.VectorInput) *qdrant.Query {
	list := func(in []*qdrant.VectorInput) []*qdrant.VectorInput {
		out := make([]*qdrant.VectorInput, len(in))
		for i, v := range in {
			out[i] = each(v)
		}
		return out
	}
	pairs := func(in *qdrant.ContextInput) *qdrant.ContextInput {
		out := &qdrant.ContextInput{}
		for _, p := range in.GetPairs() {
			out.Pairs = append(out.Pairs, &qdrant.ContextInputPair{Positive: each(p.GetPositive()), Negative: each(p.GetNegative())})
		}
		return out
	}
	out := &qdrant.Query{Variant: q.GetVariant()}
	switch o := q.GetVariant().(type) {
	case *qdrant.Query_Nearest:
		out.Variant = &qdrant.Query_Nearest{Nearest: each(o.Nearest)}
	case *qdrant.Query_NearestWithMmr:
		out.Variant = &qdrant.Query_NearestWithMmr{NearestWithMmr: &qdrant.NearestInputWithMmr{Nearest: each(o.NearestWithMmr.GetNearest()), Mmr: o.NearestWithMmr.GetMmr()}}
	case *qdrant.Query_Recommend:
		r := o.Recommend
		out.Variant = &qdrant.Query_Recommend{Recommend: &qdrant.RecommendInput{Positive: list(r.GetPositive()), Negative: list(r.GetNegative()), Strategy: r.Strategy}}
	case *qdrant.Query_Discover:
		out.Variant = &qdrant.Query_Discover{Discover: &qdrant.DiscoverInput{Target: each(o.Discover.GetTarget()), Context: pairs(o.Discover.GetContext())}}
	case *qdrant.Query_Context:
		out.Variant = &qdrant.Query_Context{Context: pairs(o.Context)}
	case *qdrant.Query_RelevanceFeedback:
		f := o.RelevanceFeedback
		in := &qdrant.RelevanceFeedbackInput{Target: each(f.GetTarget()), Strategy: f.GetStrategy()}
		for _, item := range f.GetFeedback() {
			in.Feedback = append(in.Feedback, &qdrant.FeedbackItem{Example: each(item.GetExample()), Score: item.GetScore()})
		}
		out.Variant = &qdrant.Query_RelevanceFeedback{RelevanceFeedback: in}
	}
	return out
}
