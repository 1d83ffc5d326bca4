package rpc

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/pandodb/pando/services/internal/fault"
)

// scope names this package to OpenTelemetry.
const scope = "github.com/pandodb/pando/services/internal/rpc"

const healthService = "/grpc.health.v1.Health/"

// tracer makes one server span per call. It is a layer and not a stats handler because those do not run in Local, and
// because an unsampled call then costs next to nothing.
type tracer struct {
	t trace.Tracer
	p propagation.TextMapPropagator
	// inside: Options.Inside.
	inside bool
}

func newTracer(o Options) tracer {
	return tracer{o.Tracer.Tracer(scope), propagation.TraceContext{}, o.Inside}
}

func (t tracer) layer(ctx context.Context, c call, next func(context.Context) error) error {
	if strings.HasPrefix(c.method, healthService) {
		return next(ctx)
	}
	// In Local the caller's span is in the context already and wins over metadata.
	if !trace.SpanContextFromContext(ctx).IsValid() {
		if md, ok := metadata.FromIncomingContext(ctx); ok {
			ctx = t.p.Extract(ctx, carrier(md))
		}
	}
	if t.inside && !trace.SpanContextFromContext(ctx).IsValid() {
		return next(ctx)
	}
	ctx, span := t.t.Start(ctx, c.method[1:], trace.WithSpanKind(trace.SpanKindServer))
	returned := false
	defer func() {
		if !returned {
			span.SetStatus(codes.Error, "panic")
		}
		span.End()
	}()
	err := next(ctx)
	returned = true
	if span.IsRecording() {
		describe(span, c.method)
		settle(span, err)
	}
	return err
}

func describe(span trace.Span, method string) {
	service, name, _ := strings.Cut(method[1:], "/")
	span.SetAttributes(attribute.String("rpc.system", "grpc"), attribute.String("rpc.service", service), attribute.String("rpc.method", name))
}

// settle closes the books of a span. Only failures of the server mark it as an error: a refused request is no fault.
func settle(span trace.Span, err error) {
	e := fault.From(err)
	if e == nil {
		span.SetAttributes(attribute.Int("rpc.grpc.status_code", int(grpccodes.OK)))
		return
	}
	span.SetAttributes(attribute.Int("rpc.grpc.status_code", int(e.Code)), attribute.String("pando.reason", fault.Name(e.Reason)))
	switch e.Code {
	case grpccodes.Unknown, grpccodes.DeadlineExceeded, grpccodes.Unimplemented, grpccodes.Internal, grpccodes.Unavailable, grpccodes.DataLoss:
		span.SetStatus(codes.Error, e.Msg)
	}
}

// carrier reads and writes trace context in gRPC metadata.
type carrier metadata.MD

func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}

// prepare adds to an outgoing call what the other side asks for: trace context, cluster identity, key.
func (o DialOptions) prepare(ctx context.Context, p propagation.TextMapPropagator) context.Context {
	md, ok := metadata.FromOutgoingContext(ctx) // a copy
	if !ok {
		md = metadata.MD{}
	}
	p.Inject(ctx, carrier(md))
	if o.Cluster != nil {
		o.Cluster.attach(md, o.To)
	}
	if o.APIKey != "" {
		md.Set(headerKey, o.APIKey)
	}
	if len(md) == 0 {
		return ctx
	}
	return metadata.NewOutgoingContext(ctx, md)
}

func (o DialOptions) unary() grpc.UnaryClientInterceptor {
	p := propagation.TraceContext{}
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if o.Tracer == nil || !trace.SpanContextFromContext(ctx).IsValid() {
			return invoke(o.prepare(ctx, p), method, req, reply, cc, opts...)
		}
		ctx, span := o.Tracer.Tracer(scope).Start(ctx, method[1:], trace.WithSpanKind(trace.SpanKindClient))
		defer span.End()
		err := invoke(o.prepare(ctx, p), method, req, reply, cc, opts...)
		if span.IsRecording() {
			describe(span, method)
			settle(span, err)
		}
		return err
	}
}

// stream passes the trace on without a span of its own: long streams (watches, keep-alives) would hold one for days.
func (o DialOptions) stream() grpc.StreamClientInterceptor {
	p := propagation.TraceContext{}
	return func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return open(o.prepare(ctx, p), d, cc, method, opts...)
	}
}
