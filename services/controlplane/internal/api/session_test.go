package api

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

func TestRegisterRefused(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		for name, change := range map[string]func(*placementv1.RegisterRequest){
			"no id":      func(r *placementv1.RegisterRequest) { r.Peer.PeerId = 0 },
			"id of 2^53": func(r *placementv1.RegisterRequest) { r.Peer.PeerId = 1 << 53 },
			"no process": func(r *placementv1.RegisterRequest) { r.ProcessId = "" },
			"wire range": func(r *placementv1.RegisterRequest) { r.Peer.Wire.Min, r.Peer.Wire.Max = 2, 3 },
		} {
			req := p.registration(1, "p")
			change(req)
			_, err := p.session.Register(ctx, req)
			p.want(name, err, codes.InvalidArgument, fault.InvalidArgument)
		}
	})
}

func TestSessionLife(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		first, err := p.session.Register(ctx, p.registration(1, "a"))
		p.ok("register", err)
		again, err := p.session.Register(ctx, p.registration(1, "a"))
		if p.ok("repetition", err); again.GetSessionId() != first.GetSessionId() {
			t.Error("a repetition opened another session")
		}
		restarted, err := p.session.Register(ctx, p.registration(1, "b"))
		if p.ok("restart", err); restarted.GetSessionId() == first.GetSessionId() {
			t.Error("a new process was given the old session")
		}
		alive := func(id uint64) error {
			stream, err := p.session.KeepAlive(ctx)
			p.ok("open", err)
			p.ok("send", stream.Send(&placementv1.KeepAliveRequest{SessionId: id, PeerId: 1}))
			_, err = stream.Recv()
			if err == nil {
				p.ok("close", stream.CloseSend())
				_, end := stream.Recv()
				if end == nil {
					t.Error("an answer after the end")
				}
			}
			return err
		}
		p.ok("view", p.view.Wait(ctx, int64(restarted.GetRevision())))
		p.want("the replaced session", alive(first.GetSessionId()), codes.NotFound, fault.NotFound)
		for range 10 {
			<-time.After(700 * time.Millisecond)
			p.ok("keep alive", alive(restarted.GetSessionId()))
		}
		<-time.After(1100 * time.Millisecond)
		p.want("the ended session", alive(restarted.GetSessionId()), codes.NotFound, fault.NotFound)
		p.view.Read(func(s *view.State) {
			if len(s.Sessions) != 0 || len(s.Peers) != 1 {
				t.Errorf("%d sessions, %d peers", len(s.Sessions), len(s.Peers))
			}
		})
	})
}

// TestWatchResumes: a stream goes on where an earlier one ended; one that asks for what this store never had gets a snapshot.
func TestWatchResumes(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		q := p.join(ctx, 1, false)
		last := p.create(ctx, "c").GetRevision()
		q.reach(t, last)
		p.create(ctx, "d")
		kind := func(after uint64) string {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			stream, err := p.session.WatchPlacement(ctx, &placementv1.WatchPlacementRequest{PeerId: 1, AfterRevision: after})
			p.ok("watch", err)
			msg, err := stream.Recv()
			p.ok("receive", err)
			if d := msg.GetDelta(); d != nil {
				return fmt.Sprintf("delta with %s", d.GetChanges()[0].GetCollection().GetName())
			}
			return fmt.Sprintf("snapshot of %d", len(msg.GetSnapshot().GetRecords()))
		}
		if got := kind(last); got != "delta with d" {
			t.Errorf("after revision %d: %s", last, got)
		}
		if got := kind(0); got != "snapshot of 5" { // peer, two collections, two shards
			t.Errorf("from the start: %s", got)
		}
		if got := kind(last + 1000); got != "snapshot of 5" {
			t.Errorf("from a revision that this store never had: %s", got)
		}
	})
}

// TestFellBehind: a stream that is further behind than the view remembers starts over by itself.
func TestFellBehind(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		p.join(ctx, 1, false)
		start := p.view.Revision()
		var last uint64
		for i := range 9000 {
			revision, err := p.store.Commit(ctx, store.Txn{Then: []store.Op{store.Put(store.Metadata{Name: "k", Value: fmt.Sprint(i)})}})
			p.ok("write", err)
			last = uint64(revision)
		}
		p.ok("view", p.view.Wait(ctx, int64(last)))
		var sent []*placementv1.WatchPlacementResponse
		w := &watcher{view: p.view, reached: start, send: func(m *placementv1.WatchPlacementResponse) error {
			sent = append(sent, m)
			return nil
		}}
		for range 2 {
			_, err := w.deltas()
			p.ok("deltas", err)
		}
		if len(sent) != 1 || sent[0].GetSnapshot().GetRevision() != last || len(sent[0].GetSnapshot().GetRecords()) != 2 {
			t.Errorf("%d messages, the first %v", len(sent), sent[0])
		}
	})
}

// TestLargeSnapshot: it comes in pieces, which count only together.
func TestLargeSnapshot(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		p.join(ctx, 1, false)
		resp, err := p.catalog.CreateCollection(ctx, createRequest("c", 3*chunk, 1))
		p.ok("create", err)
		if resp.GetSettling() {
			t.Error("1500 shards were not born in time")
		}
		late := p.join(ctx, 2, false)
		c, found := late.reach(t, resp.GetRevision()).Resolve("c")
		if !found || len(c.Shards) != 3*chunk || late.reset != 1 {
			t.Errorf("%d shards after %d snapshots", len(c.Shards), late.reset)
		}
	})
}

// TestNoQuorum: without the store, calls end with NO_LEADER, in time, and go on afterwards.
func TestNoQuorum(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		q := p.join(ctx, 1, false)
		p.create(ctx, "c")
		q.stop()
		p.store.SetDown(true)
		start := time.Now()
		_, err := p.catalog.CreateCollection(ctx, createRequest("d", 1, 1))
		p.want("create", err, codes.Unavailable, fault.NoLeader)
		_, err = p.session.Register(ctx, p.registration(2, "p"))
		p.want("register", err, codes.Unavailable, fault.NoLeader)
		_, err = p.catalog.ChangeAliases(ctx, aliases(put("a", "c")))
		p.want("aliases", err, codes.Unavailable, fault.NoLeader)
		if d := time.Since(start); d > 25*time.Second {
			t.Errorf("the refusals took %v", d)
		}
		p.store.SetDown(false)
		p.join(ctx, 3, false)
		p.create(ctx, "d")
	})
}

// TestSetState holds the rules C2, C7, C8 and C10 on a shard of three replicas.
func TestSetState(t *testing.T) {
	confirm := func(ok bool) func(*Config) {
		return func(c *Config) {
			c.Confirm = func(_ context.Context, peer topology.PeerID, shard topology.Shard) (a Confirmation, err error) {
				c.View.Read(func(s *view.State) {
					rec := s.Shards[shard.Collection][shard.ID].Record
					a = Confirmation{Incarnation: rec.Replica(peer).Incarnation, Epoch: rec.Epoch}
				})
				if !ok {
					a.Epoch--
				}
				return a, nil
			}
		}
	}
	type fixture struct {
		*plane
		peers map[topology.PeerID]*peer
		shard *placementv1.Shard
	}
	with := func(change func(*Config), fn func(ctx context.Context, f *fixture)) {
		run(t, change, func(ctx context.Context, p *plane) {
			f := &fixture{plane: p, peers: map[topology.PeerID]*peer{}}
			for id := range topology.PeerID(3) {
				f.peers[id+1] = p.join(ctx, id+1, false)
			}
			resp, err := p.catalog.CreateCollection(ctx, createRequest("c", 1, 3))
			p.ok("create", err)
			rec, err := store.Load[store.Shard](ctx, p.store, store.ShardKey(topology.CollectionID(resp.GetCollectionId()), 0))
			p.ok("load", err)
			f.shard = shardOf(rec.Record)
			fn(ctx, f)
		})
	}
	request := func(f *fixture, target uint64, state qdrant.ReplicaState) *placementv1.SetStateRequest {
		req := &placementv1.SetStateRequest{
			CollectionId: f.shard.GetCollectionId(), ExpectedEpoch: f.shard.GetEpoch(), Primary: f.shard.GetPrimary(),
			SessionId: f.peers[topology.PeerID(f.shard.GetPrimary())].session, PeerId: target, State: state, Reason: "test",
		}
		for _, r := range f.shard.GetReplicas() {
			if r.GetPeerId() == target {
				req.Incarnation = r.GetIncarnation()
			}
			if r.GetPeerId() == f.shard.GetPrimary() {
				req.PrimaryIncarnation = r.GetIncarnation()
			}
		}
		return req
	}
	follower := func(f *fixture) uint64 { return f.shard.GetPrimary()%3 + 1 }

	t.Run("a round", func(t *testing.T) {
		with(confirm(true), func(ctx context.Context, f *fixture) {
			who := follower(f)
			for _, state := range []qdrant.ReplicaState{qdrant.ReplicaState_Dead, qdrant.ReplicaState_Partial, qdrant.ReplicaState_Active} {
				resp, err := f.decisions.SetState(ctx, request(f, who, state))
				f.ok(state.String(), err)
				if resp.GetShard().GetEpoch() != f.shard.GetEpoch()+1 {
					t.Errorf("%s: epoch %d after %d", state, resp.GetShard().GetEpoch(), f.shard.GetEpoch())
				}
				f.shard = resp.GetShard()
			}
		})
	})
	t.Run("refused", func(t *testing.T) {
		with(confirm(true), func(ctx context.Context, f *fixture) {
			who := follower(f)
			for name, tc := range map[string]struct {
				change func(*placementv1.SetStateRequest)
				code   codes.Code
				reason fault.Reason
			}{
				"old epoch":  {func(r *placementv1.SetStateRequest) { r.ExpectedEpoch-- }, codes.Aborted, fault.StaleEpoch},
				"no session": {func(r *placementv1.SetStateRequest) { r.SessionId = 77 }, codes.NotFound, fault.NotFound},
				"not the primary": {func(r *placementv1.SetStateRequest) {
					r.Primary, r.SessionId = who, f.peers[topology.PeerID(who)].session
				}, codes.FailedPrecondition, fault.NotPrimary},
				"primary's old disk":  {func(r *placementv1.SetStateRequest) { r.PrimaryIncarnation = make([]byte, 16) }, codes.FailedPrecondition, fault.NotPrimary},
				"replica's old disk":  {func(r *placementv1.SetStateRequest) { r.Incarnation = make([]byte, 16) }, codes.Aborted, fault.StaleEpoch},
				"no such shard":       {func(r *placementv1.SetStateRequest) { r.ShardId = 5 }, codes.NotFound, fault.NotFound},
				"no such replica":     {func(r *placementv1.SetStateRequest) { r.PeerId = 9 }, codes.InvalidArgument, fault.InvalidArgument},
				"Active to Partial":   {func(r *placementv1.SetStateRequest) { r.State = qdrant.ReplicaState_Partial }, codes.InvalidArgument, fault.InvalidArgument},
				"Active to Active":    {func(r *placementv1.SetStateRequest) { r.State = qdrant.ReplicaState_Active }, codes.InvalidArgument, fault.InvalidArgument},
				"to a state of later": {func(r *placementv1.SetStateRequest) { r.State = qdrant.ReplicaState_Listener }, codes.InvalidArgument, fault.InvalidArgument},
			} {
				req := request(f, who, qdrant.ReplicaState_Dead)
				tc.change(req)
				_, err := f.decisions.SetState(ctx, req)
				f.want(name, err, tc.code, tc.reason)
			}
		})
	})
	t.Run("nobody confirms", func(t *testing.T) {
		with(confirm(false), func(ctx context.Context, f *fixture) {
			_, err := f.decisions.SetState(ctx, request(f, follower(f), qdrant.ReplicaState_Dead))
			f.want("C2a", err, codes.Unavailable, fault.ShardUnavailable)
		})
	})
	t.Run("not built", func(t *testing.T) {
		with(nil, func(ctx context.Context, f *fixture) {
			_, err := f.decisions.SetState(ctx, request(f, follower(f), qdrant.ReplicaState_Dead))
			f.want("without Confirm", err, codes.Unimplemented, fault.NotBuilt)
		})
	})
	t.Run("the last one", func(t *testing.T) {
		run(t, confirm(true), func(ctx context.Context, p *plane) {
			f := &fixture{plane: p, peers: map[topology.PeerID]*peer{1: p.join(ctx, 1, false)}}
			id := p.create(ctx, "c").GetCollectionId()
			rec, err := store.Load[store.Shard](ctx, p.store, store.ShardKey(topology.CollectionID(id), 0))
			p.ok("load", err)
			f.shard = shardOf(rec.Record)
			_, err = p.decisions.SetState(ctx, request(f, 1, qdrant.ReplicaState_Dead))
			p.want("C2", err, codes.InvalidArgument, fault.InvalidArgument)
		})
	})
}

func TestRemovePeer(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		p.join(ctx, 1, false)
		p.create(ctx, "c")
		empty := p.join(ctx, 2, false)
		_, err := p.catalog.RemovePeer(ctx, &placementv1.RemovePeerRequest{PeerId: 1})
		p.want("with replicas", err, codes.InvalidArgument, fault.InvalidArgument)
		_, err = p.catalog.RemovePeer(ctx, &placementv1.RemovePeerRequest{PeerId: 1, Force: true})
		p.want("by force", err, codes.Unimplemented, fault.NotBuilt)
		resp, err := p.catalog.RemovePeer(ctx, &placementv1.RemovePeerRequest{PeerId: 9})
		if p.ok("unknown", err); resp.GetExisted() {
			t.Error("an unknown peer existed")
		}
		empty.stop()
		resp, err = p.catalog.RemovePeer(ctx, &placementv1.RemovePeerRequest{PeerId: 2})
		if p.ok("empty", err); !resp.GetExisted() {
			t.Error("the peer was not there")
		}
	})
}

func TestReport(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		ask := func(observer, own, revision uint64) *placementv1.ReportResponse {
			<-time.After(10 * time.Millisecond)
			resp, err := p.decisions.Report(ctx, &placementv1.ReportRequest{
				Observer: observer, OwnPeerId: own, AssignmentRevision: revision,
				Peers: []*placementv1.PeerVerdict{{PeerId: own, Verdict: placementv1.Verdict_VERDICT_ALIVE}},
			})
			p.ok("report", err)
			return resp
		}
		p.join(ctx, 1, false)
		alone := ask(1, 1, 0)
		if fmt.Sprint(alone.GetSubjects()) != "[1]" || alone.GetInterval().AsDuration() <= 0 {
			t.Errorf("a lone peer is to watch %v", alone)
		}
		if same := ask(1, 1, alone.GetAssignmentRevision()); len(same.GetSubjects()) != 0 || same.GetAssignmentRevision() != alone.GetAssignmentRevision() {
			t.Errorf("nothing changed, yet %v", same)
		}
		p.join(ctx, 2, false)
		p.join(ctx, 3, false)
		if three := ask(1, 1, alone.GetAssignmentRevision()); fmt.Sprint(three.GetSubjects()) != "[1 2 3]" {
			t.Errorf("of three peers the first is to watch %v", three)
		}
		if other := ask(77, 0, 0); len(other.GetSubjects()) != 0 {
			t.Errorf("a stranger without a session is to watch %v", other)
		}
	})
}

func TestNotBuilt(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		_, err := p.catalog.ChangeReplicas(ctx, &placementv1.ChangeReplicasRequest{})
		p.want("ChangeReplicas", err, codes.Unimplemented, fault.NotBuilt)
		_, err = p.catalog.ChangeVectorName(ctx, &placementv1.ChangeVectorNameRequest{})
		p.want("ChangeVectorName", err, codes.Unimplemented, fault.NotBuilt)
		resp, err := p.catalog.Status(ctx, &placementv1.StatusRequest{})
		if p.ok("status", err); resp.GetClusterId() != "c1" || resp.GetTerm() != 1 {
			t.Errorf("got %v", resp)
		}
	})
}
