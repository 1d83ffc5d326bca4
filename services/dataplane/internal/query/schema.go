package query

import (
	"cmp"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
)

// FieldType is what an index on a payload field understands.
type FieldType uint8

// The types of field indexes. Files keep the numbers.
const (
	KeywordField  FieldType = iota + 1 // texts, equality
	IntegerField                       // integers: equality if Lookup, numbers in a range if Range
	FloatField                         // numbers in a range
	BoolField                          // equality
	DatetimeField                      // texts that payload.Micros reads, in a range
	UUIDField                          // texts that are UUIDs, equality
	GeoField                           // places, in an area
	TextField                          // words of texts, as Text cuts them
)

// FieldIndex asks for an index on a payload path. It changes how fast filters
// are; one on text also what conditions on words mean (filter.Texts).
type FieldIndex struct {
	Key           string
	Type          FieldType
	Lookup, Range bool            // IntegerField only
	Text          analysis.Params // TextField only

	// What follows is about the layout of a segment, not about the index.

	// Tenant: points of one value are searched together; Principal: filters mostly
	// name a range of it.
	Tenant, Principal bool
	// NoGraph: its values get no links of their own in graphs.
	NoGraph bool
	// OnDisk: the index is read from the disk as it is needed.
	OnDisk bool
}

// Index is f without what an index does not depend on.
func (f FieldIndex) Index() FieldIndex {
	f.Tenant, f.Principal, f.NoGraph, f.OnDisk = false, false, false, false
	return f
}

// Order asks for points by a field of numbers or of points in time, from From on,
// inclusive: a number, or microseconds since 1970 for a DatetimeField; nil begins
// at the end that comes first. A point with several values comes once for each.
type Order struct {
	Key  string
	Desc bool
	From *OrderValue
}

// OrderValue is a value that points are ordered by: Int, or Float if IsFloat.
type OrderValue struct {
	Int     int64
	Float   float64
	IsFloat bool
}

// Facet asks how many of the points that satisfy Filter have each value of a
// field, for the Limit values that most have; 0: all of them.
type Facet struct {
	Key    string
	Filter *filter.Filter
	Limit  int
}

// FacetHit is a value and how many points have it.
type FacetHit struct {
	Value filter.Scalar
	Count uint64
}

// CompareFacets orders hits: most points first, ties by value, truth before
// numbers before texts.
func CompareFacets(a, b FacetHit) int {
	order := func(k filter.ScalarKind) int { return -int(k) }
	number := func(s filter.Scalar) int64 {
		if s.Bool {
			return 1
		}
		return s.Int
	}
	return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(order(a.Value.Kind), order(b.Value.Kind)),
		cmp.Compare(number(a.Value), number(b.Value)), cmp.Compare(a.Value.Str, b.Value.Str))
}
