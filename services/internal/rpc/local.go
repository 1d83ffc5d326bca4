package rpc

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/pandodb/pando/services/internal/fault"
)

// Local calls services of the same process as if they were behind a connection: it is a grpc.ServiceRegistrar on one
// side and a grpc.ClientConnInterface on the other, with the chain of NewServer between them. Values of the context
// (spans) reach the handler, outgoing metadata becomes incoming, headers and trailers come back.
//
// Messages are handed over, not copied. A request belongs to the handler until the call returns (on a stream: for
// good), and the parts of a reply belong to the caller: a handler must not answer with a message that it keeps.
type Local struct {
	chain    chain
	services map[string]localService // filled before the first call, read-only after
	mu       struct {
		sync.Mutex
		closed  bool
		running int                          // calls and streams under way
		streams map[*pipe]context.CancelFunc // those to cancel when the grace is over
		idle    chan struct{}                // made by Close, closed when running falls to 0
	}
}

type localService struct {
	impl    any
	unary   map[string]grpc.MethodDesc
	streams map[string]grpc.StreamDesc
}

// NewLocal builds one; register all services before the first call.
func NewLocal(o Options) (*Local, error) {
	c, err := newChain(o.withDefaults())
	if err != nil {
		return nil, err
	}
	l := &Local{chain: c, services: map[string]localService{}}
	l.mu.streams = map[*pipe]context.CancelFunc{}
	return l, nil
}

// RegisterService is what generated RegisterXServer functions call.
func (l *Local) RegisterService(d *grpc.ServiceDesc, impl any) {
	s := localService{impl: impl, unary: map[string]grpc.MethodDesc{}, streams: map[string]grpc.StreamDesc{}}
	for _, m := range d.Methods {
		s.unary[m.MethodName] = m
	}
	for _, m := range d.Streams {
		s.streams[m.StreamName] = m
	}
	l.services[d.ServiceName] = s
}

// Invoke runs a unary method in the caller's goroutine.
func (l *Local) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	svc, name, err := l.find(method)
	if err != nil {
		return err
	}
	m, ok := svc.unary[name]
	if !ok {
		return unknownMethod(method)
	}
	if err := l.begin(nil, nil); err != nil {
		return err
	}
	defer l.end(nil)

	t := &localTransport{method: method}
	resp, err := m.Handler(svc.impl, serverContext(ctx, t), func(any) error { return nil }, l.substitute(args))
	t.deliver(opts)
	if err != nil {
		return fault.From(err).GRPCStatus().Err()
	}
	return hand(reply, resp)
}

// substitute gives the handler the caller's request in place of the empty one that generated code has made for it.
func (l *Local) substitute(args any) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, empty any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		if reflect.TypeOf(empty) != reflect.TypeOf(args) {
			return nil, status.Errorf(codes.Internal, "%s takes %T, not %T", info.FullMethod, empty, args)
		}
		return l.chain.unary(ctx, args, info, h)
	}
}

// Close refuses new calls, waits for those under way, cancels what still streams when ctx ends, and returns when
// nothing runs any more.
func (l *Local) Close(ctx context.Context) {
	l.mu.Lock()
	l.mu.closed = true
	if l.mu.running == 0 {
		l.mu.Unlock()
		return
	}
	if l.mu.idle == nil {
		l.mu.idle = make(chan struct{})
	}
	idle := l.mu.idle
	l.mu.Unlock()
	select {
	case <-idle:
		return
	case <-ctx.Done():
	}
	l.mu.Lock()
	for _, cancel := range l.mu.streams {
		cancel()
	}
	l.mu.Unlock()
	<-idle
}

func (l *Local) begin(p *pipe, cancel context.CancelFunc) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return fault.New(fault.ShuttingDown, "this process is shutting down").GRPCStatus().Err()
	}
	l.mu.running++
	if p != nil {
		l.mu.streams[p] = cancel
	}
	return nil
}

func (l *Local) end(p *pipe) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.running--
	delete(l.mu.streams, p)
	if l.mu.running == 0 && l.mu.idle != nil {
		close(l.mu.idle)
		l.mu.idle = nil
	}
}

func (l *Local) find(method string) (localService, string, error) {
	service, name, ok := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	svc, known := l.services[service]
	if !ok || !known {
		return localService{}, "", status.Errorf(codes.Unimplemented, "unknown service %s", service)
	}
	return svc, name, nil
}

func unknownMethod(method string) error {
	return status.Errorf(codes.Unimplemented, "unknown method %s", strings.TrimPrefix(method, "/"))
}

// serverContext is the context that a handler would get behind a socket, but with the caller's values and deadline.
func serverContext(ctx context.Context, t grpc.ServerTransportStream) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx)
	ctx = metadata.NewOutgoingContext(ctx, nil) // what the caller sent is not passed on to third parties
	ctx = metadata.NewIncomingContext(ctx, md)
	ctx = peer.NewContext(ctx, &peer.Peer{Addr: localAddr{}})
	return grpc.NewContextWithServerTransportStream(ctx, t)
}

type localAddr struct{}

func (localAddr) Network() string { return "local" }
func (localAddr) String() string  { return "in-process" }

// localTransport collects what a unary handler sets with grpc.SetHeader and grpc.SetTrailer.
type localTransport struct {
	method string
	mu     struct {
		sync.Mutex
		header, trailer metadata.MD
	}
}

func (t *localTransport) Method() string { return t.method }

func (t *localTransport) SetHeader(md metadata.MD) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.header = metadata.Join(t.mu.header, md)
	return nil
}

func (t *localTransport) SendHeader(md metadata.MD) error { return t.SetHeader(md) }

func (t *localTransport) SetTrailer(md metadata.MD) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.trailer = metadata.Join(t.mu.trailer, md)
	return nil
}

// deliver fills grpc.Header, grpc.Trailer and grpc.Peer of the caller.
func (t *localTransport) deliver(opts []grpc.CallOption) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = t.mu.header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = t.mu.trailer
		case grpc.PeerCallOption:
			*o.PeerAddr = peer.Peer{Addr: localAddr{}}
		}
	}
}

// hand moves the fields of src into dst without copying what they hold.
func hand(dst, src any) error {
	d, ok1 := dst.(proto.Message)
	s, ok2 := src.(proto.Message)
	if !ok1 || !ok2 || reflect.TypeOf(dst) != reflect.TypeOf(src) {
		return status.Error(codes.Internal, fmt.Sprintf("the answer is a %T, not a %T", src, dst))
	}
	proto.Reset(d)
	to, from := d.ProtoReflect(), s.ProtoReflect()
	if !from.IsValid() {
		return status.Errorf(codes.Internal, "the answer is a nil %T", src)
	}
	from.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(f, v)
		return true
	})
	to.SetUnknown(from.GetUnknown())
	return nil
}
