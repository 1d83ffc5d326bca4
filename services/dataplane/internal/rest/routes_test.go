package rest

import (
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// route is one REST route that has a twin among Qdrant's gRPC methods.
type route struct{ verb, path, method, body string }

// twins lists them all, as Qdrant 1.19 has them.
func twins() []route {
	const c = "/collections/c"
	return []route{
		{"GET", "/", "qdrant.Qdrant/HealthCheck", ``},
		{"GET", "/collections", "qdrant.Collections/List", ``},
		{"GET", c, "qdrant.Collections/Get", ``},
		{"GET", c + "/exists", "qdrant.Collections/CollectionExists", ``},
		{"PUT", c, "qdrant.Collections/Create", `{}`},
		{"PATCH", c, "qdrant.Collections/Update", `{}`},
		{"DELETE", c, "qdrant.Collections/Delete", ``},
		{"POST", "/collections/aliases", "qdrant.Collections/UpdateAliases", `{"actions":[]}`},
		{"GET", c + "/aliases", "qdrant.Collections/ListCollectionAliases", ``},
		{"GET", "/aliases", "qdrant.Collections/ListAliases", ``},
		{"GET", c + "/cluster", "pando.cluster.v1.Cluster/CollectionCluster", ``},
		{"POST", c + "/cluster", "qdrant.Collections/UpdateCollectionClusterSetup", `{"drop_replica":{"shard_id":0,"peer_id":1}}`},
		{"POST", c + "/cluster/force", "pando.cluster.v1.Cluster/ForceReplica", `{"shard_id":0,"peer_id":1}`},
		{"POST", c + "/cluster/verify", "pando.cluster.v1.Cluster/VerifyReplicas", ""},
		{"GET", "/cluster/conflicts", "pando.cluster.v1.Cluster/ListConflicts", ``},
		{"GET", c + "/shards", "qdrant.Collections/ListShardKeys", ``},
		{"PUT", c + "/shards", "qdrant.Collections/CreateShardKey", `{"shard_key":1}`},
		{"POST", c + "/shards/delete", "qdrant.Collections/DeleteShardKey", `{"shard_key":1}`},
		{"PUT", c + "/points", "qdrant.Points/Upsert", `{"points":[]}`},
		{"POST", c + "/points/delete", "qdrant.Points/Delete", `{"points":[]}`},
		{"PUT", c + "/points/vectors", "qdrant.Points/UpdateVectors", `{"points":[]}`},
		{"POST", c + "/points/vectors/delete", "qdrant.Points/DeleteVectors", `{"points":[],"vector":[]}`},
		{"POST", c + "/points/payload", "qdrant.Points/SetPayload", `{"payload":{}}`},
		{"PUT", c + "/points/payload", "qdrant.Points/OverwritePayload", `{"payload":{}}`},
		{"POST", c + "/points/payload/delete", "qdrant.Points/DeletePayload", `{"keys":[]}`},
		{"POST", c + "/points/payload/clear", "qdrant.Points/ClearPayload", `{"points":[]}`},
		{"POST", c + "/points/batch", "qdrant.Points/UpdateBatch", `{"operations":[]}`},
		{"PUT", c + "/index", "qdrant.Points/CreateFieldIndex", `{"field_name":"f"}`},
		{"DELETE", c + "/index/f", "qdrant.Points/DeleteFieldIndex", ``},
		{"PUT", c + "/vectors/v", "qdrant.Points/CreateVectorName", `{"sparse":{}}`},
		{"DELETE", c + "/vectors/v", "qdrant.Points/DeleteVectorName", ``},
		{"GET", c + "/points/1", "pando.cluster.v1.Cluster/GetPoint", ``},
		{"POST", c + "/points", "qdrant.Points/Get", `{"ids":[]}`},
		{"POST", c + "/points/scroll", "qdrant.Points/Scroll", `{}`},
		{"POST", c + "/points/count", "qdrant.Points/Count", `{}`},
		{"POST", c + "/facet", "qdrant.Points/Facet", `{"key":"k"}`},
		{"POST", c + "/points/query", "qdrant.Points/Query", `{}`},
		{"POST", c + "/points/query/batch", "qdrant.Points/QueryBatch", `{"searches":[]}`},
		{"POST", c + "/points/query/groups", "qdrant.Points/QueryGroups", `{"group_by":"g"}`},
		{"POST", c + "/points/search/matrix/pairs", "qdrant.Points/SearchMatrixPairs", `{}`},
		{"POST", c + "/points/search/matrix/offsets", "qdrant.Points/SearchMatrixOffsets", `{}`},
		{"POST", c + "/points/search", "qdrant.Points/Search", `{"vector":[1],"limit":1}`},
		{"POST", c + "/points/search/batch", "qdrant.Points/SearchBatch", `{"searches":[]}`},
		{"POST", c + "/points/search/groups", "qdrant.Points/SearchGroups", `{"vector":[1],"limit":1,"group_by":"g","group_size":1}`},
		{"POST", c + "/points/recommend", "qdrant.Points/Recommend", `{"limit":1}`},
		{"POST", c + "/points/recommend/batch", "qdrant.Points/RecommendBatch", `{"searches":[]}`},
		{"POST", c + "/points/recommend/groups", "qdrant.Points/RecommendGroups", `{"limit":1,"group_by":"g","group_size":1}`},
		{"POST", c + "/points/discover", "qdrant.Points/Discover", `{"limit":1}`},
		{"POST", c + "/points/discover/batch", "qdrant.Points/DiscoverBatch", `{"searches":[]}`},
		{"GET", c + "/snapshots", "qdrant.Snapshots/List", ``},
		{"POST", c + "/snapshots", "qdrant.Snapshots/Create", ``},
		{"DELETE", c + "/snapshots/s", "qdrant.Snapshots/Delete", ``},
		{"GET", "/snapshots", "qdrant.Snapshots/ListFull", ``},
		{"POST", "/snapshots", "qdrant.Snapshots/CreateFull", ``},
		{"DELETE", "/snapshots/s", "qdrant.Snapshots/DeleteFull", ``},
	}
}

// TestRoutes sends every twin route, with names that look like other routes
// too, and asks which method it reached.
func TestRoutes(t *testing.T) {
	if n := len(twins()); n != 52+3 {
		t.Errorf("%d routes, Qdrant has 52 with a twin, and three are ours", n)
	}
	conn := &recorder{fill: rand.New(rand.NewPCG(1, 2))}
	h := handler(t, Deps{Conn: conn})
	for _, r := range twins() {
		for _, name := range []string{"c", "aliases", "points", "shards", "snapshots", "exists", "c%2Fd", "%C3%A9%20", "a:b", "collections", "recover"} {
			path := strings.Replace(r.path, "/collections/c", "/collections/"+name, 1)
			conn.method = ""
			resp := send(h, r.verb, path, r.body)
			want, err := url.PathUnescape(name)
			if err != nil {
				t.Fatal(err)
			}
			if m, ok := conn.request.(interface{ GetCollectionName() string }); ok && strings.HasPrefix(r.path, "/collections/c") && m.GetCollectionName() != want {
				t.Errorf("%s %s: collection %q", r.verb, path, m.GetCollectionName())
			}
			if conn.method != r.method || resp.StatusCode != 200 {
				t.Errorf("%s %s reached %q (%d %s), not %s", r.verb, path, conn.method, resp.StatusCode, text(t, resp), r.method)
			}
		}
	}
}

// TestRouteMap compares the list above with the map that the routes are generated from.
func TestRouteMap(t *testing.T) {
	raw, err := os.ReadFile("../../../../proto/qdrant/rest.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		HTTP struct {
			Rules []map[string]string
		}
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, r := range twins() {
		known[r.verb+" "+r.method] = true
	}
	all := len(missing()) + 4 // healthz, livez, readyz, metrics
	n := 0
	for _, rule := range file.HTTP.Rules {
		for _, verb := range []string{"get", "put", "post", "patch", "delete"} {
			if rule[verb] == "" {
				continue
			}
			all++
			dot := strings.LastIndex(rule["selector"], ".")
			name := strings.ToUpper(verb) + " " + rule["selector"][:dot] + "/" + rule["selector"][dot+1:]
			if known[name] {
				n++
			} else if strings.HasPrefix(rule["selector"], "qdrant.") {
				t.Errorf("%s is not tested", name)
			}
		}
	}
	if n != len(twins()) {
		t.Errorf("%d of %d routes are in the map", n, len(twins()))
	}
	if all != 98+3 {
		t.Errorf("%d routes are answered, Qdrant has 98, and three are ours", all)
	}
}

// TestMissing: what is not built says so, and hides nothing that is built beside it.
func TestMissing(t *testing.T) {
	conn := &recorder{}
	h := handler(t, Deps{Conn: conn})
	for _, route := range missing() {
		path := strings.NewReplacer("{collection_name}", "c", "{shard_id}", "0", "{snapshot_name}", "s").Replace(route[1])
		resp := send(h, route[0], path, "")
		if got, want := text(t, resp), route[0]+" "+route[1]+" is not built yet"; resp.StatusCode != 501 || !strings.Contains(got, want) || conn.method != "" {
			t.Errorf("%s %s: %d %s, reached %q", route[0], path, resp.StatusCode, got, conn.method)
		}
	}
}
