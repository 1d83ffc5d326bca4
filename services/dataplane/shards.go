package dataplane

import (
	"context"
	"fmt"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/dataplane/internal/node"
	"github.com/pandodb/pando/services/dataplane/internal/peer"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/dataplane/internal/shard/budget"
	"github.com/pandodb/pando/services/dataplane/internal/transfer"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
)

// tracerName is the scope of the spans of this plane.
const tracerName = "github.com/pandodb/pando/services/dataplane"

// storage opens replicas on the operation log and the shard engine.
func (s *Service) storage() node.Storage {
	p := s.cfg.Performance
	background := budget.New(budget.Options{Threads: p.OptimizerCPUs, BytesPerSecond: p.OptimizerWrites << 20,
		ScrubEvery: time.Duration(p.ScrubHours) * time.Hour, ScrubBytesPerSecond: p.ScrubReads << 20})
	return node.Storage{Shard: shard.Options{Background: background, Settings: peer.EngineSettings}, Events: s.events, SegmentBytes: s.cfg.LogSegment, Fetch: s.fetch}
}

// fetch copies the state of another peer's replica.
func (s *Service) fetch(ctx context.Context, from replica.CopySource, id topology.Shard, to node.Intake) error {
	c, err := s.deps.Dial(from.Peer)
	if err != nil {
		return fmt.Errorf("peer %d: %w", from.Peer, err)
	}
	if err := transfer.Fetch(ctx, c, transfer.Request{Shard: id, Epoch: from.Epoch, Receiver: s.Self()}, to); err != nil {
		return fmt.Errorf("from peer %d: %w", from.Peer, err)
	}
	return nil
}

// export pins the state of a replica here.
func (s *Service) export(id topology.Shard) (peer.Export, error) {
	x, err := s.node.Export(id)
	if err != nil {
		return nil, err
	}
	return x, nil
}

func (s *Service) replica(id topology.Shard) (peer.Replica, error) {
	r, err := s.node.Replica(id)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (s *Service) reader(id topology.Shard) (peer.Engine, func(), error) {
	e, release, err := s.node.Reader(id)
	if err != nil {
		return nil, nil, err
	}
	return e, release, nil
}

// held lists the replicas of this peer.
func (s *Service) held() []topology.Shard {
	var out []topology.Shard
	for _, h := range s.node.Inventory() {
		out = append(out, h.Shard)
	}
	return out
}

// incarnation of a replica's disk, once it has been made.
func (s *Service) incarnation(id topology.Shard) (topology.Incarnation, bool) {
	for _, h := range s.node.Inventory() {
		if h.Shard == id {
			return h.Incarnation, h.Incarnation != topology.Incarnation{}
		}
	}
	return topology.Incarnation{}, false
}

func (s *Service) revision() uint64 { return s.session.Map().Revision() }

// peer finds the shards of a peer: its own by a direct call, others over a
// connection.
func (s *Service) peer(p topology.PeerID) (coordinator.Shards, error) {
	if p == s.Self() {
		return s.shards, nil
	}
	c, err := s.deps.Dial(p)
	if err != nil {
		return nil, fmt.Errorf("peer %d: %w", p, err)
	}
	return remote{shardv1.NewShardClient(c)}, nil
}

// remote is the shard client of another peer.
type remote struct{ c shardv1.ShardClient }

func (r remote) Read(ctx context.Context, in *shardv1.ReadRequest) (*shardv1.ReadResponse, error) {
	return r.c.Read(ctx, in, grpc.WaitForReady(false))
}

func (r remote) Write(ctx context.Context, in *shardv1.WriteRequest) (*shardv1.WriteResponse, error) {
	return r.c.Write(ctx, in, grpc.WaitForReady(false))
}

// admit tells whether the holder of a key may read what is not behind a service.
func (s *Service) admit(key string) error {
	if s.deps.Keys == nil {
		return nil
	}
	return s.deps.Keys.Admit(key, rpc.RightRead)
}

// span wraps the call to one peer, local or remote alike.
func (s *Service) span(ctx context.Context, name string, p topology.PeerID, shards int) (context.Context, func(error)) {
	return s.open(ctx, name, attribute.Int64("pando.peer", int64(p)), attribute.Int("pando.shards", shards))
}

// shardSpan wraps the work of one replica.
func (s *Service) shardSpan(ctx context.Context, name string, id topology.Shard) (context.Context, func(error)) {
	return s.open(ctx, name, attribute.Int64("pando.collection", int64(id.Collection)), attribute.Int64("pando.shard", int64(id.ID)))
}

// open costs nothing where nobody traces.
func (s *Service) open(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, func(error)) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, func(error) {}
	}
	ctx, span := s.deps.Tracer.Tracer(tracerName).Start(ctx, name, trace.WithAttributes(attrs...))
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}
