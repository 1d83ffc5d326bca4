package shard

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// published is a vector as testdata/generate_ranks.py writes it: numbers, lists of them,
// or indices and values.
type published struct{ op.Vector }

func (p *published) UnmarshalJSON(b []byte) error {
	var rows [][]float32
	var sparse struct {
		Indices []uint32
		Values  []float32
	}
	switch {
	case json.Unmarshal(b, &p.Data) == nil:
	case json.Unmarshal(b, &rows) == nil:
		p.Data, p.Count = slices.Concat(rows...), len(rows)
	case json.Unmarshal(b, &sparse) == nil:
		p.Data, p.Indices = sparse.Values, sparse.Indices
	default:
		return fmt.Errorf("%s is no vector", b)
	}
	return nil
}

type rankCase struct {
	Using, Kind        string
	Positive, Negative []published
	Target             published
	Pairs              [][2]published
	Scores             []float32
	A, B, C            float32
	Hits               [][2]float64
}

func (c *rankCase) rank(t testing.TB) *query.Rank {
	t.Helper()
	list := func(in []published) (out []op.Vector) {
		for _, v := range in {
			out = append(out, v.Vector)
		}
		return out
	}
	var pairs []query.Pair
	for _, p := range c.Pairs {
		pairs = append(pairs, query.Pair{Near: p[0].Vector, Far: p[1].Vector})
	}
	var judged []query.Judgement
	for i, s := range c.Scores {
		judged = append(judged, query.Judgement{Vector: c.Positive[i].Vector, Score: s})
	}
	var r *query.Rank
	var err error
	switch c.Kind {
	case "best_score":
		r, err = query.BestScore(list(c.Positive), list(c.Negative))
	case "sum_scores":
		r, err = query.SumScores(list(c.Positive), list(c.Negative))
	case "discover":
		r, err = query.Discover(c.Target.Vector, pairs)
	case "context":
		r, err = query.Context(pairs)
	default:
		r, err = query.Feedback(c.Target.Vector, judged, c.A, c.B, c.C)
	}
	ok(t, err)
	return r
}

// TestRankOracle: points and scores are what the published Python client's own engine
// says, from the tail, from a segment, and from both.
func TestRankOracle(t *testing.T) {
	b, err := os.ReadFile("testdata/ranks.json")
	ok(t, err)
	var all struct {
		Points []map[string]published
		Cases  []rankCase
	}
	ok(t, json.Unmarshal(b, &all))
	o := options(memfs.New())
	o.Schema = query.Schema{Vectors: []query.VectorSchema{{Name: "sparse", Kind: query.Sparse, Distance: query.Dot}}}
	for d := query.Cosine; d <= query.Manhattan; d++ {
		o.Schema.Vectors = append(o.Schema.Vectors, query.VectorSchema{Name: fmt.Sprintf("dense%d", d), Size: 4, Distance: d},
			query.VectorSchema{Name: fmt.Sprintf("multi%d", d), Size: 4, Distance: d, Kind: query.Multi})
	}
	slices.SortFunc(o.Schema.Vectors, func(a, b query.VectorSchema) int { return cmp.Compare(a.Name, b.Name) })
	s, l := open(t, o), newLedger()
	put := func(from, to int) {
		w := &Write{Kind: op.Upsert}
		for i, p := range all.Points[from:to] {
			one := op.Point{ID: num(uint64(from + i))}
			for _, v := range o.Schema.Vectors {
				if value, ok := p[v.Name]; ok {
					value.Name = v.Name
					one.Vectors = append(one.Vectors, value.Vector)
				}
			}
			w.Points = append(w.Points, one)
		}
		ops, err := s.Resolve(ctx, w)
		ok(t, err)
		for _, o := range ops {
			l.add(o)
		}
	}
	check := func(where string) {
		l.catchUp(t, s)
		ok(t, s.Settle(ctx))
		for i := range all.Cases {
			c := &all.Cases[i]
			got, err := s.Nearest(ctx, []query.Nearest{{Using: c.Using, Rank: c.rank(t), Limit: len(all.Points)}})
			ok(t, err)
			want := map[topology.PointID]float64{}
			for _, h := range c.Hits {
				want[num(uint64(h[0]))] = h[1]
			}
			for j, h := range got[0] {
				score, ok := want[h.ID]
				if delete(want, h.ID); !ok || math.Abs(float64(h.Score)-score) > 2e-5*max(1, math.Abs(score)) || j > 0 && h.Score > got[0][j-1].Score {
					t.Fatalf("%s, case %d, %s of %s: hit %d is point %s with %v, not %v", where, i, c.Kind, c.Using, j, h.ID, h.Score, score)
				}
			}
			if len(want) > 0 {
				t.Fatalf("%s, case %d, %s of %s: %v are missing", where, i, c.Kind, c.Using, want)
			}
		}
	}
	half := len(all.Points) / 2
	put(0, half)
	l.add(op.Op{Kind: op.Seal})
	put(half, len(all.Points))
	check("both")
	l.add(op.Op{Kind: op.Seal})
	check("segments")
	put(0, len(all.Points))
	check("tail")
}

// TestRanks: with graphs and each kind of codes, filters and dead points, scores are
// exact and what is found is near what comparing all finds; exact searches find that.
func TestRanks(t *testing.T) {
	for d := query.Cosine; d <= query.Manhattan; d++ {
		for i, q := range []query.Quantization{{}, {Kind: query.ScalarQuantization}, {Kind: query.BinaryQuantization, Query: query.Scalar8Bits, Encoding: query.TwoBits},
			{Kind: query.ProductQuantization, Compression: 4}} {
			t.Run(fmt.Sprintf("distance %d, codes %d", d, i), func(t *testing.T) { ranks(t, d, q) })
		}
	}
}

func ranks(t *testing.T, d query.Distance, codes query.Quantization) {
	o := withGraphs(memfs.New())
	o.Schema.Vectors[0].Distance = d
	o.Settings = func([]byte) (query.Settings, error) {
		return query.Settings{Optimizers: query.Optimizers{IndexingThresholdKB: 16},
			Vectors: []query.VectorSettings{{HNSW: query.HNSW{M: 8, EfConstruct: 64}, Quantization: codes}}}, nil
	}
	s, l, rng := open(t, o), newLedger(), rand.New(rand.NewPCG(8, uint64(d)))
	clouds(l, rng, 0, 2000)
	l.add(op.Op{Kind: op.Seal})
	l.catchUp(t, s)
	ok(t, s.Settle(ctx))
	clouds(l, rng, 1900, 300) // 100 of them anew
	l.add(op.Op{Kind: op.Delete, IDs: []topology.PointID{num(7), num(8), num(2050)}})
	l.catchUp(t, s)
	found, wanted := 0, 0
	filters := []*filter.Filter{nil, {MustNot: []filter.Condition{filter.Match{Key: "k", Value: filter.Scalar{Kind: filter.IntScalar, Int: 1}}}}}
	for _, f := range filters {
		for _, r := range indextest.Rankings(t, func() op.Vector { return op.Vector{Data: unit(rng)} }) {
			scores := map[topology.PointID]float32{}
			n, err := s.Count(ctx, query.Count{Filter: f})
			ok(t, err)
			for id, p := range l.points {
				if p.Alive {
					scores[id] = indextest.RankScore(r.Rank, func(e op.Vector) float32 { return indextest.Similarity(d, e.Data, p.Vectors[0].Data) })
				}
			}
			q := query.Nearest{Rank: r.Rank, Limit: 10, Filter: f, Params: query.Params{Exact: true}}
			exact := hold(t, s, q, scores)
			all := hold(t, s, query.Nearest{Rank: r.Rank, Limit: 3000, Filter: f, Params: query.Params{Exact: true}}, scores)
			if len(all) != int(n) || !slices.Equal(ids(all[:10]), ids(exact)) {
				t.Fatalf("%s: %d of %d points, first %v and %v", r.Name, len(all), n, ids(all[:10]), ids(exact))
			}
			q.ScoreThreshold = new(exact[4].Score)
			if good := hold(t, s, q, scores); !slices.EqualFunc(good, exact[:len(good)], func(a, b query.Scored) bool { return a.ID == b.ID }) || len(good) < 5 {
				t.Fatalf("%s: above the threshold %v of %v", r.Name, ids(good), ids(exact))
			}
			q.ScoreThreshold, q.Params = nil, query.Params{}
			for _, h := range hold(t, s, q, scores) {
				wanted++
				found += count(h.Score >= exact[9].Score)
			}
		}
	}
	if t.Logf("found %d of %d", found, wanted); found < wanted*9/10 {
		t.Errorf("found %d of %d", found, wanted)
	}
}

// hold asks and checks the scores.
func hold(t *testing.T, s *Shard, q query.Nearest, scores map[topology.PointID]float32) []query.Scored {
	t.Helper()
	got, err := s.Nearest(ctx, []query.Nearest{q})
	ok(t, err)
	for i, h := range got[0] {
		want, ok := scores[h.ID]
		if !ok || math.Abs(float64(want-h.Score)) > 1e-4 || i > 0 && (h.Score > got[0][i-1].Score || h.Score == got[0][i-1].Score && h.ID.Compare(got[0][i-1].ID) < 0) {
			t.Fatalf("hit %d is %s with %v, not %v", i, h.ID, h.Score, want)
		}
	}
	return got[0]
}

func ids(hits []query.Scored) (out []topology.PointID) {
	for _, h := range hits {
		out = append(out, h.ID)
	}
	return out
}

// TestRankRefusals: examples are checked as vectors of queries are.
func TestRankRefusals(t *testing.T) {
	s := open(t, kinds(memfs.New()))
	for _, c := range []struct {
		using string
		bad   op.Vector
		want  error
	}{
		{"bytes", op.Vector{Data: []float32{1, 2}}, new(query.DimensionError)},
		{"bytes", op.Vector{Data: []float32{1, 2, float32(math.NaN())}}, query.ErrNotFinite},
		{"bytes", op.Vector{Data: []float32{1, 2, 3}, Indices: []uint32{1, 2, 3}}, query.ErrVector},
		{"multi", op.Vector{Data: []float32{1, 2}}, query.ErrVector},
		{"multi", op.Vector{Data: []float32{1, 2, 3}, Count: 1}, new(query.DimensionError)},
		{"sparse", op.Vector{Data: []float32{1, 2}}, query.ErrVector},
		{"sparse", op.Vector{Data: []float32{1, 2}, Indices: []uint32{4, 4}}, query.ErrVector},
		{"none", op.Vector{Data: []float32{1}}, ErrVectorName},
	} {
		good := map[string]op.Vector{"bytes": {Data: []float32{1, 2, 3}}, "multi": {Data: []float32{1, 2}, Count: 1}, "sparse": {Data: []float32{1}, Indices: []uint32{1}}}[c.using]
		r, err := query.Discover(good, []query.Pair{{Near: good, Far: c.bad}})
		ok(t, err)
		_, err = s.Nearest(ctx, []query.Nearest{{Using: c.using, Limit: 1, Rank: r}})
		var dim *query.DimensionError
		if errors.As(c.want, &dim) && !errors.As(err, &dim) || dim == nil && !errors.Is(err, c.want) {
			t.Errorf("%s, %+v: %v", c.using, c.bad, err)
		}
	}
}
