package coordinator

import (
	"cmp"
	"context"
	"math"
	"slices"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// Select says which parts of a point to answer.
type Select struct {
	Payload *qdrant.WithPayloadSelector
	Vectors *qdrant.WithVectorsSelector
}

// Get reads points by id, in the order asked for; absent ones are left out and
// an id asked for twice is answered twice.
func (c *Coordinator) Get(ctx context.Context, r Read, ids []*qdrant.PointId, sel Select) ([]*qdrant.RetrievedPoint, error) {
	body, merge, err := get(r.Target, &shardv1.GetPoints{Ids: ids, WithPayload: sel.Payload, WithVectors: sel.Vectors})
	if err != nil {
		return nil, err
	}
	res, err := c.read(ctx, r, body)
	if err != nil {
		return nil, err
	}
	return merge(res), nil
}

// get asks each shard for its share of ids, and merges what they answer.
func get(t Target, g *shardv1.GetPoints) (body, func([]*shardv1.ShardReadResult) []*qdrant.RetrievedPoint, error) {
	share := map[topology.Shard][]*qdrant.PointId{}
	order := make([]topology.PointID, 0, len(g.GetIds()))
	for _, id := range g.GetIds() {
		pid, err := wire.PointID(id)
		if err != nil {
			return nil, nil, fault.Wrap(fault.Malformed, err, "Unable to parse UUID: %v", err)
		}
		order = append(order, pid)
		for _, g := range t.Groups {
			if len(g.IDs) > 0 {
				s := topology.Shard{Collection: t.Collection.ID, ID: t.Collection.ShardOf(g, pid)}
				share[s] = append(share[s], id)
			}
		}
	}
	body := func(s topology.Shard) *shardv1.ShardRead {
		if len(share[s]) == 0 {
			return nil
		}
		return &shardv1.ShardRead{Read: &shardv1.ShardRead_Get{Get: &shardv1.GetPoints{
			Ids: share[s], WithPayload: g.GetWithPayload(), WithVectors: g.GetWithVectors()}}}
	}
	return body, func(res []*shardv1.ShardReadResult) []*qdrant.RetrievedPoint {
		found := map[topology.PointID]*qdrant.RetrievedPoint{}
		for _, one := range res {
			for _, rec := range one.GetRecords().GetRecords() {
				if pid, err := wire.PointID(rec.GetPoint().GetId()); err == nil {
					found[pid] = rec.GetPoint()
				}
			}
		}
		out := make([]*qdrant.RetrievedPoint, 0, len(order))
		for _, pid := range order {
			if p, ok := found[pid]; ok {
				out = append(out, p)
			}
		}
		return out
	}, nil
}

// Page is one page of a scroll.
type Page struct {
	Points []*qdrant.RetrievedPoint
	Next   *qdrant.PointId // first id of the next page; nil at the end
}

// Scroll reads a page in the order of ids. limit must be at least 1; one below
// the greatest number is the most, since one point more is asked for to know
// where the next page begins.
func (c *Coordinator) Scroll(ctx context.Context, r Read, filter *qdrant.Filter, offset *qdrant.PointId, limit uint32, sel Select) (Page, error) {
	limit = min(limit, math.MaxUint32-1)
	found, err := c.scroll(ctx, r, &shardv1.ScrollPoints{Filter: filter, Offset: offset, Limit: limit + 1, WithPayload: sel.Payload, WithVectors: sel.Vectors})
	if err != nil {
		return Page{}, err
	}
	page := Page{Points: found}
	if uint64(len(found)) > uint64(limit) {
		page = Page{Points: found[:limit], Next: found[limit].GetId()}
	}
	return page, nil
}

// ScrollBy reads the first points in the order of an indexed field; equal values
// are ordered by id.
func (c *Coordinator) ScrollBy(ctx context.Context, r Read, filter *qdrant.Filter, order *qdrant.OrderBy, limit uint32, sel Select) ([]*qdrant.RetrievedPoint, error) {
	return c.scroll(ctx, r, &shardv1.ScrollPoints{Filter: filter, OrderBy: order, Limit: limit, WithPayload: sel.Payload, WithVectors: sel.Vectors})
}

func (c *Coordinator) scroll(ctx context.Context, r Read, s *shardv1.ScrollPoints) ([]*qdrant.RetrievedPoint, error) {
	res, err := c.read(ctx, r, scrolling(s))
	if err != nil {
		return nil, err
	}
	return mergeScroll(s, res)
}

func scrolling(s *shardv1.ScrollPoints) body {
	return func(topology.Shard) *shardv1.ShardRead {
		return &shardv1.ShardRead{Read: &shardv1.ShardRead_Scroll{Scroll: s}}
	}
}

// mergeScroll orders the points of all shards as was asked for, ties by id.
func mergeScroll(s *shardv1.ScrollPoints, res []*shardv1.ShardReadResult) ([]*qdrant.RetrievedPoint, error) {
	type row struct {
		id    topology.PointID
		value float64
		hash  uint64
		p     *qdrant.RetrievedPoint
	}
	var rows []row
	for _, one := range res {
		for _, rec := range one.GetRecords().GetRecords() {
			id, err := wire.PointID(rec.GetPoint().GetId())
			if err != nil {
				return nil, fault.Wrap(fault.Unspecified, err, "a shard answered a point without an id")
			}
			v := rec.GetPoint().GetOrderValue()
			one := row{id: id, value: v.GetFloat() + float64(v.GetInt()), p: rec.GetPoint()} // one of the two is 0
			if s.SampleSeed != nil {
				one.hash = query.SampleKey(id, s.GetSampleSeed())
			}
			rows = append(rows, one)
		}
	}
	down := s.GetOrderBy().GetDirection() == qdrant.Direction_Desc
	slices.SortStableFunc(rows, func(a, b row) int {
		c := cmp.Compare(a.value, b.value)
		if down {
			c = -c
		}
		return cmp.Or(c, cmp.Compare(a.hash, b.hash), a.id.Compare(b.id))
	})
	rows = rows[:min(uint64(s.GetLimit()), uint64(len(rows)))]
	out := make([]*qdrant.RetrievedPoint, len(rows))
	for i, row := range rows {
		out[i] = row.p
	}
	return out, nil
}

// Count sums the points that pass.
func (c *Coordinator) Count(ctx context.Context, r Read, filter *qdrant.Filter, exact bool) (uint64, error) {
	res, err := c.read(ctx, r, func(topology.Shard) *shardv1.ShardRead {
		return &shardv1.ShardRead{Read: &shardv1.ShardRead_Count{Count: &shardv1.CountPoints{Filter: filter, Exact: exact}}}
	})
	if err != nil {
		return 0, err
	}
	var n uint64
	for _, one := range res {
		n += one.GetCount()
	}
	return n, nil
}
