package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/test/percentile"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"
)

// Collections of the two loads.
const (
	words = "words"
	again = "words_again"
)

// top is the k of recall@k.
const top = 10

func (s *show) create(ctx context.Context, name string) error {
	shards, factor := uint32(s.shards), uint32(max(1, s.factor))
	_, err := qdrant.NewCollectionsClient(s.conn).Create(ctx, &qdrant.CreateCollection{CollectionName: name, ShardNumber: &shards, ReplicationFactor: &factor,
		VectorsConfig: &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_Params{Params: &qdrant.VectorParams{Size: uint64(len(s.data.base[0])), Distance: qdrant.Distance_Cosine}}}})
	return err
}

func pointID(n uint64) *qdrant.PointId {
	return &qdrant.PointId{PointIdOptions: &qdrant.PointId_Num{Num: n}}
}

func point(id uint64, vector []float32, payload map[string]*qdrant.Value) *qdrant.PointStruct {
	return &qdrant.PointStruct{Id: pointID(id), Payload: payload, Vectors: &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{
		Vector: &qdrant.Vector{Vector: &qdrant.Vector_Dense{Dense: &qdrant.DenseVector{Data: vector}}}}}}
}

// first stores the whole base; a row's number is its id.
func (s *show) first(ctx context.Context) error {
	if err := s.create(ctx, words); err != nil {
		return err
	}
	n, wait := len(s.data.base), true
	bar := progressbar.NewOptions(n, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("points"), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetDescription("load"),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetVisibility(term.IsTerminal(int(os.Stderr.Fd()))))
	begin := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for from := 0; from < n && gctx.Err() == nil; from += s.batch {
		g.Go(func() error {
			var batch []*qdrant.PointStruct
			for i := from; i < min(from+s.batch, n); i++ {
				batch = append(batch, point(uint64(i), s.data.base[i], s.data.words[i].payload()))
			}
			if _, err := s.points().Upsert(gctx, &qdrant.UpsertPoints{CollectionName: words, Wait: &wait, Points: batch}); err != nil {
				return fmt.Errorf("rows from %d: %w", from, err)
			}
			return bar.Add(len(batch))
		})
	}
	if err := errors.Join(g.Wait(), bar.Finish()); err != nil {
		return err
	}
	took := time.Since(begin)
	say("load", "%d points in %.1f s, %.0f points/s, each acknowledged as durable", n, took.Seconds(), float64(n)/took.Seconds())
	exact := true
	c, err := s.points().Count(ctx, &qdrant.CountPoints{CollectionName: words, Exact: &exact})
	if err == nil && c.GetResult().GetCount() != uint64(n) {
		err = fmt.Errorf("%d points were stored, %d are counted", n, c.GetResult().GetCount())
	}
	return err
}

// ask puts all queries, then the filtered ones; less than full recall is an error.
func (s *show) ask(ctx context.Context) error {
	sets := append([]filtered{{name: "no filter", exact: s.data.exact}}, s.data.filters...)
	var failed error
	for _, f := range sets {
		failed = errors.Join(failed, s.askAll(ctx, f))
	}
	return failed
}

func (s *show) askAll(ctx context.Context, f filtered) error {
	n, k := len(f.exact), uint64(top)
	found, took := make([]int, n), make([]time.Duration, n)
	var next atomic.Int64
	begin := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for range s.clients {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				at := time.Now()
				r, err := s.points().Query(ctx, &qdrant.QueryPoints{CollectionName: words, Filter: f.send, Limit: &k, Query: nearest(s.data.queries[i])})
				if err != nil {
					return fmt.Errorf("%s, query %d: %w", f.name, i, err)
				}
				took[i] = time.Since(at)
				var ids []uint64
				for _, h := range r.GetResult() {
					ids = append(ids, h.GetId().GetNum())
				}
				found[i] = s.data.hits(s.data.queries[i], ids, f.exact[i], top, f.keep)
			}
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	all := time.Since(begin)
	hit, of := 0, 0
	for i, h := range found {
		hit, of = hit+h, of+min(top, len(f.exact[i]))
	}
	slices.Sort(took)
	say("query", "%-13s %d queries, recall@%d = %s, %.0f queries/s, p50 %.1f ms, p99 %.1f ms", f.name, n, top, recall(hit, of),
		float64(n)/all.Seconds(), ms(percentile.Of(took, 50)), ms(percentile.Of(took, 99)))
	if hit < of {
		return fmt.Errorf("%s: %d of the %d nearest were not found", f.name, of-hit, of)
	}
	return nil
}

func nearest(v []float32) *qdrant.Query {
	return &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: v}}}}}
}

// recall is 1.0 only when nothing is missing.
func recall(hit, of int) string {
	if hit == of {
		return "1.0"
	}
	return fmt.Sprintf("%.5f", min(0.99999, float64(hit)/float64(of)))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
