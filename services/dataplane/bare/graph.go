package bare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/hnsw"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
)

// graph is a graph over vectors in memory: what of the shard's time is the index's.
type graph struct {
	o       Options
	v       hnsw.Vectors
	x       *hnsw.Index
	docs    []payload.Doc
	hits    sync.Pool
	passing sync.Map // rows by *Filter, as payload indexes would tell them
}

func openGraph(o Options) (Engine, error) {
	d, err := distanceOf(o.Distance)
	if err != nil {
		return nil, err
	}
	if o.Dim == 0 || o.Quantization != "" {
		return nil, errors.New("the graph alone has no sparse vectors and no codes")
	}
	const line = 16 // floats of a cache line
	return &graph{o: o, v: hnsw.Vectors{Dim: o.Dim, Stride: (o.Dim + line - 1) / line * line, Distance: d},
		hits: sync.Pool{New: func() any { return new([]index.Hit) }}}, nil
}

func (g *graph) Add(_ context.Context, points []Point) error {
	for _, p := range points {
		at := len(g.v.Data)
		if p.ID != uint64(at/g.v.Stride) || len(p.Vector) != g.v.Dim {
			return fmt.Errorf("point %d of %d numbers is not the next one", p.ID, len(p.Vector))
		}
		g.v.Data = append(g.v.Data, p.Vector...)
		if g.v.Distance == query.Cosine {
			kernel.Normalize(g.v.Data[at:])
		}
		g.v.Data = append(g.v.Data, make([]float32, g.v.Stride-g.v.Dim)...)
		if len(g.o.Fields) > 0 {
			d, err := docOf(p.Payload)
			if err != nil {
				return err
			}
			g.docs = append(g.docs, d)
		}
	}
	return nil
}

func (g *graph) Seal(ctx context.Context) error {
	g.v.Data = slices.Clip(g.v.Data)
	built, err := hnsw.Build(ctx, g.v, hnsw.Params{M: g.o.M, EfConstruct: g.o.EfConstruct}, hnsw.BuildOptions{Threads: g.o.Threads, Seed: 1})
	if err != nil {
		return err
	}
	g.x, err = hnsw.Open(g.v, built, hnsw.NewMask(built.Rows()))
	return err
}

func (g *graph) Search(ctx context.Context, q *Query, dst []uint64) ([]uint64, error) {
	hq := hnsw.Query{Query: index.Query{Vector: q.Vector, K: q.K}, Ef: q.Ef}
	if q.Exact {
		hq.ScanBelow = g.x.Len()
	}
	if q.Filter != nil {
		rows, err := g.rows(q.Filter)
		if err != nil {
			return nil, err
		}
		hq.Rows = rows
	}
	hits := g.hits.Get().(*[]index.Hit)
	defer g.hits.Put(hits)
	var err error
	*hits, err = g.x.Search(ctx, &hq, (*hits)[:0])
	for _, h := range *hits {
		dst = append(dst, uint64(h.Row))
	}
	return dst, err
}

// rows that pass, looked at once.
func (g *graph) rows(f *Filter) ([]uint32, error) {
	if r, ok := g.passing.Load(f); ok {
		return r.([]uint32), nil
	}
	m, err := filter.Compile((*filter.Filter)(f))
	if err != nil {
		return nil, err
	}
	rows := []uint32{}
	for i := range g.docs {
		if m.Match(subject{uint64(i), g.docs[i]}) {
			rows = append(rows, uint32(i))
		}
	}
	g.passing.Store(f, rows)
	return rows, nil
}

func (g *graph) Close() error { return nil }

type subject struct {
	id  uint64
	doc payload.Doc
}

func (s subject) ID() topology.PointID  { return topology.NumberID(s.id) }
func (s subject) Payload() payload.Doc  { return s.doc }
func (s subject) HasVector(string) bool { return true }
