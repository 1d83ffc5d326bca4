package dialect

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

type encoder struct {
	c *Codec
	b []byte
	Options
}

// comma separates from what stands before on the same level.
func (e *encoder) comma() {
	if c := e.b[len(e.b)-1]; c != '{' && c != '[' {
		e.b = append(e.b, ',')
	}
}

func (e *encoder) key(name string) {
	e.comma()
	e.string(name)
	e.b = append(e.b, ':')
}

func (e *encoder) string(s string) { e.b = AppendString(e.b, s) }

func (e *encoder) null() { e.b = append(e.b, "null"...) }

// AppendString prints s as a JSON string.
func AppendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&15])
		}
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

// AppendFloat prints the shortest text that reads back as f of that many bits,
// always with a fraction or an exponent, so that 1.0 is not taken for an
// integer. JSON has no word for infinities and NaN: they are null.
func AppendFloat(b []byte, f float64, bits int) []byte {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return append(b, "null"...)
	}
	from := len(b)
	large := 1e16
	if bits == 32 {
		large = float64(float32(1e13))
	}
	if a := math.Abs(f); a != 0 && (a < 1e-5 || a >= large) {
		b = strconv.AppendFloat(b, f, 'e', -1, bits)
		// e-07 becomes e-7, e+20 becomes e20.
		at := from + slices.Index(b[from:], 'e') + 1
		if b[at] == '+' {
			b = slices.Delete(b, at, at+1)
		} else {
			at++
		}
		if b[at] == '0' {
			b = slices.Delete(b, at, at+1)
		}
		return b
	}
	b = strconv.AppendFloat(b, f, 'f', -1, bits)
	if !slices.Contains(b[from:], '.') {
		b = append(b, ".0"...)
	}
	return b
}

// message prints m, whatever form its type has.
func (e *encoder) message(m protoreflect.Message) {
	if ts, ok := m.Interface().(*timestamppb.Timestamp); ok {
		e.time(ts)
		return
	}
	plan := e.c.messages[m.Descriptor().FullName()]
	switch {
	case plan.rule.encode != nil:
		plan.rule.encode(e, m)
	case plan.sole != nil:
		e.value(plan.sole, m.Get(plan.sole.fd))
	case plan.rule.scalars:
		e.scalars(m)
	default:
		e.object(m)
	}
}

func (e *encoder) object(m protoreflect.Message) {
	e.b = append(e.b, '{')
	e.members(m)
	e.b = append(e.b, '}')
}

// members prints what stands between the braces.
func (e *encoder) members(m protoreflect.Message) {
	for _, f := range e.c.messages[m.Descriptor().FullName()].order {
		placeholder := f.fd != nil && f.fd.Kind() == protoreflect.EnumKind && !f.fd.IsList() && !e.c.enums[f.fd.Enum().FullName()].real(m.Get(f.fd).Enum())
		switch {
		case f.rule.encode != nil:
			f.rule.encode(e, m)
		case f.rule.inline:
			if m.Has(f.fd) {
				e.members(m.Get(f.fd).Message())
			}
		case f.fd == nil:
		case m.Has(f.fd) && !placeholder:
			e.key(f.name)
			e.value(f, m.Get(f.fd))
		case e.Response && f.rule.null:
			e.key(f.name)
			e.null()
		case f.rule.fill != "":
			e.key(f.name)
			e.b = append(e.b, f.rule.fill...)
		case !f.fd.HasPresence() && !f.rule.sparse && !placeholder:
			e.key(f.name)
			e.value(f, m.Get(f.fd))
		}
	}
}

// value prints what a field holds.
func (e *encoder) value(f *field, v protoreflect.Value) {
	switch {
	case f.fd.IsMap():
		e.mapping(f, v.Map())
	case f.fd.IsList():
		e.b = append(e.b, '[')
		for i := range v.List().Len() {
			e.comma()
			e.item(f, v.List().Get(i))
		}
		e.b = append(e.b, ']')
	default:
		e.item(f, v)
	}
}

func (e *encoder) item(f *field, v protoreflect.Value) {
	switch {
	case f.fd.Message() == nil:
		e.scalar(f.fd, v)
	case f.rule.bare:
		// A message in a list that shows as its first field alone.
		inner := e.c.messages[f.fd.Message().FullName()].order[0]
		e.value(inner, v.Message().Get(inner.fd))
	default:
		e.message(v.Message())
	}
}

func (e *encoder) mapping(f *field, entries protoreflect.Map) {
	keys := make([]protoreflect.MapKey, 0, entries.Len())
	for k := range entries.Range {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
	e.b = append(e.b, '{')
	for _, k := range keys {
		e.key(k.String())
		v := entries.Get(k)
		if f.fd.MapValue().Message() != nil {
			e.message(v.Message())
		} else {
			e.scalar(f.fd.MapValue(), v)
		}
	}
	e.b = append(e.b, '}')
}

func (e *encoder) scalar(fd protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		e.b = strconv.AppendBool(e.b, v.Bool())
	case protoreflect.StringKind:
		e.string(v.String())
	case protoreflect.EnumKind:
		e.string(e.c.enums[fd.Enum().FullName()].token(v.Enum()))
	case protoreflect.FloatKind:
		e.b = AppendFloat(e.b, v.Float(), 32)
	case protoreflect.DoubleKind:
		e.b = AppendFloat(e.b, v.Float(), 64)
	case protoreflect.Uint64Kind, protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		e.b = strconv.AppendUint(e.b, v.Uint(), 10)
	case protoreflect.BytesKind:
		e.string(string(v.Bytes()))
	default:
		e.b = strconv.AppendInt(e.b, v.Int(), 10)
	}
}

// scalars prints the member of m's oneof that is set as a bare scalar.
func (e *encoder) scalars(m protoreflect.Message) {
	for fd, v := range m.Range {
		e.item(&field{fd: fd}, v)
		return
	}
	e.null()
}
