package rest

import (
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// zipFrom is the size of a response in bytes from which compressing it pays.
const zipFrom = 1400

// zipper compresses the response if the client takes gzip and there is enough
// of it. Responses of the gateway come in one Write, which decides.
type zipper struct {
	http.ResponseWriter
	g       *gateway
	accept  bool
	status  int
	decided bool
	gz      *gzip.Writer
}

func (g *gateway) zip(w http.ResponseWriter, r *http.Request) *zipper {
	return &zipper{ResponseWriter: w, g: g, accept: takesGzip(r.Header.Values("Accept-Encoding")), status: http.StatusOK}
}

// takesGzip reads Accept-Encoding (RFC 9110 §12.5.3) as far as gzip is concerned.
func takesGzip(headers []string) bool {
	star := false
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		name, params, _ := strings.Cut(part, ";")
		q := strings.ReplaceAll(params, " ", "")
		refused := strings.HasPrefix(q, "q=0") && strings.Trim(q[2:], "0.") == ""
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "x-gzip":
			return !refused
		case "*":
			star = !refused
		}
	}
	return star
}

func (z *zipper) WriteHeader(status int) {
	if !z.decided {
		z.status = status
	}
}

func (z *zipper) Write(b []byte) (int, error) {
	if !z.decided {
		z.decide(len(b))
	}
	if z.gz != nil {
		return z.gz.Write(b)
	}
	return z.ResponseWriter.Write(b)
}

func (z *zipper) decide(size int) {
	z.decided = true
	h := z.Header()
	h.Add("Vary", "Accept-Encoding")
	if z.accept && size >= zipFrom && h.Get("Content-Encoding") == "" {
		h.Set("Content-Encoding", "gzip")
		h.Del("Content-Length")
		z.gz, _ = z.g.zippers.Get().(*gzip.Writer)
		if z.gz == nil {
			z.gz, _ = gzip.NewWriterLevel(z.ResponseWriter, gzip.BestSpeed) // fails only for a bad level
		} else {
			z.gz.Reset(z.ResponseWriter)
		}
	}
	z.ResponseWriter.WriteHeader(z.status)
}

// Unwrap lets http.ResponseController reach the connection.
func (z *zipper) Unwrap() http.ResponseWriter { return z.ResponseWriter }

func (z *zipper) close() {
	if !z.decided {
		z.decided = true
		z.ResponseWriter.WriteHeader(z.status)
	}
	if z.gz != nil {
		_ = z.gz.Close() // the caller may be gone
		z.g.zippers.Put(z.gz)
		z.gz = nil
	}
}
