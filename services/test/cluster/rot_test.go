//go:build !race

package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pandodb/pando/services/dataplane"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// small makes seals, merges and graphs out of a few hundred points.
func small(shards, copies int) string {
	return fmt.Sprintf(`{"vectors":{"size":4,"distance":"Dot"},"shard_number":%d,"replication_factor":%d,
		"optimizers_config":{"indexing_threshold":1,"vacuum_min_vector_number":100,"default_segment_number":2},"hnsw_config":{"m":4}}`, shards, copies)
}

// filesOf are the files below a folder.
func filesOf(t *testing.T, fsys vfs.FS, dir string) (out []string) {
	t.Helper()
	names, err := fsys.List(dir)
	must(t, err)
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := fsys.Stat(path)
		must(t, err)
		if info.IsDir() {
			out = append(out, filesOf(t, fsys, path)...)
		} else {
			out = append(out, path)
		}
	}
	return out
}

// flip changes a bit of a file.
func flip(t *testing.T, fsys vfs.FS, path string, rng *rand.Rand) {
	t.Helper()
	b, err := vfs.ReadFile(fsys, path)
	must(t, err)
	f, err := fsys.OpenReadWrite(path)
	must(t, err)
	at := rng.IntN(len(b))
	_, err = f.WriteAt([]byte{b[at] ^ 1<<rng.IntN(8)}, int64(at))
	must(t, err)
	must(t, f.Close())
}

// folder is where a peer has a replica.
func folder(s topology.Shard) string {
	return filepath.Join(dataDir, "collections", fmt.Sprint(uint64(s.Collection)), fmt.Sprint(uint64(s.ID)))
}

// incarnations of the replicas at a peer, by folder.
func incarnations(h *house, collection string) map[string]topology.Incarnation {
	out := map[string]topology.Incarnation{}
	for _, p := range placements(h, collection) {
		if r, here := p.Replica(h.data.Self()); here {
			out[folder(p.Shard)] = r.Incarnation
		}
	}
	return out
}

// Bits of a peer's files flip while it is down. The damaged replicas are copied anew
// by themselves, whatever the file, and nothing that was acknowledged is lost. Graphs
// are made again where they are.
func TestRotHeals(t *testing.T) {
	for _, kind := range []string{".ids", ".rows", ".payload", ".records", ".vectors", ".graph", ".sst", ".log", "meta"} {
		t.Run(kind, func(t *testing.T) {
			live(t, 3, func(t *testing.T, s *street, hs []*house) {
				hs[0].ok("PUT", "/collections/c", small(3, 2))
				l := newLedger()
				for n := range 1200 {
					l.write(hs[n%3], "c", n%400, n)
				}
				pass(10 * time.Second) // graphs are made when nobody writes
				whole(t, hs, "c", 2)
				victim := hs[1]
				victim.leave()
				rng := rand.New(rand.NewPCG(1, 1))
				before, hit := incarnations(victim, "c"), map[string]bool{}
				for _, p := range placements(hs[0], "c") {
					if _, here := p.Replica(victim.data.Self()); !here {
						continue
					}
					for _, path := range filesOf(t, victim.fsys, folder(p.Shard)) {
						if strings.HasSuffix(path, kind) {
							flip(t, victim.fsys, path, rng)
							hit[folder(p.Shard)] = true
						}
					}
				}
				if len(hit) == 0 {
					t.Fatal("no file was hit")
				}
				l.during("c", []*house{hs[0], hs[2]}, func() {
					pass(time.Second)
					hs[1] = s.begin(victim.fsys)
					t.Logf("%d replicas hit, whole after %v", len(hit), whole(t, hs, "c", 2))
				})
				whole(t, hs, "c", 2)
				l.check(t, hs, "c")
				for at, now := range incarnations(hs[1], "c") {
					kept, ofSegment := now == before[at], strings.Contains(".ids .rows .payload .records .vectors", kind)
					if hit[at] && (kept && ofSegment || !kept && kind == ".graph") {
						t.Errorf("%s: the replica was kept: %v", at, kept)
					}
				}
				if len(l.failed) > 0 {
					t.Errorf("%d of %d writes failed: %.120q", len(l.failed), l.writes, l.failed[:min(3, len(l.failed))])
				}
			})
		})
	}
}

// The only replica of a shard is damaged: that is told with file and place, the others
// go on, and its files stay as they are.
func TestRotOfTheLastReplica(t *testing.T) {
	live(t, 1, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", small(2, 1))
		l := newLedger()
		for n := range 800 {
			l.write(hs[0], "c", n%400, n)
		}
		pass(5 * time.Second)
		hs[0].leave()
		disk := hs[0].fsys
		var hit string
		for _, path := range filesOf(t, disk, folder(placements(hs[0], "c")[0].Shard)) {
			if strings.HasSuffix(path, ".vectors") {
				flip(t, disk, path, rand.New(rand.NewPCG(1, 1)))
				hit = path
			}
		}
		hs[0] = s.begin(disk)
		pass(time.Minute)
		code, out := hs[0].call("POST", "/collections/c/points/count", `{}`)
		if text := errorText(out); code == http.StatusOK || !strings.Contains(text, filepath.Base(hit)) || !strings.Contains(text, "offset") {
			t.Errorf("%s is damaged: %d %s", hit, code, text)
		}
		if _, err := disk.Stat(hit); err != nil {
			t.Errorf("the last copy was removed: %v", err)
		}
		served := 0
		for id := range 400 {
			if code, _ := hs[0].call("GET", fmt.Sprintf("/collections/c/points/%d", id), ""); code == http.StatusOK {
				served++
			}
		}
		if served < 100 || served > 300 {
			t.Errorf("%d of 400 points are served", served)
		}
	})
}

// Files of a peer are damaged while it runs. Reading them again finds it: graphs are made
// again, replicas with a damaged segment are copied anew, and nothing that was acknowledged
// is lost.
func TestScrubHeals(t *testing.T) {
	for _, kind := range []string{".vectors", ".graph"} {
		t.Run(kind, func(t *testing.T) {
			live(t, 3, func(t *testing.T, s *street, hs []*house) {
				hs[0].ok("PUT", "/collections/c", small(3, 2))
				l := newLedger()
				for n := range 1200 {
					l.write(hs[n%3], "c", n%400, n)
				}
				pass(10 * time.Second) // graphs are made when nobody writes
				whole(t, hs, "c", 2)
				victim, rng := hs[1], rand.New(rand.NewPCG(1, 1))
				before, hit := incarnations(victim, "c"), map[string][]string{}
				bytes := map[string][]byte{}
				for at := range before {
					for _, path := range filesOf(t, victim.fsys, at) {
						if strings.HasSuffix(path, kind) {
							b, err := vfs.ReadFile(victim.fsys, path)
							must(t, err)
							bytes[path], hit[at] = b, append(hit[at], path)
							flip(t, victim.fsys, path, rng)
						}
					}
				}
				if len(hit) == 0 {
					t.Fatal("no file was hit")
				}
				pass(time.Hour + 5*time.Minute)
				whole(t, hs, "c", 2)
				l.check(t, hs, "c")
				for at, now := range incarnations(victim, "c") {
					if kept := now == before[at]; hit[at] != nil && kept != (kind == ".graph") {
						t.Errorf("%s: the replica was kept: %v", at, kept)
					}
				}
				for path, want := range bytes {
					if got, err := vfs.ReadFile(victim.fsys, path); err != nil || string(got) != string(want) {
						t.Errorf("%s is not whole again: %v", path, err)
					}
				}
			}, func(c *dataplane.Config) { c.Performance.ScrubHours, c.Performance.ScrubReads = 1, 20 })
		})
	}
}
