package main

import (
	"cmp"
	"context"
	"fmt"
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
	s.values(ctx)
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

// values asks the indexes what they know of values: how many points have each, and their order.
func (s *suite) values(ctx context.Context) {
	counts := map[string]int{}
	for _, p := range s.truth.payloads {
		if red(p) {
			counts[fmt.Sprint(deep(p))]++
		}
	}
	hits := must(s.Facet(ctx, &qdrant.FacetCounts{CollectionName: s.coll, Key: "nested.deep", Filter: must1(qdrant.NewMatch("color", "red")), Exact: qdrant.PtrOf(true), Limit: qdrant.PtrOf(uint64(20))}))
	got := map[string]int{}
	for i, h := range hits {
		got[fmt.Sprint(h.GetValue().GetIntegerValue())] = int(h.GetCount())
		if i > 0 && cmp.Or(cmp.Compare(h.GetCount(), hits[i-1].GetCount()), cmp.Compare(hits[i-1].GetValue().GetIntegerValue(), h.GetValue().GetIntegerValue())) >= 0 {
			s.ok("facet: order", false, "%v", hits)
		}
	}
	s.same("facet", got, counts)
	_, err := s.Facet(ctx, &qdrant.FacetCounts{CollectionName: s.coll, Key: "price"})
	s.refused("facet of a float", codes.InvalidArgument, err)

	type place struct {
		n  int64
		id key
	}
	var want, page []place
	for k, p := range s.truth.payloads {
		if n(p) <= 50 {
			want = append(want, place{n(p), k})
		}
	}
	slices.SortFunc(want, func(a, b place) int { return cmp.Compare(b.n, a.n) })
	for _, p := range must(s.Scroll(ctx, &qdrant.ScrollPoints{CollectionName: s.coll, Limit: qdrant.PtrOf(uint32(21)),
		OrderBy: &qdrant.OrderBy{Key: "n", Direction: qdrant.PtrOf(qdrant.Direction_Desc), StartFrom: qdrant.NewStartFromInt(50)}})) {
		page = append(page, place{p.GetOrderValue().GetInt(), keyOf(p.GetId())})
	}
	s.same("scroll by a field, from a value down", page, want[:21])
	_, err = s.Scroll(ctx, &qdrant.ScrollPoints{CollectionName: s.coll, OrderBy: &qdrant.OrderBy{Key: "nested.deep"}})
	s.refused("scroll by a field without ranges", codes.InvalidArgument, err)
}
