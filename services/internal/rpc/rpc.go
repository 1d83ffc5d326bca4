// Package rpc builds every gRPC server and every connection of Pando, so that recovery, tracing, metrics and access
// rules are the same on all of them and their order is written once (chain.go).
//
// There are two ways to a service, with one chain in front of both:
//
//	a client ── TCP ──► grpc.Server ─┐
//	                                 ├─► recover ► trace ► meter ► health ► cluster ► keys ► outcome ► handler
//	gateway, own plane ──► Local ────┘
//
// Local is a grpc.ClientConnInterface into the same process: no socket, no encoding, the caller's context kept. The
// package knows no plane and no message; sockets belong to package serve.
package rpc

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // clients may send gzip and are answered in kind
	"google.golang.org/grpc/keepalive"
)

// MaxMessageBytes is the largest message that a server takes unless Options say otherwise. A larger one is refused
// with RESOURCE_EXHAUSTED before it is read.
const MaxMessageBytes = 64 << 20

// Options of a server or a Local. The zero value serves everybody, unobserved.
type Options struct {
	// Plane is the second word of the metric names, pando_<plane>_…: "data", "control". Empty means "rpc".
	Plane string
	// Logger gets one record per panic. Nil discards.
	Logger *slog.Logger
	// Tracer and Meter are the providers of the process; nil means none.
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
	// Keys are the API keys of a public server; nil admits everybody.
	Keys *Keys
	// Cluster is the identity that callers of an internal server must show; nil skips the check.
	Cluster *Cluster
	// Inside: processes of the cluster call, many times a second without anybody having asked for it. A call has a span
	// only where it belongs to a trace already.
	Inside bool
	// Health ends the streams of this server when its EndStreams is called; nil lets them last.
	Health *Health
	// MaxMessageBytes replaces the limit of that name when > 0.
	MaxMessageBytes int
}

func (o Options) withDefaults() Options {
	if o.Plane == "" {
		o.Plane = "rpc"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Tracer == nil {
		o.Tracer = tracenoop.NewTracerProvider()
	}
	if o.Meter == nil {
		o.Meter = metricnoop.NewMeterProvider()
	}
	if o.MaxMessageBytes <= 0 {
		o.MaxMessageBytes = MaxMessageBytes
	}
	return o
}

// NewServer builds a server with the chain in front. The caller registers services on it and hands it to package
// serve, which starts and stops it. It fails only when an instrument cannot be made.
func NewServer(o Options) (*grpc.Server, error) {
	o = o.withDefaults()
	c, err := newChain(o)
	if err != nil {
		return nil, err
	}
	return grpc.NewServer(
		grpc.UnaryInterceptor(c.unary),
		grpc.StreamInterceptor(c.stream),
		grpc.MaxRecvMsgSize(o.MaxMessageBytes),
		grpc.SharedWriteBuffer(true),
		grpc.WaitForHandlers(true), // after Stop no handler runs, so what they use may be closed
		grpc.KeepaliveParams(o.keepalive()),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	), nil
}

// keepalive: a client may be slow to answer; another process of the cluster that does not is gone.
func (o Options) keepalive() keepalive.ServerParameters {
	if o.Cluster != nil {
		return keepalive.ServerParameters{Time: time.Second, Timeout: goneAfter}
	}
	return keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}
}

// DialOptions of a connection to another process.
type DialOptions struct {
	// Tracer makes one client span per call that belongs to a trace, and sends its context along; nil only passes on the
	// span of the caller.
	Tracer trace.TracerProvider
	// Cluster adds the identity that internal servers ask for.
	Cluster *Cluster
	// APIKey is sent as `api-key` when not empty.
	APIKey string
	// To is the process that the calls are for; any other one refuses them. Empty: whoever answers.
	To string
	// MaxMessageBytes limits replies; 0 means 64 MiB.
	MaxMessageBytes int
}

// Dial prepares a connection; it connects on first use and reconnects by itself (0.1 s to 1 s apart). The target is
// host:port. Proxies from the environment are ignored. The caller closes it.
func Dial(target string, o DialOptions) (*grpc.ClientConn, error) {
	return dial(target, o, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))
}

func dial(target string, o DialOptions, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	if o.MaxMessageBytes <= 0 {
		o.MaxMessageBytes = MaxMessageBytes
	}
	return grpc.NewClient("passthrough:///"+target, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithChainUnaryInterceptor(o.unary()),
		grpc.WithChainStreamInterceptor(o.stream()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(o.MaxMessageBytes)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: goneAfter,
		}),
	}, more...)...)
}

// Fanout registers every service with all of rs, such as the public server and the Local that the gateway uses.
func Fanout(rs ...grpc.ServiceRegistrar) grpc.ServiceRegistrar { return fanout(rs) }

type fanout []grpc.ServiceRegistrar

func (f fanout) RegisterService(d *grpc.ServiceDesc, impl any) {
	for _, r := range f {
		r.RegisterService(d, impl)
	}
}
