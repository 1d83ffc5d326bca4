package process

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestVoterOfTwoDies: of two peers the one that votes is killed. The other one goes on, also after it was killed itself and
// started alone; when both are back both have everything.
func TestVoterOfTwoDies(t *testing.T) {
	c := newCluster(t, 2)
	c.grow(2)
	at := func(i int) peer { return peer{t, c.peers[i]} }
	at(0).ok(http.MethodPut, "/collections/c", `{"vectors":{"size":4,"distance":"Dot"},"shard_number":2,"replication_factor":2}`)
	acked := map[int]int{}
	write := func(by peer, id int) time.Duration {
		t.Helper()
		began := time.Now()
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			code, out, err := by.call(ctx, http.MethodPut, "/collections/c/points?wait=true", "", fmt.Sprintf(`{"points":[{"id":%d,"vector":[1,2,3,4],"payload":{"v":%d}}]}`, id, 10*id))
			cancel()
			if err == nil && code == http.StatusOK {
				acked[id] = 10 * id
				return time.Since(began)
			}
			if time.Since(began) > limit {
				t.Fatalf("point %d: %d %v %v", id, code, out, err)
			}
		}
	}
	for id := range 100 {
		write(at(id%2), id)
	}
	c.kill(0)
	longest := time.Duration(0)
	for id := range 200 {
		longest = max(longest, write(at(1), 50+id))
	}
	t.Logf("kill -9 of the voter: longest pause of a write %v", longest.Round(time.Millisecond))
	if longest > 10*time.Second {
		t.Errorf("a write took %v", longest)
	}
	all := func(p peer) bool {
		code, out, err := p.call(t.Context(), http.MethodPost, "/collections/c/points/query", "", `{"query":[1,1,1,1],"limit":1000}`)
		return err == nil && code == http.StatusOK && strings.Count(fmt.Sprint(out), "score:") == len(acked)
	}
	if !all(at(1)) {
		t.Error("a search lacks points")
	}
	if lost := audit(at(1), acked); lost > 0 {
		t.Fatalf("%d writes are lost at the one that is left", lost)
	}
	c.kill(1)
	c.start(1)
	await(t, "a search alone, after a start", func() bool { return all(at(1)) })
	write(at(1), 1000)
	c.start(0, 1) // both have moved
	c.voters(2, 1)
	await(t, "both to be whole", func() bool {
		for i := range c.peers {
			_, out, err := at(i).call(t.Context(), http.MethodGet, "/cluster", "", "")
			if text := fmt.Sprint(out); err != nil || strings.Contains(text, "detached_shards:[map") || strings.Contains(text, "inactive_replicas:[map") {
				return false
			}
		}
		return true
	})
	for i := range c.peers {
		if lost := audit(at(i), acked); lost > 0 || !all(at(i)) {
			t.Errorf("%d writes are lost at peer %d", lost, i)
		}
	}
	if _, out, _ := at(0).call(t.Context(), http.MethodGet, "/cluster/conflicts", "", ""); strings.Contains(fmt.Sprint(out), "operation:") {
		t.Errorf("conflicts: %v", out)
	}
}
