// Package payload is the stored form of a point's payload: one canonical byte
// string (keys sorted bytewise and unique, integers apart from doubles, -0
// kept, NaN and infinities refused), read in place without decoding. Equal
// payloads have equal bytes, so digests and replicas can compare them (W3a).
// It is pure; docs/format/op.md draws the bytes.
//
// A Doc or Value is immutable: strings and values that are read out of one
// alias its bytes. Reading trusts the bytes; whoever takes them from outside
// calls Validate or ValidateValue first.
package payload

import (
	"cmp"
	"encoding/binary"
	"errors"
	"iter"
	"math"
	"unsafe"
)

// Doc is the canonical form of a payload object: a Value of kind Object with at
// least one key. Nil and empty mean no keys.
type Doc []byte

// Value is the canonical form of one value inside a Doc, or standing alone.
type Value []byte

// Kind tells what a Value is. It is the first byte of the value.
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

// Limits of a payload.
const (
	// MaxDepth counts nested lists and objects; the payload itself is the first.
	MaxDepth = 128
	// MaxSize is the greatest Doc in bytes that is built or edited. It leaves room
	// for a point's vectors in the log's greatest entry.
	MaxSize = 15 << 20
)

// What is wrong with a payload. None carries payload contents.
var (
	ErrNotFinite = errors.New("payload: number is NaN or infinite")
	ErrDuplicate = errors.New("payload: key occurs twice in an object")
	ErrDepth     = errors.New("payload: nested deeper than 128")
	ErrTooLarge  = errors.New("payload: larger than 15 MiB")
	ErrUTF8      = errors.New("payload: string is not UTF-8")
	ErrMisuse    = errors.New("payload: builder calls out of order")
	ErrCorrupt   = errors.New("payload: bytes are not in canonical form")
)

// Sizes of the fixed parts of values.
const (
	boolSize   = 2
	numberSize = 9
	// prefixSize is the tag and u32 byte count of a list or object; after it
	// follow the u32 number of members and the members.
	prefixSize = 5
	headerSize = 9
)

// emptyObject is the value form of a Doc without keys.
const emptyObject = "\x06\x04\x00\x00\x00\x00\x00\x00\x00"

// size is the length of the value that b begins with.
func size(b []byte) int {
	switch Kind(b[0]) {
	case Null:
		return 1
	case Bool:
		return boolSize
	case Integer, Double:
		return numberSize
	case String:
		n, w := binary.Uvarint(b[1:])
		return 1 + w + int(n)
	default:
		return prefixSize + int(binary.LittleEndian.Uint32(b[1:]))
	}
}

// text views b as a string without a copy; b is never written again.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// cutKey splits a member of an object into its key and what follows it.
func cutKey(b []byte) (key string, rest []byte) {
	n, w := binary.Uvarint(b)
	end := w + int(n)
	return text(b[w:end]), b[end:]
}

// Value gives the payload as a value of kind Object.
func (d Doc) Value() Value {
	if len(d) == 0 {
		return Value(emptyObject)
	}
	return Value(d)
}

// Len is the number of keys.
func (d Doc) Len() int { return Value(d).Len() }

// Get finds the value of a top-level key.
func (d Doc) Get(key string) (Value, bool) { return Value(d).Get(key) }

// All gives keys and values in the order of keys. Both alias d.
func (d Doc) All() iter.Seq2[string, Value] { return Value(d).Fields() }

// Kind is Null for an empty Value.
func (v Value) Kind() Kind {
	if len(v) == 0 {
		return Null
	}
	return Kind(v[0])
}

// Bool is the value of a Bool.
func (v Value) Bool() bool { return v.Kind() == Bool && v[1] != 0 }

// Int is the value of an Integer.
func (v Value) Int() int64 {
	if v.Kind() != Integer {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(v[1:]))
}

// Double is the value of a Double.
func (v Value) Double() float64 {
	if v.Kind() != Double {
		return 0
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(v[1:]))
}

// Number is the value of an Integer or a Double as float64.
func (v Value) Number() (float64, bool) {
	switch v.Kind() {
	case Integer:
		return float64(v.Int()), true
	case Double:
		return v.Double(), true
	default:
		return 0, false
	}
}

// Str is the value of a String. It aliases v.
func (v Value) Str() string {
	if v.Kind() != String {
		return ""
	}
	s, _ := cutKey(v[1:])
	return s
}

// Len is the number of elements of a List or fields of an Object, else 0.
func (v Value) Len() int {
	if v.Kind() < List {
		return 0
	}
	return int(binary.LittleEndian.Uint32(v[prefixSize:]))
}

// Elements gives the elements of a List, nothing for other kinds.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() != List {
			return
		}
		for b := v[headerSize:]; len(b) > 0; {
			n := size(b)
			if !yield(b[:n:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// Fields gives the fields of an Object in the order of keys, nothing for other kinds.
func (v Value) Fields() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.Kind() != Object {
			return
		}
		for b := v[headerSize:]; len(b) > 0; {
			key, rest := cutKey(b)
			n := size(rest)
			if !yield(key, rest[:n:n]) {
				return
			}
			b = rest[n:]
		}
	}
}

// Get finds a field of an Object.
func (v Value) Get(key string) (Value, bool) {
	if v.Kind() != Object {
		return nil, false
	}
	for b := []byte(v[headerSize:]); len(b) > 0; {
		k, rest := cutKey(b)
		n := size(rest)
		if c := cmp.Compare(k, key); c == 0 {
			return rest[:n:n], true
		} else if c > 0 {
			return nil, false
		}
		b = rest[n:]
	}
	return nil, false
}

// At gives element i of a List.
func (v Value) At(i int) (Value, bool) {
	if v.Kind() != List || i < 0 || i >= v.Len() {
		return nil, false
	}
	b := []byte(v[headerSize:])
	for ; i > 0; i-- {
		b = b[size(b):]
	}
	n := size(b)
	return b[:n:n], true
}
