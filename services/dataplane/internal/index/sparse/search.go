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

	sums  [window]float64
	found [window / 64]uint64 // slots of the window that have a sum
	among []uint64            // bit per slot of only; nil: all
	bits  []uint64
	picks []float64
	hit   []bool
}

func newSearcher() any {
	m, _ := rank.MetricOf(query.Dot)
	return &searcher{metric: m}
}

func (s *searcher) release() {
	s.top.Release()
	for i := range s.terms {
		s.terms[i] = term{}
	}
	clear(s.views)
	s.q, s.rows, s.terms, s.views, s.among = nil, nil, s.terms[:0], s.views[:0], nil
}

func (s *searcher) begin(q *Query, t query.Datatype, n int, rows []uint32) {
	s.q, s.datatype, s.n, s.rows, s.extreme = q, t, n, rows, 0
	s.firsts, s.bounds, s.terms = s.firsts[:0], s.bounds[:0], s.terms[:0]
	offered := n
	if q.Rows != nil {
		offered = len(q.Rows)
	}
	s.top.Reset(&s.metric, &q.Query, offered)
}

// scans tells whether rows are scored by their own vectors.
func (s *searcher) scans() bool {
	return s.q.Rows != nil && s.q.Stored != nil && len(s.q.Rows) <= s.q.FullScan
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
		if s.q.Rows != nil && len(s.only) < s.n/16 {
			err = s.pick(ctx)
			break
		}
		if s.q.Rows != nil {
			s.mark()
		}
		err = s.walk(ctx)
	}
	if err != nil {
		return dst, err
	}
	return s.top.Drain(dst), nil
}

// mark sets the bits of only.
func (s *searcher) mark() {
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
		end := uint32(min(base+window, s.n))
		skip := s.rank(uint32(base), end)
		if skip == len(s.order) {
			continue
		}
		err := s.sum(uint32(base), end, skip)
		if err == nil {
			err = s.collect(uint32(base), skip)
		}
		if err != nil {
			clear(s.sums[:])
			clear(s.found[:])
			return err
		}
	}
	return nil
}

// rank orders the terms that have blocks in the window by what these can contribute
// and gives how many of them are only to be looked up.
func (s *searcher) rank(base, end uint32) (skip int) {
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

// sum adds the contributions of the terms from order[skip] on.
func (s *searcher) sum(base, end uint32, skip int) error {
	cut, total := s.cut(), s.prefix[len(s.prefix)-1]
	for _, n := range s.order[skip:] {
		t := &s.terms[n]
		for b := t.at; t.firsts[b] < end; b++ {
			// Without this block, no slot of it has a sum above the cut either.
			if total-t.bound+t.bounds[b] <= cut {
				continue
			}
			if err := t.load(b); err != nil {
				return err
			}
			s.add(t, base, end)
		}
	}
	return nil
}

// load reads block b into buf.
func (t *term) load(b int) error {
	if t.loaded == b {
		return nil
	}
	t.loaded, t.pos = b, 0
	return t.list.load(b, t.buf)
}

// add adds the part of a term's buf that lies in the window.
func (s *searcher) add(t *term, base, end uint32) {
	slots, i := t.buf.slots[:t.buf.n], t.pos
	for i < len(slots) && slots[i] < base {
		i++
	}
	ws := t.buf.weights[:len(slots)]
	for ; i < len(slots); i++ {
		at := slots[i] - base
		if slots[i] >= end {
			break
		}
		at %= window // as it is: spares a check
		s.sums[at] += t.weight * float64(ws[i])
		s.found[at/64] |= 1 << (at % 64)
	}
	if t.pos = i; i == len(slots) && t.firsts[t.loaded+1] == none {
		t.at = t.loaded + 1 // the list has ended
	}
}

// collect offers what sum found, and leaves nothing behind.
func (s *searcher) collect(base uint32, skip int) error {
	cut := s.cut()
	rest := 0.0
	if skip > 0 {
		rest = s.prefix[skip-1]
	}
	for word := range s.found {
		found := s.found[word]
		s.found[word] = 0
		for ; found != 0; found &= found - 1 {
			at := uint32(word*64 + bits.TrailingZeros64(found))
			sum := s.sums[at]
			s.sums[at] = 0
			slot := base + at
			if sum+rest <= cut || s.among != nil && s.among[slot/64]>>(slot%64)&1 == 0 {
				continue
			}
			sum, err := s.complete(slot, sum, skip, cut)
			if err != nil {
				return err
			}
			if sum <= cut {
				continue
			}
			score, err := s.settle(slot, sum)
			if err != nil {
				return err
			}
			s.offer(slot, score)
			cut = s.cut()
		}
	}
	return nil
}

// complete adds what the terms before order[skip] contribute to a slot. It ends early
// with what is not above the cut if the slot cannot exceed it.
func (s *searcher) complete(slot uint32, sum float64, skip int, cut float64) (float64, error) {
	for i := skip - 1; i >= 0; i-- {
		before := 0.0
		if i > 0 {
			before = s.prefix[i-1]
		}
		t := &s.terms[s.order[i]]
		for t.firsts[t.at+1] <= slot {
			t.at++
		}
		if sum+before+t.bounds[t.at] <= cut {
			return cut, nil
		}
		if t.firsts[t.at] > slot {
			continue
		}
		if err := t.load(t.at); err != nil {
			return 0, err
		}
		slots := t.buf.slots[:t.buf.n]
		for t.pos < len(slots) && slots[t.pos] < slot {
			t.pos++
		}
		if t.pos < len(slots) && slots[t.pos] == slot {
			sum += t.weight * float64(t.buf.weights[t.pos])
		}
	}
	return sum, nil
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
