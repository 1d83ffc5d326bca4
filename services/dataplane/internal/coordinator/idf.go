package coordinator

import (
	"context"
	"slices"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator/plan"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
)

// scale puts scaled weights into the queries that ask for it.
func (c *Coordinator) scale(ctx context.Context, r Read, queries []*plan.Ranking) error {
	var ask shardv1.ReadFrequencies
	var to []*shardv1.ShardQuery
	for _, q := range queries {
		if q.IDF == nil {
			continue
		}
		var indices []uint32
		plan.Inputs(q.Query.GetQuery(), func(in *qdrant.VectorInput) *qdrant.VectorInput {
			indices = append(indices, in.GetSparse().GetIndices()...)
			return in
		})
		slices.Sort(indices)
		ask.Queries = append(ask.Queries, &shardv1.FrequencyQuery{Using: q.Query.GetUsing(), Indices: slices.Compact(indices), Corpus: q.IDF.Corpus})
		to = append(to, q.Query)
	}
	if len(to) == 0 {
		return nil
	}
	res, err := c.read(ctx, r, func(topology.Shard) *shardv1.ShardRead {
		return &shardv1.ShardRead{Read: &shardv1.ShardRead_Frequencies{Frequencies: &ask}}
	})
	if err != nil {
		return err
	}
	for i, q := range to {
		indices := ask.Queries[i].GetIndices()
		total, with := uint64(0), make([]uint64, len(indices))
		for _, one := range res {
			fs := one.GetFrequencies().GetFrequencies()
			if i >= len(fs) || len(fs[i].GetWithIndex()) != len(indices) {
				continue // a shard that is being born
			}
			total += fs[i].GetPoints()
			for j, n := range fs[i].GetWithIndex() {
				with[j] += n
			}
		}
		q.Query = plan.Inputs(q.GetQuery(), func(in *qdrant.VectorInput) *qdrant.VectorInput {
			return scaled(in.GetSparse(), func(index uint32) float64 {
				j, _ := slices.BinarySearch(indices, index)
				return query.IDF(total, with[j])
			})
		})
	}
	return nil
}

// scaled is a vector of its own with each weight multiplied.
func scaled(v *qdrant.SparseVector, by func(index uint32) float64) *qdrant.VectorInput {
	out := &qdrant.SparseVector{Indices: v.GetIndices(), Values: make([]float32, len(v.GetValues()))}
	for i, w := range v.GetValues() {
		out.Values[i] = float32(float64(w) * by(v.GetIndices()[i]))
	}
	return &qdrant.VectorInput{Variant: &qdrant.VectorInput_Sparse{Sparse: out}}
}
