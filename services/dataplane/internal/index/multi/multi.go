// Package multi finds the rows whose multi-vectors are most similar to a query's, by
// comparing with all of them. A row has one or more vectors of one length; the
// similarity to a query of several vectors is MaxSim:
//
//	Cosine, Dot        Σ over the query's vectors of max over the row's of the inner product
//	Euclid, Manhattan  Σ of min of the squared distance, of the distance; the root of the sum for Euclid
//
// which is the sum of the greatest similarities with distances taken as negative. It
// is no metric: swapping query and row gives another value.
//
// The kernel compares; the best are added in the order of the query's vectors in
// float64 and rounded once, so that a Tail (mutable), an Index (immutable, in the bytes
// that it was opened from) and every replica answer bit-equal scores. Elements have a
// datatype, and scores are made of what is kept: float16 the nearest; uint8 the whole
// number below, 0 to 255, in queries too. Vectors of uint8 are not of length 1 for
// Cosine, so their inner products are divided by the lengths.
//
// No disks and no goroutines. Bytes are little-endian, as is the machine.
package multi

import (
	"context"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Space is what all vectors of an index have in common.
type Space struct {
	Dim      int // of each vector, 1..kernel.MaxDim
	Distance query.Distance
	Datatype query.Datatype
}

func (s Space) check() error {
	_, ok := rank.MetricOf(s.Distance)
	switch {
	case s.Dim < 1 || s.Dim > kernel.MaxDim:
		return fmt.Errorf("multi: %w: %d is not in 1..%d", index.ErrDim, s.Dim, kernel.MaxDim)
	case !ok:
		return fmt.Errorf("multi: unknown distance %d", s.Distance)
	case s.Datatype > query.Uint8:
		return fmt.Errorf("multi: unknown datatype %d", s.Datatype)
	}
	return nil
}

// bytes of n vectors.
func (s Space) bytes(n int) int { return n * s.Dim * s.Datatype.Size() }

// count is how many vectors v holds.
func (s Space) count(v []float32) (int, error) {
	if len(v) == 0 || len(v)%s.Dim != 0 {
		return 0, fmt.Errorf("%w: %d numbers are not one or more vectors of %d", index.ErrDim, len(v), s.Dim)
	}
	return len(v) / s.Dim, nil
}

// encode sets to to the elements of v.
func (s Space) encode(to []byte, v []float32) {
	switch s.Datatype {
	case query.Float16:
		kernel.Narrow(as[uint16](to), v)
	case query.Uint8:
		for i, x := range v {
			to[i] = whole(x)
		}
	default:
		copy(as[float32](to), v)
	}
}

// decode appends the elements.
func (s Space) decode(dst []float32, from []byte) []float32 {
	switch s.Datatype {
	case query.Float16:
		h := as[uint16](from)
		dst = slices.Grow(dst, len(h))
		kernel.Widen(dst[len(dst):len(dst)+len(h)], h)
		return dst[:len(dst)+len(h)]
	case query.Uint8:
		for _, c := range from {
			dst = append(dst, float32(c))
		}
		return dst
	}
	return append(dst, as[float32](from)...)
}

// whole cuts the fraction off; NaN is 0.
func whole(x float32) uint8 {
	if !(x > 0) {
		return 0
	}
	return uint8(min(x, math.MaxUint8))
}

// as are the same bytes as elements. They must begin at a multiple of an element.
func as[E float32 | uint16](b []byte) []E {
	var e E
	return unsafe.Slice((*E)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(e)))
}

// Query is one search. Vector of the embedded query holds the vectors one after the
// other; for Cosine they need not be normalised.
type Query struct {
	index.Query
	// Dead tells rows that are never answered; nil: none. It must be cheap: it is
	// asked for every row, before Accept.
	Dead func(row uint32) bool
}

// rows is what a search needs of a Tail or an Index.
type rows interface {
	// bound is above all rows.
	bound() int
	// at gives the vectors of a row below bound; 0 if it has none.
	at(row uint32) (raw []byte, n int)
}

// asking is a query as the kernel takes it.
type asking struct {
	q    *Query
	each []example // of its Rank; without one, the query itself
	top  rank.Top
}

// example is vectors that rows are compared with.
type example struct {
	floats []float32
	codes  []uint8
	norms  []float64 // squared lengths of codes, for Cosine
}

// searcher is what searches need: reused, so that they allocate nothing per row.
type searcher struct {
	space   Space
	metric  rank.Metric
	queries []asking
	one     [1]Query
	raws    []float32
	sums    []int64
	norms   []float64 // squared lengths of a row's codes, for Cosine
	blend   rank.Blend
	blended [1]float32
}

func newSearcher(space Space) *searcher {
	m, _ := rank.MetricOf(space.Distance)
	return &searcher{space: space, metric: m}
}

// release forgets the queries.
func (s *searcher) release() {
	for i := range s.queries {
		s.queries[i].q = nil
		s.queries[i].top.Release()
	}
	s.queries, s.one[0] = s.queries[:0], Query{}
}

func (s *searcher) add(q *Query, n int) error {
	if err := rank.CheckRows(&q.Query); err != nil {
		return err
	}
	if q.Rows != nil {
		n = len(q.Rows)
	}
	if len(s.queries) == cap(s.queries) {
		s.queries = append(s.queries, asking{})
	} else {
		s.queries = s.queries[:len(s.queries)+1]
	}
	a := &s.queries[len(s.queries)-1]
	a.q = q
	a.top.Reset(&s.metric, &q.Query, n)
	examples := q.Rank.Examples()
	for len(a.each) < max(1, len(examples)) {
		a.each = append(a.each, example{})
	}
	if q.Rank == nil {
		return s.aim(&a.each[0], q.Vector)
	}
	for i, e := range examples {
		if err := s.aim(&a.each[i], e.Data); err != nil {
			return err
		}
	}
	return nil
}

// aim makes e the vectors in v.
func (s *searcher) aim(e *example, v []float32) error {
	if _, err := s.space.count(v); err != nil {
		return fmt.Errorf("search: %w", err)
	}
	e.floats, e.codes, e.norms = append(e.floats[:0], v...), e.codes[:0], e.norms[:0]
	if s.space.Datatype == query.Uint8 {
		for _, x := range v {
			e.codes = append(e.codes, whole(x))
		}
		e.norms = s.lengths(e.norms, e.codes)
		return nil
	}
	if s.metric.Normalize {
		for v := range slices.Chunk(e.floats, s.space.Dim) {
			kernel.Normalize(v)
		}
	}
	return nil
}

// lengths appends the squared lengths of codes, if they are needed.
func (s *searcher) lengths(dst []float64, codes []uint8) []float64 {
	if s.metric.Normalize {
		for ; len(codes) > 0; codes = codes[s.space.Dim:] {
			v := codes[:s.space.Dim]
			dst = append(dst, float64(kernel.Dot.PairUint8(v, v)))
		}
	}
	return dst
}

// often is after how many rows at most a search looks whether it is still wanted.
const often = 16

// run leaves the best rows in each query's top, in one pass for those that do not
// name rows of their own.
func (s *searcher) run(ctx context.Context, r rows) error {
	bound, scan := r.bound(), false
	for i := range s.queries {
		a := &s.queries[i]
		scan = scan || a.q.Rows == nil
		last := index.MaxRow + 1 // none yet
		for n, row := range a.q.Rows {
			if n%often == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if row == last || int(row) >= bound {
				continue
			}
			last = row
			if raw, n := r.at(row); n > 0 {
				s.norms = s.norms[:0]
				s.offer(a, row, raw, n)
			}
		}
	}
	for row := uint32(0); scan && int(row) < bound; row++ {
		if row%often == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		raw, n := r.at(row)
		if n == 0 {
			continue
		}
		s.norms = s.norms[:0]
		for i := range s.queries {
			if a := &s.queries[i]; a.q.Rows == nil {
				s.offer(a, row, raw, n)
			}
		}
	}
	return ctx.Err()
}

// offer compares a row with a query, as far as it may be answered.
func (s *searcher) offer(a *asking, row uint32, raw []byte, n int) {
	if a.top.K == 0 || a.q.Dead != nil && a.q.Dead(row) {
		return
	}
	if r := a.q.Rank; r != nil {
		s.blend.Raws(&s.metric, r, s.blended[:], func(i, _ int, raws []float32) {
			raws[0], _ = s.compare(&a.each[i], raw, n, float32(math.Inf(-1)))
		})
		a.top.Offer(row, s.blended[0])
		return
	}
	if v, ok := s.compare(&a.each[0], raw, n, a.top.Floor()); ok {
		a.top.Offer(row, v)
	}
}

// compare gives the raw value of a row; false if it is below floor, times the sign.
func (s *searcher) compare(e *example, raw []byte, n int, floor float32) (float32, bool) {
	if s.space.Datatype == query.Uint8 {
		return s.codes(e, raw, n, floor)
	}
	return s.floats(e, raw, n, floor)
}

// late tells whether a sum of distances is too large already: it only grows.
func (s *searcher) late(sum float64, floor float32) bool {
	return s.metric.Sign < 0 && -float32(sum) < floor
}

func (s *searcher) floats(e *example, raw []byte, n int, floor float32) (float32, bool) {
	dim, sum := s.space.Dim, 0.0
	s.raws = slices.Grow(s.raws[:0], n)[:n]
	for q := e.floats; len(q) > 0; q = q[dim:] {
		if s.space.Datatype == query.Float16 {
			s.metric.Raw.Float16(q[:dim], kernel.Rows[uint16]{Data: as[uint16](raw), Stride: dim}, s.raws)
		} else {
			s.metric.Raw.Float32(q[:dim], kernel.Rows[float32]{Data: as[float32](raw), Stride: dim}, s.raws)
		}
		sum += float64(best(s.raws, s.metric.Sign < 0))
		if s.late(sum, floor) {
			return 0, false
		}
	}
	return float32(sum), true
}

// best is the greatest number, or the least; NaN is the worst.
func best(vs []float32, least bool) float32 {
	if least {
		b := float32(math.Inf(1))
		for _, v := range vs {
			if v < b {
				b = v
			}
		}
		return b
	}
	b := float32(math.Inf(-1))
	for _, v := range vs {
		if v > b {
			b = v
		}
	}
	return b
}

func (s *searcher) codes(e *example, raw []byte, n int, floor float32) (float32, bool) {
	dim, sum := s.space.Dim, 0.0
	s.sums = slices.Grow(s.sums[:0], n)[:n]
	if len(s.norms) == 0 {
		s.norms = s.lengths(s.norms, raw)
	}
	for i, q := 0, e.codes; len(q) > 0; i, q = i+1, q[dim:] {
		s.metric.Raw.Uint8(q[:dim], kernel.Rows[uint8]{Data: raw, Stride: dim}, s.sums)
		switch {
		case s.metric.Normalize:
			sum += bestCosine(s.sums, s.norms, e.norms[i])
		case s.metric.Sign < 0:
			sum += float64(slices.Min(s.sums))
		default:
			sum += float64(slices.Max(s.sums))
		}
		if s.late(sum, floor) {
			return 0, false
		}
	}
	return float32(sum), true
}

// bestCosine is the greatest quotient of an inner product and the root of the squared
// lengths; that of a vector of zeros is 0.
func bestCosine(dots []int64, norms []float64, norm float64) float64 {
	b := 0.0 // no element is negative
	for i, dot := range dots {
		if dot > 0 {
			b = max(b, float64(float32(float64(dot)/math.Sqrt(norms[i]*norm))))
		}
	}
	return b
}

// search answers one query.
func (s *searcher) search(ctx context.Context, r rows, n int, q *Query, dst []index.Hit) ([]index.Hit, error) {
	s.one[0] = *q
	err := s.add(&s.one[0], n)
	if err == nil {
		err = s.run(ctx, r)
	}
	if err != nil {
		return dst, err
	}
	return s.queries[0].top.Drain(dst), nil
}

// batch answers many in one pass.
func (s *searcher) batch(ctx context.Context, r rows, n int, qs []Query) ([][]index.Hit, error) {
	for i := range qs {
		if err := s.add(&qs[i], n); err != nil {
			return nil, err
		}
	}
	if err := s.run(ctx, r); err != nil {
		return nil, err
	}
	out := make([][]index.Hit, len(qs))
	for i := range out {
		t := &s.queries[i].top
		out[i] = t.Drain(make([]index.Hit, 0, t.Len()))
	}
	return out, nil
}
