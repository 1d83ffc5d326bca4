package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/test/child"
	"golang.org/x/sync/errgroup"
)

// usage is what a process has used, as /proc tells.
type usage struct {
	rss, cpu float64 // MB, seconds
}

// ticks is the unit of time in /proc/<pid>/stat: USER_HZ, 100 on every Linux that Go runs on.
const ticks = 100

func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name may hold anything
	f := strings.Fields(after)
	if len(f) < 22 {
		return usage{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	var n [3]float64
	for i, at := range []int{11, 12, 21} { // utime, stime, rss: fields 14, 15, 24 of proc(5)
		if n[i], err = strconv.ParseFloat(f[at], 64); err != nil {
			return usage{}, err
		}
	}
	return usage{rss: n[2] * float64(os.Getpagesize()) / 1e6, cpu: (n[0] + n[1]) / ticks}, nil
}

func idle(ctx context.Context, pid int, d time.Duration) error {
	before, err := usageOf(pid)
	if err != nil {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := usageOf(pid)
	if err != nil {
		return err
	}
	say("idle", "%.0f MB resident, %.2f %% of a core over %v", after.rss, 100*(after.cpu-before.cpu)/d.Seconds(), d)
	return nil
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
		say("trip", "%s: p50 %d µs, p99 %d µs over loopback", k.name, took[1500].Microseconds(), took[2970].Microseconds())
	}
	return nil
}

// dim is the size of the vectors that are written.
const dim = 128

// writes measures acknowledged upserts over gRPC with wait=true, into one shard.
func writes(ctx context.Context, p *child.Process, d time.Duration) error {
	for _, batch := range []int{1, 100} {
		for _, clients := range []int{1, 8, 64} {
			if err := write(ctx, p, d, clients, batch); err != nil {
				return err
			}
		}
	}
	return nil
}

func write(ctx context.Context, p *child.Process, d time.Duration, clients, batch int) error {
	cc, err := rpc.Dial(p.GRPC, rpc.DialOptions{})
	if err != nil {
		return err
	}
	defer cc.Close()
	name, shards := fmt.Sprintf("writes_%d_%d", clients, batch), uint32(1)
	c := qdrant.NewCollectionsClient(cc)
	if _, err := c.Create(ctx, &qdrant.CreateCollection{CollectionName: name, ShardNumber: &shards, VectorsConfig: &qdrant.VectorsConfig{
		Config: &qdrant.VectorsConfig_Params{Params: &qdrant.VectorParams{Size: dim, Distance: qdrant.Distance_Cosine}}}}); err != nil {
		return err
	}
	var id atomic.Uint64
	var mu sync.Mutex
	var took []time.Duration
	begin := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	for range clients {
		g.Go(func() error {
			var mine []time.Duration
			for wait := true; time.Since(begin) < d; {
				req := &qdrant.UpsertPoints{CollectionName: name, Wait: &wait, Points: points(&id, batch)}
				at := time.Now()
				if _, err := qdrant.NewPointsClient(cc).Upsert(gctx, req); err != nil {
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
	if err := g.Wait(); err != nil {
		return err
	}
	all := time.Since(begin)
	slices.Sort(took)
	say("upsert", "%2d clients, %3d points each time: %6.0f points/s, %5.0f requests/s, p50 %.1f ms, p99 %.1f ms", clients, batch,
		float64(len(took)*batch)/all.Seconds(), float64(len(took))/all.Seconds(), ms(took[len(took)/2]), ms(took[len(took)*99/100]))
	_, err = c.Delete(ctx, &qdrant.DeleteCollection{CollectionName: name})
	return err
}

func points(id *atomic.Uint64, n int) []*qdrant.PointStruct {
	out := make([]*qdrant.PointStruct, n)
	for i := range out {
		k := id.Add(1)
		v := make([]float32, dim)
		for j := range v {
			v[j] = float32((k*31+uint64(j)*17)%101) - 50
		}
		out[i] = &qdrant.PointStruct{
			Id:      &qdrant.PointId{PointIdOptions: &qdrant.PointId_Num{Num: k}},
			Payload: map[string]*qdrant.Value{"n": {Kind: &qdrant.Value_IntegerValue{IntegerValue: int64(k)}}},
			Vectors: &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Vector: &qdrant.Vector_Dense{Dense: &qdrant.DenseVector{Data: v}}}}},
		}
	}
	return out
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
