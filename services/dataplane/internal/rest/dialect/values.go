package dialect

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/rest/scan"
)

// decodePointID reads a natural number or a UUID in any of its spellings.
func decodePointID(_ *decoder, v scan.Value, id *qdrant.PointId) error {
	switch v.Kind() {
	case scan.Number:
		if n, ok := v.Uint64(); ok {
			id.PointIdOptions = &qdrant.PointId_Num{Num: n}
			return nil
		}
		return badPointID(v, string(v.Raw()))
	case scan.String:
		u, err := uuid.Parse(v.Text())
		if err != nil {
			return badPointID(v, v.Text())
		}
		id.PointIdOptions = &qdrant.PointId_Uuid{Uuid: u.String()}
		return nil
	}
	return badPointID(v, v.Kind().String())
}

func badPointID(v scan.Value, text string) error {
	return fail(v, "value %.64s is not a valid point ID, valid values are either an unsigned integer or a UUID", text)
}

func encodePointID(e *encoder, id *qdrant.PointId) {
	switch x := id.GetPointIdOptions().(type) {
	case *qdrant.PointId_Num:
		e.b = strconv.AppendUint(e.b, x.Num, 10)
	case *qdrant.PointId_Uuid:
		e.string(x.Uuid)
	default:
		e.null()
	}
}

// decodeValue keeps integers apart from doubles by how they are written; an
// integer beyond int64 becomes a double, as does -0.
func decodeValue(d *decoder, v scan.Value, out *qdrant.Value) error {
	switch v.Kind() {
	case scan.Null:
		out.Kind = &qdrant.Value_NullValue{}
	case scan.Bool:
		out.Kind = &qdrant.Value_BoolValue{BoolValue: v.Bool()}
	case scan.String:
		out.Kind = &qdrant.Value_StringValue{StringValue: v.Text()}
	case scan.Number:
		if n, ok := v.Int64(); ok && (n != 0 || v.Raw()[0] != '-') {
			out.Kind = &qdrant.Value_IntegerValue{IntegerValue: n}
			return nil
		}
		f, ok := v.Float64()
		if !ok {
			return fail(v, "number out of range")
		}
		out.Kind = &qdrant.Value_DoubleValue{DoubleValue: f}
	case scan.Array:
		list := &qdrant.ListValue{Values: make([]*qdrant.Value, v.Len())}
		for i, item := range v.Items() {
			list.Values[i] = new(qdrant.Value)
			if err := decodeValue(d, item, list.Values[i]); err != nil {
				return err
			}
		}
		out.Kind = &qdrant.Value_ListValue{ListValue: list}
	case scan.Object:
		fields, err := decodeFields(d, v)
		if err != nil {
			return err
		}
		out.Kind = &qdrant.Value_StructValue{StructValue: &qdrant.Struct{Fields: fields}}
	}
	return nil
}

func decodeFields(d *decoder, v scan.Value) (map[string]*qdrant.Value, error) {
	fields := make(map[string]*qdrant.Value, v.Len())
	for key, e := range v.Members() {
		x := new(qdrant.Value)
		if err := decodeValue(d, e, x); err != nil {
			return nil, err
		}
		fields[string(key.Bytes())] = x
	}
	return fields, nil
}

func encodeValue(e *encoder, v *qdrant.Value) {
	switch x := v.GetKind().(type) {
	case *qdrant.Value_DoubleValue:
		e.b = AppendFloat(e.b, x.DoubleValue, 64)
	case *qdrant.Value_IntegerValue:
		e.b = strconv.AppendInt(e.b, x.IntegerValue, 10)
	case *qdrant.Value_StringValue:
		e.string(x.StringValue)
	case *qdrant.Value_BoolValue:
		e.b = strconv.AppendBool(e.b, x.BoolValue)
	case *qdrant.Value_StructValue:
		e.fields(x.StructValue.GetFields())
	case *qdrant.Value_ListValue:
		e.b = append(e.b, '[')
		for _, item := range x.ListValue.GetValues() {
			e.comma()
			encodeValue(e, item)
		}
		e.b = append(e.b, ']')
	default:
		e.null()
	}
}

func (e *encoder) fields(fields map[string]*qdrant.Value) {
	e.b = append(e.b, '{')
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		e.key(k)
		encodeValue(e, fields[k])
	}
	e.b = append(e.b, '}')
}

// payloadOf finds the payload of the messages that are points.
func payloadOf(m protoreflect.Message) *map[string]*qdrant.Value {
	switch p := m.Interface().(type) {
	case *qdrant.RetrievedPoint:
		return &p.Payload
	case *qdrant.ScoredPoint:
		return &p.Payload
	case *qdrant.PointStruct:
		return &p.Payload
	}
	return new(map[string]*qdrant.Value)
}

func decodePayload(d *decoder, v scan.Value, m protoreflect.Message) (err error) {
	if v.Kind() != scan.Object {
		return expected(v, "a map")
	}
	*payloadOf(m), err = decodeFields(d, v)
	return err
}

// encodePayload leaves an empty payload out, unless the request asked for it:
// protobuf does not tell an empty map from none.
func encodePayload(e *encoder, m protoreflect.Message) {
	if p := *payloadOf(m); len(p) > 0 || e.EmptyPayload {
		e.key("payload")
		e.fields(p)
	}
}

// decodeShardKeys reads "a", 7, ["a", 7] or {"target": "a", "fallback": "b"}.
func decodeShardKeys(d *decoder, v scan.Value, s *qdrant.ShardKeySelector) error {
	if v.Kind() == scan.Array {
		for i, item := range v.Items() {
			k := new(qdrant.ShardKey)
			if err := d.message(item, k.ProtoReflect()); err != nil {
				return inItem(err, i)
			}
			s.ShardKeys = append(s.ShardKeys, k)
		}
		return nil
	}
	target := new(qdrant.ShardKey)
	s.ShardKeys = []*qdrant.ShardKey{target}
	if v.Kind() != scan.Object {
		return d.message(v, target.ProtoReflect())
	}
	t, ok := v.Get("target")
	if !ok {
		return fail(v, "missing field `target`")
	}
	f, ok := v.Get("fallback")
	if !ok {
		return fail(v, "missing field `fallback`")
	}
	s.Fallback = new(qdrant.ShardKey)
	if err := d.message(f, s.Fallback.ProtoReflect()); err != nil {
		return in(err, "fallback")
	}
	return in(d.message(t, target.ProtoReflect()), "target")
}

func encodeShardKeys(e *encoder, s *qdrant.ShardKeySelector) {
	keys := s.GetShardKeys()
	if s.Fallback != nil && len(keys) == 1 {
		e.b = append(e.b, '{')
		e.key("target")
		e.message(keys[0].ProtoReflect())
		e.key("fallback")
		e.message(s.Fallback.ProtoReflect())
		e.b = append(e.b, '}')
		return
	}
	if len(keys) == 1 {
		e.message(keys[0].ProtoReflect())
		return
	}
	e.b = append(e.b, '[')
	for _, k := range keys {
		e.comma()
		e.message(k.ProtoReflect())
	}
	e.b = append(e.b, ']')
}

// decodeWithPayload reads a boolean, a list of paths, {"include": …} or {"exclude": …}.
func decodeWithPayload(d *decoder, v scan.Value, s *qdrant.WithPayloadSelector) error {
	switch v.Kind() {
	case scan.Bool:
		s.SelectorOptions = &qdrant.WithPayloadSelector_Enable{Enable: v.Bool()}
		return nil
	case scan.Array:
		list := new(qdrant.PayloadIncludeSelector)
		s.SelectorOptions = &qdrant.WithPayloadSelector_Include{Include: list}
		return d.message(v, list.ProtoReflect())
	case scan.Object:
		_, include := v.Get("include")
		_, exclude := v.Get("exclude")
		if v.Len() == 1 && (include || exclude) {
			return d.object(v, s.ProtoReflect())
		}
	}
	return fail(v, "expected a boolean, a list of paths, `include` or `exclude`")
}

func encodeWithPayload(e *encoder, s *qdrant.WithPayloadSelector) {
	if s.GetInclude() != nil || s.GetExclude() != nil {
		e.object(s.ProtoReflect())
		return
	}
	e.b = strconv.AppendBool(e.b, s.GetEnable())
}

func decodeWithVectors(d *decoder, v scan.Value, s *qdrant.WithVectorsSelector) error {
	switch v.Kind() {
	case scan.Bool:
		s.SelectorOptions = &qdrant.WithVectorsSelector_Enable{Enable: v.Bool()}
		return nil
	case scan.Array:
		list := new(qdrant.VectorsSelector)
		s.SelectorOptions = &qdrant.WithVectorsSelector_Include{Include: list}
		return d.message(v, list.ProtoReflect())
	}
	return fail(v, "expected a boolean or a list of vector names")
}

func encodeWithVectors(e *encoder, s *qdrant.WithVectorsSelector) {
	if s.GetInclude() != nil {
		e.message(s.GetInclude().ProtoReflect())
		return
	}
	e.b = strconv.AppendBool(e.b, s.GetEnable())
}

// decodeTime reads RFC 3339 and what people write instead: a space for the T,
// no zone (UTC), no seconds, no time of day.
func decodeTime(v scan.Value, out *timestamppb.Timestamp) error {
	if v.Kind() != scan.String {
		return expected(v, "a datetime string")
	}
	text := v.Text()
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05",
		"2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z0700", "2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00",
		"2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly,
	} {
		if t, err := time.Parse(layout, text); err == nil {
			ts := timestamppb.New(t)
			if !ts.IsValid() {
				break
			}
			out.Seconds, out.Nanos = ts.Seconds, ts.Nanos
			return nil
		}
	}
	return fail(v, "not a datetime, expected RFC 3339")
}

func (e *encoder) time(ts *timestamppb.Timestamp) {
	e.string(ts.AsTime().Format(time.RFC3339Nano))
}

// encodeCreation prints the time of a snapshot, which REST answers without a zone.
func encodeCreation(e *encoder, s *qdrant.SnapshotDescription) {
	if s.CreationTime != nil {
		e.key("creation_time")
		e.string(s.CreationTime.AsTime().Format("2006-01-02T15:04:05"))
	}
}

func decodeStartFrom(_ *decoder, v scan.Value, s *qdrant.StartFrom) error {
	if v.Kind() == scan.String {
		ts := new(timestamppb.Timestamp)
		s.Value = &qdrant.StartFrom_Timestamp{Timestamp: ts}
		return decodeTime(v, ts)
	}
	if v.Kind() != scan.Number {
		return expected(v, "a number or a datetime")
	}
	if n, ok := v.Int64(); ok {
		s.Value = &qdrant.StartFrom_Integer{Integer: n}
		return nil
	}
	f, ok := v.Float64()
	if !ok {
		return fail(v, "number out of range")
	}
	s.Value = &qdrant.StartFrom_Float{Float: f}
	return nil
}

func encodeStartFrom(e *encoder, s *qdrant.StartFrom) {
	switch x := s.GetValue().(type) {
	case *qdrant.StartFrom_Float:
		e.b = AppendFloat(e.b, x.Float, 64)
	case *qdrant.StartFrom_Integer:
		e.b = strconv.AppendInt(e.b, x.Integer, 10)
	case *qdrant.StartFrom_Timestamp:
		e.time(x.Timestamp)
	case *qdrant.StartFrom_Datetime:
		e.string(x.Datetime)
	default:
		e.null()
	}
}
