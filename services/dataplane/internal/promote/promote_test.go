package promote

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const self = 10

// world is a cluster with one collection, whose key b is Partial.
type world struct {
	mu       sync.Mutex
	m        *topology.Map
	changed  chan struct{}
	points   []*qdrant.RetrievedPoint
	stored   []*qdrant.PointStruct
	cleared  int
	limits   []uint32
	most     uint32 // points that a page can have
	refused  int    // writes that are sent back
	onWrite  func()
	settled  bool
	finished bool
	drawn    uint64
}

func newWorld() *world {
	w := &world{m: topology.NewMap(), changed: make(chan struct{}), most: 1000, settled: true}
	w.fill(&topology.Fill{From: "sa"})
	return w
}

// fill makes the next map.
func (w *world) fill(f *topology.Fill) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	revision := w.m.Revision() + 1
	w.m = w.m.Apply(topology.Delta{Revision: revision, Collections: []topology.Collection{{ID: 1, Name: "c", Revision: revision, Groups: []topology.ShardGroup{
		{Key: "sa", IDs: []topology.ShardID{0}}, {Key: "sb", IDs: []topology.ShardID{1}, Partial: !w.finished, Fill: f}}}},
		Placements: []topology.Placement{{Shard: topology.Shard{Collection: 1}, Epoch: 1, Primary: self}}})
	close(w.changed)
	w.changed = make(chan struct{})
	return revision
}

func (w *world) Changed() (*topology.Map, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.m, w.changed
}

func (w *world) now() *topology.Fill {
	m, _ := w.Changed()
	c, _ := m.Collection(1)
	return c.Groups[1].Fill
}

func (w *world) ChangeShardKey(_ context.Context, r *placementv1.ChangeShardKeyRequest, _ ...grpc.CallOption) (*placementv1.ChangeShardKeyResponse, error) {
	if key, err := wire.ShardKey(r.GetShardKey()); err != nil || key != "sb" || r.GetCollectionName() != "c" {
		return nil, fmt.Errorf("changes %v", r)
	}
	now := w.now()
	switch {
	case now == nil:
		return nil, fault.BadInput("nothing is being copied")
	case r.GetClaim() != nil:
		return &placementv1.ChangeShardKeyResponse{Revision: w.fill(&topology.Fill{From: now.From, Filter: now.Filter, Claim: r.GetClaim().GetClaim()})}, nil
	case r.GetFinish().GetClaim() != now.Claim:
		return nil, fault.BadInput("it is another's")
	}
	w.finished = true
	return &placementv1.ChangeShardKeyResponse{Revision: w.fill(nil)}, nil
}

func (w *world) Settled(_ context.Context, t coordinator.Target, revision uint64, _ time.Duration) (bool, error) {
	if len(t.Groups) != 2 || revision != t.Collection.Revision {
		return false, fmt.Errorf("asks whether %v knows of revision %d", t, revision)
	}
	was := w.settled
	w.settled = true
	return was, nil
}

func (w *world) Scroll(_ context.Context, r coordinator.Read, _ *qdrant.Filter, offset *qdrant.PointId, limit uint32, _ coordinator.Select) (coordinator.Page, error) {
	if !r.Linearizable || len(r.Target.Groups) != 1 || r.Target.Groups[0].Key != "sa" {
		return coordinator.Page{}, fmt.Errorf("reads %+v", r)
	}
	w.limits = append(w.limits, limit)
	if limit > w.most {
		return coordinator.Page{}, fault.New(fault.TooLarge, "too large")
	}
	from := int(offset.GetNum())
	to := min(len(w.points), from+int(limit))
	page := coordinator.Page{Points: w.points[from:to]}
	if to < len(w.points) {
		page.Next = w.points[to].GetId()
	}
	return page, nil
}

func (w *world) Write(_ context.Context, x coordinator.Write) (coordinator.Outcome, error) {
	if !x.Target.Routed || len(x.Target.Groups) != 1 || x.Target.Groups[0].Key != "sb" || !x.Wait {
		return coordinator.Outcome{}, fmt.Errorf("writes %+v", x)
	}
	if w.refused > 0 {
		w.refused--
		if w.refused == 0 {
			w.fill(w.now()) // something else of the collection was changed
		}
		return coordinator.Outcome{}, fmt.Errorf("sent back: %w", coordinator.ErrRerouted)
	}
	if w.onWrite != nil {
		w.onWrite()
	}
	if d := x.Op.GetDelete(); d != nil {
		w.cleared++
		w.stored = nil
	}
	w.stored = append(w.stored, x.Op.GetUpsert().GetPoints()...)
	return coordinator.Outcome{}, nil
}

// run runs a runner until ctx of body ends.
func (w *world) run(t *testing.T, body func()) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w.changed = make(chan struct{}) // of this bubble
		r := New(Options{Self: self, Changed: w.Changed, Await: func(context.Context, uint64) error { return nil }, Coordinator: w, Catalog: w,
			Draw: func() (uint64, error) { w.drawn++; return w.drawn, nil }, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		body()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func retrieved(id uint64, v *qdrant.VectorsOutput) *qdrant.RetrievedPoint {
	return &qdrant.RetrievedPoint{Id: wire.ProtoID(topology.NumberID(id)), Vectors: v, Payload: map[string]*qdrant.Value{"n": {Kind: &qdrant.Value_IntegerValue{IntegerValue: int64(id)}}}}
}

// TestCopies: all points, with vectors of every kind, in pages that become smaller where they
// must; what a try before this one left is gone.
func TestCopies(t *testing.T) {
	w := newWorld()
	w.stored = []*qdrant.PointStruct{{Id: wire.ProtoID(topology.NumberID(99))}}
	w.most, w.refused, w.settled = 2, 1, false
	dense := &qdrant.DenseVector{Data: []float32{1, 2}}
	multi := &qdrant.MultiDenseVector{Vectors: []*qdrant.DenseVector{dense, dense}}
	sparse := &qdrant.SparseVector{Indices: []uint32{4}, Values: []float32{0.5}}
	w.points = []*qdrant.RetrievedPoint{
		retrieved(0, nil),
		retrieved(1, &qdrant.VectorsOutput{VectorsOptions: &qdrant.VectorsOutput_Vector{Vector: &qdrant.VectorOutput{Vector: &qdrant.VectorOutput_Dense{Dense: dense}}}}),
		retrieved(2, &qdrant.VectorsOutput{VectorsOptions: &qdrant.VectorsOutput_Vectors{Vectors: &qdrant.NamedVectorsOutput{Vectors: map[string]*qdrant.VectorOutput{
			"d": {Vector: &qdrant.VectorOutput_Dense{Dense: dense}}, "m": {Vector: &qdrant.VectorOutput_MultiDense{MultiDense: multi}},
			"s": {Vector: &qdrant.VectorOutput_Sparse{Sparse: sparse}}}}}}),
	}
	w.run(t, func() { <-time.After(time.Minute) })
	if !w.finished || w.cleared != 1 || len(w.stored) != 3 || w.drawn != 2 {
		t.Fatalf("finished %v, cleared %d times, %d points, %d tries", w.finished, w.cleared, len(w.stored), w.drawn)
	}
	for i, p := range w.stored {
		if !proto.Equal(p.GetId(), w.points[i].GetId()) || !proto.Equal(p.GetPayload()["n"], w.points[i].GetPayload()["n"]) {
			t.Errorf("point %d is %v", i, p)
		}
	}
	named := w.stored[2].GetVectors().GetVectors().GetVectors()
	if w.stored[0].GetVectors() != nil || !proto.Equal(w.stored[1].GetVectors().GetVector().GetDense(), dense) || len(named) != 3 ||
		!proto.Equal(named["d"].GetDense(), dense) || !proto.Equal(named["m"].GetMultiDense(), multi) || !proto.Equal(named["s"].GetSparse(), sparse) {
		t.Errorf("vectors %v", w.stored)
	}
}

// TestOvertaken: one that another has taken over from ends nothing and begins anew, with all
// that the other has stored removed; one that is given up leaves the key Partial.
func TestOvertaken(t *testing.T) {
	w := newWorld()
	w.points = []*qdrant.RetrievedPoint{retrieved(0, nil)}
	once := true
	w.onWrite = func() {
		if once {
			once = false
			w.fill(&topology.Fill{From: "sa", Claim: 77})
		}
	}
	w.run(t, func() { <-time.After(time.Minute) })
	if !w.finished || w.cleared != 2 || len(w.stored) != 1 {
		t.Errorf("finished %v, cleared %d times, %d points", w.finished, w.cleared, len(w.stored))
	}

	w = newWorld()
	w.points = []*qdrant.RetrievedPoint{retrieved(0, nil)}
	w.onWrite = func() { w.fill(nil) }
	w.run(t, func() { <-time.After(time.Minute) })
	if w.finished || w.cleared != 1 || len(w.stored) != 0 {
		t.Errorf("given up: finished %v, cleared %d times, %d points", w.finished, w.cleared, len(w.stored))
	}
}

// TestFailures are tried again, less and less often, and end with the copy.
func TestFailures(t *testing.T) {
	w := newWorld()
	w.points, w.most = []*qdrant.RetrievedPoint{retrieved(0, nil)}, 0
	w.run(t, func() {
		<-time.After(time.Minute)
		synctest.Wait()
		tries := w.drawn
		if tries < 5 || tries > 20 {
			t.Errorf("%d tries in a minute", tries)
		}
		w.fill(nil)
		<-time.After(time.Minute)
		synctest.Wait()
		if w.drawn != tries {
			t.Error("a copy that was given up is tried on")
		}
	})
	if w.finished {
		t.Error("finished without the points")
	}
}
