package rest

import (
	"net/url"
	"strconv"

	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/rest/dialect"
	"github.com/pandodb/pando/services/internal/fault"
)

// queryParser fills requests that have no body.
type queryParser struct{ g *gateway }

// faultParam is where Parse leaves the reason of its error among the values,
// which are the Form of the request: the gateway passes on the text alone. No
// query can hold it, since Parse removes it first.
const faultParam = "\x00fault"

// Parse is called before path parameters are set; filter names those.
func (p queryParser) Parse(m proto.Message, values url.Values, filter *utilities.DoubleArray) error {
	values.Del(faultParam)
	if f := p.g.fold(m, values, filter); f != nil {
		values.Set(faultParam, strconv.Itoa(int(f.Reason)))
		return f
	}
	return nil
}

// parseFault rebuilds the error of Parse from what the gateway made of it; nil if it is none.
func parseFault(form url.Values, err error) *fault.Error {
	reason, bad := strconv.Atoi(form.Get(faultParam))
	if bad != nil {
		return nil
	}
	return fault.New(fault.Reason(reason), "%s", fault.From(err).Msg)
}

// numbersInPath refuses what the gateway would refuse in the words of Go's strconv.
func numbersInPath(params map[string]string) *fault.Error {
	for name, bits := range map[string]int{"peer_id": 64, "shard_id": 32} {
		text, there := params[name]
		if _, err := strconv.ParseUint(text, 10, bits); there && err != nil {
			return fault.New(fault.Malformed, "Deserialize error in path parameters: %s: value %.64q is not an unsigned %d-bit integer", name, text, bits)
		}
	}
	return nil
}

// fold puts query parameters into the fields of the same name. Unknown ones
// are ignored, as are those that the request has no field for.
func (g *gateway) fold(m proto.Message, values url.Values, path *utilities.DoubleArray) *fault.Error {
	if len(values) == 0 {
		return nil
	}
	r := m.ProtoReflect()
	fields := r.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		name := dialect.QueryParameter(fd)
		if name == "" || !values.Has(name) || path != nil && path.HasCommonPrefix([]string{name}) {
			continue
		}
		v, f := parse(fd, values.Get(name))
		if f != nil {
			return f
		}
		if v.IsValid() {
			r.Set(fd, v)
		}
	}
	return nil
}

// parse reads one parameter. An invalid Value without a fault leaves the field unset.
func parse(fd protoreflect.FieldDescriptor, text string) (v protoreflect.Value, f *fault.Error) {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if text != "true" && text != "false" {
			return v, badQuery(fd, "provided string was not `true` or `false`")
		}
		return protoreflect.ValueOfBool(text == "true"), nil
	case protoreflect.Uint64Kind:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return v, badQuery(fd, "invalid digit found in string")
		}
		if fd.Name() == "timeout" && n == 0 {
			return v, fault.New(fault.Validation, "Validation error in query parameters: [timeout: value 0 invalid, must be 1 or larger]")
		}
		return protoreflect.ValueOfUint64(n), nil
	case protoreflect.Uint32Kind:
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return v, badQuery(fd, "invalid digit found in string")
		}
		return protoreflect.ValueOfUint32(uint32(n)), nil
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), nil
	case protoreflect.MessageKind:
		if fd.Name() == "ordering" {
			return ordering(fd, text)
		}
		return consistency(fd, text)
	}
	return v, nil
}

func badQuery(fd protoreflect.FieldDescriptor, why string) *fault.Error {
	return fault.New(fault.Malformed, "Deserialize error in query parameters: %s: %s", dialect.QueryParameter(fd), why)
}

func ordering(fd protoreflect.FieldDescriptor, text string) (v protoreflect.Value, f *fault.Error) {
	o := new(qdrant.WriteOrdering)
	switch text {
	case "weak":
		o.Type = qdrant.WriteOrderingType_Weak
	case "medium":
		o.Type = qdrant.WriteOrderingType_Medium
	case "strong":
		o.Type = qdrant.WriteOrderingType_Strong
	default:
		return v, badQuery(fd, "unknown variant, expected one of `weak`, `medium`, `strong`")
	}
	return protoreflect.ValueOfMessage(o.ProtoReflect()), nil
}

// consistency is a number of replicas or a level; empty means the default.
func consistency(fd protoreflect.FieldDescriptor, text string) (v protoreflect.Value, f *fault.Error) {
	level := func(t qdrant.ReadConsistencyType) *qdrant.ReadConsistency {
		return &qdrant.ReadConsistency{Value: &qdrant.ReadConsistency_Type{Type: t}}
	}
	var c *qdrant.ReadConsistency
	switch text {
	case "":
		return v, nil
	case "all":
		c = level(qdrant.ReadConsistencyType_All)
	case "majority":
		c = level(qdrant.ReadConsistencyType_Majority)
	case "quorum":
		c = level(qdrant.ReadConsistencyType_Quorum)
	default:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return v, badQuery(fd, "expected a number or one of `all`, `majority`, `quorum`")
		}
		if n == 0 {
			return v, badQuery(fd, "read consistency factor can not be zero")
		}
		c = &qdrant.ReadConsistency{Value: &qdrant.ReadConsistency_Factor{Factor: n}}
	}
	return protoreflect.ValueOfMessage(c.ProtoReflect()), nil
}
