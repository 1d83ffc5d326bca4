// Package dialect translates between the JSON of Qdrant's REST API and the
// protobuf messages of package qdrant, in both directions.
//
// It is driven by descriptors: a message is an object, a field its member
// under the field's own name, an enum value a lower-case token, a 64-bit
// integer a number. Where REST differs, table.go says so by full name: another
// name, a bare scalar in place of a message, a nested message whose members
// stand in its parent, or (the untagged unions) a pair of functions. It is not
// protobuf-JSON, and it validates form only, never ranges.
package dialect

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/pandodb/pando/services/dataplane/internal/rest/scan"
)

// Codec translates the messages of the packages it was made for. It is safe
// for concurrent use.
type Codec struct {
	messages map[protoreflect.FullName]*message
	enums    map[protoreflect.FullName]*enum
	docs     sync.Pool // of *scan.Doc
}

// message is how one message type looks in JSON.
type message struct {
	desc protoreflect.MessageDescriptor
	rule messageRule
	// fields holds the members by every accepted name, those of inlined messages too.
	fields map[string]*field
	// order holds the members as they are printed, inlined messages not resolved.
	order []*field
	sole  *field
	short *field
	// required holds the names of members that must be there; at most 64.
	required []string
}

// field is how one member looks in JSON.
type field struct {
	fd   protoreflect.FieldDescriptor // nil for a virtual member
	rule fieldRule
	name string
	// within is the inlined message of the parent that the member belongs to.
	within protoreflect.FieldDescriptor
	must   uint64 // bit in the set of required members
}

// Error is JSON that does not fit the message. It never quotes payload or vectors.
type Error struct {
	// Path leads to the value, such as points[3].vector; empty for the body.
	Path string
	// Line and Column count from 1; column counts bytes.
	Line, Column int
	Msg          string
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s at line %d column %d", e.Msg, e.Line, e.Column)
	if e.Path != "" {
		text = e.Path + ": " + text
	}
	return text
}

// New makes the codec of all registered messages of the named protobuf packages.
func New(packages ...protoreflect.FullName) *Codec {
	c := &Codec{
		messages: map[protoreflect.FullName]*message{},
		enums:    map[protoreflect.FullName]*enum{},
	}
	inputs := map[protoreflect.FullName]bool{}
	for _, pkg := range packages {
		protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(fd protoreflect.FileDescriptor) bool {
			collectInputs(fd, inputs)
			return true
		})
	}
	t := rules()
	for _, pkg := range packages {
		protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(fd protoreflect.FileDescriptor) bool {
			c.addEnums(fd.Enums())
			c.addMessages(fd.Messages(), t, inputs)
			return true
		})
	}
	for _, m := range c.messages {
		c.index(m)
	}
	return c
}

// collectInputs finds the messages that are whole requests: what REST sends in
// the path and the query is a field of theirs.
func collectInputs(fd protoreflect.FileDescriptor, inputs map[protoreflect.FullName]bool) {
	for i := range fd.Services().Len() {
		methods := fd.Services().Get(i).Methods()
		for j := range methods.Len() {
			inputs[methods.Get(j).Input().FullName()] = true
		}
	}
}

func (c *Codec) addMessages(list protoreflect.MessageDescriptors, t table, inputs map[protoreflect.FullName]bool) {
	for i := range list.Len() {
		md := list.Get(i)
		if md.IsMapEntry() {
			continue
		}
		m := &message{desc: md, rule: t.messages[md.FullName()], fields: map[string]*field{}}
		m.required = strings.Fields(t.required[md.FullName()])
		for j := range md.Fields().Len() {
			fd := md.Fields().Get(j)
			f := &field{fd: fd, rule: t.ruleOf(fd), name: string(fd.Name())}
			if f.rule.name != "" {
				f.name = f.rule.name
			}
			if fd.Name() == m.rule.sole {
				m.sole = f
			}
			if fd.Name() == m.rule.short {
				m.short = f
			}
			if f.rule.hidden || inputs[md.FullName()] && queryOnly(fd) {
				continue
			}
			m.order = append(m.order, f)
		}
		for _, v := range m.rule.virtual {
			m.order = append(m.order, &field{name: v.name, rule: v})
		}
		c.messages[md.FullName()] = m
		c.addEnums(md.Enums())
		c.addMessages(md.Messages(), t, inputs)
	}
}

// queryOnly tells the fields of a request that come from the path or the
// query and never from the body, where they are ignored.
func queryOnly(fd protoreflect.FieldDescriptor) bool {
	switch fd.Name() {
	case "collection_name", "wait", "ordering", "timeout", "read_consistency", "vector_name", "snapshot_name":
		return true
	}
	return false
}

// index builds the lookup by name once all messages are known.
func (c *Codec) index(m *message) {
	bit := map[string]uint64{}
	for i, name := range m.required {
		bit[name] = 1 << i
	}
	add := func(f *field) {
		f.must = bit[f.name]
		m.fields[f.name] = f
		for _, alias := range strings.Fields(f.rule.aliases) {
			m.fields[alias] = f
		}
	}
	for _, f := range m.order {
		if !f.rule.inline {
			add(f)
			continue
		}
		for _, inner := range c.messages[f.fd.Message().FullName()].order {
			hoisted := *inner
			hoisted.within = f.fd
			add(&hoisted)
		}
	}
}

// Decode reads body into m, which must be empty and of a registered package.
// Any error is an *Error.
func (c *Codec) Decode(body []byte, m proto.Message) error {
	doc, ok := c.docs.Get().(*scan.Doc)
	if !ok {
		doc = new(scan.Doc)
	}
	defer func() {
		doc.Forget()
		c.docs.Put(doc)
	}()
	if err := doc.Parse(body); err != nil {
		e, _ := errors.AsType[*scan.Error](err)
		return c.failure(body, e.Offset, e.Msg, "")
	}
	d := decoder{c: c}
	if err := d.message(doc.Root(), m.ProtoReflect()); err != nil {
		e, _ := errors.AsType[*mismatch](err)
		return c.failure(body, e.offset, e.msg, e.where())
	}
	return nil
}

func (c *Codec) failure(body []byte, offset int, msg, path string) *Error {
	line, column := scan.Position(body, offset)
	return &Error{Path: path, Line: line, Column: column, Msg: msg}
}

// Options say how to print.
type Options struct {
	// Response prints what a server answers: members that REST always shows are null when unset.
	Response bool
	// EmptyPayload prints a point's empty payload as {}, because the request asked for payload.
	EmptyPayload bool
}

// Append prints m after dst.
func (c *Codec) Append(dst []byte, m proto.Message, o Options) []byte {
	e := encoder{c: c, b: dst, Options: o}
	e.message(m.ProtoReflect())
	return e.b
}

// AppendField prints the value of one field of m after dst: an unset message is null, an empty list is [].
func (c *Codec) AppendField(dst []byte, m proto.Message, name protoreflect.Name, o Options) []byte {
	e := encoder{c: c, b: dst, Options: o}
	r := m.ProtoReflect()
	plan := c.messages[r.Descriptor().FullName()]
	for _, f := range plan.order {
		if f.fd != nil && f.fd.Name() == name {
			if f.fd.HasPresence() && !r.Has(f.fd) {
				return append(e.b, "null"...)
			}
			e.value(f, r.Get(f.fd))
		}
	}
	return e.b
}

// TakesBody tells whether a request message has anything that JSON could say.
func (c *Codec) TakesBody(m proto.Message) bool {
	return len(c.messages[m.ProtoReflect().Descriptor().FullName()].fields) > 0
}
