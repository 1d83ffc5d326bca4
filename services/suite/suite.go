// Package suite composes the three planes into one process: `pando serve`. It
// owns the order of things and nothing else: sockets belong to package serve,
// the planes to their facades.
package suite

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/dataplane"
	"github.com/pandodb/pando/services/healthcheck"
	"github.com/pandodb/pando/services/internal/book"
	"github.com/pandodb/pando/services/internal/boot"
	"github.com/pandodb/pando/services/internal/config"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/links"
	"github.com/pandodb/pando/services/internal/release"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/serve"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// controlDir holds the control plane's member, beside the data.
const controlDir = "control"

// process is one running `pando serve`.
type process struct {
	cfg      *config.Loaded
	p        *boot.Process
	fs       vfs.FS
	dir      string // data folder, absolute
	keys     *rpc.Keys
	identity *rpc.Cluster
	health   *rpc.Health
	sockets  *serve.Sockets
	toData   *rpc.Local // in-process way to this peer's shards and probes
	toCtrl   *rpc.Local // in-process way to the control plane's services
	anyCtrl  *later     // way to the control plane, here or elsewhere
	links    *links.Links
	data     *dataplane.Service
	control  *controlplane.Service
	checks   *healthcheck.Service
	public   *grpc.Server
	internal *grpc.Server

	start    state // of the standing when this process started
	mu       sync.Mutex
	standing standing              // guarded by mu while the planes run
	welcome  book.Book             // the book of the cluster that has just taken us in
	left     []*placementv1.Change // the placement of the cluster that we have left
	leave    sync.Once
	departed chan struct{} // closed when this process was taken out of the cluster
}

// Serve runs all three planes until ctx ends. Everything is acquired before
// anything runs; what cannot be had is named with what to do about it.
func Serve(ctx context.Context, p *boot.Process, cfg *config.Loaded) error {
	s := &process{cfg: cfg, p: p, fs: vfs.OS(), health: rpc.NewHealth(p.Log), anyCtrl: &later{}, departed: make(chan struct{}),
		identity: rpc.NewCluster(cfg.Cluster.Secret, rpc.CallRules{Joining: []string{placementv1.Members_Join_FullMethodName},
			Anybody: []string{placementv1.Members_Join_FullMethodName, placementv1.Book_Exchange_FullMethodName}}),
		keys: rpc.NewKeys(cfg.Service.APIKey, cfg.Service.AltAPIKey, cfg.Service.ReadOnlyAPIKey)}
	s.health.NotReady("starting")
	if err := s.listen(ctx); err != nil {
		return boot.Exit(boot.ExitPort, err)
	}
	if err := s.compose(ctx); err != nil {
		return errors.Join(err, s.sockets.Close())
	}
	at := s.sockets.Addrs()
	p.Log.Info("serving", "peer", uint64(s.data.Self()), "rest", at.REST, "grpc", at.GRPC, "internal", at.Internal,
		"uri", s.uri(), "storage", cfg.Storage.Path, "version", release.Version)
	return s.sockets.Run(ctx, serve.Parts{REST: s.data.Handler(), Public: s.public, Internal: s.internal, Health: s.health,
		Locals: []*rpc.Local{s.data.Local()}, Leave: s.handBack, Planes: s.planes})
}

// leaveWithin bounds how long a stop waits for others to take over.
const leaveWithin = 5 * time.Second

// handBack lets others take over before this process stops. What they do not, they
// notice when it is gone.
func (s *process) handBack() {
	s.health.NotReady("shutting down")
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	if err := s.data.Leave(ctx); err != nil {
		s.p.Log.Warn("stopping before others have taken over", "reason", err)
	}
}

// later is a connection that is made after those who use it.
type later struct{ grpc.ClientConnInterface }

func (s *process) listen(ctx context.Context) (err error) {
	c := s.cfg
	s.sockets, err = serve.Listen(ctx, serve.Config{
		Host: c.Service.Host, InternalHost: serve.InternalHost(c.Service.Host, c.Cluster.URIHost()),
		HTTPPort: c.Service.HTTPPort, GRPCPort: c.Service.GRPCPort, InternalPort: c.Cluster.P2P.Port,
		Identity: s.identity, InsecureInternal: c.Cluster.InsecureInternal, KeepAlive: c.Service.KeepAlive(), Logger: s.p.Log,
	})
	return err
}

// uri is what this process advertises: cluster.uri, else loopback.
func (s *process) uri() string {
	if s.cfg.Cluster.URI != "" {
		return s.cfg.Cluster.URI
	}
	return "http://" + s.sockets.Addrs().Internal
}

// id is the stable id of this process.
func (s *process) id() string { return strconv.FormatUint(uint64(s.data.Self()), 10) }

func (s *process) controlDir() string { return filepath.Join(s.dir, controlDir) }

// compose acquires in the order of the architecture: the data folder first,
// since it names the peer, then its place in a cluster, the control plane, the
// servers.
func (s *process) compose(ctx context.Context) (err error) {
	if s.cfg.Cluster.URI == "" {
		s.p.Log.Info("cluster.uri is not set: other machines cannot reach this process; a later start with --uri changes that", "uri", s.uri())
	}
	if s.toCtrl, err = rpc.NewLocal(s.options("control")); err != nil {
		return err
	}
	if s.toData, err = rpc.NewLocal(s.options("peer")); err != nil {
		return err
	}
	if err = s.composeData(); err != nil {
		return err
	}
	s.p.Defer("data folder", func(context.Context) error { return s.data.Close() })
	if err = s.composeLinks(); err != nil {
		return err
	}
	s.p.Defer("connections", func(context.Context) error { return s.links.Close() })
	if err = s.belong(ctx); err != nil {
		return err
	}
	if err = s.composeControl(); err != nil {
		return err
	}
	s.checks, err = healthcheck.New(healthcheck.Config{Observer: s.data.Self(), Own: s.data.Self()}, healthcheck.Deps{
		Dial: s.dialProbe, Decisions: placementv1.NewDecisionsClient(s.anyCtrl), Log: s.p.Log,
		Meter: s.p.Meter.Meter("github.com/pandodb/pando/services/healthcheck"),
	})
	if err != nil {
		return err
	}
	return s.composeServers()
}

// options of a server or in-process connection that other processes, or this one's
// own planes, call.
func (s *process) options(plane string) rpc.Options {
	return rpc.Options{Plane: plane, Inside: true, Logger: s.p.Log, Tracer: s.p.Tracer, Meter: s.p.Meter}
}

func (s *process) composeData() (err error) {
	c := s.cfg
	if s.dir, err = filepath.Abs(c.Storage.Path); err != nil {
		return boot.Exit(boot.ExitData, err)
	}
	s.data, err = dataplane.New(dataplane.Config{
		Dir: s.dir, PeerID: topology.PeerID(c.Cluster.PeerID), URI: s.uri(), Zone: c.Cluster.Zone, Version: release.Version,
		Commit: release.Commit(), ClusterEnabled: c.Cluster.Enabled, MaxBody: int64(c.Service.MaxRequestSizeMB) << 20, CORS: c.Service.EnableCORS,
		Collection: c.Storage.Collection, MaxCollections: c.Storage.MaxCollections, Performance: c.Storage.Performance,
	}, dataplane.Deps{FS: s.fs, Control: s.anyCtrl, Dial: s.dial, Random: rand.Reader, Log: s.p.Log, Tracer: s.p.Tracer,
		Meter: s.p.Meter, Metrics: s.p.Metrics, Keys: s.keys, Unreachable: s.unreachable, Removed: s.depart})
	switch {
	case errors.Is(err, dataplane.ErrFolder):
		return boot.Exit(boot.ExitData, fmt.Errorf("storage.storage_path: %w", err))
	case errors.Is(err, dataplane.ErrDamaged):
		return boot.Exit(boot.ExitCorrupt, err)
	}
	if err == nil {
		s.data.RegisterInternal(s.toData)
		s.identity.SetSelf(s.id())
	}
	return err
}

func (s *process) composeLinks() (err error) {
	c := s.cfg.Cluster
	s.links, err = links.New(links.Config{
		Self: s.id(), Peer: s.data.Self(), Addr: s.sockets.Advertised(c.URIHost(), c.URIPort()), FS: s.fs, File: filepath.Join(s.dir, bookFile),
		Hints: c.Hints(), Dial: rpc.DialOptions{Tracer: s.p.Tracer, Cluster: s.identity}, Log: s.p.Log,
	})
	return boot.Exit(boot.ExitCorrupt, err)
}

func (s *process) composeControl() (err error) {
	way := links.NewControl(s.links, s.toCtrl)
	s.anyCtrl.ClientConnInterface = way
	s.control, err = controlplane.New(controlplane.Config{
		Dir: s.controlDir(), ID: s.id(), Peer: s.data.Self(), Found: s.start == founding, Founder: s.data.Record(), Seed: s.left,
		IncomingTransfers: limit(s.cfg.Storage.Performance.IncomingTransfers), OutgoingTransfers: limit(s.cfg.Storage.Performance.OutgoingTransfers),
	}, controlplane.Deps{
		Links: s.links, Control: way, Usable: way.Usable, Dial: s.dialProcess, DialMember: s.dialMember, ClusterID: s.identity.ID,
		Removed: s.depart, Log: s.p.Log, Meter: s.p.Meter,
	})
	if err != nil {
		return boot.Exit(boot.ExitData, err)
	}
	s.control.Register(s.toCtrl)
	s.sockets.MountPeer(s.control.Handler())
	return nil
}

// limit reads a setting in which 0 means none.
func limit(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

func (s *process) composeServers() (err error) {
	open := s.options("data")
	open.Keys, open.Health, open.Inside = s.keys, s.health, false
	if s.public, err = rpc.NewServer(open); err != nil {
		return err
	}
	s.data.RegisterPublic(s.public)
	s.health.RegisterPublic(s.public)
	rpc.RegisterReflection(s.public, "pando.cluster.v1.")
	inside := s.options("internal")
	inside.Cluster, inside.Health = s.identity, s.health
	if s.internal, err = rpc.NewServer(inside); err != nil {
		return err
	}
	s.data.RegisterInternal(s.internal)
	if s.cfg.Cluster.Enabled { // a standalone process takes nobody in
		s.control.Register(s.internal)
		s.links.Register(s.internal)
	}
	s.health.RegisterInternal(s.internal)
	return nil
}

// planes runs the three planes. The first that fails ends the others. A process
// that was taken out of its cluster runs the data plane alone.
func (s *process) planes(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.data.Run(ctx) })
	if s.start == removed {
		s.p.Log.Warn("this process was taken out of its cluster: it serves what it holds; start it with --reinit and --bootstrap to join again")
		s.health.NotReady("taken out of the cluster")
	} else {
		g.Go(func() error { return s.together(ctx) })
	}
	return exitCode(g.Wait())
}

// together runs what a process does as one of a cluster, until ctx ends or it was taken out.
func (s *process) together(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	ctx, end := context.WithCancel(ctx)
	defer end()
	former := s.standing.Bootstrap
	g.Go(func() error { return s.control.Run(ctx) })
	g.Go(func() error { return s.checks.Run(ctx) })
	g.Go(func() error { return s.links.Run(ctx, former) })
	g.Go(func() error { return s.settled(ctx) })
	g.Go(func() error {
		select {
		case <-s.links.Expelled():
			s.depart()
		case <-s.departed:
		case <-ctx.Done():
			return nil
		}
		s.data.Retire()
		s.health.NotReady("taken out of the cluster")
		end()
		return nil
	})
	return g.Wait()
}

// settled keeps that a cluster was founded, and is ready as soon as the control
// plane has been reached, here or elsewhere, or the peer's replicas go on without it.
func (s *process) settled(ctx context.Context) error {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-s.control.Ready():
		case <-s.data.Registered():
		case <-look.C:
			if s.data.Detached() && s.data.Ready() == nil {
				s.health.Ready()
			}
			continue
		case <-ctx.Done():
			return nil
		}
		s.health.Ready()
		return s.become(belongs)
	}
}

func exitCode(err error) error {
	switch fault.ReasonOf(err) {
	case fault.WrongCluster, fault.JoinRefused:
		return boot.Exit(boot.ExitCluster, err)
	}
	if errors.Is(err, links.ErrOtherCluster) {
		return boot.Exit(boot.ExitCluster, err)
	}
	return err
}

// dial reaches the shards of a peer.
func (s *process) dial(p topology.PeerID) (grpc.ClientConnInterface, error) {
	if p == s.data.Self() {
		return s.toData, nil
	}
	return s.links.To(s.links.ProcessOf(p))
}

// dialProcess reaches a process by its id.
func (s *process) dialProcess(id string) (grpc.ClientConnInterface, error) {
	if id == s.id() {
		return s.toData, nil
	}
	return s.links.To(id)
}

// dialMember reaches the member in another process, for etcd's own traffic.
func (s *process) dialMember(ctx context.Context, process string) (net.Conn, error) {
	addr, err := s.links.Resolve(process)
	if err != nil {
		return nil, err
	}
	return s.identity.DialPeer(ctx, addr, process)
}

// unreachable are the peers that could not be connected to at the last attempt.
func (s *process) unreachable() map[topology.PeerID]dataplane.Unreachable {
	out, known := map[topology.PeerID]dataplane.Unreachable{}, s.links.Book()
	for process, f := range s.links.Failing() {
		if a, ok := known.Lookup(process); ok && a.Peer != 0 {
			out[a.Peer] = dataplane.Unreachable{Count: f.Count, Err: f.Err, At: f.At}
		}
	}
	return out
}

func (s *process) dialProbe(p topology.PeerID) (shardv1.ProbeClient, error) {
	c, err := s.dial(p)
	if err != nil {
		return nil, err
	}
	return shardv1.NewProbeClient(c), nil
}
