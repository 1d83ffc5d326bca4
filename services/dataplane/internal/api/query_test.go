package api

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator/plan"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/protobuf/proto"
)

func nearest(in *qdrant.VectorInput) *qdrant.Query {
	return &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: in}}
}

func numbers(data ...float32) *qdrant.VectorInput {
	return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: data}}}
}

func byID(n uint64) *qdrant.VectorInput {
	return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Id{Id: num(n)}}
}

func found(ps []*qdrant.ScoredPoint) []uint64 {
	var out []uint64
	for _, p := range ps {
		out = append(out, p.GetId().GetNum())
	}
	return out
}

func TestQuery(t *testing.T) {
	c := start(t, true).with(t, "c", four()).with(t, "named", twoNamed())
	c.put(1, 2, 3)
	ctx := t.Context()
	r, err := c.Query(ctx, &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers(1, 2, 3, 4)), Filter: colour("red"), Offset: new(uint64(1)),
		ScoreThreshold: new(float32(0.5)), Params: &qdrant.SearchParams{Exact: new(true)}})
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{2, 3}) || r.GetTime() <= 0 {
		t.Fatalf("%v, %v", r, err)
	}
	q := c.shards.ranked[0][0]
	if q.Query.GetLimit() != 11 || q.SmallerIsBetter || q.Query.GetWithPayload() != nil || q.Query.GetWithVectors() != nil || q.Query.GetScoreThreshold() != 0.5 ||
		!proto.Equal(q.Query.GetFilter(), colour("red")) || !q.Query.GetParams().GetExact() || !proto.Equal(q.Query.GetQuery(), nearest(numbers(1, 2, 3, 4))) {
		t.Errorf("%+v", q)
	}

	r, err = c.Query(ctx, &qdrant.QueryPoints{CollectionName: "c", Query: nearest(byID(2)), Filter: &qdrant.Filter{MustNot: colour("red").GetMust()}})
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{1, 3}) {
		t.Fatalf("the point itself is not an answer: %v, %v", r, err)
	}
	q = c.shards.ranked[1][0]
	if not := q.Query.GetFilter().GetMustNot(); len(not) != 2 || !slices.Equal(q.Query.GetQuery().GetNearest().GetDense().GetData(), []float32{2, 0, 0, 1}) {
		t.Errorf("%+v", q)
	}

	if _, err = c.Query(ctx, &qdrant.QueryPoints{CollectionName: "named", Query: nearest(numbers(1, 2, 3, 4)), Using: new("a"), Limit: new(uint64(1))}); err != nil {
		t.Fatal(err)
	}
	if q = c.shards.ranked[2][0]; !q.SmallerIsBetter || q.Query.GetUsing() != "a" || q.Query.GetLimit() != 1 {
		t.Errorf("%+v", q)
	}
}

// TestQueriesOfAllKinds: sparse and multi vectors, from the request or of a point,
// reach the shards as what they are.
func TestQueriesOfAllKinds(t *testing.T) {
	c, ctx := start(t, true), t.Context()
	_, err := c.Create(ctx, &qdrant.CreateCollection{CollectionName: "c", VectorsConfig: &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_ParamsMap{
		ParamsMap: &qdrant.VectorParamsMap{Map: map[string]*qdrant.VectorParams{"m": {Size: 2, Distance: qdrant.Distance_Euclid, MultivectorConfig: &qdrant.MultiVectorConfig{}},
			"u": {Size: 2, Distance: qdrant.Distance_Dot, Datatype: qdrant.Datatype_Uint8.Enum()}}}}},
		SparseVectorsConfig: &qdrant.SparseVectorConfig{Map: map[string]*qdrant.SparseVectorParams{"s": {}, "w": {Modifier: qdrant.Modifier_Idf.Enum()}}}})
	if err != nil {
		t.Fatal(err)
	}
	bag := &qdrant.SparseVector{Indices: []uint32{7, 3}, Values: []float32{1, 2}}
	rows := &qdrant.MultiDenseVector{Vectors: []*qdrant.DenseVector{{Data: []float32{1, 2}}, {Data: []float32{3, 4}}}}
	sparse, multi := &qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{Sparse: bag}}, &qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: rows}}
	c.shards.points[1] = &qdrant.RetrievedPoint{Id: num(1), Vectors: &qdrant.VectorsOutput{VectorsOptions: &qdrant.VectorsOutput_Vectors{
		Vectors: &qdrant.NamedVectorsOutput{Vectors: map[string]*qdrant.VectorOutput{"s": {Vector: &qdrant.VectorOutput_Sparse{Sparse: bag}},
			"m": {Vector: &qdrant.VectorOutput_MultiDense{MultiDense: rows}}}}}}}
	for _, b := range []struct {
		using    string
		in, want *qdrant.VectorInput
		idf      *plan.IDF
		smaller  bool
	}{
		{"s", sparse, sparse, nil, false},
		{"s", byID(1), sparse, nil, false},
		{"w", sparse, sparse, &plan.IDF{Corpus: colour("red")}, false},
		{"m", multi, multi, nil, true},
		{"m", byID(1), multi, nil, true},
		{"m", numbers(1, 2), &qdrant.VectorInput{Variant: &qdrant.VectorInput_MultiDense{MultiDense: &qdrant.MultiDenseVector{
			Vectors: []*qdrant.DenseVector{{Data: []float32{1, 2}}}}}}, nil, true},
		{"u", numbers(1.9, -3), numbers(1, 0), nil, false},
	} {
		q := &qdrant.QueryPoints{CollectionName: "c", Query: nearest(b.in), Using: &b.using, Params: &qdrant.SearchParams{HnswEf: new(uint64(50))}}
		if b.idf != nil {
			q.Params.Idf = &qdrant.IdfParams{Corpus: b.idf.Corpus}
		}
		_, err := c.Query(ctx, q)
		got := c.shards.ranked[len(c.shards.ranked)-1][0]
		if err != nil || !proto.Equal(got.Query.GetQuery().GetNearest(), b.want) || got.SmallerIsBetter != b.smaller || (got.IDF == nil) != (b.idf == nil) ||
			got.IDF != nil && !proto.Equal(got.IDF.Corpus, b.idf.Corpus) || got.Query.GetParams().GetHnswEf() != 50 {
			t.Errorf("%s, %v: %+v, %v", b.using, b.in, got, err)
		}
	}
	if _, err := c.Search(ctx, &qdrant.SearchPoints{CollectionName: "c", VectorName: new("s"), Vector: bag.GetValues(),
		SparseIndices: &qdrant.SparseIndices{Data: bag.GetIndices()}, Limit: 1}); err != nil {
		t.Fatal(err)
	}
	if got := c.shards.ranked[len(c.shards.ranked)-1][0].Query; !proto.Equal(got.GetQuery().GetNearest(), sparse) {
		t.Errorf("search: %v", got)
	}
	_, err = c.Query(ctx, &qdrant.QueryPoints{CollectionName: "c", Query: nearest(byID(1)), Using: new("u")})
	wants(t, err, fault.InvalidArgument, "Wrong input: Point 1 has no vector named `u`")
	_, err = c.Query(ctx, &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers(1)), Using: new("s")})
	wants(t, err, fault.InvalidArgument, "Wrong input: Conversion between sparse and regular vectors failed")
}

func TestQueryWithoutAQueryGoesByID(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(5, 3, 1, 4, 2)
	r, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Offset: new(uint64(1)), Limit: new(uint64(2))})
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{2, 3}) || r.GetResult()[0].GetScore() != 1 || c.shards.asked[0].Scroll.GetWithPayload() != nil {
		t.Errorf("%v, %v", r, err)
	}
	for _, far := range []uint64{9, math.MaxUint32, math.MaxUint32 + 1, math.MaxUint64} {
		if r, err = c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Offset: &far, Limit: new(uint64(math.MaxUint64))}); err != nil || len(r.GetResult()) != 0 {
			t.Errorf("offset %d: %v, %v", far, r, err)
		}
	}
}

func TestLookupFrom(t *testing.T) {
	c := start(t, true).with(t, "named", twoNamed()).with(t, "from", four())
	c.put(1, 2)
	from := &qdrant.LookupLocation{CollectionName: "from", VectorName: new("")}
	r, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "named", Query: nearest(byID(2)), Using: new("a"), LookupFrom: from})
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{1, 2}) {
		t.Fatalf("a point of another collection is no reason to leave one out: %v, %v", r, err)
	}
	if got, _ := c.world.Map().Resolve("from"); c.shards.reads[0].Target.Collection.ID != got.ID {
		t.Error("looked up elsewhere")
	}
	_, err = c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "named", Query: nearest(byID(2)), Using: new("b"), LookupFrom: from})
	wants(t, err, fault.DimensionMismatch, "Wrong input: Vector dimension error: expected dim: 2, got 4")
	from.CollectionName = "none"
	_, err = c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "named", Query: nearest(byID(2)), Using: new("b"), LookupFrom: from})
	wants(t, err, fault.CollectionNotFound, "Not found: Collection `none` doesn't exist!")
}

func TestBatchesOfQueries(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(1, 2, 3)
	ctx := t.Context()
	r, err := c.QueryBatch(ctx, &qdrant.QueryBatchPoints{CollectionName: "c", QueryPoints: []*qdrant.QueryPoints{
		{Query: nearest(byID(1))}, {Query: nearest(numbers(1, 2, 3, 4))}, {Limit: new(uint64(1))}, {Query: nearest(byID(3))}, {Query: nearest(byID(1))}}})
	if err != nil || len(r.GetResult()) != 5 {
		t.Fatalf("%v, %v", r, err)
	}
	for i, want := range [][]uint64{{2, 3}, {1, 2, 3}, {1}, {1, 2}, {2, 3}} {
		if got := found(r.GetResult()[i].GetResult()); !slices.Equal(got, want) {
			t.Errorf("query %d: %v, want %v", i, got, want)
		}
	}
	if len(c.shards.ranked) != 1 || len(c.shards.ranked[0]) != 3 || len(c.shards.reads) != 2 { // ids in one get, all else in one round, equal ones once
		t.Errorf("%d rounds, %d reads", len(c.shards.ranked), len(c.shards.reads))
	}
	s, err := c.SearchBatch(ctx, &qdrant.SearchBatchPoints{CollectionName: "c", SearchPoints: []*qdrant.SearchPoints{
		{Vector: []float32{1, 2, 3, 4}, Limit: 3}, {Vector: []float32{1, 2, 3, 5}, Limit: 7}}})
	if err != nil || len(s.GetResult()) != 2 || c.shards.ranked[1][1].Query.GetLimit() != 7 {
		t.Errorf("%v, %v", s, err)
	}
	one, err := c.Search(ctx, &qdrant.SearchPoints{CollectionName: "c", Vector: []float32{1, 2, 3, 4}, Limit: 2})
	if err != nil || len(one.GetResult()) != 2 {
		t.Errorf("%v, %v", one, err)
	}
	_, err = c.QueryBatch(ctx, &qdrant.QueryBatchPoints{CollectionName: "c", QueryPoints: []*qdrant.QueryPoints{{}, {Limit: new(uint64(0))}}})
	wants(t, err, fault.Validation, "Validation error in body: [searches[1].limit: value 0 invalid, must be 1 or larger]")
}

func TestBadQueries(t *testing.T) {
	c := start(t, true).with(t, "c", four()).with(t, "named", twoNamed())
	c.put(1)
	c.shards.points[2] = &qdrant.RetrievedPoint{Id: num(2)}
	notBuilt := func(q *qdrant.Query, kind string) {
		t.Helper()
		_, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Query: q})
		wants(t, err, fault.NotBuilt, strings.TrimSpace(kind)+" is not built yet")
	}
	notBuilt(&qdrant.Query{Variant: &qdrant.Query_Text{}}, "query kind `text`")
	notBuilt(nearest(&qdrant.VectorInput{Variant: &qdrant.VectorInput_Document{Document: &qdrant.Document{Model: "other/one"}}}), "inference by model `other/one`")
	for _, b := range []struct {
		name   string
		q      *qdrant.QueryPoints
		reason fault.Reason
		text   string
	}{
		{"limit 0", &qdrant.QueryPoints{CollectionName: "c", Limit: new(uint64(0))}, fault.Validation,
			"Validation error in body: [limit: value 0 invalid, must be 1 or larger]"},
		{"dimension", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers(1))}, fault.DimensionMismatch,
			"Wrong input: Vector dimension error: expected dim: 4, got 1"},
		{"infinite", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers(1, 2, 3, float32(math.Inf(1))))}, fault.InvalidArgument,
			"Wrong input: query[3] is NaN or infinite; vectors hold finite numbers only"},
		{"empty", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers())}, fault.Validation,
			"Validation error in body: [query: value invalid, vector must not be empty]"},
		{"unknown vector", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers(1)), Using: new("foo")}, fault.VectorNameUnknown,
			"Wrong input: Not existing vector name error: foo"},
		{"no vector named", &qdrant.QueryPoints{CollectionName: "named", Query: nearest(numbers(1))}, fault.VectorNameUnknown,
			"Wrong input: Collection requires specified vector name in the request, available names: a, b"},
		{"absent point", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(byID(9))}, fault.PointNotFound, "Not found: No point with id 9 found"},
		{"point without that vector", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(byID(2))}, fault.InvalidArgument,
			"Wrong input: Point 2 has no vector named ``"},
		{"sparse", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(&qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{}})}, fault.InvalidArgument,
			"Wrong input: Conversion between sparse and regular vectors failed"},
		{"nothing", &qdrant.QueryPoints{CollectionName: "c", Query: &qdrant.Query{}}, fault.Malformed, "Malformed query: it holds none of the known kinds"},
		{"no input", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(nil)}, fault.Malformed, "Malformed query: it holds no vector and no id"},
		{"hnsw_ef", &qdrant.QueryPoints{CollectionName: "c", Params: &qdrant.SearchParams{HnswEf: new(uint64(0))}}, fault.Validation,
			"Validation error in body: [params.hnsw_ef: value 0 invalid, must be 1 or larger]"},
		{"oversampling and acorn", &qdrant.QueryPoints{CollectionName: "c", Params: &qdrant.SearchParams{
			Quantization: &qdrant.QuantizationSearchParams{Oversampling: new(0.5)}, Acorn: &qdrant.AcornSearchParams{MaxSelectivity: new(1.5)}}}, fault.Validation,
			"Validation error in body: [params.quantization.oversampling: value 0.5 invalid, must be 1.0 or larger; " +
				"params.acorn.max_selectivity: value 1.5 invalid, must be from 0.0 to 1.0]"},
		{"frequencies of numbers", &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers(1, 2, 3, 4)), Params: &qdrant.SearchParams{Idf: &qdrant.IdfParams{}}},
			fault.InvalidArgument, "Wrong input: params.idf counts for sparse vectors with the modifier idf, and `` is none"},
	} {
		t.Run(b.name, func(t *testing.T) {
			_, err := c.Query(t.Context(), b.q)
			wants(t, err, b.reason, b.text)
		})
	}
	_, err := c.Search(t.Context(), &qdrant.SearchPoints{CollectionName: "c", Vector: []float32{1, 2, 3, 4}})
	wants(t, err, fault.Validation, "Validation error in body: [limit: value 0 invalid, must be 1 or larger]")
	_, err = c.Search(t.Context(), &qdrant.SearchPoints{CollectionName: "c", Limit: 1, SparseIndices: &qdrant.SparseIndices{}})
	wants(t, err, fault.InvalidArgument, "Wrong input: Conversion between sparse and regular vectors failed")
	if len(c.shards.ranked) != 0 {
		t.Errorf("%d rankings were asked for", len(c.shards.ranked))
	}
}

// leaf is a prefetch of numbers.
func leaf(limit uint64, data ...float32) *qdrant.PrefetchQuery {
	return &qdrant.PrefetchQuery{Query: nearest(numbers(data...)), Limit: &limit}
}

func rrf() *qdrant.Query {
	return &qdrant.Query{Variant: &qdrant.Query_Fusion{Fusion: qdrant.Fusion_RRF}}
}

// TestPrefetches: leaves are asked in one round, with the filters of all above them; what is above ranks what they found.
func TestPrefetches(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(1, 2, 3, 4, 5)
	named := leaf(3, 1, 1, 1, 1)
	named.Query, named.Filter, named.ScoreThreshold = nearest(byID(1)), colour("green"), new(float32(0.25))
	r, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Query: nearest(numbers(4, 4, 4, 4)), Filter: colour("red"), Limit: new(uint64(2)), Offset: new(uint64(1)),
		Prefetch: []*qdrant.PrefetchQuery{{Query: rrf(), Limit: new(uint64(4)), Filter: colour("blue"), Prefetch: []*qdrant.PrefetchQuery{leaf(2, 1, 2, 3, 4), named, leaf(2, 1, 2, 3, 4)}}}})
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{2, 3}) {
		t.Fatalf("%v, %v", r, err)
	}
	if len(c.shards.ranked) != 2 || len(c.shards.ranked[0]) != 2 || len(c.shards.ranked[1]) != 1 {
		t.Fatalf("rounds %v", c.shards.ranked)
	}
	first, second, last := c.shards.ranked[0][0].Query, c.shards.ranked[0][1].Query, c.shards.ranked[1][0].Query
	if f := first.GetFilter(); len(f.GetMust()) != 2 || f.GetMustNot() != nil || first.GetLimit() != 2 || first.GetWithPayload() != nil {
		t.Errorf("%v", first)
	}
	if f := second.GetFilter(); len(f.GetMust()) != 3 || len(f.GetMustNot()) != 1 || second.GetScoreThreshold() != 0.25 {
		t.Errorf("%v", second)
	}
	if has := last.GetFilter().GetMust(); len(has) != 1 || len(has[0].GetHasId().GetHasId()) != 4 || !last.GetParams().GetExact() || last.GetLimit() != 3 {
		t.Errorf("%v", last)
	}
}

// TestFusedAnswersCarryWhatIsAskedFor: a fused ranking is read once more, for the points that are answered.
func TestFusedAnswersCarryWhatIsAskedFor(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(1, 2, 3)
	c.shards.points[2].Payload = map[string]*qdrant.Value{"k": {Kind: &qdrant.Value_IntegerValue{IntegerValue: 7}}}
	q := &qdrant.QueryPoints{CollectionName: "c", Query: rrf(), Prefetch: []*qdrant.PrefetchQuery{leaf(3, 1, 2, 3, 4)}, Offset: new(uint64(1)), Limit: new(uint64(1)),
		WithPayload: &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Enable{Enable: true}}}
	r, err := c.Query(t.Context(), q)
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{2}) || r.GetResult()[0].GetPayload()["k"].GetIntegerValue() != 7 || math.Abs(float64(r.GetResult()[0].GetScore())-1./3) > 1e-6 {
		t.Errorf("%v, %v", r, err)
	}
	if len(c.shards.asked) != 1 || len(c.shards.asked[0].Get.GetIds()) != 1 {
		t.Errorf("read %v", c.shards.asked)
	}
	q.WithPayload, q.ScoreThreshold = nil, new(float32(0.4))
	if r, err = c.Query(t.Context(), q); err != nil || len(r.GetResult()) != 0 || len(c.shards.asked) != 1 {
		t.Errorf("below the threshold: %v, %v", r, err)
	}
}

func TestQueriesWithoutVectors(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(1, 2, 3)
	order := &qdrant.Query{Variant: &qdrant.Query_OrderBy{OrderBy: &qdrant.OrderBy{Key: "n"}}}
	_, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Query: order})
	wants(t, err, fault.InvalidArgument, "Wrong input: No range index for `order_by` key: `n`. Please create one to use `order_by`: it takes one of type integer with range, float or datetime")
	if _, err := c.CreateFieldIndex(t.Context(), &qdrant.CreateFieldIndexCollection{CollectionName: "c", FieldName: "n", FieldType: qdrant.FieldType_FieldTypeInteger.Enum()}); err != nil {
		t.Fatal(err)
	}
	r, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Query: order, Limit: new(uint64(2)), Prefetch: []*qdrant.PrefetchQuery{{Limit: new(uint64(9))}}})
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{1, 2}) || c.shards.asked[1].Scroll.GetOrderBy().GetKey() != "n" || len(c.shards.asked[1].Scroll.GetFilter().GetMust()) != 1 {
		t.Errorf("%v, %v, %v", r, err, c.shards.asked)
	}
	sample := &qdrant.Query{Variant: &qdrant.Query_Sample{}}
	seeds := map[uint64]bool{}
	for range 3 {
		if _, err = c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Query: sample}); err != nil {
			t.Fatal(err)
		}
		seeds[c.shards.asked[len(c.shards.asked)-1].Scroll.GetSampleSeed()] = true
	}
	if len(seeds) != 3 {
		t.Errorf("seeds %v", seeds)
	}
}

// TestExamples: an average goes to shards as one vector, other kinds as what they are; the examples are not answered.
func TestExamples(t *testing.T) {
	c := start(t, true).with(t, "c", four()).with(t, "named", twoNamed())
	c.put(1, 2, 3, 4)
	last := func() *plan.Ranking { return c.shards.ranked[len(c.shards.ranked)-1][0] }
	for _, b := range []struct {
		name string
		q    *qdrant.RecommendInput
		want *qdrant.Query
	}{
		{"mean", &qdrant.RecommendInput{Positive: []*qdrant.VectorInput{byID(1), numbers(2, 4, 0, 0)}}, nearest(numbers(1.5, 2, 0, 0.5))},
		{"away", &qdrant.RecommendInput{Positive: []*qdrant.VectorInput{numbers(2, 4, 0, 0)}, Negative: []*qdrant.VectorInput{byID(1)}}, nearest(numbers(3, 8, 0, -1))},
		{"best", &qdrant.RecommendInput{Negative: []*qdrant.VectorInput{byID(1)}, Strategy: qdrant.RecommendStrategy_BestScore.Enum()}, &qdrant.Query{Variant: &qdrant.Query_Recommend{
			Recommend: &qdrant.RecommendInput{Negative: []*qdrant.VectorInput{numbers(1, 0, 0, 1)}, Strategy: qdrant.RecommendStrategy_BestScore.Enum()}}}},
	} {
		r, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Query: &qdrant.Query{Variant: &qdrant.Query_Recommend{Recommend: b.q}}})
		if err != nil || !slices.Equal(found(r.GetResult()), []uint64{2, 3, 4}) || !proto.Equal(last().Query.GetQuery(), b.want) {
			t.Errorf("%s: %v, %v, asked %v", b.name, r, err, last().Query)
		}
	}
	pairs := &qdrant.ContextInput{Pairs: []*qdrant.ContextInputPair{{Positive: byID(1), Negative: byID(2)}, {Positive: numbers(0, 1, 0, 0), Negative: byID(1)}}}
	r, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Query: &qdrant.Query{Variant: &qdrant.Query_Discover{Discover: &qdrant.DiscoverInput{Target: byID(4), Context: pairs}}}})
	got := last().Query.GetQuery().GetDiscover()
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{3}) || !proto.Equal(got.GetTarget(), numbers(4, 0, 0, 1)) ||
		!proto.Equal(got.GetContext().GetPairs()[1], &qdrant.ContextInputPair{Positive: numbers(0, 1, 0, 0), Negative: numbers(1, 0, 0, 1)}) {
		t.Errorf("%v, %v, %v", r, err, got)
	}
	if r, err = c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Query: &qdrant.Query{Variant: &qdrant.Query_Context{Context: pairs}}}); err != nil ||
		!slices.Equal(found(r.GetResult()), []uint64{3, 4}) || len(last().Query.GetQuery().GetContext().GetPairs()) != 2 {
		t.Errorf("%v, %v, %v", r, err, last().Query)
	}
	f := &qdrant.RelevanceFeedbackInput{Target: byID(1), Feedback: []*qdrant.FeedbackItem{{Example: byID(2), Score: 1}, {Example: numbers(0, 0, 1, 0)}},
		Strategy: &qdrant.FeedbackStrategy{Variant: &qdrant.FeedbackStrategy_Naive{Naive: &qdrant.NaiveFeedbackStrategy{A: 1, B: 2, C: 3}}}}
	q := &qdrant.QueryPoints{CollectionName: "c", Query: &qdrant.Query{Variant: &qdrant.Query_RelevanceFeedback{RelevanceFeedback: f}}}
	r, err = c.Query(t.Context(), q)
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{3, 4}) || last().Query.GetQuery().GetRelevanceFeedback().GetFeedback()[0].GetExample().GetDense() == nil {
		t.Errorf("%v, %v", r, err)
	}
	f.Strategy = nil
	_, err = c.Query(t.Context(), q)
	wants(t, err, fault.Malformed, "Malformed query: relevance_feedback names no strategy, must be naive")
}

// TestDistancesAmongExamples: what combines several examples is larger for what is better, whatever the distance.
func TestDistancesAmongExamples(t *testing.T) {
	c := start(t, true).with(t, "named", twoNamed())
	for strategy, smaller := range map[qdrant.RecommendStrategy]bool{qdrant.RecommendStrategy_AverageVector: true, qdrant.RecommendStrategy_SumScores: false} {
		_, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "named", Using: new("a"), Query: &qdrant.Query{Variant: &qdrant.Query_Recommend{
			Recommend: &qdrant.RecommendInput{Positive: []*qdrant.VectorInput{numbers(1, 2, 3, 4)}, Strategy: &strategy}}}})
		if got := c.shards.ranked[len(c.shards.ranked)-1][0]; err != nil || got.SmallerIsBetter != smaller {
			t.Errorf("%v: %+v, %v", strategy, got, err)
		}
	}
}

func TestVariety(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(1, 2, 3, 4)
	c.shards.points[4].Vectors.GetVector().GetDense().Data = []float32{0, 1, 0, 0}
	r, err := c.Query(t.Context(), &qdrant.QueryPoints{CollectionName: "c", Limit: new(uint64(2)), Query: &qdrant.Query{Variant: &qdrant.Query_NearestWithMmr{
		NearestWithMmr: &qdrant.NearestInputWithMmr{Nearest: numbers(1, 0, 0, 1), Mmr: &qdrant.Mmr{Diversity: new(float32(0.9)), CandidatesLimit: new(uint32(4))}}}}})
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{1, 4}) || r.GetResult()[0].GetVectors() != nil || r.GetResult()[1].GetScore() != 0.125 {
		t.Errorf("%v, %v", r, err)
	}
	if q := c.shards.ranked[0][0].Query; q.GetLimit() != 4 || !slices.Equal(q.GetWithVectors().GetInclude().GetNames(), []string{""}) || q.GetQuery().GetNearest() == nil {
		t.Errorf("%v", q)
	}
}

func TestFormulas(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(1, 2, 3)
	for n, p := range c.shards.points {
		p.Payload = map[string]*qdrant.Value{"n": {Kind: &qdrant.Value_IntegerValue{IntegerValue: int64(n * n)}}}
	}
	variable := func(s string) *qdrant.Expression {
		return &qdrant.Expression{Variant: &qdrant.Expression_Variable{Variable: s}}
	}
	sum := &qdrant.Expression{Variant: &qdrant.Expression_Sum{Sum: &qdrant.SumExpression{Sum: []*qdrant.Expression{variable("$score"), variable("n"),
		{Variant: &qdrant.Expression_Condition{Condition: &qdrant.Condition{ConditionOneOf: &qdrant.Condition_HasId{HasId: &qdrant.HasIdCondition{HasId: []*qdrant.PointId{num(1)}}}}}}}}}}
	q := &qdrant.QueryPoints{CollectionName: "c", Prefetch: []*qdrant.PrefetchQuery{leaf(3, 1, 2, 3, 4)},
		Query: &qdrant.Query{Variant: &qdrant.Query_Formula{Formula: &qdrant.Formula{Expression: sum}}}}
	r, err := c.Query(t.Context(), q)
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{3, 2, 1}) || r.GetResult()[0].GetScore() != 9.25 || r.GetResult()[2].GetScore() != 3 {
		t.Errorf("%v, %v", r, err)
	}
	if len(c.shards.asked) != 2 || !slices.Equal(c.shards.asked[0].Get.GetWithPayload().GetInclude().GetFields(), []string{"n"}) || len(c.shards.asked[1].Scroll.GetFilter().GetMust()) != 2 {
		t.Errorf("%v", c.shards.asked)
	}
	sum.GetSum().Sum = append(sum.GetSum().GetSum(), variable("m"))
	_, err = c.Query(t.Context(), q)
	wants(t, err, fault.InvalidArgument, "Wrong input: formula without a value: No value found for m in the payload nor the formula defaults")
	sum.GetSum().Sum[0] = variable("$score[x]")
	_, err = c.Query(t.Context(), q)
	wants(t, err, fault.InvalidArgument, `Wrong input: malformed formula: Invalid score pattern: "$score[x]"`)
	sum.GetSum().Sum[0] = nil
	_, err = c.Query(t.Context(), q)
	wants(t, err, fault.Malformed, "Malformed formula: an expression holds none of the known kinds")
}

func TestBadTrees(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	deep := leaf(1, 1, 2, 3, 4)
	for range 33 {
		deep = &qdrant.PrefetchQuery{Query: rrf(), Prefetch: []*qdrant.PrefetchQuery{deep}}
	}
	wide := make([]*qdrant.PrefetchQuery, 257)
	for i := range wide {
		wide[i] = leaf(1, 1, 2, 3, 4)
	}
	one := []*qdrant.PrefetchQuery{leaf(1, 1, 2, 3, 4)}
	recommend := func(r *qdrant.RecommendInput) *qdrant.Query {
		return &qdrant.Query{Variant: &qdrant.Query_Recommend{Recommend: r}}
	}
	for _, b := range []struct {
		name   string
		q      *qdrant.QueryPoints
		reason fault.Reason
		text   string
	}{
		{"no query", &qdrant.QueryPoints{Prefetch: one}, fault.InvalidArgument, "Bad request: A query is needed to merge the prefetches. Can't have prefetches without defining a query."},
		{"fusion alone", &qdrant.QueryPoints{Query: rrf()}, fault.InvalidArgument, "Wrong input: Cannot perform Fusion without prefetches"},
		{"formula alone", &qdrant.QueryPoints{Query: &qdrant.Query{Variant: &qdrant.Query_Formula{}}}, fault.InvalidArgument, "Wrong input: Cannot perform Formula without prefetches"},
		{"using", &qdrant.QueryPoints{Query: rrf(), Prefetch: one, Using: new("a")}, fault.InvalidArgument, "Wrong input: Fusion queries cannot be combined with the 'using' field"},
		{"k and weights", &qdrant.QueryPoints{Query: &qdrant.Query{Variant: &qdrant.Query_Rrf{Rrf: &qdrant.Rrf{K: new(uint32(0)), Weights: []float32{1, 2}}}}, Prefetch: one}, fault.Validation,
			"Validation error in body: [query.rrf.k: value 0 invalid, must be 1 or larger; query.rrf.weights: 2 weights for 1 prefetches, must be one for each]"},
		{"limit", &qdrant.QueryPoints{Query: rrf(), Prefetch: []*qdrant.PrefetchQuery{leaf(1, 1, 2, 3, 4), leaf(0, 1, 2, 3, 4)}}, fault.Validation,
			"Validation error in body: [prefetch[1].limit: value 0 invalid, must be 1 or larger]"},
		{"threshold of ids", &qdrant.QueryPoints{ScoreThreshold: new(float32(1))}, fault.InvalidArgument, "Wrong input: A query is needed to use the score_threshold"},
		{"threshold of a sample", &qdrant.QueryPoints{ScoreThreshold: new(float32(1)), Query: &qdrant.Query{Variant: &qdrant.Query_Sample{}}}, fault.InvalidArgument,
			"Wrong input: Can't use score_threshold with a sample query"},
		{"depth", &qdrant.QueryPoints{Query: rrf(), Prefetch: []*qdrant.PrefetchQuery{deep}}, fault.Validation, "Validation error in body: [" + strings.Repeat("prefetch[0].", 32) +
			"prefetch: a query has at most 256 prefetches, up to 32 levels deep]"},
		{"width", &qdrant.QueryPoints{Query: rrf(), Prefetch: wide}, fault.Validation, "Validation error in body: [prefetch: a query has at most 256 prefetches, up to 32 levels deep]"},
		{"dimension", &qdrant.QueryPoints{Query: rrf(), Prefetch: []*qdrant.PrefetchQuery{leaf(1, 1, 2)}}, fault.DimensionMismatch, "Wrong input: Vector dimension error: expected dim: 4, got 2"},
		{"no positive", &qdrant.QueryPoints{Query: recommend(&qdrant.RecommendInput{Negative: []*qdrant.VectorInput{byID(1)}})}, fault.InvalidArgument,
			"Bad request: At least one positive vector ID required with this strategy"},
		{"no example", &qdrant.QueryPoints{Query: recommend(&qdrant.RecommendInput{Strategy: qdrant.RecommendStrategy_SumScores.Enum()})}, fault.InvalidArgument,
			"Bad request: At least one positive or negative vector ID required with this strategy"},
		{"no pair", &qdrant.QueryPoints{Query: &qdrant.Query{Variant: &qdrant.Query_Context{}}}, fault.InvalidArgument, "Wrong input: a context query needs at least one pair"},
		{"mmr", &qdrant.QueryPoints{Query: &qdrant.Query{Variant: &qdrant.Query_NearestWithMmr{NearestWithMmr: &qdrant.NearestInputWithMmr{
			Mmr: &qdrant.Mmr{Diversity: new(float32(2)), CandidatesLimit: new(uint32(16385))}}}}}, fault.Validation,
			"Validation error in body: [query.mmr.diversity: value 2.0 invalid, must be from 0.0 to 1.0; query.mmr.candidates_limit: value 16385 invalid, must be 16384 or smaller]"},
	} {
		t.Run(b.name, func(t *testing.T) {
			b.q.CollectionName = "c"
			_, err := c.Query(t.Context(), b.q)
			wants(t, err, b.reason, b.text)
		})
	}
	if len(c.shards.reads) != 0 {
		t.Errorf("%d reads", len(c.shards.reads))
	}
}

// TestTexts: texts become sparse vectors, other weights where they are stored than where they are looked for.
func TestTexts(t *testing.T) {
	c, ctx := start(t, true).with(t, "dense", four()), t.Context()
	if _, err := c.Create(ctx, &qdrant.CreateCollection{CollectionName: "c", SparseVectorsConfig: &qdrant.SparseVectorConfig{Map: map[string]*qdrant.SparseVectorParams{"w": {Modifier: qdrant.Modifier_Idf.Enum()}}}}); err != nil {
		t.Fatal(err)
	}
	call := over(t, c)
	code, body := call("PUT", "/collections/c/points", `{"points":[{"id":1,"vector":{"w":{"text":"Foxes and foxes","model":"Qdrant/BM25","options":{"avg_len":2}}}}]}`)
	stored := c.shards.writes[0].Op.GetUpsert().GetPoints()[0].GetVectors().GetVectors().GetVectors()["w"].GetSparse()
	if code != 200 || len(stored.GetIndices()) != 1 || math.Abs(float64(stored.GetValues()[0])-2*2.2/(2+1.2)) > 1e-6 {
		t.Fatalf("%d %s, %v", code, body, stored)
	}
	ask := func(options string) (int, string) {
		return call("POST", "/collections/c/points/query", `{"query":{"text":"a fox!","model":"qdrant/bm25"`+options+`},"using":"w"}`)
	}
	code, body = ask("")
	if q := c.shards.ranked[0][0]; code != 200 || q.IDF == nil || !proto.Equal(q.Query.GetQuery(), nearest(&qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{
		Sparse: &qdrant.SparseVector{Indices: stored.GetIndices(), Values: []float32{1}}}})) {
		t.Fatalf("%d %s, %v", code, body, q)
	}
	if code, _ = ask(`,"options":{"language":"none","stopwords":{"custom":["a"]},"stemmer":{"type":"snowball","language":"english"},"tokenizer":"whitespace","lowercase":false,"min_token_len":2}`); code != 200 ||
		len(c.shards.ranked[1][0].Query.GetQuery().GetNearest().GetSparse().GetIndices()) != 1 {
		t.Errorf("%d, %v", code, c.shards.ranked[1][0])
	}
	for options, want := range map[string]string{
		`{"k":"x"}`:                    "query.options.k is not a number",
		`{"lowercase":1}`:              "query.options.lowercase is not true or false",
		`{"language":"klingon"}`:       `query: invalid bm25 parameters: language "klingon" is not known`,
		`{"b":2}`:                      "query: invalid bm25 parameters: b 2, must be from 0 to 1",
		`{"tokenizer":"letters"}`:      "query.options.tokenizer is not word, whitespace, prefix or multilingual",
		`{"max_token_len":1.5}`:        "query.options.max_token_len is not a length",
		`{"stemmer":{"type":"x"}}`:     `query.options.stemmer is not an object with the type "snowball" or "none"`,
		`{"stopwords":{"custom":[1]}}`: "query.options.stopwords.custom is not a list of texts",
		`{"avglen":3}`:                 `query.options: "avglen" is not known to the model qdrant/bm25`,
	} {
		if code, body = ask(`,"options":` + options); code != 400 || reason(t, body) != "Wrong input: "+want {
			t.Errorf("%s: %d %s", options, code, body)
		}
	}
	if code, body = call("POST", "/collections/dense/points/query", `{"query":{"text":"a","model":"qdrant/bm25"}}`); code != 400 || reason(t, body) != "Wrong input: query: the model qdrant/bm25 makes sparse vectors" {
		t.Errorf("%d %s", code, body)
	}
}
