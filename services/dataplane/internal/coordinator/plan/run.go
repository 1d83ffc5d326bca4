package plan

import (
	"math"

	shardv1 "github.com/pandodb/pando/gen/go/pando/shard/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
	"google.golang.org/protobuf/proto"
)

// Ask is one question to all shards. One of Rank, Scroll and Get is set.
type Ask struct {
	Rank   *Ranking
	Scroll *shardv1.ScrollPoints
	Get    *shardv1.GetPoints
	// Answer is what all shards say, merged: in the order of the question and cut to
	// its limit, ties by id. Who asks sets it.
	Answer []*qdrant.ScoredPoint

	answered bool
}

// Ranking is a query of shards and how to merge what they answer.
type Ranking struct {
	Query           *shardv1.ShardQuery
	SmallerIsBetter bool
	IDF             *IDF
}

// Run carries out a batch of trees: ask what Next says until that is nothing, then
// take the Results.
type Run struct {
	trees []*Tree
	ends  []progress // of trees: the parts of points that are answered
	nodes map[*Node]*progress
	asked map[string]*Ask // nil: no two questions can be the same
	fresh []*Ask
}

// progress is how far a node or a tree has come.
type progress struct {
	begun, done bool
	asks        []*Ask
	points      []point
}

type point struct {
	id topology.PointID
	p  *qdrant.ScoredPoint
}

// New begins to carry out trees; it takes them over.
func New(trees []*Tree) *Run {
	r := &Run{trees: trees, ends: make([]progress, len(trees)), nodes: map[*Node]*progress{}}
	for i, t := range trees {
		t.Root.Limit = t.end()
		if t.Offset > math.MaxUint32 { // no ranking reaches that far
			r.ends[i].done = true
		}
		if len(trees) > 1 || len(t.Root.Sources) > 0 {
			r.asked = map[string]*Ask{}
		}
	}
	return r
}

// Next says what is to be asked, beside each other, when what it said before is
// answered. The errors are those of formulas.
func (r *Run) Next() ([]*Ask, error) {
	for _, a := range r.fresh {
		a.answered = true
	}
	r.fresh = nil
	for i, t := range r.trees {
		if err := r.tree(t, &r.ends[i]); err != nil {
			return nil, err
		}
	}
	return r.fresh, nil
}

// Results are the answers in the order of the trees, when nothing is left to ask.
func (r *Run) Results() [][]*qdrant.ScoredPoint {
	out := make([][]*qdrant.ScoredPoint, len(r.ends))
	for i := range r.ends {
		out[i] = make([]*qdrant.ScoredPoint, len(r.ends[i].points))
		for j, p := range r.ends[i].points {
			out[i][j] = p.p
		}
	}
	return out
}

// advance takes what is done as far as it goes.
func (r *Run) advance(s *progress, begin func() []*Ask, end func([]*Ask) ([]point, error)) (err error) {
	if !s.begun {
		s.begun = true
		for _, a := range begin() {
			s.asks = append(s.asks, r.ask(a))
		}
	}
	for _, a := range s.asks {
		if !a.answered {
			return nil
		}
	}
	s.points, err = end(s.asks)
	s.done = true
	return err
}

// ask is the question itself, or the same one that was asked before.
func (r *Run) ask(a *Ask) *Ask {
	if r.asked != nil {
		key := a.key()
		if same, ok := r.asked[key]; ok {
			return same
		}
		r.asked[key] = a
	}
	r.fresh = append(r.fresh, a)
	return a
}

// key is the same for questions with the same answer. What else a Ranking holds
// follows from its query.
func (a *Ask) key() string {
	var kind byte
	var m proto.Message
	switch {
	case a.Rank != nil:
		kind, m = 'r', a.Rank.Query
	case a.Scroll != nil:
		kind, m = 's', a.Scroll
	default:
		kind, m = 'g', a.Get
	}
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend([]byte{kind}, m)
	if err != nil { // a text that is not UTF-8: its shards will say so
		return string(kind) + m.(interface{ String() string }).String()
	}
	return string(b)
}

func (r *Run) node(n *Node, of *Tree) error {
	s := r.nodes[n]
	if s == nil {
		s = &progress{}
		r.nodes[n] = s
	}
	if s.done {
		return nil
	}
	sources := make([][]point, len(n.Sources))
	for i, source := range n.Sources {
		if err := r.node(source, nil); err != nil {
			return err
		}
		if !r.nodes[source].done {
			sources = nil
		} else if sources != nil {
			sources[i] = r.nodes[source].points
		}
	}
	if sources == nil && len(n.Sources) > 0 {
		return nil
	}
	return r.advance(s, func() []*Ask { return n.begin(sources, of) }, func(asks []*Ask) ([]point, error) { return n.end(sources, asks) })
}

// tree ranks, then reads what is to be answered of the points where the ranking did
// not bring it along.
func (r *Run) tree(t *Tree, s *progress) error {
	if s.done {
		return nil
	}
	if err := r.node(t.Root, t); err != nil || !r.nodes[t.Root].done {
		return err
	}
	points := r.nodes[t.Root].points
	points = points[min(t.Offset, uint64(len(points))):]
	return r.advance(s, func() []*Ask {
		if len(points) == 0 || t.Root.brings() || !t.selects() {
			return nil
		}
		return []*Ask{{Get: &shardv1.GetPoints{Ids: ids(points), WithPayload: t.Payload, WithVectors: t.Vectors}}}
	}, func(asks []*Ask) ([]point, error) {
		if len(asks) == 0 {
			return points, nil
		}
		return joined(points, asks[0])
	})
}

// joined are points with what was read of them; without those that are gone.
func joined(points []point, read *Ask) ([]point, error) {
	found, err := pointsOf(read)
	if err != nil {
		return nil, err
	}
	by := byID(found)
	out := make([]point, 0, len(points))
	for _, p := range points {
		if with, ok := by[p.id]; ok {
			out = append(out, point{p.id, &qdrant.ScoredPoint{Id: p.p.GetId(), Score: p.p.GetScore(), Version: p.p.GetVersion(),
				Payload: with.GetPayload(), Vectors: with.GetVectors(), ShardKey: with.GetShardKey(), OrderValue: p.p.GetOrderValue()}})
		}
	}
	return out, nil
}

// selects tells whether anything but ids and scores is to be answered.
func (t *Tree) selects() bool {
	chosen := t.Payload.GetEnable() || t.Payload.GetInclude() != nil || t.Payload.GetExclude() != nil
	return chosen || t.Vectors.GetEnable() || t.Vectors.GetInclude() != nil
}

func pointsOf(a *Ask) ([]point, error) {
	out := make([]point, len(a.Answer))
	for i, p := range a.Answer {
		id, err := wire.PointID(p.GetId())
		if err != nil {
			return nil, fault.Wrap(fault.Unspecified, err, "a shard answered a point without an id")
		}
		out[i] = point{id, p}
	}
	return out, nil
}

// byID finds points; of those that come twice the first.
func byID(points []point) map[topology.PointID]*qdrant.ScoredPoint {
	out := make(map[topology.PointID]*qdrant.ScoredPoint, len(points))
	for _, p := range points {
		if _, ok := out[p.id]; !ok {
			out[p.id] = p.p
		}
	}
	return out
}

func ids(points []point) []*qdrant.PointId {
	out := make([]*qdrant.PointId, len(points))
	for i, p := range points {
		out[i] = p.p.GetId()
	}
	return out
}
