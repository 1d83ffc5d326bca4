package points

import (
	"context"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/internal/fault"
)

// defaultLimit is that of scrolls and queries.
const defaultLimit = 10

// Get reads points by id, with their payload unless the request says otherwise;
// absent ones are left out. COLLECTION_NOT_FOUND, VALIDATION, MALFORMED,
// VECTOR_NAME_UNKNOWN, and as all reads SHARD_UNAVAILABLE, TIMEOUT.
func (s *Service) Get(ctx context.Context, r *qdrant.GetPoints) (*qdrant.GetResponse, error) {
	col, read, err := s.reader(r, r.Timeout, r.GetShardKeySelector(), nil)
	if err != nil {
		return nil, err
	}
	if err := validate.IDs(r.GetIds()); err != nil {
		return nil, err
	}
	sel, err := selection(col.Schema, r.GetWithPayload(), r.GetWithVectors(), true)
	if err != nil {
		return nil, err
	}
	found, err := s.d.Coordinator.Get(ctx, read, r.GetIds(), sel)
	if err != nil {
		return nil, err
	}
	return &qdrant.GetResponse{Result: found}, nil
}

// Scroll reads a page in the order of ids, with payload unless the request says
// otherwise.
func (s *Service) Scroll(ctx context.Context, r *qdrant.ScrollPoints) (*qdrant.ScrollResponse, error) {
	limit := uint32(defaultLimit)
	if r.Limit != nil {
		limit = *r.Limit
	}
	col, read, err := s.reader(r, r.Timeout, r.GetShardKeySelector(), func(c *validate.Check) { c.Limit(uint64(limit)) })
	if err != nil {
		return nil, err
	}
	if r.GetOrderBy() != nil {
		return nil, fault.Missing("scroll with `order_by`")
	}
	if err := validate.Filter(r.GetFilter()); err != nil {
		return nil, err
	}
	if r.GetOffset() != nil {
		if err := validate.ID(r.GetOffset()); err != nil {
			return nil, err
		}
	}
	sel, err := selection(col.Schema, r.GetWithPayload(), r.GetWithVectors(), true)
	if err != nil {
		return nil, err
	}
	page, err := s.d.Coordinator.Scroll(ctx, read, r.GetFilter(), r.GetOffset(), limit, sel)
	if err != nil {
		return nil, err
	}
	return &qdrant.ScrollResponse{Result: page.Points, NextPageOffset: page.Next}, nil
}

// Count counts points, exactly unless the request says otherwise.
func (s *Service) Count(ctx context.Context, r *qdrant.CountPoints) (*qdrant.CountResponse, error) {
	_, read, err := s.reader(r, r.Timeout, r.GetShardKeySelector(), nil)
	if err != nil {
		return nil, err
	}
	if err := validate.Filter(r.GetFilter()); err != nil {
		return nil, err
	}
	n, err := s.d.Coordinator.Count(ctx, read, r.GetFilter(), r.Exact == nil || *r.Exact)
	if err != nil {
		return nil, err
	}
	return &qdrant.CountResponse{Result: &qdrant.CountResult{Count: n}}, nil
}
