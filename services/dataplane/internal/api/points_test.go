package api

import (
	"context"
	"math"
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
				UpdateFilter: colour("red"), UpdateMode: qdrant.UpdateMode_InsertOnly.Enum()})
		}, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_Upsert{Upsert: &shardv1.UpsertPoints{
			Points: []*qdrant.PointStruct{{Id: num(1), Vectors: dense}}, UpdateFilter: colour("red"), Mode: qdrant.UpdateMode_InsertOnly}}}},
		{"delete", func(c *client, ctx context.Context) (*qdrant.PointsOperationResponse, error) {
			return c.PointsClient.Delete(ctx, &qdrant.DeletePoints{CollectionName: "c", Points: ids(3)})
		}, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_Delete{Delete: &shardv1.DeletePoints{Points: ids(3)}}}},
		{"delete by filter", func(c *client, ctx context.Context) (*qdrant.PointsOperationResponse, error) {
			return c.PointsClient.Delete(ctx, &qdrant.DeletePoints{CollectionName: "c", Points: matching(colour("red"))})
		}, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_Delete{Delete: &shardv1.DeletePoints{Points: matching(colour("red"))}}}},
		{"update vectors", func(c *client, ctx context.Context) (*qdrant.PointsOperationResponse, error) {
			return c.UpdateVectors(ctx, &qdrant.UpdatePointVectors{CollectionName: "c", Points: []*qdrant.PointVectors{{Id: num(1), Vectors: proto.CloneOf(named)}},
				UpdateFilter: colour("red")})
		}, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_UpdateVectors{UpdateVectors: &shardv1.UpdateVectors{
			Points: []*qdrant.PointVectors{{Id: num(1), Vectors: dense}}, UpdateFilter: colour("red")}}}},
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
