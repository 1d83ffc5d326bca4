package sparse

import (
	"context"
	"math"
	"math/bits"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// A search goes through windows of slots. In each, the terms are ordered by the
// greatest contribution that their blocks there can make. The first of them which
// together cannot lift a slot into the result are only looked up; the others are
// added up in a table, and what is found there looked at (block-max MaxScore).
//
// Sums made in that order may differ in their last bits from the score's definition,
// which matters only if it changes the float32: those few are summed anew.

const (
	windowBits = 11
	window     = 1 << windowBits
)

// term is one dimension of a query.
type term struct {
	list   list
	weight float64
	firsts []uint32  // of the blocks, then none twice
	bounds []float64 // greatest contribution of a slot of each block, at least 0
	at     int       // the first block that may matter from here on
	bound  float64   // of the window
	loaded int       // block that is in buf; -1: none
	pos    int       // in buf, nothing before it matters
	buf    *block
}

// searcher is what a search needs: reused, so that one allocates nothing.
type searcher struct {
	q        *Query
	datatype query.Datatype
	n        int      // slots are below
	rows     []uint32 // of slots; nil: the same
	only     []uint32 // slots, if q.Rows is not nil
	metric   rank.Metric
	top      rank.Top

	terms   []term
	views   []view
	bufs    []*block
	spare   block
	firsts  []uint32
	bounds  []float64
	order   []int     // terms by bound
	prefix  []float64 // sums of bounds in that order
	extreme float64   // no sum of contributions is greater or less
	err     float64   // no two sums of the same contributions differ by more

	base, end uint32 // slots of the window
	sums      [window]float64
	found     [window / 64]uint64
	slots     []uint32 // of the window, less base, ascending: those that may enter
	room      [window]uint32
	among     []uint64 // bit per slot of only; nil: all
	bits      []uint64
	picks     []float64
	hit       []bool

	stored  func(row uint32) (Vector, bool)
	ranking ranking
}

func newSearcher() any {
	m, _ := rank.MetricOf(query.Dot)
	s := &searcher{metric: m}
	s.ranking.accept = s.accept
	return s
}

func (s *searcher) release() {
	s.top.Release()
	for i := range s.terms {
		s.terms[i] = term{}
	}
	clear(s.views)
	s.q, s.rows, s.terms, s.views, s.among, s.stored = nil, nil, s.terms[:0], s.views[:0], nil, nil
}

func (s *searcher) begin(q *Query, t query.Datatype, n int, rows []uint32) {
	s.q, s.datatype, s.n, s.rows, s.extreme, s.stored = q, t, n, rows, 0, q.Stored
	s.firsts, s.bounds, s.terms = s.firsts[:0], s.bounds[:0], s.terms[:0]
	offered := n
	if q.Rows != nil {
		offered = len(q.Rows)
	}
	s.top.Reset(&s.metric, &q.Query, offered)
}

// scans tells whether rows are scored by their own vectors.
func (s *searcher) scans() bool {
	few := s.q.Rows != nil && s.stored != nil && len(s.q.Rows) <= s.q.FullScan
	return few || s.q.Rank != nil && (s.q.dims() > mostTerms || s.q.Rows != nil && s.rows != nil)
}

// look gives find the dimensions of the query, or of one example after the other, which
// makes terms of those that there are.
func (s *searcher) look(find func(dim uint32, weight float32)) {
	if s.q.Rank == nil {
		for i, dim := range s.q.Indices {
			find(dim, s.q.Vector[i])
		}
	}
	s.ranking.ends = s.ranking.ends[:0]
	for _, e := range s.q.Rank.Examples() {
		for i, dim := range e.Indices {
			find(dim, e.Data[i])
		}
		s.ranking.ends = append(s.ranking.ends, len(s.terms))
	}
}

// term adds one; dimensions ascend.
func (s *searcher) term(w float32, l list) {
	t := term{list: l, weight: float64(Round(query.Float32, w)), loaded: -1}
	s.terms = append(s.terms, t)
}

// measure reads the extents of all blocks.
func (s *searcher) measure() {
	for len(s.bufs) < len(s.terms) {
		s.bufs = append(s.bufs, &block{})
	}
	for i := range s.terms {
		t := &s.terms[i]
		t.buf = s.bufs[i]
		from, furthest := len(s.bounds), 0.0
		for b := range t.list.blocks() {
			first, lo, hi := t.list.extent(b)
			least, greatest := t.weight*float64(lo), t.weight*float64(hi)
			s.firsts, s.bounds = append(s.firsts, first), append(s.bounds, max(0, least, greatest))
			furthest = max(furthest, math.Abs(least), math.Abs(greatest))
		}
		s.firsts, s.bounds = append(s.firsts, none, none), append(s.bounds, 0, 0)
		t.firsts, t.bounds = s.firsts[from:], s.bounds[from:]
		s.extreme += furthest
	}
	// A sum of n addends, in whatever order, errs by at most (n-1)·2⁻⁵³ of the sum of
	// their sizes; two such sums, bounds included, by less than this.
	s.err = s.extreme * float64(len(s.terms)+1) * 0x1p-50
}

func (s *searcher) run(ctx context.Context, dst []index.Hit) ([]index.Hit, error) {
	var err error
	switch {
	case s.top.K == 0:
		err = ctx.Err()
	case s.scans():
		err = s.scan(ctx)
	default:
		s.measure()
		if s.q.Rank == nil && s.q.Rows != nil && len(s.only) < s.n/16 {
			err = s.pick(ctx)
			break
		}
		if s.q.Rows != nil {
			s.choose()
		}
		if s.q.Rank != nil {
			err = s.rankAll(ctx)
		} else {
			err = s.walk(ctx)
		}
	}
	if err != nil {
		return dst, err
	}
	return s.top.Drain(dst), nil
}

// choose sets the bits of only.
func (s *searcher) choose() {
	words := (s.n + 63) / 64
	s.bits = slices.Grow(s.bits[:0], words)[:words]
	clear(s.bits)
	for _, slot := range s.only {
		s.bits[slot/64] |= 1 << (slot % 64)
	}
	s.among = s.bits
}

// offer takes a slot with its exact sum in if its row may be answered.
func (s *searcher) offer(slot uint32, score float32) {
	row := slot
	if s.rows != nil {
		if row = s.rows[slot]; row == none {
			return
		}
	}
	if s.q.Dead == nil || !s.q.Dead(row) {
		s.top.Offer(row, score)
	}
}

// cut is a sum that no slot of the result can fall short of by rounding: bounds up
// to it are not worth a look.
func (s *searcher) cut() float64 {
	floor := s.top.Floor()
	if math.IsInf(float64(floor), -1) {
		return math.Inf(-1)
	}
	return float64(math.Nextafter32(floor, float32(math.Inf(-1)))) - s.err
}

// walk goes through all windows.
func (s *searcher) walk(ctx context.Context) error {
	for base := 0; base < s.n; base += window {
		if base>>windowBits%16 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		s.base, s.end = uint32(base), uint32(min(base+window, s.n))
		skip := s.rank()
		if skip == len(s.order) {
			continue
		}
		err := s.sum(skip)
		if err == nil {
			err = s.complete(skip)
		}
		if err == nil {
			err = s.collect()
		}
		clear(s.sums[:])
		if err != nil {
			return err
		}
	}
	return nil
}

// rank orders the terms that have blocks in the window by what these can contribute
// and gives how many of them are only to be looked up.
func (s *searcher) rank() (skip int) {
	base, end := s.base, s.end
	s.order, s.prefix = s.order[:0], s.prefix[:0]
	for i := range s.terms {
		t := &s.terms[i]
		for t.firsts[t.at+1] <= base {
			t.at++
		}
		t.bound = 0
		if t.firsts[t.at] >= end {
			continue
		}
		for b := t.at; t.firsts[b] < end; b++ {
			t.bound = max(t.bound, t.bounds[b])
		}
		j := len(s.order)
		for s.order = append(s.order, i); j > 0 && s.terms[s.order[j-1]].bound > t.bound; j-- {
			s.order[j] = s.order[j-1]
		}
		s.order[j] = i
	}
	cut, sum := s.cut(), 0.0
	for i, n := range s.order {
		sum += s.terms[n].bound
		s.prefix = append(s.prefix, sum)
		if sum <= cut {
			skip = i + 1
		}
	}
	return skip
}

// sum adds the contributions of the terms from order[skip] on, and finds the slots
// that they and the others may lift above the cut.
func (s *searcher) sum(skip int) error {
	cut, total, blocks := s.cut(), s.prefix[len(s.prefix)-1], 0
	for _, n := range s.order[skip:] {
		blocks += s.terms[n].within(s.end)
	}
	// Slots are marked where a sum of 0 may enter, or where they are few.
	marks := cut < 0 || blocks <= fewBlocks
	for _, n := range s.order[skip:] {
		t := &s.terms[n]
		for b := t.at; t.firsts[b] < s.end; b++ {
			// Without this block, no slot of it has a sum above the cut either.
			if total-t.bound+t.bounds[b] <= cut {
				continue
			}
			if err := t.load(b); err != nil {
				return err
			}
			if marks {
				s.mark(t)
			}
			s.add(t)
		}
	}
	rest := 0.0
	if skip > 0 {
		rest = s.prefix[skip-1]
	}
	if marks {
		s.slots = s.room[:0]
		for word, found := range &s.found {
			for ; found != 0; found &= found - 1 {
				s.slots = append(s.slots, uint32(word*64+bits.TrailingZeros64(found)))
			}
		}
		clear(s.found[:])
		return nil
	}
	n, bound := 0, cut-rest
	for at := range &s.sums { // without a branch that is hard to foresee
		s.room[n%window] = uint32(at)
		if s.sums[at] > bound {
			n++
		}
	}
	s.slots = s.room[:n]
	return nil
}

// fewBlocks is up to how many blocks are quicker to mark than a window is to scan.
const fewBlocks = 8

// within counts the blocks that begin before a slot.
func (t *term) within(end uint32) (n int) {
	for t.firsts[t.at+n] < end {
		n++
	}
	return n
}

// load reads block b into buf.
func (t *term) load(b int) error {
	if t.loaded == b {
		return nil
	}
	t.loaded, t.pos = b, 0
	return t.list.load(b, t.buf)
}

// mark remembers the slots of a term's buf that lie in the window.
func (s *searcher) mark(t *term) {
	for _, slot := range t.buf.slots[t.pos:t.buf.n] {
		if at := slot - s.base; at < s.end-s.base {
			s.found[at/64] |= 1 << (at % 64)
		}
	}
}

// add adds the part of a term's buf that lies in the window.
func (s *searcher) add(t *term) {
	base, end := s.base, s.end
	slots, i := t.buf.slots[:t.buf.n], t.pos
	for i < len(slots) && slots[i] < base {
		i++
	}
	ws := t.buf.weights[:len(slots)]
	for ; i < len(slots) && slots[i] < end; i++ {
		s.sums[(slots[i]-base)%window] += t.weight * float64(ws[i]) // %: spares a check
	}
	if t.pos = i; i == len(slots) && t.firsts[t.loaded+1] == none {
		t.at = t.loaded + 1 // the list has ended
	}
}

// complete adds what the terms before order[skip] contribute to the slots that were
// found, the greatest bound first, and drops those that cannot exceed the cut.
func (s *searcher) complete(skip int) error {
	cut := s.cut()
	if s.among != nil {
		s.keep(func(at uint32) bool { slot := s.base + at; return s.among[slot/64]>>(slot%64)&1 != 0 })
	}
	for i := skip - 1; i >= 0; i-- {
		s.keepAbove(cut - s.prefix[i])
		t := &s.terms[s.order[i]]
		blocks := t.within(s.end)
		if len(s.slots) < blocks*dense {
			if err := s.lookUp(t); err != nil {
				return err
			}
			continue
		}
		for b := t.at; blocks > 0; b, blocks = b+1, blocks-1 {
			if err := t.load(b); err != nil {
				return err
			}
			s.add(t)
		}
	}
	s.keepAbove(cut)
	return nil
}

// dense is from how many slots for each block on it is quicker to add all of it.
const dense = 8

func (s *searcher) keep(take func(at uint32) bool) {
	n := 0
	for _, at := range s.slots {
		if take(at) {
			s.slots[n] = at
			n++
		}
	}
	s.slots = s.slots[:n]
}

// keepAbove drops slots whose sums are not above a bound.
func (s *searcher) keepAbove(bound float64) {
	n := 0
	for _, at := range s.slots {
		s.slots[n] = at
		if s.sums[at%window] > bound {
			n++
		}
	}
	s.slots = s.slots[:n]
}

// lookUp adds a term's contributions to the slots.
func (s *searcher) lookUp(t *term) error {
	for _, at := range s.slots {
		w, ok, err := t.find(s.base + at)
		if err != nil {
			return err
		}
		if ok {
			s.sums[at%window] += t.weight * float64(w)
		}
	}
	return nil
}

// find gives the weight of a slot; slots ascend from call to call.
func (t *term) find(slot uint32) (w float32, ok bool, err error) {
	for t.firsts[t.at+1] <= slot {
		t.at++
	}
	if t.firsts[t.at] > slot {
		return 0, false, nil
	}
	if err := t.load(t.at); err != nil {
		return 0, false, err
	}
	slots, i := t.buf.slots[:t.buf.n], t.pos
	for i < len(slots) && slots[i] < slot {
		i++
	}
	if t.pos = i; i == len(slots) || slots[i] != slot {
		return 0, false, nil
	}
	return t.buf.weights[i], true, nil
}

// collect offers the slots that are left.
func (s *searcher) collect() error {
	cut := s.cut()
	for _, at := range s.slots {
		sum := s.sums[at%window]
		if sum <= cut {
			continue
		}
		score, err := s.settle(s.base+at, sum)
		if err != nil {
			return err
		}
		s.offer(s.base+at, score)
		cut = s.cut()
	}
	return nil
}

// settle is the score of a slot whose contributions have been summed in some order.
func (s *searcher) settle(slot uint32, sum float64) (float32, error) {
	if low := float32(sum - s.err); low == float32(sum+s.err) {
		return float32(sum), nil
	}
	sum = 0
	for i := range s.terms {
		t := &s.terms[i]
		b, ok := slices.BinarySearch(t.firsts, slot)
		if !ok {
			b--
		}
		if b < 0 {
			continue
		}
		from := &s.spare
		if t.loaded == b {
			from = t.buf
		} else if err := t.list.load(b, from); err != nil {
			return 0, err
		}
		if j, ok := slices.BinarySearch(from.slots[:from.n], slot); ok {
			sum += t.weight * float64(from.weights[j])
		}
	}
	return float32(sum), nil
}
