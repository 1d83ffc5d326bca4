package flat

import (
	"math"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// metric turns what the kernel gives (raw) into keys, larger is better, and keys
// into public scores. Keys, not raws, decide the order, because equal scores
// are ties: square roots of different raws may be equal.
type metric struct {
	raw       kernel.Metric
	distance  query.Distance
	sign      float32 // +1 or -1: raw*sign grows with nearness
	root      bool    // the score is the root of raw
	normalize bool
}

func metricOf(d query.Distance) (metric, bool) {
	m := metric{distance: d, sign: 1}
	switch d {
	case query.Cosine:
		m.raw, m.normalize = kernel.Dot, true
	case query.Dot:
		m.raw = kernel.Dot
	case query.Euclid:
		m.raw, m.sign, m.root = kernel.L2, -1, true
	case query.Manhattan:
		m.raw, m.sign = kernel.L1, -1
	default:
		return m, false
	}
	return m, true
}

// key of a raw value. NaN, the outcome of overflow, ranks last.
func (m *metric) key(raw float32) float32 {
	if raw != raw {
		return float32(math.Inf(-1))
	}
	if m.root {
		raw = float32(math.Sqrt(float64(raw)))
	}
	return m.sign * raw
}

// slack widens a squared bound by more than the rounding of a root can hide:
// half an ulp of the root is one part in 2^24, so one in 2^23 of its square.
const slack = 1 + 1.0/(1<<21)

// floor is a bound in terms of raw*sign below which no row can have key or more.
func (m *metric) floor(key float32) float32 {
	if !m.root || math.IsInf(float64(key), -1) {
		return key
	}
	if key > 0 {
		return float32(math.Inf(1)) // no distance is negative
	}
	// The smallest subnormal covers what the multiplication loses near zero.
	return float32(-float64(key)*float64(key)*slack - math.SmallestNonzeroFloat32)
}

// item is a candidate.
type item struct {
	key float32
	row uint32
}

// top keeps the best k items that were offered: a binary heap, the worst first.
type top struct {
	before func(a, b uint32) bool
	accept func(row uint32) bool
	m      *metric
	k      int
	least  float32 // keys below are out because of the threshold
	floor  float32 // rows with a lower raw*sign cannot enter
	heap   []item
}

// reset begins a search; at most n rows will be offered.
func (t *top) reset(m *metric, q *index.Query, n int) {
	t.before, t.accept, t.m, t.k = q.Before, q.Accept, m, max(0, min(q.K, n))
	t.heap = slices.Grow(t.heap[:0], min(t.k, 1024))
	t.least = float32(math.Inf(-1))
	if q.Threshold != nil {
		t.least = m.sign * *q.Threshold
	}
	t.floor = m.floor(t.least)
	if t.k == 0 {
		t.floor = float32(math.Inf(1))
	}
}

// worse orders items: by key, ties by the query's order of rows.
func (t *top) worse(a, b item) bool {
	if a.key != b.key {
		return a.key < b.key
	}
	if t.before != nil {
		return t.before(b.row, a.row)
	}
	return b.row < a.row
}

// block offers the rows first.. with their raw values; live has a bit for each.
func (t *top) block(first uint32, raws []float32, live []uint64) {
	floor, sign := t.floor, t.m.sign
	for i, raw := range raws {
		if raw*sign < floor {
			continue
		}
		if live[i/64]>>(i%64)&1 == 0 {
			continue
		}
		t.offer(first+uint32(i), raw)
		floor = t.floor
	}
}

// offer takes a row in if it is good enough and accepted.
func (t *top) offer(row uint32, raw float32) {
	it := item{key: t.m.key(raw), row: row}
	if it.key < t.least || !t.enters(it) {
		return
	}
	if t.accept != nil && !t.accept(row) {
		return
	}
	t.add(it)
}

// enters tells whether it is among the best k so far.
func (t *top) enters(it item) bool {
	return len(t.heap) < t.k || t.k > 0 && t.worse(t.heap[0], it)
}

// merge takes in what another top of the same query has.
func (t *top) merge(o *top) {
	for _, it := range o.heap {
		if t.enters(it) {
			t.add(it)
		}
	}
}

// release forgets the query and the items.
func (t *top) release() { t.before, t.accept, t.heap = nil, nil, t.heap[:0] }

// add takes it in, in place of the worst if the heap is full.
func (t *top) add(it item) {
	if len(t.heap) < t.k {
		t.heap = append(t.heap, it)
		for i := len(t.heap) - 1; i > 0; {
			up := (i - 1) / 2
			if !t.worse(t.heap[i], t.heap[up]) {
				break
			}
			t.heap[i], t.heap[up] = t.heap[up], t.heap[i]
			i = up
		}
	} else {
		t.heap[0] = it
		t.down(len(t.heap))
	}
	if len(t.heap) == t.k {
		t.floor = t.m.floor(t.heap[0].key)
	}
}

// down sinks the first of the first n items.
func (t *top) down(n int) {
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			return
		}
		if c+1 < n && t.worse(t.heap[c+1], t.heap[c]) {
			c++
		}
		if !t.worse(t.heap[c], t.heap[i]) {
			return
		}
		t.heap[i], t.heap[c] = t.heap[c], t.heap[i]
		i = c
	}
}

// drain appends the items to dst as hits, the best first. The heap
// is in disorder then.
func (t *top) drain(dst []index.Hit) []index.Hit {
	for n := len(t.heap) - 1; n > 0; n-- {
		t.heap[0], t.heap[n] = t.heap[n], t.heap[0]
		t.down(n)
	}
	for _, it := range t.heap {
		dst = append(dst, index.Hit{Row: it.row, Score: t.m.sign * it.key})
	}
	return dst
}
