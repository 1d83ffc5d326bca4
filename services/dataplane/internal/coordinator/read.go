package coordinator

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

// Read says how a client wants to be answered.
type Read struct {
	Target      Target
	Consistency *qdrant.ReadConsistency // nil: one replica
	Timeout     time.Duration           // 0: DefaultTimeout
	// Linearizable: the answer has everything that was acknowledged before (R3). Only
	// primaries are asked. Not together with Consistency.
	Linearizable bool
}

// ask is the read of one shard, until a replica has answered it.
type ask struct {
	shard    topology.Shard
	read     *shardv1.ShardRead
	key      string // of the shard's group
	question int    // its place among those that are asked at once
	tried    []topology.PeerID
	from     topology.PeerID // that was asked last
	crew     []*ask          // the same question to as many replicas, itself among them,
	agree    int             // of which so many must agree
	result   *shardv1.ShardReadResult
	err      *fault.Error
	final    bool // another replica would say the same
	hope     bool // one of those that were tried may answer later
}

// mends tells failures that may go away from those that only a repair ends.
func mends(r fault.Reason) bool { return r != fault.ReplicaFailed && r != fault.StorageCorrupt }

// body is what to ask of a shard; nil: nothing.
type body = func(topology.Shard) *shardv1.ShardRead

// read asks every shard that body gives a read for, one RPC to each peer, and
// goes on to other replicas where one fails, until the time is over. Results
// come in the order of the target's shards; shards without a read are left out.
func (c *Coordinator) read(ctx context.Context, r Read, b body) ([]*shardv1.ShardReadResult, error) {
	lists, err := c.readAll(ctx, r, []body{b})
	if err != nil {
		return nil, err
	}
	return lists[0], nil
}

// readAll is read for several questions at once, still with one RPC to each peer. It
// gives a list of results for each.
func (c *Coordinator) readAll(ctx context.Context, r Read, bodies []body) ([][]*shardv1.ShardReadResult, error) {
	ctx, cancel := deadline(ctx, r.Timeout)
	defer cancel()
	var asks []*ask
	for i, body := range bodies {
		for _, g := range r.Target.Groups {
			for _, id := range g.IDs {
				s := topology.Shard{Collection: r.Target.Collection.ID, ID: id}
				b := body(s)
				if b == nil {
					continue
				}
				for n, a := range c.crew(r, s) {
					if a.read, a.key, a.question = b, g.Key, i; n > 0 { // each replica is sent a message of its own
						a.read = body(s)
					}
					a.read.SchemaRevision = r.Target.Collection.Revision
					if r.Linearizable {
						a.read.Mode = shardv1.ReadMode_READ_MODE_LINEARIZABLE
					}
					asks = append(asks, a)
				}
			}
		}
	}
	for pause := firstPause; ; pause = next(pause) {
		m := c.o.Map()
		if err := c.tryReads(ctx, m, r, asks); err != nil {
			return nil, err
		}
		open, err := unanswered(asks)
		if !open && err != nil {
			return nil, err
		}
		if !open {
			if c.o.Unsure != nil && slices.ContainsFunc(asks, func(a *ask) bool { return a.result.GetDetached() }) {
				c.o.Unsure(ctx)
			}
			out := make([][]*shardv1.ShardReadResult, len(bodies))
			for _, a := range asks {
				if a == a.crew[0] {
					out[a.question] = append(out[a.question], agreed(a.crew))
				}
			}
			return out, nil
		}
		if c.await(ctx, m, pause) != nil {
			if err == nil {
				err = fault.New(fault.Timeout, "Timeout: the read was not answered in time")
			}
			return nil, err
		}
	}
}

// unanswered tells whether a shard is still open, and why; an error that no
// other replica and no waiting will mend closes the whole read.
func unanswered(asks []*ask) (open bool, err error) {
	for _, a := range asks {
		switch {
		case a.result != nil:
		case a.final, len(a.tried) > 0 && !a.hope:
			return false, a.err
		default:
			open, err = true, a.err
		}
	}
	return open, err
}

// tryReads goes through the replicas of the open shards until each has answered
// or has no replica left to try under this map.
func (c *Coordinator) tryReads(ctx context.Context, m *topology.Map, r Read, asks []*ask) error {
	for _, a := range asks {
		if a.tried, a.hope = nil, false; a.result == nil {
			a.from = 0
		}
	}
	for {
		byPeer := map[topology.PeerID][]*ask{}
		for _, a := range asks {
			if a.result != nil || a.final {
				continue
			}
			peer, epoch, err := c.choose(m, r, a)
			if err != nil {
				return err
			}
			if peer == 0 {
				continue
			}
			a.tried, a.from = append(a.tried, peer), peer
			a.read.Route = &shardv1.Route{CollectionId: uint64(a.shard.Collection), ShardId: uint64(a.shard.ID), Epoch: uint64(epoch)}
			byPeer[peer] = append(byPeer[peer], a)
		}
		if len(byPeer) == 0 || ctx.Err() != nil {
			return nil
		}
		each(byPeer, func(peer topology.PeerID, as []*ask) { c.fetch(ctx, m, r, peer, as) })
	}
}

// choose picks the replica to ask next: this peer's own, else any Active one
// that was not tried. Peer 0 means none is left; a shard that is being born has
// no data yet and is answered as empty.
func (c *Coordinator) choose(m *topology.Map, r Read, a *ask) (topology.PeerID, topology.Epoch, error) {
	pl, ok := m.Placement(a.shard)
	if !ok {
		if err, gone := r.Target.unplaced(m, a.shard); gone {
			return 0, 0, err
		}
		a.result = &shardv1.ShardReadResult{}
		return 0, 0, nil
	}
	active := make([]topology.PeerID, 0, len(pl.Replicas))
	born := len(pl.Replicas) == 0
	for _, rep := range pl.Replicas {
		born = born || rep.State != topology.Initializing
		if rep.State == topology.Active && (!r.Linearizable || rep.Peer == pl.Primary) {
			active = append(active, rep.Peer)
		}
	}
	if !born {
		a.result = &shardv1.ShardReadResult{}
		return 0, 0, nil
	}
	if err := enough(r.Consistency, len(active), a.shard); err != nil {
		return 0, 0, err
	}
	left := slices.DeleteFunc(active, func(p topology.PeerID) bool {
		return slices.Contains(a.tried, p) || slices.ContainsFunc(a.crew, func(b *ask) bool { return b.from == p })
	})
	if len(left) == 0 {
		if a.err == nil {
			a.err = located(fault.New(fault.ShardUnavailable, "shard %d has no active replica at the moment", a.shard.ID), a.shard, 0)
		}
		return 0, 0, nil
	}
	if slices.Contains(left, c.o.Self) {
		return c.o.Self, pl.Epoch, nil
	}
	return left[rand.IntN(len(left))], pl.Epoch, nil
}

// label says of points which shard key they were found under.
func label(r *shardv1.ShardReadResult, key *qdrant.ShardKey) {
	if key == nil {
		return
	}
	for _, rec := range r.GetRecords().GetRecords() {
		rec.GetPoint().ShardKey = key
	}
	for _, list := range r.GetRankings().GetRankings() {
		for _, p := range list.GetPoints() {
			p.ShardKey = key
		}
	}
}

// elsewhere tells a failure of the replica from a failure of the request.
func elsewhere(r fault.Reason) bool {
	switch r {
	case fault.ReplicaFailed, fault.StorageCorrupt, fault.NotFound, fault.Unspecified:
		return true
	}
	return transient(r)
}
