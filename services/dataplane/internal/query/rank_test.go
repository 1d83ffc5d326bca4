package query

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"pgregory.net/rapid"
)

func examples(n int) []op.Vector { return make([]op.Vector, n) }

// sound is a ranking that can be made.
func sound(t testing.TB) func(*Rank, error) *Rank {
	return func(r *Rank, err error) *Rank {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

// TestRankScores: scores by hand. h(x) = (1 + x/(1+|x|))/2, g(x) = x/(1+|x|).
func TestRankScores(t *testing.T) {
	is := sound(t)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	judged := []Judgement{{Score: 1}, {Score: 0.5}, {Score: 0.5}}
	for _, c := range []struct {
		name string
		r    *Rank
		sims []float32 // to the examples
		want float32
	}{
		{"best is liked", is(BestScore(examples(2), examples(1))), []float32{0.5, 1, 0.75}, 0.75},
		{"best is disliked", is(BestScore(examples(2), examples(1))), []float32{0.5, 0.75, 1}, -0.75},
		{"both are best", is(BestScore(examples(1), examples(1))), []float32{1, 1}, -0.75},
		{"disliked alone", is(BestScore(nil, examples(2))), []float32{-3, -1}, -0.25},
		{"liked alone, distances", is(BestScore(examples(2), nil)), []float32{-3, -1}, 0.25},
		{"best of overflow", is(BestScore(examples(1), nil)), []float32{nan}, 0},
		{"best of infinity", is(BestScore(examples(1), examples(1))), []float32{inf, -inf}, 1},
		{"sum", is(SumScores(examples(2), examples(1))), []float32{0.5, 1, 0.25}, 1.25},
		{"sum of disliked", is(SumScores(nil, examples(2))), []float32{0.5, 1}, -1.5},
		{"target alone", is(Discover(op.Vector{}, nil)), []float32{1}, 0.75},
		{"target and pairs", is(Discover(op.Vector{}, make([]Pair, 3))), []float32{1, 2, 1, 5, 4, 1, 3}, 1.75},
		{"target and an even pair", is(Discover(op.Vector{}, make([]Pair, 1))), []float32{-1, 2, 2}, 0.25},
		{"context on the right sides", is(Context(make([]Pair, 2))), []float32{2, 1, 5, 4}, 0},
		{"context on a wrong side", is(Context(make([]Pair, 2))), []float32{2, 1, 4, 5}, -0.5},
		{"context in the middle", is(Context(make([]Pair, 1))), []float32{1, 1}, -0x1p-23},
		// 2·s + 3·d²·(first - other), with d = 0.5, twice; the two others are equals
		{"feedback", is(Feedback(op.Vector{}, judged, 2, 2, 3)), []float32{1, 4, 2, 1}, 2 + 0.75*2 + 0.75*3},
		{"feedback, b 0", is(Feedback(op.Vector{}, judged[:2], 1, 0, -1)), []float32{1, 4, 2}, 1 - 2},
		{"feedback of one", is(Feedback(op.Vector{}, judged[:1], 2, 1, 1)), []float32{3, 9}, 6},
	} {
		if len(c.sims) != len(c.r.Examples()) {
			t.Fatalf("%s: %d examples", c.name, len(c.r.Examples()))
		}
		scores := make([]float32, 3)
		var sims []float32
		for _, s := range c.sims {
			sims = append(sims, 9, s, -9) // other rows do not matter
		}
		if c.r.Score(sims, scores); math.Abs(float64(scores[1]-c.want)) > 1e-6 {
			t.Errorf("%s: %v, want %v", c.name, scores[1], c.want)
		}
	}
}

func TestRankErrors(t *testing.T) {
	huge := []Judgement{{Score: math.MaxFloat32}, {}}
	nan := float32(math.NaN())
	for name, what := range map[string]func() (*Rank, error){
		"no example of the best": func() (*Rank, error) { return BestScore(nil, nil) },
		"no example of a sum":    func() (*Rank, error) { return SumScores(nil, nil) },
		"too many examples":      func() (*Rank, error) { return BestScore(examples(MaxExamples), examples(1)) },
		"too many pairs":         func() (*Rank, error) { return Discover(op.Vector{}, make([]Pair, MaxExamples/2)) },
		"too much context":       func() (*Rank, error) { return Context(make([]Pair, MaxExamples/2+1)) },
		"too much feedback":      func() (*Rank, error) { return Feedback(op.Vector{}, make([]Judgement, MaxExamples), 1, 1, 1) },
		"no pair":                func() (*Rank, error) { return Context(nil) },
		"negative b":             func() (*Rank, error) { return Feedback(op.Vector{}, nil, 1, -0.5, 1) },
		"a weight too large":     func() (*Rank, error) { return Feedback(op.Vector{}, huge, 1, 2, 1) },
		"a is no number":         func() (*Rank, error) { return Feedback(op.Vector{}, nil, nan, 1, 1) },
		"a score is no number":   func() (*Rank, error) { return Feedback(op.Vector{}, []Judgement{{Score: nan}, {}}, 1, 1, 1) },
	} {
		if r, err := what(); r != nil || !errors.Is(err, ErrRank) {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

// TestRankTraits: what indexes rely on.
func TestRankTraits(t *testing.T) {
	is := sound(t)
	for _, c := range []struct {
		r            *Rank
		leads, steps int
		weights      []float64
	}{
		{nil, 0, 0, nil},
		{is(BestScore(examples(3), examples(2))), 3, 0, nil},
		{is(BestScore(nil, examples(2))), 0, 0, nil},
		{is(SumScores(examples(2), examples(1))), 0, 0, []float64{1, 1, -1}},
		{is(Discover(op.Vector{}, make([]Pair, 4))), 1, 4, nil},
		{is(Discover(op.Vector{}, nil)), 1, 0, nil},
		{is(Context(make([]Pair, 4))), 0, 0, nil},
		{is(Feedback(op.Vector{}, []Judgement{{Score: 1}, {Score: 3}}, 2, 1, 3)), 0, 0, []float64{2, -6, 6}},
	} {
		if c.r == nil {
			if c.r.Leads() != 0 || c.r.Examples() != nil {
				t.Error("no ranking has examples")
			}
			continue
		}
		if c.r.Leads() != c.leads || c.r.Steps() != c.steps || !slices.Equal(c.r.Weights(), c.weights) {
			t.Errorf("%+v: %d leads, %d steps, weights %v", c.r, c.r.Leads(), c.r.Steps(), c.r.Weights())
		}
	}
	liked := make([]op.Vector, 1, 2)
	liked[:2][1].Name = "mine"
	is(BestScore(liked, []op.Vector{{Name: "other"}}))
	if liked[:2][1].Name != "mine" {
		t.Error("a ranking writes to its caller's memory")
	}
}

// TestRankIsSound: no score is NaN, whatever the similarities are; a score follows from
// its own row; and what is nearer to all that is liked is no worse.
func TestRankIsSound(t *testing.T) {
	is := sound(t)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "n")
		judged := make([]Judgement, n)
		for i := range judged {
			judged[i].Score = rapid.Float32Range(-9, 9).Draw(t, "score")
		}
		r := rapid.SampledFrom([]*Rank{is(BestScore(examples(n), examples(n))), is(SumScores(examples(n), examples(n))), is(Discover(op.Vector{}, make([]Pair, n))),
			is(Context(make([]Pair, n))), is(Feedback(op.Vector{}, judged, 1, 1, 1))}).Draw(t, "rank")
		sim := rapid.OneOf(rapid.Float32(), rapid.Float32Range(-1, 1), rapid.SampledFrom([]float32{0, 1, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}))
		sims := rapid.SliceOfN(sim, 2*len(r.Examples()), 2*len(r.Examples())).Draw(t, "sims")
		scores, alone := make([]float32, 2), make([]float32, 1)
		r.Score(sims, scores)
		for row := range scores {
			var own []float32
			for e := range r.Examples() {
				own = append(own, sims[2*e+row])
			}
			if r.Score(own, alone); scores[row] != scores[row] || scores[row] != alone[0] {
				t.Fatalf("row %d of %v: %v, alone %v", row, sims, scores[row], alone[0])
			}
		}
		better := slices.Clone(sims)
		for e := range r.Examples() {
			liked := e < r.liked || r.by == byTarget && (e == 0 || e%2 == 1) || r.by == byContext && e%2 == 0 || r.by == bySum && r.weights[e] > 0
			if liked {
				better[2*e+1] = min(math.MaxFloat32, max(better[2*e+1], better[2*e+1]+1))
			}
		}
		was := scores[1]
		if r.Score(better, scores); scores[1] < was {
			t.Fatalf("%v scores %v, what is nearer %v", sims, was, scores[1])
		}
	})
}
