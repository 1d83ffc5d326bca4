package rest

import (
	"io"
	"net/http"

	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/rpc"
)

func textPath(path string) bool {
	switch path {
	case "/healthz", "/livez", "/readyz", "/metrics":
		return true
	}
	return false
}

// text answers the endpoints that speak plain text and so are no gRPC methods.
// The path has been cleaned.
func (g *gateway) text(w http.ResponseWriter, r *http.Request) (done bool) {
	if !textPath(r.URL.Path) {
		return false
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		plain(w, http.StatusMethodNotAllowed, "method not allowed")
		return true
	}
	switch r.URL.Path {
	case "/readyz":
		// Once ready, always ready: a probe is not to take a peer out because of what happens elsewhere.
		if g.ready.Load() || g.Ready == nil || g.Ready() == nil {
			g.ready.Store(true)
			plain(w, http.StatusOK, "all shards are ready")
		} else {
			plain(w, http.StatusServiceUnavailable, "some shards are not ready")
		}
	case "/metrics":
		g.metrics(w, r)
	default:
		plain(w, http.StatusOK, "healthz check passed")
	}
	return true
}

func (g *gateway) metrics(w http.ResponseWriter, r *http.Request) {
	if g.Admit != nil {
		key := r.Header.Get("api-key")
		if key == "" {
			key = rpc.BearerKey(r.Header.Get("Authorization"))
		}
		if err := g.Admit(key); err != nil {
			g.answer(w, exchangeOf(r.Context()), fault.From(err))
			return
		}
	}
	if g.Metrics == nil {
		plain(w, http.StatusNotFound, "no metrics")
		return
	}
	g.Metrics.ServeHTTP(w, r)
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the caller may be gone
}
