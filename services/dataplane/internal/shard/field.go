package shard

import (
	"context"
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	fieldindex "github.com/pandodb/pando/services/dataplane/internal/index/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// Facet counts the points that satisfy the filter by their values of an indexed
// field, in the order of query.CompareFacets. Errors: ErrNoIndex,
// filter.ErrFilter, ctx's.
func (s *Shard) Facet(ctx context.Context, q query.Facet) ([]query.FacetHit, error) {
	m, err := filter.Compile(q.Filter)
	if err != nil {
		return nil, err
	}
	r := s.rows
	r.RLock()
	defer r.RUnlock()
	var sel *fieldindex.Selection
	if !m.All() {
		got, err := r.exactly(ctx, r.choose(m, q.Filter))
		if err != nil {
			return nil, err
		}
		sel = &got
	}
	hits, ok := r.indexes.Facet(q.Key, sel, q.Limit)
	if !ok {
		return nil, fmt.Errorf("%w: facet of %q", ErrNoIndex, q.Key)
	}
	return hits, nil
}

// exactly are the rows that c chooses.
func (r *rows) exactly(ctx context.Context, c chosen) (fieldindex.Selection, error) {
	if _, bounded := c.Most(); bounded {
		if sel := c.Select(); sel.Exact {
			return sel, nil
		}
	}
	var rows []uint32
	err := r.scan(ctx, c, func(row uint32) { rows = append(rows, row) })
	return fieldindex.Of(rows), err
}

// byField is a Scroll in the order of a field, ties by id.
func (r *rows) byField(ctx context.Context, q query.Scroll, c chosen, w *want) (page []query.Record, err error) {
	sorted, ok := r.indexes.Sort(q.Order)
	if !ok {
		return nil, fmt.Errorf("%w: order by %q", ErrNoIndex, q.Order.Key)
	}
	s, passed := &subject{rows: r}, 0
	test := func(row uint32) bool { return s.match(c.Matcher, row) }
	if most, bounded := c.Most(); bounded && most <= len(r.at)/pickShare {
		if sel := c.Select(); sel.Exact {
			test = sel.Has
		}
	}
	keep := func(row uint32) bool {
		if passed++; passed%checkEvery == 0 && err == nil {
			err = ctx.Err()
		}
		return err == nil && test(row)
	}
	sorted.Groups(keep, func(rank int64, rows []uint32) bool {
		slices.SortFunc(rows, func(a, b uint32) int { return r.at[a].Compare(r.at[b]) })
		for _, row := range rows[:min(len(rows), q.Limit-len(page))] {
			rec := r.record(row, w)
			rec.Order = new(sorted.Value(rank, r.payloads.Get(row)))
			page = append(page, rec)
		}
		return len(page) < q.Limit && err == nil
	})
	return page, err
}
