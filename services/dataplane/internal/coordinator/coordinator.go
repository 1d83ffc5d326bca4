// Package coordinator carries one request of a client over the shards that it
// concerns: it finds the shards, sends one RPC to each peer, follows moved
// primaries, tries other replicas, and merges the answers. It knows shards only
// through the Shards interface: for it there is no difference between this
// peer's own shards and others'.
//
// It is a role that lasts for one request. It holds no state but its seams.
package coordinator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"golang.org/x/sync/errgroup"
)

// MaxRetry bounds how long a request is retried. It stays below the 2 min that
// primaries remember operation ids for (D2a, D3).
const MaxRetry = 60 * time.Second

// DefaultTimeout applies to a request that names none.
const DefaultTimeout = 30 * time.Second

// The wait between two tries when no newer map arrives. It begins short, since a
// replica may be about to see the placement that this peer has seen already.
const (
	firstPause = 2 * time.Millisecond
	lastPause  = 200 * time.Millisecond
)

func next(pause time.Duration) time.Duration { return min(2*pause, lastPause) }

// grace is added to the deadline of an RPC, so that the peer's own word on a
// timeout arrives before the connection gives up.
const grace = 500 * time.Millisecond

// Shards is what a peer offers to coordinators. The local peer is called
// directly, others over a connection.
type Shards interface {
	Read(ctx context.Context, r *shardv1.ReadRequest) (*shardv1.ReadResponse, error)
	Write(ctx context.Context, r *shardv1.WriteRequest) (*shardv1.WriteResponse, error)
}

// Options are the seams of a Coordinator. All but Span must be set.
type Options struct {
	// Self is preferred for reads.
	Self topology.PeerID
	// Map gives the newest cluster map.
	Map func() *topology.Map
	// Newer waits until the map's revision is above the given one.
	Newer func(ctx context.Context, revision uint64) error
	// Detached tells of a replica here that takes weak writes provisionally (P1); nil:
	// none ever does.
	Detached func(topology.Shard) bool
	// Unsure is told of a read that a detached replica has answered (X2), with the context
	// of the request; nil: nobody is.
	Unsure func(context.Context)
	// Peer finds the way to a peer.
	Peer func(topology.PeerID) (Shards, error)
	// Span opens a span around the RPC to one peer; nil opens none.
	Span func(ctx context.Context, name string, peer topology.PeerID, shards int) (context.Context, func(error))
}

// Coordinator is safe for concurrent use.
type Coordinator struct{ o Options }

// New makes a coordinator; it starts nothing.
func New(o Options) *Coordinator {
	if o.Span == nil {
		o.Span = func(ctx context.Context, _ string, _ topology.PeerID, _ int) (context.Context, func(error)) {
			return ctx, func(error) {}
		}
	}
	return &Coordinator{o: o}
}

// Target is the collection and the shards of it that a request is about. The
// groups are those that its shard keys select; with automatic sharding all.
type Target struct {
	Collection *topology.Collection
	Groups     []topology.ShardGroup
	// Routed: by other settings of the collection it might be other groups. A shard that
	// knows newer ones takes no write then (ErrRerouted).
	Routed bool
}

// shards lists the target's shards in a fixed order.
func (t Target) shards() []topology.Shard {
	var out []topology.Shard
	for _, g := range t.Groups {
		for _, id := range g.IDs {
			out = append(out, topology.Shard{Collection: t.Collection.ID, ID: id})
		}
	}
	return out
}

// ErrDropped is in the errors of requests whose collection, or a shard key of it, was
// dropped after it was found: another one may bear its name by now.
var ErrDropped = errors.New("the collection or the shard key was dropped meanwhile")

// ErrRerouted is in the errors of writes of a Routed target that a shard did not take:
// of those shards that it names nothing has happened there. The target is to be found
// anew, by a collection of a newer revision.
var ErrRerouted = errors.New("the target was found by older settings of the collection")

// unplaced says why m, which is no older than what t was made by, has no placement
// of a shard of the target: the collection or the shard key was dropped, which no
// later map undoes (gone), or it was made just now and the placement is still to
// come.
func (t Target) unplaced(m *topology.Map, s topology.Shard) (err *fault.Error, gone bool) {
	c, there := m.Collection(s.Collection)
	if !there {
		none := fault.NoCollection(t.Collection.Name)
		return located(fault.Wrap(none.Reason, ErrDropped, "%s", none.Msg).With(fault.MetaCollection, t.Collection.Name), s, 0), true
	}
	if !slices.ContainsFunc(c.Groups, func(g topology.ShardGroup) bool { return slices.Contains(g.IDs, s.ID) }) {
		return located(fault.Wrap(fault.InvalidArgument, ErrDropped, "The shard key of shard %d of collection `%s` was dropped", s.ID, t.Collection.Name), s, 0), true
	}
	return located(fault.New(fault.ShardUnavailable, "shard %d of collection `%s` is not placed yet", s.ID, t.Collection.Name), s, 0), false
}

// deadline turns a request's timeout into a context. What is left of it is sent
// along with every RPC.
func deadline(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return context.WithTimeout(ctx, min(timeout, MaxRetry))
}

func left(ctx context.Context) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return max(time.Until(d), time.Millisecond)
	}
	return DefaultTimeout
}

// slow is when it is looked at whether the peer that was asked is still the right one. It is above what a peer needs to
// answer those who wait when it hands a shard over.
const slow = 100 * time.Millisecond

// errLeft is why the context of an RPC ended that is another peer's by now. What
// the old one has said at that moment is of no use: it was told to stop.
var errLeft = errors.New("another peer is the right one by now")

// rpcContext outlives ctx by the grace; it still ends when the client goes away,
// and when right does not hold of the newest map any more: a peer that hangs, or
// is cut off, keeps its callers waiting for long.
func (c *Coordinator) rpcContext(ctx context.Context, right func(*topology.Map) bool) (context.Context, context.CancelFunc) {
	limited, end := context.WithTimeout(context.WithoutCancel(ctx), left(ctx)+grace)
	out, cancel := context.WithCancelCause(limited)
	stop := context.AfterFunc(ctx, func() {
		if context.Cause(ctx) == context.Canceled {
			cancel(nil)
		}
	})
	watch := time.AfterFunc(slow, func() {
		for m := c.o.Map(); right(m); m = c.o.Map() {
			if c.o.Newer(out, m.Revision()) != nil {
				return
			}
		}
		cancel(errLeft)
	})
	return out, func() { watch.Stop(); stop(); cancel(nil); end() }
}

// each calls f for every peer of tasks at once, the only one directly.
func each[T any](tasks map[topology.PeerID]T, f func(topology.PeerID, T)) {
	if len(tasks) == 1 {
		for p, t := range tasks {
			f(p, t)
		}
		return
	}
	var g errgroup.Group
	for p, t := range tasks {
		g.Go(func() error { f(p, t); return nil })
	}
	_ = g.Wait() // f reports through its tasks
}

// await waits for a map newer than m, at most pause, so that a peer that comes
// back under the same placement is tried again too.
func (c *Coordinator) await(ctx context.Context, m *topology.Map, pause time.Duration) error {
	short, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	if err := c.o.Newer(short, m.Revision()); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

func newRequestID() (id [16]byte, err error) {
	if _, err = rand.Read(id[:]); err != nil {
		return id, fmt.Errorf("operation id: %w", err)
	}
	return id, nil
}

// located adds who and where to a failure.
func located(e *fault.Error, s topology.Shard, p topology.PeerID) *fault.Error {
	e = e.With("shard", strconv.FormatUint(uint64(s.ID), 10))
	if p != 0 {
		e = e.With("peer", strconv.FormatUint(uint64(p), 10))
	}
	return e
}

// failureOf turns a shard's answer into an error.
func failureOf(f *shardv1.Failure, s topology.Shard, p topology.PeerID) *fault.Error {
	e := fault.New(f.GetReason(), "%s", f.GetMessage())
	for k, v := range f.GetMeta() {
		e = e.With(k, v)
	}
	return located(e, s, p)
}
