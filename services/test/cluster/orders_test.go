package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// What an operator may order reaches the control plane through REST, and its
// refusals come back with their status and a text that names what they are about.
func TestOrders(t *testing.T) {
	h := enter(t, memfs.New(), controlplane.NewMemory(), nil)
	defer h.leave()
	h.create("c", 2)
	self := uint64(h.data.Self())
	for _, c := range []struct {
		method, path, body string
		code               int
		text               string
	}{
		{"POST", "/collections/none/cluster", `{"drop_replica":{"shard_id":0,"peer_id":1}}`, http.StatusNotFound, "`none`"},
		{"POST", "/collections/c/cluster", `{"move_shard":{"shard_id":0,"from_peer_id":1,"to_peer_id":1}}`, http.StatusUnprocessableEntity, "to_peer_id"},
		{"POST", "/collections/c/cluster", `{"replicate_shard":{"shard_id":9,"from_peer_id":1,"to_peer_id":2}}`, http.StatusBadRequest, "Shard 9 does not exist in collection c"},
		{"POST", "/collections/c/cluster", `{"replicate_shard":{"shard_id":0,"from_peer_id":SELF,"to_peer_id":2,"method":"snapshot"}}`, http.StatusBadRequest, "Peer 2 does not exist"},
		{"POST", "/collections/c/cluster", `{"abort_transfer":{"shard_id":0,"from_peer_id":SELF,"to_peer_id":2}}`, http.StatusNotFound, "no transfer of shard 0 of collection c"},
		{"POST", "/collections/c/cluster", `{"restart_transfer":{"shard_id":0,"from_peer_id":SELF,"to_peer_id":2,"method":"snapshot"}}`, http.StatusNotFound, "no transfer of shard 0 of collection c"},
		{"POST", "/collections/c/cluster", `{"drop_replica":{"shard_id":1,"peer_id":SELF}}`, http.StatusBadRequest, "shard 1 of collection c must keep at least one active replica"},
		{"POST", "/collections/c/cluster", `{"create_sharding_key":{"shard_key":"k"}}`, http.StatusBadRequest, "automatic sharding"},
		{"POST", "/collections/c/cluster", `{"replicate_points":{"from_shard_key":"k","to_shard_key":"l"}}`, http.StatusBadRequest, "automatic sharding"},
		{"DELETE", "/cluster/peer/SELF", "", http.StatusBadRequest, "Cannot remove peer SELF as there are shards on it"},
		{"DELETE", "/cluster/peer/SELF?timeout=0", "", http.StatusUnprocessableEntity, "timeout"},
	} {
		fill := func(s string) string { return strings.ReplaceAll(s, "SELF", fmt.Sprint(self)) }
		code, out := h.call(c.method, fill(c.path), fill(c.body))
		if code != c.code || !strings.Contains(errorText(out), fill(c.text)) {
			t.Errorf("%s %s %s: %d %v, want %d and %q", c.method, c.path, c.body, code, out, c.code, c.text)
		}
	}
	if done := h.ok("DELETE", "/cluster/peer/77?force=true", ""); done != true {
		t.Errorf("an unknown peer: %v", done)
	}
	info := h.ok("GET", "/collections/c/cluster", "").(map[string]any)
	if list := info["shard_transfers"].([]any); len(list) != 0 || info["shard_count"] != 2. {
		t.Errorf("%v", info)
	}
}
