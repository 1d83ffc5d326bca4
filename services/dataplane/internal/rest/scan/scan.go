// Package scan reads JSON text into a flat list of nodes that can be walked
// forwards and looked into more than once, which the untagged unions of the
// REST dialect need. One pass checks the whole grammar (RFC 8259, valid UTF-8,
// a limit on depth), so everything after Parse is conversion and never syntax.
// Arrays of plain numbers, which are most of a body's bytes, become one node
// and are read into float32 on the way.
//
// It is not a general JSON package: it does not write, does not stream and
// knows nothing of Go types or protobuf.
package scan

import (
	"bytes"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// MaxDepth is how many arrays and objects may stand inside each other.
const MaxDepth = 128

// Kind tells what a Value is.
type Kind uint8

// The kinds of values. There is one for each JSON type.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

func (k Kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// node is one value, or one key of an object.
type node struct {
	start, end uint32 // bytes in src, quotes and brackets included
	next       uint32 // index of the node after this one and everything in it
	count      uint32 // elements of an array, members of an object
	floats     uint32 // where the elements of a numeric array begin in Doc.floats
	kind       Kind
	flags      uint8
}

const (
	escaped  uint8 = 1 << iota // a string with backslashes
	numeric                    // an array of plain numbers; its elements have no nodes
	overflow                   // a numeric array that holds a number beyond float32
	truth                      // the boolean true
)

// Doc is one parsed text. The zero value is ready for Parse, which reuses the
// memory of earlier texts. Values of a Doc are valid until its next Parse and
// as long as the text stays as it was.
type Doc struct {
	src    []byte
	nodes  []node
	floats []float32
}

// Error is a text that is not JSON, or not within the limits.
type Error struct {
	// Offset counts bytes from the start of the text.
	Offset int
	Msg    string
}

func (e *Error) Error() string { return e.Msg }

// Value is one value inside a Doc.
type Value struct {
	d *Doc
	n node
	i uint32 // index of n in d.nodes; meaningless for elements of a numeric array
}

// Parse reads src, which the Doc keeps. Any error is a *Error.
func (d *Doc) Parse(src []byte) error {
	if len(src) > math.MaxUint32/2 {
		return &Error{Msg: "text is too long"}
	}
	d.src, d.nodes, d.floats = src, d.nodes[:0], d.floats[:0]
	if !utf8.Valid(src) {
		return &Error{Offset: firstInvalid(src), Msg: "invalid UTF-8"}
	}
	p := parser{d: d, src: src}
	if err := p.value(); err != nil {
		return err
	}
	if p.space(); p.i != len(src) {
		return p.fail("trailing characters")
	}
	return nil
}

func firstInvalid(src []byte) int {
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return len(src)
}

// Forget drops the text and trims memory beyond what is worth keeping.
func (d *Doc) Forget() {
	const keep = 1 << 20
	d.src = nil
	if cap(d.nodes) > keep/16 {
		d.nodes = nil
	}
	if cap(d.floats) > keep {
		d.floats = nil
	}
}

// Root is the outermost value.
func (d *Doc) Root() Value { return Value{d: d, n: d.nodes[0]} }

// Position tells the line and the column, both from 1, of a byte offset.
func Position(src []byte, offset int) (line, column int) {
	offset = min(offset, len(src))
	line = 1 + bytes.Count(src[:offset], []byte{'\n'})
	return line, offset - bytes.LastIndexByte(src[:offset], '\n')
}

// Kind tells what v is.
func (v Value) Kind() Kind { return v.n.kind }

// Offset is where v begins in the text.
func (v Value) Offset() int { return int(v.n.start) }

// Raw is the text of v as it stands in the source.
func (v Value) Raw() []byte { return v.d.src[v.n.start:v.n.end] }

// Bool is the value of a boolean.
func (v Value) Bool() bool { return v.n.flags&truth != 0 }

// Len counts the elements of an array or the members of an object.
func (v Value) Len() int { return int(v.n.count) }

// Numeric tells whether v is an array that holds plain numbers and nothing
// else. The empty array is not.
func (v Value) Numeric() bool { return v.n.flags&numeric != 0 }

// Text is the content of a string.
func (v Value) Text() string {
	raw := v.d.src[v.n.start+1 : v.n.end-1]
	if v.n.flags&escaped == 0 {
		return string(raw)
	}
	return string(unescape(make([]byte, 0, len(raw)), raw))
}

// Is tells whether v is a string of just this content.
func (v Value) Is(s string) bool {
	if v.n.kind != String {
		return false
	}
	if v.n.flags&escaped == 0 {
		return string(v.d.src[v.n.start+1:v.n.end-1]) == s
	}
	return v.Text() == s
}

// Integer tells whether a number is written without fraction and exponent.
func (v Value) Integer() bool { return !bytes.ContainsAny(v.Raw(), ".eE") }

// Int64 reads a number; ok is false if it is no integer or does not fit.
func (v Value) Int64() (int64, bool) {
	x, err := strconv.ParseInt(string(v.Raw()), 10, 64)
	return x, err == nil
}

// Uint64 reads a number; ok is false if it is no natural number or does not fit.
func (v Value) Uint64() (uint64, bool) {
	x, err := strconv.ParseUint(string(v.Raw()), 10, 64)
	return x, err == nil
}

// Float64 reads a number; ok is false beyond the range of the type.
func (v Value) Float64() (float64, bool) {
	x, err := strconv.ParseFloat(string(v.Raw()), 64)
	return x, err == nil
}

// Float32 reads a number, correctly rounded; ok is false beyond the range.
func (v Value) Float32() (float32, bool) {
	x, err := strconv.ParseFloat(string(v.Raw()), 32)
	return float32(x), err == nil
}

// Float32s is a copy of a numeric array; ok is false if an element is beyond
// the range of the type.
func (v Value) Float32s() ([]float32, bool) {
	if v.n.flags&overflow != 0 {
		return nil, false
	}
	return slices.Clone(v.d.floats[v.n.floats : v.n.floats+v.n.count]), true
}

// Items walks an array.
func (v Value) Items() iter.Seq2[int, Value] {
	if v.Numeric() {
		return v.numbers
	}
	return func(yield func(int, Value) bool) {
		at := v.i + 1
		for k := range int(v.n.count) {
			e := Value{d: v.d, n: v.d.nodes[at], i: at}
			if !yield(k, e) {
				return
			}
			at = e.n.next
		}
	}
}

// numbers makes values of the elements of a numeric array, which have no nodes.
func (v Value) numbers(yield func(int, Value) bool) {
	i := v.n.start + 1
	for k := range int(v.n.count) {
		for isSpace(v.d.src[i]) || v.d.src[i] == ',' {
			i++
		}
		end, _ := number(v.d.src, int(i))
		if !yield(k, Value{d: v.d, n: node{kind: Number, start: i, end: uint32(end)}}) {
			return
		}
		i = uint32(end)
	}
}

// Members walks an object in the order of the text. Keys may repeat.
func (v Value) Members() iter.Seq2[Key, Value] {
	return func(yield func(Key, Value) bool) {
		at := v.i + 1
		for range int(v.n.count) {
			k := Key{Value{d: v.d, n: v.d.nodes[at], i: at}}
			e := Value{d: v.d, n: v.d.nodes[at+1], i: at + 1}
			if !yield(k, e) {
				return
			}
			at = e.n.next
		}
	}
}

// Get is the last member of that name.
func (v Value) Get(name string) (found Value, ok bool) {
	if v.n.kind != Object {
		return Value{}, false
	}
	for k, e := range v.Members() {
		if k.Is(name) {
			found, ok = e, true
		}
	}
	return found, ok
}

// Key is the name of a member.
type Key struct{ Value }

// Bytes is the name. It may lie in the source: do not change or keep it.
func (k Key) Bytes() []byte {
	raw := k.d.src[k.n.start+1 : k.n.end-1]
	if k.n.flags&escaped == 0 {
		return raw
	}
	return unescape(nil, raw)
}

func (p *parser) fail(format string, args ...any) *Error {
	return &Error{Offset: p.i, Msg: fmt.Sprintf(format, args...)}
}
