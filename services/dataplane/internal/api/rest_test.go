package api

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/rest"
)

// over serves the API over REST as a process does.
func over(t *testing.T, c *client) func(method, path, body string) (int, string) {
	t.Helper()
	h, err := rest.New(rest.Deps{Conn: c.conn})
	if err != nil {
		t.Fatal(err)
	}
	return func(method, path, body string) (int, string) {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		b, err := io.ReadAll(w.Result().Body)
		if err != nil {
			t.Fatal(err)
		}
		return w.Code, string(b)
	}
}

// reason takes the text out of an error's envelope.
func reason(t *testing.T, body string) string {
	t.Helper()
	var e struct {
		Status struct{ Error string }
		Result any
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if e.Result != nil {
		t.Errorf("an error with a result: %s", body)
	}
	return e.Status.Error
}

func TestRefusalsOverREST(t *testing.T) {
	long := strings.Repeat("n", 256)
	for _, b := range []struct {
		name, method, path, body string
		status                   int
		text                     string
	}{
		{"vector size 0", http.MethodPut, "/collections/new", `{"vectors":{"size":0,"distance":"Dot"}}`, 422,
			"Validation error in JSON body: [vectors.size: value 0 invalid, must be from 1 to 65536]"},
		{"replication factor 0", http.MethodPut, "/collections/new", `{"vectors":{"size":4,"distance":"Dot"},"replication_factor":0}`, 422,
			"Validation error in JSON body: [replication_factor: value 0 invalid, must be 1 or larger]"},
		{"name of 256 bytes", http.MethodPut, "/collections/" + long, `{"vectors":{"size":4,"distance":"Dot"}}`, 422,
			`Validation error in JSON body: [collection_name: value "` + long[:64] + `"... (256 bytes) invalid, must be from 1 to 255 characters]`},
		{"name with a slash", http.MethodPut, "/collections/a%2Fb", `{"vectors":{"size":4,"distance":"Dot"}}`, 422,
			`Validation error in JSON body: [collection_name: collection name cannot contain "/" char]`},
		{"timeout 0", http.MethodDelete, "/collections/c?timeout=0", "", 422,
			"Validation error in query parameters: [timeout: value 0 invalid, must be 1 or larger]"},
		{"turbo quantization", http.MethodPut, "/collections/new", `{"vectors":{"size":4,"distance":"Dot"},"quantization_config":{"turbo":{"bits":"bits8"}}}`, 501,
			"quantization_config.turbo.bits bits8 is not built yet"},
		{"turbo vectors", http.MethodPut, "/collections/new", `{"vectors":{"size":4,"distance":"Dot","datatype":"turbo8"}}`, 501,
			"vectors.datatype turbo8 is not built yet"},
		{"links", http.MethodPatch, "/collections/c", `{"hnsw_config":{"m":1}}`, 422,
			"Validation error in JSON body: [hnsw_config.m: value 1 invalid, must be 0 or from 2 to 256]"},
		{"sparse vector that is not there", http.MethodPatch, "/collections/c", `{"sparse_vectors":{"s":{}}}`, 400,
			"Wrong input: Not existing vector name error: s"},
		{"new vector of size 0", http.MethodPut, "/collections/c/vectors/v", `{"dense":{"size":0,"distance":"Dot"}}`, 422,
			"Validation error in JSON body: [dense.size: value 0 invalid, must be from 1 to 65536]"},
		{"new vector of no kind", http.MethodPut, "/collections/c/vectors/v", `{}`, 400, ""},
		{"new vector with a bad name", http.MethodPut, "/collections/c/vectors/a%2Fb", `{"sparse":{}}`, 422,
			`Validation error in JSON body: [vector_name: vector name cannot contain "/" char]`},
		{"new vector, turbo", http.MethodPut, "/collections/c/vectors/v", `{"dense":{"size":4,"distance":"Dot","datatype":"turbo8"}}`, 501,
			"dense.datatype turbo8 is not built yet"},
		{"unknown collection", http.MethodGet, "/collections/x", "", 404, "Not found: Collection `x` doesn't exist!"},
		{"dimension", http.MethodPut, "/collections/c/points", `{"points":[{"id":1,"vector":[1,2,3]}]}`, 400,
			"Wrong input: Vector dimension error: expected dim: 4, got 3"},
		{"columns", http.MethodPut, "/collections/c/points", `{"batch":{"ids":[1,2],"vectors":[[1,2,3,4],[1]]}}`, 400,
			"Wrong input: Vector dimension error: expected dim: 4, got 1"},
		{"unknown vector name", http.MethodPut, "/collections/c/points", `{"points":[{"id":1,"vector":{"foo":[1,2,3,4]}}]}`, 400,
			"Wrong input: Not existing vector name error: foo"},
		{"empty vector", http.MethodPut, "/collections/c/points", `{"points":[{"id":1,"vector":[]}]}`, 422,
			"Validation error in JSON body: [points[0].vector: value invalid, vector must not be empty]"},
		{"too great for a float", http.MethodPut, "/collections/c/points", `{"points":[{"id":1,"vector":[1,2,3,1e39]}]}`, 400, ""},
		{"negative id", http.MethodPut, "/collections/c/points", `{"points":[{"id":-1,"vector":[1,2,3,4]}]}`, 400, ""},
		{"float id", http.MethodPut, "/collections/c/points", `{"points":[{"id":1.5,"vector":[1,2,3,4]}]}`, 400, ""},
		{"id is no UUID", http.MethodPut, "/collections/c/points", `{"points":[{"id":"7","vector":[1,2,3,4]}]}`, 400, ""},
		{"no points", http.MethodPut, "/collections/c/points", `{"points":[]}`, 400, "Bad request: Empty update request"},
		{"bad filter key", http.MethodPost, "/collections/c/points/scroll", `{"filter":{"must":[{"key":"a b","match":{"value":1}}]}}`, 400, `Invalid json path: "a b"`},
		{"unknown field in a filter", http.MethodPost, "/collections/c/points/scroll", `{"filter":{"moist":[]}}`, 400, ""},
		{"place off the earth", http.MethodPost, "/collections/c/points/scroll", `{"filter":{"must":[{"key":"a","geo_radius":{"center":{"lon":1,"lat":91},"radius":5}}]}}`, 422,
			"Validation error in JSON body: [filter.geo_radius.center.lat: value 91.0 invalid, must be from -90.0 to 90.0]"},
		{"limit 0", http.MethodPost, "/collections/c/points/query", `{"query":[1,2,3,4],"limit":0}`, 422,
			"Validation error in JSON body: [limit: value 0 invalid, must be 1 or larger]"},
		{"absent point in a query", http.MethodPost, "/collections/c/points/query", `{"query":99}`, 404, "Not found: No point with id 99 found"},
		{"fusion of nothing", http.MethodPost, "/collections/c/points/query", `{"query":{"fusion":"rrf"}}`, 400, "Wrong input: Cannot perform Fusion without prefetches"},
		{"text", http.MethodPost, "/collections/c/points/query", `{"query":{"text":{"query":"words"}}}`, 501, "query kind `text` is not built yet"},
		{"absent point", http.MethodGet, "/collections/c/points/99", "", 404, "Not found: Point with id 99 does not exists!"},
		{"path is no id", http.MethodGet, "/collections/c/points/-1", "", 400, `Can not recognize "-1" as point id: it must be an unsigned integer or a UUID`},
		{"snapshots", http.MethodPost, "/collections/c/snapshots", "", 501, "qdrant.Snapshots/Create is not built yet"},
		{"facets", http.MethodPost, "/collections/c/facet", `{"key":"k"}`, 400,
			"Wrong input: No appropriate index for faceting: `k`. It takes one of type keyword, integer with lookup, bool or uuid"},
		{"groups by nothing", http.MethodPost, "/collections/c/points/query/groups", `{"query":[1,2,3,4],"group_by":"a..b"}`, 400, `Invalid json path: "a..b"`},
		{"matrix of one", http.MethodPost, "/collections/c/points/search/matrix/pairs", `{"sample":1}`, 422, "Validation error in JSON body: [sample: value 1 invalid, must be from 2 to 16384]"},
	} {
		t.Run(b.name, func(t *testing.T) {
			c := start(t, true).with(t, "c", four())
			status, body := over(t, c)(b.method, b.path, b.body)
			if got := reason(t, body); status != b.status || b.text != "" && got != b.text || got == "" {
				t.Errorf("%d %s, want %d %s", status, got, b.status, b.text)
			}
			if len(c.shards.writes) != 0 {
				t.Error("it reached a shard")
			}
		})
	}
}

func TestADayOverREST(t *testing.T) {
	c := start(t, true)
	call := over(t, c)
	for _, s := range []struct{ method, path, body, want string }{
		{http.MethodPut, "/collections/c", `{"vectors":{"size":4,"distance":"Cosine"},"shard_number":6}`, `"result":true,`},
		{http.MethodPut, "/collections/c/points?wait=true", `{"points":[{"id":1,"vector":[1,2,3,4],"payload":{"a":1}}]}`,
			`"result":{"operation_id":101,"status":"completed"},`},
		{http.MethodPost, "/collections/c/points/batch", `{"operations":[{"delete":{"points":[1]}},{"set_payload":{"payload":{"a":1},"points":[1]}}]}`,
			`"result":[{"operation_id":102,"status":"acknowledged"},{"operation_id":103,"status":"acknowledged"}],`},
		{http.MethodPost, "/collections/c/points/count", `{}`, `"result":{"count":0},`},
		{http.MethodGet, "/collections", "", `"result":{"collections":[{"name":"c"}]},`},
		{http.MethodGet, "/collections/c/exists", "", `"result":{"exists":true},`},
		{http.MethodGet, "/collections/c", "", `"status":"green","optimizer_status":"ok"`},
		{http.MethodPost, "/collections/aliases", `{"actions":[{"create_alias":{"collection_name":"c","alias_name":"o"}}]}`, `"result":true,`},
		{http.MethodGet, "/aliases", "", `"result":{"aliases":[{"alias_name":"o","collection_name":"c"}]},`},
		{http.MethodGet, "/collections/o/cluster", "", `"shard_count":6,`},
		{http.MethodGet, "/cluster", "", `"status":"enabled","peer_id":7,`},
		{http.MethodDelete, "/collections/c", "", `"result":true,`},
		{http.MethodDelete, "/collections/c", "", `"result":false,`},
	} {
		status, body := call(s.method, s.path, s.body)
		if status != http.StatusOK || !strings.Contains(body, s.want) {
			t.Errorf("%s %s: %d %s, want %s", s.method, s.path, status, body, s.want)
		}
	}
}
