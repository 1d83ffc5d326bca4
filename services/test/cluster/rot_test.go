//go:build !race

package cluster

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pandodb/pando/services/dataplane"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
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

// incarnations of the replicas at a peer, by folder, as h knows them.
func incarnations(h *house, at topology.PeerID, collection string) map[string]topology.Incarnation {
	out := map[string]topology.Incarnation{}
	for _, p := range placements(h, collection) {
		if r, here := p.Replica(at); here {
			out[folder(p.Shard)] = r.Incarnation
		}
	}
	return out
}

// stored is what three peers hold in two copies, with graphs.
func stored(t *testing.T, hs []*house) *ledger {
	t.Helper()
	hs[0].ok("PUT", "/collections/c", small(3, 2))
	l := newLedger()
	for n := range 1200 {
		l.write(hs[n%3], "c", n%400, n)
	}
	pass(10 * time.Second) // graphs are made when nobody writes
	whole(t, hs, "c", 2)
	return l
}

// Bits of a peer's files flip while it is down. The damaged replicas are copied anew
// by themselves, whatever the file, and nothing that was acknowledged is lost. Graphs
// are made again where they are.
func TestRotHeals(t *testing.T) {
	for _, kind := range []string{".ids", ".rows", ".payload", ".records", ".vectors", ".graph", ".sst", ".log", "meta"} {
		t.Run(kind, func(t *testing.T) {
			live(t, 3, func(t *testing.T, s *street, hs []*house) {
				l := stored(t, hs)
				victim := hs[1]
				victim.leave()
				rng := rand.New(rand.NewPCG(1, 1))
				before, hit := incarnations(hs[0], victim.data.Self(), "c"), map[string]bool{}
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
				for at, now := range incarnations(hs[0], hs[1].data.Self(), "c") {
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
				l := stored(t, hs)
				victim, rng := hs[1], rand.New(rand.NewPCG(1, 1))
				before, hit := incarnations(hs[0], victim.data.Self(), "c"), map[string][]string{}
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
				for at, now := range incarnations(hs[0], victim.data.Self(), "c") {
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

// The files of segments of a peer lie on dead sectors. While others are Active the
// replicas are copied anew, but not for a fault that passes; the last ones are tried again
// until it does.
func TestDeadSectors(t *testing.T) {
	for _, c := range []struct {
		name   string
		copies int
		passes time.Duration // 0: never
		kept   bool
	}{{"dead", 2, 0, false}, {"for a moment", 2, 25 * time.Second, true}, {"the last ones", 1, 10 * time.Minute, true}} {
		t.Run(c.name, func(t *testing.T) {
			live(t, 3, func(t *testing.T, s *street, hs []*house) {
				hs[0].ok("PUT", "/collections/c", small(3, c.copies))
				l := newLedger()
				for n := range 900 {
					l.write(hs[n%3], "c", n%300, n)
				}
				pass(10 * time.Second)
				whole(t, hs, "c", c.copies)
				victim, hit := hs[1], map[string]bool{}
				victim.leave()
				before := incarnations(hs[0], victim.data.Self(), "c")
				for at := range before {
					for _, path := range filesOf(t, victim.fsys, at) {
						hit[path] = strings.HasSuffix(path, ".records")
					}
				}
				began := time.Now()
				hs[1] = s.begin(faultfs.New(victim.fsys, func(o faultfs.Op) error {
					var collection, id uint64
					if n, _ := fmt.Sscanf(filepath.Base(o.Path), "%d-%d-", &collection, &id); o.Kind == faultfs.KindRename && n == 2 { // into the trash
						gone := folder(topology.Shard{Collection: topology.CollectionID(collection), ID: topology.ShardID(id)}) + "/"
						maps.DeleteFunc(hit, func(path string, _ bool) bool { return strings.HasPrefix(path, gone) })
					}
					if o.Kind == faultfs.KindRead && hit[o.Path] && (c.passes == 0 || time.Since(began) < c.passes) {
						return syscall.EIO
					}
					return nil
				}))
				if c.copies == 1 {
					pass(c.passes)
				}
				pass(10 * time.Second)
				if now := incarnations(hs[0], victim.data.Self(), "c"); !maps.Equal(now, before) {
					t.Errorf("given up at once: %v, were %v", now, before)
				}
				whole(t, hs, "c", c.copies)
				t.Logf("whole after %v", time.Since(began))
				l.check(t, hs, "c")
				for at, now := range incarnations(hs[0], victim.data.Self(), "c") {
					if kept := now == before[at]; kept != c.kept {
						t.Errorf("%s: the replica was kept: %v", at, kept)
					}
				}
			})
		})
	}
}

// Rot is found in a segment of the only replica of a shard, while it serves: writes are
// refused with the file's name, reads go on, and the files stay.
func TestScrubOfTheLastReplica(t *testing.T) {
	live(t, 1, func(t *testing.T, _ *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", small(1, 1))
		l := newLedger()
		for n := range 800 {
			l.write(hs[0], "c", n%400, n)
		}
		pass(5 * time.Second)
		var hit string
		for _, path := range filesOf(t, hs[0].fsys, folder(placements(hs[0], "c")[0].Shard)) {
			if strings.HasSuffix(path, ".vectors") {
				flip(t, hs[0].fsys, path, rand.New(rand.NewPCG(1, 1)))
				hit = path
			}
		}
		pass(time.Hour + 5*time.Minute)
		code, out := hs[0].call("PUT", "/collections/c/points?wait=true", `{"points":[{"id":1,"vector":[1,2,3,4]}]}`)
		if text := errorText(out); code == http.StatusOK || !strings.Contains(text, filepath.Base(hit)) {
			t.Errorf("%s is damaged: %d %s", hit, code, text)
		}
		l.check(t, hs, "c")
		if _, err := hs[0].fsys.Stat(hit); err != nil {
			t.Errorf("the last copy was removed: %v", err)
		}
	}, func(c *dataplane.Config) { c.Performance.ScrubHours, c.Performance.ScrubReads = 1, 20 })
}

// What is found and made again is told by metrics.
func TestScrubIsTold(t *testing.T) {
	live(t, 1, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", small(1, 1))
		l := newLedger()
		for n := range 800 {
			l.write(hs[0], "c", n%400, n)
		}
		pass(5 * time.Second)
		hs[0].leave()
		reader := sdkmetric.NewManualReader()
		s.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		h := s.begin(hs[0].fsys)
		h.await("ready", func() bool { return h.data.Ready() == nil })
		pass(30 * time.Second)
		graphs, bytes := int64(0), int64(0)
		for _, path := range filesOf(t, h.fsys, filepath.Join(folder(placements(h, "c")[0].Shard), "state", "segments")) {
			info, err := h.fsys.Stat(path)
			must(t, err)
			bytes += info.Size()
			if strings.HasSuffix(path, ".graph") {
				flip(t, h.fsys, path, rand.New(rand.NewPCG(1, 1)))
				graphs++
			}
		}
		pass(time.Hour + 5*time.Minute)
		var all metricdata.ResourceMetrics
		must(t, reader.Collect(t.Context(), &all))
		sums, age := map[string]int64{}, -1.0
		for _, scope := range all.ScopeMetrics {
			for _, m := range scope.Metrics {
				switch d := m.Data.(type) {
				case metricdata.Sum[int64]:
					for _, p := range d.DataPoints {
						kind, _ := p.Attributes.Value("kind")
						sums[m.Name+" "+kind.AsString()] += p.Value
					}
				case metricdata.Gauge[float64]:
					if m.Name == "pando_data_scrub_age" {
						age = d.DataPoints[0].Value
					}
				}
			}
		}
		if graphs == 0 || sums["pando_data_lost_artefacts graph"] != graphs || sums["pando_data_mended_artefacts graph"] != graphs ||
			sums["pando_data_scrubbed "] < bytes || age < 60 || age > 3660 {
			t.Errorf("%d graphs of %d bytes: %v, age %v", graphs, bytes, sums, age)
		}
	}, func(c *dataplane.Config) { c.Performance.ScrubHours, c.Performance.ScrubReads = 1, 20 })
}
