package view

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/overlay"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// reader is a read on its way. Until it leaves the tail nothing is applied; what is
// sealed it sees as it was then.
type reader struct {
	of     *Reads
	seen   part.Part // the tail's; its vectors may be others once the read has left it
	tail   part.View
	laid   part.View // over all others, as long as the tail is there; no Part: nothing is
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
	r := &reader{of: s, seen: st.Tail.Part, parts: st.Sealed.Hold(), points: st.Shown(), inTail: true, texts: st.Texts, vector: st.Settings.Vectors}
	r.tail = r.seen.At(mask.Now)
	r.sealed = make([]part.View, len(r.parts.List))
	for i, p := range r.parts.List {
		r.sealed[i] = p.At(uint64(st.Meta.Seq))
	}
	if st.Overlay != nil {
		r.cover(st.Overlay)
	}
	return r
}

// cover lays an overlay over the others, whose rows of its points are hidden.
func (r *reader) cover(o *overlay.Overlay) {
	r.laid = o.View()
	r.tail = r.tail.Hiding(o.Hidden(0))
	for i, v := range r.sealed {
		r.sealed[i] = v.Hiding(o.Hidden(v.Number))
	}
}

// others are all parts but the tail.
func (r *reader) others() []part.View {
	if r.laid.Part == nil {
		return r.sealed
	}
	return append(slices.Clip(r.sealed), r.laid)
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

// each asks all parts, the tail and what is laid over them first and then without these.
func (r *reader) each(ask func(part.View) error) error {
	err := ask(r.tail)
	if err == nil && r.laid.Part != nil {
		err = ask(r.laid)
	}
	r.leave()
	if err != nil || len(r.sealed) == 0 {
		return err
	}
	return r.guarded(func() error {
		for i := 0; i < len(r.sealed) && err == nil; i++ {
			err = ask(r.sealed[i])
		}
		return err
	})
}

// guarded does what reads mapped files. A disk that cannot answer fails this replica,
// not the process.
func (r *reader) guarded(do func() error) (err error) {
	if fault := vfs.Guard(func() { err = do() }); fault != nil {
		return r.of.fail(fault)
	}
	return err
}

// row finds a point.
func (r *reader) row(id topology.PointID) (part.View, uint32, bool) {
	if r.laid.Part != nil {
		if row, ok := r.laid.Row(id); ok {
			return r.laid, row, true
		}
	}
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
	err = r.guarded(func() error {
		for _, id := range g.IDs {
			if v, row, ok := r.row(id); ok {
				out = append(out, v.Record(row, &w))
			}
		}
		return nil
	})
	return out, err
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
// that of a field, or of a sample.
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
		switch {
		case q.Order != nil:
			page, err = v.ByField(ctx, &q, m, &w)
		case q.Sample != nil:
			page, err = v.Sample(ctx, &q, m, &w)
		default:
			page, err = v.Page(ctx, &q, m, q.Limit+1, &w)
		}
		pages = append(pages, page)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	switch {
	case q.Order != nil:
		return query.MergeOrdered(q.Order, pages, q.Limit), nil, nil
	case q.Sample != nil:
		return query.MergeSampled(*q.Sample, pages, q.Limit), nil, nil
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
	search := s.scratch.Get().(*nearest)
	defer search.release(s.scratch)
	search.begin(r, len(qs))
	for i := range qs {
		a := &search.asked[i]
		a.Nearest = qs[i]
		var err error
		if a.want, err = r.tail.Resolve(qs[i].Want); err != nil {
			return nil, err
		}
		if err = r.tail.CheckQuery(&a.Nearest); err != nil {
			return nil, err
		}
		if a.matcher, err = r.compile(&a.Filter); err != nil {
			return nil, err
		}
	}
	search.group()
	if err := r.each(func(v part.View) error { return search.in(ctx, v, r.inTail) }); err != nil {
		return nil, err
	}
	out := make([][]query.Scored, len(qs))
	err := r.guarded(func() error {
		for i := range qs {
			out[i] = search.asked[i].best(qs[i].Rank == nil && r.tail.Field(qs[i].Using).Distance.SmallerIsBetter())
		}
		return nil
	})
	return out, err
}

// nearest gathers what parts answer; its room is used again.
type nearest struct {
	*reader
	asked  []asked
	groups []group
	batch  []part.Query
}

// begin makes room for n queries.
func (n *nearest) begin(r *reader, queries int) {
	n.reader = r
	n.asked = slices.Grow(n.asked, queries)[:queries]
}

// release forgets the queries and what they found, but for the room.
func (n *nearest) release(to *sync.Pool) {
	for i := range n.asked {
		hits := n.asked[i].hits
		clear(hits)
		n.asked[i] = asked{hits: hits[:0]}
	}
	clear(n.batch[:cap(n.batch)])
	n.reader, n.asked, n.groups, n.batch = nil, n.asked[:0], n.groups[:0], n.batch[:0]
	to.Put(n)
}

// asked is a query and what was found.
type asked struct {
	query.Nearest
	want    part.Want
	matcher *filter.Matcher
	hits    []hit
}

// group is the queries on one vector name.
type group struct {
	name    string
	members []int
}

// hit is a row of a part; of the tail's its record is made at once.
type hit struct {
	id     topology.PointID
	score  float32
	row    uint32
	part   *part.Part // nil: record is there
	record *query.Record
}

func (n *nearest) group() {
	for i := range n.asked {
		at := slices.IndexFunc(n.groups, func(g group) bool { return g.name == n.asked[i].Using })
		if at < 0 {
			at = len(n.groups)
			n.groups = slices.Grow(n.groups, 1)[:at+1]
			n.groups[at] = group{n.asked[i].Using, n.groups[at].members[:0]}
		}
		n.groups[at].members = append(n.groups[at].members, i)
	}
}

// in searches one part.
func (n *nearest) in(ctx context.Context, v part.View, tail bool) error {
	if v.Alive() == 0 && tail {
		return nil
	}
	for _, g := range n.groups {
		n.batch = n.batch[:0]
		for _, i := range g.members {
			q := v.Prepare(&n.asked[i].Nearest, n.asked[i].matcher)
			q.FullScan = n.fullScan(g.name)
			if tail && n.asked[i].Params.IndexedOnly {
				q.K = 0
			}
			n.batch = append(n.batch, q)
		}
		found, err := v.Search(ctx, g.name, n.batch)
		if err != nil {
			return err
		}
		for j, i := range g.members {
			a := &n.asked[i]
			a.hits = slices.Grow(a.hits, len(found[j]))
			for _, h := range found[j] {
				x := hit{id: v.ID(h.Row), score: h.Score, row: h.Row, part: v.Part}
				if tail {
					x.part, x.record = nil, new(v.Record(h.Row, &a.want))
				}
				a.hits = append(a.hits, x)
			}
		}
	}
	return nil
}

// fullScan is up to how many rows are compared one by one: sparse ones; dense ones
// where the settings ask for more scans than a measured break-even would.
func (r *reader) fullScan(name string) int {
	f := r.tail.Field(name)
	for i := range r.vector {
		v := &r.vector[i]
		switch {
		case v.Name != name:
		case f.Kind == query.Sparse:
			return v.FullScanThreshold
		case f.Kind == query.Dense && v.HNSW.FullScanThreshold > query.DefaultHNSW().FullScanThreshold:
			return v.HNSW.FullScanThreshold << 10 / (4 * f.Size)
		default:
			return 0
		}
	}
	return query.DefaultSparseScan
}

// best are the answers.
func (q *asked) best(smaller bool) []query.Scored {
	hits := q.hits
	slices.SortFunc(hits, func(a, b hit) int {
		by := cmp.Compare(b.score, a.score)
		if smaller {
			by = -by
		}
		return cmp.Or(by, a.id.Compare(b.id))
	})
	hits = hits[:min(len(hits), max(0, q.Limit))]
	out := make([]query.Scored, len(hits))
	for j := range hits {
		h := &hits[j]
		if out[j].Score = h.score; h.part == nil {
			out[j].Record = *h.record
		} else {
			out[j].Record = h.part.Record(h.row, &q.want)
		}
	}
	return out
}
