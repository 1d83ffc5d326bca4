//go:build !race

package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/protobuf/proto"
)

// segmentsOf lists the files of a replica's segments.
func segmentsOf(t *testing.T, h *house, s topology.Shard) (out []string) {
	for _, path := range filesOf(t, h.fsys, filepath.Join(folder(s), "state", "segments")) {
		out = append(out, filepath.Base(path))
	}
	slices.Sort(out)
	return out
}

// Three copies, thresholds of a few points: seals, merges and graphs happen beside
// writes and deletes, and a peer that is killed and returns. At rest all replicas have
// the same files and give the same answers.
func TestReplicasAreEqual(t *testing.T) {
	live(t, 3, func(t *testing.T, s *street, hs []*house) {
		hs[0].ok("PUT", "/collections/c", small(2, 3))
		hs[0].ok("PUT", "/collections/c/index", `{"field_name":"k","field_schema":"integer"}`)
		rng := rand.New(rand.NewPCG(4, 4))
		write := func(rounds int, through ...*house) {
			for n := range rounds {
				h, ps := through[n%len(through)], []string{}
				for range 8 {
					ps = append(ps, fmt.Sprintf(`{"id":%d,"vector":[%v,%v,%v,%v],"payload":{"k":%d}}`, rng.IntN(800), rng.Float32(), rng.Float32(), rng.Float32(), rng.Float32(), rng.IntN(10)))
				}
				if code, out := h.call("PUT", "/collections/c/points?wait=true", `{"points":[`+strings.Join(ps, ",")+`]}`); code != http.StatusOK {
					t.Errorf("write: %d %s", code, errorText(out))
				}
				if n%4 == 0 {
					h.ok("POST", "/collections/c/points/delete?wait=true", fmt.Sprintf(`{"points":[%d,%d,%d]}`, rng.IntN(800), rng.IntN(800), rng.IntN(800)))
				}
				pass(20 * time.Millisecond)
			}
		}
		write(300, hs...)
		disk := hs[2].powerCut()
		write(200, hs[:2]...)
		hs[2] = s.begin(disk)
		write(200, hs[:2]...)
		whole(t, hs, "c", 3)
		write(50, hs...)
		pass(time.Minute)
		kinds := map[string]int{}
		for _, p := range placements(hs[0], "c") {
			want := segmentsOf(t, hs[0], p.Shard)
			for _, h := range hs[1:] {
				if got := segmentsOf(t, h, p.Shard); !slices.Equal(got, want) {
					t.Errorf("shard %d: peer %d has %v, peer %d has %v", p.Shard.ID, h.data.Self(), got, hs[0].data.Self(), want)
				}
			}
			for _, name := range want {
				kinds[filepath.Ext(name)]++
			}
			for range 1000 {
				q := query(rng)
				first := ask(t, hs[0], p.Shard, q)
				for _, h := range hs[1:] {
					if other := ask(t, h, p.Shard, q); !proto.Equal(first, other) {
						t.Fatalf("shard %d, %v: peer %d answers %v, peer %d %v", p.Shard.ID, q, hs[0].data.Self(), first, h.data.Self(), other)
					}
				}
			}
		}
		if t.Log(kinds); kinds[".graph"] == 0 {
			t.Errorf("no graph was made")
		}
	})
}

// query is one for the nearest, every second time with a filter.
func query(rng *rand.Rand) *shardv1.ShardQuery {
	v := make([]float32, 4)
	for i := range v {
		v[i] = rng.Float32() - 0.3
	}
	q := &shardv1.ShardQuery{Limit: 10, Query: &qdrant.Query{Variant: &qdrant.Query_Nearest{
		Nearest: &qdrant.VectorInput{Variant: &qdrant.VectorInput_Dense{Dense: &qdrant.DenseVector{Data: v}}}}}}
	if rng.IntN(2) == 0 {
		q.Filter = &qdrant.Filter{Must: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_Field{Field: &qdrant.FieldCondition{
			Key: "k", Match: &qdrant.Match{MatchValue: &qdrant.Match_Integer{Integer: rng.Int64N(10)}}}}}}}
	}
	return q
}

// ask asks a peer's own replica.
func ask(t *testing.T, h *house, s topology.Shard, q *shardv1.ShardQuery) *shardv1.ShardReadResult {
	t.Helper()
	r, err := shardv1.NewShardClient(h.inside).Read(context.Background(), &shardv1.ReadRequest{Reads: []*shardv1.ShardRead{{
		Route: &shardv1.Route{CollectionId: uint64(s.Collection), ShardId: uint64(s.ID)},
		Read:  &shardv1.ShardRead_Query{Query: &shardv1.QueryPoints{Queries: []*shardv1.ShardQuery{q}}}}}})
	must(t, err)
	out := r.GetResults()[0]
	if f := out.GetFailure(); f != nil {
		t.Fatalf("shard %d at peer %d: %v", s.ID, h.data.Self(), f)
	}
	return out
}
