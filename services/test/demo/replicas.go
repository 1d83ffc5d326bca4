package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/test/fleet"
	"google.golang.org/grpc"
)

// replica is what one peer holds of a shard, read past the others.
type replica struct {
	peer   uint64
	conn   *grpc.ClientConn // to its internal port
	seq    uint64
	digest []byte
	points map[uint64]verdict
}

// verdict is what the demo has to say about a point that it found.
type verdict struct {
	generation uint64
	right      bool // it is what was written as this generation
}

// audit looks for every acknowledged write on every replica, and compares the replicas of each shard by their digests.
func (t *trio) audit(ctx context.Context, ledgers []*ledger) error {
	shards, err := t.settled(ctx)
	if err != nil {
		return err
	}
	replicas, unequal := 0, 0
	for sh, rs := range shards {
		for _, r := range rs {
			replicas++
			if !bytes.Equal(r.digest, rs[0].digest) {
				unequal++
			}
			if r.points, err = r.read(ctx, sh, t.judge); err != nil {
				return fmt.Errorf("shard %d at peer %d: %w", sh.ID, r.peer, err)
			}
		}
	}
	c := census{shards: shards}
	for id := range t.data.base {
		c.count(uint64(id), 1, 1)
	}
	for _, l := range ledgers {
		for i := range l.sent {
			c.count(l.first+uint64(i), l.acked[i], l.sent[i])
		}
	}
	say("audit", "points acknowledged %d, each looked for in %d replicas: lost %d; %d replicas, of which with unequal digests %d", c.acked, copies, c.lost(), replicas, unequal)
	switch {
	case c.lost() > 0:
		return fmt.Errorf("%d acknowledged points are missing in a replica, %d are older than acknowledged, %d are not what was written", c.missing, c.stale, c.wrong)
	case unequal > 0:
		return fmt.Errorf("%d of %d replicas differ from another one of their shard", unequal, replicas)
	case replicas != 2*int(t.shards)*copies:
		return fmt.Errorf("there are %d replicas, not %d", replicas, 2*int(t.shards)*copies)
	}
	return nil
}

// settled waits until the replicas of each shard are at one place of its log: what was acknowledged as committed may be
// about to be applied.
func (t *trio) settled(ctx context.Context) (map[topology.Shard][]*replica, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		shards, err := t.find(ctx)
		if err == nil {
			return shards, nil
		}
		if fleet.Pass(ctx, 50*time.Millisecond) != nil {
			return nil, fmt.Errorf("not at rest within %v: %w", patience, err)
		}
	}
}

// find asks every peer what it holds. It fails while replicas of a shard are at different places of its log.
func (t *trio) find(ctx context.Context) (map[topology.Shard][]*replica, error) {
	out := map[topology.Shard][]*replica{}
	for i, p := range t.fleet.Peers() {
		conn := t.fleet.Internal(i)
		r, err := shardv1.NewProbeClient(conn).Probe(ctx, &shardv1.ProbeRequest{})
		if err != nil {
			return nil, err
		}
		for _, h := range r.GetReplicas() {
			sh := topology.Shard{Collection: topology.CollectionID(h.GetCollectionId()), ID: topology.ShardID(h.GetShardId())}
			if len(h.GetDigest()) == 0 {
				return nil, fmt.Errorf("shard %d at peer %d does not serve: %s", sh.ID, p.ID, h.GetFailure().GetMessage())
			}
			out[sh] = append(out[sh], &replica{peer: p.ID, conn: conn, seq: h.GetDigestSeq(), digest: h.GetDigest()})
		}
	}
	for sh, rs := range out {
		for _, r := range rs {
			if r.seq != rs[0].seq {
				return nil, fmt.Errorf("shard %d is at entry %d at peer %d, at %d at peer %d", sh.ID, r.seq, r.peer, rs[0].seq, rs[0].peer)
			}
		}
	}
	return out, nil
}

// page is how many points are read at once.
const page = 1000

// read goes through all points of a replica.
func (r *replica) read(ctx context.Context, sh topology.Shard, judge func(*qdrant.RetrievedPoint) verdict) (map[uint64]verdict, error) {
	out := map[uint64]verdict{}
	with := &qdrant.WithVectorsSelector{SelectorOptions: &qdrant.WithVectorsSelector_Enable{Enable: true}}
	all := &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Enable{Enable: true}}
	for next := uint64(0); ; {
		scroll := &shardv1.ScrollPoints{Offset: pointID(next), Limit: page, WithPayload: all, WithVectors: with}
		resp, err := shardv1.NewShardClient(r.conn).Read(ctx, &shardv1.ReadRequest{Reads: []*shardv1.ShardRead{{
			Route: &shardv1.Route{CollectionId: uint64(sh.Collection), ShardId: uint64(sh.ID)}, Read: &shardv1.ShardRead_Scroll{Scroll: scroll}}}})
		if err != nil {
			return nil, err
		}
		if len(resp.GetResults()) != 1 || resp.GetResults()[0].GetFailure() != nil {
			return nil, errors.New(resp.GetResults()[0].GetFailure().GetMessage())
		}
		records := resp.GetResults()[0].GetRecords().GetRecords()
		for _, rec := range records {
			id := rec.GetPoint().GetId().GetNum()
			out[id], next = judge(rec.GetPoint()), id+1
		}
		if len(records) < page {
			return out, nil
		}
	}
}

// judge compares a point with what was written under its id.
func (t *trio) judge(p *qdrant.RetrievedPoint) verdict {
	id := p.GetId().GetNum()
	if id < uint64(len(t.data.base)) {
		return verdict{1, same(p, point(id, t.data.base[id], t.data.words[id].payload()))}
	}
	is := uint64(p.GetPayload()["generation"].GetIntegerValue())
	return verdict{is, same(p, t.version(id, is))}
}

// census holds what was acknowledged against all replicas.
type census struct {
	tally
	shards map[topology.Shard][]*replica
}

// count looks for a point in each replica of its shard: that is where any of them has it.
func (c *census) count(id, acked, sent uint64) {
	if acked > 0 {
		c.acked++
	}
	found := false
	for _, rs := range c.shards {
		n := 0
		for _, r := range rs {
			v, ok := r.points[id]
			if !ok {
				continue
			}
			n++
			switch {
			case v.generation < acked:
				c.stale++
			case v.generation > sent || !v.right:
				c.wrong++
			}
		}
		if n > 0 && acked > 0 {
			c.missing += len(rs) - n
		}
		found = found || n > 0
	}
	if !found && acked > 0 {
		c.missing += copies
	}
}
