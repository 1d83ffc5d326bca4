package part

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/index"
	fieldindex "github.com/pandodb/pando/services/dataplane/internal/index/payload"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
)

// Query is one search of one named vector.
type Query struct {
	index.Query
	query.Params
	// Bits (Dense, of a segment) takes the place of Rows where these are many: a bit for
	// each row.
	Bits    []uint64
	Indices []uint32 // Sparse: of the weights in Vector
	Count   int      // Multi: how many vectors Vector holds
	// Estimate is about how many rows Accept lets through; 0: not known.
	Estimate int
	// FullScan is up to how many rows are compared by their own vectors; 0: where that is
	// quicker.
	FullScan int
}

// pickShare: single rows are scored instead of all in a row if they are at most
// this part of them.
const pickShare = 8

// listShare: in segments sets of rows are lists if they are at most this part of all
// rows, and have a bit for each row otherwise.
const listShare = 64

// Prepare puts a query that was checked in a part's terms.
func (v View) Prepare(q *query.Nearest, m *filter.Matcher) Query {
	out := Query{Query: index.Query{Vector: q.Vector, Rank: q.Rank, K: q.Limit, Threshold: q.ScoreThreshold}, Params: q.Params, Indices: q.Indices, Count: q.Count}
	if !v.sorted {
		out.Before = func(a, b uint32) bool { return v.ID(a).Compare(v.ID(b)) < 0 }
	}
	// Rows of a sealed tail die, and any are hidden, without the vectors' knowledge.
	mortal := v.used != nil && v.Dead.Len() > 0 || v.hidden != nil
	if m.All() {
		if mortal {
			out.Accept, out.Estimate = v.Lives, max(1, v.visible())
		}
		return out
	}
	c := v.Choose(m, q.Filter)
	most, bounded := c.Most()
	switch {
	case bounded && v.used == nil && v.Field(q.Using).Kind == query.Dense && most > v.Rows()/listShare && (most <= v.Rows()/pickShare || c.cheap()):
		sel := c.Select()
		if out.Bits = sel.Dense(v.Rows()); !sel.Exact {
			out.Accept = v.accept(m, mortal)
			out.Estimate, _ = c.Plan.Estimate()
		} else if mortal {
			out.Accept = v.Lives
		}
	case bounded && most <= v.Rows()/pickShare:
		sel := c.Select()
		if out.Rows = sel.Rows(); !sel.Exact {
			out.Accept = v.accept(m, mortal)
		} else if mortal {
			out.Accept = v.Lives
		}
	case bounded && c.cheap():
		sel := c.Select()
		if out.Accept = sel.Has; !sel.Exact {
			accept := v.accept(m, mortal)
			out.Accept = func(row uint32) bool { return sel.Has(row) && accept(row) }
		} else if mortal {
			out.Accept = func(row uint32) bool { return sel.Has(row) && v.Lives(row) }
		}
		out.Estimate, _ = c.Plan.Estimate()
	default: // asked of the few rows only that are good enough
		out.Accept = v.accept(m, mortal)
		out.Estimate, _ = c.Plan.Estimate()
	}
	return out
}

// visible is about how many rows live.
func (v View) visible() int {
	n := v.Alive()
	if v.hidden != nil {
		n -= int(v.hidden.GetCardinality())
	}
	return n
}

// accept asks a filter about rows; mortal: and whether they are to be seen.
func (v View) accept(m *filter.Matcher, mortal bool) func(row uint32) bool {
	s := v.Subject()
	if mortal {
		return func(row uint32) bool { return v.Lives(row) && s.Match(m, row) }
	}
	return func(row uint32) bool { return s.Match(m, row) }
}

// cheap tells that the set of rows is worth having where its members are asked for
// one by one.
func (c Chosen) cheap() bool {
	_, ok := c.Plan.Estimate()
	return ok
}

// Want is a query.Want with its paths and names looked up.
type Want struct {
	payload          bool
	include, exclude []payload.Path
	fields           []int
}

// Resolve looks up what is wanted; all parts of a shard have the same names.
func (p *Part) Resolve(q query.Want) (w Want, err error) {
	w.payload = q.Payload.All || len(q.Payload.Include) > 0 || len(q.Payload.Exclude) > 0
	if w.include, err = parsePaths(q.Payload.Include); err != nil {
		return w, err
	}
	if w.exclude, err = parsePaths(q.Payload.Exclude); err != nil {
		return w, err
	}
	for _, n := range q.VecNames {
		i := slices.IndexFunc(p.fields, func(f Field) bool { return f.Name == n })
		if i < 0 {
			return w, &VectorNameError{Name: n}
		}
		w.fields = append(w.fields, i)
	}
	if q.Vectors && len(q.VecNames) == 0 {
		for i := range p.fields {
			w.fields = append(w.fields, i)
		}
	}
	return w, nil
}

func parsePaths(keys []filter.Key) ([]payload.Path, error) {
	var out []payload.Path
	for _, k := range keys {
		p, err := payload.ParsePath(string(k))
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// Record answers a row. A sealed part's memory may be given back once nobody reads
// it, so the answer has its own.
func (p *Part) Record(row uint32, w *Want) query.Record {
	rec := query.Record{ID: p.ID(row), Version: uint64(p.Version(row))}
	if w.payload {
		rec.Payload = p.Payload(row)
		if len(w.include)+len(w.exclude) > 0 {
			rec.Payload = payload.Project(rec.Payload, w.include, w.exclude)
		}
		if p.sorted {
			rec.Payload = slices.Clone(rec.Payload)
		}
	}
	for _, i := range w.fields {
		if v, ok := p.fields[i].Vector(row); ok {
			rec.Vectors = append(rec.Vectors, v)
		}
	}
	return rec
}

// Page gives the first limit records from an id on that satisfy the filter, in the
// order of ids.
func (v View) Page(ctx context.Context, q *query.Scroll, m *filter.Matcher, limit int, w *Want) ([]query.Record, error) {
	c := v.Choose(m, q.Filter)
	var rows []uint32
	passed := 0
	if v.sorted {
		from := uint32(0)
		if q.Offset != nil {
			from = v.seek(*q.Offset)
		}
		v.eachFrom(c, from, func(row uint32) bool {
			rows = append(rows, row)
			passed++
			return len(rows) < limit && (passed%checkEvery != 0 || ctx.Err() == nil)
		})
	} else {
		first := lowest{limit: limit, compare: func(a, b uint32) int { return v.ID(a).Compare(v.ID(b)) }}
		if err := v.Scan(ctx, c, func(row uint32) {
			if q.Offset == nil || v.ID(row).Compare(*q.Offset) >= 0 {
				first.offer(row)
			}
		}); err != nil {
			return nil, err
		}
		rows = first.sorted()
	}
	out := make([]query.Record, len(rows))
	for i, row := range rows {
		out[i] = v.Record(row, w)
	}
	return out, ctx.Err()
}

// seek is the first row of a sorted part whose id is not below id.
func (p *Part) seek(id topology.PointID) uint32 {
	lo, hi := 0, p.Rows()
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); p.ID(uint32(mid)).Compare(id) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return uint32(lo)
}

// lowest keeps the rows that come first.
type lowest struct {
	limit   int
	compare func(a, b uint32) int
	rows    []uint32 // twice limit at most; cut back when full
	worst   uint32
	full    bool // worst is known
}

func (l *lowest) offer(row uint32) {
	if l.full && l.compare(row, l.worst) >= 0 {
		return
	}
	if l.rows = append(l.rows, row); len(l.rows)/2 >= l.limit+32 {
		l.cut()
	}
}

func (l *lowest) cut() {
	slices.SortFunc(l.rows, l.compare)
	if len(l.rows) > l.limit {
		l.rows = l.rows[:l.limit]
	}
	if l.full = len(l.rows) == l.limit && l.limit > 0; l.full {
		l.worst = l.rows[l.limit-1]
	}
}

func (l *lowest) sorted() []uint32 {
	l.cut()
	return l.rows
}

// Sample gives the records of the first q.Limit rows that satisfy the filter in the
// order of query.SampleKey.
func (v View) Sample(ctx context.Context, q *query.Scroll, m *filter.Matcher, w *Want) ([]query.Record, error) {
	key := func(row uint32) uint64 { return query.SampleKey(v.ID(row), *q.Sample) }
	first := lowest{limit: q.Limit, compare: func(a, b uint32) int {
		return cmp.Or(cmp.Compare(key(a), key(b)), v.ID(a).Compare(v.ID(b)))
	}}
	if err := v.Scan(ctx, v.Choose(m, q.Filter), first.offer); err != nil {
		return nil, err
	}
	rows := first.sorted()
	out := make([]query.Record, len(rows))
	for i, row := range rows {
		out[i] = v.Record(row, w)
	}
	return out, nil
}

// Facet counts the living points that satisfy the filter by their values of an
// indexed field, in no order to rely on.
func (v View) Facet(ctx context.Context, q query.Facet, m *filter.Matcher) ([]query.FacetHit, error) {
	var sel *fieldindex.Selection
	dead := v.dead()
	if !m.All() {
		got, err := v.exactly(ctx, v.Choose(m, q.Filter))
		if err != nil {
			return nil, err
		}
		got = got.Without(dead)
		sel = &got
	} else if dead != nil {
		all := fieldindex.OfSet(roaring.AndNot(v.Used(), dead))
		sel = &all
	}
	hits, ok := v.indexes.Facet(q.Key, sel, 0)
	if !ok {
		return nil, fmt.Errorf("%w: facet of %q", ErrNoIndex, q.Key)
	}
	return hits, nil
}

// exactly are the rows that c chooses, and perhaps dead ones.
func (v View) exactly(ctx context.Context, c Chosen) (fieldindex.Selection, error) {
	if _, bounded := c.Most(); bounded {
		if sel := c.Select(); sel.Exact {
			return sel, nil
		}
	}
	var rows []uint32
	err := v.Scan(ctx, c, func(row uint32) { rows = append(rows, row) })
	return fieldindex.Of(rows), err
}

// ByField is a Page in the order of a field, ties by id.
func (v View) ByField(ctx context.Context, q *query.Scroll, m *filter.Matcher, w *Want) (page []query.Record, err error) {
	sorted, ok := v.indexes.Sort(q.Order)
	if !ok {
		return nil, fmt.Errorf("%w: order by %q", ErrNoIndex, q.Order.Key)
	}
	s, passed, c := v.Subject(), 0, v.Choose(m, q.Filter)
	test := func(row uint32) bool { return s.Match(c.Matcher, row) }
	if most, bounded := c.Most(); bounded && most <= v.Rows()/pickShare {
		if sel := c.Select(); sel.Exact {
			test = sel.Has
		}
	}
	keep := func(row uint32) bool {
		if passed++; passed%checkEvery == 0 && err == nil {
			err = ctx.Err()
		}
		return err == nil && v.Lives(row) && test(row)
	}
	sorted.Groups(keep, func(rank int64, rows []uint32) bool {
		slices.SortFunc(rows, func(a, b uint32) int { return v.ID(a).Compare(v.ID(b)) })
		for _, row := range rows[:min(len(rows), q.Limit-len(page))] {
			rec := v.Record(row, w)
			rec.Order = new(sorted.Value(rank, v.Payload(row)))
			page = append(page, rec)
		}
		return len(page) < q.Limit && err == nil
	})
	return page, err
}

// CheckQuery tells whether a query can be asked.
func (p *Part) CheckQuery(q *query.Nearest) error {
	f := p.Field(q.Using)
	if f == nil {
		return &VectorNameError{Name: q.Using}
	}
	if q.Rank == nil {
		return f.checkQuery(op.Vector{Data: q.Vector, Indices: q.Indices, Count: q.Count})
	}
	for _, e := range q.Rank.Examples() {
		if err := f.checkQuery(e); err != nil {
			return err
		}
	}
	return nil
}

func (f *Field) checkQuery(v op.Vector) error {
	if v.Name = f.Name; f.Kind == query.Dense && v.Indices == nil && v.Count == 0 {
		return f.Check(v.Data)
	}
	_, err := f.Stored(v)
	return err
}

// Search answers queries on one named vector.
func (v View) Search(ctx context.Context, name string, qs []Query) ([][]index.Hit, error) {
	return v.Field(name).Search(ctx, qs, v.at)
}

// FieldCounts counts the living rows that each index on a payload field holds, by its key.
func (v View) FieldCounts() map[string]uint64 {
	if dead := v.dead(); dead != nil {
		return v.indexes.Count(roaring.AndNot(v.Used(), dead))
	}
	return v.indexes.Count()
}
