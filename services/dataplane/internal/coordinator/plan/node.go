package plan

import (
	"math"
	"slices"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/query/fusion"
	"github.com/pandodb/pando/services/internal/topology"
	"google.golang.org/protobuf/proto"
)

// brings tells whether the question that ranks can bring along what is answered of
// the points.
func (n *Node) brings() bool {
	switch by := n.By.(type) {
	case *Vectors:
		return by.MMR == nil
	case *Fusion, *Formula:
		return false
	}
	return true
}

// begin is what a node asks when its sources are known; of is the tree whose root it
// is, or nil.
func (n *Node) begin(sources [][]point, of *Tree) []*Ask {
	filter := n.Filter
	if len(n.Sources) > 0 {
		all := union(sources)
		if len(all) == 0 {
			return nil
		}
		filter = among(all)
		if f, ok := n.By.(*Formula); ok {
			return f.begin(all)
		}
	}
	if !n.brings() || of == nil {
		of = &Tree{}
	}
	scroll := &shardv1.ScrollPoints{Filter: filter, Limit: uint32(min(n.Limit, math.MaxUint32)), WithPayload: of.Payload, WithVectors: of.Vectors}
	switch by := n.By.(type) {
	case *Vectors:
		return by.begin(n, filter, of)
	case *Field:
		scroll.OrderBy = by.Order
	case *Random:
		scroll.SampleSeed = new(by.Seed)
	case *Fusion, *Formula:
		return nil
	}
	return []*Ask{{Scroll: scroll}}
}

func (v *Vectors) begin(n *Node, filter *qdrant.Filter, of *Tree) []*Ask {
	q := &shardv1.ShardQuery{Query: v.Query, Using: v.Using, Filter: filter, Params: v.Params, ScoreThreshold: n.Threshold, Limit: n.Limit,
		WithPayload: of.Payload, WithVectors: of.Vectors}
	if len(n.Sources) > 0 { // few rows: there is nothing to save
		if q.Params = proto.CloneOf(v.Params); q.Params == nil {
			q.Params = &qdrant.SearchParams{}
		}
		q.Params.Exact = new(true)
	}
	if v.MMR != nil {
		if v.MMR.Candidates == 0 {
			return nil
		}
		q.Limit = v.MMR.Candidates
		q.WithVectors = &qdrant.WithVectorsSelector{SelectorOptions: &qdrant.WithVectorsSelector_Include{Include: &qdrant.VectorsSelector{Names: []string{v.Using}}}}
	}
	return []*Ask{{Rank: &Ranking{Query: q, SmallerIsBetter: v.SmallerIsBetter, IDF: v.IDF}}}
}

// end is what a node ranks, when what it asked is answered.
func (n *Node) end(sources [][]point, asks []*Ask) ([]point, error) {
	switch by := n.By.(type) {
	case *Fusion:
		return n.rescored(by.rank(n.Sources, sources), sources), nil
	case *Formula:
		hits, err := by.rank(sources, asks)
		return n.rescored(hits, sources), err
	case *Vectors:
		if len(asks) > 0 && by.MMR != nil {
			points, err := pointsOf(asks[0])
			return by.spread(points, n.Limit), err
		}
	}
	if len(asks) == 0 {
		return nil, nil
	}
	return pointsOf(asks[0])
}

// rescored are the best of the sources' points with new scores.
func (n *Node) rescored(hits []fusion.Hit, sources [][]point) []point {
	if n.Threshold != nil {
		hits = hits[:passing(hits, *n.Threshold)]
	}
	hits = hits[:min(n.Limit, uint64(len(hits)))]
	from := byID(slices.Concat(sources...))
	out := make([]point, len(hits))
	for i, h := range hits {
		p := from[h.ID]
		out[i] = point{h.ID, &qdrant.ScoredPoint{Id: p.GetId(), Score: h.Score, Version: p.GetVersion(), ShardKey: p.GetShardKey()}}
	}
	return out
}

// passing is how many hits, which are in order, are good enough.
func passing(hits []fusion.Hit, worst float32) int {
	n, _ := slices.BinarySearchFunc(hits, worst, func(h fusion.Hit, worst float32) int {
		if h.Score >= worst {
			return -1
		}
		return 1
	})
	return n
}

func (f *Fusion) rank(nodes []*Node, sources [][]point) []fusion.Hit {
	lists := make([]fusion.List, len(sources))
	for i, points := range sources {
		v, ok := nodes[i].By.(*Vectors)
		lists[i] = fusion.List{Hits: make([]fusion.Hit, len(points)), SmallerIsBetter: ok && v.SmallerIsBetter}
		for j, p := range points {
			lists[i].Hits[j] = fusion.Hit{ID: p.id, Score: p.p.GetScore()}
		}
	}
	if f.DBSF {
		return fusion.DBSF(lists)
	}
	return fusion.RRF(lists, f.K, f.Weights)
}

// spread takes points one by one so that they are unlike each other. How near they are
// to the query is computed as how near they are to each other: without scaled weights.
func (v *Vectors) spread(points []point, limit uint64) []point {
	target := wanted(v.Query.GetNearest())
	relevance, vectors := make([]float32, len(points)), make([]op.Vector, len(points))
	for i, p := range points {
		vectors[i] = stored(Vector(p.p.GetVectors(), v.Using))
		relevance[i] = fusion.Similarity(v.MMR.Distance, target, vectors[i])
	}
	similar := func(i, j int) float32 { return fusion.Similarity(v.MMR.Distance, vectors[i], vectors[j]) }
	var out []point
	for _, i := range fusion.MMR(relevance, similar, v.MMR.Lambda, int(min(limit, uint64(len(points))))) {
		p := points[i]
		out = append(out, point{p.id, &qdrant.ScoredPoint{Id: p.p.GetId(), Score: p.p.GetScore(), Version: p.p.GetVersion(), ShardKey: p.p.GetShardKey()}})
	}
	return out
}

// Vector finds one vector among those of an answer; nil if it is not there.
func Vector(v *qdrant.VectorsOutput, name string) *qdrant.VectorOutput {
	if named := v.GetVectors(); named != nil {
		return named.GetVectors()[name]
	}
	if name != "" {
		return nil
	}
	return v.GetVector()
}

// stored is a vector of an answer in the form in which it is compared.
func stored(v *qdrant.VectorOutput) op.Vector {
	switch o := v.GetVector().(type) {
	case *qdrant.VectorOutput_Sparse:
		return sparse(o.Sparse)
	case *qdrant.VectorOutput_MultiDense:
		return multi(o.MultiDense)
	}
	return op.Vector{Data: v.GetDense().GetData()}
}

// wanted is a vector of a query in that form.
func wanted(v *qdrant.VectorInput) op.Vector {
	switch o := v.GetVariant().(type) {
	case *qdrant.VectorInput_Sparse:
		return sparse(o.Sparse)
	case *qdrant.VectorInput_MultiDense:
		return multi(o.MultiDense)
	}
	return op.Vector{Data: v.GetDense().GetData()}
}

// sparse has its indices in order.
func sparse(v *qdrant.SparseVector) op.Vector {
	out := op.Vector{Data: v.GetValues(), Indices: append([]uint32{}, v.GetIndices()...)}
	if sorted, err := (query.VectorSchema{Kind: query.Sparse}).Stored(out); err == nil {
		return sorted
	}
	return out
}

func multi(v *qdrant.MultiDenseVector) op.Vector {
	out := op.Vector{Count: len(v.GetVectors())}
	for _, row := range v.GetVectors() {
		out.Data = append(out.Data, row.GetData()...)
	}
	return out
}

// union are the points of all lists, in the order in which they come first.
func union(lists [][]point) []point {
	seen := map[topology.PointID]bool{}
	var out []point
	for _, l := range lists {
		for _, p := range l {
			if !seen[p.id] {
				seen[p.id] = true
				out = append(out, p)
			}
		}
	}
	return out
}

// among passes these points alone.
func among(points []point, and ...*qdrant.Condition) *qdrant.Filter {
	has := &qdrant.Condition{ConditionOneOf: &qdrant.Condition_HasId{HasId: &qdrant.HasIdCondition{HasId: ids(points)}}}
	return &qdrant.Filter{Must: append([]*qdrant.Condition{has}, and...)}
}
