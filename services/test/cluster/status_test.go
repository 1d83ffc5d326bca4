//go:build !race

package cluster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// A collection is yellow from the write that makes work to do until its last graph is
// there, grey while optimizers are off, and green then; what is indexed is what has a
// graph.
func TestStatus(t *testing.T) {
	h := enter(t, memfs.New(), controlplane.NewMemory(), nil)
	defer h.leave()
	info := func() (status string, segments, indexed, points float64) {
		t.Helper()
		c := h.ok("GET", "/collections/c", "").(map[string]any)
		if o := c["optimizer_status"]; o != "ok" {
			t.Fatalf("optimizer_status %v", o)
		}
		return c["status"].(string), c["segments_count"].(float64), c["indexed_vectors_count"].(float64), c["points_count"].(float64)
	}
	h.ok("PUT", "/collections/c", `{"vectors":{"size":16,"distance":"Euclid"},"shard_number":1,"hnsw_config":{"ef_construct":400},
		"optimizers_config":{"indexing_threshold":64,"max_optimization_threads":0}}`)
	if status, _, indexed, _ := info(); status != "green" || indexed != 0 {
		t.Errorf("empty, it is %s with %v indexed", status, indexed)
	}
	var points []string
	for id := range 4000 {
		points = append(points, fmt.Sprintf(`{"id":%d,"vector":[%d,%d,%d%s]}`, id, id%61, id%67, id%71, strings.Repeat(",1", 13)))
	}
	h.ok("PUT", "/collections/c/points?wait=true", `{"points":[`+strings.Join(points, ",")+`]}`)
	if status, _, _, _ := info(); status != "yellow" && status != "grey" {
		t.Errorf("right after the write it is %s", status)
	}
	h.await("a sealed part without a graph", func() bool {
		status, segments, indexed, _ := info()
		return status == "grey" && segments > 1 && indexed == 0
	})
	h.ok("PATCH", "/collections/c", `{"optimizers_config":{"max_optimization_threads":"auto"}}`)
	seen := map[string]bool{}
	h.await("green", func() bool {
		status, _, indexed, n := info()
		seen[status] = true
		return status == "green" && indexed == 4000 && n == 4000
	})
	if !seen["yellow"] || seen["red"] {
		t.Errorf("on the way it was %v", seen)
	}
	// Fewer than deleted_threshold: nothing is to be done, and the dead are not counted.
	h.ok("POST", "/collections/c/points/delete?wait=true", `{"points":[1,2,3]}`)
	if status, _, indexed, n := info(); status != "green" || indexed != 3997 || n != 3997 {
		t.Errorf("after deletions it is %s with %v of %v indexed", status, indexed, n)
	}
}
