package rest

import (
	"errors"
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

// missing are the routes of Qdrant 1.19 that are no gRPC methods, since they carry files or look at the process, and that are not
// built yet.
func missing() [][2]string {
	const c = "/collections/{collection_name}"
	const shard = c + "/shards/{shard_id}"
	return [][2]string{
		{"GET", c + "/snapshots/{snapshot_name}"}, {"POST", c + "/snapshots/upload"}, {"GET", "/snapshots/{snapshot_name}"},
		{"GET", shard + "/snapshots/{snapshot_name}"}, {"POST", shard + "/snapshots/upload"}, {"GET", shard + "/snapshot"},
		{"GET", shard + "/snapshot/partial/manifest"}, {"POST", shard + "/snapshot/partial/create"},
		{"POST", shard + "/snapshot/partial/recover"}, {"POST", shard + "/snapshot/partial/recover_from"},
		{"POST", c + "/truncate_unapplied_wal"}, {"GET", "/stacktrace"}, {"GET", "/logger"}, {"POST", "/logger"}, {"GET", "/debugger"},
		{"PATCH", "/debugger"}, {"GET", "/profiler/slow_requests"}, {"POST", "/audit/logs"},
	}
}

// registerMissing answers them with their names. Every route that is built wins over them.
func (g *gateway) registerMissing() (err error) {
	for _, route := range missing() {
		f := fault.Missing(route[0] + " " + route[1])
		err = errors.Join(err, g.mux.HandlePath(route[0], route[1], func(w http.ResponseWriter, r *http.Request, _ map[string]string) {
			g.answer(w, exchangeOf(r.Context()), f)
		}))
	}
	return err
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
