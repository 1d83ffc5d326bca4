package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/test/percentile"
	"google.golang.org/protobuf/proto"
)

const (
	// many connections at a time, and top what searches ask for.
	many, top = 8, 10
	// perUpsert is the number of points in an upsert that is measured.
	perUpsert = 16
)

func (s *subject) measure(ctx context.Context) error {
	words, err := real(s.data, s.rows)
	if err != nil {
		return err
	}
	for _, d := range []set{words, long()} {
		if err := s.fill(ctx, d); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		fmt.Printf("\n%s: %d vectors of %d numbers, one shard, indexed; top %d at default settings; upserts of %d points, wait=true, fsync on\n", d.name, len(d.base), d.dim(), top, perUpsert)
		for _, what := range []struct {
			name string
			ask  func(ctx context.Context, conn, n int) error
		}{{"search gRPC", s.searchGRPC(d)}, {"search REST", s.searchREST(d)}} {
			if err := s.searches(ctx, what.name, what.ask); err != nil {
				return err
			}
		}
		if err := s.kinds(ctx, d); err != nil {
			return err
		}
		for _, what := range []struct {
			name string
			ask  func(ctx context.Context, conn, n int) error
		}{{"upsert gRPC", s.upsertGRPC(d)}, {"upsert REST", s.upsertREST(d)}} {
			for _, conns := range []int{1, many} {
				if _, err := s.ask(ctx, what.name, conns, what.ask); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// searches measures one connection with what a search allocates, and many with where the time goes.
func (s *subject) searches(ctx context.Context, name string, ask func(context.Context, int, int) error) error {
	objects, bytes, err := s.allocated(ctx)
	if err != nil {
		return err
	}
	n, err := s.ask(ctx, name, 1, ask)
	if err != nil {
		return err
	}
	objectsAfter, bytesAfter, err := s.allocated(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("  %-12s allocates %.0f objects and %.1f KB a search, transport included\n", name, (objectsAfter-objects)/float64(n), (bytesAfter-bytes)/float64(n)/1e3)
	if err := s.toggle(ctx); err != nil {
		return err
	}
	if _, err := s.ask(ctx, name, many, ask); err != nil {
		return err
	}
	if err := s.toggle(ctx); err != nil {
		return err
	}
	s.profiles++
	return s.split(ctx, name)
}

// ask calls do from so many connections for the time of a setting and tells how many calls there were.
func (s *subject) ask(ctx context.Context, name string, conns int, do func(ctx context.Context, conn, n int) error) (int, error) {
	took, errs := make([][]time.Duration, conns), make([]error, conns)
	var all sync.WaitGroup
	begin := time.Now()
	for c := range conns {
		all.Go(func() {
			for n := c; time.Since(begin) < s.each && errs[c] == nil; n += conns {
				at := time.Now()
				errs[c] = do(ctx, c, n)
				took[c] = append(took[c], time.Since(at))
			}
		})
	}
	all.Wait()
	each := slices.Sorted(slices.Values(slices.Concat(took...)))
	if err := errors.Join(errs...); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	fmt.Printf("  %-12s %d connections: %6.0f/s, p50 %6.0f µs, p99 %6.0f µs\n", name, conns, float64(len(each))/time.Since(begin).Seconds(),
		us(percentile.Of(each, 50)), us(percentile.Of(each, 99)))
	return len(each), nil
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func (s *subject) searchGRPC(d set) func(context.Context, int, int) error {
	return func(ctx context.Context, conn, n int) error {
		r, err := qdrant.NewPointsClient(s.conns[conn]).Query(ctx, &qdrant.QueryPoints{CollectionName: d.name, Limit: proto.Uint64(top), Query: nearest(d.queries[n%len(d.queries)])})
		return found(len(r.GetResult()), err)
	}
}

func (s *subject) searchREST(d set) func(context.Context, int, int) error {
	bodies := make([][]byte, len(d.queries))
	for i, q := range d.queries {
		bodies[i] = body(q)
	}
	return func(ctx context.Context, _, n int) error {
		b, err := s.post(ctx, "POST", "/collections/"+d.name+"/points/query", bodies[n%len(bodies)])
		return found(bytes.Count(b, []byte(`"score":`)), err)
	}
}

func found(n int, err error) error {
	if err == nil && n != top {
		err = fmt.Errorf("%d points were found, not %d", n, top)
	}
	return err
}

// kinds measures other queries beside the plain search, by turns on one connection.
func (s *subject) kinds(ctx context.Context, d set) error {
	c := qdrant.NewPointsClient(s.conns[0])
	prefetch := func(n int) *qdrant.PrefetchQuery {
		return &qdrant.PrefetchQuery{Query: nearest(d.queries[n%len(d.queries)]), Limit: proto.Uint64(top)}
	}
	query := func(r *qdrant.QueryPoints) error {
		r.CollectionName, r.Limit = d.name, proto.Uint64(top)
		got, err := c.Query(ctx, r)
		return found(len(got.GetResult()), err)
	}
	plus := &qdrant.Formula{Expression: &qdrant.Expression{Variant: &qdrant.Expression_Sum{Sum: &qdrant.SumExpression{Sum: []*qdrant.Expression{
		{Variant: &qdrant.Expression_Variable{Variable: "$score"}}, {Variant: &qdrant.Expression_Variable{Variable: "n"}}}}}}}
	kinds := []struct {
		name string
		do   func(n int) error
	}{
		{"plain", func(n int) error { return query(&qdrant.QueryPoints{Query: nearest(d.queries[n%len(d.queries)])}) }},
		{"groups", func(n int) error {
			r, err := c.QueryGroups(ctx, &qdrant.QueryPointGroups{CollectionName: d.name, Query: nearest(d.queries[n%len(d.queries)]), GroupBy: "group", Limit: proto.Uint64(5), GroupSize: proto.Uint64(2)})
			if err == nil && len(r.GetResult().GetGroups()) != 5 {
				err = fmt.Errorf("%d groups", len(r.GetResult().GetGroups()))
			}
			return err
		}},
		{"one prefetch ranked by a formula", func(n int) error {
			return query(&qdrant.QueryPoints{Prefetch: []*qdrant.PrefetchQuery{prefetch(n)}, Query: &qdrant.Query{Variant: &qdrant.Query_Formula{Formula: plus}}})
		}},
		{"two prefetches fused", func(n int) error {
			return query(&qdrant.QueryPoints{Prefetch: []*qdrant.PrefetchQuery{prefetch(n), prefetch(n + 1)}, Query: &qdrant.Query{Variant: &qdrant.Query_Fusion{Fusion: qdrant.Fusion_RRF}}})
		}},
	}
	took := make([][]time.Duration, len(kinds))
	for begin, n := time.Now(), 0; time.Since(begin) < 2*s.each; n++ {
		for i, k := range kinds {
			at := time.Now()
			if err := k.do(n); err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			took[i] = append(took[i], time.Since(at))
		}
	}
	var plain float64
	for i, k := range kinds {
		slices.Sort(took[i])
		p50 := us(percentile.Of(took[i], 50))
		if i == 0 {
			plain = p50
		}
		fmt.Printf("  %-34s p50 %6.0f µs = %.2f of a plain search\n", k.name, p50, p50/plain)
	}
	return nil
}

func (s *subject) upsertGRPC(d set) func(context.Context, int, int) error {
	return func(ctx context.Context, conn, n int) error {
		r := &qdrant.UpsertPoints{CollectionName: d.name, Wait: proto.Bool(true)}
		for i := range perUpsert {
			id := (n*perUpsert + i) % len(d.base)
			r.Points = append(r.Points, point(uint64(id), d.base[id]))
		}
		_, err := qdrant.NewPointsClient(s.conns[conn]).Upsert(ctx, r)
		return err
	}
}

func (s *subject) upsertREST(d set) func(context.Context, int, int) error {
	return func(ctx context.Context, _, n int) error {
		points := make([]map[string]any, perUpsert)
		for i := range points {
			id := (n*perUpsert + i) % len(d.base)
			points[i] = map[string]any{"id": id, "vector": d.base[id], "payload": map[string]any{"group": fmt.Sprint("g", id%100), "n": id}}
		}
		b, err := json.Marshal(map[string]any{"points": points})
		if err != nil {
			return err
		}
		_, err = s.post(ctx, "PUT", "/collections/"+d.name+"/points?wait=true", b)
		return err
	}
}

// allocated is what the peer has allocated since it began.
func (s *subject) allocated(ctx context.Context) (objects, size float64, err error) {
	b, err := s.post(ctx, "GET", "/metrics", nil)
	if err != nil {
		return 0, 0, err
	}
	for name, into := range map[string]*float64{"go_memstats_mallocs_total": &objects, "go_memstats_alloc_bytes_total": &size} {
		m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(b)
		if m == nil {
			return 0, 0, fmt.Errorf("/metrics has no %s", name)
		}
		if *into, err = strconv.ParseFloat(string(m[1]), 64); err != nil {
			return 0, 0, err
		}
	}
	return objects, size, nil
}

// toggle starts the peer's profiler, or ends it.
func (s *subject) toggle(ctx context.Context) error {
	if err := syscall.Kill(s.peer.PID(), syscall.SIGUSR1); err != nil {
		return err
	}
	select {
	case <-time.After(300 * time.Millisecond): // it says nothing when it is done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Where the time of a search goes, by what is on the stack: the engine and what prepares its work; else what reads and writes
// messages; else sockets, HTTP/2 and the runtime.
const (
	handling = `dataplane/internal/(api|coordinator|shard|index|kernel|query|filter)`
	coding   = `protobuf|dataplane/internal/rest|encoding/json|grpc/mem|grpc/encoding`
)

// split tells it of the newest profile.
func (s *subject) split(ctx context.Context, name string) error {
	var parts [3]float64
	for i, flags := range [][]string{{"-focus=" + handling}, {"-focus=" + coding, "-ignore=" + handling}, {"-ignore=" + handling + "|" + coding}} {
		var err error
		if parts[i], err = s.weigh(ctx, flags); err != nil {
			return err
		}
	}
	sum := parts[0] + parts[1] + parts[2]
	fmt.Printf("  %-12s CPU of the peer: handler %.0f %%, codec %.0f %%, transport and runtime %.0f %%\n", name, 100*parts[0]/sum, 100*parts[1]/sum, 100*parts[2]/sum)
	return nil
}

var shown = regexp.MustCompile(`^Showing nodes accounting for ([0-9.]+)(ms|s|mins)`)

// weigh is the CPU time of the samples that flags choose.
func (s *subject) weigh(ctx context.Context, flags []string) (float64, error) {
	args := append(append([]string{"tool", "pprof", "-top", "-nodecount=100000", "-nodefraction=0", "-edgefraction=0"}, flags...), s.self, profile(s.dir, s.profiles-1))
	cmd := exec.CommandContext(ctx, "go", args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %.300s", strings.Join(args, " "), err, &errs)
	}
	for in := bufio.NewScanner(bytes.NewReader(out)); in.Scan(); {
		if m := shown.FindStringSubmatch(in.Text()); m != nil {
			n, err := strconv.ParseFloat(m[1], 64)
			return n * map[string]float64{"ms": 1e-3, "s": 1, "mins": 60}[m[2]], err
		}
	}
	return 0, fmt.Errorf("go tool pprof does not tell how much %v is", flags)
}
