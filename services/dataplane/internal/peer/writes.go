package peer

import (
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/document"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// writeOf reads an operation as the primary evaluates it.
func writeOf(w *shardv1.ShardWrite) (shard.Write, error) {
	switch o := w.GetOperation().(type) {
	case *shardv1.ShardWrite_Upsert:
		return upsertOf(o.Upsert)
	case *shardv1.ShardWrite_UpdateVectors:
		return updateVectorsOf(o.UpdateVectors)
	case *shardv1.ShardWrite_Delete:
		return selection(shard.Write{Kind: op.Delete}, o.Delete.GetPoints())
	case *shardv1.ShardWrite_SetPayload:
		return setPayloadOf(op.SetPayload, o.SetPayload)
	case *shardv1.ShardWrite_OverwritePayload:
		return setPayloadOf(op.OverwritePayload, o.OverwritePayload)
	case *shardv1.ShardWrite_DeletePayload:
		return selection(shard.Write{Kind: op.DeletePayload, Keys: o.DeletePayload.GetKeys()}, o.DeletePayload.GetPoints())
	case *shardv1.ShardWrite_ClearPayload:
		return selection(shard.Write{Kind: op.ClearPayload}, o.ClearPayload.GetPoints())
	case *shardv1.ShardWrite_DeleteVectors:
		return selection(shard.Write{Kind: op.DeleteVectors, Keys: o.DeleteVectors.GetNames()}, o.DeleteVectors.GetPoints())
	}
	return shard.Write{}, fault.Missing("this operation")
}

func upsertOf(u *shardv1.UpsertPoints) (shard.Write, error) {
	only, err := filterOf(u.GetUpdateFilter())
	if err != nil {
		return shard.Write{}, err
	}
	w := shard.Write{Kind: op.Upsert, Mode: shard.UpdateMode(u.GetMode()), Filter: only, Points: make([]op.Point, 0, len(u.GetPoints()))}
	for _, p := range u.GetPoints() {
		one, err := pointOf(p.GetId(), p.GetVectors())
		if err != nil {
			return shard.Write{}, err
		}
		if one.Payload, err = document.Of(p.GetPayload()); err != nil {
			return shard.Write{}, err
		}
		w.Points = append(w.Points, one)
	}
	return w, nil
}

func updateVectorsOf(u *shardv1.UpdateVectors) (shard.Write, error) {
	only, err := filterOf(u.GetUpdateFilter())
	if err != nil {
		return shard.Write{}, err
	}
	w := shard.Write{Kind: op.UpdateVectors, Filter: only, Points: make([]op.Point, 0, len(u.GetPoints()))}
	for _, p := range u.GetPoints() {
		one, err := pointOf(p.GetId(), p.GetVectors())
		if err != nil {
			return shard.Write{}, err
		}
		w.Points = append(w.Points, one)
	}
	return w, nil
}

func pointOf(id *qdrant.PointId, vs *qdrant.Vectors) (op.Point, error) {
	pid, err := wire.PointID(id)
	if err != nil {
		return op.Point{}, fault.Wrap(fault.Malformed, err, "Unable to parse UUID: %v", err)
	}
	vectors, err := vectorsOf(vs)
	return op.Point{ID: pid, Vectors: vectors}, err
}

func setPayloadOf(k op.Kind, s *shardv1.SetPayload) (shard.Write, error) {
	doc, err := document.Of(s.GetPayload())
	if err != nil {
		return shard.Write{}, err
	}
	w := shard.Write{Kind: k, Payload: doc, Path: filter.Key(s.GetKey())}
	if s.GetKey() != "" {
		if _, err := payload.ParsePath(s.GetKey()); err != nil {
			return shard.Write{}, fault.Wrap(fault.InvalidArgument, err, "Wrong input: key: %v", err)
		}
	}
	return selection(w, s.GetPoints())
}

// selection puts what a write acts on into it.
func selection(w shard.Write, sel *qdrant.PointsSelector) (shard.Write, error) {
	switch o := sel.GetPointsSelectorOneOf().(type) {
	case *qdrant.PointsSelector_Points:
		ids, err := idsOf(o.Points.GetIds())
		w.IDs = ids
		return w, err
	case *qdrant.PointsSelector_Filter:
		f, err := filterOf(o.Filter)
		if f == nil && err == nil {
			f = &filter.Filter{}
		}
		w.Filter = f
		return w, err
	}
	return w, fault.New(fault.InvalidArgument, "PointsSelector is missing: give ids or a filter")
}

// opID reads an operation's identity; the part is the log's business.
func opID(id *shardv1.OperationId) (op.ID, error) {
	if len(id.GetRequest()) != 16 {
		return op.ID{}, fault.New(fault.Malformed, "operation id has %d bytes, must be 16", len(id.GetRequest()))
	}
	return op.ID{Request: [16]byte(id.GetRequest()), Index: id.GetIndex(), Part: op.LastPart}, nil
}

// shardOf reads a route.
func shardOf(r *shardv1.Route) topology.Shard {
	return topology.Shard{Collection: topology.CollectionID(r.GetCollectionId()), ID: topology.ShardID(r.GetShardId())}
}
