package peer

import (
	"slices"
	"strings"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/fault"
)

// vectorsOf reads a point's vectors, sorted by name. The floats are the
// message's own where they can be: the engine copies what it keeps.
func vectorsOf(v *qdrant.Vectors) ([]op.Vector, error) {
	switch o := v.GetVectorsOptions().(type) {
	case *qdrant.Vectors_Vector:
		one, err := vectorOf("", o.Vector)
		if err != nil {
			return nil, err
		}
		return []op.Vector{one}, nil
	case *qdrant.Vectors_Vectors:
		out := make([]op.Vector, 0, len(o.Vectors.GetVectors()))
		for name, vec := range o.Vectors.GetVectors() {
			one, err := vectorOf(name, vec)
			if err != nil {
				return nil, err
			}
			out = append(out, one)
		}
		slices.SortFunc(out, func(a, b op.Vector) int { return strings.Compare(a.Name, b.Name) })
		return out, nil
	}
	return nil, nil
}

// vectorOf reads the vector in its oneof, or dense in the older flat form.
func vectorOf(name string, v *qdrant.Vector) (op.Vector, error) {
	switch o := v.GetVector().(type) {
	case nil:
		if v.GetIndices() == nil && v.GetVectorsCount() <= 1 {
			return op.Vector{Name: name, Data: v.GetData()}, nil
		}
		return op.Vector{}, fault.BadInput("vector %q is sparse or multi in the flat form", name)
	case *qdrant.Vector_Dense:
		return op.Vector{Name: name, Data: o.Dense.GetData()}, nil
	case *qdrant.Vector_Sparse:
		return sparseOf(name, o.Sparse), nil
	case *qdrant.Vector_MultiDense:
		return multiOf(name, o.MultiDense)
	}
	return op.Vector{}, fault.Missing("inference")
}

// sparseOf keeps the order of the indices. What is empty is not nil, which would
// make another kind of it.
func sparseOf(name string, s *qdrant.SparseVector) op.Vector {
	v := op.Vector{Name: name, Data: s.GetValues(), Indices: s.GetIndices()}
	if v.Indices == nil {
		v.Indices = []uint32{}
	}
	if v.Data == nil {
		v.Data = []float32{}
	}
	return v
}

// multiOf puts the rows one after the other; they must be of one length.
func multiOf(name string, m *qdrant.MultiDenseVector) (op.Vector, error) {
	v := op.Vector{Name: name, Count: len(m.GetVectors())}
	for i, row := range m.GetVectors() {
		n := len(m.GetVectors()[0].GetData())
		if len(row.GetData()) != n {
			return v, fault.New(fault.DimensionMismatch, "Wrong input: Vector dimension error: expected dim: %d, got %d", n, len(row.GetData()))
		}
		if i == 0 {
			v.Data = make([]float32, 0, v.Count*n)
		}
		v.Data = append(v.Data, row.GetData()...)
	}
	return v, nil
}

// outputOf prints vectors: the unnamed one alone stands by itself, all others
// go by name.
func outputOf(vs []op.Vector) *qdrant.VectorsOutput {
	if len(vs) == 1 && vs[0].Name == "" {
		return &qdrant.VectorsOutput{VectorsOptions: &qdrant.VectorsOutput_Vector{Vector: protoVector(vs[0])}}
	}
	named := &qdrant.NamedVectorsOutput{Vectors: make(map[string]*qdrant.VectorOutput, len(vs))}
	for _, v := range vs {
		named.Vectors[v.Name] = protoVector(v)
	}
	return &qdrant.VectorsOutput{VectorsOptions: &qdrant.VectorsOutput_Vectors{Vectors: named}}
}

func protoVector(v op.Vector) *qdrant.VectorOutput {
	switch {
	case v.Indices != nil:
		return &qdrant.VectorOutput{Vector: &qdrant.VectorOutput_Sparse{Sparse: &qdrant.SparseVector{Indices: v.Indices, Values: v.Data}}}
	case v.Count > 0:
		m := &qdrant.MultiDenseVector{Vectors: make([]*qdrant.DenseVector, 0, v.Count)}
		for row := range slices.Chunk(v.Data, len(v.Data)/v.Count) {
			m.Vectors = append(m.Vectors, &qdrant.DenseVector{Data: row})
		}
		return &qdrant.VectorOutput{Vector: &qdrant.VectorOutput_MultiDense{MultiDense: m}}
	}
	return &qdrant.VectorOutput{Vector: &qdrant.VectorOutput_Dense{Dense: &qdrant.DenseVector{Data: v.Data}}}
}
