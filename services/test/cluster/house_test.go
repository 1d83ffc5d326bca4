// Package cluster runs whole peers in one process: the real facades, RPC and
// REST, on a file system that can crash and a control plane that keeps its
// records in memory. It holds tests only.
package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/dataplane"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dataDir = "/data"

// house is a peer with its control plane.
type house struct {
	t      *testing.T
	data   *dataplane.Service
	cancel context.CancelFunc
	ended  chan error
}

// enter starts a peer on fsys and waits until it is ready. Peers on the same
// memory share a control plane.
func enter(t *testing.T, fsys vfs.FS, memory *controlplane.Memory, tracer trace.TracerProvider) *house {
	t.Helper()
	h := begin(t, fsys, memory, tracer)
	h.await("ready", func() bool { return h.data.Ready() == nil })
	return h
}

// begin starts a peer.
func begin(t *testing.T, fsys vfs.FS, memory *controlplane.Memory, tracer trace.TracerProvider) *house {
	t.Helper()
	if tracer == nil {
		tracer = tracenoop.NewTracerProvider()
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	options := rpc.Options{Tracer: tracer, Logger: log}
	toControl, err := rpc.NewLocal(options)
	must(t, err)
	toData, err := rpc.NewLocal(options)
	must(t, err)
	data, err := dataplane.New(dataplane.Config{Dir: dataDir, URI: "http://127.0.0.1:6335", Version: "test", Commit: "c", ClusterEnabled: true, CORS: true},
		dataplane.Deps{FS: fsys, Control: toControl, Random: rand.Reader, Log: log, Tracer: tracer, Meter: metricnoop.NewMeterProvider(),
			Dial: func(topology.PeerID) (grpc.ClientConnInterface, error) { return nil, errors.New("no other peer") }})
	must(t, err)
	data.RegisterInternal(toData)
	control, err := controlplane.New(controlplane.Config{Peer: data.Self()}, controlplane.Deps{Memory: memory, Log: log,
		Dial: func(string) (grpc.ClientConnInterface, error) { return toData, nil }})
	must(t, err)
	control.Register(toControl)
	ctx, cancel := context.WithCancel(context.Background())
	h := &house{t: t, data: data, cancel: cancel, ended: make(chan error, 1)}
	go func() {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return control.Run(ctx) })
		g.Go(func() error { return data.Run(ctx) })
		h.ended <- g.Wait()
	}()
	return h
}

// leave stops the peer in order.
func (h *house) leave() {
	h.t.Helper()
	h.cancel()
	if err := <-h.ended; err != nil {
		h.t.Errorf("the peer ended with %v", err)
	}
	if err := h.data.Close(); err != nil {
		h.t.Errorf("closing the folder: %v", err)
	}
}

// crash stops the peer whatever it says: its disk has failed under it.
func (h *house) crash() {
	h.cancel()
	<-h.ended
}

func (h *house) await(what string, done func() bool) {
	h.t.Helper()
	deadline := time.After(20 * time.Second)
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
	r := httptest.NewRequest(method, path, bytes.NewBufferString(body))
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
