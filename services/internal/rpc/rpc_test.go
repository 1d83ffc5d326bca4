package rpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/pandodb/pando/services/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is the service of all tests: what a request asks for is in its payload or metadata.
type server struct {
	grpc_testing.UnimplementedTestServiceServer
	block chan struct{} // UnaryCall "block" waits for it
}

func (s *server) UnaryCall(ctx context.Context, in *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if _, leaked := metadata.FromOutgoingContext(ctx); leaked {
		if out, _ := metadata.FromOutgoingContext(ctx); len(out) > 0 {
			return nil, errors.New("outgoing metadata of the caller leaked into the handler")
		}
	}
	switch string(in.GetPayload().GetBody()) {
	case "panic":
		panic("a bug")
	case "fault":
		return nil, fault.New(fault.RateLimited, "slow down").With(fault.MetaRetryAfter, "3")
	case "plain":
		return nil, io.ErrUnexpectedEOF
	case "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	case "block":
		<-s.block
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs("h", "1")); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, metadata.Pairs("t", "2")); err != nil {
		return nil, err
	}
	return &grpc_testing.SimpleResponse{Payload: in.GetPayload(), Username: strings.Join(md.Get("who"), ",")}, nil
}

// StreamingOutputCall answers ResponseParameters[i].Size = i; a negative size is an error.
func (s *server) StreamingOutputCall(in *grpc_testing.StreamingOutputCallRequest, out grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	for _, p := range in.GetResponseParameters() {
		if p.GetSize() < 0 {
			return fault.New(fault.Detached, "alone")
		}
		if err := out.Send(payload(string(rune('a' + p.GetSize())))); err != nil {
			return err
		}
	}
	if string(in.GetPayload().GetBody()) == "wait" {
		<-out.Context().Done()
		return out.Context().Err()
	}
	return nil
}

func (s *server) StreamingInputCall(in grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
	var n int32
	for {
		m, err := in.Recv()
		if err == io.EOF {
			return in.SendAndClose(&grpc_testing.StreamingInputCallResponse{AggregatedPayloadSize: n})
		}
		if err != nil {
			return err
		}
		if string(m.GetPayload().GetBody()) == "stop" {
			return fault.New(fault.TooLarge, "enough")
		}
		n += int32(len(m.GetPayload().GetBody()))
	}
}

func (s *server) FullDuplexCall(st grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	if err := st.SetHeader(metadata.Pairs("h", "1")); err != nil {
		return err
	}
	st.SetTrailer(metadata.Pairs("t", "2"))
	for {
		m, err := st.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if string(m.GetPayload().GetBody()) == "panic" {
			panic("a bug")
		}
		if err := st.Send(payload(string(m.GetPayload().GetBody()))); err != nil {
			return err
		}
	}
}

func payload(s string) *grpc_testing.StreamingOutputCallResponse {
	return &grpc_testing.StreamingOutputCallResponse{Payload: &grpc_testing.Payload{Body: []byte(s)}}
}

func ask(s string) *grpc_testing.SimpleRequest {
	return &grpc_testing.SimpleRequest{Payload: &grpc_testing.Payload{Body: []byte(s)}}
}

func askStream(s string) *grpc_testing.StreamingOutputCallRequest {
	return &grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: []byte(s)}}
}

// connect gives a client to impl: over HTTP/2 on a pipe, or in-process.
func connect(t *testing.T, kind string, impl *server, o Options, d DialOptions) grpc_testing.TestServiceClient {
	t.Helper()
	if kind == "local" {
		l, err := NewLocal(o)
		if err != nil {
			t.Fatal(err)
		}
		grpc_testing.RegisterTestServiceServer(l, impl)
		t.Cleanup(func() { l.Close(t.Context()) })
		return grpc_testing.NewTestServiceClient(l)
	}
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	grpc_testing.RegisterTestServiceServer(s, impl)
	lis := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	cc, err := dial("test", d, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cc.Close()
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return grpc_testing.NewTestServiceClient(cc)
}

// each runs f once over a socket-like pipe and once in-process: both must behave alike.
func each(t *testing.T, f func(t *testing.T, kind string)) {
	for _, kind := range []string{"wire", "local"} {
		t.Run(kind, func(t *testing.T) { f(t, kind) })
	}
}

func TestUnary(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c := connect(t, kind, &server{}, Options{}, DialOptions{})
		ctx := metadata.AppendToOutgoingContext(t.Context(), "who", "me")
		var header, trailer metadata.MD
		got, err := c.UnaryCall(ctx, ask("hello"), grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil {
			t.Fatal(err)
		}
		if string(got.GetPayload().GetBody()) != "hello" || got.GetUsername() != "me" {
			t.Errorf("got %v", got)
		}
		if header.Get("h")[0] != "1" || trailer.Get("t")[0] != "2" {
			t.Errorf("header %v trailer %v", header, trailer)
		}
	})
}

func TestUnaryErrors(t *testing.T) {
	tests := []struct {
		ask    string
		code   codes.Code
		reason fault.Reason
		msg    string
	}{
		{"fault", codes.ResourceExhausted, fault.RateLimited, "slow down"},
		{"plain", codes.Internal, fault.Unspecified, "Service internal error: unexpected EOF"},
		{"panic", codes.Internal, fault.Unspecified, "Service internal error: /grpc.testing.TestService/UnaryCall failed unexpectedly; the server's log has the details"},
	}
	each(t, func(t *testing.T, kind string) {
		c := connect(t, kind, &server{}, Options{}, DialOptions{})
		for _, tc := range tests {
			var trailer metadata.MD
			_, err := c.UnaryCall(t.Context(), ask(tc.ask), grpc.Trailer(&trailer))
			st, ok := status.FromError(err)
			if !ok || st.Code() != tc.code || fault.ReasonOf(err) != tc.reason || st.Message() != tc.msg {
				t.Errorf("%s: %v", tc.ask, err)
			}
			if after := trailer.Get("retry-after"); tc.ask == "fault" && (len(after) != 1 || after[0] != "3") {
				t.Errorf("retry-after: %v", trailer)
			}
		}
		if _, err := c.EmptyCall(t.Context(), &grpc_testing.Empty{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("method without an implementation: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := c.UnaryCall(ctx, ask("wait")); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("deadline: %v", err)
		}
	})
}

func TestUnknown(t *testing.T) {
	l, err := NewLocal(Options{})
	if err != nil {
		t.Fatal(err)
	}
	grpc_testing.RegisterTestServiceServer(l, &server{})
	for _, m := range []string{"/nobody.Here/X", "/grpc.testing.TestService/X", "nonsense", ""} {
		if err := l.Invoke(t.Context(), m, ask(""), &grpc_testing.SimpleResponse{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("%q: %v", m, err)
		}
		if _, err := l.NewStream(t.Context(), &grpc.StreamDesc{}, m); status.Code(err) != codes.Unimplemented {
			t.Errorf("stream %q: %v", m, err)
		}
	}
	const unary = "/grpc.testing.TestService/UnaryCall"
	if err := l.Invoke(t.Context(), unary, &grpc_testing.Empty{}, &grpc_testing.SimpleResponse{}); status.Code(err) != codes.Internal {
		t.Errorf("request of another type: %v", err)
	}
	if err := l.Invoke(t.Context(), unary, ask(""), &grpc_testing.Empty{}); status.Code(err) != codes.Internal {
		t.Errorf("answer of another type: %v", err)
	}
}

func TestServerStream(t *testing.T) {
	params := func(sizes ...int32) (p []*grpc_testing.ResponseParameters) {
		for _, s := range sizes {
			p = append(p, &grpc_testing.ResponseParameters{Size: s})
		}
		return p
	}
	long := make([]int32, 20*pipeDepth)
	each(t, func(t *testing.T, kind string) {
		c := connect(t, kind, &server{}, Options{}, DialOptions{})
		for _, tc := range []struct {
			sizes []int32
			want  int
			code  codes.Code
		}{{nil, 0, codes.OK}, {[]int32{0, 1, 2}, 3, codes.OK}, {[]int32{0, 1, -1}, 2, codes.Unavailable}, {long, len(long), codes.OK}} {
			st, err := c.StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{ResponseParameters: params(tc.sizes...)})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for {
				m, err := st.Recv()
				if err == io.EOF && tc.code == codes.OK {
					break
				}
				if err != nil {
					if status.Code(err) != tc.code || fault.ReasonOf(err) != fault.Detached {
						t.Errorf("%d sizes: %v", len(tc.sizes), err)
					}
					break
				}
				if want := string(rune('a' + tc.sizes[n])); string(m.GetPayload().GetBody()) != want {
					t.Errorf("message %d: %v", n, m)
				}
				n++
			}
			if n != tc.want {
				t.Errorf("%d messages, want %d", n, tc.want)
			}
			if _, err := st.Recv(); err == nil {
				t.Error("Recv after the end must fail again")
			}
		}
	})
}

func TestStreamCancel(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c := connect(t, kind, &server{}, Options{}, DialOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		st, err := c.StreamingOutputCall(ctx, askStream("wait"))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := st.Recv(); status.Code(err) != codes.Canceled {
			t.Errorf("after cancel: %v", err)
		}
	})
}

func TestClientStream(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c := connect(t, kind, &server{}, Options{}, DialOptions{})
		st, err := c.StreamingInputCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 * pipeDepth {
			if err := st.Send(&grpc_testing.StreamingInputCallRequest{Payload: &grpc_testing.Payload{Body: []byte("xy")}}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := st.CloseAndRecv()
		if err != nil || got.GetAggregatedPayloadSize() != 6*pipeDepth {
			t.Errorf("got %v, %v", got, err)
		}

		st, err = c.StreamingInputCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stop := &grpc_testing.StreamingInputCallRequest{Payload: &grpc_testing.Payload{Body: []byte("stop")}}
		for err == nil { // until the handler's return is noticed
			err = st.Send(stop)
		}
		if err != io.EOF {
			t.Errorf("Send to a handler that returned: %v, want io.EOF", err)
		}
		if _, err := st.CloseAndRecv(); fault.ReasonOf(err) != fault.TooLarge {
			t.Errorf("CloseAndRecv: %v", err)
		}
	})
}

func TestDuplex(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c := connect(t, kind, &server{}, Options{}, DialOptions{})
		st, err := c.FullDuplexCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{"a", "b"} {
			if err := st.Send(askStream(s)); err != nil {
				t.Fatal(err)
			}
			if m, err := st.Recv(); err != nil || string(m.GetPayload().GetBody()) != s {
				t.Fatalf("%v %v", m, err)
			}
		}
		if h, err := st.Header(); err != nil || h.Get("h")[0] != "1" {
			t.Errorf("header %v %v", h, err)
		}
		if err := st.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(); err != io.EOF {
			t.Errorf("end: %v", err)
		}
		if st.Trailer().Get("t")[0] != "2" {
			t.Errorf("trailer %v", st.Trailer())
		}

		st, err = c.FullDuplexCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Send(askStream("panic")); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(); status.Code(err) != codes.Internal {
			t.Errorf("panic in a stream: %v", err)
		}
	})
}

func TestLocalClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := NewLocal(Options{})
		if err != nil {
			t.Fatal(err)
		}
		impl := &server{block: make(chan struct{})}
		grpc_testing.RegisterTestServiceServer(l, impl)
		c := grpc_testing.NewTestServiceClient(l)
		answered := make(chan error, 1)
		go func() {
			_, err := c.UnaryCall(t.Context(), ask("block"))
			answered <- err
		}()
		st, err := c.StreamingOutputCall(t.Context(), askStream("wait"))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()

		closed := make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		go func() { l.Close(ctx); close(closed) }()
		synctest.Wait()
		if _, err := c.UnaryCall(t.Context(), ask("hello")); fault.ReasonOf(err) != fault.ShuttingDown {
			t.Errorf("call while closing: %v", err)
		}
		close(impl.block)
		if err := <-answered; err != nil {
			t.Errorf("a call under way must end well: %v", err)
		}
		<-closed
		if d := time.Since(start); d != time.Minute {
			t.Errorf("the stream was cancelled after %v, want the grace of 1m", d)
		}
		if _, err := st.Recv(); status.Code(err) != codes.Canceled {
			t.Errorf("the stream ended with %v", err)
		}
	})
}

func TestMessageLimit(t *testing.T) {
	c := connect(t, "wire", &server{}, Options{MaxMessageBytes: 1000}, DialOptions{})
	_, err := c.UnaryCall(t.Context(), ask(strings.Repeat("x", 1001)))
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "1000") {
		t.Errorf("got %v", err)
	}
}

// TestGzip: a client that compresses is understood, and answered in kind.
func TestGzip(t *testing.T) {
	c := connect(t, "wire", &server{}, Options{MaxMessageBytes: 1 << 20}, DialOptions{})
	body := strings.Repeat("x", 1<<19)
	var header metadata.MD
	got, err := c.UnaryCall(t.Context(), ask(body), grpc.UseCompressor("gzip"), grpc.Header(&header))
	if err != nil || string(got.GetPayload().GetBody()) != body {
		t.Errorf("%d bytes back, %v", len(got.GetPayload().GetBody()), err)
	}
	// What a bomb unpacks to counts, not what it weighs.
	if _, err := c.UnaryCall(t.Context(), ask(strings.Repeat("x", 2<<20)), grpc.UseCompressor("gzip")); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a compressed message above the limit: %v", err)
	}
}

// TestReflection: both versions list the services, without themselves and without what is hidden.
func TestReflection(t *testing.T) {
	s, err := NewServer(Options{})
	if err != nil {
		t.Fatal(err)
	}
	NewHealth(slog.New(slog.DiscardHandler)).RegisterPublic(s)
	grpc_testing.RegisterTestServiceServer(s, &server{})
	RegisterReflection(s, "grpc.testing.")
	var names []string
	for name := range s.GetServiceInfo() {
		names = append(names, name)
	}
	for _, want := range []string{"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not registered", want)
		}
	}
	shown := listed{s, []string{"grpc.testing.", "grpc.reflection."}}.GetServiceInfo()
	if _, ok := shown["grpc.health.v1.Health"]; !ok || len(shown) != 1 {
		t.Errorf("shown: %v", shown)
	}
}

func TestTrace(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		rec := tracetest.NewSpanRecorder()
		tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))
		c := connect(t, kind, &server{}, Options{Tracer: tp}, DialOptions{Tracer: tp})
		ctx, root := tp.Tracer("test").Start(t.Context(), "root")
		if _, err := c.UnaryCall(ctx, ask("x")); err != nil {
			t.Fatal(err)
		}
		_, err := c.UnaryCall(ctx, ask("panic"))
		if err == nil {
			t.Fatal("want an error")
		}
		if _, err := c.UnaryCall(ctx, ask("fault")); err == nil {
			t.Fatal("want an error")
		}
		root.End()
		for _, s := range rec.Ended() {
			if s.SpanContext().TraceID() != root.SpanContext().TraceID() {
				t.Errorf("span %q is in another trace", s.Name())
			}
		}
		var server []sdktrace.ReadOnlySpan
		for _, s := range rec.Ended() {
			if s.SpanKind().String() == "server" {
				server = append(server, s)
			}
		}
		if len(server) != 3 || server[0].Name() != "grpc.testing.TestService/UnaryCall" {
			t.Fatalf("%d server spans", len(server))
		}
		if got := server[1].Status().Code; got != otelcodes.Error {
			t.Errorf("panic: span status %v", got)
		}
		if got := server[2].Status().Code; got != otelcodes.Unset {
			t.Errorf("refusal: span status %v, a refusal is no failure of the server", got)
		}
	})
}

// TestNoTraceOfTheirOwn: what processes say to each other all the time is in no trace, unless a request is behind it.
func TestNoTraceOfTheirOwn(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		rec := tracetest.NewSpanRecorder()
		tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))
		c := connect(t, kind, &server{}, Options{Tracer: tp, Inside: true}, DialOptions{Tracer: tp})
		if _, err := c.UnaryCall(t.Context(), ask("x")); err != nil {
			t.Fatal(err)
		}
		if n := len(rec.Ended()); n > 0 {
			t.Errorf("%d spans without a request", n)
		}
		ctx, root := tp.Tracer("test").Start(t.Context(), "root")
		if _, err := c.UnaryCall(ctx, ask("x")); err != nil {
			t.Fatal(err)
		}
		root.End()
		if n := len(rec.Ended()); n < 2 {
			t.Errorf("%d spans of a request", n)
		}
	})
}

func TestMeter(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		reader := sdkmetric.NewManualReader()
		mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		c := connect(t, kind, &server{}, Options{Plane: "data", Meter: mp}, DialOptions{})
		for _, s := range []string{"x", "y", "fault", "panic"} {
			_, err := c.UnaryCall(t.Context(), ask(s))
			if (err == nil) != (len(s) == 1) {
				t.Fatal(err)
			}
		}
		var rm metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &rm); err != nil {
			t.Fatal(err)
		}
		got := map[string]uint64{}
		for _, m := range rm.ScopeMetrics[0].Metrics {
			h, ok := m.Data.(metricdata.Histogram[float64])
			if !ok || m.Name != "pando_data_rpc_duration" {
				continue
			}
			for _, p := range h.DataPoints {
				code, _ := p.Attributes.Value(attribute.Key("code"))
				got[code.AsString()] += p.Count
			}
		}
		if got["OK"] != 2 || got["ResourceExhausted"] != 1 || got["Internal"] != 1 {
			t.Errorf("counts %v", got)
		}
	})
}

func TestPanicIsLogged(t *testing.T) {
	var b strings.Builder
	c := connect(t, "local", &server{}, Options{Logger: slog.New(slog.NewTextHandler(&b, nil))}, DialOptions{})
	_, err := c.UnaryCall(t.Context(), ask("panic"))
	if err == nil || strings.Contains(err.Error(), "goroutine") {
		t.Errorf("the caller gets %v", err)
	}
	if !strings.Contains(b.String(), "a bug") || !strings.Contains(b.String(), "rpc_test.go") {
		t.Errorf("the log lacks the cause or the stack: %s", b.String())
	}
}

func BenchmarkLocal(b *testing.B) {
	l, err := NewLocal(Options{})
	if err != nil {
		b.Fatal(err)
	}
	grpc_testing.RegisterTestServiceServer(l, &server{})
	c := grpc_testing.NewTestServiceClient(l)
	in := ask("x")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.UnaryCall(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}
