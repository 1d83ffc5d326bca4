package coordinator

import (
	"cmp"
	"context"
	"slices"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator/plan"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// Query carries out trees of queries over one target. What can be asked at once of
// all of them is, with one RPC to each peer. Equal scores are ordered by id.
func (c *Coordinator) Query(ctx context.Context, r Read, trees []*plan.Tree) ([][]*qdrant.ScoredPoint, error) {
	ctx, cancel := deadline(ctx, r.Timeout)
	defer cancel()
	for run := plan.New(trees); ; {
		asks, err := run.Next()
		if err != nil {
			return nil, err
		}
		if len(asks) == 0 {
			return run.Results(), nil
		}
		if err := c.ask(ctx, r, asks); err != nil {
			return nil, err
		}
	}
}

// merge takes what the shards answered.
type merge = func([]*shardv1.ShardReadResult) error

// ask answers questions beside each other: all rankings in one read of each shard,
// after one that counts if a query is to be scaled.
func (c *Coordinator) ask(ctx context.Context, r Read, asks []*plan.Ask) error {
	var bodies []body
	var merges []merge
	var rankings []*plan.Ask
	for _, a := range asks {
		switch {
		case a.Rank != nil:
			rankings = append(rankings, a)
		case a.Scroll != nil:
			bodies = append(bodies, scrolling(a.Scroll))
			merges = append(merges, func(res []*shardv1.ShardReadResult) error {
				found, err := mergeScroll(a.Scroll, res)
				a.Answer = scored(found)
				return err
			})
		default:
			body, merge, err := get(r.Target, a.Get)
			if err != nil {
				return err
			}
			bodies = append(bodies, body)
			merges = append(merges, func(res []*shardv1.ShardReadResult) error {
				a.Answer = scored(merge(res))
				return nil
			})
		}
	}
	if len(rankings) > 0 {
		body, merge, err := c.ranking(ctx, r, rankings)
		if err != nil {
			return err
		}
		bodies, merges = append(bodies, body), append(merges, merge)
	}
	res, err := c.readAll(ctx, r, bodies)
	if err != nil {
		return err
	}
	for i, merge := range merges {
		if err := merge(res[i]); err != nil {
			return err
		}
	}
	return nil
}

// scored are points that were not ranked by a score.
func scored(points []*qdrant.RetrievedPoint) []*qdrant.ScoredPoint {
	out := make([]*qdrant.ScoredPoint, len(points))
	for i, p := range points {
		out[i] = &qdrant.ScoredPoint{Id: p.GetId(), Score: 1, Payload: p.GetPayload(), Vectors: p.GetVectors(), ShardKey: p.GetShardKey(), OrderValue: p.GetOrderValue()}
	}
	return out
}

// ranking asks each shard for all rankings.
func (c *Coordinator) ranking(ctx context.Context, r Read, asks []*plan.Ask) (body, merge, error) {
	queries := make([]*plan.Ranking, len(asks))
	batch := &shardv1.QueryPoints{}
	for i, a := range asks {
		queries[i] = a.Rank
		batch.Queries = append(batch.Queries, a.Rank.Query)
	}
	if err := c.scale(ctx, r, queries); err != nil {
		return nil, nil, err
	}
	body := func(topology.Shard) *shardv1.ShardRead {
		return &shardv1.ShardRead{Read: &shardv1.ShardRead_Query{Query: batch}}
	}
	return body, func(res []*shardv1.ShardReadResult) (err error) {
		for i, a := range asks {
			lists := make([][]*qdrant.ScoredPoint, 0, len(res))
			for _, one := range res {
				if rankings := one.GetRankings().GetRankings(); i < len(rankings) { // else it is being born
					lists = append(lists, rankings[i].GetPoints())
				}
			}
			if a.Answer, err = mergeRanking(a.Rank, lists); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// mergeRanking orders the points of all shards by score, ties by id.
func mergeRanking(q *plan.Ranking, lists [][]*qdrant.ScoredPoint) ([]*qdrant.ScoredPoint, error) {
	type ranked struct {
		id topology.PointID
		p  *qdrant.ScoredPoint
	}
	var all []ranked
	for _, l := range lists {
		for _, p := range l {
			id, err := wire.PointID(p.GetId())
			if err != nil {
				return nil, fault.Wrap(fault.Unspecified, err, "a shard answered a point without an id")
			}
			all = append(all, ranked{id, p})
		}
	}
	slices.SortFunc(all, func(a, b ranked) int {
		c := cmp.Compare(b.p.GetScore(), a.p.GetScore())
		if q.SmallerIsBetter {
			c = -c
		}
		return cmp.Or(c, a.id.Compare(b.id))
	})
	out := make([]*qdrant.ScoredPoint, min(q.Query.GetLimit(), uint64(len(all))))
	for i := range out {
		out[i] = all[i].p
	}
	return out, nil
}
