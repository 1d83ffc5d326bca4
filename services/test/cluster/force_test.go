//go:build !race

package cluster

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The last Active replica's peer is gone, and an operator has the shard go on with the
// one that lacks its last writes (F1). When the old one comes back after all, what it
// alone had is set aside, and both are equal.
func TestForcedReplica(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", `{"vectors":{"size":4,"distance":"Dot"},"shard_number":1,"replication_factor":2}`)
		whole(t, hs, "c", 2)
		place := placements(hs[0], "c")[0]
		var old, behind, third *house
		for _, h := range hs {
			_, here := place.Replica(h.data.Self())
			switch {
			case place.Primary == h.data.Self():
				old = h
			case here:
				behind = h
			default:
				third = h
			}
		}
		put := func(through *house, id int) {
			t.Helper()
			through.ok("PUT", "/collections/c/points?wait=true", fmt.Sprintf(`{"points":[{"id":%d,"vector":[%d,0,0,1]}]}`, id, id))
		}
		force := func(h *house) (int, map[string]any) {
			return third.call("POST", "/collections/c/cluster/force", fmt.Sprintf(`{"shard_id":0,"peer_id":%d}`, h.data.Self()))
		}
		for id := range 20 {
			put(third, id)
		}
		behind.leave()
		third.await("the other one to be Dead", func() bool { return placements(third, "c")[0].ActiveCount() == 1 })
		for id := 20; id < 30; id++ {
			put(third, id)
		}
		code, out := force(behind)
		if !refused(code, out, "nothing has to be forced") {
			t.Errorf("while an Active one is there: %d %v", code, out)
		}
		old.leave()
		behind = s.begin(behind.fsys)
		pass(5 * time.Second) // it has no source to be copied from
		if code, out := third.call("POST", "/collections/c/points/count", `{"exact":true}`); code != http.StatusServiceUnavailable {
			t.Errorf("without an Active replica: %d %v", code, out)
		}
		if code, out := force(third); !refused(code, out, "holds no replica") {
			t.Errorf("a peer without a replica: %d %v", code, out)
		}
		if code, out := third.call("POST", "/collections/none/cluster/force", `{"shard_id":0,"peer_id":1}`); code != http.StatusNotFound {
			t.Errorf("no such collection: %d %v", code, out)
		}
		if code, out := force(behind); code != http.StatusOK {
			t.Fatalf("force: %d %v", code, out)
		}
		count := func(h *house) (n float64) {
			h.await("reads", func() bool {
				code, out := h.call("POST", "/collections/c/points/count", `{"exact":true}`)
				if code == http.StatusOK {
					n = out["result"].(map[string]any)["count"].(float64)
				}
				return code == http.StatusOK
			})
			return n
		}
		if n := count(third); n != 20 {
			t.Errorf("%v points after the force", n)
		}
		if p := placements(third, "c")[0]; !p.Forced || p.Primary != behind.data.Self() {
			t.Errorf("%+v", p)
		}
		put(third, 100)
		old = s.begin(old.fsys)
		all := []*house{old, behind, third}
		whole(t, all, "c", 2)
		for _, h := range all {
			if n := count(h); n != 21 {
				t.Errorf("%v points in the end", n)
			}
		}
		if p := placements(third, "c")[0]; p.Forced || p.ActiveCount() != 2 {
			t.Errorf("%+v", p)
		}
		for _, h := range all {
			names, _ := h.fsys.List(filepath.Join(dataDir, "set-aside"))
			if len(names) == 1 != (h == old) {
				t.Errorf("set aside at %d: %v", h.data.Self(), names)
			}
			for _, name := range names {
				if !strings.HasPrefix(name, fmt.Sprintf("%d-0-", uint64(place.Shard.Collection))) || len(filesOf(t, h.fsys, filepath.Join(dataDir, "set-aside", name))) == 0 {
					t.Errorf("set aside as %s", name)
				}
			}
		}
	})
}

func refused(code int, out map[string]any, text string) bool {
	return code == http.StatusBadRequest && strings.Contains(fmt.Sprint(out), text)
}
