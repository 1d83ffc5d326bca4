package messages

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// Records are those that a new cluster starts with: its founder and, turned back from a placement as that peer has kept it,
// what is left of the cluster that it has left. Of every shard its own replica is left, and is the primary if it is Active.
// Each shard's epoch is raised, so that whatever the others do with their copies cannot be taken for it. A shard without a
// usable replica here is marked as lost, and stays in its collection.
func Records(founder *placementv1.Peer, placement []*placementv1.Change, now time.Time) ([]store.Op, error) {
	now = now.UTC().Truncate(time.Millisecond)
	self := topology.PeerID(founder.GetPeerId())
	out := []store.Op{store.Put(PeerFrom(founder, now))}
	collections, keys := map[string]topology.CollectionID{}, map[topology.Shard]string{}
	for _, c := range placement {
		if r := c.GetCollection(); r != nil {
			rec, err := collectionFrom(r)
			if err != nil {
				return nil, err
			}
			collections[rec.Name] = rec.ID
			for _, g := range rec.Groups {
				for _, id := range g.Shards {
					keys[topology.Shard{Collection: rec.ID, ID: id}] = g.Key
				}
			}
			out = append(out, store.Put(rec))
		}
	}
	for _, c := range placement {
		switch r := c.GetChange().(type) {
		case *placementv1.Change_Alias:
			if id, live := collections[r.Alias.GetCollectionName()]; live {
				out = append(out, store.Put(store.Alias{Name: r.Alias.GetName(), Collection: r.Alias.GetCollectionName(), CollectionID: id}))
			}
		case *placementv1.Change_Shard:
			rec := aloneOn(r.Shard, self, now)
			rec.Group = keys[topology.Shard{Collection: rec.Collection, ID: rec.Shard}]
			out = append(out, store.Put(rec))
		case *placementv1.Change_Metadata:
			out = append(out, store.Put(store.Metadata{Name: r.Metadata.GetKey(), Value: r.Metadata.GetValue()}))
		}
	}
	return out, nil
}

func collectionFrom(c *placementv1.Collection) (store.Collection, error) {
	cfg := c.GetConfig()
	raw, err := proto.Marshal(cfg)
	if err != nil {
		return store.Collection{}, fault.Wrap(fault.StorageCorrupt, err, "the kept configuration of collection %q cannot be written", c.GetName())
	}
	params := cfg.GetParams()
	rec := store.Collection{
		ID: topology.CollectionID(c.GetCollectionId()), Name: c.GetName(), Config: raw, Created: c.GetCreatedAt().AsTime(),
		Generations: c.GetVectorGenerations(), VectorsDropped: c.GetVectorsDropped(),
		Wish: store.Wish{
			ShardNumber: params.GetShardNumber(), ReplicationFactor: params.GetReplicationFactor(),
			WriteConsistencyFactor: params.GetWriteConsistencyFactor(), Custom: params.GetShardingMethod() == qdrant.ShardingMethod_Custom,
		},
		Hash: store.Hash{Algorithm: topology.HashAlgorithm(c.GetHash().GetAlgorithm()), N: c.GetHash().GetN(), Seed: c.GetHash().GetSeed()},
	}
	for _, g := range c.GetGroups() {
		group := store.Group{Partial: g.GetPartial()} // what was being copied is begun anew
		if g.GetShardKey() != nil {
			if group.Key, err = wire.ShardKey(g.GetShardKey()); err != nil {
				return store.Collection{}, fault.Wrap(fault.StorageCorrupt, err, "a kept shard key of collection %q cannot be read", c.GetName())
			}
		}
		for _, id := range g.GetShardIds() {
			group.Shards = append(group.Shards, topology.ShardID(id))
			rec.NextShard = max(rec.NextShard, topology.ShardID(id)+1)
		}
		rec.Groups = append(rec.Groups, group)
	}
	for key, params := range c.GetPayloadIndexes() {
		raw, err := proto.Marshal(params)
		if err != nil {
			return store.Collection{}, fault.Wrap(fault.StorageCorrupt, err, "the kept payload index of collection %q cannot be written", c.GetName())
		}
		if rec.Indexes == nil {
			rec.Indexes = map[string][]byte{}
		}
		rec.Indexes[key] = raw
	}
	return rec, nil
}

// aloneOn is the record of a shard of which one peer is left.
func aloneOn(s *placementv1.Shard, self topology.PeerID, now time.Time) store.Shard {
	rec := store.Shard{
		Collection: topology.CollectionID(s.GetCollectionId()), Shard: topology.ShardID(s.GetShardId()), Epoch: topology.Epoch(s.GetEpoch()) + 1,
		Forced: s.GetForced(), Lost: s.GetLost(), Frozen: s.GetFrozen(),
	}
	at := slices.IndexFunc(s.GetReplicas(), func(r *placementv1.Replica) bool { return topology.PeerID(r.GetPeerId()) == self })
	if at < 0 {
		rec.Lost = true
		return rec
	}
	r := s.GetReplicas()[at]
	own := store.Replica{
		Peer: self, State: StateFrom(r.GetState()), Incarnation: store.Incarnation(wire.Incarnation(r.GetIncarnation())),
		Since: r.GetSince().AsTime(), Why: r.GetReason(), FloorLost: r.GetFloorLost(),
	}
	switch own.State {
	case store.Active:
		rec.Primary = self
	case store.Initializing:
		own.Since = now // its birth is waited for anew
	default:
		rec.Lost = true // whoever was Active is not in this cluster
	}
	rec.Replicas = []store.Replica{own}
	return rec
}

// PeerFrom reads what a peer says of itself.
func PeerFrom(p *placementv1.Peer, now time.Time) store.Peer {
	return store.Peer{
		ID: topology.PeerID(p.GetPeerId()), URI: p.GetUri(), Version: p.GetVersion(), Zone: p.GetZone(),
		WireMin: p.GetWire().GetMin(), WireMax: p.GetWire().GetMax(), Registered: now, Folder: p.GetFolder(),
	}
}
