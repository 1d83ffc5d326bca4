package serve_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/pandodb/pando/services/internal/config"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/serve"
)

// How the pieces of a process fit, in the order in which they are made. A composition (package suite) does this with
// the facades where this example has comments; in a real one, log, tracer and meter come from boot.Process.
func ExampleSockets_Run() {
	c, err := config.Load(config.Sources{Env: []string{"PANDO__SERVICE__HTTP_PORT=0", "PANDO__SERVICE__GRPC_PORT=0", "PANDO__CLUSTER__P2P__PORT=0"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	log := slog.New(slog.DiscardHandler)

	// 1. Sockets first: a port that is taken must stop us before any data is touched, and port 0 must be known before
	// the process tells others where it is.
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	cluster := rpc.NewCluster(c.Cluster.Secret, rpc.CallRules{Joining: []string{"/pando.placement.v1.Members/Join"}})
	sockets, err := serve.Listen(ctx, serve.Config{
		Host: c.Service.Host, HTTPPort: c.Service.HTTPPort, GRPCPort: c.Service.GRPCPort,
		InternalHost: serve.InternalHost(c.Service.Host, c.Cluster.URIHost()), InternalPort: c.Cluster.P2P.Port,
		Identity: cluster, InsecureInternal: c.Cluster.InsecureInternal, KeepAlive: c.Service.KeepAlive(), Logger: log,
	})
	if err != nil {
		fmt.Println(err) // boot.Exit(boot.ExitPort, err)
		return
	}

	// 2. Servers, and the Locals through which this process calls itself: one with the public rules for the gateway,
	// one without them for the planes among themselves.
	keys := rpc.NewKeys(c.Service.APIKey, c.Service.AltAPIKey, c.Service.ReadOnlyAPIKey)
	health := rpc.NewHealth(log)
	public, err1 := rpc.NewServer(rpc.Options{Plane: "data", Logger: log, Keys: keys, Health: health})
	internal, err2 := rpc.NewServer(rpc.Options{Plane: "internal", Logger: log, Cluster: cluster, Health: health})
	gateway, err3 := rpc.NewLocal(rpc.Options{Plane: "rest", Logger: log, Keys: keys})
	self, err4 := rpc.NewLocal(rpc.Options{Plane: "self", Logger: log})
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			fmt.Println(err)
			return
		}
	}

	// 3. Facades: controlplane.New(…), dataplane.New(…, gateway, self), healthcheck.New(…), each registering with
	outside, inside := rpc.Fanout(public, gateway), rpc.Fanout(internal, self)
	_, _ = outside, inside
	health.RegisterPublic(public)
	health.RegisterInternal(internal)
	rpc.RegisterReflection(public, "pando.")
	// When the member runs: cluster.SetID(id) and sockets.MountPeer(member.Handler()).

	// 4. Run everything; the planes end after the servers have drained.
	err = sockets.Run(ctx, serve.Parts{
		REST:   http.NotFoundHandler(), // dataplane.Handler()
		Public: public, Internal: internal, Health: health, Locals: []*rpc.Local{gateway, self},
		Planes: func(ctx context.Context) error { // an errgroup of the facades' Run
			health.Ready()
			fmt.Println("internal port answers", ask(ctx, sockets.Addrs().Internal))
			stop() // a signal
			<-ctx.Done()
			return ctx.Err()
		},
	})
	fmt.Println("ended", err)
	// Output:
	// internal port answers SERVING
	// ended <nil>
}

func ask(ctx context.Context, addr string) string {
	cc, err := rpc.Dial(addr, rpc.DialOptions{})
	if err != nil {
		return err.Error()
	}
	defer cc.Close()
	r, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return err.Error()
	}
	return r.GetStatus().String()
}
