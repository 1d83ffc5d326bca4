package sparse

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// wand is block-max WAND over the same lists: the other well-known way, to compare
// with. It takes no filters.
func (s *searcher) wand() error {
	s.measure()
	type cursor struct {
		*term
		slot  uint32 // where it stands
		bound float64
	}
	var cs []cursor
	for i := range s.terms {
		t := &s.terms[i]
		cs = append(cs, cursor{t, t.firsts[0], slices.Max(t.bounds)})
	}
	// next stands on the first slot not below to.
	next := func(c *cursor, to uint32) error {
		if c.slot = none; to == none {
			return nil
		}
		for c.firsts[c.at+1] <= to {
			c.at++
		}
		for ; c.firsts[c.at] != none; c.at++ {
			if err := c.load(c.at); err != nil {
				return err
			}
			for c.pos < c.buf.n && c.buf.slots[c.pos] < to {
				c.pos++
			}
			if c.pos < c.buf.n {
				c.slot = c.buf.slots[c.pos]
				return nil
			}
		}
		return nil
	}
	for {
		slices.SortFunc(cs, func(a, b cursor) int { return cmp.Compare(a.slot, b.slot) })
		cut, sum, pivot := s.cut(), 0.0, -1
		for i := range cs {
			if cs[i].slot == none {
				break
			}
			if sum += cs[i].bound; sum > cut {
				pivot = i
				break
			}
		}
		if pivot < 0 {
			return nil
		}
		at := cs[pivot].slot
		for pivot+1 < len(cs) && cs[pivot+1].slot == at {
			pivot++
		}
		blocks, end := 0.0, none
		for i := range cs[:pivot+1] {
			c := &cs[i]
			for c.firsts[c.at+1] <= at {
				c.at++
			}
			blocks += c.bounds[c.at]
			end = min(end, c.firsts[c.at+1])
		}
		if pivot+1 < len(cs) {
			end = min(end, cs[pivot+1].slot)
		}
		to := at + 1
		if blocks <= cut {
			to = max(end, at+1)
		} else {
			total := 0.0
			for i := range cs[:pivot+1] {
				if err := next(&cs[i], at); err != nil {
					return err
				}
				if cs[i].slot == at {
					total += cs[i].weight * float64(cs[i].buf.weights[cs[i].pos])
				}
			}
			if total > cut {
				score, err := s.settle(at, total)
				if err != nil {
					return err
				}
				s.offer(at, score)
			}
		}
		for i := range cs[:pivot+1] {
			if cs[i].slot < to {
				if err := next(&cs[i], to); err != nil {
					return err
				}
			}
		}
	}
}

func (x *Index) wand(t testing.TB, q *Query, dst []index.Hit) []index.Hit {
	t.Helper()
	s := x.scratch.Get().(*searcher)
	defer func() { s.release(); x.scratch.Put(s) }()
	s.begin(q, x.datatype, x.rows, nil)
	s.views = append(s.views[:0], make([]view, len(q.Indices))...)
	for i, dim := range q.Indices {
		if from, to := x.find(dim); from < to {
			s.views[i] = view{x, from, to}
			s.term(q.Vector[i], &s.views[i])
		}
	}
	if err := s.wand(); err != nil {
		t.Fatal(err)
	}
	return s.top.Drain(dst)
}

// BenchmarkWand runs both ways in turns, having seen that they answer the same.
func BenchmarkWand(b *testing.B) {
	var o once
	for _, s := range o.get(b) {
		x, err := Build(query.Float32, s.all)
		if err != nil {
			b.Fatal(err)
		}
		for _, k := range []int{10, 100} {
			b.Run(fmt.Sprintf("%s/top-%d", s.name, k), func(b *testing.B) {
				var hits, others []index.Hit
				var maxScore, wand, n int64
				for i := 0; b.Loop(); i++ {
					q := ask(s.queries[i%len(s.queries)], k)
					begun := cpu()
					hits = find(b, x, q)
					between := cpu()
					others = x.wand(b, q, others[:0])
					maxScore, wand, n = maxScore+int64(between-begun), wand+int64(cpu()-between), n+1
					if !slices.Equal(hits, others) {
						b.Fatalf("query %d: %v, not %v", i, others, hits)
					}
				}
				b.ReportMetric(float64(maxScore)/float64(n), "maxscore-cpu-ns/op")
				b.ReportMetric(float64(wand)/float64(n), "wand-cpu-ns/op")
			})
		}
	}
}
