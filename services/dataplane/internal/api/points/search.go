package points

import (
	"context"

	"github.com/pandodb/pando/gen/go/qdrant"
)

// Search is Query as older clients ask it: by numbers only, dense or sparse, with
// a limit.
func (s *Service) Search(ctx context.Context, r *qdrant.SearchPoints) (*qdrant.SearchResponse, error) {
	out, err := s.queries(ctx, r, r.Timeout, "", []*qdrant.QueryPoints{asQuery(r)})
	if err != nil {
		return nil, err
	}
	return &qdrant.SearchResponse{Result: out[0]}, nil
}

// SearchBatch is QueryBatch as older clients ask it.
func (s *Service) SearchBatch(ctx context.Context, r *qdrant.SearchBatchPoints) (*qdrant.SearchBatchResponse, error) {
	qs := make([]*qdrant.QueryPoints, len(r.GetSearchPoints()))
	for i, p := range r.GetSearchPoints() {
		qs[i] = asQuery(p)
	}
	out, err := s.queries(ctx, r, r.Timeout, "searches", qs)
	if err != nil {
		return nil, err
	}
	return &qdrant.SearchBatchResponse{Result: batches(out)}, nil
}

func asQuery(r *qdrant.SearchPoints) *qdrant.QueryPoints {
	limit := r.GetLimit()
	in := &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: r.GetVector()}}}
	if r.GetSparseIndices() != nil {
		in.Variant = &qdrant.VectorInput_Sparse{Sparse: &qdrant.SparseVector{Indices: r.GetSparseIndices().GetData(), Values: r.GetVector()}}
	}
	return &qdrant.QueryPoints{
		Query: &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: in}},
		Using: r.VectorName, Filter: r.GetFilter(), Params: r.GetParams(), ScoreThreshold: r.ScoreThreshold, Limit: &limit, Offset: r.Offset,
		WithVectors: r.GetWithVectors(), WithPayload: r.GetWithPayload(), ShardKeySelector: r.GetShardKeySelector(),
	}
}
