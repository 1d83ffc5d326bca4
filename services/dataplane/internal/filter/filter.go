// Package filter decides whether a point's payload satisfies a condition tree
// of Qdrant's filter language (qdrant-api.md §3.3, §4.7). It is pure: it sees an
// id, the names of the point's vectors and the payload's canonical bytes.
package filter

import (
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/internal/topology"
)

// Filter is a condition tree: all of Must, none of MustNot, at least one of
// Should if there are any, at least MinShould.Count of MinShould.Conditions.
// An empty filter accepts every point.
type Filter struct {
	Must, Should, MustNot []Condition
	MinShould             *MinShould
}

// MinShould wants at least Count of Conditions.
type MinShould struct {
	Conditions []Condition
	Count      uint64
}

// Condition is one of Match, MatchAny, Text, Prefix, Substring, Range, TimeRange,
// GeoBox, GeoRadius, GeoPolygon, ValuesCount, HasID, Slice, IsEmpty, IsNull,
// HasVector, Nested or *Filter.
type Condition interface{ condition() }

// Key is a payload path such as `a.b`, `a[].b`, `"quoted.key"`, `a[0]`.
type Key string

// Scalar is a match value: exactly one kind is meant, as Kind says.
type Scalar struct {
	Kind ScalarKind
	Str  string
	Int  int64
	Bool bool
}

// ScalarKind tells which field of a Scalar counts.
type ScalarKind uint8

// The kinds of scalars.
const (
	StringScalar ScalarKind = iota + 1
	IntScalar
	BoolScalar
)

// Match wants an element equal to Value.
type Match struct {
	Key   Key
	Value Scalar
}

// MatchAny wants an element that is one of Values; with Except, an element that
// is none of them. Values are all strings or all integers.
type MatchAny struct {
	Key    Key
	Values []Scalar
	Except bool
}

// Text wants texts with the words of Words. As the index on its key cuts them, With
// says: the texts of all elements are one then, though a phrase lies within one
// of them. Without an index an element has to contain Words as it is (for Any, one
// of the parts of it that white space separates). Texts.Bind sets With.
type Text struct {
	Key   Key
	Words string
	Mode  analysis.Mode
	With  *analysis.Analyzer
}

// Prefix wants a text that begins with Text.
type Prefix struct {
	Key  Key
	Text string
}

// Substring wants a text that contains Text.
type Substring struct {
	Key  Key
	Text string
}

// Range wants a number inside all bounds that are not nil.
type Range struct {
	Key              Key
	GT, GTE, LT, LTE *float64
}

// TimeRange wants a text that is a point in time (payload.Micros) inside all
// bounds that are not nil, in microseconds since 1970.
type TimeRange struct {
	Key              Key
	GT, GTE, LT, LTE *int64
}

// ValuesCount wants a value whose number of elements is inside all bounds that are
// not nil: of a list its length, of null 0, of anything else 1. A key that is
// missing has the number 0.
type ValuesCount struct {
	Key              Key
	GT, GTE, LT, LTE *uint64
}

// Slice wants the points of one of Total parts into which ids fall by their hash.
type Slice struct{ Total, Index uint32 }

// HasID wants one of IDs.
type HasID struct{ IDs []topology.PointID }

// IsEmpty wants the key missing, null or an empty list.
type IsEmpty struct{ Key Key }

// IsNull wants the value null.
type IsNull struct{ Key Key }

// HasVector wants a vector of this name; "" is the default one.
type HasVector struct{ Name string }

// Nested wants one element of the list at Key that satisfies all of Filter.
type Nested struct {
	Key    Key
	Filter Filter
}

func (Match) condition()       {}
func (MatchAny) condition()    {}
func (Text) condition()        {}
func (Prefix) condition()      {}
func (Substring) condition()   {}
func (Range) condition()       {}
func (TimeRange) condition()   {}
func (GeoBox) condition()      {}
func (GeoRadius) condition()   {}
func (GeoPolygon) condition()  {}
func (ValuesCount) condition() {}
func (Slice) condition()       {}
func (HasID) condition()       {}
func (IsEmpty) condition()     {}
func (IsNull) condition()      {}
func (HasVector) condition()   {}
func (Nested) condition()      {}
func (*Filter) condition()     {}
