package api

import (
	"context"
	"strings"
	"sync"
	"time"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/collections"
	"github.com/pandodb/pando/services/dataplane/internal/api/strict"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/protobuf/proto"
)

// usageLasts is how long it is believed what the shards of a collection said of their
// size, with what was stored through this peer since. Before anything is refused they
// are asked anew.
const usageLasts = time.Second

// guard holds requests against the strict mode of their collection. What it counts is
// what this peer was asked for.
type guard struct {
	view    *view.Cluster
	counter collections.Counter
	began   time.Time

	mu      sync.Mutex
	metered map[topology.CollectionID]*meter
}

// meter counts for one collection.
type meter struct {
	reads, writes strict.Bucket
	usage         strict.Usage
	measured      time.Duration // 0: never
}

func newGuard(v *view.Cluster, c collections.Counter) *guard {
	return &guard{view: v, counter: c, began: time.Now(), metered: map[topology.CollectionID]*meter{}}
}

// addressed is a request that names its collection.
type addressed interface {
	proto.Message
	GetCollectionName() string
}

// check is an expose.Guard. INVALID_ARGUMENT, RATE_LIMITED.
func (g *guard) check(ctx context.Context, method string, req any) error {
	r, ok := req.(addressed)
	if !ok || !strings.HasPrefix(method, "/"+qdrant.Points_ServiceDesc.ServiceName+"/") && method != clusterv1.Cluster_GetPoint_FullMethodName {
		return nil
	}
	col, err := g.view.Resolve(ctx, r.GetCollectionName())
	if err != nil || !col.Config.GetStrictModeConfig().GetEnabled() {
		return nil // whoever answers finds the same error
	}
	limits := strict.Limits{StrictModeConfig: col.Config.GetStrictModeConfig(), Indexes: col.Indexes}
	op := strict.Of(r)
	if err := limits.Check(r, op); err != nil {
		return err
	}
	if err := g.take(col, &limits, op); err != nil {
		return err
	}
	if op.Bytes == 0 || !limits.Sized() {
		return nil
	}
	return g.room(ctx, col, &limits, op)
}

// meter is that of a collection. The lock must be held.
func (g *guard) meter(id topology.CollectionID) *meter {
	m := g.metered[id]
	if m == nil {
		m = &meter{}
		g.metered[id] = m
		for other := range g.metered { // forget dropped ones while one is added anyway
			if _, there := g.view.Map().Collection(other); !there && other != id {
				delete(g.metered, other)
			}
		}
	}
	return m
}

// take counts operations against the rates.
func (g *guard) take(col *view.Collection, l *strict.Limits, op strict.Op) error {
	rate, limit := l.ReadRateLimit, "read_rate_limit"
	if op.Write {
		rate, limit = l.WriteRateLimit, "write_rate_limit"
	}
	if rate == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.meter(col.ID)
	bucket := &m.reads
	if op.Write {
		bucket = &m.writes
	}
	return bucket.Take(time.Since(g.began), *rate, op.Cost, limit)
}

// room refuses what takes room where there is none.
func (g *guard) room(ctx context.Context, col *view.Collection, l *strict.Limits, op strict.Op) error {
	if g.believed(col.ID, l, op) {
		return nil
	}
	now, err := g.counter.Info(ctx, coordinator.Read{Target: col.All()})
	if err != nil {
		return err
	}
	u := strict.Usage{Points: now.Points, VectorBytes: now.VectorBytes, PayloadBytes: now.PayloadBytes}
	if err := l.Room(u); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.meter(col.ID)
	m.usage, m.measured = add(u, op), max(1, time.Since(g.began))
	return nil
}

// believed tells whether there is room by what is known, and counts the operation.
func (g *guard) believed(id topology.CollectionID, l *strict.Limits, op strict.Op) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.meter(id)
	if m.measured == 0 || time.Since(g.began)-m.measured >= usageLasts || l.Room(m.usage) != nil {
		return false
	}
	m.usage = add(m.usage, op)
	return true
}

// add counts what an operation may store. Whether it is vectors or payload is not
// looked at: the shards are asked before anything is refused.
func add(u strict.Usage, op strict.Op) strict.Usage {
	return strict.Usage{Points: u.Points + op.Points, VectorBytes: u.VectorBytes + op.Bytes, PayloadBytes: u.PayloadBytes + op.Bytes}
}
