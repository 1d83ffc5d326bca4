package points

import (
	"context"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
)

// Search is Query as older clients ask it: by numbers only, with a limit.
func (s *Service) Search(ctx context.Context, r *qdrant.SearchPoints) (*qdrant.SearchResponse, error) {
	q, err := asQuery(r)
	if err != nil {
		return nil, err
	}
	out, err := s.queries(ctx, r, r.Timeout, "", []*qdrant.QueryPoints{q})
	if err != nil {
		return nil, err
	}
	return &qdrant.SearchResponse{Result: out[0]}, nil
}

// SearchBatch is QueryBatch as older clients ask it.
func (s *Service) SearchBatch(ctx context.Context, r *qdrant.SearchBatchPoints) (*qdrant.SearchBatchResponse, error) {
	qs := make([]*qdrant.QueryPoints, len(r.GetSearchPoints()))
	for i, p := range r.GetSearchPoints() {
		var err error
		if qs[i], err = asQuery(p); err != nil {
			return nil, err
		}
	}
	out, err := s.queries(ctx, r, r.Timeout, "searches", qs)
	if err != nil {
		return nil, err
	}
	return &qdrant.SearchBatchResponse{Result: batches(out)}, nil
}

func asQuery(r *qdrant.SearchPoints) (*qdrant.QueryPoints, error) {
	if r.GetSparseIndices() != nil {
		return nil, fault.Missing("search with sparse vectors")
	}
	limit := r.GetLimit()
	return &qdrant.QueryPoints{
		Query: &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: &qdrant.VectorInput{
			Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: r.GetVector()}}}}},
		Using: r.VectorName, Filter: r.GetFilter(), Params: r.GetParams(), ScoreThreshold: r.ScoreThreshold, Limit: &limit, Offset: r.Offset,
		WithVectors: r.GetWithVectors(), WithPayload: r.GetWithPayload(), ShardKeySelector: r.GetShardKeySelector(),
	}, nil
}
