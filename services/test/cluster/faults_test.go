package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// What a client does wrong: status and text through the whole stack, and nothing
// half-applied.
func TestBadInput(t *testing.T) {
	h := enter(t, memfs.New(), controlplane.NewMemory(), nil)
	defer h.leave()
	h.create("c", 2)
	h.ok("PUT", "/collections/named", `{"vectors":{"a":{"size":2,"distance":"Dot"}}}`)
	h.ok("POST", "/collections/aliases", `{"actions":[{"create_alias":{"collection_name":"c","alias_name":"al"}}]}`)
	h.ok("PUT", "/collections/c/points?wait=true", `{"points":[{"id":1,"vector":[1,2,3,4],"payload":{"k":1}}]}`)
	const points, query, scroll = "/collections/c/points?wait=true", "/collections/c/points/query", "/collections/c/points/scroll"
	upsert := func(id, vector string) string {
		return fmt.Sprintf(`{"points":[{"id":2,"vector":[1,1,1,1]},{"id":%s,"vector":%s}]}`, id, vector)
	}
	deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		text                     string // a part of the error
	}{
		{"wrong dimension", "PUT", points, upsert("3", "[1,2,3]"), 400, "Vector dimension error: expected dim: 4, got 3"},
		{"wrong dimension of a query", "POST", query, `{"query":[1,2]}`, 400, "Vector dimension error: expected dim: 4, got 2"},
		{"empty vector", "PUT", points, upsert("3", "[]"), 422, "vector"},
		{"NaN", "PUT", points, upsert("3", "[NaN,1,1,1]"), 400, "expected value"},
		{"too large for float32", "PUT", points, upsert("3", "[1e39,1,1,1]"), 400, "out of range for a 32-bit float"},
		{"unknown vector name", "PUT", points, upsert("3", `{"x":[1,2,3,4]}`), 400, "Not existing vector name error: x"},
		{"unknown vector name of a query", "POST", query, `{"query":[1,2,3,4],"using":"x"}`, 400, "Not existing vector name error: x"},
		{"unnamed vector where all have names", "POST", "/collections/named/points/query", `{"query":[1,2]}`, 400, "available names: a"},
		{"negative id", "PUT", points, upsert("-1", "[1,1,1,1]"), 400, "-1"},
		{"float id", "PUT", points, upsert("1.5", "[1,1,1,1]"), 400, "1.5"},
		{"word as id", "PUT", points, upsert(`"seven"`, "[1,1,1,1]"), 400, "seven"},
		{"word as id in the path", "GET", "/collections/c/points/seven", "", 400, "seven"},
		{"unknown point", "GET", "/collections/c/points/77", "", 404, "77"},
		{"query by an unknown point", "POST", query, `{"query":77}`, 404, "77"},
		{"unknown collection", "PUT", "/collections/nope/points", upsert("3", "[1,1,1,1]"), 404, "Collection `nope` doesn't exist!"},
		{"unknown collection of a read", "POST", "/collections/nope/points/query", `{"query":[1,2,3,4]}`, 404, "Collection `nope` doesn't exist!"},
		{"bad filter key", "POST", scroll, `{"filter":{"must":[{"key":"a[","match":{"value":1}}]}}`, 400, "a["},
		{"unknown field in a filter", "POST", scroll, `{"filter":{"musst":[]}}`, 400, "musst"},
		{"unknown condition", "POST", scroll, `{"filter":{"must":[{"ky":"a"}]}}`, 400, ""},
		{"truncated JSON", "PUT", points, `{"points":[{"id":3,"vector":[1,1`, 400, "JSON"},
		{"garbage behind the JSON", "PUT", points, upsert("3", "[1,1,1,1]") + "x", 400, "JSON"},
		{"JSON nested too deep", "PUT", points, `{"points":[{"id":3,"vector":[1,1,1,1],"payload":` + deep + `}]}`, 400, "128"},
		{"body too large", "PUT", points, `{"points":[{"id":3,"vector":[1,1,1,1],"payload":{"a":"` + strings.Repeat("x", 33<<20) + `"}}]}`, 413, ""},
		{"zero limit", "POST", query, `{"query":[1,2,3,4],"limit":0}`, 422, "limit: value 0 invalid"},
		{"zero limit of a scroll", "POST", scroll, `{"limit":0}`, 422, "limit: value 0 invalid"},
		{"negative limit", "POST", scroll, `{"limit":-1}`, 400, "-1"},
		{"zero timeout", "POST", query + "?timeout=0", `{"query":[1,2,3,4]}`, 422, "timeout: value 0 invalid"},
		{"replication factor 0", "PUT", "/collections/x", `{"vectors":{"size":4,"distance":"Dot"},"replication_factor":0}`, 422, "replication_factor: value 0 invalid"},
		{"shard number 0", "PUT", "/collections/x", `{"vectors":{"size":4,"distance":"Dot"},"shard_number":0}`, 422, "shard_number: value 0 invalid"},
		{"size 0", "PUT", "/collections/x", `{"vectors":{"size":0,"distance":"Dot"}}`, 422, "vectors.size: value 0 invalid, must be from 1 to 65536"},
		{"size above the limit", "PUT", "/collections/x", `{"vectors":{"size":65537,"distance":"Dot"}}`, 422, "vectors.size: value 65537 invalid, must be from 1 to 65536"},
		{"unknown distance", "PUT", "/collections/x", `{"vectors":{"size":4,"distance":"Taxi"}}`, 400, "Taxi"},
		{"name with a slash", "PUT", "/collections/a%2Fb", `{"vectors":{"size":4,"distance":"Dot"}}`, 422, "/"},
		{"name of 256 bytes", "PUT", "/collections/" + strings.Repeat("n", 256), `{"vectors":{"size":4,"distance":"Dot"}}`, 422, "255"},
		{"name taken", "PUT", "/collections/c", `{"vectors":{"size":4,"distance":"Dot"}}`, 409, "Collection `c` already exists!"},
		{"name of an alias", "PUT", "/collections/al", `{"vectors":{"size":4,"distance":"Dot"}}`, 400, "al"},
		{"alias of a collection's name", "POST", "/collections/aliases", `{"actions":[{"create_alias":{"collection_name":"c","alias_name":"named"}}]}`, 0, "named"},
		{"alias to nowhere", "POST", "/collections/aliases", `{"actions":[{"create_alias":{"collection_name":"nope","alias_name":"z"}}]}`, 404, "nope"},
		{"payload of an unknown point", "POST", "/collections/c/points/payload?wait=true", `{"payload":{"a":1},"points":[99]}`, 404, "99"},
		{"no such route", "GET", "/collections/c/wings", "", 404, ""},
		{"no such method", "DELETE", "/collections", "", 405, ""},
		{"not built", "POST", "/collections/c/snapshots", ``, 501, "qdrant.Snapshots/Create"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out := h.call(c.method, c.path, c.body)
			if c.status == 0 {
				c.status = status
				if status != http.StatusConflict && status != http.StatusBadRequest {
					t.Errorf("status %d, want 409 or 400", status)
				}
			}
			if status != c.status || !strings.Contains(errorText(out), c.text) {
				t.Errorf("%d %s, want %d with %q", status, errorText(out), c.status, c.text)
			}
			if got := h.ok("POST", "/collections/c/points/count", `{}`); fmt.Sprint(got) != "map[count:1]" {
				t.Errorf("half-applied: %v", got)
			}
		})
	}
	if got := fmt.Sprint(h.ok("GET", "/collections", "")); strings.Count(got, "name:") != 2 {
		t.Errorf("collections after all refusals: %v", got)
	}
}

// What one shard cannot take must not leave its mark on the others, nor on what
// came before in the same batch.
func TestNothingIsHalfApplied(t *testing.T) {
	h := enter(t, memfs.New(), controlplane.NewMemory(), nil)
	defer h.leave()
	h.create("c", 4)
	ids := func(last string) string {
		var b strings.Builder
		for id := range 16 {
			fmt.Fprintf(&b, `{"id":%d,"vector":[1,1,1,1]},`, id)
		}
		return `{"points":[` + b.String() + last + `]}`
	}
	large := `{"id":99,"vector":[1,1,1,1],"payload":{"a":"` + strings.Repeat("x", 16<<20) + `"}}`
	some := `{"points":[{"id":98,"vector":[1,1,1,1]}]`
	wrong := `{"must":[{"key":"a","range":{"gt":"soon"}}]}`
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		text                     string
	}{
		{"payload too large", "PUT", "/collections/c/points", ids(large), 400, "points[16].payload is larger than 15 MiB"},
		{"in a batch", "POST", "/collections/c/points/batch", `{"operations":[{"upsert":` + ids(`{"id":98,"vector":[1,1,1,1]}`) + `},{"upsert":{"points":[` + large + `]}}]}`,
			400, "points[0].payload is larger than 15 MiB"},
		{"wrong condition, in a batch", "POST", "/collections/c/points/batch", `{"operations":[{"upsert":` + some + `}},{"upsert":` + some + `,"update_filter":` + wrong + `}}]}`,
			400, "update_filter"},
	} {
		if status, out := h.call(c.method, c.path+"?wait=true", c.body); status != c.status || !strings.Contains(errorText(out), c.text) {
			t.Errorf("%s: %d %s, want %d with %q", c.name, status, errorText(out), c.status, c.text)
		}
		if got := h.ok("POST", "/collections/c/points/count", `{}`); fmt.Sprint(got) != "map[count:0]" {
			t.Errorf("%s: half-applied: %v", c.name, got)
		}
	}
}

func TestDuplicateIDsInOneBatchLastWins(t *testing.T) {
	h := enter(t, memfs.New(), controlplane.NewMemory(), nil)
	defer h.leave()
	h.create("c", 1)
	h.ok("PUT", "/collections/c/points?wait=true", `{"points":[{"id":1,"vector":[1,0,0,0],"payload":{"v":1}},{"id":1,"vector":[0,2,0,0],"payload":{"v":2}}]}`)
	if got := fmt.Sprint(h.ok("GET", "/collections/c/points/1", "")); !strings.Contains(got, "payload:map[v:2]") || !strings.Contains(got, "vector:[0 2 0 0]") {
		t.Errorf("%v", got)
	}
}
