package coordinator

import (
	"cmp"
	"context"
	"math"
	"slices"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
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
	share := map[topology.Shard][]*qdrant.PointId{}
	order := make([]topology.PointID, 0, len(ids))
	for _, id := range ids {
		pid, err := wire.PointID(id)
		if err != nil {
			return nil, fault.Wrap(fault.Malformed, err, "Unable to parse UUID: %v", err)
		}
		order = append(order, pid)
		for _, g := range r.Target.Groups {
			if len(g.IDs) > 0 {
				s := topology.Shard{Collection: r.Target.Collection.ID, ID: r.Target.Collection.ShardOf(g, pid)}
				share[s] = append(share[s], id)
			}
		}
	}
	res, err := c.read(ctx, r, func(s topology.Shard) *shardv1.ShardRead {
		if len(share[s]) == 0 {
			return nil
		}
		return &shardv1.ShardRead{Read: &shardv1.ShardRead_Get{Get: &shardv1.GetPoints{
			Ids: share[s], WithPayload: sel.Payload, WithVectors: sel.Vectors}}}
	})
	if err != nil {
		return nil, err
	}
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
	return out, nil
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
	res, err := c.read(ctx, r, func(topology.Shard) *shardv1.ShardRead {
		return &shardv1.ShardRead{Read: &shardv1.ShardRead_Scroll{Scroll: &shardv1.ScrollPoints{
			Filter: filter, Offset: offset, Limit: limit + 1, WithPayload: sel.Payload, WithVectors: sel.Vectors}}}
	})
	if err != nil {
		return Page{}, err
	}
	type row struct {
		id topology.PointID
		p  *qdrant.RetrievedPoint
	}
	var rows []row
	for _, one := range res {
		for _, rec := range one.GetRecords().GetRecords() {
			id, err := wire.PointID(rec.GetPoint().GetId())
			if err != nil {
				return Page{}, fault.Wrap(fault.Unspecified, err, "a shard answered a point without an id")
			}
			rows = append(rows, row{id, rec.GetPoint()})
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return a.id.Compare(b.id) })
	var page Page
	for i, row := range rows {
		if uint64(i) == uint64(limit) {
			page.Next = row.p.GetId()
			break
		}
		page.Points = append(page.Points, row.p)
	}
	return page, nil
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

// Ranking is one query of a batch and how to merge it. Query.Limit is set by
// Rank.
type Ranking struct {
	Query         *shardv1.ShardQuery
	Offset, Limit uint64
	// SmallerIsBetter: Euclid and Manhattan.
	SmallerIsBetter bool
	// IDF scales the weights of a sparse query; nil: they stay.
	IDF *IDF
}

// Rank answers a batch of queries over the same target in one round, after one
// that counts if a query is to be scaled. Equal scores are ordered by id.
func (c *Coordinator) Rank(ctx context.Context, r Read, queries []Ranking) ([][]*qdrant.ScoredPoint, error) {
	ctx, cancel := deadline(ctx, r.Timeout)
	defer cancel()
	if err := c.scale(ctx, r, queries); err != nil {
		return nil, err
	}
	batch := &shardv1.QueryPoints{}
	for _, q := range queries {
		q.Query.Limit = addSaturated(q.Offset, q.Limit)
		batch.Queries = append(batch.Queries, q.Query)
	}
	res, err := c.read(ctx, r, func(topology.Shard) *shardv1.ShardRead {
		return &shardv1.ShardRead{Read: &shardv1.ShardRead_Query{Query: batch}}
	})
	if err != nil {
		return nil, err
	}
	out := make([][]*qdrant.ScoredPoint, len(queries))
	for i, q := range queries {
		var all []ranked
		for _, one := range res {
			rankings := one.GetRankings().GetRankings()
			if i >= len(rankings) {
				continue // a shard that is being born
			}
			for _, p := range rankings[i].GetPoints() {
				id, err := wire.PointID(p.GetId())
				if err != nil {
					return nil, fault.Wrap(fault.Unspecified, err, "a shard answered a point without an id")
				}
				all = append(all, ranked{id, p})
			}
		}
		out[i] = cut(all, q)
	}
	return out, nil
}

func addSaturated(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

type ranked struct {
	id topology.PointID
	p  *qdrant.ScoredPoint
}

func cut(all []ranked, q Ranking) []*qdrant.ScoredPoint {
	slices.SortFunc(all, func(a, b ranked) int {
		c := cmp.Compare(b.p.GetScore(), a.p.GetScore())
		if q.SmallerIsBetter {
			c = -c
		}
		if c == 0 {
			c = a.id.Compare(b.id)
		}
		return c
	})
	from := min(q.Offset, uint64(len(all)))
	to := min(addSaturated(from, q.Limit), uint64(len(all)))
	out := make([]*qdrant.ScoredPoint, 0, to-from)
	for _, r := range all[from:to] {
		out = append(out, r.p)
	}
	return out
}
