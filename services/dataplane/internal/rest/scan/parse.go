package scan

import (
	"unicode/utf16"
	"unicode/utf8"
)

// parser walks src once and appends nodes to d. Its depth of recursion is
// bounded by MaxDepth.
type parser struct {
	d     *Doc
	src   []byte
	i     int
	depth int
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// space moves to the next byte that is not white space.
func (p *parser) space() {
	for p.i < len(p.src) && isSpace(p.src[p.i]) {
		p.i++
	}
}

// peek moves to the next byte of substance and tells it; 0 at the end.
func (p *parser) peek() byte {
	p.space()
	if p.i == len(p.src) {
		return 0
	}
	return p.src[p.i]
}

func (p *parser) open(kind Kind) uint32 {
	p.d.nodes = append(p.d.nodes, node{start: uint32(p.i), kind: kind})
	return uint32(len(p.d.nodes) - 1)
}

func (p *parser) close(at uint32) *node {
	n := &p.d.nodes[at]
	n.end, n.next = uint32(p.i), uint32(len(p.d.nodes))
	return n
}

func (p *parser) value() error {
	switch c := p.peek(); {
	case c == '"':
		return p.string()
	case c == '{':
		return p.nested(p.object)
	case c == '[':
		return p.nested(p.array)
	case c == '-' || '0' <= c && c <= '9':
		at := p.open(Number)
		end, ok := number(p.src, p.i)
		p.i = end
		if !ok {
			return p.fail("invalid number")
		}
		p.close(at)
		return nil
	case c == 't':
		return p.literal("true", Bool, truth)
	case c == 'f':
		return p.literal("false", Bool, 0)
	case c == 'n':
		return p.literal("null", Null, 0)
	case p.i == len(p.src):
		return p.fail("EOF while parsing a value")
	}
	return p.fail("expected value")
}

func (p *parser) nested(body func() error) error {
	if p.depth++; p.depth > MaxDepth {
		return p.fail("recursion limit of %d exceeded", MaxDepth)
	}
	defer func() { p.depth-- }()
	return body()
}

func (p *parser) literal(word string, kind Kind, flags uint8) error {
	at := p.open(kind)
	for k := range len(word) {
		if p.i == len(p.src) {
			return p.fail("EOF while parsing a value")
		}
		if p.src[p.i] != word[k] {
			return p.fail("expected ident")
		}
		p.i++
	}
	p.close(at).flags = flags
	return nil
}

func (p *parser) object() error {
	at := p.open(Object)
	count := uint32(0)
	for p.i++; ; p.i++ {
		c := p.peek()
		if c == '}' && count == 0 {
			break
		}
		if c != '"' {
			return p.ends("an object", "key must be a string")
		}
		if err := p.string(); err != nil {
			return err
		}
		if p.peek() != ':' {
			return p.ends("an object", "expected `:`")
		}
		p.i++
		if err := p.value(); err != nil {
			return err
		}
		count++
		if c = p.peek(); c == '}' {
			break
		}
		if c != ',' {
			return p.ends("an object", "expected `,` or `}`")
		}
	}
	p.i++
	p.close(at).count = count
	return nil
}

// ends tells a text that stops from one that goes wrong.
func (p *parser) ends(inside, otherwise string) error {
	if p.i == len(p.src) {
		return p.fail("EOF while parsing %s", inside)
	}
	return p.fail("%s", otherwise)
}

func (p *parser) array() error {
	at := p.open(Array)
	start := p.i
	p.i++
	if c := p.peek(); c == '-' || '0' <= c && c <= '9' {
		if p.numbers(at) {
			return nil
		}
		p.i = start + 1
	}
	count := uint32(0)
	for ; ; p.i++ {
		if c := p.peek(); c == ']' && count == 0 {
			break
		}
		if err := p.value(); err != nil {
			return err
		}
		count++
		c := p.peek()
		if c == ']' {
			break
		}
		if c != ',' {
			return p.ends("a list", "expected `,` or `]`")
		}
	}
	p.i++
	p.close(at).count = count
	return nil
}

// numbers tries to read the rest of an array as numbers alone. If that fails,
// for whatever reason, nothing has changed but p.i.
func (p *parser) numbers(at uint32) bool {
	from := len(p.d.floats)
	floats, end, over, ok := appendFloats(p.d.floats, p.src, p.i)
	if !ok {
		return false
	}
	p.d.floats, p.i = floats, end
	n := p.close(at)
	n.floats, n.count, n.flags = uint32(from), uint32(len(floats)-from), numeric
	if over {
		n.flags |= overflow
	}
	return true
}

func (p *parser) string() error {
	at := p.open(String)
	flags := uint8(0)
	for p.i++; p.i < len(p.src); p.i++ {
		switch c := p.src[p.i]; {
		case c == '"':
			p.i++
			p.close(at).flags = flags
			return nil
		case c < ' ':
			return p.fail("control character found while parsing a string")
		case c == '\\':
			flags = escaped
			if err := p.escape(); err != nil {
				return err
			}
		}
	}
	return p.fail("EOF while parsing a string")
}

// escape checks one escape sequence and leaves p.i on its last byte.
func (p *parser) escape() error {
	if p.i+1 >= len(p.src) {
		p.i = len(p.src)
		return p.fail("EOF while parsing a string")
	}
	p.i++
	switch p.src[p.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
		r, ok := hex4(p.src[p.i+1:])
		if !ok {
			return p.fail("invalid escape")
		}
		p.i += 4
		if !utf16.IsSurrogate(r) {
			return nil
		}
		if rest := p.src[p.i+1:]; len(rest) >= 2 && rest[0] == '\\' && rest[1] == 'u' {
			if low, ok := hex4(rest[2:]); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
				p.i += 6
				return nil
			}
		}
		return p.fail("lone surrogate in hex escape")
	}
	return p.fail("invalid escape")
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape appends the content of a checked string.
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			continue
		}
		i++
		switch raw[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(raw[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low, _ := hex4(raw[i+3:])
				r = utf16.DecodeRune(r, low)
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, raw[i])
		}
	}
	return dst
}
