package points

import (
	"context"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/internal/fault"
)

// Recommend is Query by examples as older clients ask it.
func (s *Service) Recommend(ctx context.Context, r *qdrant.RecommendPoints) (*qdrant.RecommendResponse, error) {
	q, err := recommended(r)
	if err != nil {
		return nil, err
	}
	out, err := s.queries(ctx, r, r.Timeout, "", []*qdrant.QueryPoints{q})
	if err != nil {
		return nil, err
	}
	return &qdrant.RecommendResponse{Result: out[0]}, nil
}

// RecommendBatch is QueryBatch by examples as older clients ask it.
func (s *Service) RecommendBatch(ctx context.Context, r *qdrant.RecommendBatchPoints) (*qdrant.RecommendBatchResponse, error) {
	qs, err := all(r.GetRecommendPoints(), recommended)
	if err != nil {
		return nil, err
	}
	out, err := s.queries(ctx, r, r.Timeout, "searches", qs)
	if err != nil {
		return nil, err
	}
	return &qdrant.RecommendBatchResponse{Result: batches(out)}, nil
}

// RecommendGroups is QueryGroups by examples as older clients ask it.
func (s *Service) RecommendGroups(ctx context.Context, r *qdrant.RecommendPointGroups) (*qdrant.RecommendGroupsResponse, error) {
	q, err := recommendation(r)
	if err != nil {
		return nil, err
	}
	out, err := s.groups(ctx, &qdrant.QueryPointGroups{CollectionName: r.GetCollectionName(), Query: q, Using: r.Using, Filter: r.GetFilter(), Params: r.GetParams(),
		ScoreThreshold: r.ScoreThreshold, WithPayload: r.GetWithPayload(), WithVectors: r.GetWithVectors(), LookupFrom: r.GetLookupFrom(),
		Limit: wide(r.GetLimit()), GroupSize: wide(r.GetGroupSize()), GroupBy: r.GetGroupBy(), ReadConsistency: r.GetReadConsistency(), WithLookup: r.GetWithLookup(),
		Timeout: r.Timeout, ShardKeySelector: r.GetShardKeySelector()})
	return &qdrant.RecommendGroupsResponse{Result: out}, err
}

// Discover is Query by a target and a context, or by one of them, as older clients ask
// it.
func (s *Service) Discover(ctx context.Context, r *qdrant.DiscoverPoints) (*qdrant.DiscoverResponse, error) {
	q, err := discovered(r)
	if err != nil {
		return nil, err
	}
	out, err := s.queries(ctx, r, r.Timeout, "", []*qdrant.QueryPoints{q})
	if err != nil {
		return nil, err
	}
	return &qdrant.DiscoverResponse{Result: out[0]}, nil
}

// DiscoverBatch is several of Discover, in their order.
func (s *Service) DiscoverBatch(ctx context.Context, r *qdrant.DiscoverBatchPoints) (*qdrant.DiscoverBatchResponse, error) {
	qs, err := all(r.GetDiscoverPoints(), discovered)
	if err != nil {
		return nil, err
	}
	out, err := s.queries(ctx, r, r.Timeout, "searches", qs)
	if err != nil {
		return nil, err
	}
	return &qdrant.DiscoverBatchResponse{Result: batches(out)}, nil
}

func all[R any](in []R, each func(R) (*qdrant.QueryPoints, error)) ([]*qdrant.QueryPoints, error) {
	out := make([]*qdrant.QueryPoints, len(in))
	for i, r := range in {
		var err error
		if out[i], err = each(r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func recommended(r *qdrant.RecommendPoints) (*qdrant.QueryPoints, error) {
	q, err := recommendation(r)
	return &qdrant.QueryPoints{Query: q, Using: r.Using, Filter: r.GetFilter(), Params: r.GetParams(), ScoreThreshold: r.ScoreThreshold, Limit: new(r.GetLimit()),
		Offset: r.Offset, WithVectors: r.GetWithVectors(), WithPayload: r.GetWithPayload(), LookupFrom: r.GetLookupFrom(), ShardKeySelector: r.GetShardKeySelector()}, err
}

// recommendation is what requests for recommendations have in common.
func recommendation(r interface {
	GetPositive() []*qdrant.PointId
	GetPositiveVectors() []*qdrant.Vector
	GetNegative() []*qdrant.PointId
	GetNegativeVectors() []*qdrant.Vector
	GetStrategy() qdrant.RecommendStrategy
}) (*qdrant.Query, error) {
	positive, err := inputs("positive", r.GetPositive(), r.GetPositiveVectors())
	if err != nil {
		return nil, err
	}
	negative, err := inputs("negative", r.GetNegative(), r.GetNegativeVectors())
	return &qdrant.Query{Variant: &qdrant.Query_Recommend{Recommend: &qdrant.RecommendInput{Positive: positive, Negative: negative, Strategy: r.GetStrategy().Enum()}}}, err
}

func inputs(list string, ids []*qdrant.PointId, vectors []*qdrant.Vector) (out []*qdrant.VectorInput, err error) {
	for _, id := range ids {
		out = append(out, &qdrant.VectorInput{Variant: &qdrant.VectorInput_Id{Id: id}})
	}
	for _, v := range vectors {
		in, err := validate.InputOf(validate.Place{Part: list}, v)
		if err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	return out, nil
}

func discovered(r *qdrant.DiscoverPoints) (*qdrant.QueryPoints, error) {
	q, err := discovery(r)
	return &qdrant.QueryPoints{Query: q, Using: r.Using, Filter: r.GetFilter(), Params: r.GetParams(), Limit: new(r.GetLimit()), Offset: r.Offset,
		WithVectors: r.GetWithVectors(), WithPayload: r.GetWithPayload(), LookupFrom: r.GetLookupFrom(), ShardKeySelector: r.GetShardKeySelector()}, err
}

func discovery(r *qdrant.DiscoverPoints) (*qdrant.Query, error) {
	context := &qdrant.ContextInput{}
	for _, p := range r.GetContext() {
		positive, err := example("context.positive", p.GetPositive())
		if err != nil {
			return nil, err
		}
		negative, err := example("context.negative", p.GetNegative())
		if err != nil {
			return nil, err
		}
		context.Pairs = append(context.Pairs, &qdrant.ContextInputPair{Positive: positive, Negative: negative})
	}
	switch {
	case r.GetTarget() != nil:
		target, err := example("target", r.GetTarget().GetSingle())
		return &qdrant.Query{Variant: &qdrant.Query_Discover{Discover: &qdrant.DiscoverInput{Target: target, Context: context}}}, err
	case len(context.GetPairs()) > 0:
		return &qdrant.Query{Variant: &qdrant.Query_Context{Context: context}}, nil
	}
	return nil, fault.New(fault.InvalidArgument, "Bad request: Either target or context must be provided")
}

func example(at string, x *qdrant.VectorExample) (*qdrant.VectorInput, error) {
	switch o := x.GetExample().(type) {
	case *qdrant.VectorExample_Id:
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Id{Id: o.Id}}, nil
	case *qdrant.VectorExample_Vector:
		return validate.InputOf(validate.Place{Part: at}, o.Vector)
	}
	return nil, fault.New(fault.Malformed, "Malformed request: %s holds no id and no vector", at)
}
