package openapi

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/pandodb/pando/services/dataplane/internal/rest/dialect"
	"github.com/pandodb/pando/services/internal/filled"
)

const routeMap = "../../../../../proto/qdrant/rest.yaml"

func document(t *testing.T) []byte {
	t.Helper()
	rules, err := os.ReadFile(routeMap)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := Document(rules)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

var rewrite = flag.Bool("rewrite", false, "write the document that the port serves")

// TestServedDocument: what the port serves is what the route map, the messages and the dialect say today.
func TestServedDocument(t *testing.T) {
	doc := document(t)
	if *rewrite {
		if err := os.WriteFile("../openapi.json", doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	served, err := os.ReadFile("../openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(served, doc) {
		t.Error("openapi.json is not what the sources say: run make openapi")
	}
}

// TestEveryMessage: what the dialect prints, whole requests and whole responses, is of the form that the document tells.
func TestEveryMessage(t *testing.T) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document(t)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("openapi.json", value); err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile(routeMap)
	if err != nil {
		t.Fatal(err)
	}
	routes, err := parse(rules)
	if err != nil {
		t.Fatal(err)
	}
	codec, r := dialect.New("qdrant", "pando.cluster.v1"), rand.New(rand.NewPCG(5, 6))
	check := func(name protoreflect.FullName, o dialect.Options) {
		schema, err := c.Compile("openapi.json#/components/schemas/" + short(name))
		if err != nil {
			t.Fatal(err)
		}
		mt, err := protoregistry.GlobalTypes.FindMessageByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for k := range 20 {
			m := mt.New()
			if k > 0 { // the first is empty, unless that is no request
				filled.Fill(r, m)
			} else if !o.Response {
				continue
			}
			text := codec.Append(nil, m.Interface(), o)
			got, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(got); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, text)
			}
		}
	}
	requests := 0
	for _, route := range routes {
		if route.verb != "get" && route.verb != "delete" && len(codec.Form(route.method.Input().FullName()).Members) > 0 {
			check(route.method.Input().FullName(), dialect.Options{})
			requests++
		}
		out := route.method.Output()
		if fd := out.Fields().ByName("response"); fd != nil && fd.Message() != nil {
			out = fd.Message()
		}
		for _, m := range results(out) {
			check(m, dialect.Options{Response: true, EmptyPayload: true})
		}
	}
	if requests < 40 {
		t.Errorf("only %d requests have a body", requests)
	}
}

// results are the messages that stand in the result of a response.
func results(out protoreflect.MessageDescriptor) []protoreflect.FullName {
	what := dialect.ResultOf(out)
	if what == dialect.Bare || what == dialect.Whole {
		return []protoreflect.FullName{out.FullName()}
	}
	fd := out.Fields().ByName(what)
	if fd == nil || fd.Message() == nil || fd.IsMap() {
		return nil
	}
	if inner := fd.Message().FullName(); inner != "qdrant.BatchResult" || what != "result" {
		return []protoreflect.FullName{inner}
	}
	return nil
}

// TestUnknownForm: a type with functions of its own and no schema here is no document.
func TestUnknownForm(t *testing.T) {
	b := newBuilder(dialect.New("qdrant", "pando.cluster.v1"))
	delete(b.messages, "qdrant.Match")
	b.ref(mustFind("qdrant.Filter"))
	if len(b.unknown) != 1 || b.unknown[0] != "qdrant.Match" {
		t.Errorf("unknown: %v", b.unknown)
	}
}

func TestBadRouteMaps(t *testing.T) {
	for _, text := range []string{"", "http: [", "http: {rules: [{selector: qdrant.Points.Nowhere, get: /}]}", "http: {rules: [{selector: qdrant.PointId, get: /}]}"} {
		if _, err := Document([]byte(text)); err == nil {
			t.Errorf("%q makes a document", text)
		}
	}
}
