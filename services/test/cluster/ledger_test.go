package cluster

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"google.golang.org/protobuf/proto"
)

// ledger remembers what was written and what was answered. Each point has one
// writer, which writes growing numbers to it.
type ledger struct {
	mu      sync.Mutex
	acked   map[int]int
	maybe   map[int][]int // after the last acknowledged one: the outcome is unknown
	writes  int
	failed  []string
	longest time.Duration
}

func newLedger() *ledger { return &ledger{acked: map[int]int{}, maybe: map[int][]int{}} }

// write puts a number into a point through a peer.
func (l *ledger) write(h *house, collection string, id, n int) {
	if h.down() {
		return // a client would be told at once
	}
	begun := time.Now()
	code, out := h.call("PUT", "/collections/"+collection+"/points?wait=true",
		fmt.Sprintf(`{"points":[{"id":%d,"vector":[%d,0,0,1],"payload":{"n":%d}}]}`, id, n, n))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	if !h.down() {
		l.longest = max(l.longest, time.Since(begun))
	}
	if code == http.StatusOK {
		l.acked[id] = n
		delete(l.maybe, id)
		return
	}
	l.maybe[id] = append(l.maybe[id], n)
	if h.down() {
		return // the connection broke
	}
	l.failed = append(l.failed, fmt.Sprintf("%d %s", code, errorText(out)))
}

// during has writers write through peers while f runs.
func (l *ledger) during(collection string, through []*house, f func()) {
	l.through(collection, func(i int) *house { return through[i%len(through)] }, f)
}

// through is during with peers that may change.
func (l *ledger) through(collection string, pick func(int) *house, f func()) {
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				l.write(pick(w+n), collection, w*100+n%25, n)
				pass(7 * time.Millisecond)
			}
		})
	}
	defer writers.Wait()
	defer close(stop) // also when f gives up
	f()
}

// check reads every Active replica by itself: all of a shard are equal, and what
// was acknowledged is there.
func (l *ledger) check(t *testing.T, hs []*house, collection string) {
	t.Helper()
	found := map[int]int{}
	for shard, copies := range replicas(t, hs, collection) {
		for _, c := range copies[1:] {
			if !proto.Equal(c, copies[0]) {
				t.Errorf("shard %d: two replicas differ: %d and %d points", shard, len(copies[0].GetRecords()), len(c.GetRecords()))
			}
		}
		for _, r := range copies[0].GetRecords() {
			found[int(r.GetPoint().GetId().GetNum())] = int(r.GetPoint().GetPayload()["n"].GetIntegerValue())
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, n := range l.acked {
		if got := found[id]; got != n && !slices.Contains(l.maybe[id], got) {
			t.Errorf("lost: point %d has %d, %d was acknowledged last, unknown since then %v", id, got, n, l.maybe[id])
		}
	}
}

// replicas reads all points of each Active replica, by shard.
func replicas(t *testing.T, hs []*house, collection string) map[uint64][]*shardv1.Records {
	t.Helper()
	out := map[uint64][]*shardv1.Records{}
	for _, h := range hs {
		c, ok := h.data.Placement().Resolve(collection)
		if !ok {
			t.Fatalf("no collection %s", collection)
		}
		for _, p := range c.Shards {
			if _, here := p.Replica(h.data.Self()); !here {
				continue
			}
			r, err := shardv1.NewShardClient(h.inside).Read(context.Background(), &shardv1.ReadRequest{Reads: []*shardv1.ShardRead{{
				Route: &shardv1.Route{CollectionId: uint64(p.Shard.Collection), ShardId: uint64(p.Shard.ID)},
				Read:  &shardv1.ShardRead_Scroll{Scroll: &shardv1.ScrollPoints{Limit: 1 << 20, WithPayload: everything(), WithVectors: vectors()}}}}})
			must(t, err)
			if f := r.GetResults()[0].GetFailure(); f != nil {
				t.Fatalf("shard %d at peer %d: %v", p.Shard.ID, h.data.Self(), f)
			}
			out[uint64(p.Shard.ID)] = append(out[uint64(p.Shard.ID)], r.GetResults()[0].GetRecords())
		}
	}
	return out
}

// whole waits until every replica of the collection is Active and serves.
func whole(t *testing.T, hs []*house, collection string, copies int) time.Duration {
	t.Helper()
	begun := time.Now()
	hs[0].await("all replicas Active", func() bool {
		for _, h := range hs {
			c, ok := h.data.Placement().Resolve(collection)
			if !ok || h.data.Ready() != nil {
				return false
			}
			for _, p := range c.Shards {
				if p.ActiveCount() != copies || len(p.Replicas) != copies {
					return false
				}
			}
		}
		return true
	})
	return time.Since(begun)
}

func everything() *qdrant.WithPayloadSelector {
	return &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Enable{Enable: true}}
}

func vectors() *qdrant.WithVectorsSelector {
	return &qdrant.WithVectorsSelector{SelectorOptions: &qdrant.WithVectorsSelector_Enable{Enable: true}}
}
