//go:build !race

// In virtual time without the race detector, as peers_test.go says.
package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const custom = `{"vectors":{"size":2,"distance":"Dot"},"sharding_method":"custom","shard_number":2,"replication_factor":2}`

func (h *house) addKey(key string) { h.ok("PUT", "/collections/c/shards", `{"shard_key":`+key+`}`) }

// put stores a point with its id as the payload, under keys in the form of REST.
func (h *house) put(id int, keys string) (int, map[string]any) {
	return h.call("PUT", "/collections/c/points?wait=true", fmt.Sprintf(`{"points":[{"id":%d,"vector":[1,%d],"payload":{"n":%d}}],"shard_key":%s}`, id, id, id, keys))
}

// under lists the ids that a scroll finds under keys, each with the key that it says.
func (h *house) under(keys string) string {
	page := h.ok("POST", "/collections/c/points/scroll", `{"limit":100,"shard_key":`+keys+`}`).(map[string]any)
	var out []string
	for _, p := range page["points"].([]any) {
		p := p.(map[string]any)
		out = append(out, fmt.Sprintf("%v:%v", p["id"], p["shard_key"]))
	}
	return strings.Join(out, " ")
}

func TestShardKeys(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", custom)
		refused := func(what string, code int, out map[string]any, text string) {
			t.Helper()
			if code != http.StatusBadRequest || !strings.Contains(errorText(out), text) {
				t.Errorf("%s: %d %v, want 400 and %q", what, code, out, text)
			}
		}
		hs[0].ok("PUT", "/collections/c/index?wait=true", `{"field_name":"n","field_schema":"integer"}`)
		if n := hs[0].ok("POST", "/collections/c/points/count", `{}`).(map[string]any)["count"]; n != 0. {
			t.Errorf("%v points without a key", n)
		}
		code, out := hs[1].call("PUT", "/collections/c/points", `{"points":[{"id":1,"vector":[1,1]}]}`)
		refused("no key", code, out, "Shard key not specified")
		code, out = hs[1].put(1, `"a"`)
		refused("unknown key", code, out, `Shard key "a" not found`)
		hs[0].addKey(`"a"`)
		hs[1].addKey(`7`)
		hs[2].ok("POST", "/collections/c/cluster", `{"create_sharding_key":{"shard_key":"7","shards_number":1,"replication_factor":1,"placement":[`+fmt.Sprint(hs[1].data.Self())+`]}}`)
		code, out = hs[1].call("PUT", "/collections/c/shards", `{"shard_key":"a"}`)
		refused("twice", code, out, "already exists")
		code, out = hs[1].call("PUT", "/collections/c/shards", `{"shard_key":"p","initial_state":"Dead"}`)
		refused("state", code, out, "initial_state")

		for i, h := range hs { // through any peer
			for j, keys := range []string{`"a"`, `7`, `"7"`} {
				if code, out := h.put(10*i+j, keys); code != http.StatusOK {
					t.Fatalf("peer %d, key %s: %d %v", i, keys, code, out)
				}
			}
		}
		for _, h := range hs {
			for keys, want := range map[string]string{
				`"a"`: "0:a 10:a 20:a", `7`: "1:7 11:7 21:7", `["a","7"]`: "0:a 2:7 10:a 12:7 20:a 22:7", `["a","a"]`: "0:a 10:a 20:a",
				`{"target":"a","fallback":7}`: "0:a 10:a 20:a", `{"target":"none","fallback":7}`: "1:7 11:7 21:7",
			} {
				if got := h.under(keys); got != want {
					t.Errorf("under %s: %s, want %s", keys, got, want)
				}
			}
			near := h.ok("POST", "/collections/c/points/query", `{"query":[0,1],"limit":2,"shard_key":["a",7]}`).(map[string]any)["points"].([]any)
			if p := near[0].(map[string]any); len(near) != 2 || p["id"] != 21. || p["shard_key"] != 7. {
				t.Errorf("nearest: %v", near)
			}
			if n := h.ok("POST", "/collections/c/points/count", `{"filter":{"must":[{"key":"n","range":{"gte":10}}]}}`).(map[string]any)["count"]; n != 6. {
				t.Errorf("%v points over all keys", n)
			}
			if keys := h.ok("GET", "/collections/c/shards", "").(map[string]any)["shard_keys"]; fmt.Sprint(keys) != "[map[key:7] map[key:7] map[key:a]]" {
				t.Errorf("keys %v", keys)
			}
		}
		code, out = hs[1].call("PUT", "/collections/c/points", `{"points":[{"id":1,"vector":[1,1]}],"shard_key":{"target":"x","fallback":"y"}}`)
		refused("neither", code, out, `Shard key "y" not found`)
		code, out = hs[0].call("POST", "/collections/c/shards/delete", `{"shard_key":"b"}`)
		refused("drop of none", code, out, "does not exist")

		hs[0].ok("POST", "/collections/c/shards/delete", `{"shard_key":"a"}`)
		hs[1].ok("POST", "/collections/c/cluster", `{"drop_sharding_key":{"shard_key":"7"}}`)
		for _, h := range hs {
			code, out = h.put(3, `"a"`)
			refused("dropped", code, out, `Shard key "a" not found`)
			if n := h.ok("POST", "/collections/c/points/count", `{}`).(map[string]any)["count"]; n != 3. {
				t.Errorf("%v points left", n)
			}
		}
		hs[2].addKey(`"a"`)
		if got := hs[0].under(`"a"`); got != "" {
			t.Errorf("points came back with their key: %s", got)
		}
	})
}

// A key is dropped and made again through one peer while another one has not heard of
// either: what that one acknowledges is under the new key.
func TestWriteAfterShardKeyWasMadeAgain(t *testing.T) {
	for late := range 3 {
		t.Run(fmt.Sprint(late), func(t *testing.T) {
			live(t, 3, func(t *testing.T, s *street, hs []*house) {
				hs[0].ok("PUT", "/collections/c", custom)
				other := hs[(late+1)%3]
				other.addKey(`"a"`)
				old, _ := other.data.Placement().Resolve("c")
				s.deafen(hs[late], 4*time.Second)
				if code, out := other.call("POST", "/collections/c/shards/delete?timeout=1", `{"shard_key":"a"}`); code == http.StatusOK {
					if holds(old, hs[late]) {
						t.Errorf("answered while a peer that has not heard of it may hold the key: %v", out)
					}
				} else if !strings.Contains(errorText(out), fmt.Sprint(hs[late].data.Self())) {
					t.Errorf("the peer that holds it is not named: %v", out)
				}
				other.addKey(`"a"`)
				var want []string
				for id := 10; id < 30; id++ {
					if code, out := hs[late].put(id, `"a"`); code != http.StatusOK {
						t.Errorf("write %d: %d %v", id, code, out)
					}
					want = append(want, fmt.Sprintf("%d:a", id))
				}
				pass(10 * time.Second)
				for _, h := range hs {
					if got := h.under(`"a"`); got != strings.Join(want, " ") {
						t.Errorf("got %s", got)
					}
				}
			})
		})
	}
}
