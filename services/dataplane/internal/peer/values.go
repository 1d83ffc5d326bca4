package peer

import (
	"strings"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/wire"
)

// docOf brings a payload into its canonical form.
func docOf(fields map[string]*qdrant.Value) (payload.Doc, error) {
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

// fieldsOf prints a payload. Texts are copied: a Doc may live shorter.
func fieldsOf(d payload.Doc) map[string]*qdrant.Value {
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
		return &qdrant.Value{Kind: &qdrant.Value_StructValue{StructValue: &qdrant.Struct{Fields: fieldsOf(payload.Doc(v))}}}
	}
	return &qdrant.Value{Kind: &qdrant.Value_NullValue{}}
}

// wantOf reads which parts of a point are asked for.
func wantOf(p *qdrant.WithPayloadSelector, v *qdrant.WithVectorsSelector) query.Want {
	w := query.Want{}
	switch o := p.GetSelectorOptions().(type) {
	case *qdrant.WithPayloadSelector_Enable:
		w.Payload.All = o.Enable
	case *qdrant.WithPayloadSelector_Include:
		w.Payload.Include = each(o.Include.GetFields(), func(s string) filter.Key { return filter.Key(s) })
	case *qdrant.WithPayloadSelector_Exclude:
		w.Payload.All = true
		w.Payload.Exclude = each(o.Exclude.GetFields(), func(s string) filter.Key { return filter.Key(s) })
	}
	switch o := v.GetSelectorOptions().(type) {
	case *qdrant.WithVectorsSelector_Enable:
		w.Vectors = o.Enable
	case *qdrant.WithVectorsSelector_Include:
		w.Vectors = true
		w.VecNames = o.Include.GetNames()
	}
	return w
}

// retrieved prints a record; parts that were not asked for stay unset.
func retrieved(r query.Record, w query.Want) *qdrant.RetrievedPoint {
	p := &qdrant.RetrievedPoint{Id: wire.ProtoID(r.ID)}
	if wanted(w.Payload) {
		p.Payload = fieldsOf(r.Payload)
	}
	if w.Vectors {
		p.Vectors = outputOf(r.Vectors)
	}
	if o := r.Order; o != nil && o.IsFloat {
		p.OrderValue = &qdrant.OrderValue{Variant: &qdrant.OrderValue_Float{Float: o.Float}}
	} else if o != nil {
		p.OrderValue = &qdrant.OrderValue{Variant: &qdrant.OrderValue_Int{Int: o.Int}}
	}
	return p
}

func scored(r query.Scored, w query.Want) *qdrant.ScoredPoint {
	p := retrieved(r.Record, w)
	return &qdrant.ScoredPoint{Id: p.GetId(), Payload: p.GetPayload(), Vectors: p.GetVectors(), Score: r.Score, Version: r.Version}
}

func wanted(p query.PayloadWant) bool { return p.All || len(p.Include) > 0 }
