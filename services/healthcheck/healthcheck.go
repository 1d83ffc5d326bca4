// Package healthcheck is the facade of the health plane: it probes the peers it
// is assigned, concludes, and reports what it concluded to the control plane,
// which alone acts on it.
package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/healthcheck/internal/probe"
	"github.com/pandodb/pando/services/healthcheck/internal/report"
	"github.com/pandodb/pando/services/healthcheck/internal/verdict"
	"github.com/pandodb/pando/services/internal/topology"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Config is plain data; the zero value of a field means its default.
type Config struct {
	// Observer names this observer in reports: the peer id in an all-in-one
	// process, any other unique number otherwise.
	Observer topology.PeerID
	// Own is the peer in this observer's process, whose verdict is not counted;
	// 0 if there is none.
	Own topology.PeerID
}

// Deps are the seams. All must be set.
type Deps struct {
	// Dial finds a peer by its address in the book.
	Dial func(topology.PeerID) (shardv1.ProbeClient, error)
	// Decisions is the control plane.
	Decisions placementv1.DecisionsClient
	Log       *slog.Logger
	Meter     metric.Meter
}

// Service probes and reports inside Run.
type Service struct {
	cfg      Config
	deps     Deps
	rules    verdict.Rules
	prober   *probe.Prober
	book     *report.Book
	subjects []topology.PeerID
	revision uint64
	verdicts metric.Int64Gauge
	down     bool
}

// New makes the service; it starts nothing.
func New(cfg Config, deps Deps) (*Service, error) {
	rules := verdict.DefaultRules()
	if err := rules.Validate(); err != nil {
		return nil, err
	}
	g, err := deps.Meter.Int64Gauge("pando_health_verdicts", metric.WithDescription("Peers and replicas by what this observer holds of them."))
	if err != nil {
		return nil, fmt.Errorf("health metrics: %w", err)
	}
	start := time.Now()
	s := &Service{cfg: cfg, deps: deps, rules: rules, verdicts: g, book: report.NewBook(rules, time.Now),
		prober: &probe.Prober{Dial: deps.Dial, Timeout: 2 * rules.Interval, Now: func() time.Duration { return time.Since(start) }}}
	if cfg.Own != 0 {
		s.subjects = []topology.PeerID{cfg.Own}
	}
	return s, nil
}

// Run probes every interval until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(s.rules.Interval)
	defer tick.Stop()
	next := time.Time{}
	for {
		s.book.Take(s.prober.Round(ctx, s.subjects))
		s.measure(ctx)
		peers, replicas := s.book.News(s.revision == 0)
		if now := time.Now(); len(peers)+len(replicas) > 0 || !now.Before(next) {
			interval, err := s.tell(ctx, peers, replicas)
			s.note(err)
			next = now.Add(interval)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// tell hands the news over and learns whom to observe. What did not arrive is
// news again next time.
func (s *Service) tell(ctx context.Context, peers []*placementv1.PeerVerdict, replicas []*placementv1.ReplicaVerdict) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.rules.Interval)
	defer cancel()
	r, err := s.deps.Decisions.Report(ctx, &placementv1.ReportRequest{Observer: uint64(s.cfg.Observer), OwnPeerId: uint64(s.cfg.Own),
		Peers: peers, Replicas: replicas, AssignmentRevision: s.revision})
	if err != nil {
		return s.rules.Interval, err
	}
	s.book.Told()
	if r.GetAssignmentRevision() != s.revision {
		s.revision, s.subjects = r.GetAssignmentRevision(), nil
		for _, p := range r.GetSubjects() {
			s.subjects = append(s.subjects, topology.PeerID(p))
		}
	}
	return max(r.GetInterval().AsDuration(), s.rules.Interval), nil
}

// note logs when reports begin to fail and when they arrive again.
func (s *Service) note(err error) {
	if errors.Is(err, context.Canceled) || (err != nil) == s.down {
		return
	}
	s.down = err != nil
	if s.down {
		level := slog.LevelWarn
		if s.revision == 0 { // at the start the control plane may take longer than the first probe
			level = slog.LevelInfo
		}
		s.deps.Log.Log(context.Background(), level, "verdicts do not reach the control plane", "error", err)
		return
	}
	s.deps.Log.Info("verdicts reach the control plane again")
}

func (s *Service) measure(ctx context.Context) {
	peers, replicas := s.book.Count()
	for _, state := range []verdict.State{verdict.Alive, verdict.Suspect, verdict.Dead} {
		s.verdicts.Record(ctx, int64(peers[state]), metric.WithAttributes(attribute.String("of", "peer"), attribute.String("verdict", state.String())))
		s.verdicts.Record(ctx, int64(replicas[state]), metric.WithAttributes(attribute.String("of", "replica"), attribute.String("verdict", state.String())))
	}
}
