package points

import (
	"context"
	"math"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator/plan"
	"github.com/pandodb/pando/services/dataplane/internal/document"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query/grouping"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

// defaultGroupSize is how many points a group has at most.
const defaultGroupSize = 3

// maxGrouped bounds groups times their size: what is gathered in memory.
const maxGrouped = 1 << 20

// QueryGroups is Query with the best points of each of the best groups. Points are of
// the groups that their values of `group_by` name. Limits of prefetches count for each
// point of a group.
func (s *Service) QueryGroups(ctx context.Context, r *qdrant.QueryPointGroups) (*qdrant.QueryGroupsResponse, error) {
	out, err := s.groups(ctx, r)
	return &qdrant.QueryGroupsResponse{Result: out}, err
}

// grouped is a grouped query on its way.
type grouped struct {
	s    *Service
	read coordinator.Read
	root *plan.Node
	by   payload.Path
	sel  coordinator.Select
	got  *grouping.Groups[*qdrant.ScoredPoint]
	size uint64
}

func (s *Service) groups(ctx context.Context, r *qdrant.QueryPointGroups) (*qdrant.GroupsResult, error) {
	limit, size := uint64(defaultLimit), uint64(defaultGroupSize)
	if r.Limit != nil {
		limit = *r.Limit
	}
	if r.GroupSize != nil {
		size = *r.GroupSize
	}
	q := &qdrant.PrefetchQuery{Prefetch: r.GetPrefetch(), Query: r.GetQuery(), Using: r.Using, Filter: r.GetFilter(), Params: r.GetParams(),
		ScoreThreshold: r.ScoreThreshold, Limit: &limit, LookupFrom: r.GetLookupFrom()}
	col, read, err := s.reader(ctx, r, r.Timeout, r.GetShardKeySelector(), func(c *validate.Check) {
		c.Tree("", q)
		c.LimitAt("group_size", size)
		if limit > maxGrouped || size > maxGrouped || limit*size > maxGrouped {
			c.Add("limit", "value %d times group_size %d invalid, must be %d points or fewer", limit, size, maxGrouped)
		}
	})
	if err != nil {
		return nil, err
	}
	g := &grouped{s: s, read: read, size: size, got: grouping.New[*qdrant.ScoredPoint](int(limit), int(size))}
	if err := validate.Key(r.GetGroupBy()); err != nil {
		return nil, err
	}
	if g.by, err = payload.ParsePath(r.GetGroupBy()); err != nil {
		return nil, err
	}
	if g.sel, err = selection(col.Schema, r.GetWithPayload(), r.GetWithVectors(), false); err != nil {
		return nil, err
	}
	lookup, err := s.joins(ctx, read, r.GetWithLookup())
	if err != nil {
		return nil, err
	}
	b := &builder{s: s, col: col}
	if g.root, err = b.node(ctx, times(q, size), r.GetShardKeySelector(), nil); err != nil {
		return nil, err
	}
	if err := b.resolve(ctx, read); err != nil {
		return nil, err
	}
	if err := g.gather(ctx, limit); err != nil {
		return nil, err
	}
	out, err := g.answer(ctx)
	if err != nil {
		return nil, err
	}
	return out, lookup(ctx, out)
}

// times is a query whose limits are multiplied; limits without a value too.
func times(q *qdrant.PrefetchQuery, n uint64) *qdrant.PrefetchQuery {
	limit := uint64(defaultLimit)
	if q.Limit != nil {
		limit = *q.Limit
	}
	if limit > math.MaxUint64/n {
		limit = math.MaxUint64 / n
	}
	limit *= n
	out := &qdrant.PrefetchQuery{Query: q.GetQuery(), Using: q.Using, Filter: q.GetFilter(), Params: q.GetParams(), ScoreThreshold: q.ScoreThreshold,
		Limit: &limit, LookupFrom: q.GetLookupFrom()}
	for _, p := range q.GetPrefetch() {
		out.Prefetch = append(out.Prefetch, times(p, n))
	}
	return out
}

// gather asks for rankings until the groups are known and full. What ranks no more than
// its candidates is asked once, for all of them.
func (g *grouped) gather(ctx context.Context, most uint64) error {
	if v, ok := g.root.By.(*plan.Vectors); len(g.root.Sources) > 0 || ok && v.MMR != nil {
		all, err := g.rank(ctx, nil, math.MaxUint64)
		g.got.Discover(all)
		return err
	}
	if err := g.discover(ctx, most); err != nil {
		return err
	}
	return g.fill(ctx)
}

func (g *grouped) discover(ctx context.Context, most uint64) error {
	for n := most * g.size; !g.got.Full(); {
		known := uint64(len(g.got.Known()))
		found, err := g.rank(ctx, g.outside(g.got.Known()), n)
		if err != nil {
			return err
		}
		if g.got.Discover(found); uint64(len(found)) < n {
			return nil
		}
		if now := uint64(len(g.got.Known())); now > known {
			n = (most - now) * g.size
		} else {
			n *= 2
		}
	}
	return nil
}

func (g *grouped) fill(ctx context.Context) error {
	open := g.got.Open()
	for n := uint64(len(open)) * g.size; len(open) > 0; n *= 2 {
		found, err := g.rank(ctx, g.inside(open), n)
		if err != nil {
			return err
		}
		if g.got.Fill(found); uint64(len(found)) < n {
			return nil
		}
		open = g.got.Open()
	}
	return nil
}

// rank gives up to n points of groups that also satisfy a filter.
func (g *grouped) rank(ctx context.Context, only *qdrant.Filter, n uint64) ([]grouping.Member[*qdrant.ScoredPoint], error) {
	root := *g.root
	root.Filter = both(root.Filter, only)
	found, err := g.s.d.Coordinator.Query(ctx, g.read, []*plan.Tree{{Root: &root, Limit: n, Payload: including(g.by.Cover())}})
	if err != nil {
		return nil, err
	}
	out := make([]grouping.Member[*qdrant.ScoredPoint], len(found[0]))
	for i, p := range found[0] {
		doc, err := document.Of(p.GetPayload())
		if err != nil {
			return nil, err
		}
		out[i] = grouping.Member[*qdrant.ScoredPoint]{Point: p, Keys: grouping.Keys(g.by, doc)}
	}
	return out, nil
}

func including(path string) *qdrant.WithPayloadSelector {
	return &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Include{Include: &qdrant.PayloadIncludeSelector{Fields: []string{path}}}}
}

// outside passes points that have a value of their own beside those of known groups.
func (g *grouped) outside(known []grouping.Key) *qdrant.Filter {
	texts, numbers := split(known)
	path := g.by.String()
	out := &qdrant.Filter{MustNot: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_IsEmpty{IsEmpty: &qdrant.IsEmptyCondition{Key: path}}}}}
	if len(texts) > 0 {
		out.Must = append(out.Must, matches(path, &qdrant.Match{MatchValue: &qdrant.Match_ExceptKeywords{ExceptKeywords: &qdrant.RepeatedStrings{Strings: texts}}}))
	}
	if len(numbers) > 0 {
		out.Must = append(out.Must, matches(path, &qdrant.Match{MatchValue: &qdrant.Match_ExceptIntegers{ExceptIntegers: &qdrant.RepeatedIntegers{Integers: numbers}}}))
	}
	return out
}

// inside passes points of some groups.
func (g *grouped) inside(groups []grouping.Key) *qdrant.Filter {
	texts, numbers := split(groups)
	path := g.by.String()
	return &qdrant.Filter{Should: []*qdrant.Condition{
		matches(path, &qdrant.Match{MatchValue: &qdrant.Match_Keywords{Keywords: &qdrant.RepeatedStrings{Strings: texts}}}),
		matches(path, &qdrant.Match{MatchValue: &qdrant.Match_Integers{Integers: &qdrant.RepeatedIntegers{Integers: numbers}}})}}
}

func matches(path string, m *qdrant.Match) *qdrant.Condition {
	return &qdrant.Condition{ConditionOneOf: &qdrant.Condition_Field{Field: &qdrant.FieldCondition{Key: path, Match: m}}}
}

func split(keys []grouping.Key) (texts []string, numbers []int64) {
	for _, k := range keys {
		if k.IsInt {
			numbers = append(numbers, k.Int)
		} else {
			texts = append(texts, k.Text)
		}
	}
	return texts, numbers
}

// answer reads what is to be answered of the points. Those that are gone are left out,
// and groups without any.
func (g *grouped) answer(ctx context.Context) (*qdrant.GroupsResult, error) {
	out := &qdrant.GroupsResult{}
	var ids []*qdrant.PointId
	for _, k := range g.got.Known() {
		for _, p := range g.got.Of(k) {
			ids = append(ids, p.GetId())
		}
	}
	if len(ids) == 0 {
		return out, nil
	}
	found, err := g.s.d.Coordinator.Get(ctx, g.read, ids, g.sel)
	if err != nil {
		return nil, err
	}
	read, err := byID(found)
	if err != nil {
		return nil, err
	}
	for _, k := range g.got.Known() {
		group := &qdrant.PointGroup{Id: groupID(k)}
		for _, p := range g.got.Of(k) {
			id, err := wire.PointID(p.GetId())
			if with, ok := read[id]; ok && err == nil {
				group.Hits = append(group.Hits, &qdrant.ScoredPoint{Id: p.GetId(), Score: p.GetScore(), Version: p.GetVersion(), OrderValue: p.GetOrderValue(),
					Payload: with.GetPayload(), Vectors: with.GetVectors(), ShardKey: with.GetShardKey()})
			}
		}
		if len(group.GetHits()) > 0 {
			out.Groups = append(out.Groups, group)
		}
	}
	return out, nil
}

func groupID(k grouping.Key) *qdrant.GroupId {
	switch {
	case !k.IsInt:
		return &qdrant.GroupId{Kind: &qdrant.GroupId_StringValue{StringValue: k.Text}}
	case k.Int < 0:
		return &qdrant.GroupId{Kind: &qdrant.GroupId_IntegerValue{IntegerValue: k.Int}}
	}
	return &qdrant.GroupId{Kind: &qdrant.GroupId_UnsignedValue{UnsignedValue: uint64(k.Int)}}
}

// joins checks `with_lookup` and gives what puts the points of that collection beside
// the groups that their ids name.
func (s *Service) joins(ctx context.Context, read coordinator.Read, w *qdrant.WithLookup) (func(context.Context, *qdrant.GroupsResult) error, error) {
	if w == nil {
		return func(context.Context, *qdrant.GroupsResult) error { return nil }, nil
	}
	col, err := s.d.View.Resolve(ctx, w.GetCollection())
	if err != nil {
		return nil, err
	}
	sel, err := selection(col.Schema, w.GetWithPayload(), w.GetWithVectors(), true)
	if err != nil {
		return nil, err
	}
	read.Target = col.Reads()
	return func(ctx context.Context, out *qdrant.GroupsResult) error {
		ids := make(map[topology.PointID]*qdrant.PointGroup, len(out.GetGroups()))
		var ask []*qdrant.PointId
		for _, g := range out.GetGroups() {
			if id, ok := named(g.GetId()); ok {
				ids[id] = g
				ask = append(ask, wire.ProtoID(id))
			}
		}
		if len(ask) == 0 {
			return nil
		}
		found, err := s.d.Coordinator.Get(ctx, read, ask, sel)
		if err != nil {
			return err
		}
		read, err := byID(found)
		for id, p := range read {
			ids[id].Lookup = p
		}
		return err
	}, nil
}

// named is the point that a group's id names, if it can name one.
func named(g *qdrant.GroupId) (topology.PointID, bool) {
	switch o := g.GetKind().(type) {
	case *qdrant.GroupId_UnsignedValue:
		return topology.NumberID(o.UnsignedValue), true
	case *qdrant.GroupId_StringValue:
		id, err := wire.UUID(o.StringValue)
		return id, err == nil
	}
	return topology.PointID{}, false
}
