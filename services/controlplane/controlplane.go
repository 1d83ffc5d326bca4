// Package controlplane is the facade of the control plane: who is in the cluster, which collections exist, where their
// shards are. It composes the embedded etcd member, while this process has one, the store on it, a decoded view of the
// store, the leader's loops and the RPCs.
//
//	Register ─► api ─► store ─► seat ─► member (etcd) ◄─ Handler
//	             └───► view ◄── store
//	                    ├► reconcile ─► store
//	                    └► seats ─► member
//
// It owns no socket: Register and Handler hand its endpoints to whoever does.
package controlplane

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/api"
	"github.com/pandodb/pando/services/controlplane/internal/member"
	"github.com/pandodb/pando/services/controlplane/internal/peers"
	"github.com/pandodb/pando/services/controlplane/internal/reconcile"
	"github.com/pandodb/pando/services/controlplane/internal/seats"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/links"
	"github.com/pandodb/pando/services/internal/topology"
)

// Config is plain data; the zero value of a field means its default. Run changes the working directory of the process unless
// Deps.Memory is set: every path of the process must be absolute by then.
type Config struct {
	// Dir is the folder of the member in this process. Made absolute by New.
	Dir string
	// ID is the stable id of this process.
	ID string
	// Peer is the data peer in this process; 0 = none.
	Peer topology.PeerID
	// Found says that a folder without a member founds a cluster of one; otherwise the process waits for a seat in the one that it
	// belongs to.
	Found bool
	// Founder is the peer that a founded cluster starts with, and Seed the placement that it has left behind with its former one.
	Founder *placementv1.Peer
	Seed    []*placementv1.Change
	// SessionTTL is how long a peer's session outlives its last sign of life; at least 1 s with etcd. 0 = 1 s.
	SessionTTL time.Duration
	// Transfers that the control plane begins by itself are bound by peer: so many that it receives and sends at a time. 0 = 4, less
	// than 0 = any number.
	IncomingTransfers, OutgoingTransfers int
	// BirthWait is how long the birth of a shard waits for a silent replica while another one has answered. 0 = 5 s.
	BirthWait time.Duration
	// Tick and Election are etcd's timings; 0 = 50 ms and ten ticks.
	Tick, Election time.Duration
	// QuotaBytes of etcd's database; 0 = 1 GiB.
	QuotaBytes int64
	// UnsafeNoFsync gives up durability. Tests only.
	UnsafeNoFsync bool
}

// Deps are the seams. Memory stands for all those of a real cluster, which must be set without it.
type Deps struct {
	// Links know the other processes.
	Links *links.Links
	// Control reaches the control plane, in this process or another one; Usable tells it whether the member here can be used.
	Control grpc.ClientConnInterface
	Usable  func(bool)
	// Dial reaches another process.
	Dial func(process string) (grpc.ClientConnInterface, error)
	// DialMember reaches the internal port of another process for etcd's traffic.
	DialMember member.Dialer
	// ClusterID was minted when the cluster was founded.
	ClusterID func() string
	// Removed is told that this process was taken out of the cluster.
	Removed func()
	// Memory replaces etcd, for tests with several control planes in one process.
	Memory *Memory
	Now    func() time.Time
	Log    *slog.Logger
	Meter  metric.MeterProvider // nil = no metrics
}

// engine is what keeps the records and says who leads: an etcd member, or Memory.
type engine interface {
	records() store.Store
	// run makes the engine work, runs work on it as soon as and as long as it does, and ends with ctx or when it cannot go on.
	run(ctx context.Context, work func(context.Context) error) error
	office() (reconcile.Office, <-chan struct{})
	// usable tells whether calls can be answered here now.
	usable() bool
	status() engineStatus
}

// Service is the control plane's part in a process.
type Service struct {
	cfg     Config
	deps    Deps
	engine  engine
	seat    *seat // nil with Memory
	records store.Store
	view    *view.View
	loop    *reconcile.Loop
	seats   atomic.Pointer[seats.Loop] // of the member that runs
	sown    bool
	api     *api.Server
}

// New composes the parts. It starts nothing.
func New(cfg Config, deps Deps) (*Service, error) {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Dial == nil {
		deps.Dial = func(string) (grpc.ClientConnInterface, error) { return nil, errNoDial }
	}
	var err error
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, fmt.Errorf("control plane: %w", err)
	}
	s := &Service{cfg: cfg, deps: deps}
	members := api.Members{}
	var room func() error
	var removeMember func(context.Context, topology.PeerID) error
	if m := deps.Memory; m != nil {
		s.engine, s.deps.ClusterID = m.join(cfg.ID), func() string { return m.id }
	} else {
		s.seat = newSeat(cfg, deps)
		s.engine = s.seat
		members = api.Members{Elsewhere: placementv1.NewMembersClient(deps.Control), List: s.list, Look: s.seat.look,
			Book: func() []*placementv1.BookEntry { return links.Messages(deps.Links.Book()) }}
		room, removeMember = s.seat.room, s.removeMember
	}
	s.records = s.engine.records()
	s.view = view.New(s.records, deps.Log)
	ask := peers.Peers{Dial: s.dial}
	performer := &swap.Performer{Ask: ask, Now: deps.Now}
	if err := s.observe(performer); err != nil {
		return nil, fmt.Errorf("control plane: %w", err)
	}
	s.loop = reconcile.New(reconcile.Config{
		Store: s.records, View: s.view, Office: s.engine.office, Peers: ask, Performer: performer, BirthWait: cfg.BirthWait,
		Limits: reconcile.Limits{Incoming: cfg.IncomingTransfers, Outgoing: cfg.OutgoingTransfers}, Now: deps.Now, Logger: deps.Log,
	})
	s.api = api.New(api.Config{
		Store: s.records, View: s.view, Members: members, Usable: s.engine.usable, ClusterID: s.deps.ClusterID, Status: s.status,
		Desk: s.loop, Leader: s.leader, Performer: performer, Peers: ask, RemoveMember: removeMember, Room: room,
		SessionTTL: cfg.SessionTTL, NewID: newID, Now: deps.Now, Logger: deps.Log,
	})
	return s, nil
}

var errNoDial = errors.New("no way to other processes is set up")

// newID is 63 random bits: never 0, and never twice.
func newID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: the process ends instead
	return binary.BigEndian.Uint64(b[:])>>1 | 1
}

// dial reaches the process of a peer.
func (s *Service) dial(p topology.PeerID) (grpc.ClientConnInterface, error) {
	process := strconv.FormatUint(uint64(p), 10)
	if s.deps.Links != nil {
		process = s.deps.Links.ProcessOf(p)
	}
	return s.deps.Dial(process)
}

var errNoLeader = errors.New("no member is known to lead")

// leader reaches the control plane of the process that leads.
func (s *Service) leader() (placementv1.DecisionsClient, error) {
	st := s.engine.status()
	for _, m := range st.members {
		if st.leader != 0 && m.ID == st.leader {
			c, err := s.deps.Dial(m.Process)
			if err != nil {
				return nil, fmt.Errorf("process %s: %w", m.Process, err)
			}
			return placementv1.NewDecisionsClient(c), nil
		}
	}
	return nil, errNoLeader
}

// Register adds Session, Catalog, Decisions and Members of pando.placement.v1 to the internal server. While this process has no
// usable member they answer NO_LEADER; Join is passed on.
func (s *Service) Register(r grpc.ServiceRegistrar) { s.api.Register(r) }

// Handler serves etcd's traffic on the internal port; 503 while no member runs, 404 with Memory.
func (s *Service) Handler() http.Handler {
	if s.seat == nil {
		return http.NotFoundHandler()
	}
	return s.seat.handler()
}

// Ready is closed when calls could be answered here for the first time.
func (s *Service) Ready() <-chan struct{} {
	if s.seat != nil {
		return s.seat.first
	}
	return s.view.Ready()
}

// HasMember tells whether a member lives, or lived last, in a folder.
func HasMember(dir string) (bool, error) { return member.HasData(dir) }

// Forget removes the member from a folder in which none runs, when its process leaves the cluster.
func Forget(dir string) error { return member.Empty(dir) }

// Run starts the member, if this process is to have one, and all that works on it, and blocks until ctx ends (nil) or the
// member cannot go on. The loops end before the member, which hands its leadership over.
func (s *Service) Run(ctx context.Context) error {
	err := s.engine.run(ctx, s.work)
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("control plane: %w", err)
	}
	return nil
}

// work is what runs on a member that is ready.
func (s *Service) work(ctx context.Context) error {
	if err := s.sow(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.view.Run(ctx) })
	group.Go(func() error { return s.loop.Run(ctx) })
	if s.seat != nil {
		group.Go(func() error { return s.seat.watch(ctx, s.caughtUp) })
		if m, _ := s.seat.slot.Get(); m != nil {
			loop := seats.New(s.seating(m))
			s.seats.Store(loop)
			group.Go(func() error { return loop.Run(ctx) })
		}
	}
	return group.Wait()
}

// caughtUp waits until the view has seen what was there when it began.
func (s *Service) caughtUp(ctx context.Context) error {
	page, err := s.records.List(ctx, store.Range{Prefix: store.LeaderKey, Limit: 1})
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, time.Second) // the newest revision may lie outside what the view sees
	defer cancel()
	if err := s.view.Wait(wait, page.Revision); err != nil && ctx.Err() != nil {
		return err
	}
	return nil
}
