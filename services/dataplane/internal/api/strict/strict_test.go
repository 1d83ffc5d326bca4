package strict

import (
	"strings"
	"testing"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/protobuf/proto"
)

func where(key string, f func(*qdrant.FieldCondition)) *qdrant.Filter {
	c := &qdrant.FieldCondition{Key: key}
	f(c)
	return &qdrant.Filter{Must: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_Field{Field: c}}}}
}

func keyword(key string) *qdrant.Filter {
	return where(key, func(c *qdrant.FieldCondition) {
		c.Match = &qdrant.Match{MatchValue: &qdrant.Match_Keyword{Keyword: "v"}}
	})
}

func number(key string) *qdrant.Filter {
	return where(key, func(c *qdrant.FieldCondition) { c.Match = &qdrant.Match{MatchValue: &qdrant.Match_Integer{Integer: 1}} })
}

func span(key string) *qdrant.Filter {
	return where(key, func(c *qdrant.FieldCondition) { c.Range = &qdrant.Range{Gt: new(1.0)} })
}

func in(key string, f *qdrant.Filter) *qdrant.Filter {
	return &qdrant.Filter{Should: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_Nested{Nested: &qdrant.NestedCondition{Key: key, Filter: f}}}}}
}

func both(fs ...*qdrant.Filter) *qdrant.Filter {
	out := &qdrant.Filter{MinShould: &qdrant.MinShould{MinCount: 1}}
	for _, f := range fs {
		out.MinShould.Conditions = append(out.MinShould.Conditions, &qdrant.Condition{ConditionOneOf: &qdrant.Condition_Filter{Filter: f}})
	}
	return out
}

func matching(f *qdrant.Filter) *qdrant.PointsSelector {
	return &qdrant.PointsSelector{PointsSelectorOneOf: &qdrant.PointsSelector_Filter{Filter: f}}
}

func points(n int) []*qdrant.PointStruct {
	out := make([]*qdrant.PointStruct, n)
	for i := range out {
		out[i] = &qdrant.PointStruct{}
	}
	return out
}

func limits() *Limits {
	index := func(p *qdrant.PayloadIndexParams) *qdrant.PayloadIndexParams { return p }
	return &Limits{
		StrictModeConfig: &qdrant.StrictModeConfig{
			MaxQueryLimit: new(uint32(12)), MaxTimeout: new(uint32(5)), UnindexedFilteringRetrieve: new(false), UnindexedFilteringUpdate: new(false),
			SearchMaxHnswEf: new(uint32(100)), SearchAllowExact: new(false), SearchMaxOversampling: new(float32(2)), UpsertMaxBatchsize: new(uint64(3)),
			FilterMaxConditions: new(uint64(2)), ConditionMaxSize: new(uint64(3)), MaxPayloadIndexCount: new(uint64(7)), SearchMaxBatchsize: new(uint64(2)),
			MultivectorConfig: &qdrant.StrictModeMultivectorConfig{MultivectorConfig: map[string]*qdrant.StrictModeMultivector{"m": {MaxVectors: new(uint64(2))}}},
			SparseConfig:      &qdrant.StrictModeSparseConfig{SparseConfig: map[string]*qdrant.StrictModeSparse{"s": {MaxLength: new(uint64(2))}}},
		},
		Indexes: map[string]*qdrant.PayloadIndexParams{
			"k":     index(&qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_KeywordIndexParams{}}),
			"u":     index(&qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_UuidIndexParams{}}),
			"a[].k": index(&qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_KeywordIndexParams{}}),
			"n":     index(&qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_IntegerIndexParams{IntegerIndexParams: &qdrant.IntegerIndexParams{}}}),
			"r":     index(&qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_IntegerIndexParams{IntegerIndexParams: &qdrant.IntegerIndexParams{Lookup: new(false)}}}),
			"t":     index(&qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_TextIndexParams{}}),
			"d":     index(&qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_DatetimeIndexParams{}}),
		},
	}
}

func TestCheck(t *testing.T) {
	scroll := func(f *qdrant.Filter) proto.Message { return &qdrant.ScrollPoints{Filter: f} }
	multi := &qdrant.Vector{Vector: &qdrant.Vector_MultiDense{MultiDense: &qdrant.MultiDenseVector{Vectors: make([]*qdrant.DenseVector, 3)}}}
	sparse := &qdrant.Vector{Vector: &qdrant.Vector_Sparse{Sparse: &qdrant.SparseVector{Indices: []uint32{1, 2, 3}}}}
	named := func(name string, v *qdrant.Vector) *qdrant.Vectors {
		return &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vectors{Vectors: &qdrant.NamedVectors{Vectors: map[string]*qdrant.Vector{name: v}}}}
	}
	missing := func(key, types string) string {
		return `Index required but not found for "` + key + `" of one of the following types: [` + types + `]. Help: Create an index for this key or use a different filter.`
	}
	above := func(is, field, most, limit string) string {
		return "Limit exceeded " + is + " > " + most + ` for "` + field + `". Help: Reduce "` + field + `" to or below ` + most + ", which the collection's " + limit + " allows."
	}
	for name, c := range map[string]struct {
		req  proto.Message
		want string // empty: it passes
	}{
		"a query as it may be":        {&qdrant.QueryPoints{Filter: keyword("k"), Limit: new(uint64(12)), Timeout: new(uint64(5)), Params: &qdrant.SearchParams{HnswEf: new(uint64(100))}}, ""},
		"the default limit passes":    {&qdrant.QueryPoints{}, ""},
		"limit":                       {&qdrant.QueryPoints{Limit: new(uint64(13))}, above("13", "limit", "12", "max_query_limit")},
		"limit of a prefetch":         {&qdrant.QueryPoints{Prefetch: []*qdrant.PrefetchQuery{{Prefetch: []*qdrant.PrefetchQuery{{Limit: new(uint64(99))}}}}}, above("99", "limit", "12", "max_query_limit")},
		"limit of a search":           {&qdrant.SearchPoints{Limit: 13}, above("13", "limit", "12", "max_query_limit")},
		"limit of a scroll":           {&qdrant.ScrollPoints{Limit: new(uint32(13))}, above("13", "limit", "12", "max_query_limit")},
		"default of groups":           {&qdrant.QueryPointGroups{}, above("30", "limit * group_size", "12", "max_query_limit")},
		"groups":                      {&qdrant.QueryPointGroups{Limit: new(uint64(4)), GroupSize: new(uint64(3))}, ""},
		"sample of a matrix":          {&qdrant.SearchMatrixPoints{Limit: new(uint64(3)), Sample: new(uint64(50))}, above("50", "sample", "12", "max_query_limit")},
		"timeout":                     {&qdrant.CountPoints{Timeout: new(uint64(6))}, above("6", "timeout", "5", "max_timeout")},
		"timeout of a write":          {&qdrant.DeletePoints{Timeout: new(uint64(6))}, above("6", "timeout", "5", "max_timeout")},
		"ef":                          {&qdrant.SearchPoints{Limit: 1, Params: &qdrant.SearchParams{HnswEf: new(uint64(101))}}, above("101", "hnsw_ef", "100", "search_max_hnsw_ef")},
		"exact":                       {&qdrant.QueryPoints{Params: &qdrant.SearchParams{Exact: new(true)}}, "Exact search is disabled. Help: Set \"exact\" to false, the collection's search_allow_exact is false."},
		"an exact count is no search": {&qdrant.CountPoints{Exact: new(true)}, ""},
		"oversampling":                {&qdrant.QueryPoints{Params: &qdrant.SearchParams{Quantization: &qdrant.QuantizationSearchParams{Oversampling: new(2.5)}}}, above("2.5", "oversampling", "2", "search_max_oversampling")},
		"batch of searches":           {&qdrant.QueryBatchPoints{QueryPoints: make([]*qdrant.QueryPoints, 3)}, above("3", "query_points", "2", "search_max_batchsize")},
		"in a batch of searches":      {&qdrant.QueryBatchPoints{QueryPoints: []*qdrant.QueryPoints{{}, {Filter: keyword("x")}}}, missing("x", "keyword, uuid")},
		"batch of points":             {&qdrant.UpsertPoints{Points: points(4)}, above("4", "points", "3", "upsert_max_batchsize")},
		"as many points as may be":    {&qdrant.UpsertPoints{Points: points(3), UpdateFilter: number("n")}, ""},
		"in a batch of updates": {&qdrant.UpdateBatchPoints{Operations: []*qdrant.PointsUpdateOperation{{Operation: &qdrant.PointsUpdateOperation_Upsert{
			Upsert: &qdrant.PointsUpdateOperation_PointStructList{Points: points(4)}}}}}, above("4", "points", "3", "upsert_max_batchsize")},
		"multi-vector": {&qdrant.UpsertPoints{Points: []*qdrant.PointStruct{{Vectors: named("m", multi)}}}, above("3", "vectors of multi-vector m", "2", "multivector_config")},
		"flat multi-vector": {&qdrant.UpdatePointVectors{Points: []*qdrant.PointVectors{{Vectors: named("m", &qdrant.Vector{VectorsCount: new(uint32(3))})}}},
			above("3", "vectors of multi-vector m", "2", "multivector_config")},
		"another multi-vector": {&qdrant.UpsertPoints{Points: []*qdrant.PointStruct{{Vectors: named("other", multi)}}}, ""},
		"sparse vector":        {&qdrant.UpsertPoints{Points: []*qdrant.PointStruct{{Vectors: named("s", sparse)}}}, above("3", "length of sparse vector s", "2", "sparse_config")},
		"flat sparse vector": {&qdrant.UpsertPoints{Points: []*qdrant.PointStruct{{Vectors: named("s", &qdrant.Vector{Indices: &qdrant.SparseIndices{Data: []uint32{1, 2, 3}}})}}},
			above("3", "length of sparse vector s", "2", "sparse_config")},

		"no index":                {scroll(keyword("x")), missing("x", "keyword, uuid")},
		"index of another type":   {scroll(number("k")), missing("k", "integer with lookup")},
		"uuid serves keywords":    {scroll(keyword("u")), ""},
		"integer":                 {scroll(both(number("n"), span("n"))), ""},
		"integer without lookup":  {scroll(number("r")), missing("r", "integer with lookup")},
		"range":                   {scroll(span("r")), ""},
		"nested":                  {scroll(in("a", keyword("k"))), ""},
		"nested, written with []": {scroll(in("a[]", keyword("k"))), ""},
		"nested without an index": {scroll(in("b", keyword("k"))), missing("b[].k", "keyword, uuid")},
		"path through an array":   {scroll(keyword("a[].k")), ""},
		"text":                    {scroll(where("t", func(c *qdrant.FieldCondition) { c.Match = &qdrant.Match{MatchValue: &qdrant.Match_Phrase{}} })), ""},
		"boolean":                 {scroll(where("k", func(c *qdrant.FieldCondition) { c.Match = &qdrant.Match{MatchValue: &qdrant.Match_Boolean{}} })), missing("k", "bool")},
		"time":                    {scroll(where("d", func(c *qdrant.FieldCondition) { c.DatetimeRange = &qdrant.DatetimeRange{} })), ""},
		"place":                   {scroll(where("d", func(c *qdrant.FieldCondition) { c.GeoRadius = &qdrant.GeoRadius{} })), missing("d", "geo")},
		"emptiness needs none":    {scroll(where("x", func(c *qdrant.FieldCondition) { c.IsEmpty = new(true) })), ""},
		"filter of a write":       {&qdrant.DeletePoints{Points: matching(keyword("x"))}, missing("x", "keyword, uuid")},
		"condition of an upsert":  {&qdrant.UpsertPoints{UpdateFilter: keyword("x")}, missing("x", "keyword, uuid")},
		"corpus of a query":       {&qdrant.QueryPoints{Params: &qdrant.SearchParams{Idf: &qdrant.IdfParams{Corpus: keyword("x")}}}, missing("x", "keyword, uuid")},
		"condition of a formula":  {&qdrant.QueryPoints{Query: &qdrant.Query{Variant: &qdrant.Query_Formula{Formula: &qdrant.Formula{Expression: &qdrant.Expression{Variant: &qdrant.Expression_Condition{Condition: keyword("x").GetMust()[0]}}}}}}, missing("x", "keyword, uuid")},
		"conditions":              {scroll(both(keyword("k"), in("a", keyword("k")), keyword("k"))), above("3", "filter conditions", "2", "filter_max_conditions")},
		"values": {scroll(where("k", func(c *qdrant.FieldCondition) {
			c.Match = &qdrant.Match{MatchValue: &qdrant.Match_Keywords{Keywords: &qdrant.RepeatedStrings{Strings: make([]string, 4)}}}
		})), above("4", "values of a condition on a payload field", "3", "condition_max_size")},
		"ids":                      {scroll(&qdrant.Filter{MustNot: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_HasId{HasId: &qdrant.HasIdCondition{HasId: make([]*qdrant.PointId, 4)}}}}}), above("4", "values of a condition on has_id", "3", "condition_max_size")},
		"one index too many":       {&qdrant.CreateFieldIndexCollection{FieldName: "x"}, "Collection already has the maximum number of payload indices (7). Help: Delete an index, or raise max_payload_index_count of the collection."},
		"an index that is there":   {&qdrant.CreateFieldIndexCollection{FieldName: "k"}, ""},
		"an index may be dropped":  {&qdrant.DeleteFieldIndexCollection{FieldName: "k"}, ""},
		"points by id need no key": {&qdrant.GetPoints{Ids: make([]*qdrant.PointId, 99)}, ""},
	} {
		err := limits().Check(c.req, Of(c.req))
		if c.want == "" && err != nil || c.want != "" && (err == nil || fault.From(err).Msg != c.want || fault.ReasonOf(err) != fault.InvalidArgument) {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, c.want)
		}
		if err := (&Limits{StrictModeConfig: &qdrant.StrictModeConfig{}}).Check(c.req, Of(c.req)); err != nil {
			t.Errorf("%s: refused without limits: %v", name, err)
		}
	}
}

func TestOf(t *testing.T) {
	upsert := &qdrant.PointsUpdateOperation{Operation: &qdrant.PointsUpdateOperation_Upsert{Upsert: &qdrant.PointsUpdateOperation_PointStructList{Points: points(2)}}}
	clear := &qdrant.PointsUpdateOperation{Operation: &qdrant.PointsUpdateOperation_ClearPayload_{ClearPayload: &qdrant.PointsUpdateOperation_ClearPayload{}}}
	for _, c := range []struct {
		req     proto.Message
		write   bool
		cost    int
		points  uint64
		storing bool
	}{
		{&qdrant.UpsertPoints{Points: points(3)}, true, 1, 3, true},
		{&qdrant.UpdateBatchPoints{Operations: []*qdrant.PointsUpdateOperation{upsert, clear, upsert}}, true, 3, 4, true},
		{&qdrant.SetPayloadPoints{CollectionName: "c"}, true, 1, 0, true},
		{&qdrant.DeletePoints{CollectionName: "c"}, true, 1, 0, false},
		{&qdrant.CreateVectorNameRequest{}, true, 1, 0, false},
		{&qdrant.QueryPoints{}, false, 1, 0, false},
		{&qdrant.QueryBatchPoints{QueryPoints: make([]*qdrant.QueryPoints, 4)}, false, 4, 0, false},
		{&qdrant.SearchBatchPoints{}, false, 1, 0, false},
	} {
		if op := Of(c.req); op.Write != c.write || op.Cost != c.cost || op.Points != c.points || (op.Bytes > 0) != c.storing {
			t.Errorf("%T: %+v", c.req, op)
		}
	}
}

func TestRoom(t *testing.T) {
	l := &Limits{StrictModeConfig: &qdrant.StrictModeConfig{}}
	if l.Sized() || l.Room(Usage{1 << 60, 1 << 60, 1 << 60}) != nil {
		t.Error("a limit where there is none")
	}
	l.MaxPointsCount, l.MaxCollectionVectorSizeBytes, l.MaxCollectionPayloadSizeBytes = new(uint64(3)), new(uint64(10)), new(uint64(20))
	for want, u := range map[string]Usage{
		"": {2, 9, 19},
		"Max points count limit of 3 reached. Help: Delete points, or raise max_points_count of the collection.":                                 {3, 0, 0},
		"Max vector storage size limit of 10 bytes reached. Help: Delete points, or raise max_collection_vector_size_bytes of the collection.":   {0, 10, 0},
		"Max payload storage size limit of 20 bytes reached. Help: Delete points, or raise max_collection_payload_size_bytes of the collection.": {0, 0, 21},
	} {
		if err := l.Room(u); want == "" && err != nil || want != "" && (fault.ReasonOf(err) != fault.InvalidArgument || fault.From(err).Msg != want) {
			t.Errorf("%+v: %v, want %s", u, err, want)
		}
	}
	if !l.Sized() {
		t.Error("not sized")
	}
}

func TestBucket(t *testing.T) {
	var b Bucket
	at := time.Hour
	for i := range 6 {
		if err := b.Take(at, 6, 1, "read_rate_limit"); err != nil {
			t.Fatalf("operation %d of 6: %v", i, err)
		}
	}
	for _, c := range []struct {
		after time.Duration
		n     int
		wait  string // empty: taken
	}{
		{0, 1, "10"}, {time.Second, 1, "9"}, {9 * time.Second, 1, ""}, {9 * time.Second, 1, "1"}, {time.Second, 3, "20"},
		{20 * time.Second, 3, ""}, {time.Hour, 6, ""}, {0, 1, "10"}, {-time.Minute, 1, "10"},
	} {
		at += c.after
		err := b.Take(at, 6, c.n, "read_rate_limit")
		if e := fault.From(err); c.wait == "" && err != nil || c.wait != "" && (e == nil || e.Reason != fault.RateLimited || e.Meta[fault.MetaRetryAfter] != c.wait) {
			t.Errorf("%v later, %d: %v, want to wait %q", c.after, c.n, err, c.wait)
		}
	}
	if err := b.Take(at, 6, 7, "read_rate_limit"); fault.ReasonOf(err) != fault.InvalidArgument || !strings.HasPrefix(fault.From(err).Msg, `Limit exceeded 7 > 6 for "read_rate_limit". Help: `) {
		t.Errorf("more than ever may come: %v", err)
	}
}
