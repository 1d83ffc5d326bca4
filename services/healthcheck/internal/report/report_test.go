package report

import (
	"errors"
	"testing"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/healthcheck/internal/probe"
	"github.com/pandodb/pando/services/healthcheck/internal/verdict"
	"github.com/pandodb/pando/services/internal/topology"
)

func answer(at time.Duration, replicas ...*shardv1.ReplicaHealth) probe.Outcome {
	return probe.Outcome{Peer: 10, At: at, Answer: &shardv1.ProbeResponse{Replicas: replicas}}
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
	b.Take(answer(at, replica(0, ""), replica(1, "disk full")))
	var n News
	for range 2 { // the first did not arrive
		n = b.News(false)
		if len(n.Peers) != 1 || len(n.Replicas) != 2 || n.Peers[0].GetVerdict() != placementv1.Verdict_VERDICT_ALIVE || n.Empty() {
			t.Fatalf("%v", n)
		}
		if r := n.Replicas[1]; r.GetVerdict() != placementv1.Verdict_VERDICT_SUSPECT || r.GetEvidence() != "disk full" || r.GetEpoch() != 4 {
			t.Errorf("%v", r)
		}
	}
	b.Told(n)
	if n := b.News(false); !n.Empty() {
		t.Errorf("told twice: %v", n)
	}
	for range 8 {
		at += 250 * time.Millisecond
		b.Take(probe.Outcome{Peer: 10, At: at, Err: errors.New("refused")})
	}
	if n = b.News(false); len(n.Peers) != 1 || n.Peers[0].GetVerdict() != placementv1.Verdict_VERDICT_DEAD || n.Peers[0].GetFailures() != 8 {
		t.Errorf("%v", n)
	}
	if len(n.Replicas) != 0 {
		t.Errorf("a silent peer's replicas were judged: %v", n.Replicas)
	}
	if n := b.News(true); len(n.Peers) != 1 || len(n.Replicas) != 2 {
		t.Errorf("all: %v", n)
	}
	// What changes while a report is under way is news once more.
	for range 2 {
		at += 250 * time.Millisecond
		b.Take(answer(at, replica(0, ""), replica(1, "disk full")))
	}
	b.Told(n)
	if n := b.News(false); len(n.Peers) != 1 || n.Peers[0].GetVerdict() != placementv1.Verdict_VERDICT_ALIVE {
		t.Errorf("after the report of Dead arrived: %v", n)
	}
}

func TestDroppedReplicasAndPeersAreForgotten(t *testing.T) {
	b := NewBook(verdict.DefaultRules(), time.Now)
	b.Take(answer(0, replica(0, ""), replica(1, "")))
	b.Take(probe.Outcome{Peer: 11, Answer: &shardv1.ProbeResponse{Replicas: []*shardv1.ReplicaHealth{replica(0, "")}}})
	b.Take(answer(1, replica(1, "")))
	if _, r := b.Count(); r[verdict.Alive] != 2 {
		t.Errorf("replicas %v", r)
	}
	b.Keep([]topology.PeerID{11})
	if p, r := b.Count(); p[verdict.Alive] != 1 || r[verdict.Alive] != 1 || b.State(10) != verdict.Unknown || b.State(11) != verdict.Alive {
		t.Errorf("peers %v replicas %v", p, r)
	}
}

func TestFailingDiskCountsAgainstThePeer(t *testing.T) {
	b := NewBook(verdict.DefaultRules(), time.Now)
	for i := range 8 {
		o := answer(time.Duration(i) * 250 * time.Millisecond)
		o.Answer.Disk = &shardv1.DiskHealth{Failure: &shardv1.Failure{Message: "input/output error"}}
		b.Take(o)
	}
	if b.State(10) != verdict.Dead {
		t.Errorf("a peer with a failing disk is %v", b.State(10))
	}
}
