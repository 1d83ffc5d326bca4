package payload

import (
	"math"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/google/uuid"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	doc "github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
)

// Rows is what a plan needs to know of the rows that the indexes are about.
type Rows interface {
	// Len is above every row number; Points counts the rows that hold a point, Used
	// are these rows, the caller's to keep; Row finds a point.
	Len() int
	Points() int
	Used() *roaring.Bitmap
	Row(topology.PointID) (uint32, bool)
}

// Plan is what the indexes say about a filter. Nothing is computed before Select.
type Plan struct {
	t    term
	rows Rows
}

// term is what they say about a part of it.
type term struct {
	known bool    // false: any row may satisfy it
	most  int     // rows has at most as many
	likes float64 // the share of rows that are expected to satisfy it
	blind bool    // likes rests on nothing
	costs bool    // rows has to be computed, in about most steps
	// rows are all that may satisfy it, not to be changed; exact: no others.
	rows func() (set *roaring.Bitmap, exact bool)
}

// Selection is a set of rows that holds all rows which satisfy a filter.
type Selection struct {
	set   *roaring.Bitmap
	Exact bool // and no others
}

// Plan looks at a filter that filter.Compile accepts.
func (s *Set) Plan(f *filter.Filter, rows Rows) Plan {
	p := planner{set: s, rows: rows, total: rows.Points()}
	return Plan{t: p.group(f, ""), rows: rows}
}

// Most is how many rows Select gives at most; false: it would be all.
func (p Plan) Most() (int, bool) { return p.t.most, p.t.known }

// Estimate is about how many rows satisfy the filter, each condition taken for
// independent of the others; false if a part of it is not indexed.
func (p Plan) Estimate() (int, bool) {
	return min(p.t.most, int(math.Round(p.t.likes*float64(p.rows.Points())))), p.t.known && !p.t.blind
}

// Select computes the rows; only if Most knows a bound.
func (p Plan) Select() Selection {
	set, exact := p.t.rows()
	return Selection{set: set, Exact: exact}
}

// Len is the number of rows.
func (s Selection) Len() int { return int(s.set.GetCardinality()) }

// Has tells whether a row is in it.
func (s Selection) Has(row uint32) bool { return s.set.Contains(row) }

// All visits the rows in ascending order until visit answers false.
func (s Selection) All(visit func(row uint32) bool) {
	for it := s.set.Iterator(); it.HasNext(); {
		if !visit(it.Next()) {
			return
		}
	}
}

// From is All for the rows from one on.
func (s Selection) From(from uint32, visit func(row uint32) bool) {
	it := s.set.Iterator()
	it.AdvanceIfNeeded(from)
	for it.HasNext() && visit(it.Next()) {
	}
}

// Without is the selection but for some rows; nil: none. It stays exact if it was.
func (s Selection) Without(rows *roaring.Bitmap) Selection {
	if rows != nil {
		s.set = roaring.AndNot(s.set, rows)
	}
	return s
}

// Rows lists the rows in ascending order.
func (s Selection) Rows() []uint32 { return s.set.ToArray() }

type planner struct {
	set   *Set
	rows  Rows
	total int
}

// nothing is the term of a part that says nothing about rows.
func nothing() term { return term{blind: true} }

// share fills in what is expected of a term that counts its rows.
func (p *planner) share(t term) term {
	t.likes = min(1, float64(t.most)/float64(max(1, p.total)))
	return t
}

// group is the term of a filter; at is the path of the list whose elements it is
// about, as the beginning of a path, empty for the point itself.
func (p *planner) group(f *filter.Filter, at string) term {
	g := both{planner: p, exact: at == "", likes: 1}
	for _, c := range f.Must {
		g.and(p.condition(c, at))
	}
	if len(f.Should) > 0 {
		g.and(p.either(f.Should, at))
	}
	if m := f.MinShould; m != nil && m.Count > 0 {
		t := p.either(m.Conditions, at)
		if m.Count > 1 {
			g.exact, t.blind = false, true
		}
		g.and(t)
	}
	for _, c := range f.MustNot {
		// One element that does not satisfy it says nothing about the others.
		if at == "" {
			g.not(p.condition(c, at))
		}
	}
	return g.term()
}

// both gathers the parts of a group.
type both struct {
	*planner
	of, without []term
	exact       bool
	likes       float64
	blind       bool
}

func (g *both) and(t term) {
	g.likes, g.blind = g.likes*t.likes, g.blind || t.blind
	if t.known {
		g.of = append(g.of, t)
	} else {
		g.exact = false
	}
}

func (g *both) not(t term) {
	g.likes, g.blind = g.likes*(1-t.likes), g.blind || t.blind
	if t.known {
		g.without = append(g.without, t)
	} else {
		g.exact = false
	}
}

func (g *both) term() term {
	if len(g.of) == 0 && len(g.without) > 0 && g.exact {
		g.of = append(g.of, term{known: true, most: g.total, costs: true, likes: 1,
			rows: func() (*roaring.Bitmap, bool) { return g.rows.Used(), true }})
	}
	if len(g.of) == 0 {
		return nothing()
	}
	slices.SortStableFunc(g.of, func(a, b term) int { return a.most - b.most })
	return term{known: true, most: g.of[0].most, likes: g.likes, blind: g.blind, costs: true, rows: g.intersect}
}

// worth tells whether a term is worth computing when n rows are left: otherwise
// it is cheaper to ask the filter about each of them.
func (t *term) worth(n uint64) bool { return !t.costs || uint64(t.most) <= 16*n+1024 }

func (g *both) intersect() (*roaring.Bitmap, bool) {
	set, exact := g.of[0].rows()
	exact = exact && g.exact
	for i := range g.of[1:] {
		t := &g.of[1+i]
		if !t.worth(set.GetCardinality()) {
			exact = false
			continue
		}
		more, also := t.rows()
		set, exact = roaring.And(set, more), exact && also
	}
	for i := range g.without {
		t := &g.without[i]
		if !t.worth(set.GetCardinality()) {
			exact = false
			continue
		}
		less, also := t.rows()
		if exact = exact && also; also {
			set = roaring.AndNot(set, less)
		}
	}
	return set, exact || set.IsEmpty()
}

// either is the term of at least one of cs.
func (p *planner) either(cs []filter.Condition, at string) term {
	terms := make([]term, len(cs))
	out := term{known: true, costs: true}
	none := 1.0
	for i, c := range cs {
		terms[i] = p.condition(c, at)
		out.known, out.blind = out.known && terms[i].known, out.blind || terms[i].blind
		out.most += terms[i].most
		none *= 1 - terms[i].likes
	}
	out.most, out.likes = min(out.most, p.total), 1-none
	out.rows = func() (*roaring.Bitmap, bool) {
		sets, exact := make([]*roaring.Bitmap, len(terms)), true
		for i := range terms {
			set, also := terms[i].rows()
			sets[i], exact = set, exact && also
		}
		return roaring.FastOr(sets...), exact
	}
	return out
}

func (p *planner) condition(c filter.Condition, at string) term {
	switch c := c.(type) {
	case *filter.Filter:
		return p.group(c, at)
	case filter.Nested:
		return p.group(&c.Filter, at+strings.TrimSuffix(string(c.Key), "[]")+"[].")
	case filter.HasID:
		if at == "" {
			return p.points(c.IDs)
		}
	case filter.Match:
		return p.on(at, c.Key, func(f *field) term { return f.match(c.Value) })
	case filter.MatchAny:
		if !c.Except {
			return p.on(at, c.Key, func(f *field) term { return f.anyOf(c.Values) })
		}
	case filter.Range:
		return p.on(at, c.Key, func(f *field) term { return f.between(&c, p.rows.Len()) })
	case filter.TimeRange:
		return p.on(at, c.Key, func(f *field) term {
			if f.Type != query.DatetimeField {
				return nothing()
			}
			low, high := bounds(c.GT, c.GTE, c.LT, c.LTE, same)
			return f.order.within(low, high, p.rows.Len())
		})
	case filter.IsNull:
		return p.on(at, c.Key, func(f *field) term { return of(f.nulls) })
	case filter.IsEmpty:
		if at == "" {
			return p.on(at, c.Key, p.unfilled)
		}
	}
	return nothing()
}

// on asks the indexes on a key until one knows something.
func (p *planner) on(at string, key filter.Key, ask func(*field) term) term {
	path, err := doc.ParsePath(at + string(key))
	if err != nil {
		return nothing()
	}
	name := path.String()
	for _, f := range p.set.fields {
		if f.name != name {
			continue
		}
		if t := ask(f); t.known {
			return p.share(t)
		}
	}
	return nothing()
}

func of(set *roaring.Bitmap) term {
	return term{known: true, most: int(set.GetCardinality()), rows: func() (*roaring.Bitmap, bool) { return set, true }}
}

func (p *planner) unfilled(f *field) term {
	most := p.total - int(f.filled.GetCardinality())
	return term{known: true, most: most, costs: true, rows: func() (*roaring.Bitmap, bool) {
		return roaring.AndNot(p.rows.Used(), f.filled), true
	}}
}

// points is the term of has_id.
func (p *planner) points(ids []topology.PointID) term {
	return p.share(term{known: true, most: min(len(ids), p.total), costs: true, rows: func() (*roaring.Bitmap, bool) {
		set := roaring.New()
		for _, id := range ids {
			if row, ok := p.rows.Row(id); ok {
				set.Add(row)
			}
		}
		return set, true
	}})
}

func (f *field) match(s filter.Scalar) term {
	switch {
	case f.Type == query.KeywordField && s.Kind == filter.StringScalar:
		return f.words.of(s.Str)
	case f.Type == query.UUIDField && s.Kind == filter.StringScalar:
		return f.uuids([]filter.Scalar{s})
	case f.Type == query.IntegerField && s.Kind == filter.IntScalar && f.Lookup:
		return f.whole.of(s.Int)
	case f.Type == query.BoolField && s.Kind == filter.BoolScalar:
		if s.Bool {
			return f.whole.of(1)
		}
		return f.whole.of(0)
	}
	return nothing()
}

func (f *field) anyOf(values []filter.Scalar) term {
	texts := len(values) == 0 || values[0].Kind == filter.StringScalar
	switch {
	case f.Type == query.KeywordField && texts:
		return f.words.of(each(values, func(s filter.Scalar) string { return s.Str })...)
	case f.Type == query.UUIDField && texts:
		return f.uuids(values)
	case f.Type == query.IntegerField && f.Lookup && !texts:
		return f.whole.of(each(values, func(s filter.Scalar) int64 { return s.Int })...)
	}
	return nothing()
}

// uuids is not exact: a UUID has several texts.
func (f *field) uuids(values []filter.Scalar) term {
	ids := make([]uuid.UUID, 0, len(values))
	for _, v := range values {
		id, err := uuid.Parse(v.Str)
		if err != nil {
			return nothing() // a text that is not in the index may equal it
		}
		ids = append(ids, id)
	}
	t := f.ids.of(ids...)
	exact := t.rows
	t.rows = func() (*roaring.Bitmap, bool) {
		set, _ := exact()
		return set, false
	}
	return t
}

func (f *field) between(r *filter.Range, rows int) term {
	if f.order == nil || f.Type == query.DatetimeField {
		return nothing()
	}
	for _, b := range []*float64{r.GT, r.GTE, r.LT, r.LTE} {
		if b != nil && math.IsNaN(*b) {
			return f.order.within(1, 0, rows)
		}
	}
	low, high := bounds(r.GT, r.GTE, r.LT, r.LTE, orderOf)
	return f.order.within(low, high, rows)
}

func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	for i := range in {
		out[i] = f(in[i])
	}
	return out
}
