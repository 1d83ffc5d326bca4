package query

import (
	"cmp"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/internal/topology"
)

// SmallerIsBetter tells the order of scores of a distance.
func (d Distance) SmallerIsBetter() bool { return d == Euclid || d == Manhattan }

// Within tells whether score is good enough for threshold: an equal score is.
func (d Distance) Within(score, threshold float32) bool {
	if d.SmallerIsBetter() {
		return score <= threshold
	}
	return score >= threshold
}

// MergeNearest merges what several shards answered to one Nearest into places
// offset..offset+limit of the whole result. Each part must be in the order of
// Less, as shards answer; each shard must have been asked for offset+limit. An
// id that comes from several shards (a point on its way between two) keeps its
// first place only. The result is the caller's; parts are not changed.
func MergeNearest(d Distance, parts [][]Scored, offset, limit int) []Scored {
	if limit <= 0 || offset < 0 {
		return nil
	}
	m := newMerger(parts, func(a, b *Scored) bool { return before(d, a, b) })
	seen := newSeen(len(parts))
	var out []Scored
	for skip := offset; len(out) < limit; {
		s := m.next()
		if s == nil {
			break
		}
		if seen.again(s.ID) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		out = append(out, *s)
	}
	return out
}

// MergeScroll merges pages of several shards, each in id order, into one page of
// at most limit records, and names the id that the next page begins with, nil
// after the last. Each shard must have been asked for limit+1. Of an id that
// comes from several shards the record of the highest version is kept.
func MergeScroll(parts [][]Record, limit int) (page []Record, next *topology.PointID) {
	if limit <= 0 {
		return nil, nil
	}
	m := newMerger(parts, func(a, b *Record) bool { return a.ID.Compare(b.ID) < 0 })
	for r := m.next(); r != nil; r = m.next() {
		if n := len(page); n > 0 && page[n-1].ID == r.ID {
			if r.Version > page[n-1].Version {
				page[n-1] = *r
			}
			continue
		}
		if len(page) == limit {
			id := r.ID
			return page, &id
		}
		page = append(page, *r)
	}
	return page, nil
}

// MergeGet puts the records of several shards into the order of ids. Missing
// ids are left out, an id asked for twice is answered once; of an id that comes
// from several shards the record of the highest version is kept.
func MergeGet(ids []topology.PointID, parts [][]Record) []Record {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	found := make(map[topology.PointID]*Record, n)
	for _, p := range parts {
		for i := range p {
			r := &p[i]
			if old, ok := found[r.ID]; !ok || r.Version > old.Version {
				found[r.ID] = r
			}
		}
	}
	out := make([]Record, 0, len(found))
	for _, id := range ids {
		if r, ok := found[id]; ok {
			out = append(out, *r)
			delete(found, id)
		}
	}
	return out
}

// MergeCounts adds up what shards counted.
func MergeCounts(parts []uint64) uint64 {
	var n uint64
	for _, p := range parts {
		n += p
	}
	return n
}

// seen remembers ids; it costs nothing where there is one part only.
type seen map[topology.PointID]struct{}

func newSeen(parts int) seen {
	if parts < 2 {
		return nil
	}
	return seen{}
}

func (s seen) again(id topology.PointID) bool {
	if s == nil {
		return false
	}
	_, ok := s[id]
	s[id] = struct{}{}
	return ok
}

// merger walks sorted lists in their common order: a binary heap of the lists
// that are not used up, by head. Equal heads come in the order of parts.
type merger[T any] struct {
	heads []head[T]
	less  func(a, b *T) bool
}

type head[T any] struct {
	rest []T
	part int
}

func newMerger[T any](parts [][]T, less func(a, b *T) bool) *merger[T] {
	m := &merger[T]{less: less}
	for i, p := range parts {
		if len(p) > 0 {
			m.heads = append(m.heads, head[T]{rest: p, part: i})
		}
	}
	for i := len(m.heads)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
	return m
}

// next gives the next element, in place, or nil after the last.
func (m *merger[T]) next() *T {
	if len(m.heads) == 0 {
		return nil
	}
	h := &m.heads[0]
	out := &h.rest[0]
	if h.rest = h.rest[1:]; len(h.rest) == 0 {
		last := len(m.heads) - 1
		m.heads[0] = m.heads[last]
		m.heads = m.heads[:last]
	}
	m.down(0)
	return out
}

func (m *merger[T]) before(i, j int) bool {
	a, b := &m.heads[i], &m.heads[j]
	switch {
	case m.less(&a.rest[0], &b.rest[0]):
		return true
	case m.less(&b.rest[0], &a.rest[0]):
		return false
	default:
		return a.part < b.part
	}
}

func (m *merger[T]) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(m.heads) {
			return
		}
		if c+1 < len(m.heads) && m.before(c+1, c) {
			c++
		}
		if !m.before(c, i) {
			return
		}
		m.heads[i], m.heads[c] = m.heads[c], m.heads[i]
		i = c
	}
}

// MergeFacets adds up what several parts counted, and keeps the first limit hits
// in the order of CompareFacets, all with limit 0.
func MergeFacets(parts [][]FacetHit, limit int) []FacetHit {
	var out []FacetHit
	if len(parts) == 1 {
		out = parts[0]
	} else {
		at := map[filter.Scalar]int{}
		for _, p := range parts {
			for _, h := range p {
				i, ok := at[h.Value]
				if !ok {
					i = len(out)
					at[h.Value] = i
					out = append(out, FacetHit{Value: h.Value})
				}
				out[i].Count += h.Count
			}
		}
	}
	slices.SortFunc(out, CompareFacets)
	if limit > 0 && limit < len(out) {
		out = slices.Clip(out[:limit])
	}
	return out
}

// MergeOrdered merges pages in the order of a field, ties by id.
func MergeOrdered(o *Order, parts [][]Record, limit int) []Record {
	m := newMerger(parts, func(a, b *Record) bool {
		by := cmp.Compare(a.Order.number(), b.Order.number())
		if o.Desc {
			by = -by
		}
		return cmp.Or(by, a.ID.Compare(b.ID)) < 0
	})
	return m.first(limit)
}

// number is what values are ordered by.
func (v *OrderValue) number() float64 {
	if v.IsFloat {
		return v.Float
	}
	return float64(v.Int)
}

// SampleKey is the place of a point in the random order of a seed. The first points
// in it are a sample of all of them, which does not depend on how they are spread
// over shards.
func SampleKey(id topology.PointID, seed uint64) uint64 { return topology.HashPoint(id, seed) }

// MergeSampled merges pages in the order of SampleKey, ties by id.
func MergeSampled(seed uint64, parts [][]Record, limit int) []Record {
	m := newMerger(parts, func(a, b *Record) bool {
		return cmp.Or(cmp.Compare(SampleKey(a.ID, seed), SampleKey(b.ID, seed)), a.ID.Compare(b.ID)) < 0
	})
	return m.first(limit)
}

func (m *merger[T]) first(limit int) (out []T) {
	for len(out) < limit {
		next := m.next()
		if next == nil {
			break
		}
		out = append(out, *next)
	}
	return out
}
