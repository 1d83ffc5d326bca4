package points

import (
	"maps"
	"slices"

	"github.com/pandodb/pando/gen/go/qdrant"
)

// average is the vector that examples stand for: the mean of the positive ones, moved
// away from the mean of the negative ones by their difference; of multi-vectors the
// rows of all, those of negative ones negated. All are of one kind and there is a
// positive one.
func average(positive, negative []*qdrant.VectorInput) *qdrant.VectorInput {
	switch positive[0].GetVariant().(type) {
	case *qdrant.VectorInput_Sparse:
		return averageSparse(positive, negative)
	case *qdrant.VectorInput_MultiDense:
		return gathered(positive, negative)
	}
	sum := make([]float64, len(positive[0].GetDense().GetData()))
	add := func(list []*qdrant.VectorInput, weight float64) {
		for _, v := range list {
			for i, x := range v.GetDense().GetData() {
				sum[i] += float64(x) * weight / float64(len(list))
			}
		}
	}
	add(positive, weightOf(negative))
	add(negative, -1)
	out := make([]float32, len(sum))
	for i, x := range sum {
		out[i] = float32(x)
	}
	return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: out}}}
}

// weightOf is that of the mean of positive examples.
func weightOf(negative []*qdrant.VectorInput) float64 {
	if len(negative) > 0 {
		return 2
	}
	return 1
}

func averageSparse(positive, negative []*qdrant.VectorInput) *qdrant.VectorInput {
	sum := map[uint32]float64{}
	add := func(list []*qdrant.VectorInput, weight float64) {
		for _, v := range list {
			for i, x := range v.GetSparse().GetValues() {
				sum[v.GetSparse().GetIndices()[i]] += float64(x) * weight / float64(len(list))
			}
		}
	}
	add(positive, weightOf(negative))
	add(negative, -1)
	out := &qdrant.SparseVector{Indices: slices.Sorted(maps.Keys(sum))}
	for _, i := range out.GetIndices() {
		out.Values = append(out.Values, float32(sum[i]))
	}
	return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{Sparse: out}}
}

func gathered(positive, negative []*qdrant.VectorInput) *qdrant.VectorInput {
	out := &qdrant.MultiDenseVector{}
	for _, v := range positive {
		out.Vectors = append(out.Vectors, v.GetMultiDense().GetVectors()...)
	}
	for _, v := range negative {
		for _, row := range v.GetMultiDense().GetVectors() {
			minus := make([]float32, len(row.GetData()))
			for i, x := range row.GetData() {
				minus[i] = -x
			}
			out.Vectors = append(out.Vectors, &qdrant.DenseVector{Data: minus})
		}
	}
	return &qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: out}}
}
