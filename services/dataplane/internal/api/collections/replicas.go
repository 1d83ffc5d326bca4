package collections

import (
	"context"
	"fmt"
	"time"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// UpdateCollectionClusterSetup moves, copies and drops replicas, ends copies or
// begins them anew, and adds and removes shard keys. It is answered once the decision is made; data moves
// afterwards. The method of a copy may be any: there is one, stream_records.
// NOT_CLUSTERED, COLLECTION_NOT_FOUND, NOT_FOUND for a copy that is not there,
// VALIDATION, INVALID_ARGUMENT, SHARD_UNAVAILABLE where no other replica can
// confirm itself, NOT_BUILT for to_shard_id but where a copy by replicate_points ends,
// NO_LEADER, TIMEOUT.
func (s *Service) UpdateCollectionClusterSetup(ctx context.Context, r *qdrant.UpdateCollectionClusterSetupRequest) (*qdrant.UpdateCollectionClusterSetupResponse, error) {
	if err := s.setup(qdrant.Collections_UpdateCollectionClusterSetup_FullMethodName, r, r.Timeout); err != nil {
		return nil, err
	}
	var err error
	switch o := r.GetOperation().(type) {
	case *qdrant.UpdateCollectionClusterSetupRequest_CreateShardKey:
		err = s.createShardKey(ctx, r.GetCollectionName(), o.CreateShardKey, r.Timeout)
	case *qdrant.UpdateCollectionClusterSetupRequest_DeleteShardKey:
		err = s.deleteShardKey(ctx, r.GetCollectionName(), o.DeleteShardKey, r.Timeout)
	case *qdrant.UpdateCollectionClusterSetupRequest_ReplicatePoints:
		err = s.replicatePoints(ctx, r.GetCollectionName(), o.ReplicatePoints, r.Timeout)
	case *qdrant.UpdateCollectionClusterSetupRequest_AbortTransfer:
		err = s.abort(ctx, r, o.AbortTransfer)
	default:
		err = s.changeReplicas(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	return &qdrant.UpdateCollectionClusterSetupResponse{Result: true}, nil
}

// replicatePoints has the points of a shard key that satisfy a filter copied to one that
// is Partial, which takes requests after that.
func (s *Service) replicatePoints(ctx context.Context, name string, r *qdrant.ReplicatePoints, timeout *uint64) error {
	from, err := wire.ShardKey(r.GetFromShardKey())
	if err != nil {
		return fault.Wrap(fault.Malformed, err, "Malformed from_shard_key: %v", err)
	}
	to, err := wire.ShardKey(r.GetToShardKey())
	if err != nil {
		return fault.Wrap(fault.Malformed, err, "Malformed to_shard_key: %v", err)
	}
	if from == to {
		return fault.New(fault.Validation, "Validation error in body: [replicate_points: from_shard_key and to_shard_key must be different]")
	}
	if err := validate.Filter(r.GetFilter()); err != nil {
		return err
	}
	return s.changeShardKey(ctx, timeout, &placementv1.ChangeShardKeyRequest{CollectionName: name, ShardKey: r.GetToShardKey(),
		Change: &placementv1.ChangeShardKeyRequest_Replicate_{Replicate: &placementv1.ChangeShardKeyRequest_Replicate{From: r.GetFromShardKey(), Filter: r.GetFilter()}}})
}

// abort ends a copy, by replicate_points or of one replica.
func (s *Service) abort(ctx context.Context, r *qdrant.UpdateCollectionClusterSetupRequest, o *qdrant.AbortShardTransfer) error {
	if to := s.filled(ctx, r.GetCollectionName(), o); to != nil {
		return s.changeShardKey(ctx, r.Timeout, &placementv1.ChangeShardKeyRequest{CollectionName: r.GetCollectionName(), ShardKey: to,
			Change: &placementv1.ChangeShardKeyRequest_Abort_{Abort: &placementv1.ChangeShardKeyRequest_Abort{}}})
	}
	return s.changeReplicas(ctx, r)
}

// filled is the shard key whose copy an order ends; nil: none by replicate_points.
func (s *Service) filled(ctx context.Context, name string, o *qdrant.AbortShardTransfer) *qdrant.ShardKey {
	c, err := s.d.View.Resolve(ctx, name)
	if err != nil || o.ToShardId == nil {
		return nil
	}
	for _, to := range c.Groups {
		if from, ok := c.Source(to); ok && uint32(from.IDs[0]) == o.GetShardId() && uint32(to.IDs[0]) == o.GetToShardId() {
			return wire.ProtoShardKey(to.Key)
		}
	}
	return nil
}

// fills are the copies by replicate_points, by their first shards.
func (s *Service) fills(c *view.Collection) (out []*clusterv1.ShardTransfer) {
	m := s.d.View.Map()
	for _, to := range c.Groups {
		from, ok := c.Source(to)
		if !ok {
			continue
		}
		source, _ := m.Placement(topology.Shard{Collection: c.ID, ID: from.IDs[0]})
		target, _ := m.Placement(topology.Shard{Collection: c.ID, ID: to.IDs[0]})
		comment := "waiting for the peer of the first shard"
		if to.Fill.Claim != 0 {
			comment = "transferring records that the filter passes"
		}
		out = append(out, &clusterv1.ShardTransfer{ShardId: uint32(source.Shard.ID), ToShardId: new(uint32(target.Shard.ID)), From: uint64(source.Primary),
			To: uint64(target.Primary), Sync: true, Method: qdrant.ShardTransferMethod_StreamRecords.Enum(), Comment: &comment})
	}
	return out
}

func (s *Service) changeReplicas(ctx context.Context, r *qdrant.UpdateCollectionClusterSetupRequest) error {
	req, err := command(r)
	if err != nil {
		return err
	}
	return s.order(ctx, req, r.Timeout)
}

// Force has a shard go on with a replica that is not Active (F1). The reasons are those
// of UpdateCollectionClusterSetup.
func (s *Service) Force(ctx context.Context, r *clusterv1.ForceReplicaRequest) error {
	if err := s.setup(clusterv1.Cluster_ForceReplica_FullMethodName, r, r.Timeout); err != nil {
		return err
	}
	return s.order(ctx, &placementv1.ChangeReplicasRequest{CollectionName: r.GetCollectionName(), ShardId: uint64(r.GetShardId()),
		Change: &placementv1.ChangeReplicasRequest_Force_{Force: &placementv1.ChangeReplicasRequest_Force{PeerId: r.GetPeerId()}}}, r.Timeout)
}

func (s *Service) order(ctx context.Context, req *placementv1.ChangeReplicasRequest, timeout *uint64) error {
	return s.change(ctx, timeout, func(ctx context.Context, _ time.Duration) (uint64, error) {
		resp, err := s.d.Catalog.ChangeReplicas(ctx, req)
		return resp.GetRevision(), err
	})
}

// transferred is what orders on one transfer have in common.
type transferred interface {
	GetShardId() uint32
	GetFromPeerId() uint64
	GetToPeerId() uint64
}

// command is the order as the control plane takes it.
func command(r *qdrant.UpdateCollectionClusterSetupRequest) (*placementv1.ChangeReplicasRequest, error) {
	req := &placementv1.ChangeReplicasRequest{CollectionName: r.GetCollectionName()}
	copied := func(o transferred, method *qdrant.ShardTransferMethod) *placementv1.ChangeReplicasRequest_Copy {
		req.ShardId = uint64(o.GetShardId())
		return &placementv1.ChangeReplicasRequest_Copy{From: o.GetFromPeerId(), To: o.GetToPeerId(), Method: method}
	}
	const method = "qdrant.Collections/UpdateCollectionClusterSetup with "
	var other *uint32 // receiving shard, which only resharding uses
	switch o := r.GetOperation().(type) {
	case *qdrant.UpdateCollectionClusterSetupRequest_MoveShard:
		c := copied(o.MoveShard, o.MoveShard.Method)
		c.Move, other = true, o.MoveShard.ToShardId
		req.Change = &placementv1.ChangeReplicasRequest_Copy_{Copy: c}
	case *qdrant.UpdateCollectionClusterSetupRequest_ReplicateShard:
		other = o.ReplicateShard.ToShardId
		req.Change = &placementv1.ChangeReplicasRequest_Copy_{Copy: copied(o.ReplicateShard, o.ReplicateShard.Method)}
	case *qdrant.UpdateCollectionClusterSetupRequest_RestartTransfer:
		other = o.RestartTransfer.ToShardId
		req.Change = &placementv1.ChangeReplicasRequest_Restart{Restart: copied(o.RestartTransfer, new(o.RestartTransfer.GetMethod()))}
	case *qdrant.UpdateCollectionClusterSetupRequest_AbortTransfer:
		c := copied(o.AbortTransfer, nil)
		other = o.AbortTransfer.ToShardId
		req.Change = &placementv1.ChangeReplicasRequest_Abort_{Abort: &placementv1.ChangeReplicasRequest_Abort{From: c.GetFrom(), To: c.GetTo()}}
	case *qdrant.UpdateCollectionClusterSetupRequest_DropReplica:
		req.ShardId = uint64(o.DropReplica.GetShardId())
		req.Change = &placementv1.ChangeReplicasRequest_Drop_{Drop: &placementv1.ChangeReplicasRequest_Drop{PeerId: o.DropReplica.GetPeerId()}}
	default:
		return nil, fault.New(fault.Malformed, "Wrong input: an operation must be given")
	}
	if other != nil {
		return nil, fault.Missing(method + "to_shard_id")
	}
	return req, nil
}

// transfers of a collection with what can be said about how far they are.
func (s *Service) transfers(ctx context.Context, c *view.Collection) []*clusterv1.ShardTransfer {
	m := s.d.View.Map()
	ts := m.Transfers(c.ID)
	var under []topology.Copy
	for _, t := range ts {
		if p, _ := m.Placement(t.Shard); stateOf(p, t.To) == topology.Partial {
			under = append(under, topology.Copy{Shard: t.Shard, To: t.To})
		}
	}
	var progress map[topology.Copy]string
	if s.d.Progress != nil && len(under) > 0 {
		progress = s.d.Progress(ctx, under)
	}
	out := s.fills(c)
	for _, t := range ts {
		comment, ok := progress[topology.Copy{Shard: t.Shard, To: t.To}]
		if !ok {
			p, _ := m.Placement(t.Shard)
			comment = phase(t, p)
		}
		out = append(out, &clusterv1.ShardTransfer{
			ShardId: uint32(t.Shard.ID), From: uint64(t.From), To: uint64(t.To), Sync: !t.Move,
			Method: qdrant.ShardTransferMethod(t.Method).Enum(), Comment: new(comment),
		})
	}
	return out
}

// stateOf a peer's replica; Initializing where it has none.
func stateOf(p topology.Placement, peer topology.PeerID) topology.ReplicaState {
	if r, ok := p.Replica(peer); ok {
		return r.State
	}
	return topology.Initializing
}

// phase is what the state of the receiver tells of a transfer.
func phase(t topology.Transfer, p topology.Placement) string {
	switch stateOf(p, t.To) {
	case topology.Dead:
		return fmt.Sprintf("waiting for peer %d", t.To)
	case topology.Active:
		return fmt.Sprintf("finalizing: peer %d is about to give its replica up", t.From)
	case topology.Partial:
		return fmt.Sprintf("transferring records from peer %d", p.Primary)
	}
	return ""
}
