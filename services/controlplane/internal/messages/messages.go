// Package messages turns the control plane's records into what peers are sent, and back. It decides nothing.
package messages

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// Change translates one change of the view; nil if no peer needs to hear of it.
func Change(c view.Change) (*placementv1.Change, error) {
	if c.Now == nil {
		return gone(c.Was), nil
	}
	switch now := c.Now.(type) {
	case store.Versioned[store.Peer]:
		return &placementv1.Change{Change: &placementv1.Change_Peer{Peer: peer(now)}}, nil
	case store.Versioned[store.Collection]:
		rec, err := collection(now)
		return &placementv1.Change{Change: &placementv1.Change_Collection{Collection: rec}}, err
	case store.Versioned[store.Alias]:
		return &placementv1.Change{Change: &placementv1.Change_Alias{Alias: &placementv1.Alias{
			Name: now.Record.Name, CollectionName: now.Record.Collection, Revision: uint64(now.Modified),
		}}}, nil
	case store.Versioned[store.Shard]:
		return &placementv1.Change{Change: &placementv1.Change_Shard{Shard: Shard(now.Record)}}, nil
	case store.Versioned[store.Transfer]:
		return &placementv1.Change{Change: &placementv1.Change_Transfer{Transfer: transfer(now)}}, nil
	case store.Versioned[store.Metadata]:
		return &placementv1.Change{Change: &placementv1.Change_Metadata{Metadata: &placementv1.MetadataEntry{
			Key: now.Record.Name, Value: now.Record.Value, Revision: uint64(now.Modified),
		}}}, nil
	}
	return nil, nil
}

func gone(was any) *placementv1.Change {
	switch was := was.(type) {
	case store.Versioned[store.Peer]:
		return &placementv1.Change{Change: &placementv1.Change_PeerGone{PeerGone: uint64(was.Record.ID)}}
	case store.Versioned[store.Collection]:
		return &placementv1.Change{Change: &placementv1.Change_CollectionGone{CollectionGone: uint64(was.Record.ID)}}
	case store.Versioned[store.Alias]:
		return &placementv1.Change{Change: &placementv1.Change_AliasGone{AliasGone: was.Record.Name}}
	case store.Versioned[store.Shard]:
		return &placementv1.Change{Change: &placementv1.Change_ShardGone{ShardGone: &placementv1.ShardRef{
			CollectionId: uint64(was.Record.Collection), ShardId: uint64(was.Record.Shard),
		}}}
	case store.Versioned[store.Transfer]:
		r := was.Record
		return &placementv1.Change{Change: &placementv1.Change_TransferGone{TransferGone: &placementv1.TransferRef{
			CollectionId: uint64(r.Collection), ShardId: uint64(r.Shard), From: uint64(r.From), To: uint64(r.To),
		}}}
	case store.Versioned[store.Metadata]:
		return &placementv1.Change{Change: &placementv1.Change_MetadataGone{MetadataGone: was.Record.Name}}
	}
	return nil
}

func peer(p store.Versioned[store.Peer]) *placementv1.Peer {
	r := p.Record
	return &placementv1.Peer{
		PeerId: uint64(r.ID), Uri: r.URI, Version: r.Version, Zone: r.Zone,
		Wire: &placementv1.WireRange{Min: r.WireMin, Max: r.WireMax}, Revision: uint64(p.Modified),
	}
}

func collection(c store.Versioned[store.Collection]) (*placementv1.Collection, error) {
	r := c.Record
	out := &placementv1.Collection{
		CollectionId: uint64(r.ID), Name: r.Name, Revision: uint64(c.Modified), Config: &qdrant.CollectionConfig{},
		Hash:      &placementv1.HashRule{Algorithm: uint32(r.Hash.Algorithm), N: r.Hash.N, Seed: r.Hash.Seed},
		CreatedAt: timestamppb.New(r.Created), VectorGenerations: r.Generations, VectorsDropped: r.VectorsDropped,
	}
	if err := proto.Unmarshal(r.Config, out.Config); err != nil {
		return nil, fault.Wrap(fault.StorageCorrupt, err, "the stored configuration of collection %q cannot be read", r.Name)
	}
	for _, g := range r.Groups {
		group := &placementv1.ShardGroup{ShardKey: wire.ProtoShardKey(g.Key), Partial: g.Partial}
		if f := g.Fill; f != nil {
			group.Replication = &placementv1.Replication{From: wire.ProtoShardKey(f.From), Claim: f.Claim}
			if f.Filter != nil {
				group.Replication.Filter = &qdrant.Filter{}
				if err := proto.Unmarshal(f.Filter, group.Replication.Filter); err != nil {
					return nil, fault.Wrap(fault.StorageCorrupt, err, "the stored filter of a copy in collection %q cannot be read", r.Name)
				}
			}
		}
		for _, id := range g.Shards {
			group.ShardIds = append(group.ShardIds, uint64(id))
		}
		out.Groups = append(out.Groups, group)
	}
	for key, raw := range r.Indexes {
		params := &qdrant.PayloadIndexParams{}
		if err := proto.Unmarshal(raw, params); err != nil {
			return nil, fault.Wrap(fault.StorageCorrupt, err, "the stored payload index of collection %q cannot be read", r.Name)
		}
		if out.PayloadIndexes == nil {
			out.PayloadIndexes = map[string]*qdrant.PayloadIndexParams{}
		}
		out.PayloadIndexes[key] = params
	}
	return out, nil
}

// Shard gives the placement of a shard its message.
func Shard(r store.Shard) *placementv1.Shard {
	out := &placementv1.Shard{
		CollectionId: uint64(r.Collection), ShardId: uint64(r.Shard), Epoch: uint64(r.Epoch), Primary: uint64(r.Primary),
		Forced: r.Forced, Lost: r.Lost, Frozen: r.Frozen,
	}
	for _, rep := range r.Replicas {
		m := &placementv1.Replica{
			PeerId: uint64(rep.Peer), State: state(rep.State), Incarnation: wire.ProtoIncarnation(topology.Incarnation(rep.Incarnation)),
			Reason: rep.Why, Since: timestamppb.New(rep.Since), FloorLost: rep.FloorLost,
		}
		if !rep.Retry.IsZero() {
			m.Retry = timestamppb.New(rep.Retry)
		}
		out.Replicas = append(out.Replicas, m)
	}
	return out
}

// state translates by the public names, which the stored form uses, as StateFrom does.
func state(s store.State) qdrant.ReplicaState {
	return qdrant.ReplicaState(qdrant.ReplicaState_value[string(s)])
}

// StateFrom reads a state.
func StateFrom(s qdrant.ReplicaState) store.State { return store.State(s.String()) }

func transfer(t store.Versioned[store.Transfer]) *placementv1.Transfer {
	r := t.Record
	return &placementv1.Transfer{
		CollectionId: uint64(r.Collection), ShardId: uint64(r.Shard), From: uint64(r.From), To: uint64(r.To),
		Method:     qdrant.ShardTransferMethod(qdrant.ShardTransferMethod_value[r.Method]),
		KeepSource: !r.Move, StartedAt: timestamppb.New(r.Started), Revision: uint64(t.Modified), Requested: r.Asked,
	}
}

// Report reads one line of an inventory.
func Report(r *placementv1.ReplicaInventory) store.Report {
	return store.Report{
		Collection: topology.CollectionID(r.GetCollectionId()), Shard: topology.ShardID(r.GetShardId()),
		Incarnation: store.Incarnation(wire.Incarnation(r.GetIncarnation())), Epoch: topology.Epoch(r.GetPlacementEpoch()),
		LastEpoch: topology.Epoch(r.GetLast().GetEpoch()), LastRun: topology.Run(r.GetLast().GetRun()),
		LastSeq: topology.Seq(r.GetLast().GetSeq()), Applied: topology.Seq(r.GetAppliedSeq()),
		Loaded: r.GetLoaded(), Reason: reasonOf(r), Detail: Clip(r.GetDetail()), Bytes: r.GetBytes(),
	}
}

func reasonOf(r *placementv1.ReplicaInventory) int32 {
	if r.GetReason() == clusterv1.Reason_REASON_UNSPECIFIED {
		return 0
	}
	return int32(r.GetReason())
}

// Clip bounds a text that a peer sends for people.
func Clip(s string) string {
	const most = 300
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
