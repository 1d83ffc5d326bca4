package dialect

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
)

// Form is how the messages of a type look in JSON, for those who describe the dialect and do not speak it.
type Form struct {
	// Special: the type has functions of its own, so that what follows need not hold for it.
	Special bool
	// Sole: it shows as the value of this member alone.
	Sole *Member
	// Short: a bare string stands for an object with only the member of that name; empty for none.
	Short string
	// Scalars: it shows as the bare scalar of one of its fields.
	Scalars bool
	// Strict: it has no other members. One: exactly one of them is there.
	Strict, One bool
	Members     []Member
}

// Member is one member of an object.
type Member struct {
	Name    string
	Aliases []string
	// Field is nil for a member that no single field stands for.
	Field protoreflect.FieldDescriptor
	// Special: it has functions of its own. Key finds it: the full name of its message, a dot, and its field's or its own name.
	Special bool
	Key     protoreflect.FullName
	// Many: a single value stands for a list of one. Bare: the messages of the list show as their first field.
	Many, Bare bool
	// Null: it is null in responses where it is unset.
	Null bool
	// Required: it is refused to be without it. Always: a response is never without it.
	Required, Always bool
}

// Form describes the messages of a registered type.
func (c *Codec) Form(name protoreflect.FullName) Form {
	m := c.messages[name]
	f := Form{Special: m.rule.decode != nil || m.rule.encode != nil, Scalars: m.rule.scalars, Short: string(m.rule.short), Strict: m.rule.strict, One: m.rule.one}
	if m.sole != nil {
		sole := c.describe(m, m.sole)
		f.Sole = &sole
	}
	for _, x := range m.order {
		if !x.rule.inline {
			f.Members = append(f.Members, c.describe(m, x))
			continue
		}
		f.Members = append(f.Members, c.Form(x.fd.Message().FullName()).Members...)
	}
	return f
}

func (c *Codec) describe(m *message, f *field) Member {
	out := Member{Name: f.name, Aliases: strings.Fields(f.rule.aliases), Field: f.fd, Special: f.rule.decode != nil || f.rule.encode != nil,
		Many: f.rule.many, Bare: f.rule.bare, Null: f.rule.null, Required: slices.Contains(m.required, f.name)}
	out.Key = m.desc.FullName().Append(protoreflect.Name(f.name))
	if f.fd != nil {
		out.Key = f.fd.FullName()
		placeholder := f.fd.Kind() == protoreflect.EnumKind && !c.enums[f.fd.Enum().FullName()].real(f.fd.Default().Enum())
		out.Always = f.rule.fill != "" || f.rule.null || !f.fd.HasPresence() && !f.rule.sparse && !out.Special && !placeholder
	}
	return out
}

// Tokens are the words of an enum, sorted.
func (c *Codec) Tokens(name protoreflect.FullName) []string {
	var out []string
	for t := range c.enums[name].numbers {
		out = append(out, t)
	}
	slices.Sort(out)
	return out
}

// How a response becomes the value of "result" in the envelope.
const (
	Bare   protoreflect.Name = "bare"  // the message stands alone, without an envelope
	Whole  protoreflect.Name = "whole" // the message without time and usage
	Always protoreflect.Name = "true"  // the message says nothing, its arrival does
)

// ResultOf is the field of a response that is the result, or one of the words
// above. Where a response has a field named result, that is it.
func ResultOf(m protoreflect.MessageDescriptor) protoreflect.Name {
	switch m.FullName() {
	case "qdrant.HealthCheckReply":
		return Bare
	case "qdrant.ScrollResponse", "qdrant.QueryResponse":
		return Whole // their result field is renamed to points
	case "qdrant.CreateSnapshotResponse":
		return "snapshot_description"
	case "qdrant.ListSnapshotsResponse":
		return "snapshot_descriptions"
	case "qdrant.DeleteSnapshotResponse":
		return Always
	}
	if m.Fields().ByName("result") != nil {
		return "result"
	}
	return Whole
}

// QueryParameter is the name under which the query of a URL sets a field of a
// request: in package qdrant the four that REST knows, in our own package
// every scalar one. Empty: it does not.
func QueryParameter(fd protoreflect.FieldDescriptor) string {
	switch fd.Name() {
	case "read_consistency":
		return "consistency"
	case "wait", "ordering", "timeout":
		return string(fd.Name())
	}
	if fd.ParentFile().Package() == clusterv1.File_pando_cluster_v1_cluster_proto.Package() && fd.Message() == nil && !fd.IsList() {
		return string(fd.Name())
	}
	return ""
}
