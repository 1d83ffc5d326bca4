package sparse

import (
	"context"
	"math/bits"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
)

// A ranking is scored window by window as well, but completely: rows that share no
// dimension with any example are answered too. They all have one score, so whether there
// is one is only asked where that is good enough.

// ranking is what a search by a Rank needs.
type ranking struct {
	ends   []int     // of the terms of each example
	table  []float32 // inner products of each example with the slots of a window
	sims   []float32 // those of the slots that were found
	scores []float32
	blend  rank.Blend
	one    [1]float32
	unsure bool // whether the row that is offered has a vector
	accept func(row uint32) bool
}

// accept asks the query, and whether there is a vector where that is not known.
func (s *searcher) accept(row uint32) bool {
	if s.ranking.unsure {
		if _, ok := s.stored(row); !ok {
			return false
		}
	}
	return s.q.Accept == nil || s.q.Accept(row)
}

// mostTerms is with how many terms rows are scored by their own vectors instead: each
// takes memory for a block.
const mostTerms = 1 << 14

// rankAll scores all slots.
func (s *searcher) rankAll(ctx context.Context) error {
	k := &s.ranking
	n := len(k.ends)
	k.table = slices.Grow(k.table[:0], n*window)[:n*window]
	k.sims, k.scores = slices.Grow(k.sims[:0], n)[:n], append(k.scores[:0], 0)
	clear(k.sims)
	s.q.Rank.Score(k.sims, k.scores)
	apart := k.scores[0]
	s.top.Accept = k.accept
	for base := 0; base < s.n; base += window {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.base, s.end = uint32(base), uint32(min(base+window, s.n))
		if err := s.multiply(); err != nil {
			return err
		}
		s.rate(apart)
	}
	return nil
}

// multiply fills the table and finds the slots of the window that share a dimension with
// an example.
func (s *searcher) multiply() error {
	from := 0
	for e, to := range s.ranking.ends {
		for i := range s.terms[from:to] {
			t := &s.terms[from+i]
			for t.firsts[t.at+1] <= s.base {
				t.at++
			}
			for b := t.at; t.firsts[b] < s.end; b++ {
				if err := t.load(b); err != nil {
					return err
				}
				s.mark(t)
				s.add(t)
			}
		}
		from = to
		row := s.ranking.table[e*window:][:window]
		for at := range row {
			row[at] = float32(s.sums[at])
		}
		clear(s.sums[:])
	}
	return nil
}

// rate offers the slots of the window; apart is the score of those that were not found.
func (s *searcher) rate(apart float32) {
	k := &s.ranking
	s.slots = s.room[:0]
	for word := range s.found {
		for found := s.found[word]; found != 0; found &= found - 1 {
			s.slots = append(s.slots, uint32(word*64+bits.TrailingZeros64(found)))
		}
	}
	n := len(s.slots)
	k.sims = slices.Grow(k.sims[:0], n*len(k.ends))[:n*len(k.ends)]
	for e := range k.ends {
		row := k.table[e*window:][:window]
		for i, at := range s.slots {
			k.sims[e*n+i] = row[at%window]
		}
	}
	k.scores = slices.Grow(k.scores[:0], n)[:n]
	s.q.Rank.Score(k.sims, k.scores)
	k.unsure = false
	for i, at := range s.slots {
		s.offerAmong(s.base+at, k.scores[i])
	}
	k.unsure = true
	for at := range s.end - s.base {
		if s.found[at/64]>>(at%64)&1 == 0 && apart >= s.top.Floor() {
			s.offerAmong(s.base+at, apart)
		}
	}
	clear(s.found[:])
}

// offerAmong is offer for the slots that the query is restricted to.
func (s *searcher) offerAmong(slot uint32, score float32) {
	if s.among == nil || s.among[slot/64]>>(slot%64)&1 != 0 {
		s.offer(slot, score)
	}
}
