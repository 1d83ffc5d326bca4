package hnsw

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
)

// Index is vectors, the mask of dead rows and, if there is one, a graph, ready to
// be searched by any number of goroutines.
type Index struct {
	v         space
	g         *Graph // nil: every search is a scan
	dead      *mask.Mask
	codes     Codes // nil: searches go by the vectors
	workers   int
	searchers sync.Pool // *searcher
}

// Options of an Index; the zero value is a sound choice.
type Options struct {
	// Workers is the greatest number of goroutines that one scan uses; large scans
	// alone use more than one. 0 and 1: the caller's only.
	Workers int
	// Codes, if not nil, are of the vectors. Searches go by them.
	Codes Codes
}

// Open puts vectors, a graph and the mask of dead rows together. Without a graph
// every search is a scan. dead may be added to later, nil: none dies. Errors:
// ErrMismatch, about v.
func Open(vectors Vectors, g *Graph, dead *mask.Mask, o Options) (*Index, error) {
	v, err := newSpace(vectors)
	if err != nil {
		return nil, err
	}
	if g != nil && (g.rows != v.rows || g.dim != v.Dim || g.distance != v.Distance) {
		return nil, fmt.Errorf("%w: the graph is of %d rows, dimension %d, distance %d, the vectors are %d, %d, %d", ErrMismatch,
			g.rows, g.dim, g.distance, v.rows, v.Dim, v.Distance)
	}
	if o.Codes != nil && o.Codes.Rows() != v.rows {
		return nil, fmt.Errorf("%w: there are codes of %d rows for %d vectors", ErrMismatch, o.Codes.Rows(), v.rows)
	}
	x := &Index{v: v, g: g, dead: dead, codes: o.Codes, workers: o.Workers}
	x.searchers.New = func() any { return &searcher{} }
	return x, nil
}

// Len counts the rows that have a vector and are not dead now.
func (x *Index) Len() int {
	if x.v.Has == nil {
		return x.v.rows - x.dead.Len()
	}
	return x.countBits(x.v.Has, mask.Now)
}

// atMost bounds the rows with a vector that are alive at a position; if exact, it
// counts them.
func (x *Index) atMost(at uint64) (n int, exact bool) {
	dead, exact := x.dead.LenAt(at)
	switch {
	case !exact:
		return x.v.held, false
	case x.v.held < x.v.rows: // dead rows may be of those without a vector
		return min(x.v.held, x.v.rows-dead), dead == 0
	default:
		return x.v.rows - dead, true
	}
}

// Query is one search. Accept may be called for many more rows than enter the
// result, from one goroutine at a time. Rows, if not nil, should ascend.
type Query struct {
	index.Query
	// Bits restricts the search as Rows does if not nil: a bit for each row. It is the
	// quicker form where they are many. Not both.
	Bits []uint64
	// At is the position of the state that is searched: rows that died after it are
	// alive. 0: now.
	At uint64
	// Exact compares all rows that pass, by their vectors.
	Exact bool
	// IgnoreCodes lets a search go by the vectors though there are codes.
	IgnoreCodes bool
	// Rescore compares the best that were found by codes by their vectors: scores are
	// exact then. Without it they are estimates, but of rows that are compared because
	// few pass. Oversampling is how many times K of them; less than 1: what suits
	// codes of a byte for each element.
	Rescore      bool
	Oversampling float64
	// Ef is how many near rows are kept while walking; more finds more of the
	// nearest and takes longer. 0: one and a half times EfConstruct, more for some
	// Ranks. It is never less than K.
	Ef int
	// Estimate is how many live rows Accept lets through, if known; an estimate is
	// enough. 0: not known, and a sample of rows is asked.
	Estimate int
	// ScanBelow: if so many live rows or fewer pass, all of them are compared.
	// 0: the break-even of comparisons is used. What has to be scanned for the
	// sake of recall is scanned whatever is said here.
	ScanBelow int
}

// mostHits is for how many hits room is made before they are found.
const mostHits = 64

// searcher is a walker with what a query adds.
type searcher struct {
	walker
	top    rank.Top
	x      *Index
	query  Query
	at     uint64
	ef     int
	member []uint64 // bit for each row of query.Rows, if marked
	marked bool
	few    bool // of a sweep: so few of Bits are set that they are compared by their vectors
	fill   int  // of a sweep: how many nodes are still to be compared
	// grouped: most rows that pass have extra links to others.
	grouped bool
	failed  set      // rows that Accept refused
	hop     []uint32 // neighbours that do not pass
	met     []uint32 // by a plain walk
	// offered counts the rows that pass and that a walk has found.
	offered int
	one     [1]*searcher
	example index.Query // a walk by an example of a Rank
	near    []uint32    // rows that it met
	// Of searches by codes:
	own    Scorer
	finer  int      // so many rows are compared by their vectors; 0: none
	coarse rank.Top // of a sweep, before they are
	found  []index.Hit
}

// Search appends to dst at most q.K hits, the best first. Scores are exact, unless
// they come from codes, and so are the rows if few enough pass. Errors: index.ErrDim, index.ErrRow (in q.Rows),
// or ctx's.
func (x *Index) Search(ctx context.Context, q *Query, dst []index.Hit) ([]index.Hit, error) {
	if err := x.check(ctx, q); err != nil {
		return dst, err
	}
	s := x.searchers.Get().(*searcher)
	defer s.release()
	s.begin(x, q)
	if s.top.K > 0 {
		if err := s.run(ctx, s.plan()); err != nil {
			return dst, err
		}
	}
	return s.top.Drain(dst), nil
}

// SearchBatch answers queries as Search would one by one. Those that are answered
// by scans share the passes over memory. The first error fails all.
func (x *Index) SearchBatch(ctx context.Context, qs []Query) ([][]index.Hit, error) {
	if len(qs) == 1 {
		hits, err := x.Search(ctx, &qs[0], make([]index.Hit, 0, min(max(0, qs[0].K), mostHits)))
		if err != nil {
			return nil, err
		}
		return [][]index.Hit{hits}, nil
	}
	all := make([]*searcher, 0, len(qs))
	defer func() {
		for _, s := range all {
			s.release()
		}
	}()
	var sweeping []*searcher
	for i := range qs {
		if err := x.check(ctx, &qs[i]); err != nil {
			return nil, err
		}
		s := x.searchers.Get().(*searcher)
		all = append(all, s)
		if s.begin(x, &qs[i]); s.top.K == 0 {
			continue
		}
		if p := s.plan(); p.way == scan && p.together(s) {
			sweeping = append(sweeping, s)
		} else if err := s.run(ctx, p); err != nil {
			return nil, err
		}
	}
	if len(sweeping) > 0 {
		if err := x.sweep(ctx, sweeping); err != nil {
			return nil, err
		}
	}
	out := make([][]index.Hit, len(qs))
	for i, s := range all {
		out[i] = s.top.Drain(make([]index.Hit, 0, s.top.Len()))
	}
	return out, nil
}

func (x *Index) check(ctx context.Context, q *Query) error {
	if err := rank.Check(&q.Query, x.v.Dim); err != nil {
		return err
	}
	if q.Bits != nil && len(q.Bits) < (x.v.rows+63)/64 {
		return fmt.Errorf("search: %w: %d words are not a bit for each of %d rows", index.ErrRow, len(q.Bits), x.v.rows)
	}
	return ctx.Err()
}

func (s *searcher) begin(x *Index, q *Query) {
	s.x, s.query = x, *q // a copy, so that the caller's stays off the heap
	if s.at = q.At; s.at == 0 {
		s.at = mask.Now
	}
	width, ef := 0, 1
	if x.g != nil {
		width, ef = 2*x.g.params.M, x.g.params.defaultEf()
	}
	s.fit(x.v.rows, block+together*budget(width))
	if words := (x.v.rows + 63) / 64; q.Accept != nil && len(s.failed.bits) < words {
		s.failed.bits = make([]uint64, words)
	}
	n, _ := x.atMost(s.at)
	if q.Rows != nil {
		n = min(n, len(q.Rows))
	}
	s.top.Reset(&x.v.metric, &q.Query, n)
	if s.ef = q.Ef; s.ef <= 0 {
		if s.ef = ef; q.Rank != nil && (q.Rank.Leads() == 0 || q.Rank.Steps() > 0) {
			s.ef *= wider
		}
	}
	s.ef = min(max(s.ef, s.top.K), max(1, x.v.rows))
	s.steer()
	s.aim(&s.query.Query)
	s.ties = max(s.top.K, s.ef/4)
}

// release forgets the query.
func (s *searcher) release() {
	x := s.x
	if s.marked {
		for _, r := range s.query.Rows {
			if int(r) < x.v.rows {
				s.member[r>>6] = 0
			}
		}
	}
	s.failed.clear()
	s.top.Release()
	s.coarse.Release()
	s.q.Release()
	s.example.Vector = nil
	s.x, s.query, s.marked, s.grouped, s.few, s.fill, s.one[0] = nil, Query{}, false, false, false, 0, nil
	x.searchers.Put(s)
}

// run leaves the result in s.top.
func (s *searcher) run(ctx context.Context, p plan) error {
	switch p.way {
	case scan:
		return s.scan(ctx, p.passing)
	case plain, filtered:
		if s.query.Rank.Leads() > 0 {
			return s.led(ctx, p)
		}
		if err := s.walk(ctx, p); err != nil {
			return err
		}
		s.finish(p.way == filtered)
	}
	return s.complete(ctx, p)
}

// walk fills the pool.
func (s *searcher) walk(ctx context.Context, p plan) error {
	if p.way == filtered {
		return s.filtered(ctx)
	}
	return s.plain(ctx, p.passing)
}

// complete scans if a walk has not found enough.
func (s *searcher) complete(ctx context.Context, p plan) error {
	// The walk may have ended on an island, or among rows that do not pass. What a
	// threshold drops was found.
	if s.offered < s.top.K && (!p.known || s.offered < p.passing) {
		return s.scan(ctx, p.passing)
	}
	return nil
}

// plain walks over all rows and keeps those that pass. The walk is wider by what
// will fall out.
func (s *searcher) plain(ctx context.Context, passing int) error {
	ef := s.ef
	if nodes := s.x.v.held; passing < nodes {
		ef = min(nodes, int(math.Ceil(float64(ef)*float64(nodes)/float64(max(1, passing)))))
	}
	s.reserve(ef)
	v, g := &s.x.v, s.x.g
	return s.beam(ctx, v, g, 0, ef, g.asNode(0, s.descend(v, g, 0)))
}

// alive tells whether row has a vector and may be answered.
func (s *searcher) alive(row uint32) bool { return s.x.v.has(row) && !s.x.dead.Dead(row, s.at) }

// passes is alive, in Rows and Accept, which is asked once for each row.
func (s *searcher) passes(row uint32) bool {
	if in := s.query.Bits; in != nil && in[row>>6]>>(row&63)&1 == 0 || !s.alive(row) {
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
