package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/test/child"
	"github.com/pandodb/pando/services/test/fleet"
	"github.com/pandodb/pando/services/test/percentile"
	"github.com/pandodb/pando/services/test/usage"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

// idle looks at processes that nobody asks anything.
func idle(ctx context.Context, what string, d time.Duration, pids ...int) error {
	before, err := usageOfAll(pids)
	if err != nil {
		return err
	}
	if err := fleet.Pass(ctx, d); err != nil {
		return err
	}
	after, err := usageOfAll(pids)
	if err != nil {
		return err
	}
	var each []string
	var sum usage.Usage
	for i, u := range after {
		u.CPU = 100 * (u.CPU - before[i].CPU) / d.Seconds()
		sum.RSS, sum.CPU = sum.RSS+u.RSS, sum.CPU+u.CPU
		each = append(each, fmt.Sprintf("%.0f MB and %.2f %%", u.RSS, u.CPU))
	}
	line := fmt.Sprintf("%s: %.0f MB resident, %.2f %% of a core over %v", what, sum.RSS, sum.CPU, d)
	if len(pids) > 1 {
		line += " in sum; each " + strings.Join(each, ", ")
	}
	say("idle", "%s", line)
	return nil
}

func usageOfAll(pids []int) ([]usage.Usage, error) {
	out := make([]usage.Usage, len(pids))
	for i, pid := range pids {
		var err error
		if out[i], err = usage.Of(pid); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// roundTrips measures the smallest request of each kind over loopback, one at a time on one connection.
func roundTrips(ctx context.Context, p *child.Process) error {
	cc, err := rpc.Dial(p.GRPC, rpc.DialOptions{})
	if err != nil {
		return err
	}
	defer cc.Close()
	health := qdrant.NewQdrantClient(cc)
	kinds := []struct {
		name string
		do   func() error
	}{
		{"gRPC HealthCheck", func() error {
			_, err := health.HealthCheck(ctx, &qdrant.HealthCheckRequest{})
			return err
		}},
		{"REST GET /", func() error {
			r, err := http.Get("http://" + p.REST + "/")
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, r.Body)
			return errors.Join(err, r.Body.Close())
		}},
	}
	for _, k := range kinds {
		took := make([]time.Duration, 3000)
		for i := range took {
			begin := time.Now()
			if err := k.do(); err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			took[i] = time.Since(begin)
		}
		slices.Sort(took)
		say("trip", "%s: p50 %d µs, p99 %d µs over loopback", k.name, percentile.Of(took, 50).Microseconds(), percentile.Of(took, 99).Microseconds())
	}
	return nil
}

// dim is the size of the vectors that are written.
const dim = 128

// writes measures acknowledged upserts over gRPC with wait=true, into one shard of one peer.
func writes(ctx context.Context, p *child.Process, d time.Duration) error {
	cc, err := rpc.Dial(p.GRPC, rpc.DialOptions{})
	if err != nil {
		return err
	}
	defer cc.Close()
	c := qdrant.NewCollectionsClient(cc)
	for _, batch := range []int{1, 100} {
		for _, clients := range []int{1, 8, 64} {
			name := fmt.Sprintf("writes_%d_%d", clients, batch)
			if err := create(ctx, c, name, dim, 1, 1); err != nil {
				return err
			}
			if err := write(ctx, "", []*grpc.ClientConn{cc}, name, d, clients, batch); err != nil {
				return err
			}
			if _, err := c.Delete(ctx, &qdrant.DeleteCollection{CollectionName: name}); err != nil {
				return err
			}
		}
	}
	return nil
}

func create(ctx context.Context, c qdrant.CollectionsClient, name string, dim int, shards, factor uint32) error {
	_, err := c.Create(ctx, &qdrant.CreateCollection{CollectionName: name, ShardNumber: &shards, ReplicationFactor: &factor, VectorsConfig: &qdrant.VectorsConfig{
		Config: &qdrant.VectorsConfig_Params{Params: &qdrant.VectorParams{Size: uint64(dim), Distance: qdrant.Distance_Cosine}}}})
	return err
}

// write measures upserts of new points by clients that have one request under way each, spread over connections.
func write(ctx context.Context, what string, to []*grpc.ClientConn, name string, d time.Duration, clients, batch int) error {
	var id atomic.Uint64
	wait := true
	took, all, err := busy(ctx, clients, d, func(ctx context.Context, n int) error {
		_, err := qdrant.NewPointsClient(to[n%len(to)]).Upsert(ctx, &qdrant.UpsertPoints{CollectionName: name, Wait: &wait, Points: points(&id, batch)})
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	say("upsert", "%s%2d clients, %3d points each time: %6.0f points/s, %5.0f requests/s, p50 %.1f ms, p99 %.1f ms", what, clients, batch,
		float64(len(took)*batch)/all.Seconds(), float64(len(took))/all.Seconds(), ms(percentile.Of(took, 50)), ms(percentile.Of(took, 99)))
	return nil
}

// busy has clients send one request after the other, and tells how long each took, sorted, and how long all took together.
func busy(ctx context.Context, clients int, d time.Duration, one func(ctx context.Context, client int) error) (took []time.Duration, all time.Duration, err error) {
	var mu sync.Mutex
	begin := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for n := range clients {
		g.Go(func() error {
			var mine []time.Duration
			for time.Since(begin) < d {
				at := time.Now()
				if err := one(ctx, n); err != nil {
					return err
				}
				mine = append(mine, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
			return nil
		})
	}
	err = g.Wait()
	all = time.Since(begin)
	slices.Sort(took)
	return took, all, err
}

func points(id *atomic.Uint64, n int) []*qdrant.PointStruct {
	out := make([]*qdrant.PointStruct, n)
	for i := range out {
		k := id.Add(1)
		v := make([]float32, dim)
		for j := range v {
			v[j] = float32((k*31+uint64(j)*17)%101) - 50
		}
		out[i] = point(k, v)
	}
	return out
}

func point(id uint64, v []float32) *qdrant.PointStruct {
	return &qdrant.PointStruct{
		Id:      &qdrant.PointId{PointIdOptions: &qdrant.PointId_Num{Num: id}},
		Payload: map[string]*qdrant.Value{"n": {Kind: &qdrant.Value_IntegerValue{IntegerValue: int64(id)}}},
		Vectors: &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Vector: &qdrant.Vector_Dense{Dense: &qdrant.DenseVector{Data: v}}}}},
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
