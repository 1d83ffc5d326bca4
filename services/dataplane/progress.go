package dataplane

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/internal/topology"
	"golang.org/x/sync/errgroup"
)

// progressTimeout bounds the question to the receivers of transfers: who is shown
// the cluster must not wait for one that has just gone.
const progressTimeout = 500 * time.Millisecond

// progress asks the receivers of transfers how far they have come. Those that do not
// answer, or have nothing under way any more, are left out.
func (s *Service) progress(ctx context.Context, copies []topology.Copy) map[topology.Copy]string {
	ctx, cancel := context.WithTimeout(ctx, progressTimeout)
	defer cancel()
	asks := map[topology.PeerID][]*placementv1.ShardRef{}
	for _, c := range copies {
		asks[c.To] = append(asks[c.To], &placementv1.ShardRef{CollectionId: uint64(c.Shard.Collection), ShardId: uint64(c.Shard.ID)})
	}
	var mu sync.Mutex
	out := map[topology.Copy]string{}
	var g errgroup.Group
	for peer, shards := range asks {
		g.Go(func() error {
			r, err := s.ask(ctx, peer, &shardv1.ProbeRequest{Shards: shards})
			mu.Lock()
			defer mu.Unlock()
			for _, h := range r.GetReplicas() {
				if text := progressText(h.GetCatchup()); err == nil && text != "" {
					sh := topology.Shard{Collection: topology.CollectionID(h.GetCollectionId()), ID: topology.ShardID(h.GetShardId())}
					out[topology.Copy{Shard: sh, To: peer}] = text
				}
			}
			return nil
		})
	}
	_ = g.Wait() // nobody fails
	return out
}

// ask probes the replicas of a peer.
func (s *Service) ask(ctx context.Context, p topology.PeerID, r *shardv1.ProbeRequest) (*shardv1.ProbeResponse, error) {
	if p == s.Self() {
		return s.probe.Probe(ctx, r)
	}
	c, err := s.deps.Dial(p)
	if err != nil {
		return nil, err
	}
	return shardv1.NewProbeClient(c).Probe(ctx, r)
}

// progressText says how far a Partial replica has come; "" of any other.
func progressText(c *shardv1.Catchup) string {
	switch copied := c.GetCopy(); {
	case c == nil:
		return ""
	case copied.GetTotalPoints() > 0:
		return fmt.Sprintf("transferring records (%d/%d%s)", copied.GetPoints(), copied.GetTotalPoints(), bytesText(copied))
	case copied != nil:
		return "transferring records"
	case c.GetBehind() > 0:
		return fmt.Sprintf("catching up from the log (%d entries behind)", c.GetBehind())
	}
	return "comparing its digest with the primary's"
}

// bytesText says how many bytes of about how many are there, and, by their mean rate until
// now, how long the rest will take; "" while nothing is known of them.
func bytesText(c *shardv1.CopyProgress) string {
	const mb = 1e6
	done, total, took := float64(c.GetBytes()), float64(max(c.GetBytes(), c.GetTotalBytes())), c.GetElapsed().AsDuration().Seconds()
	if total == 0 {
		return ""
	}
	out := fmt.Sprintf(", %.0f %%, %.1f of %.1f MB", math.Floor(100*done/total), done/mb, total/mb)
	if took <= 0 || done == 0 {
		return out
	}
	return out + fmt.Sprintf(", %.1f MB/s, %.0f s left", done/took/mb, math.Ceil((total-done)*took/done))
}
