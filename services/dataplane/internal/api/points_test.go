package api

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/points"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// What a process gives to New.
var _ points.Coordinator = (*coordinator.Coordinator)(nil)

func point(n uint64, data ...float32) *qdrant.PointStruct {
	return &qdrant.PointStruct{Id: num(n), Vectors: &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Data: data}}}}
}

func ids(ns ...uint64) *qdrant.PointsSelector {
	l := &qdrant.PointsIdsList{}
	for _, n := range ns {
		l.Ids = append(l.Ids, num(n))
	}
	return &qdrant.PointsSelector{PointsSelectorOneOf: &qdrant.PointsSelector_Points{Points: l}}
}

func colour(v string) *qdrant.Filter {
	return &qdrant.Filter{Must: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_Field{Field: &qdrant.FieldCondition{Key: "colour",
		Match: &qdrant.Match{MatchValue: &qdrant.Match_Keyword{Keyword: v}}}}}}}
}

func matching(f *qdrant.Filter) *qdrant.PointsSelector {
	return &qdrant.PointsSelector{PointsSelectorOneOf: &qdrant.PointsSelector_Filter{Filter: f}}
}

func text(s string) map[string]*qdrant.Value {
	return map[string]*qdrant.Value{"k": {Kind: &qdrant.Value_StringValue{StringValue: s}}}
}

func TestWrites(t *testing.T) {
	named := &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Data: []float32{1, 2, 3, 4}}}}
	dense := &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Vector: &qdrant.Vector_Dense{
		Dense: &qdrant.DenseVector{Data: []float32{1, 2, 3, 4}}}}}}
	for _, w := range []struct {
		name string
		call func(*client, context.Context) (*qdrant.PointsOperationResponse, error)
		want *shardv1.ShardWrite
	}{
		{"upsert", func(c *client, ctx context.Context) (*qdrant.PointsOperationResponse, error) {
			return c.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: "c", Points: []*qdrant.PointStruct{point(1, 9, 9, 9, 9), point(1, 1, 2, 3, 4)},
				UpdateMode: qdrant.UpdateMode_InsertOnly.Enum()})
		}, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_Upsert{Upsert: &shardv1.UpsertPoints{
			Points: []*qdrant.PointStruct{{Id: num(1), Vectors: dense}}, Mode: qdrant.UpdateMode_InsertOnly}}}},
		{"delete", func(c *client, ctx context.Context) (*qdrant.PointsOperationResponse, error) {
			return c.PointsClient.Delete(ctx, &qdrant.DeletePoints{CollectionName: "c", Points: ids(3)})
		}, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_Delete{Delete: &shardv1.DeletePoints{Points: ids(3)}}}},
		{"delete by filter", func(c *client, ctx context.Context) (*qdrant.PointsOperationResponse, error) {
			return c.PointsClient.Delete(ctx, &qdrant.DeletePoints{CollectionName: "c", Points: matching(colour("red"))})
		}, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_Delete{Delete: &shardv1.DeletePoints{Points: matching(colour("red"))}}}},
		{"update vectors", func(c *client, ctx context.Context) (*qdrant.PointsOperationResponse, error) {
			return c.UpdateVectors(ctx, &qdrant.UpdatePointVectors{CollectionName: "c", Points: []*qdrant.PointVectors{{Id: num(1), Vectors: proto.CloneOf(named)}}})
		}, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_UpdateVectors{UpdateVectors: &shardv1.UpdateVectors{
			Points: []*qdrant.PointVectors{{Id: num(1), Vectors: dense}}}}}},
		{"delete vectors", func(c *client, ctx context.Context) (*qdrant.PointsOperationResponse, error) {
			return c.DeleteVectors(ctx, &qdrant.DeletePointVectors{CollectionName: "c", PointsSelector: ids(1), Vectors: &qdrant.VectorsSelector{Names: []string{""}}})
		}, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_DeleteVectors{DeleteVectors: &shardv1.DeleteVectors{Points: ids(1), Names: []string{""}}}}},
		{"set payload", func(c *client, ctx context.Context) (*qdrant.PointsOperationResponse, error) {
			return c.SetPayload(ctx, &qdrant.SetPayloadPoints{CollectionName: "c", Payload: text("v"), PointsSelector: ids(1), Key: new("a.b")})
		}, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_SetPayload{SetPayload: &shardv1.SetPayload{Payload: text("v"), Points: ids(1), Key: "a.b"}}}},
		{"overwrite payload", func(c *client, ctx context.Context) (*qdrant.PointsOperationResponse, error) {
			return c.OverwritePayload(ctx, &qdrant.SetPayloadPoints{CollectionName: "c", Payload: text("v"), PointsSelector: ids(1)})
		}, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_OverwritePayload{OverwritePayload: &shardv1.SetPayload{Payload: text("v"), Points: ids(1)}}}},
		{"delete payload", func(c *client, ctx context.Context) (*qdrant.PointsOperationResponse, error) {
			return c.DeletePayload(ctx, &qdrant.DeletePayloadPoints{CollectionName: "c", Keys: []string{"a"}, PointsSelector: ids(1)})
		}, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_DeletePayload{DeletePayload: &shardv1.DeletePayload{Keys: []string{"a"}, Points: ids(1)}}}},
		{"clear payload", func(c *client, ctx context.Context) (*qdrant.PointsOperationResponse, error) {
			return c.ClearPayload(ctx, &qdrant.ClearPayloadPoints{CollectionName: "c", Points: ids(1)})
		}, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_ClearPayload{ClearPayload: &shardv1.ClearPayload{Points: ids(1)}}}},
	} {
		t.Run(w.name, func(t *testing.T) {
			c := start(t, true).with(t, "c", four())
			r, err := w.call(c, t.Context())
			if err != nil || r.GetResult().GetOperationId() != 101 || r.GetResult().GetStatus() != qdrant.UpdateStatus_Acknowledged || r.GetTime() <= 0 || r.GetUsage() != nil {
				t.Fatalf("%v, %v", r, err)
			}
			if got := c.shards.writes[0]; !proto.Equal(got.Op, w.want) || len(got.Target.Groups) != 1 || len(got.Target.Groups[0].IDs) != 3 || got.Wait || got.ID != nil {
				t.Errorf("sent %+v", got)
			}
		})
	}
}

func TestFrameOfAWrite(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	ctx := metadata.AppendToOutgoingContext(t.Context(), "pando-op-id", "550e8400-e29b-41d4-a716-446655440000")
	r, err := c.PointsClient.Delete(ctx, &qdrant.DeletePoints{CollectionName: "c", Points: ids(1), Wait: new(true), Timeout: new(uint64(7)),
		Ordering: &qdrant.WriteOrdering{Type: qdrant.WriteOrderingType_Strong}})
	if err != nil || r.GetResult().GetStatus() != qdrant.UpdateStatus_Completed {
		t.Fatalf("%v, %v", r, err)
	}
	w := c.shards.writes[0]
	if !w.Wait || w.Timeout != 7*time.Second || w.Ordering != qdrant.WriteOrderingType_Strong || w.ID == nil || w.ID[0] != 0x55 || w.ID[15] != 0 {
		t.Errorf("%+v", w)
	}
	_, err = c.PointsClient.Delete(metadata.AppendToOutgoingContext(t.Context(), "pando-op-id", "7"), &qdrant.DeletePoints{CollectionName: "c", Points: ids(1)})
	wants(t, err, fault.Malformed, "pando-op-id must be a UUID")
}

func op(o any) *qdrant.PointsUpdateOperation {
	switch o := o.(type) {
	case *qdrant.PointsUpdateOperation_PointStructList:
		return &qdrant.PointsUpdateOperation{Operation: &qdrant.PointsUpdateOperation_Upsert{Upsert: o}}
	case *qdrant.PointsUpdateOperation_SetPayload:
		return &qdrant.PointsUpdateOperation{Operation: &qdrant.PointsUpdateOperation_SetPayload_{SetPayload: o}}
	case *qdrant.PointsUpdateOperation_DeletePoints:
		return &qdrant.PointsUpdateOperation{Operation: &qdrant.PointsUpdateOperation_DeletePoints_{DeletePoints: o}}
	case *qdrant.PointsSelector:
		return &qdrant.PointsUpdateOperation{Operation: &qdrant.PointsUpdateOperation_ClearPayloadDeprecated{ClearPayloadDeprecated: o}}
	}
	return &qdrant.PointsUpdateOperation{}
}

func TestBatchOfWrites(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	all := func() []*qdrant.PointsUpdateOperation {
		return []*qdrant.PointsUpdateOperation{
			op(&qdrant.PointsUpdateOperation_PointStructList{Points: []*qdrant.PointStruct{point(1, 1, 2, 3, 4)}}),
			op(&qdrant.PointsUpdateOperation_SetPayload{Payload: text("v"), PointsSelector: ids(1)}),
			op(ids(1)),
			op(&qdrant.PointsUpdateOperation_DeletePoints{Points: ids(1)}),
		}
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "pando-op-id", "550e8400-e29b-41d4-a716-446655440000")
	r, err := c.UpdateBatch(ctx, &qdrant.UpdateBatchPoints{CollectionName: "c", Operations: all(), Wait: new(true)})
	if err != nil || len(r.GetResult()) != 4 || r.GetResult()[3].GetOperationId() != 104 || r.GetResult()[3].GetStatus() != qdrant.UpdateStatus_Completed {
		t.Fatalf("%v, %v", r, err)
	}
	for i, w := range c.shards.writes {
		if int(w.Index) != i || w.ID == nil {
			t.Errorf("write %d has index %d", i, w.Index)
		}
	}
	if c.shards.writes[2].Op.GetClearPayload() == nil || c.shards.writes[3].Op.GetDelete() == nil {
		t.Error("out of order")
	}

	bad := append(all(), op(&qdrant.PointsUpdateOperation_PointStructList{Points: []*qdrant.PointStruct{point(1, 1, 2, 3)}}))
	_, err = c.UpdateBatch(t.Context(), &qdrant.UpdateBatchPoints{CollectionName: "c", Operations: bad})
	wants(t, err, fault.DimensionMismatch, "Wrong input: Vector dimension error: expected dim: 4, got 3")
	if len(c.shards.writes) != 4 {
		t.Errorf("a bad batch was applied in part: %d writes", len(c.shards.writes))
	}
	c.shards.fail[5] = fault.New(fault.DiskFull, "full")
	_, err = c.UpdateBatch(t.Context(), &qdrant.UpdateBatchPoints{CollectionName: "c", Operations: all()})
	wants(t, err, fault.DiskFull, "full")
	if len(c.shards.writes) != 6 {
		t.Errorf("went on after a failure: %d writes", len(c.shards.writes))
	}
	_, err = c.UpdateBatch(t.Context(), &qdrant.UpdateBatchPoints{CollectionName: "c"})
	wants(t, err, fault.Validation, "Validation error in body: [operations: value [] invalid, must not be empty]")
	_, err = c.UpdateBatch(t.Context(), &qdrant.UpdateBatchPoints{CollectionName: "c", Operations: []*qdrant.PointsUpdateOperation{op(nil)}})
	wants(t, err, fault.Malformed, "Malformed request: operations[0] holds nothing known")
}

func TestBadWritesNeverReachAShard(t *testing.T) {
	c := start(t, true).with(t, "c", four()).with(t, "named", twoNamed())
	up := func(p ...*qdrant.PointStruct) func(*qdrant.UpsertPoints) {
		return func(r *qdrant.UpsertPoints) { r.Points = p }
	}
	for _, b := range []struct {
		name   string
		change func(*qdrant.UpsertPoints)
		reason fault.Reason
		http   int
		text   string
	}{
		{"unknown collection", func(r *qdrant.UpsertPoints) { r.CollectionName = "x" }, fault.CollectionNotFound, 404, "Not found: Collection `x` doesn't exist!"},
		{"no collection", func(r *qdrant.UpsertPoints) { r.CollectionName = "" }, fault.Validation, 422,
			`Validation error in body: [collection_name: value "" invalid, must be from 1 to 255 characters]`},
		{"timeout 0", func(r *qdrant.UpsertPoints) { r.Timeout = new(uint64(0)) }, fault.Validation, 422,
			"Validation error in body: [timeout: value 0 invalid, must be 1 or larger]"},
		{"dimension", up(point(1, 1, 2, 3)), fault.DimensionMismatch, 400, "Wrong input: Vector dimension error: expected dim: 4, got 3"},
		{"NaN", up(point(1, 1, 2, 3, float32(math.NaN()))), fault.InvalidArgument, 400,
			"Wrong input: points[0].vector[3] is NaN or infinite; vectors hold finite numbers only"},
		{"empty vector", up(point(1)), fault.Validation, 422, "Validation error in body: [points[0].vector: value invalid, vector must not be empty]"},
		{"second point", up(point(1, 1, 2, 3, 4), point(2, 1)), fault.DimensionMismatch, 400, "Wrong input: Vector dimension error: expected dim: 4, got 1"},
		{"no points", up(), fault.InvalidArgument, 400, "Bad request: Empty update request"},
		{"bad id", up(&qdrant.PointStruct{Id: &qdrant.PointId{PointIdOptions: &qdrant.PointId_Uuid{Uuid: "7"}}}), fault.Malformed, 400,
			`Unable to parse UUID: "7": point id must be an unsigned integer or a UUID`},
		{"unknown vector", func(r *qdrant.UpsertPoints) {
			r.CollectionName = "named"
			r.Points[0].Vectors = &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vectors{Vectors: &qdrant.NamedVectors{Vectors: map[string]*qdrant.Vector{"foo": {Data: []float32{1}}}}}}
		}, fault.VectorNameUnknown, 400, "Wrong input: Not existing vector name error: foo"},
		{"bad filter", func(r *qdrant.UpsertPoints) { r.UpdateFilter = &qdrant.Filter{Must: []*qdrant.Condition{{}}} }, fault.Malformed, 400,
			"Malformed condition: it holds none of the known kinds"},
		{"filter", func(r *qdrant.UpsertPoints) { r.UpdateFilter = colour("red") }, fault.NotBuilt, 501, "update_filter is not built yet"},
		{"shard key", func(r *qdrant.UpsertPoints) {
			r.ShardKeySelector = &qdrant.ShardKeySelector{ShardKeys: []*qdrant.ShardKey{{Key: &qdrant.ShardKey_Keyword{Keyword: "k"}}}}
		}, fault.InvalidArgument, 400, `Wrong input: Shard key "k" not found`},
		{"mode", func(r *qdrant.UpsertPoints) { r.UpdateMode = new(qdrant.UpdateMode(9)) }, fault.Malformed, 400, "Malformed update_mode: 9"},
	} {
		t.Run(b.name, func(t *testing.T) {
			r := &qdrant.UpsertPoints{CollectionName: "c", Points: []*qdrant.PointStruct{point(1, 1, 2, 3, 4)}}
			b.change(r)
			_, err := c.Upsert(t.Context(), r)
			wants(t, err, b.reason, b.text)
			if got := fault.HTTPStatus(err); got != b.http {
				t.Errorf("HTTP %d, want %d", got, b.http)
			}
		})
	}
	_, err := c.SetPayload(t.Context(), &qdrant.SetPayloadPoints{CollectionName: "c", PointsSelector: ids(1), Key: new("a b")})
	wants(t, err, fault.Malformed, `Invalid json path: "a b"`)
	_, err = c.SetPayload(t.Context(), &qdrant.SetPayloadPoints{CollectionName: "c"})
	wants(t, err, fault.Malformed, "PointsSelector is missing: give ids or a filter")
	_, err = c.DeleteVectors(t.Context(), &qdrant.DeletePointVectors{CollectionName: "c", PointsSelector: ids(1)})
	wants(t, err, fault.Validation, "Validation error in body: [vectors: value [] invalid, must not be empty]")
	if len(c.shards.writes) != 0 {
		t.Errorf("%d writes were sent", len(c.shards.writes))
	}
}

func TestReads(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	ctx := t.Context()
	g, err := c.PointsClient.Get(ctx, &qdrant.GetPoints{CollectionName: "c", Ids: []*qdrant.PointId{num(3), num(99), num(3)}, Timeout: new(uint64(4)),
		ReadConsistency: &qdrant.ReadConsistency{Value: &qdrant.ReadConsistency_Factor{Factor: 1}}})
	if err != nil || len(g.GetResult()) != 2 || g.GetTime() <= 0 {
		t.Fatalf("%v, %v", g, err)
	}
	if r := c.shards.reads[0]; r.Timeout != 4*time.Second || r.Consistency.GetFactor() != 1 {
		t.Errorf("%+v", r)
	}
	if sel := c.shards.selects[0]; !sel.Payload.GetEnable() || sel.Vectors != nil {
		t.Errorf("by default payload and no vectors: %+v", sel)
	}
	p, err := c.Scroll(ctx, &qdrant.ScrollPoints{CollectionName: "c"})
	if err != nil || len(p.GetResult()) != 10 || p.GetNextPageOffset().GetNum() != 11 || !c.shards.selects[1].Payload.GetEnable() {
		t.Errorf("%v, %v", p, err)
	}
	p, err = c.Scroll(ctx, &qdrant.ScrollPoints{CollectionName: "c", Offset: num(11), Limit: new(uint32(2)),
		WithPayload: &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Enable{}}})
	if err != nil || len(p.GetResult()) != 2 || p.NextPageOffset != nil || c.shards.selects[2].Payload.GetEnable() {
		t.Errorf("%v, %v", p, err)
	}
	n, err := c.Count(ctx, &qdrant.CountPoints{CollectionName: "c"})
	if err != nil || n.GetResult().GetCount() != 12 {
		t.Errorf("exact by default: %v, %v", n, err)
	}
	if n, err = c.Count(ctx, &qdrant.CountPoints{CollectionName: "c", Exact: new(false)}); err != nil || n.GetResult().GetCount() != 0 {
		t.Errorf("%v, %v", n, err)
	}
}

func TestBadReads(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	ctx := t.Context()
	_, err := c.Scroll(ctx, &qdrant.ScrollPoints{CollectionName: "c", Limit: new(uint32(0))})
	wants(t, err, fault.Validation, "Validation error in body: [limit: value 0 invalid, must be 1 or larger]")
	_, err = c.Scroll(ctx, &qdrant.ScrollPoints{CollectionName: "c", OrderBy: &qdrant.OrderBy{Key: "k"}})
	wants(t, err, fault.InvalidArgument, "Wrong input: No range index for `order_by` key: `k`. Please create one to use `order_by`: it takes one of type integer with range, float or datetime")
	_, err = c.Count(ctx, &qdrant.CountPoints{CollectionName: "c", Filter: &qdrant.Filter{Must: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_IsEmpty{
		IsEmpty: &qdrant.IsEmptyCondition{Key: "a..b"}}}}}})
	wants(t, err, fault.Malformed, `Invalid json path: "a..b"`)
	_, err = c.PointsClient.Get(ctx, &qdrant.GetPoints{CollectionName: "c", Ids: []*qdrant.PointId{num(1)}, WithVectors: &qdrant.WithVectorsSelector{
		SelectorOptions: &qdrant.WithVectorsSelector_Include{Include: &qdrant.VectorsSelector{Names: []string{"foo"}}}}})
	wants(t, err, fault.VectorNameUnknown, "Wrong input: Not existing vector name error: foo")
	_, err = c.PointsClient.Get(ctx, &qdrant.GetPoints{CollectionName: "c", Ids: []*qdrant.PointId{{}}})
	wants(t, err, fault.Malformed, "Unable to parse UUID: no id given: point id must be an unsigned integer or a UUID")
	_, err = c.Count(ctx, &qdrant.CountPoints{CollectionName: "c", ReadConsistency: &qdrant.ReadConsistency{Value: &qdrant.ReadConsistency_Factor{}}})
	wants(t, err, fault.Validation, "Validation error in body: [consistency: value 0 invalid, must be 1 or larger]")
	if len(c.shards.reads) != 0 {
		t.Errorf("%d reads were sent", len(c.shards.reads))
	}
}

func nearest(in *qdrant.VectorInput) *qdrant.Query {
	return &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: in}}
}

func numbers(data ...float32) *qdrant.VectorInput {
	return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: data}}}
}

func byID(n uint64) *qdrant.VectorInput {
	return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Id{Id: num(n)}}
}

func found(ps []*qdrant.ScoredPoint) []uint64 {
	var out []uint64
	for _, p := range ps {
		out = append(out, p.GetId().GetNum())
	}
	return out
}

func TestQuery(t *testing.T) {
	c := start(t, true).with(t, "c", four()).with(t, "named", twoNamed())
	c.put(1, 2, 3)
	ctx := t.Context()
	r, err := c.Query(ctx, &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers(1, 2, 3, 4)), Filter: colour("red"), Offset: new(uint64(5)),
		ScoreThreshold: new(float32(0.5)), Params: &qdrant.SearchParams{Exact: new(true)}})
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{1, 2, 3}) || r.GetTime() <= 0 {
		t.Fatalf("%v, %v", r, err)
	}
	q := c.shards.ranked[0][0]
	if q.Limit != 10 || q.Offset != 5 || q.SmallerIsBetter || q.Query.GetWithPayload() != nil || q.Query.GetWithVectors() != nil || q.Query.GetScoreThreshold() != 0.5 ||
		!proto.Equal(q.Query.GetFilter(), colour("red")) || !q.Query.GetParams().GetExact() || !proto.Equal(q.Query.GetQuery(), nearest(numbers(1, 2, 3, 4))) {
		t.Errorf("%+v", q)
	}

	r, err = c.Query(ctx, &qdrant.QueryPoints{CollectionName: "c", Query: nearest(byID(2)), Filter: &qdrant.Filter{MustNot: colour("red").GetMust()}})
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{1, 3}) {
		t.Fatalf("the point itself is not an answer: %v, %v", r, err)
	}
	q = c.shards.ranked[1][0]
	if not := q.Query.GetFilter().GetMustNot(); len(not) != 2 || !slices.Equal(q.Query.GetQuery().GetNearest().GetDense().GetData(), []float32{2, 0, 0, 1}) {
		t.Errorf("%+v", q)
	}

	if _, err = c.Query(ctx, &qdrant.QueryPoints{CollectionName: "named", Query: nearest(numbers(1, 2, 3, 4)), Using: new("a"), Limit: new(uint64(1))}); err != nil {
		t.Fatal(err)
	}
	if q = c.shards.ranked[2][0]; !q.SmallerIsBetter || q.Query.GetUsing() != "a" || q.Limit != 1 {
		t.Errorf("%+v", q)
	}
}

// TestQueriesOfAllKinds: sparse and multi vectors, from the request or of a point,
// reach the shards as what they are.
func TestQueriesOfAllKinds(t *testing.T) {
	c, ctx := start(t, true), t.Context()
	_, err := c.Create(ctx, &qdrant.CreateCollection{CollectionName: "c", VectorsConfig: &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_ParamsMap{
		ParamsMap: &qdrant.VectorParamsMap{Map: map[string]*qdrant.VectorParams{"m": {Size: 2, Distance: qdrant.Distance_Euclid, MultivectorConfig: &qdrant.MultiVectorConfig{}},
			"u": {Size: 2, Distance: qdrant.Distance_Dot, Datatype: qdrant.Datatype_Uint8.Enum()}}}}},
		SparseVectorsConfig: &qdrant.SparseVectorConfig{Map: map[string]*qdrant.SparseVectorParams{"s": {}, "w": {Modifier: qdrant.Modifier_Idf.Enum()}}}})
	if err != nil {
		t.Fatal(err)
	}
	bag := &qdrant.SparseVector{Indices: []uint32{7, 3}, Values: []float32{1, 2}}
	rows := &qdrant.MultiDenseVector{Vectors: []*qdrant.DenseVector{{Data: []float32{1, 2}}, {Data: []float32{3, 4}}}}
	sparse, multi := &qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{Sparse: bag}}, &qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: rows}}
	c.shards.points[1] = &qdrant.RetrievedPoint{Id: num(1), Vectors: &qdrant.VectorsOutput{VectorsOptions: &qdrant.VectorsOutput_Vectors{
		Vectors: &qdrant.NamedVectorsOutput{Vectors: map[string]*qdrant.VectorOutput{"s": {Vector: &qdrant.VectorOutput_Sparse{Sparse: bag}},
			"m": {Vector: &qdrant.VectorOutput_MultiDense{MultiDense: rows}}}}}}}
	for _, b := range []struct {
		using    string
		in, want *qdrant.VectorInput
		idf      *coordinator.IDF
		smaller  bool
	}{
		{"s", sparse, sparse, nil, false},
		{"s", byID(1), sparse, nil, false},
		{"w", sparse, sparse, &coordinator.IDF{Corpus: colour("red")}, false},
		{"m", multi, multi, nil, true},
		{"m", byID(1), multi, nil, true},
		{"m", numbers(1, 2), &qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: &qdrant.MultiDenseVector{
			Vectors: []*qdrant.DenseVector{{Data: []float32{1, 2}}}}}}, nil, true},
		{"u", numbers(1.9, -3), numbers(1, 0), nil, false},
	} {
		q := &qdrant.QueryPoints{CollectionName: "c", Query: nearest(b.in), Using: &b.using, Params: &qdrant.SearchParams{HnswEf: new(uint64(50))}}
		if b.idf != nil {
			q.Params.Idf = &qdrant.IdfParams{Corpus: b.idf.Corpus}
		}
		_, err := c.Query(ctx, q)
		got := c.shards.ranked[len(c.shards.ranked)-1][0]
		if err != nil || !proto.Equal(got.Query.GetQuery().GetNearest(), b.want) || got.SmallerIsBetter != b.smaller || (got.IDF == nil) != (b.idf == nil) ||
			got.IDF != nil && !proto.Equal(got.IDF.Corpus, b.idf.Corpus) || got.Query.GetParams().GetHnswEf() != 50 {
			t.Errorf("%s, %v: %+v, %v", b.using, b.in, got, err)
		}
	}
	if _, err := c.Search(ctx, &qdrant.SearchPoints{CollectionName: "c", VectorName: new("s"), Vector: bag.GetValues(),
		SparseIndices: &qdrant.SparseIndices{Data: bag.GetIndices()}, Limit: 1}); err != nil {
		t.Fatal(err)
	}
	if got := c.shards.ranked[len(c.shards.ranked)-1][0].Query; !proto.Equal(got.GetQuery().GetNearest(), sparse) {
		t.Errorf("search: %v", got)
	}
	_, err = c.Query(ctx, &qdrant.QueryPoints{CollectionName: "c", Query: nearest(byID(1)), Using: new("u")})
	wants(t, err, fault.InvalidArgument, "Wrong input: Point 1 has no vector named `u`")
	_, err = c.Query(ctx, &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers(1)), Using: new("s")})
	wants(t, err, fault.InvalidArgument, "Wrong input: Conversion between sparse and regular vectors failed")
}

func TestQueryWithoutAQueryGoesByID(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(5, 3, 1, 4, 2)
	r, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Offset: new(uint64(1)), Limit: new(uint64(2))})
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{2, 3}) || r.GetResult()[0].GetScore() != 0 || c.shards.selects[0].Payload != nil {
		t.Errorf("%v, %v", r, err)
	}
	for _, far := range []uint64{9, math.MaxUint32, math.MaxUint32 + 1, math.MaxUint64} {
		if r, err = c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Offset: &far, Limit: new(uint64(math.MaxUint64))}); err != nil || len(r.GetResult()) != 0 {
			t.Errorf("offset %d: %v, %v", far, r, err)
		}
	}
}

func TestLookupFrom(t *testing.T) {
	c := start(t, true).with(t, "named", twoNamed()).with(t, "from", four())
	c.put(1, 2)
	from := &qdrant.LookupLocation{CollectionName: "from", VectorName: new("")}
	r, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "named", Query: nearest(byID(2)), Using: new("a"), LookupFrom: from})
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{1, 2}) {
		t.Fatalf("a point of another collection is no reason to leave one out: %v, %v", r, err)
	}
	if got, _ := c.world.Map().Resolve("from"); c.shards.reads[0].Target.Collection.ID != got.ID {
		t.Error("looked up elsewhere")
	}
	_, err = c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "named", Query: nearest(byID(2)), Using: new("b"), LookupFrom: from})
	wants(t, err, fault.DimensionMismatch, "Wrong input: Vector dimension error: expected dim: 2, got 4")
	from.CollectionName = "none"
	_, err = c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "named", Query: nearest(byID(2)), Using: new("b"), LookupFrom: from})
	wants(t, err, fault.CollectionNotFound, "Not found: Collection `none` doesn't exist!")
}

func TestBatchesOfQueries(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(1, 2, 3)
	ctx := t.Context()
	r, err := c.QueryBatch(ctx, &qdrant.QueryBatchPoints{CollectionName: "c", QueryPoints: []*qdrant.QueryPoints{
		{Query: nearest(byID(1))}, {Query: nearest(numbers(1, 2, 3, 4))}, {Limit: new(uint64(1))}, {Query: nearest(byID(3))}, {Query: nearest(byID(1))}}})
	if err != nil || len(r.GetResult()) != 5 {
		t.Fatalf("%v, %v", r, err)
	}
	for i, want := range [][]uint64{{2, 3}, {1, 2, 3}, {1}, {1, 2}, {2, 3}} {
		if got := found(r.GetResult()[i].GetResult()); !slices.Equal(got, want) {
			t.Errorf("query %d: %v, want %v", i, got, want)
		}
	}
	if len(c.shards.ranked) != 2 || len(c.shards.reads) != 4 { // ids in one get, two rounds of ranking, one scroll
		t.Errorf("%d rounds, %d reads", len(c.shards.ranked), len(c.shards.reads))
	}
	s, err := c.SearchBatch(ctx, &qdrant.SearchBatchPoints{CollectionName: "c", SearchPoints: []*qdrant.SearchPoints{
		{Vector: []float32{1, 2, 3, 4}, Limit: 3}, {Vector: []float32{1, 2, 3, 5}, Limit: 7}}})
	if err != nil || len(s.GetResult()) != 2 || c.shards.ranked[2][1].Limit != 7 {
		t.Errorf("%v, %v", s, err)
	}
	one, err := c.Search(ctx, &qdrant.SearchPoints{CollectionName: "c", Vector: []float32{1, 2, 3, 4}, Limit: 2})
	if err != nil || len(one.GetResult()) != 3 {
		t.Errorf("%v, %v", one, err)
	}
	_, err = c.QueryBatch(ctx, &qdrant.QueryBatchPoints{CollectionName: "c", QueryPoints: []*qdrant.QueryPoints{{}, {Limit: new(uint64(0))}}})
	wants(t, err, fault.Validation, "Validation error in body: [searches[1].limit: value 0 invalid, must be 1 or larger]")
}

func TestBadQueries(t *testing.T) {
	c := start(t, true).with(t, "c", four()).with(t, "named", twoNamed())
	c.put(1)
	c.shards.points[2] = &qdrant.RetrievedPoint{Id: num(2)}
	notBuilt := func(q *qdrant.Query, kind string) {
		t.Helper()
		_, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Query: q})
		wants(t, err, fault.NotBuilt, strings.TrimSpace(kind)+" is not built yet")
	}
	notBuilt(&qdrant.Query{Variant: &qdrant.Query_Recommend{Recommend: &qdrant.RecommendInput{}}}, "query kind `recommend`")
	notBuilt(&qdrant.Query{Variant: &qdrant.Query_Fusion{}}, "query kind `fusion`")
	notBuilt(&qdrant.Query{Variant: &qdrant.Query_Sample{}}, "query kind `sample`")
	notBuilt(&qdrant.Query{Variant: &qdrant.Query_OrderBy{OrderBy: &qdrant.OrderBy{}}}, "query kind `order_by`")
	notBuilt(nearest(&qdrant.VectorInput{Variant: &qdrant.VectorInput_Document{Document: &qdrant.Document{}}}), "inference of documents")
	for _, b := range []struct {
		name   string
		q      *qdrant.QueryPoints
		reason fault.Reason
		text   string
	}{
		{"limit 0", &qdrant.QueryPoints{CollectionName: "c", Limit: new(uint64(0))}, fault.Validation,
			"Validation error in body: [limit: value 0 invalid, must be 1 or larger]"},
		{"prefetch", &qdrant.QueryPoints{CollectionName: "c", Prefetch: []*qdrant.PrefetchQuery{{}}}, fault.NotBuilt, "query with `prefetch` is not built yet"},
		{"dimension", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers(1))}, fault.DimensionMismatch,
			"Wrong input: Vector dimension error: expected dim: 4, got 1"},
		{"infinite", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers(1, 2, 3, float32(math.Inf(1))))}, fault.InvalidArgument,
			"Wrong input: query[3] is NaN or infinite; vectors hold finite numbers only"},
		{"empty", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers())}, fault.Validation,
			"Validation error in body: [query: value invalid, vector must not be empty]"},
		{"unknown vector", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers(1)), Using: new("foo")}, fault.VectorNameUnknown,
			"Wrong input: Not existing vector name error: foo"},
		{"no vector named", &qdrant.QueryPoints{CollectionName: "named", Query: nearest(numbers(1))}, fault.VectorNameUnknown,
			"Wrong input: Collection requires specified vector name in the request, available names: a, b"},
		{"absent point", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(byID(9))}, fault.PointNotFound, "Not found: No point with id 9 found"},
		{"point without that vector", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(byID(2))}, fault.InvalidArgument,
			"Wrong input: Point 2 has no vector named ``"},
		{"sparse", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(&qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{}})}, fault.InvalidArgument,
			"Wrong input: Conversion between sparse and regular vectors failed"},
		{"nothing", &qdrant.QueryPoints{CollectionName: "c", Query: &qdrant.Query{}}, fault.Malformed, "Malformed query: it holds none of the known kinds"},
		{"no input", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(nil)}, fault.Malformed, "Malformed query: it holds no vector and no id"},
		{"hnsw_ef", &qdrant.QueryPoints{CollectionName: "c", Params: &qdrant.SearchParams{HnswEf: new(uint64(0))}}, fault.Validation,
			"Validation error in body: [params.hnsw_ef: value 0 invalid, must be 1 or larger]"},
		{"oversampling and acorn", &qdrant.QueryPoints{CollectionName: "c", Params: &qdrant.SearchParams{
			Quantization: &qdrant.QuantizationSearchParams{Oversampling: new(0.5)}, Acorn: &qdrant.AcornSearchParams{MaxSelectivity: new(1.5)}}}, fault.Validation,
			"Validation error in body: [params.quantization.oversampling: value 0.5 invalid, must be 1.0 or larger; " +
				"params.acorn.max_selectivity: value 1.5 invalid, must be from 0.0 to 1.0]"},
		{"frequencies of numbers", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers(1, 2, 3, 4)), Params: &qdrant.SearchParams{Idf: &qdrant.IdfParams{}}},
			fault.InvalidArgument, "Wrong input: params.idf counts for sparse vectors with the modifier idf, and `` is none"},
	} {
		t.Run(b.name, func(t *testing.T) {
			_, err := c.Query(t.Context(), b.q)
			wants(t, err, b.reason, b.text)
		})
	}
	_, err := c.Search(t.Context(), &qdrant.SearchPoints{CollectionName: "c", Vector: []float32{1, 2, 3, 4}})
	wants(t, err, fault.Validation, "Validation error in body: [limit: value 0 invalid, must be 1 or larger]")
	_, err = c.Search(t.Context(), &qdrant.SearchPoints{CollectionName: "c", Limit: 1, SparseIndices: &qdrant.SparseIndices{}})
	wants(t, err, fault.InvalidArgument, "Wrong input: Conversion between sparse and regular vectors failed")
	if len(c.shards.ranked) != 0 {
		t.Errorf("%d rankings were asked for", len(c.shards.ranked))
	}
}

func TestFieldIndex(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(1, 2)
	r, err := c.CreateFieldIndex(t.Context(), &qdrant.CreateFieldIndexCollection{CollectionName: "c", FieldName: "a.b", FieldType: qdrant.FieldType_FieldTypeKeyword.Enum()})
	if err != nil || r.GetResult().GetStatus() != qdrant.UpdateStatus_Acknowledged || len(c.shards.settled) != 0 {
		t.Errorf("without waiting: %v, %v", r, err)
	}
	if got := c.world.last.(*placementv1.ChangePayloadIndexRequest); got.GetCollectionName() != "c" || got.GetFieldName() != "a.b" || got.GetParams().GetKeywordIndexParams() == nil {
		t.Errorf("asked for %v", got)
	}
	info, err := c.CollectionsClient.Get(t.Context(), &qdrant.GetCollectionInfoRequest{CollectionName: "c"})
	if s := info.GetResult().GetPayloadSchema()["a.b"]; err != nil || s.GetDataType() != qdrant.PayloadSchemaType_Keyword || s.GetPoints() != 2 {
		t.Errorf("%v, %v", s, err)
	}
	r, err = c.CreateFieldIndex(t.Context(), &qdrant.CreateFieldIndexCollection{CollectionName: "c", FieldName: "n", Wait: new(true), FieldType: qdrant.FieldType_FieldTypeInteger.Enum()})
	if err != nil || r.GetResult().GetStatus() != qdrant.UpdateStatus_Completed || len(c.shards.settled) != 1 || c.shards.settled[0] != r.GetResult().GetOperationId() {
		t.Errorf("waited for %v: %v, %v", c.shards.settled, r, err)
	}
	r, err = c.DeleteFieldIndex(t.Context(), &qdrant.DeleteFieldIndexCollection{CollectionName: "c", FieldName: "n", Wait: new(true), Timeout: new(uint64(1))})
	if err != nil || r.GetResult().GetStatus() != qdrant.UpdateStatus_WaitTimeout || c.world.last.(*placementv1.ChangePayloadIndexRequest).Params != nil {
		t.Errorf("%v, %v", r, err)
	}
	_, err = c.DeleteFieldIndex(t.Context(), &qdrant.DeleteFieldIndexCollection{CollectionName: "c", FieldName: "", Timeout: new(uint64(0))})
	wants(t, err, fault.Validation, `Validation error in body: [field_name: value "" invalid, must be from 1 to 1024 bytes; timeout: value 0 invalid, must be 1 or larger]`)
	_, err = c.CreateFieldIndex(t.Context(), &qdrant.CreateFieldIndexCollection{CollectionName: "d", FieldName: "n", FieldType: qdrant.FieldType_FieldTypeInteger.Enum()})
	wants(t, err, fault.CollectionNotFound, "Not found: Collection `d` doesn't exist!")
}

func TestReadsFromFieldIndexes(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	index := func(key string, ft qdrant.FieldType) {
		t.Helper()
		if _, err := c.CreateFieldIndex(t.Context(), &qdrant.CreateFieldIndexCollection{CollectionName: "c", FieldName: key, FieldType: &ft}); err != nil {
			t.Fatal(err)
		}
	}
	index("k", qdrant.FieldType_FieldTypeKeyword)
	r, err := c.Facet(t.Context(), &qdrant.FacetCounts{CollectionName: "c", Key: `"k"`})
	if f := c.shards.facet; err != nil || len(r.GetHits()) != 1 || f.GetLimit() != 10 || f.GetExact() {
		t.Errorf("%v, %v; asked %v", r, err, f)
	}
	_, err = c.Facet(t.Context(), &qdrant.FacetCounts{CollectionName: "c", Key: "k", Limit: new(uint64(0))})
	wants(t, err, fault.Validation, "Validation error in body: [limit: value 0 invalid, must be 1 or larger]")
	_, err = c.Scroll(t.Context(), &qdrant.ScrollPoints{CollectionName: "c", OrderBy: &qdrant.OrderBy{Key: "k"}})
	wants(t, err, fault.InvalidArgument, "Wrong input: No range index for `order_by` key: `k`. Please create one to use `order_by`: it takes one of type integer with range, float or datetime")

	index("at", qdrant.FieldType_FieldTypeDatetime)
	_, err = c.Facet(t.Context(), &qdrant.FacetCounts{CollectionName: "c", Key: "at"})
	wants(t, err, fault.InvalidArgument, "Wrong input: No appropriate index for faceting: `at`. It takes one of type keyword, integer with lookup, bool or uuid")
	order := func(o *qdrant.OrderBy, offset *qdrant.PointId) (*qdrant.ScrollResponse, error) {
		return c.Scroll(t.Context(), &qdrant.ScrollPoints{CollectionName: "c", OrderBy: o, Offset: offset, Limit: new(uint32(7))})
	}
	page, err := order(&qdrant.OrderBy{Key: "at", StartFrom: &qdrant.StartFrom{Value: &qdrant.StartFrom_Datetime{Datetime: "2024-01-02"}}}, nil)
	if err != nil || page.GetResult()[0].GetId().GetNum() != 7 || page.NextPageOffset != nil || c.shards.order.GetKey() != "at" {
		t.Errorf("%v, %v; asked %v", page, err, c.shards.order)
	}
	for _, from := range []*qdrant.StartFrom{{Value: &qdrant.StartFrom_Datetime{Datetime: "soon"}}, {Value: &qdrant.StartFrom_Float{Float: 1}}, {Value: &qdrant.StartFrom_Integer{}}} {
		_, err = order(&qdrant.OrderBy{Key: "at", StartFrom: from}, nil)
		wants(t, err, fault.InvalidArgument, "Wrong input: order_by.start_from does not fit the index on `at`, which is of type datetime")
	}
	_, err = order(&qdrant.OrderBy{Key: "at", Direction: qdrant.Direction(9).Enum()}, nil)
	wants(t, err, fault.Malformed, "order_by.direction: value 9 invalid, must be asc or desc")
	_, err = order(&qdrant.OrderBy{Key: "at"}, num(1))
	if fault.ReasonOf(err) != fault.InvalidArgument {
		t.Errorf("with an offset: %v", err)
	}
}
