// Package openapi writes the OpenAPI document of the REST port: from the route
// map, the descriptors of the messages and what package dialect says of their
// form. It runs when code is generated (`make openapi`, a test with a flag); the
// port serves what it wrote.
package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/pandodb/pando/services/dataplane/internal/rest/dialect"
	"github.com/pandodb/pando/services/internal/release"
)

// object is a JSON object; encoding/json prints its members in order.
type object = map[string]any

// route is one rule of the route map.
type route struct {
	verb, path string
	method     protoreflect.MethodDescriptor
}

// Document makes the document from the route map, a google.api.Service in YAML.
func Document(routeMap []byte) ([]byte, error) {
	routes, err := parse(routeMap)
	if err != nil {
		return nil, err
	}
	b := newBuilder(dialect.New("qdrant", "pando.cluster.v1"))
	for _, r := range routes {
		b.reach(b.asked, r.method.Input())
		b.reach(b.answered, r.method.Output())
	}
	b.reach(b.asked, reshard())
	paths := plainPaths()
	for _, r := range routes {
		at, ok := paths[r.path].(object)
		if !ok {
			at = object{}
			paths[r.path] = at
		}
		at[r.verb] = b.operation(r)
	}
	doc := object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "Pando",
			"version":     release.API,
			"description": "Qdrant's REST API as Pando serves it. Each operation is the twin of the gRPC method that its id names; one that is not built answers 501.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":  []any{object{"url": "http://localhost:6333"}},
		"security": []any{object{"api-key": []any{}}, object{"bearer": []any{}}, object{}},
		"tags":     tags(routes),
		"paths":    paths,
		"components": object{
			"schemas":   b.schemas,
			"responses": object{"Error": response("Refused or failed", errorSchema()), "Denied": textResponse("The key is missing, unknown, or may not do this")},
			"securitySchemes": object{
				"api-key": object{"type": "apiKey", "in": "header", "name": "api-key"},
				"bearer":  object{"type": "http", "scheme": "bearer"},
			},
		},
	}
	if len(b.unknown) > 0 {
		return nil, fmt.Errorf("openapi: no form is written down for %s", strings.Join(b.unknown, ", "))
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(doc); err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	return out.Bytes(), nil
}

func parse(routeMap []byte) ([]route, error) {
	var file struct {
		HTTP struct{ Rules []map[string]string }
	}
	if err := yaml.Unmarshal(routeMap, &file); err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	var out []route
	for _, rule := range file.HTTP.Rules {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(rule["selector"]))
		if err != nil {
			return nil, fmt.Errorf("openapi: %s: %w", rule["selector"], err)
		}
		method, ok := d.(protoreflect.MethodDescriptor)
		if !ok {
			return nil, fmt.Errorf("openapi: %s is no method", rule["selector"])
		}
		for _, verb := range []string{"get", "put", "post", "patch", "delete"} {
			if path := rule[verb]; path != "" {
				out = append(out, route{verb, path, method})
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("openapi: the route map has no rules")
	}
	return out, nil
}

// service is the name of the service of a method, without its package.
func (r route) service() string { return string(r.method.Parent().Name()) }

func tags(routes []route) (out []any) {
	var seen []string
	for _, r := range routes {
		if !slices.Contains(seen, r.service()) {
			seen = append(seen, r.service())
			out = append(out, object{"name": r.service(), "description": "gRPC: " + string(r.method.Parent().FullName())})
		}
	}
	return append(out, object{"name": "Probes", "description": "Of no gRPC service"})
}

func (b *builder) operation(r route) object {
	out := object{
		"operationId": r.service() + "." + string(r.method.Name()),
		"tags":        []any{r.service()},
		"summary":     fmt.Sprintf("%s/%s", r.method.Parent().FullName(), r.method.Name()),
		"responses": object{
			"200":     response("Done", b.envelope(r.method.Output())),
			"401":     object{"$ref": "#/components/responses/Denied"},
			"403":     object{"$ref": "#/components/responses/Denied"},
			"default": object{"$ref": "#/components/responses/Error"},
		},
	}
	if p := b.parameters(r); len(p) > 0 {
		out["parameters"] = p
	}
	if takesBody := r.verb != "get" && r.verb != "delete" && len(b.codec.Form(r.method.Input().FullName()).Members) > 0; takesBody {
		out["requestBody"] = object{"required": true, "content": jsonContent(b.body(r.method.Input()))}
	}
	return out
}

// reshard has no route of its own: the steps of a resharding share one with another method.
func reshard() protoreflect.MessageDescriptor { return mustFind("pando.cluster.v1.ReshardRequest") }

// mustFind finds a message that is linked into the program.
func mustFind(name protoreflect.FullName) protoreflect.MessageDescriptor {
	mt, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		panic(err)
	}
	return mt.Descriptor()
}

func (b *builder) body(in protoreflect.MessageDescriptor) object {
	if in.FullName() == "qdrant.UpdateCollectionClusterSetupRequest" {
		return object{"anyOf": []any{b.ref(in), b.ref(reshard())}}
	}
	return b.ref(in)
}

// parameters are the names in the path, and what the query may set.
func (b *builder) parameters(r route) (out []any) {
	fields := r.method.Input().Fields()
	for part := range strings.SplitSeq(r.path, "/") {
		name, ok := strings.CutPrefix(part, "{")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		out = append(out, object{"name": name, "in": "path", "required": true, "schema": b.scalar(fields.ByName(protoreflect.Name(name)))})
	}
	for i := range fields.Len() {
		name := dialect.QueryParameter(fields.Get(i))
		if name == "" || strings.Contains(r.path, "{"+name+"}") {
			continue
		}
		out = append(out, object{"name": name, "in": "query", "schema": b.parameter(name, fields.Get(i))})
	}
	return out
}

func (b *builder) parameter(name string, fd protoreflect.FieldDescriptor) object {
	switch name {
	case "ordering":
		return words("weak", "medium", "strong")
	case "consistency":
		return anyOf(object{"type": "integer", "minimum": 1}, words("all", "majority", "quorum"))
	case "timeout":
		return object{"type": "integer", "minimum": 1, "description": "seconds"}
	}
	return b.scalar(fd)
}

// envelope is the form of a whole response.
func (b *builder) envelope(out protoreflect.MessageDescriptor) object {
	// What reads a single shard wraps the response that it has in common with the whole collection.
	if fd := out.Fields().ByName("response"); fd != nil && fd.Message() != nil {
		out = fd.Message()
	}
	var result object
	switch what := dialect.ResultOf(out); what {
	case dialect.Bare:
		return b.ref(out)
	case dialect.Whole:
		result = b.ref(out)
	case dialect.Always:
		result = object{"const": true}
	default:
		result = b.resultField(out, what)
	}
	members := object{"result": result, "status": object{"const": "ok"}, "time": object{"type": "number", "description": "seconds"}}
	if fd := out.Fields().ByName("usage"); fd != nil {
		members["usage"] = b.ref(fd.Message())
	}
	return object{"type": "object", "required": []any{"result", "status", "time"}, "properties": members, "additionalProperties": false}
}

func response(what string, schema object) object {
	return object{"description": what, "content": jsonContent(schema)}
}

func textResponse(what string) object {
	return object{"description": what, "content": object{"text/plain": object{"schema": object{"type": "string"}}}}
}

func jsonContent(schema object) object { return object{"application/json": object{"schema": schema}} }

func errorSchema() object {
	return object{"type": "object", "required": []any{"status", "time"}, "additionalProperties": false, "properties": object{
		"status": object{"type": "object", "required": []any{"error"}, "additionalProperties": false, "properties": object{"error": object{"type": "string"}}},
		"time":   object{"type": "number"},
	}}
}

// plainPaths are the routes that are no gRPC methods.
func plainPaths() object {
	probe := func(id, what string, more ...string) object {
		out := object{"200": textResponse(what)}
		for _, status := range more {
			out[status] = textResponse("Not so")
		}
		return object{"operationId": id, "tags": []any{"Probes"}, "summary": what, "responses": out}
	}
	open := func(get object) object {
		get["security"] = []any{}
		return object{"get": get}
	}
	this := object{"operationId": "openapi", "tags": []any{"Probes"}, "summary": "This document", "responses": object{"200": response("OpenAPI 3.1", object{"type": "object"})}}
	return object{
		"/healthz":      open(probe("healthz", "The process runs")),
		"/livez":        open(probe("livez", "The process runs")),
		"/readyz":       open(probe("readyz", "All shards were ready once", "503")),
		"/metrics":      object{"get": probe("metrics", "Prometheus text", "401", "403", "404")},
		"/openapi.json": open(this),
	}
}
