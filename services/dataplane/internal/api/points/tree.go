package points

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator/plan"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/query/fusion"
	"github.com/pandodb/pando/services/internal/fault"
)

// builder makes trees of the queries of one request, and gathers the points that they
// refer to. The trees are whole when its references are resolved and what it left to
// do then is done.
type builder struct {
	s    *Service
	col  *view.Collection
	refs []*reference
	then []func() error
}

// node makes a tree of a query that passed validate.Check.Tree. The points of its leaves
// also satisfy the filters of all nodes above them.
func (b *builder) node(ctx context.Context, in *qdrant.PrefetchQuery, keys *qdrant.ShardKeySelector, above *qdrant.Filter) (*plan.Node, error) {
	if err := validate.Filter(in.GetFilter()); err != nil {
		return nil, err
	}
	if err := validate.Filter(in.GetParams().GetIdf().GetCorpus()); err != nil {
		return nil, err
	}
	n := &plan.Node{Limit: defaultLimit, Threshold: in.ScoreThreshold}
	if in.Limit != nil {
		n.Limit = *in.Limit
	}
	by, excluded, err := b.by(ctx, in, keys)
	if err != nil {
		return nil, err
	}
	n.By, n.Filter = by, both(above, without(in.GetFilter(), excluded))
	for _, p := range in.GetPrefetch() {
		source, err := b.node(ctx, p, keys, n.Filter)
		if err != nil {
			return nil, err
		}
		n.Sources = append(n.Sources, source)
	}
	return n, nil
}

// by is how a query ranks, and which points are no answers to it.
func (b *builder) by(ctx context.Context, in *qdrant.PrefetchQuery, keys *qdrant.ShardKeySelector) (plan.By, []*qdrant.PointId, error) {
	switch o := in.GetQuery().GetVariant().(type) {
	case nil:
		if in.GetQuery() != nil {
			return nil, nil, fault.New(fault.Malformed, "Malformed query: it holds none of the known kinds")
		}
		return plan.ID{}, nil, nil
	case *qdrant.Query_OrderBy:
		err := b.s.indexed(ctx, b.col, func(in indexes) error { return validate.OrderBy(o.OrderBy, nil, in) })
		return &plan.Field{Order: o.OrderBy}, nil, err
	case *qdrant.Query_Sample:
		return &plan.Random{Seed: rand.Uint64()}, nil, nil
	case *qdrant.Query_Fusion:
		switch o.Fusion {
		case qdrant.Fusion_RRF:
			return &plan.Fusion{K: fusion.DefaultK}, nil, nil
		case qdrant.Fusion_DBSF:
			return &plan.Fusion{DBSF: true}, nil, nil
		}
		return nil, nil, fault.New(fault.Malformed, "Malformed query: fusion %d is not known, must be rrf or dbsf", int32(o.Fusion))
	case *qdrant.Query_Rrf:
		f := &plan.Fusion{K: fusion.DefaultK, Weights: o.Rrf.GetWeights()}
		if o.Rrf.K != nil {
			f.K = *o.Rrf.K
		}
		return f, nil, nil
	case *qdrant.Query_Formula:
		by, err := formulaOf(o.Formula)
		return by, nil, err
	case *qdrant.Query_Text:
		return nil, nil, fault.Missing("query kind `text`")
	}
	return b.vectors(ctx, in, keys)
}

// vectors is a ranking by vectors, of which those of points are still to be put in.
func (b *builder) vectors(ctx context.Context, in *qdrant.PrefetchQuery, keys *qdrant.ShardKeySelector) (plan.By, []*qdrant.PointId, error) {
	want, err := b.col.Schema.Using(in.GetUsing())
	if err != nil {
		return nil, nil, err
	}
	if in.GetParams().GetIdf() != nil && !want.IDF {
		return nil, nil, fault.BadInput("params.idf counts for sparse vectors with the modifier idf, and `%.64s` is none", in.GetUsing())
	}
	from, err := b.lookup(ctx, in, keys)
	if err != nil {
		return nil, nil, err
	}
	var excluded []*qdrant.PointId
	v := &plan.Vectors{Using: in.GetUsing(), Params: in.GetParams()}
	v.Query = plan.Inputs(in.GetQuery(), func(one *qdrant.VectorInput) *qdrant.VectorInput {
		if err != nil {
			return one
		}
		if id, ok := one.GetVariant().(*qdrant.VectorInput_Id); ok {
			slot := &qdrant.VectorInput{}
			if err = b.refer(from, id.Id, want, slot); from.in.Collection.ID == b.col.ID {
				excluded = append(excluded, id.Id)
			}
			return slot
		}
		one, err = want.Input(validate.Place{Part: "query"}, one)
		return one
	})
	if want.IDF {
		v.IDF = &plan.IDF{Corpus: in.GetParams().GetIdf().GetCorpus()}
	}
	switch o := v.Query.GetVariant().(type) {
	case *qdrant.Query_Nearest:
		v.SmallerIsBetter = smallerIsBetter(want.Distance)
	case *qdrant.Query_NearestWithMmr:
		v.SmallerIsBetter = smallerIsBetter(want.Distance)
		v.MMR = mmrOf(o.NearestWithMmr.GetMmr(), want, in.Limit)
		v.Query.Variant = &qdrant.Query_Nearest{Nearest: o.NearestWithMmr.GetNearest()}
	case *qdrant.Query_Recommend:
		if o.Recommend.GetStrategy() == qdrant.RecommendStrategy_AverageVector {
			v.SmallerIsBetter = smallerIsBetter(want.Distance)
			b.then = append(b.then, func() error {
				mean, err := want.Input(validate.Place{Part: "query"}, average(o.Recommend.GetPositive(), o.Recommend.GetNegative()))
				v.Query = &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: mean}}
				return err
			})
		}
	}
	return v, excluded, err
}

// mmrOf reads how to spread the answers of a query of that limit.
func mmrOf(m *qdrant.Mmr, want validate.Vector, limit *uint64) *plan.MMR {
	out := &plan.MMR{Distance: query.Distance(want.Distance), Lambda: 0.5, Candidates: defaultLimit}
	if limit != nil {
		out.Candidates = *limit
	}
	if m != nil && m.CandidatesLimit != nil {
		out.Candidates = uint64(*m.CandidatesLimit)
	}
	if m != nil && m.Diversity != nil {
		out.Lambda = 1 - *m.Diversity
	}
	return out
}

// without adds to a filter that some points are not wanted.
func without(f *qdrant.Filter, ids []*qdrant.PointId) *qdrant.Filter {
	if len(ids) == 0 {
		return f
	}
	return both(f, &qdrant.Filter{MustNot: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_HasId{HasId: &qdrant.HasIdCondition{HasId: ids}}}}})
}

// both asks for what two filters ask; nil asks for nothing.
func both(a, b *qdrant.Filter) *qdrant.Filter {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	out := &qdrant.Filter{Must: slices.Concat(a.GetMust(), b.GetMust()), MustNot: slices.Concat(a.GetMustNot(), b.GetMustNot()),
		Should: a.GetShould(), MinShould: a.GetMinShould()}
	switch choice := len(b.GetShould()) > 0 || b.GetMinShould() != nil; {
	case choice && (len(a.GetShould()) > 0 || a.GetMinShould() != nil):
		out.Must = append(out.Must, &qdrant.Condition{ConditionOneOf: &qdrant.Condition_Filter{Filter: &qdrant.Filter{Should: b.GetShould(), MinShould: b.GetMinShould()}}})
	case choice:
		out.Should, out.MinShould = b.GetShould(), b.GetMinShould()
	}
	return out
}
