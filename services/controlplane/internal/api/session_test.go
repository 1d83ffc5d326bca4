package api

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/fault"
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

// TestSignsOfLife: where nothing changes, a stream says twice a second that it is there.
func TestSignsOfLife(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		resp, err := p.session.Register(ctx, p.registration(1, "p"))
		p.ok("register", err)
		stream, err := p.session.WatchPlacement(ctx, &placementv1.WatchPlacementRequest{PeerId: 1})
		p.ok("watch", err)
		last := time.Now()
		for range 20 {
			msg, err := stream.Recv()
			p.ok("receive", err)
			if took := time.Since(last); took > 550*time.Millisecond {
				t.Fatalf("silent for %v", took)
			}
			if pr := msg.GetProgress(); pr != nil && pr.GetRevision() < resp.GetRevision() {
				t.Errorf("at revision %d, registered at %d", pr.GetRevision(), resp.GetRevision())
			}
			last = time.Now()
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
		// The peer's own records may have changed since.
		if len(sent) != 1 || sent[0].GetSnapshot().GetRevision() < last || len(sent[0].GetSnapshot().GetRecords()) != 2 {
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

func TestStatus(t *testing.T) {
	run(t, nil, func(ctx context.Context, p *plane) {
		resp, err := p.catalog.Status(ctx, &placementv1.StatusRequest{})
		if p.ok("status", err); resp.GetClusterId() != "c1" || resp.GetTerm() != 1 {
			t.Errorf("got %v", resp)
		}
	})
}
