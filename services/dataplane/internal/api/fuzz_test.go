package api

import (
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// FuzzQuery: whatever tree is asked for, it is answered or refused with a reason.
func FuzzQuery(f *testing.F) {
	c := start(f, true)
	c.with(f, "c", four())
	c.put(1, 2, 3)
	expression := func(s string) *qdrant.Expression {
		return &qdrant.Expression{Variant: &qdrant.Expression_Variable{Variable: s}}
	}
	for _, q := range []*qdrant.QueryPoints{
		{Query: rrf(), Prefetch: []*qdrant.PrefetchQuery{leaf(2, 1, 2, 3, 4), {Query: nearest(byID(1)), Prefetch: []*qdrant.PrefetchQuery{{}}}}, Offset: new(uint64(1))},
		{Query: &qdrant.Query{Variant: &qdrant.Query_Formula{Formula: &qdrant.Formula{Expression: &qdrant.Expression{Variant: &qdrant.Expression_Div{
			Div: &qdrant.DivExpression{Left: expression("$score"), Right: expression("a[0].b")}}}}}}, Prefetch: []*qdrant.PrefetchQuery{leaf(2, 1, 2, 3, 4)}},
		{Query: &qdrant.Query{Variant: &qdrant.Query_Discover{Discover: &qdrant.DiscoverInput{Target: byID(2), Context: &qdrant.ContextInput{Pairs: []*qdrant.ContextInputPair{{Positive: byID(1), Negative: numbers(1, 2, 3, 4)}}}}}}},
		{Query: &qdrant.Query{Variant: &qdrant.Query_Recommend{Recommend: &qdrant.RecommendInput{Positive: []*qdrant.VectorInput{byID(1)}, Negative: []*qdrant.VectorInput{numbers(1, 2, 3, 4)}}}}},
		{Query: &qdrant.Query{Variant: &qdrant.Query_NearestWithMmr{NearestWithMmr: &qdrant.NearestInputWithMmr{Nearest: byID(1), Mmr: &qdrant.Mmr{Diversity: new(float32(0.25))}}}}},
	} {
		b, err := proto.Marshal(q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q := &qdrant.QueryPoints{}
		if proto.Unmarshal(b, q) != nil {
			return
		}
		q.CollectionName = "c"
		r, err := c.Query(t.Context(), q)
		if e := fault.From(err); err != nil && (e.Code == codes.Internal || e.Code == codes.Unknown || e.Reason == fault.Unspecified) {
			t.Fatalf("%v: %v", q, err)
		}
		if limit := uint64(10); err == nil && q.Limit == nil && uint64(len(r.GetResult())) > limit {
			t.Fatalf("%v: %d answers", q, len(r.GetResult()))
		}
	})
}
