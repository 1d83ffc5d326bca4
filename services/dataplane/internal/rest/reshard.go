package rest

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
)

// decodeMessage reads the body. POST …/cluster takes the operations of two gRPC
// methods: those of a resharding are left in the exchange for forked.
func (b *body) decodeMessage(text []byte, m proto.Message) error {
	err := b.g.codec.Decode(text, m)
	if _, ok := m.(*qdrant.UpdateCollectionClusterSetupRequest); !ok || err == nil {
		return err
	}
	step := new(clusterv1.ReshardRequest)
	if b.g.codec.Decode(text, step) != nil {
		return err
	}
	proto.Reset(m)
	b.x.reshard = step
	return nil
}

// forked is the connection with the one route that leads to two methods.
type forked struct{ grpc.ClientConnInterface }

func (c forked) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	setup, ok := args.(*qdrant.UpdateCollectionClusterSetupRequest)
	step := exchangeOf(ctx).reshard
	if !ok || step == nil {
		return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	}
	step.CollectionName, step.Timeout = setup.GetCollectionName(), setup.Timeout
	done, err := clusterv1.NewClusterClient(c.ClientConnInterface).Reshard(ctx, step, opts...)
	if err != nil {
		return err
	}
	if r, ok := reply.(*qdrant.UpdateCollectionClusterSetupResponse); ok {
		r.Result, r.Time = done.GetResult(), done.GetTime()
	}
	return nil
}
