package cluster

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// A peer that starts while no control plane answers serves reads and writes by the
// placement that it kept, and drops nothing.
func TestServesWithoutControlPlane(t *testing.T) {
	fsys, memory := memfs.New(), controlplane.NewMemory()
	h := enter(t, fsys, memory, nil)
	h.create("c", 3)
	for id := range 30 {
		h.ok("PUT", "/collections/c/points?wait=true", fmt.Sprintf(`{"points":[{"id":%d,"vector":[%d,0,0,1],"payload":{"v":%d}}]}`, id, id, id))
	}
	h.leave()

	memory.SetDown(true)
	h = begin(t, fsys, memory, nil)
	h.await("reads", func() bool {
		code, _ := h.call("POST", "/collections/c/points/count", `{}`)
		return code == http.StatusOK
	})
	if n := h.ok("POST", "/collections/c/points/count", `{}`).(map[string]any)["count"]; n != 30. {
		t.Errorf("%v points", n)
	}
	h.ok("PUT", "/collections/c/points?wait=true", `{"points":[{"id":30,"vector":[1,2,3,4]}]}`)
	h.ok("POST", "/collections/c/points/delete?wait=true", `{"filter":{"must":[{"key":"v","range":{"lt":10}}]}}`)
	hits := h.ok("POST", "/collections/c/points/search", `{"vector":[1,0,0,0],"limit":1}`).([]any)
	if id := hits[0].(map[string]any)["id"]; id != 29. {
		t.Errorf("found %v", id)
	}
	h.ok("GET", "/collections", "")
	h.ok("GET", "/collections/c", "")
	if code, out := h.call("PUT", "/collections/d?timeout=1", `{"vectors":{"size":4,"distance":"Dot"}}`); code != http.StatusServiceUnavailable {
		t.Errorf("a collection made without a control plane: %d %v", code, out)
	}
	h.leave()

	memory.SetDown(false)
	h = enter(t, fsys, memory, nil)
	defer h.leave()
	if n := h.ok("POST", "/collections/c/points/count", `{}`).(map[string]any)["count"]; n != 21. {
		t.Errorf("%v points after the control plane is back", n)
	}
}
