package dataplane

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/node"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestProgressText(t *testing.T) {
	for want, of := range map[string]*shardv1.Catchup{
		"":                                 nil,
		"transferring records":             {Copy: &shardv1.CopyProgress{}, Behind: 9},
		"transferring records (1234/5678)": {Copy: &shardv1.CopyProgress{Points: 1234, TotalPoints: 5678}},
		"transferring records (0/5678, 0 %, 0.0 of 20.0 MB)":                        {Copy: &shardv1.CopyProgress{TotalPoints: 5678, TotalBytes: 20e6}},
		"transferring records (1/3, 25 %, 5.0 of 20.0 MB, 2.5 MB/s, 6 s left)":      {Copy: &shardv1.CopyProgress{Points: 1, TotalPoints: 3, Bytes: 5e6, TotalBytes: 20e6, Elapsed: durationpb.New(2 * time.Second)}},
		"transferring records (2/3, 99 %, 1999.0 of 2000.0 MB, 4.0 MB/s, 1 s left)": {Copy: &shardv1.CopyProgress{Points: 2, TotalPoints: 3, Bytes: 1999e6, TotalBytes: 2000e6, Elapsed: durationpb.New(500 * time.Second)}},
		"transferring records (3/3, 100 %, 21.0 of 21.0 MB, 21.0 MB/s, 0 s left)":   {Copy: &shardv1.CopyProgress{Points: 3, TotalPoints: 3, Bytes: 21e6, TotalBytes: 20e6, Elapsed: durationpb.New(time.Second)}},
		"catching up from the log (9 entries behind)":                               {Behind: 9},
		"comparing its digest with the primary's":                                   {},
	} {
		if got := progressText(of); got != want {
			t.Errorf("%v: %q, want %q", of, got, want)
		}
	}
}

// receiver is a peer that fills replicas.
type receiver struct {
	shardv1.UnimplementedProbeServer
	asked int
}

func (r *receiver) Probe(_ context.Context, q *shardv1.ProbeRequest) (*shardv1.ProbeResponse, error) {
	r.asked++
	out := &shardv1.ProbeResponse{}
	for _, s := range q.GetShards() {
		h := &shardv1.ReplicaHealth{CollectionId: s.GetCollectionId(), ShardId: s.GetShardId()}
		if s.GetShardId() > 0 {
			h.Catchup = &shardv1.Catchup{Behind: s.GetShardId()}
		}
		out.Replicas = append(out.Replicas, h)
	}
	return out, nil
}

// TestProgress: each receiver is asked once; what it does not know, or cannot be asked for, is left out.
func TestProgress(t *testing.T) {
	l, err := rpc.NewLocal(rpc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{}
	shardv1.RegisterProbeServer(l, r)
	s := &Service{folder: &node.Folder{Peer: 1}, deps: Deps{Dial: func(p topology.PeerID) (grpc.ClientConnInterface, error) {
		if p == 2 {
			return l, nil
		}
		return nil, errors.New("no such peer")
	}}}
	to := func(shard topology.ShardID, peer topology.PeerID) topology.Copy {
		return topology.Copy{Shard: topology.Shard{Collection: 5, ID: shard}, To: peer}
	}
	got := s.progress(t.Context(), []topology.Copy{to(0, 2), to(3, 2), to(4, 2), to(5, 9)})
	if !maps.Equal(got, map[topology.Copy]string{to(3, 2): "catching up from the log (3 entries behind)", to(4, 2): "catching up from the log (4 entries behind)"}) || r.asked != 1 {
		t.Errorf("asked %d times: %v", r.asked, got)
	}
}
