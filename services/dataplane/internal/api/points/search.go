package points

import (
	"context"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
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

// CreateFieldIndex records a payload index: it is reported by the collection's
// info, and filters work with and without it. COLLECTION_NOT_FOUND, VALIDATION,
// MALFORMED, NO_LEADER, TIMEOUT.
func (s *Service) CreateFieldIndex(ctx context.Context, r *qdrant.CreateFieldIndexCollection) (*qdrant.PointsOperationResponse, error) {
	params, err := validate.FieldIndex(r)
	if err != nil {
		return nil, err
	}
	return s.index(ctx, frameOf(r, r.Timeout), r.GetFieldName(), params)
}

// DeleteFieldIndex forgets a payload index; an unknown one is no error.
func (s *Service) DeleteFieldIndex(ctx context.Context, r *qdrant.DeleteFieldIndexCollection) (*qdrant.PointsOperationResponse, error) {
	var c validate.Check
	c.Name("collection_name", r.GetCollectionName())
	c.Timeout(r.Timeout)
	c.Ordering(r.GetOrdering())
	if err := c.Err(); err != nil {
		return nil, err
	}
	if err := validate.Key(r.GetFieldName()); err != nil {
		return nil, err
	}
	return s.index(ctx, frameOf(r, r.Timeout), r.GetFieldName(), nil)
}

func (s *Service) index(ctx context.Context, f frame, field string, params *qdrant.PayloadIndexParams) (*qdrant.PointsOperationResponse, error) {
	if _, err := s.d.View.Resolve(f.collection); err != nil {
		return nil, err
	}
	timeout := catalogTimeout
	if f.timeout != nil {
		timeout = duration(f.timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := s.d.Catalog.ChangePayloadIndex(ctx, &placementv1.ChangePayloadIndexRequest{CollectionName: f.collection, FieldName: field, Params: params})
	if err != nil {
		return nil, err
	}
	result := &qdrant.UpdateResult{OperationId: new(resp.GetRevision()), Status: qdrant.UpdateStatus_Acknowledged}
	if f.wait {
		result.Status = qdrant.UpdateStatus_Completed
		if s.d.AwaitRevision(ctx, resp.GetRevision()) != nil {
			result.Status = qdrant.UpdateStatus_WaitTimeout // decided, and not yet seen here
		}
	}
	return &qdrant.PointsOperationResponse{Result: result}, nil
}
