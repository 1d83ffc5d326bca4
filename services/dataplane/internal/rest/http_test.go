package rest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/rpc"
)

func TestText(t *testing.T) {
	ready := errPlain
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "pando_up 1\n") })
	admit := func(key string) error {
		if key != "secret" {
			return fault.New(fault.Unauthenticated, "Must provide an API key")
		}
		return nil
	}
	h := handler(t, Deps{Conn: &recorder{}, Metrics: metrics, Admit: admit, Ready: func() error { return ready }})
	check := func(verb, path string, status int, body string, headers ...string) {
		t.Helper()
		resp := send(h, verb, path, "", headers...)
		if got := text(t, resp); resp.StatusCode != status || got != body {
			t.Errorf("%s %s: got %d %q", verb, path, resp.StatusCode, got)
		}
		if ct := resp.Header.Get("Content-Type"); body != "pando_up 1\n" && ct != "text/plain; charset=utf-8" {
			t.Errorf("%s %s: content type %s", verb, path, ct)
		}
	}
	check("GET", "/healthz", 200, "healthz check passed")
	check("GET", "/livez/", 200, "healthz check passed")
	check("GET", "/readyz", 503, "some shards are not ready")
	ready = nil
	check("GET", "/readyz", 200, "all shards are ready")
	ready = errPlain
	check("GET", "/readyz", 200, "all shards are ready")
	check("POST", "/readyz", 405, "method not allowed")
	check("GET", "/metrics", 401, "Must provide an API key")
	check("GET", "/metrics", 200, "pando_up 1\n", "api-key", "secret")
	check("GET", "/metrics", 200, "pando_up 1\n", "Authorization", "Bearer secret")
	h = handler(t, Deps{Conn: &recorder{}})
	check("GET", "/metrics", 404, "no metrics")
	check("GET", "/readyz", 200, "all shards are ready")
}

func TestCORS(t *testing.T) {
	conn := &recorder{}
	h := handler(t, Deps{Conn: conn, CORS: true})
	resp := send(h, "OPTIONS", "/collections/c/points", "", "Origin", "http://page", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "api-key,content-type")
	if resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(resp.Header.Get("Access-Control-Allow-Methods"), "PUT") ||
		resp.Header.Get("Access-Control-Allow-Headers") != "api-key,content-type" || conn.method != "" {
		t.Errorf("preflight: %d %v, reached %q", resp.StatusCode, resp.Header, conn.method)
	}
	if resp = send(h, "GET", "/collections", "", "Origin", "http://page"); resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("request: %d %v", resp.StatusCode, resp.Header)
	}
	if resp = send(handler(t, Deps{Conn: conn}), "GET", "/collections", "", "Origin", "http://page"); resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("switched off, yet allowed")
	}
}

func TestGzip(t *testing.T) {
	long := &recorder{reply: strings.Repeat(`collections {name: "words"} `, 200)}
	tests := []struct {
		name, accept string
		conn         *recorder
		zipped       bool
	}{
		{"asked for", "gzip, deflate", long, true},
		{"any", "*", long, true},
		{"not asked for", "", long, false},
		{"refused", "gzip;q=0, *;q=1", long, false},
		{"short", "gzip", &recorder{}, false},
		{"error", "gzip", &recorder{err: fault.NoCollection(strings.Repeat("c", 2000))}, true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			h := handler(t, Deps{Conn: tc.conn})
			plain := text(t, send(h, "GET", "/collections", ""))
			for range 3 { // writers are used again
				resp := send(h, "GET", "/collections", "", "Accept-Encoding", tc.accept)
				if got := resp.Header.Get("Content-Encoding") == "gzip"; got != tc.zipped {
					t.Fatalf("zipped: %v", got)
				}
				if tc.zipped {
					if resp.Header.Get("Content-Length") != "" {
						t.Error("Content-Length of the plain text is left")
					}
					z, err := gzip.NewReader(resp.Body)
					if err != nil {
						t.Fatal(err)
					}
					resp.Body = io.NopCloser(z)
				}
				if got := text(t, resp); got != plain {
					t.Errorf("got %.80s, want %.80s", got, plain)
				}
			}
		})
	}
}

func TestZippedRequest(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprint(z, `{"ids":[5]}`)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	conn := &recorder{}
	send(handler(t, Deps{Conn: conn}), "POST", "/collections/c/points", b.String(), "Content-Encoding", "gzip")
	if got, want := show(conn.request), `collection_name:"c" ids:{num:5}`; got != want {
		t.Errorf("got %s", got)
	}
}

func TestMetadata(t *testing.T) {
	conn := &recorder{}
	send(handler(t, Deps{Conn: conn}), "GET", "/collections", "", "api-key", "k", "Authorization", "Bearer b", "x-request-id", "r",
		"x-qdrant-route-affinity", "a", "pando-op-id", "u", "openai-api-key", "o", "Cookie", "c", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	for key, want := range map[string]string{"api-key": "k", "authorization": "Bearer b", "x-request-id": "r", "x-qdrant-route-affinity": "a",
		"pando-op-id": "u", "openai-api-key": "o", "cookie": "", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} {
		if got := strings.Join(conn.md.Get(key), "|"); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

// TestTrace expects one span by the route's name, child of the caller's and parent of the call.
func TestTrace(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	var inner trace.SpanContext
	conn := &recorder{ctx: func(ctx context.Context) { inner = trace.SpanContextFromContext(ctx) }}
	h := handler(t, Deps{Conn: conn, Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))})
	send(h, "POST", "/collections/words/points/scroll", "{}", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	send(h, "GET", "/healthz", "")
	ended := spans.Ended()
	if len(ended) != 1 {
		t.Fatalf("%d spans", len(ended))
	}
	if s := ended[0]; s.Name() != "POST /collections/{collection_name}/points/scroll" || s.Parent().SpanID().String() != "b7ad6b7169203331" ||
		inner.SpanID() != s.SpanContext().SpanID() {
		t.Errorf("span %q, parent %s, call under %s", s.Name(), s.Parent().SpanID(), inner.SpanID())
	}
}

// healthy is a service behind a real connection within the process.
type healthy struct {
	qdrant.UnimplementedQdrantServer
}

func (healthy) HealthCheck(context.Context, *qdrant.HealthCheckRequest) (*qdrant.HealthCheckReply, error) {
	return &qdrant.HealthCheckReply{Title: "t", Version: "1.19.0"}, nil
}

// TestLocal goes through the chain that all calls share: keys are asked for, and what is not built says so.
func TestLocal(t *testing.T) {
	local, err := rpc.NewLocal(rpc.Options{Keys: rpc.NewKeys("secret", "", "reader")})
	if err != nil {
		t.Fatal(err)
	}
	qdrant.RegisterQdrantServer(local, healthy{})
	qdrant.RegisterPointsServer(local, qdrant.UnimplementedPointsServer{})
	clusterv1.RegisterClusterServer(local, clusterv1.UnimplementedClusterServer{})
	h := handler(t, Deps{Conn: local})
	tests := []struct {
		verb, path, body, key string
		status                int
		json                  bool
	}{
		{"GET", "/", "", "", 200, true},
		{"POST", "/collections/c/points/scroll", "{}", "", 401, false},
		{"POST", "/collections/c/points/scroll", "{}", "wrong", 401, false},
		{"POST", "/collections/c/points/scroll", "{}", "reader", 501, true},
		{"PUT", "/collections/c/points", `{"points":[]}`, "reader", 403, false},
		{"PUT", "/collections/c/points", `{"points":[]}`, "secret", 501, true},
		{"GET", "/collections/c/points/1", "", "secret", 501, true},
		{"GET", "/collections", "", "secret", 501, true}, // a service that nobody registered
	}
	for _, tc := range tests {
		resp := send(h, tc.verb, tc.path, tc.body, "api-key", tc.key)
		got := text(t, resp)
		if resp.StatusCode != tc.status || strings.HasPrefix(got, "{") != tc.json {
			t.Errorf("%s %s with key %q: got %d %s", tc.verb, tc.path, tc.key, resp.StatusCode, got)
		}
	}
}

func BenchmarkUpsert(b *testing.B) {
	var body bytes.Buffer
	body.WriteString(`{"points":[`)
	for i := range 100 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"id":%d,"vector":[`, i)
		for j := range 384 {
			if j > 0 {
				body.WriteByte(',')
			}
			fmt.Fprintf(&body, "%v", float32(j*7919%1000)/float32(997+i))
		}
		body.WriteString(`],"payload":{"city":"Berlin","n":1}}`)
	}
	body.WriteString(`]}`)
	text, raw := body.String(), body.Bytes()
	b.Run("encoding-json", func(b *testing.B) { // into structs that fit, without a dialect
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			var v struct {
				Points []struct {
					ID      uint64         `json:"id"`
					Vector  []float32      `json:"vector"`
					Payload map[string]any `json:"payload"`
				} `json:"points"`
			}
			if err := json.Unmarshal(raw, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, through := range []string{"dialect", "rest"} {
		b.Run(through, func(b *testing.B) {
			conn := &direct{}
			h := handler(b, Deps{Conn: conn})
			g, ok := h.(*gateway)
			if !ok {
				b.Fatal("wrapped")
			}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if through == "dialect" {
					if err := g.codec.Decode(raw, &qdrant.UpsertPoints{}); err != nil {
						b.Fatal(err)
					}
					continue
				}
				if resp := send(h, "PUT", "/collections/c/points?wait=true", text); resp.StatusCode != 200 {
					b.Fatal(resp.StatusCode)
				}
			}
		})
	}
}

// BenchmarkOverhead compares a small request over REST, over the connection within the process, and as a plain call.
func BenchmarkOverhead(b *testing.B) {
	local, err := rpc.NewLocal(rpc.Options{})
	if err != nil {
		b.Fatal(err)
	}
	qdrant.RegisterPointsServer(local, counting{})
	req := &qdrant.CountPoints{CollectionName: "c"}
	ctx := context.Background()
	b.Run("direct", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := (counting{}).Count(ctx, req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("local", func(b *testing.B) {
		client := qdrant.NewPointsClient(local)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.Count(ctx, req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("rest", func(b *testing.B) {
		h := handler(b, Deps{Conn: local})
		b.ReportAllocs()
		for b.Loop() {
			if resp := send(h, "POST", "/collections/c/points/count", `{"exact":true}`); resp.StatusCode != 200 {
				b.Fatal(resp.StatusCode)
			}
		}
	})
	b.Run("rest over loopback", func(b *testing.B) { // as BenchmarkCall measures gRPC; the client is part of it
		srv := httptest.NewServer(handler(b, Deps{Conn: local}))
		defer srv.Close()
		b.ReportAllocs()
		for b.Loop() {
			resp, err := srv.Client().Post(srv.URL+"/collections/c/points/count", "application/json", strings.NewReader(`{"exact":true}`))
			if err != nil || resp.StatusCode != 200 {
				b.Fatal(resp, err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				b.Fatal(err)
			}
			_ = resp.Body.Close() // read to its end
		}
	})
	b.Run("recorder alone", func(b *testing.B) { // what the benchmark's own request and response cost
		b.ReportAllocs()
		for b.Loop() {
			send(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }), "POST", "/collections/c/points/count", `{"exact":true}`)
		}
	})
}

type counting struct {
	qdrant.UnimplementedPointsServer
}

func (counting) Count(context.Context, *qdrant.CountPoints) (*qdrant.CountResponse, error) {
	return &qdrant.CountResponse{Result: &qdrant.CountResult{Count: 5}}, nil
}
