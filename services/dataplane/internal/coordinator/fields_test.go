package coordinator

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

func fieldsAt(revision uint64) *shardv1.ShardReadResult {
	return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Fields{Fields: &shardv1.Fields{Revision: revision, Points: map[string]uint64{"a": 2}}}}
}

// Every Active replica is asked until it has the revision, one that does not
// answer included; one that is Dead is not waited for.
func TestSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2, func(topology.ShardID) topology.Placement { return onPeers(1, 1, 1, 2) }, 1, 2)
		w.peers[1].read = func(int, *shardv1.ShardRead) (*shardv1.ShardReadResult, error) { return fieldsAt(7), nil }
		w.peers[2].read = func(call int, r *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
			switch {
			case call < 3:
				return nil, errors.New("it is away")
			case call < 6 && r.GetRoute().GetShardId() == 1:
				return fieldsAt(6), nil
			}
			return fieldsAt(8), nil
		}
		c := w.coordinator(1)
		if done, err := c.Settled(t.Context(), w.target(), 7, time.Second); !done || err != nil || w.peers[2].calls != 6 {
			t.Errorf("settled %v, %v after %d calls", done, err, w.peers[2].calls)
		}
		got, err := c.Fields(t.Context(), Read{Target: w.target()})
		if err != nil || got["a"] != 4 {
			t.Errorf("%v, %v", got, err)
		}

		start := time.Now()
		if done, err := c.Settled(t.Context(), w.target(), 9, 3*time.Second); done || err != nil || time.Since(start) < 3*time.Second {
			t.Errorf("settled %v, %v after %v", done, err, time.Since(start))
		}

		w.peers[2].read = func(int, *shardv1.ShardRead) (*shardv1.ShardReadResult, error) { return nil, errors.New("it is away") }
		time.AfterFunc(time.Second, func() {
			d := topology.Delta{Revision: 2}
			for i := range topology.ShardID(2) {
				p := onPeers(2, 1, 1, 2)
				p.Shard, p.Replicas[1].State = topology.Shard{Collection: 1, ID: i}, topology.Dead
				d.Placements = append(d.Placements, p)
			}
			w.set(d)
		})
		start = time.Now()
		if done, err := c.Settled(t.Context(), w.target(), 7, 5*time.Second); !done || err != nil || time.Since(start) != time.Second {
			t.Errorf("settled %v, %v after %v", done, err, time.Since(start))
		}

		target := w.target()
		w.set(topology.Delta{Revision: 3, Reset: true})
		if _, err := c.Settled(t.Context(), target, 7, time.Second); fault.ReasonOf(err) != fault.CollectionNotFound {
			t.Errorf("of a dropped collection: %v", err)
		}
	})
}
