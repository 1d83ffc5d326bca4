package coordinator

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/internal/topology"
)

// lazy answers reads after a while.
type lazy struct {
	after time.Duration
	count uint64
	asked *atomic.Int64
}

func (s lazy) Write(context.Context, *shardv1.WriteRequest) (*shardv1.WriteResponse, error) {
	panic("nobody writes")
}

func (s lazy) Read(ctx context.Context, r *shardv1.ReadRequest) (*shardv1.ReadResponse, error) {
	s.asked.Add(1)
	out := &shardv1.ReadResponse{}
	select {
	case <-time.After(s.after):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for range r.GetReads() {
		out.Results = append(out.Results, &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Count{Count: s.count}})
	}
	return out, nil
}

// TestFanOut: others are asked as well after the delay, or at once, as many as the
// collection says; the first answer counts, and nobody is waited for after it.
func TestFanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const own, quick = 10, 11 // 12 is as slow as 10
		for _, x := range []struct {
			name  string
			fan   topology.FanOut
			slow  time.Duration // of those that are
			read  Read
			want  uint64
			took  time.Duration
			asked int64
		}{
			{"none", topology.FanOut{}, time.Second, Read{}, 1, time.Second, 1},
			{"late", topology.FanOut{DelayMs: 100}, time.Second, Read{}, 2, 0, 2},
			{"in time", topology.FanOut{DelayMs: 100}, 50 * time.Millisecond, Read{}, 1, 50 * time.Millisecond, 1},
			{"at once, two more", topology.FanOut{Factor: 2}, time.Second, Read{}, 2, 10 * time.Millisecond, 3},
			{"late, two more", topology.FanOut{Factor: 2, DelayMs: 100}, time.Second, Read{}, 2, 110 * time.Millisecond, 3},
			{"more than there are", topology.FanOut{Factor: 9, DelayMs: 100}, time.Second, Read{}, 2, 110 * time.Millisecond, 3},
			{"linearizable", topology.FanOut{Factor: 2}, time.Second, Read{Linearizable: true}, 1, time.Second, 1},
		} {
			w := newWorld(1, func(topology.ShardID) topology.Placement { return onPeers(1, own, own, quick, 12) })
			var asked atomic.Int64
			c := New(Options{Self: own, Map: w.Map, Newer: w.Newer, Peer: func(p topology.PeerID) (Shards, error) {
				if p == quick {
					return lazy{10 * time.Millisecond, 2, &asked}, nil
				}
				return lazy{x.slow, 1, &asked}, nil
			}})
			x.read.Target = w.target()
			col := *x.read.Target.Collection
			col.FanOut = x.fan
			x.read.Target.Collection = &col
			began := time.Now()
			n, err := c.Count(t.Context(), x.read, nil, true)
			took := time.Since(began)
			if x.name == "late" { // which of the two others is asked is drawn
				x.took = took
				if n == 2 && took != 110*time.Millisecond || n == 1 && took != time.Second {
					t.Errorf("%s: %d after %v", x.name, n, took)
				}
				x.want = n
			}
			if err != nil || n != x.want || took != x.took || asked.Load() != x.asked {
				t.Errorf("%s: %d after %v by %d peers, want %d after %v by %d, %v", x.name, n, took, asked.Load(), x.want, x.took, x.asked, err)
			}
			synctest.Wait()
		}
	})
}
