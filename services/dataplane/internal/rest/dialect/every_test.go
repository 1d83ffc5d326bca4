package dialect

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/pandodb/pando/services/internal/filled"
)

// TestEveryMessage fills every request and every response: what is printed is
// JSON, and a request reads back to what prints the same.
func TestEveryMessage(t *testing.T) {
	c := codec()
	r := rand.New(rand.NewPCG(7, 8))
	check := func(name protoreflect.FullName, request bool) {
		mt, err := protoregistry.GlobalTypes.FindMessageByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			m := mt.New()
			filled.Fill(r, m)
			text := c.Append(nil, m.Interface(), Options{Response: !request, EmptyPayload: true})
			if !json.Valid(text) {
				t.Fatalf("%s: not JSON: %s", name, text)
			}
			if !request {
				continue
			}
			again := mt.New().Interface()
			if err := c.Decode(text, again); err != nil {
				t.Fatalf("%s: %v in %s", name, err, text)
			}
			if second := c.Append(nil, again, Options{EmptyPayload: true}); string(second) != string(text) {
				t.Fatalf("%s:\nprinted %s\nthen    %s", name, text, second)
			}
			if lost := missing(c, m, again.ProtoReflect(), ""); lost != "" {
				t.Fatalf("%s loses %s in %s", name, lost, text)
			}
		}
	}
	for _, pkg := range []protoreflect.FullName{"qdrant", "pando.cluster.v1"} {
		protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(fd protoreflect.FileDescriptor) bool {
			for i := range fd.Services().Len() {
				methods := fd.Services().Get(i).Methods()
				for j := range methods.Len() {
					check(methods.Get(j).Input().FullName(), true)
					check(methods.Get(j).Output().FullName(), false)
				}
			}
			return true
		})
	}
}

// missing finds the first top-level field that was set, has a member in JSON and did not come back equal.
func missing(c *Codec, was, is protoreflect.Message, path string) string {
	plan := c.messages[was.Descriptor().FullName()]
	if plan.sole != nil {
		return ""
	}
	for _, f := range plan.order {
		if f.fd == nil || !was.Has(f.fd) || f.fd.Name() == "points_selector" || f.fd.Name() == "strategy" {
			continue
		}
		if !is.Has(f.fd) {
			return path + string(f.fd.Name())
		}
		if f.fd.Message() != nil && !f.fd.IsList() && !f.fd.IsMap() {
			if plan := c.messages[f.fd.Message().FullName()]; plan != nil && plan.rule.encode == nil && plan.rule.decode == nil {
				if lost := missing(c, was.Get(f.fd).Message(), is.Get(f.fd).Message(), path+string(f.fd.Name())+"."); lost != "" {
					return lost
				}
			}
		}
	}
	return ""
}
