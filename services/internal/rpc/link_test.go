package rpc

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/pandodb/pando/services/internal/fault"
)

// tenant serves on a loopback port as a process of cluster c1.
func tenant(t *testing.T, self string) (addr string, stop func()) {
	t.Helper()
	identity := NewCluster("", CallRules{})
	identity.SetID("c1")
	identity.SetSelf(self)
	s, err := NewServer(Options{Cluster: identity})
	if err != nil {
		t.Fatal(err)
	}
	grpc_testing.RegisterTestServiceServer(s, &server{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	var once atomic.Bool
	stop = func() {
		if once.CompareAndSwap(false, true) {
			s.Stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// TestLinkFollowsTheBook: a link reaches its process wherever it listens, at once when that changes, and nobody else.
func TestLinkFollowsTheBook(t *testing.T) {
	identity := NewCluster("", CallRules{})
	identity.SetID("c1")
	var at atomic.Pointer[string]
	var dialled atomic.Int32
	l, err := NewLink(LinkOptions{
		DialOptions: DialOptions{Cluster: identity, To: "7"},
		Resolve: func() (string, error) {
			if a := at.Load(); a != nil {
				return *a, nil
			}
			return "", errors.New("no address of process 7")
		},
		Dialled: func(string, error) { dialled.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := grpc_testing.NewTestServiceClient(l)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	call := func(opts ...grpc.CallOption) error {
		for {
			_, err := c.UnaryCall(ctx, ask("x"), opts...)
			if len(opts) == 0 || status.Code(err) != codes.Unavailable || fault.ReasonOf(err) != fault.Unspecified {
				return err
			}
			// It was sent on the connection that was given up just now.
		}
	}
	if err := call(); status.Code(err) != codes.Unavailable {
		t.Fatalf("without an address: %v", err)
	}
	first, stopFirst := tenant(t, "7")
	at.Store(&first)
	l.Moved()
	if err := call(grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	wrong, _ := tenant(t, "8")
	at.Store(&wrong)
	l.Moved()
	if err := call(grpc.WaitForReady(true)); fault.ReasonOf(err) != fault.WrongProcess {
		t.Fatalf("another process answered: %v", err)
	}
	stopFirst()
	second, _ := tenant(t, "7")
	at.Store(&second)
	before := dialled.Load()
	l.Moved()
	if err := call(grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	if n := dialled.Load() - before; n != 1 {
		t.Errorf("dialled %d times after the move", n)
	}
	l.Moved() // no news: the connection stays
	if err := call(); err != nil || dialled.Load() != before+1 {
		t.Errorf("%v, dialled %d times", err, dialled.Load()-before)
	}
}
