package hnsw

import (
	"context"
	"math/bits"
	"sync"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/internal/vfs"
)

const (
	// block is the greatest number of rows that a scan compares at once, and
	// blockBytes of their bytes: several queries find them in a near cache.
	block      = 256
	blockBytes = 1 << 18
	// batched is how many listed rows are compared at once.
	batched = 64
	// crowded is the part of a block's rows from which on comparing all of them in their
	// order is quicker than picking those that pass.
	crowded = 2
	// rare is the share of rows that pass up to which asking all rows first, and
	// comparing those that pass, is cheaper than comparing all.
	rare = 0.1
	// worthwhile is how many bytes of rows are worth a goroutine of its own.
	worthwhile = 4 << 20
)

// scan compares all rows that pass.
func (s *searcher) scan(ctx context.Context, passing int) error {
	s.top.Reset(&s.x.v.metric, &s.query.Query, s.top.K)
	switch {
	case s.query.Rows != nil:
		return s.pick(ctx)
	case s.query.Bits == nil && s.query.Accept != nil && float64(passing) < rare*float64(s.x.v.rows):
		return s.ask(ctx)
	}
	s.one[0] = s
	return s.x.sweep(ctx, s.one[:])
}

// pick compares the rows of the query.
func (s *searcher) pick(ctx context.Context) error {
	fill, last := 0, index.MaxRow+1
	immortal := s.x.immortal()
	for i, r := range s.query.Rows {
		if i%1024 == 1023 && ctx.Err() != nil {
			return ctx.Err()
		}
		if r == last || int(r) >= s.x.v.rows || !immortal && !s.alive(r) {
			continue
		}
		last = r
		fill = s.hold(r, fill)
	}
	s.offer(fill)
	return nil
}

// ask compares those of all rows that pass.
func (s *searcher) ask(ctx context.Context) error {
	s.top.Accept = nil // what is offered has been asked about
	fill := 0
	for r := range uint32(s.x.v.rows) {
		if r%1024 == 1023 && ctx.Err() != nil {
			return ctx.Err()
		}
		if s.passes(r) {
			fill = s.hold(r, fill)
		}
	}
	s.offer(fill)
	return nil
}

// hold puts a row behind w.nodes[:fill] and offers them when they are many.
func (s *searcher) hold(r uint32, fill int) int {
	s.nodes[fill] = r
	if fill++; fill == batched {
		s.offer(fill)
		return 0
	}
	return fill
}

// offer compares w.nodes[:n] for the result.
func (s *searcher) offer(n int) {
	s.compared += n
	s.x.v.gather(&s.q, s.nodes[:n], s.raws[:n])
	s.top.Listed(s.nodes[:n], s.raws[:n])
}

// sweep compares all rows with all queries of ss, which have no rows of their own,
// and shares the passes over memory between them.
func (x *Index) sweep(ctx context.Context, ss []*searcher) error {
	n := min(x.workers, x.v.rows*x.v.size()/worthwhile)
	for _, s := range ss {
		s.rough()
	}
	err := x.sweepAll(ctx, ss, n)
	for _, s := range ss {
		s.refine()
	}
	return err
}

// rough makes s ready for a sweep.
func (s *searcher) rough() {
	if s.finer > 0 {
		q := s.query.Query
		q.K, q.Threshold = s.finer, nil
		s.coarse.Reset(&s.x.v.metric, &q, s.x.v.rows)
	}
}

// sweepAll is sweep by n goroutines.
func (x *Index) sweepAll(ctx context.Context, ss []*searcher, n int) error {
	if n <= 1 {
		return x.sweepPart(ctx, ss, 0, x.v.rows)
	}
	blocks := (x.v.rows + 63) / 64
	parts, errs := make([][]*searcher, n), make([]error, n)
	var asking sync.Mutex // Accept is called by one goroutine at a time
	var group vfs.Group
	for w := range parts {
		for _, s := range ss {
			part := x.searchers.Get().(*searcher)
			part.begin(x, &s.query)
			part.few = s.few
			part.rough()
			if accept := s.top.Accept; accept != nil {
				part.top.Accept = func(row uint32) bool {
					asking.Lock()
					defer asking.Unlock()
					return accept(row)
				}
				part.coarse.Accept = part.top.Accept
			}
			parts[w] = append(parts[w], part)
		}
		from, to := w*blocks/n*64, min((w+1)*blocks/n*64, x.v.rows)
		group.Go(func() { errs[w] = x.sweepPart(ctx, parts[w], from, to) })
	}
	group.Wait()
	for w, part := range parts {
		for i, s := range part {
			ss[i].top.Merge(&s.top)
			ss[i].coarse.Merge(&s.coarse)
			s.release()
		}
		if errs[w] != nil {
			return errs[w]
		}
	}
	return nil
}

// sweepPart is sweep for rows from..to-1; from is a multiple of 64.
func (x *Index) sweepPart(ctx context.Context, ss []*searcher, from, to int) error {
	size := max(64, min(block, blockBytes/x.v.size())&^63)
	var live, pass [block / 64]uint64
	for ; from < to; from += size {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(size, to-from)
		for i, s := range ss {
			if i == 0 || s.at != ss[i-1].at {
				x.live(&live, from, n, s.at)
			}
			pass = live
			if s.query.Bits != nil && s.narrow(&pass, from, n) || pass == [block / 64]uint64{} {
				continue
			}
			s.compared += n
			s.batch(from, n)
			if s.finer > 0 {
				s.coarse.Block(uint32(from), s.raws[:n], pass[:])
			} else {
				s.top.Block(uint32(from), s.raws[:n], pass[:])
			}
		}
	}
	for _, s := range ss {
		s.offer(s.fill)
		s.fill = 0
	}
	return nil
}

// narrow clears the bits of a block whose rows are not among query.Bits. Where few are
// left it compares them, by their vectors, and there is nothing left to do.
func (s *searcher) narrow(pass *[block / 64]uint64, from, n int) (done bool) {
	left := 0
	for i, w := range s.query.Bits[from/64 : (from+n+63)/64] {
		pass[i] &= w
		left += bits.OnesCount64(pass[i])
	}
	if !s.few && (s.scorer != nil || left > n/crowded) {
		return false
	}
	for i, w := range pass {
		for ; w != 0; w &= w - 1 {
			s.fill = s.hold(uint32(from+64*i+bits.TrailingZeros64(w)), s.fill)
		}
	}
	return true
}

// countBits counts the rows of set that may be answered at a position.
func (x *Index) countBits(set []uint64, at uint64) (n int) {
	var live [block / 64]uint64
	for from := 0; from < x.v.rows; from += block {
		size := min(block, x.v.rows-from)
		x.live(&live, from, size, at)
		for i, w := range set[from/64 : (from+size+63)/64] {
			n += bits.OnesCount64(w & live[i])
		}
	}
	return n
}

// immortal tells that all rows have a vector and none is dead, at any position that a
// search which begins now may ask for.
func (x *Index) immortal() bool { return x.v.Has == nil && x.dead.Len() == 0 }

// live sets the bits of those of n rows that may be answered at a position.
func (x *Index) live(live *[block / 64]uint64, first, n int, at uint64) {
	for i := range live {
		live[i] = ^uint64(0)
	}
	if n < block {
		for i := range live {
			live[i] = 1<<max(0, n-64*i) - 1 // a shift by 64 or more gives all
		}
	}
	if x.v.Has != nil {
		for i, w := range x.v.Has[first/64:][:(n+63)/64] {
			live[i] &= w
		}
	}
	if x.dead.Len() > 0 {
		x.dead.Keep(live[:(n+63)/64], uint32(first), at)
	}
}
