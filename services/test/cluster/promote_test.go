//go:build !race

// In virtual time without the race detector, as peers_test.go says.
package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// tenant writes points of one tenant through a peer, until it is told to stop, each id
// again and again, and knows what was acknowledged and what may have happened.
type tenant struct {
	mu     sync.Mutex
	acked  map[int]int          // by id: the greatest number that was acknowledged
	may    map[int]map[int]bool // by id: numbers whose outcome is unknown
	failed []string
	stop   chan struct{}
	done   sync.WaitGroup
}

func (w *tenant) run(h *house, first int) {
	w.done.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-w.stop:
				return
			default:
			}
			id := first + n%7
			code, out := h.call("PUT", "/collections/c/points?wait=true&timeout=20",
				fmt.Sprintf(`{"points":[{"id":%d,"vector":[1,%d],"payload":{"tenant":"x","n":%d}}],"shard_key":{"target":"x","fallback":"all"}}`, id, n, n))
			w.mu.Lock()
			switch {
			case code == http.StatusOK:
				w.acked[id] = n
			case code == http.StatusRequestTimeout:
				if w.may[id] == nil {
					w.may[id] = map[int]bool{}
				}
				w.may[id][n] = true
			default:
				w.failed = append(w.failed, fmt.Sprint(id, n, code, errorText(out)))
			}
			w.mu.Unlock()
			pass(time.Duration(1+rand.IntN(20)) * time.Millisecond)
		}
	})
}

// check: under the key is the tenant's newest, and nobody else's.
func (w *tenant) check(t *testing.T, h *house) {
	t.Helper()
	page := h.ok("POST", "/collections/c/points/scroll", `{"limit":1000,"shard_key":"x","with_payload":true}`).(map[string]any)
	found := map[int]int{}
	for _, p := range page["points"].([]any) {
		payload := p.(map[string]any)["payload"].(map[string]any)
		if payload["tenant"] != "x" {
			t.Errorf("a point of another tenant was copied: %v", p)
		}
		found[int(p.(map[string]any)["id"].(float64))] = int(payload["n"].(float64))
	}
	for id, n := range w.acked {
		if found[id] != n && !w.may[id][found[id]] {
			t.Errorf("point %d has %d, and %d was acknowledged", id, found[id], n)
		}
	}
}

// promoted sets up a shared key with points of two tenants, and a key of its own for one
// of them that waits for its points.
func promoted(t *testing.T, hs []*house) *tenant {
	hs[0].ok("PUT", "/collections/c", custom)
	hs[0].addKey(`"all"`)
	for id := range 300 {
		name := []string{"x", "y"}[id%2]
		hs[id%3].ok("PUT", "/collections/c/points?wait=true", fmt.Sprintf(
			`{"points":[{"id":%d,"vector":[1,%d],"payload":{"tenant":"%s","n":0}}],"shard_key":{"target":"x","fallback":"all"}}`, 1000+id, id, name))
	}
	hs[1].ok("PUT", "/collections/c/shards", `{"shard_key":"x","initial_state":"Partial"}`)
	w := &tenant{acked: map[int]int{}, may: map[int]map[int]bool{}, stop: make(chan struct{})}
	for id := range 300 {
		if id%2 == 0 {
			w.acked[1000+id] = 0
		}
	}
	return w
}

const promotion = `{"replicate_points":{"from_shard_key":"all","to_shard_key":"x","filter":{"must":[{"key":"tenant","match":{"value":"x"}}]}}}`

// active tells whether a peer knows that the key takes requests.
func active(h *house) func() bool {
	return func() bool {
		c, ok := h.data.Placement().Resolve("c")
		return ok && len(c.Groups) == 2 && !c.Groups[1].Partial && c.Groups[1].Fill == nil
	}
}

// Points of a tenant go to a key of its own while it writes on, through peers one of which
// hears of nothing for a while: no acknowledged write is missing under the key.
func TestReplicatePoints(t *testing.T) {
	for late := range 4 { // 3: all hear everything
		t.Run(fmt.Sprintf("peer %d is late", late), func(t *testing.T) {
			live(t, 3, func(t *testing.T, s *street, hs []*house) {
				w := promoted(t, hs)
				for i, h := range hs {
					w.run(h, 10*i)
				}
				pass(200 * time.Millisecond)
				if late < 3 {
					s.deafen(hs[late], deaf)
				}
				hs[(late+1)%3].ok("POST", "/collections/c/cluster?timeout=10", promotion)
				for i, h := range hs {
					if i != late {
						h.await("the key is Active", active(h))
					}
				}
				pass(300 * time.Millisecond) // the late one goes on by what it knows, and is not mended by what it writes later
				close(w.stop)
				w.done.Wait()
				for _, h := range hs {
					h.await("the key is Active", active(h))
				}
				if len(w.failed) > 0 {
					t.Errorf("%d writes failed: %q", len(w.failed), w.failed)
				}
				for _, h := range hs {
					w.check(t, h)
				}
				// What was shared is as it was, and the tenant reads what is its own.
				if n := hs[0].ok("POST", "/collections/c/points/count", `{"shard_key":"all","filter":{"must":[{"key":"tenant","match":{"value":"y"}}]}}`).(map[string]any)["count"]; n != 150. {
					t.Errorf("%v points of the other tenant", n)
				}
			})
		})
	}
}

// The peer that copies ends in the midst of it; another one begins anew.
func TestReplicatePointsGoesOnElsewhere(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		w := promoted(t, hs)
		c, _ := hs[0].data.Placement().Resolve("c")
		first := slices.IndexFunc(hs, func(h *house) bool { return h.data.Self() == c.Shards[0].Primary })
		other := hs[(first+1)%3]
		w.run(other, 0)
		s.deafen(other, 20*time.Millisecond)
		hs[(first+2)%3].ok("POST", "/collections/c/cluster", promotion)
		hs[first].crash()
		other.await("the key is Active", active(other))
		pass(300 * time.Millisecond)
		close(w.stop)
		w.done.Wait()
		w.check(t, other)
	})
}

// TestPartialKey: a key that waits for points takes no requests and counts for nothing, its
// fallback does, and what cannot be copied is refused.
func TestPartialKey(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		promoted(t, hs)
		for _, h := range hs {
			if code, out := h.put(5, `"x"`); code != http.StatusServiceUnavailable || !strings.Contains(errorText(out), "Partial") {
				t.Errorf("a write to it: %d %v", code, out)
			}
			if code, out := h.call("POST", "/collections/c/points/scroll", `{"shard_key":"x"}`); code != http.StatusServiceUnavailable {
				t.Errorf("a read of it: %d %v", code, out)
			}
			if n := h.ok("POST", "/collections/c/points/count", `{}`).(map[string]any)["count"]; n != 300. {
				t.Errorf("%v points in all", n)
			}
			if n := h.ok("POST", "/collections/c/points/count", `{"shard_key":{"target":"x","fallback":"all"}}`).(map[string]any)["count"]; n != 300. {
				t.Errorf("%v points of the fallback", n)
			}
		}
		states := fmt.Sprint(hs[0].ok("GET", "/collections/c/cluster", ""))
		if !strings.Contains(states, "shard_key:x state:Partial") {
			t.Errorf("replicas: %s", states)
		}
		for body, want := range map[string]int{
			`{"replicate_points":{"from_shard_key":"x","to_shard_key":"x"}}`:                    http.StatusUnprocessableEntity,
			`{"replicate_points":{"from_shard_key":"x","to_shard_key":"all"}}`:                  http.StatusBadRequest,
			`{"replicate_points":{"from_shard_key":"none","to_shard_key":"x"}}`:                 http.StatusBadRequest,
			`{"replicate_points":{"from_shard_key":"all","to_shard_key":"none"}}`:               http.StatusBadRequest,
			`{"abort_transfer":{"shard_id":0,"to_shard_id":2,"from_peer_id":1,"to_peer_id":2}}`: http.StatusNotImplemented,
		} {
			if code, out := hs[1].call("POST", "/collections/c/cluster", body); code != want {
				t.Errorf("%s: %d %v", body, code, out)
			}
		}
		hs[0].ok("POST", "/collections/c/cluster", `{"replicate_points":{"from_shard_key":"all","to_shard_key":"x"}}`)
		for _, h := range hs {
			h.await("the key is Active", active(h))
			if n := h.ok("POST", "/collections/c/points/count", `{"shard_key":"x"}`).(map[string]any)["count"]; n != 300. {
				t.Errorf("%v points were copied without a filter", n)
			}
		}
		hs[0].ok("POST", "/collections/c/shards/delete", `{"shard_key":"x"}`)
	})
}
