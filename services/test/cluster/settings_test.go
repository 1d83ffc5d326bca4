//go:build !race

package cluster

import (
	"cmp"
	"fmt"
	"testing"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
)

// inEffect tells whether each Active replica of the collection has put the settings
// that h knows of into effect.
func inEffect(h *house, collection string) bool {
	h.t.Helper()
	c, ok := h.data.Placement().Resolve(collection)
	if !ok {
		return false
	}
	for _, p := range c.Shards {
		for _, r := range p.Replicas {
			conn, err := h.dial(r.Peer)
			must(h.t, err)
			out, err := shardv1.NewShardClient(conn).Read(h.t.Context(), &shardv1.ReadRequest{Reads: []*shardv1.ShardRead{{
				Route: &shardv1.Route{CollectionId: uint64(c.ID), ShardId: uint64(p.Shard.ID)}, Read: &shardv1.ShardRead_Fields{Fields: &shardv1.ReadFields{}}}}})
			if err != nil || out.GetResults()[0].GetFields().GetRevision() < c.Revision {
				return false
			}
		}
	}
	return true
}

// A change of a collection's settings is an entry of each shard's log (W11), on
// every replica. What the primary made of vectors is what all of them have, also
// after power cuts.
func TestSettingsReachEveryReplica(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", `{"vectors":{"half":{"size":2,"distance":"Cosine","datatype":"float16"},"byte":{"size":2,"distance":"Euclid","datatype":"uint8"},
			"few":{"size":5,"distance":"Dot","datatype":"turbo4"}},
			"shard_number":6,"replication_factor":2}`)
		for id := range 12 {
			hs[id%3].ok("PUT", "/collections/c/points?wait=true", fmt.Sprintf(`{"points":[{"id":%d,"vector":{"half":[3,4],"byte":[%d.9,255],"few":[1,2,-3,0.5,0]}}]}`, id, id))
		}
		h := hs[1]
		h.await("the first settings", func() bool { return inEffect(h, "c") })
		was, _ := h.data.Placement().Resolve("c")
		h.ok("PATCH", "/collections/c", `{"hnsw_config":{"m":32},"vectors":{"byte":{"on_disk":true,"quantization_config":{"scalar":{"type":"int8"}}}},
			"optimizers_config":{"indexing_threshold":77}}`)
		if is, _ := h.data.Placement().Resolve("c"); is.Revision <= was.Revision {
			t.Errorf("revision %d after %d", is.Revision, was.Revision)
		}
		h.await("the changed settings", func() bool { return inEffect(h, "c") })
		few := "" // what the first answer has of the vectors of four bits
		check := func() {
			t.Helper()
			for i, h := range hs {
				c := h.ok("GET", "/collections/c", "").(map[string]any)["config"].(map[string]any)
				if m, o := c["hnsw_config"].(map[string]any)["m"], c["optimizer_config"].(map[string]any)["indexing_threshold"]; m != 32. || o != 77. {
					t.Errorf("peer %d shows m %v and threshold %v", i, m, o)
				}
				for id := range 12 {
					got := h.ok("GET", fmt.Sprintf("/collections/c/points/%d", id), "").(map[string]any)["vector"].(map[string]any)
					if few = cmp.Or(few, fmt.Sprint(got["few"])); fmt.Sprint(got["few"]) != few || few == "[1 2 -3 0.5 0]" {
						t.Errorf("peer %d: point %d has %v in four bits, not %s", i, id, got["few"], few)
					}
					delete(got, "few")
					if want := fmt.Sprintf("map[byte:[%d 255] half:[0.60009766 0.7998047]]", id); fmt.Sprint(got) != want {
						t.Errorf("peer %d: point %d is %v, want %s", i, id, got, want)
					}
				}
			}
		}
		check()
		for i := range hs { // all at once
			disk := hs[i].powerCut()
			hs[i] = s.begin(disk)
		}
		whole(t, hs, "c", 2)
		check()
	})
}

// TestRecover: a peer that is told to fetches the cluster's state anew, and serves on.
func TestRecover(t *testing.T) {
	live(t, 3, func(t *testing.T, _ *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", `{"vectors":{"size":2,"distance":"Dot"},"shard_number":3,"replication_factor":2}`)
		hs[0].ok("PUT", "/collections/c/points?wait=true", `{"points":[{"id":1,"vector":[1,2]}]}`)
		for i, h := range hs {
			before := h.data.Placement().Revision()
			if done := h.ok("POST", "/cluster/recover", ""); done != true {
				t.Errorf("peer %d: %v", i, done)
			}
			if after := h.data.Placement().Revision(); after < before {
				t.Errorf("peer %d is at revision %d after %d", i, after, before)
			}
			h.ok("GET", "/collections/c/points/1", "")
		}
		whole(t, hs, "c", 2)
	})
}
