package boot

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	promexp "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/pandodb/pando/services/internal/release"
)

// Telemetry of a process. Metrics are always kept, for /metrics. Traces, and metrics by push, go out by OTLP/gRPC only
// when the standard variables ask for it: OTEL_EXPORTER_OTLP_ENDPOINT (or its _TRACES_ and _METRICS_ forms), or
// OTEL_TRACES_EXPORTER=otlp, OTEL_METRICS_EXPORTER=otlp. OTEL_SDK_DISABLED=true and …_EXPORTER=none switch them off.
// Sampling, resource attributes and headers follow the other OTEL_* variables.
type Telemetry struct {
	Tracer  trace.TracerProvider
	Meter   metric.MeterProvider
	Metrics http.Handler // Prometheus text of everything measured
	// shutdown sends what is pending.
	shutdown func(context.Context) error
}

func startTelemetry(ctx context.Context, name string, env []string, log *slog.Logger) (*Telemetry, error) {
	// The SDK reports a collector that is away through a process-wide hook only.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("telemetry", "error", err) }))
	vars := readVars(env)
	res, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", name),
		attribute.String("service.version", release.Version)), resource.WithFromEnv())
	if err != nil {
		return nil, err
	}
	t := &Telemetry{Tracer: tracenoop.NewTracerProvider()}
	var closers []func(context.Context) error

	registry := prometheus.NewRegistry()
	if err := errors.Join(registry.Register(collectors.NewGoCollector()),
		registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))); err != nil {
		return nil, err
	}
	scrape, err := promexp.New(promexp.WithRegisterer(registry), promexp.WithoutScopeInfo())
	if err != nil {
		return nil, err
	}
	readers := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithReader(scrape)}
	if vars.wants("METRICS") {
		push, err := otlpmetricgrpc.New(ctx)
		if err != nil {
			return nil, err
		}
		readers = append(readers, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(push)))
	}
	meter := sdkmetric.NewMeterProvider(readers...)
	t.Meter = meter
	closers = append(closers, meter.Shutdown)
	t.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})

	if vars.wants("TRACES") {
		send, err := otlptracegrpc.New(ctx)
		if err != nil {
			return nil, errors.Join(err, meter.Shutdown(ctx))
		}
		tp := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(send))
		t.Tracer = tp
		closers = append(closers, tp.Shutdown)
	}
	t.shutdown = func(ctx context.Context) error {
		for i := len(closers) - 1; i >= 0; i-- {
			if err := closers[i](ctx); err != nil {
				log.Warn("telemetry could not be sent at the end", "error", err) // no reason for a bad exit code
			}
		}
		return nil
	}
	return t, nil
}

type vars map[string]string

func readVars(env []string) vars {
	v := vars{}
	for _, e := range env {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, "OTEL_") {
			v[name] = value
		}
	}
	return v
}

// wants says whether signal (TRACES, METRICS) is to be sent by OTLP.
func (v vars) wants(signal string) bool {
	if strings.EqualFold(v["OTEL_SDK_DISABLED"], "true") {
		return false
	}
	switch v["OTEL_"+signal+"_EXPORTER"] {
	case "none":
		return false
	case "otlp":
		return true
	}
	return v["OTEL_EXPORTER_OTLP_ENDPOINT"] != "" || v["OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT"] != ""
}
