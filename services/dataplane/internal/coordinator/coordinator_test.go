package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator/plan"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster of peers that answer by script. Its map changes only
// through set, which wakes those who wait for a newer one.
type world struct {
	mu      sync.Mutex
	m       *topology.Map
	changed chan struct{}
	peers   map[topology.PeerID]*peer
}

// peer records what it was sent.
type peer struct {
	mu     sync.Mutex
	writes []*shardv1.ShardWrite
	reads  []*shardv1.ShardRead
	calls  int
	write  func(call int, w *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error)
	read   func(call int, r *shardv1.ShardRead) (*shardv1.ShardReadResult, error)
}

func (p *peer) Write(_ context.Context, r *shardv1.WriteRequest) (*shardv1.WriteResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	out := &shardv1.WriteResponse{}
	for _, w := range r.GetWrites() {
		p.writes = append(p.writes, proto.CloneOf(w))
		res, err := p.write(p.calls, w)
		if err != nil {
			return nil, err
		}
		out.Results = append(out.Results, res)
	}
	return out, nil
}

func (p *peer) Read(_ context.Context, r *shardv1.ReadRequest) (*shardv1.ReadResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	out := &shardv1.ReadResponse{}
	for _, w := range r.GetReads() {
		p.reads = append(p.reads, proto.CloneOf(w))
		res, err := p.read(p.calls, w)
		if err != nil {
			return nil, err
		}
		out.Results = append(out.Results, res)
	}
	return out, nil
}

func newWorld(shards int, placement func(topology.ShardID) topology.Placement, peers ...topology.PeerID) *world {
	w := &world{changed: make(chan struct{}), peers: map[topology.PeerID]*peer{}}
	for _, p := range peers {
		w.peers[p] = &peer{}
	}
	d := topology.Delta{Revision: 1, Reset: true, Collections: []topology.Collection{{ID: 1, Name: "c", Revision: 1,
		Hash: topology.HashRule{Algorithm: topology.JumpSplitMix, N: shards}, Groups: []topology.ShardGroup{{}}, WriteConsistency: 1}}}
	for i := range topology.ShardID(shards) {
		d.Collections[0].Groups[0].IDs = append(d.Collections[0].Groups[0].IDs, i)
		p := placement(i)
		p.Shard = topology.Shard{Collection: 1, ID: i}
		d.Placements = append(d.Placements, p)
	}
	w.m = topology.NewMap().Apply(d)
	return w
}

func (w *world) Map() *topology.Map {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.m
}

func (w *world) set(d topology.Delta) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.m = w.m.Apply(d)
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) Newer(ctx context.Context, revision uint64) error {
	for {
		w.mu.Lock()
		newer, ch := w.m.Revision() > revision, w.changed
		w.mu.Unlock()
		if newer {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *world) coordinator(self topology.PeerID) *Coordinator {
	return New(Options{Self: self, Map: w.Map, Newer: w.Newer, Peer: func(p topology.PeerID) (Shards, error) {
		s, ok := w.peers[p]
		if !ok {
			return nil, errors.New("no such peer")
		}
		return s, nil
	}})
}

func (w *world) target() Target {
	c, _ := w.Map().Resolve("c")
	return Target{Collection: c, Groups: c.Groups}
}

func onPeers(epoch topology.Epoch, primary topology.PeerID, peers ...topology.PeerID) topology.Placement {
	p := topology.Placement{Epoch: epoch, Primary: primary}
	for _, id := range peers {
		p.Replicas = append(p.Replicas, topology.Replica{Peer: id, State: topology.Active})
	}
	return p
}

func num(n uint64) *qdrant.PointId { return wire.ProtoID(topology.NumberID(n)) }

// rank asks for rankings in one round.
func rank(ctx context.Context, c *Coordinator, r Read, qs ...*plan.Ranking) ([][]*qdrant.ScoredPoint, error) {
	asks := make([]*plan.Ask, len(qs))
	for i, q := range qs {
		asks[i] = &plan.Ask{Rank: q}
	}
	err := c.ask(ctx, r, asks)
	out := make([][]*qdrant.ScoredPoint, len(qs))
	for i, a := range asks {
		out[i] = a.Answer
	}
	return out, err
}

func upsert(ids ...uint64) *shardv1.ShardWrite {
	u := &shardv1.UpsertPoints{}
	for _, id := range ids {
		u.Points = append(u.Points, &qdrant.PointStruct{Id: num(id)})
	}
	return &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_Upsert{Upsert: u}}
}

func applied(seq uint64) (*shardv1.ShardWriteResult, error) {
	return &shardv1.ShardWriteResult{Status: shardv1.WriteStatus_WRITE_STATUS_APPLIED, Seq: seq}, nil
}

func failed(status shardv1.WriteStatus, r fault.Reason) (*shardv1.ShardWriteResult, error) {
	return &shardv1.ShardWriteResult{Status: status, Failure: &shardv1.Failure{Reason: r, Message: "because"}}, nil
}

func TestWriteGoesOnceToEachPeerAndOnlyWhereItBelongs(t *testing.T) {
	w := newWorld(6, func(s topology.ShardID) topology.Placement {
		p := topology.PeerID(10 + s%2)
		return onPeers(4, p, p)
	}, 10, 11)
	for _, p := range w.peers {
		p.write = func(_ int, sw *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error) {
			return applied(100 + sw.GetRoute().GetShardId())
		}
	}
	ids := make([]uint64, 500)
	for i := range ids {
		ids[i] = uint64(i)
	}
	out, err := w.coordinator(10).Write(t.Context(), Write{Target: w.target(), Op: upsert(ids...), Wait: true})
	if err != nil || out.Status != qdrant.UpdateStatus_Completed || out.Seq != 105 {
		t.Fatalf("%+v, %v", out, err)
	}
	seen := map[uint64]bool{}
	for id, p := range w.peers {
		if p.calls != 1 || len(p.writes) != 3 {
			t.Errorf("peer %d got %d calls with %d writes", id, p.calls, len(p.writes))
		}
		for _, sw := range p.writes {
			if sw.GetRoute().GetEpoch() != 4 || !sw.GetWait() || len(sw.GetId().GetRequest()) != 16 || sw.GetTimeout().AsDuration() <= 0 {
				t.Errorf("a write lacks its frame: %v", sw)
			}
			for _, pt := range sw.GetUpsert().GetPoints() {
				n := pt.GetId().GetNum()
				if want := topology.Jump(topology.HashPoint(topology.NumberID(n), 0), 6); uint64(want) != sw.GetRoute().GetShardId() || seen[n] {
					t.Errorf("point %d went to shard %d, want %d once", n, sw.GetRoute().GetShardId(), want)
				}
				seen[n] = true
			}
		}
	}
	if len(seen) != len(ids) {
		t.Errorf("%d of %d points were sent", len(seen), len(ids))
	}
}

func TestWriteFollowsMovedPrimaryUnderOneID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1, func(topology.ShardID) topology.Placement { return onPeers(1, 10, 10, 11) }, 10, 11)
		w.peers[10].write = func(int, *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error) {
			next := onPeers(2, 11, 11)
			next.Shard = topology.Shard{Collection: 1}
			w.set(topology.Delta{Revision: 2, Placements: []topology.Placement{next}})
			return failed(shardv1.WriteStatus_WRITE_STATUS_NOT_PRIMARY, fault.NotPrimary)
		}
		w.peers[11].write = func(int, *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error) { return applied(7) }
		out, err := w.coordinator(10).Write(t.Context(), Write{Target: w.target(), Op: upsert(1), Wait: true})
		if err != nil || out.Seq != 7 {
			t.Fatalf("%+v, %v", out, err)
		}
		a, b := w.peers[10].writes[0], w.peers[11].writes[0]
		if !proto.Equal(a.GetId(), b.GetId()) {
			t.Error("the operation changed its id between tries")
		}
		if b.GetRoute().GetEpoch() != 2 {
			t.Errorf("second try under epoch %d", b.GetRoute().GetEpoch())
		}
	})
}

// hung is a peer that takes requests and answers none until it is told to stop, as one does that was stopped or cut off.
type hung struct{ asked chan struct{} }

func (h hung) Write(ctx context.Context, _ *shardv1.WriteRequest) (*shardv1.WriteResponse, error) {
	h.asked <- struct{}{}
	<-ctx.Done()
	res, err := failed(shardv1.WriteStatus_WRITE_STATUS_REFUSED, fault.Timeout)
	return &shardv1.WriteResponse{Results: []*shardv1.ShardWriteResult{res}}, err
}

func (h hung) Read(ctx context.Context, _ *shardv1.ReadRequest) (*shardv1.ReadResponse, error) {
	h.asked <- struct{}{}
	<-ctx.Done()
	return &shardv1.ReadResponse{Results: []*shardv1.ShardReadResult{{Result: &shardv1.ShardReadResult_Failure{Failure: &shardv1.Failure{Reason: fault.Timeout}}}}}, nil
}

// TestHungPeerIsLeft: a request that waits at a peer goes on to another one as soon as the map says that it is not for that peer
// any more, and not before.
func TestHungPeerIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, do := range map[string]func(*Coordinator, *world) error{
			"write": func(c *Coordinator, w *world) error {
				_, err := c.Write(t.Context(), Write{Target: w.target(), Op: upsert(1)})
				return err
			},
			"read": func(c *Coordinator, w *world) error {
				_, err := c.Count(t.Context(), Read{Target: w.target()}, nil, true)
				return err
			},
		} {
			w := newWorld(1, func(topology.ShardID) topology.Placement { return onPeers(1, 10, 10) }, 11)
			w.peers[11].write = func(int, *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error) { return applied(7) }
			w.peers[11].read = func(int, *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
				return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Count{Count: 5}}, nil
			}
			h := hung{make(chan struct{})}
			c := New(Options{Self: 99, Map: w.Map, Newer: w.Newer, Peer: func(p topology.PeerID) (Shards, error) {
				if p == 10 {
					return h, nil
				}
				return w.peers[p], nil
			}})
			set := func(revision uint64, p topology.Placement) {
				p.Shard = topology.Shard{Collection: 1}
				w.set(topology.Delta{Revision: revision, Placements: []topology.Placement{p}})
			}
			began, ended := time.Now(), make(chan error, 1)
			go func() { ended <- do(c, w) }()
			<-h.asked
			<-time.After(time.Second)
			set(2, onPeers(2, 10, 10, 11))
			<-time.After(time.Second)
			select {
			case err := <-ended:
				t.Errorf("%s: given up although the peer is the right one: %v", name, err)
			default:
			}
			next := onPeers(3, 11, 10, 11)
			next.Replicas[0].State = topology.Dead
			set(3, next)
			if err := <-ended; err != nil || time.Since(began) > 2*time.Second+50*time.Millisecond {
				t.Errorf("%s: %v after %v", name, err, time.Since(began))
			}
		}
	})
}

func TestWriteOutcomes(t *testing.T) {
	lost := errors.New("connection reset")
	for _, c := range []struct {
		name   string
		answer func(call int, w *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error)
		want   fault.Reason
		calls  int // 0: several
	}{
		{"refused for good is not tried again", func(int, *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error) {
			return failed(shardv1.WriteStatus_WRITE_STATUS_REFUSED, fault.DimensionMismatch)
		}, fault.DimensionMismatch, 1},
		{"no answer is an unknown outcome, never a failure", func(int, *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error) {
			return nil, lost
		}, fault.WriteOutcomeUnknown, 0},
		{"unknown once stays unknown while nobody knows better", func(call int, _ *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error) {
			if call == 1 {
				return failed(shardv1.WriteStatus_WRITE_STATUS_UNKNOWN, fault.WriteOutcomeUnknown)
			}
			return failed(shardv1.WriteStatus_WRITE_STATUS_NOT_PRIMARY, fault.NotPrimary)
		}, fault.WriteOutcomeUnknown, 0},
		{"never appended is a plain failure", func(int, *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error) {
			return failed(shardv1.WriteStatus_WRITE_STATUS_REFUSED, fault.ShardUnavailable)
		}, fault.ShardUnavailable, 0},
		{"turned away whole", func(int, *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error) {
			return nil, fault.New(fault.WrongCluster, "another cluster")
		}, fault.WrongCluster, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(1, func(topology.ShardID) topology.Placement { return onPeers(1, 10, 10) }, 10)
				w.peers[10].write = c.answer
				_, err := w.coordinator(10).Write(t.Context(), Write{Target: w.target(), Op: upsert(1), Timeout: 3 * time.Second})
				if fault.ReasonOf(err) != c.want {
					t.Errorf("error %v of reason %v, want %v", err, fault.ReasonOf(err), c.want)
				}
				if n := w.peers[10].calls; c.calls != 0 && n != c.calls || c.calls == 0 && n < 2 {
					t.Errorf("%d tries", n)
				}
			})
		})
	}
}

// TestDroppedUnderway: a write whose collection is dropped before its outcome is
// known is answered at once, as is a read; nobody waits for what cannot come.
func TestDroppedUnderway(t *testing.T) {
	drop := topology.Delta{Revision: 2, GoneCollections: []topology.CollectionID{1}}
	for name, status := range map[string]shardv1.WriteStatus{
		"stopped with the write inside": shardv1.WriteStatus_WRITE_STATUS_UNKNOWN,
		"not there any more":            shardv1.WriteStatus_WRITE_STATUS_NOT_PRIMARY,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(2, func(topology.ShardID) topology.Placement { return onPeers(1, 10, 10) }, 10)
				target := w.target()
				w.peers[10].write = func(int, *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error) {
					w.set(drop)
					return failed(status, fault.WriteOutcomeUnknown)
				}
				start := time.Now()
				_, err := w.coordinator(10).Write(t.Context(), Write{Target: target, Op: upsert(1, 2, 3, 4)})
				if fault.ReasonOf(err) != fault.CollectionNotFound || !errors.Is(err, ErrDropped) || !strings.Contains(err.Error(), "Collection `c` doesn't exist!") {
					t.Errorf("write: %v", err)
				}
				if d := time.Since(start); d > lastPause {
					t.Errorf("answered after %v", d)
				}
				_, err = rank(t.Context(), w.coordinator(10), Read{Target: target}, &plan.Ranking{Query: &shardv1.ShardQuery{Limit: 3}})
				if fault.ReasonOf(err) != fault.CollectionNotFound || !errors.Is(err, ErrDropped) || !strings.Contains(err.Error(), "Collection `c` doesn't exist!") {
					t.Errorf("read: %v", err)
				}
			})
		})
	}
}

// TestNotPlacedYet: a collection shows before its shards are placed. Reads find
// it empty, writes wait.
func TestNotPlacedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1, func(topology.ShardID) topology.Placement { return onPeers(1, 10, 10) }, 10)
		shard := topology.Shard{Collection: 1}
		placed, _ := w.Map().Placement(shard)
		w.set(topology.Delta{Revision: 2, GonePlacements: []topology.Shard{shard}})
		w.peers[10].write = func(int, *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error) { return applied(3) }
		got, err := rank(t.Context(), w.coordinator(10), Read{Target: w.target()}, &plan.Ranking{Query: &shardv1.ShardQuery{Limit: 3}})
		if err != nil || len(got) != 1 || len(got[0]) != 0 {
			t.Errorf("read: %v, %v", got, err)
		}
		time.AfterFunc(time.Second, func() { w.set(topology.Delta{Revision: 3, Placements: []topology.Placement{placed}}) })
		if out, err := w.coordinator(10).Write(t.Context(), Write{Target: w.target(), Op: upsert(1)}); err != nil || out.Seq != 3 {
			t.Errorf("write: %+v, %v", out, err)
		}
	})
}

func TestWriteWaitTimeoutOnlyAfterCommit(t *testing.T) {
	w := newWorld(1, func(topology.ShardID) topology.Placement { return onPeers(1, 10, 10) }, 10)
	w.peers[10].write = func(int, *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error) {
		return &shardv1.ShardWriteResult{Status: shardv1.WriteStatus_WRITE_STATUS_COMMITTED, Seq: 3}, nil
	}
	for wait, want := range map[bool]qdrant.UpdateStatus{true: qdrant.UpdateStatus_WaitTimeout, false: qdrant.UpdateStatus_Acknowledged} {
		out, err := w.coordinator(10).Write(t.Context(), Write{Target: w.target(), Op: upsert(1), Wait: wait})
		if err != nil || out.Status != want {
			t.Errorf("wait %v: %+v, %v", wait, out, err)
		}
	}
}

func TestFilterWritesGoEverywhereAndIDWritesDoNot(t *testing.T) {
	w := newWorld(4, func(topology.ShardID) topology.Placement { return onPeers(1, 10, 10) }, 10)
	w.peers[10].write = func(int, *shardv1.ShardWrite) (*shardv1.ShardWriteResult, error) { return applied(1) }
	byFilter := &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_Delete{Delete: &shardv1.DeletePoints{
		Points: &qdrant.PointsSelector{PointsSelectorOneOf: &qdrant.PointsSelector_Filter{Filter: &qdrant.Filter{}}}}}}
	byID := &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_ClearPayload{ClearPayload: &shardv1.ClearPayload{
		Points: &qdrant.PointsSelector{PointsSelectorOneOf: &qdrant.PointsSelector_Points{Points: &qdrant.PointsIdsList{Ids: []*qdrant.PointId{num(1)}}}}}}}
	for want, op := range map[int]*shardv1.ShardWrite{4: byFilter, 1: byID} {
		w.peers[10].writes = nil
		if _, err := w.coordinator(10).Write(t.Context(), Write{Target: w.target(), Op: op}); err != nil {
			t.Fatal(err)
		}
		if got := len(w.peers[10].writes); got != want {
			t.Errorf("%d shards were asked, want %d", got, want)
		}
	}
	missing := &shardv1.ShardWrite{Operation: &shardv1.ShardWrite_Delete{Delete: &shardv1.DeletePoints{}}}
	if _, err := w.coordinator(10).Write(t.Context(), Write{Target: w.target(), Op: missing}); fault.ReasonOf(err) != fault.InvalidArgument {
		t.Errorf("a missing selector gives %v", err)
	}
}

func TestReadFailsOverAndPrefersItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1, func(topology.ShardID) topology.Placement { return onPeers(1, 10, 10, 11, 12) }, 10, 11, 12)
		w.peers[11].read = func(int, *shardv1.ShardRead) (*shardv1.ShardReadResult, error) { return nil, errors.New("gone") }
		w.peers[12].read = w.peers[11].read
		w.peers[10].read = func(int, *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
			return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Count{Count: 5}}, nil
		}
		if n, err := w.coordinator(10).Count(t.Context(), Read{Target: w.target()}, nil, true); err != nil || n != 5 || w.peers[11].calls+w.peers[12].calls != 0 {
			t.Fatalf("%d, %v, others asked %d times", n, err, w.peers[11].calls+w.peers[12].calls)
		}
		for range 20 {
			if n, err := w.coordinator(99).Count(t.Context(), Read{Target: w.target()}, nil, true); err != nil || n != 5 {
				t.Fatalf("%d, %v", n, err)
			}
		}
		if w.peers[11].calls == 0 || w.peers[12].calls == 0 {
			t.Error("reads of a stranger are not spread over the replicas")
		}
		w.peers[10].read = w.peers[11].read
		start := time.Now()
		_, err := w.coordinator(10).Count(t.Context(), Read{Target: w.target(), Timeout: 2 * time.Second}, nil, true)
		if fault.ReasonOf(err) != fault.ShardUnavailable || time.Since(start) < 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A linearizable read goes to the primary alone, and follows it.
func TestLinearizableRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1, func(topology.ShardID) topology.Placement { return onPeers(1, 11, 10, 11, 12) }, 10, 11, 12)
		failure := &shardv1.Failure{Reason: fault.NotPrimary}
		w.peers[11].read = func(int, *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
			return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Failure{Failure: failure}}, nil
		}
		w.peers[12].read = func(_ int, r *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
			if r.GetMode() != shardv1.ReadMode_READ_MODE_LINEARIZABLE {
				t.Errorf("mode %v", r.GetMode())
			}
			return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Count{Count: 5}}, nil
		}
		p := onPeers(2, 12, 10, 11, 12)
		p.Shard = topology.Shard{Collection: 1}
		time.AfterFunc(time.Second, func() { w.set(topology.Delta{Revision: 2, Placements: []topology.Placement{p}}) })
		start := time.Now()
		n, err := w.coordinator(10).Count(t.Context(), Read{Target: w.target(), Linearizable: true}, nil, true)
		if err != nil || n != 5 || time.Since(start) < time.Second || w.peers[10].calls != 0 || w.peers[11].calls < 2 {
			t.Errorf("%d, %v after %v; calls %d, %d, %d", n, err, time.Since(start), w.peers[10].calls, w.peers[11].calls, w.peers[12].calls)
		}
	})
}

// Where all replicas are damaged, waiting mends nothing; where one is only away, it may.
func TestReadOfDamagedReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		says := func(r fault.Reason) func(int, *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
			return func(int, *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
				return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Failure{Failure: &shardv1.Failure{Reason: r, Message: "so"}}}, nil
			}
		}
		for _, c := range []struct {
			other fault.Reason
			waits time.Duration
		}{{fault.StorageCorrupt, 0}, {fault.ReplicaFailed, 0}, {fault.ShardUnavailable, 2 * time.Second}} {
			w := newWorld(1, func(topology.ShardID) topology.Placement { return onPeers(1, 10, 10, 11) }, 10, 11)
			w.peers[10].read, w.peers[11].read = says(fault.StorageCorrupt), says(c.other)
			start := time.Now()
			if _, err := w.coordinator(10).Count(t.Context(), Read{Target: w.target(), Timeout: 2 * time.Second}, nil, true); err == nil || time.Since(start) != c.waits {
				t.Errorf("%v: %v after %v, want %v", c.other, err, time.Since(start), c.waits)
			}
			if w.peers[10].calls == 0 || w.peers[11].calls == 0 {
				t.Errorf("%v: a replica was not asked", c.other)
			}
		}
	})
}

func TestReadOfBadRequestIsNotRepeated(t *testing.T) {
	w := newWorld(1, func(topology.ShardID) topology.Placement { return onPeers(1, 10, 10, 11) }, 10, 11)
	bad := func(int, *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
		return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Failure{Failure: &shardv1.Failure{
			Reason: fault.VectorNameUnknown, Message: "no such vector"}}}, nil
	}
	w.peers[10].read, w.peers[11].read = bad, bad
	_, err := w.coordinator(10).Count(t.Context(), Read{Target: w.target()}, nil, true)
	if f := fault.From(err); f.Reason != fault.VectorNameUnknown || f.Meta["shard"] != "0" || f.Meta["peer"] != "10" {
		t.Errorf("%v with %v", err, f.Meta)
	}
	if n := w.peers[10].calls + w.peers[11].calls; n != 1 {
		t.Errorf("%d tries", n)
	}
}

// R6: what is kept of three replicas, of which one is behind.
func TestConsistency(t *testing.T) {
	w := newWorld(1, func(topology.ShardID) topology.Placement { return onPeers(1, 10, 10, 11, 12) }, 10, 11, 12)
	record := func(id, version uint64) *shardv1.Record {
		return &shardv1.Record{Point: &qdrant.RetrievedPoint{Id: num(id)}, Version: version}
	}
	hit := func(n int64, count uint64) *qdrant.FacetHit {
		return &qdrant.FacetHit{Value: &qdrant.FacetValue{Variant: &qdrant.FacetValue_IntegerValue{IntegerValue: n}}, Count: count}
	}
	for id, p := range w.peers {
		late := id == 12
		p.read = func(_ int, r *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
			switch r.GetRead().(type) {
			case *shardv1.ShardRead_Count:
				if late {
					return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Count{Count: 2}}, nil
				}
				return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Count{Count: 3}}, nil
			case *shardv1.ShardRead_Facet:
				hits := []*qdrant.FacetHit{hit(1, 5), hit(2, 1)}
				if late {
					hits = []*qdrant.FacetHit{hit(1, 4), hit(3, 9)}
				}
				return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Facets{Facets: &shardv1.Facets{Hits: hits}}}, nil
			case *shardv1.ShardRead_Query:
				points := []*qdrant.ScoredPoint{{Id: num(1), Score: 3, Version: 7}, {Id: num(2), Score: 2, Version: 7}}
				if late {
					points = []*qdrant.ScoredPoint{{Id: num(2), Score: 9, Version: 6}, {Id: num(1), Score: 3, Version: 7}}
				}
				return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Rankings{Rankings: &shardv1.Rankings{Rankings: []*shardv1.Ranking{{Points: points}}}}}, nil
			default: // 1 is equal everywhere, 2 is newer, 3 is new, 4 is deleted
				rows := []*shardv1.Record{record(1, 5), record(2, 7), record(3, 8)}
				if late {
					rows = []*shardv1.Record{record(1, 5), record(2, 6), record(4, 2)}
				}
				return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Records{Records: &shardv1.Records{Records: rows}}}, nil
			}
		}
	}
	factor := func(n uint64) *qdrant.ReadConsistency {
		return &qdrant.ReadConsistency{Value: &qdrant.ReadConsistency_Factor{Factor: n}}
	}
	kind := func(k qdrant.ReadConsistencyType) *qdrant.ReadConsistency {
		return &qdrant.ReadConsistency{Value: &qdrant.ReadConsistency_Type{Type: k}}
	}
	c := w.coordinator(12) // asks itself first
	for _, x := range []struct {
		rc            *qdrant.ReadConsistency
		calls         int
		ids           string
		count, facets uint64
	}{
		{factor(1), 1, "1 2 4", 2, 2}, {factor(3), 3, "1", 2, 1}, {kind(qdrant.ReadConsistencyType_All), 3, "1", 2, 1},
		{kind(qdrant.ReadConsistencyType_Majority), 3, "1 2 3", 3, 2}, {kind(qdrant.ReadConsistencyType_Quorum), 2, "1", 2, 1}, {factor(2), 2, "1", 2, 1},
	} {
		read := Read{Target: w.target(), Consistency: x.rc}
		for _, p := range w.peers {
			p.calls = 0
		}
		page, err := c.Scroll(t.Context(), read, nil, nil, 10, Select{})
		var ids []string
		for _, p := range page.Points {
			ids = append(ids, fmt.Sprint(p.GetId().GetNum()))
		}
		if calls := w.peers[10].calls + w.peers[11].calls + w.peers[12].calls; err != nil || strings.Join(ids, " ") != x.ids || calls != x.calls {
			t.Errorf("%v: %v, %v after %d calls, want %s after %d", x.rc, ids, err, calls, x.ids, x.calls)
		}
		n, err := c.Count(t.Context(), read, nil, true)
		if err != nil || n != x.count {
			t.Errorf("%v: %d points, %v", x.rc, n, err)
		}
		hits, err := c.Facet(t.Context(), read, &shardv1.FacetPoints{Key: "n", Limit: 10})
		if err != nil || uint64(len(hits)) != x.facets {
			t.Errorf("%v: %v, %v", x.rc, hits, err)
		}
	}
	trees := []*plan.Tree{{Root: &plan.Node{By: &plan.Vectors{Query: &qdrant.Query{}}}, Limit: 5}}
	ranked, err := c.Query(t.Context(), Read{Target: w.target(), Consistency: kind(qdrant.ReadConsistencyType_Majority)}, trees)
	if err != nil || len(ranked[0]) != 2 || ranked[0][1].GetScore() != 2 {
		t.Errorf("ranked by a majority: %v, %v", ranked, err)
	}
	if _, err := c.Count(t.Context(), Read{Target: w.target(), Consistency: factor(4)}, nil, true); fault.ReasonOf(err) != fault.ShardUnavailable {
		t.Errorf("four of three: %v", err)
	}
	w.peers[10].read = func(int, *shardv1.ShardRead) (*shardv1.ShardReadResult, error) { return nil, errors.New("gone") }
	if _, err := c.Count(t.Context(), Read{Target: w.target(), Consistency: factor(2)}, nil, true); err != nil {
		t.Errorf("two of the two that answer: %v", err)
	}
	if _, err := c.Count(t.Context(), Read{Target: w.target(), Consistency: factor(3), Timeout: time.Second}, nil, true); fault.ReasonOf(err) != fault.ShardUnavailable {
		t.Errorf("three of the two that answer: %v", err)
	}
}

// Whatever the number of shards, a page and a ranking are those of one shard.
func TestMergingIsThatOfOneShard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shards := rapid.SampledFrom([]int{1, 2, 6}).Draw(t, "shards")
		scores := rapid.SliceOfN(rapid.IntRange(0, 9), 0, 60).Draw(t, "scores")
		smaller := rapid.Bool().Draw(t, "smaller")
		offset, limit := rapid.Uint64Range(0, 30).Draw(t, "offset"), rapid.Uint64Range(1, 30).Draw(t, "limit")
		w := newWorld(shards, func(topology.ShardID) topology.Placement { return onPeers(1, 10, 10) }, 10)
		best := func(ids []int, n int) []int {
			out := slices.Clone(ids)
			slices.SortStableFunc(out, func(a, b int) int {
				c := scores[b] - scores[a]
				if smaller {
					c = -c
				}
				return c
			})
			return out[:min(n, len(out))]
		}
		all := make([]int, len(scores))
		for i := range all {
			all[i] = i
		}
		w.peers[10].read = func(_ int, r *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
			mine := slices.DeleteFunc(slices.Clone(all), func(i int) bool {
				return uint64(topology.Jump(topology.HashPoint(topology.NumberID(uint64(i)), 0), shards)) != r.GetRoute().GetShardId()
			})
			if q := r.GetQuery(); q != nil {
				rk := &shardv1.Ranking{}
				for _, i := range best(mine, int(q.GetQueries()[0].GetLimit())) {
					rk.Points = append(rk.Points, &qdrant.ScoredPoint{Id: num(uint64(i)), Score: float32(scores[i])})
				}
				return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Rankings{Rankings: &shardv1.Rankings{Rankings: []*shardv1.Ranking{rk}}}}, nil
			}
			rec := &shardv1.Records{}
			for _, i := range mine {
				if uint64(i) >= r.GetScroll().GetOffset().GetNum() && len(rec.GetRecords()) < int(r.GetScroll().GetLimit()) {
					rec.Records = append(rec.Records, &shardv1.Record{Point: &qdrant.RetrievedPoint{Id: num(uint64(i))}})
				}
			}
			return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Records{Records: rec}}, nil
		}
		c, r := w.coordinator(10), Read{Target: w.target()}
		got, err := c.Query(context.Background(), r, []*plan.Tree{{Root: &plan.Node{By: &plan.Vectors{SmallerIsBetter: smaller}}, Offset: offset, Limit: limit}})
		if err != nil {
			t.Fatal(err)
		}
		want := best(all, len(all))
		want = want[min(int(offset), len(want)):]
		want = want[:min(int(limit), len(want))]
		ids := []int{}
		for _, p := range got[0] {
			ids = append(ids, int(p.GetId().GetNum()))
		}
		if !slices.Equal(ids, want) {
			t.Fatalf("ranking %v, want %v", ids, want)
		}
		walked := []int{}
		for at, pages := num(0), 0; at != nil; pages++ {
			page, err := c.Scroll(context.Background(), r, nil, at, uint32(limit), Select{})
			if err != nil || pages > len(all) {
				t.Fatalf("page %d: %v", pages, err)
			}
			for _, p := range page.Points {
				walked = append(walked, int(p.GetId().GetNum()))
			}
			at = page.Next
		}
		if !slices.Equal(walked, all) {
			t.Fatalf("scroll walked %v, want %v", walked, all)
		}
	})
}

func TestGetKeepsOrderAndLeavesOutAbsent(t *testing.T) {
	w := newWorld(3, func(topology.ShardID) topology.Placement { return onPeers(1, 10, 10) }, 10)
	w.peers[10].read = func(_ int, r *shardv1.ShardRead) (*shardv1.ShardReadResult, error) {
		rec := &shardv1.Records{}
		for _, id := range r.GetGet().GetIds() {
			if id.GetNum() != 4 {
				rec.Records = append(rec.Records, &shardv1.Record{Point: &qdrant.RetrievedPoint{Id: id}})
			}
		}
		return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Records{Records: rec}}, nil
	}
	got, err := w.coordinator(10).Get(t.Context(), Read{Target: w.target()}, []*qdrant.PointId{num(9), num(4), num(2), num(9), num(7)}, Select{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, p := range got {
		ids = append(ids, fmt.Sprint(p.GetId().GetNum()))
	}
	if want := []string{"9", "2", "9", "7"}; !slices.Equal(ids, want) {
		t.Errorf("%v, want %v", ids, want)
	}
	if w.peers[10].calls != 1 {
		t.Errorf("%d calls to one peer", w.peers[10].calls)
	}
}

func TestShardsBeingBornAreEmpty(t *testing.T) {
	w := newWorld(2, func(topology.ShardID) topology.Placement {
		return topology.Placement{Epoch: 1, Replicas: []topology.Replica{{Peer: 10, State: topology.Initializing}}}
	}, 10)
	got, err := rank(t.Context(), w.coordinator(10), Read{Target: w.target()}, &plan.Ranking{Query: &shardv1.ShardQuery{Limit: 3}})
	if err != nil || len(got) != 1 || len(got[0]) != 0 || w.peers[10].calls != 0 {
		t.Errorf("%v, %v, %d calls", got, err, w.peers[10].calls)
	}
}
