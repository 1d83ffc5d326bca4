package coordinator

import (
	"cmp"
	"context"
	"slices"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/topology"
)

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
	sums := map[facetValue]*qdrant.FacetHit{}
	for _, one := range res {
		for _, h := range one.GetFacets().GetHits() {
			v := valueOf(h)
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

// facetValue tells values of one field apart.
type facetValue struct {
	text   string
	number int64
	truth  bool
}

func valueOf(h *qdrant.FacetHit) facetValue {
	return facetValue{h.GetValue().GetStringValue(), h.GetValue().GetIntegerValue(), h.GetValue().GetBoolValue()}
}
