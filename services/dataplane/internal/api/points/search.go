package points

import (
	"context"

	"github.com/pandodb/pando/gen/go/qdrant"
)

// Search is Query as older clients ask it: by numbers only, dense or sparse, with
// a limit.
func (s *Service) Search(ctx context.Context, r *qdrant.SearchPoints) (*qdrant.SearchResponse, error) {
	out, err := s.queries(ctx, r, r.Timeout, "", []*qdrant.QueryPoints{searched(r)})
	if err != nil {
		return nil, err
	}
	return &qdrant.SearchResponse{Result: out[0]}, nil
}

// SearchBatch is QueryBatch as older clients ask it.
func (s *Service) SearchBatch(ctx context.Context, r *qdrant.SearchBatchPoints) (*qdrant.SearchBatchResponse, error) {
	qs := make([]*qdrant.QueryPoints, len(r.GetSearchPoints()))
	for i, p := range r.GetSearchPoints() {
		qs[i] = searched(p)
	}
	out, err := s.queries(ctx, r, r.Timeout, "searches", qs)
	if err != nil {
		return nil, err
	}
	return &qdrant.SearchBatchResponse{Result: batches(out)}, nil
}

// SearchGroups is QueryGroups as older clients ask it.
func (s *Service) SearchGroups(ctx context.Context, r *qdrant.SearchPointGroups) (*qdrant.SearchGroupsResponse, error) {
	out, err := s.groups(ctx, &qdrant.QueryPointGroups{CollectionName: r.GetCollectionName(), Query: numbersOf(r.GetVector(), r.GetSparseIndices()), Using: r.VectorName,
		Filter: r.GetFilter(), Params: r.GetParams(), ScoreThreshold: r.ScoreThreshold, WithPayload: r.GetWithPayload(), WithVectors: r.GetWithVectors(),
		Limit: wide(r.GetLimit()), GroupSize: wide(r.GetGroupSize()), GroupBy: r.GetGroupBy(), ReadConsistency: r.GetReadConsistency(), WithLookup: r.GetWithLookup(),
		Timeout: r.Timeout, ShardKeySelector: r.GetShardKeySelector()})
	return &qdrant.SearchGroupsResponse{Result: out}, err
}

func searched(r *qdrant.SearchPoints) *qdrant.QueryPoints {
	return &qdrant.QueryPoints{
		Query: numbersOf(r.GetVector(), r.GetSparseIndices()), Using: r.VectorName, Filter: r.GetFilter(), Params: r.GetParams(), ScoreThreshold: r.ScoreThreshold,
		Limit: new(r.GetLimit()), Offset: r.Offset, WithVectors: r.GetWithVectors(), WithPayload: r.GetWithPayload(), ShardKeySelector: r.GetShardKeySelector(),
	}
}

func numbersOf(data []float32, indices *qdrant.SparseIndices) *qdrant.Query {
	in := &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: data}}}
	if indices != nil {
		in.Variant = &qdrant.VectorInput_Sparse{Sparse: &qdrant.SparseVector{Indices: indices.GetData(), Values: data}}
	}
	return &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: in}}
}

func wide(n uint32) *uint64 { return new(uint64(n)) }
