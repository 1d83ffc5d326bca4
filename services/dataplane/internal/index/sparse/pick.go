package sparse

import (
	"context"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// pick looks few slots up in the lists.
func (s *searcher) pick(ctx context.Context) error {
	if !slices.IsSorted(s.only) {
		slices.Sort(s.only)
	}
	s.only = slices.Compact(s.only)
	n := len(s.only)
	s.picks, s.hit = slices.Grow(s.picks[:0], n)[:n], slices.Grow(s.hit[:0], n)[:n]
	clear(s.picks)
	clear(s.hit)
	for i := range s.terms {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.pickTerm(&s.terms[i]); err != nil {
			return err
		}
	}
	for i, slot := range s.only {
		if s.hit[i] {
			s.offer(slot, float32(s.picks[i]))
		}
	}
	return nil
}

func (s *searcher) pickTerm(t *term) error {
	for i, slot := range s.only {
		w, ok, err := t.find(slot)
		if err != nil {
			return err
		}
		if ok {
			s.picks[i] += t.weight * float64(w)
			s.hit[i] = true
		}
	}
	return nil
}

// scan scores rows by their own vectors: those of the query, or all.
func (s *searcher) scan(ctx context.Context) error {
	last, n := none, s.n
	if s.q.Rows != nil {
		n = len(s.q.Rows)
	}
	for i := range n {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		row := uint32(i)
		switch {
		case s.q.Rows != nil:
			row = s.q.Rows[i]
		case s.rows != nil:
			row = s.rows[i]
		}
		if row == none || row == last || s.q.Dead != nil && s.q.Dead(row) {
			continue
		}
		last = row
		v, ok := s.stored(row)
		if !ok {
			continue
		}
		if err := v.check(); err != nil {
			return err
		}
		if score, ok := s.score(v); ok {
			s.top.Offer(row, score)
		}
	}
	return ctx.Err()
}

// score is that of a row's own vector. Whoever shares no dimension with the query has
// none, but similarities of 0 to examples.
func (s *searcher) score(v Vector) (score float32, ok bool) {
	r := s.q.Rank
	if r == nil {
		return s.inner(Vector{s.q.Indices, s.q.Vector}, v)
	}
	s.ranking.blend.Raws(&s.metric, r, s.ranking.one[:], func(i, _ int, raws []float32) {
		e := &r.Examples()[i]
		raws[0], _ = s.inner(Vector{e.Indices, e.Data}, v)
	})
	return s.ranking.one[0], true
}

// inner is the inner product of a query and a row; false if they share no dimension.
func (s *searcher) inner(q, v Vector) (score float32, ok bool) {
	sum, j := 0.0, 0
	for i, dim := range q.Indices {
		for j < len(v.Indices) && v.Indices[j] < dim {
			j++
		}
		if j < len(v.Indices) && v.Indices[j] == dim {
			sum += float64(Round(query.Float32, q.Weights[i])) * float64(Round(s.datatype, v.Weights[j]))
			ok = true
		}
	}
	return float32(sum), ok
}
