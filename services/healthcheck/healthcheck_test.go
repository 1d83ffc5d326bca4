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

// world is a peer and a control plane in one.
type world struct {
	placementv1.DecisionsClient
	mu      sync.Mutex
	dead    bool
	disks   int
	probes  int
	reports []*placementv1.ReportRequest
	at      []time.Time
}

func (w *world) Probe(_ context.Context, r *shardv1.ProbeRequest, _ ...grpc.CallOption) (*shardv1.ProbeResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probes++
	if r.GetDisk() {
		w.disks++
	}
	if w.dead {
		return nil, errors.New("connection refused")
	}
	return &shardv1.ProbeResponse{}, nil
}

func (w *world) Report(_ context.Context, r *placementv1.ReportRequest, _ ...grpc.CallOption) (*placementv1.ReportResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports, w.at = append(w.reports, r), append(w.at, time.Now())
	return &placementv1.ReportResponse{AssignmentRevision: 3, Subjects: []uint64{10, 11}, Interval: durationpb.New(5 * time.Second)}, nil
}

func (w *world) set(dead bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = dead
}

func TestDeadIsReportedWithinTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s, err := New(Config{Observer: 10, Own: 10}, Deps{Dial: func(topology.PeerID) (shardv1.ProbeClient, error) { return w, nil },
			Decisions: w, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Meter: noop.Meter{}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		<-time.After(10 * time.Second)
		w.set(true)
		died := time.Now()
		<-time.After(3 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		var dead time.Time
		for i, r := range w.reports {
			for _, p := range r.GetPeers() {
				if p.GetPeerId() == 11 && p.GetVerdict() == placementv1.Verdict_VERDICT_DEAD {
					dead = w.at[i]
				}
			}
		}
		if took := dead.Sub(died); took <= 0 || took > 2*time.Second {
			t.Errorf("peer 11 reported dead after %v", took)
		}
		if w.reports[0].GetOwnPeerId() != 10 || w.reports[1].GetAssignmentRevision() != 3 {
			t.Errorf("reports %v", w.reports[:2])
		}
		if w.disks > 2*14 || w.disks < 2*11 {
			t.Errorf("%d disk probes of two peers in 13 s", w.disks)
		}
		if n := len(w.reports); n > 12 {
			t.Errorf("%d reports in 13 s with two changes", n)
		}
	})
}
