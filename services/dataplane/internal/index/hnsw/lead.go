package hnsw

import (
	"context"
	"slices"
)

// wider is how many times as many rows are kept by default where a ranking points at what
// is like no row, and again where too few were seen.
const wider = 4

// led walks by one example of a ranking after the other, and compares by the ranking what
// lies near to them, as the best do. A walk by the ranking itself would see the rows near
// one of them only, and lose its way where scores go in steps.
//
// Of those on the highest step, the nearest to the target come first. Once enough of them
// were seen, nothing farther away can be better; until then the walk is widened.
func (s *searcher) led(ctx context.Context, p plan) error {
	for ; ; s.ef = min(wider*s.ef, s.x.v.rows) {
		enough, err := s.lead(ctx, p)
		if err != nil {
			return err
		}
		if enough || s.query.Ef > 0 || s.query.Rank.Steps() == 0 {
			return s.complete(ctx, p)
		}
		// A step of a walk compares rows in no order, and moves half of what it keeps.
		ef := float64(wider * s.ef)
		walk := ef * float64(s.x.g.params.M) * (4 + ef/float64(s.x.v.Dim))
		if s.ef == s.x.v.rows || walk > float64(p.passing*len(s.query.Rank.Examples())) {
			return s.scan(ctx, p.passing)
		}
	}
}

// lead is led for one width of the walk. It tells whether enough rows on the highest step
// are in the nearer half of what it met.
func (s *searcher) lead(ctx context.Context, p plan) (enough bool, err error) {
	r := s.query.Rank
	s.near = s.near[:0]
	for _, e := range r.Examples()[:r.Leads()] {
		s.example.Vector = e.Data
		s.aim(&s.example)
		if err := s.walk(ctx, p); err != nil {
			return false, err
		}
		for _, k := range s.pool {
			s.near = append(s.near, nodeOf(k))
		}
	}
	if r.Leads() > 1 {
		slices.Sort(s.near)
		s.near = slices.Compact(s.near)
	}
	s.aim(&s.query.Query)
	s.top.Reset(&s.x.v.metric, &s.query.Query, s.top.K)
	s.top.Accept = nil // what is offered has been asked about
	s.offered = 0
	half, fill := len(s.near)/2, 0
	for i, row := range s.near {
		if p.way == filtered || s.passes(row) {
			s.offered++
			fill = s.hold(row, fill)
		}
		if i == half {
			s.offer(fill)
			fill, enough = 0, s.top.Len() == s.top.K && s.top.Floor() >= float32(r.Steps())
		}
	}
	s.offer(fill)
	return enough, nil
}
