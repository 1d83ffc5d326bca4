package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/grpc"
)

// replica is what one peer holds of a shard, read past the others.
type replica struct {
	peer   int
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
	conns, err := t.inside()
	defer func() {
		for _, c := range conns {
			_ = c.Close() // nothing is under way
		}
	}()
	if err != nil {
		return err
	}
	var shards map[topology.Shard][]*replica
	if err := t.until(ctx, "replicas that are at one place", func(ctx context.Context) (bool, error) {
		shards, err = find(ctx, conns)
		return err == nil, err
	}); err != nil {
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
				return fmt.Errorf("shard %d at peer %d: %w", sh.ID, r.peer+1, err)
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

// inside connects to the internal ports, as another process of the cluster would.
func (t *trio) inside() ([]*grpc.ClientConn, error) {
	data, err := os.ReadFile(filepath.Join(t.homes[0].Dir, "storage", "membership.json"))
	if err != nil {
		return nil, err
	}
	var kept struct{ Cluster string }
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, err
	}
	identity := rpc.NewCluster("", rpc.CallRules{})
	identity.SetID(kept.Cluster)
	var out []*grpc.ClientConn
	for _, p := range t.procs {
		c, err := rpc.Dial(p.Internal, rpc.DialOptions{Cluster: identity})
		if err != nil {
			return out, err
		}
		out = append(out, c)
	}
	return out, nil
}

// find asks every peer what it holds. It fails while replicas of a shard are at different places of its log.
func find(ctx context.Context, conns []*grpc.ClientConn) (map[topology.Shard][]*replica, error) {
	out := map[topology.Shard][]*replica{}
	for i, c := range conns {
		r, err := shardv1.NewProbeClient(c).Probe(ctx, &shardv1.ProbeRequest{})
		if err != nil {
			return nil, err
		}
		for _, h := range r.GetReplicas() {
			sh := topology.Shard{Collection: topology.CollectionID(h.GetCollectionId()), ID: topology.ShardID(h.GetShardId())}
			if len(h.GetDigest()) == 0 {
				return nil, fmt.Errorf("shard %d at peer %d does not serve: %s", sh.ID, i+1, h.GetFailure().GetMessage())
			}
			out[sh] = append(out[sh], &replica{peer: i, conn: c, seq: h.GetDigestSeq(), digest: h.GetDigest()})
		}
	}
	for sh, rs := range out {
		for _, r := range rs {
			if r.seq != rs[0].seq {
				return nil, fmt.Errorf("shard %d is at entry %d at peer %d, at %d at peer %d", sh.ID, r.seq, r.peer+1, rs[0].seq, rs[0].peer+1)
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
