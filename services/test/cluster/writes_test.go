//go:build !race

package cluster

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
)

const threeCopies = `{"vectors":{"size":4,"distance":"Dot"},"shard_number":2,"replication_factor":3}`

// contents is all of c as this peer's own replicas have it.
func contents(h *house) string {
	h.t.Helper()
	b, err := json.Marshal(h.ok("POST", "/collections/c/points/scroll", `{"limit":1000,"with_vector":true}`))
	must(h.t, err)
	return string(b)
}

// same wants every peer to have what the first one has, and answers that.
func same(t *testing.T, hs []*house) string {
	t.Helper()
	want := contents(hs[0])
	for i, h := range hs[1:] {
		if got := contents(h); got != want {
			t.Errorf("peer %d has\n%s, peer 0 has\n%s", i+1, got, want)
		}
	}
	return want
}

// A condition is decided once, where the writes of a shard are ordered: of many that
// write the next version of a point at the same time one does, and every replica has its
// result, also after a power cut of all.
func TestConditionsAreDecidedOnce(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", threeCopies)
		point := func(id, v, by int) string {
			return fmt.Sprintf(`{"id":%d,"vector":[%d,0,0,%d],"payload":{"v":%d,"by":%d}}`, id, v, by, v, by)
		}
		at := func(v int) string { return fmt.Sprintf(`{"must":[{"key":"v","match":{"value":%d}}]}`, v) }
		for v := range 6 {
			var all sync.WaitGroup
			for by := range 9 {
				all.Go(func() {
					var ps []string
					for id := range 4 {
						ps = append(ps, point(id, v+1, by))
					}
					rule := `"update_mode":"insert_only"`
					if v > 0 {
						rule = `"update_mode":"update_only","update_filter":` + at(v)
					}
					hs[by%3].ok("PUT", "/collections/c/points?wait=true", `{"points":[`+strings.Join(ps, ",")+`],`+rule+`}`)
				})
			}
			all.Wait()
			same(t, hs)
			if got := countBy(hs[v%3], at(v+1)); got != 4. {
				t.Fatalf("%v of 4 points have version %d", got, v+1)
			}
		}
		// A new id needs no match; `update_only` makes none; vectors obey the filter too.
		hs[1].ok("PUT", "/collections/c/points?wait=true", `{"points":[`+point(0, 9, 9)+`,`+point(10, 9, 9)+`],"update_filter":`+at(1)+`}`)
		hs[2].ok("PUT", "/collections/c/points?wait=true", `{"points":[`+point(11, 9, 9)+`],"update_mode":"update_only"}`)
		hs[0].ok("PUT", "/collections/c/points/vectors?wait=true", `{"points":[{"id":0,"vector":[7,7,7,7]},{"id":10,"vector":[8,8,8,8]}],"update_filter":`+at(9)+`}`)
		hs[1].ok("POST", "/collections/c/points/batch?wait=true", `{"operations":[
			{"upsert":{"points":[`+point(12, 1, 0)+`],"update_mode":"insert_only"}},
			{"upsert":{"points":[`+point(12, 2, 0)+`],"update_filter":`+at(1)+`}},
			{"upsert":{"points":[`+point(12, 3, 0)+`],"update_filter":`+at(1)+`}}]}`)
		was := same(t, hs)
		for _, want := range []string{`"id":10,"payload":{"by":9,"v":9},"vector":[8,8,8,8]`, `"id":12,"payload":{"by":0,"v":2}`} {
			if !strings.Contains(was, want) {
				t.Errorf("no %s in %s", want, was)
			}
		}
		for _, not := range []string{`"id":11`, `[7,7,7,7]`} {
			if strings.Contains(was, not) {
				t.Errorf("%s in %s", not, was)
			}
		}
		if code, out := hs[0].call("PUT", "/collections/c/points/vectors", `{"points":[{"id":77,"vector":[7,7,7,7]}],"update_filter":`+at(9)+`}`); code != 404 {
			t.Errorf("vectors of a point that is not there: %d %s", code, errorText(out))
		}
		for i := range hs {
			disk := hs[i].powerCut()
			hs[i] = s.begin(disk)
		}
		whole(t, hs, "c", 3)
		if got := same(t, hs); got != was {
			t.Errorf("after a power cut\n%s, want\n%s", got, was)
		}
	})
}
