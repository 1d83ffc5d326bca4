package cluster

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

var (
	oddCalls = flag.Int("odd-calls", 6000, "requests of TestOddRequests")
	oddSeed  = flag.Uint64("odd-seed", 1, "seed of TestOddRequests")
)

// method is one public method and what it takes and gives.
type method struct {
	name    string
	in, out protoreflect.MessageType
}

// publicMethods are the unary methods of the public packages.
func publicMethods(t *testing.T) (out []method) {
	t.Helper()
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if p := f.Package(); p != "qdrant" && p != "pando.cluster.v1" {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				d := s.Methods().Get(j)
				if d.IsStreamingClient() || d.IsStreamingServer() {
					continue
				}
				in, err := protoregistry.GlobalTypes.FindMessageByName(d.Input().FullName())
				must(t, err)
				res, err := protoregistry.GlobalTypes.FindMessageByName(d.Output().FullName())
				must(t, err)
				out = append(out, method{fmt.Sprintf("/%s/%s", s.FullName(), d.Name()), in, res})
			}
		}
		return true
	})
	return out
}

// stranger makes requests that no client library would: parts left out, numbers
// at their limits, names that are not there.
type stranger struct{ *rand.Rand }

func (s stranger) one(of ...string) string { return of[s.IntN(len(of))] }

func (s stranger) fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case s.IntN(10) < 2+depth/2 && fd.Name() != "collection_name":
		case fd.IsMap():
			for range s.IntN(3) {
				v := m.Mutable(fd).Map().NewValue()
				if fd.MapValue().Message() != nil {
					s.inner(v.Message(), depth)
				} else {
					v = s.scalar(fd.MapValue())
				}
				m.Mutable(fd).Map().Set(s.scalar(fd.MapKey()).MapKey(), v)
			}
		case fd.IsList():
			n := s.IntN(4)
			if fd.Kind() == protoreflect.FloatKind && s.IntN(8) > 0 {
				n = 4
			}
			for range n {
				if fd.Message() != nil {
					s.inner(m.Mutable(fd).List().AppendMutable().Message(), depth)
				} else {
					m.Mutable(fd).List().Append(s.scalar(fd))
				}
			}
		case fd.Message() != nil:
			s.inner(m.Mutable(fd).Message(), depth)
		default:
			m.Set(fd, s.scalar(fd))
		}
	}
	// Of a oneof the last field stays that was set: half the time another one.
	for i := range m.Descriptor().Oneofs().Len() {
		o := m.Descriptor().Oneofs().Get(i).Fields()
		if fd := o.Get(s.IntN(o.Len())); o.Len() > 1 && s.IntN(4) > 0 {
			if fd.Message() != nil {
				s.inner(m.Mutable(fd).Message(), depth)
			} else {
				m.Set(fd, s.scalar(fd))
			}
		}
	}
}

func (s stranger) inner(m protoreflect.Message, depth int) {
	if depth < 9 {
		s.fill(m, depth+1)
	}
}

func (s stranger) scalar(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(s.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(s.IntN(fd.Enum().Values().Len()+1) - s.IntN(2)*s.IntN(2)))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(s.text(string(fd.Name())))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(s.one("", "x", "0123456789abcdef")))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(s.float()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(s.float())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(s.number()))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(s.number()))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(s.number()))
	default:
		return protoreflect.ValueOfUint64(s.number())
	}
}

func (s stranger) text(field string) string {
	switch {
	case field == "collection_name" && s.IntN(10) > 0:
		return s.one("c", "c", "c", "named")
	case strings.Contains(field, "uuid"):
		return s.one("", "x", "550e8400-e29b-41d4-a716-446655440000", "550e8400e29b41d4a716446655440001")
	}
	return s.one("", "", "a", "b", "k", "k.l", "k[]", "k[0].l", "]", ".", "..", "a/b", "\x00", "é", strings.Repeat("n", 300))
}

func (s stranger) number() uint64 {
	switch s.IntN(8) {
	case 0:
		return math.MaxUint64
	case 1:
		return 1 << 31
	case 2:
		return s.Uint64()
	}
	return s.Uint64N(6)
}

func (s stranger) float() float64 {
	if n := s.IntN(40); n < 5 {
		return []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.Copysign(0, -1)}[n]
	}
	return s.Float64()*4 - 2
}

// Whatever a client sends, it gets an answer that says what is wrong: no panic,
// no INTERNAL or UNKNOWN, and the peer goes on to serve.
func TestOddRequests(t *testing.T) {
	h := enter(t, memfs.New(), controlplane.NewMemory(), nil)
	defer h.leave()
	methods := publicMethods(t)
	s := stranger{rand.New(rand.NewPCG(*oddSeed, 0))}
	codesSeen := map[codes.Code]int{}
	for n := range *oddCalls {
		if n%50 == 0 {
			for name, body := range map[string]string{"c": `{"vectors":{"size":4,"distance":"Dot"},"shard_number":2}`,
				"named": `{"vectors":{"a":{"size":4,"distance":"Cosine"},"b":{"size":4,"distance":"Euclid"}}}`} {
				if code, _ := h.call("GET", "/collections/"+name, ""); code != 200 {
					h.ok("PUT", "/collections/"+name, body)
				}
			}
			h.await("ready", func() bool { return h.data.Ready() == nil })
		}
		m := methods[s.IntN(len(methods))]
		if strings.HasSuffix(m.name, "Collections/Delete") && s.IntN(20) > 0 {
			continue
		}
		in, out := m.in.New(), m.out.New().Interface()
		s.fill(in, 0)
		text := prototext.MarshalOptions{Multiline: false}.Format(in.Interface())
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		start := time.Now()
		err := h.data.Local().Invoke(ctx, m.name, in.Interface(), out)
		cancel()
		took := time.Since(start)
		code := status.Code(err)
		codesSeen[code]++
		if code == codes.Internal || code == codes.Unknown || took > 3*time.Second {
			t.Errorf("call %d: %s took %v: %v\n%.2000s", n, m.name, took, err, text)
		}
		if err == nil {
			if _, err := proto.Marshal(out); err != nil {
				t.Errorf("call %d: %s: the answer cannot be sent: %v\n%.2000s", n, m.name, err, text)
			}
		}
	}
	t.Log(codesSeen)
}
