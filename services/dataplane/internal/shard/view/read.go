package view

import (
	"cmp"
	"context"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/internal/topology"
)

// reader is a read on its way. Until it leaves the tail nothing is applied; what is
// sealed it sees as it was then.
type reader struct {
	of     *Reads
	tail   part.View
	sealed []part.View
	parts  *sealed.Parts
	points int
	inTail bool
	texts  filter.Texts
	vector []query.VectorSettings
}

// read begins a read: end it.
func (s *Reads) read() *reader {
	st := s.state
	st.RLock()
	r := &reader{of: s, tail: st.Tail.At(mask.Now), parts: st.Sealed.Hold(), points: st.Points, inTail: true, texts: st.Texts, vector: st.Settings.Vectors}
	r.sealed = make([]part.View, len(r.parts.List))
	for i, p := range r.parts.List {
		r.sealed[i] = p.At(uint64(st.Meta.Seq))
	}
	return r
}

// compile makes a filter ready, whose meaning depends on the indexes on texts.
func (r *reader) compile(f **filter.Filter) (*filter.Matcher, error) {
	*f = r.texts.Bind(*f)
	return filter.Compile(*f)
}

// leave ends the part of a read that the tail is needed for.
func (r *reader) leave() {
	if r.inTail {
		r.inTail = false
		r.of.state.RUnlock()
	}
}

func (r *reader) end() {
	r.leave()
	if err := r.parts.Release(); err != nil {
		_ = r.of.fail(err)
	}
}

// each asks all parts, the tail first and then without it.
func (r *reader) each(ask func(part.View) error) error {
	err := ask(r.tail)
	r.leave()
	for i := 0; i < len(r.sealed) && err == nil; i++ {
		err = ask(r.sealed[i])
	}
	return err
}

// row finds a point.
func (r *reader) row(id topology.PointID) (part.View, uint32, bool) {
	if row, ok := r.tail.Row(id); ok {
		return r.tail, row, true
	}
	for _, v := range slices.Backward(r.sealed) {
		if row, ok := v.Row(id); ok {
			return v, row, true
		}
	}
	return part.View{}, 0, false
}

// Get answers the points that exist, in the order of g.IDs.
func (s *Reads) Get(_ context.Context, g query.Get) ([]query.Record, error) {
	r := s.read()
	defer r.end()
	w, err := r.tail.Resolve(g.Want)
	if err != nil {
		return nil, err
	}
	out := make([]query.Record, 0, len(g.IDs))
	for _, id := range g.IDs {
		if v, row, ok := r.row(id); ok {
			out = append(out, v.Record(row, &w))
		}
	}
	return out, nil
}

// Count counts the points that satisfy the filter.
func (s *Reads) Count(ctx context.Context, c query.Count) (n uint64, err error) {
	r := s.read()
	defer r.end()
	m, err := r.compile(&c.Filter)
	if err != nil {
		return 0, err
	}
	if m.All() {
		return uint64(r.points), nil
	}
	err = r.each(func(v part.View) error {
		some, err := v.Count(ctx, v.Choose(m, c.Filter), c.Approx)
		n += some
		return err
	})
	return n, err
}

// Scroll answers the first Limit points from Offset on that satisfy the filter,
// in the order of ids, and the id of the one after them, if there is one; or in
// that of a field.
func (s *Reads) Scroll(ctx context.Context, q query.Scroll) (page []query.Record, next *topology.PointID, err error) {
	r := s.read()
	defer r.end()
	m, err := r.compile(&q.Filter)
	if err != nil || q.Limit <= 0 {
		return nil, nil, err
	}
	w, err := r.tail.Resolve(q.Want)
	if err != nil {
		return nil, nil, err
	}
	pages := make([][]query.Record, 0, 1+len(r.sealed))
	err = r.each(func(v part.View) (err error) {
		var page []query.Record
		if q.Order != nil {
			page, err = v.ByField(ctx, &q, m, &w)
		} else {
			page, err = v.Page(ctx, &q, m, q.Limit+1, &w)
		}
		pages = append(pages, page)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if q.Order != nil {
		return query.MergeOrdered(q.Order, pages, q.Limit), nil, nil
	}
	page, next = query.MergeScroll(pages, q.Limit)
	return page, next, nil
}

// Facet counts the points that satisfy the filter by their values of an indexed
// field, in the order of query.CompareFacets. Errors: part.ErrNoIndex,
// filter.ErrFilter, ctx's.
func (s *Reads) Facet(ctx context.Context, q query.Facet) ([]query.FacetHit, error) {
	r := s.read()
	defer r.end()
	m, err := r.compile(&q.Filter)
	if err != nil {
		return nil, err
	}
	var lists [][]query.FacetHit
	err = r.each(func(v part.View) error {
		hits, err := v.Facet(ctx, q, m)
		lists = append(lists, hits)
		return err
	})
	if err != nil {
		return nil, err
	}
	return query.MergeFacets(lists, q.Limit), nil
}

// Nearest answers each query with its best points, the best first, ties by id.
// Queries on one vector name share their passes over memory. Errors:
// part.VectorNameError, query.DimensionError, query.ErrNotFinite, filter.ErrFilter,
// ctx's.
func (s *Reads) Nearest(ctx context.Context, qs []query.Nearest) ([][]query.Scored, error) {
	r := s.read()
	defer r.end()
	search := nearest{reader: r, qs: slices.Clone(qs), wants: make([]part.Want, len(qs)), filters: make([]*filter.Matcher, len(qs)), hits: make([][]hit, len(qs))}
	for i := range qs {
		var err error
		if search.wants[i], err = r.tail.Resolve(qs[i].Want); err != nil {
			return nil, err
		}
		if err = r.tail.CheckQuery(&search.qs[i]); err != nil {
			return nil, err
		}
		if search.filters[i], err = r.compile(&search.qs[i].Filter); err != nil {
			return nil, err
		}
	}
	if err := r.each(func(v part.View) error { return search.in(ctx, v, r.inTail) }); err != nil {
		return nil, err
	}
	out := make([][]query.Scored, len(qs))
	for i := range qs {
		out[i] = search.best(i, r.tail.Field(qs[i].Using).Distance.SmallerIsBetter())
	}
	return out, nil
}

// nearest gathers what parts answer.
type nearest struct {
	*reader
	qs      []query.Nearest
	wants   []part.Want
	filters []*filter.Matcher
	hits    [][]hit
}

// hit is a row of a part; of the tail's its record is made at once.
type hit struct {
	id     topology.PointID
	score  float32
	row    uint32
	part   *part.Part // nil: record is there
	record query.Record
}

// in searches one part, queries on one vector together.
func (n *nearest) in(ctx context.Context, v part.View, tail bool) error {
	groups := map[string][]int{}
	for i := range n.qs {
		groups[n.qs[i].Using] = append(groups[n.qs[i].Using], i)
	}
	for name, members := range groups {
		batch := make([]part.Query, len(members))
		for j, i := range members {
			batch[j] = v.Prepare(&n.qs[i], n.filters[i])
			batch[j].FullScan = n.fullScan(name)
			if tail && n.qs[i].Params.IndexedOnly {
				batch[j].K = 0
			}
		}
		found, err := v.Search(ctx, name, batch)
		if err != nil {
			return err
		}
		for j, i := range members {
			for _, h := range found[j] {
				x := hit{id: v.ID(h.Row), score: h.Score, row: h.Row, part: v.Part}
				if tail {
					x.part, x.record = nil, v.Record(h.Row, &n.wants[i])
				}
				n.hits[i] = append(n.hits[i], x)
			}
		}
	}
	return nil
}

// fullScan is up to how many sparse vectors are compared one by one.
func (r *reader) fullScan(name string) int {
	for i := range r.vector {
		if r.vector[i].Name == name {
			return r.vector[i].FullScanThreshold
		}
	}
	return query.DefaultSparseScan
}

// best are the answers to query i.
func (n *nearest) best(i int, smaller bool) []query.Scored {
	hits := n.hits[i]
	slices.SortFunc(hits, func(a, b hit) int {
		by := cmp.Compare(b.score, a.score)
		if smaller {
			by = -by
		}
		return cmp.Or(by, a.id.Compare(b.id))
	})
	hits = hits[:min(len(hits), max(0, n.qs[i].Limit))]
	out := make([]query.Scored, len(hits))
	for j := range hits {
		h := &hits[j]
		if out[j].Score = h.score; h.part == nil {
			out[j].Record = h.record
		} else {
			out[j].Record = h.part.Record(h.row, &n.wants[i])
		}
	}
	return out
}
