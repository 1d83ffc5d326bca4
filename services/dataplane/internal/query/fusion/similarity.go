package fusion

import (
	"math"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Similarity is how near two stored vectors of one name are to each other, larger
// is nearer: the inner product or the cosine, the negative squared Euclidean or the
// negative Manhattan distance. Sparse vectors without a common index have 0; of
// multi-vectors it is the sum, over the rows of a, of the best among b's.
func Similarity(d query.Distance, a, b op.Vector) float32 {
	switch {
	case a.Indices != nil:
		return overlap(a, b)
	case a.Count > 0:
		sum := float32(0)
		size := len(a.Data) / a.Count
		for i := range a.Count {
			best := float32(math.Inf(-1))
			for j := range b.Count {
				best = max(best, dense(d, a.Data[i*size:(i+1)*size], b.Data[j*size:(j+1)*size]))
			}
			sum += best
		}
		return sum
	}
	return dense(d, a.Data, b.Data)
}

func dense(d query.Distance, a, b []float32) float32 {
	switch d {
	case query.Euclid:
		return -kernel.L2.PairFloat32(a, b)
	case query.Manhattan:
		return -kernel.L1.PairFloat32(a, b)
	case query.Cosine: // vectors of bytes are not stored with length 1
		lengths := math.Sqrt(float64(kernel.Dot.PairFloat32(a, a))) * math.Sqrt(float64(kernel.Dot.PairFloat32(b, b)))
		if lengths == 0 {
			return 0
		}
		return float32(float64(kernel.Dot.PairFloat32(a, b)) / lengths)
	}
	return kernel.Dot.PairFloat32(a, b)
}

// overlap is the inner product of sparse vectors, whose indices ascend.
func overlap(a, b op.Vector) (sum float32) {
	for i, j := 0, 0; i < len(a.Indices) && j < len(b.Indices); {
		switch x, y := a.Indices[i], b.Indices[j]; {
		case x < y:
			i++
		case x > y:
			j++
		default:
			sum += a.Data[i] * b.Data[j]
			i, j = i+1, j+1
		}
	}
	return sum
}
