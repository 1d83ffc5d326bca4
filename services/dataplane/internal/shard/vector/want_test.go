package vector

import (
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index/hnsw"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
)

// TestWhole: no graph is grown from one that was damaged after it was opened.
func TestWhole(t *testing.T) {
	v := hnsw.Vectors{Float32: []float32{1, 2, 3, 4, 5, 6, 7, 8}, Dim: 1, Stride: 1, Distance: query.Euclid}
	g, err := hnsw.Build(t.Context(), v, hnsw.Params{M: 2, EfConstruct: 4}, hnsw.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := g.Append(nil)
	s := &Sealed{graph: g, files: map[segment.Kind][]byte{segment.KindGraph: b}}
	if got := s.whole(); got == nil || got.Rows() != 8 {
		t.Errorf("an intact graph is not taken: %v", got)
	}
	b[len(b)-3] ^= 1
	if s.whole() != nil {
		t.Error("a damaged graph is taken")
	}
	if (&Sealed{}).whole() != nil || (*Sealed)(nil).whole() != nil {
		t.Error("there is no graph, and one is taken")
	}
}
