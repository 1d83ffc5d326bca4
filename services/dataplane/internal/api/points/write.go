package points

import (
	"cmp"
	"context"
	"errors"
	"strconv"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// operation is one write as it is in the request: what it does, once it has
// been checked against a collection, and which shard keys it names.
type operation struct {
	keys    *qdrant.ShardKeySelector
	prepare func(validate.Schema) (*shardv1.ShardWrite, error)
}

// frame is what all writes have in common.
type frame struct {
	collection string
	wait       bool
	ordering   *qdrant.WriteOrdering
	timeout    *uint64
}

// writing is a request that can be framed.
type writing interface {
	GetCollectionName() string
	GetWait() bool
	GetOrdering() *qdrant.WriteOrdering
}

func frameOf(r writing, timeout *uint64) frame {
	return frame{collection: r.GetCollectionName(), wait: r.GetWait(), ordering: r.GetOrdering(), timeout: timeout}
}

// one carries out a single operation.
func (s *Service) one(ctx context.Context, f frame, op operation) (*qdrant.PointsOperationResponse, error) {
	out, err := s.write(ctx, f, []operation{op})
	if err != nil {
		return nil, err
	}
	return &qdrant.PointsOperationResponse{Result: out[0]}, nil
}

// write checks all operations before the first of them is sent, then carries
// them out in order, each after the one before is answered. It stops at the
// first error; what came before stays. In each shard an operation is atomic, up to
// op.MaxBody; HeaderParts tells of one that was not.
func (s *Service) write(ctx context.Context, f frame, ops []operation) ([]*qdrant.UpdateResult, error) {
	var c validate.Check
	c.Name("collection_name", f.collection)
	c.Timeout(f.timeout)
	c.Ordering(f.ordering)
	if err := c.Err(); err != nil {
		return nil, err
	}
	id, err := operationID(ctx)
	if err != nil {
		return nil, err
	}
	col, err := s.d.View.Resolve(ctx, f.collection)
	if err != nil {
		return nil, err
	}
	writes, err := s.prepare(ctx, col, f, ops)
	if r := fault.ReasonOf(err); r == fault.VectorNameUnknown || r == fault.DimensionMismatch { // another peer may have changed it a moment ago
		if newest, failed := s.d.View.Newest(ctx, f.collection); failed == nil && newest.Revision != col.Revision {
			writes, err = s.prepare(ctx, newest, f, ops)
		}
	}
	if err != nil {
		return nil, err
	}
	out := make([]*qdrant.UpdateResult, 0, len(writes))
	parts, disks := uint32(0), uint32(0)
	for i, w := range writes {
		w.ID, w.Index = id, uint32(i)
		o, err := s.d.Coordinator.Write(ctx, w)
		for errors.Is(err, coordinator.ErrRerouted) {
			if w, err = s.again(ctx, f, ops[i], w); err == nil {
				o, err = s.d.Coordinator.Write(ctx, w)
			}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, &qdrant.UpdateResult{OperationId: proto.Uint64(o.Seq), Status: o.Status})
		parts = max(parts, o.Parts)
		if o.Disks > 0 && (disks == 0 || o.Disks < disks) {
			disks = o.Disks
		}
	}
	if parts > 1 {
		say(ctx, HeaderParts, parts)
	}
	if disks > 0 {
		say(ctx, HeaderProvisional, disks)
	}
	return out, nil
}

// say puts a number beside the answer.
func say(ctx context.Context, key string, n uint32) {
	_ = grpc.SetHeader(ctx, metadata.Pairs(key, strconv.FormatUint(uint64(n), 10))) // fails without a call only
}

// again is a write whose target was found by settings that a shard knows newer ones than.
func (s *Service) again(ctx context.Context, f frame, op operation, old coordinator.Write) (coordinator.Write, error) {
	col, err := s.d.View.Resolve(ctx, f.collection)
	if err == nil && col.Revision <= old.Target.Collection.Revision {
		col, err = s.d.View.Newest(ctx, f.collection)
	}
	if err != nil {
		return old, err
	}
	writes, err := s.prepare(ctx, col, f, []operation{op})
	if err != nil {
		return old, err
	}
	writes[0].ID, writes[0].Index = old.ID, old.Index
	return writes[0], nil
}

func (s *Service) prepare(ctx context.Context, col *view.Collection, f frame, ops []operation) ([]coordinator.Write, error) {
	writes := make([]coordinator.Write, 0, len(ops))
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(duration(f.timeout), coordinator.DefaultTimeout)) // that a target may take
	defer cancel()
	for _, op := range ops {
		body, err := op.prepare(col.Schema)
		if err != nil {
			return nil, err
		}
		t, err := s.target(ctx, col, op.keys, true)
		if err != nil {
			return nil, err
		}
		writes = append(writes, coordinator.Write{Target: t, Op: body, Wait: f.wait, Ordering: f.ordering.GetType(), Timeout: duration(f.timeout)})
	}
	return writes, nil
}

// Upsert stores points; of equal ids the last counts. Those that exist are written
// only where they satisfy `update_filter`; `update_mode` passes over those that
// exist, or over those that do not. COLLECTION_NOT_FOUND,
// VALIDATION, MALFORMED, INVALID_ARGUMENT, VECTOR_NAME_UNKNOWN,
// DIMENSION_MISMATCH, and as all writes SHARD_UNAVAILABLE, DISK_FULL, TIMEOUT,
// WRITE_OUTCOME_UNKNOWN.
func (s *Service) Upsert(ctx context.Context, r *qdrant.UpsertPoints) (*qdrant.PointsOperationResponse, error) {
	return s.one(ctx, frameOf(r, r.Timeout), upsert(r.GetPoints(), r.GetUpdateFilter(), r.GetUpdateMode(), r.GetShardKeySelector()))
}

func upsert(points []*qdrant.PointStruct, only *qdrant.Filter, mode qdrant.UpdateMode, keys *qdrant.ShardKeySelector) operation {
	return operation{keys, func(schema validate.Schema) (*shardv1.ShardWrite, error) {
		if err := validate.Mode(mode); err != nil {
			return nil, err
		}
		if err := validate.Filter(only); err != nil {
			return nil, err
		}
		points, err := schema.Upsert(points)
		if err != nil {
			return nil, err
		}
		return &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_Upsert{Upsert: &shardv1.UpsertPoints{
			Points: points, UpdateFilter: only, Mode: mode}}}, nil
	}}
}

// Delete removes points by ids or by a filter.
func (s *Service) Delete(ctx context.Context, r *qdrant.DeletePoints) (*qdrant.PointsOperationResponse, error) {
	return s.one(ctx, frameOf(r, r.Timeout), remove(r.GetPoints(), r.GetShardKeySelector()))
}

func remove(sel *qdrant.PointsSelector, keys *qdrant.ShardKeySelector) operation {
	return operation{keys, func(validate.Schema) (*shardv1.ShardWrite, error) {
		if err := validate.Selector(sel); err != nil {
			return nil, err
		}
		return &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_Delete{Delete: &shardv1.DeletePoints{Points: sel}}}, nil
	}}
}

// UpdateVectors puts the named vectors of points that satisfy `update_filter` and
// keeps the others. It is refused as a whole where a point does not exist.
func (s *Service) UpdateVectors(ctx context.Context, r *qdrant.UpdatePointVectors) (*qdrant.PointsOperationResponse, error) {
	return s.one(ctx, frameOf(r, r.Timeout), updateVectors(r.GetPoints(), r.GetUpdateFilter(), r.GetShardKeySelector()))
}

func updateVectors(points []*qdrant.PointVectors, only *qdrant.Filter, keys *qdrant.ShardKeySelector) operation {
	return operation{keys, func(schema validate.Schema) (*shardv1.ShardWrite, error) {
		if err := validate.Filter(only); err != nil {
			return nil, err
		}
		if err := schema.Vectors(points); err != nil {
			return nil, err
		}
		return &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_UpdateVectors{UpdateVectors: &shardv1.UpdateVectors{
			Points: points, UpdateFilter: only}}}, nil
	}}
}

// DeleteVectors removes named vectors and keeps the points.
func (s *Service) DeleteVectors(ctx context.Context, r *qdrant.DeletePointVectors) (*qdrant.PointsOperationResponse, error) {
	return s.one(ctx, frameOf(r, r.Timeout), deleteVectors(r.GetPointsSelector(), r.GetVectors(), r.GetShardKeySelector()))
}

func deleteVectors(sel *qdrant.PointsSelector, vectors *qdrant.VectorsSelector, keys *qdrant.ShardKeySelector) operation {
	return operation{keys, func(schema validate.Schema) (*shardv1.ShardWrite, error) {
		if err := validate.Some("vectors", len(vectors.GetNames())); err != nil {
			return nil, err
		}
		if err := schema.Names(vectors.GetNames()); err != nil {
			return nil, err
		}
		if err := validate.Selector(sel); err != nil {
			return nil, err
		}
		return &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_DeleteVectors{DeleteVectors: &shardv1.DeleteVectors{
			Points: sel, Names: vectors.GetNames()}}}, nil
	}}
}

// SetPayload merges payload into points, at the top or below `key`.
func (s *Service) SetPayload(ctx context.Context, r *qdrant.SetPayloadPoints) (*qdrant.PointsOperationResponse, error) {
	return s.one(ctx, frameOf(r, r.Timeout), setPayload(r, r.Key, r.GetShardKeySelector(), false))
}

// OverwritePayload replaces the payload of points, or what is below `key`.
func (s *Service) OverwritePayload(ctx context.Context, r *qdrant.SetPayloadPoints) (*qdrant.PointsOperationResponse, error) {
	return s.one(ctx, frameOf(r, r.Timeout), setPayload(r, r.Key, r.GetShardKeySelector(), true))
}

// setting is the same in single requests and in batches.
type setting interface {
	GetPayload() map[string]*qdrant.Value
	GetPointsSelector() *qdrant.PointsSelector
}

func setPayload(r setting, key *string, keys *qdrant.ShardKeySelector, overwrite bool) operation {
	return operation{keys, func(validate.Schema) (*shardv1.ShardWrite, error) {
		if err := validate.Selector(r.GetPointsSelector()); err != nil {
			return nil, err
		}
		if err := validate.Payload(r.GetPayload()); err != nil {
			return nil, err
		}
		set := &shardv1.SetPayload{Payload: r.GetPayload(), Points: r.GetPointsSelector()}
		if key != nil {
			if err := validate.Key(*key); err != nil {
				return nil, err
			}
			set.Key = *key
		}
		if overwrite {
			return &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_OverwritePayload{OverwritePayload: set}}, nil
		}
		return &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_SetPayload{SetPayload: set}}, nil
	}}
}

// DeletePayload removes keys of the payload.
func (s *Service) DeletePayload(ctx context.Context, r *qdrant.DeletePayloadPoints) (*qdrant.PointsOperationResponse, error) {
	return s.one(ctx, frameOf(r, r.Timeout), deletePayload(r.GetKeys(), r.GetPointsSelector(), r.GetShardKeySelector()))
}

func deletePayload(paths []string, sel *qdrant.PointsSelector, keys *qdrant.ShardKeySelector) operation {
	return operation{keys, func(validate.Schema) (*shardv1.ShardWrite, error) {
		if err := validate.Keys(paths); err != nil {
			return nil, err
		}
		if err := validate.Selector(sel); err != nil {
			return nil, err
		}
		return &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_DeletePayload{DeletePayload: &shardv1.DeletePayload{
			Keys: paths, Points: sel}}}, nil
	}}
}

// ClearPayload removes all payload.
func (s *Service) ClearPayload(ctx context.Context, r *qdrant.ClearPayloadPoints) (*qdrant.PointsOperationResponse, error) {
	return s.one(ctx, frameOf(r, r.Timeout), clearPayload(r.GetPoints(), r.GetShardKeySelector()))
}

func clearPayload(sel *qdrant.PointsSelector, keys *qdrant.ShardKeySelector) operation {
	return operation{keys, func(validate.Schema) (*shardv1.ShardWrite, error) {
		if err := validate.Selector(sel); err != nil {
			return nil, err
		}
		return &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_ClearPayload{ClearPayload: &shardv1.ClearPayload{Points: sel}}}, nil
	}}
}

// UpdateBatch carries out operations in order, one result each. All are checked
// before the first is sent.
func (s *Service) UpdateBatch(ctx context.Context, r *qdrant.UpdateBatchPoints) (*qdrant.UpdateBatchResponse, error) {
	if err := validate.Some("operations", len(r.GetOperations())); err != nil {
		return nil, err
	}
	ops := make([]operation, 0, len(r.GetOperations()))
	for i, o := range r.GetOperations() {
		op, ok := batched(o)
		if !ok {
			return nil, validate.Unknown("operations", i)
		}
		ops = append(ops, op)
	}
	out, err := s.write(ctx, frameOf(r, r.Timeout), ops)
	if err != nil {
		return nil, err
	}
	return &qdrant.UpdateBatchResponse{Result: out}, nil
}

func batched(o *qdrant.PointsUpdateOperation) (operation, bool) {
	switch o := o.GetOperation().(type) {
	case *qdrant.PointsUpdateOperation_Upsert:
		return upsert(o.Upsert.GetPoints(), o.Upsert.GetUpdateFilter(), o.Upsert.GetUpdateMode(), o.Upsert.GetShardKeySelector()), true
	case *qdrant.PointsUpdateOperation_DeleteDeprecated:
		return remove(o.DeleteDeprecated, nil), true
	case *qdrant.PointsUpdateOperation_DeletePoints_:
		return remove(o.DeletePoints.GetPoints(), o.DeletePoints.GetShardKeySelector()), true
	case *qdrant.PointsUpdateOperation_SetPayload_:
		return setPayload(o.SetPayload, o.SetPayload.Key, o.SetPayload.GetShardKeySelector(), false), true
	case *qdrant.PointsUpdateOperation_OverwritePayload_:
		return setPayload(o.OverwritePayload, o.OverwritePayload.Key, o.OverwritePayload.GetShardKeySelector(), true), true
	case *qdrant.PointsUpdateOperation_DeletePayload_:
		return deletePayload(o.DeletePayload.GetKeys(), o.DeletePayload.GetPointsSelector(), o.DeletePayload.GetShardKeySelector()), true
	case *qdrant.PointsUpdateOperation_ClearPayloadDeprecated:
		return clearPayload(o.ClearPayloadDeprecated, nil), true
	case *qdrant.PointsUpdateOperation_ClearPayload_:
		return clearPayload(o.ClearPayload.GetPoints(), o.ClearPayload.GetShardKeySelector()), true
	case *qdrant.PointsUpdateOperation_UpdateVectors_:
		return updateVectors(o.UpdateVectors.GetPoints(), o.UpdateVectors.GetUpdateFilter(), o.UpdateVectors.GetShardKeySelector()), true
	case *qdrant.PointsUpdateOperation_DeleteVectors_:
		return deleteVectors(o.DeleteVectors.GetPointsSelector(), o.DeleteVectors.GetVectors(), o.DeleteVectors.GetShardKeySelector()), true
	}
	return operation{}, false
}
