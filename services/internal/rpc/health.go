package rpc

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
)

// Health is the one switch between ready and not ready, for gRPC and HTTP. It starts as not ready.
//
// The internal port tells the truth (the overall status under "", and one per name given to Set); the public port
// answers SERVING for any name as long as the process lives, as clients of that API expect, and leaves readiness to
// /readyz.
type Health struct {
	log  *slog.Logger
	srv  *health.Server
	done chan struct{} // closed by EndWatches
	mu   struct {
		sync.Mutex
		ready  bool
		reason string
		ended  bool
	}
}

// NewHealth starts as not ready, for the reason "starting". The logger gets one record per change.
func NewHealth(log *slog.Logger) *Health {
	h := &Health{log: log, srv: health.NewServer(), done: make(chan struct{})}
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

// EndWatches ends the Watch streams, which would otherwise hold up a graceful stop until its limit.
func (h *Health) EndWatches() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.mu.ended {
		h.mu.ended = true
		close(h.done)
	}
}

// RegisterInternal offers the truthful service.
func (h *Health) RegisterInternal(r grpc.ServiceRegistrar) {
	healthpb.RegisterHealthServer(r, truthful{h.srv, h.done})
}

// truthful is grpc's health server, except that its watches end when we stop.
type truthful struct {
	*health.Server
	done <-chan struct{}
}

func (t truthful) Watch(in *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-t.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := t.Server.Watch(in, &watchStream{stream, ctx})
	cancel()
	<-ended
	return err
}

type watchStream struct {
	grpc.ServerStreamingServer[healthpb.HealthCheckResponse]
	ctx context.Context
}

func (s *watchStream) Context() context.Context { return s.ctx }

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
