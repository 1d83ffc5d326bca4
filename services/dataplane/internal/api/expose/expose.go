// Package expose registers the services of the public API and gives all of
// their methods what is the same everywhere: the limits of a collection, the seconds
// spent, an honest answer of methods that are not built, and a second look at a name
// whose collection was dropped under the request.
//
// Implementations embed the generated Unimplemented types, so that a method of
// a newer definition compiles; what those types answer is turned into NOT_BUILT
// with the method's name here and nowhere else.
package expose

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Guard refuses requests before anything is done about them.
type Guard func(ctx context.Context, method string, req any) error

// Registrar wraps r: services registered with it get their unary methods
// surrounded as the package says. A nil guard refuses nothing.
func Registrar(r grpc.ServiceRegistrar, guard Guard) grpc.ServiceRegistrar {
	if guard == nil {
		guard = func(context.Context, string, any) error { return nil }
	}
	return registrar{r, guard}
}

type registrar struct {
	to    grpc.ServiceRegistrar
	guard Guard
}

// RegisterService is what generated RegisterXServer functions call.
func (r registrar) RegisterService(d *grpc.ServiceDesc, impl any) {
	own := *d
	own.Methods = make([]grpc.MethodDesc, len(d.Methods))
	for i, m := range d.Methods {
		own.Methods[i] = grpc.MethodDesc{MethodName: m.MethodName, Handler: around(m.Handler, r.guard)}
	}
	r.to.RegisterService(&own, impl)
}

// around puts the common part inside of the server's interceptors, next to the
// method.
func around(inner grpc.MethodHandler, guard Guard) grpc.MethodHandler {
	return func(srv any, ctx context.Context, dec func(any) error, outer grpc.UnaryServerInterceptor) (any, error) {
		return inner(srv, ctx, dec, func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			inside := func(ctx context.Context, req any) (any, error) {
				if err := guard(ctx, info.FullMethod, req); err != nil {
					return nil, named(err, info.FullMethod)
				}
				return answer(ctx, req, info.FullMethod, h)
			}
			if outer == nil {
				return inside(ctx, req)
			}
			return outer(ctx, req, info, inside)
		})
	}
}

func answer(ctx context.Context, req any, method string, h grpc.UnaryHandler) (any, error) {
	begin := time.Now()
	resp, err := h(ctx, req)
	if errors.Is(err, coordinator.ErrDropped) { // nothing is left of what was done to that
		resp, err = h(ctx, req)
	}
	if err != nil {
		return nil, named(err, method)
	}
	if m, ok := resp.(proto.Message); ok {
		stamp(m.ProtoReflect(), time.Since(begin))
	}
	return resp, nil
}

// named gives a reason to a bare status: the answer of the generated types is
// NOT_BUILT; the others come from connections to the control plane, since the
// coordinator's errors carry reasons of their own.
func named(err error, method string) error {
	if _, ours := errors.AsType[*fault.Error](err); ours {
		return err
	}
	if _, isStatus := status.FromError(err); !isStatus {
		return err
	}
	e := fault.From(err)
	if e.Reason != fault.Unspecified {
		return err
	}
	switch e.Code {
	case codes.Unimplemented:
		return fault.Missing(strings.TrimPrefix(method, "/"))
	case codes.DeadlineExceeded:
		return fault.Wrap(fault.Timeout, err, "Timeout error: the control plane did not answer in time")
	case codes.Unavailable:
		return fault.Wrap(fault.NoLeader, err, "Service temporarily unavailable: the control plane cannot be reached")
	}
	return err
}

// stamp fills the field `time`, in seconds, of answers that have one.
func stamp(m protoreflect.Message, d time.Duration) {
	if f := m.Descriptor().Fields().ByName("time"); f != nil && f.Kind() == protoreflect.DoubleKind && m.IsValid() {
		m.Set(f, protoreflect.ValueOfFloat64(d.Seconds()))
	}
}
