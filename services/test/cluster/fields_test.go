//go:build !race

package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// schema is payload_schema of c as h shows it, in one line.
func schema(h *house) string {
	h.t.Helper()
	fields := h.ok("GET", "/collections/c", "").(map[string]any)["payload_schema"].(map[string]any)
	return fmt.Sprint(fields)
}

func countBy(h *house, filter string) any {
	h.t.Helper()
	return h.ok("POST", "/collections/c/points/count", `{"filter":`+filter+`}`).(map[string]any)["count"]
}

// An index is a setting of the collection: it is there on every replica once the
// call that waited for it is answered, survives power cuts and restarts, and
// comes to a replica that was away with the log or with a copy.
func TestFieldIndexOnEveryReplica(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", twoCopies)
		var points []string
		for id := range 90 {
			points = append(points, fmt.Sprintf(`{"id":%d,"vector":[%d,0,0,1],"payload":{"color":"%s","n":%d,"at":"2024-01-%02d"}}`, id, id, []string{"red", "blue", "green"}[id%3], id, 1+id%30))
		}
		hs[0].ok("PUT", "/collections/c/points?wait=true", `{"points":[`+strings.Join(points, ",")+`]}`)
		index := func(h *house, body string) {
			t.Helper()
			if r := h.ok("PUT", "/collections/c/index?wait=true", body).(map[string]any); r["status"] != "completed" {
				t.Errorf("%s: %v", body, r)
			}
		}
		index(hs[1], `{"field_name":"color","field_schema":{"type":"keyword","is_tenant":true,"on_disk":true}}`)
		index(hs[2], `{"field_name":"n","field_schema":"integer"}`)
		check := func(want string) {
			t.Helper()
			for i, h := range hs {
				if got := schema(h); got != want {
					t.Errorf("peer %d shows\n%s, want\n%s", i, got, want)
				}
				red := countBy(h, `{"must":[{"key":"color","match":{"value":"red"}},{"key":"n","range":{"gte":30,"lt":60}}]}`)
				late := countBy(h, `{"must":[{"key":"at","range":{"gte":"2024-01-29T00:00:00Z"}}]}`)
				if red != 10. || late != 6. {
					t.Errorf("peer %d counts %v and %v, want 10 and 6", i, red, late)
				}
			}
		}
		two := "color:map[data_type:keyword params:map[is_tenant:true on_disk:true type:keyword] points:90]"
		n := " n:map[data_type:integer params:map[type:integer] points:90]"
		check("map[" + two + n + "]")

		disk := hs[2].powerCut()
		pass(6 * time.Second) // until it is Dead: nobody waits for it any more
		index(hs[0], `{"field_name":"at","field_schema":"datetime"}`)
		hs[2] = s.begin(disk)
		whole(t, hs, "c", 2)
		check("map[at:map[data_type:datetime params:map[type:datetime] points:90] " + two + n + "]")

		if r := hs[2].ok("DELETE", "/collections/c/index/n?wait=true", "").(map[string]any); r["status"] != "completed" {
			t.Errorf("dropping: %v", r)
		}
		for i := range hs { // all at once
			disk := hs[i].powerCut()
			hs[i] = s.begin(disk)
		}
		whole(t, hs, "c", 2)
		check("map[at:map[data_type:datetime params:map[type:datetime] points:90] " + two + "]")
	})
}

// Facets and orders over six shards of two copies are those of one shard.
func TestFacetAndOrderOverShards(t *testing.T) {
	live(t, 3, func(t *testing.T, _ *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", twoCopies)
		hs[0].create("one", 1)
		var points []string
		for id := range 120 {
			points = append(points, fmt.Sprintf(`{"id":%d,"vector":[%d,0,0,1],"payload":{"color":"c%d","n":%d,"list":[%d,%d.5],"on":%v,"at":"2024-01-%02d"}}`,
				id, id, id*id%11, id*7%23, id%5, id%7, id%3 == 0, 1+id%30))
		}
		body := `{"points":[` + strings.Join(points, ",") + `]}`
		for _, c := range []string{"c", "one"} {
			hs[1].ok("PUT", "/collections/"+c+"/points?wait=true", body)
			for field, kind := range map[string]string{"color": "keyword", "n": "integer", "list": "float", "on": "bool", "at": "datetime"} {
				hs[1].ok("PUT", "/collections/"+c+"/index?wait=true", fmt.Sprintf(`{"field_name":%q,"field_schema":%q}`, field, kind))
			}
		}
		filter := `"filter":{"should":[{"key":"color","match":{"any":["c1","c3","c4"]}},{"key":"n","range":{"lt":9}}]}`
		for _, ask := range []struct{ path, body string }{
			{"facet", `{"key":"color","exact":true}`}, {"facet", `{"key":"color","limit":2,"exact":true,` + filter + `}`}, {"facet", `{"key":"n","limit":50}`},
			{"facet", `{"key":"on",` + filter + `}`}, {"points/scroll", `{"order_by":"n","limit":17}`}, {"points/scroll", `{"order_by":{"key":"n","direction":"desc","start_from":11},"limit":40}`},
			{"points/scroll", `{"order_by":{"key":"list","start_from":2.5},"limit":33,` + filter + `}`}, {"points/scroll", `{"order_by":{"key":"at","direction":"desc","start_from":"2024-01-12T00:00:00Z"},"limit":19}`},
		} {
			want := fmt.Sprint(hs[0].ok("POST", "/collections/one/"+ask.path, ask.body))
			for i, h := range hs {
				if got := fmt.Sprint(h.ok("POST", "/collections/c/"+ask.path, ask.body)); got != want || len(want) < 50 {
					t.Errorf("%s, peer %d:\n%s\none shard:\n%s", ask.body, i, got, want)
				}
			}
		}
		if code, out := hs[0].call("POST", "/collections/c/points/scroll", `{"order_by":"color"}`); code != 400 {
			t.Errorf("order by a keyword: %d %v", code, out)
		}
	})
}
