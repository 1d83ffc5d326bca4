package rpc

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/pandodb/pando/services/internal/fault"
)

// Health is the one switch between ready and not ready, for gRPC and HTTP. It starts as not ready.
//
// The internal port tells the truth (the overall status under "", and one per name given to Set); the public port
// answers SERVING for any name as long as the process lives, as clients of that API expect, and leaves readiness to
// /readyz.
type Health struct {
	log *slog.Logger
	srv *health.Server
	mu  struct {
		sync.Mutex
		ready   bool
		reason  string
		ended   bool // EndStreams was called
		last    uint64
		streams map[uint64]context.CancelCauseFunc
	}
}

// NewHealth starts as not ready, for the reason "starting". The logger gets one record per change.
func NewHealth(log *slog.Logger) *Health {
	h := &Health{log: log, srv: health.NewServer()}
	h.mu.streams = map[uint64]context.CancelCauseFunc{}
	h.mu.reason = "starting"
	h.srv.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	return h
}

// Ready says that this process can do its work.
func (h *Health) Ready() { h.set(true, "") }

// NotReady says why it cannot (any more). The reason is for people.
func (h *Health) NotReady(reason string) { h.set(false, reason) }

func (h *Health) set(ready bool, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.ready == ready && h.mu.reason == reason {
		return
	}
	h.mu.ready, h.mu.reason = ready, reason
	h.Set("", ready)
	if ready {
		h.log.Info("ready")
		return
	}
	h.log.Info("not ready", "reason", reason)
}

// State is the switch and, when it is off, the reason.
func (h *Health) State() (ready bool, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.ready, h.mu.reason
}

// Set gives one name (such as a shard) a status of its own on the internal port.
func (h *Health) Set(name string, serving bool) {
	st := healthpb.HealthCheckResponse_NOT_SERVING
	if serving {
		st = healthpb.HealthCheckResponse_SERVING
	}
	h.srv.SetServingStatus(name, st)
}

// EndStreams ends the streams of all servers that were built with this Health (Options.Health), the watches of its own
// among them: their contexts end, and the caller is told SHUTTING_DOWN. Streams may be meant to last for ever, so
// without this a graceful stop would always take as long as it may. Streams that begin later end at once.
func (h *Health) EndStreams() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.ended = true
	for _, cancel := range h.mu.streams {
		cancel(errEnded)
	}
}

// errEnded is the cause in a context that EndStreams has ended.
var errEnded = errors.New("this process is shutting down")

// layer registers streams with EndStreams. A handler that only waits for its caller's next message does not see it and
// is cut off when the grace is over.
func (h *Health) layer(ctx context.Context, c call, next func(context.Context) error) error {
	if !c.stream {
		return next(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer h.untrack(h.track(cancel))
	err := next(ctx)
	if err != nil && context.Cause(ctx) == errEnded {
		return fault.Wrap(fault.ShuttingDown, err, "%v", errEnded)
	}
	return err
}

func (h *Health) track(cancel context.CancelCauseFunc) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.last++
	h.mu.streams[h.mu.last] = cancel
	if h.mu.ended {
		cancel(errEnded)
	}
	return h.mu.last
}

func (h *Health) untrack(id uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.mu.streams, id)
}

// RegisterInternal offers the truthful service.
func (h *Health) RegisterInternal(r grpc.ServiceRegistrar) { healthpb.RegisterHealthServer(r, h.srv) }

// RegisterPublic offers the service that is always SERVING.
func (h *Health) RegisterPublic(r grpc.ServiceRegistrar) {
	healthpb.RegisterHealthServer(r, alwaysServing{})
}

type alwaysServing struct {
	healthpb.UnimplementedHealthServer
}

func (alwaysServing) Check(context.Context, *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

// RegisterReflection offers server reflection v1 and v1alpha. It lists the services of s without itself and without
// those whose name begins with one of hidden.
func RegisterReflection(s *grpc.Server, hidden ...string) {
	o := reflection.ServerOptions{Services: listed{s, append(hidden, "grpc.reflection.")}}
	reflectionv1.RegisterServerReflectionServer(s, reflection.NewServerV1(o))
	reflectionv1alpha.RegisterServerReflectionServer(s, reflection.NewServer(o))
}

type listed struct {
	s      *grpc.Server
	hidden []string
}

func (l listed) GetServiceInfo() map[string]grpc.ServiceInfo {
	info := l.s.GetServiceInfo()
	for name := range info {
		for _, h := range l.hidden {
			if strings.HasPrefix(name, h) {
				delete(info, name)
			}
		}
	}
	return info
}
