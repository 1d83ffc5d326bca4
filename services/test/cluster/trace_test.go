package cluster

import (
	"testing"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// One request is one trace: REST, the handler, the coordinator's call to each
// peer, the work of each replica, each the parent of the next.
func TestOneTraceFromRESTToShard(t *testing.T) {
	rec := tracetest.NewSpanRecorder()
	h := enter(t, memfs.New(), controlplane.NewMemory(), sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec)))
	defer h.leave()
	h.create("c", 2)
	// The first requests may meet a replica that is about to see its placement.
	h.ok("PUT", "/collections/c/points?wait=true", `{"points":[{"id":1,"vector":[1,0,0,0]},{"id":2,"vector":[1,0,0,0]},{"id":3,"vector":[1,0,0,0]}]}`)
	h.ok("POST", "/collections/c/points/count", `{}`)
	for _, c := range []struct {
		method, path, body string
		chain              []string // from the top; the last one once for each shard
		shards             int
	}{
		{"PUT", "/collections/c/points?wait=true", `{"points":[{"id":1,"vector":[1,0,0,0]}]}`,
			[]string{"PUT /collections/{collection_name}/points", "qdrant.Points/Upsert", "shard.write", "replica.write"}, 1},
		{"POST", "/collections/c/points/query", `{"query":[1,0,0,0]}`,
			[]string{"POST /collections/{collection_name}/points/query", "qdrant.Points/Query", "shard.read", "replica.read"}, 2},
	} {
		const remote = "4bf92f3577b34da6a3ce929d0e0e4736"
		rec.Reset()
		if code, out := h.callWith(c.method, c.path, c.body, map[string]string{"traceparent": "00-" + remote + "-00f067aa0ba902b7-01"}); code != 200 {
			t.Fatalf("%d %v", code, out)
		}
		byName := map[string][]sdktrace.ReadOnlySpan{}
		for _, s := range rec.Ended() {
			if s.SpanContext().TraceID().String() == remote {
				byName[s.Name()] = append(byName[s.Name()], s)
			}
		}
		parent := "00f067aa0ba902b7"
		for i, name := range c.chain {
			want := 1
			if i == len(c.chain)-1 {
				want = c.shards
			}
			if len(byName[name]) != want {
				t.Fatalf("%d spans %q in the client's trace, want %d; there are %v", len(byName[name]), name, want, keys(byName))
			}
			for _, s := range byName[name] {
				if s.Parent().SpanID().String() != parent {
					t.Errorf("the parent of %q is not %q", name, c.chain[max(i-1, 0)])
				}
			}
			parent = byName[name][0].SpanContext().SpanID().String()
		}
	}
}

func keys[V any](m map[string]V) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	return out
}
