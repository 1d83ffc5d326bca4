package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
)

// remake makes the collection anew.
func (s *suite) remake(ctx context.Context) {
	for _, c := range []string{s.coll, s.coll + "_named"} {
		if must(s.CollectionExists(ctx, c)) {
			need(s.DeleteCollection(ctx, c))
		}
	}
	s.same("exists before it is created", must(s.CollectionExists(ctx, s.coll)), false)
	need(s.CreateCollection(ctx, &qdrant.CreateCollection{CollectionName: s.coll, ShardNumber: qdrant.PtrOf(uint32(shards)), ReplicationFactor: s.factor,
		VectorsConfig: qdrant.NewVectorsConfig(&qdrant.VectorParams{Size: dim, Distance: qdrant.Distance_Cosine})}))
	for _, peer := range s.peers { // the others hear of it a little later
		seen := within(10*time.Second, func() bool { return must(peer.CollectionExists(ctx, s.coll)) })
		s.ok("the collection is seen by every peer", seen, "not after 10 s")
	}
}

func (s *suite) create(ctx context.Context) {
	s.remake(ctx)
	s.ok("list", slices.Contains(must(s.ListCollections(ctx)), s.coll), "not there")
}

func point(i int) *qdrant.PointStruct {
	return &qdrant.PointStruct{Id: name(i).id(), Vectors: qdrant.NewVectorsDense(vector(i, dim)), Payload: qdrant.NewValueMap(payload(i))}
}

func (s *suite) store(ctx context.Context, points ...*qdrant.PointStruct) *qdrant.UpdateResult {
	return must(s.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: s.coll, Points: points, Wait: qdrant.PtrOf(true)}))
}

func (s *suite) upsert(ctx context.Context) {
	s.truth = filled()
	for start := 0; start < count; start += 100 {
		var points []*qdrant.PointStruct
		for i := start; i < start+100; i++ {
			points = append(points, point(i))
		}
		s.same("upsert", s.store(ctx, points...).GetStatus(), qdrant.UpdateStatus_Completed)
	}
	total := func() uint64 { return must(s.Count(ctx, &qdrant.CountPoints{CollectionName: s.coll})) }
	s.same("count", total(), uint64(count))
	s.store(ctx, point(1), point(2))
	s.same("count after upserting again", total(), uint64(count))
	s.store(ctx, &qdrant.PointStruct{Id: name(7).id(), Vectors: qdrant.NewVectorsDense(vector(1, dim))}, point(7))
	s.holds(ctx, "of equal ids in one request the last counts", name(7))
	late := must(s.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: s.coll, Points: []*qdrant.PointStruct{point(5)}}))
	s.ok("upsert without waiting", late.GetStatus() == qdrant.UpdateStatus_Acknowledged || late.GetStatus() == qdrant.UpdateStatus_Completed, "%v", late)
	flat := point(8) // the form of clients from before 1.16
	flat.Vectors = &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Data: vector(8, dim)}}}
	s.store(ctx, flat)
	s.holds(ctx, "a vector in the older form", name(8))
}

func (s *suite) payloads(ctx context.Context) {
	wait := qdrant.PtrOf(true)
	set := func(p fields, sel *qdrant.PointsSelector, under *string) {
		must(s.SetPayload(ctx, &qdrant.SetPayloadPoints{CollectionName: s.coll, Wait: wait, Payload: qdrant.NewValueMap(p), PointsSelector: sel, Key: under}))
	}
	change := func(k key, p fields) {
		s.truth.payloads[k] = maps.Clone(s.truth.payloads[k])
		maps.Copy(s.truth.payloads[k], p)
	}
	extra := fields{"extra": []any{int64(1), 2.5, nil}, "n": int64(1000)}
	set(extra, qdrant.NewPointsSelector(name(20).id()), nil)
	change(name(20), extra)
	s.holds(ctx, "set payload", name(20))
	set(fields{"extra": "z"}, qdrant.NewPointsSelectorFilter(must1(qdrant.NewRange("n", &qdrant.Range{Gte: qdrant.PtrOf(21.0), Lt: qdrant.PtrOf(24.0)}))), nil)
	for i := 21; i < 24; i++ {
		change(name(i), fields{"extra": "z"})
	}
	s.holds(ctx, "set payload by filter", name(21), name(22), name(23), name(24))
	set(fields{"new": fields{"x": int64(1)}}, qdrant.NewPointsSelector(name(24).id()), qdrant.PtrOf("nested"))
	nested := maps.Clone(s.truth.payloads[name(24)]["nested"].(fields))
	nested["new"] = fields{"x": int64(1)}
	change(name(24), fields{"nested": nested})
	s.holds(ctx, "set payload under a key", name(24))
	s.truth.payloads[name(25)] = fields{"only": fields{"this": true}}
	must(s.OverwritePayload(ctx, &qdrant.SetPayloadPoints{CollectionName: s.coll, Wait: wait, Payload: qdrant.NewValueMap(fields{"only": fields{"this": true}}),
		PointsSelector: qdrant.NewPointsSelector(name(25).id())}))
	s.holds(ctx, "overwrite payload", name(25))
	must(s.DeletePayload(ctx, &qdrant.DeletePayloadPoints{CollectionName: s.coll, Wait: wait, Keys: []string{"color", "nested.deep", "no_such"},
		PointsSelector: qdrant.NewPointsSelector(ids(name(26), name(27))...)}))
	for _, k := range []key{name(26), name(27)} {
		nested := maps.Clone(s.truth.payloads[k]["nested"].(fields))
		delete(nested, "deep")
		change(k, fields{"nested": nested})
		delete(s.truth.payloads[k], "color")
	}
	s.holds(ctx, "delete keys", name(26), name(27), name(28))
	must(s.ClearPayload(ctx, &qdrant.ClearPayloadPoints{CollectionName: s.coll, Wait: wait, Points: qdrant.NewPointsSelector(ids(name(28), name(29))...)}))
	s.truth.payloads[name(28)], s.truth.payloads[name(29)] = fields{}, fields{}
	s.holds(ctx, "clear payload", name(28), name(29), name(30))
	odd := fields{"text": "Grüße, 日本語 🙂 \" \\ \n", "big": int64(1) << 62, "small": -(int64(1) << 62), "float": 1.5, "whole": 2.0, "none": nil, "empty": fields{},
		"list": []any{[]any{}, []any{int64(1), "a", nil}}}
	s.truth.payloads[name(30)] = odd
	p := point(30)
	p.Payload = qdrant.NewValueMap(odd)
	s.store(ctx, p)
	s.holds(ctx, "payload of every kind", name(30))
}

func (s *suite) remove(ctx context.Context) {
	drop := func(sel *qdrant.PointsSelector) {
		must(s.Delete(ctx, &qdrant.DeletePoints{CollectionName: s.coll, Wait: qdrant.PtrOf(true), Points: sel}))
	}
	gone := []key{name(31), name(39)}
	drop(qdrant.NewPointsSelector(ids(gone...)...))
	drop(qdrant.NewPointsSelector(key{num: 1e9}.id()))
	drop(qdrant.NewPointsSelectorFilter(must1(qdrant.NewRange("n", &qdrant.Range{Gte: qdrant.PtrOf(40.0), Lt: qdrant.PtrOf(50.0)}))))
	for i := 40; i < 50; i++ {
		gone = append(gone, name(i))
	}
	s.truth.drop(gone...)
	s.same("deleted ones are absent", len(must(s.Get(ctx, &qdrant.GetPoints{CollectionName: s.coll, Ids: ids(gone...)}))), 0)
	s.same("count after delete", must(s.Count(ctx, &qdrant.CountPoints{CollectionName: s.coll})), uint64(count-12))
	q := vector(10_004, dim)
	got := must(s.Query(ctx, &qdrant.QueryPoints{CollectionName: s.coll, Query: qdrant.NewQueryDense(q), Limit: qdrant.PtrOf(uint64(count))}))
	s.hits("query after delete", got, s.truth.nearest(q, nil))
	s.same("query after delete: count", len(got), count-12)
	s.truth.put(name(31), vector(31, dim), fields{"back": true})
	p := point(31)
	p.Payload = qdrant.NewValueMap(fields{"back": true})
	s.store(ctx, p)
	s.holds(ctx, "a deleted id stored again", name(31))
}

func (s *suite) batch(ctx context.Context) {
	a, b := key{num: 5000}, key{num: 5001}
	row := func(k key, p fields) *qdrant.PointStruct {
		return &qdrant.PointStruct{Id: k.id(), Vectors: qdrant.NewVectorsDense(vector(5000, dim)), Payload: qdrant.NewValueMap(p)}
	}
	only := qdrant.NewPointsSelector(a.id())
	done := must(s.UpdateBatch(ctx, &qdrant.UpdateBatchPoints{CollectionName: s.coll, Wait: qdrant.PtrOf(true), Operations: []*qdrant.PointsUpdateOperation{
		qdrant.NewPointsUpdateUpsert(&qdrant.PointsUpdateOperation_PointStructList{Points: []*qdrant.PointStruct{row(a, fields{"a": int64(1)}), row(b, nil)}}),
		qdrant.NewPointsUpdateSetPayload(&qdrant.PointsUpdateOperation_SetPayload{Payload: qdrant.NewValueMap(fields{"b": int64(2)}), PointsSelector: only}),
		qdrant.NewPointsUpdateDeletePayload(&qdrant.PointsUpdateOperation_DeletePayload{Keys: []string{"a"}, PointsSelector: only}),
		qdrant.NewPointsUpdateUpdateVectors(&qdrant.PointsUpdateOperation_UpdateVectors{Points: []*qdrant.PointVectors{
			{Id: a.id(), Vectors: qdrant.NewVectorsDense(vector(5002, dim))}}}),
		qdrant.NewPointsUpdateDeletePoints(&qdrant.PointsUpdateOperation_DeletePoints{Points: qdrant.NewPointsSelector(b.id())}),
	}}))
	s.same("batch of writes: an answer each", len(done), 5)
	s.truth.put(a, vector(5002, dim), fields{"b": int64(2)})
	s.holds(ctx, "batch of writes, in order", a)
	s.same("batch of writes: the deleted one", len(must(s.Get(ctx, &qdrant.GetPoints{CollectionName: s.coll, Ids: ids(b)}))), 0)
}

func (s *suite) aliases(ctx context.Context) {
	a, b := s.coll+"_alias", s.coll+"_alias2"
	need(s.CreateAlias(ctx, a, s.coll))
	s.same("aliases of the collection", must(s.ListCollectionAliases(ctx, s.coll)), []string{a})
	all := must(s.ListAliases(ctx))
	s.ok("all aliases", slices.ContainsFunc(all, func(d *qdrant.AliasDescription) bool { return d.GetAliasName() == a && d.GetCollectionName() == s.coll }), "%v", all)
	s.same("count through the alias", must(s.Count(ctx, &qdrant.CountPoints{CollectionName: a})), uint64(len(s.truth.vectors)))
	need(s.RenameAlias(ctx, a, b))
	s.same("rename", must(s.ListCollectionAliases(ctx, s.coll)), []string{b})
	_, err := s.Count(ctx, &qdrant.CountPoints{CollectionName: a})
	s.refused("the old name is gone", codes.NotFound, err)
	need(s.UpdateAliases(ctx, []*qdrant.AliasOperations{qdrant.NewAliasCreate(a, s.coll), qdrant.NewAliasDelete(b)}))
	s.same("one comes and one goes at once", must(s.ListCollectionAliases(ctx, s.coll)), []string{a})
	need(s.DeleteAlias(ctx, a))
	s.same("delete the alias", len(must(s.ListCollectionAliases(ctx, s.coll))), 0)
}

func (s *suite) errors(ctx context.Context) {
	small := qdrant.NewVectorsConfig(&qdrant.VectorParams{Size: 4, Distance: qdrant.Distance_Dot})
	_, err := s.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: s.coll, Wait: qdrant.PtrOf(true), Points: []*qdrant.PointStruct{
		point(1), {Id: key{num: 6000}.id(), Vectors: qdrant.NewVectorsDense(vector(1, 7))}}})
	s.refused("wrong dimension, upsert", codes.InvalidArgument, err)
	query := func(r *qdrant.QueryPoints) error {
		if r.CollectionName == "" {
			r.CollectionName = s.coll
		}
		_, err := s.Query(ctx, r)
		return err
	}
	s.refused("wrong dimension, query", codes.InvalidArgument, query(&qdrant.QueryPoints{Query: qdrant.NewQueryDense(vector(1, 7))}))
	s.refused("unknown vector name", codes.InvalidArgument, query(&qdrant.QueryPoints{Query: qdrant.NewQueryDense(vector(1, dim)), Using: qdrant.PtrOf("nope")}))
	s.refused("unknown collection, query", codes.NotFound, query(&qdrant.QueryPoints{CollectionName: "no_such", Query: qdrant.NewQueryDense(vector(1, dim))}))
	s.refused("a point that is absent", codes.NotFound, query(&qdrant.QueryPoints{Query: qdrant.NewQueryID(key{num: 1e9}.id())}))
	s.refused("limit 0", codes.InvalidArgument, query(&qdrant.QueryPoints{Query: qdrant.NewQueryDense(vector(1, dim)), Limit: qdrant.PtrOf(uint64(0))}))
	_, err = s.Get(ctx, &qdrant.GetPoints{CollectionName: "no_such", Ids: ids(name(1))})
	s.refused("unknown collection, get", codes.NotFound, err)
	_, err = s.GetCollectionInfo(ctx, "no_such")
	s.refused("unknown collection, info", codes.NotFound, err)
	s.ok("the text names it", err != nil && strings.Contains(err.Error(), "no_such"), "%v", err)
	_, err = s.Count(ctx, &qdrant.CountPoints{CollectionName: s.coll, Filter: must1(qdrant.NewMatchInt("a[", 1))})
	s.refused("bad key in a filter", codes.InvalidArgument, err)
	_, err = s.Get(ctx, &qdrant.GetPoints{CollectionName: s.coll, Ids: ids(key{uuid: "abc"})})
	s.refused("text that is no UUID as id", codes.InvalidArgument, err)
	create := func(c *qdrant.CreateCollection) error { return s.CreateCollection(ctx, c) }
	s.refused("create twice", codes.AlreadyExists, create(&qdrant.CreateCollection{CollectionName: s.coll, VectorsConfig: small}))
	s.refused("name with a slash", codes.InvalidArgument, create(&qdrant.CreateCollection{CollectionName: "a/b", VectorsConfig: small}))
	s.refused("name of 256 bytes", codes.InvalidArgument, create(&qdrant.CreateCollection{CollectionName: strings.Repeat("x", 256), VectorsConfig: small}))
	s.refused("replication_factor 0", codes.InvalidArgument, create(&qdrant.CreateCollection{CollectionName: "never", VectorsConfig: small, ReplicationFactor: qdrant.PtrOf(uint32(0))}))
	s.same("nothing came of it", must(s.CollectionExists(ctx, "never")), false)
	s.same("nothing was half applied", must(s.Count(ctx, &qdrant.CountPoints{CollectionName: s.coll})), uint64(len(s.truth.vectors)))
}

func (s *suite) drop(ctx context.Context) {
	for _, c := range []string{s.coll, s.coll + "_named"} {
		need(s.DeleteCollection(ctx, c))
		s.same("dropped", must(s.CollectionExists(ctx, c)), false)
	}
	r := must(s.GetCollectionsClient().Delete(ctx, &qdrant.DeleteCollection{CollectionName: s.coll}))
	s.same("drop what is gone", r.GetResult(), false)
}
