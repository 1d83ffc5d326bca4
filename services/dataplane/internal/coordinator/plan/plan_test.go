package plan

import (
	"math"
	"slices"
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/query/formula"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

func scored(score float32, ids ...uint64) (out []*qdrant.ScoredPoint) {
	for i, id := range ids {
		out = append(out, &qdrant.ScoredPoint{Id: wire.ProtoID(topology.NumberID(id)), Score: score - float32(i), Version: id})
	}
	return out
}

func numbers(x float32) *qdrant.Query {
	return &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: []float32{x}}}}}}
}

func leaf(x float32) *Node { return &Node{By: &Vectors{Query: numbers(x)}, Limit: 5} }

func next(t *testing.T, r *Run) []*Ask {
	t.Helper()
	asks, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	return asks
}

func found(points []*qdrant.ScoredPoint) (out []uint64) {
	for _, p := range points {
		out = append(out, p.GetId().GetNum())
	}
	return out
}

var everything = &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Enable{Enable: true}}

// TestRounds: trees go on beside each other, each as soon as its own sources are known, and ask what was asked before no more.
func TestRounds(t *testing.T) {
	deep := &Node{By: &Vectors{Query: numbers(9)}, Sources: []*Node{{By: &Fusion{K: 2}, Limit: 3, Sources: []*Node{leaf(1), leaf(2)}}}}
	flat := &Node{By: &Fusion{K: 2}, Sources: []*Node{leaf(1), leaf(1)}}
	r := New([]*Tree{{Root: deep, Limit: 2, Payload: everything}, {Root: flat, Offset: 1, Limit: 2, Payload: everything}, {Root: leaf(2), Limit: 5}, {Root: &Node{By: ID{}}, Limit: 1, Offset: math.MaxUint64}})
	asks := next(t, r)
	if len(asks) != 2 {
		t.Fatalf("%d questions, want both leaves once", len(asks))
	}
	asks[0].Answer, asks[1].Answer = scored(9, 1, 2), scored(9, 2, 3)
	asks = next(t, r)
	if len(asks) != 2 || asks[0].Rank == nil || asks[1].Get == nil {
		t.Fatalf("%v", asks)
	}
	if q := asks[0].Rank.Query; len(q.GetFilter().GetMust()[0].GetHasId().GetHasId()) != 3 || !q.GetParams().GetExact() || q.GetLimit() != 2 || q.GetWithPayload() != everything {
		t.Errorf("%v", q)
	}
	if ids := asks[1].Get.GetIds(); len(ids) != 1 || ids[0].GetNum() != 2 {
		t.Errorf("read %v, want what is answered", ids)
	}
	asks[0].Answer, asks[1].Answer = scored(7, 3, 1), scored(1, 2)
	if asks = next(t, r); len(asks) != 0 {
		t.Fatalf("%v", asks)
	}
	got := r.Results()
	if !slices.Equal(found(got[0]), []uint64{3, 1}) || !slices.Equal(found(got[1]), []uint64{2}) || !slices.Equal(found(got[2]), []uint64{2, 3}) || got[3] == nil || len(got[3]) != 0 {
		t.Errorf("%v", got)
	}
	if p := got[1][0]; p.GetScore() != 2./3 || p.GetVersion() != 2 {
		t.Errorf("%v", p)
	}
}

// TestNoCandidates: what is above nothing asks nothing.
func TestNoCandidates(t *testing.T) {
	p, err := formula.New(formula.Expr{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, by := range map[string]By{"vectors": &Vectors{Query: numbers(1)}, "field": &Field{}, "chance": &Random{}, "fusion": &Fusion{K: 2}, "formula": &Formula{Program: p}, "id": ID{}} {
		r := New([]*Tree{{Root: &Node{By: by, Sources: []*Node{leaf(1)}}, Limit: 3, Payload: everything}})
		if asks := next(t, r); len(asks) != 1 {
			t.Fatalf("%s: %v", name, asks)
		}
		if asks := next(t, r); len(asks) != 0 || len(r.Results()[0]) != 0 {
			t.Errorf("%s: %v, %v", name, asks, r.Results())
		}
	}
}

// TestPointsThatGo: a point that is deleted between two questions is answered by none.
func TestPointsThatGo(t *testing.T) {
	p, err := formula.New(formula.Expr{Op: formula.Variable, Text: "$score"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := New([]*Tree{{Root: &Node{By: &Formula{Program: p, Conditions: []*qdrant.Condition{{}}}, Sources: []*Node{leaf(1)}}, Limit: 3, Payload: everything}})
	next(t, r)[0].Answer = scored(9, 1, 2, 3)
	asks := next(t, r)
	if len(asks) != 2 || len(asks[0].Get.GetIds()) != 3 || asks[1].Scroll.GetLimit() != 3 || len(asks[1].Scroll.GetFilter().GetMust()) != 2 {
		t.Fatalf("%v", asks)
	}
	asks[0].Answer = scored(1, 1, 3)
	asks = next(t, r)
	if len(asks) != 1 || len(asks[0].Get.GetIds()) != 2 {
		t.Fatalf("%v", asks)
	}
	asks[0].Answer = scored(1, 3)
	if next(t, r); !slices.Equal(found(r.Results()[0]), []uint64{3}) || r.Results()[0][0].GetScore() != 7 {
		t.Errorf("%v", r.Results())
	}
}

func TestErrors(t *testing.T) {
	p, err := formula.New(formula.Expr{Op: formula.Variable, Text: "gone"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := New([]*Tree{{Root: &Node{By: &Formula{Program: p}, Sources: []*Node{leaf(1)}}, Limit: 3}})
	next(t, r)[0].Answer = scored(9, 1)
	next(t, r)[0].Answer = scored(1, 1)
	if _, err := r.Next(); fault.ReasonOf(err) != fault.InvalidArgument {
		t.Errorf("%v", err)
	}
	r = New([]*Tree{{Root: leaf(1), Limit: 3}})
	next(t, r)[0].Answer = []*qdrant.ScoredPoint{{}}
	if _, err := r.Next(); fault.From(err).Msg != "a shard answered a point without an id" {
		t.Errorf("%v", err)
	}
}

// TestVarietyOfSparseVectors: indices of a query come in any order.
func TestVarietyOfSparseVectors(t *testing.T) {
	sparse := func(indices []uint32, values ...float32) *qdrant.SparseVector {
		return &qdrant.SparseVector{Indices: indices, Values: values}
	}
	q := &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: &qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{Sparse: sparse([]uint32{7, 2}, 1, 5)}}}}
	r := New([]*Tree{{Root: &Node{By: &Vectors{Query: q, Using: "s", MMR: &MMR{Lambda: 0.5, Candidates: 9}}}, Limit: 2}})
	ask := next(t, r)[0]
	ask.Answer = scored(9, 1, 2, 3)
	for i, v := range []*qdrant.SparseVector{sparse([]uint32{2}, 1), sparse([]uint32{2, 7}, 1, 0.5), sparse([]uint32{7}, 1)} {
		ask.Answer[i].Vectors = &qdrant.VectorsOutput{VectorsOptions: &qdrant.VectorsOutput_Vectors{Vectors: &qdrant.NamedVectorsOutput{Vectors: map[string]*qdrant.VectorOutput{
			"s": {Vector: &qdrant.VectorOutput_Sparse{Sparse: v}}}}}}
	}
	if next(t, r); !slices.Equal(found(r.Results()[0]), []uint64{2, 1}) || ask.Rank.Query.GetLimit() != 9 {
		t.Errorf("%v", r.Results())
	}
}
