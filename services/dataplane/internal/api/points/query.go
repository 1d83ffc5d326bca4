package points

import (
	"context"
	"fmt"
	"math"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/api/view"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/internal/fault"
	"google.golang.org/protobuf/proto"
)

// Query ranks points by their distance from a vector, or from the vector of a
// point, which is then not among the answers. Without a query it answers points
// in the order of ids with score 0. COLLECTION_NOT_FOUND, POINT_NOT_FOUND,
// VALIDATION, MALFORMED, VECTOR_NAME_UNKNOWN, DIMENSION_MISMATCH, NOT_BUILT for
// other kinds of queries and for prefetches.
func (s *Service) Query(ctx context.Context, r *qdrant.QueryPoints) (*qdrant.QueryResponse, error) {
	out, err := s.queries(ctx, r, r.Timeout, "", []*qdrant.QueryPoints{r})
	if err != nil {
		return nil, err
	}
	return &qdrant.QueryResponse{Result: out[0]}, nil
}

// QueryBatch answers several queries in their order. The collection, the read
// consistency and the timeout of the batch count, not those inside.
func (s *Service) QueryBatch(ctx context.Context, r *qdrant.QueryBatchPoints) (*qdrant.QueryBatchResponse, error) {
	out, err := s.queries(ctx, r, r.Timeout, "searches", r.GetQueryPoints())
	if err != nil {
		return nil, err
	}
	return &qdrant.QueryBatchResponse{Result: batches(out)}, nil
}

func batches(in [][]*qdrant.ScoredPoint) []*qdrant.BatchResult {
	out := make([]*qdrant.BatchResult, len(in))
	for i, points := range in {
		out[i] = &qdrant.BatchResult{Result: points}
	}
	return out
}

// question is one query of a batch, checked.
type question struct {
	in      *qdrant.QueryPoints
	target  coordinator.Target
	sel     coordinator.Select
	limit   uint64
	vector  *qdrant.VectorInput // nil: of the point named by ref, or there is no query
	want    validate.Vector
	ref     *reference
	exclude *qdrant.PointId
}

// queries checks all, finds the vectors of those that name points, then ranks.
func (s *Service) queries(ctx context.Context, r reading, timeout *uint64, list string, in []*qdrant.QueryPoints) ([][]*qdrant.ScoredPoint, error) {
	col, read, err := s.reader(ctx, r, timeout, nil, func(c *validate.Check) {
		for i, q := range in {
			limits(c, list, i, q)
		}
	})
	if err != nil {
		return nil, err
	}
	qs := make([]*question, len(in))
	for i, q := range in {
		if qs[i], err = s.question(ctx, col, q); err != nil {
			return nil, err
		}
	}
	if err := s.resolve(ctx, read, qs); err != nil {
		return nil, err
	}
	return s.rank(ctx, read, qs)
}

func limits(c *validate.Check, list string, i int, q *qdrant.QueryPoints) {
	at := ""
	if list != "" {
		at = fmt.Sprintf("%s[%d].", list, i)
	}
	if q.Limit != nil {
		c.LimitAt(at+"limit", *q.Limit)
	}
	c.Params(at, q.GetParams())
	c.Threshold(at, q.ScoreThreshold)
}

// question checks one query against the collection.
func (s *Service) question(ctx context.Context, col *view.Collection, in *qdrant.QueryPoints) (*question, error) {
	q := &question{in: in, limit: defaultLimit}
	if in.Limit != nil {
		q.limit = *in.Limit
	}
	if len(in.GetPrefetch()) > 0 {
		return nil, fault.Missing("query with `prefetch`")
	}
	if err := validate.Filter(in.GetFilter()); err != nil {
		return nil, err
	}
	if err := validate.Filter(in.GetParams().GetIdf().GetCorpus()); err != nil {
		return nil, err
	}
	var err error
	if q.target, err = s.target(ctx, col, in.GetShardKeySelector(), false); err != nil {
		return nil, err
	}
	if q.sel, err = selection(col.Schema, in.GetWithPayload(), in.GetWithVectors(), false); err != nil {
		return nil, err
	}
	if in.GetQuery() == nil {
		return q, nil
	}
	if q.want, err = col.Schema.Using(in.GetUsing()); err != nil {
		return nil, err
	}
	if in.GetParams().GetIdf() != nil && !q.want.IDF {
		return nil, fault.BadInput("params.idf counts for sparse vectors with the modifier idf, and `%.64s` is none", in.GetUsing())
	}
	input, err := nearest(in.GetQuery())
	if err != nil {
		return nil, err
	}
	return q, s.input(ctx, col, q, input)
}

// nearest takes out the only kind of query that is built.
func nearest(q *qdrant.Query) (*qdrant.VectorInput, error) {
	kind := ""
	switch o := q.GetVariant().(type) {
	case *qdrant.Query_Nearest:
		return o.Nearest, nil
	case *qdrant.Query_Recommend:
		kind = "recommend"
	case *qdrant.Query_Discover:
		kind = "discover"
	case *qdrant.Query_Context:
		kind = "context"
	case *qdrant.Query_OrderBy:
		kind = "order_by"
	case *qdrant.Query_Fusion:
		kind = "fusion"
	case *qdrant.Query_Sample:
		kind = "sample"
	case *qdrant.Query_Formula:
		kind = "formula"
	case *qdrant.Query_NearestWithMmr:
		kind = "nearest with mmr"
	case *qdrant.Query_Rrf:
		kind = "rrf"
	case *qdrant.Query_RelevanceFeedback:
		kind = "relevance_feedback"
	case *qdrant.Query_Text:
		kind = "text"
	default:
		return nil, fault.New(fault.Malformed, "Malformed query: it holds none of the known kinds")
	}
	return nil, fault.Missing("query kind `" + kind + "`")
}

// input is what to be near to: numbers, or a point whose vector is meant.
func (s *Service) input(ctx context.Context, col *view.Collection, q *question, in *qdrant.VectorInput) (err error) {
	if o, ok := in.GetVariant().(*qdrant.VectorInput_Id); ok {
		return s.refer(ctx, col, q, o.Id)
	}
	q.vector, err = q.want.Input(validate.Place{Part: "query"}, in)
	return err
}

// rank asks the coordinator, in one round for neighbours in the batch that
// concern the same shards.
func (s *Service) rank(ctx context.Context, read coordinator.Read, qs []*question) ([][]*qdrant.ScoredPoint, error) {
	out := make([][]*qdrant.ScoredPoint, 0, len(qs))
	for len(qs) > 0 {
		read.Target = qs[0].target
		if qs[0].in.GetQuery() == nil {
			points, err := s.plain(ctx, read, qs[0])
			if err != nil {
				return nil, err
			}
			out, qs = append(out, points), qs[1:]
			continue
		}
		n := 0
		var round []coordinator.Ranking
		for ; n < len(qs) && qs[n].in.GetQuery() != nil && proto.Equal(qs[n].in.GetShardKeySelector(), qs[0].in.GetShardKeySelector()); n++ {
			round = append(round, qs[n].ranking())
		}
		points, err := s.d.Coordinator.Rank(ctx, read, round)
		if err != nil {
			return nil, err
		}
		out, qs = append(out, points...), qs[n:]
	}
	return out, nil
}

func (q *question) ranking() coordinator.Ranking {
	out := coordinator.Ranking{
		Query: &shardv1.ShardQuery{
			Query: &qdrant.Query{Variant: &qdrant.Query_Nearest{Nearest: q.vector}},
			Using: q.in.GetUsing(), Filter: without(q.in.GetFilter(), q.exclude), Params: q.in.GetParams(),
			ScoreThreshold: q.in.ScoreThreshold, WithPayload: q.sel.Payload, WithVectors: q.sel.Vectors,
		},
		Offset: q.in.GetOffset(), Limit: q.limit, SmallerIsBetter: smallerIsBetter(q.want.Distance),
	}
	if q.want.IDF {
		out.IDF = &coordinator.IDF{Corpus: q.in.GetParams().GetIdf().GetCorpus()}
	}
	return out
}

// without adds to a filter that one point is not wanted.
func without(f *qdrant.Filter, id *qdrant.PointId) *qdrant.Filter {
	if id == nil {
		return f
	}
	not := []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_HasId{HasId: &qdrant.HasIdCondition{HasId: []*qdrant.PointId{id}}}}}
	if f == nil {
		return &qdrant.Filter{MustNot: not}
	}
	return &qdrant.Filter{Must: f.GetMust(), Should: f.GetShould(), MinShould: f.GetMinShould(), MustNot: append(not, f.GetMustNot()...)}
}

// plain answers points in the order of ids, all with score 0.
func (s *Service) plain(ctx context.Context, read coordinator.Read, q *question) ([]*qdrant.ScoredPoint, error) {
	offset := q.in.GetOffset()
	if offset > math.MaxUint32 {
		return nil, nil // no page reaches that far
	}
	want := offset + min(q.limit, math.MaxUint32-offset)
	page, err := s.d.Coordinator.Scroll(ctx, read, q.in.GetFilter(), nil, uint32(want), q.sel)
	if err != nil {
		return nil, err
	}
	rest := page.Points[min(offset, uint64(len(page.Points))):]
	out := make([]*qdrant.ScoredPoint, 0, len(rest))
	for _, p := range rest {
		out = append(out, &qdrant.ScoredPoint{Id: p.GetId(), Payload: p.GetPayload(), Vectors: p.GetVectors(), ShardKey: p.GetShardKey()})
	}
	return out, nil
}
