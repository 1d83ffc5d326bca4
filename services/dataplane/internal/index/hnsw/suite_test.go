package hnsw

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSuite: searches answer as those of every other index do, by a walk or by a scan.
func TestSuite(t *testing.T) {
	for name, below := range map[string]int{"walk": 1, "scan": 1 << 30, "walk by bits": 1, "scan by bits": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			indextest.Suite{Recall: 0.9, Open: func(t testing.TB, dim int, d query.Distance) index.Index {
				return &rebuilt{t: t, dim: dim, d: d, below: below, dense: strings.HasSuffix(name, "bits"), rows: map[uint32][]float32{}}
			}}.Run(t)
		})
	}
}

// rebuilt is an index.Index that builds a graph before a search if a row was put.
// Nodes of the graph are rows in ascending order, without gaps.
type rebuilt struct {
	t     testing.TB
	dim   int
	d     query.Distance
	below int
	dense bool // rows are asked for by bits

	mu    sync.Mutex
	rows  map[uint32][]float32
	order []uint32 // row of each node
	dead  *mask.Mask
	built *Index // nil: rows were put since
}

func (r *rebuilt) Put(row uint32, v []float32) error {
	if len(v) != r.dim {
		return index.ErrDim
	}
	if row > index.MaxRow {
		return index.ErrRow
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows[row], r.built = slices.Clone(v), nil
	return nil
}

func (r *rebuilt) Delete(row uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.rows[row]
	if ok && r.built != nil {
		node, _ := slices.BinarySearch(r.order, row)
		r.dead.Kill(uint32(node), 1)
	}
	delete(r.rows, row)
	return ok
}

func (r *rebuilt) Vector(row uint32, dst []float32) ([]float32, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.rows[row]
	return append(dst, v...), ok
}

func (r *rebuilt) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.rows)
}

// graph gives the index and the rows of its nodes.
func (r *rebuilt) graph() (*Index, []uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.built == nil {
		r.order = nil
		for row := range r.rows {
			r.order = append(r.order, row)
		}
		slices.Sort(r.order)
		v := Vectors{Dim: r.dim, Stride: r.dim + 1, Distance: r.d}
		for _, row := range r.order {
			v.Float32 = append(append(v.Float32, r.rows[row]...), 0)
		}
		r.dead = mask.New(len(r.order))
		r.built = build(r.t, v, Params{M: 8, EfConstruct: 40}, BuildOptions{Threads: 1, Skip: r.dead})
	}
	return r.built, r.order
}

func (r *rebuilt) Search(ctx context.Context, q *index.Query, dst []index.Hit) ([]index.Hit, error) {
	x, order := r.graph()
	own := Query{Query: *q, ScanBelow: r.below}
	if q.Accept != nil {
		own.Accept = func(node uint32) bool { return q.Accept(order[node]) }
	}
	if q.Before != nil {
		own.Before = func(a, b uint32) bool { return q.Before(order[a], order[b]) }
	}
	if q.Rows != nil {
		own.Rows = []uint32{}
	}
	for _, row := range q.Rows {
		if node, ok := slices.BinarySearch(order, row); ok {
			own.Rows = append(own.Rows, uint32(node))
		} else if row > index.MaxRow {
			own.Rows = append(own.Rows, row)
		} else {
			own.Rows = append(own.Rows, uint32(len(order))) // no such row
		}
	}
	if r.dense && q.Rows != nil && !slices.ContainsFunc(q.Rows, func(row uint32) bool { return row > index.MaxRow }) {
		own.Bits = bitsOf(len(order), func(node uint32) bool { return slices.Contains(own.Rows, node) })
		own.Rows = nil
	}
	n := len(dst)
	dst, err := x.Search(ctx, &own, dst)
	for i := n; i < len(dst); i++ {
		dst[i].Row = order[dst[i].Row]
	}
	return dst, err
}

func (r *rebuilt) SearchBatch(ctx context.Context, qs []index.Query) ([][]index.Hit, error) {
	out := make([][]index.Hit, len(qs))
	for i := range qs {
		var err error
		if out[i], err = r.Search(ctx, &qs[i], nil); err != nil {
			return nil, fmt.Errorf("query %d: %w", i, err)
		}
	}
	return out, nil
}
