package controlplane_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/pandodb/pando/services/controlplane"
)

// TestMetrics: what is scraped is what the records say.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		s, err := controlplane.New(controlplane.Config{}, controlplane.Deps{
			Memory: controlplane.NewMemory(), Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
		})
		if err != nil {
			t.Fatal(err)
		}
		c, local, err := serve(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		<-s.Ready()
		if _, err := c.register(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := c.catalog.CreateCollection(ctx, create("c")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var all metricdata.ResourceMetrics
		if err := reader.Collect(ctx, &all); err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, scope := range all.ScopeMetrics {
			for _, m := range scope.Metrics {
				if g, ok := m.Data.(metricdata.Gauge[int64]); ok {
					for _, p := range g.DataPoints {
						fmt.Fprintf(&got, "%s%v=%d\n", m.Name, p.Attributes.ToSlice(), p.Value)
					}
				}
			}
		}
		for _, want := range []string{
			"pando_control_leader[]=1", "pando_control_term[]=1", `pando_control_peers[{"session":true}]=1`,
			`pando_control_peers[{"session":false}]=0`, "pando_control_collections[]=1", `pando_control_replicas[{"state":"Active"}]=0`,
			"pando_control_shards_without_primary[]=0",
		} {
			if !strings.Contains(got.String(), want+"\n") {
				t.Errorf("no %s in\n%s", want, &got)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		local.Close(t.Context())
	})
}
