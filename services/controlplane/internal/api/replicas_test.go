package api

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

// The commands.

func copyOf(from, to uint64) *placementv1.ChangeReplicasRequest {
	return &placementv1.ChangeReplicasRequest{CollectionName: "c", Change: &placementv1.ChangeReplicasRequest_Copy_{
		Copy: &placementv1.ChangeReplicasRequest_Copy{From: from, To: to, Method: qdrant.ShardTransferMethod_Snapshot.Enum()}}}
}

func moveOf(from, to uint64) *placementv1.ChangeReplicasRequest {
	r := copyOf(from, to)
	r.GetCopy().Move = true
	return r
}

func abortOf(from, to uint64) *placementv1.ChangeReplicasRequest {
	return &placementv1.ChangeReplicasRequest{CollectionName: "c", Change: &placementv1.ChangeReplicasRequest_Abort_{
		Abort: &placementv1.ChangeReplicasRequest_Abort{From: from, To: to}}}
}

func restartOf(from, to uint64, m qdrant.ShardTransferMethod) *placementv1.ChangeReplicasRequest {
	return &placementv1.ChangeReplicasRequest{CollectionName: "c", Change: &placementv1.ChangeReplicasRequest_Restart{
		Restart: &placementv1.ChangeReplicasRequest_Copy{From: from, To: to, Method: m.Enum()}}}
}

func dropOf(peer uint64) *placementv1.ChangeReplicasRequest {
	return &placementv1.ChangeReplicasRequest{CollectionName: "c", Change: &placementv1.ChangeReplicasRequest_Drop_{
		Drop: &placementv1.ChangeReplicasRequest_Drop{PeerId: peer}}}
}

func forceOf(peer, epoch uint64) *placementv1.ChangeReplicasRequest {
	return &placementv1.ChangeReplicasRequest{CollectionName: "c", Change: &placementv1.ChangeReplicasRequest_Force_{
		Force: &placementv1.ChangeReplicasRequest_Force{PeerId: peer, ExpectedEpoch: epoch}}}
}

func on(r *placementv1.ChangeReplicasRequest, collection string, shard uint64) *placementv1.ChangeReplicasRequest {
	r.CollectionName, r.ShardId = collection, shard
	return r
}

func (f *trio) change(ctx context.Context, r *placementv1.ChangeReplicasRequest, want string) {
	f.Helper()
	if _, err := f.catalog.ChangeReplicas(ctx, r); err != nil {
		f.Fatalf("%v: %v", r, err)
	}
	if got := f.now(ctx); got != want {
		f.Errorf("%v gives %s, want %s", r, got, want)
	}
}

// TestChecksOfCommands: every check, in its order, with its status and a text that names what it is about.
func TestChecksOfCommands(t *testing.T) {
	withTrio(t, func(ctx context.Context, f *trio) {
		f.lead(ctx)
		f.change(ctx, copyOf(1, 4), "1*=Active 2=Active 3=Active 4=Dead 1>4")
		_, err := f.decisions.SetState(ctx, f.set(3, qdrant.ReplicaState_Dead))
		f.ok("3 dies", err)
		p := f.join(ctx, 5, false)
		defer p.stop()
		const wire = qdrant.ShardTransferMethod_WalDelta
		before := f.now(ctx)
		for _, c := range []struct {
			name   string
			req    *placementv1.ChangeReplicasRequest
			http   int
			reason fault.Reason
			text   string
		}{
			{"copy: collection", on(copyOf(1, 1), "none", 9), 404, fault.CollectionNotFound, "`none`"},
			{"abort: collection", on(abortOf(1, 1), "none", 9), 404, fault.CollectionNotFound, "`none`"},
			{"drop: collection", on(dropOf(1), "none", 9), 404, fault.CollectionNotFound, "`none`"},
			{"copy: from is to", on(copyOf(9, 9), "c", 9), 422, fault.Validation, "to_peer_id: value 9 invalid, must differ from from_peer_id"},
			{"move: from is to", on(moveOf(9, 9), "c", 9), 422, fault.Validation, "to_peer_id"},
			{"abort: from is to", on(abortOf(9, 9), "c", 9), 422, fault.Validation, "to_peer_id"},
			{"restart: from is to", on(restartOf(9, 9, wire), "c", 9), 422, fault.Validation, "to_peer_id"},
			{"copy: shard", on(copyOf(8, 9), "c", 9), 400, fault.InvalidArgument, "Shard 9 does not exist in collection c"},
			{"move: shard", on(moveOf(8, 9), "c", 9), 400, fault.InvalidArgument, "Shard 9 does not exist in collection c"},
			{"drop: shard", on(dropOf(8), "c", 9), 400, fault.InvalidArgument, "Shard 9 does not exist in collection c"},
			{"copy: from unknown", copyOf(8, 9), 400, fault.InvalidArgument, "Peer 8 does not exist"},
			{"copy: to unknown", copyOf(3, 9), 400, fault.InvalidArgument, "Peer 9 does not exist"},
			{"copy: from holds none", copyOf(5, 4), 400, fault.InvalidArgument, "Peer 5 holds no replica of shard 0 of collection c"},
			{"copy: from is not Active", copyOf(3, 4), 400, fault.InvalidArgument, "The replica of shard 0 of collection c on peer 3 is Dead"},
			{"copy: from is in a transfer", copyOf(1, 5), 400, fault.InvalidArgument, "Peer 1 is already involved in a transfer of shard 0 of collection c, from peer 1 to peer 4"},
			{"copy: to is in a transfer", copyOf(2, 4), 400, fault.InvalidArgument, "Peer 4 is already involved in a transfer"},
			{"copy: to is Active", copyOf(2, 1), 400, fault.InvalidArgument, "Peer 1 is already involved"},
			{"abort: none such", abortOf(2, 4), 404, fault.NotFound, "no transfer of shard 0 of collection c from peer 2 to peer 4"},
			{"abort: other shard", on(abortOf(1, 4), "c", 9), 404, fault.NotFound, "no transfer of shard 9 of collection c"},
			{"restart: none such", restartOf(1, 3, wire), 404, fault.NotFound, "no transfer of shard 0 of collection c from peer 1 to peer 3"},
			{"restart: same method", restartOf(1, 4, qdrant.ShardTransferMethod_StreamRecords), 400, fault.InvalidArgument, "uses method StreamRecords already"},
			{"drop: unknown", dropOf(9), 400, fault.InvalidArgument, "Peer 9 does not exist"},
			{"drop: holds none", dropOf(5), 400, fault.InvalidArgument, "Peer 5 holds no replica of shard 0 of collection c"},
			{"force: shard", on(forceOf(8, 0), "c", 9), 400, fault.InvalidArgument, "Shard 9 does not exist in collection c"},
			{"force: unknown", forceOf(9, 0), 400, fault.InvalidArgument, "Peer 9 does not exist"},
			{"force: holds none", forceOf(5, 0), 400, fault.InvalidArgument, "Peer 5 holds no replica of shard 0 of collection c"},
			{"force: epoch", forceOf(3, 99), 400, fault.InvalidArgument, "not at 99"},
			{"force: Active", forceOf(1, 0), 400, fault.InvalidArgument, "on peer 1 is Active: nothing has to be forced"},
			{"force: another is Active", forceOf(3, 0), 400, fault.InvalidArgument, "on peer 1 is Active and its peer is there"},
			{"nothing", &placementv1.ChangeReplicasRequest{CollectionName: "c"}, 400, fault.InvalidArgument, "empty"},
		} {
			_, err := f.catalog.ChangeReplicas(ctx, c.req)
			g := fault.FromStatus(status.Convert(err))
			if g == nil || fault.HTTPStatus(g) != c.http || g.Reason != c.reason || !strings.Contains(g.Msg, c.text) {
				t.Errorf("%s: %v (%v), want %d and %q", c.name, err, fault.ReasonOf(err), c.http, c.text)
			}
		}
		if after := f.now(ctx); after != before {
			t.Errorf("%s became %s", before, after)
		}
		_, err = f.decisions.SetState(ctx, f.set(2, qdrant.ReplicaState_Dead))
		f.ok("2 dies", err)
		f.now(ctx)
		_, err = f.catalog.ChangeReplicas(ctx, dropOf(1))
		if f.want("drop: the last Active one", err, codes.InvalidArgument, fault.InvalidArgument); !strings.Contains(err.Error(), "shard 0 of collection c must keep at least one active replica") {
			t.Error(err)
		}
		f.change(ctx, dropOf(2), "1*=Active 3=Dead 4=Dead 1>4")
	})
}

// TestCopy: a replica begins as Dead with its transfer, which shows at once; it is made, filled, and is Active at the primary's word.
func TestCopy(t *testing.T) {
	withTrio(t, func(ctx context.Context, f *trio) {
		f.lead(ctx)
		f.change(ctx, copyOf(2, 4), "1*=Active 2=Active 3=Active 4=Dead 2>4")
		again, err := f.catalog.ChangeReplicas(ctx, copyOf(2, 4))
		f.want("the same again", err, codes.InvalidArgument, fault.InvalidArgument)
		if again != nil {
			t.Error(again)
		}
		f.well(ctx)
		f.until(ctx, "1*=Active 2=Active 3=Active 4=Partial 2>4")
		f.view.Read(func(s *view.State) {
			for _, tr := range s.Transfers {
				if r := tr.Record; r.Method != "StreamRecords" || !r.Asked || !r.Created || r.Move || r.Started.IsZero() {
					t.Errorf("%+v", r)
				}
			}
		})
		_, err = f.decisions.SetState(ctx, f.set(4, qdrant.ReplicaState_Active))
		f.ok("promote", err)
		if got := f.now(ctx); got != "1*=Active 2=Active 3=Active 4=Active" {
			t.Errorf("%s", got)
		}
		_, err = f.catalog.ChangeReplicas(ctx, copyOf(2, 4))
		f.want("to an Active one", err, codes.InvalidArgument, fault.InvalidArgument)
	})
}

// well makes every observer say that everybody is.
func (f *trio) well(ctx context.Context) {
	f.Helper()
	for o := range uint64(5) {
		req := &placementv1.ReportRequest{Observer: o, OwnPeerId: o, Full: true}
		for p := range uint64(5) {
			req.Peers = append(req.Peers, &placementv1.PeerVerdict{PeerId: p, Verdict: placementv1.Verdict_VERDICT_ALIVE})
		}
		_, err := f.decisions.Report(ctx, req)
		f.ok("report", err)
	}
}

// until waits for a state.
func (f *trio) until(ctx context.Context, want string) {
	f.Helper()
	got := ""
	for range 300 {
		if got = f.now(ctx); got == want {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	f.Errorf("%s, not %s", got, want)
}

// TestAbort: a replica that came into being for a copy goes with it; another one is Dead and comes back by itself, after a pause.
func TestAbort(t *testing.T) {
	withTrio(t, func(ctx context.Context, f *trio) {
		f.lead(ctx)
		f.change(ctx, copyOf(1, 4), "1*=Active 2=Active 3=Active 4=Dead 1>4")
		f.change(ctx, abortOf(1, 4), "1*=Active 2=Active 3=Active")
		f.change(ctx, copyOf(1, 4), "1*=Active 2=Active 3=Active 4=Dead 1>4")
		f.well(ctx)
		f.until(ctx, "1*=Active 2=Active 3=Active 4=Partial 1>4")
		before := f.shard.GetEpoch()
		_, err := f.catalog.ChangeReplicas(ctx, restartOf(1, 4, qdrant.ShardTransferMethod_WalDelta))
		f.ok("restart", err)
		f.until(ctx, "1*=Active 2=Active 3=Active 4=Partial 1>4")
		if f.shard.GetEpoch() != before+2 { // Dead, and Partial at once
			t.Errorf("epoch %d after %d", f.shard.GetEpoch(), before)
		}
		f.change(ctx, abortOf(1, 4), "1*=Active 2=Active 3=Active")
		f.well(ctx)
		_, err = f.decisions.SetState(ctx, f.set(3, qdrant.ReplicaState_Dead))
		f.ok("3 dies", err)
		f.until(ctx, "1*=Active 2=Active 3=Partial 1>3")
		f.change(ctx, abortOf(1, 3), "1*=Active 2=Active 3=Dead")
		f.well(ctx)
		f.until(ctx, "1*=Active 2=Active 3=Partial 1>3")
	})
}

// TestDrop: a follower goes at the word of the primary; a primary hands over first or, if it does not, is replaced.
func TestDrop(t *testing.T) {
	withTrio(t, func(ctx context.Context, f *trio) {
		f.lead(ctx)
		for name, spoil := range spoilt() {
			f.data.with(func() { f.data.spoil = spoil })
			_, err := f.catalog.ChangeReplicas(ctx, dropOf(2))
			f.want(name, err, codes.Unavailable, fault.ShardUnavailable)
		}
		f.data.with(func() { f.data.spoil = nil })
		f.change(ctx, dropOf(2), "1*=Active 3=Active")
		if len(f.data.handed) > 0 {
			t.Errorf("handed over for a follower: %v", f.data.handed)
		}
		f.change(ctx, dropOf(1), "3*=Active")
		if len(f.data.handed) != 1 || f.data.handed[0] != "1>3" {
			t.Errorf("handed over: %v", f.data.handed)
		}
		_, err := f.catalog.ChangeReplicas(ctx, dropOf(3))
		f.want("the only one", err, codes.InvalidArgument, fault.InvalidArgument)
	})
	withTrio(t, func(ctx context.Context, f *trio) {
		f.lead(ctx)
		f.data.with(func() { f.data.stays = true })
		start := time.Now()
		_, err := f.catalog.ChangeReplicas(ctx, dropOf(1))
		f.ok("drop", err)
		if got, took := f.now(ctx), time.Since(start); (got != "2*=Active 3=Active" && got != "2=Active 3*=Active") || took < time.Second || took > 1200*time.Millisecond {
			t.Errorf("%s after %v", got, took)
		}
	})
}

// TestMove: copy, hand over, drop; the transfer shows until the source is gone.
func TestMove(t *testing.T) {
	withTrio(t, func(ctx context.Context, f *trio) {
		f.lead(ctx)
		f.change(ctx, moveOf(1, 4), "1*=Active 2=Active 3=Active 4=Dead 1>4")
		f.well(ctx)
		f.until(ctx, "1*=Active 2=Active 3=Active 4=Partial 1>4")
		_, err := f.decisions.SetState(ctx, f.set(4, qdrant.ReplicaState_Dead))
		f.ok("the copy fails", err)
		f.well(ctx)
		f.until(ctx, "1*=Active 2=Active 3=Active 4=Dead 1>4")
		<-time.After(1200 * time.Millisecond)
		f.well(ctx)
		f.until(ctx, "1*=Active 2=Active 3=Active 4=Partial 1>4")
		_, err = f.decisions.SetState(ctx, f.set(4, qdrant.ReplicaState_Active))
		f.ok("promote", err)
		f.until(ctx, "2=Active 3=Active 4*=Active")
		if len(f.data.handed) != 1 || f.data.handed[0] != "1>4" {
			t.Errorf("handed over: %v", f.data.handed)
		}
	})
}

func TestRemovePeer(t *testing.T) {
	var members []topology.PeerID
	var fails error
	change := func(c *Config) {
		c.RemoveMember = func(_ context.Context, p topology.PeerID) error { members = append(members, p); return fails }
	}
	run(t, change, func(ctx context.Context, p *plane) {
		holder := p.join(ctx, 1, false)
		col := p.create(ctx, "c")
		empty := p.join(ctx, 2, false)
		remove := func(id uint64, force bool) (*placementv1.RemovePeerResponse, error) {
			return p.catalog.RemovePeer(ctx, &placementv1.RemovePeerRequest{PeerId: id, Force: force})
		}
		_, err := remove(1, false)
		if p.want("with replicas", err, codes.InvalidArgument, fault.InvalidArgument); !strings.Contains(err.Error(), "Cannot remove peer 1 as there are shards on it") || len(members) != 0 {
			t.Errorf("%v, members %v", err, members)
		}
		resp, err := remove(9, true)
		if p.ok("unknown", err); resp.GetExisted() {
			t.Error("an unknown peer existed")
		}
		empty.stop()
		fails = errors.New("no quorum")
		_, err = remove(2, false)
		p.want("its member stays", err, codes.Unavailable, fault.NoLeader)
		fails = nil
		resp, err = remove(2, false)
		if p.ok("again", err); resp.GetExisted() || len(members) != 3 || members[2] != 2 {
			t.Errorf("%v, members %v", resp, members)
		}
		p.join(ctx, 3, false)
		pair, err := p.catalog.CreateCollection(ctx, createRequest("d", 6, 2))
		p.ok("create", err)
		holder.stop()
		resp, err = remove(1, true)
		if p.ok("by force", err); !resp.GetExisted() {
			t.Error("it was not there")
		}
		p.view.Read(func(s *view.State) {
			if len(s.On[1]) > 0 || len(s.Transfers) > 0 {
				t.Errorf("left: %v, %v", s.On[1], s.Transfers)
			}
			lost, _ := s.Shard(topology.Shard{Collection: topology.CollectionID(col.GetCollectionId())})
			if rec := lost.Record; !rec.Lost || rec.Primary != 0 || len(rec.Replicas) != 0 {
				t.Errorf("the last copy: %+v", rec)
			}
			for id, shard := range s.Shards[topology.CollectionID(pair.GetCollectionId())] {
				if rec := shard.Record; rec.Lost || len(rec.Actives()) != len(rec.Replicas) || rec.Primary == 0 || rec.Primary == 1 {
					t.Errorf("shard %d: %+v", id, rec)
				}
			}
		})
		_, err = store.Load[store.Session](ctx, p.store, store.SessionKey(1))
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("its session: %v", err)
		}
	})
}
