// Package wire translates the nouns of package topology to and from the
// messages that carry them. It decides nothing.
package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// ErrPointID reports an id that is neither a number nor a UUID.
var ErrPointID = errors.New("point id must be an unsigned integer or a UUID")

// PointID reads an id. UUIDs come hyphenated, as 32 hex digits, or as a URN.
func PointID(p *qdrant.PointId) (topology.PointID, error) {
	switch o := p.GetPointIdOptions().(type) {
	case *qdrant.PointId_Num:
		return topology.NumberID(o.Num), nil
	case *qdrant.PointId_Uuid:
		return UUID(o.Uuid)
	}
	return topology.PointID{}, fmt.Errorf("no id given: %w", ErrPointID)
}

// UUID reads a UUID in one of its three forms.
func UUID(s string) (topology.PointID, error) {
	in := s
	s = strings.TrimPrefix(strings.ToLower(s), "urn:uuid:")
	switch {
	case len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-':
		s = s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	case len(s) != 32:
		return topology.PointID{}, fmt.Errorf("%.64q: %w", in, ErrPointID)
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return topology.PointID{}, fmt.Errorf("%.64q: %w", in, ErrPointID)
	}
	return topology.UUIDID([16]byte(b)), nil
}

// ProtoID prints an id into its message.
func ProtoID(id topology.PointID) *qdrant.PointId {
	if id.IsUUID() {
		return &qdrant.PointId{PointIdOptions: &qdrant.PointId_Uuid{Uuid: id.String()}}
	}
	return &qdrant.PointId{PointIdOptions: &qdrant.PointId_Num{Num: id.Number()}}
}

// Incarnation reads 16 bytes; anything else is the zero incarnation, which no
// disk has.
func Incarnation(b []byte) (in topology.Incarnation) {
	if len(b) == len(in) {
		copy(in[:], b)
	}
	return in
}

// ProtoIncarnation gives no bytes for the zero incarnation.
func ProtoIncarnation(in topology.Incarnation) []byte {
	if in == (topology.Incarnation{}) {
		return nil
	}
	return in[:]
}

// Placement reads a shard's record.
func Placement(s *placementv1.Shard) topology.Placement {
	p := topology.Placement{
		Shard:   topology.Shard{Collection: topology.CollectionID(s.GetCollectionId()), ID: topology.ShardID(s.GetShardId())},
		Epoch:   topology.Epoch(s.GetEpoch()),
		Primary: topology.PeerID(s.GetPrimary()),
		Forced:  s.GetForced(), Lost: s.GetLost(),
	}
	for _, r := range s.GetReplicas() {
		rep := topology.Replica{
			Peer: topology.PeerID(r.GetPeerId()), State: topology.ReplicaState(r.GetState()),
			Incarnation: Incarnation(r.GetIncarnation()), Reason: r.GetReason(), SinceMs: r.GetSince().AsTime().UnixMilli(),
		}
		if r.GetRetry() != nil {
			rep.RetryMs = r.GetRetry().AsTime().UnixMilli()
		}
		p.Replicas = append(p.Replicas, rep)
	}
	return p
}

// ProtoPlacement prints a shard's record.
func ProtoPlacement(p topology.Placement) *placementv1.Shard {
	s := &placementv1.Shard{CollectionId: uint64(p.Shard.Collection), ShardId: uint64(p.Shard.ID), Epoch: uint64(p.Epoch),
		Primary: uint64(p.Primary), Forced: p.Forced, Lost: p.Lost}
	for _, r := range p.Replicas {
		m := &placementv1.Replica{
			PeerId: uint64(r.Peer), State: qdrant.ReplicaState(r.State), Incarnation: ProtoIncarnation(r.Incarnation),
			Reason: r.Reason, Since: timestamppb.New(time.UnixMilli(r.SinceMs)),
		}
		if r.RetryMs != 0 {
			m.Retry = timestamppb.New(time.UnixMilli(r.RetryMs))
		}
		s.Replicas = append(s.Replicas, m)
	}
	return s
}

// Collection reads a catalog entry. Settings become the bytes of its
// qdrant.CollectionConfig, an index those of its qdrant.PayloadIndexParams.
func Collection(c *placementv1.Collection) (topology.Collection, error) {
	settings, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.GetConfig())
	if err != nil {
		return topology.Collection{}, fmt.Errorf("settings of collection %q: %w", c.GetName(), err)
	}
	out := topology.Collection{
		ID: topology.CollectionID(c.GetCollectionId()), Name: c.GetName(), Revision: c.GetRevision(),
		Hash: topology.HashRule{Algorithm: topology.HashAlgorithm(c.GetHash().GetAlgorithm()),
			N: int(c.GetHash().GetN()), Seed: c.GetHash().GetSeed()},
		ReplicationFactor: c.GetConfig().GetParams().GetReplicationFactor(),
		WriteConsistency:  c.GetConfig().GetParams().GetWriteConsistencyFactor(),
		FanOut: topology.FanOut{Factor: c.GetConfig().GetParams().GetReadFanOutFactor(),
			DelayMs: c.GetConfig().GetParams().GetReadFanOutDelayMs()},
		Settings:    settings,
		Generations: c.GetVectorGenerations(),
	}
	if c.GetCreatedAt() != nil {
		out.CreatedMs = c.GetCreatedAt().AsTime().UnixMilli()
	}
	for key, params := range c.GetPayloadIndexes() {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(params)
		if err != nil {
			return topology.Collection{}, fmt.Errorf("index %q of collection %q: %w", key, c.GetName(), err)
		}
		if out.Indexes == nil {
			out.Indexes = map[string][]byte{}
		}
		out.Indexes[key] = b
	}
	for _, g := range c.GetGroups() {
		group, err := shardGroup(g)
		if err != nil {
			return topology.Collection{}, fmt.Errorf("collection %q: %w", c.GetName(), err)
		}
		out.Groups = append(out.Groups, group)
	}
	return out, nil
}

func shardGroup(g *placementv1.ShardGroup) (out topology.ShardGroup, err error) {
	out.Partial = g.GetPartial()
	if k := g.GetShardKey(); k != nil {
		if out.Key, err = ShardKey(k); err != nil {
			return out, err
		}
	}
	for _, id := range g.GetShardIds() {
		out.IDs = append(out.IDs, topology.ShardID(id))
	}
	r := g.GetReplication()
	if r == nil {
		return out, nil
	}
	out.Fill = &topology.Fill{Claim: r.GetClaim()}
	if out.Fill.From, err = ShardKey(r.GetFrom()); err == nil && r.Filter != nil {
		out.Fill.Filter, err = proto.MarshalOptions{Deterministic: true}.Marshal(r.GetFilter())
	}
	return out, err
}

// ErrShardKey reports a shard key that is neither a string nor a number.
var ErrShardKey = errors.New("shard key must be a string or an unsigned integer")

// ShardKey prints a key so that equal keys have equal strings and the number 7
// differs from the string "7".
func ShardKey(k *qdrant.ShardKey) (string, error) {
	switch o := k.GetKey().(type) {
	case *qdrant.ShardKey_Keyword:
		return "s" + o.Keyword, nil
	case *qdrant.ShardKey_Number:
		return fmt.Sprintf("n%d", o.Number), nil
	}
	return "", ErrShardKey
}

// ProtoShardKey reads what ShardKey printed; nil for "", the only group with
// automatic sharding.
func ProtoShardKey(key string) *qdrant.ShardKey {
	if key == "" {
		return nil
	}
	if n, err := strconv.ParseUint(key[1:], 10, 64); key[0] == 'n' && err == nil {
		return &qdrant.ShardKey{Key: &qdrant.ShardKey_Number{Number: n}}
	}
	return &qdrant.ShardKey{Key: &qdrant.ShardKey_Keyword{Keyword: key[1:]}}
}

// Peer reads a peer's record.
func Peer(p *placementv1.Peer) topology.Peer {
	return topology.Peer{ID: topology.PeerID(p.GetPeerId()), URI: p.GetUri(), Version: p.GetVersion(), Zone: p.GetZone()}
}

// Transfer reads a transfer's record.
func Transfer(t *placementv1.Transfer) topology.Transfer {
	return topology.Transfer{
		Shard: topology.Shard{Collection: topology.CollectionID(t.GetCollectionId()), ID: topology.ShardID(t.GetShardId())},
		From:  topology.PeerID(t.GetFrom()), To: topology.PeerID(t.GetTo()), Method: uint8(t.GetMethod()),
		Move: !t.GetKeepSource(), Requested: t.GetRequested(), StartedMs: t.GetStartedAt().AsTime().UnixMilli(),
	}
}

// Delta reads changes of one revision; reset marks the pieces of a snapshot.
// Metadata is not part of the map.
func Delta(revision uint64, reset bool, changes []*placementv1.Change) (topology.Delta, error) {
	d := topology.Delta{Revision: revision, Reset: reset, Aliases: map[string]string{}}
	for _, c := range changes {
		switch o := c.GetChange().(type) {
		case *placementv1.Change_Peer:
			d.Peers = append(d.Peers, Peer(o.Peer))
		case *placementv1.Change_Collection:
			col, err := Collection(o.Collection)
			if err != nil {
				return topology.Delta{}, err
			}
			d.Collections = append(d.Collections, col)
		case *placementv1.Change_Alias:
			d.Aliases[o.Alias.GetName()] = o.Alias.GetCollectionName()
		case *placementv1.Change_Shard:
			d.Placements = append(d.Placements, Placement(o.Shard))
		case *placementv1.Change_Transfer:
			d.Transfers = append(d.Transfers, Transfer(o.Transfer))
		case *placementv1.Change_TransferGone:
			d.GoneTransfers = append(d.GoneTransfers, topology.Copy{To: topology.PeerID(o.TransferGone.GetTo()), Shard: topology.Shard{
				Collection: topology.CollectionID(o.TransferGone.GetCollectionId()), ID: topology.ShardID(o.TransferGone.GetShardId())}})
		case *placementv1.Change_PeerGone:
			d.GonePeers = append(d.GonePeers, topology.PeerID(o.PeerGone))
		case *placementv1.Change_CollectionGone:
			d.GoneCollections = append(d.GoneCollections, topology.CollectionID(o.CollectionGone))
		case *placementv1.Change_AliasGone:
			d.GoneAliases = append(d.GoneAliases, o.AliasGone)
		case *placementv1.Change_ShardGone:
			d.GonePlacements = append(d.GonePlacements, topology.Shard{
				Collection: topology.CollectionID(o.ShardGone.GetCollectionId()), ID: topology.ShardID(o.ShardGone.GetShardId())})
		}
	}
	return d, nil
}

// Settings reads what a collection's record says of its contents, and which
// payload fields it indexes. Neither part of the answer is nil.
func Settings(c *topology.Collection) (*shardv1.Settings, error) {
	out := &shardv1.Settings{Config: &qdrant.CollectionConfig{}, PayloadIndexes: make(map[string]*qdrant.PayloadIndexParams, len(c.Indexes)),
		VectorGenerations: c.Generations}
	if err := proto.Unmarshal(c.Settings, out.Config); err != nil {
		return nil, fmt.Errorf("settings of collection %q: %w", c.Name, err)
	}
	for key, b := range c.Indexes {
		p := &qdrant.PayloadIndexParams{}
		if err := proto.Unmarshal(b, p); err != nil {
			return nil, fmt.Errorf("index %q of collection %q: %w", key, c.Name, err)
		}
		out.PayloadIndexes[key] = p
	}
	return out, nil
}
