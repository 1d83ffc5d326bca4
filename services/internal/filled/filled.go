// Package filled fills messages with something that REST can say, for tests of those that read, describe or serve them.
package filled

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Fill sets all of m that can be set: every field that has a place in JSON, and of each oneof one at random.
func Fill(r *rand.Rand, m protoreflect.Message) { filler{r}.fill(m, 0) }

type filler struct{ r *rand.Rand }

func (f filler) fill(m protoreflect.Message, depth int) {
	if ts, ok := m.Interface().(*timestamppb.Timestamp); ok {
		ts.Seconds = f.r.Int64N(1 << 33)
		return
	}
	fields := m.Descriptor().Fields()
	chosen := map[protoreflect.Name]protoreflect.Name{}
	oneofs := m.Descriptor().Oneofs()
	for i := range oneofs.Len() {
		of := oneofs.Get(i).Fields()
		pick := of.Get(f.r.IntN(of.Len()))
		for old(pick) && of.Len() > 1 {
			pick = of.Get(f.r.IntN(of.Len()))
		}
		for depth > 6 && pick.Message() != nil && pick != of.Get(0) && of.Get(0).Message() == nil {
			pick = of.Get(0)
		}
		chosen[oneofs.Get(i).Name()] = pick.Name()
	}
	for i := range fields.Len() {
		fd := fields.Get(i)
		if o := fd.ContainingOneof(); o != nil && chosen[o.Name()] != fd.Name() || old(fd) || recursive(fd) && depth > 6 {
			continue
		}
		if fd.Name() == "datetime_range" && m.Has(fields.ByName("range")) || fd.Name() == "range" && fd.Message() != nil && f.r.IntN(2) == 0 {
			continue // REST has one range, of either kind
		}
		switch {
		case fd.IsMap():
			e := m.Mutable(fd).Map()
			v := e.NewValue()
			if fd.MapValue().Message() != nil {
				f.fill(v.Message(), depth+1)
			} else {
				v = f.scalar(fd.MapValue())
			}
			key := protoreflect.ValueOfString("k").MapKey()
			if fd.MapKey().Kind() == protoreflect.Uint64Kind {
				key = protoreflect.ValueOfUint64(7).MapKey()
			}
			e.Set(key, v)
		case fd.IsList() && fd.Message() != nil:
			f.fill(m.Mutable(fd).List().AppendMutable().Message(), depth+1)
		case fd.IsList():
			m.Mutable(fd).List().Append(f.scalar(fd))
		case fd.Message() != nil:
			f.fill(m.Mutable(fd).Message(), depth+1)
		default:
			m.Set(fd, f.scalar(fd))
		}
	}
}

// old tells fields that no longer have a place in JSON.
func old(fd protoreflect.FieldDescriptor) bool {
	return strings.HasSuffix(string(fd.Name()), "deprecated") || strings.HasPrefix(string(fd.Name()), "deprecated") ||
		(fd.Parent().Name() == "Vector" || fd.Parent().Name() == "VectorOutput") && fd.Number() < 100
}

// recursive tells fields that lead back to their own message and may be absent.
func recursive(fd protoreflect.FieldDescriptor) bool {
	switch fd.Name() {
	case "must", "should", "must_not", "min_should", "prefetch", "mult", "sum", "max", "min", "corpus", "update_filter", "conditions":
		return true
	}
	return false
}

func (f filler) scalar(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.StringKind:
		switch fd.Name() {
		case "uuid":
			return protoreflect.ValueOfString("550e8400-e29b-41d4-a716-446655440000")
		case "datetime":
			return protoreflect.ValueOfString("2024-01-01T00:00:00Z")
		}
		return protoreflect.ValueOfString(fmt.Sprintf("s\"%d", f.r.IntN(10)))
	case protoreflect.EnumKind:
		// Not the first, which is often a placeholder.
		values := fd.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(values.Len() - 1).Number())
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(f.r.Uint32())
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(f.r.Uint64())
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(-f.r.Int64())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(-f.r.Int32())
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(f.r.Float32())
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(f.r.NormFloat64())
	}
	return fd.Default()
}
