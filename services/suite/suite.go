// Package suite composes the three planes into one process: `pando serve`. It
// owns the order of things and nothing else: sockets belong to package serve,
// the planes to their facades.
package suite

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/dataplane"
	"github.com/pandodb/pando/services/healthcheck"
	"github.com/pandodb/pando/services/internal/boot"
	"github.com/pandodb/pando/services/internal/config"
	"github.com/pandodb/pando/services/internal/fault"
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
	keys     *rpc.Keys
	identity *rpc.Cluster
	health   *rpc.Health
	sockets  *serve.Sockets
	toData   *rpc.Local // in-process way to this peer's shards and probes
	toCtrl   *rpc.Local // in-process way to the control plane
	data     *dataplane.Service
	control  *controlplane.Service
	checks   *healthcheck.Service
	public   *grpc.Server
	internal *grpc.Server
}

// Serve runs all three planes until ctx ends. Everything is acquired before
// anything runs; what cannot be had is named with what to do about it.
func Serve(ctx context.Context, p *boot.Process, cfg *config.Loaded) error {
	if len(cfg.Cluster.Bootstrap) > 0 {
		return boot.Exit(boot.ExitUsage, errors.New("cluster.bootstrap (--bootstrap): joining a cluster is not built yet; start without it for a cluster of one"))
	}
	s := &process{cfg: cfg, p: p, health: rpc.NewHealth(p.Log), identity: rpc.NewCluster(cfg.Cluster.Secret),
		keys: rpc.NewKeys(cfg.Service.APIKey, cfg.Service.AltAPIKey, cfg.Service.ReadOnlyAPIKey)}
	s.health.NotReady("starting")
	if err := s.listen(ctx); err != nil {
		return boot.Exit(boot.ExitPort, err)
	}
	if err := s.compose(); err != nil {
		return errors.Join(err, s.sockets.Close())
	}
	at := s.sockets.Addrs()
	p.Log.Info("serving", "peer", uint64(s.data.Self()), "rest", at.REST, "grpc", at.GRPC, "internal", at.Internal,
		"uri", s.uri(), "storage", cfg.Storage.Path, "version", release.Version)
	return s.sockets.Run(ctx, serve.Parts{REST: s.data.Handler(), Public: s.public, Internal: s.internal, Health: s.health,
		Locals: []*rpc.Local{s.data.Local()}, Planes: s.planes})
}

func (s *process) listen(ctx context.Context) (err error) {
	c := s.cfg
	s.sockets, err = serve.Listen(ctx, serve.Config{
		Host: c.Service.Host, InternalHost: serve.InternalHost(c.Service.Host, c.Cluster.URIHost()),
		HTTPPort: c.Service.HTTPPort, GRPCPort: c.Service.GRPCPort, InternalPort: c.Cluster.P2P.Port,
		Secret: c.Cluster.Secret, InsecureInternal: c.Cluster.InsecureInternal, KeepAlive: c.Service.KeepAlive(), Logger: s.p.Log,
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

// compose acquires in the order of the architecture: the data folder first,
// since it names the peer, then the control plane, then the servers.
func (s *process) compose() (err error) {
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
	if err = s.composeControl(); err != nil {
		return err
	}
	s.checks, err = healthcheck.New(healthcheck.Config{Observer: s.data.Self(), Own: s.data.Self()}, healthcheck.Deps{
		Dial: s.dialProbe, Decisions: placementv1.NewDecisionsClient(s.toCtrl), Log: s.p.Log,
		Meter: s.p.Meter.Meter("github.com/pandodb/pando/services/healthcheck"),
	})
	if err != nil {
		return err
	}
	return s.composeServers()
}

// options of a server or in-process connection without keys.
func (s *process) options(plane string) rpc.Options {
	return rpc.Options{Plane: plane, Logger: s.p.Log, Tracer: s.p.Tracer, Meter: s.p.Meter}
}

func (s *process) composeData() error {
	c := s.cfg
	dir, err := filepath.Abs(c.Storage.Path)
	if err != nil {
		return boot.Exit(boot.ExitData, err)
	}
	s.data, err = dataplane.New(dataplane.Config{
		Dir: dir, PeerID: topology.PeerID(c.Cluster.PeerID), URI: s.uri(), Zone: c.Cluster.Zone, Version: release.Version,
		Commit: release.Commit(), ClusterEnabled: c.Cluster.Enabled, MaxBody: int64(c.Service.MaxRequestSizeMB) << 20, CORS: c.Service.EnableCORS,
		Collection: c.Storage.Collection,
	}, dataplane.Deps{FS: vfs.OS(), Control: s.toCtrl, Dial: s.dial, Random: rand.Reader, Log: s.p.Log, Tracer: s.p.Tracer,
		Meter: s.p.Meter, Metrics: s.p.Metrics, Keys: s.keys})
	switch {
	case errors.Is(err, dataplane.ErrFolder):
		return boot.Exit(boot.ExitData, fmt.Errorf("storage.storage_path: %w", err))
	case errors.Is(err, dataplane.ErrDamaged):
		return boot.Exit(boot.ExitCorrupt, err)
	}
	if err == nil {
		s.identity.SetID(s.data.Cluster())
		s.data.RegisterInternal(s.toData)
	}
	return err
}

func (s *process) composeControl() (err error) {
	dir, err := filepath.Abs(filepath.Join(s.cfg.Storage.Path, controlDir))
	if err != nil {
		return boot.Exit(boot.ExitData, err)
	}
	s.control, err = controlplane.New(controlplane.Config{
		Dir: dir, ID: strconv.FormatUint(uint64(s.data.Self()), 10), Address: s.sockets.Advertised(s.cfg.Cluster.URIHost()), Peer: s.data.Self(),
		IncomingTransfers: limit(s.cfg.Storage.Performance.IncomingTransfers), OutgoingTransfers: limit(s.cfg.Storage.Performance.OutgoingTransfers),
	}, controlplane.Deps{Dial: s.dialProcess, Log: s.p.Log, Meter: s.p.Meter})
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
	open.Keys, open.Health = s.keys, s.health
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
	s.control.Register(s.internal)
	s.health.RegisterInternal(s.internal)
	return nil
}

// planes runs the three planes. The first that fails ends the others.
func (s *process) planes(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.control.Run(ctx) })
	g.Go(func() error { return s.data.Run(ctx) })
	g.Go(func() error { return s.checks.Run(ctx) })
	g.Go(func() error {
		select {
		case <-s.control.Ready():
			s.identity.SetID(s.control.ClusterID())
			s.health.Ready()
		case <-ctx.Done():
		}
		return nil
	})
	err := g.Wait()
	if fault.ReasonOf(err) == fault.WrongCluster {
		return boot.Exit(boot.ExitCluster, err)
	}
	return err
}

// errOtherPeer: peers of other processes come with joining.
var errOtherPeer = errors.New("connections to other peers are not built yet")

// dial reaches the shards of a peer.
func (s *process) dial(p topology.PeerID) (grpc.ClientConnInterface, error) {
	if p == s.data.Self() {
		return s.toData, nil
	}
	return nil, fmt.Errorf("peer %d: %w", p, errOtherPeer)
}

func (s *process) dialProbe(p topology.PeerID) (shardv1.ProbeClient, error) {
	c, err := s.dial(p)
	if err != nil {
		return nil, err
	}
	return shardv1.NewProbeClient(c), nil
}

// dialProcess reaches a process by its stable id.
func (s *process) dialProcess(id string) (grpc.ClientConnInterface, error) {
	p, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("process %q: %w", id, errOtherPeer)
	}
	return s.dial(topology.PeerID(p))
}
