package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

func TestCreate(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		a, b := p.join(ctx, 1, false), p.join(ctx, 2, false)
		resp, err := p.catalog.CreateCollection(ctx, createRequest("words", 6, 2))
		p.ok("create", err)
		if resp.GetSettling() || resp.GetCollectionId() == 0 {
			t.Errorf("got %v", resp)
		}
		for _, q := range []*peer{a, b} {
			c, found := q.reach(t, resp.GetRevision()).Resolve("words")
			if !found || len(c.Shards) != 6 || len(c.Groups) != 1 || len(c.Groups[0].IDs) != 6 {
				t.Fatalf("peer %d sees %+v", q.id, c)
			}
			for _, s := range c.Shards {
				if s.ActiveCount() != 2 || s.Primary == 0 || s.Epoch != 2 {
					t.Errorf("peer %d sees %+v at the answered revision", q.id, s)
				}
			}
			if c.Hash != (topology.HashRule{Algorithm: topology.JumpSplitMix, N: 6}) || c.ReplicationFactor != 2 || c.WriteConsistency != 1 {
				t.Errorf("peer %d sees %+v", q.id, c)
			}
		}
	})
}

// TestCreateRefused covers the rows of the rule table for creation.
func TestCreateRefused(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		p.join(ctx, 1, false)
		p.create(ctx, "taken")
		_, err := p.catalog.ChangeAliases(ctx, aliases(put("other", "taken")))
		p.ok("alias", err)
		for name, tc := range map[string]struct {
			req    *placementv1.CreateCollectionRequest
			code   codes.Code
			reason fault.Reason
		}{
			"exists, the same":     {createRequest("taken", 1, 1), codes.AlreadyExists, fault.CollectionExists},
			"exists, another":      {createRequest("taken", 2, 1), codes.AlreadyExists, fault.CollectionExists},
			"name of an alias":     {createRequest("other", 1, 1), codes.InvalidArgument, fault.AliasClash},
			"factor 0":             {createRequest("x", 1, 0), codes.InvalidArgument, fault.Validation},
			"too many shards":      {createRequest("x", maxShards+1, 1), codes.InvalidArgument, fault.Validation},
			"consistency factor 0": {&placementv1.CreateCollectionRequest{Name: "x", Config: &qdrant.CollectionConfig{Params: &qdrant.CollectionParams{WriteConsistencyFactor: new(uint32)}}}, codes.InvalidArgument, fault.Validation},
			"no name":              {createRequest("", 1, 1), codes.InvalidArgument, fault.Validation},
			"256 bytes":            {createRequest(strings.Repeat("x", 256), 1, 1), codes.InvalidArgument, fault.Validation},
			"slash":                {createRequest("a/b", 1, 1), codes.InvalidArgument, fault.Validation},
			"zero byte":            {createRequest("a\x00", 1, 1), codes.InvalidArgument, fault.Validation},
			"dots":                 {createRequest("..", 1, 1), codes.InvalidArgument, fault.Validation},
		} {
			_, err := p.catalog.CreateCollection(ctx, tc.req)
			p.want(name, err, tc.code, tc.reason)
		}
		_, err = p.catalog.CreateCollection(ctx, createRequest("x", maxShards+1, 1))
		if want := "Validation error in body: [shard_number: value 10001 invalid, must be from 1 to 10000]"; status.Convert(err).Message() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		_, err = p.catalog.CreateCollection(ctx, createRequest(strings.Repeat("x", 255), 1, 1))
		p.ok("255 bytes", err)
	})
}

func TestCreateDefaults(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		for id := range topology.PeerID(3) {
			p.join(ctx, id+1, false)
		}
		<-time.After(100 * time.Millisecond)
		resp, err := p.catalog.CreateCollection(ctx, &placementv1.CreateCollectionRequest{Name: "c"})
		p.ok("create", err)
		q := p.join(ctx, 4, false)
		c, _ := q.reach(t, resp.GetRevision()).Resolve("c")
		cfg := &qdrant.CollectionConfig{}
		p.ok("decode", proto.Unmarshal(c.Settings, cfg))
		if params := cfg.GetParams(); len(c.Shards) != 3 || params.GetShardNumber() != 3 || params.GetReplicationFactor() != 1 || params.GetWriteConsistencyFactor() != 1 {
			t.Errorf("%d shards, %v", len(c.Shards), cfg)
		}
		resp, err = p.catalog.CreateCollection(ctx, createRequest("wide", 1, 9))
		p.ok("factor above the number of peers", err)
		c, _ = q.reach(t, resp.GetRevision()).Resolve("wide")
		if c.ReplicationFactor != 9 || len(c.Shards[0].Replicas) != 4 {
			t.Errorf("wish %d, placed %d: want the wish of 9 kept and 4 placed", c.ReplicationFactor, len(c.Shards[0].Replicas))
		}
	})
}

// TestCreateTimesOut: nobody makes the replicas, yet the collection is there and the answer says so.
func TestCreateTimesOut(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		p.join(ctx, 1, true)
		req := createRequest("c", 1, 1)
		req.Timeout = durationpb.New(3 * time.Second)
		start := time.Now()
		resp, err := p.catalog.CreateCollection(ctx, req)
		p.ok("create", err)
		if d := time.Since(start); !resp.GetSettling() || d < 3*time.Second || d > 4*time.Second {
			t.Errorf("settling %v after %v", resp.GetSettling(), d)
		}
		_, err = p.catalog.CreateCollection(ctx, req)
		p.want("again", err, codes.AlreadyExists, fault.CollectionExists)
	})
}

// TestCoalesce: identical calls at the same time are one, and none fails; also when the first caller goes away.
func TestCoalesce(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		first, cancel := context.WithCancel(ctx)
		const callers = 16
		results, ids := make(chan error, callers), make(chan uint64, callers)
		for i := range callers {
			callCtx := ctx
			if i == 0 {
				callCtx = first
			}
			go func() {
				resp, err := p.catalog.CreateCollection(callCtx, createRequest("c", 2, 1))
				ids <- resp.GetCollectionId()
				results <- err
			}()
			<-time.After(time.Millisecond)
		}
		cancel()
		<-time.After(100 * time.Millisecond)
		p.join(ctx, 1, false) // only now a peer can make the replicas
		seen := map[uint64]int{}
		for range callers {
			p.ok("one of many", <-results)
			seen[<-ids]++
		}
		if len(seen) != 1 {
			t.Errorf("collections made: %v", seen)
		}
		for range callers {
			go func() {
				_, err := p.catalog.DeleteCollection(ctx, &placementv1.DeleteCollectionRequest{Name: "c"})
				results <- err
			}()
		}
		for range callers {
			p.ok("delete, one of many", <-results)
		}
	})
}

func TestDelete(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		q := p.join(ctx, 1, false)
		p.create(ctx, "c")
		var many []*placementv1.AliasChange
		for i := range 40 {
			many = append(many, put(fmt.Sprintf("alias%d", i), "c"))
		}
		for range 4 { // 160 aliases: more than one transaction removes
			_, err := p.catalog.ChangeAliases(ctx, &placementv1.ChangeAliasesRequest{Changes: many})
			p.ok("aliases", err)
			for _, c := range many {
				c.GetCreate().AliasName += "x"
			}
		}
		resp, err := p.catalog.DeleteCollection(ctx, &placementv1.DeleteCollectionRequest{Name: "alias0"})
		if p.ok("an alias is not followed", err); resp.GetExisted() {
			t.Error("deleting an alias's name deleted the collection")
		}
		resp, err = p.catalog.DeleteCollection(ctx, &placementv1.DeleteCollectionRequest{Name: "c"})
		if p.ok("delete", err); !resp.GetExisted() {
			t.Error("the collection was not there")
		}
		if _, found := q.reach(t, resp.GetRevision()).Resolve("c"); found {
			t.Error("it is still there at the answered revision")
		}
		p.create(ctx, "c") // under another id; no alias comes back with it
		if m := q.reach(t, p.create(ctx, "d").GetRevision()); len(m.Aliases()) != 0 {
			t.Errorf("%d aliases of the deleted collection are alive", len(m.Aliases()))
		}
		resp, err = p.catalog.DeleteCollection(ctx, &placementv1.DeleteCollectionRequest{Name: "none"})
		if p.ok("delete of a missing one", err); resp.GetExisted() {
			t.Error("a missing collection was there")
		}
	})
}

// TestNothingToDo: what changes nothing answers a revision that peers are told of at once, though sessions have raised the store's.
func TestNothingToDo(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		q := p.join(ctx, 1, false)
		q.reach(t, p.create(ctx, "c").GetRevision())
		_, err := p.session.Register(ctx, p.registration(1, "p"))
		p.ok("write the session alone", err)
		synctest.Wait()
		start := time.Now()
		gone, err := p.catalog.DeleteCollection(ctx, &placementv1.DeleteCollectionRequest{Name: "none"})
		p.ok("delete of a missing one", err)
		same, err := p.catalog.ChangeAliases(ctx, &placementv1.ChangeAliasesRequest{Changes: []*placementv1.AliasChange{del("none")}})
		p.ok("delete of a missing alias", err)
		q.reach(t, max(gone.GetRevision(), same.GetRevision()))
		if waited := time.Since(start); waited > 50*time.Millisecond {
			t.Errorf("the peer was told after %v", waited)
		}
	})
}

func put(alias, collection string) *placementv1.AliasChange {
	return &placementv1.AliasChange{Change: &placementv1.AliasChange_Create_{Create: &placementv1.AliasChange_Create{AliasName: alias, CollectionName: collection}}}
}

func ren(from, to string) *placementv1.AliasChange {
	return &placementv1.AliasChange{Change: &placementv1.AliasChange_Rename_{Rename: &placementv1.AliasChange_Rename{OldAliasName: from, NewAliasName: to}}}
}

func del(alias string) *placementv1.AliasChange {
	return &placementv1.AliasChange{Change: &placementv1.AliasChange_Delete_{Delete: &placementv1.AliasChange_Delete{AliasName: alias}}}
}

func aliases(changes ...*placementv1.AliasChange) *placementv1.ChangeAliasesRequest {
	return &placementv1.ChangeAliasesRequest{Changes: changes}
}

func TestAliases(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		q := p.join(ctx, 1, false)
		p.create(ctx, "c")
		p.create(ctx, "d")
		for _, tc := range []struct {
			what    string
			changes []*placementv1.AliasChange
			code    codes.Code
			reason  fault.Reason
			want    string // all aliases afterwards
			changed bool
		}{
			{"create", []*placementv1.AliasChange{put("a", "c")}, codes.OK, 0, "a=c", true},
			{"create again", []*placementv1.AliasChange{put("a", "c")}, codes.OK, 0, "a=c", false},
			{"move", []*placementv1.AliasChange{put("a", "d")}, codes.OK, 0, "a=d", true},
			{"missing collection", []*placementv1.AliasChange{put("b", "none")}, codes.NotFound, fault.CollectionNotFound, "a=d", false},
			{"target is an alias", []*placementv1.AliasChange{put("b", "a")}, codes.NotFound, fault.CollectionNotFound, "a=d", false},
			{"name of a collection", []*placementv1.AliasChange{put("c", "d")}, codes.AlreadyExists, fault.CollectionExists, "a=d", false},
			{"all or none", []*placementv1.AliasChange{put("b", "c"), put("e", "none")}, codes.NotFound, fault.CollectionNotFound, "a=d", false},
			{"in order", []*placementv1.AliasChange{put("b", "c"), ren("b", "e"), del("a"), put("a", "c")}, codes.OK, 0, "a=c e=c", true},
			{"swap by a third name", []*placementv1.AliasChange{ren("a", "t"), put("a", "d"), del("t")}, codes.OK, 0, "a=d e=c", true},
			{"rename of a missing one", []*placementv1.AliasChange{ren("none", "x")}, codes.NotFound, fault.NotFound, "a=d e=c", false},
			{"rename to a collection", []*placementv1.AliasChange{ren("a", "c")}, codes.AlreadyExists, fault.CollectionExists, "a=d e=c", false},
			{"delete of a missing one", []*placementv1.AliasChange{del("none")}, codes.OK, 0, "a=d e=c", false},
			{"empty", []*placementv1.AliasChange{{}}, codes.InvalidArgument, fault.InvalidArgument, "a=d e=c", false},
			{"bad name", []*placementv1.AliasChange{put("x/y", "c")}, codes.InvalidArgument, fault.Validation, "a=d e=c", false},
			{"delete", []*placementv1.AliasChange{del("a"), del("e")}, codes.OK, 0, "", true},
		} {
			resp, err := p.catalog.ChangeAliases(ctx, aliases(tc.changes...))
			p.want(tc.what, err, tc.code, tc.reason)
			if resp.GetChanged() != tc.changed {
				t.Errorf("%s: changed %v", tc.what, resp.GetChanged())
			}
			got := ""
			for _, a := range q.reach(t, resp.GetRevision()).Aliases() {
				got += " " + a.Name + "=" + a.Collection
			}
			if strings.TrimSpace(got) != tc.want {
				t.Errorf("%s: aliases are%s, want %s", tc.what, got, tc.want)
			}
		}
	})
}

func TestFindCollection(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		q := p.join(ctx, 1, false)
		find := func(name string) (*placementv1.FindCollectionResponse, error) {
			return p.catalog.FindCollection(ctx, &placementv1.FindCollectionRequest{Name: name})
		}
		_, err := find("c")
		p.want("not there", err, codes.NotFound, fault.CollectionNotFound)
		p.create(ctx, "c")
		_, err = p.catalog.ChangeAliases(ctx, aliases(put("a", "c")))
		p.ok("alias", err)
		for _, name := range []string{"c", "a"} {
			r, err := find(name)
			p.ok(name, err)
			if c, there := q.reach(t, r.GetRevision()).Resolve(name); !there || c.Name != "c" {
				t.Errorf("%s is not in the map of revision %d", name, r.GetRevision())
			}
		}
		_, err = p.catalog.DeleteCollection(ctx, &placementv1.DeleteCollectionRequest{Name: "c"})
		p.ok("delete", err)
		for _, name := range []string{"c", "a"} {
			_, err := find(name)
			p.want(name+" after its end", err, codes.NotFound, fault.CollectionNotFound)
		}
		p.store.SetDown(true)
		_, err = find("c")
		p.want("without a quorum", err, codes.Unavailable, fault.NoLeader)
	})
}

func TestUpdate(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		q := p.join(ctx, 1, false)
		p.create(ctx, "c")
		_, err := p.catalog.ChangeAliases(ctx, aliases(put("a", "c")))
		p.ok("alias", err)
		value := func(s string) *qdrant.Value {
			return &qdrant.Value{Kind: &qdrant.Value_StringValue{StringValue: s}}
		}
		for _, req := range []*placementv1.UpdateCollectionRequest{
			{Name: "a", HnswConfig: &qdrant.HnswConfigDiff{M: proto.Uint64(8), EfConstruct: proto.Uint64(50)}},
			{Name: "c", HnswConfig: &qdrant.HnswConfigDiff{M: proto.Uint64(9)}, Metadata: map[string]*qdrant.Value{"k": value("1"), "l": value("2")}},
			{Name: "c", Params: &qdrant.CollectionParamsDiff{ReplicationFactor: proto.Uint32(3)}, VectorsConfig: &qdrant.VectorsConfigDiff{
				Config: &qdrant.VectorsConfigDiff_Params{Params: &qdrant.VectorParamsDiff{HnswConfig: &qdrant.HnswConfigDiff{M: proto.Uint64(4)}}},
			}},
			{Name: "c", QuantizationConfig: &qdrant.QuantizationConfigDiff{Quantization: &qdrant.QuantizationConfigDiff_Scalar{Scalar: &qdrant.ScalarQuantization{Type: qdrant.QuantizationType_Int8}}}},
			{Name: "c", QuantizationConfig: &qdrant.QuantizationConfigDiff{Quantization: &qdrant.QuantizationConfigDiff_Disabled{Disabled: &qdrant.Disabled{}}}},
			{Name: "c", Metadata: map[string]*qdrant.Value{"k": {Kind: &qdrant.Value_NullValue{}}}},
		} {
			_, err := p.catalog.UpdateCollection(ctx, req)
			p.ok("update", err)
		}
		last, err := p.catalog.UpdateCollection(ctx, &placementv1.UpdateCollectionRequest{Name: "c", StrictModeConfig: &qdrant.StrictModeConfig{Enabled: proto.Bool(true)}})
		p.ok("update", err)
		again, err := p.catalog.UpdateCollection(ctx, &placementv1.UpdateCollectionRequest{Name: "c", StrictModeConfig: &qdrant.StrictModeConfig{Enabled: proto.Bool(true)}})
		if p.ok("update to the same", err); again.GetRevision() != last.GetRevision() {
			t.Errorf("an update that changes nothing wrote revision %d after %d", again.GetRevision(), last.GetRevision())
		}
		c, _ := q.reach(t, last.GetRevision()).Resolve("c")
		got := &qdrant.CollectionConfig{}
		p.ok("decode", proto.Unmarshal(c.Settings, got))
		want := createRequest("c", 1, 3).GetConfig()
		want.Params.WriteConsistencyFactor = proto.Uint32(1)
		want.Params.GetVectorsConfig().GetParams().HnswConfig = &qdrant.HnswConfigDiff{M: proto.Uint64(4)}
		want.HnswConfig = &qdrant.HnswConfigDiff{M: proto.Uint64(9), EfConstruct: proto.Uint64(50)}
		want.StrictModeConfig = &qdrant.StrictModeConfig{Enabled: proto.Bool(true)}
		want.Metadata = map[string]*qdrant.Value{"l": value("2")}
		if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}

		_, err = p.catalog.UpdateCollection(ctx, &placementv1.UpdateCollectionRequest{Name: "none"})
		p.want("missing", err, codes.NotFound, fault.CollectionNotFound)
		_, err = p.catalog.UpdateCollection(ctx, &placementv1.UpdateCollectionRequest{Name: "c", Params: &qdrant.CollectionParamsDiff{ReplicationFactor: proto.Uint32(0)}})
		p.want("factor 0", err, codes.InvalidArgument, fault.Validation)
		_, err = p.catalog.UpdateCollection(ctx, &placementv1.UpdateCollectionRequest{Name: "c", SparseVectorsConfig: &qdrant.SparseVectorConfig{Map: map[string]*qdrant.SparseVectorParams{"x": {}}}})
		p.want("unknown vector", err, codes.InvalidArgument, fault.VectorNameUnknown)
	})
}

func TestPayloadIndexAndMetadata(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		p.join(ctx, 1, false)
		p.create(ctx, "c")
		params := &qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_BoolIndexParams{BoolIndexParams: &qdrant.BoolIndexParams{}}}
		for _, tc := range []struct {
			params  *qdrant.PayloadIndexParams
			changed bool
		}{{params, true}, {params, false}, {nil, true}, {nil, false}} {
			resp, err := p.catalog.ChangePayloadIndex(ctx, &placementv1.ChangePayloadIndexRequest{CollectionName: "c", FieldName: "f", Params: tc.params})
			if p.ok("index", err); resp.GetChanged() != tc.changed {
				t.Errorf("%v: changed %v, want %v", tc.params, resp.GetChanged(), tc.changed)
			}
		}
		keyword := &qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_KeywordIndexParams{KeywordIndexParams: &qdrant.KeywordIndexParams{}}}
		for i := range maxIndexes {
			_, err := p.catalog.ChangePayloadIndex(ctx, &placementv1.ChangePayloadIndexRequest{CollectionName: "c", FieldName: fmt.Sprint(i), Params: keyword})
			p.ok("index", err)
		}
		_, err := p.catalog.ChangePayloadIndex(ctx, &placementv1.ChangePayloadIndexRequest{CollectionName: "c", FieldName: "more", Params: keyword})
		if f := fault.From(err); f.Reason != fault.InvalidArgument || f.Msg != "Wrong input: collection c has 256 payload indexes, and 256 is the limit" {
			t.Errorf("one index too many: %v", err)
		}
		for _, name := range []string{"", strings.Repeat("x", maxField+1)} {
			_, err = p.catalog.ChangePayloadIndex(ctx, &placementv1.ChangePayloadIndexRequest{CollectionName: "c", FieldName: name, Params: keyword})
			if fault.ReasonOf(err) != fault.Validation {
				t.Errorf("a field name of %d bytes: %v", len(name), err)
			}
		}
		resp, err := p.catalog.ChangeMetadata(ctx, &placementv1.ChangeMetadataRequest{Key: "k", Value: proto.String("1")})
		p.ok("set", err)
		p.ok("view", p.view.Wait(ctx, int64(resp.GetRevision())))
		got, err := store.Load[store.Metadata](ctx, p.store, store.MetadataKey("k"))
		if p.ok("load", err); got.Record.Value != "1" {
			t.Errorf("got %q", got.Record.Value)
		}
		_, err = p.catalog.ChangeMetadata(ctx, &placementv1.ChangeMetadataRequest{Key: "k"})
		p.ok("remove", err)
		if _, err := p.store.Get(ctx, store.MetadataKey("k")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("after removal: %v", err)
		}
	})
}

func TestShardKeys(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		q := p.join(ctx, 1, false)
		p.join(ctx, 2, false)
		req := createRequest("c", 2, 1)
		req.Config.Params.ShardingMethod = qdrant.ShardingMethod_Custom.Enum()
		_, err := p.catalog.CreateCollection(ctx, req)
		p.ok("create", err)
		p.create(ctx, "auto")
		key := func(s string) *qdrant.ShardKey { return &qdrant.ShardKey{Key: &qdrant.ShardKey_Keyword{Keyword: s}} }
		add := func(name, k string, c *placementv1.ChangeShardKeyRequest_Create) (*placementv1.ChangeShardKeyResponse, error) {
			return p.catalog.ChangeShardKey(ctx, &placementv1.ChangeShardKeyRequest{
				CollectionName: name, ShardKey: key(k), Change: &placementv1.ChangeShardKeyRequest_Create_{Create: c},
			})
		}
		drop := func(k string) (*placementv1.ChangeShardKeyResponse, error) {
			return p.catalog.ChangeShardKey(ctx, &placementv1.ChangeShardKeyRequest{
				CollectionName: "c", ShardKey: key(k), Change: &placementv1.ChangeShardKeyRequest_Delete_{Delete: &placementv1.ChangeShardKeyRequest_Delete{}},
			})
		}
		_, err = add("auto", "k", &placementv1.ChangeShardKeyRequest_Create{})
		p.want("automatic sharding", err, codes.InvalidArgument, fault.InvalidArgument)
		_, err = add("c", "k", &placementv1.ChangeShardKeyRequest_Create{})
		p.ok("default", err)
		_, err = add("c", "k", &placementv1.ChangeShardKeyRequest_Create{})
		p.want("again", err, codes.InvalidArgument, fault.InvalidArgument)
		_, err = add("c", "l", &placementv1.ChangeShardKeyRequest_Create{Placement: []uint64{9}})
		p.want("unknown peer", err, codes.InvalidArgument, fault.InvalidArgument)
		_, err = add("c", "l", &placementv1.ChangeShardKeyRequest_Create{InitialState: qdrant.ReplicaState_Dead.Enum()})
		p.want("initial state", err, codes.InvalidArgument, fault.InvalidArgument)
		resp, err := add("c", "l", &placementv1.ChangeShardKeyRequest_Create{ShardsNumber: proto.Uint32(3), Placement: []uint64{2}})
		p.ok("on one peer", err)
		c, _ := q.reach(t, resp.GetRevision()).Resolve("c")
		if len(c.Groups) != 2 || len(c.Groups[0].IDs) != 2 || len(c.Groups[1].IDs) != 3 || c.Groups[1].Key != "sl" || len(c.Shards) != 5 {
			t.Fatalf("got %+v", c)
		}
		for _, id := range c.Groups[1].IDs {
			if s, _ := q.view().Placement(topology.Shard{Collection: c.ID, ID: id}); s.Primary != 2 || len(s.Replicas) != 1 {
				t.Errorf("shard %d: %+v, want it on peer 2 alone", id, s)
			}
		}
		_, err = drop("none")
		p.want("drop of a missing key", err, codes.InvalidArgument, fault.InvalidArgument)
		_, err = drop("k")
		p.ok("drop", err)
		resp, err = add("c", "k", &placementv1.ChangeShardKeyRequest_Create{})
		p.ok("the same key again", err)
		<-time.After(time.Second)
		c, _ = q.reach(t, resp.GetRevision()).Resolve("c")
		if len(c.Shards) != 5 || c.Groups[1].IDs[0] != 5 {
			t.Errorf("shards of the dropped key are left or their ids were used again: %+v", c)
		}
	})
}

// TestDiskFull: what would make the records grow is refused with a reason of its own; what shrinks them, and sessions, are not.
func TestDiskFull(t *testing.T) {
	full := false
	room := func(c *Config) {
		c.Room = func() error {
			if full {
				return errors.New("no room")
			}
			return nil
		}
	}
	run(t, room, func(ctx context.Context, p *plane) {
		p.join(ctx, 1, false)
		p.create(ctx, "c")
		full = true
		_, err := p.catalog.CreateCollection(ctx, createRequest("d", 1, 1))
		p.want("create", err, codes.ResourceExhausted, fault.DiskFull)
		_, err = p.catalog.ChangeAliases(ctx, aliases(put("a", "c")))
		p.want("alias", err, codes.ResourceExhausted, fault.DiskFull)
		p.join(ctx, 2, false)
		resp, err := p.catalog.DeleteCollection(ctx, &placementv1.DeleteCollectionRequest{Name: "c"})
		if p.ok("delete", err); !resp.GetExisted() {
			t.Error("it was not there")
		}
		full = false
		p.create(ctx, "d")
	})
}
