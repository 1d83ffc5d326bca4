package coordinator

import (
	"context"
	"slices"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/protobuf/types/known/durationpb"
)

// fetch asks a peer, and others as well where the collection says so: at once, or when
// it takes long (`read_fan_out_factor`, `read_fan_out_delay_ms`). The first answer counts.
// Reads that several replicas must answer ask several already.
func (c *Coordinator) fetch(ctx context.Context, m *topology.Map, r Read, peer topology.PeerID, as []*ask) {
	fan := r.Target.Collection.FanOut
	if fan == (topology.FanOut{}) || r.Linearizable || len(as[0].crew) > 1 {
		c.single(ctx, peer, as)
		return
	}
	limit(ctx, as)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	extra, pending := max(int(fan.Factor), 1), 0
	replies := make(chan reply, (1+extra)*len(as)) // none is ever left waiting
	send := func(peer topology.PeerID, as []*ask) {
		pending++
		go func() {
			resp, err := c.call(ctx, peer, as)
			replies <- reply{peer, as, resp, err}
		}()
	}
	send(peer, as)
	late := time.NewTimer(time.Duration(fan.DelayMs) * time.Millisecond)
	defer late.Stop()
	for pending > 0 {
		select {
		case x := <-replies:
			pending--
			settle(x.asks, x.peer, x.resp, x.err)
			if !slices.ContainsFunc(as, (*ask).open) {
				return
			}
		case <-late.C:
			for range extra {
				for peer, more := range c.others(m, r, as) {
					send(peer, more)
				}
			}
		}
	}
}

// single is one RPC to one peer, judged.
func (c *Coordinator) single(ctx context.Context, peer topology.PeerID, as []*ask) {
	limit(ctx, as)
	resp, err := c.call(ctx, peer, as)
	settle(as, peer, resp, err)
}

// limit says how long reads may take.
func limit(ctx context.Context, as []*ask) {
	timeout := durationpb.New(left(ctx))
	for _, a := range as {
		a.read.Timeout = timeout
	}
}

// reply is what came of one RPC.
type reply struct {
	peer topology.PeerID
	asks []*ask
	resp *shardv1.ReadResponse
	err  error
}

func (a *ask) open() bool { return a.result == nil && !a.final }

// others chooses another replica for each read that is open, where there is one.
func (c *Coordinator) others(m *topology.Map, r Read, as []*ask) map[topology.PeerID][]*ask {
	byPeer := map[topology.PeerID][]*ask{}
	for _, a := range as {
		if !a.open() {
			continue
		}
		was := a.err
		if peer, _, err := c.choose(m, r, a); peer != 0 && err == nil {
			a.tried, a.from = append(a.tried, peer), peer
			byPeer[peer] = append(byPeer[peer], a)
		}
		a.err = was // that no other one is left says nothing of the first
	}
	return byPeer
}

// call is one RPC to one peer.
func (c *Coordinator) call(ctx context.Context, peer topology.PeerID, as []*ask) (*shardv1.ReadResponse, error) {
	shards, err := c.o.Peer(peer)
	if err != nil {
		return nil, err
	}
	req := &shardv1.ReadRequest{}
	for _, a := range as {
		req.Reads = append(req.Reads, a.read)
	}
	rctx, cancel := c.rpcContext(ctx, func(m *topology.Map) bool {
		return !slices.ContainsFunc(as, func(a *ask) bool {
			pl, _ := m.Placement(a.shard)
			rep, ok := pl.Replica(peer)
			return !ok || rep.State != topology.Active
		})
	})
	defer cancel()
	rctx, end := c.o.Span(rctx, "shard.read", peer, len(as))
	resp, err := shards.Read(rctx, req)
	if context.Cause(rctx) == errLeft {
		err = errLeft
	}
	end(err)
	return resp, err
}

// settle judges what came of one RPC, of the reads that are open still.
func settle(as []*ask, peer topology.PeerID, resp *shardv1.ReadResponse, err error) {
	for i, a := range as {
		switch {
		case !a.open():
			continue
		case err != nil && refused(err):
			a.err, a.final = located(fault.From(err), a.shard, peer), true
		case err != nil || i >= len(resp.GetResults()):
			a.err = located(fault.Wrap(fault.ShardUnavailable, err, "peer %d did not answer for shard %d", peer, a.shard.ID), a.shard, peer)
		case resp.GetResults()[i].GetFailure() != nil:
			a.err = failureOf(resp.GetResults()[i].GetFailure(), a.shard, peer)
			a.final = !elsewhere(a.err.Reason)
		default:
			a.result = resp.GetResults()[i]
			label(a.result, wire.ProtoShardKey(a.key))
			continue
		}
		a.hope = a.hope || mends(a.err.Reason)
	}
}
