package api

import (
	"errors"
	"fmt"
	"testing"
	"time"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/cluster"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/config"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	gocmp "github.com/google/go-cmp/cmp"
)

func TestCreateFillsInTheDefaults(t *testing.T) {
	c := start(t, true)
	r, err := c.Create(t.Context(), &qdrant.CreateCollection{CollectionName: "c", VectorsConfig: four(),
		OptimizersConfig: &qdrant.OptimizersConfigDiff{IndexingThreshold: new(uint64(7))}, ReplicationFactor: new(uint32(3))})
	if err != nil || !r.GetResult() || r.GetTime() <= 0 {
		t.Fatalf("%v, %v", r, err)
	}
	got := c.world.last.(*placementv1.CreateCollectionRequest)
	want := &qdrant.CollectionConfig{
		Params: &qdrant.CollectionParams{OnDiskPayload: true, VectorsConfig: four(), ReplicationFactor: new(uint32(3)), WriteConsistencyFactor: new(uint32(1))},
		HnswConfig: &qdrant.HnswConfigDiff{M: new(uint64(16)), EfConstruct: new(uint64(100)), FullScanThreshold: new(uint64(10000)),
			MaxIndexingThreads: new(uint64(0)), OnDisk: new(false)},
		OptimizerConfig: &qdrant.OptimizersConfigDiff{DeletedThreshold: new(0.2), VacuumMinVectorNumber: new(uint64(1000)),
			DefaultSegmentNumber: new(uint64(0)), IndexingThreshold: new(uint64(7)), FlushIntervalSec: new(uint64(5))},
		WalConfig: &qdrant.WalConfigDiff{WalCapacityMb: new(uint64(32)), WalSegmentsAhead: new(uint64(0)), WalRetainClosed: new(uint64(1))},
	}
	if d := gocmp.Diff(want, got.GetConfig(), protocmp.Transform()); d != "" {
		t.Error(d)
	}
	if got.GetTimeout().AsDuration().Seconds() != 10 {
		t.Errorf("timeout %v", got.GetTimeout())
	}
}

func TestCreateTakesTheOperatorsDefaults(t *testing.T) {
	type wish struct{ shards, factor, consistency uint32 }
	for _, s := range []struct {
		name  string
		own   config.Collection
		asked wish // 0: left out
		want  wish
	}{
		{"none", config.Collection{}, wish{}, wish{0, 1, 1}},
		{"all", config.Collection{ShardNumber: 5, ReplicationFactor: 3, WriteConsistencyFactor: 2}, wish{}, wish{5, 3, 2}},
		{"the request wins", config.Collection{ShardNumber: 5, ReplicationFactor: 3, WriteConsistencyFactor: 2}, wish{1, 2, 1}, wish{1, 2, 1}},
		{"per peer", config.Collection{ShardNumberPerNode: 4}, wish{}, wish{8, 1, 1}},
		{"the number wins", config.Collection{ShardNumber: 5, ShardNumberPerNode: 4}, wish{}, wish{5, 1, 1}},
	} {
		t.Run(s.name, func(t *testing.T) {
			c := startWith(t, true, s.own)
			c.world.m = c.world.m.Apply(topology.Delta{Peers: []topology.Peer{{ID: 7}, {ID: 8}}})
			r := &qdrant.CreateCollection{CollectionName: "c", VectorsConfig: four()}
			if s.asked != (wish{}) {
				r.ShardNumber, r.ReplicationFactor, r.WriteConsistencyFactor = &s.asked.shards, &s.asked.factor, &s.asked.consistency
			}
			if _, err := c.Create(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			p := c.world.last.(*placementv1.CreateCollectionRequest).GetConfig().GetParams()
			if got := (wish{p.GetShardNumber(), p.GetReplicationFactor(), p.GetWriteConsistencyFactor()}); got != s.want {
				t.Errorf("got %v, want %v", got, s.want)
			}
		})
	}
}

// TestNewCollections: what the operator set beside that stands behind what a request says,
// member by member, and before the defaults of the API; a limit on their number holds
// for new names.
func TestNewCollections(t *testing.T) {
	quantized := &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Scalar{Scalar: &qdrant.ScalarQuantization{Type: qdrant.QuantizationType_Int8}}}
	binary := &qdrant.QuantizationConfig{Quantization: &qdrant.QuantizationConfig_Binary{Binary: &qdrant.BinaryQuantization{}}}
	c := startWith(t, true, config.Collection{}, func(d *Deps) {
		d.NewCollection = &qdrant.CreateCollection{OnDiskPayload: new(false), HnswConfig: &qdrant.HnswConfigDiff{M: new(uint64(24)), PayloadM: new(uint64(8))},
			OptimizersConfig: &qdrant.OptimizersConfigDiff{IndexingThreshold: new(uint64(7))}, WalConfig: &qdrant.WalConfigDiff{WalCapacityMb: new(uint64(1))},
			QuantizationConfig: quantized, StrictModeConfig: &qdrant.StrictModeConfig{Enabled: new(true), MaxQueryLimit: new(uint32(50))}}
	})
	create := func(r *qdrant.CreateCollection) *qdrant.CollectionConfig {
		t.Helper()
		if _, err := c.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		return c.world.last.(*placementv1.CreateCollectionRequest).GetConfig()
	}
	got := create(&qdrant.CreateCollection{CollectionName: "a", VectorsConfig: four()})
	if h := got.GetHnswConfig(); h.GetM() != 24 || h.GetPayloadM() != 8 || h.GetEfConstruct() != 100 || got.GetParams().GetOnDiskPayload() ||
		got.GetOptimizerConfig().GetIndexingThreshold() != 7 || got.GetOptimizerConfig().GetVacuumMinVectorNumber() != 1000 ||
		got.GetWalConfig().GetWalCapacityMb() != 1 || got.GetQuantizationConfig().GetScalar() == nil || got.GetStrictModeConfig().GetMaxQueryLimit() != 50 {
		t.Errorf("nothing was asked for: %v", got)
	}
	got = create(&qdrant.CreateCollection{CollectionName: "b", VectorsConfig: four(), OnDiskPayload: new(true), HnswConfig: &qdrant.HnswConfigDiff{M: new(uint64(32))},
		QuantizationConfig: binary, StrictModeConfig: &qdrant.StrictModeConfig{Enabled: new(false)}})
	if h := got.GetHnswConfig(); h.GetM() != 32 || h.GetPayloadM() != 8 || !got.GetParams().GetOnDiskPayload() || got.GetQuantizationConfig().GetBinary() == nil ||
		got.GetStrictModeConfig().GetEnabled() || got.GetStrictModeConfig().GetMaxQueryLimit() != 50 {
		t.Errorf("the request does not win: %v", got)
	}
	c = startWith(t, true, config.Collection{}, func(d *Deps) { d.MaxCollections = 1 }).with(t, "a", four())
	_, err := c.Create(t.Context(), &qdrant.CreateCollection{CollectionName: "b", VectorsConfig: four()})
	wants(t, err, fault.InvalidArgument, "Wrong input: Collection `b` cannot be made: there are 1, and storage.max_collections allows no more than 1")
	create(&qdrant.CreateCollection{CollectionName: "a", VectorsConfig: four()}) // the control plane says what there is to say
}

func TestACollectionFromItsBirthToItsEnd(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	ctx := t.Context()
	c.put(1, 2, 3)
	if l, err := c.List(ctx, &qdrant.ListCollectionsRequest{}); err != nil || len(l.GetCollections()) != 1 || l.GetCollections()[0].GetName() != "c" {
		t.Errorf("%v, %v", l, err)
	}
	if _, err := c.UpdateAliases(ctx, &qdrant.ChangeAliases{Actions: []*qdrant.AliasOperations{{Action: &qdrant.AliasOperations_CreateAlias{
		CreateAlias: &qdrant.CreateAlias{CollectionName: "c", AliasName: "other"}}}}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"c", "other", "none"} {
		e, err := c.CollectionExists(ctx, &qdrant.CollectionExistsRequest{CollectionName: name})
		if err != nil || e.GetResult().GetExists() != (name != "none") {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
	for _, name := range []string{"c", "other"} {
		a, err := c.ListCollectionAliases(ctx, &qdrant.ListCollectionAliasesRequest{CollectionName: name})
		if err != nil || len(a.GetAliases()) != 1 || a.GetAliases()[0].GetAliasName() != "other" || a.GetAliases()[0].GetCollectionName() != "c" {
			t.Errorf("%v, %v", a, err)
		}
	}
	if a, err := c.ListAliases(ctx, &qdrant.ListAliasesRequest{}); err != nil || len(a.GetAliases()) != 1 {
		t.Errorf("%v, %v", a, err)
	}
	info, err := c.CollectionsClient.Get(ctx, &qdrant.GetCollectionInfoRequest{CollectionName: "other"})
	if err != nil {
		t.Fatal(err)
	}
	i := info.GetResult()
	if i.GetStatus() != qdrant.CollectionStatus_Green || !i.GetOptimizerStatus().GetOk() || i.GetPointsCount() != 3 || i.GetSegmentsCount() != 3 ||
		i.GetConfig().GetParams().GetShardNumber() != 3 || i.GetConfig().GetHnswConfig().GetM() != 16 {
		t.Errorf("info: %v", i)
	}
	for _, existed := range []bool{true, false} {
		d, err := c.CollectionsClient.Delete(ctx, &qdrant.DeleteCollection{CollectionName: "c"})
		if err != nil || d.GetResult() != existed {
			t.Errorf("%v, %v", d, err)
		}
	}
	_, err = c.CollectionsClient.Get(ctx, &qdrant.GetCollectionInfoRequest{CollectionName: "c"})
	wants(t, err, fault.CollectionNotFound, "Not found: Collection `c` doesn't exist!")
}

// A peer's map may not have heard of what another peer's answer has said already.
func TestCollectionMadeElsewhere(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	ctx := t.Context()
	exists := func(name string) (bool, error) {
		e, err := c.CollectionExists(ctx, &qdrant.CollectionExistsRequest{CollectionName: name})
		return e.GetResult().GetExists(), err
	}
	for name, use := range map[string]func(name string) error{
		"write": func(name string) error {
			_, err := c.PointsClient.Delete(ctx, &qdrant.DeletePoints{CollectionName: name, Points: &qdrant.PointsSelector{
				PointsSelectorOneOf: &qdrant.PointsSelector_Filter{Filter: &qdrant.Filter{}}}})
			return err
		},
		"read": func(name string) error {
			_, err := c.Count(ctx, &qdrant.CountPoints{CollectionName: name})
			return err
		},
		"exists?": func(name string) error {
			if there, err := exists(name); err != nil || !there {
				return fmt.Errorf("%v, %w", there, err)
			}
			return nil
		},
	} {
		if _, err := c.world.decide(nil, c.world.collection(name, &qdrant.CollectionConfig{Params: &qdrant.CollectionParams{VectorsConfig: four()}}, nil)...); err != nil {
			t.Fatal(err)
		}
		if err := use(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if there, err := exists("none"); err != nil || there {
		t.Errorf("none: %v, %v", there, err)
	}
	c.world.refuse = fault.New(fault.NoLeader, "no leader")
	_, err := exists("none")
	wants(t, err, fault.ShardUnavailable, "this peer has heard of no collection `none`, and cannot ask the control plane for it: no leader")
	if there, err := exists("c"); err != nil || !there {
		t.Errorf("a known one, without the control plane: %v, %v", there, err)
	}
}

func TestAnAnswerIsNotWhatIsKept(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	for range 2 {
		info, err := c.CollectionsClient.Get(t.Context(), &qdrant.GetCollectionInfoRequest{CollectionName: "c"})
		if err != nil || info.GetResult().GetConfig().GetParams().GetVectorsConfig().GetParams().GetSize() != 4 {
			t.Fatalf("%v, %v", info, err)
		}
		info.GetResult().GetConfig().GetParams().GetVectorsConfig().GetParams().Size = 99 // the caller's own copy
	}
}

func TestStatusOfACollection(t *testing.T) {
	for _, s := range []struct {
		name   string
		states []topology.ReplicaState
		want   qdrant.CollectionStatus
		counts bool
	}{
		{"all well", []topology.ReplicaState{topology.Active, topology.Dead}, qdrant.CollectionStatus_Green, true},
		{"being born", []topology.ReplicaState{topology.Initializing, topology.Initializing}, qdrant.CollectionStatus_Yellow, true},
		{"none left", []topology.ReplicaState{topology.Dead, topology.Partial}, qdrant.CollectionStatus_Red, false},
	} {
		t.Run(s.name, func(t *testing.T) {
			c := start(t, true).with(t, "c", four())
			col, _ := c.world.Map().Resolve("c")
			p := topology.Placement{Shard: topology.Shard{Collection: col.ID, ID: 1}, Epoch: 5}
			for i, st := range s.states {
				p.Replicas = append(p.Replicas, topology.Replica{Peer: topology.PeerID(7 + i), State: st})
			}
			c.world.m = c.world.m.Apply(topology.Delta{Placements: []topology.Placement{p}})
			info, err := c.CollectionsClient.Get(t.Context(), &qdrant.GetCollectionInfoRequest{CollectionName: "c"})
			if err != nil || info.GetResult().GetStatus() != s.want || (info.GetResult().PointsCount != nil) != s.counts {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}

func TestFewerReplicasThanAskedForAreWarnedOf(t *testing.T) {
	for factor, want := range map[uint32]string{2: "", 3: "3 of 3 shards have fewer replicas than the replication_factor of 3"} {
		c := start(t, true)
		if _, err := c.Create(t.Context(), &qdrant.CreateCollection{CollectionName: "c", VectorsConfig: four(), ShardNumber: new(uint32(3)), ReplicationFactor: &factor}); err != nil {
			t.Fatal(err)
		}
		info, err := c.CollectionsClient.Get(t.Context(), &qdrant.GetCollectionInfoRequest{CollectionName: "c"})
		if w := info.GetResult().GetWarnings(); err != nil || (len(w) == 0) != (want == "") || len(w) > 0 && w[0].GetMessage() != want {
			t.Errorf("factor %d: %v, %v", factor, w, err)
		}
	}
}

func TestRefusalsOfTheCatalogArePassedOn(t *testing.T) {
	for _, refusal := range []*fault.Error{fault.CollectionTaken("c"), fault.New(fault.AliasClash, "Wrong input: an alias has that name"),
		fault.New(fault.NoLeader, "no leader")} {
		c := start(t, true)
		c.world.refuse = refusal
		_, err := c.Create(t.Context(), &qdrant.CreateCollection{CollectionName: "c", VectorsConfig: four()})
		wants(t, err, refusal.Reason, refusal.Msg)
		if len(c.world.awaited) != 0 {
			t.Error("waited for a change that was refused")
		}
	}
	c := start(t, true)
	c.world.refuse = fault.NoCollection("c")
	if d, err := c.CollectionsClient.Delete(t.Context(), &qdrant.DeleteCollection{CollectionName: "c"}); err != nil || d.GetResult() {
		t.Errorf("%v, %v", d, err)
	}
	_, err := c.Update(t.Context(), &qdrant.UpdateCollection{CollectionName: "c"})
	wants(t, err, fault.CollectionNotFound, "Not found: Collection `c` doesn't exist!")
}

func TestUpdateForwardsWhatWasSent(t *testing.T) {
	c := start(t, true).with(t, "c", twoNamed())
	diff := func(name string) *qdrant.VectorsConfigDiff {
		return &qdrant.VectorsConfigDiff{Config: &qdrant.VectorsConfigDiff_ParamsMap{ParamsMap: &qdrant.VectorParamsDiffMap{
			Map: map[string]*qdrant.VectorParamsDiff{name: {OnDisk: new(true)}}}}}
	}
	_, err := c.Update(t.Context(), &qdrant.UpdateCollection{CollectionName: "c", VectorsConfig: diff("foo")})
	wants(t, err, fault.VectorNameUnknown, "Wrong input: Not existing vector name error: foo")
	in := &qdrant.UpdateCollection{CollectionName: "c", VectorsConfig: diff("b"), HnswConfig: &qdrant.HnswConfigDiff{M: new(uint64(0))},
		Params: &qdrant.CollectionParamsDiff{ReplicationFactor: new(uint32(2))}}
	if r, err := c.Update(t.Context(), in); err != nil || !r.GetResult() {
		t.Fatalf("%v, %v", r, err)
	}
	got := c.world.last.(*placementv1.UpdateCollectionRequest)
	if !proto.Equal(got.GetVectorsConfig(), in.GetVectorsConfig()) || !proto.Equal(got.GetHnswConfig(), in.GetHnswConfig()) ||
		!proto.Equal(got.GetParams(), in.GetParams()) || got.GetName() != "c" {
		t.Errorf("forwarded %v", got)
	}
}

// TestStatusFollowsTheShards: what they say of their segments is what is shown.
func TestUpdateQueue(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.shards.info.Unapplied = 7
	info, err := c.CollectionsClient.Get(t.Context(), &qdrant.GetCollectionInfoRequest{CollectionName: "c"})
	if q := info.GetResult().GetUpdateQueue(); err != nil || q.GetLength() != 7 || q.DeferredPoints != nil {
		t.Errorf("%v, %v", q, err)
	}
}

func TestStatusFollowsTheShards(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	for _, s := range []struct {
		info   coordinator.Info
		status qdrant.CollectionStatus
		why    *qdrant.OptimizerStatus
	}{
		{coordinator.Info{Segments: 5, Indexed: 7}, qdrant.CollectionStatus_Green, &qdrant.OptimizerStatus{Ok: true}},
		{coordinator.Info{Segments: 5, Working: 1, Waiting: 1}, qdrant.CollectionStatus_Yellow, &qdrant.OptimizerStatus{Ok: true}},
		{coordinator.Info{Waiting: 1}, qdrant.CollectionStatus_Grey, &qdrant.OptimizerStatus{Ok: true}},
		{coordinator.Info{Working: 1, Failure: "shard 1: no room"}, qdrant.CollectionStatus_Red, &qdrant.OptimizerStatus{Error: "shard 1: no room"}},
	} {
		c.shards.info = s.info
		r, err := c.CollectionsClient.Get(t.Context(), &qdrant.GetCollectionInfoRequest{CollectionName: "c"})
		if got := r.GetResult(); err != nil || got.GetStatus() != s.status || !proto.Equal(got.GetOptimizerStatus(), s.why) ||
			got.GetSegmentsCount() != s.info.Segments || got.GetIndexedVectorsCount() != s.info.Indexed {
			t.Errorf("%+v: %v, %v", s.info, r, err)
		}
	}
}

// TestVectorsOfAllKinds: what a collection was made with is shown as it is, and
// its changes are forwarded.
func TestVectorsOfAllKinds(t *testing.T) {
	c := start(t, true)
	dense := &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_ParamsMap{ParamsMap: &qdrant.VectorParamsMap{Map: map[string]*qdrant.VectorParams{
		"m": {Size: 2, Distance: qdrant.Distance_Cosine, MultivectorConfig: &qdrant.MultiVectorConfig{}, HnswConfig: &qdrant.HnswConfigDiff{M: new(uint64(0))}},
		"u": {Size: 2, Distance: qdrant.Distance_Dot, Datatype: qdrant.Datatype_Uint8.Enum()}}}}}
	sparse := &qdrant.SparseVectorConfig{Map: map[string]*qdrant.SparseVectorParams{"s": {Modifier: qdrant.Modifier_Idf.Enum(),
		Index: &qdrant.SparseIndexConfig{Datatype: qdrant.Datatype_Float16.Enum()}}}}
	if _, err := c.Create(t.Context(), &qdrant.CreateCollection{CollectionName: "c", VectorsConfig: dense, SparseVectorsConfig: sparse}); err != nil {
		t.Fatal(err)
	}
	r, err := c.CollectionsClient.Get(t.Context(), &qdrant.GetCollectionInfoRequest{CollectionName: "c"})
	if p := r.GetResult().GetConfig().GetParams(); err != nil || !proto.Equal(p.GetVectorsConfig(), dense) || !proto.Equal(p.GetSparseVectorsConfig(), sparse) {
		t.Errorf("%v, %v", r, err)
	}
	change := &qdrant.SparseVectorConfig{Map: map[string]*qdrant.SparseVectorParams{"s": {Index: &qdrant.SparseIndexConfig{FullScanThreshold: new(uint64(7))}}}}
	if _, err := c.Update(t.Context(), &qdrant.UpdateCollection{CollectionName: "c", SparseVectorsConfig: change}); err != nil {
		t.Fatal(err)
	}
	if got := c.world.last.(*placementv1.UpdateCollectionRequest); !proto.Equal(got.GetSparseVectorsConfig(), change) {
		t.Errorf("forwarded %v", got)
	}
	change.Map["u"] = &qdrant.SparseVectorParams{}
	_, err = c.Update(t.Context(), &qdrant.UpdateCollection{CollectionName: "c", SparseVectorsConfig: change})
	wants(t, err, fault.VectorNameUnknown, "Wrong input: Not existing vector name error: u")
}

func TestClusterInfoIsThisPeersView(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(1, 2)
	r, err := c.CollectionClusterInfo(t.Context(), &qdrant.CollectionClusterInfoRequest{CollectionName: "c"})
	if err != nil || r.GetPeerId() != 7 || r.GetShardCount() != 3 || len(r.GetLocalShards()) != 3 || len(r.GetRemoteShards()) != 3 {
		t.Fatalf("%v, %v", r, err)
	}
	for i, l := range r.GetLocalShards() {
		if l.GetShardId() != uint32(i) || l.GetState() != qdrant.ReplicaState_Active || l.GetPointsCount() != 2 || l.GetShardKey() != nil {
			t.Errorf("local: %v", l)
		}
		if rem := r.GetRemoteShards()[i]; rem.GetPeerId() != 8 || rem.GetState() != qdrant.ReplicaState_Dead {
			t.Errorf("remote: %v", rem)
		}
		if ids := c.shards.reads[i].Target.Groups[0].IDs; len(ids) != 1 || ids[0] != topology.ShardID(i) {
			t.Errorf("counted shards %v", ids)
		}
	}
	if k, err := c.ListShardKeys(t.Context(), &qdrant.ListShardKeysRequest{CollectionName: "c"}); err != nil || len(k.GetShardKeys()) != 0 {
		t.Errorf("%v, %v", k, err)
	}
}

func TestClusterStatus(t *testing.T) {
	c := start(t, true)
	c.world.m = c.world.m.Apply(topology.Delta{Revision: 40, Peers: []topology.Peer{{ID: 7, URI: "http://a:6335"}, {ID: 8, URI: "http://b:6335/"}}})
	cl := clusterv1.NewClusterClient(c.conn)
	r, err := cl.ClusterStatus(t.Context(), &clusterv1.ClusterStatusRequest{})
	st := r.GetResult()
	if err != nil || st.GetStatus() != clusterv1.ClusterStatus_MODE_ENABLED || st.GetPeerId() != 7 || st.GetRaftInfo().Leader != nil ||
		st.GetConsensusThreadStatus().GetConsensusThreadStatus() != clusterv1.ConsensusThreadStatus_STATE_STOPPED_WITH_ERR ||
		st.GetPeers()[7].GetUri() != "http://a:6335/" || st.GetPeers()[8].GetUri() != "http://b:6335/" {
		t.Errorf("without a leader: %v, %v", r, err)
	}
	c.world.status = &placementv1.StatusResponse{Term: 3, Revision: 42, Leader: 8, Members: []*placementv1.Member{{PeerId: 7}, {PeerId: 8}}}
	r, err = cl.ClusterStatus(t.Context(), &clusterv1.ClusterStatusRequest{})
	if m := r.GetResult().GetControlMembers(); len(m) != 2 || !m[0].GetVoter() || m[0].GetLeader() || !m[1].GetLeader() {
		t.Errorf("members %v", m)
	}
	want := &clusterv1.RaftInfo{Term: 3, Commit: 40, PendingOperations: 2, Leader: new(uint64(8)), Role: clusterv1.RaftInfo_ROLE_FOLLOWER.Enum(), IsVoter: true}
	if err != nil || !proto.Equal(r.GetResult().GetRaftInfo(), want) || r.GetTime() <= 0 {
		t.Errorf("%v, %v", r, err)
	}
	c.world.status = &placementv1.StatusResponse{Term: 3, Revision: 42, Even: "2 voters: wait", Members: []*placementv1.Member{{PeerId: 8, Reachable: true},
		{PeerId: 7, Learner: true}}}
	c.world.unreachable = map[topology.PeerID]cluster.Unreachable{8: {Count: 4, Err: errors.New("refused"), At: time.Unix(9, 0)}, 99: {Err: errors.New("x")}}
	r, err = cl.ClusterStatus(t.Context(), &clusterv1.ClusterStatusRequest{})
	st = r.GetResult()
	if m := st.GetControlMembers(); err != nil || len(m) != 2 || m[0].GetPeerId() != 7 || m[0].GetVoter() || m[0].GetReachable() || !m[1].GetReachable() ||
		st.GetEvenVoters() != "2 voters: wait" || st.GetRaftInfo().GetIsVoter() {
		t.Errorf("%v, %v", r, err)
	}
	if f := st.GetMessageSendFailures(); len(f) != 1 || f["http://b:6335/"].GetCount() != 4 || f["http://b:6335/"].GetLatestError() != "refused" ||
		f["http://b:6335/"].GetLatestErrorTimestamp().AsTime().Unix() != 9 {
		t.Errorf("failures %v", f)
	}
}

func TestGetPoint(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(5)
	cl := clusterv1.NewClusterClient(c.conn)
	get := func(id string) (*clusterv1.GetPointResponse, error) {
		return cl.GetPoint(t.Context(), &clusterv1.GetPointRequest{CollectionName: "c", Id: id})
	}
	r, err := get("5")
	if sel := c.shards.selects[0]; err != nil || r.GetResult().GetId().GetNum() != 5 || !sel.Payload.GetEnable() || !sel.Vectors.GetEnable() {
		t.Errorf("%v, %v", r, err)
	}
	_, err = get("6")
	wants(t, err, fault.PointNotFound, "Not found: Point with id 6 does not exists!")
	_, err = get("550E8400e29b41d4a716446655440000")
	wants(t, err, fault.PointNotFound, "Not found: Point with id 550e8400-e29b-41d4-a716-446655440000 does not exists!")
	for _, bad := range []string{"-1", "1.5", "abc", "", "+1", "18446744073709551616", "550e8400"} {
		_, err := get(bad)
		wants(t, err, fault.Malformed, `Can not recognize "`+bad+`" as point id: it must be an unsigned integer or a UUID`)
		if !errors.Is(fault.From(err), fault.New(fault.Malformed, "")) || fault.HTTPStatus(err) != 400 {
			t.Errorf("%q: %d", bad, fault.HTTPStatus(err))
		}
	}
	_, err = cl.GetPoint(t.Context(), &clusterv1.GetPointRequest{CollectionName: "none", Id: wire.ProtoID(topology.NumberID(1)).String()})
	if fault.ReasonOf(err) != fault.Malformed {
		t.Errorf("%v", err)
	}
}
