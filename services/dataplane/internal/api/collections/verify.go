package collections

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"golang.org/x/sync/errgroup"
)

// verifyTimeout is how long a comparison may take when the request does not say;
// verifyShards is how many shards are compared at a time.
const (
	verifyTimeout = 30 * time.Second
	verifyShards  = 8
)

// Verify compares the replicas of each shard at one place in its log that is newer than
// the request. What is wrong with a shard is in its answer. COLLECTION_NOT_FOUND, VALIDATION.
func (s *Service) Verify(ctx context.Context, r *clusterv1.VerifyReplicasRequest) (*clusterv1.Verification, error) {
	if err := validate.Collection(r.GetCollectionName(), r.Timeout); err != nil {
		return nil, err
	}
	c, err := s.d.View.Resolve(ctx, r.GetCollectionName())
	if err != nil {
		return nil, err
	}
	timeout := verifyTimeout
	if r.Timeout != nil {
		timeout = time.Duration(min(r.GetTimeout(), 1<<31)) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out := &clusterv1.Verification{Equal: true, Shards: make([]*clusterv1.VerifiedShard, len(c.Shards))}
	var g errgroup.Group
	g.SetLimit(verifyShards)
	for i, p := range c.Shards {
		g.Go(func() error {
			told, err := s.d.Counter.Verify(ctx, coordinator.Read{Target: c.One(p.Shard.ID), Timeout: timeout})
			now, placed := s.d.View.Map().Placement(p.Shard)
			if !placed {
				now = p
			}
			out.Shards[i] = verdicts(now, told, err)
			return nil
		})
	}
	_ = g.Wait() // nobody fails
	slices.SortFunc(out.Shards, func(a, b *clusterv1.VerifiedShard) int { return cmp.Compare(a.GetShardId(), b.GetShardId()) })
	for _, shard := range out.Shards {
		out.Equal = out.Equal && len(shard.GetReplicas()) > 0 && !slices.ContainsFunc(shard.GetReplicas(), func(r *clusterv1.VerifiedReplica) bool {
			return r.GetVerdict() != clusterv1.VerifiedReplica_VERDICT_EQUAL
		})
	}
	return out, nil
}

// verdicts judges the replicas of a shard by what those that are Active have told; failed
// is why they have not.
func verdicts(p topology.Placement, told *shardv1.Comparison, failed error) *clusterv1.VerifiedShard {
	said, votes := map[topology.PeerID]*shardv1.Compared{}, map[string]int{}
	for _, r := range told.GetReplicas() {
		said[topology.PeerID(r.GetPeerId())] = r
		votes[string(r.GetDigest())]++
	}
	right := string(said[p.Primary].GetDigest())
	for _, r := range told.GetReplicas() { // ascending: of several that as many have, the first
		if d := string(r.GetDigest()); votes[d] > votes[right] {
			right = d
		}
	}
	out := &clusterv1.VerifiedShard{ShardId: uint32(p.Shard.ID), Seq: told.GetSeq(), Epoch: cmp.Or(told.GetEpoch(), uint64(p.Epoch))}
	for _, r := range p.Replicas {
		one := &clusterv1.VerifiedReplica{PeerId: uint64(r.Peer), State: qdrant.ReplicaState(r.State), Primary: r.Peer == p.Primary,
			Verdict: clusterv1.VerifiedReplica_VERDICT_NOT_COMPARED}
		switch c, ok := said[r.Peer]; {
		case !ok:
			one.Reason = uncompared(r, failed)
		case string(c.GetDigest()) == right:
			one.Verdict = clusterv1.VerifiedReplica_VERDICT_EQUAL
		default:
			one.Verdict = clusterv1.VerifiedReplica_VERDICT_DIFFERS
		}
		if c, ok := said[r.Peer]; ok {
			one.Digest, one.Applied = digestText(c.GetDigest()), c.GetAppliedSeq()
		}
		out.Replicas = append(out.Replicas, one)
	}
	slices.SortFunc(out.Replicas, func(a, b *clusterv1.VerifiedReplica) int { return cmp.Compare(a.GetPeerId(), b.GetPeerId()) })
	return out
}

// digestText is a digest as logs and reasons show it.
func digestText(b []byte) string {
	if len(b) != 16 {
		return fmt.Sprintf("%x", b)
	}
	return fmt.Sprintf("%016x%016x", binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]))
}

// uncompared tells why a replica was not compared.
func uncompared(r topology.Replica, failed error) string {
	switch {
	case r.State != topology.Active && r.Reason != "":
		return fmt.Sprintf("it is %v: %s", r.State, r.Reason)
	case r.State != topology.Active:
		return fmt.Sprintf("it is %v", r.State)
	case failed != nil:
		return fault.From(failed).Msg
	}
	return "it was not Active when the others were compared"
}
