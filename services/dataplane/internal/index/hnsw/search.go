package hnsw

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
)

// Index is a graph beside its vectors and the mask of dead rows, ready to be
// searched by any number of goroutines.
type Index struct {
	v       space
	g       *Graph
	dead    *Mask
	walkers sync.Pool // *searcher
}

// Open puts a graph and its vectors together. dead may be added to later; rows
// that the graph was built without must be in it. Errors: ErrMismatch, about v.
func Open(vectors Vectors, g *Graph, dead *Mask) (*Index, error) {
	v, err := newSpace(vectors)
	if err != nil {
		return nil, err
	}
	if g.rows != v.rows || g.dim != v.Dim || g.distance != v.Distance {
		return nil, fmt.Errorf("%w: the graph is of %d rows, dimension %d, distance %d, the vectors are %d, %d, %d", ErrMismatch,
			g.rows, g.dim, g.distance, v.rows, v.Dim, v.Distance)
	}
	x := &Index{v: v, g: g, dead: dead}
	x.walkers.New = func() any { return &searcher{} }
	return x, nil
}

// Len counts the rows that are not dead.
func (x *Index) Len() int { return x.v.rows - x.dead.Len() }

// Query is one search. Accept may be called for many more rows than enter the
// result, from the caller's goroutine. Rows, if not nil, should ascend.
type Query struct {
	index.Query
	// Ef is how many near rows are kept while walking; more finds more of the
	// nearest and takes longer. 0: one and a half times EfConstruct. It is never
	// less than K.
	Ef int
	// Estimate is how many live rows Accept lets through, if known; an estimate is
	// enough. 0: not known, and a sample of rows is asked.
	Estimate int
	// ScanBelow: if so many live rows or fewer pass, all of them are compared.
	// 0: the break-even of comparisons is used. What has to be scanned for the
	// sake of recall is scanned whatever is said here.
	ScanBelow int
}

// searcher is a walker with what a query adds.
type searcher struct {
	walker
	top    rank.Top
	x      *Index
	query  Query
	ef     int
	member []uint64 // bit for each row of query.Rows
	failed set      // rows that Accept refused
	hop    []uint32 // neighbours that do not pass
	met    []uint32 // by a plain walk
	// offered counts the rows that pass and that a walk has found.
	offered int
}

// Search appends to dst at most q.K hits, the best first. Scores are exact, and so
// are the rows if few enough pass. Errors: index.ErrDim, index.ErrRow (in q.Rows),
// or ctx's.
func (x *Index) Search(ctx context.Context, q *Query, dst []index.Hit) ([]index.Hit, error) {
	if len(q.Vector) != x.v.Dim {
		return dst, fmt.Errorf("search: %w: %d, not %d", index.ErrDim, len(q.Vector), x.v.Dim)
	}
	if len(q.Rows) > 0 {
		if most := slices.Max(q.Rows); most > index.MaxRow {
			return dst, fmt.Errorf("search: %w: %d", index.ErrRow, most)
		}
	}
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	s := x.walkers.Get().(*searcher)
	defer s.release()
	s.begin(x, q)
	if s.top.K > 0 {
		if err := s.run(ctx); err != nil {
			return dst, err
		}
	}
	return s.top.Drain(dst), nil
}

func (s *searcher) begin(x *Index, q *Query) {
	s.x, s.query = x, *q // a copy, so that the caller's stays off the heap
	width := max(line, 2*x.g.params.M)
	s.fit(x.v.rows, budget(width)+1)
	s.q = append(s.q[:0], q.Vector...)
	if x.v.metric.Normalize {
		kernel.Normalize(s.q)
	}
	if words := (x.v.rows + 63) / 64; q.Accept != nil && len(s.failed.bits) < words {
		s.failed.bits = make([]uint64, words)
	}
	n := x.Len()
	if q.Rows != nil {
		n = min(n, len(q.Rows))
	}
	s.top.Reset(&x.v.metric, &q.Query, n)
	s.ef = q.Ef
	if s.ef <= 0 {
		s.ef = x.g.params.EfConstruct * 3 / 2
	}
	s.ef = min(max(s.ef, s.top.K), max(1, x.v.rows))
}

// release forgets the query.
func (s *searcher) release() {
	x := s.x
	if s.query.Rows != nil && len(s.member) > 0 {
		for _, r := range s.query.Rows {
			if int(r) < x.v.rows {
				s.member[r>>6] = 0
			}
		}
	}
	s.failed.clear()
	s.top.Release()
	s.x, s.query = nil, Query{}
	x.walkers.Put(s)
}

// run leaves the result in s.top.
func (s *searcher) run(ctx context.Context) error {
	passing, known := s.passing()
	switch s.choose(passing) {
	case scan:
		return s.scan(ctx)
	case plain:
		if err := s.plain(ctx, passing); err != nil {
			return err
		}
	case filtered:
		if err := s.filtered(ctx); err != nil {
			return err
		}
	}
	// The walk may have ended on an island, or among rows that do not pass. What a
	// threshold drops was found.
	if s.offered < s.top.K && (!known || s.offered < passing) {
		s.top.Reset(&s.x.v.metric, &s.query.Query, s.top.K)
		return s.scan(ctx)
	}
	return nil
}

// plain walks over all rows and keeps those that pass. The walk is wider by what
// will fall out.
func (s *searcher) plain(ctx context.Context, passing int) error {
	ef := s.ef
	if nodes := s.x.v.rows; passing < nodes {
		ef = min(nodes, int(math.Ceil(float64(ef)*float64(nodes)/float64(max(1, passing)))))
	}
	s.reserve(ef)
	v, g := &s.x.v, s.x.g
	if err := s.beam(ctx, v, g, 0, ef, g.asNode(0, s.descend(v, g, 0))); err != nil {
		return err
	}
	s.offered = 0
	s.top.Accept = nil // what is offered has been asked about
	for _, k := range s.pool {
		if row := nodeOf(k); s.passes(row) {
			s.top.Offer(row, v.raw(orderOf(k)))
			s.offered++
		}
	}
	return nil
}

// live tells whether row may be answered, as far as Accept is not concerned.
func (s *searcher) live(row uint32) bool {
	return !s.x.dead.Has(row) && (s.query.Rows == nil || s.member[row>>6]>>(row&63)&1 != 0)
}

// passes is live and Accept, asked once for each row.
func (s *searcher) passes(row uint32) bool {
	if !s.live(row) {
		return false
	}
	if s.query.Accept == nil {
		return true
	}
	if s.failed.has(row) {
		return false
	}
	if s.query.Accept(row) {
		return true
	}
	s.failed.add(row)
	return false
}

// block is how many rows a scan compares between two looks at the context.
const block = 1024

// scan compares all rows that pass: those of the query, or all.
func (s *searcher) scan(ctx context.Context) error {
	rows := s.query.Rows
	n := len(rows)
	if rows == nil {
		n = s.x.v.rows
		s.top.Accept = nil // with few rows to compare, asking first is cheaper
	}
	fill, last := 0, index.MaxRow+1
	for i := range n {
		if i%block == block-1 && ctx.Err() != nil {
			return ctx.Err()
		}
		r := uint32(i)
		if rows != nil {
			r = rows[i]
		}
		if r == last || int(r) >= s.x.v.rows || s.x.dead.Has(r) {
			continue
		}
		if last = r; s.query.Accept != nil && rows == nil && !s.passes(r) {
			continue
		}
		s.nodes[fill] = r
		if fill++; fill == line {
			s.offer(fill)
			fill = 0
		}
	}
	s.offer(fill)
	return nil
}

// offer scores w.nodes[:n] for the result.
func (s *searcher) offer(n int) {
	s.score(&s.x.v, s.x.g, 0, n)
	for i, raw := range s.raws[:n] {
		s.top.Offer(s.nodes[i], raw)
	}
}
