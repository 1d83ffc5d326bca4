// Package descriptors holds the published Go client's idea of the API against
// ours: gen/descriptors.binpb must say the same of every message, field, oneof,
// enum, value and method that the client has. Files, comments and order may
// differ; nothing that reaches the wire may.
//
// It never imports gen/go: two copies of package qdrant cannot live in one binary.
package descriptors

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	_ "github.com/qdrant/go-client/qdrant"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

const (
	wirePackage = "qdrant"
	oursPath    = "../../../gen/descriptors.binpb"
)

// excluded names what a client may have and we lack, with the reason. It is
// empty: StorageRead and the services between Qdrant's own nodes, which we do
// not offer, are in no published client.
func excluded() map[string]string { return map[string]string{} }

// facts maps an element ("field qdrant.Filter.must") to everything about it
// that matters on the wire or in JSON.
type facts map[string]string

func (f facts) count(kind string) int {
	n := 0
	for k := range f {
		if strings.HasPrefix(k, kind+" ") {
			n++
		}
	}
	return n
}

// collect reads the facts of all files of package qdrant.
func collect(files *protoregistry.Files) facts {
	out := facts{}
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if f.Package() == wirePackage {
			out.messages(f.Messages())
			out.enums(f.Enums())
			out.services(f.Services())
		}
		return true
	})
	return out
}

func (f facts) messages(ms protoreflect.MessageDescriptors) {
	for i := range ms.Len() {
		m := ms.Get(i)
		kind := "message"
		if m.IsMapEntry() {
			kind = "map"
		}
		f[fmt.Sprintf("%s %s", kind, m.FullName())] = ""
		for j := range m.Fields().Len() {
			f.field(m.Fields().Get(j))
		}
		f.messages(m.Messages())
		f.enums(m.Enums())
	}
}

func (f facts) field(d protoreflect.FieldDescriptor) {
	typeName, oneof := "", ""
	switch {
	case d.Message() != nil:
		typeName = string(d.Message().FullName())
	case d.Enum() != nil:
		typeName = string(d.Enum().FullName())
	}
	if o := d.ContainingOneof(); o != nil {
		oneof = fmt.Sprintf("%s synthetic=%t", o.Name(), o.IsSynthetic())
	}
	f[fmt.Sprintf("field %s", d.FullName())] = fmt.Sprintf(
		"number=%d type=%s %s label=%s oneof=%s optional=%t packed=%t map=%t json=%s",
		d.Number(), d.Kind(), typeName, d.Cardinality(), oneof, d.HasOptionalKeyword(), d.IsPacked(), d.IsMap(), d.JSONName())
}

func (f facts) enums(es protoreflect.EnumDescriptors) {
	for i := range es.Len() {
		e := es.Get(i)
		f[fmt.Sprintf("enum %s", e.FullName())] = fmt.Sprintf("closed=%t", e.IsClosed())
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			f[fmt.Sprintf("value %s.%s", e.FullName(), v.Name())] = fmt.Sprintf("number=%d", v.Number())
		}
	}
}

func (f facts) services(ss protoreflect.ServiceDescriptors) {
	for i := range ss.Len() {
		s := ss.Get(i)
		f[fmt.Sprintf("service %s", s.FullName())] = ""
		for j := range s.Methods().Len() {
			m := s.Methods().Get(j)
			f[fmt.Sprintf("method %s", m.FullName())] = fmt.Sprintf("%s -> %s client-stream=%t server-stream=%t",
				m.Input().FullName(), m.Output().FullName(), m.IsStreamingClient(), m.IsStreamingServer())
		}
	}
}

// differences lists what theirs has and ours lacks or says otherwise.
func differences(theirs, ours facts) []string {
	skip := excluded()
	var out []string
	for _, k := range slices.Sorted(maps.Keys(theirs)) {
		got, ok := ours[k]
		switch {
		case skip[k] != "":
		case !ok:
			out = append(out, fmt.Sprintf("%s: missing, theirs is [%s]", k, theirs[k]))
		case got != theirs[k]:
			out = append(out, fmt.Sprintf("%s: ours [%s], theirs [%s]", k, got, theirs[k]))
		}
	}
	return out
}

func ourSet(t *testing.T) *descriptorpb.FileDescriptorSet {
	t.Helper()
	raw, err := os.ReadFile(oursPath)
	if err != nil {
		t.Fatalf("read our descriptor set: %v", err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(raw, set); err != nil {
		t.Fatalf("decode %s: %v", oursPath, err)
	}
	return set
}

func ourFacts(t *testing.T, set *descriptorpb.FileDescriptorSet) facts {
	t.Helper()
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatalf("link our descriptor set: %v", err)
	}
	return collect(files)
}

func TestDescriptorsEqualGoClient(t *testing.T) {
	theirs, ours := collect(protoregistry.GlobalFiles), ourFacts(t, ourSet(t))
	diffs := differences(theirs, ours)
	for _, d := range diffs {
		t.Error(d)
	}
	// A client that could not be read would agree with everything.
	if got := theirs.count("method"); got < 51 {
		t.Errorf("the client shows %d methods, want at least the 51 of 1.19", got)
	}
	fmt.Printf("compared %d messages, %d fields, %d enums, %d values, %d methods; differences: %d\n",
		theirs.count("message"), theirs.count("field"), theirs.count("enum"), theirs.count("value"), theirs.count("method"), len(diffs))
	fmt.Printf("ours has %d elements more, which newer clients know\n", len(ours)-len(theirs))
}

// TestComparisonNoticesEveryKindOfChange breaks a copy of our descriptors in one place at a time.
func TestComparisonNoticesEveryKindOfChange(t *testing.T) {
	theirs := collect(protoregistry.GlobalFiles)
	tests := []struct {
		name  string
		spoil func(*descriptorpb.FileDescriptorSet)
		want  string
	}{
		{"field number", func(s *descriptorpb.FileDescriptorSet) {
			fieldOf(s, "GeoPoint", "lon").Number = proto.Int32(7)
		}, "field qdrant.GeoPoint.lon"},
		{"field type", func(s *descriptorpb.FileDescriptorSet) {
			fieldOf(s, "GeoPoint", "lon").Type = descriptorpb.FieldDescriptorProto_TYPE_FLOAT.Enum()
		}, "field qdrant.GeoPoint.lon"},
		{"field name", func(s *descriptorpb.FileDescriptorSet) {
			fieldOf(s, "GeoPoint", "lon").Name = proto.String("longitude")
		}, "field qdrant.GeoPoint.lon"},
		{"json name", func(s *descriptorpb.FileDescriptorSet) {
			fieldOf(s, "GeoPoint", "lon").JsonName = proto.String("longitude")
		}, "field qdrant.GeoPoint.lon"},
		{"label", func(s *descriptorpb.FileDescriptorSet) {
			fieldOf(s, "GeoPoint", "lon").Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}, "field qdrant.GeoPoint.lon"},
		{"message type", func(s *descriptorpb.FileDescriptorSet) {
			fieldOf(s, "GeoRadius", "center").TypeName = proto.String(".qdrant.PointId")
		}, "field qdrant.GeoRadius.center"},
		{"synthetic oneof", func(s *descriptorpb.FileDescriptorSet) {
			f := fieldOf(s, "ScoredPoint", "vectors")
			m := messageOf(s, "ScoredPoint")
			m.OneofDecl[f.GetOneofIndex()].Name = proto.String("_other")
		}, "field qdrant.ScoredPoint.vectors"},
		{"oneof", func(s *descriptorpb.FileDescriptorSet) {
			messageOf(s, "PointId").OneofDecl[0].Name = proto.String("id")
		}, "field qdrant.PointId.num"},
		{"packing", func(s *descriptorpb.FileDescriptorSet) {
			fieldOf(s, "DenseVector", "data").Options = &descriptorpb.FieldOptions{Packed: proto.Bool(false)}
		}, "field qdrant.DenseVector.data"},
		{"field gone", func(s *descriptorpb.FileDescriptorSet) {
			m := messageOf(s, "GeoPoint")
			m.Field = m.Field[:1]
		}, "field qdrant.GeoPoint.lat"},
		{"enum number", func(s *descriptorpb.FileDescriptorSet) { valueOf(s, "Distance", "Dot").Number = proto.Int32(9) }, "value qdrant.Distance.Dot"},
		{"enum name", func(s *descriptorpb.FileDescriptorSet) {
			valueOf(s, "Distance", "Dot").Name = proto.String("Inner")
		}, "value qdrant.Distance.Dot"},
		{"method input", func(s *descriptorpb.FileDescriptorSet) {
			methodOf(s, "Points", "Get").InputType = proto.String(".qdrant.ScrollPoints")
		}, "method qdrant.Points.Get"},
		{"method streaming", func(s *descriptorpb.FileDescriptorSet) {
			methodOf(s, "Points", "Get").ServerStreaming = proto.Bool(true)
		}, "method qdrant.Points.Get"},
		{"method gone", func(s *descriptorpb.FileDescriptorSet) {
			methodOf(s, "Points", "Get").Name = proto.String("Fetch")
		}, "method qdrant.Points.Get"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			set := ourSet(t)
			tc.spoil(set)
			for _, d := range differences(theirs, ourFacts(t, set)) {
				if strings.HasPrefix(d, tc.want+":") {
					return
				}
			}
			t.Errorf("a change of the %s of %s went unnoticed", tc.name, tc.want)
		})
	}
}

func messageOf(s *descriptorpb.FileDescriptorSet, name string) *descriptorpb.DescriptorProto {
	for _, f := range s.File {
		for _, m := range f.MessageType {
			if f.GetPackage() == wirePackage && m.GetName() == name {
				return m
			}
		}
	}
	panic("no message " + name)
}

func fieldOf(s *descriptorpb.FileDescriptorSet, message, name string) *descriptorpb.FieldDescriptorProto {
	for _, f := range messageOf(s, message).Field {
		if f.GetName() == name {
			return f
		}
	}
	panic("no field " + message + "." + name)
}

func valueOf(s *descriptorpb.FileDescriptorSet, enum, name string) *descriptorpb.EnumValueDescriptorProto {
	for _, f := range s.File {
		for _, e := range f.EnumType {
			for _, v := range e.Value {
				if f.GetPackage() == wirePackage && e.GetName() == enum && v.GetName() == name {
					return v
				}
			}
		}
	}
	panic("no value " + enum + "." + name)
}

func methodOf(s *descriptorpb.FileDescriptorSet, service, name string) *descriptorpb.MethodDescriptorProto {
	for _, f := range s.File {
		for _, sv := range f.Service {
			for _, m := range sv.Method {
				if f.GetPackage() == wirePackage && sv.GetName() == service && m.GetName() == name {
					return m
				}
			}
		}
	}
	panic("no method " + service + "." + name)
}
