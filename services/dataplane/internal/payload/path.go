package payload

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrPath reports a payload path that does not follow the grammar
//
//	path = key { "." key | "[" digits "]" | "[]" }
//	key  = letters, digits, "_" and "-" (at least one), or any characters but a quote in double quotes
var ErrPath = errors.New("malformed payload path")

// Path is a parsed payload path. It never has zero steps.
type Path struct{ steps []step }

// step goes into an object (key), into one element of a list (index >= 0) or
// into all of them (each).
type step struct {
	key   string
	index int
	kind  stepKind
}

type stepKind uint8

const (
	byKey stepKind = iota
	byIndex
	byEach
)

// ParsePath parses a path such as `a.b`, `a[].b`, `a[0].b` or `"a.b".c`. Its
// error wraps ErrPath and names the path and the byte where it goes wrong.
func ParsePath(s string) (Path, error) {
	var p Path
	rest := s
	bad := func(what string) (Path, error) {
		return Path{}, fmt.Errorf("%w: %q: %s at byte %d", ErrPath, s, what, len(s)-len(rest))
	}
	for first := true; first || rest != ""; first = false {
		switch {
		case !first && rest[0] == '[':
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return bad("unclosed [")
			}
			st := step{kind: byEach}
			if digits := rest[1:end]; digits != "" {
				n, err := strconv.ParseUint(digits, 10, 31)
				if err != nil {
					return bad("index is not a number")
				}
				st = step{kind: byIndex, index: int(n)}
			}
			p.steps, rest = append(p.steps, st), rest[end+1:]
			continue
		case !first && rest[0] == '.':
			rest = rest[1:]
		case !first:
			return bad("expected . or [")
		}
		key, tail, what := cutPathKey(rest)
		if what != "" {
			return bad(what)
		}
		p.steps, rest = append(p.steps, step{key: key}), tail
	}
	return p, nil
}

// KeyPath is the path of one top-level key, whatever characters it has.
func KeyPath(key string) Path { return Path{steps: []step{{key: key}}} }

func cutPathKey(s string) (key, rest, bad string) {
	if strings.HasPrefix(s, `"`) {
		end := strings.IndexByte(s[1:], '"')
		if end < 0 {
			return "", "", "unclosed quote"
		}
		return s[1 : 1+end], s[end+2:], ""
	}
	n := 0
	for n < len(s) {
		r, w := utf8.DecodeRuneInString(s[n:])
		if r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsNumber(r) {
			break
		}
		n += w
	}
	if n == 0 {
		return "", "", "expected a key"
	}
	return s[:n], s[n:], ""
}

// Top is the path's top-level key.
func (p Path) Top() string { return p.steps[0].key }

// IsTop tells whether the path is nothing but a top-level key.
func (p Path) IsTop() bool { return len(p.steps) == 1 }

// Cover is the text of the longest path that Project can select and that holds all
// that lies at p: single elements of lists cannot be selected.
func (p Path) Cover() string {
	for i, s := range p.steps {
		if s.kind == byIndex {
			return Path{steps: p.steps[:i]}.String()
		}
	}
	return p.String()
}

// String gives the path in its shortest text form.
func (p Path) String() string {
	var b strings.Builder
	for i, s := range p.steps {
		switch s.kind {
		case byIndex:
			fmt.Fprintf(&b, "[%d]", s.index)
		case byEach:
			b.WriteString("[]")
		case byKey:
			if i > 0 {
				b.WriteByte('.')
			}
			if k, rest, bad := cutPathKey(s.key); bad == "" && rest == "" && k == s.key {
				b.WriteString(k)
			} else {
				b.WriteString(`"` + s.key + `"`)
			}
		}
	}
	return b.String()
}

// Walk visits every value at the path until visit answers false, and tells
// whether it came to the end. A list at the end of the path is visited as one
// value; a step by key does not look into lists by itself.
func (p Path) Walk(d Doc, visit func(Value) bool) bool { return walk(Value(d), p.steps, visit) }

// WalkValue is Walk relative to a value inside a document.
func (p Path) WalkValue(v Value, visit func(Value) bool) bool { return walk(v, p.steps, visit) }

// First finds the first value at the path.
func (p Path) First(d Doc) (found Value, ok bool) {
	p.Walk(d, func(v Value) bool { found, ok = v, true; return false })
	return found, ok
}

func walk(v Value, steps []step, visit func(Value) bool) bool {
	for i, s := range steps {
		var ok bool
		switch s.kind {
		case byKey:
			v, ok = v.Get(s.key)
		case byIndex:
			v, ok = v.At(s.index)
		case byEach:
			for e := range v.Elements() {
				if !walk(e, steps[i+1:], visit) {
					return false
				}
			}
			return true
		}
		if !ok {
			return true
		}
	}
	return visit(v)
}
