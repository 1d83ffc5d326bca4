package rpc

import (
	"context"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc/codes"

	"github.com/pandodb/pando/services/internal/fault"
)

// meter keeps the RED metrics of a server:
//
//	pando_<plane>_rpc_duration_seconds{method,code}  unary calls; its count is the rate, its codes the errors
//	pando_<plane>_rpc_streams_total{method,code}     streams that ended
//	pando_<plane>_rpc_active_requests                calls and streams under way
type meter struct {
	duration metric.Float64Histogram
	streams  metric.Int64Counter
	active   metric.Int64UpDownCounter
	sets     *sync.Map // label -> metric.MeasurementOption; bounded by methods x codes
}

type label struct {
	method string
	code   codes.Code
}

func newMeter(o Options) (*meter, error) {
	mt := o.Meter.Meter(scope)
	m := &meter{sets: new(sync.Map)}
	prefix := "pando_" + o.Plane + "_rpc_"
	var err error
	if m.duration, err = mt.Float64Histogram(prefix+"duration", metric.WithUnit("s"),
		metric.WithDescription("Time from the first layer to the answer of a unary call."),
		metric.WithExplicitBucketBoundaries(.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)); err != nil {
		return nil, err
	}
	if m.streams, err = mt.Int64Counter(prefix+"streams", metric.WithDescription("Streams that have ended.")); err != nil {
		return nil, err
	}
	if m.active, err = mt.Int64UpDownCounter(prefix+"active_requests", metric.WithDescription("Calls and streams under way.")); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *meter) layer(ctx context.Context, c call, next func(context.Context) error) error {
	start := time.Now()
	code := codes.Internal // what a panic that passes through here becomes
	m.active.Add(ctx, 1)
	defer func() {
		m.active.Add(ctx, -1)
		set := m.set(label{c.method, code})
		if c.stream {
			m.streams.Add(ctx, 1, set)
			return
		}
		m.duration.Record(ctx, time.Since(start).Seconds(), set)
	}()
	err := next(ctx)
	code = codes.OK
	if e := fault.From(err); e != nil {
		code = e.Code
	}
	return err
}

func (m *meter) set(l label) metric.MeasurementOption {
	if s, ok := m.sets.Load(l); ok {
		return s.(metric.MeasurementOption)
	}
	s := metric.WithAttributeSet(attribute.NewSet(
		attribute.String("method", strings.TrimPrefix(l.method, "/")), attribute.String("code", l.code.String())))
	m.sets.Store(l, s)
	return s
}
