package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// A power cut at any moment of a load: what was acknowledged is there, what was
// not acknowledged is there whole or not at all.
func TestPowerCutLosesNothingAcknowledged(t *testing.T) {
	const rounds, writers = 6, 4
	memory := controlplane.NewMemory()
	fsys := memfs.New()
	rng := rand.New(rand.NewPCG(1, 2))
	acked := map[int]int{} // id -> value of the last acknowledged write
	var mu sync.Mutex
	for round := range rounds {
		h := enter(t, fsys, memory, nil)
		if round == 0 {
			h.create("c", 3)
		}
		audit(t, h, acked)
		stop := make(chan struct{})
		enough := make(chan struct{})
		var wg sync.WaitGroup
		count := 0
		for w := range writers {
			wg.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					id, v := w*1000+n%50, round*10_000+n
					body := fmt.Sprintf(`{"points":[{"id":%d,"vector":[%d,0,0,1],"payload":{"v":%d}}]}`, id, v, v)
					if code, _ := h.call("PUT", fmt.Sprintf("/collections/c/points?wait=%v", n%2 == 0), body); code != http.StatusOK {
						return
					}
					mu.Lock()
					acked[id] = v
					if count++; count == 120 {
						close(enough)
					}
					mu.Unlock()
				}
			})
		}
		<-enough
		// The clone is taken in the middle of the load: whatever was
		// acknowledged before it must be on it.
		mu.Lock()
		known := make(map[int]int, len(acked))
		for id, v := range acked {
			known[id] = v
		}
		mu.Unlock()
		next := fsys.CrashClone(rng)
		close(stop)
		wg.Wait()
		h.crash()
		must(t, h.data.Close())
		fsys, acked = next, known
	}
	h := enter(t, fsys, memory, nil)
	defer h.leave()
	audit(t, h, acked)
}

// audit reads every acknowledged point. A later write of the same id that was not
// yet acknowledged when the power went may be there instead.
func audit(t *testing.T, h *house, acked map[int]int) {
	t.Helper()
	for id, v := range acked {
		code, out := h.call("GET", fmt.Sprintf("/collections/c/points/%d", id), "")
		if code != http.StatusOK {
			t.Errorf("point %d: %d %v", id, code, out)
			continue
		}
		point := out["result"].(map[string]any)
		got := point["payload"].(map[string]any)["v"].(float64)
		first := point["vector"].([]any)[0].(float64)
		if int(got) < v || got != first {
			t.Errorf("point %d holds payload %v and vector %v, acknowledged was %d", id, got, first, v)
		}
		acked[id] = int(got)
	}
}
