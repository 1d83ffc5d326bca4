package points

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator/plan"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/protobuf/proto"
)

// What a distance matrix is made of where the request does not say.
const (
	defaultSample     = 10
	defaultNeighbours = 3
	// matrixRows are asked for in one round.
	matrixRows = 64
)

// SearchMatrixPairs compares points of a random sample with each other: of each its
// nearest ones.
func (s *Service) SearchMatrixPairs(ctx context.Context, r *qdrant.SearchMatrixPoints) (*qdrant.SearchMatrixPairsResponse, error) {
	ids, rows, err := s.matrix(ctx, r)
	if err != nil {
		return nil, err
	}
	out := &qdrant.SearchMatrixPairs{}
	for i, row := range rows {
		for _, p := range row {
			out.Pairs = append(out.Pairs, &qdrant.SearchMatrixPair{A: ids[i], B: p.GetId(), Score: p.GetScore()})
		}
	}
	return &qdrant.SearchMatrixPairsResponse{Result: out}, nil
}

// SearchMatrixOffsets is SearchMatrixPairs in the form of coordinates.
func (s *Service) SearchMatrixOffsets(ctx context.Context, r *qdrant.SearchMatrixPoints) (*qdrant.SearchMatrixOffsetsResponse, error) {
	ids, rows, err := s.matrix(ctx, r)
	if err != nil {
		return nil, err
	}
	out := &qdrant.SearchMatrixOffsets{Ids: ids}
	at := make(map[topology.PointID]uint64, len(ids))
	for i, id := range ids {
		pid, err := wire.PointID(id)
		if err != nil {
			return nil, noID(err)
		}
		at[pid] = uint64(i)
	}
	for i, row := range rows {
		for _, p := range row {
			pid, err := wire.PointID(p.GetId())
			if err != nil {
				return nil, noID(err)
			}
			out.OffsetsRow = append(out.OffsetsRow, uint64(i))
			out.OffsetsCol = append(out.OffsetsCol, at[pid])
			out.Scores = append(out.Scores, p.GetScore())
		}
	}
	return &qdrant.SearchMatrixOffsetsResponse{Result: out}, nil
}

// matrix gives the points of a sample in the order of ids and the nearest of each among
// the others. Fewer than two points make no matrix.
func (s *Service) matrix(ctx context.Context, r *qdrant.SearchMatrixPoints) ([]*qdrant.PointId, [][]*qdrant.ScoredPoint, error) {
	size, limit := uint64(defaultSample), uint64(defaultNeighbours)
	if r.Sample != nil {
		size = *r.Sample
	}
	if r.Limit != nil {
		limit = *r.Limit
	}
	col, read, err := s.reader(ctx, r, r.Timeout, r.GetShardKeySelector(), func(c *validate.Check) {
		c.Limit(limit)
		c.Sample(size)
	})
	if err != nil {
		return nil, nil, err
	}
	if err := validate.Filter(r.GetFilter()); err != nil {
		return nil, nil, err
	}
	want, err := col.Schema.Using(r.GetUsing())
	if err != nil {
		return nil, nil, err
	}
	has := &qdrant.Filter{Must: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_HasVector{HasVector: &qdrant.HasVectorCondition{HasVector: r.GetUsing()}}}}}
	sample, err := s.d.Coordinator.Query(ctx, read, []*plan.Tree{{Root: &plan.Node{By: &plan.Random{Seed: rand.Uint64()}, Filter: both(r.GetFilter(), has)}, Limit: size,
		Vectors: &qdrant.WithVectorsSelector{SelectorOptions: &qdrant.WithVectorsSelector_Include{Include: &qdrant.VectorsSelector{Names: []string{r.GetUsing()}}}}}})
	if err != nil {
		return nil, nil, err
	}
	ids, err := sorted(sample[0])
	if err != nil || len(ids) < 2 {
		return nil, nil, err
	}
	among := &qdrant.Filter{Must: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_HasId{HasId: &qdrant.HasIdCondition{HasId: ids}}}}}
	var rows [][]*qdrant.ScoredPoint
	for some := range slices.Chunk(sample[0], matrixRows) {
		trees := make([]*plan.Tree, len(some))
		for i, p := range some {
			by := &plan.Vectors{Using: r.GetUsing(), Params: &qdrant.SearchParams{Exact: new(true)}, SmallerIsBetter: smallerIsBetter(want.Distance),
				Query: &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: inputOf(plan.Vector(p.GetVectors(), r.GetUsing()))}}}
			if want.IDF {
				by.IDF = &plan.IDF{}
			}
			trees[i] = &plan.Tree{Root: &plan.Node{By: by, Filter: among}, Limit: min(limit, size) + 1} // itself may be among them
		}
		found, err := s.d.Coordinator.Query(ctx, read, trees)
		if err != nil {
			return nil, nil, err
		}
		for i, row := range found {
			row = slices.DeleteFunc(row, func(p *qdrant.ScoredPoint) bool { return proto.Equal(p.GetId(), some[i].GetId()) })
			rows = append(rows, row[:min(limit, uint64(len(row)))])
		}
	}
	return ids, rows, nil
}

// sorted puts points in the order of their ids, which it gives.
func sorted(points []*qdrant.ScoredPoint) ([]*qdrant.PointId, error) {
	var bad error
	slices.SortFunc(points, func(a, b *qdrant.ScoredPoint) int {
		x, err := wire.PointID(a.GetId())
		y, also := wire.PointID(b.GetId())
		if either := cmp.Or(err, also); either != nil {
			bad = noID(either)
		}
		return topology.PointID.Compare(x, y)
	})
	ids := make([]*qdrant.PointId, len(points))
	for i, p := range points {
		ids[i] = p.GetId()
	}
	return ids, bad
}
