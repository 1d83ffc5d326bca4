package validate

import (
	"errors"
	"math"
	"strings"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/schema"
	"github.com/pandodb/pando/services/internal/fault"
)

// MaxFieldBytes is the longest path of a payload field that is indexed.
const MaxFieldBytes = 1024

// fieldTypes are the types of indexes by their public numbers, with empty
// parameters.
func fieldTypes() map[qdrant.FieldType]*qdrant.PayloadIndexParams {
	return map[qdrant.FieldType]*qdrant.PayloadIndexParams{
		qdrant.FieldType_FieldTypeKeyword:  {IndexParams: &qdrant.PayloadIndexParams_KeywordIndexParams{KeywordIndexParams: &qdrant.KeywordIndexParams{}}},
		qdrant.FieldType_FieldTypeInteger:  {IndexParams: &qdrant.PayloadIndexParams_IntegerIndexParams{IntegerIndexParams: &qdrant.IntegerIndexParams{}}},
		qdrant.FieldType_FieldTypeFloat:    {IndexParams: &qdrant.PayloadIndexParams_FloatIndexParams{FloatIndexParams: &qdrant.FloatIndexParams{}}},
		qdrant.FieldType_FieldTypeGeo:      {IndexParams: &qdrant.PayloadIndexParams_GeoIndexParams{GeoIndexParams: &qdrant.GeoIndexParams{}}},
		qdrant.FieldType_FieldTypeText:     {IndexParams: &qdrant.PayloadIndexParams_TextIndexParams{TextIndexParams: &qdrant.TextIndexParams{}}},
		qdrant.FieldType_FieldTypeBool:     {IndexParams: &qdrant.PayloadIndexParams_BoolIndexParams{BoolIndexParams: &qdrant.BoolIndexParams{}}},
		qdrant.FieldType_FieldTypeDatetime: {IndexParams: &qdrant.PayloadIndexParams_DatetimeIndexParams{DatetimeIndexParams: &qdrant.DatetimeIndexParams{}}},
		qdrant.FieldType_FieldTypeUuid:     {IndexParams: &qdrant.PayloadIndexParams_UuidIndexParams{UuidIndexParams: &qdrant.UuidIndexParams{}}},
	}
}

// Field checks the path of a field whose index is made or dropped.
func (c *Check) Field(name string) {
	if len(name) == 0 || len(name) > MaxFieldBytes {
		c.Add("field_name", "value %s invalid, must be from 1 to %d bytes", quoted(name), MaxFieldBytes)
	}
}

// FieldIndex gives the parameters of a new index, as they are to be kept.
func FieldIndex(r *qdrant.CreateFieldIndexCollection) (*qdrant.PayloadIndexParams, error) {
	if err := Key(r.GetFieldName()); err != nil {
		return nil, err
	}
	params := r.GetFieldIndexParams()
	if r.FieldType != nil {
		plain, known := fieldTypes()[*r.FieldType]
		switch {
		case !known:
			return nil, unable("field_type: value %d is no type of an index", int32(*r.FieldType))
		case params == nil:
			params = plain
		case params.GetIndexParams() != nil && typeOf(plain) != typeOf(params):
			return nil, fault.BadInput("field_type is %s, but field_index_params are those of type %s", typeOf(plain), typeOf(params))
		}
	}
	if params.GetIndexParams() == nil {
		return nil, unable("field_schema is missing: name the type of the index on %s", quoted(r.GetFieldName()))
	}
	var c Check
	if p := params.GetIntegerIndexParams(); p != nil && p.Lookup != nil && p.Range != nil && !*p.Lookup && !*p.Range {
		c.Add("field_schema", "lookup and range are both false, at least one must be true")
	}
	if t := params.GetTextIndexParams().GetTokenizer(); qdrant.TokenizerType_name[int32(t)] == "" {
		c.Add("field_schema.tokenizer", "value %d invalid, must be prefix, whitespace, word or multilingual", int32(t))
	} else if _, err := schema.Field(r.GetFieldName(), params); errors.Is(err, analysis.ErrParams) {
		c.Add("field_schema", "%v", err)
	} else if err != nil {
		return nil, err
	}
	m := params.ProtoReflect()
	inner := m.Get(m.WhichOneof(m.Descriptor().Oneofs().ByName("index_params"))).Message()
	if f := inner.Descriptor().Fields().ByName("memory"); inner.Has(f) && (inner.Get(f).Enum() == 0 || f.Enum().Values().ByNumber(inner.Get(f).Enum()) == nil) {
		c.Add("field_schema.memory", "value %d invalid, must be cold, cached or pinned", inner.Get(f).Enum())
	}
	return params, c.Err()
}

// indexed is the parameters of the index on a path; nil if there is none.
func indexed(path string, indexes map[string]*qdrant.PayloadIndexParams) (*qdrant.PayloadIndexParams, error) {
	p, err := payload.ParsePath(path)
	if err != nil {
		return nil, Key(path)
	}
	for key, params := range indexes {
		if k, err := payload.ParsePath(key); err == nil && k.String() == p.String() {
			return params, nil
		}
	}
	return nil, nil
}

// Facet checks that a field has an index that counts its values.
func Facet(path string, indexes map[string]*qdrant.PayloadIndexParams) error {
	p, err := indexed(path, indexes)
	if err != nil {
		return err
	}
	switch typeOf(p) {
	case "keyword", "bool", "uuid":
		return nil
	case "integer":
		if i := p.GetIntegerIndexParams(); i.Lookup == nil || *i.Lookup {
			return nil
		}
	}
	return fault.BadInput("No appropriate index for faceting: `%.64s`. It takes one of type keyword, integer with lookup, bool or uuid", path)
}

// OrderBy checks an order by a field, which needs an index with ranges.
func OrderBy(o *qdrant.OrderBy, offset *qdrant.PointId, indexes map[string]*qdrant.PayloadIndexParams) error {
	if offset != nil {
		return fault.BadInput("Cannot use an `offset` when using `order_by`. The alternative for paging is to use `order_by.start_from` and a filter to exclude the ids of the previous page")
	}
	if d := o.GetDirection(); d < qdrant.Direction_Asc || d > qdrant.Direction_Desc {
		return unable("order_by.direction: value %d invalid, must be asc or desc", int32(d))
	}
	p, err := indexed(o.GetKey(), indexes)
	if err != nil {
		return err
	}
	t := typeOf(p)
	if i := p.GetIntegerIndexParams(); t != "float" && t != "datetime" && (t != "integer" || i.Range != nil && !*i.Range) {
		return fault.BadInput("No range index for `order_by` key: `%.64s`. Please create one to use `order_by`: it takes one of type integer with range, float or datetime", o.GetKey())
	}
	good := true
	switch v := o.GetStartFrom().GetValue().(type) {
	case *qdrant.StartFrom_Float:
		good = t != "datetime" && !math.IsNaN(v.Float)
	case *qdrant.StartFrom_Integer:
		good = t != "datetime"
	case *qdrant.StartFrom_Timestamp:
		good = t == "datetime" && v.Timestamp.IsValid()
	case *qdrant.StartFrom_Datetime:
		_, good = payload.Micros(v.Datetime)
		good = good && t == "datetime"
	}
	if !good {
		return fault.BadInput("order_by.start_from does not fit the index on `%.64s`, which is of type %s", o.GetKey(), t)
	}
	return nil
}

// typeOf names the type as REST does.
func typeOf(p *qdrant.PayloadIndexParams) string {
	m := p.ProtoReflect()
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("index_params"))
	if f == nil {
		return ""
	}
	return strings.TrimSuffix(string(f.Name()), "_index_params")
}
