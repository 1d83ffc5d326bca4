//go:build !race

package cluster

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// send is a request of which the header of the answer counts, too.
func (h *house) send(method, path, body string) *httptest.ResponseRecorder {
	h.t.Helper()
	w := httptest.NewRecorder()
	h.data.Handler().ServeHTTP(w, httptest.NewRequestWithContext(h.ctx, method, path, strings.NewReader(body)))
	return w
}

// island is a peer that has to do without control plane and without others.
type island struct {
	*testing.T
	acked map[int]string // point -> value of its field v
}

func (x *island) upsert(h *house, id int, v string, disks string) {
	x.Helper()
	w := h.send("PUT", "/collections/c/points?wait=true", fmt.Sprintf(`{"points":[{"id":%d,"vector":[%d,0,0,1],"payload":{"v":%q}}]}`, id, id, v))
	if w.Code != http.StatusOK || w.Header().Get("Pando-Provisional") != disks {
		x.Fatalf("upsert of %d: %d %q %s", id, w.Code, w.Header().Get("Pando-Provisional"), w.Body)
	}
	x.acked[id] = v
}

// shows: all that was acknowledged is read, counted and found.
func (x *island) shows(h *house) {
	x.Helper()
	w := h.send("POST", "/collections/c/points/count", `{"exact":true}`)
	if said := w.Header().Get("Pando-Detached") == "true"; said != strings.Contains(fmt.Sprint(h.ok("GET", "/cluster", "")), "detached_shards:[map") {
		x.Errorf("peer %d says that it is detached: %v", h.data.Self(), said)
	}
	for id, v := range x.acked {
		out := h.ok("POST", "/collections/c/points", fmt.Sprintf(`{"ids":[%d],"with_payload":true}`, id))
		if want := fmt.Sprintf("v:%s]", v); !strings.Contains(fmt.Sprint(out), want) {
			x.Errorf("peer %d: point %d is %v, want %s", h.data.Self(), id, out, want)
		}
	}
	if n := h.ok("POST", "/collections/c/points/count", `{"exact":true}`).(map[string]any)["count"]; n != float64(len(x.acked)) {
		x.Errorf("peer %d counts %v of %d", h.data.Self(), n, len(x.acked))
	}
	found := h.ok("POST", "/collections/c/points/query", `{"query":[1,0,0,0],"limit":1000,"params":{"exact":true}}`).(map[string]any)["points"].([]any)
	if len(found) != len(x.acked) {
		x.Errorf("peer %d finds %d of %d", h.data.Self(), len(found), len(x.acked))
	}
}

// TestTwoPeersOneLeft: the peer whose voter was the quorum dies. The other one goes on,
// and when it is back both have everything.
func TestTwoPeersOneLeft(t *testing.T) {
	for _, primary := range []bool{true, false} {
		t.Run(fmt.Sprintf("the primary dies %v", primary), func(t *testing.T) {
			live(t, 2, func(t *testing.T, s *street, hs []*house) {
				hs[0].ok("PUT", "/collections/c", `{"vectors":{"size":4,"distance":"Dot"},"shard_number":1,"replication_factor":2}`)
				whole(t, hs, "c", 2)
				dies, stays := hs[0], hs[1]
				if (placements(hs[0], "c")[0].Primary == dies.data.Self()) != primary {
					dies, stays = stays, dies
				}
				x := &island{t, map[int]string{}}
				for id := range 10 {
					x.upsert(dies, id, "before", "")
				}
				s.darken(true)
				disk := dies.powerCut()
				stays.await("detached mode", func() bool {
					out := fmt.Sprint(stays.ok("GET", "/cluster", ""))
					return strings.Contains(out, "detached_shards:[map[collection_name:c")
				})
				x.shows(stays)
				for id := 5; id < 15; id++ {
					x.upsert(stays, id, "alone", "1")
				}
				pass(30 * time.Second) // longer than anybody serves unheard
				x.upsert(stays, 15, "alone", "1")
				if w := stays.send("POST", "/collections/c/points/delete?wait=true", `{"filter":{"must":[{"has_id":[0,1]}]}}`); w.Code != http.StatusOK {
					t.Fatalf("delete: %d %s", w.Code, w.Body)
				}
				delete(x.acked, 0)
				delete(x.acked, 1)
				x.shows(stays)
				stays = s.begin(stays.powerCut()) // it knows no more than its disk does
				stays.await("detached mode after a start", func() bool {
					code, _ := stays.call("POST", "/collections/c/points/count", `{"exact":true}`)
					return code == http.StatusOK
				})
				x.upsert(stays, 16, "alone", "1")
				x.shows(stays)
				for path, body := range map[string]string{
					"/collections/c/points?ordering=strong": `{"points":[{"id":1,"vector":[1,0,0,1]}]}`,
					"/collections/c/points?ordering=medium": `{"points":[{"id":1,"vector":[1,0,0,1]}]}`,
				} {
					if code, out := stays.call("PUT", path, body); code != http.StatusServiceUnavailable || !strings.Contains(errorText(out), "only weak writes go on") {
						t.Errorf("%s: %d %v", path, code, out)
					}
				}
				if code, out := stays.callWith("POST", "/collections/c/points/count", `{"exact":true}`, map[string]string{"pando-read": "linearizable"}); code != http.StatusServiceUnavailable {
					t.Errorf("a linearizable read: %d %v", code, out)
				}
				s.darken(false)
				dies = s.begin(disk)
				both := []*house{stays, dies}
				whole(t, both, "c", 2)
				for _, h := range both {
					h.await("nothing to be provisional", func() bool { return !strings.Contains(fmt.Sprint(h.ok("GET", "/cluster", "")), "detached_shards:[map") })
				}
				x.upsert(dies, 100, "after", "")
				for _, h := range both {
					x.shows(h)
				}
				if out := stays.ok("GET", "/cluster/conflicts", ""); len(out.([]any)) != 0 {
					t.Errorf("conflicts: %v", out)
				}
			})
		})
	}
}

// TestThreePeersInTheDark: no quorum of the control plane, and a peer of the data plane
// dies meanwhile. What the others take is on both their disks.
func TestThreePeersInTheDark(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", `{"vectors":{"size":4,"distance":"Dot"},"shard_number":3,"replication_factor":3}`)
		whole(t, hs, "c", 3)
		x := &island{t, map[int]string{}}
		for id := range 30 {
			x.upsert(hs[id%3], id, "before", "")
		}
		s.darken(true)
		pass(10 * time.Second)
		for id := 20; id < 40; id++ { // all replicas reach each other (P2)
			x.upsert(hs[id%3], id, "dark", "")
		}
		disk := hs[2].powerCut()
		pass(10 * time.Second)
		for id := 30; id < 60; id++ {
			x.upsert(hs[id%2], id, "darker", "2")
		}
		x.shows(hs[0])
		x.shows(hs[1])
		s.darken(false)
		hs[2] = s.begin(disk)
		whole(t, hs, "c", 3)
		for _, h := range hs {
			h.await("nothing to be provisional", func() bool { return !strings.Contains(fmt.Sprint(h.ok("GET", "/cluster", "")), "detached_shards:[map") })
		}
		for _, h := range hs {
			x.shows(h)
		}
	})
}

// TestBothSides: two replicas that reach nobody take writes of the same points. The later
// stamp counts everywhere.
func TestBothSides(t *testing.T) {
	live(t, 2, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", `{"vectors":{"size":4,"distance":"Dot"},"shard_number":1,"replication_factor":2}`)
		whole(t, hs, "c", 2)
		x := &island{t, map[int]string{}}
		x.upsert(hs[0], 1, "before", "")
		s.darken(true)
		s.cut(hs[1], true)
		pass(10 * time.Second)
		x.upsert(hs[0], 1, "first", "1")
		pass(50 * time.Millisecond)
		x.upsert(hs[1], 1, "second", "1")
		x.upsert(hs[1], 2, "first", "1")
		pass(50 * time.Millisecond)
		x.upsert(hs[0], 2, "second", "1")
		pass(time.Second)
		s.cut(hs[1], false)
		s.darken(false)
		whole(t, hs, "c", 2)
		for _, h := range hs {
			h.await("nothing to be provisional", func() bool { return !strings.Contains(fmt.Sprint(h.ok("GET", "/cluster", "")), "detached_shards:[map") })
		}
		for _, h := range hs {
			x.shows(h)
		}
	})
}

// TestOneSideGoesOn: a replica that is cut off takes writes, while the others, who have
// the control plane, go on without it. What it took is in the log in the end; of a point
// that was written later on the other side it changes nothing, and that is listed.
func TestOneSideGoesOn(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", `{"vectors":{"size":4,"distance":"Dot"},"shard_number":1,"replication_factor":3}`)
		whole(t, hs, "c", 3)
		x := &island{t, map[int]string{}}
		for id := range 5 {
			x.upsert(hs[0], id, "before", "")
		}
		s.cut(hs[2], true)
		pass(10 * time.Second)
		x.upsert(hs[2], 1, "cut off", "1")
		x.upsert(hs[2], 10, "cut off", "1")
		pass(50 * time.Millisecond)
		x.upsert(hs[0], 1, "later", "")
		x.upsert(hs[1], 11, "later", "")
		s.cut(hs[2], false)
		whole(t, hs, "c", 3)
		for _, h := range hs {
			x.shows(h)
			if h == hs[2] {
				continue // it was copied, or not
			}
			got := h.ok("GET", "/cluster/conflicts", "").([]any)
			if len(got) != 1 {
				t.Fatalf("conflicts: %v", got)
			}
			if c := got[0].(map[string]any); c["effect"] != "lost" || c["point"] != "1" || c["collection_name"] != "c" || c["winner"] == nil {
				t.Errorf("conflict: %v", c)
			}
		}
	})
}
