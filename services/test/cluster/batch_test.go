package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// Power cuts at any moment of batches that first set x and remove y of all points, and then
// set y: whoever looks, during the load and after it, sees whole operations in their order.
func TestBatchesAreInOrderAndWhole(t *testing.T) {
	const points = 30
	memory, fsys, rng := controlplane.NewMemory(), memfs.New(), rand.New(rand.NewPCG(8, 1))
	next, acked := 1, 0
	for round := range 8 {
		h := enter(t, fsys, memory, nil)
		if round == 0 {
			h.create("c", 1)
			var ps []string
			for id := range points {
				ps = append(ps, fmt.Sprintf(`{"id":%d,"vector":[1,0,0,0],"payload":{"x":0,"y":0,"deep":{"a":1,"b":2}}}`, id))
			}
			h.ok("PUT", "/collections/c/points?wait=true", `{"points":[`+strings.Join(ps, ",")+`]}`)
		}
		look := func() (x float64) {
			all := h.ok("POST", "/collections/c/points/scroll", `{"limit":100}`).(map[string]any)["points"].([]any)
			if len(all) != points {
				t.Fatalf("round %d: %d points", round, len(all))
			}
			first := all[0].(map[string]any)["payload"].(map[string]any)
			for _, p := range all {
				if got := p.(map[string]any)["payload"]; fmt.Sprint(got) != fmt.Sprint(first) {
					t.Fatalf("round %d: %v beside %v", round, got, first)
				}
			}
			x, _ = first["x"].(float64)
			if y, there := first["y"]; there && y != x {
				t.Fatalf("round %d: x is %v, y is %v", round, x, y)
			}
			return x
		}
		if x := look(); x < float64(acked) || x >= float64(next) {
			t.Fatalf("round %d: x is %v; %d is acknowledged, %d is the next", round, x, acked, next)
		}
		var mu sync.Mutex
		done, limit := 0, 5+rng.IntN(20)
		enough, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for ; ; next++ {
				code, _ := h.call("POST", "/collections/c/points/batch?wait=true", fmt.Sprintf(`{"operations":[
					{"set_payload":{"payload":{"x":%d,"y":null},"filter":{}}}, {"delete_payload":{"keys":["z","deep.a"],"filter":{}}},
					{"set_payload":{"payload":{"y":%d,"z":1},"filter":{}}}, {"set_payload":{"payload":{"a":1},"key":"deep","filter":{}}}]}`, next, next))
				if code != http.StatusOK {
					next++ // it may have happened in part
					return
				}
				mu.Lock()
				acked = next
				mu.Unlock()
				if done++; done == limit {
					close(enough)
				}
			}
		}()
		for more := true; more; {
			select {
			case <-enough:
				more = false
			default:
				look()
			}
		}
		mu.Lock()
		known := acked
		mu.Unlock()
		disk := fsys.CrashClone(rng)
		h.crash()
		<-ended
		must(t, h.data.Close())
		fsys, acked = disk, known
	}
}

// An operation above 16 MiB is answered with the number of entries that it took.
func TestPartsAreTold(t *testing.T) {
	h := enter(t, memfs.New(), controlplane.NewMemory(), nil)
	defer h.leave()
	h.create("c", 1)
	put := func(points int) string {
		var ps []string
		for id := range points {
			ps = append(ps, fmt.Sprintf(`{"id":%d,"vector":[1,0,0,0],"payload":{"text":"%s"}}`, id, strings.Repeat("x", 1<<20)))
		}
		r := httptest.NewRequestWithContext(h.ctx, "PUT", "/collections/c/points?wait=true", strings.NewReader(`{"points":[`+strings.Join(ps, ",")+`]}`))
		w := httptest.NewRecorder()
		if h.data.Handler().ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Errorf("%d points: %d %s", points, w.Code, w.Body)
		}
		return w.Header().Get("Pando-Parts")
	}
	if got := put(14); got != "" {
		t.Errorf("14 MiB took %q parts", got)
	}
	if got := put(20); got != "2" {
		t.Errorf("20 MiB took %q parts", got)
	}
	if got := fmt.Sprint(h.ok("POST", "/collections/c/points/count", `{}`)); got != "map[count:20]" {
		t.Errorf("got %s", got)
	}
}
