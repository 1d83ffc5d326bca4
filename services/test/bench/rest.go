package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/cli"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/suite"
	"github.com/pandodb/pando/services/test/child"
	"github.com/pandodb/pando/services/test/gobench"
	"github.com/pandodb/pando/services/test/settle"
	"github.com/pandodb/pando/services/test/usage"
	"golang.org/x/sync/errgroup"
)

// profileVar names the file that serve writes its profile to.
const profileVar = "BENCH_PROFILE"

// serve is `pando serve` under the CPU profiler.
func serve() int {
	f, err := os.Create(os.Getenv(profileVar))
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := cli.Main(context.Background(), cli.Runners{Serve: suite.Serve}, cli.IO{Args: os.Args[1:], Env: os.Environ(), Out: os.Stdout, Err: os.Stderr})
	pprof.StopCPUProfile()
	if err := f.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// rest measures scans beside a plain read of memory, and upserts into a peer.
func (o *options) rest(ctx context.Context, dirs []string) error {
	fmt.Println("\nExact scan beside a plain read of the same bytes, by turns")
	lines, err := gobench.Lines(ctx, "services", "./dataplane/internal/index/flat", "^BenchmarkScanOfStream$")
	if err != nil {
		return err
	}
	for _, l := range lines {
		fmt.Println("   ", l)
	}
	for _, dir := range dirs {
		if strings.HasPrefix(filepath.Base(dir), "words") {
			return o.upserts(ctx, dir)
		}
	}
	return nil
}

const (
	// uploaders send one request each at a time, of so many points.
	uploaders, perRequest = 4, 256
	// upsertLimit bounds the time until the collection is green.
	upsertLimit = 15 * time.Minute
)

// upserts stores a set with its payload in a peer of its own and waits until the collection is green.
func (o *options) upserts(ctx context.Context, dir string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, upsertLimit)
	defer cancel()
	base, _, err := matrices(dir)
	if err != nil {
		return err
	}
	if o.rows > 0 {
		base = base[:min(o.rows, len(base))]
	}
	payload, err := lines(filepath.Join(dir, "base.jsonl.gz"), len(base))
	if err != nil {
		return err
	}
	if len(payload) < len(base) {
		return fmt.Errorf("%s: %d payloads for %d vectors", dir, len(payload), len(base))
	}
	home, err := os.MkdirTemp(o.scratch, "pando-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	profile := filepath.Join(o.out, "upsert.pprof")
	h := child.Home{Binary: o.self, Dir: home, Apart: true, Env: []string{profileVar + "=" + profile}}
	p, err := h.Start(ctx)
	if err != nil {
		return err
	}
	line, err := upload(ctx, p, base, payload)
	if err = errors.Join(err, p.Stop()); err != nil {
		return err
	}
	fmt.Printf("\nUpsert of %d x %d with payload, one shard, fsync on, %d points in a request, %d requests at a time\n    %s\n", len(base), len(base[0]), perRequest, uploaders, line)
	for _, costs := range []struct {
		what  string
		flags []string
	}{{"its CPU profile", nil}, {"the same by the function of ours that it was spent for", []string{"-show=pandodb/pando"}}} {
		top, err := costliest(ctx, o.self, profile, costs.flags...)
		if err != nil {
			return err
		}
		fmt.Printf("    %s:\n", costs.what)
		for _, l := range top {
			fmt.Println("       ", l)
		}
	}
	return nil
}

// upload stores all points, waits for green, and tells what that took.
func upload(ctx context.Context, p *child.Process, base [][]float32, payload []map[string]any) (string, error) {
	cc, err := rpc.Dial(p.GRPC, rpc.DialOptions{})
	if err != nil {
		return "", err
	}
	defer cc.Close()
	collections, points := qdrant.NewCollectionsClient(cc), qdrant.NewPointsClient(cc)
	const name = "upsert"
	shards, m, ef := uint32(1), uint64(links), uint64(efConstruct)
	if _, err := collections.Create(ctx, &qdrant.CreateCollection{CollectionName: name, ShardNumber: &shards, HnswConfig: &qdrant.HnswConfigDiff{M: &m, EfConstruct: &ef},
		VectorsConfig: &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_Params{Params: &qdrant.VectorParams{Size: uint64(len(base[0])), Distance: qdrant.Distance_Cosine}}}}); err != nil {
		return "", err
	}
	begin := time.Now()
	g, uploading := errgroup.WithContext(ctx)
	g.SetLimit(uploaders)
	for from := 0; from < len(base); from += perRequest {
		g.Go(func() error {
			wait := true
			r := &qdrant.UpsertPoints{CollectionName: name, Wait: &wait}
			for i := from; i < min(from+perRequest, len(base)); i++ {
				r.Points = append(r.Points, pointOf(uint64(i), base[i], payload[i]))
			}
			_, err := points.Upsert(uploading, r)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	stored := time.Since(begin)
	if err := settle.Green(ctx, collections, name); err != nil {
		return "", err
	}
	all := time.Since(begin)
	u, err := usage.Of(p.PID())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%.1f s until all are acknowledged (%.0f points/s), %.1f s until green; %.1f s of CPU, %.0f MB resident",
		stored.Seconds(), float64(len(base))/stored.Seconds(), all.Seconds(), u.CPU, u.RSS), nil
}

func pointOf(id uint64, v []float32, payload map[string]any) *qdrant.PointStruct {
	p := &qdrant.PointStruct{Id: &qdrant.PointId{PointIdOptions: &qdrant.PointId_Num{Num: id}}, Payload: map[string]*qdrant.Value{},
		Vectors: &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Vector: &qdrant.Vector_Dense{Dense: &qdrant.DenseVector{Data: v}}}}}}
	for key, value := range payload {
		switch v := value.(type) {
		case string:
			p.Payload[key] = &qdrant.Value{Kind: &qdrant.Value_StringValue{StringValue: v}}
		case float64:
			p.Payload[key] = &qdrant.Value{Kind: &qdrant.Value_IntegerValue{IntegerValue: int64(v)}}
		}
	}
	return p
}

// costliest gives the three greatest costs of a profile.
func costliest(ctx context.Context, binary, profile string, flags ...string) (out []string, err error) {
	args := append(append([]string{"tool", "pprof", "-top", "-nodecount=3"}, flags...), binary, profile)
	cmd := exec.CommandContext(ctx, "go", args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	b, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, &errs)
	}
	for in := bufio.NewScanner(bytes.NewReader(b)); in.Scan(); {
		if f := strings.Fields(in.Text()); len(f) >= 6 && strings.HasSuffix(f[1], "%") && strings.HasSuffix(f[4], "%") {
			name, _, _ := strings.Cut(strings.Join(f[5:], " "), "[") // without the types that it is made for
			out = append(out, f[1]+" "+name)
		}
	}
	return out, nil
}
