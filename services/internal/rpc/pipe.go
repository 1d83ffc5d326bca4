package rpc

import (
	"context"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pandodb/pando/services/internal/fault"
)

// pipeDepth is how many messages each direction of a local stream holds before its sender waits.
const pipeDepth = 16

// pipe is what the two ends of one local stream share. The handler runs in a goroutine of its own, which ends when the
// handler returns; the handler's context ends with the caller's, or when Local closes.
type pipe struct {
	method   string
	up, down chan any      // caller -> handler, handler -> caller
	started  chan struct{} // closed when the header is out
	done     chan struct{} // closed when the handler has returned; err and trailer stand then
	mu       struct {
		sync.Mutex
		header, trailer metadata.MD
		sent            bool  // started is closed
		upClosed        bool  // up is closed
		err             error // status of the handler
	}
}

// NewStream starts a streaming method.
func (l *Local) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	svc, name, err := l.find(method)
	if err != nil {
		return nil, err
	}
	m, ok := svc.streams[name]
	if !ok {
		return nil, unknownMethod(method)
	}
	p := &pipe{method: method, up: make(chan any, pipeDepth), down: make(chan any, pipeDepth),
		started: make(chan struct{}), done: make(chan struct{})}
	sctx, cancel := context.WithCancel(serverContext(ctx, p))
	if err := l.begin(p, cancel); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer l.end(p)
		defer cancel()
		info := &grpc.StreamServerInfo{FullMethod: method, IsClientStream: m.ClientStreams, IsServerStream: m.ServerStreams}
		p.finish(l.chain.stream(svc.impl, &serverEnd{p, sctx}, info, m.Handler))
	}()
	return &clientEnd{pipe: p, ctx: ctx, cancel: cancel, single: !d.ServerStreams, opts: opts}, nil
}

func (p *pipe) finish(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.mu.err = fault.From(err).GRPCStatus().Err()
	}
	p.sendHeaderLocked()
	close(p.done)
}

func (p *pipe) sendHeaderLocked() {
	if !p.mu.sent {
		p.mu.sent = true
		close(p.started)
	}
}

// Method, SetHeader, SendHeader and SetTrailer make pipe a grpc.ServerTransportStream.
func (p *pipe) Method() string { return p.method }

func (p *pipe) SetHeader(md metadata.MD) error { return p.addHeader(md, false) }

func (p *pipe) SendHeader(md metadata.MD) error { return p.addHeader(md, true) }

func (p *pipe) addHeader(md metadata.MD, send bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.sent {
		return status.Error(codes.Internal, "the header is out already")
	}
	p.mu.header = metadata.Join(p.mu.header, md)
	if send {
		p.sendHeaderLocked()
	}
	return nil
}

func (p *pipe) SetTrailer(md metadata.MD) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.trailer = metadata.Join(p.mu.trailer, md)
	return nil
}

// serverEnd is the handler's side.
type serverEnd struct {
	*pipe
	ctx context.Context
}

func (s *serverEnd) Context() context.Context { return s.ctx }

func (s *serverEnd) SetTrailer(md metadata.MD) { _ = s.pipe.SetTrailer(md) } // never fails

func (s *serverEnd) SendMsg(m any) error {
	s.mu.Lock()
	s.sendHeaderLocked()
	s.mu.Unlock()
	if err := s.ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	select {
	case s.down <- m:
		return nil
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	}
}

func (s *serverEnd) RecvMsg(m any) error {
	select {
	case in, ok := <-s.up:
		if !ok {
			return io.EOF
		}
		return hand(m, in)
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	}
}

// clientEnd is the caller's side. As with any grpc stream, the caller cancels its context or receives until an error.
type clientEnd struct {
	*pipe
	ctx    context.Context
	cancel context.CancelFunc
	single bool // the method answers with one message, as CloseAndRecv expects
	opts   []grpc.CallOption
}

func (c *clientEnd) Context() context.Context { return c.ctx }

func (c *clientEnd) Header() (metadata.MD, error) {
	select {
	case <-c.started:
	case <-c.ctx.Done():
		return nil, status.FromContextError(c.ctx.Err()).Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.header, nil
}

func (c *clientEnd) Trailer() metadata.MD {
	select {
	case <-c.done:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.mu.trailer
	default:
		return nil
	}
}

func (c *clientEnd) CloseSend() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mu.upClosed {
		c.mu.upClosed = true
		close(c.up)
	}
	return nil
}

// SendMsg answers io.EOF once the handler has returned; RecvMsg then tells why.
func (c *clientEnd) SendMsg(m any) error {
	c.mu.Lock()
	closed := c.mu.upClosed
	c.mu.Unlock()
	if closed {
		return status.Error(codes.Internal, "SendMsg after CloseSend")
	}
	select {
	case <-c.done:
		return io.EOF
	default:
	}
	select {
	case c.up <- m:
		return nil
	case <-c.done:
		return io.EOF
	case <-c.ctx.Done():
		return status.FromContextError(c.ctx.Err()).Err()
	}
}

func (c *clientEnd) RecvMsg(m any) error {
	in, err := c.next()
	if err == io.EOF && c.single {
		return status.Error(codes.Internal, "the handler has not answered")
	}
	if err != nil {
		return err
	}
	if err := hand(m, in); err != nil {
		c.cancel()
		return err
	}
	if !c.single {
		return nil
	}
	if _, err := c.next(); err != io.EOF {
		if err == nil {
			c.cancel()
			return status.Error(codes.Internal, "a second answer to a call that has one")
		}
		return err
	}
	return nil
}

// next is the next message; after the last one io.EOF or the handler's status.
func (c *clientEnd) next() (any, error) {
	select {
	case in := <-c.down:
		return in, nil
	case <-c.ctx.Done():
		c.cancel()
		return nil, status.FromContextError(c.ctx.Err()).Err()
	case <-c.done:
	}
	select { // the handler has returned; what it sent before comes first
	case in := <-c.down:
		return in, nil
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deliverLocked()
	if c.mu.err != nil {
		return nil, c.mu.err
	}
	return nil, io.EOF
}

func (c *clientEnd) deliverLocked() {
	for _, o := range c.opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = c.mu.header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = c.mu.trailer
		}
	}
}
