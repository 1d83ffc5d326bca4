//go:build !race

package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/internal/topology"
)

// verified asks a peer to compare the replicas of c, and gives what it says of each.
func verified(t *testing.T, h *house) (equal bool, verdicts map[topology.PeerID]string) {
	t.Helper()
	out := h.ok("POST", "/collections/c/cluster/verify", "{}").(map[string]any)
	verdicts = map[topology.PeerID]string{}
	for _, s := range out["shards"].([]any) {
		for _, r := range s.(map[string]any)["replicas"].([]any) {
			r := r.(map[string]any)
			verdicts[topology.PeerID(r["peer_id"].(float64))] = fmt.Sprintf("%v %v %v", r["state"], r["verdict"], r["reason"])
		}
	}
	return out["equal"] == true, verdicts
}

// Replicas are compared when somebody asks, through any peer: one whose peer is down
// is not compared, with the reason; one that has stored something else is named.
func TestVerifyReplicas(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", `{"vectors":{"size":4,"distance":"Dot"},"shard_number":1,"replication_factor":3}`)
		whole(t, hs, "c", 3)
		put := func(id int) {
			hs[0].ok("PUT", "/collections/c/points?wait=true", fmt.Sprintf(`{"points":[{"id":%d,"vector":[1,0,0,1],"payload":{"says":"true word"}}]}`, id))
		}
		put(1)
		for _, h := range hs {
			if equal, verdicts := verified(t, h); !equal || len(verdicts) != 3 {
				t.Errorf("through %d: %v", h.data.Self(), verdicts)
			}
		}
		down := hs[2]
		down.leave()
		equal, verdicts := verified(t, hs[0])
		for p, got := range verdicts {
			if strings.Contains(got, "not_compared") != (p == down.data.Self()) {
				t.Errorf("with a peer down: peer %d: %s", p, got)
			}
		}
		if text := verdicts[down.data.Self()]; equal || !strings.Contains(text, "it is Dead: ") {
			t.Errorf("equal %v, the one that is down: %q", equal, text)
		}
		hs[2] = s.begin(down.fsys)
		whole(t, hs, "c", 3)
		primary := placements(hs[0], "c")[0].Primary
		wrong := hs[0]
		if wrong.data.Self() == primary {
			wrong = hs[1]
		}
		s.mu.Lock()
		s.spoilt = wrong.data.Self()
		s.mu.Unlock()
		put(2)
		s.mu.Lock()
		s.spoilt = 0
		s.mu.Unlock()
		equal, verdicts = verified(t, hs[0])
		for p, got := range verdicts {
			if strings.Contains(got, "differs") != (p == wrong.data.Self()) {
				t.Errorf("peer %d: %s", p, got)
			}
		}
		if equal {
			t.Error("all are said to be equal")
		}
		for path, c := range map[string]struct {
			body string
			code int
			text string
		}{
			"none":        {"{}", http.StatusNotFound, "none"},
			"c?timeout=0": {"{}", http.StatusUnprocessableEntity, "timeout"},
		} {
			name, params, _ := strings.Cut(path, "?")
			if code, out := hs[0].call("POST", "/collections/"+name+"/cluster/verify?"+params, c.body); code != c.code || !strings.Contains(fmt.Sprint(out), c.text) {
				t.Errorf("%s with %s: %d %v", path, c.body, code, out)
			}
		}
	})
}
