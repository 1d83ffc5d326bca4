package peer

import (
	"context"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/fault"
)

// facet counts points by value. An estimate is the sum of the shards' greatest
// counts, of some more values than are asked for.
func facet(ctx context.Context, e Engine, q *shardv1.FacetPoints) (*shardv1.ShardReadResult, error) {
	f, err := filterOf(q.GetFilter())
	if err != nil {
		return nil, err
	}
	ask := query.Facet{Key: q.GetKey(), Filter: f}
	if !q.GetExact() {
		ask.Limit = int(min(q.GetLimit(), most)*4 + 100)
	}
	hits, err := e.Facet(ctx, ask)
	if err != nil {
		return nil, err
	}
	out := &shardv1.Facets{Hits: make([]*qdrant.FacetHit, 0, len(hits))}
	for _, h := range hits {
		v := &qdrant.FacetValue{}
		switch h.Value.Kind {
		case filter.StringScalar:
			v.Variant = &qdrant.FacetValue_StringValue{StringValue: h.Value.Str}
		case filter.IntScalar:
			v.Variant = &qdrant.FacetValue_IntegerValue{IntegerValue: h.Value.Int}
		case filter.BoolScalar:
			v.Variant = &qdrant.FacetValue_BoolValue{BoolValue: h.Value.Bool}
		}
		out.Hits = append(out.Hits, &qdrant.FacetHit{Value: v, Count: h.Count})
	}
	return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Facets{Facets: out}}, nil
}

// orderOf reads an order; nil stays nil.
func orderOf(o *qdrant.OrderBy) (*query.Order, error) {
	if o == nil {
		return nil, nil
	}
	out := &query.Order{Key: o.GetKey(), Desc: o.GetDirection() == qdrant.Direction_Desc}
	switch v := o.GetStartFrom().GetValue().(type) {
	case nil:
	case *qdrant.StartFrom_Float:
		out.From = &query.OrderValue{Float: v.Float, IsFloat: true}
	case *qdrant.StartFrom_Integer:
		out.From = &query.OrderValue{Int: v.Integer}
	case *qdrant.StartFrom_Timestamp:
		out.From = &query.OrderValue{Int: *micros(v.Timestamp)}
	case *qdrant.StartFrom_Datetime:
		us, ok := payload.Micros(v.Datetime)
		if !ok {
			return nil, fault.BadInput("order_by.start_from: %.64q is not a datetime", v.Datetime)
		}
		out.From = &query.OrderValue{Int: us}
	}
	return out, nil
}
