// Package payload is the stored form of a point's payload: one canonical byte
// string (keys sorted bytewise and unique, integers apart from doubles, -0
// kept, NaN and infinities refused), read in place without decoding. Equal
// payloads have equal bytes, so digests and replicas can compare them (W3a).
// It is pure; docs/format/op.md draws the bytes.
package payload

// Doc is the canonical form of a payload object. Nil and empty mean no keys.
type Doc []byte

// Value is the canonical form of one value inside a Doc, or standing alone.
type Value []byte

// Kind tells what a Value is.
type Kind uint8

// The kinds of values.
const (
	Null Kind = iota
	Bool
	Integer
	Double
	String
	List
	Object
)
