package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// safeBuffer is written by the work's and the signal's goroutine.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func options(log io.Writer) Options {
	return Options{Name: "pando", Log: log, Env: []string{}, Signals: make(chan os.Signal, 2), Force: func(int) { panic("forced") }}
}

func TestCodes(t *testing.T) {
	broken := errors.New("broken")
	tests := map[string]struct {
		err  error
		want int
	}{
		"fine":       {nil, 0},
		"any":        {broken, 1},
		"coded":      {Exit(ExitPort, broken), 3},
		"wrapped":    {fmt.Errorf("start: %w", Exit(ExitData, broken)), 4},
		"joined":     {errors.Join(broken, Exit(ExitCluster, broken)), 101},
		"coded nil":  {Exit(ExitPort, nil), 0},
		"own cancel": {context.Canceled, 1}, // nobody asked the work to end
	}
	for name, tc := range tests {
		var log safeBuffer
		got := Main(options(&log), func(context.Context, *Process) error { return tc.err })
		if got != tc.want {
			t.Errorf("%s: exit code %d, want %d", name, got, tc.want)
		}
		if tc.err != nil && !strings.Contains(log.String(), strings.ReplaceAll(tc.err.Error(), "\n", `\n`)) {
			t.Errorf("%s: the error is not in the log: %s", name, log.String())
		}
	}
}

func TestClosersRunInReverse(t *testing.T) {
	var order []string
	note := func(name string, err error) func(context.Context) error {
		return func(ctx context.Context) error {
			if ctx.Err() != nil {
				t.Errorf("%s: no time left", name)
			}
			order = append(order, name)
			return err
		}
	}
	code := Main(options(io.Discard), func(_ context.Context, p *Process) error {
		p.Defer("first", note("first", nil))
		p.Defer("second", note("second", Exit(ExitCorrupt, errors.New("broken"))))
		p.Defer("third", note("third", nil))
		return nil
	})
	if !slices.Equal(order, []string{"third", "second", "first"}) || code != ExitCorrupt {
		t.Errorf("order %v, exit code %d", order, code)
	}
}

func TestSignalEndsTheWork(t *testing.T) {
	var log safeBuffer
	o := options(&log)
	code := Main(o, func(ctx context.Context, _ *Process) error {
		o.Signals <- syscall.SIGTERM
		<-ctx.Done()
		return fmt.Errorf("serving: %w", ctx.Err())
	})
	if code != 0 || !strings.Contains(log.String(), "terminated") {
		t.Errorf("exit code %d, log %s", code, log.String())
	}
}

func TestSecondSignalForces(t *testing.T) {
	o := options(io.Discard)
	forced := make(chan int, 1)
	o.Force = func(code int) { forced <- code }
	Main(o, func(ctx context.Context, _ *Process) error {
		o.Signals <- syscall.SIGINT
		<-ctx.Done()
		o.Signals <- syscall.SIGINT
		if code := <-forced; code != ExitForced { // the work hangs until here
			t.Errorf("forced with %d", code)
		}
		return nil
	})
}

// TestRealSignal: Main listens for SIGTERM before the work begins.
func TestRealSignal(t *testing.T) {
	o := options(io.Discard)
	o.Signals = nil
	code := Main(o, func(ctx context.Context, _ *Process) error {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestLogger(t *testing.T) {
	tp := sdktrace.NewTracerProvider()
	ctx, span := tp.Tracer("t").Start(t.Context(), "s")
	defer span.End()
	var b bytes.Buffer
	log := NewLogger(&b, slog.LevelInfo, true).With("peer", 7)
	log.InfoContext(ctx, "with", "k", "v")
	log.Info("without")
	log.Debug("too low")
	dec := json.NewDecoder(&b)
	var with, without map[string]any
	if err := dec.Decode(&with); err != nil {
		t.Fatal(err)
	}
	if err := dec.Decode(&without); err != nil {
		t.Fatal(err)
	}
	if dec.More() {
		t.Error("a record below the level was written")
	}
	if with["trace_id"] != span.SpanContext().TraceID().String() || with["span_id"] != span.SpanContext().SpanID().String() || with["peer"] != 7.0 {
		t.Errorf("with a span: %v", with)
	}
	if _, ok := without["trace_id"]; ok {
		t.Errorf("without a span: %v", without)
	}
}

func TestMetricsEndpoint(t *testing.T) {
	Main(options(io.Discard), func(ctx context.Context, p *Process) error {
		m := p.Meter.Meter("test")
		d, err := m.Float64Histogram("pando_data_rpc_duration", metric.WithUnit("s"))
		if err != nil {
			t.Fatal(err)
		}
		d.Record(ctx, 0.25, metric.WithAttributes(attribute.String("code", "OK")))
		c, err := m.Int64Counter("pando_data_rpc_streams")
		if err != nil {
			t.Fatal(err)
		}
		c.Add(ctx, 3)
		w := httptest.NewRecorder()
		p.Metrics.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		for _, want := range []string{`pando_data_rpc_duration_seconds_count{code="OK"} 1`, "pando_data_rpc_streams_total 3",
			"# TYPE pando_data_rpc_duration_seconds histogram", `service_name="pando"`, "go_goroutines", "process_resident_memory_bytes"} {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("/metrics lacks %s", want)
			}
		}
		return nil
	})
}

// TestTracesOffByDefault: without OTEL_* no span is recorded, yet a trace that comes in is passed on.
func TestTracesOffByDefault(t *testing.T) {
	Main(options(io.Discard), func(ctx context.Context, p *Process) error {
		remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true})
		ctx, span := p.Tracer.Tracer("t").Start(trace.ContextWithRemoteSpanContext(ctx, remote), "s")
		defer span.End()
		if span.IsRecording() || trace.SpanContextFromContext(ctx).TraceID() != remote.TraceID() {
			t.Errorf("recording %v, trace %s", span.IsRecording(), trace.SpanContextFromContext(ctx).TraceID())
		}
		return nil
	})
}

func TestWants(t *testing.T) {
	tests := map[string]struct {
		env             []string
		traces, metrics bool
	}{
		"nothing":       {nil, false, false},
		"endpoint":      {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317"}, true, true},
		"one endpoint":  {[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4317"}, true, false},
		"exporter":      {[]string{"OTEL_METRICS_EXPORTER=otlp"}, false, true},
		"none wins":     {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317", "OTEL_TRACES_EXPORTER=none"}, false, true},
		"disabled wins": {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317", "OTEL_SDK_DISABLED=TRUE"}, false, false},
	}
	for name, tc := range tests {
		v := readVars(tc.env)
		if v.wants("TRACES") != tc.traces || v.wants("METRICS") != tc.metrics {
			t.Errorf("%s: traces %v metrics %v", name, v.wants("TRACES"), v.wants("METRICS"))
		}
	}
}
