package dataplane

import (
	"context"
	"sync"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
)

// shardPeers is what a replica here reaches others by.
type shardPeers struct {
	*Service
	shard       topology.Shard
	incarnation topology.Incarnation
}

// Send implements replica.Peers.
func (p shardPeers) Send(msgs []core.Envelope, traceparents map[topology.Seq]string) {
	p.streams.Send(p.shard, msgs, traceparents)
}

// SetState implements replica.Peers.
func (p shardPeers) SetState(c core.SetState) {
	p.asks.put(askKey{p.shard, c.Peer}, func(ctx context.Context) {
		r, err := p.decisions.SetState(ctx, &placementv1.SetStateRequest{
			CollectionId: uint64(p.shard.Collection), ShardId: uint64(p.shard.ID), ExpectedEpoch: uint64(c.Epoch),
			SessionId: p.session.ID(), Primary: uint64(p.Self()), PrimaryIncarnation: wire.ProtoIncarnation(p.incarnation),
			PeerId: uint64(c.Peer), Incarnation: wire.ProtoIncarnation(c.Incarnation), State: qdrant.ReplicaState(c.To), Reason: c.Reason})
		p.heard(c.Peer, r.GetShard(), err)
	})
}

// HandOver implements replica.Peers.
func (p shardPeers) HandOver(m core.Move) {
	p.asks.put(askKey{p.shard, m.To}, func(ctx context.Context) {
		r, err := p.decisions.HandOver(ctx, &placementv1.HandOverRequest{
			CollectionId: uint64(p.shard.Collection), ShardId: uint64(p.shard.ID), ExpectedEpoch: uint64(m.Epoch),
			SessionId: p.session.ID(), Primary: uint64(p.Self()), PrimaryIncarnation: wire.ProtoIncarnation(p.incarnation), To: uint64(m.To)})
		p.heard(m.To, r.GetShard(), err)
	})
}

// heard shows a decision to the replica at once, ahead of the placement stream.
func (p shardPeers) heard(about topology.PeerID, rec *placementv1.Shard, err error) {
	if err != nil { // it is asked for again while its cause stands
		p.deps.Log.Info("the control plane did not change a replica", "collection", uint64(p.shard.Collection), "shard", uint64(p.shard.ID),
			"peer", uint64(about), "reason", err)
		return
	}
	if rep, err := p.node.Replica(p.shard); err == nil && rec != nil {
		rep.See(core.PlacementSeen{Placement: wire.Placement(rec)})
	}
}

// askTimeout bounds one request to the control plane.
const askTimeout = 2 * time.Second

// askers is how many requests to the control plane run at once.
const askers = 8

// asks are requests of replicas to the control plane. One about the same replica
// is under way at a time: the protocol repeats what was not heard.
type asks struct {
	queue chan ask
	mu    sync.Mutex
	under map[askKey]bool
}

type askKey struct {
	shard topology.Shard
	peer  topology.PeerID
}

type ask struct {
	key askKey
	do  func(context.Context)
}

func newAsks() *asks { return &asks{queue: make(chan ask, 1024), under: map[askKey]bool{}} }

func (a *asks) put(k askKey, do func(context.Context)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.under[k] {
		return
	}
	select {
	case a.queue <- ask{k, do}:
		a.under[k] = true
	default:
	}
}

// run works on the queue until ctx ends.
func (a *asks) run(ctx context.Context) error {
	var g errgroup.Group
	for range askers {
		g.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case one := <-a.queue:
					one.perform(ctx)
					a.mu.Lock()
					delete(a.under, one.key)
					a.mu.Unlock()
				}
			}
		})
	}
	return g.Wait()
}

func (a ask) perform(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	a.do(ctx)
}

// peers is the seam of node.Options.
func (s *Service) peers(id topology.Shard, in topology.Incarnation) replica.Peers {
	return shardPeers{s, id, in}
}

// replicaTracer adapts OpenTelemetry to what replicas know of tracing.
func (s *Service) replicaTracer() replica.Tracer {
	w3c := propagation.TraceContext{}
	return replica.Tracer{
		Context: func(ctx context.Context) string {
			if !trace.SpanContextFromContext(ctx).IsSampled() {
				return ""
			}
			c := propagation.MapCarrier{}
			w3c.Inject(ctx, c)
			return c["traceparent"]
		},
		Follow: func(traceparent string, id topology.Shard) func() {
			ctx := w3c.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent})
			_, span := s.deps.Tracer.Tracer(tracerName).Start(ctx, "replica.append", trace.WithAttributes(
				attribute.Int64("pando.collection", int64(id.Collection)), attribute.Int64("pando.shard", int64(id.ID))))
			return func() { span.End() }
		},
	}
}
