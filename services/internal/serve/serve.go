// Package serve owns the sockets of a process: the three listeners, who gets which connection of the internal one, and
// the order in which everything stops. It knows no service: planes register with the servers it is given.
//
//	REST      6333  http.Handler
//	gRPC      6334  public grpc.Server
//	internal  6335  first bytes "PRI "   -> internal grpc.Server
//	                a hello of a member -> HTTP of its etcd (split.go)
//
// Stopping, in this order: health says NOT_SERVING and long streams end; the public and internal servers take nothing
// new and finish what they have, for at most the grace, then are cut off; the planes end; last, the members' HTTP.
package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/rpc"
)

// Off as a port means that there is no such listener.
const Off = -1

// DefaultGrace is how long a stop waits for requests under way; below the 10 s after which containers are killed.
const DefaultGrace = 6 * time.Second

// Config says where to listen. The zero value of a port is "any free one"; Addrs tells which it became.
type Config struct {
	Host         string // service.host, for REST and gRPC
	InternalHost string // see InternalHost
	HTTPPort     int    // service.http_port
	GRPCPort     int    // service.grpc_port
	InternalPort int    // cluster.p2p.port
	// Identity is what members' connections must show, and holds cluster.secret; without one there are no such connections.
	Identity *rpc.Cluster
	// InsecureInternal allows an internal port that others can reach without a secret.
	InsecureInternal bool
	// KeepAlive is how long an idle HTTP connection stays open; 0 means 5 s.
	KeepAlive time.Duration
	// Grace of a stop; 0 means DefaultGrace.
	Grace time.Duration
	// Logger gets what net/http would print. Nil discards.
	Logger *slog.Logger
}

// InternalHost is the address to bind the internal port to: that of the public ones when this process advertises
// itself to others by uri, and loopback when it advertises nothing or loopback.
func InternalHost(host, uriHost string) string {
	if uriHost == "" || isLoopback(uriHost) {
		return "127.0.0.1"
	}
	return host
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Sockets are the bound listeners. Nothing is accepted before Run; either Run or Close must follow.
type Sockets struct {
	cfg                  Config
	rest, grpc, internal net.Listener // nil when Off
	split                *splitter    // nil when internal is
}

// Addrs are the bound addresses as host:port; empty where a listener is Off.
type Addrs struct{ REST, GRPC, Internal string }

// Listen binds all ports or none. An error says which key to change.
func Listen(ctx context.Context, cfg Config) (*Sockets, error) {
	if cfg.Grace <= 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.KeepAlive <= 0 {
		cfg.KeepAlive = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.InternalPort != Off && (cfg.Identity == nil || cfg.Identity.Secret() == "") && !cfg.InsecureInternal && !isLoopback(cfg.InternalHost) {
		return nil, fmt.Errorf("the internal port would be open on %s to everybody who can reach it: set cluster.secret "+
			"(PANDO__CLUSTER__SECRET) to the same long random string on every process, or pass --insecure-internal", cfg.InternalHost)
	}
	s := &Sockets{cfg: cfg}
	for _, b := range []struct {
		to   *net.Listener
		host string
		port int
		key  string
	}{
		{&s.rest, cfg.Host, cfg.HTTPPort, "service.http_port"},
		{&s.grpc, cfg.Host, cfg.GRPCPort, "service.grpc_port"},
		{&s.internal, cfg.InternalHost, cfg.InternalPort, "cluster.p2p.port"},
	} {
		if b.port == Off {
			continue
		}
		l, err := bind(ctx, b.host, b.port, b.to == &s.internal)
		if err != nil {
			return nil, errors.Join(explain(err, b.key, b.host, b.port), s.Close())
		}
		*b.to = l
	}
	if s.internal != nil {
		s.split = newSplitter(s.internal, cfg.Identity, cfg.Logger)
	}
	return s, nil
}

// bind listens. Between processes a lost machine must be noticed within seconds; a client may pause as long as it likes.
func bind(ctx context.Context, host string, port int, internal bool) (net.Listener, error) {
	var lc net.ListenConfig
	if internal {
		lc.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}
		lc.Control = func(_, _ string, c syscall.RawConn) error { return limitUnacked(c) }
	}
	return lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
}

// explain turns an errno into what to do about it.
func explain(err error, key, host string, port int) error {
	at := net.JoinHostPort(host, strconv.Itoa(port))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("cannot listen on %s: another process has this port; stop it, or choose another port with %s (0 takes any free one): %w", at, key, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("cannot listen on %s: not permitted (ports below 1024 need a privilege); choose another port with %s: %w", at, key, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("cannot listen on %s: this machine has no such address; change service.host: %w", at, err)
	}
	return fmt.Errorf("cannot listen on %s (%s, service.host): %w", at, key, err)
}

// Addrs are the addresses that were bound.
func (s *Sockets) Addrs() Addrs {
	at := func(l net.Listener) string {
		if l == nil {
			return ""
		}
		return l.Addr().String()
	}
	return Addrs{REST: at(s.rest), GRPC: at(s.grpc), Internal: at(s.internal)}
}

// Advertised is where others dial the internal port of this machine: host and port, of which a missing one is that of the
// bound address.
func (s *Sockets) Advertised(host, port string) string {
	at := s.Addrs().Internal
	boundHost, boundPort, err := net.SplitHostPort(at)
	if err != nil {
		return at
	}
	return net.JoinHostPort(cmp.Or(host, boundHost), cmp.Or(port, boundPort))
}

// MountPeer sets the handler for the HTTP of other members' etcd; until then, and after nil, they get 503. It may be
// called at any time, also while Run runs. Without an internal listener it does nothing.
func (s *Sockets) MountPeer(h http.Handler) {
	if s.split != nil {
		s.split.mount(h)
	}
}

// Close frees the listeners of a process that never came to Run.
func (s *Sockets) Close() error {
	var errs []error
	for _, l := range []net.Listener{s.rest, s.grpc, s.internal} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// Parts are what the listeners serve. A nil server leaves its listener unserved and closed.
type Parts struct {
	REST     http.Handler
	Public   *grpc.Server
	Internal *grpc.Server
	Health   *rpc.Health
	Locals   []*rpc.Local
	// Leave, if set, is called when ctx has ended, before anything drains: the process
	// goes on serving until it returns.
	Leave func()
	// Planes runs the planes until its context ends. It ends after the servers have drained, so that requests under
	// way find everything in place. When Planes returns by itself, the servers drain and Run returns its error.
	Planes func(context.Context) error
}

// Run serves until ctx ends (then nil) or a part fails (then its error). It owns all goroutines and, when it returns,
// has closed all listeners.
func (s *Sockets) Run(ctx context.Context, p Parts) error {
	loops, loopCtx := errgroup.WithContext(context.WithoutCancel(ctx))
	web := &http.Server{Handler: p.REST, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: s.cfg.KeepAlive,
		ErrorLog: slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug)}
	s.start(loops, web, p)

	planeCtx, endPlanes := context.WithCancel(context.WithoutCancel(ctx))
	defer endPlanes()
	planes := make(chan error, 1)
	go func() {
		if p.Planes == nil {
			<-planeCtx.Done()
			planes <- nil
			return
		}
		planes <- p.Planes(planeCtx)
	}()

	var planeErr error
	ended := false
	select {
	case <-ctx.Done():
		if p.Leave != nil {
			p.Leave()
		}
	case <-loopCtx.Done():
	case planeErr = <-planes:
		ended = true
	}
	s.drain(web, p)
	endPlanes()
	if !ended {
		planeErr = <-planes
	}
	if s.split != nil {
		s.split.close()
	}
	loopErr := loops.Wait()
	if ctx.Err() != nil && fault.OnlyCanceled(planeErr) {
		planeErr = nil // the planes say that they were told to end
	}
	return errors.Join(planeErr, loopErr)
}

func (s *Sockets) start(loops *errgroup.Group, web *http.Server, p Parts) {
	if s.rest != nil && p.REST != nil {
		loops.Go(func() error { return unlessClosed(web.Serve(s.rest)) })
	}
	if s.grpc != nil && p.Public != nil {
		loops.Go(func() error { return unlessClosed(p.Public.Serve(s.grpc)) })
	}
	if s.split == nil {
		return
	}
	loops.Go(s.split.accept)
	loops.Go(s.split.servePeers)
	if p.Internal != nil {
		loops.Go(func() error { return unlessClosed(p.Internal.Serve(s.split.grpc)) })
	}
}

func unlessClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// drain stops the servers side by side: gently until the grace is over, then by force.
func (s *Sockets) drain(web *http.Server, p Parts) {
	if p.Health != nil {
		p.Health.NotReady("shutting down")
		p.Health.EndStreams()
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Grace)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error {
		if err := web.Shutdown(ctx); err != nil {
			return web.Close()
		}
		return nil
	})
	for _, srv := range []*grpc.Server{p.Public, p.Internal} {
		if srv != nil {
			g.Go(func() error { stopGRPC(ctx, srv); return nil })
		}
	}
	for _, l := range p.Locals {
		g.Go(func() error { l.Close(ctx); return nil })
	}
	if err := g.Wait(); err != nil {
		s.cfg.Logger.Warn("closing REST connections failed", "error", err)
	}
	// Listeners without a server (nil parts) are still ours.
	for _, l := range []net.Listener{s.rest, s.grpc} {
		if l != nil {
			_ = l.Close() // closed already in the usual case
		}
	}
}

func stopGRPC(ctx context.Context, srv *grpc.Server) {
	gentle := make(chan struct{})
	go func() {
		defer close(gentle)
		srv.GracefulStop()
	}()
	select {
	case <-gentle:
	case <-ctx.Done():
		srv.Stop()
		<-gentle
	}
}
