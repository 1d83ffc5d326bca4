package healthcheck

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/internal/topology"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is some peers and a control plane in one.
type world struct {
	placementv1.DecisionsClient
	mu       sync.Mutex
	dead     map[topology.PeerID]bool // refuses connections
	hung     map[topology.PeerID]bool // answers nothing
	probes   map[topology.PeerID]int
	revision uint64
	subjects []uint64
	every    time.Duration
	deaf     bool // reports hang
	reports  []*placementv1.ReportRequest
	at       []time.Time
}

// peer is one of them.
type peer struct {
	w  *world
	id topology.PeerID
}

func (p peer) Probe(ctx context.Context, _ *shardv1.ProbeRequest, _ ...grpc.CallOption) (*shardv1.ProbeResponse, error) {
	p.w.mu.Lock()
	p.w.probes[p.id]++
	dead, hung := p.w.dead[p.id], p.w.hung[p.id]
	p.w.mu.Unlock()
	switch {
	case hung:
		<-ctx.Done()
		return nil, ctx.Err()
	case dead:
		return nil, errors.New("connection refused")
	}
	return &shardv1.ProbeResponse{}, nil
}

func (w *world) Report(ctx context.Context, r *placementv1.ReportRequest, _ ...grpc.CallOption) (*placementv1.ReportResponse, error) {
	w.mu.Lock()
	deaf := w.deaf
	w.mu.Unlock()
	if deaf {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports, w.at = append(w.reports, r), append(w.at, time.Now())
	resp := &placementv1.ReportResponse{AssignmentRevision: w.revision, Interval: durationpb.New(w.every)}
	if r.GetAssignmentRevision() != w.revision {
		resp.Subjects = w.subjects
	}
	return resp, nil
}

func (w *world) with(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

// since gives the time from start to the first report after it that says so of a peer; 0 = none.
func (w *world) since(start time.Time, p uint64, v placementv1.Verdict) (took time.Duration) {
	w.with(func() {
		for i, r := range w.reports {
			for _, said := range r.GetPeers() {
				if said.GetPeerId() == p && said.GetVerdict() == v && took == 0 && w.at[i].After(start) {
					took = w.at[i].Sub(start)
				}
			}
		}
	})
	return took
}

// run observes a world from peer 10 for as long as fn takes.
func run(t *testing.T, fn func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{revision: 3, subjects: []uint64{10, 11, 12, 13}, every: 500 * time.Millisecond,
			dead: map[topology.PeerID]bool{}, hung: map[topology.PeerID]bool{}, probes: map[topology.PeerID]int{}}
		s, err := New(Config{Observer: 10, Own: 10}, Deps{
			Dial:      func(p topology.PeerID) (shardv1.ProbeClient, error) { return peer{w, p}, nil },
			Decisions: w, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Meter: noop.Meter{}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		<-time.After(10 * time.Second)
		fn(w)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestDeadIsReportedWithinTwoSeconds(t *testing.T) {
	run(t, func(w *world) {
		w.with(func() { w.dead[11] = true })
		died := time.Now()
		<-time.After(3 * time.Second)
		if took := w.since(died, 11, placementv1.Verdict_VERDICT_DEAD); took < 1240*time.Millisecond || took > 1760*time.Millisecond {
			t.Errorf("peer 11 reported dead after %v", took)
		}
		w.with(func() {
			first := w.reports[0]
			if first.GetOwnPeerId() != 10 || !first.GetFull() || w.reports[1].GetAssignmentRevision() != 3 {
				t.Errorf("reports %v", w.reports[:2])
			}
			if n := w.probes[12]; n < 50 || n > 53 {
				t.Errorf("%d probes of a peer in 13 s", n)
			}
			full := 0
			for _, r := range w.reports {
				if r.GetFull() {
					full++
				}
			}
			if n := len(w.reports); n < 24 || n > 34 || full != 2 {
				t.Errorf("%d reports in 13 s, %d of them complete", n, full)
			}
		})
	})
}

// TestHangingPeer: it is found out as soon as one that is gone, and delays nobody.
func TestHangingPeer(t *testing.T) {
	run(t, func(w *world) {
		w.with(func() { w.hung[11] = true })
		start := time.Now()
		<-time.After(1600 * time.Millisecond)
		died, before := time.Now(), 0
		w.with(func() { w.dead[12], before = true, w.probes[13] })
		<-time.After(3 * time.Second)
		if took := w.since(start, 11, placementv1.Verdict_VERDICT_DEAD); took == 0 || took > 2*time.Second {
			t.Errorf("the hanging peer reported dead after %v", took)
		}
		if took := w.since(died, 12, placementv1.Verdict_VERDICT_DEAD); took == 0 || took > 1760*time.Millisecond {
			t.Errorf("the dead peer beside it reported dead after %v", took)
		}
		w.with(func() {
			if n := w.probes[13] - before; n < 11 || n > 13 {
				t.Errorf("%d probes of another peer in 3 s", n)
			}
		})
	})
}

// TestHangingControlPlane: probing goes on, and what was found meanwhile is told as soon as reports are heard again.
func TestHangingControlPlane(t *testing.T) {
	run(t, func(w *world) {
		w.with(func() { w.deaf, w.dead[11] = true, true })
		start := time.Now()
		<-time.After(5 * time.Second)
		w.with(func() { w.deaf = false })
		<-time.After(time.Second)
		if took := w.since(start, 11, placementv1.Verdict_VERDICT_DEAD); took < 5*time.Second || took > 5800*time.Millisecond {
			t.Errorf("told after %v", took)
		}
	})
}

// TestAnotherLeader: a changed revision of the assignment makes the observer tell everything at once.
func TestAnotherLeader(t *testing.T) {
	run(t, func(w *world) {
		w.with(func() { w.dead[11] = true })
		<-time.After(5 * time.Second)
		before := 0
		w.with(func() { w.revision, before = 4, len(w.reports) })
		<-time.After(600 * time.Millisecond)
		w.with(func() {
			for i, r := range w.reports[before:] {
				if r.GetFull() {
					if len(r.GetPeers()) != 4 || r.GetAssignmentRevision() != 4 || i != 1 {
						t.Errorf("report %d: %v", i, r)
					}
					return
				}
			}
			t.Error("the new leader was not told")
		})
		w.with(func() { w.revision, w.subjects, before = 5, []uint64{10, 12}, len(w.reports) })
		<-time.After(2 * time.Second)
		w.with(func() {
			if last := w.reports[len(w.reports)-1]; last.GetFull() || len(last.GetPeers()) != 0 {
				t.Errorf("told again and again: %v", last)
			}
			probes := w.probes[11]
			for _, r := range w.reports[before+1:] {
				if r.GetFull() && len(r.GetPeers()) != 2 {
					t.Errorf("%v", r)
				}
			}
			if probes > 70 {
				t.Errorf("%d probes of a peer that was dismissed", probes)
			}
		})
	})
}
