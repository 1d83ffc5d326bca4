package rest

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/services/dataplane/internal/rest/dialect"
	"github.com/pandodb/pando/services/internal/fault"
)

// answer is a response on its way to Marshal.
type answer struct {
	g *gateway
	x *exchange
	m proto.Message
}

func (g *gateway) rewrite(ctx context.Context, m proto.Message) (any, error) {
	x := exchangeOf(ctx)
	if _, ok := m.(*clusterv1.GetPointResponse); ok {
		x.emptyPayload = true
	}
	return &answer{g: g, x: x, m: m}, nil
}

// bytes prints {"result": …, "status": "ok", "time": seconds} and "usage" where there was any.
func (a *answer) bytes() []byte {
	m, o := a.m, dialect.Options{Response: true, EmptyPayload: a.x.emptyPayload}
	// What reads a single shard wraps the response that it has in common with the whole collection.
	if fd := m.ProtoReflect().Descriptor().Fields().ByName("response"); fd != nil && fd.Message() != nil {
		m = m.ProtoReflect().Get(fd).Message().Interface()
	}
	codec, what := a.g.codec, dialect.ResultOf(m.ProtoReflect().Descriptor())
	if what == dialect.Bare {
		return codec.Append(nil, m, o)
	}
	b := append(make([]byte, 0, 512), `{"result":`...)
	switch what {
	case dialect.Whole:
		b = codec.Append(b, m, o)
	case dialect.Always:
		b = append(b, "true"...)
	default:
		b = codec.AppendField(b, m, what, o)
	}
	b = append(b, `,"status":"ok","time":`...)
	b = dialect.AppendFloat(b, time.Since(a.x.start).Seconds(), 64)
	if u := usageOf(m); u != nil {
		b = codec.Append(append(b, `,"usage":`...), u, o)
	}
	return append(b, '}')
}

// usageOf is the cost that a response tells, nil if it tells nothing.
func usageOf(m proto.Message) proto.Message {
	r := m.ProtoReflect()
	fd := r.Descriptor().Fields().ByName("usage")
	if fd == nil || !r.Has(fd) || proto.Size(r.Get(fd).Message().Interface()) == 0 {
		return nil
	}
	return r.Get(fd).Message().Interface()
}

// handleError answers what a service or a decoder refused.
func (g *gateway) handleError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(ctx)
	f := x.fault
	if f == nil {
		f = parseFault(r.Form, err)
	}
	if f == nil {
		f = fault.From(err)
	}
	if _, ok := errors.AsType[*runtime.HTTPStatusError](err); ok && x.fault == nil {
		f = fault.New(fault.Malformed, "Deserialize error in path parameters: %v", err)
	}
	g.answer(w, x, f)
}

// handleRouting answers what no route takes.
func (g *gateway) handleRouting(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, status int) {
	text := http.StatusText(status)
	if status == http.StatusMethodNotAllowed {
		text = "Method " + r.Method + " is not allowed here"
	}
	g.write(w, exchangeOf(ctx), status, text)
}

// answer writes an error: plain text about keys, the envelope for everything else.
func (g *gateway) answer(w http.ResponseWriter, x *exchange, f *fault.Error) {
	status := fault.HTTPStatus(f)
	if f.Code == codes.Unauthenticated || f.Code == codes.PermissionDenied {
		plain(w, status, f.Msg)
		return
	}
	if after, ok := f.Meta[fault.MetaRetryAfter]; ok {
		w.Header().Set("Retry-After", after)
	}
	if f.Reason == fault.TooLarge {
		w.Header().Set("Connection", "close") // the rest of the body is not worth reading
	}
	msg := f.Msg
	if f.Reason == fault.Validation {
		// Only the words differ between the protocols: here it is a JSON body.
		msg = strings.Replace(msg, "Validation error in body", "Validation error in JSON body", 1)
	}
	g.write(w, x, status, msg)
}

// write prints {"status": {"error": text}, "time": seconds}.
func (g *gateway) write(w http.ResponseWriter, x *exchange, status int, text string) {
	b := append(make([]byte, 0, 256), `{"status":{"error":`...)
	b = dialect.AppendString(b, strings.ToValidUTF8(text, "�"))
	b = append(b, `},"time":`...)
	b = dialect.AppendFloat(b, time.Since(x.start).Seconds(), 64)
	b = append(b, '}')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the caller may be gone
}
