package validate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/protobuf/proto"
)

// Schema is what the vectors of a collection must be, by name; the default
// vector has the empty name.
type Schema map[string]Vector

// Vector is one dense vector of a schema.
type Vector struct {
	Size     uint64
	Distance qdrant.Distance
}

// SchemaOf reads the schema out of a collection's configuration.
func SchemaOf(v *qdrant.VectorsConfig) Schema {
	s := Schema{}
	eachVector(v, func(_, name string, p *qdrant.VectorParams) { s[name] = Vector{p.GetSize(), p.GetDistance()} })
	return s
}

// Using finds the vector that a query names; no name means the default one.
func (s Schema) Using(name string) (Vector, error) {
	if v, ok := s[name]; ok {
		return v, nil
	}
	if name == "" && len(s) > 0 {
		return Vector{}, fault.New(fault.VectorNameUnknown,
			"Wrong input: Collection requires specified vector name in the request, available names: %s",
			strings.Join(slices.Sorted(maps.Keys(s)), ", "))
	}
	return Vector{}, unknownVector(name)
}

// Names checks the names of vectors that are to be removed or answered.
func (s Schema) Names(names []string) error {
	for _, n := range names {
		if _, ok := s[n]; !ok {
			return unknownVector(n)
		}
	}
	return nil
}

func unknownVector(name string) error {
	return fault.New(fault.VectorNameUnknown, "Wrong input: Not existing vector name error: %s", shorten(name))
}

func shorten(s string) string {
	if len(s) > MaxVectorNameBytes {
		return strings.ToValidUTF8(s[:MaxVectorNameBytes], "") + "..."
	}
	return s
}

// Place says where in a request something stands. It is printed only when that
// is wrong.
type Place struct {
	List  string // "points"; empty: Part stands at the top
	Index int
	Part  string // "vector"
	Name  string // of a named vector
}

func (p Place) named(name string) Place {
	p.Name = name
	return p
}

// String prints `points[3].vector.image`.
func (p Place) String() string {
	s := p.Part
	if p.List != "" {
		s = fmt.Sprintf("%s[%d].%s", p.List, p.Index, p.Part)
	}
	if p.Name != "" {
		s += "." + shorten(p.Name)
	}
	return s
}

// Dense checks numbers against a vector of the schema. NaN and infinities have
// no place in an order of scores and are refused.
func (v Vector) Dense(at Place, data []float32) error {
	if len(data) == 0 {
		var c Check
		c.Add(at.String(), "value invalid, vector must not be empty")
		return c.Err()
	}
	if uint64(len(data)) != v.Size {
		return fault.New(fault.DimensionMismatch, "Wrong input: Vector dimension error: expected dim: %d, got %d", v.Size, len(data))
	}
	if i := notFinite(data); i >= 0 {
		return fault.BadInput("%s[%d] is NaN or infinite; vectors hold finite numbers only", at, i)
	}
	return nil
}

// notFinite is the index of the first NaN or infinity, -1 if there is none. Both
// have an exponent of all ones: one more runs over into the sign.
func notFinite(data []float32) int {
	const magnitude, one = 1<<31 - 1, 1 << 23
	var over uint32
	for _, x := range data {
		over |= math.Float32bits(x)&magnitude + one
	}
	if over>>31 == 0 {
		return -1
	}
	return slices.IndexFunc(data, func(x float32) bool { return (math.Float32bits(x)&magnitude+one)>>31 != 0 })
}

// dense rewrites a vector, flat or not, to its dense form, or says what it is.
func dense(at Place, v *qdrant.Vector) ([]float32, error) {
	switch o := v.GetVector().(type) {
	case *qdrant.Vector_Dense:
		return o.Dense.GetData(), nil
	case *qdrant.Vector_Sparse:
		return nil, wrongKind("sparse")
	case *qdrant.Vector_MultiDense:
		return nil, wrongKind("multi")
	case *qdrant.Vector_Document:
		return nil, fault.Missing("inference of documents")
	case *qdrant.Vector_Image:
		return nil, fault.Missing("inference of images")
	case *qdrant.Vector_Object:
		return nil, fault.Missing("inference of objects")
	}
	if v == nil {
		return nil, unable("Malformed vector: %s holds none", at)
	}
	// What follows is the flat form that older clients send.
	if v.GetIndices() != nil {
		return nil, wrongKind("sparse")
	}
	if v.GetVectorsCount() > 1 {
		return nil, wrongKind("multi")
	}
	data := v.GetData()
	proto.Reset(v)
	v.Vector = &qdrant.Vector_Dense{Dense: &qdrant.DenseVector{Data: data}}
	return data, nil
}

// wrongKind is a vector of another kind than the collection's.
func wrongKind(kind string) error {
	return fault.BadInput("Conversion between %s and regular vectors failed", kind)
}

// vectors checks all vectors of one point and brings them into dense form.
func (s Schema) vectors(at Place, vs *qdrant.Vectors) error {
	if vs == nil {
		return nil
	}
	switch o := vs.GetVectorsOptions().(type) {
	case *qdrant.Vectors_Vector:
		return s.one(at, "", o.Vector)
	case *qdrant.Vectors_Vectors:
		for name, v := range o.Vectors.GetVectors() {
			if err := s.one(at.named(name), name, v); err != nil {
				return err
			}
		}
		return nil
	}
	return unable("Malformed vectors: %s holds neither a vector nor named vectors", at)
}

func (s Schema) one(at Place, name string, v *qdrant.Vector) error {
	want, ok := s[name]
	if !ok {
		return unknownVector(name)
	}
	data, err := dense(at, v)
	if err != nil {
		return err
	}
	return want.Dense(at, data)
}

// Upsert checks points and gives them without those that a later one of the
// same id replaces. It reuses the slice.
func (s Schema) Upsert(points []*qdrant.PointStruct) ([]*qdrant.PointStruct, error) {
	if len(points) == 0 {
		return nil, empty()
	}
	last := make(map[topology.PointID]int, len(points))
	for i, p := range points {
		id, err := wire.PointID(p.GetId())
		if err != nil {
			return nil, fault.Wrap(fault.Malformed, err, "Unable to parse UUID: %v", err)
		}
		last[id] = i
		if err := s.vectors(Place{List: "points", Index: i, Part: "vector"}, p.GetVectors()); err != nil {
			return nil, err
		}
		size, err := document(Place{List: "points", Index: i, Part: "payload"}, p.GetPayload())
		if err != nil {
			return nil, err
		}
		if err := fits(i, p.GetVectors(), size); err != nil {
			return nil, err
		}
	}
	if len(last) == len(points) {
		return points, nil
	}
	out := points[:0]
	for i, p := range points {
		if id, err := wire.PointID(p.GetId()); err == nil && last[id] == i {
			out = append(out, p)
		}
	}
	return out, nil
}

// Vectors checks vectors that replace those of points.
func (s Schema) Vectors(points []*qdrant.PointVectors) error {
	if len(points) == 0 {
		return empty()
	}
	for i, p := range points {
		if err := ID(p.GetId()); err != nil {
			return err
		}
		at := Place{List: "points", Index: i, Part: "vector"}
		if p.GetVectors() == nil {
			return unable("Malformed vectors: %s is missing", at)
		}
		if err := s.vectors(at, p.GetVectors()); err != nil {
			return err
		}
		if err := fits(i, p.GetVectors(), 0); err != nil {
			return err
		}
	}
	return nil
}

// fits refuses a point that no entry of the log can hold. The message's size is
// above that of the vectors in the log; the slack is for id and counts.
func fits(i int, vs *qdrant.Vectors, payload int) error {
	const slack = 64
	if proto.Size(vs)+payload > op.MaxBody-slack {
		return fault.BadInput("points[%d] is larger than %d MiB, vectors and payload together", i, op.MaxBody>>20)
	}
	return nil
}

// Payload checks what is to be stored with points.
func Payload(p map[string]*qdrant.Value) error {
	_, err := document(Place{Part: "payload"}, p)
	return err
}

// document checks a payload and gives its size as it is stored.
func document(at Place, m map[string]*qdrant.Value) (int, error) {
	size, err := fields(at, m, 1)
	if err == nil && size > payload.MaxSize {
		err = fault.BadInput("%s is larger than %d MiB", at, payload.MaxSize>>20)
	}
	return size, err
}

// fields checks the values of an object that is the level-th from the outside.
func fields(at Place, m map[string]*qdrant.Value, level int) (int, error) {
	if level > payload.MaxDepth {
		return 0, tooDeep(at)
	}
	size := payload.SizeOf(payload.Object, 0)
	for k, v := range m {
		n, err := value(at, v, level)
		if err != nil {
			return 0, err
		}
		size += payload.KeySize(k) + n
	}
	return size, nil
}

func tooDeep(at Place) error {
	return fault.BadInput("%s is nested deeper than %d levels", at, payload.MaxDepth)
}

func value(at Place, v *qdrant.Value, level int) (int, error) {
	switch o := v.GetKind().(type) {
	case *qdrant.Value_BoolValue:
		return payload.SizeOf(payload.Bool, 0), nil
	case *qdrant.Value_IntegerValue:
		return payload.SizeOf(payload.Integer, 0), nil
	case *qdrant.Value_DoubleValue:
		if math.IsNaN(o.DoubleValue) || math.IsInf(o.DoubleValue, 0) {
			return 0, fault.BadInput("%s holds a number that is NaN or infinite", at)
		}
		return payload.SizeOf(payload.Double, 0), nil
	case *qdrant.Value_StringValue:
		return payload.SizeOf(payload.String, len(o.StringValue)), nil
	case *qdrant.Value_StructValue:
		return fields(at, o.StructValue.GetFields(), level+1)
	case *qdrant.Value_ListValue:
		if level+1 > payload.MaxDepth {
			return 0, tooDeep(at)
		}
		size := payload.SizeOf(payload.List, 0)
		for _, e := range o.ListValue.GetValues() {
			n, err := value(at, e, level+1)
			if err != nil {
				return 0, err
			}
			size += n
		}
		return size, nil
	}
	return payload.SizeOf(payload.Null, 0), nil
}

// WithVectors checks which vectors are to be answered. A collection without
// that vector refuses its name.
func (s Schema) WithVectors(w *qdrant.WithVectorsSelector) error {
	if w == nil {
		return nil
	}
	switch o := w.GetSelectorOptions().(type) {
	case *qdrant.WithVectorsSelector_Enable:
		return nil
	case *qdrant.WithVectorsSelector_Include:
		return s.Names(o.Include.GetNames())
	}
	return unable("No VectorsSelector")
}

// Params checks the parameters of a search that stands at a place: `searches[2].`.
func (c *Check) Params(at string, p *qdrant.SearchParams) {
	if p == nil {
		return
	}
	optAtLeast(c, at+"params.hnsw_ef", p.HnswEf, 1)
	if q := p.GetQuantization(); q != nil {
		optAtLeast(c, at+"params.quantization.oversampling", q.Oversampling, 1)
	}
	if a := p.GetAcorn(); a != nil {
		optBetween(c, at+"params.acorn.max_selectivity", a.MaxSelectivity, 0, 1)
	}
}

// Limit checks a number of points that must be at least 1.
func (c *Check) Limit(limit uint64) { c.LimitAt("limit", limit) }

// LimitAt is Limit for a field of another name.
func (c *Check) LimitAt(field string, limit uint64) { atLeast(c, field, limit, 1) }

// Threshold checks a score threshold.
func (c *Check) Threshold(at string, t *float32) {
	if t != nil && *t != *t {
		c.Add(at+"score_threshold", "value NaN invalid, must be a number")
	}
}

// Mode checks which points an upsert may touch.
func Mode(m qdrant.UpdateMode) error {
	if m < qdrant.UpdateMode_Upsert || m > qdrant.UpdateMode_UpdateOnly {
		return unable("Malformed update_mode: %d", int32(m))
	}
	return nil
}

// Some wants a list with something in it.
func Some(field string, n int) error {
	var c Check
	if n == 0 {
		c.Add(field, "value [] invalid, must not be empty")
	}
	return c.Err()
}

// Unknown is an element of a list that holds none of the known kinds.
func Unknown(list string, i int) error {
	return unable("Malformed request: %s[%d] holds nothing known", list, i)
}
