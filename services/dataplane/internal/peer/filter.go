package peer

import (
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// filterOf reads a filter; nil stays nil. A condition that the engine does not
// know is refused by its name, never taken as satisfied.
func filterOf(f *qdrant.Filter) (*filter.Filter, error) {
	if f == nil {
		return nil, nil
	}
	out := &filter.Filter{}
	for _, part := range []struct {
		from []*qdrant.Condition
		to   *[]filter.Condition
	}{{f.GetMust(), &out.Must}, {f.GetShould(), &out.Should}, {f.GetMustNot(), &out.MustNot}} {
		cs, err := conditionsOf(part.from)
		if err != nil {
			return nil, err
		}
		*part.to = cs
	}
	if m := f.GetMinShould(); m != nil {
		cs, err := conditionsOf(m.GetConditions())
		if err != nil {
			return nil, err
		}
		out.MinShould = &filter.MinShould{Conditions: cs, Count: m.GetMinCount()}
	}
	return out, nil
}

func conditionsOf(in []*qdrant.Condition) ([]filter.Condition, error) {
	var out []filter.Condition
	for _, c := range in {
		one, err := conditionOf(c)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func conditionOf(c *qdrant.Condition) (filter.Condition, error) {
	switch o := c.GetConditionOneOf().(type) {
	case *qdrant.Condition_Field:
		return fieldOf(o.Field)
	case *qdrant.Condition_IsEmpty:
		return filter.IsEmpty{Key: filter.Key(o.IsEmpty.GetKey())}, nil
	case *qdrant.Condition_IsNull:
		return filter.IsNull{Key: filter.Key(o.IsNull.GetKey())}, nil
	case *qdrant.Condition_HasId:
		ids, err := idsOf(o.HasId.GetHasId())
		return filter.HasID{IDs: ids}, err
	case *qdrant.Condition_HasVector:
		return filter.HasVector{Name: o.HasVector.GetHasVector()}, nil
	case *qdrant.Condition_Filter:
		return filterOf(o.Filter)
	case *qdrant.Condition_Nested:
		inner, err := filterOf(o.Nested.GetFilter())
		if err != nil {
			return nil, err
		}
		if inner == nil {
			inner = &filter.Filter{}
		}
		return filter.Nested{Key: filter.Key(o.Nested.GetKey()), Filter: *inner}, nil
	case *qdrant.Condition_Slice:
		return filter.Slice{Total: o.Slice.GetTotal(), Index: o.Slice.GetIndex()}, nil
	}
	return nil, fault.New(fault.Malformed, "a filter condition is empty")
}

// fieldOf reads the conditions on one key. Several in one message are
// alternatives, as they are in Qdrant.
func fieldOf(f *qdrant.FieldCondition) (filter.Condition, error) {
	key := filter.Key(f.GetKey())
	var any []filter.Condition
	if f.GetMatch() != nil {
		m, err := matchOf(key, f.GetMatch())
		if err != nil {
			return nil, err
		}
		any = append(any, m)
	}
	if r := f.GetRange(); r != nil {
		any = append(any, filter.Range{Key: key, GT: r.Gt, GTE: r.Gte, LT: r.Lt, LTE: r.Lte})
	}
	if r := f.GetDatetimeRange(); r != nil {
		any = append(any, filter.TimeRange{Key: key, GT: micros(r.Gt), GTE: micros(r.Gte), LT: micros(r.Lt), LTE: micros(r.Lte)})
	}
	if f.IsEmpty != nil {
		any = append(any, negated(filter.IsEmpty{Key: key}, !f.GetIsEmpty()))
	}
	if f.IsNull != nil {
		any = append(any, negated(filter.IsNull{Key: key}, !f.GetIsNull()))
	}
	if c := f.GetValuesCount(); c != nil {
		any = append(any, filter.ValuesCount{Key: key, GT: c.Gt, GTE: c.Gte, LT: c.Lt, LTE: c.Lte})
	}
	if b := f.GetGeoBoundingBox(); b != nil {
		any = append(any, filter.GeoBox{Key: key, TopLeft: placeOf(b.GetTopLeft()), BottomRight: placeOf(b.GetBottomRight())})
	}
	if r := f.GetGeoRadius(); r != nil {
		any = append(any, filter.GeoRadius{Key: key, Center: placeOf(r.GetCenter()), Radius: float64(r.GetRadius())})
	}
	if p := f.GetGeoPolygon(); p != nil {
		ring := func(l *qdrant.GeoLineString) []filter.Place { return each(l.GetPoints(), placeOf) }
		any = append(any, filter.GeoPolygon{Key: key, Exterior: ring(p.GetExterior()), Interiors: each(p.GetInteriors(), ring)})
	}
	switch len(any) {
	case 0:
		return nil, fault.New(fault.Malformed, "the filter condition on key %q says nothing", f.GetKey())
	case 1:
		return any[0], nil
	}
	return &filter.Filter{Should: any}, nil
}

// micros is a bound in the engine's terms; finer fractions are cut off, as they
// are of values.
func micros(t *timestamppb.Timestamp) *int64 {
	if t == nil {
		return nil
	}
	return new(t.AsTime().UnixMicro())
}

func negated(c filter.Condition, not bool) filter.Condition {
	if not {
		return &filter.Filter{MustNot: []filter.Condition{c}}
	}
	return c
}

func matchOf(key filter.Key, m *qdrant.Match) (filter.Condition, error) {
	text := func(s string) filter.Scalar { return filter.Scalar{Kind: filter.StringScalar, Str: s} }
	number := func(n int64) filter.Scalar { return filter.Scalar{Kind: filter.IntScalar, Int: n} }
	switch o := m.GetMatchValue().(type) {
	case *qdrant.Match_Keyword:
		return filter.Match{Key: key, Value: text(o.Keyword)}, nil
	case *qdrant.Match_Integer:
		return filter.Match{Key: key, Value: number(o.Integer)}, nil
	case *qdrant.Match_Boolean:
		return filter.Match{Key: key, Value: filter.Scalar{Kind: filter.BoolScalar, Bool: o.Boolean}}, nil
	case *qdrant.Match_Keywords:
		return filter.MatchAny{Key: key, Values: each(o.Keywords.GetStrings(), text)}, nil
	case *qdrant.Match_Integers:
		return filter.MatchAny{Key: key, Values: each(o.Integers.GetIntegers(), number)}, nil
	case *qdrant.Match_ExceptKeywords:
		return filter.MatchAny{Key: key, Values: each(o.ExceptKeywords.GetStrings(), text), Except: true}, nil
	case *qdrant.Match_ExceptIntegers:
		return filter.MatchAny{Key: key, Values: each(o.ExceptIntegers.GetIntegers(), number), Except: true}, nil
	case *qdrant.Match_Text:
		return filter.Text{Key: key, Words: o.Text, Mode: analysis.All}, nil
	case *qdrant.Match_TextAny:
		return filter.Text{Key: key, Words: o.TextAny, Mode: analysis.Any}, nil
	case *qdrant.Match_Phrase:
		return filter.Text{Key: key, Words: o.Phrase, Mode: analysis.Phrase}, nil
	case *qdrant.Match_Prefix:
		return filter.Prefix{Key: key, Text: o.Prefix}, nil
	case *qdrant.Match_Substring:
		return filter.Substring{Key: key, Text: o.Substring}, nil
	}
	return nil, fault.New(fault.Malformed, "the match on key %q has no value", string(key))
}

func placeOf(p *qdrant.GeoPoint) filter.Place {
	return filter.Place{Lon: p.GetLon(), Lat: p.GetLat()}
}

func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, a := range in {
		out = append(out, f(a))
	}
	return out
}

func idsOf(in []*qdrant.PointId) ([]topology.PointID, error) {
	out := make([]topology.PointID, 0, len(in))
	for _, p := range in {
		id, err := wire.PointID(p)
		if err != nil {
			return nil, fault.Wrap(fault.Malformed, err, "Unable to parse UUID: %v", err)
		}
		out = append(out, id)
	}
	return out, nil
}
