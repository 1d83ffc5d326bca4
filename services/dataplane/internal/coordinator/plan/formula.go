package plan

import (
	"errors"
	"slices"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/document"
	"github.com/pandodb/pando/services/dataplane/internal/query/formula"
	"github.com/pandodb/pando/services/dataplane/internal/query/fusion"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
)

// begin asks for what the formula reads, and, for each condition, which points
// satisfy it: only a shard knows what a condition means there.
func (f *Formula) begin(all []point) []*Ask {
	asks := []*Ask{{Get: &shardv1.GetPoints{Ids: ids(all), WithPayload: &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Include{
		Include: &qdrant.PayloadIncludeSelector{Fields: f.Program.Paths()}}}}}}
	for _, c := range f.Conditions {
		asks = append(asks, &Ask{Scroll: &shardv1.ScrollPoints{Filter: among(all, c), Limit: uint32(len(all))}})
	}
	return asks
}

// rank computes the scores of all points that are still there.
func (f *Formula) rank(sources [][]point, asks []*Ask) ([]fusion.Hit, error) {
	if len(asks) == 0 {
		return nil, nil
	}
	read, err := pointsOf(asks[0])
	if err != nil {
		return nil, err
	}
	holds := make([]map[topology.PointID]*qdrant.ScoredPoint, len(f.Conditions))
	for i := range f.Conditions {
		passed, err := pointsOf(asks[1+i])
		if err != nil {
			return nil, err
		}
		holds[i] = byID(passed)
	}
	scores := make([]map[topology.PointID]*qdrant.ScoredPoint, len(sources))
	for i, points := range sources {
		scores[i] = byID(points)
	}
	hits := make([]fusion.Hit, 0, len(read))
	for _, p := range read {
		doc, err := document.Of(p.p.GetPayload())
		if err != nil {
			return nil, err
		}
		score, err := f.Program.Value(formula.Point{Payload: doc, Holds: func(i int) bool { return holds[i][p.id] != nil },
			Score: func(i int) (float32, bool) {
				if i >= len(scores) {
					return 0, false
				}
				from, ok := scores[i][p.id]
				return from.GetScore(), ok
			}})
		if errors.Is(err, formula.ErrValue) {
			return nil, fault.Wrap(fault.InvalidArgument, err, "Wrong input: %v", err)
		}
		if err != nil {
			return nil, err
		}
		hits = append(hits, fusion.Hit{ID: p.id, Score: score})
	}
	slices.SortFunc(hits, fusion.Compare)
	return hits, nil
}
