package wire

import (
	"errors"
	"testing"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func TestPointIDForms(t *testing.T) {
	const canonical = "550e8400-e29b-41d4-a716-446655440000"
	for _, s := range []string{canonical, "550e8400e29b41d4a716446655440000", "urn:uuid:" + canonical, "550E8400-E29B-41D4-A716-446655440000"} {
		id, err := PointID(&qdrant.PointId{PointIdOptions: &qdrant.PointId_Uuid{Uuid: s}})
		if err != nil || ProtoID(id).GetUuid() != canonical {
			t.Errorf("%s: %v, %v", s, id, err)
		}
	}
	for _, s := range []string{"", "7", canonical[:35], canonical + "0", "550e8400_e29b-41d4-a716-446655440000", "z50e8400e29b41d4a716446655440000"} {
		if _, err := UUID(s); !errors.Is(err, ErrPointID) {
			t.Errorf("%q accepted: %v", s, err)
		}
	}
	if _, err := PointID(nil); !errors.Is(err, ErrPointID) {
		t.Errorf("a missing id accepted: %v", err)
	}
}

func TestPlacementRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := topology.Placement{
			Shard:   topology.Shard{Collection: topology.CollectionID(rapid.Uint64().Draw(t, "c")), ID: topology.ShardID(rapid.Uint64().Draw(t, "s"))},
			Epoch:   topology.Epoch(rapid.Uint64().Draw(t, "e")),
			Primary: topology.PeerID(rapid.Uint64().Draw(t, "p")),
			Forced:  rapid.Bool().Draw(t, "f"), Lost: rapid.Bool().Draw(t, "l"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			p.Replicas = append(p.Replicas, topology.Replica{
				Peer: topology.PeerID(rapid.Uint64().Draw(t, "peer")), State: topology.ReplicaState(rapid.IntRange(0, 10).Draw(t, "state")),
				Incarnation: topology.Incarnation(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "in")),
				Reason:      rapid.String().Draw(t, "why"), SinceMs: rapid.Int64Range(0, 1<<42).Draw(t, "since"),
				RetryMs: rapid.Int64Range(0, 1<<42).Draw(t, "retry"),
			})
		}
		back := Placement(ProtoPlacement(p))
		if len(back.Replicas) != len(p.Replicas) || back.Shard != p.Shard || back.Epoch != p.Epoch || back.Primary != p.Primary ||
			back.Forced != p.Forced || back.Lost != p.Lost {
			t.Fatalf("%+v came back as %+v", p, back)
		}
		for i := range p.Replicas {
			if back.Replicas[i] != p.Replicas[i] {
				t.Fatalf("%+v came back as %+v", p.Replicas[i], back.Replicas[i])
			}
		}
	})
}

// The public enum and ours share their numbers.
func TestReplicaStatesShareNumbersAndNames(t *testing.T) {
	for n, name := range qdrant.ReplicaState_name {
		if got := topology.ReplicaState(n).String(); got != name {
			t.Errorf("state %d is %s there and %s here", n, name, got)
		}
	}
}

func TestCollectionAndDelta(t *testing.T) {
	c := &placementv1.Collection{CollectionId: 3, Name: "a", Revision: 9, Hash: &placementv1.HashRule{Algorithm: 1, N: 2},
		Config: &qdrant.CollectionConfig{Params: &qdrant.CollectionParams{ShardNumber: 2, ReplicationFactor: proto.Uint32(3)}},
		Groups: []*placementv1.ShardGroup{{ShardIds: []uint64{0, 1}}}}
	d, err := Delta(9, true, []*placementv1.Change{
		{Change: &placementv1.Change_Collection{Collection: c}},
		{Change: &placementv1.Change_Shard{Shard: &placementv1.Shard{CollectionId: 3, ShardId: 1, Epoch: 1}}},
		{Change: &placementv1.Change_Alias{Alias: &placementv1.Alias{Name: "x", CollectionName: "a"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, ok := topology.NewMap().Apply(d).Resolve("x")
	if !ok || got.ID != 3 || got.ReplicationFactor != 3 || got.Hash.N != 2 || len(got.Shards) != 1 || len(got.Groups) != 1 {
		t.Fatalf("%+v, %v", got, ok)
	}
	var back qdrant.CollectionConfig
	if err := proto.Unmarshal(got.Settings, &back); err != nil || !proto.Equal(&back, c.GetConfig()) {
		t.Errorf("settings came back as %v, %v", &back, err)
	}
	bad := &placementv1.Collection{Groups: []*placementv1.ShardGroup{{ShardKey: &qdrant.ShardKey{}}}}
	if _, err := Collection(bad); !errors.Is(err, ErrShardKey) {
		t.Errorf("a key of no kind gives %v", err)
	}
}
