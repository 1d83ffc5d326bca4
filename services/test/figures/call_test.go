package main

import (
	"context"
	"net"
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/rpc"
)

type counting struct {
	qdrant.UnimplementedPointsServer
}

func (counting) Count(context.Context, *qdrant.CountPoints) (*qdrant.CountResponse, error) {
	return &qdrant.CountResponse{Result: &qdrant.CountResult{Count: 5}}, nil
}

// BenchmarkCall is a handler that does nothing, called directly, within the process, and over gRPC on loopback: what
// the ways to it cost.
func BenchmarkCall(b *testing.B) {
	local, err := rpc.NewLocal(rpc.Options{})
	if err != nil {
		b.Fatal(err)
	}
	qdrant.RegisterPointsServer(local, counting{})
	server, err := rpc.NewServer(rpc.Options{})
	if err != nil {
		b.Fatal(err)
	}
	qdrant.RegisterPointsServer(server, counting{})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	cc, err := rpc.Dial(lis.Addr().String(), rpc.DialOptions{})
	if err != nil {
		b.Fatal(err)
	}
	req := &qdrant.CountPoints{CollectionName: "c"}
	for _, way := range []struct {
		name string
		call func(context.Context) (*qdrant.CountResponse, error)
	}{
		{"direct", func(ctx context.Context) (*qdrant.CountResponse, error) { return counting{}.Count(ctx, req) }},
		{"local", func(ctx context.Context) (*qdrant.CountResponse, error) {
			return qdrant.NewPointsClient(local).Count(ctx, req)
		}},
		{"grpc", func(ctx context.Context) (*qdrant.CountResponse, error) {
			return qdrant.NewPointsClient(cc).Count(ctx, req)
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r, err := way.call(b.Context()); err != nil || r.GetResult().GetCount() != 5 {
					b.Fatal(r, err)
				}
			}
		})
	}
	if err := cc.Close(); err != nil {
		b.Error(err)
	}
	server.Stop()
	if err := <-served; err != nil {
		b.Error(err)
	}
}
