package query

// FieldType is what an index on a payload field understands.
type FieldType uint8

// The types of field indexes.
const (
	KeywordField  FieldType = iota + 1 // texts, equality
	IntegerField                       // integers: equality if Lookup, numbers in a range if Range
	FloatField                         // numbers in a range
	BoolField                          // equality
	DatetimeField                      // texts that payload.Micros reads, in a range
	UUIDField                          // texts that are UUIDs, equality
)

// FieldIndex asks for an index on a payload path. It changes how fast filters
// are, never what they answer.
type FieldIndex struct {
	Key           string
	Type          FieldType
	Lookup, Range bool // IntegerField only
}
