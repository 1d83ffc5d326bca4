//go:build !race

// Many peers in virtual time are tested without the race detector: in a bubble of
// synctest it crashes now and then in its own runtime, when a timer starts a
// goroutine (go1.26.8: SIGSEGV in racegostart under time.goFunc). The parts have
// their tests with it.
package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

const twoCopies = `{"vectors":{"size":4,"distance":"Dot"},"shard_number":6,"replication_factor":2}`

func TestThreePeers(t *testing.T) {
	live(t, 3, func(t *testing.T, _ *street, hs []*house) {
		hs[1].ok("PUT", "/collections/c", twoCopies)
		l := newLedger()
		for id := range 60 {
			l.write(hs[id%3], "c", id, id)
		}
		for _, h := range hs {
			if n := h.ok("POST", "/collections/c/points/count", `{}`).(map[string]any)["count"]; n != 60. {
				t.Errorf("%v points", n)
			}
			r := h.ok("GET", "/collections/c/cluster", "").(map[string]any)
			if local, remote := len(r["local_shards"].([]any)), len(r["remote_shards"].([]any)); local+remote != 12 || local != 4 {
				t.Errorf("%d local and %d remote shards, want 12 in all", local, remote)
			}
		}
		l.check(t, hs, "c")
		if len(l.failed) > 0 {
			t.Error(l.failed)
		}
	})
}

// Any of the peers dies under load: writes through the others go on after a pause,
// it returns and is whole again by itself.
func TestPeerDiesAndReturns(t *testing.T) {
	for victim := range 3 {
		t.Run(fmt.Sprint(victim), func(t *testing.T) {
			live(t, 3, func(t *testing.T, s *street, hs []*house) {
				hs[0].ok("PUT", "/collections/c", twoCopies)
				l := newLedger()
				others := append(append([]*house{}, hs[:victim]...), hs[victim+1:]...)
				l.during("c", others, func() {
					pass(time.Second)
					disk := hs[victim].powerCut()
					pass(4 * time.Second)
					for _, p := range placements(others[0], "c") {
						if r, ok := p.Replica(hs[victim].data.Self()); ok && r.State != topology.Dead || p.Primary == hs[victim].data.Self() {
							t.Errorf("after 4 s shard %d: %+v", p.Shard.ID, p)
						}
					}
					hs[victim] = s.begin(disk)
					t.Logf("whole after %v", whole(t, hs, "c", 2))
				})
				whole(t, hs, "c", 2)
				l.check(t, hs, "c")
				if len(l.failed) > 0 || l.longest > 4*time.Second {
					t.Errorf("%d of %d writes failed, longest %v: %.120q", len(l.failed), l.writes, l.longest, l.failed[:min(3, len(l.failed))])
				}
			})
		})
	}
}

func placements(h *house, collection string) []topology.Placement {
	c, ok := h.data.Placement().Resolve(collection)
	if !ok {
		return nil
	}
	return c.Shards
}

// Any of the peers is cut off, one of which leads the control plane: the others go
// on without it, it stops serving, and is whole again when it is back.
func TestPeerIsCutOff(t *testing.T) {
	for victim := range 3 {
		t.Run(fmt.Sprint(victim), func(t *testing.T) {
			live(t, 3, func(t *testing.T, s *street, hs []*house) {
				hs[0].ok("PUT", "/collections/c", twoCopies)
				l := newLedger()
				others := append(append([]*house{}, hs[:victim]...), hs[victim+1:]...)
				l.during("c", others, func() {
					pass(time.Second)
					s.cut(hs[victim], true)
					pass(12 * time.Second)
					if code, out := hs[victim].call("POST", "/collections/c/points/count?timeout=1", `{}`); code == http.StatusOK {
						t.Errorf("R2: after 12 s it still answers %v", out)
					}
					s.cut(hs[victim], false)
					t.Logf("whole after %v", whole(t, hs, "c", 2))
				})
				whole(t, hs, "c", 2)
				l.check(t, hs, "c")
				if len(l.failed) > 0 || l.longest > 4*time.Second {
					t.Errorf("%d of %d writes failed, longest %v: %.120q", len(l.failed), l.writes, l.longest, l.failed[:min(3, len(l.failed))])
				}
			})
		})
	}
}

// A peer that loses its disk is filled anew, by copies where the log does not reach back.
func TestDiskIsLost(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", twoCopies)
		l := newLedger()
		for n := range 600 {
			l.write(hs[n%3], "c", n%50, n)
		}
		for i := range hs { // an orderly stop leaves a checkpoint, after which the log can be cut
			hs[i].leave()
			hs[i] = s.begin(hs[i].fsys)
			whole(t, hs, "c", 2)
		}
		pass(2 * time.Second)
		hs[2].crash()
		pass(3 * time.Second)
		s.config.PeerID = hs[2].data.Self()
		hs[2] = s.begin(memfs.New())
		t.Logf("whole after %v", whole(t, hs, "c", 2))
		l.check(t, hs, "c")
	}, smallLogs)
}

// An orderly stop costs no write.
func TestPeerLeaves(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", twoCopies)
		l := newLedger()
		for i := range hs {
			others := append(append([]*house{}, hs[:i]...), hs[i+1:]...)
			l.during("c", others, func() {
				pass(time.Second)
				hs[i].leave()
				pass(time.Second)
				hs[i] = s.begin(hs[i].fsys)
				whole(t, hs, "c", 2)
			})
		}
		l.check(t, hs, "c")
		if len(l.failed) > 0 || l.longest > 500*time.Millisecond {
			t.Errorf("%d of %d writes failed, longest %v: %.120q", len(l.failed), l.writes, l.longest, l.failed[:min(3, len(l.failed))])
		}
	})
}

// Factor 2, one replica Dead, the other one gone: the Dead one alone must not serve,
// since it lacks what was acknowledged meanwhile (replication.md §11, 4).
func TestDeadOneAloneDoesNotServe(t *testing.T) {
	live(t, 2, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", `{"vectors":{"size":4,"distance":"Dot"},"shard_number":2,"replication_factor":2}`)
		l := newLedger()
		l.write(hs[0], "c", 1, 1)
		late := hs[1].powerCut()
		for id := range 10 {
			l.write(hs[0], "c", id, 2)
		}
		disk := hs[0].powerCut()
		hs[1] = s.begin(late)
		pass(15 * time.Second)
		if code, out := hs[1].call("POST", "/collections/c/points/count?timeout=1", `{}`); code == http.StatusOK {
			t.Errorf("C3: the Dead replica alone answers %v", out)
		}
		if code, _ := hs[1].call("PUT", "/collections/c/points?wait=true&timeout=1", `{"points":[{"id":1,"vector":[1,0,0,1]}]}`); code == http.StatusOK {
			t.Error("C3: the Dead replica alone takes writes")
		}
		hs[0] = s.begin(disk)
		whole(t, hs, "c", 2)
		l.check(t, hs, "c")
		if len(l.failed) > 0 {
			t.Error(l.failed)
		}
	})
}

// All peers lose power at once and come back.
func TestAllAtOnce(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", twoCopies)
		l := newLedger()
		l.during("c", hs, func() { pass(2 * time.Second) })
		for i := range hs {
			disk := hs[i].powerCut()
			hs[i] = s.begin(disk)
		}
		whole(t, hs, "c", 2)
		l.check(t, hs, "c")
	})
}

// Replicas are moved, copied and dropped by hand while writes go on.
func TestReplicasByHand(t *testing.T) {
	live(t, 3, func(t *testing.T, _ *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", `{"vectors":{"size":4,"distance":"Dot"},"shard_number":1,"replication_factor":1}`)
		l := newLedger()
		id := func(i int) uint64 { return uint64(hs[i].data.Self()) }
		home := func() (out []int) {
			for i := range hs {
				if r, ok := placements(hs[0], "c")[0].Replica(hs[i].data.Self()); ok && r.State == topology.Active {
					out = append(out, i)
				}
			}
			return out
		}
		l.during("c", hs, func() {
			pass(time.Second)
			from := home()[0]
			to := (from + 1) % 3
			hs[0].ok("POST", "/collections/c/cluster", fmt.Sprintf(`{"move_shard":{"shard_id":0,"from_peer_id":%d,"to_peer_id":%d,"method":"stream_records"}}`, id(from), id(to)))
			hs[0].await("moved", func() bool { h := home(); return len(h) == 1 && h[0] == to })
			third := (to + 1) % 3
			hs[1].ok("POST", "/collections/c/cluster", fmt.Sprintf(`{"replicate_shard":{"shard_id":0,"from_peer_id":%d,"to_peer_id":%d}}`, id(to), id(third)))
			hs[0].await("replicated", func() bool { return len(home()) == 2 })
			hs[2].ok("POST", "/collections/c/cluster", fmt.Sprintf(`{"drop_replica":{"shard_id":0,"peer_id":%d}}`, id(to)))
			hs[0].await("dropped", func() bool { h := home(); return len(h) == 1 && h[0] == third })
			code, out := hs[0].call("POST", "/collections/c/cluster", fmt.Sprintf(`{"drop_replica":{"shard_id":0,"peer_id":%d}}`, id(third)))
			if code != http.StatusBadRequest || !strings.Contains(errorText(out), "at least one") {
				t.Errorf("the last one dropped: %d %v", code, out)
			}
		})
		l.check(t, hs, "c")
		if len(l.failed) > 0 || l.longest > time.Second {
			t.Errorf("%d of %d writes failed, longest %v: %.120q", len(l.failed), l.writes, l.longest, l.failed[:min(3, len(l.failed))])
		}
	})
}

// What one peer has answered, every other one knows, also if it has not heard of it
// by itself; without the control plane it does not say that a name does not exist.
func TestNamesMadeElsewhere(t *testing.T) {
	live(t, 2, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", twoCopies)
		const write = `{"points":[{"id":1,"vector":[1,0,0,1]}]}`
		for name, use := range map[string]func(path string){
			"w": func(path string) { hs[1].ok("PUT", path+"/points?wait=true", write) },
			"r": func(path string) { hs[1].ok("POST", path+"/points/count", `{}`) },
			"e": func(path string) {
				if there := hs[1].ok("GET", path+"/exists", "").(map[string]any)["exists"]; there != true {
					t.Errorf("%s exists: %v", path, there)
				}
			},
		} {
			pass(time.Second)
			s.deafen(hs[1], 400*time.Millisecond)
			hs[0].ok("POST", "/collections/aliases", fmt.Sprintf(`{"actions":[{"create_alias":{"collection_name":"c","alias_name":%q}}]}`, name))
			use("/collections/" + name)
		}
		if code, out := hs[1].call("PUT", "/collections/none/points", write); code != http.StatusNotFound {
			t.Errorf("no such collection: %d %v", code, out)
		}
		s.memory.SetDown(true)
		if code, out := hs[1].call("PUT", "/collections/none/points", write); code != http.StatusServiceUnavailable {
			t.Errorf("who knows: %d %v", code, out)
		}
		hs[1].ok("PUT", "/collections/w/points?wait=true", write)
		s.memory.SetDown(false)
	})
}

// An index is known to every peer as soon as its creation is answered.
func TestIndexMadeElsewhere(t *testing.T) {
	live(t, 2, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", `{"vectors":{"size":4,"distance":"Dot"},"shard_number":1,"replication_factor":1}`)
		hs[0].await("known everywhere", func() bool { return len(placements(hs[1], "c")) == 1 })
		home, other := hs[0], hs[1]
		if _, ok := placements(home, "c")[0].Replica(home.data.Self()); !ok {
			home, other = other, home
		}
		home.ok("PUT", "/collections/c/points?wait=true", `{"points":[{"id":1,"vector":[1,0,0,1],"payload":{"n":1}}]}`)
		pass(time.Second)
		s.deafen(other, 400*time.Millisecond)
		home.ok("PUT", "/collections/c/index?wait=true", `{"field_name":"n","field_schema":"integer"}`)
		other.ok("POST", "/collections/c/facet", `{"key":"n"}`)
		if code, out := other.call("POST", "/collections/c/facet", `{"key":"m"}`); code != http.StatusBadRequest {
			t.Errorf("no such index: %d %v", code, out)
		}
	})
}

// A peer whose disk is full gives its primaries away and is left out, and comes back when there is room.
func TestDiskIsFull(t *testing.T) {
	live(t, 3, func(t *testing.T, _ *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", twoCopies)
		l := newLedger()
		l.during("c", hs[:2], func() {
			pass(time.Second)
			disk := hs[2].fsys.(*memfs.FS)
			used, err := disk.DiskUsage(dataDir)
			must(t, err)
			disk.SetCapacity(used.Total - used.Avail)
			pass(5 * time.Second)
			disk.SetCapacity(0)
			t.Logf("whole after %v", whole(t, hs, "c", 2))
		})
		whole(t, hs, "c", 2)
		l.check(t, hs, "c")
		if len(l.failed) > 0 || l.longest > 4*time.Second {
			t.Errorf("%d of %d writes failed, longest %v: %.120q", len(l.failed), l.writes, l.longest, l.failed[:min(3, len(l.failed))])
		}
	}, smallLogs)
}
