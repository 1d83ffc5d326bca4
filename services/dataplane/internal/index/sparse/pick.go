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

// scan scores rows by their own vectors.
func (s *searcher) scan(ctx context.Context) error {
	last := none
	for i, row := range s.q.Rows {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if row == last {
			continue
		}
		last = row
		if s.q.Dead != nil && s.q.Dead(row) {
			continue
		}
		v, ok := s.q.Stored(row)
		if !ok {
			continue
		}
		if err := v.check(); err != nil {
			return err
		}
		if sum, ok := s.inner(v); ok {
			s.top.Offer(row, sum)
		}
	}
	return ctx.Err()
}

// inner is the score of a row's own vector; false if it shares no dimension.
func (s *searcher) inner(v Vector) (score float32, ok bool) {
	sum, j := 0.0, 0
	for i, dim := range s.q.Indices {
		for j < len(v.Indices) && v.Indices[j] < dim {
			j++
		}
		if j < len(v.Indices) && v.Indices[j] == dim {
			sum += float64(Round(query.Float32, s.q.Vector[i])) * float64(Round(s.datatype, v.Weights[j]))
			ok = true
		}
	}
	return float32(sum), ok
}
