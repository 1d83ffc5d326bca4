package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/topology"
)

// ErrFilter reports a filter that cannot be evaluated; the wrapping text names
// the key or condition. A malformed key wraps payload.ErrPath as well.
var ErrFilter = errors.New("invalid filter")

// MaxDepth is how deep sub-filters and nested conditions may go.
const MaxDepth = 128

// Subject is a point as a filter sees it. Match asks only for what the filter
// needs, so Payload may read lazily; it is asked at most once in a Match.
type Subject interface {
	ID() topology.PointID
	Payload() payload.Doc
	HasVector(name string) bool
}

// Matcher is a compiled filter. It is immutable and may be used by many
// goroutines at once.
type Matcher struct {
	root group
}

// Compile checks f and prepares it; nil and the empty filter accept every point.
// It keeps nothing of f. Errors: ErrFilter.
func Compile(f *Filter) (*Matcher, error) {
	m := &Matcher{}
	if f == nil {
		return m, nil
	}
	var err error
	if m.root, err = compileGroup(f, 1); err != nil {
		return nil, err
	}
	return m, nil
}

// Match tells whether p satisfies the filter. Only conditions on the words of a
// text allocate.
func (m *Matcher) Match(p Subject) bool {
	s := scope{point: p}
	return m.root.match(&s)
}

// All tells that every point matches, so that Match need not be asked.
func (m *Matcher) All() bool { return m.root.empty() }

// NeedsPayload tells whether Match may ask for the payload.
func (m *Matcher) NeedsPayload() bool { return m.root.payload }

// group is a compiled Filter. In each list the conditions that need no payload
// come first.
type group struct {
	must, should, mustNot, min []node
	minCount                   uint64
	payload                    bool
}

func (g *group) empty() bool {
	return len(g.must) == 0 && len(g.should) == 0 && len(g.mustNot) == 0 && g.minCount == 0
}

func compileGroup(f *Filter, depth int) (group, error) {
	var g group
	if depth > MaxDepth {
		return g, fmt.Errorf("%w: nested deeper than %d", ErrFilter, MaxDepth)
	}
	clauses := []struct {
		name string
		from []Condition
		to   *[]node
	}{{"must", f.Must, &g.must}, {"should", f.Should, &g.should}, {"must_not", f.MustNot, &g.mustNot}, {"min_should", nil, &g.min}}
	if f.MinShould != nil {
		clauses[3].from, g.minCount = f.MinShould.Conditions, f.MinShould.Count
	}
	for _, c := range clauses {
		for i, cond := range c.from {
			n, err := compileNode(cond, depth)
			if err != nil {
				return g, fmt.Errorf("%s[%d]: %w", c.name, i, err)
			}
			g.payload = g.payload || n.needsPayload()
			*c.to = append(*c.to, n)
		}
		slices.SortStableFunc(*c.to, func(a, b node) int { return a.cost() - b.cost() })
	}
	return g, nil
}

// kind tells what a node tests and which of its fields count.
type kind uint8

const (
	matchString kind = iota // str
	matchInt                // num
	matchBool               // num != 0
	anyString               // strs, except
	anyInt                  // nums, except
	inRange                 // bounds
	inTime                  // span
	inArea                  // area
	words                   // query
	anyPart                 // strs: one of them is in the text
	begins                  // str
	contains                // str
	counts                  // sizes
	isEmpty
	isNull
	hasID     // ids
	inSlice   // num of total
	hasVector // str
	nested    // group
	sub       // group
)

// node is a compiled condition. One struct for all kinds keeps the scope of a
// Match on the stack, which calls through an interface would not.
type node struct {
	kind   kind
	except bool
	top    bool // path is nothing but the top-level key
	path   payload.Path
	key    string
	str    string
	num    int64
	strs   []string // sorted
	nums   []int64  // sorted
	bounds bounds[float64]
	span   bounds[int64]
	sizes  bounds[uint64]
	area   func(Place) bool
	query  *analysis.Query
	total  uint32
	ids    []topology.PointID // sorted
	group  *group
}

func (n *node) needsPayload() bool {
	switch n.kind {
	case hasID, hasVector, inSlice:
		return false
	case sub:
		return n.group.payload
	default:
		return true
	}
}

func (n *node) cost() int {
	switch {
	case !n.needsPayload():
		return 0
	case n.kind == sub || n.kind == nested || n.kind == words:
		return 2
	default:
		return 1
	}
}

func compileNode(c Condition, depth int) (node, error) {
	switch c := c.(type) {
	case Match:
		return compileMatch(c)
	case MatchAny:
		return compileAny(c)
	case Range:
		n, err := keyed(inRange, c.Key)
		n.bounds = boundsOf(c.GT, c.GTE, c.LT, c.LTE)
		return n, err
	case TimeRange:
		n, err := keyed(inTime, c.Key)
		n.span = boundsOf(c.GT, c.GTE, c.LT, c.LTE)
		return n, err
	case ValuesCount:
		n, err := keyed(counts, c.Key)
		n.sizes = boundsOf(c.GT, c.GTE, c.LT, c.LTE)
		return n, err
	case Text, Prefix, Substring:
		return compileText(c)
	case GeoBox, GeoRadius, GeoPolygon:
		return compileGeo(c)
	case IsEmpty:
		return keyed(isEmpty, c.Key)
	case IsNull:
		return keyed(isNull, c.Key)
	case HasID:
		ids := slices.Clone(c.IDs)
		slices.SortFunc(ids, topology.PointID.Compare)
		return node{kind: hasID, ids: slices.Compact(ids)}, nil
	case Slice:
		if c.Total == 0 || c.Index >= c.Total {
			return node{}, fmt.Errorf("%w: slice %d of %d", ErrFilter, c.Index, c.Total)
		}
		return node{kind: inSlice, num: int64(c.Index), total: c.Total}, nil
	case HasVector:
		return node{kind: hasVector, str: c.Name}, nil
	case Nested:
		return compileNested(c, depth)
	case *Filter:
		if c == nil {
			return node{}, fmt.Errorf("%w: sub-filter is missing", ErrFilter)
		}
		g, err := compileGroup(c, depth+1)
		return node{kind: sub, group: &g}, err
	default:
		return node{}, fmt.Errorf("%w: condition of type %T is not supported", ErrFilter, c)
	}
}

func compileNested(c Nested, depth int) (node, error) {
	// `a` and `a[]` mean the same: the elements of the list at a.
	n, err := keyed(nested, Key(strings.TrimSuffix(string(c.Key), "[]")))
	if err != nil {
		return n, err
	}
	g, err := compileGroup(&c.Filter, depth+1)
	if err != nil {
		return n, fmt.Errorf("nested %q: %w", c.Key, err)
	}
	n.group = &g
	return n, nil
}

func compileText(c Condition) (node, error) {
	switch c := c.(type) {
	case Prefix:
		n, err := keyed(begins, c.Key)
		n.str = c.Text
		return n, err
	case Substring:
		n, err := keyed(contains, c.Key)
		n.str = c.Text
		return n, err
	}
	t := c.(Text)
	kind := contains
	switch {
	case t.Mode > analysis.Phrase:
		return node{}, fmt.Errorf("%w: key %q: mode %d of a match on text is not known", ErrFilter, t.Key, t.Mode)
	case t.With != nil:
		kind = words
	case t.Mode == analysis.Any:
		kind = anyPart
	}
	n, err := keyed(kind, t.Key)
	if err != nil {
		return n, err
	}
	switch kind {
	case words:
		n.query = t.With.Query(t.Mode, t.Words)
	case anyPart:
		n.strs = strings.Fields(t.Words)
	default:
		n.str = t.Words
	}
	return n, nil
}

// keyed makes a node that reads the payload at key.
func keyed(k kind, key Key) (node, error) {
	p, err := payload.ParsePath(string(key))
	if err != nil {
		return node{}, fmt.Errorf("%w: key %q: %w", ErrFilter, key, err)
	}
	return node{kind: k, path: p, top: p.IsTop(), key: p.Top()}, nil
}

func compileMatch(c Match) (node, error) {
	n, err := keyed(matchString, c.Key)
	if err != nil {
		return n, err
	}
	switch c.Value.Kind {
	case StringScalar:
		n.str = c.Value.Str
	case IntScalar:
		n.kind, n.num = matchInt, c.Value.Int
	case BoolScalar:
		n.kind = matchBool
		if c.Value.Bool {
			n.num = 1
		}
	default:
		return n, fmt.Errorf("%w: key %q: match has no value", ErrFilter, c.Key)
	}
	return n, nil
}

func compileAny(c MatchAny) (node, error) {
	n, err := keyed(anyString, c.Key)
	if err != nil {
		return n, err
	}
	n.except = c.Except
	for _, v := range c.Values {
		switch {
		case v.Kind == StringScalar && n.nums == nil:
			n.strs = append(n.strs, v.Str)
		case v.Kind == IntScalar && n.strs == nil:
			n.kind, n.nums = anyInt, append(n.nums, v.Int)
		default:
			return n, fmt.Errorf("%w: key %q: values must be all strings or all integers", ErrFilter, c.Key)
		}
	}
	slices.Sort(n.strs)
	slices.Sort(n.nums)
	return n, nil
}

// bounds of a range; nil is none.
type bounds[T float64 | int64 | uint64] struct{ gt, gte, lt, lte *T }

// boundsOf detaches bounds from the caller's numbers.
func boundsOf[T float64 | int64 | uint64](gt, gte, lt, lte *T) bounds[T] {
	copied := func(p *T) *T {
		if p == nil {
			return nil
		}
		return new(*p)
	}
	return bounds[T]{copied(gt), copied(gte), copied(lt), copied(lte)}
}
