package payload

import (
	"math"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/internal/topology"
)

// Rows is what a plan needs to know of the rows that the indexes are about.
type Rows interface {
	// Len is above every row number; Points counts the rows that hold a point that is
	// to be seen, Used are these rows, the caller's to keep; Row finds a point.
	Len() int
	Points() int
	Used() *roaring.Bitmap
	Row(topology.PointID) (uint32, bool)
}

// Plan is what the indexes say about a filter. Nothing is computed before Select.
type Plan struct {
	t    term
	rows Rows
	dead bool // sets may hold rows that are not used
}

// term is what they say about a part of it.
type term struct {
	known bool    // false: any row may satisfy it
	most  int     // rows has at most as many
	guess int     // so many are expected to satisfy it
	likes float64 // the same as a share of all rows
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

// Plan looks at a filter that filter.Compile accepts, bound to the indexes on text
// that are in effect.
func (s *Set) Plan(f *filter.Filter, rows Rows) Plan {
	p := planner{set: s, rows: rows, total: rows.Points()}
	if s.sealed {
		p.total = rows.Len()
	}
	return Plan{t: p.group(f, ""), rows: rows, dead: s.sealed && rows.Points() < rows.Len()}
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
	if p.dead {
		set = roaring.And(set, p.rows.Used())
	}
	return Selection{set: set, Exact: exact || set.IsEmpty()}
}

// Set is the rows, not to be changed. Of an opened Set it lasts as long as the
// bytes that were opened.
func (s Selection) Set() *roaring.Bitmap { return s.set }

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

// counted is a term that expects all its rows to satisfy it.
func counted(t term) term {
	t.known, t.guess = true, t.most
	return t
}

// share fills in the share of the rows that are expected.
func (p *planner) share(t term) term {
	t.likes = min(1, float64(t.guess)/float64(max(1, p.total)))
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
	return p.anyOf(each(cs, func(c filter.Condition) term { return p.condition(c, at) }))
}

func (p *planner) anyOf(terms []term) term {
	out := term{known: true, costs: true}
	none := 1.0
	for _, t := range terms {
		out.known, out.blind = out.known && t.known, out.blind || t.blind
		out.most += t.most
		none *= 1 - t.likes
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

// allOf is the term of all of terms, each of which is known.
func (p *planner) allOf(terms []term) term {
	g := both{planner: p, exact: true, likes: 1}
	for _, t := range terms {
		g.and(t)
	}
	return g.term()
}

func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	for i := range in {
		out[i] = f(in[i])
	}
	return out
}
