package expose

import (
	"context"
	"errors"
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/rpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// answers gives what a test wants for one method; the other is not built.
type answers struct {
	qdrant.UnimplementedSnapshotsServer
	err   error
	calls int
	first error // of the first call alone
}

func (a *answers) Create(context.Context, *qdrant.CreateSnapshotRequest) (*qdrant.CreateSnapshotResponse, error) {
	if a.calls++; a.calls == 1 && a.first != nil {
		return nil, a.first
	}
	return &qdrant.CreateSnapshotResponse{}, a.err
}

func TestBareStatusesGetAReason(t *testing.T) {
	own := fault.New(fault.DiskFull, "full")
	for _, c := range []struct {
		name string
		err  error
		want fault.Reason
		code codes.Code
		text string
	}{
		{"not built", status.Error(codes.Unimplemented, "unknown method"), fault.NotBuilt, codes.Unimplemented, "qdrant.Snapshots/Create is not built yet"},
		{"time", status.Error(codes.DeadlineExceeded, "late"), fault.Timeout, codes.DeadlineExceeded, "Timeout error: the control plane did not answer in time"},
		{"away", status.Error(codes.Unavailable, "refused"), fault.NoLeader, codes.Unavailable,
			"Service temporarily unavailable: the control plane cannot be reached"},
		{"with a reason", own.GRPCStatus().Err(), fault.DiskFull, codes.ResourceExhausted, "full"},
		{"of our own", own, fault.DiskFull, codes.ResourceExhausted, "full"},
		{"anything else", errors.New("odd"), fault.Unspecified, codes.Internal, "Service internal error: odd"},
		{"another status", status.Error(codes.Internal, "broken"), fault.Unspecified, codes.Internal, "broken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := rpc.NewLocal(rpc.Options{})
			if err != nil {
				t.Fatal(err)
			}
			qdrant.RegisterSnapshotsServer(Registrar(l, nil), &answers{err: c.err})
			_, err = qdrant.NewSnapshotsClient(l).Create(t.Context(), &qdrant.CreateSnapshotRequest{})
			if f := fault.From(err); f == nil || f.Reason != c.want || f.Code != c.code || f.Msg != c.text {
				t.Errorf("got %v (%v), want %s (%v)", err, fault.ReasonOf(err), c.text, c.want)
			}
		})
	}
}

func TestTimeIsFilledInAndInterceptorsStayOutside(t *testing.T) {
	var methods []*grpc.ServiceDesc
	r := Registrar(catch(func(d *grpc.ServiceDesc, _ any) { methods = append(methods, d) }), nil)
	qdrant.RegisterSnapshotsServer(r, &answers{})
	h := methods[0].Methods[0].Handler
	dec := func(any) error { return nil }
	out, err := h(&answers{}, t.Context(), dec, nil) // a server without interceptors
	if resp, ok := out.(*qdrant.CreateSnapshotResponse); !ok || err != nil || resp.GetTime() <= 0 {
		t.Errorf("%v, %v", out, err)
	}
	var seen error
	_, err = h(&answers{err: status.Error(codes.Unimplemented, "")}, t.Context(), dec,
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			resp, err := next(ctx, req)
			seen = err
			return resp, err
		})
	if fault.ReasonOf(seen) != fault.NotBuilt || !errors.Is(err, seen) {
		t.Errorf("the interceptor saw %v, the caller %v", seen, err)
	}
}

// A name whose collection was dropped under the request is looked up once more.
func TestDroppedIsLookedUpAgain(t *testing.T) {
	dropped := fault.Wrap(fault.CollectionNotFound, coordinator.ErrDropped, "gone")
	for _, c := range []struct {
		impl  answers
		want  fault.Reason
		calls int
	}{
		{answers{first: dropped}, fault.Unspecified, 2},
		{answers{first: dropped, err: dropped}, fault.CollectionNotFound, 2},
		{answers{err: fault.NoCollection("c")}, fault.CollectionNotFound, 1},
	} {
		l, err := rpc.NewLocal(rpc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		qdrant.RegisterSnapshotsServer(Registrar(l, nil), &c.impl)
		_, err = qdrant.NewSnapshotsClient(l).Create(t.Context(), &qdrant.CreateSnapshotRequest{})
		if fault.ReasonOf(err) != c.want || (err == nil) != (c.want == fault.Unspecified) || c.impl.calls != c.calls {
			t.Errorf("%v after %d calls", err, c.impl.calls)
		}
	}
}

type catch func(*grpc.ServiceDesc, any)

func (c catch) RegisterService(d *grpc.ServiceDesc, impl any) { c(d, impl) }
