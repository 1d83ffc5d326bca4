// Package healthcheck is the facade of the health plane: it probes the peers it
// is assigned, concludes, and reports what it concluded to the control plane,
// which alone acts on it.
package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
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
	verdicts metric.Int64Gauge

	subjects []topology.PeerID
	revision uint64 // of the assignment
	full     bool   // everything is to be told: the control plane may know nothing
	down     bool   // reports do not arrive
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
	return &Service{cfg: cfg, deps: deps, rules: rules, verdicts: g, full: true, book: report.NewBook(rules, time.Now),
		prober: &probe.Prober{Dial: deps.Dial, Interval: rules.Interval, Timeout: 2 * rules.Interval,
			Now: func() time.Duration { return time.Since(start) }}}, nil
}

// told is the answer to a report.
type told struct {
	news     report.News
	answer   *placementv1.ReportResponse
	err      error
	complete bool
}

// Run probes until ctx ends, each peer at its own pace, and reports beside it:
// at once what is new, otherwise as often as the control plane asks.
func (s *Service) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	subjects, outcomes := make(chan []topology.PeerID, 1), make(chan probe.Outcome)
	all.Go(func() { s.prober.Run(ctx, subjects, outcomes) })
	if s.cfg.Own != 0 {
		s.subjects = []topology.PeerID{s.cfg.Own}
		subjects <- s.subjects
	}
	answers := make(chan told, 1)
	telling := false
	due := time.NewTimer(0)
	defer due.Stop()
	late, failed := false, false
	for {
		if n := s.book.News(s.full); !telling && (late || (!failed && !n.Empty())) {
			telling, late, failed = true, false, false
			all.Go(func() { answers <- s.tell(ctx, n) })
		}
		select {
		case o := <-outcomes:
			if slices.Contains(s.subjects, o.Peer) { // it may just have been dismissed
				s.book.Take(o)
			}
		case <-due.C:
			late = true
			s.measure(ctx)
		case t := <-answers:
			telling, late, failed = false, false, t.err != nil
			s.note(t.err)
			due.Reset(s.take(t, subjects))
		case <-ctx.Done():
			return nil
		}
	}
}

// tell sends one report. What did not arrive is news again next time.
func (s *Service) tell(ctx context.Context, n report.News) told {
	ctx, cancel := context.WithTimeout(ctx, 2*s.rules.Interval)
	defer cancel()
	r, err := s.deps.Decisions.Report(ctx, &placementv1.ReportRequest{Observer: uint64(s.cfg.Observer), OwnPeerId: uint64(s.cfg.Own),
		Peers: n.Peers, Replicas: n.Replicas, AssignmentRevision: s.revision, Full: s.full})
	return told{news: n, answer: r, err: err, complete: s.full}
}

// take learns from the answer to a report, and gives the time to the next one.
func (s *Service) take(t told, subjects chan []topology.PeerID) time.Duration {
	if t.err != nil {
		return s.rules.Interval
	}
	s.book.Told(t.news)
	if r := t.answer; r.GetAssignmentRevision() != s.revision {
		// Other subjects, or another leader, which must hear everything.
		s.revision, s.full = r.GetAssignmentRevision(), true
		s.subjects = nil
		for _, p := range r.GetSubjects() {
			s.subjects = append(s.subjects, topology.PeerID(p))
		}
		s.book.Keep(s.subjects)
		select {
		case <-subjects: // not taken yet, and out of date
		default:
		}
		subjects <- s.subjects
	} else if t.complete {
		s.full = false
	}
	return max(t.answer.GetInterval().AsDuration(), s.rules.Interval)
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
