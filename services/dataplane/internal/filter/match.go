package filter

import (
	"slices"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/topology"
)

// scope is what conditions are asked of: a point, or one element of a list of
// the point (point is nil then: has_id, has_vector and slice hold for no element).
type scope struct {
	point  Subject
	root   payload.Value
	loaded bool
}

// value is the payload, read on first use, or the element.
func (s *scope) value() payload.Value {
	if !s.loaded {
		s.root, s.loaded = payload.Value(s.point.Payload()), true
	}
	return s.root
}

func (g *group) match(s *scope) bool {
	for i := range g.must {
		if !g.must[i].match(s) {
			return false
		}
	}
	for i := range g.mustNot {
		if g.mustNot[i].match(s) {
			return false
		}
	}
	return (len(g.should) == 0 || atLeast(g.should, 1, s)) && atLeast(g.min, g.minCount, s)
}

func atLeast(ns []node, need uint64, s *scope) bool {
	for i := 0; need > 0 && i < len(ns); i++ {
		if ns[i].match(s) {
			need--
		}
	}
	return need == 0
}

func (n *node) match(s *scope) bool {
	switch n.kind {
	case sub:
		return n.group.match(s)
	case hasID:
		return s.point != nil && containsID(n.ids, s.point.ID())
	case inSlice:
		return s.point != nil && SliceOf(s.point.ID(), n.total) == uint32(n.num)
	case hasVector:
		return s.point != nil && s.point.HasVector(n.str)
	case isEmpty:
		return !n.some(s, Filled)
	case isNull:
		return n.some(s, Null)
	case counts:
		return n.counted(s)
	case words:
		return n.found(s)
	default:
		return n.matchAt(s)
	}
}

// some tells whether any value at the node's path passes.
func (n *node) some(s *scope, pass func(payload.Value) bool) bool {
	if n.top {
		v, ok := s.value().Get(n.key)
		return ok && pass(v)
	}
	return !n.path.WalkValue(s.value(), func(v payload.Value) bool { return !pass(v) })
}

// matchAt tells whether any value at the node's path satisfies it.
func (n *node) matchAt(s *scope) bool {
	if n.top {
		v, ok := s.value().Get(n.key)
		return ok && n.holds(v)
	}
	return !n.path.WalkValue(s.value(), func(v payload.Value) bool { return !n.holds(v) })
}

// counted tells whether the size of a value at the path is inside the bounds.
func (n *node) counted(s *scope) bool {
	any, holds := false, false
	n.path.WalkValue(s.value(), func(v payload.Value) bool {
		any, holds = true, n.sizes.holds(Size(v))
		return !holds
	})
	return holds || !any && n.sizes.holds(0)
}

// found tells whether the texts at the path have the words of the query.
func (n *node) found(s *scope) bool {
	search := n.query.Search()
	n.path.WalkValue(s.value(), func(v payload.Value) bool {
		if v.Kind() == payload.String {
			search.Add(v.Str())
		}
		for e := range v.Elements() {
			if e.Kind() == payload.String {
				search.Add(e.Str())
			}
		}
		return !search.Found()
	})
	return search.Found()
}

// holds tells whether v, or one of its elements if it is a list, satisfies the
// node. Lists inside lists are not looked into.
func (n *node) holds(v payload.Value) bool {
	if n.kind == nested {
		for e := range v.Elements() {
			if e.Kind() != payload.Object {
				continue
			}
			if inner := (scope{root: e, loaded: true}); n.group.match(&inner) {
				return true
			}
		}
		return false
	}
	if v.Kind() != payload.List {
		return n.holdsScalar(v)
	}
	for e := range v.Elements() {
		if n.holdsScalar(e) {
			return true
		}
	}
	return false
}

func (n *node) holdsScalar(v payload.Value) bool {
	k := v.Kind()
	switch n.kind {
	case matchString:
		return k == payload.String && v.Str() == n.str
	case matchInt:
		return k == payload.Integer && v.Int() == n.num
	case matchBool:
		return k == payload.Bool && v.Bool() == (n.num != 0)
	case anyString, anyInt:
		if k == payload.Null {
			return false // null is no value, so it is not "another" one either
		}
		return n.listed(v) != n.except
	case inRange:
		f, ok := v.Number()
		return ok && n.bounds.holds(f)
	case inArea:
		at, ok := PlaceOf(v)
		return ok && n.area(at)
	case begins:
		return k == payload.String && strings.HasPrefix(v.Str(), n.str)
	case contains:
		return k == payload.String && strings.Contains(v.Str(), n.str)
	case anyPart:
		return k == payload.String && slices.ContainsFunc(n.strs, func(part string) bool { return strings.Contains(v.Str(), part) })
	case inTime:
		us, ok := payload.Micros(v.Str())
		return ok && n.span.holds(us)
	default:
		return false
	}
}

// listed tells whether v is one of the node's values.
func (n *node) listed(v payload.Value) bool {
	var ok bool
	switch {
	case n.kind == anyString && v.Kind() == payload.String:
		_, ok = slices.BinarySearch(n.strs, v.Str())
	case n.kind == anyInt && v.Kind() == payload.Integer:
		_, ok = slices.BinarySearch(n.nums, v.Int())
	}
	return ok
}

// holds tells whether v is inside all bounds; none holds for a NaN bound.
func (b *bounds[T]) holds(v T) bool {
	return (b.gt == nil || v > *b.gt) && (b.gte == nil || v >= *b.gte) &&
		(b.lt == nil || v < *b.lt) && (b.lte == nil || v <= *b.lte)
}

// Filled is false for null and the empty list: what is_empty holds for.
func Filled(v payload.Value) bool {
	return v.Kind() != payload.Null && (v.Kind() != payload.List || v.Len() > 0)
}

// Null is true for null and for a list that holds a null: what is_null holds for.
func Null(v payload.Value) bool {
	for e := range v.Elements() {
		if e.Kind() == payload.Null {
			return true
		}
	}
	return v.Kind() == payload.Null
}

// Size is the number of elements that values_count is about.
func Size(v payload.Value) uint64 {
	switch v.Kind() {
	case payload.Null:
		return 0
	case payload.List:
		return uint64(v.Len())
	default:
		return 1
	}
}

func containsID(sorted []topology.PointID, id topology.PointID) bool {
	_, ok := slices.BinarySearchFunc(sorted, id, topology.PointID.Compare)
	return ok
}
