//go:build !race

// In virtual time without the race detector, as peers_test.go says.
package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// deaf is how long a peer hears nothing new of the placement in these tests.
const deaf = 1500 * time.Millisecond

func layout(shards, factor int) string {
	return fmt.Sprintf(`{"vectors":{"size":4,"distance":"Dot"},"shard_number":%d,"replication_factor":%d}`, shards, factor)
}

// writes puts 20 points through each peer, all of which must be acknowledged and stay.
func writes(t *testing.T, hs []*house, through ...*house) {
	t.Helper()
	l := newLedger()
	for i, h := range through {
		for id := range 20 {
			l.write(h, "c", 100*i+id, i+1)
		}
	}
	if len(l.failed) > 0 {
		t.Errorf("%d of %d writes failed: %q", len(l.failed), l.writes, l.failed)
	}
	pass(2 * deaf) // now everybody has heard everything
	l.check(t, hs, "c")
}

// A collection is dropped and made again through one peer while another one has not
// heard of either: what that one acknowledges is in the new collection.
func TestWriteAfterRecreate(t *testing.T) {
	for _, c := range []struct{ shards, factor int }{{6, 1}, {6, 2}, {1, 1}, {1, 2}} {
		for late := range 3 {
			t.Run(fmt.Sprintf("%d shards of %d, peer %d", c.shards, c.factor, late), func(t *testing.T) {
				live(t, 3, func(t *testing.T, s *street, hs []*house) {
					hs[0].ok("PUT", "/collections/c", layout(c.shards, c.factor))
					writes(t, hs, hs...)
					old, _ := hs[0].data.Placement().Resolve("c")
					s.deafen(hs[late], deaf)
					if gone := hs[(late+1)%3].ok("DELETE", "/collections/c", ""); gone != true {
						t.Errorf("deleted: %v", gone)
					}
					for _, h := range hs {
						if now, ok := h.data.Placement().Resolve("c"); ok && now.ID == old.ID && holds(old, h) {
							t.Error("the deletion was answered while a peer held the collection that did not know of it")
						}
					}
					hs[(late+1)%3].ok("PUT", "/collections/c", layout(c.shards, c.factor))
					writes(t, hs, hs[late], hs[(late+2)%3])
				})
			})
		}
	}
}

func holds(c *topology.Collection, h *house) bool {
	for _, p := range c.Shards {
		if _, ok := p.Replica(h.data.Self()); ok {
			return true
		}
	}
	return false
}

// A deletion that has not got to all peers says so, and its name is not given away
// before; a creation under way waits for that.
func TestNameOfADroppedCollection(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", layout(6, 1))
		hs[0].ok("PUT", "/collections/d", layout(1, 3))
		s.deafen(hs[2], 4*time.Second)
		late := fmt.Sprint(hs[2].data.Self())
		for _, try := range [][3]string{
			{"DELETE", "/collections/c?timeout=1", ""}, {"DELETE", "/collections/c?timeout=1", ""}, {"PUT", "/collections/c?timeout=1", layout(6, 1)},
		} {
			code, out := hs[0].call(try[0], try[1], try[2])
			if code == http.StatusOK || !strings.Contains(errorText(out), late) {
				t.Errorf("%s: %d %v", try[0], code, out)
			}
		}
		hs[0].ok("PUT", "/collections/other", layout(1, 1)) // nobody else is held up
		hs[0].ok("PUT", "/collections/c", layout(6, 1))
		writes(t, hs, hs[2], hs[1])

		s.deafen(hs[2], deaf)
		done := make(chan struct{})
		go func() { defer close(done); hs[1].call("DELETE", "/collections/c", "") }()
		pass(50 * time.Millisecond)
		hs[0].ok("POST", "/collections/aliases", `{"actions":[{"create_alias":{"collection_name":"d","alias_name":"c"}}]}`)
		<-done
		hs[2].ok("PUT", "/collections/c/points?wait=true", `{"points":[{"id":7,"vector":[1,0,0,1]}]}`)
		if n := hs[0].ok("POST", "/collections/d/points/count", `{}`).(map[string]any)["count"]; n != 1. {
			t.Errorf("%v points by the alias", n)
		}
	})
}

// A dead peer holds a deletion up for no longer than its session lasts. It comes back
// with what it held, and drops it.
func TestDeleteWithADeadPeer(t *testing.T) {
	for factor := 1; factor <= 2; factor++ {
		t.Run(fmt.Sprint(factor), func(t *testing.T) {
			live(t, 3, func(t *testing.T, s *street, hs []*house) {
				hs[0].ok("PUT", "/collections/c", layout(6, factor))
				old, _ := hs[0].data.Placement().Resolve("c")
				disk := hs[2].powerCut()
				begun := time.Now()
				hs[0].ok("DELETE", "/collections/c", "")
				if took := time.Since(begun); took > 1500*time.Millisecond {
					t.Errorf("deleted after %v", took)
				}
				hs[1].ok("PUT", "/collections/c", layout(6, factor))
				writes(t, hs[:2], hs[:2]...)
				hs[2] = s.begin(disk)
				folder := fmt.Sprintf("%s/collections/%d", dataDir, old.ID)
				hs[2].await("the old collection dropped", func() bool { return !there(disk, folder) })
				whole(t, hs, "c", factor)
				writes(t, hs, hs...)
			})
		})
	}
}

func there(fsys vfs.FS, path string) bool { _, err := fsys.Stat(path); return err == nil }
