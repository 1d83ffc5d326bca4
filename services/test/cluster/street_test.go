package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/dataplane"
	"github.com/pandodb/pando/services/healthcheck"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// street is where peers live that reach each other: over real gRPC on pipes that
// can be cut. They share the records of one control plane, of which each is a
// member.
type street struct {
	t      testing.TB
	memory *controlplane.Memory
	tracer trace.TracerProvider
	meter  metric.MeterProvider // of peers that begin
	log    *slog.Logger
	config dataplane.Config
	mu     sync.Mutex
	doors  map[topology.PeerID]*bufconn.Listener
	off    map[topology.PeerID]bool          // cut off from everybody, the control plane included
	dark   bool                              // the control plane has no quorum
	deaf   map[topology.PeerID]chan struct{} // hear nothing new of the placement until it is closed
	pipes  map[*pipe]bool
	all    []*house
	// spoilt stores other bytes than the ones that its primaries send it.
	spoilt topology.PeerID
	// patience bounds what is waited for. Virtual time costs nothing, and returns of
	// a peer that comes and goes are put off more and more.
	patience time.Duration
}

func newStreet(t testing.TB, memory *controlplane.Memory, tracer trace.TracerProvider) *street {
	if tracer == nil {
		tracer = tracenoop.NewTracerProvider()
	}
	return &street{t: t, memory: memory, tracer: tracer, meter: metricnoop.NewMeterProvider(), patience: 20 * time.Second, log: slog.New(slog.NewTextHandler(records(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		config: dataplane.Config{Dir: dataDir, URI: "http://127.0.0.1:6335", Version: "test", Commit: "c", ClusterEnabled: true, CORS: true},
		doors:  map[topology.PeerID]*bufconn.Listener{}, off: map[topology.PeerID]bool{}, deaf: map[topology.PeerID]chan struct{}{}, pipes: map[*pipe]bool{}}
}

// records is where logs go: nowhere, or to stderr with PANDO_LOG set.
func records() io.Writer {
	if os.Getenv("PANDO_LOG") != "" {
		return os.Stderr
	}
	return io.Discard
}

// smallLogs makes logs go through many segments.
func smallLogs(c *dataplane.Config) { c.LogSegment = 8 << 10 }

// live runs f in virtual time with n peers that are ready.
func live(t *testing.T, n int, f func(t *testing.T, s *street, hs []*house), tune ...func(*dataplane.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, controlplane.NewMemory(), nil)
		s.patience = 2 * time.Minute
		for _, set := range tune {
			set(&s.config)
		}
		defer func() { // also when the test gave up
			for _, h := range s.all {
				h.crash()
			}
			synctest.Wait()
		}()
		var hs []*house
		for range n {
			hs = append(hs, s.begin(memfs.New()))
		}
		for _, h := range hs {
			h.await("ready", func() bool { return h.data.Ready() == nil })
		}
		f(t, s, hs)
	})
}

// begin starts a peer.
func (s *street) begin(fsys vfs.FS) *house {
	t := s.t
	t.Helper()
	options := rpc.Options{Tracer: s.tracer, Logger: s.log}
	toControl, err := rpc.NewLocal(options)
	must(t, err)
	h := &house{t: t, street: s, fsys: fsys, conns: map[topology.PeerID]*grpc.ClientConn{}, ended: make(chan error, 1)}
	h.inside, err = rpc.NewLocal(options)
	must(t, err)
	way := &gate{ClientConnInterface: toControl, s: s, h: h}
	h.data, err = dataplane.New(s.config, dataplane.Deps{FS: fsys, Control: way, Random: rand.Reader, Log: s.log, Tracer: s.tracer,
		Meter: s.meter, Dial: h.dial})
	must(t, err)
	h.calls, err = rpc.NewServer(options)
	must(t, err)
	h.data.RegisterInternal(h.inside)
	h.data.RegisterInternal(h.calls)
	dialID := func(process string) (grpc.ClientConnInterface, error) {
		id, err := strconv.ParseUint(process, 10, 64)
		if err != nil {
			return nil, err
		}
		return h.dial(topology.PeerID(id))
	}
	control, err := controlplane.New(controlplane.Config{Peer: h.data.Self(), ID: strconv.FormatUint(uint64(h.data.Self()), 10)},
		controlplane.Deps{Memory: s.memory, Log: s.log, Dial: dialID})
	must(t, err)
	control.Register(toControl)
	control.Register(h.calls)
	checks, err := healthcheck.New(healthcheck.Config{Observer: h.data.Self(), Own: h.data.Self()}, healthcheck.Deps{
		Dial: func(p topology.PeerID) (shardv1.ProbeClient, error) {
			c, err := h.dial(p)
			return shardv1.NewProbeClient(c), err
		},
		Decisions: placementv1.NewDecisionsClient(way), Log: s.log, Meter: metricnoop.NewMeterProvider().Meter("")})
	must(t, err)
	h.open()
	s.all = append(s.all, h)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	go func() {
		g, ctx := errgroup.WithContext(h.ctx)
		g.Go(func() error { return control.Run(ctx) })
		g.Go(func() error { return h.data.Run(ctx) })
		g.Go(func() error { return checks.Run(ctx) })
		g.Go(func() error { return h.calls.Serve(h.door) })
		g.Go(func() error { <-ctx.Done(); h.calls.Stop(); return nil })
		h.ended <- g.Wait()
	}()
	return h
}

// open makes the peer reachable.
func (h *house) open() {
	h.door = bufconn.Listen(1 << 20)
	h.street.mu.Lock()
	defer h.street.mu.Unlock()
	h.street.doors[h.data.Self()] = h.door
}

// stop ends the peer and its connections.
func (h *house) stop() error {
	h.street.mu.Lock()
	if h.street.doors[h.data.Self()] == h.door {
		delete(h.street.doors, h.data.Self())
	}
	h.street.mu.Unlock()
	h.cancel()
	err := <-h.ended
	h.ended <- err // it may be stopped again
	h.street.mu.Lock()
	defer h.street.mu.Unlock()
	for p, c := range h.conns {
		_ = c.Close() // only a second time fails
		delete(h.conns, p)
	}
	return err
}

// powerCut ends the peer at once and gives the disk as it is then: what was not
// synced may be there in part.
func (h *house) powerCut() vfs.FS {
	disk := h.fsys.(*memfs.FS).CrashClone(mathrand.New(mathrand.NewPCG(uint64(h.data.Self()), 1)))
	h.crash()
	return disk
}

// dial reaches a peer, its own directly.
func (h *house) dial(p topology.PeerID) (grpc.ClientConnInterface, error) {
	if p == h.data.Self() {
		return h.inside, nil
	}
	s := h.street
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := h.conns[p]; c != nil {
		return c, nil
	}
	c, err := grpc.NewClient("passthrough:///peer", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStreamInterceptor(s.spoil(p)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.connect(ctx, h.data.Self(), p) }),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second}}))
	if err == nil {
		h.conns[p] = c
	}
	return c, err
}

var errCut = errors.New("no way to that peer")

func (s *street) connect(ctx context.Context, from, to topology.PeerID) (net.Conn, error) {
	s.mu.Lock()
	door := s.doors[to]
	if s.off[from] || s.off[to] {
		door = nil
	}
	s.mu.Unlock()
	if door == nil {
		return nil, errCut
	}
	c, err := door.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &pipe{Conn: c, from: from, to: to}
	s.pipes[p] = true
	return p, nil
}

// pipe is a connection that knows whom it joins.
type pipe struct {
	net.Conn
	from, to topology.PeerID
}

// cut takes a peer off the network, or puts it back.
func (s *street) cut(h *house, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	me := h.data.Self()
	s.off[me] = cut
	s.memory.SetCutOff(strconv.FormatUint(uint64(me), 10), cut)
	for p := range s.pipes {
		if cut && (p.from == me || p.to == me) {
			_ = p.Close() // both ends see it
			delete(s.pipes, p)
		}
	}
}

// darken takes the control plane's quorum away, or gives it back.
func (s *street) darken(dark bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dark = dark
	for _, h := range s.all {
		s.memory.SetCutOff(strconv.FormatUint(uint64(h.data.Self()), 10), dark)
	}
}

// deafen holds back what a peer is to hear of the placement, for so long.
func (s *street) deafen(h *house, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := make(chan struct{})
	s.deaf[h.data.Self()] = ch
	time.AfterFunc(d, func() { close(ch) })
}

// gate is a peer's way to the control plane. Calls of one that is cut off fail, and
// its streams end.
type gate struct {
	grpc.ClientConnInterface
	s *street
	h *house
}

func (g *gate) check() error {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	if g.h.data != nil && (g.s.dark || g.s.off[g.h.data.Self()]) {
		return status.Error(codes.Unavailable, errCut.Error())
	}
	return nil
}

func (g *gate) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if err := g.check(); err != nil {
		return err
	}
	return g.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

func (g *gate) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	st, err := g.ClientConnInterface.NewStream(ctx, d, method, opts...)
	return &gatedStream{st, g, method == placementv1.Session_WatchPlacement_FullMethodName}, err
}

type gatedStream struct {
	grpc.ClientStream
	g         *gate
	placement bool
}

func (s *gatedStream) SendMsg(m any) error {
	if err := s.g.check(); err != nil {
		return err
	}
	return s.ClientStream.SendMsg(m)
}

func (s *gatedStream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	if s.placement {
		s.g.s.mu.Lock()
		held := s.g.s.deaf[s.g.h.data.Self()]
		s.g.s.mu.Unlock()
		if held != nil {
			<-held
		}
	}
	return s.g.check()
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }
