package dialect

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/rest/scan"
)

// shape tells the forms of a vector apart.
type shape uint8

const (
	noVector shape = iota
	denseShape
	multiShape
	sparseShape
	documentShape
	imageShape
	objectShape
)

// shapeOf looks at the type and, for objects, at the names of members. An
// object with a model is to be embedded, whatever else it is called.
func shapeOf(v scan.Value) shape {
	switch v.Kind() {
	case scan.Array:
		if v.Numeric() || v.Len() == 0 {
			return denseShape
		}
		for _, first := range v.Items() {
			if first.Kind() == scan.Array {
				return multiShape
			}
			return denseShape
		}
	case scan.Object:
		has := func(name string) bool {
			_, ok := v.Get(name)
			return ok
		}
		switch {
		case has("indices") || has("values"):
			return sparseShape
		case has("text"):
			return documentShape
		case has("image"):
			return imageShape
		case has("object"):
			return objectShape
		}
	}
	return noVector
}

// inferred tells an object to embed from a map of vectors by name.
func inferred(v scan.Value) bool {
	model, ok := v.Get("model")
	return ok && model.Kind() == scan.String
}

func noSuchShape(v scan.Value) error {
	return fail(v, "data did not match any form of a vector")
}

func decodeDense(_ *decoder, v scan.Value, out *qdrant.DenseVector) (err error) {
	out.Data, err = floats(v)
	return err
}

func floats(v scan.Value) ([]float32, error) {
	if v.Kind() != scan.Array {
		return nil, expected(v, "a list of floats")
	}
	if !v.Numeric() {
		for i, e := range v.Items() {
			return nil, inFirst(e, i)
		}
		return nil, nil
	}
	data, ok := v.Float32s()
	if !ok {
		return nil, fail(v, "number out of range for a 32-bit float")
	}
	return data, nil
}

// inFirst reports the element that keeps an array from being numeric; if the
// first is a number, the array is to blame.
func inFirst(e scan.Value, i int) error {
	if e.Kind() == scan.Number {
		return fail(e, "expected only numbers in a vector")
	}
	return inItem(expected(e, "a 32-bit float"), i)
}

func encodeDense(e *encoder, v *qdrant.DenseVector) { e.floats(v.GetData()) }

func (e *encoder) floats(data []float32) {
	e.b = append(e.b, '[')
	for i, f := range data {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.b = AppendFloat(e.b, float64(f), 32)
	}
	e.b = append(e.b, ']')
}

func decodeSparse(d *decoder, v scan.Value, out *qdrant.SparseVector) (err error) {
	indices, ok := v.Get("indices")
	if !ok {
		return fail(v, "missing field `indices`")
	}
	values, ok := v.Get("values")
	if !ok {
		return fail(v, "missing field `values`")
	}
	if out.Values, err = floats(values); err != nil {
		return in(err, "values")
	}
	list := &field{fd: out.ProtoReflect().Descriptor().Fields().ByName("indices")}
	return in(d.list(indices, out.ProtoReflect(), list), "indices")
}

func encodeSparse(e *encoder, v *qdrant.SparseVector) {
	r := v.ProtoReflect()
	e.b = append(e.b, `{"indices":`...)
	fd := r.Descriptor().Fields().ByName("indices")
	e.value(&field{fd: fd}, r.Get(fd))
	e.b = append(e.b, `,"values":`...)
	e.floats(v.GetValues())
	e.b = append(e.b, '}')
}

// member reads v into the message field of that name, found by descriptor.
func (d *decoder) member(v scan.Value, m proto.Message, name protoreflect.Name) error {
	r := m.ProtoReflect()
	return d.message(v, r.Mutable(r.Descriptor().Fields().ByName(name)).Message())
}

// fieldName is the field that takes a shape, in all messages with a oneof of vectors.
func (s shape) fieldName() protoreflect.Name {
	return [...]protoreflect.Name{"", "dense", "multi_dense", "sparse", "document", "image", "object"}[s]
}

func decodeVector(d *decoder, v scan.Value, out *qdrant.Vector) error {
	s := shapeOf(v)
	if s == noVector {
		return noSuchShape(v)
	}
	return d.member(v, out, s.fieldName())
}

// encodeVector prints the older flat form as well.
func encodeVector(e *encoder, v *qdrant.Vector) {
	if v.GetVector() != nil {
		e.chosen(v)
		return
	}
	e.flat(v.GetData(), v.GetIndices().GetData(), v.GetVectorsCount())
}

// chosen prints the message that is set in the oneof of m.
func (e *encoder) chosen(m proto.Message) {
	r := m.ProtoReflect()
	for fd, v := range r.Range {
		if fd.ContainingOneof() != nil && !fd.ContainingOneof().IsSynthetic() {
			e.message(v.Message())
			return
		}
	}
	e.null()
}

func (e *encoder) flat(data []float32, indices []uint32, rows uint32) {
	switch {
	case len(indices) > 0:
		encodeSparse(e, &qdrant.SparseVector{Indices: indices, Values: data})
	case rows > 1 && len(data)%int(rows) == 0:
		n := len(data) / int(rows)
		e.b = append(e.b, '[')
		for i := range int(rows) {
			e.comma()
			e.floats(data[i*n : (i+1)*n])
		}
		e.b = append(e.b, ']')
	default:
		e.floats(data)
	}
}

func decodeVectorOutput(d *decoder, v scan.Value, out *qdrant.VectorOutput) error {
	s := shapeOf(v)
	if s == noVector || s > sparseShape {
		return noSuchShape(v)
	}
	return d.member(v, out, s.fieldName())
}

func encodeVectorOutput(e *encoder, v *qdrant.VectorOutput) {
	if v.GetVector() != nil {
		e.chosen(v)
		return
	}
	e.flat(v.GetData(), v.GetIndices().GetData(), v.GetVectorsCount())
}

// decodeVectors reads all vectors of a point: one without a name, or a map.
func decodeVectors(d *decoder, v scan.Value, out *qdrant.Vectors) error {
	if v.Kind() == scan.Object && !inferred(v) {
		named := new(qdrant.NamedVectors)
		out.VectorsOptions = &qdrant.Vectors_Vectors{Vectors: named}
		return d.named(v, named)
	}
	one := new(qdrant.Vector)
	out.VectorsOptions = &qdrant.Vectors_Vector{Vector: one}
	return decodeVector(d, v, one)
}

// named reads a map of vectors into the field "vectors" of m.
func (d *decoder) named(v scan.Value, m proto.Message) error {
	r := m.ProtoReflect()
	return d.mapping(v, r, r.Descriptor().Fields().ByName("vectors"))
}

func encodeVectors(e *encoder, v *qdrant.Vectors) {
	switch one := v.GetVector(); {
	case one == nil:
		e.named(v.GetVectors())
	case one.GetSparse() != nil || one.GetIndices() != nil:
		e.unnamed(func() { encodeVector(e, one) })
	default:
		encodeVector(e, one)
	}
}

// unnamed gives a sparse vector without a name the empty one: bare, it would
// read as a map of the two vectors "indices" and "values".
func (e *encoder) unnamed(vector func()) {
	e.b = append(e.b, `{"":`...)
	vector()
	e.b = append(e.b, '}')
}

func (e *encoder) named(m proto.Message) {
	r := m.ProtoReflect()
	fd := r.Descriptor().Fields().ByName("vectors")
	e.mapping(&field{fd: fd}, r.Get(fd).Map())
}

func decodeVectorsOutput(d *decoder, v scan.Value, out *qdrant.VectorsOutput) error {
	if v.Kind() == scan.Object {
		named := new(qdrant.NamedVectorsOutput)
		out.VectorsOptions = &qdrant.VectorsOutput_Vectors{Vectors: named}
		return d.named(v, named)
	}
	one := new(qdrant.VectorOutput)
	out.VectorsOptions = &qdrant.VectorsOutput_Vector{Vector: one}
	return decodeVectorOutput(d, v, one)
}

func encodeVectorsOutput(e *encoder, v *qdrant.VectorsOutput) {
	switch one := v.GetVector(); {
	case one == nil:
		e.named(v.GetVectors())
	case one.GetSparse() != nil || one.GetIndices() != nil:
		e.unnamed(func() { encodeVectorOutput(e, one) })
	default:
		encodeVectorOutput(e, one)
	}
}

// pointsOf finds the list that the columnar form of an upsert expands into.
func pointsOf(m proto.Message) *[]*qdrant.PointStruct {
	switch u := m.(type) {
	case *qdrant.UpsertPoints:
		return &u.Points
	case *qdrant.PointsUpdateOperation_PointStructList:
		return &u.Points
	}
	return new([]*qdrant.PointStruct)
}

// upsertRule adds the columnar form: {"batch": {"ids", "vectors", "payloads"}}.
func upsertRule() messageRule {
	return messageRule{
		decode: func(d *decoder, v scan.Value, m protoreflect.Message) error {
			_, rows := v.Get("points")
			_, columns := v.Get("batch")
			if v.Kind() == scan.Object && !rows && !columns {
				return fail(v, "missing field `points` or `batch`")
			}
			return d.object(v, m)
		},
		virtual: []fieldRule{{name: "batch", decode: typed(decodeBatch), encode: func(*encoder, protoreflect.Message) {}}},
	}
}

func decodeBatch(d *decoder, v scan.Value, m proto.Message) error {
	ids, ok := v.Get("ids")
	if !ok || ids.Kind() != scan.Array {
		return fail(v, "missing field `ids`")
	}
	points := make([]*qdrant.PointStruct, ids.Len())
	for i, id := range ids.Items() {
		points[i] = &qdrant.PointStruct{Id: new(qdrant.PointId)}
		if err := decodePointID(d, id, points[i].Id); err != nil {
			return in(inItem(err, i), "ids")
		}
	}
	vectors, ok := v.Get("vectors")
	if !ok {
		return fail(v, "missing field `vectors`")
	}
	if err := d.columns(vectors, points); err != nil {
		return in(err, "vectors")
	}
	if payloads, ok := v.Get("payloads"); ok && payloads.Kind() != scan.Null {
		if err := d.payloads(payloads, points); err != nil {
			return in(err, "payloads")
		}
	}
	*pointsOf(m) = points
	return nil
}

// columns spreads a list of vectors, or a map of lists by name, over the points.
func (d *decoder) columns(v scan.Value, points []*qdrant.PointStruct) error {
	if v.Kind() != scan.Object {
		return d.column(v, points, func(p *qdrant.PointStruct, e scan.Value) error {
			p.Vectors = new(qdrant.Vectors)
			return decodeVectors(d, e, p.Vectors)
		})
	}
	for _, p := range points {
		named := &qdrant.NamedVectors{Vectors: map[string]*qdrant.Vector{}}
		p.Vectors = &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vectors{Vectors: named}}
	}
	for key, list := range v.Members() {
		name := string(key.Bytes())
		err := d.column(list, points, func(p *qdrant.PointStruct, e scan.Value) error {
			x := new(qdrant.Vector)
			p.GetVectors().GetVectors().Vectors[name] = x
			return decodeVector(d, e, x)
		})
		if err != nil {
			return in(err, name)
		}
	}
	return nil
}

func (d *decoder) payloads(v scan.Value, points []*qdrant.PointStruct) error {
	return d.column(v, points, func(p *qdrant.PointStruct, e scan.Value) (err error) {
		if e.Kind() == scan.Null {
			return nil
		}
		if e.Kind() != scan.Object {
			return expected(e, "a map")
		}
		p.Payload, err = decodeFields(d, e)
		return err
	})
}

// column gives each point its element of a list.
func (d *decoder) column(v scan.Value, points []*qdrant.PointStruct, put func(*qdrant.PointStruct, scan.Value) error) error {
	if v.Kind() != scan.Array {
		return expected(v, "a list")
	}
	if v.Len() != len(points) {
		return fail(v, "number of ids and elements must be equal (%d != %d)", len(points), v.Len())
	}
	for i, e := range v.Items() {
		if err := put(points[i], e); err != nil {
			return inItem(err, i)
		}
	}
	return nil
}
