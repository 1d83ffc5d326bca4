package api

import (
	"context"
	"testing"
	"time"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

type setup = qdrant.UpdateCollectionClusterSetupRequest

// TestClusterSetup: each order reaches the control plane as it was meant, and is waited for here.
func TestClusterSetup(t *testing.T) {
	type (
		change = placementv1.ChangeReplicasRequest
		data   = placementv1.ChangeReplicasRequest_Copy
	)
	delta := qdrant.ShardTransferMethod_WalDelta.Enum()
	for _, c := range []struct {
		name string
		in   *setup
		want *change
	}{
		{"move", &setup{Operation: &qdrant.UpdateCollectionClusterSetupRequest_MoveShard{MoveShard: &qdrant.MoveShard{ShardId: 2, FromPeerId: 7, ToPeerId: 8, Method: delta}}},
			&change{ShardId: 2, Change: &placementv1.ChangeReplicasRequest_Copy_{Copy: &data{From: 7, To: 8, Move: true, Method: delta}}}},
		{"replicate", &setup{Operation: &qdrant.UpdateCollectionClusterSetupRequest_ReplicateShard{ReplicateShard: &qdrant.ReplicateShard{ShardId: 2, FromPeerId: 7, ToPeerId: 8}}},
			&change{ShardId: 2, Change: &placementv1.ChangeReplicasRequest_Copy_{Copy: &data{From: 7, To: 8}}}},
		{"restart", &setup{Operation: &qdrant.UpdateCollectionClusterSetupRequest_RestartTransfer{RestartTransfer: &qdrant.RestartTransfer{ShardId: 2, FromPeerId: 7, ToPeerId: 8, Method: *delta}}},
			&change{ShardId: 2, Change: &placementv1.ChangeReplicasRequest_Restart{Restart: &data{From: 7, To: 8, Method: delta}}}},
		{"abort", &setup{Operation: &qdrant.UpdateCollectionClusterSetupRequest_AbortTransfer{AbortTransfer: &qdrant.AbortShardTransfer{ShardId: 2, FromPeerId: 7, ToPeerId: 8}}},
			&change{ShardId: 2, Change: &placementv1.ChangeReplicasRequest_Abort_{Abort: &placementv1.ChangeReplicasRequest_Abort{From: 7, To: 8}}}},
		{"drop", &setup{Operation: &qdrant.UpdateCollectionClusterSetupRequest_DropReplica{DropReplica: &qdrant.Replica{ShardId: 2, PeerId: 8}}},
			&change{ShardId: 2, Change: &placementv1.ChangeReplicasRequest_Drop_{Drop: &placementv1.ChangeReplicasRequest_Drop{PeerId: 8}}}},
	} {
		api := start(t, true).with(t, "c", four())
		api.world.awaited = nil
		c.in.CollectionName, c.want.CollectionName = "c", "c"
		r, err := api.UpdateCollectionClusterSetup(t.Context(), c.in)
		if err != nil || !r.GetResult() || r.GetTime() <= 0 || !proto.Equal(api.world.last, c.want) || len(api.world.awaited) != 1 {
			t.Errorf("%s: %v, %v; the catalog got %v, awaited %v", c.name, r, err, api.world.last, api.world.awaited)
		}
		api.world.refuse = fault.BadInput("Peer 8 does not exist")
		_, err = api.UpdateCollectionClusterSetup(t.Context(), c.in)
		wants(t, err, fault.InvalidArgument, "Wrong input: Peer 8 does not exist")
	}
}

// TestShardKeyChanges: both ways to order one reach the control plane alike.
func TestShardKeyChanges(t *testing.T) {
	key := &qdrant.ShardKey{Key: &qdrant.ShardKey_Keyword{Keyword: "k"}}
	create := &qdrant.CreateShardKey{ShardKey: key, ShardsNumber: new(uint32(3)), ReplicationFactor: new(uint32(2)), Placement: []uint64{7}}
	made := &placementv1.ChangeShardKeyRequest{CollectionName: "c", ShardKey: key, Timeout: durationpb.New(5 * time.Second),
		Change: &placementv1.ChangeShardKeyRequest_Create_{Create: &placementv1.ChangeShardKeyRequest_Create{
			ShardsNumber: create.ShardsNumber, ReplicationFactor: create.ReplicationFactor, Placement: []uint64{7}}}}
	gone := &placementv1.ChangeShardKeyRequest{CollectionName: "c", ShardKey: key, Timeout: made.Timeout,
		Change: &placementv1.ChangeShardKeyRequest_Delete_{Delete: &placementv1.ChangeShardKeyRequest_Delete{}}}
	api := start(t, true).with(t, "c", four())
	five := new(uint64(5))
	for i, c := range []struct {
		call func() (bool, error)
		want proto.Message
	}{
		{func() (bool, error) {
			r, err := api.CreateShardKey(t.Context(), &qdrant.CreateShardKeyRequest{CollectionName: "c", Request: create, Timeout: five})
			return r.GetResult(), err
		}, made},
		{func() (bool, error) {
			r, err := api.DeleteShardKey(t.Context(), &qdrant.DeleteShardKeyRequest{CollectionName: "c", Request: &qdrant.DeleteShardKey{ShardKey: key}, Timeout: five})
			return r.GetResult(), err
		}, gone},
		{func() (bool, error) {
			r, err := api.UpdateCollectionClusterSetup(t.Context(), &setup{CollectionName: "c", Timeout: five,
				Operation: &qdrant.UpdateCollectionClusterSetupRequest_CreateShardKey{CreateShardKey: create}})
			return r.GetResult(), err
		}, made},
		{func() (bool, error) {
			r, err := api.UpdateCollectionClusterSetup(t.Context(), &setup{CollectionName: "c", Timeout: five,
				Operation: &qdrant.UpdateCollectionClusterSetupRequest_DeleteShardKey{DeleteShardKey: &qdrant.DeleteShardKey{ShardKey: key}}})
			return r.GetResult(), err
		}, gone},
	} {
		api.world.awaited = nil
		if ok, err := c.call(); err != nil || !ok || !proto.Equal(api.world.last, c.want) || len(api.world.awaited) != 1 {
			t.Errorf("%d: %v, %v; the catalog got %v, want %v, awaited %v", i, ok, err, api.world.last, c.want, api.world.awaited)
		}
	}
}

func replicate(from, to string, f *qdrant.Filter) *qdrant.UpdateCollectionClusterSetupRequest_ReplicatePoints {
	key := func(s string) *qdrant.ShardKey { return &qdrant.ShardKey{Key: &qdrant.ShardKey_Keyword{Keyword: s}} }
	return &qdrant.UpdateCollectionClusterSetupRequest_ReplicatePoints{ReplicatePoints: &qdrant.ReplicatePoints{FromShardKey: key(from), ToShardKey: key(to), Filter: f}}
}

// TestReplicatePoints: the order reaches the control plane as it was given.
func TestReplicatePoints(t *testing.T) {
	api := start(t, true).with(t, "c", four())
	only := &qdrant.Filter{Must: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_IsEmpty{IsEmpty: &qdrant.IsEmptyCondition{Key: "k"}}}}}
	order := replicate("a", "b", only)
	if r, err := api.UpdateCollectionClusterSetup(t.Context(), &setup{CollectionName: "c", Operation: order}); err != nil || !r.GetResult() {
		t.Fatal(r, err)
	}
	got := api.world.last.(*placementv1.ChangeShardKeyRequest)
	if got.GetCollectionName() != "c" || !proto.Equal(got.GetShardKey(), order.ReplicatePoints.GetToShardKey()) ||
		!proto.Equal(got.GetReplicate(), &placementv1.ChangeShardKeyRequest_Replicate{From: order.ReplicatePoints.GetFromShardKey(), Filter: only}) {
		t.Errorf("the catalog got %v", got)
	}
}

func TestClusterSetupRefused(t *testing.T) {
	const method = "qdrant.Collections/UpdateCollectionClusterSetup with "
	for _, c := range []struct {
		in     *setup
		reason fault.Reason
		text   string
	}{
		{&setup{CollectionName: "c"}, fault.Malformed, "Wrong input: an operation must be given"},
		{&setup{CollectionName: "c", Timeout: new(uint64(0))}, fault.Validation, "Validation error in body: [timeout: value 0 invalid, must be 1 or larger]"},
		{&setup{CollectionName: "c", Operation: &qdrant.UpdateCollectionClusterSetupRequest_CreateShardKey{}}, fault.Malformed, "Malformed request: the shard key is missing"},
		{&setup{CollectionName: "c", Operation: &qdrant.UpdateCollectionClusterSetupRequest_DeleteShardKey{}}, fault.Malformed, "Malformed shard_key: shard key must be a string or an unsigned integer"},
		{&setup{CollectionName: "c", Operation: &qdrant.UpdateCollectionClusterSetupRequest_ReplicatePoints{}}, fault.Malformed, "Malformed from_shard_key: shard key must be a string or an unsigned integer"},
		{&setup{CollectionName: "c", Operation: replicate("a", "a", nil)}, fault.Validation, "Validation error in body: [replicate_points: from_shard_key and to_shard_key must be different]"},
		{&setup{CollectionName: "c", Operation: replicate("a", "b", &qdrant.Filter{MinShould: &qdrant.MinShould{}})}, fault.Validation, "Validation error in body: [filter.min_should.min_count: value 0 invalid, must be 1 or larger]"},
		{&setup{CollectionName: "c", Operation: &qdrant.UpdateCollectionClusterSetupRequest_MoveShard{MoveShard: &qdrant.MoveShard{ToShardId: new(uint32(1))}}},
			fault.NotBuilt, method + "to_shard_id is not built yet"},
	} {
		api := start(t, true).with(t, "c", four())
		api.world.last = nil
		_, err := api.UpdateCollectionClusterSetup(t.Context(), c.in)
		if wants(t, err, c.reason, c.text); api.world.last != nil {
			t.Errorf("%v reached the catalog", c.in)
		}
	}
}

func TestRemovePeer(t *testing.T) {
	api := start(t, true)
	cl := clusterv1.NewClusterClient(api.conn)
	for _, id := range []uint64{8, uint64(self)} {
		r, err := cl.RemovePeer(t.Context(), &clusterv1.RemovePeerRequest{PeerId: id, Force: new(true)})
		if err != nil || !r.GetResult() || !proto.Equal(api.world.last, &placementv1.RemovePeerRequest{PeerId: id, Force: true}) {
			t.Errorf("%v, %v; the catalog got %v", r, err, api.world.last)
		}
	}
	if len(api.world.awaited) != 1 {
		t.Errorf("awaited %v: a peer that is out hears nothing any more", api.world.awaited)
	}
	_, err := cl.RemovePeer(t.Context(), &clusterv1.RemovePeerRequest{PeerId: 8, Timeout: new(uint64(0))})
	wants(t, err, fault.Validation, "Validation error in body: [timeout: value 0 invalid, must be 1 or larger]")
	api.world.refuse = fault.BadInput("Cannot remove peer 8 as there are shards on it")
	_, err = cl.RemovePeer(t.Context(), &clusterv1.RemovePeerRequest{PeerId: 8})
	wants(t, err, fault.InvalidArgument, "Wrong input: Cannot remove peer 8 as there are shards on it")
}

func TestRecoverPeer(t *testing.T) {
	api := start(t, true)
	cl := clusterv1.NewClusterClient(api.conn)
	if r, err := cl.RecoverPeer(t.Context(), &clusterv1.RecoverPeerRequest{}); err != nil || !r.GetResult() || api.world.refetched != 1 {
		t.Errorf("%v, %v; fetched %d times", r, err, api.world.refetched)
	}
	api.world.refuse = fault.New(fault.NoLeader, "nobody")
	_, err := cl.RecoverPeer(t.Context(), &clusterv1.RecoverPeerRequest{})
	wants(t, err, fault.NoLeader, "nobody")
}

// sick is a map with one replica of each kind, and transfers.
func sick(t *testing.T, api *client) topology.CollectionID {
	t.Helper()
	api.with(t, "c", four())
	col, _ := api.world.Map().Resolve("c")
	at := func(id topology.ShardID) topology.Shard { return topology.Shard{Collection: col.ID, ID: id} }
	api.world.m = api.world.m.Apply(topology.Delta{
		Peers: []topology.Peer{{ID: 7}, {ID: 8}, {ID: 9}},
		Placements: []topology.Placement{
			{Shard: at(0), Epoch: 5, Primary: 7, Replicas: []topology.Replica{{Peer: 7}, {Peer: 8, State: topology.Dead, Reason: "its peer does not answer", SinceMs: 1000}}},
			{Shard: at(1), Epoch: 5, Primary: 7, Replicas: []topology.Replica{{Peer: 7}, {Peer: 8, State: topology.Partial, Reason: "it is copied from peer 7", SinceMs: 2000}}},
			{Shard: at(2), Epoch: 5, Primary: 7, Replicas: []topology.Replica{{Peer: 7}, {Peer: 9}}},
		},
		Transfers: []topology.Transfer{{Shard: at(0), From: 7, To: 8, Requested: true}, {Shard: at(1), From: 7, To: 8}, {Shard: at(2), From: 7, To: 9, Move: true}},
	})
	return col.ID
}

func TestTransfersShow(t *testing.T) {
	api := start(t, true)
	sick(t, api)
	ask := func() []*clusterv1.ShardTransfer {
		twin, err := api.CollectionClusterInfo(t.Context(), &qdrant.CollectionClusterInfoRequest{CollectionName: "c"})
		if err != nil || len(twin.GetShardTransfers()) != 3 || twin.GetShardTransfers()[2].GetFrom() != 7 || twin.GetShardTransfers()[2].GetSync() {
			t.Fatalf("%v, %v", twin, err)
		}
		r, err := clusterv1.NewClusterClient(api.conn).CollectionCluster(t.Context(), &clusterv1.CollectionClusterRequest{CollectionName: "c"})
		if err != nil || len(r.GetShardTransfers()) != 3 {
			t.Fatalf("%v, %v", r, err)
		}
		return r.GetShardTransfers()
	}
	for i, want := range []string{"waiting for peer 8", "transferring records from peer 7", "finalizing: peer 7 is about to give its replica up"} {
		got := ask()[i]
		if got.GetShardId() != uint32(i) || got.GetFrom() != 7 || got.GetSync() != (i != 2) || got.GetMethod() != qdrant.ShardTransferMethod_StreamRecords ||
			got.Method == nil || got.GetComment() != want {
			t.Errorf("%v", got)
		}
	}
	api.progress = func(_ context.Context, cs []topology.Copy) map[topology.Copy]string {
		if len(cs) != 1 || cs[0].Shard.ID != 1 || cs[0].To != 8 { // those of Partial receivers alone
			t.Errorf("asked for %v", cs)
		}
		return map[topology.Copy]string{cs[0]: "transferring records (3/7)"}
	}
	if got := ask(); got[1].GetComment() != "transferring records (3/7)" || got[0].GetComment() != "waiting for peer 8" {
		t.Errorf("%v", got)
	}
}

func TestInactiveReplicasShow(t *testing.T) {
	api := start(t, true)
	sick(t, api)
	r, err := clusterv1.NewClusterClient(api.conn).ClusterStatus(t.Context(), &clusterv1.ClusterStatusRequest{})
	got := r.GetResult().GetInactiveReplicas()
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	if g := got[0]; g.GetCollectionName() != "c" || g.GetShardId() != 0 || g.GetPeerId() != 8 || g.GetState() != qdrant.ReplicaState_Dead ||
		g.GetReason() != "its peer does not answer" || g.GetSince().AsTime().UnixMilli() != 1000 || g.GetNext() == "" {
		t.Errorf("%v", g)
	}
}

func TestNext(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	s := topology.Shard{Collection: 1}
	m := topology.NewMap().Apply(topology.Delta{Collections: []topology.Collection{{ID: 1}}, Peers: []topology.Peer{{ID: 7}, {ID: 8}}})
	asked := m.Apply(topology.Delta{Transfers: []topology.Transfer{{Shard: s, From: 7, To: 8}}})
	active := topology.Replica{Peer: 7}
	for _, c := range []struct {
		m       *topology.Map
		primary topology.PeerID
		first   topology.Replica
		r       topology.Replica
		want    string
	}{
		{m, 7, active, active, ""},
		{m, 7, active, topology.Replica{Peer: 8, State: topology.Dead}, "it is copied from peer 7 as soon as both peers have been well for a while (one that comes and goes longer) and a transfer is free"},
		{m, 7, active, topology.Replica{Peer: 8, State: topology.Dead, RetryMs: 1_005_000}, "it is copied from peer 7 again, not before 00:16:45"},
		{m, 7, active, topology.Replica{Peer: 8, State: topology.Dead, RetryMs: 999_000}, "it is copied from peer 7 as soon as both peers have been well for a while (one that comes and goes longer) and a transfer is free"},
		{asked, 7, active, topology.Replica{Peer: 8, State: topology.Dead}, "it is copied from peer 7 as soon as peer 8 has made it"},
		{m, 7, active, topology.Replica{Peer: 8, State: topology.Partial}, "it becomes Active when it has all that peer 7 has, proven by equal digests"},
		{m, 7, active, topology.Replica{Peer: 9, State: topology.Dead}, "it is taken out: its peer was removed"},
		{m, 0, active, topology.Replica{Peer: 8, State: topology.Dead}, "it waits for the shard to have a primary again"},
		{m, 7, topology.Replica{Peer: 7, State: topology.Dead}, topology.Replica{Peer: 8, State: topology.Dead}, "it waits for an Active replica to copy from, and none is left: one must return"},
		{m, 0, topology.Replica{Peer: 7, State: topology.Initializing}, topology.Replica{Peer: 8, State: topology.Initializing}, "it becomes Active when peer 8 has made it"},
	} {
		p := topology.Placement{Shard: s, Primary: c.primary, Replicas: []topology.Replica{c.first, c.r}}
		if got := view.Next(c.m, p, c.r, now); got != c.want {
			t.Errorf("%+v: %q, want %q", c.r, got, c.want)
		}
	}
}
