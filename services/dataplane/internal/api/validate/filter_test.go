package validate

import (
	"math"
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func field(f *qdrant.FieldCondition) *qdrant.Condition {
	if f.GetKey() == "" {
		f.Key = "k"
	}
	return &qdrant.Condition{ConditionOneOf: &qdrant.Condition_Field{Field: f}}
}

func must(c ...*qdrant.Condition) *qdrant.Filter { return &qdrant.Filter{Must: c} }

func sub(f *qdrant.Filter) *qdrant.Condition {
	return &qdrant.Condition{ConditionOneOf: &qdrant.Condition_Filter{Filter: f}}
}

func inside(f *qdrant.Filter) *qdrant.Condition {
	return &qdrant.Condition{ConditionOneOf: &qdrant.Condition_Nested{Nested: &qdrant.NestedCondition{Key: "list", Filter: f}}}
}

func matching(m *qdrant.Match) *qdrant.Filter { return must(field(&qdrant.FieldCondition{Match: m})) }

func TestFilter(t *testing.T) {
	id := &qdrant.Condition{ConditionOneOf: &qdrant.Condition_HasId{HasId: &qdrant.HasIdCondition{HasId: []*qdrant.PointId{num(1)}}}}
	badID := &qdrant.Condition{ConditionOneOf: &qdrant.Condition_HasId{HasId: &qdrant.HasIdCondition{HasId: []*qdrant.PointId{{}}}}}
	deep := must()
	for range filter.MaxDepth + 1 {
		deep = must(sub(deep))
	}
	at := func(lon, lat float64) *qdrant.GeoPoint { return &qdrant.GeoPoint{Lon: lon, Lat: lat} }
	ring := func(lats ...float64) *qdrant.GeoLineString {
		out := &qdrant.GeoLineString{}
		for i, lat := range append(lats, lats[0]) {
			out.Points = append(out.Points, at(float64(i%len(lats)), lat))
		}
		return out
	}
	slice := func(total, index uint32) *qdrant.Condition {
		return &qdrant.Condition{ConditionOneOf: &qdrant.Condition_Slice{Slice: &qdrant.SliceCondition{Total: total, Index: index}}}
	}
	for _, c := range []struct {
		name   string
		f      *qdrant.Filter
		reason fault.Reason
		text   string
	}{
		{"none", nil, 0, ""},
		{"empty", &qdrant.Filter{}, 0, ""},
		{"keyword", matching(&qdrant.Match{MatchValue: &qdrant.Match_Keyword{Keyword: "x"}}), 0, ""},
		{"empty any", matching(&qdrant.Match{MatchValue: &qdrant.Match_Keywords{Keywords: &qdrant.RepeatedStrings{}}}), 0, ""},
		{"except", matching(&qdrant.Match{MatchValue: &qdrant.Match_ExceptIntegers{ExceptIntegers: &qdrant.RepeatedIntegers{}}}), 0, ""},
		{"range", must(field(&qdrant.FieldCondition{Range: &qdrant.Range{Gt: new(1.0)}})), 0, ""},
		{"ids", must(id), 0, ""},
		{"nested", must(inside(must(field(&qdrant.FieldCondition{Match: &qdrant.Match{MatchValue: &qdrant.Match_Boolean{}}})))), 0, ""},
		{"min_should", &qdrant.Filter{MinShould: &qdrant.MinShould{MinCount: 1}}, 0, ""},
		{"min_should of none", &qdrant.Filter{MinShould: &qdrant.MinShould{}}, fault.Validation,
			body("filter.min_should.min_count: value 0 invalid, must be 1 or larger")},
		{"bad key", must(field(&qdrant.FieldCondition{Key: "a b", Range: &qdrant.Range{}})), fault.Malformed, `Invalid json path: "a b"`},
		{"bad key deep in", &qdrant.Filter{Should: []*qdrant.Condition{sub(&qdrant.Filter{MustNot: []*qdrant.Condition{
			{ConditionOneOf: &qdrant.Condition_IsNull{IsNull: &qdrant.IsNullCondition{Key: "["}}}}})}}, fault.Malformed, `Invalid json path: "["`},
		{"NaN", must(field(&qdrant.FieldCondition{Range: &qdrant.Range{Lte: new(math.NaN())}})), fault.InvalidArgument,
			"Wrong input: a bound of a range is not a number"},
		{"no condition", must(field(&qdrant.FieldCondition{})), fault.Validation, body("filter: At least one field condition must be specified")},
		{"alternatives", must(field(&qdrant.FieldCondition{Range: &qdrant.Range{}, IsNull: new(false)})), 0, ""},
		{"unset", must(&qdrant.Condition{}), fault.Malformed, "Malformed condition: it holds none of the known kinds"},
		{"unset match", matching(&qdrant.Match{}), fault.Malformed, "Malformed Match condition: it holds no value"},
		{"bad id", must(badID), fault.Malformed, "Unable to parse UUID: no id given: point id must be an unsigned integer or a UUID"},
		{"id inside of nested", must(inside(must(id))), fault.InvalidArgument, "Wrong input: a nested filter cannot hold has_id, has_vector or slice"},
		{"too deep", deep, fault.InvalidArgument, "Wrong input: the filter is nested deeper than 128 levels"},
		{"text", matching(&qdrant.Match{MatchValue: &qdrant.Match_Text{Text: "x"}}), 0, ""},
		{"text_any", matching(&qdrant.Match{MatchValue: &qdrant.Match_TextAny{}}), 0, ""},
		{"phrase", matching(&qdrant.Match{MatchValue: &qdrant.Match_Phrase{}}), 0, ""},
		{"prefix", matching(&qdrant.Match{MatchValue: &qdrant.Match_Prefix{}}), 0, ""},
		{"substring", matching(&qdrant.Match{MatchValue: &qdrant.Match_Substring{}}), 0, ""},
		{"box", must(field(&qdrant.FieldCondition{GeoBoundingBox: &qdrant.GeoBoundingBox{TopLeft: at(170, 10), BottomRight: at(-170, -10)}})), 0, ""},
		{"no corner", must(field(&qdrant.FieldCondition{GeoBoundingBox: &qdrant.GeoBoundingBox{TopLeft: at(181, 10)}})), fault.Validation,
			body("filter.geo_bounding_box.top_left.lon: value 181.0 invalid, must be from -180.0 to 180.0; filter.geo_bounding_box.bottom_right: is missing")},
		{"radius", must(field(&qdrant.FieldCondition{GeoRadius: &qdrant.GeoRadius{Center: at(0, 90)}})), 0, ""},
		{"bad radius", must(field(&qdrant.FieldCondition{GeoRadius: &qdrant.GeoRadius{Center: at(0, math.NaN()), Radius: -1}})), fault.Validation,
			body("filter.geo_radius.center.lat: value NaN invalid, must be from -90.0 to 90.0; filter.geo_radius.radius: value -1.0 invalid, must be 0 or larger")},
		{"polygon", must(field(&qdrant.FieldCondition{GeoPolygon: &qdrant.GeoPolygon{Exterior: ring(0, 0, 0)}})), 0, ""},
		{"few points", must(field(&qdrant.FieldCondition{GeoPolygon: &qdrant.GeoPolygon{Exterior: ring(0, 0)}})), fault.Validation,
			body("filter.geo_polygon.exterior: has 3 points, must be from 4 to 10000")},
		{"open ring", must(field(&qdrant.FieldCondition{GeoPolygon: &qdrant.GeoPolygon{Exterior: ring(0, 0, 0),
			Interiors: []*qdrant.GeoLineString{{Points: []*qdrant.GeoPoint{at(0, 0), at(1, 1), at(2, 2), at(0, 1)}}}}})), fault.Validation,
			body("filter.geo_polygon.interiors[0]: is not closed: the last point must equal the first")},
		{"count", must(field(&qdrant.FieldCondition{ValuesCount: &qdrant.ValuesCount{Gte: new(uint64(1))}})), 0, ""},
		{"datetime", must(field(&qdrant.FieldCondition{DatetimeRange: &qdrant.DatetimeRange{Gt: &timestamppb.Timestamp{Seconds: 1}}})), 0, ""},
		{"no datetime", must(field(&qdrant.FieldCondition{DatetimeRange: &qdrant.DatetimeRange{Lte: &timestamppb.Timestamp{Seconds: 1 << 60}}})), fault.InvalidArgument,
			"Wrong input: a bound of a datetime range is not a point in time of the years 1 to 9999"},
		{"slice", must(slice(3, 2)), 0, ""},
		{"no slices", must(slice(0, 0)), fault.Validation, body("filter.slice.total: value 0 invalid, must be 1 or larger")},
		{"slice too far", must(slice(3, 3)), fault.Validation, body("filter.slice.index: value 3 invalid, must be below total 3")},
		{"slice inside of nested", must(inside(must(slice(2, 1)))), fault.InvalidArgument, "Wrong input: a nested filter cannot hold has_id, has_vector or slice"},
	} {
		t.Run(c.name, func(t *testing.T) { wants(t, Filter(c.f), c.reason, c.text) })
	}
}

func TestSelectors(t *testing.T) {
	ids := func(ids ...*qdrant.PointId) *qdrant.PointsSelector {
		return &qdrant.PointsSelector{PointsSelectorOneOf: &qdrant.PointsSelector_Points{Points: &qdrant.PointsIdsList{Ids: ids}}}
	}
	wants(t, Selector(ids(num(1))), 0, "")
	wants(t, Selector(&qdrant.PointsSelector{PointsSelectorOneOf: &qdrant.PointsSelector_Filter{Filter: &qdrant.Filter{}}}), 0, "")
	wants(t, Selector(nil), fault.Malformed, "PointsSelector is missing: give ids or a filter")
	wants(t, Selector(ids()), fault.InvalidArgument, "Bad request: Empty update request")
	wants(t, WithPayload(&qdrant.WithPayloadSelector{}), fault.Malformed, "No PayloadSelector")
	wants(t, WithPayload(&qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Exclude{
		Exclude: &qdrant.PayloadExcludeSelector{Fields: []string{"a", "b."}}}}), fault.Malformed, `Invalid json path: "b."`)
	s := Schema{"a": {}}
	wants(t, s.WithVectors(&qdrant.WithVectorsSelector{SelectorOptions: &qdrant.WithVectorsSelector_Include{
		Include: &qdrant.VectorsSelector{Names: []string{"a", "z"}}}}), fault.VectorNameUnknown, "Wrong input: Not existing vector name error: z")
	wants(t, s.WithVectors(&qdrant.WithVectorsSelector{}), fault.Malformed, "No VectorsSelector")

	var c Check
	c.Consistency(&qdrant.ReadConsistency{Value: &qdrant.ReadConsistency_Factor{}})
	c.Consistency(&qdrant.ReadConsistency{Value: &qdrant.ReadConsistency_Type{Type: 7}})
	c.Ordering(&qdrant.WriteOrdering{Type: 3})
	c.Params("", &qdrant.SearchParams{HnswEf: new(uint64(0)), Quantization: &qdrant.QuantizationSearchParams{Oversampling: new(0.5)},
		Acorn: &qdrant.AcornSearchParams{MaxSelectivity: new(math.NaN())}})
	c.Threshold("", new(float32(math.NaN())))
	wants(t, c.Err(), fault.Validation, body("consistency: value 0 invalid, must be 1 or larger; "+
		"consistency: value 7 invalid, must be all, majority, quorum or a number; ordering: value 3 invalid, must be weak, medium or strong; "+
		"params.hnsw_ef: value 0 invalid, must be 1 or larger; params.quantization.oversampling: value 0.5 invalid, must be 1.0 or larger; "+
		"params.acorn.max_selectivity: value NaN invalid, must be from 0.0 to 1.0; score_threshold: value NaN invalid, must be a number"))
}
