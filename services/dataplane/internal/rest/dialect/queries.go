package dialect

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/rest/scan"
)

// decodeVectorInput reads a vector, something to embed, or the id of a point.
func decodeVectorInput(d *decoder, v scan.Value, out *qdrant.VectorInput) error {
	if v.Kind() == scan.Number || v.Kind() == scan.String {
		return d.member(v, out, "id")
	}
	s := shapeOf(v)
	if s == noVector {
		return noSuchShape(v)
	}
	return d.member(v, out, s.fieldName())
}

func encodeVectorInput(e *encoder, v *qdrant.VectorInput) { e.chosen(v) }

// decodeQuery reads {"nearest": …} and its like, or a bare vector input.
func decodeQuery(d *decoder, v scan.Value, q *qdrant.Query) error {
	has := func(name string) bool {
		_, ok := v.Get(name)
		return ok
	}
	switch {
	case has("nearest"):
		return decodeNearest(d, v, q)
	case has("formula"):
		f := new(qdrant.Formula)
		q.Variant = &qdrant.Query_Formula{Formula: f}
		return d.pair(v, f, "formula", "expression", "defaults")
	case has("text") && !has("model"), has("recommend"), has("discover"), has("context"), has("order_by"), has("fusion"),
		has("sample"), has("rrf"), has("relevance_feedback"):
		if v.Len() != 1 {
			return fail(v, "expected exactly one kind of query")
		}
		return d.object(v, q.ProtoReflect())
	}
	in := new(qdrant.VectorInput)
	q.Variant = &qdrant.Query_Nearest{Nearest: in}
	return decodeVectorInput(d, v, in)
}

// decodeNearest reads {"nearest": …} with or without "mmr".
func decodeNearest(d *decoder, v scan.Value, q *qdrant.Query) error {
	if mmr, ok := v.Get("mmr"); ok && mmr.Kind() != scan.Null {
		n := new(qdrant.NearestInputWithMmr)
		q.Variant = &qdrant.Query_NearestWithMmr{NearestWithMmr: n}
		return d.pair(v, n, "nearest", "nearest", "mmr")
	}
	n := new(qdrant.Query)
	if err := d.pair(v, n, "nearest", "nearest", "mmr"); err != nil {
		return err
	}
	q.Variant = n.Variant
	return nil
}

// pair reads an object of one named member and an optional second one, whose
// fields in m are first and second. There may be no others.
func (d *decoder) pair(v scan.Value, m proto.Message, name string, first, second protoreflect.Name) error {
	r := m.ProtoReflect()
	for key, e := range v.Members() {
		at := string(key.Bytes())
		fd := r.Descriptor().Fields().ByName(second)
		switch {
		case at == name:
			fd = r.Descriptor().Fields().ByName(first)
		case at != string(second):
			return fail(key.Value, "unknown field `%s`, expected `%s` or `%s`", at, name, second)
		case e.Kind() == scan.Null:
			continue
		}
		if err := d.field(e, r, &field{fd: fd}); err != nil {
			return in(err, at)
		}
	}
	return nil
}

func encodeQuery(e *encoder, q *qdrant.Query) {
	switch x := q.GetVariant().(type) {
	case *qdrant.Query_NearestWithMmr:
		e.message(x.NearestWithMmr.ProtoReflect())
	case *qdrant.Query_Formula:
		e.b = append(e.b, '{')
		e.key("formula")
		e.message(x.Formula.GetExpression().ProtoReflect())
		if len(x.Formula.GetDefaults()) > 0 {
			e.key("defaults")
			e.fields(x.Formula.GetDefaults())
		}
		e.b = append(e.b, '}')
	default:
		e.object(q.ProtoReflect())
	}
}

// decodeTextScoring reads {"bm25": …}, which proto keeps in the query itself.
func decodeTextScoring(d *decoder, v scan.Value, q *qdrant.TextQuery) error {
	p, ok := v.Get("bm25")
	if !ok || v.Len() != 1 {
		return fail(v, "expected exactly one of `bm25`")
	}
	return in(d.member(p, q, "bm25"), "bm25")
}

func encodeTextScoring(e *encoder, q *qdrant.TextQuery) {
	if q.GetBm25() != nil {
		e.key("scoring")
		e.b = append(e.b, `{"bm25":`...)
		e.message(q.GetBm25().ProtoReflect())
		e.b = append(e.b, '}')
	}
}

// decodeIdf reads "global" or {"corpus": filter}.
func decodeIdf(d *decoder, v scan.Value, p *qdrant.IdfParams) error {
	if v.Is("global") {
		return nil
	}
	if _, ok := v.Get("corpus"); !ok || v.Len() != 1 {
		return fail(v, "expected `global` or an object with a `corpus`")
	}
	return d.object(v, p.ProtoReflect())
}

func encodeIdf(e *encoder, p *qdrant.IdfParams) {
	if p.GetCorpus() == nil {
		e.string("global")
		return
	}
	e.object(p.ProtoReflect())
}

// decodeExpression reads a number, a variable, an operator, or a condition.
func decodeExpression(d *decoder, v scan.Value, x *qdrant.Expression) error {
	switch v.Kind() {
	case scan.Number:
		f, ok := v.Float32()
		if !ok {
			return fail(v, "number out of range for a 32-bit float")
		}
		x.Variant = &qdrant.Expression_Constant{Constant: f}
		return nil
	case scan.String:
		x.Variant = &qdrant.Expression_Variable{Variable: v.Text()}
		return nil
	case scan.Object:
		for key := range v.Members() {
			switch name := string(key.Bytes()); name {
			case "constant", "variable", "condition":
			default:
				if x.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name)) != nil && v.Len() == 1 {
					return d.object(v, x.ProtoReflect())
				}
			}
		}
		c := new(qdrant.Condition)
		x.Variant = &qdrant.Expression_Condition{Condition: c}
		return decodeCondition(d, v, c)
	}
	return expected(v, "an expression")
}

func encodeExpression(e *encoder, x *qdrant.Expression) {
	switch x := x.GetVariant().(type) {
	case *qdrant.Expression_Constant:
		e.b = AppendFloat(e.b, float64(x.Constant), 32)
		return
	case *qdrant.Expression_Variable:
		e.string(x.Variable)
		return
	case *qdrant.Expression_Condition:
		e.message(x.Condition.ProtoReflect())
		return
	case nil:
		e.null()
		return
	}
	e.object(x.ProtoReflect())
}

// decodeExample reads a point id or a vector, in the older requests.
func decodeExample(d *decoder, v scan.Value, x *qdrant.VectorExample) error {
	if v.Kind() == scan.Number || v.Kind() == scan.String {
		return d.member(v, x, "id")
	}
	return d.member(v, x, "vector")
}

func encodeExample(e *encoder, x *qdrant.VectorExample) { e.chosen(x) }

// exampleLists finds the two lists that one list of examples is split into.
func exampleLists(m proto.Message, name string) (ids *[]*qdrant.PointId, vectors *[]*qdrant.Vector) {
	switch r := m.(type) {
	case *qdrant.RecommendPoints:
		if name == "positive" {
			return &r.Positive, &r.PositiveVectors
		}
		return &r.Negative, &r.NegativeVectors
	case *qdrant.RecommendPointGroups:
		if name == "positive" {
			return &r.Positive, &r.PositiveVectors
		}
		return &r.Negative, &r.NegativeVectors
	}
	return new([]*qdrant.PointId), new([]*qdrant.Vector)
}

// examples is the member whose list holds ids and vectors side by side.
func examples(name string) fieldRule {
	decode := func(d *decoder, v scan.Value, m proto.Message) error {
		if v.Kind() != scan.Array {
			return expected(v, "a list")
		}
		ids, vectors := exampleLists(m, name)
		*ids, *vectors = nil, nil
		for i, item := range v.Items() {
			x := new(qdrant.VectorExample)
			if err := decodeExample(d, item, x); err != nil {
				return inItem(err, i)
			}
			if x.GetId() != nil {
				*ids = append(*ids, x.GetId())
			} else {
				*vectors = append(*vectors, x.GetVector())
			}
		}
		return nil
	}
	encode := func(e *encoder, m proto.Message) {
		ids, vectors := exampleLists(m, name)
		e.key(name)
		e.b = append(e.b, '[')
		for _, id := range *ids {
			e.comma()
			encodePointID(e, id)
		}
		for _, v := range *vectors {
			e.comma()
			encodeVector(e, v)
		}
		e.b = append(e.b, ']')
	}
	return member("", decode, encode)
}

// searchVector finds the three fields that the older search spreads its vector over.
func searchVector(m proto.Message) (data *[]float32, indices **qdrant.SparseIndices, name **string) {
	switch s := m.(type) {
	case *qdrant.SearchPoints:
		return &s.Vector, &s.SparseIndices, &s.VectorName
	case *qdrant.SearchPointGroups:
		return &s.Vector, &s.SparseIndices, &s.VectorName
	}
	return new([]float32), new(*qdrant.SparseIndices), new(*string)
}

// decodeSearchVector reads [..] or {"name": n, "vector": [..] or {"indices", "values"}}.
func decodeSearchVector(d *decoder, v scan.Value, m proto.Message) (err error) {
	data, indices, name := searchVector(m)
	*data, *indices, *name = nil, nil, nil
	if v.Kind() != scan.Object {
		*data, err = floats(v)
		return err
	}
	n, ok := v.Get("name")
	if !ok || n.Kind() != scan.String {
		return fail(v, "missing field `name`")
	}
	inner, ok := v.Get("vector")
	if !ok {
		return fail(v, "missing field `vector`")
	}
	text := n.Text()
	*name = &text
	if inner.Kind() != scan.Object {
		*data, err = floats(inner)
		return in(err, "vector")
	}
	sparse := new(qdrant.SparseVector)
	if err := decodeSparse(d, inner, sparse); err != nil {
		return in(err, "vector")
	}
	*data, *indices = sparse.Values, &qdrant.SparseIndices{Data: sparse.Indices}
	return nil
}

func encodeSearchVector(e *encoder, m proto.Message) {
	data, indices, name := searchVector(m)
	e.key("vector")
	if *name == nil {
		e.floats(*data)
		return
	}
	e.b = append(e.b, '{')
	e.key("name")
	e.string(**name)
	e.key("vector")
	if *indices != nil {
		encodeSparse(e, &qdrant.SparseVector{Indices: (*indices).GetData(), Values: *data})
	} else {
		e.floats(*data)
	}
	e.b = append(e.b, '}')
}
