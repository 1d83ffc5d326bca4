package openapi

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/pandodb/pando/services/dataplane/internal/rest/dialect"
)

// builder collects the schemas of all messages that routes lead to.
type builder struct {
	codec *dialect.Codec
	// asked and answered are the messages of requests and those of responses; a message can be in both.
	asked, answered map[protoreflect.FullName]bool
	schemas         object
	messages        map[protoreflect.FullName]special
	members         map[protoreflect.FullName]special
	unknown         []string
}

// special is the schema of what the dialect has functions for, from the one that it would have without.
type special func(b *builder, generic object) object

func newBuilder(c *dialect.Codec) *builder {
	return &builder{codec: c, asked: map[protoreflect.FullName]bool{}, answered: map[protoreflect.FullName]bool{}, schemas: object{},
		messages: specialMessages(), members: specialMembers()}
}

// reach notes that m and all messages below it are part of requests, or of responses.
func (b *builder) reach(seen map[protoreflect.FullName]bool, m protoreflect.MessageDescriptor) {
	if seen[m.FullName()] || m.FullName() == "google.protobuf.Timestamp" {
		return
	}
	if !m.IsMapEntry() {
		seen[m.FullName()] = true
	}
	for i := range m.Fields().Len() {
		if inner := m.Fields().Get(i).Message(); inner != nil {
			b.reach(seen, inner)
		}
	}
}

func short(name protoreflect.FullName) string {
	return strings.TrimPrefix(strings.TrimPrefix(string(name), "qdrant."), "pando.cluster.v1.")
}

func (b *builder) ref(m protoreflect.MessageDescriptor) object {
	if m.FullName() == "google.protobuf.Timestamp" {
		return object{"type": "string", "format": "date-time"}
	}
	name := short(m.FullName())
	if _, made := b.schemas[name]; !made {
		b.schemas[name] = nil // it may lead back to itself
		b.schemas[name] = b.message(m.FullName())
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// named is ref for a message of package qdrant.
func (b *builder) named(name protoreflect.Name) object {
	return b.ref(mustFind("qdrant." + protoreflect.FullName(name)))
}

func (b *builder) message(name protoreflect.FullName) object {
	form := b.codec.Form(name)
	of, known := b.messages[name]
	switch {
	case known:
		return of(b, b.object(name, form))
	case form.Special:
		b.unknown = append(b.unknown, string(name))
		return object{}
	case form.Sole != nil:
		return b.value(*form.Sole)
	case form.Scalars:
		return b.scalars(name)
	case form.Short != "":
		return anyOf(object{"type": "string"}, b.object(name, form))
	}
	return b.object(name, form)
}

// scalars is the bare scalar of one of the fields.
func (b *builder) scalars(name protoreflect.FullName) object {
	var kinds []any
	fields := mustFind(name).Fields()
	for i := range fields.Len() {
		kinds = append(kinds, b.scalarOrRef(fields.Get(i)))
	}
	return anyOf(kinds...)
}

// object is the form of a message as an object of its members.
func (b *builder) object(name protoreflect.FullName, form dialect.Form) object {
	members, required, either := object{}, []any{}, []any{}
	closed := form.Strict || !b.asked[name] // requests may hold what is not known, responses do not
	for _, m := range form.Members {
		s := b.member(m)
		if m.Null && b.answered[name] || b.asked[name] && !m.Required {
			s = nullable(s)
		}
		members[m.Name] = s
		for _, alias := range m.Aliases {
			if b.asked[name] {
				members[alias] = object{"description": "the same as " + m.Name, "deprecated": true, "allOf": []any{s}}
			}
		}
		switch {
		case m.Required && len(m.Aliases) > 0:
			for _, n := range append([]string{m.Name}, m.Aliases...) {
				either = append(either, object{"required": []any{n}})
			}
		case m.Required, m.Always && !b.asked[name]:
			required = append(required, m.Name)
		}
	}
	out := object{"type": "object", "properties": members}
	if len(required) > 0 {
		out["required"] = required
	}
	if len(either) > 0 {
		out["anyOf"] = either
	}
	if form.One {
		out["minProperties"], out["maxProperties"] = 1, 1
	}
	if closed {
		out["additionalProperties"] = false
	}
	return out
}

func (b *builder) member(m dialect.Member) object {
	of, known := b.members[m.Key]
	switch {
	case known:
		var generic object
		if m.Field != nil {
			generic = b.value(m)
		}
		return of(b, generic)
	case m.Special:
		b.unknown = append(b.unknown, string(m.Key))
		return object{}
	}
	return b.value(m)
}

// resultField is the value of one field of a response; a message that may be unset is null then.
func (b *builder) resultField(out protoreflect.MessageDescriptor, name protoreflect.Name) object {
	for _, m := range b.codec.Form(out.FullName()).Members {
		if m.Field == nil || m.Field.Name() != name {
			continue
		}
		if fd := m.Field; fd.Message() != nil && !fd.IsList() && !fd.IsMap() && fd.Message().FullName() == "qdrant.Value" {
			return nullable(b.member(m))
		}
		return b.member(m)
	}
	b.unknown = append(b.unknown, string(out.FullName())+" (its result)")
	return object{}
}

// value is what a field holds.
func (b *builder) value(m dialect.Member) object {
	fd := m.Field
	switch {
	case fd.IsMap():
		return object{"type": "object", "additionalProperties": b.scalarOrRef(fd.MapValue())}
	case fd.IsList() && m.Bare:
		return list(b.value(b.codec.Form(fd.Message().FullName()).Members[0]))
	case fd.IsList() && m.Many:
		one := b.scalarOrRef(fd)
		return anyOf(list(one), one)
	case fd.IsList():
		return list(b.scalarOrRef(fd))
	}
	return b.scalarOrRef(fd)
}

func (b *builder) scalarOrRef(fd protoreflect.FieldDescriptor) object {
	if fd.Message() != nil {
		return b.ref(fd.Message())
	}
	return b.scalar(fd)
}

func (b *builder) scalar(fd protoreflect.FieldDescriptor) object {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.EnumKind:
		return words(b.codec.Tokens(fd.Enum().FullName())...)
	case protoreflect.FloatKind:
		return object{"type": "number", "format": "float"}
	case protoreflect.DoubleKind:
		return object{"type": "number", "format": "double"}
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return object{"type": "integer", "format": fd.Kind().String(), "minimum": 0}
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return object{"type": "integer", "format": fd.Kind().String()}
	}
	return object{"type": "string"}
}

func words(tokens ...string) object {
	list := make([]any, len(tokens))
	for i, t := range tokens {
		list[i] = t
	}
	return object{"type": "string", "enum": list}
}

func list(items object) object { return object{"type": "array", "items": items} }

// anyOf is one of several forms; equal ones count once.
func anyOf(forms ...any) object {
	if len(forms) == 1 {
		if only, ok := forms[0].(object); ok {
			return only
		}
	}
	return object{"anyOf": forms}
}

// nullable is s or null.
func nullable(s object) object {
	if t, ok := s["type"].(string); ok {
		out := object{"type": []any{t, "null"}}
		for k, v := range s {
			if k != "type" {
				out[k] = v
			}
		}
		if e, ok := out["enum"].([]any); ok {
			out["enum"] = append(slices.Clone(e), nil)
		}
		return out
	}
	return object{"anyOf": []any{s, object{"type": "null"}}}
}
