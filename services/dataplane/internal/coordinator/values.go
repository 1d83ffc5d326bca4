package coordinator

import (
	"cmp"
	"context"
	"slices"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// ScrollBy reads the first points in the order of an indexed field; equal values
// are ordered by id.
func (c *Coordinator) ScrollBy(ctx context.Context, r Read, filter *qdrant.Filter, order *qdrant.OrderBy, limit uint32, sel Select) ([]*qdrant.RetrievedPoint, error) {
	res, err := c.read(ctx, r, func(topology.Shard) *shardv1.ShardRead {
		return &shardv1.ShardRead{Read: &shardv1.ShardRead_Scroll{Scroll: &shardv1.ScrollPoints{
			Filter: filter, OrderBy: order, Limit: limit, WithPayload: sel.Payload, WithVectors: sel.Vectors}}}
	})
	if err != nil {
		return nil, err
	}
	type row struct {
		id    topology.PointID
		value float64
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
			rows = append(rows, row{id, v.GetFloat() + float64(v.GetInt()), rec.GetPoint()}) // one of the two is 0
		}
	}
	down := order.GetDirection() == qdrant.Direction_Desc
	slices.SortStableFunc(rows, func(a, b row) int {
		c := cmp.Compare(a.value, b.value)
		if down {
			c = -c
		}
		return cmp.Or(c, a.id.Compare(b.id))
	})
	out := make([]*qdrant.RetrievedPoint, 0, min(uint64(limit), uint64(len(rows))))
	for _, row := range rows[:min(uint64(limit), uint64(len(rows)))] {
		out = append(out, row.p)
	}
	return out, nil
}

// Facet counts points by their values of an indexed field: most points first,
// equal counts by value. What is not exact may count too few of values that are
// rare in a shard.
func (c *Coordinator) Facet(ctx context.Context, r Read, f *shardv1.FacetPoints) ([]*qdrant.FacetHit, error) {
	res, err := c.read(ctx, r, func(topology.Shard) *shardv1.ShardRead {
		return &shardv1.ShardRead{Read: &shardv1.ShardRead_Facet{Facet: f}}
	})
	if err != nil {
		return nil, err
	}
	type value struct {
		text   string
		number int64
		truth  bool
	}
	sums := map[value]*qdrant.FacetHit{}
	for _, one := range res {
		for _, h := range one.GetFacets().GetHits() {
			v := value{h.GetValue().GetStringValue(), h.GetValue().GetIntegerValue(), h.GetValue().GetBoolValue()}
			if sum, ok := sums[v]; ok {
				sum.Count += h.GetCount()
			} else {
				sums[v] = &qdrant.FacetHit{Value: h.GetValue(), Count: h.GetCount()}
			}
		}
	}
	out := make([]*qdrant.FacetHit, 0, len(sums))
	for _, h := range sums {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *qdrant.FacetHit) int {
		number := func(v *qdrant.FacetValue) int64 {
			if v.GetBoolValue() {
				return 1
			}
			return v.GetIntegerValue()
		}
		return cmp.Or(cmp.Compare(b.GetCount(), a.GetCount()), cmp.Compare(number(a.GetValue()), number(b.GetValue())),
			cmp.Compare(a.GetValue().GetStringValue(), b.GetValue().GetStringValue()))
	})
	return out[:min(f.GetLimit(), uint64(len(out)))], nil
}
