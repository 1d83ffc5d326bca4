package payload

import (
	"math"
	"math/bits"
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

// Plan is what the indexes say about a filter, for one goroutine. Nothing is
// computed before Select or Estimate, and nothing twice.
type Plan struct {
	t    term
	rows Rows
	dead bool // sets may hold rows that are not used
	memo *memo
}

// memo is what was computed already.
type memo struct {
	found
	done bool
}

// term is what they say about a part of it.
type term struct {
	known bool    // false: any row may satisfy it
	most  int     // rows has at most as many
	guess int     // so many are expected to satisfy it
	likes float64 // the same as a share of all rows
	blind bool    // likes rests on nothing
	costs bool    // rows has to be computed, in about most steps
	rows  func() found
}

// found are all rows that may satisfy a part, not to be changed.
type found struct {
	set   *roaring.Bitmap
	dense []uint64 // if set is nil: a bit for each row,
	list  []uint32 // or the rows, ascending
	exact bool     // and no others
	share float64  // of them, that is expected to
}

func exactly(set *roaring.Bitmap) found { return found{set: set, exact: true, share: 1} }

// bitmap is the rows, whichever way they were found.
func (f found) bitmap() *roaring.Bitmap {
	switch {
	case f.set != nil:
		return f.set
	case f.dense != nil:
		return roaring.FromDense(f.dense, false)
	}
	return roaring.BitmapOf(f.list...)
}

// only makes set the rows.
func (f *found) only(set *roaring.Bitmap) { f.set, f.dense, f.list = set, nil, nil }

// len counts the rows.
func (f found) len() uint64 {
	if f.set != nil {
		return f.set.GetCardinality()
	}
	n := len(f.list)
	for _, w := range f.dense {
		n += bits.OnesCount64(w)
	}
	return uint64(n)
}

// Selection is a set of rows that holds all rows which satisfy a filter.
type Selection struct {
	found
	Exact bool // and no others
}

// Plan looks at a filter that filter.Compile accepts, bound to the indexes on text
// that are in effect.
func (s *Set) Plan(f *filter.Filter, rows Rows) Plan {
	p := planner{set: s, rows: rows, total: rows.Points()}
	if s.sealed {
		p.total = rows.Len()
	}
	return Plan{t: p.group(f, ""), rows: rows, dead: s.sealed && rows.Points() < rows.Len(), memo: &memo{}}
}

// Most is how many rows Select gives at most; false: it would be all.
func (p Plan) Most() (int, bool) { return p.t.most, p.t.known }

// Estimate is about how many rows satisfy the filter; false if a part of it is not
// indexed, or rests on nothing. It counts the rows that Select gives, and takes
// for independent what these leave open.
func (p Plan) Estimate() (int, bool) {
	if !p.t.known || p.t.blind {
		return 0, false
	}
	f := p.found()
	return int(math.Round(float64(f.len()) * f.share)), true
}

// Select computes the rows; only if Most knows a bound.
func (p Plan) Select() Selection {
	f := p.found()
	return Selection{found: f, Exact: f.exact || f.len() == 0}
}

func (p Plan) found() found {
	if !p.memo.done {
		f := p.t.rows()
		if p.dead {
			f.only(roaring.And(f.bitmap(), p.rows.Used()))
		}
		*p.memo = memo{f, true}
	}
	return p.memo.found
}

// Set is the rows, not to be changed. Of an opened Set it lasts as long as the
// bytes that were opened.
func (s Selection) Set() *roaring.Bitmap { return s.bitmap() }

// Len is the number of rows.
func (s Selection) Len() int { return int(s.len()) }

// Has tells whether a row is in it.
func (s Selection) Has(row uint32) bool {
	switch {
	case s.set != nil:
		return s.set.Contains(row)
	case s.dense != nil:
		return int(row/64) < len(s.dense) && s.dense[row/64]>>(row%64)&1 != 0
	}
	_, ok := slices.BinarySearch(s.list, row)
	return ok
}

// Dense gives a bit for each of so many rows, not to be changed.
func (s Selection) Dense(rows int) []uint64 {
	words := (rows + 63) / 64
	if len(s.dense) >= words {
		return s.dense
	}
	out := s.bitmap().ToDense()
	if len(out) < words {
		out = append(out, make([]uint64, words-len(out))...)
	}
	return out
}

// All visits the rows in ascending order until visit answers false.
func (s Selection) All(visit func(row uint32) bool) {
	for it := s.bitmap().Iterator(); it.HasNext(); {
		if !visit(it.Next()) {
			return
		}
	}
}

// From is All for the rows from one on.
func (s Selection) From(from uint32, visit func(row uint32) bool) {
	it := s.bitmap().Iterator()
	it.AdvanceIfNeeded(from)
	for it.HasNext() && visit(it.Next()) {
	}
}

// Without is the selection but for some rows; nil: none. It stays exact if it was.
func (s Selection) Without(rows *roaring.Bitmap) Selection {
	if rows != nil {
		s.only(roaring.AndNot(s.bitmap(), rows))
	}
	return s
}

// Rows lists the rows in ascending order, not to be changed.
func (s Selection) Rows() []uint32 {
	if s.list != nil {
		return s.list
	}
	return s.bitmap().ToArray()
}

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
	g := both{planner: p, exact: at == "", likes: 1, unknown: 1}
	for _, c := range f.Must {
		g.and(p.condition(c, at))
	}
	if len(f.Should) > 0 {
		g.and(p.either(f.Should, at))
	}
	if m := f.MinShould; m != nil && m.Count > 0 {
		g.and(p.several(m, at))
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
	unknown     float64 // the share of rows that are expected to satisfy what is not known
	blind       bool
}

func (g *both) and(t term) {
	g.likes, g.blind = g.likes*t.likes, g.blind || t.blind
	if t.known {
		g.of = append(g.of, t)
	} else {
		g.exact, g.unknown = false, g.unknown*t.likes
	}
}

func (g *both) not(t term) {
	g.likes, g.blind = g.likes*(1-t.likes), g.blind || t.blind
	if t.known {
		g.without = append(g.without, t)
	} else {
		g.exact, g.unknown = false, g.unknown*(1-t.likes)
	}
}

func (g *both) term() term {
	if len(g.of) == 0 && len(g.without) > 0 && g.exact {
		g.of = append(g.of, term{known: true, most: g.total, costs: true, likes: 1, rows: func() found { return exactly(g.rows.Used()) }})
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

func (g *both) intersect() found {
	out := g.of[0].rows()
	out.exact, out.share = out.exact && g.exact, out.share*g.unknown
	for i := range g.of[1:] {
		t := &g.of[1+i]
		if !t.worth(out.len()) {
			out.exact, out.share = false, out.share*t.likes
			continue
		}
		more := t.rows()
		out = found{set: roaring.And(out.bitmap(), more.bitmap()), exact: out.exact && more.exact, share: out.share * more.share}
	}
	for i := range g.without {
		t := &g.without[i]
		if !t.worth(out.len()) {
			out.exact, out.share = false, out.share*(1-t.likes)
			continue
		}
		if less := t.rows(); less.exact {
			out.only(roaring.AndNot(out.bitmap(), less.bitmap()))
		} else {
			out.exact, out.share = false, out.share*(1-t.likes)
		}
	}
	out.exact = out.exact || out.len() == 0
	return out
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
	out.rows = func() found {
		sets, all := make([]*roaring.Bitmap, len(terms)), found{exact: true}
		rows, likes := 0., 0.
		for i := range terms {
			f := terms[i].rows()
			n := float64(f.len())
			sets[i], all.exact, rows, likes = f.bitmap(), all.exact && f.exact, rows+n, likes+n*f.share
		}
		all.set, all.share = roaring.FastOr(sets...), likes/max(1, rows)
		return all
	}
	return out
}

// several is the term of at least so many of some conditions: the rows of one of
// them, unless that is enough.
func (p *planner) several(m *filter.MinShould, at string) term {
	terms := each(m.Conditions, func(c filter.Condition) term { return p.condition(c, at) })
	t := p.anyOf(terms)
	if m.Count == 1 {
		return t
	}
	if m.Count > uint64(len(terms)) {
		return union(nil)
	}
	// By the number of terms, how likely so many are satisfied, each by itself.
	chance := make([]float64, 1, len(terms)+1)
	chance[0] = 1
	for _, term := range terms {
		chance = append(chance, 0)
		for n := len(chance) - 1; n > 0; n-- {
			chance[n] = chance[n]*(1-term.likes) + chance[n-1]*term.likes
		}
		chance[0] *= 1 - term.likes
	}
	any := t.likes
	t.likes = 0
	for _, c := range chance[m.Count:] {
		t.likes += c
	}
	rows := t.rows
	t.rows = func() found {
		f := rows()
		f.exact, f.share = false, f.share*t.likes/max(any, math.SmallestNonzeroFloat64)
		return f
	}
	return t
}

// allOf is the term of all of terms, each of which is known.
func (p *planner) allOf(terms []term) term {
	g := both{planner: p, exact: true, likes: 1, unknown: 1}
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
