package validate

import (
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
)

func BenchmarkUpsert(b *testing.B) {
	s := Schema{"": {Size: 300, Distance: qdrant.Distance_Cosine}}
	points := make([]*qdrant.PointStruct, 1000)
	for i := range points {
		points[i] = &qdrant.PointStruct{Id: num(uint64(i)), Vectors: oneof(make([]float32, 300)...)}
	}
	b.SetBytes(1000 * 300 * 4)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Upsert(points); err != nil {
			b.Fatal(err)
		}
	}
}
