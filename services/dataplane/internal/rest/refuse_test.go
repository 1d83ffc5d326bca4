package rest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pandodb/pando/services/internal/fault"
)

// TestRefusals gives status and text of everything that is refused before a service sees it.
func TestRefusals(t *testing.T) {
	const (
		points = "PUT /collections/c/points"
		query  = "POST /collections/c/points/query"
		scroll = "POST /collections/c/points/scroll"
		create = "PUT /collections/c"
	)
	badID := func(id string) string {
		return "value " + id + " is not a valid point ID, valid values are either an unsigned integer or a UUID"
	}
	upsert := func(id, vector string) string {
		return `{"points":[{"id":` + id + `,"vector":` + vector + `}]}`
	}
	tests := []struct {
		name, call, body string
		status           int
		text             string // after "Format error in JSON body: " for 400 with a body
	}{
		{"no body", points, "", 400, "EOF while parsing a value at line 1 column 1"},
		{"truncated", points, `{"points":[{"id":1,`, 400, "EOF while parsing an object at line 1 column 20"},
		{"truncated vector", points, `{"points":[{"id":1,"vector":[0.1,0.`, 400, "invalid number at line 1 column 36"},
		{"trailing garbage", points, upsert("1", "[1]") + "x", 400, "trailing characters at line 1 column 35"},
		{"two documents", scroll, "{}\n{}", 400, "trailing characters at line 2 column 1"},
		{"invalid UTF-8", scroll, "{\"a\":\"\xff\"}", 400, "invalid UTF-8 at line 1 column 7"},
		{"depth", scroll, `{"a":` + strings.Repeat("[", 128) + strings.Repeat("]", 128) + `}`, 400, "recursion limit of 128 exceeded at line 1 column 133"},
		{"not an object", points, `[]`, 400, "invalid type: an array, expected an object at line 1 column 1"},
		{"NaN", points, upsert("1", "[NaN]"), 400, "expected value at line 1 column 30"},
		{"Infinity", points, upsert("1", "[1,Infinity]"), 400, "expected value at line 1 column 32"},
		{"-Infinity", points, upsert("1", "[-Infinity]"), 400, "invalid number at line 1 column 31"},
		{"beyond float32", points, upsert("1", "[1e39]"), 400, "points[0].vector: number out of range for a 32-bit float at line 1 column 29"},
		{"beyond float64", points, `{"points":[{"id":1,"vector":[1],"payload":{"secret":[1e999]}}]}`, 400, "points[0].payload: number out of range at line 1 column 54"},
		{"text in a vector", points, upsert("1", `[1,"secret"]`), 400, "points[0].vector: expected only numbers in a vector at line 1 column 30"},
		{"null in a vector", points, upsert("1", `[null]`), 400, "points[0].vector[0]: invalid type: null, expected a 32-bit float at line 1 column 30"},
		{"vector of a wrong form", points, upsert("1", `"secret"`), 400, "points[0].vector: data did not match any form of a vector at line 1 column 29"},
		{"ragged form", points, upsert("1", `[[1],2]`), 400, "points[0].vector[1]: invalid type: a number, expected a list of floats at line 1 column 34"},
		{"negative id", points, upsert("-1", "[1]"), 400, "points[0].id: " + badID("-1") + " at line 1 column 18"},
		{"float id", points, upsert("1.5", "[1]"), 400, "points[0].id: " + badID("1.5") + " at line 1 column 18"},
		{"large id", points, upsert("18446744073709551616", "[1]"), 400, "points[0].id: " + badID("18446744073709551616") + " at line 1 column 18"},
		{"bad uuid", points, upsert(`"550e8400"`, "[1]"), 400, "points[0].id: " + badID("550e8400") + " at line 1 column 18"},
		{"number as text", points, upsert(`"1"`, "[1]"), 400, "points[0].id: " + badID("1") + " at line 1 column 18"},
		{"id of a wrong type", points, upsert(`true`, "[1]"), 400, "points[0].id: " + badID("a boolean") + " at line 1 column 18"},
		{"no id", points, `{"points":[{"vector":[1]}]}`, 400, "points[0]: missing field `id` at line 1 column 12"},
		{"no vector", points, `{"points":[{"id":1}]}`, 400, "points[0]: missing field `vector` at line 1 column 12"},
		{"null vector", points, upsert("1", "null"), 400, "points[0]: missing field `vector` at line 1 column 12"},
		{"no points", points, `{}`, 400, "missing field `points` or `batch` at line 1 column 1"},
		{"batch of two lengths", points, `{"batch":{"ids":[1,2],"vectors":[[1]]}}`, 400, "batch.vectors: number of ids and elements must be equal (2 != 1) at line 1 column 33"},
		{"batch without vectors", points, `{"batch":{"ids":[1,2]}}`, 400, "batch: missing field `vectors` at line 1 column 10"},
		{"payload that is no object", points, `{"points":[{"id":1,"vector":[1],"payload":[1]}]}`, 400, "points[0].payload: invalid type: an array, expected a map at line 1 column 43"},
		{"negative shard number", create, `{"shard_number":-1}`, 400, "shard_number: invalid value: integer `-1`, expected an unsigned 32-bit integer at line 1 column 17"},
		{"fraction for an integer", create, `{"shard_number":1.0}`, 400, "shard_number: invalid value: floating point `1.0`, expected an unsigned 32-bit integer at line 1 column 17"},
		{"unknown distance", create, `{"vectors":{"size":4,"distance":"cosine"}}`, 400, "vectors.distance: unknown variant `cosine`, expected one of `Cosine`, `Dot`, `Euclid`, `Manhattan` at line 1 column 33"},
		{"vector without size", create, `{"vectors":{"distance":"Dot"}}`, 400, "vectors: missing field `size` at line 1 column 12"},
		{"two quantizations", create, `{"quantization_config":{"scalar":{"type":"int8"},"binary":{}}}`, 400, "quantization_config: expected exactly one of `scalar`, `product`, `binary`, `turbo` at line 1 column 24"},
		{"unknown filter member", scroll, `{"filter":{"must_be":[]}}`, 400, "filter: unknown field `must_be`, expected `should`, `must`, `must_not`, `min_should` at line 1 column 12"},
		{"unknown condition", scroll, `{"filter":{"must":[{"keys":"a"}]}}`, 400, "filter.must[0]: unknown field `keys`, expected `should`, `must`, `must_not`, `min_should` at line 1 column 21"},
		{"unknown match", scroll, `{"filter":{"must":{"key":"a","match":{"is":1}}}}`, 400, "filter.must.match: unknown field `is`, expected `value`, `text`, `text_any`, `phrase`, `prefix`, `substring`, `any` or `except` at line 1 column 39"},
		{"unknown member of a field condition", scroll, `{"filter":{"must":[{"key":"a","matches":{}}]}}`, 400, "filter.must[0]: unknown field `matches`, expected `key`, `match`, `range`, `geo_bounding_box`, `geo_radius`, `values_count`, `geo_polygon`, `is_empty`, `is_null` at line 1 column 31"},
		{"float match", scroll, `{"filter":{"must":{"key":"a","match":{"value":1.5}}}}`, 400, "filter.must.match.value: expected a string, a 64-bit integer or a boolean at line 1 column 47"},
		{"mixed any", scroll, `{"filter":{"must":{"key":"a","match":{"any":[1,"a"]}}}}`, 400, "filter.must.match.any[0]: invalid type: a number, expected a string at line 1 column 46"},
		{"bad datetime", scroll, `{"filter":{"must":{"key":"a","range":{"gt":"yesterday"}}}}`, 400, "filter.must.range.gt: not a datetime, expected RFC 3339 at line 1 column 44"},
		{"bad id in a filter", scroll, `{"filter":{"must":{"has_id":["x"]}}}`, 400, "filter.must.has_id[0]: " + badID("x") + " at line 1 column 30"},
		{"two kinds of query", query, `{"query":{"fusion":"rrf","sample":"random"}}`, 400, "query: expected exactly one kind of query at line 1 column 10"},
		{"unknown kind of query", query, `{"query":{"closest":[1]}}`, 400, "query: data did not match any form of a vector at line 1 column 10"},
		{"unknown operator", query, `{"query":{"formula":{"minus":1}}}`, 400, "query.formula: unknown field `minus`, expected `should`, `must`, `must_not`, `min_should` at line 1 column 22"},
		{"no limit", "POST /collections/c/points/search", `{"vector":[1]}`, 400, "missing field `limit` at line 1 column 1"},
		{"empty step", "POST /collections/c/points/batch", `{"operations":[{}]}`, 400, "operations[0]: expected exactly one of `upsert`, `set_payload`, `overwrite_payload`, `delete_payload`, `update_vectors`, `delete_vectors`, `delete`, `clear_payload` at line 1 column 16"},
		{"unknown cluster operation", "POST /collections/c/cluster", `{"explode":{}}`, 400, "unknown field `explode`, expected `move_shard`, `replicate_shard`, `abort_transfer`, `drop_replica`, `create_sharding_key`, `drop_sharding_key`, `restart_transfer`, `replicate_points` at line 1 column 2"},
		{"timeout 0", scroll + "?timeout=0", `{}`, 422, "Validation error in query parameters: [timeout: value 0 invalid, must be 1 or larger]"},
		{"timeout 0 without a body", "DELETE /collections/c?timeout=0", ``, 422, "Validation error in query parameters: [timeout: value 0 invalid, must be 1 or larger]"},
		{"timeout below 0", scroll + "?timeout=-1", `{}`, 400, "Deserialize error in query parameters: timeout: invalid digit found in string"},
		{"wait", points + "?wait=yes", upsert("1", "[1]"), 400, "Deserialize error in query parameters: wait: provided string was not `true` or `false`"},
		{"ordering", points + "?ordering=total", upsert("1", "[1]"), 400, "Deserialize error in query parameters: ordering: unknown variant, expected one of `weak`, `medium`, `strong`"},
		{"consistency", scroll + "?consistency=most", `{}`, 400, "Deserialize error in query parameters: consistency: expected a number or one of `all`, `majority`, `quorum`"},
		{"consistency 0", scroll + "?consistency=0", `{}`, 400, "Deserialize error in query parameters: consistency: read consistency factor can not be zero"},
		{"unknown path", "GET /nowhere", ``, 404, "Not Found"},
		{"unknown path below", "GET /collections/c/points/1/2", ``, 404, "Not Found"},
		{"wrong method", "POST /collections", `{}`, 405, "Method POST is not allowed here"},
		{"peer id", "DELETE /cluster/peer/me", ``, 400, `Deserialize error in path parameters: peer_id: value "me" is not an unsigned 64-bit integer`},
		{"shard id", "POST /collections/c/shards/4294967296/points/count", `{}`, 400,
			`Deserialize error in path parameters: shard_id: value "4294967296" is not an unsigned 32-bit integer`},
		{"path", "GET /collections/%FF", ``, 400, "Deserialize error in path parameters: invalid UTF-8"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			conn := &recorder{}
			verb, target, _ := strings.Cut(tc.call, " ")
			resp := send(handler(t, Deps{Conn: conn}), verb, target, tc.body)
			want := tc.text
			if tc.status == 400 && (tc.body != "" || tc.name == "no body") && !strings.HasPrefix(want, "Deserialize") {
				want = "Format error in JSON body: " + want
			}
			want = string(fmt.Appendf(nil, `{"status":{"error":%s},"time":T}`, quote(want)))
			if got := text(t, resp); resp.StatusCode != tc.status || got != want {
				t.Errorf("got  %d %s\nwant %d %s", resp.StatusCode, got, tc.status, want)
			}
			if conn.method != "" {
				t.Errorf("%s was called", conn.method)
			}
			if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
				t.Errorf("content type %s", ct)
			}
		})
	}
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`"`, `\"`).Replace(s) + `"`
}

// TestFaults turns what services answer into HTTP.
func TestFaults(t *testing.T) {
	tests := []struct {
		err    error
		status int
		body   string
	}{
		{fault.NoCollection("c"), 404, "{\"status\":{\"error\":\"Not found: Collection `c` doesn't exist!\"},\"time\":T}"},
		{fault.CollectionTaken("c"), 409, "{\"status\":{\"error\":\"Wrong input: Collection `c` already exists!\"},\"time\":T}"},
		{fault.Missing("qdrant.Points/Facet"), 501, `{"status":{"error":"qdrant.Points/Facet is not built yet"},"time":T}`},
		{fault.Standalone("x"), 405, `{"status":{"error":"x needs a cluster, and this node runs standalone (cluster.enabled: false)"},"time":T}`},
		{fault.New(fault.Validation, "Validation error in body: [limit: value 0 invalid]"), 422, `{"status":{"error":"Validation error in JSON body: [limit: value 0 invalid]"},"time":T}`},
		{fault.New(fault.Unauthenticated, "Must provide an API key"), 401, "Must provide an API key"},
		{fault.New(fault.Forbidden, "Forbidden"), 403, "Forbidden"},
		{fault.New(fault.WriteOutcomeUnknown, "maybe"), 408, `{"status":{"error":"maybe"},"time":T}`},
		{fault.New(fault.DiskFull, "full"), 507, `{"status":{"error":"full"},"time":T}`},
		{status.Error(codes.Unimplemented, "unknown service"), 501, `{"status":{"error":"unknown service"},"time":T}`},
		{context.DeadlineExceeded, 408, `{"status":{"error":"Timeout error: context deadline exceeded"},"time":T}`},
		{fault.New(fault.InvalidArgument, "a \"quoted\"\nline \xff"), 400, `{"status":{"error":"a \"quoted\"\nline �"},"time":T}`},
	}
	for _, tc := range tests {
		resp := send(handler(t, Deps{Conn: &recorder{err: tc.err}}), "GET", "/collections/c", "")
		if got := text(t, resp); resp.StatusCode != tc.status || got != tc.body {
			t.Errorf("%v: got %d %s", tc.err, resp.StatusCode, got)
		}
	}
	limited := fault.New(fault.RateLimited, "slow down").With(fault.MetaRetryAfter, "7")
	if resp := send(handler(t, Deps{Conn: &recorder{err: limited}}), "GET", "/collections", ""); resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "7" {
		t.Errorf("rate limit: %d %s", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
}

func TestBodyLimit(t *testing.T) {
	zipped := func(n int) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		fmt.Fprintf(z, `{"limit": 1}%s`, strings.Repeat(" ", n))
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	const limit = 1000
	plain := func(n int) string { return `{"limit":1}` + strings.Repeat(" ", n-11) }
	tests := []struct {
		name, body, encoding string
		chunked              bool
		status               int
	}{
		{"at the limit", plain(limit), "", false, 200},
		{"beyond", plain(limit + 1), "", false, 413},
		{"at the limit, unknown length", plain(limit), "", true, 200},
		{"beyond, unknown length", plain(limit + 1), "", true, 413},
		{"zipped", zipped(900), "gzip", false, 200},
		{"zipped bomb", zipped(1 << 20), "gzip", false, 413},
		{"not zipped", plain(100), "gzip", false, 400},
		{"torn zip", zipped(900)[:20], "gzip", false, 400},
		{"other encoding", plain(100), "br", false, 400},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/collections/c/points/scroll", strings.NewReader(tc.body))
			if tc.chunked {
				r.ContentLength = -1
			}
			if tc.encoding != "" {
				r.Header.Set("Content-Encoding", tc.encoding)
			}
			w := httptest.NewRecorder()
			handler(t, Deps{Conn: &recorder{}, MaxBody: limit}).ServeHTTP(w, r)
			if w.Code != tc.status {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		})
	}
}

// TestDefaultLimit sends one byte more than 32 MiB over a real connection.
func TestDefaultLimit(t *testing.T) {
	s := httptest.NewServer(handler(t, Deps{Conn: &recorder{}}))
	defer s.Close()
	resp, err := http.Post(s.URL+"/collections/c/points/scroll", "application/json", bytes.NewReader(make([]byte, DefaultMaxBody+1)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := text(t, resp); resp.StatusCode != 413 || !strings.HasPrefix(got, `{"status":{"error":"Payload reached size limit`) {
		t.Errorf("got %d %s", resp.StatusCode, got)
	}
	http.DefaultClient.CloseIdleConnections()
}
