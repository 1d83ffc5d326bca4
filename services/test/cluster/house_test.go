// Package cluster runs whole peers in one process: the real facades, RPC and
// REST, on a file system that can crash and a control plane that keeps its
// records in memory. It holds tests only.
package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/dataplane"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dataDir = "/data"

// house is a peer with its control plane and its health check.
type house struct {
	t      testing.TB
	street *street
	fsys   vfs.FS
	data   *dataplane.Service
	inside *rpc.Local // in-process way to its internal services
	calls  *grpc.Server
	door   *bufconn.Listener // where others call
	conns  map[topology.PeerID]*grpc.ClientConn
	ctx    context.Context // of its life
	cancel context.CancelFunc
	ended  chan error
}

// down tells whether the peer was stopped.
func (h *house) down() bool { return h.ctx.Err() != nil }

// enter starts a peer on fsys and waits until it is ready. Peers on the same
// memory share a control plane.
func enter(t testing.TB, fsys vfs.FS, memory *controlplane.Memory, tracer trace.TracerProvider) *house {
	t.Helper()
	h := begin(t, fsys, memory, tracer)
	h.await("ready", func() bool { return h.data.Ready() == nil })
	return h
}

// begin starts a peer that lives alone.
func begin(t testing.TB, fsys vfs.FS, memory *controlplane.Memory, tracer trace.TracerProvider) *house {
	t.Helper()
	return newStreet(t, memory, tracer).begin(fsys)
}

// leave stops the peer in order.
func (h *house) leave() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := h.data.Leave(ctx); err != nil {
		h.t.Errorf("leaving: %v", err)
	}
	if err := h.stop(); err != nil {
		h.t.Errorf("the peer ended with %v", err)
	}
	if err := h.data.Close(); err != nil {
		h.t.Errorf("closing the folder: %v", err)
	}
}

// crash stops the peer whatever it says: its disk has failed under it.
func (h *house) crash() { _ = h.stop() }

func (h *house) await(what string, done func() bool) {
	h.t.Helper()
	deadline := time.After(h.street.patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			h.t.Fatalf("not in time: %s (%v)", what, h.data.Ready())
		}
	}
}

// call sends a REST request and gives status and decoded body.
func (h *house) call(method, path, body string) (int, map[string]any) {
	h.t.Helper()
	return h.callWith(method, path, body, nil)
}

func (h *house) callWith(method, path, body string, header map[string]string) (int, map[string]any) {
	h.t.Helper()
	r := httptest.NewRequestWithContext(h.ctx, method, path, bytes.NewBufferString(body))
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.data.Handler().ServeHTTP(w, r)
	out := map[string]any{}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		out["text"] = w.Body.String()
	}
	return w.Code, out
}

// ok is call that must succeed.
func (h *house) ok(method, path, body string) any {
	h.t.Helper()
	code, out := h.call(method, path, body)
	if code != http.StatusOK {
		h.t.Fatalf("%s %s: %d %v", method, path, code, out)
	}
	return out["result"]
}

func (h *house) create(name string, shards int) {
	h.t.Helper()
	h.ok("PUT", "/collections/"+name, fmt.Sprintf(`{"vectors":{"size":4,"distance":"Dot"},"shard_number":%d}`, shards))
}

func errorText(out map[string]any) string {
	if s, ok := out["status"].(map[string]any); ok {
		if e, ok := s["error"].(string); ok {
			return e
		}
	}
	return fmt.Sprint(out)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
