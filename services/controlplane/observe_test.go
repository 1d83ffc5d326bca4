package controlplane_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/protobuf/types/known/durationpb"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
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
		session, err := c.register(ctx)
		if err != nil {
			t.Fatal(err)
		}
		req := create("c")
		req.Config.Params.ShardingMethod, req.Timeout = nil, durationpb.New(time.Millisecond)
		made, err := c.catalog.CreateCollection(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := c.session.KeepAlive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&placementv1.KeepAliveRequest{SessionId: session.GetSessionId(), PeerId: 7, Inventory: &placementv1.Inventory{
			Replicas: []*placementv1.ReplicaInventory{{CollectionId: made.GetCollectionId(), Incarnation: append(make([]byte, 15), 1), Loaded: true}},
		}}); err != nil {
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
				if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
					for _, p := range sum.DataPoints {
						fmt.Fprintf(&got, "%s%v=%d\n", m.Name, p.Attributes.ToSlice(), p.Value)
					}
				}
				if g, ok := m.Data.(metricdata.Gauge[int64]); ok {
					for _, p := range g.DataPoints {
						fmt.Fprintf(&got, "%s%v=%d\n", m.Name, p.Attributes.ToSlice(), p.Value)
					}
				}
			}
		}
		for _, want := range []string{
			"pando_control_leader[]=1", "pando_control_term[]=1", `pando_control_peers[{"session":true}]=1`,
			`pando_control_peers[{"session":false}]=0`, "pando_control_collections[]=1", `pando_control_replicas[{"state":"Active"}]=1`,
			`pando_control_replicas[{"state":"Partial"}]=0`, `pando_control_swaps[{"kind":"birth"}]=1`,
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
