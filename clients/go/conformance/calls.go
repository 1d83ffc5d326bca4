package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
)

// calls are the methods of the client and of its generated stubs behind which a request left this program.
type calls struct {
	mu   sync.Mutex
	made map[string]bool
}

// local are methods of the client that send nothing.
var local = []string{"Close", "GetCollectionsClient", "GetConnection", "GetGrpcClient", "GetPointsClient", "GetQdrantClient", "GetSnapshotsClient"}

// watch notes each request under its own method and under the one that was called for it: the outermost of the client's on
// the stack.
func (c *calls) watch(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	stack := make([]uintptr, 64)
	frames, called := runtime.CallersFrames(stack[:runtime.Callers(1, stack)]), ""
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		_, name, _ := strings.Cut(f.Function, "go-client/qdrant.(*")
		if method, ok := strings.CutPrefix(name, "Client)."); ok {
			called = method
		} else if name == "ScrollIterator).Next" {
			called = "ScrollAll"
		}
	}
	c.mu.Lock()
	c.made[method], c.made["Client."+called] = true, true
	c.mu.Unlock()
	return next(ctx, method, req, reply, conn, opts...)
}

// offered are all methods of the client and of the services that it has stubs for.
func offered() []string {
	var all []string
	client := reflect.TypeFor[*qdrant.Client]()
	for i := range client.NumMethod() {
		if m := client.Method(i).Name; !slices.Contains(local, m) {
			all = append(all, "Client."+m)
		}
	}
	for _, s := range []grpc.ServiceDesc{qdrant.Points_ServiceDesc, qdrant.Collections_ServiceDesc, qdrant.Snapshots_ServiceDesc, qdrant.Qdrant_ServiceDesc} {
		for _, m := range s.Methods {
			all = append(all, "/"+s.ServiceName+"/"+m.MethodName)
		}
	}
	return all
}

func (s *suite) covered(context.Context) {
	all := offered()
	missing := slices.DeleteFunc(slices.Clone(all), func(m string) bool { return s.calls.made[m] })
	what := fmt.Sprintf("calls covered: %d of %d", len(all)-len(missing), len(all))
	s.ok(what, len(missing) == 0, "not made: %s", strings.Join(missing, ", "))
	if len(missing) == 0 && !s.verbose {
		fmt.Println(what)
	}
}

// older asks by example and in groups, as clients did before Query.
func (s *suite) older(ctx context.Context) {
	points, q := s.GetPointsClient(), vector(10_006, dim)
	a, b, c := name(3), name(19), name(4)
	unit := func(k key) []float32 { return s.truth.stored(k) }
	mean := make([]float32, dim) // twice the mean of the positive ones without the negative one
	for i := range mean {
		mean[i] = unit(a)[i] + unit(b)[i] - unit(c)[i]
	}
	liked := s.truth.nearest(mean, func(k key, _ map[string]any) bool { return k != a && k != b && k != c })
	recommend := func(n uint64) *qdrant.RecommendPoints {
		return &qdrant.RecommendPoints{CollectionName: s.coll, Positive: ids(a, b), Negative: ids(c), Limit: n, Offset: qdrant.PtrOf(uint64(2))}
	}
	s.ranked("recommend", must(points.Recommend(ctx, recommend(7))).GetResult(), liked[2:9])
	many := must(points.RecommendBatch(ctx, &qdrant.RecommendBatchPoints{CollectionName: s.coll, RecommendPoints: []*qdrant.RecommendPoints{recommend(7), recommend(3)}}))
	s.batches("recommend in a batch", many.GetResult(), liked[2:9], liked[2:5])

	found := s.discovered(q, a, c)
	example := func(k key) *qdrant.VectorExample {
		return &qdrant.VectorExample{Example: &qdrant.VectorExample_Id{Id: k.id()}}
	}
	discover := func(n uint64) *qdrant.DiscoverPoints {
		return &qdrant.DiscoverPoints{CollectionName: s.coll, Target: qdrant.NewTargetVector(qdrant.NewVectorDense(q)), Limit: n,
			Context: []*qdrant.ContextExamplePair{{Positive: example(a), Negative: example(c)}}}
	}
	s.ranked("discover", must(points.Discover(ctx, discover(9))).GetResult(), found[:9])
	more := must(points.DiscoverBatch(ctx, &qdrant.DiscoverBatchPoints{CollectionName: s.coll, DiscoverPoints: []*qdrant.DiscoverPoints{discover(9), discover(4)}}))
	s.batches("discover in a batch", more.GetResult(), found[:9], found[:4])

	nearest := s.truth.nearest(q, nil)
	searched := must(points.SearchGroups(ctx, &qdrant.SearchPointGroups{CollectionName: s.coll, Vector: q, GroupBy: "color", GroupSize: 4, Limit: 2}))
	s.groups("search in groups", searched.GetResult().GetGroups(), nearest, 2, 4)
	alike := must(points.RecommendGroups(ctx, &qdrant.RecommendPointGroups{CollectionName: s.coll, Positive: ids(a, b), Negative: ids(c), GroupBy: "color", GroupSize: 3, Limit: 3}))
	s.groups("recommend in groups", alike.GetResult().GetGroups(), liked, 3, 3)
	queried := must(s.QueryGroups(ctx, &qdrant.QueryPointGroups{CollectionName: s.coll, Query: qdrant.NewQueryDense(q), GroupBy: "color", GroupSize: qdrant.PtrOf(uint64(5)),
		Limit: qdrant.PtrOf(uint64(3))}))
	s.groups("query in groups", queried, nearest, 3, 5)
	s.matrices(ctx)
}

// ranked: these and no others, in this order.
func (s *suite) ranked(what string, got []*qdrant.ScoredPoint, want []hit) {
	s.same(what+": count", len(got), len(want))
	s.hits(what, got, want)
}

func (s *suite) batches(what string, got []*qdrant.BatchResult, want ...[]hit) {
	s.same(what+": an answer each", len(got), len(want))
	for i, r := range got[:min(len(got), len(want))] {
		s.ranked(what, r.GetResult(), want[i])
	}
}

// discovered ranks by the side of the pair that a point is on, then by the target.
func (s *suite) discovered(target []float32, positive, negative key) []hit {
	d := s.truth.distance
	var out []hit
	for k, v := range s.truth.vectors {
		if k == positive || k == negative {
			continue
		}
		side := -1.0
		if score(d, v, s.truth.vectors[positive]) > score(d, v, s.truth.vectors[negative]) {
			side = 1
		}
		near := score(d, v, target)
		out = append(out, hit{side + (near/(1+math.Abs(near))+1)/2, k})
	}
	slices.SortFunc(out, func(a, b hit) int { return cmp.Compare(b.score, a.score) })
	return out
}

// groups by color: the best ones first, each with its best hits.
func (s *suite) groups(what string, got []*qdrant.PointGroup, ranked []hit, limit, size int) {
	var names, told []string
	of := map[string][]hit{}
	for _, h := range ranked {
		color := s.truth.payloads[h.key]["color"].(string)
		if of[color] == nil {
			names = append(names, color)
		}
		of[color] = append(of[color], h)
	}
	for _, g := range got {
		told = append(told, g.GetId().GetStringValue())
		s.ranked(what+": "+told[len(told)-1], g.GetHits(), of[told[len(told)-1]][:size])
	}
	s.same(what+": which", told, names[:limit])
}

// matrices compare five points with one another.
func (s *suite) matrices(ctx context.Context) {
	some := []key{name(1), name(2), name(3), name(4), name(9)}
	ask := &qdrant.SearchMatrixPoints{CollectionName: s.coll, Sample: qdrant.PtrOf(uint64(50)), Limit: qdrant.PtrOf(uint64(2)),
		Filter: &qdrant.Filter{Must: []*qdrant.Condition{qdrant.NewHasID(ids(some...)...)}}}
	type pair struct{ a, b key }
	want := map[pair]float64{}
	for _, k := range some {
		for _, h := range s.truth.nearest(s.truth.vectors[k], func(o key, _ map[string]any) bool { return o != k && slices.Contains(some, o) })[:2] {
			want[pair{k, h.key}] = h.score
		}
	}
	matches := func(got map[pair]float64) bool {
		for p, x := range got {
			if y, ok := want[p]; !ok || !near(x, y) {
				return false
			}
		}
		return len(got) == len(want)
	}
	pairs := map[pair]float64{}
	for _, p := range must(s.SearchMatrixPairs(ctx, ask)).GetPairs() {
		pairs[pair{keyOf(p.GetA()), keyOf(p.GetB())}] = float64(p.GetScore())
	}
	s.ok("matrix of pairs", matches(pairs), "got %v, want %v", pairs, want)
	m, cells := must(s.SearchMatrixOffsets(ctx, ask)), map[pair]float64{}
	for i, row := range m.GetOffsetsRow() {
		cells[pair{keyOf(m.GetIds()[row]), keyOf(m.GetIds()[m.GetOffsetsCol()[i]])}] = float64(m.GetScores()[i])
	}
	s.ok("matrix by offsets", matches(cells), "got %v, want %v", cells, want)
}
