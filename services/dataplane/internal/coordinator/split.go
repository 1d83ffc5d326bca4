package coordinator

import (
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// split gives each shard its share of an operation: points and ids go where the
// hash rule sends them, in every group of the target; a filter goes everywhere.
// A shard without a share gets nothing.
func split(t Target, op *shardv1.ShardWrite) ([]*part, error) {
	switch o := op.GetOperation().(type) {
	case *shardv1.ShardWrite_Upsert:
		return scatter(t, op, o.Upsert.GetPoints(), (*qdrant.PointStruct).GetId, func(w *shardv1.ShardWrite, ps []*qdrant.PointStruct) {
			w.Operation = &shardv1.ShardWrite_Upsert{Upsert: &shardv1.UpsertPoints{
				Points: ps, UpdateFilter: o.Upsert.GetUpdateFilter(), Mode: o.Upsert.GetMode()}}
		})
	case *shardv1.ShardWrite_UpdateVectors:
		return scatter(t, op, o.UpdateVectors.GetPoints(), (*qdrant.PointVectors).GetId, func(w *shardv1.ShardWrite, ps []*qdrant.PointVectors) {
			w.Operation = &shardv1.ShardWrite_UpdateVectors{UpdateVectors: &shardv1.UpdateVectors{
				Points: ps, UpdateFilter: o.UpdateVectors.GetUpdateFilter()}}
		})
	case *shardv1.ShardWrite_Delete:
		return selected(t, op, o.Delete.GetPoints(), func(w *shardv1.ShardWrite, s *qdrant.PointsSelector) {
			w.Operation = &shardv1.ShardWrite_Delete{Delete: &shardv1.DeletePoints{Points: s}}
		})
	case *shardv1.ShardWrite_SetPayload:
		return selected(t, op, o.SetPayload.GetPoints(), func(w *shardv1.ShardWrite, s *qdrant.PointsSelector) {
			w.Operation = &shardv1.ShardWrite_SetPayload{SetPayload: payloadFor(o.SetPayload, s)}
		})
	case *shardv1.ShardWrite_OverwritePayload:
		return selected(t, op, o.OverwritePayload.GetPoints(), func(w *shardv1.ShardWrite, s *qdrant.PointsSelector) {
			w.Operation = &shardv1.ShardWrite_OverwritePayload{OverwritePayload: payloadFor(o.OverwritePayload, s)}
		})
	case *shardv1.ShardWrite_DeletePayload:
		return selected(t, op, o.DeletePayload.GetPoints(), func(w *shardv1.ShardWrite, s *qdrant.PointsSelector) {
			w.Operation = &shardv1.ShardWrite_DeletePayload{DeletePayload: &shardv1.DeletePayload{Keys: o.DeletePayload.GetKeys(), Points: s}}
		})
	case *shardv1.ShardWrite_ClearPayload:
		return selected(t, op, o.ClearPayload.GetPoints(), func(w *shardv1.ShardWrite, s *qdrant.PointsSelector) {
			w.Operation = &shardv1.ShardWrite_ClearPayload{ClearPayload: &shardv1.ClearPayload{Points: s}}
		})
	case *shardv1.ShardWrite_DeleteVectors:
		return selected(t, op, o.DeleteVectors.GetPoints(), func(w *shardv1.ShardWrite, s *qdrant.PointsSelector) {
			w.Operation = &shardv1.ShardWrite_DeleteVectors{DeleteVectors: &shardv1.DeleteVectors{Names: o.DeleteVectors.GetNames(), Points: s}}
		})
	}
	return nil, fault.New(fault.NotBuilt, "this operation is not built")
}

func payloadFor(o *shardv1.SetPayload, s *qdrant.PointsSelector) *shardv1.SetPayload {
	return &shardv1.SetPayload{Payload: o.GetPayload(), Key: o.GetKey(), Points: s}
}

// selected splits by a selector: ids are scattered, a filter goes everywhere.
func selected(t Target, op *shardv1.ShardWrite, sel *qdrant.PointsSelector,
	put func(*shardv1.ShardWrite, *qdrant.PointsSelector)) ([]*part, error) {
	switch s := sel.GetPointsSelectorOneOf().(type) {
	case *qdrant.PointsSelector_Filter:
		return whole(t, op), nil
	case *qdrant.PointsSelector_Points:
		same := func(id *qdrant.PointId) *qdrant.PointId { return id }
		return scatter(t, op, s.Points.GetIds(), same, func(w *shardv1.ShardWrite, ids []*qdrant.PointId) {
			put(w, &qdrant.PointsSelector{PointsSelectorOneOf: &qdrant.PointsSelector_Points{Points: &qdrant.PointsIdsList{Ids: ids}}})
		})
	}
	return nil, fault.New(fault.InvalidArgument, "PointsSelector is missing: give ids or a filter")
}

// scatter sends each item to the shard of its id, keeping the order of items.
func scatter[T any](t Target, op *shardv1.ShardWrite, items []T, id func(T) *qdrant.PointId,
	put func(*shardv1.ShardWrite, []T)) ([]*part, error) {
	var parts []*part
	for _, g := range t.Groups {
		if len(g.IDs) == 0 {
			continue
		}
		share := make(map[topology.ShardID][]T, len(g.IDs))
		for _, item := range items {
			pid, err := wire.PointID(id(item))
			if err != nil {
				return nil, fault.Wrap(fault.Malformed, err, "Unable to parse UUID: %v", err)
			}
			s := t.Collection.ShardOf(g, pid)
			share[s] = append(share[s], item)
		}
		for _, s := range g.IDs {
			if len(share[s]) == 0 {
				continue
			}
			w := clone(op)
			put(w, share[s])
			parts = append(parts, &part{shard: topology.Shard{Collection: t.Collection.ID, ID: s}, write: w})
		}
	}
	return parts, nil
}
