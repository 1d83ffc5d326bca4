package peer

import (
	"context"
	"maps"
	"slices"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/proof"
	"github.com/pandodb/pando/services/internal/fault"
)

// most keeps a wish for many results inside an int on every platform.
const most = 1 << 30

func nearestOf(q *shardv1.ShardQuery) (query.Nearest, error) {
	f, err := filterOf(q.GetFilter())
	if err != nil {
		return query.Nearest{}, err
	}
	if len(q.GetPrefetch()) > 0 {
		return query.Nearest{}, fault.Missing("prefetch")
	}
	out := query.Nearest{Using: q.GetUsing(), Filter: f, ScoreThreshold: q.ScoreThreshold, Limit: bounded(q.GetLimit()),
		Params: paramsOf(q.GetParams()), Want: wantOf(q.GetWithPayload(), q.GetWithVectors())}
	if v := q.GetQuery().GetNearest(); v != nil {
		one, err := inputOf(q.GetUsing(), v)
		out.Vector, out.Indices, out.Count = one.Data, one.Indices, one.Count
		return out, err
	}
	out.Rank, err = rankOf(q.GetUsing(), q.GetQuery())
	return out, err
}

// inputOf reads a vector of a query. Ids and texts have become vectors before.
func inputOf(name string, v *qdrant.VectorInput) (op.Vector, error) {
	switch o := v.GetVariant().(type) {
	case *qdrant.VectorInput_Dense:
		return op.Vector{Name: name, Data: o.Dense.GetData()}, nil
	case *qdrant.VectorInput_Sparse:
		return query.VectorSchema{Kind: query.Sparse}.Stored(sparseOf(name, o.Sparse))
	case *qdrant.VectorInput_MultiDense:
		return multiOf(name, o.MultiDense)
	case nil:
		return op.Vector{}, fault.BadInput("a vector of the query is missing")
	}
	return op.Vector{}, fault.Missing("this kind of query vector")
}

// acornShare is the greatest share of rows for which acorn applies by default.
const acornShare = 0.4

func paramsOf(p *qdrant.SearchParams) query.Params {
	q, a := p.GetQuantization(), p.GetAcorn()
	out := query.Params{Ef: bounded(p.GetHnswEf()), Exact: p.GetExact(), IndexedOnly: p.GetIndexedOnly(),
		IgnoreCodes: q.GetIgnore(), Oversampling: q.GetOversampling(), Acorn: a.GetEnable()}
	if q != nil && q.Rescore != nil {
		out.Rescore = new(*q.Rescore)
	}
	if out.Acorn {
		out.AcornSelectivity = acornShare
		if a.MaxSelectivity != nil {
			out.AcornSelectivity = *a.MaxSelectivity
		}
	}
	return out
}

// frequencies counts points by dimensions of sparse vectors.
func frequencies(ctx context.Context, e Engine, r *shardv1.ReadFrequencies) (*shardv1.ShardReadResult, error) {
	out := &shardv1.Frequencies{}
	for _, q := range r.GetQueries() {
		corpus, err := filterOf(q.GetCorpus())
		if err != nil {
			return nil, err
		}
		n, each, err := e.Frequencies(ctx, query.Frequencies{Using: q.GetUsing(), Indices: q.GetIndices(), Corpus: corpus})
		if err != nil {
			return nil, err
		}
		out.Frequencies = append(out.Frequencies, &shardv1.Frequency{Points: n, WithIndex: each})
	}
	return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Frequencies{Frequencies: out}}, nil
}

// comparison lists what replicas said of a mark, by their peers.
func comparison(v proof.Verified) *shardv1.ShardReadResult {
	out := &shardv1.Comparison{Epoch: uint64(v.Epoch), Seq: uint64(v.Seq)}
	for _, p := range slices.Sorted(maps.Keys(v.Reports)) {
		r := v.Reports[p]
		out.Replicas = append(out.Replicas, &shardv1.Compared{PeerId: uint64(p), Digest: protoDigest(r.Digest), AppliedSeq: uint64(r.Applied)})
	}
	return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Comparison{Comparison: out}}
}

func info(e Engine) *shardv1.ShardReadResult {
	i := e.Info()
	return &shardv1.ShardReadResult{Result: &shardv1.ShardReadResult_Info{Info: &shardv1.Info{
		Segments: i.Segments, Indexed: i.Indexed, Pending: i.Pending, Paused: i.Paused, Failure: i.Failure,
		Points: i.Points, VectorBytes: i.VectorBytes, PayloadBytes: i.PayloadBytes}}}
}
