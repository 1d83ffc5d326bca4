package cluster

import (
	"bytes"
	"context"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// spoil changes what is sent to the spoilt peer's log where it says "true word".
func (s *street) spoil(to topology.PeerID) grpc.StreamClientInterceptor {
	return func(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		st, err := next(ctx, d, c, method, opts...)
		return &spoiling{st, s, to}, err
	}
}

type spoiling struct {
	grpc.ClientStream
	s  *street
	to topology.PeerID
}

func (x *spoiling) SendMsg(m any) error {
	x.s.mu.Lock()
	spoilt := x.s.spoilt == x.to
	x.s.mu.Unlock()
	if r, ok := m.(*shardv1.ReplicateRequest); ok && spoilt {
		r = proto.CloneOf(r)
		for _, e := range r.GetAppend().GetEntries() {
			e.Body = bytes.ReplaceAll(e.GetBody(), []byte("true word"), []byte("lied word"))
		}
		m = r
	}
	return x.ClientStream.SendMsg(m)
}
