package shard

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// TestSample: the sample of a seed follows from the living points alone, of whatever
// part they are; other seeds give other ones.
func TestSample(t *testing.T) {
	different := map[topology.PointID]bool{}
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 31))
		l := newLedger()
		for range 80 {
			randomEntry(rng, l)
		}
		s := open(t, options(memfs.New()))
		l.catchUp(t, s)
		var ids, odd []topology.PointID
		for i, p := range l.living() {
			if ids = append(ids, p.ID); i%2 == 1 {
				odd = append(odd, p.ID)
			}
		}
		for limit := 1; limit < len(ids)+3; limit++ {
			for name, c := range map[string]struct {
				from []topology.PointID
				f    *filter.Filter
			}{"all": {ids, nil}, "some": {odd, &filter.Filter{Must: []filter.Condition{filter.HasID{IDs: odd}}}}} {
				got, next, err := s.Scroll(ctx, query.Scroll{Filter: c.f, Sample: &seed, Limit: limit})
				ok(t, err)
				want := slices.Clone(c.from)
				slices.SortFunc(want, func(a, b topology.PointID) int {
					return cmp.Compare(query.SampleKey(a, seed), query.SampleKey(b, seed))
				})
				want = want[:min(limit, len(want))]
				if !slices.EqualFunc(got, want, func(r query.Record, id topology.PointID) bool { return r.ID == id }) || next != nil {
					t.Fatalf("seed %d, %s, limit %d: %v, want %v", seed, name, limit, got, want)
				}
				if limit == 1 && len(want) > 0 {
					different[want[0]] = true
				}
			}
		}
	}
	if len(different) < 4 {
		t.Errorf("ten seeds begin with %d points", len(different))
	}
}
