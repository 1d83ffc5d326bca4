package validate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/query/turbo"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/protobuf/proto"
)

// Schema is what the vectors of a collection must be, by name; the default
// vector has the empty name.
type Schema map[string]Vector

// Vector is one vector of a schema.
type Vector struct {
	Size     uint64 // of each dense vector; Sparse: 0
	Distance qdrant.Distance
	Kind     query.VectorKind
	Datatype qdrant.Datatype
	// IDF (Sparse): queries are scaled by inverse document frequency.
	IDF bool
}

// SchemaOf reads the schema out of a collection's parameters.
func SchemaOf(c *qdrant.CollectionParams) Schema {
	s := Schema{}
	eachVector(c.GetVectorsConfig(), func(_, name string, p *qdrant.VectorParams) {
		v := Vector{Size: p.GetSize(), Distance: p.GetDistance(), Datatype: p.GetDatatype()}
		if p.GetMultivectorConfig() != nil {
			v.Kind = query.Multi
		}
		s[name] = v
	})
	eachSparse(c.GetSparseVectorsConfig(), func(_, name string, p *qdrant.SparseVectorParams) {
		s[name] = Vector{Distance: qdrant.Distance_Dot, Kind: query.Sparse, IDF: p.GetModifier() == qdrant.Modifier_Idf}
	})
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

// Changes checks that a change of settings names vectors that are there, as what
// they are.
func (s Schema) Changes(r *qdrant.UpdateCollection) error {
	for name := range DiffVectors(r.GetVectorsConfig()) {
		if v, ok := s[name]; !ok || v.Kind == query.Sparse {
			return unknownVector(name)
		}
	}
	for name := range r.GetSparseVectorsConfig().GetMap() {
		if v, ok := s[name]; !ok || v.Kind != query.Sparse {
			return unknownVector(name)
		}
	}
	return nil
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

// vectors checks all vectors of one point and brings them into their oneof.
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
	if v == nil {
		return unable("Malformed vector: %s holds none", at)
	}
	if err := unflatten(at, v); err != nil {
		return err
	}
	switch o := v.GetVector().(type) {
	case *qdrant.Vector_Dense:
		if want.Kind == query.Multi {
			v.Vector = &qdrant.Vector_MultiDense{MultiDense: rowOf(o.Dense)}
			return want.Multi(at, v.GetMultiDense())
		}
		return want.Dense(at, o.Dense.GetData())
	case *qdrant.Vector_Sparse:
		return want.Sparse(at, o.Sparse)
	case *qdrant.Vector_MultiDense:
		return want.Multi(at, o.MultiDense)
	case *qdrant.Vector_Document:
		m, err := want.text(at, o.Document)
		if err != nil {
			return err
		}
		words := &qdrant.SparseVector{}
		words.Indices, words.Values = m.Document(o.Document.GetText())
		v.Vector = &qdrant.Vector_Sparse{Sparse: words}
		return want.Sparse(at, words)
	case *qdrant.Vector_Image:
		return fault.Missing("inference of images")
	}
	return fault.Missing("inference of objects")
}

// rowOf makes a multi-vector of one vector.
func rowOf(v *qdrant.DenseVector) *qdrant.MultiDenseVector {
	return &qdrant.MultiDenseVector{Vectors: []*qdrant.DenseVector{v}}
}

// unflatten rewrites the flat form that older clients send.
func unflatten(at Place, v *qdrant.Vector) error {
	if v.GetVector() != nil {
		return nil
	}
	data, indices, count := v.GetData(), v.GetIndices(), int(v.GetVectorsCount())
	proto.Reset(v)
	switch {
	case indices != nil:
		v.Vector = &qdrant.Vector_Sparse{Sparse: &qdrant.SparseVector{Indices: indices.GetData(), Values: data}}
	case count <= 1:
		v.Vector = &qdrant.Vector_Dense{Dense: &qdrant.DenseVector{Data: data}}
	case len(data) == 0 || len(data)%count != 0:
		var c Check
		c.Add(at.String(), "%d numbers do not make %d vectors of equal length", len(data), count)
		return c.Err()
	default:
		m := &qdrant.MultiDenseVector{}
		for row := range slices.Chunk(data, len(data)/count) {
			m.Vectors = append(m.Vectors, &qdrant.DenseVector{Data: row})
		}
		v.Vector = &qdrant.Vector_MultiDense{MultiDense: m}
	}
	return nil
}

// wrongKind is a vector of another kind than the collection's.
func wrongKind(kind string) error {
	return fault.BadInput("Conversion between %s and regular vectors failed", kind)
}

// Dense checks numbers against a vector of the schema. NaN and infinities have
// no place in an order of scores and are refused.
func (v Vector) Dense(at Place, data []float32) error {
	if v.Kind == query.Sparse {
		return wrongKind("sparse")
	}
	if err := v.row(at.String, data); err != nil {
		return err
	}
	if i := v.outside(data); i >= 0 {
		return fault.BadInput("%s[%d] is %v, %s", at, i, data[i], v.bounds())
	}
	return nil
}

func (v Vector) row(at func() string, data []float32) error {
	if len(data) == 0 {
		var c Check
		c.Add(at(), "value invalid, vector must not be empty")
		return c.Err()
	}
	if uint64(len(data)) != v.Size {
		return fault.New(fault.DimensionMismatch, "Wrong input: Vector dimension error: expected dim: %d, got %d", v.Size, len(data))
	}
	if i := notFinite(data); i >= 0 {
		return fault.BadInput("%s[%d] is NaN or infinite; vectors hold finite numbers only", at(), i)
	}
	return nil
}

// Multi checks a multi-vector against one of the schema.
func (v Vector) Multi(at Place, m *qdrant.MultiDenseVector) error {
	switch {
	case v.Kind == query.Sparse:
		return wrongKind("sparse")
	case v.Kind != query.Multi:
		return wrongKind("multi")
	case len(m.GetVectors()) == 0:
		var c Check
		c.Add(at.String(), "value invalid, multi vector must not be empty")
		return c.Err()
	case uint64(len(m.GetVectors()))*v.Size > op.MaxMultiSize:
		return fault.BadInput("%s has %d numbers, a multi vector has at most %d", at, uint64(len(m.GetVectors()))*v.Size, op.MaxMultiSize)
	}
	for i, row := range m.GetVectors() {
		where := func() string { return fmt.Sprintf("%s[%d]", at, i) }
		if err := v.row(where, row.GetData()); err != nil {
			return err
		}
		if j := v.outside(row.GetData()); j >= 0 {
			return fault.BadInput("%s[%d] is %v, %s", where(), j, row.GetData()[j], v.bounds())
		}
	}
	return nil
}

// Sparse checks a sparse vector; it may be empty.
func (v Vector) Sparse(at Place, s *qdrant.SparseVector) error {
	if v.Kind != query.Sparse {
		return wrongKind("sparse")
	}
	if n := len(s.GetValues()); n > op.MaxSparseSize {
		return fault.BadInput("%s has %d values, a sparse vector has at most %d", at, n, op.MaxSparseSize)
	}
	var c Check
	if len(s.GetIndices()) != len(s.GetValues()) {
		c.Add(at.String()+".values", "must be the same length as indices")
	}
	sorted := slices.IsSorted(s.GetIndices())
	unique := s.GetIndices()
	if !sorted {
		unique = slices.Sorted(slices.Values(unique))
	}
	for i := 1; i < len(unique); i++ {
		if unique[i-1] == unique[i] {
			c.Add(at.String()+".indices", "must be unique")
			break
		}
	}
	if err := c.Err(); err != nil {
		return err
	}
	if i := notFinite(s.GetValues()); i >= 0 {
		return fault.BadInput("%s.values[%d] is NaN or infinite; vectors hold finite numbers only", at, i)
	}
	return nil
}

// InputOf makes the input of a query of a vector in any form that points have. What
// it is given may change its form.
func InputOf(at Place, v *qdrant.Vector) (*qdrant.VectorInput, error) {
	if err := unflatten(at, v); err != nil {
		return nil, err
	}
	switch o := v.GetVector().(type) {
	case *qdrant.Vector_Dense:
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: o.Dense}}, nil
	case *qdrant.Vector_Sparse:
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{Sparse: o.Sparse}}, nil
	case *qdrant.Vector_MultiDense:
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: o.MultiDense}}, nil
	case *qdrant.Vector_Document:
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Document{Document: o.Document}}, nil
	case *qdrant.Vector_Image:
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Image{Image: o.Image}}, nil
	case *qdrant.Vector_Object:
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Object{Object: o.Object}}, nil
	}
	return nil, unable("Malformed vector: %s holds none", at)
}

// Input checks what a query compares with and brings it into the form of the
// schema: numbers of a vector of bytes are cut to bytes, texts become vectors. It
// changes nothing that it is given.
func (v Vector) Input(at Place, in *qdrant.VectorInput) (*qdrant.VectorInput, error) {
	switch o := in.GetVariant().(type) {
	case *qdrant.VectorInput_Dense:
		if v.Kind == query.Multi {
			return v.multiInput(at, rowOf(o.Dense))
		}
		if v.Kind == query.Sparse {
			return nil, wrongKind("sparse")
		}
		if err := v.row(at.String, o.Dense.GetData()); err != nil {
			return nil, err
		}
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: v.cut(o.Dense)}}, nil
	case *qdrant.VectorInput_Sparse:
		return in, v.Sparse(at, o.Sparse)
	case *qdrant.VectorInput_MultiDense:
		return v.multiInput(at, o.MultiDense)
	case *qdrant.VectorInput_Document:
		m, err := v.text(at, o.Document)
		if err != nil {
			return nil, err
		}
		words := &qdrant.SparseVector{}
		words.Indices, words.Values = m.Query(o.Document.GetText())
		return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{Sparse: words}}, v.Sparse(at, words)
	case *qdrant.VectorInput_Image:
		return nil, fault.Missing("inference of images")
	case *qdrant.VectorInput_Object:
		return nil, fault.Missing("inference of objects")
	}
	return nil, fault.New(fault.Malformed, "Malformed query: it holds no vector and no id")
}

func (v Vector) multiInput(at Place, m *qdrant.MultiDenseVector) (*qdrant.VectorInput, error) {
	free := v
	free.Datatype = qdrant.Datatype_Float32 // a query may have any numbers
	if err := free.Multi(at, m); err != nil {
		return nil, err
	}
	out := &qdrant.MultiDenseVector{Vectors: make([]*qdrant.DenseVector, len(m.GetVectors()))}
	for i, row := range m.GetVectors() {
		out.Vectors[i] = v.cut(row)
	}
	return &qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: out}}, nil
}

// cut gives numbers as they compare with stored ones: those of bytes lose what is
// behind the point, and what is outside of 0..255.
func (v Vector) cut(d *qdrant.DenseVector) *qdrant.DenseVector {
	if v.Datatype != qdrant.Datatype_Uint8 {
		return d
	}
	out := &qdrant.DenseVector{Data: make([]float32, len(d.GetData()))}
	for i, x := range d.GetData() {
		out.Data[i] = float32(math.Trunc(float64(min(max(x, 0), 255))))
	}
	return out
}

// maxFloat16 is the greatest number of 16 bits.
const maxFloat16 = 65504

// outside is the index of the first number that the datatype cannot hold, -1 if
// there is none.
func (v Vector) outside(data []float32) int {
	lo, hi := float32(-maxFloat16), float32(maxFloat16)
	switch {
	case v.Datatype == qdrant.Datatype_Uint8:
		lo, hi = 0, 255
	case v.Datatype == qdrant.Datatype_Turbo4 && v.Distance != qdrant.Distance_Cosine:
		lo, hi = -turbo.MaxElement, turbo.MaxElement
	case v.Datatype != qdrant.Datatype_Float16, v.Distance == qdrant.Distance_Cosine: // of length 1 when it is stored
		return -1
	}
	return slices.IndexFunc(data, func(x float32) bool { return x < lo || x > hi })
}

func (v Vector) bounds() string {
	switch v.Datatype {
	case qdrant.Datatype_Uint8:
		return "vectors of datatype uint8 hold numbers from 0 to 255"
	case qdrant.Datatype_Turbo4:
		return fmt.Sprintf("vectors of datatype turbo4 hold numbers from -%g to %[1]g", float64(turbo.MaxElement))
	}
	return fmt.Sprintf("vectors of datatype float16 hold numbers from -%d to %d", maxFloat16, maxFloat16)
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

// stored is at least how many bytes the vectors take in an entry of the log.
func stored(vs *qdrant.Vectors) int {
	const head = 16 // name's length, kind, sizes
	size := func(v *qdrant.Vector) int {
		n := head + 4*len(v.GetDense().GetData()) + 9*len(v.GetSparse().GetValues())
		for _, row := range v.GetMultiDense().GetVectors() {
			n += 4 * len(row.GetData())
		}
		return n
	}
	if v := vs.GetVector(); v != nil {
		return size(v)
	}
	n := 0
	for name, v := range vs.GetVectors().GetVectors() {
		n += len(name) + size(v)
	}
	return n
}
