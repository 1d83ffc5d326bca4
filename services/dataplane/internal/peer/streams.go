package peer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Streams carries the messages between this peer's replicas and those of others:
// one stream to each peer for what is said here by primaries, and answers to each
// peer on the stream that it has opened to here. What does not fit into a queue,
// or is in one when its stream breaks, is lost; the protocol repeats it.
type Streams struct {
	Self topology.PeerID
	// Dial reaches another peer.
	Dial func(topology.PeerID) (grpc.ClientConnInterface, error)
	// Replica finds a replica here.
	Replica func(topology.Shard) (Replica, error)
	Log     *slog.Logger

	mu struct {
		sync.Mutex
		to   map[topology.PeerID]*queue[*shardv1.ReplicateRequest]
		back map[topology.PeerID]*queue[*shardv1.ReplicateResponse]
		// start begins to keep a stream; nil outside of Run.
		start func(topology.PeerID, *queue[*shardv1.ReplicateRequest])
	}
}

const (
	// queueBytes bounds what may wait for one peer.
	queueBytes = 64 << 20
	// queueLength bounds how many messages may.
	queueLength = 8192
	// redial is the pause before a stream that broke is opened again.
	redial = 100 * time.Millisecond
)

// queue holds messages for one stream.
type queue[T proto.Message] struct {
	ch    chan T
	bytes atomic.Int64
}

func newQueue[T proto.Message]() *queue[T] { return &queue[T]{ch: make(chan T, queueLength)} }

func (q *queue[T]) put(m T) {
	n := int64(proto.Size(m))
	if q.bytes.Add(n) > queueBytes {
		q.bytes.Add(-n)
		return
	}
	select {
	case q.ch <- m:
	default:
		q.bytes.Add(-n)
	}
}

func (q *queue[T]) took(m T) { q.bytes.Add(-int64(proto.Size(m))) }

// drain loses what waits.
func (q *queue[T]) drain() {
	for {
		select {
		case m := <-q.ch:
			q.took(m)
		default:
			return
		}
	}
}

// Run keeps the streams to other peers until ctx ends. Before and after, what is
// to be sent is lost.
func (s *Streams) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	s.mu.Lock()
	s.mu.to = map[topology.PeerID]*queue[*shardv1.ReplicateRequest]{}
	s.mu.start = func(p topology.PeerID, q *queue[*shardv1.ReplicateRequest]) {
		g.Go(func() error { s.keep(ctx, p, q); return nil })
	}
	s.mu.Unlock()
	g.Go(func() error {
		<-ctx.Done()
		s.mu.Lock()
		s.mu.start = nil // nothing joins the group any more
		s.mu.Unlock()
		return nil
	})
	return g.Wait()
}

// Send queues messages of a shard. traceparents are read before it returns.
func (s *Streams) Send(sh topology.Shard, msgs []core.Envelope, traceparents map[topology.Seq]string) {
	for _, e := range msgs {
		if r := request(e.Message, traceparents); r != nil {
			r.CollectionId, r.ShardId, r.From = uint64(sh.Collection), uint64(sh.ID), uint64(s.Self)
			if q := s.queueTo(e.To); q != nil {
				q.put(r)
			}
			continue
		}
		r := response(e.Message)
		r.CollectionId, r.ShardId, r.From = uint64(sh.Collection), uint64(sh.ID), uint64(s.Self)
		s.mu.Lock()
		q := s.mu.back[e.To]
		s.mu.Unlock()
		if q != nil {
			q.put(r)
		}
	}
}

func (s *Streams) queueTo(p topology.PeerID) *queue[*shardv1.ReplicateRequest] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.start == nil {
		return nil
	}
	q := s.mu.to[p]
	if q == nil {
		q = newQueue[*shardv1.ReplicateRequest]()
		s.mu.to[p] = q
		s.mu.start(p, q)
	}
	return q
}

// keep opens a stream whenever there is something to say, again after it broke.
func (s *Streams) keep(ctx context.Context, p topology.PeerID, q *queue[*shardv1.ReplicateRequest]) {
	down := false
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case first := <-q.ch:
			q.took(first)
			err := s.converse(ctx, p, q, first, func() {
				if down {
					s.Log.Info("replication stream is back", "peer", uint64(p))
				}
				down = false
			})
			if ctx.Err() == nil && !down && err != nil {
				s.Log.Warn("replication stream broke", "peer", uint64(p), "reason", err)
				down = true
			}
		}
		q.drain()
		select {
		case <-time.After(redial):
		case <-ctx.Done():
		}
	}
}

// converse sends what is queued and delivers the answers, until the stream breaks.
func (s *Streams) converse(ctx context.Context, p topology.PeerID, q *queue[*shardv1.ReplicateRequest], first *shardv1.ReplicateRequest, up func()) error {
	c, err := s.Dial(p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := shardv1.NewReplicationClient(c).Replicate(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for {
			r, err := stream.Recv()
			if err != nil {
				return err
			}
			up()
			m, err := fromResponse(r)
			if err != nil {
				return err
			}
			s.deliver(r, p, m, nil)
		}
	})
	g.Go(func() error {
		defer cancel()
		for m := first; ; {
			if err := stream.Send(m); err != nil {
				return nil // Recv says why
			}
			select {
			case m = <-q.ch:
				q.took(m)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	return g.Wait()
}

// routed is what all messages between replicas have.
type routed interface {
	GetCollectionId() uint64
	GetShardId() uint64
}

func (s *Streams) deliver(r routed, from topology.PeerID, m core.Message, traces map[topology.Seq]string) {
	sh := topology.Shard{Collection: topology.CollectionID(r.GetCollectionId()), ID: topology.ShardID(r.GetShardId())}
	if rep, err := s.Replica(sh); err == nil {
		rep.Receive(from, m, traces)
	}
}

// Replicate takes the stream of another peer.
func (s *Streams) Replicate(stream grpc.BidiStreamingServer[shardv1.ReplicateRequest, shardv1.ReplicateResponse]) error {
	r, err := stream.Recv()
	if err != nil {
		return err
	}
	from := topology.PeerID(r.GetFrom())
	q := newQueue[*shardv1.ReplicateResponse]()
	s.answerOn(from, q, nil)
	defer s.answerOn(from, nil, q)
	ctx, received := stream.Context(), make(chan error, 1)
	go func() { received <- s.listen(stream, r, from) }() // its Recv fails when this returns: nothing else ends it
	for {
		select {
		case a := <-q.ch:
			q.took(a)
			if err := stream.Send(a); err != nil {
				return err
			}
		case err := <-received:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listen delivers a message and all that follow on its stream.
func (s *Streams) listen(stream grpc.BidiStreamingServer[shardv1.ReplicateRequest, shardv1.ReplicateResponse], r *shardv1.ReplicateRequest, from topology.PeerID) error {
	for {
		if topology.PeerID(r.GetFrom()) != from {
			return fault.New(fault.Malformed, "a message of peer %d on the stream of peer %d", r.GetFrom(), from)
		}
		m, traces, err := fromRequest(r)
		if err != nil {
			return fault.Wrap(fault.Malformed, err, "%v", err)
		}
		s.deliver(r, from, m, traces)
		if r, err = stream.Recv(); err != nil {
			return err
		}
	}
}

// answerOn makes a queue the one for a peer; with was, only in that one's place:
// the peer may have opened a newer stream.
func (s *Streams) answerOn(p topology.PeerID, q, was *queue[*shardv1.ReplicateResponse]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was != nil && s.mu.back[p] != was {
		return
	}
	if s.mu.back == nil {
		s.mu.back = map[topology.PeerID]*queue[*shardv1.ReplicateResponse]{}
	}
	if q == nil {
		delete(s.mu.back, p)
		return
	}
	s.mu.back[p] = q
}
