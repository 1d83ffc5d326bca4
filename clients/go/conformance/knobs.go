package main

import (
	"context"
	"fmt"

	"github.com/qdrant/go-client/qdrant"
)

// knobs are what may be asked for on top: ordering, consistency, and writes that only touch what is (not) there.
func (s *suite) knobs(ctx context.Context) {
	for kind, what := range qdrant.WriteOrderingType_name {
		done := must(s.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: s.coll, Points: []*qdrant.PointStruct{point(60)}, Wait: qdrant.PtrOf(true),
			Ordering: &qdrant.WriteOrdering{Type: qdrant.WriteOrderingType(kind)}}))
		s.same(fmt.Sprintf("upsert with %s ordering", what), done.GetStatus(), qdrant.UpdateStatus_Completed)
	}
	q := vector(10_005, dim)
	want := s.truth.nearest(q, nil)
	for _, how := range []*qdrant.ReadConsistency{qdrant.NewReadConsistencyFactor(1), qdrant.NewReadConsistencyType(qdrant.ReadConsistencyType_All),
		qdrant.NewReadConsistencyType(qdrant.ReadConsistencyType_Majority), qdrant.NewReadConsistencyType(qdrant.ReadConsistencyType_Quorum)} {
		got := must(s.Query(ctx, &qdrant.QueryPoints{CollectionName: s.coll, Query: qdrant.NewQueryDense(q), Limit: qdrant.PtrOf(uint64(3)),
			ReadConsistency: how}))
		s.hits(fmt.Sprintf("query with consistency %v", how), got, want)
		s.same(fmt.Sprintf("query with consistency %v: count", how), len(got), 3)
	}
	store := func(mode qdrant.UpdateMode, x int64, ids ...int) {
		r := &qdrant.UpsertPoints{CollectionName: s.coll, Wait: qdrant.PtrOf(true), UpdateMode: &mode}
		for _, i := range ids {
			r.Points = append(r.Points, &qdrant.PointStruct{Id: qdrant.NewIDNum(uint64(i)), Vectors: qdrant.NewVectorsDense(vector(i, dim)),
				Payload: qdrant.NewValueMap(fields{"x": x})})
		}
		must(s.Upsert(ctx, r))
	}
	fresh := key{num: 7000}
	store(qdrant.UpdateMode_InsertOnly, 1, 61, 7000)
	s.truth.put(fresh, vector(7000, dim), fields{"x": int64(1)})
	s.holds(ctx, "insert only", name(61), fresh)
	store(qdrant.UpdateMode_UpdateOnly, 2, 62, 7001)
	s.truth.payloads[name(62)] = fields{"x": int64(2)}
	s.holds(ctx, "update only", name(62))
	s.same("update only: nothing new", len(must(s.Get(ctx, &qdrant.GetPoints{CollectionName: s.coll, Ids: ids(key{num: 7001})}))), 0)
}
