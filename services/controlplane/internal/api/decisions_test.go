package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/controlplane/internal/evidence"
	"github.com/pandodb/pando/services/controlplane/internal/messages"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

// trio is a shard of three Active replicas on peers 1 to 3, and a fourth peer without any.
type trio struct {
	*plane
	peers map[topology.PeerID]*peer
	shard *placementv1.Shard
}

func withTrio(t *testing.T, fn func(ctx context.Context, f *trio)) {
	t.Helper()
	run(t, nil, func(ctx context.Context, p *plane) {
		f := &trio{plane: p, peers: map[topology.PeerID]*peer{}}
		for id := range topology.PeerID(3) {
			f.peers[id+1] = p.join(ctx, id+1, false)
		}
		resp, err := p.catalog.CreateCollection(ctx, createRequest("c", 1, 3))
		p.ok("create", err)
		f.shard = f.placement(ctx, resp.GetCollectionId())
		f.peers[4] = p.join(ctx, 4, false)
		fn(ctx, f)
	})
}

func (p *plane) placement(ctx context.Context, collection uint64) *placementv1.Shard {
	p.Helper()
	rec, err := store.Load[store.Shard](ctx, p.store, store.ShardKey(topology.CollectionID(collection), 0))
	p.ok("load", err)
	return messages.Shard(rec.Record)
}

// now reads the record as words, "1*=Active 2=Dead", and the transfers, "1>4".
func (f *trio) now(ctx context.Context) string {
	f.Helper()
	f.shard = f.placement(ctx, f.shard.GetCollectionId())
	var out []string
	for _, r := range f.shard.GetReplicas() {
		star := ""
		if r.GetPeerId() == f.shard.GetPrimary() {
			star = "*"
		}
		out = append(out, fmt.Sprintf("%d%s=%s", r.GetPeerId(), star, r.GetState()))
	}
	list, _, err := store.LoadAll[store.Transfer](ctx, f.store, store.Transfers)
	f.ok("transfers", err)
	for _, t := range list {
		out = append(out, fmt.Sprintf("%d>%d", t.Record.From, t.Record.To))
	}
	return strings.Join(out, " ")
}

// lead makes peer 1 the primary, so that a test can say what it expects.
func (f *trio) lead(ctx context.Context) {
	f.Helper()
	if f.shard.GetPrimary() == 1 {
		return
	}
	_, err := f.decisions.HandOver(ctx, f.handOver(1))
	f.ok("hand over", err)
	f.shard = f.placement(ctx, f.shard.GetCollectionId())
}

func (f *trio) incarnation(peer uint64) []byte {
	for _, r := range f.shard.GetReplicas() {
		if r.GetPeerId() == peer {
			return r.GetIncarnation()
		}
	}
	return nil
}

// set is a SetState of the primary.
func (f *trio) set(target uint64, state qdrant.ReplicaState) *placementv1.SetStateRequest {
	return &placementv1.SetStateRequest{
		CollectionId: f.shard.GetCollectionId(), ExpectedEpoch: f.shard.GetEpoch(), Primary: f.shard.GetPrimary(),
		SessionId: f.peers[topology.PeerID(f.shard.GetPrimary())].session, PeerId: target, State: state, Reason: "test",
		Incarnation: f.incarnation(target), PrimaryIncarnation: f.incarnation(f.shard.GetPrimary()),
	}
}

func (f *trio) handOver(to uint64) *placementv1.HandOverRequest {
	return &placementv1.HandOverRequest{
		CollectionId: f.shard.GetCollectionId(), ExpectedEpoch: f.shard.GetEpoch(), Primary: f.shard.GetPrimary(), To: to,
		SessionId: f.peers[topology.PeerID(f.shard.GetPrimary())].session, PrimaryIncarnation: f.incarnation(f.shard.GetPrimary()),
	}
}

// spoilt are answers that must not count.
func spoilt() map[string]func(topology.PeerID, *swap.Answer) error {
	return map[string]func(topology.PeerID, *swap.Answer) error{
		"no answer":           func(topology.PeerID, *swap.Answer) error { return errors.New("connection refused") },
		"another incarnation": func(_ topology.PeerID, a *swap.Answer) error { a.Incarnation[0]++; return nil },
		"another epoch":       func(_ topology.PeerID, a *swap.Answer) error { a.Epoch--; return nil },
		"no session":          func(_ topology.PeerID, a *swap.Answer) error { a.Session = 0; return nil },
	}
}

// TestSetState holds the rules C2, C7, C8 and C10.
func TestSetState(t *testing.T) {
	t.Run("a round", func(t *testing.T) {
		withTrio(t, func(ctx context.Context, f *trio) {
			f.lead(ctx)
			for _, step := range []struct {
				state qdrant.ReplicaState
				want  string
			}{
				{qdrant.ReplicaState_Dead, "1*=Active 2=Dead 3=Active"}, {qdrant.ReplicaState_Partial, "1*=Active 2=Partial 3=Active 1>2"},
				{qdrant.ReplicaState_Dead, "1*=Active 2=Dead 3=Active"}, {qdrant.ReplicaState_Partial, "1*=Active 2=Partial 3=Active 1>2"},
				{qdrant.ReplicaState_Active, "1*=Active 2=Active 3=Active"},
			} {
				before := f.shard.GetEpoch()
				resp, err := f.decisions.SetState(ctx, f.set(2, step.state))
				f.ok(step.state.String(), err)
				if got := f.now(ctx); got != step.want || resp.GetShard().GetEpoch() != before+1 || f.shard.GetEpoch() != before+1 {
					t.Errorf("%s: %s at epoch %d after %d, want %s", step.state, got, f.shard.GetEpoch(), before, step.want)
				}
			}
		})
	})
	t.Run("the primary itself", func(t *testing.T) {
		withTrio(t, func(ctx context.Context, f *trio) {
			f.lead(ctx)
			_, err := f.decisions.SetState(ctx, f.set(1, qdrant.ReplicaState_Dead))
			f.ok("gives up", err)
			if got := f.now(ctx); got != "1=Dead 2*=Active 3=Active" && got != "1=Dead 2=Active 3*=Active" {
				t.Errorf("%s", got)
			}
		})
	})
	t.Run("refused", func(t *testing.T) {
		withTrio(t, func(ctx context.Context, f *trio) {
			f.lead(ctx)
			for name, tc := range map[string]struct {
				change func(*placementv1.SetStateRequest)
				code   codes.Code
				reason fault.Reason
			}{
				"old epoch":  {func(r *placementv1.SetStateRequest) { r.ExpectedEpoch-- }, codes.Aborted, fault.StaleEpoch},
				"no session": {func(r *placementv1.SetStateRequest) { r.SessionId = 77 }, codes.NotFound, fault.NotFound},
				"not the primary": {func(r *placementv1.SetStateRequest) {
					r.Primary, r.SessionId = 2, f.peers[2].session
				}, codes.FailedPrecondition, fault.NotPrimary},
				"primary's old disk":  {func(r *placementv1.SetStateRequest) { r.PrimaryIncarnation = make([]byte, 16) }, codes.FailedPrecondition, fault.NotPrimary},
				"replica's old disk":  {func(r *placementv1.SetStateRequest) { r.Incarnation = make([]byte, 16) }, codes.Aborted, fault.StaleEpoch},
				"no such shard":       {func(r *placementv1.SetStateRequest) { r.ShardId = 5 }, codes.NotFound, fault.NotFound},
				"no such replica":     {func(r *placementv1.SetStateRequest) { r.PeerId = 9 }, codes.InvalidArgument, fault.InvalidArgument},
				"Active to Partial":   {func(r *placementv1.SetStateRequest) { r.State = qdrant.ReplicaState_Partial }, codes.InvalidArgument, fault.InvalidArgument},
				"Active to Active":    {func(r *placementv1.SetStateRequest) { r.State = qdrant.ReplicaState_Active }, codes.InvalidArgument, fault.InvalidArgument},
				"to a state of later": {func(r *placementv1.SetStateRequest) { r.State = qdrant.ReplicaState_Listener }, codes.InvalidArgument, fault.InvalidArgument},
			} {
				req := f.set(2, qdrant.ReplicaState_Dead)
				tc.change(req)
				_, err := f.decisions.SetState(ctx, req)
				f.want(name, err, tc.code, tc.reason)
			}
			if got := f.now(ctx); got != "1*=Active 2=Active 3=Active" {
				t.Errorf("refusals left %s", got)
			}
		})
	})
	for name, spoil := range spoilt() {
		t.Run(name, func(t *testing.T) {
			withTrio(t, func(ctx context.Context, f *trio) {
				f.data.with(func() { f.data.spoil = spoil })
				_, err := f.decisions.SetState(ctx, f.set(f.shard.GetPrimary()%3+1, qdrant.ReplicaState_Dead))
				f.want("C2a", err, codes.Unavailable, fault.ShardUnavailable)
			})
		})
	}
	t.Run("a session that ends meanwhile", func(t *testing.T) {
		withTrio(t, func(ctx context.Context, f *trio) {
			f.lead(ctx)
			f.peers[1].stop()
			f.data.with(func() {
				f.data.spoil = func(_ topology.PeerID, a *swap.Answer) error { f.store.Expire(a.Session); return nil }
			})
			_, err := f.decisions.SetState(ctx, f.set(2, qdrant.ReplicaState_Dead))
			f.want("C10", err, codes.NotFound, fault.NotFound)
		})
	})
	t.Run("the last one", func(t *testing.T) {
		run(t, nil, func(ctx context.Context, p *plane) {
			f := &trio{plane: p, peers: map[topology.PeerID]*peer{1: p.join(ctx, 1, false)}}
			f.shard = p.placement(ctx, p.create(ctx, "c").GetCollectionId())
			_, err := p.decisions.SetState(ctx, f.set(1, qdrant.ReplicaState_Dead))
			p.want("C2", err, codes.InvalidArgument, fault.InvalidArgument)
		})
	})
}

// TestHandOver (C3b): at the primary's word another Active replica leads, which confirms itself; the old one stays Active.
func TestHandOver(t *testing.T) {
	withTrio(t, func(ctx context.Context, f *trio) {
		f.lead(ctx)
		for name, tc := range map[string]struct {
			change func(*placementv1.HandOverRequest)
			code   codes.Code
			reason fault.Reason
		}{
			"old epoch":       {func(r *placementv1.HandOverRequest) { r.ExpectedEpoch-- }, codes.Aborted, fault.StaleEpoch},
			"no session":      {func(r *placementv1.HandOverRequest) { r.SessionId = 77 }, codes.NotFound, fault.NotFound},
			"not the primary": {func(r *placementv1.HandOverRequest) { r.Primary, r.SessionId = 2, f.peers[2].session }, codes.FailedPrecondition, fault.NotPrimary},
			"to itself":       {func(r *placementv1.HandOverRequest) { r.To = 1 }, codes.InvalidArgument, fault.InvalidArgument},
			"to a stranger":   {func(r *placementv1.HandOverRequest) { r.To = 4 }, codes.InvalidArgument, fault.InvalidArgument},
		} {
			req := f.handOver(2)
			tc.change(req)
			_, err := f.decisions.HandOver(ctx, req)
			f.want(name, err, tc.code, tc.reason)
		}
		for name, spoil := range spoilt() {
			f.data.with(func() { f.data.spoil = spoil })
			_, err := f.decisions.HandOver(ctx, f.handOver(2))
			f.want(name, err, codes.Unavailable, fault.ShardUnavailable)
		}
		f.data.with(func() { f.data.spoil = nil })
		resp, err := f.decisions.HandOver(ctx, f.handOver(3))
		f.ok("hand over", err)
		if got := f.now(ctx); got != "1=Active 2=Active 3*=Active" || resp.GetShard().GetEpoch() != f.shard.GetEpoch() {
			t.Errorf("%s, answered %v", got, resp)
		}
		_, err = f.decisions.SetState(ctx, f.set(1, qdrant.ReplicaState_Dead))
		f.ok("a follower dies", err)
		f.now(ctx)
		_, err = f.decisions.HandOver(ctx, f.handOver(1))
		f.want("to a Dead one", err, codes.InvalidArgument, fault.InvalidArgument)
	})
}

// TestLeave: a process that is about to stop is answered when its shards have other primaries and it has no Active replica that
// another peer could stand in for.
func TestLeave(t *testing.T) {
	withTrio(t, func(ctx context.Context, f *trio) {
		f.lead(ctx)
		start := time.Now()
		_, err := f.session.Leave(ctx, &placementv1.LeaveRequest{PeerId: 1, SessionId: 77})
		f.want("another session", err, codes.NotFound, fault.NotFound)
		resp, err := f.session.Leave(ctx, &placementv1.LeaveRequest{PeerId: 1, SessionId: f.peers[1].session})
		f.ok("leave", err)
		if took := time.Since(start); resp.GetActive() != 0 || resp.GetPrimaries() != 0 || took > time.Second {
			t.Errorf("left with %v after %v", resp, took)
		}
		if got := f.now(ctx); !strings.HasPrefix(got, "1=Dead 2") {
			t.Errorf("%s", got)
		}
		for _, r := range f.shard.GetReplicas() {
			if r.GetPeerId() == 1 && (r.GetReason() != "its peer was stopped" || r.GetSince() == nil) {
				t.Errorf("%v", r)
			}
		}
		again, err := f.session.Leave(ctx, &placementv1.LeaveRequest{PeerId: 1, SessionId: f.peers[1].session})
		if f.ok("again", err); again.GetActive() != 0 {
			t.Errorf("%v", again)
		}
		repeated, err := f.session.Register(ctx, f.registration(1, "p"))
		f.ok("the same process registers", err)
		f.ok("view", f.view.Wait(ctx, int64(repeated.GetRevision())))
		f.view.Read(func(s *view.State) {
			if !s.Sessions[1].Record.Leaving {
				t.Error("it forgot that it is about to stop")
			}
		})
		small, err := f.catalog.CreateCollection(ctx, createRequest("d", 3, 1))
		f.ok("create", err)
		f.view.Read(func(s *view.State) {
			for id, shard := range s.Shards[topology.CollectionID(small.GetCollectionId())] {
				if shard.Record.Replica(1) != nil {
					t.Errorf("shard %d was placed on a peer that is about to stop", id)
				}
			}
		})
	})
	run(t, nil, func(ctx context.Context, p *plane) {
		q := p.join(ctx, 1, false)
		p.create(ctx, "c")
		start := time.Now()
		resp, err := p.session.Leave(ctx, &placementv1.LeaveRequest{PeerId: 1, SessionId: q.session})
		p.ok("leave", err)
		if took := time.Since(start); resp.GetActive() != 1 || resp.GetPrimaries() != 1 || took > 100*time.Millisecond {
			t.Errorf("the last Active one: %v after %v", resp, took)
		}
	})
	withTrio(t, func(ctx context.Context, f *trio) {
		f.lead(ctx)
		f.data.with(func() { f.data.stays, f.data.spoil = true, spoilt()["no answer"] })
		start := time.Now()
		resp, err := f.session.Leave(ctx, &placementv1.LeaveRequest{PeerId: 1, SessionId: f.peers[1].session})
		f.ok("leave", err)
		if took := time.Since(start); resp.GetActive() != 1 || resp.GetPrimaries() != 1 || took < 3*time.Second || took > 3100*time.Millisecond {
			t.Errorf("nobody takes over: %v after %v", resp, took)
		}
	})
}

// TestInventory: what moves all the time is not written, what matters is.
func TestInventory(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		resp, err := p.session.Register(ctx, p.registration(1, "p"))
		p.ok("register", err)
		stream, err := p.session.KeepAlive(ctx)
		p.ok("open", err)
		tell := func(seq uint64, bytes uint64, loaded bool) (written bool) {
			before := p.view.Revision()
			p.ok("send", stream.Send(&placementv1.KeepAliveRequest{SessionId: resp.GetSessionId(), PeerId: 1, Inventory: &placementv1.Inventory{
				Replicas: []*placementv1.ReplicaInventory{{CollectionId: 1, ShardId: 2, Incarnation: make([]byte, 16), PlacementEpoch: seq, Loaded: loaded,
					Last: &placementv1.LogPosition{Seq: seq}, AppliedSeq: seq, Bytes: bytes}},
			}}))
			_, err := stream.Recv()
			p.ok("receive", err)
			<-time.After(time.Millisecond)
			return p.view.Revision() > before
		}
		for _, c := range []struct {
			what   string
			seq    uint64
			bytes  uint64
			loaded bool
			want   bool
		}{
			{"a new replica", 1, 100, false, true}, {"the same", 1, 100, false, false}, {"its log grows", 7, 200, false, false},
			{"it is loaded", 8, 300, true, true}, {"it grows a little", 9, 60 << 20, true, false}, {"much", 10, 65 << 20, true, true},
			{"to a lot", 11, 1 << 30, true, true}, {"a tenth more", 12, 1<<30 + 100<<20, true, false}, {"a fifth more", 13, 1<<30 + 200<<20, true, true},
			{"and is emptied", 14, 0, true, true}, {"it fails", 15, 0, false, true}, {"it is back", 16, 0, true, true},
		} {
			if got := tell(c.seq, c.bytes, c.loaded); got != c.want {
				t.Errorf("%s: written is %v", c.what, got)
			}
		}
		p.ok("close", stream.CloseSend())
		_, _ = stream.Recv()
	})
}

// reporter is the Decisions of another process.
type reporter struct {
	placementv1.DecisionsClient
	got []*placementv1.ReportRequest
	md  []string
	err error
}

func (r *reporter) Report(ctx context.Context, req *placementv1.ReportRequest, _ ...grpc.CallOption) (*placementv1.ReportResponse, error) {
	md, _ := metadata.FromOutgoingContext(ctx)
	r.got, r.md = append(r.got, req), md.Get(forwarded)
	return &placementv1.ReportResponse{AssignmentRevision: 5}, r.err
}

// away is a desk of a process that does not lead.
type away struct{}

func (away) Report(evidence.Report) (evidence.Assignment, bool) { return evidence.Assignment{}, false }

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
		if fmt.Sprint(alone.GetSubjects()) != "[1]" || alone.GetInterval().AsDuration() != 500*time.Millisecond {
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
	leader := &reporter{}
	change := func(c *Config) {
		c.Desk = away{}
		c.Leader = func() (placementv1.DecisionsClient, error) { return leader, nil }
	}
	run(t, change, func(ctx context.Context, p *plane) {
		req := &placementv1.ReportRequest{Observer: 4, Full: true}
		resp, err := p.decisions.Report(ctx, req)
		if p.ok("forwarded", err); resp.GetAssignmentRevision() != 5 || len(leader.got) != 1 || leader.got[0].GetObserver() != 4 || !slices.Equal(leader.md, []string{"1"}) {
			t.Errorf("the leader got %v with %v, answered %v", leader.got, leader.md, resp)
		}
		_, err = p.decisions.Report(metadata.AppendToOutgoingContext(ctx, forwarded, "1"), req)
		if p.want("forwarded twice", err, codes.Unavailable, fault.NoLeader); len(leader.got) != 1 {
			t.Error("a report went round")
		}
		leader.err = fault.New(fault.NoLeader, "not me").GRPCStatus().Err()
		_, err = p.decisions.Report(ctx, req)
		p.want("refused by the leader", err, codes.Unavailable, fault.NoLeader)
	})
}

// TestVerdictsKill: what observers report through the RPC marks replicas Dead.
func TestVerdictsKill(t *testing.T) {
	withTrio(t, func(ctx context.Context, f *trio) {
		f.lead(ctx)
		say := func(observer uint64, v placementv1.Verdict) {
			_, err := f.decisions.Report(ctx, &placementv1.ReportRequest{Observer: observer, OwnPeerId: observer, Full: true, Peers: []*placementv1.PeerVerdict{
				{PeerId: 1, Verdict: v, Evidence: "connection refused"}, {PeerId: 2, Verdict: placementv1.Verdict_VERDICT_ALIVE},
				{PeerId: 3, Verdict: placementv1.Verdict_VERDICT_ALIVE}, {PeerId: 4, Verdict: placementv1.Verdict_VERDICT_ALIVE},
			}})
			f.ok("report", err)
			<-time.After(50 * time.Millisecond)
		}
		say(2, placementv1.Verdict_VERDICT_DEAD)
		if got := f.now(ctx); got != "1*=Active 2=Active 3=Active" {
			t.Errorf("after one of three: %s", got)
		}
		say(3, placementv1.Verdict_VERDICT_DEAD)
		if got := f.now(ctx); !strings.HasPrefix(got, "1=Dead 2") || f.shard.GetPrimary() == 0 {
			t.Errorf("after two of three: %s", got)
		}
		for _, r := range f.shard.GetReplicas() {
			if r.GetPeerId() == 1 && r.GetReason() != "its peer does not answer: 2 of 3 observers: connection refused" {
				t.Errorf("why: %q", r.GetReason())
			}
		}
		for o := range uint64(5) {
			say(o, placementv1.Verdict_VERDICT_ALIVE)
		}
		if got := f.now(ctx); !strings.HasPrefix(got, "1=Partial") || !strings.HasSuffix(got, ">1") {
			t.Errorf("it answers again: %s", got)
		}
	})
}
