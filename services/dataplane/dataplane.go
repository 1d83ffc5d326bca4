// Package dataplane is the facade of a data peer: the public API and the
// replicas behind it. The two towers meet here, and only here: requests (rest,
// api, coordinator) and shards (peer, node, replica, shard) know each other
// through the shard client that this package makes.
package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/dataplane/internal/api"
	"github.com/pandodb/pando/services/dataplane/internal/api/cluster"
	"github.com/pandodb/pando/services/dataplane/internal/conflicts"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/dataplane/internal/node"
	"github.com/pandodb/pando/services/dataplane/internal/peer"
	"github.com/pandodb/pando/services/dataplane/internal/promote"
	"github.com/pandodb/pando/services/dataplane/internal/rest"
	"github.com/pandodb/pando/services/dataplane/internal/session"
	"github.com/pandodb/pando/services/internal/config"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

// Config is plain data.
type Config struct {
	// Dir is the data folder.
	Dir string
	// PeerID is the wish for a new folder; 0 takes a random one.
	PeerID topology.PeerID
	// URI, Zone and Version go into the peer's record.
	URI, Zone, Version string
	// Commit of this build, 40 characters, for GET /.
	Commit string
	// ClusterEnabled false gives the answers of a standalone server.
	ClusterEnabled bool
	// MaxBody of a REST request in bytes; 0: the default. CORS: any origin may call.
	MaxBody int64
	CORS    bool
	// Collection holds the defaults for new collections.
	Collection config.Collection
	// MaxCollections is the setting storage.max_collections.
	MaxCollections int
	// Performance bounds what goes on in the background.
	Performance config.Performance
	// LogSegment is the size in bytes of a segment of an operation log; 0: the default.
	LogSegment int64
}

// Deps are the seams. All must be set but Metrics, Keys, Unreachable and Removed.
type Deps struct {
	FS vfs.FS
	// Control reaches the control plane.
	Control grpc.ClientConnInterface
	// Dial reaches another peer by its address in the book.
	Dial    func(topology.PeerID) (grpc.ClientConnInterface, error)
	Random  io.Reader
	Log     *slog.Logger
	Tracer  trace.TracerProvider
	Meter   metric.MeterProvider
	Metrics http.Handler
	Keys    *rpc.Keys
	// Unreachable are the peers that could not be connected to at the last attempt.
	Unreachable func() map[topology.PeerID]Unreachable
	// Removed is told that this peer was taken out of the cluster.
	Removed func()
}

// Unreachable is why a peer cannot be connected to.
type Unreachable = cluster.Unreachable

// What keeps a peer from starting. The text says what to do.
var (
	// ErrFolder: the data folder cannot be used.
	ErrFolder = errors.New("data folder cannot be used")
	// ErrDamaged: stored bytes are not what was written.
	ErrDamaged = errors.New("stored data is damaged")
)

// Service is a data peer. Close it if Run was never called.
type Service struct {
	cfg     Config
	deps    Deps
	folder  *node.Folder
	node    *node.Node
	session *session.Session
	record  *placementv1.Peer
	shards  *peer.Server
	copies  *peer.Replication
	streams *peer.Streams
	asks    *asks
	// decisions is where replicas ask for other states of replicas.
	decisions placementv1.DecisionsClient
	probe     *peer.Prober
	care      care
	conflicts *conflicts.List
	api       *api.API
	promote   *promote.Runner
	local     *rpc.Local
	handler   http.Handler
}

// New acquires in the order of the architecture, from the disk up; it starts
// nothing. On error everything is given back.
func New(cfg Config, deps Deps) (_ *Service, err error) {
	s := &Service{cfg: cfg, deps: deps, asks: newAsks(), decisions: placementv1.NewDecisionsClient(deps.Control)}
	if s.folder, err = node.OpenFolder(deps.FS, cfg.Dir, cfg.PeerID, deps.Random); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.folder.Close())
		}
	}()
	if s.care, err = newCare(deps.Meter, deps.Log); err != nil {
		return nil, err
	}
	var damaged error
	if s.conflicts, damaged = conflicts.Open(deps.FS, cfg.Dir); damaged != nil {
		deps.Log.Warn("the list of conflicts cannot be read and begins anew", "reason", damaged)
	}
	s.node = node.New(node.Options{Folder: s.folder, Open: s.storage().Open, Peers: s.peers, Tracer: s.replicaTracer(), Control: s.heardControl, Late: s.late, Random: deps.Random, Logger: deps.Log})
	if s.session, err = s.openSession(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	s.shards = &peer.Server{Replica: s.replica, Reader: s.reader, Span: s.shardSpan}
	s.streams = &peer.Streams{Self: s.Self(), Dial: deps.Dial, Replica: s.replica, Log: deps.Log}
	s.copies = &peer.Replication{Server: s.shards, Streams: s.streams, Export: s.export}
	s.probe = &peer.Prober{Server: s.shards, Self: s.Self(), FS: deps.FS, Dir: cfg.Dir, Shards: s.held, Revision: s.revision,
		Session: s.session.ID, Incarnation: s.incarnation}
	c := coordinator.New(coordinator.Options{Self: s.Self(), Map: s.session.Map, Newer: s.session.Newer, Detached: s.detachedHere, Unsure: unsure, Peer: s.peer, Span: s.span})
	s.promote = promote.New(promote.Options{Self: s.Self(), Changed: s.session.Changed, Await: s.session.Await, Coordinator: c,
		Catalog: placementv1.NewCatalogClient(deps.Control), Draw: func() (uint64, error) { return node.Draw(deps.Random) }, Log: deps.Log})
	also, err := rest.NewCollection(cfg.Collection.Members)
	if err != nil {
		return nil, err
	}
	s.api = api.New(api.Deps{Coordinator: c, Catalog: placementv1.NewCatalogClient(deps.Control), Map: s.session.Map,
		Unreachable: deps.Unreachable, Detached: s.detached, Conflicts: s.conflicts.All, AwaitRevision: s.session.Await, Refetch: s.session.Refetch, Self: s.Self(), Commit: cfg.Commit, ClusterEnabled: cfg.ClusterEnabled,
		Progress: s.progress, Collection: cfg.Collection, NewCollection: also, MaxCollections: cfg.MaxCollections})
	if s.local, err = rpc.NewLocal(rpc.Options{Plane: "data", Logger: deps.Log, Tracer: deps.Tracer, Meter: deps.Meter, Keys: deps.Keys}); err != nil {
		return nil, err
	}
	s.api.Register(s.local)
	s.handler, err = rest.New(rest.Deps{Conn: s.local, Metrics: deps.Metrics, Admit: s.admit, Ready: s.Ready,
		MaxBody: cfg.MaxBody, CORS: cfg.CORS, Tracer: deps.Tracer})
	if err != nil {
		return nil, err
	}
	return s, s.observe()
}

// Self is this peer's id.
func (s *Service) Self() topology.PeerID { return s.folder.Peer }

// Record is what the peer says of itself.
func (s *Service) Record() *placementv1.Peer { return s.record }

// Belong says which cluster the peer belongs to; before Run. A placement that was
// kept of another cluster, which the peer has left, is answered and not used.
func (s *Service) Belong(cluster string) (left []*placementv1.Change) {
	return s.session.Belong(cluster)
}

// Retire makes the peer serve what it holds and ask the control plane for nothing
// any more: it was taken out of the cluster.
func (s *Service) Retire() { s.session.Retire() }

// Placement is the newest cluster map that this peer has.
func (s *Service) Placement() *topology.Map { return s.session.Map() }

// Registered is closed when the control plane knows this process.
func (s *Service) Registered() <-chan struct{} { return s.session.Registered() }

// RegisterPublic offers the public API.
func (s *Service) RegisterPublic(r grpc.ServiceRegistrar) { s.api.Register(r) }

// RegisterInternal offers what other processes of the cluster call.
func (s *Service) RegisterInternal(r grpc.ServiceRegistrar) {
	shardv1.RegisterShardServer(r, s.shards)
	shardv1.RegisterReplicationServer(r, s.copies)
	shardv1.RegisterProbeServer(r, s.probe)
	shardv1.RegisterConfirmServer(r, s.probe)
}

// Handler is the REST port.
func (s *Service) Handler() http.Handler { return s.handler }

// Local is the in-process connection under Handler; it is drained with the servers.
func (s *Service) Local() *rpc.Local { return s.local }

// Close gives the folder back.
func (s *Service) Close() error { return s.folder.Close() }

// Leave has other peers take over what this one holds, as far as they can, while it
// goes on serving. Where nobody else holds anything there is nothing to do.
func (s *Service) Leave(ctx context.Context) error {
	for _, c := range s.session.Map().Collections() {
		for _, p := range c.Shards {
			if me, ok := p.Replica(s.Self()); ok && me.State == topology.Active && p.ActiveCount() > 1 {
				return s.session.Leave(ctx)
			}
		}
	}
	return nil
}

// Run holds the session and the replicas until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	if err := s.apply(s.session.Map()); err != nil { // what it may serve by is told with the first registration
		return fmt.Errorf("data plane: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.session.Run(ctx) })
	g.Go(func() error { return s.saveConflicts(ctx) })
	g.Go(func() error { return s.node.Run(ctx) })
	g.Go(func() error { return s.streams.Run(ctx) })
	g.Go(func() error { return s.asks.run(ctx) })
	g.Go(func() error { return s.assign(ctx) })
	g.Go(func() error { return s.promote.Run(ctx) })
	if err := g.Wait(); err != nil {
		return fmt.Errorf("data plane: %w", err)
	}
	return nil
}
