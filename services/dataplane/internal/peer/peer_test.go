package peer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"
	"testing"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/document"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/dataplane/internal/node"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/oplog"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/proof"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a replica and its engine.
type fake struct {
	linearized int
	mu         sync.Mutex
	proposed   []string
	ids        []op.ID
	result     replica.Result
	err        error
	readErr    error
	epoch      topology.Epoch
	held       int
	queries    []query.Nearest
	facet      query.Facet

	frequencies []query.Frequencies
	verified    proof.Verified
}

func (f *fake) Propose(_ context.Context, id op.ID, w shard.Write, wait replica.WaitMode, factor int) (replica.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.proposed = append(f.proposed, fmt.Sprintf("%d wait=%d factor=%d", w.Kind, wait, factor))
	f.ids = append(f.ids, id)
	return f.result, f.err
}

func (f *fake) Linearize(context.Context) error {
	f.linearized++
	return f.err
}

func (f *fake) Verify(context.Context) (proof.Verified, error) { return f.verified, f.err }

func (f *fake) Receive(topology.PeerID, core.Message, map[topology.Seq]string) {}
func (f *fake) Pinned(topology.PeerID, topology.Seq)                           {}

func (f *fake) HandOver(_ context.Context, epoch topology.Epoch, to topology.PeerID) (topology.Placement, error) {
	return topology.Placement{Epoch: epoch + 1, Primary: to}, f.err
}

func (f *fake) Adopt(_ context.Context, p topology.Placement) (topology.Placement, error) {
	f.epoch = max(f.epoch, p.Epoch)
	return topology.Placement{Epoch: f.epoch}, nil
}

func (f *fake) Status() replica.Status {
	var s replica.Status
	s.Placement.Epoch, s.Applied, s.Last.Seq = f.epoch, 9, 11
	return s
}

func (f *fake) Get(_ context.Context, g query.Get) ([]query.Record, error) {
	if f.held != 1 {
		return nil, errors.New("read without holding the engine")
	}
	var out []query.Record
	for _, id := range g.IDs {
		out = append(out, query.Record{ID: id, Version: 5, Vectors: []op.Vector{{Data: []float32{1, 2}}}})
	}
	return out, nil
}

func (f *fake) Scroll(context.Context, query.Scroll) ([]query.Record, *topology.PointID, error) {
	return []query.Record{{ID: topology.NumberID(1)}}, nil, nil
}

func (f *fake) Digest() (topology.Seq, point.Digest) { return 7, point.Digest{A: 1, B: 2} }

func (f *fake) Fields() (uint64, map[string]uint64) { return 3, map[string]uint64{"a": 2} }

func (f *fake) Facet(_ context.Context, q query.Facet) ([]query.FacetHit, error) {
	f.facet = q
	return []query.FacetHit{{Value: filter.Scalar{Kind: filter.BoolScalar, Bool: true}, Count: 5}}, nil
}

func (f *fake) Info() query.Info {
	return query.Info{Segments: 3, Indexed: map[string]uint64{"v": 4}, Pending: 2, Paused: true, Failure: "no room", Points: 5, VectorBytes: 6, PayloadBytes: 7}
}

func (f *fake) Frequencies(_ context.Context, q query.Frequencies) (uint64, []uint64, error) {
	if q.Using == "" {
		return 0, nil, fmt.Errorf("vector %q: %w", q.Using, query.ErrNotBuilt)
	}
	f.frequencies = append(f.frequencies, q)
	return 100, make([]uint64, len(q.Indices)), nil
}

func (f *fake) Count(context.Context, query.Count) (uint64, error) { return 42, nil }

func (f *fake) Nearest(_ context.Context, qs []query.Nearest) ([][]query.Scored, error) {
	f.queries = qs
	out := make([][]query.Scored, len(qs))
	out[0] = []query.Scored{{Record: query.Record{ID: topology.NumberID(3), Version: 8}, Score: 0.5}}
	return out, nil
}

func serverOf(shards map[topology.ShardID]*fake) *Server {
	return &Server{Replica: func(s topology.Shard) (Replica, error) {
		if f, ok := shards[s.ID]; ok {
			return f, nil
		}
		return nil, node.ErrNoReplica
	}, Reader: func(s topology.Shard) (Engine, func(), error) {
		f, ok := shards[s.ID]
		if !ok {
			return nil, nil, node.ErrNoReplica
		}
		if f.readErr != nil {
			return nil, nil, f.readErr
		}
		f.held++
		return f, func() { f.held-- }, nil
	}}
}

func route(s, epoch uint64) *shardv1.Route {
	return &shardv1.Route{CollectionId: 1, ShardId: s, Epoch: epoch}
}

func deletion(s uint64) *shardv1.ShardWrite {
	return &shardv1.ShardWrite{Route: route(s, 1), Id: &shardv1.OperationId{Request: make([]byte, 16), Index: uint32(s)}, Wait: true, WriteConsistencyFactor: 2,
		Operation: &shardv1.ShardWrite_Delete{Delete: &shardv1.DeletePoints{Points: &qdrant.PointsSelector{
			PointsSelectorOneOf: &qdrant.PointsSelector_Points{Points: &qdrant.PointsIdsList{Ids: []*qdrant.PointId{wire.ProtoID(topology.NumberID(1))}}}}}}}
}

func TestWriteOutcomes(t *testing.T) {
	for _, c := range []struct {
		name   string
		result replica.Result
		err    error
		status shardv1.WriteStatus
		reason clusterv1.Reason
	}{
		{"applied", replica.Result{Seq: 4, Applied: true}, nil, shardv1.WriteStatus_WRITE_STATUS_APPLIED, 0},
		{"committed only", replica.Result{Seq: 4}, nil, shardv1.WriteStatus_WRITE_STATUS_COMMITTED, 0},
		{"unknown", replica.Result{}, fmt.Errorf("x: %w", replica.ErrUnknownOutcome), shardv1.WriteStatus_WRITE_STATUS_UNKNOWN, clusterv1.Reason_REASON_WRITE_OUTCOME_UNKNOWN},
		{"moved", replica.Result{}, replica.ErrNotPrimary, shardv1.WriteStatus_WRITE_STATUS_NOT_PRIMARY, clusterv1.Reason_REASON_NOT_PRIMARY},
		{"full", replica.Result{}, replica.ErrNoSpace, shardv1.WriteStatus_WRITE_STATUS_REFUSED, clusterv1.Reason_REASON_DISK_FULL},
		{"failed", replica.Result{}, replica.ErrFailed, shardv1.WriteStatus_WRITE_STATUS_REFUSED, clusterv1.Reason_REASON_REPLICA_FAILED},
		{"time over before the append", replica.Result{}, context.DeadlineExceeded, shardv1.WriteStatus_WRITE_STATUS_REFUSED, clusterv1.Reason_REASON_TIMEOUT},
		{"dimension", replica.Result{}, &shard.DimensionError{Want: 4, Got: 3}, shardv1.WriteStatus_WRITE_STATUS_REFUSED, clusterv1.Reason_REASON_DIMENSION_MISMATCH},
		{"vector name", replica.Result{}, &shard.VectorNameError{Name: "n"}, shardv1.WriteStatus_WRITE_STATUS_REFUSED, clusterv1.Reason_REASON_VECTOR_NAME_UNKNOWN},
		{"missing point", replica.Result{}, &shard.NoPointError{ID: topology.NumberID(7)}, shardv1.WriteStatus_WRITE_STATUS_REFUSED, clusterv1.Reason_REASON_POINT_NOT_FOUND},
		{"damaged", replica.Result{}, fmt.Errorf("%w: %w: %w", node.ErrNotLoaded, shard.ErrCorrupt, payload.ErrUTF8), shardv1.WriteStatus_WRITE_STATUS_REFUSED, clusterv1.Reason_REASON_STORAGE_CORRUPT},
		{"damaged log", replica.Result{}, fmt.Errorf("%w: %w", node.ErrNotLoaded, &oplog.CorruptError{}), shardv1.WriteStatus_WRITE_STATUS_REFUSED, clusterv1.Reason_REASON_STORAGE_CORRUPT},
		{"rows", replica.Result{}, &query.DimensionError{Want: 4, Got: 3}, shardv1.WriteStatus_WRITE_STATUS_REFUSED, clusterv1.Reason_REASON_DIMENSION_MISMATCH},
		{"kind", replica.Result{}, fmt.Errorf("point 1: %w", query.ErrVector), shardv1.WriteStatus_WRITE_STATUS_REFUSED, clusterv1.Reason_REASON_INVALID_ARGUMENT},
		{"not built", replica.Result{}, query.ErrNotBuilt, shardv1.WriteStatus_WRITE_STATUS_REFUSED, clusterv1.Reason_REASON_NOT_BUILT},
		{"not loaded yet", replica.Result{}, node.ErrNotLoaded, shardv1.WriteStatus_WRITE_STATUS_REFUSED, clusterv1.Reason_REASON_SHARD_UNAVAILABLE},
		{"anything else", replica.Result{}, errors.New("?"), shardv1.WriteStatus_WRITE_STATUS_REFUSED, clusterv1.Reason_REASON_REPLICA_FAILED},
	} {
		f := &fake{result: c.result, err: c.err}
		r, err := serverOf(map[topology.ShardID]*fake{0: f}).Write(t.Context(), &shardv1.WriteRequest{Writes: []*shardv1.ShardWrite{deletion(0)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.GetResults()[0]; got.GetStatus() != c.status || got.GetFailure().GetReason() != c.reason || got.GetSeq() != uint64(c.result.Seq) {
			t.Errorf("%s: %v", c.name, got)
		}
		if want := fmt.Sprintf("%d wait=%d factor=2", op.Delete, replica.WaitApplied); f.proposed[0] != want || !f.ids[0].IsLast() {
			t.Errorf("%s: proposed %q under %+v", c.name, f.proposed[0], f.ids[0])
		}
	}
}

func TestWritesOfOneShardKeepTheirOrderAndResultsTheirPlace(t *testing.T) {
	a, b := &fake{result: replica.Result{Seq: 1}}, &fake{result: replica.Result{Seq: 2}}
	s := serverOf(map[topology.ShardID]*fake{0: a, 1: b})
	req := &shardv1.WriteRequest{}
	for i, sh := range []uint64{0, 1, 5, 0, 1, 0} {
		w := deletion(sh)
		w.Id.Index = uint32(i)
		req.Writes = append(req.Writes, w)
	}
	r, err := s.Write(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{1, 2, 0, 1, 2, 1} {
		if r.GetResults()[i].GetSeq() != want {
			t.Errorf("result %d is %v", i, r.GetResults()[i])
		}
	}
	if got := r.GetResults()[2].GetFailure().GetReason(); got != clusterv1.Reason_REASON_SHARD_UNAVAILABLE {
		t.Errorf("a shard that is not here gives %v", got)
	}
	if !slices.IsSortedFunc(a.ids, func(x, y op.ID) int { return int(x.Index) - int(y.Index) }) || len(a.ids) != 3 {
		t.Errorf("shard 0 saw %v", a.ids)
	}
}

func TestStaleSenderGetsThePlacement(t *testing.T) {
	f := &fake{epoch: 7}
	s := serverOf(map[topology.ShardID]*fake{0: f})
	w, err := s.Write(t.Context(), &shardv1.WriteRequest{Writes: []*shardv1.ShardWrite{deletion(0)}})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.GetResults()[0]; got.GetStatus() != shardv1.WriteStatus_WRITE_STATUS_NOT_PRIMARY || got.GetFailure().GetPlacement().GetEpoch() != 7 || len(f.proposed) != 0 {
		t.Errorf("%v", got)
	}
	r, err := s.Read(t.Context(), &shardv1.ReadRequest{Reads: []*shardv1.ShardRead{
		{Route: route(0, 6), Read: &shardv1.ShardRead_Count{Count: &shardv1.CountPoints{}}},
		{Route: route(0, 7), Read: &shardv1.ShardRead_Count{Count: &shardv1.CountPoints{}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.GetResults()[0].GetFailure().GetReason(); got != clusterv1.Reason_REASON_STALE_EPOCH {
		t.Errorf("read under an old epoch: %v", got)
	}
	if got := r.GetResults()[1]; got.GetCount() != 42 || got.GetAppliedSeq() != 9 {
		t.Errorf("%v", got)
	}
}

func TestReads(t *testing.T) {
	f := &fake{}
	s := serverOf(map[topology.ShardID]*fake{0: f})
	on := &qdrant.WithVectorsSelector{SelectorOptions: &qdrant.WithVectorsSelector_Enable{Enable: true}}
	one := func(r *shardv1.ShardRead) *shardv1.ShardReadResult {
		t.Helper()
		r.Route = route(0, 0)
		out, err := s.Read(t.Context(), &shardv1.ReadRequest{Reads: []*shardv1.ShardRead{r}})
		if err != nil {
			t.Fatal(err)
		}
		return out.GetResults()[0]
	}
	got := one(&shardv1.ShardRead{Read: &shardv1.ShardRead_Get{Get: &shardv1.GetPoints{Ids: []*qdrant.PointId{wire.ProtoID(topology.NumberID(4))}, WithVectors: on}}})
	rec := got.GetRecords().GetRecords()
	if len(rec) != 1 || rec[0].GetVersion() != 5 || !slices.Equal(rec[0].GetPoint().GetVectors().GetVector().GetDense().GetData(), []float32{1, 2}) {
		t.Errorf("get: %v", got)
	}
	nearest := &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: []float32{1}}}}}}
	threshold := float32(0.25)
	got = one(&shardv1.ShardRead{Read: &shardv1.ShardRead_Query{Query: &shardv1.QueryPoints{Queries: []*shardv1.ShardQuery{
		{Query: nearest, Limit: 1 << 60, Using: "v", ScoreThreshold: &threshold}, {Query: nearest, Limit: 2}}}}})
	if rs := got.GetRankings().GetRankings(); len(rs) != 2 || rs[0].GetPoints()[0].GetScore() != 0.5 || rs[0].GetPoints()[0].GetVersion() != 8 {
		t.Errorf("query: %v", got)
	}
	if q := f.queries[0]; q.Using != "v" || *q.ScoreThreshold != threshold || q.Limit <= 0 || f.queries[1].Limit != 2 {
		t.Errorf("the engine was asked %+v", f.queries)
	}
	got = one(&shardv1.ShardRead{Read: &shardv1.ShardRead_Facet{Facet: &shardv1.FacetPoints{Key: "b", Limit: 1 << 60}}})
	if h := got.GetFacets().GetHits(); len(h) != 1 || !h[0].GetValue().GetBoolValue() || h[0].GetCount() != 5 || f.facet.Key != "b" || f.facet.Limit < 1<<30 {
		t.Errorf("facet: %v, the engine was asked %+v", got, f.facet)
	}
	got = one(&shardv1.ShardRead{Read: &shardv1.ShardRead_Fields{Fields: &shardv1.ReadFields{}}})
	if x := got.GetFields(); x.GetRevision() != 3 || x.GetPoints()["a"] != 2 {
		t.Errorf("fields: %v", got)
	}
	for name, r := range map[string]*shardv1.ShardRead{
		"fusion": {Read: &shardv1.ShardRead_Query{Query: &shardv1.QueryPoints{Queries: []*shardv1.ShardQuery{{Query: &qdrant.Query{Variant: &qdrant.Query_Fusion{}}}}}}},
	} {
		if got := one(r).GetFailure().GetReason(); got != clusterv1.Reason_REASON_NOT_BUILT {
			t.Errorf("%s: %v", name, got)
		}
	}
	linearizable := &shardv1.ShardRead{Mode: shardv1.ReadMode_READ_MODE_LINEARIZABLE, Read: &shardv1.ShardRead_Count{Count: &shardv1.CountPoints{}}}
	if got := one(linearizable); got.GetCount() != 42 || f.linearized != 1 {
		t.Errorf("linearizable: %v, asked %d times", got, f.linearized)
	}
	f.err = replica.ErrNotPrimary
	if got := one(linearizable).GetFailure().GetReason(); got != clusterv1.Reason_REASON_NOT_PRIMARY {
		t.Errorf("linearizable at a follower: %v", got)
	}
	f.readErr = replica.ErrNotReady
	if got := one(&shardv1.ShardRead{Read: &shardv1.ShardRead_Count{Count: &shardv1.CountPoints{}}}).GetFailure().GetReason(); got != clusterv1.Reason_REASON_SHARD_UNAVAILABLE {
		t.Errorf("a replica that may not serve answers %v", got)
	}
}

func field(f *qdrant.FieldCondition) *qdrant.Condition {
	return &qdrant.Condition{ConditionOneOf: &qdrant.Condition_Field{Field: f}}
}

func TestConditions(t *testing.T) {
	yes, no, two := true, false, 2.0
	str := func(s string) filter.Scalar { return filter.Scalar{Kind: filter.StringScalar, Str: s} }
	num := func(n int64) filter.Scalar { return filter.Scalar{Kind: filter.IntScalar, Int: n} }
	for name, c := range map[string]struct {
		in   *qdrant.Condition
		want filter.Condition
	}{
		"keyword": {field(&qdrant.FieldCondition{Key: "a", Match: &qdrant.Match{MatchValue: &qdrant.Match_Keyword{Keyword: "x"}}}), filter.Match{Key: "a", Value: str("x")}},
		"integer": {field(&qdrant.FieldCondition{Key: "a", Match: &qdrant.Match{MatchValue: &qdrant.Match_Integer{Integer: -3}}}), filter.Match{Key: "a", Value: num(-3)}},
		"boolean": {field(&qdrant.FieldCondition{Key: "a", Match: &qdrant.Match{MatchValue: &qdrant.Match_Boolean{Boolean: true}}}), filter.Match{Key: "a", Value: filter.Scalar{Kind: filter.BoolScalar, Bool: true}}},
		"any":     {field(&qdrant.FieldCondition{Key: "a", Match: &qdrant.Match{MatchValue: &qdrant.Match_Integers{Integers: &qdrant.RepeatedIntegers{Integers: []int64{1, 2}}}}}), filter.MatchAny{Key: "a", Values: []filter.Scalar{num(1), num(2)}}},
		"except":  {field(&qdrant.FieldCondition{Key: "a", Match: &qdrant.Match{MatchValue: &qdrant.Match_ExceptKeywords{ExceptKeywords: &qdrant.RepeatedStrings{Strings: []string{"p"}}}}}), filter.MatchAny{Key: "a", Values: []filter.Scalar{str("p")}, Except: true}},
		"range":   {field(&qdrant.FieldCondition{Key: "a", Range: &qdrant.Range{Gte: &two}}), filter.Range{Key: "a", GTE: &two}},
		"datetime": {field(&qdrant.FieldCondition{Key: "a", DatetimeRange: &qdrant.DatetimeRange{Gt: &timestamppb.Timestamp{Seconds: 1, Nanos: 2999}}}),
			filter.TimeRange{Key: "a", GT: new(int64(1_000_002))}},
		"empty": {field(&qdrant.FieldCondition{Key: "a", IsEmpty: &yes}), filter.IsEmpty{Key: "a"}},
		"not null": {field(&qdrant.FieldCondition{Key: "a", IsNull: &no}),
			&filter.Filter{MustNot: []filter.Condition{filter.IsNull{Key: "a"}}}},
		"two at once are alternatives": {field(&qdrant.FieldCondition{Key: "a", IsNull: &yes, Range: &qdrant.Range{Lt: &two}}),
			&filter.Filter{Should: []filter.Condition{filter.Range{Key: "a", LT: &two}, filter.IsNull{Key: "a"}}}},
		"has id": {&qdrant.Condition{ConditionOneOf: &qdrant.Condition_HasId{HasId: &qdrant.HasIdCondition{HasId: []*qdrant.PointId{wire.ProtoID(topology.NumberID(4))}}}},
			filter.HasID{IDs: []topology.PointID{topology.NumberID(4)}}},
		"nested": {&qdrant.Condition{ConditionOneOf: &qdrant.Condition_Nested{Nested: &qdrant.NestedCondition{Key: "a", Filter: &qdrant.Filter{Must: []*qdrant.Condition{
			{ConditionOneOf: &qdrant.Condition_IsNull{IsNull: &qdrant.IsNullCondition{Key: "b"}}}}}}}},
			filter.Nested{Key: "a", Filter: filter.Filter{Must: []filter.Condition{filter.IsNull{Key: "b"}}}}},
		"text":      {field(&qdrant.FieldCondition{Key: "a", Match: &qdrant.Match{MatchValue: &qdrant.Match_Text{Text: "x"}}}), filter.Text{Key: "a", Words: "x", Mode: analysis.All}},
		"text_any":  {field(&qdrant.FieldCondition{Key: "a", Match: &qdrant.Match{MatchValue: &qdrant.Match_TextAny{TextAny: "x"}}}), filter.Text{Key: "a", Words: "x", Mode: analysis.Any}},
		"phrase":    {field(&qdrant.FieldCondition{Key: "a", Match: &qdrant.Match{MatchValue: &qdrant.Match_Phrase{Phrase: "x"}}}), filter.Text{Key: "a", Words: "x", Mode: analysis.Phrase}},
		"prefix":    {field(&qdrant.FieldCondition{Key: "a", Match: &qdrant.Match{MatchValue: &qdrant.Match_Prefix{Prefix: "x"}}}), filter.Prefix{Key: "a", Text: "x"}},
		"substring": {field(&qdrant.FieldCondition{Key: "a", Match: &qdrant.Match{MatchValue: &qdrant.Match_Substring{Substring: "x"}}}), filter.Substring{Key: "a", Text: "x"}},
		"box": {field(&qdrant.FieldCondition{Key: "a", GeoBoundingBox: &qdrant.GeoBoundingBox{TopLeft: &qdrant.GeoPoint{Lon: 1, Lat: 2}, BottomRight: &qdrant.GeoPoint{Lon: 3}}}),
			filter.GeoBox{Key: "a", TopLeft: filter.Place{Lon: 1, Lat: 2}, BottomRight: filter.Place{Lon: 3}}},
		"radius": {field(&qdrant.FieldCondition{Key: "a", GeoRadius: &qdrant.GeoRadius{Center: &qdrant.GeoPoint{Lat: 2}, Radius: 5}}), filter.GeoRadius{Key: "a", Center: filter.Place{Lat: 2}, Radius: 5}},
		"polygon": {field(&qdrant.FieldCondition{Key: "a", GeoPolygon: &qdrant.GeoPolygon{Exterior: &qdrant.GeoLineString{Points: []*qdrant.GeoPoint{{Lon: 1}}},
			Interiors: []*qdrant.GeoLineString{{Points: []*qdrant.GeoPoint{{Lat: 2}}}}}}),
			filter.GeoPolygon{Key: "a", Exterior: []filter.Place{{Lon: 1}}, Interiors: [][]filter.Place{{{Lat: 2}}}}},
		"count": {field(&qdrant.FieldCondition{Key: "a", ValuesCount: &qdrant.ValuesCount{Gt: new(uint64(1)), Lte: new(uint64(2))}}), filter.ValuesCount{Key: "a", GT: new(uint64(1)), LTE: new(uint64(2))}},
		"slice": {&qdrant.Condition{ConditionOneOf: &qdrant.Condition_Slice{Slice: &qdrant.SliceCondition{Total: 3, Index: 1}}}, filter.Slice{Total: 3, Index: 1}},
	} {
		got, err := conditionOf(c.in)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %#v, %v, want %#v", name, got, err, c.want)
		}
	}
	for name, c := range map[string]*qdrant.Condition{"nothing": {}, "key alone": field(&qdrant.FieldCondition{Key: "a"}),
		"match of nothing": field(&qdrant.FieldCondition{Key: "a", Match: &qdrant.Match{}})} {
		if _, err := conditionOf(c); fault.ReasonOf(err) != fault.Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func genValue(depth int) *rapid.Generator[*qdrant.Value] {
	return rapid.Custom(func(t *rapid.T) *qdrant.Value {
		kinds := 6
		if depth == 0 {
			kinds = 4
		}
		switch rapid.IntRange(0, kinds).Draw(t, "kind") {
		case 0:
			return &qdrant.Value{Kind: &qdrant.Value_NullValue{}}
		case 1:
			return &qdrant.Value{Kind: &qdrant.Value_BoolValue{BoolValue: rapid.Bool().Draw(t, "b")}}
		case 2:
			return &qdrant.Value{Kind: &qdrant.Value_IntegerValue{IntegerValue: rapid.Int64().Draw(t, "i")}}
		case 3:
			return &qdrant.Value{Kind: &qdrant.Value_DoubleValue{DoubleValue: rapid.Float64Range(-1e300, 1e300).Draw(t, "d")}}
		case 4:
			return &qdrant.Value{Kind: &qdrant.Value_StringValue{StringValue: rapid.String().Draw(t, "s")}}
		case 5:
			return &qdrant.Value{Kind: &qdrant.Value_ListValue{ListValue: &qdrant.ListValue{Values: rapid.SliceOfN(genValue(depth-1), 0, 3).Draw(t, "l")}}}
		}
		return &qdrant.Value{Kind: &qdrant.Value_StructValue{StructValue: &qdrant.Struct{Fields: rapid.MapOfN(rapid.String(), genValue(depth-1), 0, 3).Draw(t, "o")}}}
	})
}

func TestPayloadComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := &qdrant.Struct{Fields: rapid.MapOfN(rapid.String(), genValue(3), 0, 4).Draw(t, "payload")}
		d, err := document.Of(in.GetFields())
		if err != nil {
			t.Fatal(err)
		}
		out := &qdrant.Struct{Fields: document.Fields(d)}
		if len(in.GetFields()) != len(out.GetFields()) || len(in.GetFields()) > 0 && !proto.Equal(in, out) {
			t.Fatalf("%v came back as %v", in, out)
		}
	})
	if _, err := document.Of(map[string]*qdrant.Value{"a": {Kind: &qdrant.Value_DoubleValue{DoubleValue: math.NaN()}}}); fault.ReasonOf(err) != fault.InvalidArgument {
		t.Errorf("NaN: %v", err)
	}
}

func TestVectorForms(t *testing.T) {
	flat := &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Data: []float32{1, 2}}}}
	named := &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vectors{Vectors: &qdrant.NamedVectors{Vectors: map[string]*qdrant.Vector{
		"b": {Vector: &qdrant.Vector_Dense{Dense: &qdrant.DenseVector{Data: []float32{3}}}}, "a": {Vector: &qdrant.Vector_Dense{Dense: &qdrant.DenseVector{Data: []float32{4}}}}}}}}
	if got, err := vectorsOf(flat); err != nil || !reflect.DeepEqual(got, []op.Vector{{Data: []float32{1, 2}}}) {
		t.Errorf("flat: %v, %v", got, err)
	}
	got, err := vectorsOf(named)
	if err != nil || !reflect.DeepEqual(got, []op.Vector{{Name: "a", Data: []float32{4}}, {Name: "b", Data: []float32{3}}}) {
		t.Errorf("named: %v, %v", got, err)
	}
	if out := outputOf(got); len(out.GetVectors().GetVectors()) != 2 || out.GetVectors().GetVectors()["b"].GetDense().GetData()[0] != 3 {
		t.Errorf("printed as %v", out)
	}
}

func TestBadWritesAreRefusedBeforeTheyReachTheReplica(t *testing.T) {
	f := &fake{}
	s := serverOf(map[topology.ShardID]*fake{0: f})
	short := deletion(0)
	short.Id.Request = short.GetId().GetRequest()[:3]
	filtered := &shardv1.ShardWrite{Route: route(0, 1), Id: deletion(0).GetId(), Operation: &shardv1.ShardWrite_Upsert{Upsert: &shardv1.UpsertPoints{UpdateFilter: &qdrant.Filter{Must: []*qdrant.Condition{{}}}}}}
	badKey := &shardv1.ShardWrite{Route: route(0, 1), Id: deletion(0).GetId(), Operation: &shardv1.ShardWrite_SetPayload{SetPayload: &shardv1.SetPayload{Key: "a[", Points: deletion(0).GetDelete().GetPoints()}}}
	for _, c := range []struct {
		write *shardv1.ShardWrite
		want  clusterv1.Reason
	}{
		{short, clusterv1.Reason_REASON_MALFORMED},
		{filtered, clusterv1.Reason_REASON_MALFORMED},
		{badKey, clusterv1.Reason_REASON_INVALID_ARGUMENT},
		{&shardv1.ShardWrite{Route: route(0, 1), Id: deletion(0).GetId()}, clusterv1.Reason_REASON_NOT_BUILT},
	} {
		r, err := s.Write(t.Context(), &shardv1.WriteRequest{Writes: []*shardv1.ShardWrite{c.write}})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.GetResults()[0]; got.GetFailure().GetReason() != c.want || got.GetStatus() != shardv1.WriteStatus_WRITE_STATUS_REFUSED {
			t.Errorf("want %v, got %v", c.want, got)
		}
	}
	if len(f.proposed) != 0 {
		t.Errorf("proposed %v", f.proposed)
	}
}
