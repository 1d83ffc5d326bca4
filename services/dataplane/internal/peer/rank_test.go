package peer

import (
	"reflect"
	"testing"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

func denseInput(x ...float32) *qdrant.VectorInput {
	return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: x}}}
}

func recommended(s *qdrant.RecommendStrategy, liked, disliked []*qdrant.VectorInput) *qdrant.Query {
	return &qdrant.Query{Variant: &qdrant.Query_Recommend{Recommend: &qdrant.RecommendInput{Positive: liked, Negative: disliked, Strategy: s}}}
}

func contextOf(ps ...*qdrant.ContextInputPair) *qdrant.ContextInput {
	return &qdrant.ContextInput{Pairs: ps}
}

func feedbackBy(s *qdrant.FeedbackStrategy, b float32) *qdrant.Query {
	if s == nil {
		s = &qdrant.FeedbackStrategy{Variant: &qdrant.FeedbackStrategy_Naive{Naive: &qdrant.NaiveFeedbackStrategy{A: 1, B: b, C: 3}}}
	}
	return &qdrant.Query{Variant: &qdrant.Query_RelevanceFeedback{RelevanceFeedback: &qdrant.RelevanceFeedbackInput{Target: denseInput(1),
		Feedback: []*qdrant.FeedbackItem{{Example: denseInput(2), Score: 0.5}, {Example: denseInput(3), Score: -1}}, Strategy: s}}}
}

// TestRankOf: each kind of query by several vectors, with vectors of each kind.
func TestRankOf(t *testing.T) {
	best, sum := new(qdrant.RecommendStrategy_BestScore), new(qdrant.RecommendStrategy_SumScores)
	one, two, three := denseInput(1), denseInput(2), denseInput(3)
	sparse := &qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{Sparse: &qdrant.SparseVector{Indices: []uint32{7, 3}, Values: []float32{1, 2}}}}
	rows := &qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: multi([]float32{1, 2}, []float32{3, 4})}}
	pair := &qdrant.ContextInputPair{Positive: two, Negative: three}
	v := func(x ...float32) op.Vector { return op.Vector{Name: "v", Data: x} }
	pairs := []query.Pair{{Near: v(2), Far: v(3)}}
	judged := []query.Judgement{{Vector: v(2), Score: 0.5}, {Vector: v(3), Score: -1}}
	for name, c := range map[string]struct {
		in   *qdrant.Query
		want func() (*query.Rank, error)
	}{
		"best score":        {recommended(best, []*qdrant.VectorInput{one, two}, []*qdrant.VectorInput{three}), func() (*query.Rank, error) { return query.BestScore([]op.Vector{v(1), v(2)}, []op.Vector{v(3)}) }},
		"negative alone":    {recommended(best, nil, []*qdrant.VectorInput{three}), func() (*query.Rank, error) { return query.BestScore(nil, []op.Vector{v(3)}) }},
		"sum of scores":     {recommended(sum, []*qdrant.VectorInput{one}, []*qdrant.VectorInput{two}), func() (*query.Rank, error) { return query.SumScores([]op.Vector{v(1)}, []op.Vector{v(2)}) }},
		"discover":          {&qdrant.Query{Variant: &qdrant.Query_Discover{Discover: &qdrant.DiscoverInput{Target: one, Context: contextOf(pair)}}}, func() (*query.Rank, error) { return query.Discover(v(1), pairs) }},
		"discover, no pair": {&qdrant.Query{Variant: &qdrant.Query_Discover{Discover: &qdrant.DiscoverInput{Target: one}}}, func() (*query.Rank, error) { return query.Discover(v(1), nil) }},
		"context":           {&qdrant.Query{Variant: &qdrant.Query_Context{Context: contextOf(pair)}}, func() (*query.Rank, error) { return query.Context(pairs) }},
		"feedback":          {feedbackBy(nil, 2), func() (*query.Rank, error) { return query.Feedback(v(1), judged, 1, 2, 3) }},
		"sparse, in order": {recommended(best, []*qdrant.VectorInput{sparse}, nil), func() (*query.Rank, error) {
			return query.BestScore([]op.Vector{{Name: "v", Data: []float32{2, 1}, Indices: []uint32{3, 7}}}, nil)
		}},
		"several rows in one": {recommended(best, []*qdrant.VectorInput{rows}, nil), func() (*query.Rank, error) {
			return query.BestScore([]op.Vector{{Name: "v", Data: []float32{1, 2, 3, 4}, Count: 2}}, nil)
		}},
	} {
		rank, err := c.want()
		if err != nil {
			t.Fatal(err)
		}
		got, err := nearestOf(&shardv1.ShardQuery{Query: c.in, Using: "v", Limit: 3, ScoreThreshold: new(float32(0.5)), Params: &qdrant.SearchParams{Exact: new(true)}})
		want := query.Nearest{Using: "v", Limit: 3, Rank: rank, ScoreThreshold: new(float32(0.5)), Params: query.Params{Exact: true}}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestRankRefusals: what cannot be ranked by is refused by reasons and words that clients
// know.
func TestRankRefusals(t *testing.T) {
	best := new(qdrant.RecommendStrategy_BestScore)
	one := denseInput(1)
	uneven := &qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: multi([]float32{1, 2}, []float32{3})}}
	point := &qdrant.VectorInput{Variant: &qdrant.VectorInput_Id{Id: &qdrant.PointId{}}}
	discover := func(target *qdrant.VectorInput, ps ...*qdrant.ContextInputPair) *qdrant.Query {
		return &qdrant.Query{Variant: &qdrant.Query_Discover{Discover: &qdrant.DiscoverInput{Target: target, Context: contextOf(ps...)}}}
	}
	s := serverOf(map[topology.ShardID]*fake{0: {}})
	for name, c := range map[string]struct {
		in   *qdrant.Query
		want clusterv1.Reason
	}{
		"no example":            {recommended(best, nil, nil), fault.InvalidArgument},
		"the mean":              {recommended(nil, []*qdrant.VectorInput{one}, nil), fault.InvalidArgument},
		"no target":             {discover(nil), fault.InvalidArgument},
		"a pair without better": {discover(one, &qdrant.ContextInputPair{Negative: one}), fault.InvalidArgument},
		"a pair without worse":  {discover(one, &qdrant.ContextInputPair{Positive: one}), fault.InvalidArgument},
		"no pair":               {&qdrant.Query{Variant: &qdrant.Query_Context{Context: contextOf()}}, fault.InvalidArgument},
		"an empty pair":         {&qdrant.Query{Variant: &qdrant.Query_Context{Context: contextOf(&qdrant.ContextInputPair{})}}, fault.InvalidArgument},
		"no strategy":           {feedbackBy(&qdrant.FeedbackStrategy{}, 0), fault.InvalidArgument},
		"negative b":            {feedbackBy(nil, -1), fault.InvalidArgument},
		"rows of two lengths":   {recommended(best, []*qdrant.VectorInput{uneven}, nil), fault.DimensionMismatch},
		"an id":                 {recommended(best, []*qdrant.VectorInput{point}, nil), fault.NotBuilt},
		"no query":              {&qdrant.Query{}, fault.NotBuilt},
	} {
		read := &shardv1.ShardRead{Route: route(0, 0), Read: &shardv1.ShardRead_Query{Query: &shardv1.QueryPoints{Queries: []*shardv1.ShardQuery{{Query: c.in, Limit: 1}}}}}
		out, err := s.Read(t.Context(), &shardv1.ReadRequest{Reads: []*shardv1.ShardRead{read}})
		if err != nil {
			t.Fatal(err)
		}
		if got := out.GetResults()[0].GetFailure(); got.GetReason() != c.want || got.GetMessage() == "" {
			t.Errorf("%s: %v", name, got)
		}
	}
}
