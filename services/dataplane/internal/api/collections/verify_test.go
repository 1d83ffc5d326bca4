package collections

import (
	"testing"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

func TestVerdicts(t *testing.T) {
	const equal, differs, not = clusterv1.VerifiedReplica_VERDICT_EQUAL, clusterv1.VerifiedReplica_VERDICT_DIFFERS, clusterv1.VerifiedReplica_VERDICT_NOT_COMPARED
	type verdict = clusterv1.VerifiedReplica_Verdict
	digest := func(n byte) []byte { return append([]byte{n}, make([]byte, 15)...) }
	for _, c := range []struct {
		name    string
		digests map[uint64]byte // of peers 1 to 3; peer 2 is the primary
		states  [3]topology.ReplicaState
		failed  error
		want    [3]verdict
		reason  string // of the last one
	}{
		{"all equal", map[uint64]byte{1: 7, 2: 7, 3: 7}, [3]topology.ReplicaState{topology.Active, topology.Active, topology.Active}, nil, [3]verdict{equal, equal, equal}, ""},
		{"one differs", map[uint64]byte{1: 7, 2: 7, 3: 8}, [3]topology.ReplicaState{topology.Active, topology.Active, topology.Dead}, nil, [3]verdict{equal, equal, differs}, ""},
		{"the primary is outvoted", map[uint64]byte{1: 7, 2: 8, 3: 7}, [3]topology.ReplicaState{topology.Active, topology.Active, topology.Active}, nil, [3]verdict{equal, differs, equal}, ""},
		{"of two the primary counts", map[uint64]byte{1: 7, 2: 8}, [3]topology.ReplicaState{topology.Active, topology.Active, topology.Partial}, nil, [3]verdict{differs, equal, not}, "it is Partial: why 3"},
		{"nobody has told", nil, [3]topology.ReplicaState{topology.Active, topology.Active, topology.Active}, fault.New(fault.Timeout, "late"), [3]verdict{not, not, not}, "late"},
		{"it came afterwards", map[uint64]byte{1: 7, 2: 7}, [3]topology.ReplicaState{topology.Active, topology.Active, topology.Active}, nil, [3]verdict{equal, equal, not}, "it was not Active when the others were compared"},
	} {
		p := topology.Placement{Primary: 2, Epoch: 4}
		told := &shardv1.Comparison{Seq: 9, Epoch: 3}
		for i, s := range c.states {
			p.Replicas = append(p.Replicas, topology.Replica{Peer: topology.PeerID(i + 1), State: s, Reason: "why " + string(rune('1'+i))})
			if d, ok := c.digests[uint64(i+1)]; ok {
				told.Replicas = append(told.Replicas, &shardv1.Compared{PeerId: uint64(i + 1), Digest: digest(d), AppliedSeq: 10})
			}
		}
		if c.failed != nil {
			told = nil
		}
		v := verdicts(p, told, c.failed)
		for i, r := range v.GetReplicas() {
			if r.GetVerdict() != c.want[i] || (r.GetDigest() == "") != (c.want[i] == not) || r.GetPrimary() != (r.GetPeerId() == 2) {
				t.Errorf("%s: %v", c.name, r)
			}
		}
		if got := v.GetReplicas()[2].GetReason(); got != c.reason {
			t.Errorf("%s: %q", c.name, got)
		}
		if v.GetSeq() != told.GetSeq() || v.GetEpoch() == 0 {
			t.Errorf("%s: %v", c.name, v)
		}
	}
	if got := digestText(digest(0x2a)); got != "000000000000002a0000000000000000" {
		t.Error(got)
	}
}
