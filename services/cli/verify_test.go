package cli

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
)

func (p *peer) VerifyReplicas(_ context.Context, r *clusterv1.VerifyReplicasRequest) (*clusterv1.VerifyReplicasResponse, error) {
	if r.GetTimeout() != 30 && r.GetTimeout() != 90 {
		return nil, fault.New(fault.Validation, "timeout %d", r.GetTimeout())
	}
	good := &clusterv1.VerifiedReplica{PeerId: 7, State: qdrant.ReplicaState_Active, Primary: true, Digest: "0a", Applied: 12, Verdict: clusterv1.VerifiedReplica_VERDICT_EQUAL}
	out := &clusterv1.Verification{Equal: true, Shards: []*clusterv1.VerifiedShard{{ShardId: 3, Seq: 11, Epoch: 5, Replicas: []*clusterv1.VerifiedReplica{good}}}}
	if r.GetCollectionName() == "bad" {
		out.Equal = false
		out.Shards[0].Replicas = append(out.Shards[0].Replicas,
			&clusterv1.VerifiedReplica{PeerId: 8, State: qdrant.ReplicaState_Dead, Digest: "0b", Applied: 11, Verdict: clusterv1.VerifiedReplica_VERDICT_DIFFERS},
			&clusterv1.VerifiedReplica{PeerId: 9, State: qdrant.ReplicaState_Partial, Verdict: clusterv1.VerifiedReplica_VERDICT_NOT_COMPARED, Reason: "it is Partial"})
	}
	return &clusterv1.VerifyReplicasResponse{Result: out}, nil
}

func TestClusterVerify(t *testing.T) {
	addr := start(t, &peer{})
	run := func(args ...string) (int, string, string) {
		return command(t, Runners{}, []string{"PANDO_API_KEY=k"}, append([]string{"cluster", "verify", "--addr", addr}, args...)...)
	}
	code, out, errs := run("good", "--timeout", "90s")
	if code != 0 || !strings.Contains(out, "good/3") || !strings.Contains(out, "1 replicas: 1 equal, 0 differ, 0 not compared\n") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	code, out, errs = run("bad")
	if code != 1 || !strings.Contains(errs, "not all replicas were compared and found equal") || !strings.Contains(out, "3 replicas: 1 equal, 1 differ, 1 not compared\n") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	for _, want := range []string{"Active, primary", "differs\n", "not compared: it is Partial\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	var views []verifiedView
	code, out, _ = run("bad", "--json")
	if err := json.Unmarshal([]byte(out), &views); code != 1 || err != nil || len(views) != 1 || views[0].Equal || views[0].Shards[0].Replicas[1].Verdict != "differs" {
		t.Errorf("%d %v %s", code, err, out)
	}
	for _, args := range [][]string{{"a", "b"}, {"--timeout", "10ms"}} {
		if code, _, errs := run(args...); code != 2 {
			t.Errorf("%v: exit code %d: %s", args, code, errs)
		}
	}
}
