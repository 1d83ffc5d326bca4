package main

import (
	"context"
	"maps"
	"slices"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
)

// indexes puts the same questions over indexed fields, which must give the same answers.
func (s *suite) indexes(ctx context.Context) {
	kinds := map[string]qdrant.FieldType{
		"color": qdrant.FieldType_FieldTypeKeyword, "n": qdrant.FieldType_FieldTypeInteger, "price": qdrant.FieldType_FieldTypeFloat, "flag": qdrant.FieldType_FieldTypeBool,
		"tags": qdrant.FieldType_FieldTypeKeyword, "maybe": qdrant.FieldType_FieldTypeKeyword, "nested.deep": qdrant.FieldType_FieldTypeInteger,
		"nested.list[].a": qdrant.FieldType_FieldTypeInteger, "when": qdrant.FieldType_FieldTypeDatetime, "ref": qdrant.FieldType_FieldTypeUuid,
	}
	params := map[string]*qdrant.PayloadIndexParams{
		"color":       qdrant.NewPayloadIndexParamsKeyword(&qdrant.KeywordIndexParams{IsTenant: qdrant.PtrOf(true), OnDisk: qdrant.PtrOf(true)}),
		"nested.deep": qdrant.NewPayloadIndexParamsInt(&qdrant.IntegerIndexParams{Lookup: qdrant.PtrOf(true), Range: qdrant.PtrOf(false)}),
	}
	fields := slices.Sorted(maps.Keys(kinds))
	add := func(coll, field string, wait bool) (*qdrant.UpdateResult, error) {
		return s.CreateFieldIndex(ctx, &qdrant.CreateFieldIndexCollection{CollectionName: coll, FieldName: field, FieldType: qdrant.PtrOf(kinds[field]),
			FieldIndexParams: params[field], Wait: qdrant.PtrOf(wait)})
	}
	for _, field := range fields {
		s.same("index "+field, must(add(s.coll, field, true)).GetStatus(), qdrant.UpdateStatus_Completed)
	}
	s.filtered(ctx, ", indexed")
	got := must(s.GetCollectionInfo(ctx, s.coll)).GetPayloadSchema()
	s.same("payload_schema: fields", slices.Sorted(maps.Keys(got)), fields)
	points := map[string]uint64{"when": 0, "ref": 0, "maybe": 0}
	for _, p := range s.truth.payloads {
		if p["maybe"] == "x" {
			points["maybe"]++
		}
	}
	for _, field := range fields {
		want, few := points[field]
		if !few {
			want = count
		}
		s.same("payload_schema: points of "+field, got[field].GetPoints(), want)
	}
	s.same("payload_schema: types", []qdrant.PayloadSchemaType{got["price"].GetDataType(), got["when"].GetDataType(), got["ref"].GetDataType()},
		[]qdrant.PayloadSchemaType{qdrant.PayloadSchemaType_Float, qdrant.PayloadSchemaType_Datetime, qdrant.PayloadSchemaType_Uuid})
	color, deep := got["color"].GetParams().GetKeywordIndexParams(), got["nested.deep"].GetParams().GetIntegerIndexParams()
	s.same("payload_schema: params", []bool{color.GetIsTenant(), color.GetOnDisk(), deep.GetLookup(), deep.GetRange()}, []bool{true, true, true, false})
	for range 2 {
		done := must(s.DeleteFieldIndex(ctx, &qdrant.DeleteFieldIndexCollection{CollectionName: s.coll, FieldName: "when", Wait: qdrant.PtrOf(true)}))
		s.same("drop an index, there or not", done.GetStatus(), qdrant.UpdateStatus_Completed)
	}
	_, left := must(s.GetCollectionInfo(ctx, s.coll)).GetPayloadSchema()["when"]
	s.same("payload_schema after dropping", left, false)
	s.same("index without waiting", must(add(s.coll, "color", false)).GetStatus(), qdrant.UpdateStatus_Acknowledged)

	_, err := s.CreateFieldIndex(ctx, &qdrant.CreateFieldIndexCollection{CollectionName: s.coll, FieldName: "n"})
	s.refused("index of no type", codes.InvalidArgument, err)
	_, err = add(s.coll, "a..b", true)
	s.refused("index on a bad path", codes.InvalidArgument, err)
	_, err = add(s.coll, "", true)
	s.refused("index on no field", codes.InvalidArgument, err)
	_, err = s.CreateFieldIndex(ctx, &qdrant.CreateFieldIndexCollection{CollectionName: s.coll, FieldName: "n", FieldType: qdrant.PtrOf(qdrant.FieldType_FieldTypeUuid),
		FieldIndexParams: params["nested.deep"]})
	s.refused("index of two types", codes.InvalidArgument, err)
	_, err = add("no_such", "n", true)
	s.refused("index in an unknown collection", codes.NotFound, err)
}
