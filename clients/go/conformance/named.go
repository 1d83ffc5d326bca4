package main

import (
	"context"
	"slices"

	"github.com/qdrant/go-client/qdrant"
)

type space struct {
	name     string
	size     int
	distance qdrant.Distance
}

// named works on a second collection whose points have up to three vectors.
func (s *suite) named(ctx context.Context) {
	coll, wait := s.coll+"_named", qdrant.PtrOf(true)
	spaces := []space{{"dot", 8, qdrant.Distance_Dot}, {"euclid", 4, qdrant.Distance_Euclid}, {"manhattan", 5, qdrant.Distance_Manhattan}}
	params, truths := map[string]*qdrant.VectorParams{}, map[string]*truth{}
	for _, sp := range spaces {
		params[sp.name] = &qdrant.VectorParams{Size: uint64(sp.size), Distance: sp.distance}
		truths[sp.name] = newTruth(sp.distance)
	}
	need(s.CreateCollection(ctx, &qdrant.CreateCollection{CollectionName: coll, VectorsConfig: qdrant.NewVectorsConfigMap(params), ShardNumber: qdrant.PtrOf(uint32(2)),
		ReplicationFactor: s.factor}))
	var rows []*qdrant.PointStruct
	for i := range 60 {
		vs := map[string]*qdrant.Vector{}
		for at, sp := range spaces {
			if sp.name == "euclid" && i%6 == 5 {
				continue // a vector may be missing
			}
			v := vector(i+100*at, sp.size)
			vs[sp.name] = qdrant.NewVectorDense(v)
			truths[sp.name].put(key{num: uint64(i)}, v, fields{})
		}
		rows = append(rows, &qdrant.PointStruct{Id: qdrant.NewIDNum(uint64(i)), Vectors: qdrant.NewVectorsMap(vs), Payload: qdrant.NewValueMap(fields{"n": int64(i)})})
	}
	must(s.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: coll, Points: rows, Wait: wait}))
	s.ranks(ctx, "named", spaces, truths)

	euclid := truths["euclid"].nearest(vector(777, 4), nil)
	cut := float32((euclid[9].score + euclid[10].score) / 2)
	got := must(s.Query(ctx, &qdrant.QueryPoints{CollectionName: coll, Query: qdrant.NewQueryDense(vector(777, 4)), Using: qdrant.PtrOf("euclid"),
		Limit: qdrant.PtrOf(uint64(100)), ScoreThreshold: &cut}))
	s.same("threshold of a distance", len(got), 10)

	must(s.UpdateVectors(ctx, &qdrant.UpdatePointVectors{CollectionName: coll, Wait: wait, Points: []*qdrant.PointVectors{
		{Id: qdrant.NewIDNum(3), Vectors: qdrant.NewVectorsMap(map[string]*qdrant.Vector{"dot": qdrant.NewVectorDense(vector(9, 8))})}}}))
	truths["dot"].vectors[key{num: 3}] = vector(9, 8)
	s.ranks(ctx, "after update of a vector", spaces, truths)

	must(s.DeleteVectors(ctx, &qdrant.DeletePointVectors{CollectionName: coll, Wait: wait, PointsSelector: qdrant.NewPointsSelector(qdrant.NewIDNum(4), qdrant.NewIDNum(6)),
		Vectors: &qdrant.VectorsSelector{Names: []string{"euclid"}}}))
	truths["euclid"].drop(key{num: 4}, key{num: 6})
	s.ranks(ctx, "after delete of a vector", spaces, truths)
	p := must(s.Get(ctx, &qdrant.GetPoints{CollectionName: coll, Ids: ids(key{num: 4}), WithPayload: qdrant.NewWithPayload(true)}))
	s.ok("payload after both", len(p) == 1 && p[0].GetPayload()["n"].GetIntegerValue() == 4, "%v", p)

	quantize := func(q *qdrant.QuantizationConfigDiff) *qdrant.TurboQuantization {
		need(s.UpdateCollection(ctx, &qdrant.UpdateCollection{CollectionName: coll, OptimizersConfig: &qdrant.OptimizersConfigDiff{IndexingThreshold: qdrant.PtrOf(uint64(1))},
			VectorsConfig: qdrant.NewVectorsConfigDiffMap(map[string]*qdrant.VectorParamsDiff{"dot": {QuantizationConfig: q}})}))
		params := must(s.GetCollectionInfo(ctx, coll)).GetConfig().GetParams().GetVectorsConfig().GetParamsMap().GetMap()["dot"]
		return params.GetQuantizationConfig().GetTurboquant()
	}
	for _, bits := range []qdrant.TurboQuantBitSize{qdrant.TurboQuantBitSize_Bits4, qdrant.TurboQuantBitSize_Bits1_5} {
		got := quantize(qdrant.NewQuantizationDiffTurbo(&qdrant.TurboQuantization{Bits: &bits, Memory: qdrant.PtrOf(qdrant.Memory_Pinned)}))
		s.same("turbo codes of a vector", []any{got.GetBits(), got.GetMemory()}, []any{bits, qdrant.Memory_Pinned})
		s.ranks(ctx, "with turbo codes", spaces, truths)
	}
	s.ok("turbo codes switched off", quantize(qdrant.NewQuantizationDiffDisabled()) == nil, "they are still there")
	s.ranks(ctx, "without codes again", spaces, truths)
}

// ranks asks each space for all its points, with their vectors.
func (s *suite) ranks(ctx context.Context, what string, spaces []space, truths map[string]*truth) {
	for _, sp := range spaces {
		t, q := truths[sp.name], vector(777, sp.size)
		got := must(s.Query(ctx, &qdrant.QueryPoints{CollectionName: s.coll + "_named", Query: qdrant.NewQueryDense(q), Using: &sp.name,
			Limit: qdrant.PtrOf(uint64(100)), WithVectors: qdrant.NewWithVectorsInclude(sp.name)}))
		s.hits(what+", "+sp.name+": rank", got, t.nearest(q, nil))
		s.same(what+", "+sp.name+": which", sorted(keysOf(got)), t.keys())
		wrong := slices.ContainsFunc(got, func(h *qdrant.ScoredPoint) bool {
			return !nearVector(h.GetVectors().GetVectors().GetVectors()[sp.name].GetDense().GetData(), t.vectors[keyOf(h.GetId())])
		})
		s.ok(what+", "+sp.name+": vectors", !wrong, "one differs")
	}
}
