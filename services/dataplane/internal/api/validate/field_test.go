package validate

import (
	"strings"
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
)

func TestFieldIndex(t *testing.T) {
	integer := func(p *qdrant.IntegerIndexParams) *qdrant.PayloadIndexParams {
		return &qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_IntegerIndexParams{IntegerIndexParams: p}}
	}
	type in = qdrant.CreateFieldIndexCollection
	for name, c := range map[string]struct {
		r      *in
		reason fault.Reason
		text   string
	}{
		"type alone":   {&in{FieldName: "a.b", FieldType: qdrant.FieldType_FieldTypeKeyword.Enum()}, 0, ""},
		"params alone": {&in{FieldName: "a[].b", FieldIndexParams: integer(&qdrant.IntegerIndexParams{IsPrincipal: new(true), OnDisk: new(true)})}, 0, ""},
		"both":         {&in{FieldName: `"a b"`, FieldType: qdrant.FieldType_FieldTypeInteger.Enum(), FieldIndexParams: integer(&qdrant.IntegerIndexParams{Lookup: new(false)})}, 0, ""},
		"empty params": {&in{FieldName: "a", FieldType: qdrant.FieldType_FieldTypeInteger.Enum(), FieldIndexParams: &qdrant.PayloadIndexParams{}}, fault.Malformed,
			`field_schema is missing: name the type of the index on "a"`},
		"neither":      {&in{FieldName: "a"}, fault.Malformed, `field_schema is missing: name the type of the index on "a"`},
		"unknown type": {&in{FieldName: "a", FieldType: qdrant.FieldType(99).Enum()}, fault.Malformed, "field_type: value 99 is no type of an index"},
		"disagreeing": {&in{FieldName: "a", FieldType: qdrant.FieldType_FieldTypeUuid.Enum(), FieldIndexParams: integer(&qdrant.IntegerIndexParams{})}, fault.InvalidArgument,
			"Wrong input: field_type is uuid, but field_index_params are those of type integer"},
		"neither lookup nor range": {&in{FieldName: "a", FieldIndexParams: integer(&qdrant.IntegerIndexParams{Lookup: new(false), Range: new(false)})}, fault.Validation,
			"Validation error in body: [field_schema: lookup and range are both false, at least one must be true]"},
		"memory": {&in{FieldName: "a", FieldIndexParams: integer(&qdrant.IntegerIndexParams{Memory: qdrant.Memory(9).Enum()})}, fault.Validation,
			"Validation error in body: [field_schema.memory: value 9 invalid, must be cold, cached or pinned]"},
		"no memory": {&in{FieldName: "a", FieldIndexParams: integer(&qdrant.IntegerIndexParams{Memory: qdrant.Memory_MemoryUnknown.Enum()})}, fault.Validation,
			"Validation error in body: [field_schema.memory: value 0 invalid, must be cold, cached or pinned]"},
		"text": {&in{FieldName: "a", FieldType: qdrant.FieldType_FieldTypeText.Enum()}, fault.NotBuilt, "payload index of type `text` is not built yet"},
		"geo":  {&in{FieldName: "a", FieldType: qdrant.FieldType_FieldTypeGeo.Enum()}, fault.NotBuilt, "payload index of type `geo` is not built yet"},
		"path": {&in{FieldName: "a..b", FieldType: qdrant.FieldType_FieldTypeBool.Enum()}, fault.Malformed, `Invalid json path: "a..b"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := FieldIndex(c.r)
			wants(t, err, c.reason, c.text)
			if err == nil && got.GetIndexParams() == nil {
				t.Error("no parameters")
			}
		})
	}
}

func TestField(t *testing.T) {
	for name, good := range map[string]bool{"a": true, strings.Repeat("x", MaxFieldBytes): true, "": false, strings.Repeat("x", MaxFieldBytes+1): false} {
		var c Check
		if c.Field(name); (c.Err() == nil) != good {
			t.Errorf("a name of %d bytes: %v", len(name), c.Err())
		}
	}
}
