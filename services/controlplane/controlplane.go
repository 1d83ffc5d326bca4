// Package controlplane is the facade of the control plane: who is in the cluster, which collections exist, where their
// shards are. It composes the embedded etcd member, the store on it, a decoded view of the store, the leader's loop and
// the RPCs.
//
//	Register ─► api ─► store ─► member (etcd) ◄─ Handler
//	             └───► view ◄── store
//	                    └► reconcile ─► store
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
	"strconv"
	"time"

	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/controlplane/internal/api"
	"github.com/pandodb/pando/services/controlplane/internal/book"
	"github.com/pandodb/pando/services/controlplane/internal/member"
	"github.com/pandodb/pando/services/controlplane/internal/peers"
	"github.com/pandodb/pando/services/controlplane/internal/reconcile"
	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/store/etcdstore"
	"github.com/pandodb/pando/services/controlplane/internal/swap"
	"github.com/pandodb/pando/services/controlplane/internal/view"
	"github.com/pandodb/pando/services/internal/topology"
)

// Config is plain data; the zero value of a field means its default. Run changes the working directory of the process unless
// Deps.Memory is set: every path of the process must be absolute by then.
type Config struct {
	// Dir is the folder of this member. Made absolute by New.
	Dir string
	// ID is the stable id of this process among the members; "" = the folder's own, random in a new folder.
	ID string
	// Address is host:port of the internal port, as others reach it.
	Address string
	// Peer is the data peer in this process; 0 = none.
	Peer topology.PeerID
	// Voters are the ids of all founding members, this one included; empty = this one alone. Only a new folder looks at it.
	Voters []string
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

// Deps are the seams; the zero value is production.
type Deps struct {
	// DialMember reaches the internal port of another process for etcd's traffic; nil = plain TCP without a secret.
	DialMember member.Dialer
	// Dial reaches the internal port of a process by its stable id: the replicas of its peer, and its control plane. nil = nobody can
	// be reached, so nothing is done that needs another's word.
	Dial func(process string) (grpc.ClientConnInterface, error)
	// Memory replaces etcd, for tests with several control planes in one process.
	Memory *Memory
	Now    func() time.Time
	Log    *slog.Logger
	Meter  metric.MeterProvider // nil = no metrics
}

// engine is what keeps the records and says who leads: an etcd member, or Memory.
type engine interface {
	api.AddressBook
	// run makes the engine work, runs work on it as soon as it does, and ends when either has.
	run(ctx context.Context, work func(context.Context) error) error
	office() (reconcile.Office, <-chan struct{})
	clusterID() string
	status() engineStatus
}

// Service is a control plane process.
type Service struct {
	cfg    Config
	deps   Deps
	engine engine
	member *member.Member // nil with Memory
	view   *view.View
	loop   *reconcile.Loop
	api    *api.Server
}

// New reads or makes the member's folder and composes the parts. It starts nothing.
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
	s := &Service{cfg: cfg, deps: deps}
	records, err := s.newEngine()
	if err != nil {
		return nil, fmt.Errorf("control plane: %w", err)
	}
	s.view = view.New(records, deps.Log)
	ask := peers.Peers{Dial: s.dial}
	performer := &swap.Performer{Ask: ask, Now: deps.Now}
	if err := s.observe(performer); err != nil {
		return nil, fmt.Errorf("control plane: %w", err)
	}
	s.loop = reconcile.New(reconcile.Config{
		Store: records, View: s.view, Office: s.engine.office, Peers: ask, Performer: performer, BirthWait: cfg.BirthWait,
		Limits: reconcile.Limits{Incoming: cfg.IncomingTransfers, Outgoing: cfg.OutgoingTransfers}, Now: deps.Now, Logger: deps.Log,
	})
	s.api = api.New(api.Config{
		Store: records, View: s.view, Book: s.engine, ClusterID: s.ClusterID, Status: s.status, Desk: s.loop, Leader: s.leader,
		Performer: performer, Peers: ask, Room: s.room, SessionTTL: cfg.SessionTTL, NewID: newID, Now: deps.Now, Logger: deps.Log,
	})
	return s, nil
}

var errNoDial = errors.New("no way to other processes is set up")

func (s *Service) newEngine() (store.Store, error) {
	if m := s.deps.Memory; m != nil {
		e := m.join(s.cfg.ID)
		s.engine = e
		return m.store, nil
	}
	m, err := member.New(member.Config{
		Dir: s.cfg.Dir, ID: s.cfg.ID, Addr: s.cfg.Address, Peer: s.cfg.Peer, Voters: s.cfg.Voters, Token: token(s.cfg.Voters),
		Tick: s.cfg.Tick, Election: s.cfg.Election, Quota: s.cfg.QuotaBytes, UnsafeNoFsync: s.cfg.UnsafeNoFsync,
		Dial: s.deps.DialMember, Logger: s.deps.Log,
	})
	if err != nil {
		return nil, err
	}
	s.member, s.engine = m, etcdEngine{m}
	return etcdstore.New(m.Client), nil
}

// token makes the id of a new cluster differ from that of every other one, also of one with the same member names. Members that
// found a cluster together must agree on it, so it is random only for a cluster of one.
func token(voters []string) string {
	if len(voters) > 1 {
		return ""
	}
	return fmt.Sprintf("%016x", newID())
}

// newID is 63 random bits: never 0, and never twice.
func newID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: the process ends instead
	return binary.BigEndian.Uint64(b[:])>>1 | 1
}

// dial reaches the process of a peer.
func (s *Service) dial(p topology.PeerID) (grpc.ClientConnInterface, error) {
	process := strconv.FormatUint(uint64(p), 10) // as `pando serve` names itself
	for name, a := range s.engine.Book().Entries() {
		if a.Peer == p {
			process = book.IDOf(name)
		}
	}
	return s.deps.Dial(process)
}

var errNoLeader = errors.New("no member is known to lead")

// leader reaches the control plane of the process that leads.
func (s *Service) leader() (placementv1.DecisionsClient, error) {
	st := s.engine.status()
	for _, m := range st.members {
		if st.leader != 0 && m.ID == st.leader {
			c, err := s.deps.Dial(m.Name)
			if err != nil {
				return nil, fmt.Errorf("process %s: %w", m.Name, err)
			}
			return placementv1.NewDecisionsClient(c), nil
		}
	}
	return nil, errNoLeader
}

// room fails while the disk has too little space for new records.
func (s *Service) room() error {
	if s.member == nil {
		return nil
	}
	return s.member.Room()
}

// Register adds Session, Catalog, Decisions and Book of pando.placement.v1 to the internal server.
func (s *Service) Register(r grpc.ServiceRegistrar) { s.api.Register(r) }

// Handler serves etcd's traffic on the internal port; 503 until Run has started it, 404 with Memory.
func (s *Service) Handler() http.Handler {
	if s.member == nil {
		return http.NotFoundHandler()
	}
	return s.member.Handler()
}

// Ready is closed when the records are read: calls are answered and ClusterID is known from then on.
func (s *Service) Ready() <-chan struct{} { return s.view.Ready() }

// ClusterID was minted when the cluster was founded; "" before Ready.
func (s *Service) ClusterID() string { return s.engine.clusterID() }

// Addresses of the peers in the book: host:port of the internal port of the process that hosts each.
func (s *Service) Addresses() map[topology.PeerID]string {
	out := map[topology.PeerID]string{}
	for _, a := range s.engine.Book().Entries() {
		if a.Peer != 0 {
			out[a.Peer] = a.Addr
		}
	}
	return out
}

// Run starts the member and all that works on it, and blocks until ctx ends (nil) or the member does. The loops end before the
// member, which hands its leadership over.
func (s *Service) Run(ctx context.Context) error {
	err := s.engine.run(ctx, func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return s.view.Run(ctx) })
		group.Go(func() error { return s.loop.Run(ctx) })
		return group.Wait()
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("control plane: %w", err)
	}
	return nil
}
