package dialect

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/pandodb/pando/services/dataplane/internal/rest/scan"
)

type decoder struct{ c *Codec }

// mismatch is a value of the wrong form. The path grows from its end while the
// error travels up.
type mismatch struct {
	offset int
	msg    string
	path   []string
}

func (e *mismatch) Error() string { return e.msg }

func (e *mismatch) where() string {
	var b strings.Builder
	for _, seg := range slices.Backward(e.path) {
		if b.Len() > 0 && seg[0] != '[' {
			b.WriteByte('.')
		}
		b.WriteString(seg)
	}
	return b.String()
}

func fail(v scan.Value, format string, args ...any) *mismatch {
	return &mismatch{offset: v.Offset(), msg: fmt.Sprintf(format, args...)}
}

func expected(v scan.Value, what string) *mismatch {
	return fail(v, "invalid type: %s, expected %s", v.Kind(), what)
}

// in adds where the error happened, seen from one level up.
func in(err error, name string) error {
	if name == "" {
		name = `""` // a vector without a name
	}
	if e, ok := errors.AsType[*mismatch](err); ok && len(e.path) <= 2*scan.MaxDepth {
		e.path = append(e.path, name)
	}
	return err
}

func inItem(err error, i int) error { return in(err, fmt.Sprintf("[%d]", i)) }

// message reads v into m, whatever form its type has.
func (d *decoder) message(v scan.Value, m protoreflect.Message) error {
	if ts, ok := m.Interface().(*timestamppb.Timestamp); ok {
		return decodeTime(v, ts)
	}
	plan := d.c.messages[m.Descriptor().FullName()]
	switch {
	case plan.rule.decode != nil:
		return plan.rule.decode(d, v, m)
	case plan.sole != nil:
		return d.field(v, m, plan.sole)
	case plan.rule.scalars:
		return d.scalars(v, m)
	case plan.short != nil && v.Kind() == scan.String:
		return d.field(v, m, plan.short)
	}
	return d.object(v, m)
}

// object reads the members of v, generically.
func (d *decoder) object(v scan.Value, m protoreflect.Message) error {
	plan := d.c.messages[m.Descriptor().FullName()]
	if v.Kind() != scan.Object {
		return expected(v, "an object")
	}
	seen, members := uint64(0), 0
	for key, e := range v.Members() {
		f := plan.fields[string(key.Bytes())]
		if f == nil {
			if plan.rule.strict {
				return fail(key.Value, "unknown field `%s`, expected %s", key.Bytes(), plan.names())
			}
			continue
		}
		at := m
		if f.within != nil {
			at = m.Mutable(f.within).Message()
		}
		if f.rule.weak && at.WhichOneof(f.fd.ContainingOneof()) != nil {
			at = at.New() // read all the same, since it has to be of the right form
		}
		if e.Kind() == scan.Null && f.fd != nil && !f.null() {
			at.Clear(f.fd)
			seen &^= f.must
			continue
		}
		seen |= f.must
		members++
		if err := d.field(e, at, f); err != nil {
			return in(err, f.name)
		}
	}
	for i, name := range plan.required {
		if seen&(1<<i) == 0 {
			return fail(v, "missing field `%s`", name)
		}
	}
	if plan.rule.one && members != 1 {
		return fail(v, "expected exactly one of %s", plan.names())
	}
	return nil
}

// names lists the members for a message to people.
func (p *message) names() string {
	var names []string
	for _, f := range p.order {
		if name := "`" + f.name + "`"; !f.rule.inline && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// null tells whether a JSON null is a value of the field.
func (f *field) null() bool {
	return f.fd.Kind() == protoreflect.MessageKind && f.fd.Message().FullName() == "qdrant.Value" && !f.fd.IsList() && !f.fd.IsMap()
}

// field reads v into one field of m and replaces what was there.
func (d *decoder) field(v scan.Value, m protoreflect.Message, f *field) error {
	if f.rule.decode != nil {
		return f.rule.decode(d, v, m)
	}
	fd := f.fd
	switch {
	case fd.IsMap():
		return d.mapping(v, m, fd)
	case fd.IsList():
		return d.list(v, m, f)
	case fd.Message() != nil:
		inner := m.NewField(fd)
		if err := d.message(v, inner.Message()); err != nil {
			return err
		}
		m.Set(fd, inner)
		return nil
	}
	x, err := d.scalar(v, fd)
	if err != nil {
		return err
	}
	m.Set(fd, x)
	return nil
}

func (d *decoder) list(v scan.Value, m protoreflect.Message, f *field) error {
	m.Clear(f.fd)
	list := m.Mutable(f.fd).List()
	if f.rule.many && v.Kind() != scan.Array {
		return d.item(v, list, f.fd)
	}
	if v.Kind() != scan.Array {
		return expected(v, "a list")
	}
	for i, e := range v.Items() {
		if err := d.item(e, list, f.fd); err != nil {
			return inItem(err, i)
		}
	}
	return nil
}

func (d *decoder) item(v scan.Value, list protoreflect.List, fd protoreflect.FieldDescriptor) error {
	if fd.Message() != nil {
		return d.message(v, list.AppendMutable().Message())
	}
	x, err := d.scalar(v, fd)
	if err != nil {
		return err
	}
	list.Append(x)
	return nil
}

func (d *decoder) mapping(v scan.Value, m protoreflect.Message, fd protoreflect.FieldDescriptor) error {
	if v.Kind() != scan.Object {
		return expected(v, "a map")
	}
	m.Clear(fd)
	entries := m.Mutable(fd).Map()
	for key, e := range v.Members() {
		k, err := mapKey(key, fd.MapKey())
		if err != nil {
			return err
		}
		if fd.MapValue().Message() == nil {
			x, err := d.scalar(e, fd.MapValue())
			if err != nil {
				return in(err, string(key.Bytes()))
			}
			entries.Set(k, x)
			continue
		}
		x := entries.NewValue()
		if err := d.message(e, x.Message()); err != nil {
			if fd.MapValue().Message().FullName() == "qdrant.Value" {
				return err // keys of payload are not for errors
			}
			return in(err, string(key.Bytes()))
		}
		entries.Set(k, x)
	}
	return nil
}

// mapKey reads the name of an entry; numbers stand as text there.
func mapKey(key scan.Key, fd protoreflect.FieldDescriptor) (protoreflect.MapKey, error) {
	if fd.Kind() == protoreflect.StringKind {
		return protoreflect.ValueOfString(string(key.Bytes())).MapKey(), nil
	}
	n, err := strconv.ParseUint(string(key.Bytes()), 10, 32)
	switch {
	case fd.Kind() == protoreflect.Uint64Kind:
		n, err = strconv.ParseUint(string(key.Bytes()), 10, 64)
		return protoreflect.ValueOfUint64(n).MapKey(), keyError(key, err)
	case fd.Kind() == protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n)).MapKey(), keyError(key, err)
	}
	return protoreflect.MapKey{}, fail(key.Value, "maps by %s have no JSON form", fd.Kind())
}

func keyError(key scan.Key, err error) error {
	if err != nil {
		return fail(key.Value, "invalid key, expected an unsigned integer in quotes")
	}
	return nil
}

func (d *decoder) scalar(v scan.Value, fd protoreflect.FieldDescriptor) (protoreflect.Value, error) {
	none := protoreflect.Value{}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if v.Kind() != scan.Bool {
			return none, expected(v, "a boolean")
		}
		return protoreflect.ValueOfBool(v.Bool()), nil
	case protoreflect.StringKind:
		if v.Kind() != scan.String {
			return none, expected(v, "a string")
		}
		return protoreflect.ValueOfString(v.Text()), nil
	case protoreflect.EnumKind:
		if v.Kind() != scan.String {
			return none, expected(v, "a string")
		}
		text := v.Text()
		e := d.c.enums[fd.Enum().FullName()]
		n, ok := e.numbers[text]
		if !ok {
			return none, fail(v, "unknown variant `%s`, expected one of %s", text, e.list())
		}
		return protoreflect.ValueOfEnum(n), nil
	}
	if v.Kind() != scan.Number {
		return none, expected(v, number(fd.Kind()))
	}
	x, ok := numeric(v, fd.Kind())
	if !ok {
		return none, fail(v, "invalid value: %s, expected %s", quoted(v), number(fd.Kind()))
	}
	return x, nil
}

// quoted is a number for a message to people.
func quoted(v scan.Value) string {
	what := "floating point"
	if v.Integer() {
		what = "integer"
	}
	return fmt.Sprintf("%s `%.40s`", what, v.Raw())
}

func number(k protoreflect.Kind) string {
	switch k {
	case protoreflect.Uint64Kind:
		return "an unsigned 64-bit integer"
	case protoreflect.Uint32Kind:
		return "an unsigned 32-bit integer"
	case protoreflect.Int64Kind:
		return "a 64-bit integer"
	case protoreflect.Int32Kind:
		return "a 32-bit integer"
	case protoreflect.FloatKind:
		return "a 32-bit float"
	}
	return "a float"
}

func numeric(v scan.Value, k protoreflect.Kind) (protoreflect.Value, bool) {
	switch k {
	case protoreflect.Uint64Kind:
		x, ok := v.Uint64()
		return protoreflect.ValueOfUint64(x), ok
	case protoreflect.Uint32Kind:
		x, ok := v.Uint64()
		return protoreflect.ValueOfUint32(uint32(x)), ok && x == uint64(uint32(x))
	case protoreflect.Int64Kind:
		x, ok := v.Int64()
		return protoreflect.ValueOfInt64(x), ok
	case protoreflect.Int32Kind:
		x, ok := v.Int64()
		return protoreflect.ValueOfInt32(int32(x)), ok && x == int64(int32(x))
	case protoreflect.FloatKind:
		x, ok := v.Float32()
		return protoreflect.ValueOfFloat32(x), ok
	case protoreflect.DoubleKind:
		x, ok := v.Float64()
		return protoreflect.ValueOfFloat64(x), ok
	}
	return protoreflect.Value{}, false
}

// scalars reads a bare scalar into the member of m's oneof that has its type.
func (d *decoder) scalars(v scan.Value, m protoreflect.Message) error {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch fd.Kind() {
		case protoreflect.StringKind, protoreflect.EnumKind:
			if v.Kind() != scan.String {
				continue
			}
		case protoreflect.BoolKind:
			if v.Kind() != scan.Bool {
				continue
			}
		case protoreflect.MessageKind:
			if v.Kind() != scan.String {
				continue
			}
		default:
			if _, ok := numeric(v, fd.Kind()); v.Kind() != scan.Number || !ok {
				continue
			}
		}
		return d.field(v, m, &field{fd: fd, name: string(fd.Name())})
	}
	return fail(v, "%s is not a valid %s", v.Kind(), m.Descriptor().Name())
}
