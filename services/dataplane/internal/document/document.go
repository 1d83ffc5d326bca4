// Package document brings payloads from their messages into the form in which they are kept, and back.
package document

import (
	"strings"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/fault"
)

// Of brings a payload into its canonical form. INVALID_ARGUMENT where it has none.
func Of(fields map[string]*qdrant.Value) (payload.Doc, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	var b payload.Builder
	putObject(&b, fields)
	d, err := b.Doc()
	if err != nil {
		return nil, fault.Wrap(fault.InvalidArgument, err, "Wrong input: payload: %v", err)
	}
	return d, nil
}

func putObject(b *payload.Builder, fields map[string]*qdrant.Value) {
	b.BeginObject()
	for k, v := range fields {
		b.Key(k)
		putValue(b, v)
	}
	b.End()
}

func putValue(b *payload.Builder, v *qdrant.Value) {
	switch o := v.GetKind().(type) {
	case *qdrant.Value_BoolValue:
		b.Bool(o.BoolValue)
	case *qdrant.Value_IntegerValue:
		b.Int(o.IntegerValue)
	case *qdrant.Value_DoubleValue:
		b.Double(o.DoubleValue)
	case *qdrant.Value_StringValue:
		b.Str(o.StringValue)
	case *qdrant.Value_StructValue:
		putObject(b, o.StructValue.GetFields())
	case *qdrant.Value_ListValue:
		b.BeginList()
		for _, e := range o.ListValue.GetValues() {
			putValue(b, e)
		}
		b.End()
	default:
		b.Null()
	}
}

// Fields prints a payload. Texts are copied: a Doc may live shorter.
func Fields(d payload.Doc) map[string]*qdrant.Value {
	out := make(map[string]*qdrant.Value, d.Len())
	for k, v := range d.All() {
		out[strings.Clone(k)] = valueOf(v)
	}
	return out
}

func valueOf(v payload.Value) *qdrant.Value {
	switch v.Kind() {
	case payload.Bool:
		return &qdrant.Value{Kind: &qdrant.Value_BoolValue{BoolValue: v.Bool()}}
	case payload.Integer:
		return &qdrant.Value{Kind: &qdrant.Value_IntegerValue{IntegerValue: v.Int()}}
	case payload.Double:
		return &qdrant.Value{Kind: &qdrant.Value_DoubleValue{DoubleValue: v.Double()}}
	case payload.String:
		return &qdrant.Value{Kind: &qdrant.Value_StringValue{StringValue: strings.Clone(v.Str())}}
	case payload.List:
		l := &qdrant.ListValue{Values: make([]*qdrant.Value, 0, v.Len())}
		for e := range v.Elements() {
			l.Values = append(l.Values, valueOf(e))
		}
		return &qdrant.Value{Kind: &qdrant.Value_ListValue{ListValue: l}}
	case payload.Object:
		return &qdrant.Value{Kind: &qdrant.Value_StructValue{StructValue: &qdrant.Struct{Fields: Fields(payload.Doc(v))}}}
	}
	return &qdrant.Value{Kind: &qdrant.Value_NullValue{}}
}
