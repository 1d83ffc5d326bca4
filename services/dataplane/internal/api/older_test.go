package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/protobuf/proto"
)

func flat(data ...float32) *qdrant.Vector { return &qdrant.Vector{Data: data} }

// TestOlderCalls: they ask the shards what the universal query would.
func TestOlderCalls(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(1, 2, 3, 4)
	ctx := t.Context()
	asked := func() *qdrant.Query { return c.shards.ranked[len(c.shards.ranked)-1][0].Query.GetQuery() }
	r, err := c.Recommend(ctx, &qdrant.RecommendPoints{CollectionName: "c", Positive: []*qdrant.PointId{num(1)}, PositiveVectors: []*qdrant.Vector{flat(2, 4, 0, 0)},
		Negative: []*qdrant.PointId{num(2)}, Limit: 1, Offset: new(uint64(1)), Filter: colour("red")})
	if err != nil || !slices.Equal(found(r.GetResult()), []uint64{4}) || !proto.Equal(asked(), nearest(numbers(1, 4, 0, 0))) {
		t.Errorf("recommend: %v, %v, asked %v", r, err, asked())
	}
	rb, err := c.RecommendBatch(ctx, &qdrant.RecommendBatchPoints{CollectionName: "c", RecommendPoints: []*qdrant.RecommendPoints{
		{Positive: []*qdrant.PointId{num(1)}, Limit: 2}, {NegativeVectors: []*qdrant.Vector{flat(2, 4, 0, 0)}, Strategy: qdrant.RecommendStrategy_SumScores.Enum(), Limit: 9}}})
	if err != nil || len(rb.GetResult()) != 2 || !slices.Equal(found(rb.GetResult()[0].GetResult()), []uint64{2, 3}) || len(found(rb.GetResult()[1].GetResult())) != 4 {
		t.Errorf("recommend batch: %v, %v", rb, err)
	}
	pair := []*qdrant.ContextExamplePair{{Positive: &qdrant.VectorExample{Example: &qdrant.VectorExample_Id{Id: num(1)}}, Negative: &qdrant.VectorExample{Example: &qdrant.VectorExample_Vector{Vector: flat(1, 1, 1, 1)}}}}
	target := &qdrant.TargetVector{Target: &qdrant.TargetVector_Single{Single: &qdrant.VectorExample{Example: &qdrant.VectorExample_Id{Id: num(2)}}}}
	d, err := c.Discover(ctx, &qdrant.DiscoverPoints{CollectionName: "c", Target: target, Context: pair, Limit: 5})
	if err != nil || !slices.Equal(found(d.GetResult()), []uint64{3, 4}) || !proto.Equal(asked().GetDiscover().GetTarget(), numbers(2, 0, 0, 1)) || len(asked().GetDiscover().GetContext().GetPairs()) != 1 {
		t.Errorf("discover: %v, %v, asked %v", d, err, asked())
	}
	db, err := c.DiscoverBatch(ctx, &qdrant.DiscoverBatchPoints{CollectionName: "c", DiscoverPoints: []*qdrant.DiscoverPoints{{Context: pair, Limit: 2}}})
	if err != nil || !slices.Equal(found(db.GetResult()[0].GetResult()), []uint64{2, 3}) || !proto.Equal(asked().GetContext().GetPairs()[0].GetNegative(), numbers(1, 1, 1, 1)) {
		t.Errorf("discover batch: %v, %v, asked %v", db, err, asked())
	}
	_, err = c.Discover(ctx, &qdrant.DiscoverPoints{CollectionName: "c", Limit: 5})
	wants(t, err, fault.InvalidArgument, "Bad request: Either target or context must be provided")
	_, err = c.Discover(ctx, &qdrant.DiscoverPoints{CollectionName: "c", Limit: 5, Context: []*qdrant.ContextExamplePair{{Positive: pair[0].GetPositive()}}})
	wants(t, err, fault.Malformed, "Malformed request: context.negative holds no id and no vector")
	_, err = c.Recommend(ctx, &qdrant.RecommendPoints{CollectionName: "c", Limit: 5})
	wants(t, err, fault.InvalidArgument, "Bad request: At least one positive vector ID required with this strategy")
	_, err = c.Recommend(ctx, &qdrant.RecommendPoints{CollectionName: "c", Positive: []*qdrant.PointId{num(1)}})
	wants(t, err, fault.Validation, "Validation error in body: [limit: value 0 invalid, must be 1 or larger]")
}

// inGroups are four points in two groups and one that is in none.
func inGroups(t *testing.T) *client {
	t.Helper()
	c := start(t, true).with(t, "c", four()).with(t, "other", four())
	c.put(1, 2, 3, 4, 7)
	for n, group := range map[uint64]*qdrant.Value{1: {Kind: &qdrant.Value_IntegerValue{IntegerValue: 7}}, 2: {Kind: &qdrant.Value_IntegerValue{IntegerValue: 7}},
		3: {Kind: &qdrant.Value_StringValue{StringValue: "x"}}, 4: {Kind: &qdrant.Value_IntegerValue{IntegerValue: 7}}, 7: {Kind: &qdrant.Value_BoolValue{BoolValue: true}}} {
		c.shards.points[n].Payload = map[string]*qdrant.Value{"g": group, "k": {Kind: &qdrant.Value_IntegerValue{IntegerValue: int64(n)}}}
	}
	return c
}

func groups(in *qdrant.GroupsResult) map[string][]uint64 {
	out := map[string][]uint64{}
	for _, g := range in.GetGroups() {
		id := g.GetId().GetStringValue()
		if id == "" {
			id = string(rune('0' + g.GetId().GetUnsignedValue()))
		}
		out[id] = found(g.GetHits())
	}
	return out
}

func TestGroups(t *testing.T) {
	c := inGroups(t)
	ctx := t.Context()
	all := &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Enable{Enable: true}}
	r, err := c.QueryGroups(ctx, &qdrant.QueryPointGroups{CollectionName: "c", Query: nearest(numbers(1, 2, 3, 4)), GroupBy: "g", GroupSize: new(uint64(2)), WithPayload: all,
		WithLookup: &qdrant.WithLookup{Collection: "other"}})
	got := groups(r.GetResult())
	if err != nil || len(got) != 2 || !slices.Equal(got["7"], []uint64{1, 2}) || !slices.Equal(got["x"], []uint64{3}) {
		t.Fatalf("%v, %v", r, err)
	}
	first := r.GetResult().GetGroups()[0]
	if first.GetLookup().GetId().GetNum() != 7 || r.GetResult().GetGroups()[1].GetLookup() != nil || first.GetHits()[1].GetScore() != 0.5 || first.GetHits()[1].GetPayload()["k"].GetIntegerValue() != 2 {
		t.Errorf("%v", r)
	}
	if q := c.shards.ranked[0][0].Query; q.GetLimit() != 20 || !slices.Equal(q.GetWithPayload().GetInclude().GetFields(), []string{"g"}) || len(q.GetFilter().GetMustNot()) != 1 {
		t.Errorf("%v", q)
	}
	s, err := c.SearchGroups(ctx, &qdrant.SearchPointGroups{CollectionName: "c", Vector: []float32{1, 2, 3, 4}, GroupBy: "g", GroupSize: 1, Limit: 1})
	if got := groups(s.GetResult()); err != nil || len(got) != 1 || !slices.Equal(got["7"], []uint64{1}) || s.GetResult().GetGroups()[0].GetHits()[0].GetPayload() != nil {
		t.Errorf("%v, %v", s, err)
	}
	e, err := c.RecommendGroups(ctx, &qdrant.RecommendPointGroups{CollectionName: "c", Positive: []*qdrant.PointId{num(1)}, GroupBy: "g", GroupSize: 5, Limit: 5})
	if got := groups(e.GetResult()); err != nil || !slices.Equal(got["7"], []uint64{2, 4}) || !slices.Equal(got["x"], []uint64{3}) {
		t.Errorf("%v, %v", e, err)
	}
	f, err := c.QueryGroups(ctx, &qdrant.QueryPointGroups{CollectionName: "c", Query: rrf(), Prefetch: []*qdrant.PrefetchQuery{leaf(2, 1, 2, 3, 4)}, GroupBy: "g", GroupSize: new(uint64(2))})
	if got := groups(f.GetResult()); err != nil || !slices.Equal(got["7"], []uint64{1, 2}) || !slices.Equal(got["x"], []uint64{3}) {
		t.Errorf("a prefetch finds so many for each place of a group: %v, %v", f, err)
	}
}

func TestBadGroups(t *testing.T) {
	c := inGroups(t)
	for name, b := range map[string]struct {
		q      *qdrant.QueryPointGroups
		reason fault.Reason
		text   string
	}{
		"path": {&qdrant.QueryPointGroups{GroupBy: "a..b"}, fault.Malformed, `Invalid json path: "a..b"`},
		"size": {&qdrant.QueryPointGroups{GroupBy: "g", GroupSize: new(uint64(0)), Limit: new(uint64(0))}, fault.Validation,
			"Validation error in body: [limit: value 0 invalid, must be 1 or larger; group_size: value 0 invalid, must be 1 or larger]"},
		"many":   {&qdrant.QueryPointGroups{GroupBy: "g", GroupSize: new(uint64(1 << 11)), Limit: new(uint64(1 << 10))}, fault.Validation, "Validation error in body: [limit: value 1024 times group_size 2048 invalid, must be 1048576 points or fewer]"},
		"lookup": {&qdrant.QueryPointGroups{GroupBy: "g", WithLookup: &qdrant.WithLookup{Collection: "none"}}, fault.CollectionNotFound, "Not found: Collection `none` doesn't exist!"},
	} {
		b.q.CollectionName = "c"
		_, err := c.QueryGroups(t.Context(), b.q)
		if f := fault.From(err); f.Reason != b.reason || f.Msg != b.text {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(c.shards.reads) != 0 {
		t.Errorf("%d reads", len(c.shards.reads))
	}
}

func TestMatrix(t *testing.T) {
	c := start(t, true).with(t, "c", four())
	c.put(1, 2, 3)
	p, err := c.SearchMatrixPairs(t.Context(), &qdrant.SearchMatrixPoints{CollectionName: "c", Limit: new(uint64(1)), Filter: colour("red")})
	if err != nil || len(p.GetResult().GetPairs()) != 3 || !proto.Equal(p.GetResult().GetPairs()[0], &qdrant.SearchMatrixPair{A: num(1), B: num(2), Score: 0.5}) {
		t.Errorf("%v, %v", p, err)
	}
	if s := c.shards.asked[0].Scroll; s.SampleSeed == nil || s.GetLimit() != 10 || len(s.GetFilter().GetMust()) != 2 || len(c.shards.ranked) != 1 || len(c.shards.ranked[0]) != 3 {
		t.Errorf("%v, %v", s, c.shards.ranked)
	}
	o, err := c.SearchMatrixOffsets(t.Context(), &qdrant.SearchMatrixPoints{CollectionName: "c"})
	if r := o.GetResult(); err != nil || len(r.GetIds()) != 3 || !slices.Equal(r.GetOffsetsRow(), []uint64{0, 0, 1, 1, 2, 2}) || !slices.Equal(r.GetOffsetsCol(), []uint64{1, 2, 0, 2, 0, 1}) || len(r.GetScores()) != 6 {
		t.Errorf("%v, %v", o, err)
	}
	if o, err = c.SearchMatrixOffsets(t.Context(), &qdrant.SearchMatrixPoints{CollectionName: "c", Sample: new(uint64(2))}); err != nil || len(o.GetResult().GetIds()) != 2 {
		t.Errorf("%v, %v", o, err)
	}
	delete(c.shards.points, 1)
	delete(c.shards.points, 2)
	if p, err = c.SearchMatrixPairs(t.Context(), &qdrant.SearchMatrixPoints{CollectionName: "c"}); err != nil || len(p.GetResult().GetPairs()) != 0 {
		t.Errorf("one point makes no matrix: %v, %v", p, err)
	}
}

// TestQueriesOverREST: the same calls in the other dialect, and the form of their answers.
func TestQueriesOverREST(t *testing.T) {
	c := inGroups(t)
	call := over(t, c)
	for path, b := range map[string]struct{ body, want string }{
		"query": {`{"prefetch":[{"query":[1,2,3,4],"limit":3},{"prefetch":{"query":2},"query":{"rrf":{"k":1,"weights":[2.0]}}}],"query":{"fusion":"dbsf"},"limit":1,"with_payload":["k"]}`,
			`{"points":[{"id":1,"payload":{"k":1},"score":1.4195815,"version":0}]}`},
		"query/batch": {`{"searches":[{"query":{"sample":"random"},"limit":5},{"prefetch":{"limit":2},"query":{"formula":{"sum":["k",{"mult":[2,"$score"]}]},"defaults":{"k":1}}}]}`,
			`[{"points":[{"id":1,"score":1.0,"version":0},{"id":2,"score":1.0,"version":0},{"id":3,"score":1.0,"version":0},{"id":4,"score":1.0,"version":0},{"id":7,"score":1.0,"version":0}]},` +
				`{"points":[{"id":2,"score":4.0,"version":0},{"id":1,"score":3.0,"version":0}]}]`},
		"query/groups":          {`{"query":{"nearest":[1,2,3,4],"mmr":{"diversity":0}},"group_by":"g","limit":1,"group_size":1}`, `{"groups":[{"id":7,"hits":[{"id":1,"score":1.0,"version":0}]}]}`},
		"search/groups":         {`{"vector":[1,2,3,4],"group_by":"g","limit":1,"group_size":1}`, `{"groups":[{"id":7,"hits":[{"id":1,"score":1.0,"version":0}]}]}`},
		"recommend":             {`{"positive":[1,[1,2,3,4]],"negative":[2],"limit":1}`, `[{"id":3,"score":1.0,"version":0}]`},
		"recommend/batch":       {`{"searches":[{"positive":[1],"strategy":"best_score","limit":1}]}`, `[[{"id":2,"score":1.0,"version":0}]]`},
		"recommend/groups":      {`{"positive":[1],"group_by":"g","limit":1,"group_size":1}`, `{"groups":[{"id":7,"hits":[{"id":2,"score":1.0,"version":0}]}]}`},
		"discover":              {`{"target":1,"context":[{"positive":2,"negative":[1,2,3,4]}],"limit":1}`, `[{"id":3,"score":1.0,"version":0}]`},
		"discover/batch":        {`{"searches":[{"context":[{"positive":2,"negative":3}],"limit":1}]}`, `[[{"id":1,"score":1.0,"version":0}]]`},
		"search/matrix/pairs":   {`{"sample":2,"limit":1}`, `{"pairs":[{"a":1,"b":2,"score":0.5},{"a":2,"b":1,"score":1.0}]}`},
		"search/matrix/offsets": {`{"sample":2,"limit":1}`, `{"offsets_row":[0,1],"offsets_col":[1,0],"scores":[0.5,1.0],"ids":[1,2]}`},
	} {
		code, body := call(http.MethodPost, "/collections/c/points/"+path, b.body)
		var e struct{ Result json.RawMessage }
		if err := json.Unmarshal([]byte(body), &e); err != nil || code != 200 || string(e.Result) != b.want {
			t.Errorf("%s: %d %s, %v, want %s", path, code, body, err, b.want)
		}
	}
}
