package strict

import (
	"strings"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
)

// filter checks a filter as a whole: how many conditions it has, how many values these
// hold, and whether indexes find what they ask for.
func (c *checker) filter(f *qdrant.Filter) {
	n := c.conditions(f, "")
	c.most("filter conditions", n, c.FilterMaxConditions, "filter_max_conditions")
}

// conditions counts those of a filter on the elements of an array; under is the path
// of that, or empty.
func (c *checker) conditions(f *qdrant.Filter, under string) (n uint64) {
	for _, list := range [][]*qdrant.Condition{f.GetMust(), f.GetShould(), f.GetMustNot(), f.GetMinShould().GetConditions()} {
		for _, cond := range list {
			switch o := cond.GetConditionOneOf().(type) {
			case *qdrant.Condition_Filter:
				n += c.conditions(o.Filter, under)
				continue
			case *qdrant.Condition_Nested:
				n += c.conditions(o.Nested.GetFilter(), join(under, o.Nested.GetKey()))
				continue
			case *qdrant.Condition_HasId:
				c.values("has_id", len(o.HasId.GetHasId()))
			case *qdrant.Condition_Field:
				c.field(o.Field, under)
			}
			n++
		}
	}
	return n
}

func join(under, key string) string {
	if under == "" {
		return key
	}
	if !strings.HasSuffix(under, "[]") {
		under += "[]"
	}
	return under + "." + key
}

func (c *checker) values(what string, n int) {
	c.most("values of a condition on "+what, uint64(n), c.ConditionMaxSize, "condition_max_size")
}

// field checks a condition on a payload field.
func (c *checker) field(f *qdrant.FieldCondition, under string) {
	m := f.GetMatch()
	points := len(f.GetGeoPolygon().GetExterior().GetPoints())
	for _, hole := range f.GetGeoPolygon().GetInteriors() {
		points += len(hole.GetPoints())
	}
	c.values("a payload field", max(points, len(m.GetKeywords().GetStrings()), len(m.GetIntegers().GetIntegers()),
		len(m.GetExceptKeywords().GetStrings()), len(m.GetExceptIntegers().GetIntegers())))
	allowed := c.UnindexedFilteringRetrieve
	if c.write {
		allowed = c.UnindexedFilteringUpdate
	}
	if allowed == nil || *allowed {
		return
	}
	key := join(under, f.GetKey())
	if types := wanted(f); len(types) > 0 && !c.indexed(key, types) {
		c.refuse("Index required but not found for %q of one of the following types: [%s]", "Create an index for this key or use a different filter.",
			key, strings.Join(types, ", "))
	}
}

// wanted are the types of indexes that answer a condition; none: it needs none.
func wanted(f *qdrant.FieldCondition) []string {
	switch f.GetMatch().GetMatchValue().(type) {
	case *qdrant.Match_Keyword, *qdrant.Match_Keywords, *qdrant.Match_ExceptKeywords:
		return []string{"keyword", "uuid"}
	case *qdrant.Match_Integer, *qdrant.Match_Integers, *qdrant.Match_ExceptIntegers:
		return []string{"integer with lookup"}
	case *qdrant.Match_Boolean:
		return []string{"bool"}
	case *qdrant.Match_Text, *qdrant.Match_TextAny, *qdrant.Match_Phrase, *qdrant.Match_Substring:
		return []string{"text"}
	case *qdrant.Match_Prefix:
		return []string{"keyword"}
	}
	switch {
	case f.GetRange() != nil:
		return []string{"float", "integer with range"}
	case f.GetDatetimeRange() != nil:
		return []string{"datetime"}
	case f.GetGeoBoundingBox() != nil, f.GetGeoRadius() != nil, f.GetGeoPolygon() != nil:
		return []string{"geo"}
	}
	return nil
}

// indexed tells whether a key has an index of one of these types. An index on a path
// through an array serves both ways to write the path.
func (c *checker) indexed(key string, types []string) bool {
	for k, params := range c.Indexes {
		if normal(k) != normal(key) {
			continue
		}
		for _, t := range types {
			if is(params, t) {
				return true
			}
		}
	}
	return false
}

func normal(key string) string {
	if p, err := payload.ParsePath(key); err == nil {
		key = p.String()
	}
	return strings.ReplaceAll(key, "[]", "")
}

func is(p *qdrant.PayloadIndexParams, kind string) bool {
	switch o := p.GetIndexParams().(type) {
	case *qdrant.PayloadIndexParams_KeywordIndexParams:
		return kind == "keyword"
	case *qdrant.PayloadIndexParams_UuidIndexParams:
		return kind == "uuid"
	case *qdrant.PayloadIndexParams_IntegerIndexParams:
		i := o.IntegerIndexParams
		return kind == "integer with lookup" && (i.Lookup == nil || *i.Lookup) || kind == "integer with range" && (i.Range == nil || *i.Range)
	case *qdrant.PayloadIndexParams_FloatIndexParams:
		return kind == "float"
	case *qdrant.PayloadIndexParams_BoolIndexParams:
		return kind == "bool"
	case *qdrant.PayloadIndexParams_DatetimeIndexParams:
		return kind == "datetime"
	case *qdrant.PayloadIndexParams_GeoIndexParams:
		return kind == "geo"
	case *qdrant.PayloadIndexParams_TextIndexParams:
		return kind == "text"
	}
	return false
}
