package coordinator

import (
	"context"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

func readFields(topology.Shard) *shardv1.ShardRead {
	return &shardv1.ShardRead{Read: &shardv1.ShardRead_Fields{Fields: &shardv1.ReadFields{}}}
}

// Fields adds up how many points the indexes on payload fields hold, by key. An
// index that a shard has not built yet holds none.
func (c *Coordinator) Fields(ctx context.Context, r Read) (map[string]uint64, error) {
	res, err := c.read(ctx, r, readFields)
	if err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	for _, one := range res {
		for key, n := range one.GetFields().GetPoints() {
			out[key] += n
		}
	}
	return out, nil
}

// Settled waits until every Active replica of the target has put settings of at
// least this revision into effect (W8, W11), and tells whether it came to that
// within the timeout. COLLECTION_NOT_FOUND if the collection was dropped.
func (c *Coordinator) Settled(ctx context.Context, t Target, revision uint64, timeout time.Duration) (bool, error) {
	ctx, cancel := deadline(ctx, timeout)
	defer cancel()
	for pause := firstPause; ; pause = next(pause) {
		m := c.o.Map()
		settled, err := c.allSettled(ctx, m, t, revision)
		if settled || err != nil {
			return settled, err
		}
		if c.await(ctx, m, pause) != nil {
			return false, nil
		}
	}
}

// allSettled asks each of them once.
func (c *Coordinator) allSettled(ctx context.Context, m *topology.Map, t Target, revision uint64) (bool, error) {
	byPeer, all := map[topology.PeerID][]*ask{}, true
	for _, s := range t.shards() {
		pl, placed := m.Placement(s)
		if !placed {
			if err, gone := t.unplaced(m, s); gone {
				return false, err
			}
		}
		all = all && pl.ActiveCount() > 0
		for _, rep := range pl.Replicas {
			if rep.State == topology.Active {
				a := &ask{shard: s, read: readFields(s)}
				a.read.Route = &shardv1.Route{CollectionId: uint64(s.Collection), ShardId: uint64(s.ID), Epoch: uint64(pl.Epoch)}
				byPeer[rep.Peer] = append(byPeer[rep.Peer], a)
			}
		}
	}
	if !all {
		return false, nil
	}
	each(byPeer, func(peer topology.PeerID, as []*ask) { c.single(ctx, peer, as) })
	for _, as := range byPeer {
		for _, a := range as {
			switch {
			case a.result != nil:
				all = all && a.result.GetFields().GetRevision() >= revision
			case a.final && a.err.Reason != fault.Timeout:
				return false, a.err
			default:
				all = false
			}
		}
	}
	return all, nil
}
