//go:build !race

// In virtual time without the race detector, as peers_test.go says.
package cluster

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A linearizable read through any peer, at any moment, shows at least what was
// acknowledged before it began: while primaries are cut off, die, leave and come back.
func TestLinearizableReads(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", layout(2, 3))
		var acked [4]atomic.Int64
		var reads, failed atomic.Int64
		var mu sync.RWMutex // of hs
		pick := func(i int) *house { mu.RLock(); defer mu.RUnlock(); return hs[i%len(hs)] }
		stop := make(chan struct{})
		going := func() bool {
			select {
			case <-stop:
				return false
			default:
				return true
			}
		}
		var clients sync.WaitGroup
		for id := range acked {
			clients.Go(func() {
				for n := int64(1); going(); n++ {
					h := pick(id + int(n))
					code, _ := h.call("PUT", "/collections/c/points?wait=false&ordering=medium", fmt.Sprintf(`{"points":[{"id":%d,"vector":[1,0,0,1],"payload":{"n":%d}}]}`, id, n)) // a weak one may be provisional
					if code == http.StatusOK {
						acked[id].Store(n)
					}
					pass(11 * time.Millisecond)
				}
			})
			clients.Go(func() {
				for i := 0; going(); i++ {
					want := acked[id].Load()
					h := pick(i)
					code, out := h.callWith("POST", "/collections/c/points?timeout=3", fmt.Sprintf(`{"ids":[%d],"with_payload":true}`, id), map[string]string{"Pando-Read": "linearizable"})
					if code != http.StatusOK {
						if !h.down() {
							failed.Add(1)
						}
						pass(7 * time.Millisecond)
						continue
					}
					reads.Add(1)
					got := int64(0)
					if list := out["result"].([]any); len(list) > 0 {
						got = int64(list[0].(map[string]any)["payload"].(map[string]any)["n"].(float64))
					}
					if got < want {
						t.Errorf("I10: point %d has %d, %d was acknowledged before", id, got, want)
					}
					pass(7 * time.Millisecond)
				}
			})
		}
		primary := func() int {
			return slices.IndexFunc(hs, func(h *house) bool { return h.data.Self() == placements(hs[0], "c")[0].Primary })
		}
		pass(time.Second)
		for range 3 {
			if i := primary(); i >= 0 {
				s.cut(hs[i], true)
				pass(5 * time.Second)
				s.cut(hs[i], false)
				whole(t, hs, "c", 3)
			}
		}
		if i := max(0, primary()); true {
			disk := hs[i].powerCut()
			pass(4 * time.Second)
			mu.Lock()
			hs[i] = s.begin(disk)
			mu.Unlock()
			whole(t, hs, "c", 3)
		}
		close(stop)
		clients.Wait()
		t.Logf("%d reads, %d failed", reads.Load(), failed.Load())
		if reads.Load() < 2000 || failed.Load() > reads.Load()/10 {
			t.Errorf("%d reads, %d failed", reads.Load(), failed.Load())
		}
		for path, how := range map[string]string{"": "some", "?consistency=all": "linearizable"} {
			code, out := hs[0].callWith("POST", "/collections/c/points/count"+path, "{}", map[string]string{"Pando-Read": how})
			if code != http.StatusBadRequest || !strings.Contains(errorText(out), "pando-read") {
				t.Errorf("%s, %s: %d %v", path, how, code, out)
			}
		}
	})
}
