package points

import (
	"context"
	"fmt"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator/plan"
	"google.golang.org/protobuf/proto"
)

// Query ranks points: by vectors, given as numbers or as points, which are then not
// among the answers; by a field, by chance, or by what it prefetches. Without a query
// it answers points in the order of ids with score 1. COLLECTION_NOT_FOUND,
// POINT_NOT_FOUND, VALIDATION, MALFORMED, INVALID_ARGUMENT, VECTOR_NAME_UNKNOWN,
// DIMENSION_MISMATCH, NOT_BUILT for inference and for the kind `text`.
func (s *Service) Query(ctx context.Context, r *qdrant.QueryPoints) (*qdrant.QueryResponse, error) {
	out, err := s.queries(ctx, r, r.Timeout, "", []*qdrant.QueryPoints{r})
	if err != nil {
		return nil, err
	}
	return &qdrant.QueryResponse{Result: out[0]}, nil
}

// QueryBatch answers several queries in their order. The collection, the read
// consistency and the timeout of the batch count, not those inside.
func (s *Service) QueryBatch(ctx context.Context, r *qdrant.QueryBatchPoints) (*qdrant.QueryBatchResponse, error) {
	out, err := s.queries(ctx, r, r.Timeout, "searches", r.GetQueryPoints())
	if err != nil {
		return nil, err
	}
	return &qdrant.QueryBatchResponse{Result: batches(out)}, nil
}

func batches(in [][]*qdrant.ScoredPoint) []*qdrant.BatchResult {
	out := make([]*qdrant.BatchResult, len(in))
	for i, points := range in {
		out[i] = &qdrant.BatchResult{Result: points}
	}
	return out
}

// root is a query as if it were a prefetch.
func root(q *qdrant.QueryPoints) *qdrant.PrefetchQuery {
	return &qdrant.PrefetchQuery{Prefetch: q.GetPrefetch(), Query: q.GetQuery(), Using: q.Using, Filter: q.GetFilter(), Params: q.GetParams(),
		ScoreThreshold: q.ScoreThreshold, Limit: q.Limit, LookupFrom: q.GetLookupFrom()}
}

// queries checks all, finds the vectors of the points that they name, then ranks.
func (s *Service) queries(ctx context.Context, r reading, timeout *uint64, list string, in []*qdrant.QueryPoints) ([][]*qdrant.ScoredPoint, error) {
	col, read, err := s.reader(ctx, r, timeout, nil, func(c *validate.Check) {
		for i, q := range in {
			at := ""
			if list != "" {
				at = fmt.Sprintf("%s[%d].", list, i)
			}
			c.Tree(at, root(q))
		}
	})
	if err != nil {
		return nil, err
	}
	b := &builder{s: s, col: col}
	trees := make([]*plan.Tree, len(in))
	for i, q := range in {
		if trees[i], err = b.tree(ctx, q); err != nil {
			return nil, err
		}
	}
	if err := b.resolve(ctx, read); err != nil {
		return nil, err
	}
	return s.rank(ctx, col, read, in, trees)
}

// tree makes a tree of a whole query.
func (b *builder) tree(ctx context.Context, q *qdrant.QueryPoints) (*plan.Tree, error) {
	sel, err := selection(b.col.Schema, q.GetWithPayload(), q.GetWithVectors(), false)
	if err != nil {
		return nil, err
	}
	n, err := b.node(ctx, root(q), q.GetShardKeySelector(), nil)
	if err != nil {
		return nil, err
	}
	return &plan.Tree{Root: n, Offset: q.GetOffset(), Limit: n.Limit, Payload: sel.Payload, Vectors: sel.Vectors}, nil
}

// rank asks the coordinator, once for all queries that concern the same shards.
func (s *Service) rank(ctx context.Context, col *view.Collection, read coordinator.Read, in []*qdrant.QueryPoints, trees []*plan.Tree) ([][]*qdrant.ScoredPoint, error) {
	out := make([][]*qdrant.ScoredPoint, len(in))
	done := make([]bool, len(in))
	for first := range in {
		if done[first] {
			continue
		}
		keys := in[first].GetShardKeySelector()
		var at []int
		var now []*plan.Tree
		for i := first; i < len(in); i++ {
			if !done[i] && proto.Equal(in[i].GetShardKeySelector(), keys) {
				done[i], at, now = true, append(at, i), append(now, trees[i])
			}
		}
		var err error
		if read.Target, err = s.target(ctx, col, keys, false); err != nil {
			return nil, err
		}
		found, err := s.d.Coordinator.Query(ctx, read, now)
		if err != nil {
			return nil, err
		}
		for i, points := range found {
			out[at[i]] = points
		}
	}
	return out, nil
}
