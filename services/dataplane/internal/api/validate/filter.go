package validate

import (
	"fmt"
	"math"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Filter checks a condition tree. A nil filter passes.
func Filter(f *qdrant.Filter) error {
	var c Check
	if err := conditions(&c, f, 0); err != nil {
		return err
	}
	return c.Err()
}

func conditions(c *Check, f *qdrant.Filter, depth int) error {
	if f == nil {
		return nil
	}
	if depth > filter.MaxDepth {
		return fault.BadInput("the filter is nested deeper than %d levels", filter.MaxDepth)
	}
	if m := f.GetMinShould(); m != nil {
		atLeast(c, "filter.min_should.min_count", m.GetMinCount(), 1)
	}
	for _, list := range [][]*qdrant.Condition{f.GetMust(), f.GetShould(), f.GetMustNot(), f.GetMinShould().GetConditions()} {
		for _, cond := range list {
			if err := condition(c, cond, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func condition(c *Check, cond *qdrant.Condition, depth int) error {
	switch o := cond.GetConditionOneOf().(type) {
	case *qdrant.Condition_Field:
		return fieldCondition(c, o.Field)
	case *qdrant.Condition_IsEmpty:
		return Key(o.IsEmpty.GetKey())
	case *qdrant.Condition_IsNull:
		return Key(o.IsNull.GetKey())
	case *qdrant.Condition_HasId:
		return IDs(o.HasId.GetHasId())
	case *qdrant.Condition_Filter:
		return conditions(c, o.Filter, depth+1)
	case *qdrant.Condition_Nested:
		if err := Key(o.Nested.GetKey()); err != nil {
			return err
		}
		return nested(c, o.Nested.GetFilter(), depth+1)
	case *qdrant.Condition_HasVector:
		return nil
	case *qdrant.Condition_Slice:
		total, index := o.Slice.GetTotal(), o.Slice.GetIndex()
		if total < 1 {
			c.Add("filter.slice.total", "value %d invalid, must be 1 or larger", total)
		} else if index >= total {
			c.Add("filter.slice.index", "value %d invalid, must be below total %d", index, total)
		}
		return nil
	}
	return unable("Malformed condition: it holds none of the known kinds")
}

// nested filters look at one element of a list: what is about the whole point
// makes no sense there.
func nested(c *Check, f *qdrant.Filter, depth int) error {
	for _, list := range [][]*qdrant.Condition{f.GetMust(), f.GetShould(), f.GetMustNot(), f.GetMinShould().GetConditions()} {
		for _, cond := range list {
			switch cond.GetConditionOneOf().(type) {
			case *qdrant.Condition_HasId, *qdrant.Condition_HasVector, *qdrant.Condition_Slice:
				return fault.BadInput("a nested filter cannot hold has_id, has_vector or slice")
			}
		}
	}
	return conditions(c, f, depth)
}

// fieldCondition checks the conditions on one key; several are alternatives.
func fieldCondition(c *Check, f *qdrant.FieldCondition) error {
	if err := Key(f.GetKey()); err != nil {
		return err
	}
	m, r, span := f.GetMatch(), f.GetRange(), f.GetDatetimeRange()
	if m == nil && r == nil && span == nil && f.IsEmpty == nil && f.IsNull == nil && f.GetValuesCount() == nil &&
		f.GetGeoBoundingBox() == nil && f.GetGeoRadius() == nil && f.GetGeoPolygon() == nil {
		c.Add("filter", "At least one field condition must be specified")
	}
	area(c, f)
	if r != nil {
		for _, b := range []*float64{r.Gt, r.Gte, r.Lt, r.Lte} {
			if b != nil && math.IsNaN(*b) {
				return fault.BadInput("a bound of a range is not a number")
			}
		}
	}
	for _, b := range []*timestamppb.Timestamp{span.GetGt(), span.GetGte(), span.GetLt(), span.GetLte()} {
		if b != nil && !b.IsValid() {
			return fault.BadInput("a bound of a datetime range is not a point in time of the years 1 to 9999")
		}
	}
	if m != nil {
		return match(m)
	}
	return nil
}

// maxRing is how many points a ring has at most.
const maxRing = 10_000

// area checks the places of the conditions on one key.
func area(c *Check, f *qdrant.FieldCondition) {
	place := func(name string, p *qdrant.GeoPoint) {
		if p == nil {
			c.Add(name, "is missing")
			return
		}
		between(c, name+".lon", p.GetLon(), -180, 180)
		between(c, name+".lat", p.GetLat(), -90, 90)
	}
	ring := func(name string, l *qdrant.GeoLineString) {
		points := l.GetPoints()
		n := len(points)
		if n < 4 || n > maxRing {
			c.Add(name, "has %d points, must be from 4 to %d", n, maxRing)
			return
		}
		for i, p := range points {
			place(fmt.Sprintf("%s.points[%d]", name, i), p)
		}
		if first, last := points[0], points[n-1]; first.GetLon() != last.GetLon() || first.GetLat() != last.GetLat() {
			c.Add(name, "is not closed: the last point must equal the first")
		}
	}
	if b := f.GetGeoBoundingBox(); b != nil {
		place("filter.geo_bounding_box.top_left", b.GetTopLeft())
		place("filter.geo_bounding_box.bottom_right", b.GetBottomRight())
	}
	if r := f.GetGeoRadius(); r != nil {
		place("filter.geo_radius.center", r.GetCenter())
		if m := r.GetRadius(); !(m >= 0) {
			c.Add("filter.geo_radius.radius", "value %s invalid, must be 0 or larger", show(m))
		}
	}
	if p := f.GetGeoPolygon(); p != nil {
		ring("filter.geo_polygon.exterior", p.GetExterior())
		for i, hole := range p.GetInteriors() {
			ring(fmt.Sprintf("filter.geo_polygon.interiors[%d]", i), hole)
		}
	}
}

func match(m *qdrant.Match) error {
	switch m.GetMatchValue().(type) {
	case *qdrant.Match_Keyword, *qdrant.Match_Integer, *qdrant.Match_Boolean, *qdrant.Match_Keywords, *qdrant.Match_Integers,
		*qdrant.Match_ExceptKeywords, *qdrant.Match_ExceptIntegers, *qdrant.Match_Text, *qdrant.Match_TextAny, *qdrant.Match_Phrase,
		*qdrant.Match_Prefix, *qdrant.Match_Substring:
		return nil
	}
	return unable("Malformed Match condition: it holds no value")
}

// ID checks one point id.
func ID(id *qdrant.PointId) error {
	if _, err := wire.PointID(id); err != nil {
		return fault.Wrap(fault.Malformed, err, "Unable to parse UUID: %v", err)
	}
	return nil
}

// IDs checks several point ids.
func IDs(ids []*qdrant.PointId) error {
	for _, id := range ids {
		if err := ID(id); err != nil {
			return err
		}
	}
	return nil
}

// Selector checks which points an operation is about.
func Selector(s *qdrant.PointsSelector) error {
	switch o := s.GetPointsSelectorOneOf().(type) {
	case *qdrant.PointsSelector_Points:
		if len(o.Points.GetIds()) == 0 {
			return empty()
		}
		return IDs(o.Points.GetIds())
	case *qdrant.PointsSelector_Filter:
		return Filter(o.Filter)
	}
	return unable("PointsSelector is missing: give ids or a filter")
}

// empty is an operation that names no points.
func empty() error { return fault.New(fault.InvalidArgument, "Bad request: Empty update request") }

// WithPayload checks which payload is to be answered.
func WithPayload(s *qdrant.WithPayloadSelector) error {
	if s == nil {
		return nil
	}
	switch o := s.GetSelectorOptions().(type) {
	case *qdrant.WithPayloadSelector_Enable:
		return nil
	case *qdrant.WithPayloadSelector_Include:
		return Keys(o.Include.GetFields())
	case *qdrant.WithPayloadSelector_Exclude:
		return Keys(o.Exclude.GetFields())
	}
	return unable("No PayloadSelector")
}

// Consistency checks the wish of a reader.
func (c *Check) Consistency(rc *qdrant.ReadConsistency) {
	switch o := rc.GetValue().(type) {
	case *qdrant.ReadConsistency_Factor:
		atLeast(c, "consistency", o.Factor, 1)
	case *qdrant.ReadConsistency_Type:
		if o.Type < qdrant.ReadConsistencyType_All || o.Type > qdrant.ReadConsistencyType_Quorum {
			c.Add("consistency", "value %d invalid, must be all, majority, quorum or a number", int32(o.Type))
		}
	}
}

// Ordering checks the wish of a writer.
func (c *Check) Ordering(o *qdrant.WriteOrdering) {
	if t := o.GetType(); t < qdrant.WriteOrderingType_Weak || t > qdrant.WriteOrderingType_Strong {
		c.Add("ordering", "value %d invalid, must be weak, medium or strong", int32(t))
	}
}
