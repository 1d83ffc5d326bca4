package process

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// collector takes the spans that processes send by OTLP.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans map[string]span // by id
}

type span struct {
	*tracev1.Span
	process string
}

func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range r.GetResourceSpans() {
		process := ""
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.instance.id" {
				process = a.GetValue().GetStringValue()
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				c.spans[hex.EncodeToString(s.GetSpanId())] = span{s, process}
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

// paths gives, for each span of a trace with this name, the way to it from the top: name@process of each span, the
// client's own first. A span whose parent has not come yet is left out.
func (c *collector) paths(trace, client, name string) (out [][]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, s := range c.spans {
		if hex.EncodeToString(s.GetTraceId()) != trace || s.GetName() != name {
			continue
		}
		var path []string
		for {
			s, ok := c.spans[id]
			if !ok {
				break
			}
			path, id = append(path, s.GetName()+"@"+s.process), hex.EncodeToString(s.GetParentSpanId())
		}
		if id == client {
			slices.Reverse(path)
			out = append(out, path)
		}
	}
	return out
}

// roots counts the spans without a parent by their names.
func (c *collector) roots() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]int{}
	for _, s := range c.spans {
		if len(s.GetParentSpanId()) == 0 {
			out[s.GetName()]++
		}
	}
	return out
}

// TestOneTraceAcrossProcesses: a request enters at a peer that holds nothing, and is one trace over REST, the coordinator
// there, the primary in another process and the follower in a third.
func TestOneTraceAcrossProcesses(t *testing.T) {
	got := &collector{spans: map[string]span{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, got)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	c := newCluster(t, 3)
	for i := range c.homes {
		c.homes[i].Env = []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://" + listener.Addr().String(), "OTEL_BSP_SCHEDULE_DELAY=50",
			fmt.Sprintf("OTEL_RESOURCE_ATTRIBUTES=service.instance.id=%d", i)}
	}
	c.grow(3)
	peer{t, c.peers[0]}.ok(http.MethodPut, "/collections/c", `{"vectors":{"size":4,"distance":"Dot"},"shard_number":1,"replication_factor":2}`)
	entry := -1
	c.until("the collection is known", func(i int, _ view) bool {
		code, out, err := peer{t, c.peers[i]}.call(t.Context(), http.MethodGet, "/collections/c/cluster", "", "")
		if text := fmt.Sprint(out); !strings.Contains(text, "local_shards:[map") {
			entry = i
		}
		return err == nil && code == http.StatusOK
	})
	if entry < 0 {
		t.Fatal("every peer holds a replica")
	}
	// The first request may meet a replica that is about to see its placement, and is tried again then.
	peer{t, c.peers[entry]}.ok(http.MethodPut, "/collections/c/points?wait=true", `{"points":[{"id":1,"vector":[1,2,3,4]}]}`)

	const trace, client = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+c.peers[entry].REST+"/collections/c/points?wait=true",
		strings.NewReader(`{"points":[{"id":2,"vector":[1,2,3,4]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("traceparent", "00-"+trace+"-"+client+"-01")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", resp.Status, err)
	}
	var paths [][]string
	await(t, "the follower's span has come, and all above it", func() bool {
		paths = got.paths(trace, client, "replica.append")
		return len(paths) > 0
	})
	others := slices.DeleteFunc([]int{0, 1, 2}, func(i int) bool { return i == entry })
	path := func(primary, follower int) []string {
		return []string{fmt.Sprintf("PUT /collections/{collection_name}/points@%d", entry), fmt.Sprintf("qdrant.Points/Upsert@%d", entry),
			fmt.Sprintf("shard.write@%d", entry), fmt.Sprintf("pando.shard.v1.Shard/Write@%d", entry), fmt.Sprintf("pando.shard.v1.Shard/Write@%d", primary),
			fmt.Sprintf("replica.write@%d", primary), fmt.Sprintf("replica.append@%d", follower)}
	}
	if len(paths) != 1 || !slices.Equal(paths[0], path(others[0], others[1])) && !slices.Equal(paths[0], path(others[1], others[0])) {
		t.Errorf("the write came to the follower by %q, want %q, or with the last two processes exchanged", paths, path(others[0], others[1]))
	}
	for name, n := range got.roots() {
		if method, _, ok := strings.Cut(name, " "); !ok || method != http.MethodGet && method != http.MethodPut {
			t.Errorf("%d traces of %s, which nobody has asked for", n, name)
		}
	}
}
