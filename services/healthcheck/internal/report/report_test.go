package report

import (
	"errors"
	"testing"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/healthcheck/internal/probe"
	"github.com/pandodb/pando/services/healthcheck/internal/verdict"
)

func answer(at time.Duration, replicas ...*shardv1.ReplicaHealth) []probe.Outcome {
	return []probe.Outcome{{Peer: 10, At: at, Answer: &shardv1.ProbeResponse{Replicas: replicas}}}
}

func replica(shard uint64, failure string) *shardv1.ReplicaHealth {
	r := &shardv1.ReplicaHealth{CollectionId: 1, ShardId: shard, Epoch: 4}
	if failure != "" {
		r.Failure = &shardv1.Failure{Message: failure}
	}
	return r
}

func TestNewsAreToldOnceAndAgainUntilTheyArrive(t *testing.T) {
	b := NewBook(verdict.DefaultRules(), time.Now)
	at := time.Duration(0)
	round := func(o []probe.Outcome) { b.Take(o) }
	round(answer(at, replica(0, ""), replica(1, "disk full")))
	for range 2 { // the first did not arrive
		peers, replicas := b.News(false)
		if len(peers) != 1 || len(replicas) != 2 || peers[0].GetVerdict() != placementv1.Verdict_VERDICT_ALIVE {
			t.Fatalf("%v %v", peers, replicas)
		}
		if r := replicas[1]; r.GetVerdict() != placementv1.Verdict_VERDICT_SUSPECT || r.GetEvidence() != "disk full" || r.GetEpoch() != 4 {
			t.Errorf("%v", r)
		}
	}
	b.Told()
	if p, r := b.News(false); len(p)+len(r) != 0 {
		t.Errorf("told twice: %v %v", p, r)
	}
	for range 8 {
		at += 250 * time.Millisecond
		round([]probe.Outcome{{Peer: 10, At: at, Err: errors.New("refused")}})
	}
	peers, replicas := b.News(false)
	if len(peers) != 1 || peers[0].GetVerdict() != placementv1.Verdict_VERDICT_DEAD || peers[0].GetFailures() != 8 {
		t.Errorf("%v", peers)
	}
	if len(replicas) != 0 {
		t.Errorf("a silent peer's replicas were judged: %v", replicas)
	}
	if p, r := b.News(true); len(p) != 1 || len(r) != 2 {
		t.Errorf("all: %v %v", p, r)
	}
}

func TestDroppedReplicasAndPeersAreForgotten(t *testing.T) {
	b := NewBook(verdict.DefaultRules(), time.Now)
	b.Take(answer(0, replica(0, ""), replica(1, "")))
	b.Take(answer(1, replica(1, "")))
	if _, r := b.Count(); r[verdict.Alive] != 1 {
		t.Errorf("replicas %v", r)
	}
	b.Take(nil)
	if p, r := b.Count(); len(p)+len(r) != 0 || b.State(10) != verdict.Unknown {
		t.Errorf("peers %v replicas %v", p, r)
	}
}

func TestFailingDiskCountsAgainstThePeer(t *testing.T) {
	b := NewBook(verdict.DefaultRules(), time.Now)
	o := answer(0)
	o[0].Answer.Disk = &shardv1.DiskHealth{Failure: &shardv1.Failure{Message: "input/output error"}}
	b.Take(o)
	if b.State(10) != verdict.Suspect {
		t.Errorf("a peer with a failing disk is %v", b.State(10))
	}
}
