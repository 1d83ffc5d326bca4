package coordinator

import (
	"cmp"
	"math"
	"slices"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// R6: a read consistency asks several replicas of each shard and keeps what enough
// of them have in the same version, the point's hybrid clock stamp.

// voters is how many of so many readable replicas are asked, and how many of those
// must agree.
func voters(rc *qdrant.ReadConsistency, active int) (ask, agree int) {
	switch v := rc.GetValue().(type) {
	case *qdrant.ReadConsistency_Factor:
		n := int(min(v.Factor, math.MaxInt32))
		return n, n
	case *qdrant.ReadConsistency_Type:
		switch v.Type {
		case qdrant.ReadConsistencyType_All:
			return active, active
		case qdrant.ReadConsistencyType_Majority:
			return active, active/2 + 1
		default:
			return active/2 + 1, active/2 + 1
		}
	}
	return 1, 1
}

// crew is the asks of one question to a shard: at least one. Where too few replicas are
// readable choosing one of them will tell (enough).
func (c *Coordinator) crew(r Read, s topology.Shard) []*ask {
	n, agree := 1, 1
	if r.Consistency != nil {
		p, _ := c.o.Map().Placement(s)
		n, agree = voters(r.Consistency, p.ActiveCount())
		n = max(1, min(n, p.ActiveCount()))
	}
	crew := make([]*ask, n)
	for i := range crew {
		crew[i] = &ask{shard: s, crew: crew, agree: min(agree, len(crew))}
	}
	return crew
}

// enough checks a wished read consistency against the readable replicas.
func enough(rc *qdrant.ReadConsistency, active int, s topology.Shard) error {
	if ask, _ := voters(rc, active); ask > max(1, active) {
		return located(fault.New(fault.ShardUnavailable, "shard %d has %d readable replicas, the read consistency asks for %d", s.ID, active, ask), s, 0)
	}
	return nil
}

// agreed is what enough of the crew have answered. What is about the replicas
// themselves is the answer of one.
func agreed(crew []*ask) *shardv1.ShardReadResult {
	if len(crew) == 1 {
		return crew[0].result
	}
	need := crew[0].agree
	all := make([]*shardv1.ShardReadResult, len(crew))
	for i, a := range crew {
		all[i] = a.result
	}
	out := &shardv1.ShardReadResult{AppliedSeq: all[0].GetAppliedSeq(), Detached: slices.ContainsFunc(all, (*shardv1.ShardReadResult).GetDetached)}
	switch first := all[0].GetResult().(type) {
	case *shardv1.ShardReadResult_Records:
		kept := common(need, all, func(r *shardv1.ShardReadResult) []*shardv1.Record { return r.GetRecords().GetRecords() },
			func(r *shardv1.Record) (*qdrant.PointId, uint64) { return r.GetPoint().GetId(), r.GetVersion() })
		out.Result = &shardv1.ShardReadResult_Records{Records: &shardv1.Records{Records: kept}}
	case *shardv1.ShardReadResult_Rankings:
		lists := &shardv1.Rankings{}
		for i := range first.Rankings.GetRankings() {
			kept := common(need, all, func(r *shardv1.ShardReadResult) []*qdrant.ScoredPoint { return ranking(r, i) },
				func(p *qdrant.ScoredPoint) (*qdrant.PointId, uint64) { return p.GetId(), p.GetVersion() })
			lists.Rankings = append(lists.Rankings, &shardv1.Ranking{Points: kept})
		}
		out.Result = &shardv1.ShardReadResult_Rankings{Rankings: lists}
	case *shardv1.ShardReadResult_Count:
		counts := make([]uint64, len(all))
		for i, r := range all {
			counts[i] = r.GetCount()
		}
		out.Result = &shardv1.ShardReadResult_Count{Count: reached(need, counts)}
	case *shardv1.ShardReadResult_Facets:
		out.Result = &shardv1.ShardReadResult_Facets{Facets: &shardv1.Facets{Hits: commonFacets(need, all)}}
	default:
		return all[0]
	}
	return out
}

func ranking(r *shardv1.ShardReadResult, i int) []*qdrant.ScoredPoint {
	if lists := r.GetRankings().GetRankings(); i < len(lists) {
		return lists[i].GetPoints()
	}
	return nil
}

// common keeps, in the order of the first list that has it, what need of the answers
// have in one version; of two such versions the later.
func common[T any](need int, all []*shardv1.ShardReadResult, list func(*shardv1.ShardReadResult) []T, of func(T) (*qdrant.PointId, uint64)) []T {
	type version struct {
		id      topology.PointID
		version uint64
	}
	count := map[version]int{}
	newest := map[topology.PointID]uint64{}
	at := func(x T) version {
		id, v := of(x)
		pid, err := wire.PointID(id)
		if err != nil {
			return version{} // who merges the shards says so
		}
		return version{pid, v}
	}
	for _, r := range all {
		for _, x := range list(r) {
			v := at(x)
			if count[v]++; count[v] >= need {
				newest[v.id] = max(newest[v.id], v.version)
			}
		}
	}
	var out []T
	for _, r := range all {
		for _, x := range list(r) {
			v := at(x)
			if n, ok := newest[v.id]; ok && n == v.version {
				out = append(out, x)
				delete(newest, v.id)
			}
		}
	}
	return out
}

// reached is the greatest number that need of them are not below.
func reached(need int, of []uint64) uint64 {
	slices.SortFunc(of, func(a, b uint64) int { return cmp.Compare(b, a) })
	return of[need-1]
}

func commonFacets(need int, all []*shardv1.ShardReadResult) (out []*qdrant.FacetHit) {
	counts := map[facetValue][]uint64{}
	for i, r := range all {
		for _, h := range r.GetFacets().GetHits() {
			v := valueOf(h)
			if counts[v] == nil {
				counts[v] = make([]uint64, len(all))
				out = append(out, &qdrant.FacetHit{Value: h.GetValue()})
			}
			counts[v][i] = h.GetCount()
		}
	}
	kept := out[:0]
	for _, h := range out {
		if h.Count = reached(need, counts[valueOf(h)]); h.Count > 0 {
			kept = append(kept, h)
		}
	}
	return kept
}
