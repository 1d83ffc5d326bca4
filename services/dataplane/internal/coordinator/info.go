package coordinator

import (
	"context"
	"fmt"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/internal/topology"
)

// Info is how the segments and indexes of the target are, by one replica of each
// shard.
type Info struct {
	// Segments, and vectors that are found through an index, of all names.
	Segments, Indexed uint64
	// Working is how many acts of optimization are to be done or being done; Waiting
	// is how many more nothing is at work on.
	Working, Waiting uint64
	// Points, and about what their vectors and payloads take in one replica of each.
	Points, VectorBytes, PayloadBytes uint64
	// Unapplied is how many entries of their logs are not applied yet.
	Unapplied uint64
	// Failure is why some of them cannot be done; empty: all is well.
	Failure string
}

// Info adds up what the shards say of themselves. One that is being born is one
// empty segment.
func (c *Coordinator) Info(ctx context.Context, r Read) (Info, error) {
	res, err := c.read(ctx, r, func(topology.Shard) *shardv1.ShardRead {
		return &shardv1.ShardRead{Read: &shardv1.ShardRead_Info{Info: &shardv1.ReadInfo{}}}
	})
	if err != nil {
		return Info{}, err
	}
	var out Info
	for i, s := range r.Target.shards() {
		one := res[i].GetInfo()
		out.Segments += max(one.GetSegments(), 1)
		out.Points += one.GetPoints()
		out.VectorBytes += one.GetVectorBytes()
		out.PayloadBytes += one.GetPayloadBytes()
		out.Unapplied += one.GetUnapplied()
		for _, n := range one.GetIndexed() {
			out.Indexed += n
		}
		if one.GetPaused() {
			out.Waiting += one.GetPending()
		} else {
			out.Working += one.GetPending()
		}
		if f := one.GetFailure(); f != "" && out.Failure == "" {
			out.Failure = fmt.Sprintf("shard %d: %s", s.ID, f)
		}
	}
	return out, nil
}

// Verify has all Active replicas of the target, which is one shard, tell the digests of
// their states at one place in its log. nil: it is being born. The replicas that are
// Active have all told; where one does not, it is TIMEOUT or SHARD_UNAVAILABLE.
func (c *Coordinator) Verify(ctx context.Context, r Read) (*shardv1.Comparison, error) {
	r.Linearizable = true // only the primary can
	res, err := c.read(ctx, r, func(topology.Shard) *shardv1.ShardRead {
		return &shardv1.ShardRead{Read: &shardv1.ShardRead_Compare{Compare: &shardv1.CompareReplicas{}}}
	})
	if err != nil {
		return nil, err
	}
	return res[0].GetComparison(), nil
}
