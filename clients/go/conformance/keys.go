package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
)

// keys works on a collection whose points are placed by shard keys, and on vectors that come and go.
func (s *suite) keys(ctx context.Context) {
	coll, wait := s.coll+"_keys", qdrant.PtrOf(true)
	if must(s.CollectionExists(ctx, coll)) {
		need(s.DeleteCollection(ctx, coll))
	}
	need(s.CreateCollection(ctx, &qdrant.CreateCollection{CollectionName: coll, ShardingMethod: qdrant.PtrOf(qdrant.ShardingMethod_Custom), ReplicationFactor: s.factor,
		VectorsConfig: qdrant.NewVectorsConfigMap(map[string]*qdrant.VectorParams{"v": {Size: 4, Distance: qdrant.Distance_Dot}})}))
	a, seven, b := qdrant.NewShardKey("a"), qdrant.NewShardKeyNum(7), qdrant.NewShardKey("b")
	need(s.CreateShardKey(ctx, coll, &qdrant.CreateShardKey{ShardKey: a}))
	need(s.CreateShardKey(ctx, coll, &qdrant.CreateShardKey{ShardKey: seven}))
	need(s.UpdateClusterCollectionSetup(ctx, qdrant.NewUpdateCollectionClusterCreateShardKey(coll, &qdrant.CreateShardKey{ShardKey: b, InitialState: qdrant.PtrOf(qdrant.ReplicaState_Partial)})))
	listed := func() []string {
		var out []string
		for _, d := range must(s.ListShardKeys(ctx, coll)) {
			switch k := d.GetKey().GetKey().(type) {
			case *qdrant.ShardKey_Keyword:
				out = append(out, k.Keyword)
			case *qdrant.ShardKey_Number:
				out = append(out, fmt.Sprint(k.Number))
			}
		}
		slices.Sort(out)
		return out
	}
	s.same("shard keys", listed(), []string{"7", "a", "b"})
	under := func(k ...*qdrant.ShardKey) *qdrant.ShardKeySelector { return &qdrant.ShardKeySelector{ShardKeys: k} }
	for i, k := range []*qdrant.ShardKey{a, seven} {
		var rows []*qdrant.PointStruct
		for j := range 5 {
			n := 10*i + j
			rows = append(rows, &qdrant.PointStruct{Id: qdrant.NewIDNum(uint64(n)), Payload: qdrant.NewValueMap(fields{"n": int64(n)}),
				Vectors: qdrant.NewVectorsMap(map[string]*qdrant.Vector{"v": qdrant.NewVectorDense(vector(n, 4))})})
		}
		must(s.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: coll, Points: rows, Wait: wait, ShardKeySelector: under(k)}))
	}
	count := func(k *qdrant.ShardKey) (uint64, error) {
		return s.Count(ctx, &qdrant.CountPoints{CollectionName: coll, Exact: qdrant.PtrOf(true), ShardKeySelector: under(k)})
	}
	s.same("points of each key", []uint64{must(count(a)), must(count(seven))}, []uint64{5, 5})
	_, err := count(b)
	s.refused("a key that is filled first", codes.Unavailable, err)
	need(s.UpdateClusterCollectionSetup(ctx, qdrant.NewUpdateCollectionClusterReplicatePoints(coll, &qdrant.ReplicatePoints{FromShardKey: a, ToShardKey: b,
		Filter: must1(qdrant.NewRange("n", &qdrant.Range{Lt: qdrant.PtrOf(3.0)}))})))
	copied := within(20*time.Second, func() bool { n, err := count(b); return err == nil && n == 3 })
	s.ok("points copied between keys", copied, "not after 20 s")
	s.comeAndGo(ctx, coll, seven)
	need(s.DeleteShardKey(ctx, coll, &qdrant.DeleteShardKey{ShardKey: a}))
	s.same("shard keys after one is dropped", listed(), []string{"7", "b"})
	s.same("its points went with it", []uint64{must(count(seven)), must(count(b))}, []uint64{5, 3})
	_, err = count(a)
	s.refused("an unknown shard key", codes.InvalidArgument, err)
	need(s.DeleteCollection(ctx, coll))
}

// comeAndGo gives the collection one more vector, stores and finds it, and takes it away.
func (s *suite) comeAndGo(ctx context.Context, coll string, k *qdrant.ShardKey) {
	wait, only := qdrant.PtrOf(true), &qdrant.ShardKeySelector{ShardKeys: []*qdrant.ShardKey{k}}
	must(s.CreateVectorName(ctx, &qdrant.CreateVectorNameRequest{CollectionName: coll, VectorName: "late", Wait: wait,
		VectorConfig: &qdrant.CreateVectorNameRequest_DenseConfig{DenseConfig: &qdrant.DenseVectorCreationConfig{Size: 3, Distance: qdrant.Distance_Dot}}}))
	params := func() map[string]*qdrant.VectorParams {
		return must(s.GetCollectionInfo(ctx, coll)).GetConfig().GetParams().GetVectorsConfig().GetParamsMap().GetMap()
	}
	s.same("a vector is added", []any{len(params()), params()["late"].GetSize(), params()["late"].GetDistance()}, []any{2, uint64(3), qdrant.Distance_Dot})
	must(s.UpdateVectors(ctx, &qdrant.UpdatePointVectors{CollectionName: coll, Wait: wait, ShardKeySelector: only, Points: []*qdrant.PointVectors{
		{Id: qdrant.NewIDNum(12), Vectors: qdrant.NewVectorsMap(map[string]*qdrant.Vector{"late": qdrant.NewVectorDense(vector(12, 3))})}}}))
	find := func() ([]*qdrant.ScoredPoint, error) {
		return s.Query(ctx, &qdrant.QueryPoints{CollectionName: coll, Query: qdrant.NewQueryDense(vector(1, 3)), Using: qdrant.PtrOf("late"), ShardKeySelector: only})
	}
	s.ranked("the added vector is found", must(find()), []hit{{score(qdrant.Distance_Dot, vector(1, 3), vector(12, 3)), key{num: 12}}})
	must(s.DeleteVectorName(ctx, &qdrant.DeleteVectorNameRequest{CollectionName: coll, VectorName: "late", Wait: wait}))
	s.same("a vector is dropped", len(params()), 1)
	_, err := find()
	s.refused("query for a dropped vector", codes.InvalidArgument, err)
}

// pages scrolls by the client's own iterator, which ends by itself.
func (s *suite) pages(ctx context.Context) {
	seen, it := []key{}, s.ScrollAll(ctx, &qdrant.ScrollPoints{CollectionName: s.coll, Limit: qdrant.PtrOf(uint32(250))})
	for {
		page, err := it.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		seen = append(seen, keysOf(must(page, err))...)
	}
	s.same("scroll by pages: every id once, in order", seen, s.truth.keys())
}

// unbuilt has to say so.
func (s *suite) unbuilt(ctx context.Context) {
	for what, call := range map[string]func() error{
		"create a snapshot":           func() error { _, err := s.CreateSnapshot(ctx, s.coll); return err },
		"list snapshots":              func() error { _, err := s.ListSnapshots(ctx, s.coll); return err },
		"delete a snapshot":           func() error { return s.DeleteSnapshot(ctx, s.coll, "s") },
		"create a snapshot of it all": func() error { _, err := s.CreateFullSnapshot(ctx); return err },
		"list snapshots of it all":    func() error { _, err := s.ListFullSnapshots(ctx); return err },
		"delete a snapshot of it all": func() error { return s.DeleteFullSnapshot(ctx, "s") },
	} {
		s.refused(what+": not built", codes.Unimplemented, call())
	}
}
