package api

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/member"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

func joining(id topology.PeerID, uri, folder string) *placementv1.JoinRequest {
	return &placementv1.JoinRequest{Process: fmt.Sprint(id), Peer: &placementv1.Peer{
		PeerId: uint64(id), Uri: uri, Folder: folder, Version: "0.1.0", Wire: &placementv1.WireRange{Min: 1, Max: 1},
	}}
}

// enter joins and opens a session, as a process does.
func (p *plane) enter(ctx context.Context, req *placementv1.JoinRequest) (end context.CancelFunc) {
	p.Helper()
	_, err := p.members.Join(ctx, req)
	p.ok("join", err)
	r, err := p.session.Register(ctx, &placementv1.RegisterRequest{Peer: req.GetPeer(), ProcessId: "p", ClusterId: "c1", Inventory: &placementv1.Inventory{Full: true}})
	p.ok("register", err)
	ctx, end = context.WithCancel(ctx)
	p.group.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(300 * time.Millisecond):
			}
			if err := p.store.Renew(ctx, store.LeaseID(r.GetSessionId())); err != nil && ctx.Err() == nil {
				return err
			}
		}
	})
	return end
}

func TestJoin(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		first := joining(1, "http://a:6335", "f1")
		p.enter(ctx, first)
		again, err := p.members.Join(ctx, first)
		if p.ok("repeated", err); again.GetClusterId() != "c1" || again.GetRevision() == 0 {
			t.Errorf("repeated: %v", again)
		}
		wire := joining(9, "http://z:6335", "f9")
		wire.Peer.Wire = &placementv1.WireRange{Min: 2, Max: 3}
		for name, req := range map[string]*placementv1.JoinRequest{
			"living holder of the id":          joining(1, "http://b:6335", "f2"),
			"living holder of the URI":         joining(2, "http://A:6335/", "f2"),
			"no folder":                        joining(2, "http://b:6335", ""),
			"no URI":                           joining(2, "", "f2"),
			"no id":                            joining(0, "http://b:6335", "f2"),
			"id that JSON numbers cannot hold": joining(1<<53, "http://b:6335", "f2"),
			"wire versions":                    wire,
		} {
			_, err := p.members.Join(ctx, req)
			p.want(name, err, codes.FailedPrecondition, fault.JoinRefused)
		}
		p.want("another folder under a known id", func() error {
			_, err := p.session.Register(ctx, &placementv1.RegisterRequest{Peer: joining(1, "http://a:6335", "f2").GetPeer(), ProcessId: "q"})
			return err
		}(), codes.FailedPrecondition, fault.JoinRefused)
	})
}

// TestJoinReplaces: a process that is gone and has nothing gives its URI, or its id, to a new one; one with replicas does not.
func TestJoinReplaces(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		keeper := p.join(ctx, 7, false)
		p.create(ctx, "c")
		p.enter(ctx, joining(1, "http://a:6335", "f1"))()
		began := time.Now()
		_, err := p.members.Join(ctx, joining(2, "http://a:6335", "f2"))
		p.ok("under the URI of one that was killed just now", err)
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("it took %v", d)
		}
		_, err = p.session.Register(ctx, &placementv1.RegisterRequest{Peer: joining(1, "http://a:6335", "f1").GetPeer(), ProcessId: "p", ClusterId: "c1"})
		p.want("the replaced one comes back", err, codes.FailedPrecondition, fault.PeerRemoved)
		_, err = p.members.Join(ctx, joining(2, "http://b:6335", "f3"))
		p.ok("under the id of one without a session", err)
		keeper.stop()
		_, err = p.members.Join(ctx, joining(7, "http://c:6335", "f7"))
		p.want("under the id of one with replicas", err, codes.FailedPrecondition, fault.JoinRefused)
		_, err = p.members.Join(ctx, joining(8, "http://h:6335", "f8"))
		p.want("under the URI of one with replicas", err, codes.FailedPrecondition, fault.JoinRefused)
	})
}

// elsewhere is another process.
type elsewhere struct {
	placementv1.MembersClient
	asked *placementv1.JoinRequest
}

func (e *elsewhere) Join(_ context.Context, req *placementv1.JoinRequest, _ ...grpc.CallOption) (*placementv1.JoinResponse, error) {
	e.asked = req
	return &placementv1.JoinResponse{ClusterId: "c1"}, nil
}

// TestJoinIsPassedOn: a process without a usable member asks another one, once.
func TestJoinIsPassedOn(t *testing.T) {
	var other elsewhere
	run(t, func(c *Config) { c.Usable, c.Members.Elsewhere = func() bool { return false }, &other }, func(ctx context.Context, p *plane) {
		if _, err := p.members.Join(ctx, joining(1, "http://a:6335", "f")); err != nil || !other.asked.GetForwarded() || other.asked.GetPeer().GetFolder() != "f" {
			t.Errorf("%v, passed on %v", err, other.asked)
		}
		req := joining(1, "http://a:6335", "f")
		req.Forwarded = true
		_, err := p.members.Join(ctx, req)
		p.want("passed on before", err, codes.Unavailable, fault.NoLeader)
		_, err = p.members.Seat(ctx, &placementv1.SeatRequest{Process: "1"})
		p.want("seat", err, codes.Unavailable, fault.NoLeader)
	})
}

func TestSeat(t *testing.T) {
	var failing error
	list := func(context.Context) ([]member.Info, error) {
		return []member.Info{{ID: 5, Process: "1"}, {ID: 6, Process: "2", Learner: true}}, failing
	}
	run(t, func(c *Config) { c.Members.List = list }, func(ctx context.Context, p *plane) {
		p.enter(ctx, joining(1, "http://a:6335", "f1"))
		for id, belongs := range map[uint64]bool{0: true, 1: true, 2: false} {
			r, err := p.members.Seat(ctx, &placementv1.SeatRequest{Process: fmt.Sprint(id), PeerId: id})
			if p.ok("seat", err); r.GetBelongs() != belongs || len(r.GetMembers()) != 2 || !r.GetMembers()[1].GetLearner() {
				t.Errorf("peer %d: %v", id, r)
			}
		}
		failing = errors.New("no quorum")
		_, err := p.members.Seat(ctx, &placementv1.SeatRequest{Process: "1", PeerId: 1})
		p.want("without a quorum", err, codes.Unavailable, fault.NoLeader)
	})
}

// TestBlindWatch: watchers of a member that has lost its leader are sent away, since others may go on without it.
func TestBlindWatch(t *testing.T) {
	var blind atomic.Bool
	run(t, func(c *Config) { c.Usable = func() bool { return !blind.Load() } }, func(ctx context.Context, p *plane) {
		stream, err := p.session.WatchPlacement(ctx, &placementv1.WatchPlacementRequest{PeerId: 1})
		p.ok("watch", err)
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		blind.Store(true)
		began := time.Now()
		for err == nil { // what it had to say already
			_, err = stream.Recv()
		}
		p.want("watch", err, codes.Unavailable, fault.NoLeader)
		if d := time.Since(began); d < progressEvery || d > 4*progressEvery {
			t.Errorf("sent away after %v", d)
		}
	})
}
