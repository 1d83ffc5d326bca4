package fleet

import (
	"testing"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
)

// TestLedAndDead: what is on record of a peer that is gone.
func TestLedAndDead(t *testing.T) {
	const active, dead, recovery = qdrant.ReplicaState_Active, qdrant.ReplicaState_Dead, qdrant.ReplicaState_Recovery
	shard := func(primary uint64, states ...qdrant.ReplicaState) *placementv1.Shard {
		s := &placementv1.Shard{Primary: primary}
		for i, state := range states {
			s.Replicas = append(s.Replicas, &placementv1.Replica{PeerId: uint64(i + 1), State: state})
		}
		return s
	}
	for name, tc := range map[string]struct {
		shards    []*placementv1.Shard
		led, dead bool // of peer 1
	}{
		"whole, primary":                  {[]*placementv1.Shard{shard(1, active, active)}, false, false},
		"none leads":                      {[]*placementv1.Shard{shard(0, dead, active)}, false, true},
		"Dead, but still the primary":     {[]*placementv1.Shard{shard(1, dead, active)}, false, false},
		"follower, not Dead":              {[]*placementv1.Shard{shard(2, active, active)}, true, false},
		"failed over":                     {[]*placementv1.Shard{shard(2, dead, active)}, true, true},
		"one of two":                      {[]*placementv1.Shard{shard(2, dead, active), shard(1, active, active)}, false, false},
		"it comes back":                   {[]*placementv1.Shard{shard(2, recovery, active)}, true, false},
		"another one is Dead":             {[]*placementv1.Shard{shard(1, active, dead)}, false, false},
		"another one has a Dead follower": {[]*placementv1.Shard{shard(2, dead, active, dead)}, true, true},
	} {
		p := Placement{Collections: map[string]uint64{"c": 7}, Shards: map[Ref]*placementv1.Shard{
			{Collection: 8}: shard(1, active)}} // another collection does not matter
		for i, s := range tc.shards {
			p.Shards[Ref{7, uint64(i)}] = s
		}
		if led, dead := p.Led("c", 1), p.Dead("c", 1); led != tc.led || dead != tc.dead {
			t.Errorf("%s: led elsewhere %v, Dead %v", name, led, dead)
		}
	}
}

func TestDescribe(t *testing.T) {
	s := &placementv1.Shard{ShardId: 3, Epoch: 5, Primary: 102, Replicas: []*placementv1.Replica{{PeerId: 101, State: qdrant.ReplicaState_Dead}, {PeerId: 102}}}
	if got, want := describe("c", s), "c, shard 3: epoch 5, primary 102, replicas 101=Dead 102=Active"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
