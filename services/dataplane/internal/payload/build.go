package payload

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Builder makes the canonical form out of calls in the order of a document:
//
//	b.BeginObject(); b.Key("a"); b.Int(1); b.Key("b"); b.BeginList(); b.Null(); b.End(); b.End()
//	doc, err := b.Doc()
//
// Keys may come in any order. The first mistake sticks and is reported at the
// end. The zero Builder is ready; Reset makes it ready again and keeps memory.
type Builder struct {
	buf     []byte
	scratch []byte
	stack   []frame
	marks   []mark
	err     error
}

// frame is an open list or object.
type frame struct {
	start int // offset of the container in buf
	first int // index of its first mark
	count int
	list  bool
	keyed bool // a key waits for its value
}

// mark is where a member of an open object lies in buf.
type mark struct{ key, keyEnd, start, end int }

// Reset forgets everything but the memory. A Doc returned earlier stays valid.
func (b *Builder) Reset() {
	*b = Builder{buf: b.buf[:0], scratch: b.scratch[:0], stack: b.stack[:0], marks: b.marks[:0]}
}

// Null adds a null.
func (b *Builder) Null() {
	if b.begin() {
		b.buf = AppendNull(b.buf)
		b.end()
	}
}

// Bool adds a boolean.
func (b *Builder) Bool(v bool) {
	if b.begin() {
		b.buf = AppendBool(b.buf, v)
		b.end()
	}
}

// Int adds an integer.
func (b *Builder) Int(v int64) {
	if b.begin() {
		b.buf = AppendInt(b.buf, v)
		b.end()
	}
}

// Double adds a double; it stays one also if it is whole. NaN and infinities
// are ErrNotFinite.
func (b *Builder) Double(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		b.fail(ErrNotFinite)
	}
	if b.begin() {
		b.buf = AppendDouble(b.buf, v)
		b.end()
	}
}

// Str adds a string; ErrUTF8 if it is none.
func (b *Builder) Str(v string) {
	if !utf8.ValidString(v) {
		b.fail(ErrUTF8)
	}
	if b.begin() {
		b.buf = AppendString(b.buf, v)
		b.end()
	}
}

// Value adds a copy of a canonical value.
func (b *Builder) Value(v Value) {
	if len(b.stack)+depth(v) > MaxDepth {
		b.fail(ErrDepth)
	}
	if b.begin() {
		if len(v) == 0 {
			b.buf = AppendNull(b.buf)
		} else {
			b.buf = append(b.buf, v...)
		}
		b.end()
	}
}

// BeginObject opens an object; Key and a value alternate until End.
func (b *Builder) BeginObject() { b.open(Object) }

// BeginList opens a list; its elements follow until End.
func (b *Builder) BeginList() { b.open(List) }

// Key names the value that comes next.
func (b *Builder) Key(key string) {
	if b.err != nil {
		return
	}
	if len(b.stack) == 0 {
		b.fail(ErrMisuse)
		return
	}
	f := &b.stack[len(b.stack)-1]
	if f.list || f.keyed {
		b.fail(ErrMisuse)
		return
	}
	if !utf8.ValidString(key) {
		b.fail(ErrUTF8)
		return
	}
	f.keyed = true
	m := mark{start: len(b.buf)}
	b.buf = appendKey(b.buf, key)
	m.keyEnd = len(b.buf)
	m.key = m.keyEnd - len(key)
	b.marks = append(b.marks, m)
}

// End closes the innermost object or list.
func (b *Builder) End() {
	if b.err != nil {
		return
	}
	if len(b.stack) == 0 || b.stack[len(b.stack)-1].keyed {
		b.fail(ErrMisuse)
		return
	}
	f := b.stack[len(b.stack)-1]
	b.stack = b.stack[:len(b.stack)-1]
	if !f.list {
		b.sort(b.marks[f.first:])
		b.marks = b.marks[:f.first]
	}
	b.buf = shut(b.buf, f.start, f.count)
	b.end()
}

// Doc gives the finished object as a copy of its own; an object without keys
// is the nil Doc. ErrMisuse if what was built is not one whole object.
func (b *Builder) Doc() (Doc, error) {
	v, err := b.done()
	if err != nil {
		return nil, err
	}
	if v.Kind() != Object {
		return nil, ErrMisuse
	}
	if v.Len() == 0 {
		return nil, nil
	}
	return Doc(slices.Clone(v)), nil
}

// Finish gives the finished value of any kind as a copy of its own.
func (b *Builder) Finish() (Value, error) {
	v, err := b.done()
	return slices.Clone(v), err
}

func (b *Builder) done() (Value, error) {
	if b.err == nil && (len(b.stack) > 0 || len(b.buf) == 0) {
		b.fail(ErrMisuse)
	}
	if b.err == nil && len(b.buf) > MaxSize {
		b.fail(ErrTooLarge)
	}
	return Value(b.buf), b.err
}

func (b *Builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *Builder) open(k Kind) {
	if len(b.stack) == MaxDepth {
		b.fail(ErrDepth)
	}
	if !b.begin() {
		return
	}
	b.stack = append(b.stack, frame{start: len(b.buf), first: len(b.marks), list: k == List})
	b.buf = open(b.buf, k)
}

// begin tells whether a value may come here.
func (b *Builder) begin() bool {
	switch {
	case b.err != nil:
	case len(b.buf) > MaxSize:
		b.fail(ErrTooLarge)
	case len(b.stack) == 0 && len(b.buf) > 0:
		b.fail(ErrMisuse)
	case len(b.stack) > 0 && !b.stack[len(b.stack)-1].list && !b.stack[len(b.stack)-1].keyed:
		b.fail(ErrMisuse)
	}
	return b.err == nil
}

// end counts the value that was just completed.
func (b *Builder) end() {
	if len(b.stack) == 0 {
		return
	}
	f := &b.stack[len(b.stack)-1]
	f.count++
	if !f.list {
		f.keyed = false
		b.marks[len(b.marks)-1].end = len(b.buf)
	}
}

// sort puts the members of the object that ends buf in the order of their keys.
func (b *Builder) sort(ms []mark) {
	name := func(m mark) string { return text(b.buf[m.key:m.keyEnd]) }
	sorted := true
	for i := 1; i < len(ms) && sorted; i++ {
		sorted = name(ms[i-1]) < name(ms[i])
	}
	if sorted {
		return
	}
	from := ms[0].start
	slices.SortFunc(ms, func(x, y mark) int { return strings.Compare(name(x), name(y)) })
	for i := 1; i < len(ms); i++ {
		if name(ms[i-1]) == name(ms[i]) {
			b.fail(ErrDuplicate)
			return
		}
	}
	b.scratch = b.scratch[:0]
	for _, m := range ms {
		b.scratch = append(b.scratch, b.buf[m.start:m.end]...)
	}
	copy(b.buf[from:], b.scratch)
}
