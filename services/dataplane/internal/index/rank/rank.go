// Package rank is what every index shares: how the raw values of the kernel are
// ordered and scored, and which of many rows are the best k. Pure.
package rank

import (
	"math"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Metric turns what the kernel gives (raw) into keys, larger is better, and keys
// into public scores. Keys, not raws, decide the order, because equal scores
// are ties: square roots of different raws may be equal.
type Metric struct {
	Raw       kernel.Metric
	Distance  query.Distance
	Sign      float32 // +1 or -1: raw*Sign grows with nearness
	Normalize bool    // queries are scaled to length 1

	root   bool    // the score is the root of raw
	public float32 // the score of a key of 1
}

// MetricOf is false for a distance that is none.
func MetricOf(d query.Distance) (Metric, bool) {
	m := Metric{Distance: d, Sign: 1}
	switch d {
	case query.Cosine:
		m.Raw, m.Normalize = kernel.Dot, true
	case query.Dot:
		m.Raw = kernel.Dot
	case query.Euclid:
		m.Raw, m.Sign, m.root = kernel.L2, -1, true
	case query.Manhattan:
		m.Raw, m.Sign = kernel.L1, -1
	default:
		return m, false
	}
	m.public = m.Sign
	return m, true
}

// blended is the metric of what Blend gives.
func (m Metric) blended() Metric {
	m.root, m.public = false, 1
	return m
}

// Key of a raw value. NaN, the outcome of overflow, ranks last.
func (m *Metric) Key(raw float32) float32 {
	if raw != raw {
		return float32(math.Inf(-1))
	}
	if m.root {
		raw = float32(math.Sqrt(float64(raw)))
	}
	return m.Sign * raw
}

// slack widens a squared bound by more than the rounding of a root can hide:
// half an ulp of the root is one part in 2^24, so one in 2^23 of its square.
const slack = 1 + 1.0/(1<<21)

// floor is a bound in terms of raw*sign below which no row can have key or more.
func (m *Metric) floor(key float32) float32 {
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

// Top keeps the best k items that were offered: a binary heap, the worst first.
type Top struct {
	// K and Accept are those of the query; K is never more than the rows offered.
	// Accept may be replaced after Reset.
	K      int
	Accept func(row uint32) bool

	before func(a, b uint32) bool
	m      *Metric
	own    Metric  // of a query by a Rank
	least  float32 // keys below are out because of the threshold
	floor  float32 // rows with a lower raw*sign cannot enter
	heap   []item
}

// Reset begins a search; at most n rows will be offered.
func (t *Top) Reset(m *Metric, q *index.Query, n int) {
	t.before, t.Accept, t.m, t.K = q.Before, q.Accept, m, max(0, min(q.K, n))
	t.heap = slices.Grow(t.heap[:0], min(t.K, 1024))
	if q.Rank != nil {
		t.own = m.blended()
		t.m = &t.own
	}
	t.least = float32(math.Inf(-1))
	if q.Threshold != nil {
		t.least = t.m.public * *q.Threshold
	}
	t.floor = t.m.floor(t.least)
	if t.K == 0 {
		t.floor = float32(math.Inf(1))
	}
}

// worse orders items: by key, ties by the query's order of rows.
func (t *Top) worse(a, b item) bool {
	if a.key != b.key {
		return a.key < b.key
	}
	if t.before != nil {
		return t.before(b.row, a.row)
	}
	return b.row < a.row
}

// Block offers the rows first.. with their raw values; live has a bit for each.
func (t *Top) Block(first uint32, raws []float32, live []uint64) {
	floor, sign := t.floor, t.m.Sign
	for i, raw := range raws {
		if raw*sign < floor {
			continue
		}
		if live[i/64]>>(i%64)&1 == 0 {
			continue
		}
		t.Offer(first+uint32(i), raw)
		floor = t.floor
	}
}

// Listed offers rows with their raw values.
func (t *Top) Listed(rows []uint32, raws []float32) {
	floor, sign := t.floor, t.m.Sign
	for i, raw := range raws {
		if raw*sign < floor {
			continue
		}
		t.Offer(rows[i], raw)
		floor = t.floor
	}
}

// Offer takes a row in if it is good enough and accepted.
func (t *Top) Offer(row uint32, raw float32) {
	it := item{key: t.m.Key(raw), row: row}
	if it.key < t.least || !t.enters(it) {
		return
	}
	if t.Accept != nil && !t.Accept(row) {
		return
	}
	t.add(it)
}

// enters tells whether it is among the best k so far.
func (t *Top) enters(it item) bool {
	return len(t.heap) < t.K || t.K > 0 && t.worse(t.heap[0], it)
}

// Merge takes in what another top of the same query has.
func (t *Top) Merge(o *Top) {
	for _, it := range o.heap {
		if t.enters(it) {
			t.add(it)
		}
	}
}

// Release forgets the query and the items.
func (t *Top) Release() { t.before, t.Accept, t.heap = nil, nil, t.heap[:0] }

// add takes it in, in place of the worst if the heap is full.
func (t *Top) add(it item) {
	if len(t.heap) < t.K {
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
	if len(t.heap) == t.K {
		t.floor = t.m.floor(t.heap[0].key)
	}
}

// down sinks the first of the first n items.
func (t *Top) down(n int) {
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

// Floor is a bound: a row whose raw*Sign is lower cannot enter.
func (t *Top) Floor() float32 { return t.floor }

// Len counts the items.
func (t *Top) Len() int { return len(t.heap) }

// Drain appends the items to dst as hits, the best first. The heap
// is in disorder then.
func (t *Top) Drain(dst []index.Hit) []index.Hit {
	for n := len(t.heap) - 1; n > 0; n-- {
		t.heap[0], t.heap[n] = t.heap[n], t.heap[0]
		t.down(n)
	}
	for _, it := range t.heap {
		dst = append(dst, index.Hit{Row: it.row, Score: t.m.public * it.key})
	}
	return dst
}
