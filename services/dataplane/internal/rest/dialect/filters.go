package dialect

import (
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/rest/scan"
)

// decodeCondition recognises a condition by the names of its members: a key
// makes it one on a field, the name of a condition that one, anything else has
// to be a filter.
func decodeCondition(d *decoder, v scan.Value, c *qdrant.Condition) error {
	if v.Kind() != scan.Object {
		return expected(v, "a condition")
	}
	if _, ok := v.Get("key"); ok {
		f := new(qdrant.FieldCondition)
		c.ConditionOneOf = &qdrant.Condition_Field{Field: f}
		return d.message(v, f.ProtoReflect())
	}
	fields := c.ProtoReflect().Descriptor().Fields()
	for key, e := range v.Members() {
		fd := fields.ByName(protoreflect.Name(key.Bytes()))
		if fd == nil || fd.Name() == "field" || fd.Name() == "filter" {
			continue
		}
		if v.Len() != 1 {
			return fail(v, "`%s` stands alone in its condition", fd.Name())
		}
		return in(d.message(e, c.ProtoReflect().Mutable(fd).Message()), string(fd.Name()))
	}
	f := new(qdrant.Filter)
	c.ConditionOneOf = &qdrant.Condition_Filter{Filter: f}
	return d.message(v, f.ProtoReflect())
}

func encodeCondition(e *encoder, c *qdrant.Condition) {
	switch x := c.GetConditionOneOf().(type) {
	case *qdrant.Condition_Field:
		e.message(x.Field.ProtoReflect())
	case *qdrant.Condition_Filter:
		e.message(x.Filter.ProtoReflect())
	default:
		e.object(c.ProtoReflect())
	}
}

// decodeMatch reads the one member of a match: value, any, except, or a kind of text.
func decodeMatch(d *decoder, v scan.Value, m *qdrant.Match) error {
	if v.Kind() != scan.Object {
		return expected(v, "a match")
	}
	for key, e := range v.Members() {
		name := string(key.Bytes())
		if v.Len() != 1 {
			return fail(v, "expected exactly one member in a match")
		}
		switch name {
		case "value":
			return in(decodeMatchValue(e, m), name)
		case "any", "except":
			return in(decodeMatchList(d, e, m, name == "except"), name)
		case "text", "text_any", "phrase", "prefix", "substring":
			return in(d.field(e, m.ProtoReflect(), &field{fd: m.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name))}), name)
		}
		return fail(key.Value, "unknown field `%s`, expected `value`, `text`, `text_any`, `phrase`, `prefix`, `substring`, `any` or `except`", name)
	}
	return fail(v, "empty match")
}

func decodeMatchValue(v scan.Value, m *qdrant.Match) error {
	switch v.Kind() {
	case scan.String:
		m.MatchValue = &qdrant.Match_Keyword{Keyword: v.Text()}
		return nil
	case scan.Bool:
		m.MatchValue = &qdrant.Match_Boolean{Boolean: v.Bool()}
		return nil
	case scan.Number:
		if n, ok := v.Int64(); ok {
			m.MatchValue = &qdrant.Match_Integer{Integer: n}
			return nil
		}
	}
	return fail(v, "expected a string, a 64-bit integer or a boolean")
}

// decodeMatchList reads strings or integers; the empty list counts as strings.
func decodeMatchList(d *decoder, v scan.Value, m *qdrant.Match, except bool) error {
	if v.Kind() != scan.Array {
		return expected(v, "a list")
	}
	if v.Numeric() {
		list := new(qdrant.RepeatedIntegers)
		m.MatchValue = &qdrant.Match_Integers{Integers: list}
		if except {
			m.MatchValue = &qdrant.Match_ExceptIntegers{ExceptIntegers: list}
		}
		return d.message(v, list.ProtoReflect())
	}
	list := new(qdrant.RepeatedStrings)
	m.MatchValue = &qdrant.Match_Keywords{Keywords: list}
	if except {
		m.MatchValue = &qdrant.Match_ExceptKeywords{ExceptKeywords: list}
	}
	return d.message(v, list.ProtoReflect())
}

func encodeMatch(e *encoder, m *qdrant.Match) {
	e.b = append(e.b, '{')
	switch x := m.GetMatchValue().(type) {
	case *qdrant.Match_Keyword:
		e.key("value")
		e.string(x.Keyword)
	case *qdrant.Match_Integer:
		e.key("value")
		e.b = strconv.AppendInt(e.b, x.Integer, 10)
	case *qdrant.Match_Boolean:
		e.key("value")
		e.b = strconv.AppendBool(e.b, x.Boolean)
	case *qdrant.Match_Keywords:
		e.list("any", x.Keywords)
	case *qdrant.Match_Integers:
		e.list("any", x.Integers)
	case *qdrant.Match_ExceptKeywords:
		e.list("except", x.ExceptKeywords)
	case *qdrant.Match_ExceptIntegers:
		e.list("except", x.ExceptIntegers)
	default:
		e.members(m.ProtoReflect())
	}
	e.b = append(e.b, '}')
}

func (e *encoder) list(name string, m proto.Message) {
	e.key(name)
	e.message(m.ProtoReflect())
}

// decodeRange tells an interval of time by its strings.
func decodeRange(d *decoder, v scan.Value, c *qdrant.FieldCondition) error {
	if v.Kind() != scan.Object {
		return expected(v, "a range")
	}
	c.Range, c.DatetimeRange = nil, nil
	for _, e := range v.Members() {
		if e.Kind() == scan.String {
			c.DatetimeRange = new(qdrant.DatetimeRange)
			return d.message(v, c.DatetimeRange.ProtoReflect())
		}
	}
	c.Range = new(qdrant.Range)
	return d.message(v, c.Range.ProtoReflect())
}
