package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/pandodb/pando/services/internal/fault"
)

// call is what a layer may know about the request that it surrounds.
type call struct {
	method string // /package.Service/Method
	stream bool
}

// layer surrounds one request, unary or stream alike. It must call next at most once and return its error or another.
type layer func(ctx context.Context, c call, next func(context.Context) error) error

// chain is the list of layers, outermost first.
type chain []layer

// newChain is the one place that says in which order a request is treated:
//
//	recover  a panic anywhere below becomes INTERNAL, the process lives on
//	trace    a span per call, joined to the caller's; what processes say to each other by themselves has none
//	meter    rate, errors, duration
//	health   long streams end when the process does
//	cluster  an internal call shows the cluster's id and secret
//	keys     a public call shows an API key with the right for the method
//	outcome  an error of the handler becomes a status with its reason
//
// Refusals by cluster and keys are therefore counted and traced, and nothing below keys runs for strangers.
func newChain(o Options) (chain, error) {
	m, err := newMeter(o)
	if err != nil {
		return nil, err
	}
	c := chain{recovery(o.Logger), newTracer(o).layer, m.layer}
	if o.Health != nil {
		c = append(c, o.Health.layer)
	}
	if o.Cluster != nil {
		c = append(c, o.Cluster.layer)
	}
	if o.Keys != nil {
		c = append(c, o.Keys.layer)
	}
	return append(c, outcome), nil
}

// run nests the layers from i on around last.
func (c chain) run(ctx context.Context, i int, cl call, last func(context.Context) error) error {
	if i == len(c) {
		return last(ctx)
	}
	return c[i](ctx, cl, func(ctx context.Context) error { return c.run(ctx, i+1, cl, last) })
}

func (c chain) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	var resp any
	err := c.run(ctx, 0, call{method: info.FullMethod}, func(ctx context.Context) (err error) {
		resp, err = handler(ctx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (c chain) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return c.run(ss.Context(), 0, call{method: info.FullMethod, stream: true}, func(ctx context.Context) error {
		return handler(srv, &contextStream{ss, ctx})
	})
}

// contextStream is a stream whose context the layers have enriched; grpc offers no other way to pass one down.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *contextStream) Context() context.Context { return s.ctx }

// recovery keeps a bug in one request from ending the process. The stack goes to the log, never to the caller.
func recovery(log *slog.Logger) layer {
	return func(ctx context.Context, c call, next func(context.Context) error) (err error) {
		defer func() {
			if p := recover(); p != nil {
				log.ErrorContext(ctx, "handler panicked", "method", c.method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				err = fault.New(fault.Unspecified, "Service internal error: %s failed unexpectedly; the server's log has the details", c.method)
			}
		}()
		return next(ctx)
	}
}

// outcome turns the handler's error into a status by the table of package fault.
func outcome(ctx context.Context, _ call, next func(context.Context) error) error {
	err := next(ctx)
	if err == nil {
		return nil
	}
	e := fault.From(err)
	if after, ok := e.Meta[fault.MetaRetryAfter]; ok {
		// Fails only when the stream has ended already; then nobody is left to read it.
		_ = grpc.SetTrailer(ctx, metadata.Pairs(fault.MetaRetryAfter, after))
	}
	return e.GRPCStatus().Err()
}
