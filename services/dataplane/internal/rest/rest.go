// Package rest serves Qdrant's REST API as the twin of the gRPC services. Each
// route is a gRPC method called through one connection, so access rules, traces
// and metrics are those of gRPC:
//
//	request ─► trace ─► CORS ─► path clean-up ─┬─► text endpoints
//	                                           └─► gzip ─► grpc-gateway mux ─► connection
//	                                                        │ dialect: JSON ⇄ messages
//	                                                        └ envelope: result, status, time
//
// It holds no API logic: which field may hold what is the services' business.
// Package dialect knows how messages look in JSON, package scan reads JSON.
package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/rest/dialect"
	"github.com/pandodb/pando/services/internal/fault"
)

// DefaultMaxBody is the largest request body in bytes, after decompression.
const DefaultMaxBody = 32 << 20

// Deps are what the handler works with. Conn is needed, the rest may be zero.
type Deps struct {
	// Conn reaches the services Qdrant, Collections, Points, Snapshots and those of pando.cluster.v1.
	Conn grpc.ClientConnInterface
	// Metrics answers /metrics; nil answers 404.
	Metrics http.Handler
	// Admit tells whether the holder of an API key may read /metrics; nil admits everybody. Other routes are
	// admitted by the services.
	Admit func(key string) error
	// Ready is asked by /readyz until it returns nil once; nil is ready at once.
	Ready func() error
	// MaxBody replaces DefaultMaxBody when > 0.
	MaxBody int64
	// CORS lets pages of any origin call.
	CORS bool
	// Tracer makes one span per request, named by route, but none for text endpoints; nil means none at all.
	Tracer trace.TracerProvider
}

// gateway is the state behind the handler.
type gateway struct {
	Deps
	codec   *dialect.Codec
	mux     *runtime.ServeMux
	ready   atomic.Bool
	buffers sync.Pool // of *[]byte, request bodies
	zippers sync.Pool // of *gzip.Writer
}

// New builds the handler of the REST port. It fails only if a route cannot be registered.
func New(d Deps) (http.Handler, error) {
	if d.Conn == nil {
		return nil, errors.New("rest: a connection to the services is needed")
	}
	if d.MaxBody <= 0 {
		d.MaxBody = DefaultMaxBody
	}
	g := &gateway{Deps: d, codec: dialect.New("qdrant", "pando.cluster.v1")}
	g.mux = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, marshaler{g}),
		runtime.WithForwardResponseRewriter(g.rewrite),
		runtime.WithErrorHandler(g.handleError),
		runtime.WithRoutingErrorHandler(g.handleRouting),
		runtime.SetQueryParameterParser(queryParser{g}),
		runtime.WithIncomingHeaderMatcher(incoming),
		runtime.WithOutgoingHeaderMatcher(func(key string) (string, bool) { return http.CanonicalHeaderKey(key), strings.HasPrefix(key, "pando-") }),
		runtime.WithOutgoingTrailerMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithMiddlewares(g.enter),
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptSlash),
		runtime.WithWriteContentLength(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisablePathLengthFallback(),
	)
	if err := errors.Join(g.registerMissing(), g.registerDocument(), register(g.mux, forked{d.Conn})); err != nil {
		return nil, fmt.Errorf("rest: %w", err)
	}
	if d.Tracer == nil {
		return g, nil
	}
	quiet := func(r *http.Request) bool { return !textPath(squeeze(r.URL.Path)) }
	return otelhttp.NewHandler(g, "REST", otelhttp.WithTracerProvider(d.Tracer), otelhttp.WithFilter(quiet),
		otelhttp.WithMeterProvider(metricnoop.NewMeterProvider()), otelhttp.WithPropagators(propagation.TraceContext{})), nil
}

// register adds all routes. The last match wins, so a literal has to come
// after a {parameter} in the same place; a test walks all routes.
func register(mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
	ctx := context.Background()
	return errors.Join(
		clusterv1.RegisterClusterHandlerClient(ctx, mux, clusterv1.NewClusterClient(conn)),
		clusterv1.RegisterLocalShardsHandlerClient(ctx, mux, clusterv1.NewLocalShardsClient(conn)),
		clusterv1.RegisterArchivesHandlerClient(ctx, mux, clusterv1.NewArchivesClient(conn)),
		qdrant.RegisterQdrantHandlerClient(ctx, mux, qdrant.NewQdrantClient(conn)),
		qdrant.RegisterCollectionsHandlerClient(ctx, mux, qdrant.NewCollectionsClient(conn)),
		qdrant.RegisterPointsHandlerClient(ctx, mux, qdrant.NewPointsClient(conn)),
		qdrant.RegisterSnapshotsHandlerClient(ctx, mux, qdrant.NewSnapshotsClient(conn)),
	)
}

// exchange is what the stages of one request tell each other.
type exchange struct {
	start time.Time
	// fault is set by a stage whose own error the gateway would flatten to a code.
	fault *fault.Error
	// emptyPayload: the request asked for payload, so that an empty one is shown.
	emptyPayload bool
	// reshard is the step of a resharding that the body holds, if it does.
	reshard *clusterv1.ReshardRequest
	// escaped: the path holds %2F inside a name.
	escaped bool
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{start: time.Now()}
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{start: time.Now()}
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	if g.CORS && cors(w, r) {
		return
	}
	if !utf8.ValidString(r.URL.Path) {
		g.answer(w, x, fault.New(fault.Malformed, "Deserialize error in path parameters: invalid UTF-8"))
		return
	}
	x.escaped = cleanPath(r)
	if g.text(w, r) {
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &body{ReadCloser: r.Body, g: g, r: r, x: x}
	} else {
		r.Body = &body{ReadCloser: http.NoBody, g: g, r: r, x: x}
	}
	z := g.zip(w, r)
	defer z.close()
	g.mux.ServeHTTP(z, r)
}

// cors lets any page call; it answers a preflight itself.
func cors(w http.ResponseWriter, r *http.Request) (done bool) {
	if r.Header.Get("Origin") == "" {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	asked := r.Header.Get("Access-Control-Request-Method")
	if r.Method != http.MethodOptions || asked == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS")
	if headers := r.Header.Get("Access-Control-Request-Headers"); headers != "" {
		h.Set("Access-Control-Allow-Headers", headers)
	}
	h.Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusOK)
	return true
}

// cleanPath merges slashes and drops the last one. A slash that is part of a
// name comes as %2F; the gateway would leave it so, and could then not tell it
// from %252F, so both are wrapped once more here and unwrapped by enter.
func cleanPath(r *http.Request) (escaped bool) {
	raw := r.URL.RawPath
	r.URL.Path = squeeze(r.URL.Path)
	if raw == "" {
		return false
	}
	raw = squeeze(raw)
	if escaped = strings.Contains(strings.ToUpper(raw), "%2F"); escaped {
		raw = strings.NewReplacer("%25", "%2525", "%2F", "%252F", "%2f", "%252F").Replace(raw)
	}
	r.URL.RawPath = raw
	return escaped
}

func squeeze(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	return path
}

// enter runs once the route is known: it unwraps and checks path parameters and names the span.
func (g *gateway) enter(next runtime.HandlerFunc) runtime.HandlerFunc {
	unwrap := strings.NewReplacer("%25", "%", "%2F", "/")
	return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		if exchangeOf(r.Context()).escaped {
			for name, value := range params {
				params[name] = unwrap.Replace(value)
			}
		}
		if f := numbersInPath(params); f != nil {
			g.answer(w, exchangeOf(r.Context()), f)
			return
		}
		if span := trace.SpanFromContext(r.Context()); span.IsRecording() {
			if pat, ok := runtime.HTTPPattern(r.Context()); ok {
				route := strings.ReplaceAll(pat.String(), "=*", "")
				span.SetName(r.Method + " " + route)
				span.SetAttributes(attribute.String("http.route", route))
			}
		}
		next(w, r, params)
	}
}

// incoming picks the headers that become metadata. Authorization is passed by
// the gateway, a trace travels in the context.
func incoming(header string) (string, bool) {
	switch header {
	case "Api-Key", "Pando-Op-Id", "Pando-Read", "X-Request-Id", "X-Tracing-Id", "Traceparent", "Tracestate", "X-Qdrant-Route-Affinity":
		return strings.ToLower(header), true
	}
	// Keys of inference providers.
	return strings.ToLower(header), strings.HasSuffix(header, "-Api-Key")
}
