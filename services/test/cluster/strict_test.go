//go:build !race

package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Limits that are set on a living collection hold at every peer, are shown as they were
// given, and end when strict mode is switched off; so do sizes that are spread over shards.
func TestStrictMode(t *testing.T) {
	live(t, 3, func(t *testing.T, _ *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", `{"vectors":{"size":4,"distance":"Dot"},"sparse_vectors":{"s":{}},"shard_number":4,"replication_factor":2,
			"metadata":{"owner":"a","nested":{"n":1}}}`)
		limits := `{"enabled":true,"max_query_limit":5,"max_points_count":20,"filter_max_conditions":2,"unindexed_filtering_retrieve":false,"search_allow_exact":false,
			"read_rate_limit":600,"sparse_config":{"s":{"max_length":2}}}`
		hs[1].ok("PATCH", "/collections/c", `{"strict_mode_config":`+limits+`,"metadata":{"owner":"b","nested":null,"more":[true,2.5]}}`)
		for i, h := range hs {
			h.await("the limits", func() bool { return strings.Contains(fmt.Sprint(h.ok("GET", "/collections/c", "")), "max_query_limit") })
			c := h.ok("GET", "/collections/c", "").(map[string]any)["config"].(map[string]any)
			if got := fmt.Sprint(c["strict_mode_config"]); got != "map[enabled:true filter_max_conditions:2 max_points_count:20 max_query_limit:5 read_rate_limit:600 "+
				"search_allow_exact:false sparse_config:map[s:map[max_length:2]] unindexed_filtering_retrieve:false]" {
				t.Errorf("peer %d shows limits %s", i, got)
			}
			if got := fmt.Sprint(c["metadata"]); got != "map[more:[true 2.5] owner:b]" {
				t.Errorf("peer %d shows metadata %s", i, got)
			}
			for body, want := range map[string]string{
				`{"limit":6}`: `Limit exceeded 6 > 5 for "limit"`,
				`{"limit":1,"filter":{"must":[{"key":"x","match":{"value":1}}]}}`: `Index required but not found for "x"`,
				`{"limit":1,"query":[1,2,3,4],"params":{"exact":true}}`:           "Exact search is disabled",
			} {
				if code, out := h.call("POST", "/collections/c/points/query", body); code != 400 || !strings.HasPrefix(errorText(out), want) {
					t.Errorf("peer %d, %s: %d %s", i, body, code, errorText(out))
				}
			}
		}
		put := func(h *house, from, n int) (int, string) {
			var ps []string
			for id := from; id < from+n; id++ {
				ps = append(ps, fmt.Sprintf(`{"id":%d,"vector":[1,2,3,4]}`, id))
			}
			code, out := h.call("PUT", "/collections/c/points?wait=true", `{"points":[`+strings.Join(ps, ",")+`]}`)
			return code, errorText(out)
		}
		for i, h := range hs {
			if code, text := put(h, 7*i, 7); code != 200 {
				t.Errorf("up to the limit: %d %s", code, text)
			}
		}
		for i, h := range hs { // now there are 21
			pass(2 * time.Second)
			if code, text := put(h, 100, 1); code != 400 || !strings.HasPrefix(text, "Max points count limit of 20 reached") {
				t.Errorf("peer %d: %d %s", i, code, text)
			}
		}
		hs[2].ok("POST", "/collections/c/points/delete?wait=true", `{"points":[1,2]}`)
		if code, text := put(hs[0], 100, 1); code != 200 {
			t.Errorf("after a deletion: %d %s", code, text)
		}
		hs[0].ok("PATCH", "/collections/c", `{"strict_mode_config":{"enabled":false}}`)
		if code, text := put(hs[0], 200, 30); code != 200 {
			t.Errorf("switched off: %d %s", code, text)
		}
	})
}
