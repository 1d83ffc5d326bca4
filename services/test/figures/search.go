package main

import (
	"context"
	"fmt"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/test/percentile"
	"github.com/pandodb/pando/services/test/vectors"
	"golang.org/x/sync/errgroup"
)

const (
	// asking is how many clients search at a time, top what they ask for.
	asking, top = 8, 10
	// portion is the number of points in a request that fills a collection.
	portion = 500
)

// words are real vectors.
type words struct {
	base, queries [][]float32
}

func load(dir string) (w words, err error) {
	w.base, w.queries, err = vectors.Searched(dir, top)
	return w, err
}

// nameOf the collection of words with so many replicas of each shard.
func nameOf(factor int) string { return fmt.Sprintf("words_%d", factor) }

// fill makes a collection of words with so many replicas.
func (c *cluster) fill(ctx context.Context, factor int) error {
	name, wait, to := nameOf(factor), true, c.conns(-1)
	if err := c.create(ctx, name, len(c.words.base[0]), factor); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for from := 0; from < len(c.words.base); from += portion {
		g.Go(func() error {
			req := &qdrant.UpsertPoints{CollectionName: name, Wait: &wait}
			for i := from; i < min(from+portion, len(c.words.base)); i++ {
				req.Points = append(req.Points, point(uint64(i), c.words.base[i]))
			}
			_, err := qdrant.NewPointsClient(to[from/portion%len(to)]).Upsert(ctx, req)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("filling %s: %w", name, err)
	}
	return nil
}

// searches measures exact searches through all peers: where each peer holds a part of the words, and where each holds all.
func (c *cluster) searches(ctx context.Context) error {
	to := c.conns(-1)
	factors := []int{1, len(to)}
	if len(to) == 1 {
		factors = factors[:1]
	}
	for _, factor := range factors {
		if err := c.fill(ctx, factor); err != nil {
			return err
		}
		var asked [asking]int
		took, all, err := busy(ctx, asking, c.each, func(ctx context.Context, n int) error {
			asked[n]++
			return c.words.ask(ctx, qdrant.NewPointsClient(to[n%len(to)]), nameOf(factor), asked[n]*asking+n)
		})
		if err != nil {
			return err
		}
		say("search", "cluster of %d, factor %d, %d clients: %.0f queries/s, p50 %.1f ms, p99 %.1f ms", len(to), factor, asking, float64(len(took))/all.Seconds(),
			ms(percentile.Of(took, 50)), ms(percentile.Of(took, 99)))
	}
	return nil
}

// ask puts the n-th question.
func (w words) ask(ctx context.Context, to qdrant.PointsClient, name string, n int) error {
	k, exact := uint64(top), true
	r, err := to.Query(ctx, &qdrant.QueryPoints{CollectionName: name, Limit: &k, Params: &qdrant.SearchParams{Exact: &exact},
		Query: &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: w.queries[n%len(w.queries)]}}}}}})
	if err == nil && len(r.GetResult()) != top {
		err = fmt.Errorf("a search in %s gives %d points, not %d", name, len(r.GetResult()), top)
	}
	return err
}
