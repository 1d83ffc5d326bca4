package hnsw

import (
	"context"
	"math/bits"
	"math/rand/v2"
)

type way uint8

const (
	scan     way = iota // compare all that pass
	plain               // walk over all, keep what passes
	filtered            // walk over what passes
)

// plan is how a search goes about it.
type plan struct {
	way     way
	passing int  // how many rows pass
	known   bool // and not estimated
}

// together tells whether the scan of a plan is one of all rows.
func (p plan) together(s *searcher) bool {
	return s.query.Rows == nil && (s.query.Bits != nil || s.query.Accept == nil || float64(p.passing) >= rare*float64(s.x.v.rows))
}

const (
	// most is the share of rows that pass from which on a plain walk is cheapest:
	// it compares 1/share times as many rows, a filtered one looks at more links.
	most = 0.7
	// least is how many of the rows that two hops lead to must pass, in the mean,
	// for a filtered walk to find its way.
	least = 6
	// sample is how many rows are asked if nobody knows how many pass.
	sample = 256
	// bridges is the cost of looking at one neighbour of a neighbour, in floats of a
	// row that is scanned: measured on vectors of 100, 256 and 784 floats. For each
	// of ef rows a walk compares up to width rows, and one that is filtered looks at
	// up to width squared such neighbours.
	bridges = 8
	// lone is the same of a walk over extra links, for each of them: few rows are
	// compared at once, and each is asked whether it passes.
	lone = 460
	// seeds is how many rows that pass a filtered walk starts from, beside where
	// the descent leads: the nearest that pass may lie elsewhere. Going ashore takes as
	// long as so many steps, at least.
	seeds = 16
)

// budget is how many rows one step of a filtered walk scores at most.
func budget(width int) int { return 2 * width }

// choose plans by the number of rows that pass.
func (s *searcher) choose(passing int) way {
	g := s.x.g
	if g == nil || s.query.Exact || g.layers == nil && !s.grouped {
		return scan
	}
	p := g.params
	width, degree := 2*p.M, float64(p.M)*4/3                // typical of layer 0
	share := float64(passing) / float64(max(1, s.x.v.held)) // of nodes
	w, even := filtered, (s.ef+seeds)*(width+bridges*width*width/s.x.v.Dim)
	switch {
	case share >= most && g.layers != nil:
		w, even = plain, s.ef*width
	case s.grouped:
		even = (s.ef + seeds) * (p.PayloadM + lone*p.PayloadM/s.x.v.Dim)
	}
	if s.query.ScanBelow > 0 {
		even = s.query.ScanBelow
	}
	if passing <= even || !s.grouped && share*degree*degree < least {
		return scan
	}
	if s.query.Rank != nil && s.query.Rank.Leads() == 0 {
		return filtered
	}
	return w
}

// plan looks at how many live rows pass. If it is not for a scan of query.Rows, it
// makes their bits.
func (s *searcher) plan() plan {
	q, rows := &s.query, s.x.v.rows
	n, known := s.x.atMost(s.at)
	if q.Rows != nil || q.Bits != nil {
		if n = min(n, len(q.Rows)); q.Rows == nil {
			n = s.x.countBits(q.Bits, s.at)
			s.few = float64(n) < rare*float64(rows)
		}
		s.grouped = s.x.g != nil && len(s.x.g.extra.links) > 0 // perhaps
		if s.choose(n) == scan {
			return plan{way: scan, passing: n}
		}
		if q.Rows != nil {
			s.mark()
			n = s.x.countBits(q.Bits, s.at)
		}
		known = true
	}
	s.grouped = s.x.g != nil && s.within()
	passing := n
	if q.Accept != nil && n > 0 {
		known = false
		if q.Estimate > 0 {
			n = min(q.Estimate, n)
		} else {
			n = s.sample()
			if q.Bits != nil {
				n = passing * n / sample
			} else {
				n = rows * n / sample
			}
		}
	}
	return plan{s.choose(n), n, known}
}

// sample is how many of so many rows pass.
func (s *searcher) sample() (hits int) {
	rng := rand.NewPCG(1, 2) // the same rows each time: equal searches take equal ways
	for range sample {
		if s.passes(s.draw(rng)) {
			hits++
		}
	}
	return hits
}

// draw picks a row that may pass.
func (s *searcher) draw(rng *rand.PCG) uint32 {
	row := uint32(rng.Uint64() % uint64(s.x.v.rows))
	if s.query.Bits != nil {
		row = s.next(row)
	}
	return row
}

// next is the first row from one on whose bit is set, beginning anew after the last;
// row itself if there is none.
func (s *searcher) next(row uint32) uint32 {
	words := s.query.Bits[:(s.x.v.rows+63)/64]
	at := int(row >> 6)
	w := words[at] &^ (1<<(row&63) - 1)
	for range len(words) + 1 {
		if w != 0 {
			if r := uint32(at)<<6 + uint32(bits.TrailingZeros64(w)); int(r) < s.x.v.rows {
				return r
			}
		}
		at = (at + 1) % len(words)
		w = words[at]
	}
	return row
}

// mark makes query.Bits of query.Rows.
func (s *searcher) mark() {
	words := (s.x.v.rows + 63) / 64
	if len(s.member) < words {
		s.member = make([]uint64, words)
	}
	s.marked = true
	for _, r := range s.query.Rows {
		if int(r) < s.x.v.rows {
			s.member[r>>6] |= 1 << (r & 63)
		}
	}
	s.query.Bits = s.member[:words]
}

// filtered walks over rows that pass only. Where a neighbour does not pass, its
// neighbours take its place (the rule of ACORN-1, arXiv 2403.04871).
func (s *searcher) filtered(ctx context.Context) error {
	s.reserve(s.ef)
	if err := s.ashore(ctx); err != nil {
		return err
	}
	for cur, hop := 0, 0; cur < len(s.pool); {
		if hop++; hop%hops == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		n, found := 0, 0
		for at := cur; at < len(s.pool) && found < together; at++ {
			if s.pool[at]&flag == 0 {
				s.pool[at] |= flag
				n = s.beyond(nodeOf(s.pool[at]), n)
				found++
			}
		}
		first := s.step(n)
		for cur = min(cur, first); cur < len(s.pool) && s.pool[cur]&flag != 0; cur++ {
		}
	}
	return nil
}

// step scores w.nodes[:n] and puts them into the pool.
func (s *searcher) step(n int) int {
	s.score(&s.x.v, s.x.g, 0, n)
	return s.take(&s.x.v, s.ef, n)
}

// ashore fills the pool with rows that pass to start from: those that a plain walk
// meets, for the nearest may lie among rows that do not pass, and some from
// anywhere, for the nearest may all lie elsewhere.
func (s *searcher) ashore(ctx context.Context) error {
	v, g := &s.x.v, s.x.g
	s.seen.clear()
	if g.layers != nil {
		ef := s.ef
		if s.grouped { // rows that pass lead to each other
			ef = min(ef, seeds)
		}
		if err := s.beam(ctx, v, g, 0, ef, g.asNode(0, s.descend(v, g, 0))); err != nil {
			return err
		}
	}
	s.met = append(s.met[:0], s.seen.list...)
	s.seen.clear()
	s.pool = s.pool[:0]
	rng := rand.NewPCG(3, 4)
	for range 8 * seeds {
		s.met = append(s.met, s.draw(rng))
	}
	n := 0
	for i, row := range s.met {
		n = s.visit(row, n)
		if n == line || i == len(s.met)-1 {
			s.step(n)
			n = 0
		}
	}
	return nil
}

// visit adds row to w.nodes[:n] if it passes and was not seen.
func (s *searcher) visit(row uint32, n int) int {
	if s.seen.has(row) || !s.passes(row) {
		return n
	}
	s.seen.add(row)
	s.nodes[n] = row
	return n + 1
}

// beyond puts the unseen rows that pass among the neighbours of node, and among the
// neighbours of those that do not, unless extra links lead on, behind w.nodes[:n].
func (s *searcher) beyond(node uint32, n int) int {
	g := s.x.g
	for _, id := range g.extra.of(node) {
		if n == len(s.nodes) {
			return n
		}
		n = s.visit(id, n)
	}
	if g.layers == nil {
		return n
	}
	l := &g.layers[0]
	limit := min(n+budget(l.width), len(s.nodes))
	s.hop = s.hop[:0]
	for _, id := range l.of(node) {
		if id == none || n == limit {
			break
		}
		if s.seen.has(id) {
			continue
		}
		if m := s.visit(id, n); m > n {
			n = m
		} else if !s.grouped {
			s.seen.add(id)
			s.hop = append(s.hop, id)
		}
	}
	for _, bridge := range s.hop {
		for _, id := range l.of(bridge) {
			if id == none || n == limit {
				break
			}
			n = s.visit(id, n)
		}
	}
	return n
}
