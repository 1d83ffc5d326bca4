package main

import (
	"context"
	"slices"
	"strings"

	"github.com/qdrant/go-client/qdrant"
)

func (s *suite) service(ctx context.Context) {
	h := must(s.HealthCheck(ctx))
	s.ok("the version of the API", strings.HasPrefix(h.GetVersion(), "1.19."), "%s", h.GetVersion())
	s.same("a commit of 40 characters", len(h.GetCommit()), 40)
}

func (s *suite) get(ctx context.Context) {
	for start := 0; start < count; start += 200 {
		var some []key
		for i := start; i < start+200; i++ {
			some = append(some, name(i))
		}
		s.holds(ctx, "get", some...)
	}
	got := must(s.Get(ctx, &qdrant.GetPoints{CollectionName: s.coll, Ids: ids(key{num: 1e9})}))
	s.same("get of an absent id", len(got), 0)
	got = must(s.Get(ctx, &qdrant.GetPoints{CollectionName: s.coll, Ids: ids(name(3), key{num: 1e9}, name(9))}))
	s.same("get leaves absent ids out", sorted(keysOf(got)), []key{name(3), name(9)})
	s.ok("vectors are not sent unasked", got[0].GetVectors() == nil, "%v", got[0].GetVectors())
	one := func(sel *qdrant.WithPayloadSelector) map[string]any {
		got := must(s.Get(ctx, &qdrant.GetPoints{CollectionName: s.coll, Ids: ids(name(3)), WithPayload: sel}))
		if len(got) != 1 {
			return nil
		}
		return plain(got[0].GetPayload())
	}
	s.same("get without payload", one(qdrant.NewWithPayload(false)), map[string]any{})
	s.same("get with some keys", one(qdrant.NewWithPayloadInclude("color", "nested.deep")), map[string]any{"color": "red", "nested": map[string]any{"deep": int64(3)}})
	s.same("get without some keys", one(qdrant.NewWithPayloadExclude("nested", "tags", "maybe")), map[string]any{"n": int64(3), "color": "red", "price": 0.75, "flag": false})
}

func (s *suite) query(ctx context.Context) {
	q := vector(10_001, dim)
	want := s.truth.nearest(q, nil)
	ask := func(r *qdrant.QueryPoints) []*qdrant.ScoredPoint {
		r.CollectionName = s.coll
		return must(s.Query(ctx, r))
	}
	top := ask(&qdrant.QueryPoints{Query: qdrant.NewQueryDense(q), WithPayload: qdrant.NewWithPayload(true), WithVectors: qdrant.NewWithVectors(true)})
	s.hits("query by vector", top, want)
	s.same("query: ten by default", len(top), 10)
	for _, h := range top {
		k := keyOf(h.GetId())
		s.same("query: payload", plain(h.GetPayload()), s.truth.payloads[k])
		s.ok("query: vector", nearVector(dense(h.GetVectors()), s.truth.stored(k)), "%v differs", k)
	}
	bare := ask(&qdrant.QueryPoints{Query: qdrant.NewQueryDense(q), Limit: qdrant.PtrOf(uint64(1))})
	s.ok("query: nothing unasked", len(bare) == 1 && bare[0].GetPayload() == nil && bare[0].GetVectors() == nil, "%v", bare)
	every := ask(&qdrant.QueryPoints{Query: qdrant.NewQueryDense(q), Limit: qdrant.PtrOf(uint64(2 * count))})
	s.hits("query for all", every, want)
	s.same("query for all: all of them", len(every), count)
	for _, k := range []key{name(5), name(19)} {
		near := ask(&qdrant.QueryPoints{Query: qdrant.NewQueryID(k.id()), Limit: qdrant.PtrOf(uint64(8))})
		s.hits("query by id", near, s.truth.nearest(s.truth.vectors[k], func(o key, _ map[string]any) bool { return o != k }))
		s.same("query by id: count", len(near), 8)
	}
	s.hits("query with offset", ask(&qdrant.QueryPoints{Query: qdrant.NewQueryDense(q), Limit: qdrant.PtrOf(uint64(7)), Offset: qdrant.PtrOf(uint64(13))}), want[13:])
	s.same("query with offset past the end", len(ask(&qdrant.QueryPoints{Query: qdrant.NewQueryDense(q), Offset: qdrant.PtrOf(uint64(count))})), 0)
	cut := float32((want[24].score + want[25].score) / 2)
	above := ask(&qdrant.QueryPoints{Query: qdrant.NewQueryDense(q), Limit: qdrant.PtrOf(uint64(100)), ScoreThreshold: &cut})
	s.hits("query with threshold", above, want)
	s.same("query with threshold: count", len(above), 25)
	s.same("query for nothing: by id", keysOf(ask(&qdrant.QueryPoints{Limit: qdrant.PtrOf(uint64(6))})), s.truth.keys()[:6])
	s.queryBatch(ctx)
}

func (s *suite) queryBatch(ctx context.Context) {
	var qs []*qdrant.QueryPoints
	for k := range 5 {
		qs = append(qs, &qdrant.QueryPoints{CollectionName: s.coll, Query: qdrant.NewQueryDense(vector(20_000+k, dim)), Limit: qdrant.PtrOf(uint64(3 + k))})
	}
	out := must(s.QueryBatch(ctx, &qdrant.QueryBatchPoints{CollectionName: s.coll, QueryPoints: qs}))
	s.same("batch: an answer each", len(out), 5)
	for k, r := range out {
		s.same("batch: count", len(r.GetResult()), 3+k)
		s.hits("batch: rank", r.GetResult(), s.truth.nearest(vector(20_000+k, dim), nil))
	}
}

// search is the older form of query.
func (s *suite) search(ctx context.Context) {
	points := s.GetPointsClient()
	q := vector(10_003, dim)
	ge := &qdrant.Filter{Must: []*qdrant.Condition{qdrant.NewRange("n", &qdrant.Range{Gte: qdrant.PtrOf(300.0)})}}
	want := s.truth.nearest(q, func(_ key, p map[string]any) bool { n, _ := p["n"].(int64); return n >= 300 })
	ask := func(n uint64) *qdrant.SearchPoints {
		return &qdrant.SearchPoints{CollectionName: s.coll, Vector: q, Filter: ge, Limit: n, Offset: qdrant.PtrOf(uint64(2)), WithPayload: qdrant.NewWithPayload(true)}
	}
	r := must(points.Search(ctx, ask(9)))
	s.hits("search", r.GetResult(), want[2:])
	s.same("search: count", len(r.GetResult()), 9)
	for _, h := range r.GetResult() {
		s.same("search: payload", plain(h.GetPayload()), s.truth.payloads[keyOf(h.GetId())])
	}
	many := must(points.SearchBatch(ctx, &qdrant.SearchBatchPoints{CollectionName: s.coll, SearchPoints: []*qdrant.SearchPoints{ask(9), ask(2)}}))
	s.same("search in a batch", len(many.GetResult()), 2)
	for i, r := range many.GetResult() {
		s.same("search in a batch: count", len(r.GetResult()), []int{9, 2}[i])
		s.hits("search in a batch: rank", r.GetResult(), want[2:])
	}
}

func (s *suite) scroll(ctx context.Context) {
	odd := &qdrant.Filter{MustNot: []*qdrant.Condition{qdrant.NewMatchBool("flag", true)}}
	for what, c := range map[string]struct {
		filter *qdrant.Filter
		keep   func(map[string]any) bool
	}{
		"all":      {nil, func(map[string]any) bool { return true }},
		"filtered": {odd, func(p map[string]any) bool { return p["flag"] != true }},
	} {
		want := slices.DeleteFunc(s.truth.keys(), func(k key) bool { return !c.keep(s.truth.payloads[k]) })
		seen, pages := []key{}, 0
		var after *qdrant.PointId
		for pages == 0 || after != nil && pages <= count {
			r := must(s.GetPointsClient().Scroll(ctx, &qdrant.ScrollPoints{CollectionName: s.coll, Filter: c.filter, Limit: qdrant.PtrOf(uint32(37)),
				Offset: after, WithPayload: qdrant.NewWithPayload(true)}))
			for _, p := range r.GetResult() {
				seen = append(seen, keyOf(p.GetId()))
				if k := keyOf(p.GetId()); len(p.GetPayload()) != len(s.truth.payloads[k]) {
					s.same("scroll "+what+": payload", plain(p.GetPayload()), s.truth.payloads[k])
				}
			}
			after = r.GetNextPageOffset()
			pages++
		}
		s.same("scroll "+what+": every id once, in order", seen, want)
		s.same("scroll "+what+": pages", pages, (len(want)+36)/37)
	}
	page, next, err := s.ScrollAndOffset(ctx, &qdrant.ScrollPoints{CollectionName: s.coll})
	need(err)
	s.same("scroll: ten by default", keysOf(page), s.truth.keys()[:10])
	s.same("scroll: where to go on", keyOf(next), s.truth.keys()[10])
}

func (s *suite) info(ctx context.Context) {
	i := must(s.GetCollectionInfo(ctx, s.coll))
	params := i.GetConfig().GetParams()
	s.same("status", i.GetStatus(), qdrant.CollectionStatus_Green)
	s.same("points", i.GetPointsCount(), uint64(len(s.truth.vectors)))
	s.same("size", params.GetVectorsConfig().GetParams().GetSize(), uint64(dim))
	s.same("distance", params.GetVectorsConfig().GetParams().GetDistance(), qdrant.Distance_Cosine)
	s.same("shards", params.GetShardNumber(), uint32(shards))
	c := must(s.GetCollectionClusterInfo(ctx, s.coll))
	seen, points := map[uint32]bool{}, uint64(0)
	for _, l := range c.GetLocalShards() {
		seen[l.GetShardId()] = true
		points += l.GetPointsCount()
		s.same("state of a shard", l.GetState(), qdrant.ReplicaState_Active)
	}
	for _, r := range c.GetRemoteShards() {
		seen[r.GetShardId()] = true
	}
	s.same("shards that are placed", len(seen), shards)
	if len(c.GetRemoteShards()) == 0 {
		s.same("points of the shards", points, uint64(len(s.truth.vectors)))
	}
}
