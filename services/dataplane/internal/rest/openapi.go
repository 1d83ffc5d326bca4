package rest

import (
	_ "embed"
	"net/http"
)

// document describes this port as it is; `make openapi` writes it.
//
//go:embed openapi.json
var document []byte

// registerDocument serves it to everybody: it tells nothing of what is stored.
func (g *gateway) registerDocument() error {
	return g.mux.HandlePath(http.MethodGet, "/openapi.json", func(w http.ResponseWriter, _ *http.Request, _ map[string]string) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document) // the caller may be gone
	})
}
