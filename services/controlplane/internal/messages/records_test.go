package messages

import (
	"testing"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/topology"
)

// TestAloneOn: a replica that cannot answer for the shard does not become its primary by being alone.
func TestAloneOn(t *testing.T) {
	now := time.Now()
	for state, want := range map[qdrant.ReplicaState]struct {
		primary topology.PeerID
		lost    bool
	}{
		qdrant.ReplicaState_Active:       {1, false},
		qdrant.ReplicaState_Dead:         {0, true},
		qdrant.ReplicaState_Partial:      {0, true},
		qdrant.ReplicaState_Initializing: {0, false},
	} {
		got := aloneOn(&placementv1.Shard{Epoch: 4, Primary: 2, Replicas: []*placementv1.Replica{{PeerId: 1, State: state}, {PeerId: 2}}}, 1, now)
		if got.Primary != want.primary || got.Lost != want.lost || got.Epoch != 5 || len(got.Replicas) != 1 || got.Replicas[0].State != StateFrom(state) {
			t.Errorf("%v: %+v", state, got)
		}
	}
}
