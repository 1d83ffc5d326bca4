package points

import (
	"context"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
)

// defaultLimit is that of scrolls and queries.
const defaultLimit = 10

// Get reads points by id, with their payload unless the request says otherwise;
// absent ones are left out. COLLECTION_NOT_FOUND, VALIDATION, MALFORMED,
// VECTOR_NAME_UNKNOWN, and as all reads SHARD_UNAVAILABLE, TIMEOUT.
func (s *Service) Get(ctx context.Context, r *qdrant.GetPoints) (*qdrant.GetResponse, error) {
	col, read, err := s.reader(ctx, r, r.Timeout, r.GetShardKeySelector(), nil)
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

// Scroll reads a page in the order of ids, or of an indexed field, with payload unless the request says
// otherwise.
func (s *Service) Scroll(ctx context.Context, r *qdrant.ScrollPoints) (*qdrant.ScrollResponse, error) {
	limit := uint32(defaultLimit)
	if r.Limit != nil {
		limit = *r.Limit
	}
	col, read, err := s.reader(ctx, r, r.Timeout, r.GetShardKeySelector(), func(c *validate.Check) { c.Limit(uint64(limit)) })
	if err != nil {
		return nil, err
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
	if r.GetOrderBy() != nil {
		if err := s.indexed(ctx, col, func(in indexes) error { return validate.OrderBy(r.GetOrderBy(), r.GetOffset(), in) }); err != nil {
			return nil, err
		}
		found, err := s.d.Coordinator.ScrollBy(ctx, read, r.GetFilter(), r.GetOrderBy(), limit, sel)
		if err != nil {
			return nil, err
		}
		return &qdrant.ScrollResponse{Result: found}, nil
	}
	page, err := s.d.Coordinator.Scroll(ctx, read, r.GetFilter(), r.GetOffset(), limit, sel)
	if err != nil {
		return nil, err
	}
	return &qdrant.ScrollResponse{Result: page.Points, NextPageOffset: page.Next}, nil
}

// Count counts points, exactly unless the request says otherwise.
func (s *Service) Count(ctx context.Context, r *qdrant.CountPoints) (*qdrant.CountResponse, error) {
	_, read, err := s.reader(ctx, r, r.Timeout, r.GetShardKeySelector(), nil)
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

// Facet counts points by their values of an indexed field.
func (s *Service) Facet(ctx context.Context, r *qdrant.FacetCounts) (*qdrant.FacetResponse, error) {
	limit := uint64(defaultLimit)
	if r.Limit != nil {
		limit = *r.Limit
	}
	col, read, err := s.reader(ctx, r, r.Timeout, r.GetShardKeySelector(), func(c *validate.Check) { c.Limit(limit) })
	if err != nil {
		return nil, err
	}
	if err := s.indexed(ctx, col, func(in indexes) error { return validate.Facet(r.GetKey(), in) }); err != nil {
		return nil, err
	}
	if err := validate.Filter(r.GetFilter()); err != nil {
		return nil, err
	}
	hits, err := s.d.Coordinator.Facet(ctx, read, &shardv1.FacetPoints{Key: r.GetKey(), Filter: r.GetFilter(), Limit: limit, Exact: r.GetExact()})
	if err != nil {
		return nil, err
	}
	return &qdrant.FacetResponse{Hits: hits}, nil
}

// indexes are those on payload fields, by key.
type indexes = map[string]*qdrant.PayloadIndexParams

// indexed checks a request by the indexes of a collection; where it would be refused, by those that another peer may have
// made a moment ago.
func (s *Service) indexed(ctx context.Context, col *view.Collection, check func(indexes) error) error {
	err := check(col.Indexes)
	if err == nil {
		return nil
	}
	if newest, bad := s.d.View.Newest(ctx, col.Name); bad == nil {
		return check(newest.Indexes)
	}
	return err
}
