//go:build !race

package cluster

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// Vectors of all kinds are added to a collection that others write to, dropped, and added
// again with another size, through any peer: what was dropped is gone at once and for good,
// on every replica, also after a peer was away and after power cuts.
func TestVectorNamesOnEveryReplica(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", threeCopies)
		var points []string
		for id := range 60 {
			points = append(points, fmt.Sprintf(`{"id":%d,"vector":[%d,0,0,1]}`, id, id))
		}
		hs[0].ok("PUT", "/collections/c/points?wait=true", `{"points":[`+strings.Join(points, ",")+`]}`)
		change := func(h *house, method, name, body string) {
			t.Helper()
			if r := h.ok(method, "/collections/c/vectors/"+name+"?wait=true", body).(map[string]any); r["status"] != "completed" {
				t.Errorf("%s %s: %v", method, name, r)
			}
		}
		put := func(h *house, from, to int, vector string) {
			t.Helper()
			points = points[:0]
			for id := from; id < to; id++ {
				points = append(points, fmt.Sprintf(`{"id":%d,"vector":%s}`, id, strings.ReplaceAll(vector, "N", fmt.Sprint(id))))
			}
			h.ok("PUT", "/collections/c/points/vectors?wait=true", `{"points":[`+strings.Join(points, ",")+`]}`)
		}
		having := func(name string) string { return `{"must":[{"has_vector":"` + name + `"}]}` }
		check := func(want map[string]float64) {
			t.Helper()
			same(t, hs)
			for i, h := range hs {
				for name, n := range want {
					if got := countBy(h, having(name)); got != n {
						t.Errorf("peer %d: %v points have %q, want %v", i, got, name, n)
					}
				}
			}
		}

		// Beside writers who go on: none of them is refused.
		var writers sync.WaitGroup
		for i, h := range hs {
			writers.Go(func() {
				for n := range 20 {
					h.ok("PUT", "/collections/c/points?wait=true", fmt.Sprintf(`{"points":[{"id":%d,"vector":[1,2,3,%d]}]}`, 100+i, n))
				}
			})
		}
		change(hs[1], "PUT", "img", `{"dense":{"size":3,"distance":"Euclid"}}`)
		put(hs[2], 0, 40, `{"img":[N,0,1]}`) // another peer, at once
		change(hs[0], "PUT", "words", `{"sparse":{"modifier":"idf"}}`)
		put(hs[1], 0, 30, `{"words":{"indices":[7],"values":[N]}}`)
		hs[1].ok("PUT", "/collections/c/vectors/fast", `{"dense":{"size":1,"distance":"Dot"}}`) // not waited for
		put(hs[2], 0, 10, `{"fast":[N]}`)
		change(hs[2], "PUT", "many", `{"dense":{"size":2,"distance":"Dot","multivector_config":{"comparator":"max_sim"}}}`)
		put(hs[0], 0, 20, `{"many":[[N,1],[2,3]]}`)
		writers.Wait()
		check(map[string]float64{"": 63, "img": 40, "words": 30, "many": 20, "fast": 10})
		best := fmt.Sprint(hs[1].ok("POST", "/collections/c/points/query", `{"query":[39,0,1],"using":"img","limit":1}`))
		if !strings.Contains(best, "id:39") {
			t.Errorf("nearest by img: %s", best)
		}

		disk := hs[2].powerCut()
		pass(6 * time.Second)
		change(hs[0], "DELETE", "img", "")
		change(hs[1], "DELETE", "words", "")
		change(hs[1], "PUT", "img", `{"dense":{"size":5,"distance":"Dot"}}`)
		put(hs[0], 10, 15, `{"img":[N,0,0,0,1]}`)
		hs[2] = s.begin(disk)
		whole(t, hs, "c", 3)
		want := map[string]float64{"": 63, "img": 5, "words": 0, "many": 20}
		check(want)
		for _, refused := range []string{`{"points":[{"id":1,"vector":{"words":{"indices":[7],"values":[1]}}}]}`, `{"points":[{"id":1,"vector":{"img":[1,2,3]}}]}`} {
			if code, out := hs[2].call("PUT", "/collections/c/points?wait=true", refused); code != 400 {
				t.Errorf("%s: %d %s", refused, code, errorText(out))
			}
		}
		for i := range hs {
			disk := hs[i].powerCut()
			hs[i] = s.begin(disk)
		}
		whole(t, hs, "c", 3)
		check(want)
		c := hs[0].ok("GET", "/collections/c", "").(map[string]any)["config"].(map[string]any)["params"]
		if got := fmt.Sprint(c.(map[string]any)["vectors"]); !strings.Contains(got, "img:map[distance:Dot size:5]") || !strings.Contains(got, ":map[distance:Dot size:4]") {
			t.Errorf("config shows %s", got)
		}
	})
}

// A vector can be added to a collection that has none, and the last one dropped.
func TestVectorNamesFromNone(t *testing.T) {
	h := enter(t, memfs.New(), controlplane.NewMemory(), nil)
	defer h.leave()
	h.ok("PUT", "/collections/c", `{"vectors":{}}`)
	for range 3 {
		h.ok("PUT", "/collections/c/points?wait=true", `{"points":[{"id":1,"vector":{},"payload":{"a":1}}]}`)
		h.ok("PUT", "/collections/c/vectors/v?wait=true", `{"dense":{"size":2,"distance":"Dot"}}`)
		h.ok("PUT", "/collections/c/points/vectors?wait=true", `{"points":[{"id":1,"vector":{"v":[1,2]}}]}`)
		if got := fmt.Sprint(h.ok("GET", "/collections/c/points/1", "")); got != "map[id:1 payload:map[a:1] vector:map[v:[1 2]]]" {
			t.Errorf("got %s", got)
		}
		h.ok("DELETE", "/collections/c/vectors/v?wait=true", "")
		if got := fmt.Sprint(h.ok("GET", "/collections/c/points/1", "")); got != "map[id:1 payload:map[a:1] vector:map[]]" {
			t.Errorf("got %s", got)
		}
	}
}
