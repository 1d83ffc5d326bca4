//go:build !race

// A full disk can keep pebble from writing its manifest; see package shard for
// why that is tested without the race detector.
package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/controlplane"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// A full disk refuses writes with a clear error and keeps reads; with space it
// goes on by itself.
func TestDiskFull(t *testing.T) {
	fsys := memfs.New()
	h := enter(t, fsys, controlplane.NewMemory(), nil)
	h.create("c", 1)
	big := strings.Repeat("x", 256<<10)
	write := func(id int) (int, map[string]any) {
		return h.call("PUT", "/collections/c/points?wait=true", fmt.Sprintf(`{"points":[{"id":%d,"vector":[%d,0,0,0],"payload":{"b":%q}}]}`, id, id, big))
	}
	if code, out := write(1); code != 200 {
		t.Fatalf("%d %v", code, out)
	}
	u, err := fsys.DiskUsage(dataDir)
	must(t, err)
	fsys.SetCapacity(u.Used + 4<<20)
	acked := 1
	refused := false
	for id := 2; id < 400 && !refused; id++ {
		code, out := write(id)
		switch code {
		case http.StatusOK:
			acked++
		case http.StatusInsufficientStorage:
			refused = true
			if !strings.Contains(errorText(out), "space") {
				t.Errorf("text %q", errorText(out))
			}
		default:
			t.Fatalf("write %d: %d %v", id, code, out)
		}
	}
	if !refused {
		t.Fatal("the disk never filled")
	}
	if got := fmt.Sprint(h.ok("POST", "/collections/c/points/count", `{}`)); got != fmt.Sprintf("map[count:%d]", acked) {
		t.Errorf("while full: %v, acknowledged %d", got, acked)
	}
	fsys.SetCapacity(0)
	h.await("a write after there is space again", func() bool { code, _ := write(1000); return code == 200 })
	h.leave()
}
