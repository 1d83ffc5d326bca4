// Package promote copies points of one shard key to another that is Partial
// (replicate_points), which takes requests when they are there. It runs on the peer of
// the primary of the source's first shard.
//
// Nothing that was acknowledged is lost on the way, since writes wait: a write that
// would go to the Partial key, and to its fallback only as long as that is so, is held
// by coordinators from the moment when the copy is decided, and shards whose log has
// these settings take none that was sent by older ones (core.Proposal.Routed). Once all
// Active replicas have them, nothing of the kind reaches the source any more, and only
// then its points are read. Another runner that takes over draws a claim, which makes
// newer settings: whatever the one before it still sends is refused in the same way.
package promote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Coordinator reads and writes points.
type Coordinator interface {
	Settled(ctx context.Context, t coordinator.Target, revision uint64, timeout time.Duration) (bool, error)
	Scroll(ctx context.Context, r coordinator.Read, filter *qdrant.Filter, offset *qdrant.PointId, limit uint32, sel coordinator.Select) (coordinator.Page, error)
	Write(ctx context.Context, w coordinator.Write) (coordinator.Outcome, error)
}

// Catalog changes shard keys.
type Catalog interface {
	ChangeShardKey(context.Context, *placementv1.ChangeShardKeyRequest, ...grpc.CallOption) (*placementv1.ChangeShardKeyResponse, error)
}

// Options are the seams of a Runner; all must be set.
type Options struct {
	Self topology.PeerID
	// Changed gives the newest map, and a channel that is closed when it is not the
	// newest any more.
	Changed     func() (*topology.Map, <-chan struct{})
	Await       func(ctx context.Context, revision uint64) error
	Coordinator Coordinator
	Catalog     Catalog
	// Draw makes a number that nobody else makes, not 0.
	Draw func() (uint64, error)
	Log  *slog.Logger
}

// Runner does the copies that are this peer's.
type Runner struct{ o Options }

// New makes a runner; it starts nothing.
func New(o Options) *Runner { return &Runner{o} }

// task names a copy by its receiver.
type task struct {
	collection topology.CollectionID
	key        string
}

// Run looks at every map until ctx ends.
func (r *Runner) Run(ctx context.Context) error {
	var g errgroup.Group
	running := map[task]context.CancelFunc{}
	ended := make(chan task)
	defer func() {
		for _, cancel := range running {
			cancel()
		}
		for range running {
			<-ended
		}
		_ = g.Wait()
	}()
	for {
		m, changed := r.o.Changed()
		due := r.due(m)
		for t, cancel := range running {
			if !slices.Contains(due, t) {
				cancel()
			}
		}
		for _, t := range due {
			if running[t] == nil {
				ctx, cancel := context.WithCancel(ctx)
				running[t] = cancel
				g.Go(func() error {
					r.persist(ctx, t)
					cancel()
					ended <- t
					return nil
				})
			}
		}
		select {
		case <-changed:
		case t := <-ended:
			delete(running, t)
		case <-ctx.Done():
			return nil
		}
	}
}

// due are the copies whose source has its first primary here.
func (r *Runner) due(m *topology.Map) (out []task) {
	for _, c := range m.Collections() {
		for _, to := range c.Groups {
			from, ok := c.Source(to)
			if !ok {
				continue
			}
			if p, _ := m.Placement(topology.Shard{Collection: c.ID, ID: from.IDs[0]}); p.Primary == r.o.Self {
				out = append(out, task{c.ID, to.Key})
			}
		}
	}
	return out
}

// Pauses between tries.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
)

// persist tries until the copy is done, given up, or another peer's.
func (r *Runner) persist(ctx context.Context, t task) {
	told := false
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		n, err := r.copy(ctx, t)
		if err == nil {
			if n != nil {
				r.o.Log.Info("points were copied to a shard key, which is Active now", "collection", t.collection, "points", *n)
			}
			return
		}
		if ctx.Err() != nil { // it is not this peer's any more
			return
		}
		if !told {
			r.o.Log.Warn("copying points to a shard key is tried again", "collection", t.collection, "error", err)
			told = true
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// ErrOvertaken ends a copy that is given up, or another runner's by now.
var ErrOvertaken = errors.New("the copy was given up, or is another peer's by now")

// run is one try of a copy.
type run struct {
	*Runner
	task
	claim uint64
}

// copy does all of it anew, and counts the points; nil: there is nothing to do.
func (r *Runner) copy(ctx context.Context, t task) (*int, error) {
	claim, err := r.o.Draw()
	if err != nil {
		return nil, err
	}
	x := run{r, t, claim}
	if _, _, fill := x.groups(); fill == nil {
		return nil, nil
	}
	if err := x.decide(ctx, &placementv1.ChangeShardKeyRequest{Change: &placementv1.ChangeShardKeyRequest_Claim_{Claim: &placementv1.ChangeShardKeyRequest_Claim{Claim: claim}}}); err != nil {
		return nil, err
	}
	from, to, err := x.mine()
	if err != nil {
		return nil, err
	}
	both := from
	both.Groups = []topology.ShardGroup{from.Groups[0], to.Groups[0]}
	settled, err := r.o.Coordinator.Settled(ctx, both, both.Collection.Revision, 0)
	if err == nil && !settled {
		err = fault.New(fault.Timeout, "not all replicas know of the copy yet")
	}
	if err != nil {
		return nil, err
	}
	if err := x.write(ctx, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_Delete{Delete: &shardv1.DeletePoints{Points: &qdrant.PointsSelector{
		PointsSelectorOneOf: &qdrant.PointsSelector_Filter{Filter: &qdrant.Filter{}}}}}}); err != nil {
		return nil, err
	}
	n, err := x.points(ctx)
	if err != nil {
		return nil, err
	}
	return &n, x.decide(ctx, &placementv1.ChangeShardKeyRequest{Change: &placementv1.ChangeShardKeyRequest_Finish_{Finish: &placementv1.ChangeShardKeyRequest_Finish{Claim: claim}}})
}

// groups are source and receiver by the newest map; no fill: there is nothing to do.
func (x *run) groups() (from, to coordinator.Target, fill *topology.Fill) {
	m, _ := x.o.Changed()
	c, ok := m.Collection(x.collection)
	if !ok {
		return from, to, nil
	}
	g, _ := c.Group(x.key)
	source, ok := c.Source(g)
	if !ok {
		return from, to, nil
	}
	return coordinator.Target{Collection: c, Groups: []topology.ShardGroup{source}},
		coordinator.Target{Collection: c, Groups: []topology.ShardGroup{g}, Routed: true}, g.Fill
}

// mine are the groups as long as nobody has taken over.
func (x *run) mine() (from, to coordinator.Target, err error) {
	from, to, fill := x.groups()
	if fill == nil || fill.Claim != x.claim {
		return from, to, ErrOvertaken
	}
	return from, to, nil
}

// decideTimeout bounds a decision of the control plane.
const decideTimeout = 15 * time.Second

// decide changes the shard key, and waits until the map shows it unless this is the end.
func (x *run) decide(ctx context.Context, r *placementv1.ChangeShardKeyRequest) error {
	_, to, fill := x.groups()
	if fill == nil {
		return ErrOvertaken
	}
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	r.CollectionName, r.ShardKey = to.Collection.Name, wire.ProtoShardKey(x.key)
	resp, err := x.o.Catalog.ChangeShardKey(ctx, r)
	if r.GetFinish() == nil && err == nil {
		err = x.o.Await(ctx, resp.GetRevision())
	}
	return err
}

// page is how many points are read at once. Where they are too large for that it is
// halved.
const page = 256

// points copies those that the filter passes.
func (x *run) points(ctx context.Context) (n int, err error) {
	_, _, fill := x.groups()
	if fill == nil {
		return 0, ErrOvertaken
	}
	filter := &qdrant.Filter{}
	if err := proto.Unmarshal(fill.Filter, filter); err != nil {
		return 0, fmt.Errorf("filter of the copy: %w", err)
	}
	all := coordinator.Select{Payload: &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Enable{Enable: true}},
		Vectors: &qdrant.WithVectorsSelector{SelectorOptions: &qdrant.WithVectorsSelector_Enable{Enable: true}}}
	var offset *qdrant.PointId
	for limit := uint32(page); ; {
		from, _, err := x.mine()
		if err != nil {
			return n, err
		}
		got, err := x.o.Coordinator.Scroll(ctx, coordinator.Read{Target: from, Linearizable: true}, filter, offset, limit, all)
		if err != nil {
			if limit /= 2; limit == 0 || ctx.Err() != nil {
				return n, err
			}
			continue
		}
		if len(got.Points) > 0 {
			up := &shardv1.UpsertPoints{}
			for _, p := range got.Points {
				up.Points = append(up.Points, &qdrant.PointStruct{Id: p.GetId(), Payload: p.GetPayload(), Vectors: given(p.GetVectors())})
			}
			if err := x.write(ctx, &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_Upsert{Upsert: up}}); err != nil {
				return n, err
			}
		}
		n += len(got.Points)
		if offset = got.Next; offset == nil {
			return n, nil
		}
	}
}

// write changes the receiver. Where its shards know newer settings than this peer, it
// is tried again by those, as long as nobody has taken over.
func (x *run) write(ctx context.Context, w *shardv1.ShardWrite) error {
	for {
		_, to, err := x.mine()
		if err != nil {
			return err
		}
		_, err = x.o.Coordinator.Write(ctx, coordinator.Write{Target: to, Op: w, Wait: true})
		if !errors.Is(err, coordinator.ErrRerouted) {
			return err
		}
		m, changed := x.o.Changed()
		if c, ok := m.Collection(x.collection); ok && c.Revision > to.Collection.Revision {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// given are vectors as they are sent, of those that were answered.
func given(v *qdrant.VectorsOutput) *qdrant.Vectors {
	switch o := v.GetVectorsOptions().(type) {
	case *qdrant.VectorsOutput_Vector:
		return &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: one(o.Vector)}}
	case *qdrant.VectorsOutput_Vectors:
		out := &qdrant.NamedVectors{Vectors: make(map[string]*qdrant.Vector, len(o.Vectors.GetVectors()))}
		for name, v := range o.Vectors.GetVectors() {
			out.Vectors[name] = one(v)
		}
		return &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vectors{Vectors: out}}
	}
	return nil
}

func one(v *qdrant.VectorOutput) *qdrant.Vector {
	switch o := v.GetVector().(type) {
	case *qdrant.VectorOutput_Sparse:
		return &qdrant.Vector{Vector: &qdrant.Vector_Sparse{Sparse: o.Sparse}}
	case *qdrant.VectorOutput_MultiDense:
		return &qdrant.Vector{Vector: &qdrant.Vector_MultiDense{MultiDense: o.MultiDense}}
	case *qdrant.VectorOutput_Dense:
		return &qdrant.Vector{Vector: &qdrant.Vector_Dense{Dense: o.Dense}}
	}
	return &qdrant.Vector{}
}
