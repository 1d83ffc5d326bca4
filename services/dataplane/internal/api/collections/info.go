package collections

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// countTimeout bounds the counts inside of Cluster.
const countTimeout = 2 * time.Second

// find checks a name and looks it up.
func (s *Service) find(ctx context.Context, name string) (*view.Collection, error) {
	if err := validate.Collection(name, nil); err != nil {
		return nil, err
	}
	return s.d.View.Resolve(ctx, name)
}

// Get describes a collection: settings as stored, its points counted over all
// shards, and how their segments are. COLLECTION_NOT_FOUND, VALIDATION, SHARD_UNAVAILABLE, TIMEOUT.
func (s *Service) Get(ctx context.Context, r *qdrant.GetCollectionInfoRequest) (*qdrant.GetCollectionInfoResponse, error) {
	c, err := s.find(ctx, r.GetCollectionName())
	if err != nil {
		return nil, err
	}
	info := &qdrant.CollectionInfo{
		Status:              status(c),
		OptimizerStatus:     &qdrant.OptimizerStatus{Ok: true},
		SegmentsCount:       uint64(len(c.Shards)),
		Config:              proto.CloneOf(c.Config),
		IndexedVectorsCount: new(uint64(0)),
		UpdateQueue:         &qdrant.UpdateQueueInfo{},
		Warnings:            warnings(c),
	}
	if c.CreatedMs != 0 {
		info.CreatedAt = timestamppb.New(time.UnixMilli(c.CreatedMs))
	}
	placed := info.Status != qdrant.CollectionStatus_Red
	if placed {
		if err := s.measure(ctx, c, info); err != nil {
			return nil, err
		}
	}
	if info.PayloadSchema, err = s.schema(ctx, c, placed); err != nil {
		return nil, err
	}
	return &qdrant.GetCollectionInfoResponse{Result: info}, nil
}

// measure asks the shards for their points and for how their segments are. A
// collection that is placed is red where these cannot be optimized, yellow while
// they are, and grey where they should be and nothing is at work on it.
func (s *Service) measure(ctx context.Context, c *view.Collection, info *qdrant.CollectionInfo) error {
	read := coordinator.Read{Target: c.Reads()}
	n, err := s.d.Counter.Count(ctx, read, nil, true)
	if err != nil {
		return err
	}
	now, err := s.d.Counter.Info(ctx, read)
	if err != nil {
		return err
	}
	info.PointsCount, info.SegmentsCount, info.IndexedVectorsCount = &n, now.Segments, &now.Indexed
	info.UpdateQueue.Length = now.Unapplied
	switch {
	case now.Failure != "":
		info.Status, info.OptimizerStatus = qdrant.CollectionStatus_Red, &qdrant.OptimizerStatus{Error: now.Failure}
	case now.Working > 0:
		info.Status = qdrant.CollectionStatus_Yellow
	case now.Waiting > 0 && info.Status == qdrant.CollectionStatus_Green:
		info.Status = qdrant.CollectionStatus_Grey
	}
	return nil
}

// status is red where a shard has lost its last Active replica, yellow while
// one is being born, else green.
func status(c *view.Collection) qdrant.CollectionStatus {
	out := qdrant.CollectionStatus_Green
	for _, p := range c.Shards {
		if p.ActiveCount() > 0 {
			continue
		}
		if slices.ContainsFunc(p.Replicas, func(r topology.Replica) bool { return r.State != topology.Initializing }) {
			return qdrant.CollectionStatus_Red
		}
		out = qdrant.CollectionStatus_Yellow
	}
	return out
}

// warnings tell of shards that were placed with fewer replicas than asked for,
// which is no error: the collection was made with what there was.
func warnings(c *view.Collection) (out []*qdrant.CollectionWarning) {
	factor, few := c.Config.GetParams().GetReplicationFactor(), 0
	for _, p := range c.Shards {
		if len(p.Replicas) < int(factor) {
			few++
		}
	}
	if few > 0 {
		out = append(out, &qdrant.CollectionWarning{Message: fmt.Sprintf("%d of %d shards have fewer replicas than the replication_factor of %d",
			few, len(c.Shards), factor)})
	}
	return out
}

// schema describes the indexes on payload fields and counts what they hold.
func (s *Service) schema(ctx context.Context, c *view.Collection, placed bool) (map[string]*qdrant.PayloadSchemaInfo, error) {
	out := make(map[string]*qdrant.PayloadSchemaInfo, len(c.Indexes))
	if len(c.Indexes) == 0 {
		return out, nil
	}
	var points map[string]uint64
	if placed {
		var err error
		if points, err = s.d.Counter.Fields(ctx, coordinator.Read{Target: c.Reads()}); err != nil {
			return nil, err
		}
	}
	for key, p := range c.Indexes {
		out[key] = &qdrant.PayloadSchemaInfo{DataType: dataType(p), Params: proto.CloneOf(p), Points: new(points[key])}
	}
	return out, nil
}

func dataType(p *qdrant.PayloadIndexParams) qdrant.PayloadSchemaType {
	switch p.GetIndexParams().(type) {
	case *qdrant.PayloadIndexParams_KeywordIndexParams:
		return qdrant.PayloadSchemaType_Keyword
	case *qdrant.PayloadIndexParams_IntegerIndexParams:
		return qdrant.PayloadSchemaType_Integer
	case *qdrant.PayloadIndexParams_FloatIndexParams:
		return qdrant.PayloadSchemaType_Float
	case *qdrant.PayloadIndexParams_GeoIndexParams:
		return qdrant.PayloadSchemaType_Geo
	case *qdrant.PayloadIndexParams_TextIndexParams:
		return qdrant.PayloadSchemaType_Text
	case *qdrant.PayloadIndexParams_BoolIndexParams:
		return qdrant.PayloadSchemaType_Bool
	case *qdrant.PayloadIndexParams_DatetimeIndexParams:
		return qdrant.PayloadSchemaType_Datetime
	case *qdrant.PayloadIndexParams_UuidIndexParams:
		return qdrant.PayloadSchemaType_Uuid
	}
	return qdrant.PayloadSchemaType_UnknownType
}

// List names all collections. SHARD_UNAVAILABLE.
func (s *Service) List(context.Context, *qdrant.ListCollectionsRequest) (*qdrant.ListCollectionsResponse, error) {
	m, err := s.d.View.Placed()
	if err != nil {
		return nil, err
	}
	out := &qdrant.ListCollectionsResponse{}
	for _, c := range m.Collections() {
		out.Collections = append(out.Collections, &qdrant.CollectionDescription{Name: c.Name})
	}
	return out, nil
}

// CollectionExists tells whether a name or alias is known. VALIDATION, SHARD_UNAVAILABLE.
func (s *Service) CollectionExists(ctx context.Context, r *qdrant.CollectionExistsRequest) (*qdrant.CollectionExistsResponse, error) {
	if err := validate.Collection(r.GetCollectionName(), nil); err != nil {
		return nil, err
	}
	_, err := s.d.View.Resolve(ctx, r.GetCollectionName())
	if err != nil && fault.ReasonOf(err) != fault.CollectionNotFound {
		return nil, err
	}
	return &qdrant.CollectionExistsResponse{Result: &qdrant.CollectionExists{Exists: err == nil}}, nil
}

// ListAliases names all aliases. It does not fail.
func (s *Service) ListAliases(context.Context, *qdrant.ListAliasesRequest) (*qdrant.ListAliasesResponse, error) {
	return s.aliases(func(topology.Alias) bool { return true }), nil
}

// ListCollectionAliases names the aliases of one collection.
// COLLECTION_NOT_FOUND, VALIDATION.
func (s *Service) ListCollectionAliases(ctx context.Context, r *qdrant.ListCollectionAliasesRequest) (*qdrant.ListAliasesResponse, error) {
	c, err := s.find(ctx, r.GetCollectionName())
	if err != nil {
		return nil, err
	}
	return s.aliases(func(a topology.Alias) bool { return a.Collection == c.Name }), nil
}

func (s *Service) aliases(want func(topology.Alias) bool) *qdrant.ListAliasesResponse {
	out := &qdrant.ListAliasesResponse{}
	for _, a := range s.d.View.Map().Aliases() {
		if want(a) {
			out.Aliases = append(out.Aliases, &qdrant.AliasDescription{AliasName: a.Name, CollectionName: a.Collection})
		}
	}
	return out
}

// CollectionClusterInfo is Cluster without what Qdrant tells over REST only.
func (s *Service) CollectionClusterInfo(ctx context.Context, r *qdrant.CollectionClusterInfoRequest) (*qdrant.CollectionClusterInfoResponse, error) {
	c, err := s.Cluster(ctx, r.GetCollectionName())
	if err != nil {
		return nil, err
	}
	out := &qdrant.CollectionClusterInfoResponse{PeerId: c.GetPeerId(), ShardCount: c.GetShardCount(), LocalShards: c.GetLocalShards(), RemoteShards: c.GetRemoteShards()}
	for _, t := range c.GetShardTransfers() {
		out.ShardTransfers = append(out.ShardTransfers, &qdrant.ShardTransferInfo{ShardId: t.GetShardId(), From: t.GetFrom(), To: t.GetTo(), Sync: t.GetSync()})
	}
	return out, nil
}

// Cluster is the collection as this peer sees it: what it holds itself, and what
// others hold. Points are counted in its own Active replicas; one that does not
// answer in time shows 0, since this view is most needed when something is wrong.
// COLLECTION_NOT_FOUND, VALIDATION.
func (s *Service) Cluster(ctx context.Context, name string) (*clusterv1.CollectionClusterResponse, error) {
	c, err := s.find(ctx, name)
	if err != nil {
		return nil, err
	}
	keys, partial := map[topology.ShardID]string{}, map[topology.ShardID]bool{}
	for _, g := range c.Groups {
		for _, id := range g.IDs {
			keys[id], partial[id] = g.Key, g.Partial
		}
	}
	out := &clusterv1.CollectionClusterResponse{PeerId: uint64(s.d.Self), ShardCount: uint64(len(c.Shards)), ShardTransfers: s.transfers(ctx, c)}
	for _, p := range c.Shards {
		for _, rep := range p.Replicas {
			state := qdrant.ReplicaState(rep.State)
			if partial[p.Shard.ID] && rep.State == topology.Active {
				state = qdrant.ReplicaState_Partial
			}
			if rep.Peer != s.d.Self {
				out.RemoteShards = append(out.RemoteShards, &qdrant.RemoteShardInfo{ShardId: uint32(p.Shard.ID), PeerId: uint64(rep.Peer),
					State: state, ShardKey: wire.ProtoShardKey(keys[p.Shard.ID])})
				continue
			}
			local := &qdrant.LocalShardInfo{ShardId: uint32(p.Shard.ID), State: state, ShardKey: wire.ProtoShardKey(keys[p.Shard.ID])}
			if rep.State == topology.Active {
				n, err := s.d.Counter.Count(ctx, coordinator.Read{Target: c.One(p.Shard.ID), Timeout: countTimeout}, nil, true)
				if err == nil {
					local.PointsCount = n
				}
			}
			out.LocalShards = append(out.LocalShards, local)
		}
	}
	return out, nil
}

// ListShardKeys names the shard keys; there are none with automatic sharding.
// COLLECTION_NOT_FOUND, VALIDATION.
func (s *Service) ListShardKeys(ctx context.Context, r *qdrant.ListShardKeysRequest) (*qdrant.ListShardKeysResponse, error) {
	c, err := s.find(ctx, r.GetCollectionName())
	if err != nil {
		return nil, err
	}
	keys := map[string]bool{}
	for _, g := range c.Groups {
		keys[g.Key] = true
	}
	out := &qdrant.ListShardKeysResponse{}
	for _, k := range slices.SortedFunc(maps.Keys(keys), strings.Compare) {
		if key := wire.ProtoShardKey(k); key != nil {
			out.ShardKeys = append(out.ShardKeys, &qdrant.ShardKeyDescription{Key: key})
		}
	}
	return out, nil
}
