package api

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/cluster"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator/plan"
	"github.com/pandodb/pando/services/internal/config"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const self = topology.PeerID(7)

// world is a control plane of one and the map of one peer that follows it. What
// the catalog decides reaches the map only through AwaitRevision, so a test that
// sees a change right after the answer has seen the waiting.
type world struct {
	placementv1.CatalogClient // what a test does not use panics

	mu       sync.Mutex
	m        *topology.Map
	decided  []*placementv1.Change
	revision uint64
	awaited  []uint64
	last     proto.Message // as the catalog got it
	refuse   error
	status   *placementv1.StatusResponse

	unreachable map[topology.PeerID]cluster.Unreachable
	refetched   int
}

func (w *world) refetch(context.Context) error {
	w.refetched++
	return w.refuse
}

func newWorld() *world { return &world{m: topology.NewMap()} }

func (w *world) Map() *topology.Map {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.m
}

func (w *world) AwaitRevision(_ context.Context, revision uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awaited = append(w.awaited, revision)
	d, err := wire.Delta(w.revision, false, w.decided)
	if err != nil {
		return err
	}
	w.m, w.decided = w.m.Apply(d), nil
	return nil
}

// decide notes a command and its changes.
func (w *world) decide(in proto.Message, changes ...*placementv1.Change) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = proto.Clone(in)
	if w.refuse != nil {
		return 0, fault.From(w.refuse).GRPCStatus().Err()
	}
	w.revision++
	w.decided = append(w.decided, changes...)
	return w.revision, nil
}

// collection is the entry of a new collection with all shards on this peer and
// a copy on peer 8.
func (w *world) collection(name string, config *qdrant.CollectionConfig, indexes map[string]*qdrant.PayloadIndexParams) []*placementv1.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := cmp.Or(config.GetParams().GetShardNumber(), 1)
	id := uint64(len(name)) // enough to tell the names of these tests apart
	c := &placementv1.Collection{CollectionId: id, Name: name, Revision: w.revision + 1, Config: proto.CloneOf(config),
		Hash: &placementv1.HashRule{Algorithm: 1, N: n}, Groups: []*placementv1.ShardGroup{{}}, PayloadIndexes: indexes}
	c.Config.Params.ShardNumber = n
	var out []*placementv1.Change
	for i := range uint64(n) {
		c.Groups[0].ShardIds = append(c.Groups[0].ShardIds, i)
		out = append(out, &placementv1.Change{Change: &placementv1.Change_Shard{Shard: &placementv1.Shard{CollectionId: id, ShardId: i, Epoch: 1,
			Primary: uint64(self), Replicas: []*placementv1.Replica{{PeerId: uint64(self)}, {PeerId: 8, State: qdrant.ReplicaState_Dead}}}}})
	}
	return append([]*placementv1.Change{{Change: &placementv1.Change_Collection{Collection: c}}}, out...)
}

// FindCollection knows what is decided, of which the map may not have heard.
func (w *world) FindCollection(_ context.Context, r *placementv1.FindCollectionRequest, _ ...grpc.CallOption) (*placementv1.FindCollectionResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return nil, fault.From(w.refuse).GRPCStatus().Err()
	}
	for _, c := range w.decided {
		if c.GetCollection().GetName() == r.GetName() || c.GetAlias().GetName() == r.GetName() {
			return &placementv1.FindCollectionResponse{Revision: w.revision}, nil
		}
	}
	if c, ok := w.m.Resolve(r.GetName()); ok {
		return &placementv1.FindCollectionResponse{Revision: c.Revision}, nil
	}
	return nil, fault.NoCollection(r.GetName()).GRPCStatus().Err()
}

func (w *world) CreateCollection(_ context.Context, r *placementv1.CreateCollectionRequest, _ ...grpc.CallOption) (*placementv1.CreateCollectionResponse, error) {
	rev, err := w.decide(r, w.collection(r.GetName(), r.GetConfig(), nil)...)
	return &placementv1.CreateCollectionResponse{Revision: rev}, err
}

func (w *world) UpdateCollection(_ context.Context, r *placementv1.UpdateCollectionRequest, _ ...grpc.CallOption) (*placementv1.UpdateCollectionResponse, error) {
	rev, err := w.decide(r)
	return &placementv1.UpdateCollectionResponse{Revision: rev}, err
}

func (w *world) DeleteCollection(_ context.Context, r *placementv1.DeleteCollectionRequest, _ ...grpc.CallOption) (*placementv1.DeleteCollectionResponse, error) {
	c, ok := w.Map().Resolve(r.GetName())
	if !ok {
		rev, err := w.decide(r)
		return &placementv1.DeleteCollectionResponse{Revision: rev}, err
	}
	rev, err := w.decide(r, &placementv1.Change{Change: &placementv1.Change_CollectionGone{CollectionGone: uint64(c.ID)}})
	return &placementv1.DeleteCollectionResponse{Revision: rev, Existed: true}, err
}

func (w *world) ChangeAliases(_ context.Context, r *placementv1.ChangeAliasesRequest, _ ...grpc.CallOption) (*placementv1.ChangeAliasesResponse, error) {
	var out []*placementv1.Change
	for _, c := range r.GetChanges() {
		switch {
		case c.GetCreate() != nil:
			out = append(out, &placementv1.Change{Change: &placementv1.Change_Alias{Alias: &placementv1.Alias{
				Name: c.GetCreate().GetAliasName(), CollectionName: c.GetCreate().GetCollectionName()}}})
		case c.GetDelete() != nil:
			out = append(out, &placementv1.Change{Change: &placementv1.Change_AliasGone{AliasGone: c.GetDelete().GetAliasName()}})
		}
	}
	rev, err := w.decide(r, out...)
	return &placementv1.ChangeAliasesResponse{Revision: rev, Changed: true}, err
}

func (w *world) ChangePayloadIndex(_ context.Context, r *placementv1.ChangePayloadIndexRequest, _ ...grpc.CallOption) (*placementv1.ChangePayloadIndexResponse, error) {
	c, _ := w.Map().Resolve(r.GetCollectionName())
	config := &qdrant.CollectionConfig{}
	if err := proto.Unmarshal(c.Settings, config); err != nil {
		return nil, err
	}
	indexes := map[string]*qdrant.PayloadIndexParams{}
	for key, b := range c.Indexes {
		indexes[key] = &qdrant.PayloadIndexParams{}
		if err := proto.Unmarshal(b, indexes[key]); err != nil {
			return nil, err
		}
	}
	delete(indexes, r.GetFieldName())
	if r.Params != nil {
		indexes[r.GetFieldName()] = r.GetParams()
	}
	rev, err := w.decide(r, w.collection(c.Name, config, indexes)...)
	return &placementv1.ChangePayloadIndexResponse{Revision: rev, Changed: true}, err
}

func (w *world) ChangeShardKey(_ context.Context, r *placementv1.ChangeShardKeyRequest, _ ...grpc.CallOption) (*placementv1.ChangeShardKeyResponse, error) {
	rev, err := w.decide(r)
	return &placementv1.ChangeShardKeyResponse{Revision: rev}, err
}

func (w *world) ChangeVectorName(_ context.Context, r *placementv1.ChangeVectorNameRequest, _ ...grpc.CallOption) (*placementv1.ChangeVectorNameResponse, error) {
	c, _ := w.Map().Resolve(r.GetCollectionName())
	config := &qdrant.CollectionConfig{}
	if err := proto.Unmarshal(c.Settings, config); err != nil {
		return nil, err
	}
	vectors := config.GetParams().GetVectorsConfig().GetParamsMap().GetMap()
	if delete(vectors, r.GetVectorName()); r.GetDense() != nil {
		vectors[r.GetVectorName()] = &qdrant.VectorParams{Size: r.GetDense().GetSize(), Distance: r.GetDense().GetDistance()}
	}
	rev, err := w.decide(r, w.collection(c.Name, config, nil)...)
	return &placementv1.ChangeVectorNameResponse{Revision: rev}, err
}

func (w *world) ChangeReplicas(_ context.Context, r *placementv1.ChangeReplicasRequest, _ ...grpc.CallOption) (*placementv1.ChangeReplicasResponse, error) {
	rev, err := w.decide(r)
	return &placementv1.ChangeReplicasResponse{Revision: rev}, err
}

func (w *world) RemovePeer(_ context.Context, r *placementv1.RemovePeerRequest, _ ...grpc.CallOption) (*placementv1.RemovePeerResponse, error) {
	rev, err := w.decide(r)
	return &placementv1.RemovePeerResponse{Revision: rev}, err
}

func (w *world) Status(context.Context, *placementv1.StatusRequest, ...grpc.CallOption) (*placementv1.StatusResponse, error) {
	if w.status == nil {
		return nil, fault.New(fault.NoLeader, "no leader").GRPCStatus().Err()
	}
	return w.status, nil
}

// shards is a coordinator over points in memory. It knows no vectors and of filters
// has_id alone: a ranking gives points in the order of ids.
type shards struct {
	mu      sync.Mutex
	writes  []coordinator.Write
	reads   []coordinator.Read
	ranked  [][]*plan.Ranking // by round
	asked   []*plan.Ask       // other questions of queries
	selects []coordinator.Select
	points  map[uint64]*qdrant.RetrievedPoint
	fail    map[int]error // by number of the write
	order   *qdrant.OrderBy
	facet   *shardv1.FacetPoints
	info    coordinator.Info
	settled []uint64 // revisions that somebody waited for; those with a second to spare in vain
}

func (s *shards) Write(_ context.Context, w coordinator.Write) (coordinator.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, w)
	if err := s.fail[len(s.writes)-1]; err != nil {
		return coordinator.Outcome{}, err
	}
	o := coordinator.Outcome{Seq: uint64(100 + len(s.writes)), Status: qdrant.UpdateStatus_Acknowledged}
	if w.Wait {
		o.Status = qdrant.UpdateStatus_Completed
	}
	return o, nil
}

func (s *shards) Get(_ context.Context, r coordinator.Read, ids []*qdrant.PointId, sel coordinator.Select) ([]*qdrant.RetrievedPoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads, s.selects = append(s.reads, r), append(s.selects, sel)
	var out []*qdrant.RetrievedPoint
	for _, id := range ids {
		if p, ok := s.points[id.GetNum()]; ok {
			out = append(out, &qdrant.RetrievedPoint{Id: p.GetId(), Payload: selected(p.GetPayload(), sel.Payload), Vectors: p.GetVectors()})
			if sel.Vectors == nil {
				out[len(out)-1].Vectors = nil
			}
		}
	}
	return out, nil
}

func (s *shards) Scroll(_ context.Context, r coordinator.Read, _ *qdrant.Filter, from *qdrant.PointId, limit uint32, sel coordinator.Select) (coordinator.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads, s.selects = append(s.reads, r), append(s.selects, sel)
	var page coordinator.Page
	for _, n := range slices.Sorted(maps.Keys(s.points)) {
		switch {
		case n < from.GetNum():
		case len(page.Points) == int(limit):
			page.Next = s.points[n].GetId()
			return page, nil
		default:
			page.Points = append(page.Points, s.points[n])
		}
	}
	return page, nil
}

func (s *shards) Count(_ context.Context, r coordinator.Read, _ *qdrant.Filter, exact bool) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, r)
	if !exact {
		return 0, nil
	}
	return uint64(len(s.points)), nil
}

// Query carries trees out over the points; each round of rankings is noted.
func (s *shards) Query(_ context.Context, r coordinator.Read, trees []*plan.Tree) ([][]*qdrant.ScoredPoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, r)
	for run := plan.New(trees); ; {
		asks, err := run.Next()
		if err != nil || len(asks) == 0 {
			return run.Results(), err
		}
		var round []*plan.Ranking
		for _, a := range asks {
			s.answer(a)
			if a.Rank != nil {
				round = append(round, a.Rank)
			} else {
				s.asked = append(s.asked, a)
			}
		}
		if round != nil {
			s.ranked = append(s.ranked, round)
		}
	}
}

// answer has score 1 for the lowest id, 1/2 for the next, and so on.
func (s *shards) answer(a *plan.Ask) {
	filter, limit, payload, vectors := a.Scroll.GetFilter(), uint64(a.Scroll.GetLimit()), a.Scroll.GetWithPayload(), a.Scroll.GetWithVectors()
	switch {
	case a.Rank != nil:
		q := a.Rank.Query
		filter, limit, payload, vectors = q.GetFilter(), q.GetLimit(), q.GetWithPayload(), q.GetWithVectors()
	case a.Get != nil:
		payload, vectors = a.Get.GetWithPayload(), a.Get.GetWithVectors()
		limit = uint64(len(a.Get.GetIds()))
		filter = &qdrant.Filter{Must: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_HasId{HasId: &qdrant.HasIdCondition{HasId: a.Get.GetIds()}}}}}
	}
	passes := func(n uint64) bool {
		named := func(c *qdrant.Condition) bool {
			return slices.ContainsFunc(c.GetHasId().GetHasId(), func(id *qdrant.PointId) bool { return id.GetNum() == n })
		}
		for _, c := range filter.GetMust() {
			if c.GetHasId() != nil && !named(c) {
				return false
			}
		}
		return !slices.ContainsFunc(filter.GetMustNot(), named)
	}
	score := float32(1)
	for _, n := range slices.Sorted(maps.Keys(s.points)) {
		if p := s.points[n]; passes(n) && uint64(len(a.Answer)) < limit {
			out := &qdrant.ScoredPoint{Id: p.GetId(), Score: 1, Payload: selected(p.GetPayload(), payload), OrderValue: p.GetOrderValue()}
			if vectors.GetSelectorOptions() != nil {
				out.Vectors = p.GetVectors()
			}
			if a.Rank != nil {
				out.Score = score
				score /= 2
			}
			a.Answer = append(a.Answer, out)
		}
	}
}

// selected is the payload that is asked for; of paths it knows keys.
func selected(p map[string]*qdrant.Value, by *qdrant.WithPayloadSelector) map[string]*qdrant.Value {
	if by.GetEnable() {
		return p
	}
	var out map[string]*qdrant.Value
	for _, key := range by.GetInclude().GetFields() {
		if v, ok := p[key]; ok {
			if out == nil {
				out = map[string]*qdrant.Value{}
			}
			out[key] = v
		}
	}
	return out
}

func (s *shards) Fields(_ context.Context, r coordinator.Read) (map[string]uint64, error) {
	out := map[string]uint64{}
	for key := range r.Target.Collection.Indexes {
		out[key] = uint64(len(s.points))
	}
	return out, nil
}

func (s *shards) Info(context.Context, coordinator.Read) (coordinator.Info, error) {
	return s.info, nil
}

func (s *shards) Verify(context.Context, coordinator.Read) (*shardv1.Comparison, error) {
	return &shardv1.Comparison{Seq: 5, Epoch: 1}, nil
}

func (s *shards) Settled(_ context.Context, t coordinator.Target, revision uint64, timeout time.Duration) (bool, error) {
	s.settled = append(s.settled, revision)
	return timeout != time.Second, nil
}

func (s *shards) ScrollBy(_ context.Context, r coordinator.Read, _ *qdrant.Filter, o *qdrant.OrderBy, limit uint32, sel coordinator.Select) ([]*qdrant.RetrievedPoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads, s.selects, s.order = append(s.reads, r), append(s.selects, sel), o
	return []*qdrant.RetrievedPoint{{Id: num(uint64(limit))}}, nil
}

func (s *shards) Facet(_ context.Context, r coordinator.Read, f *shardv1.FacetPoints) ([]*qdrant.FacetHit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads, s.facet = append(s.reads, r), f
	return []*qdrant.FacetHit{{Count: 3}}, nil
}

// client is the API behind the in-process connection.
type client struct {
	qdrant.CollectionsClient
	qdrant.PointsClient
	world  *world
	shards *shards
	conn   *rpc.Local
	// progress is what this peer knows of a copy.
	progress func(context.Context, []topology.Copy) map[topology.Copy]string
}

func start(t testing.TB, clustered bool) *client {
	t.Helper()
	return startWith(t, clustered, config.Collection{})
}

func startWith(t testing.TB, clustered bool, defaults config.Collection, change ...func(*Deps)) *client {
	t.Helper()
	w, s := newWorld(), &shards{points: map[uint64]*qdrant.RetrievedPoint{}, fail: map[int]error{}, info: coordinator.Info{Segments: 3}}
	l, err := rpc.NewLocal(rpc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{CollectionsClient: qdrant.NewCollectionsClient(l), PointsClient: qdrant.NewPointsClient(l), world: w, shards: s, conn: l}
	c.progress = func(context.Context, []topology.Copy) map[topology.Copy]string { return nil }
	d := Deps{Coordinator: s, Catalog: w, Map: w.Map, Refetch: w.refetch, AwaitRevision: w.AwaitRevision, Self: self,
		Progress:    func(ctx context.Context, k []topology.Copy) map[topology.Copy]string { return c.progress(ctx, k) },
		Unreachable: func() map[topology.PeerID]cluster.Unreachable { return w.unreachable },
		Commit:      "0123456789012345678901234567890123456789", ClusterEnabled: clustered, Collection: defaults}
	for _, c := range change {
		c(&d)
	}
	New(d).Register(l)
	return c
}

// with makes a collection.
func (c *client) with(t testing.TB, name string, vectors *qdrant.VectorsConfig) *client {
	t.Helper()
	if _, err := c.Create(t.Context(), &qdrant.CreateCollection{CollectionName: name, VectorsConfig: vectors, ShardNumber: new(uint32(3))}); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *client) put(ids ...uint64) {
	for _, n := range ids {
		c.shards.points[n] = &qdrant.RetrievedPoint{Id: num(n), Vectors: &qdrant.VectorsOutput{VectorsOptions: &qdrant.VectorsOutput_Vector{
			Vector: &qdrant.VectorOutput{Vector: &qdrant.VectorOutput_Dense{Dense: &qdrant.DenseVector{Data: []float32{float32(n), 0, 0, 1}}}}}}}
	}
}

func num(n uint64) *qdrant.PointId { return wire.ProtoID(topology.NumberID(n)) }

func four() *qdrant.VectorsConfig {
	return &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_Params{Params: &qdrant.VectorParams{Size: 4, Distance: qdrant.Distance_Cosine}}}
}

func twoNamed() *qdrant.VectorsConfig {
	return &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_ParamsMap{ParamsMap: &qdrant.VectorParamsMap{Map: map[string]*qdrant.VectorParams{
		"a": {Size: 4, Distance: qdrant.Distance_Euclid}, "b": {Size: 2, Distance: qdrant.Distance_Dot}}}}}
}

// wants compares a refusal with its reason and text.
func wants(t *testing.T, err error, r fault.Reason, text string) {
	t.Helper()
	if f := fault.From(err); err == nil || f.Reason != r || f.Msg != text {
		t.Errorf("got %v (%v), want %s (%v)", err, fault.ReasonOf(err), text, r)
	}
}
