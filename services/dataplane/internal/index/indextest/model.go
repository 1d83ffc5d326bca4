package indextest

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// model is an index that sorts everything.
type model struct {
	d    query.Distance
	rows map[uint32][]float32
}

func newModel(d query.Distance) *model { return &model{d, map[uint32][]float32{}} }

// put does the same to x and the model.
func (m *model) put(t testing.TB, x index.Index, row uint32, v []float32) {
	t.Helper()
	if err := x.Put(row, v); err != nil {
		t.Fatal(err)
	}
	m.rows[row] = v
}

func (m *model) delete(t testing.TB, x index.Index, row uint32) {
	t.Helper()
	_, had := m.rows[row]
	if x.Delete(row) != had {
		t.Fatalf("delete of row %d did not say %v", row, had)
	}
	delete(m.rows, row)
}

// score is the public score of row v for query q.
func score(d query.Distance, q, v []float32) float32 {
	switch d {
	case query.Cosine:
		q = slices.Clone(q)
		kernel.Normalize(q)
		return kernel.Dot.PairFloat32(q, v)
	case query.Euclid:
		return float32(math.Sqrt(float64(kernel.L2.PairFloat32(q, v))))
	case query.Manhattan:
		return kernel.L1.PairFloat32(q, v)
	default:
		return kernel.Dot.PairFloat32(q, v)
	}
}

// passes tells whether q lets row through, its score aside.
func passes(q *index.Query, row uint32) bool {
	return (q.Accept == nil || q.Accept(row)) && (q.Rows == nil || slices.Contains(q.Rows, row))
}

// search is what an exact index answers.
func (m *model) search(q *index.Query) []index.Hit {
	var hits []index.Hit
	for row, v := range m.rows {
		s := score(m.d, q.Vector, v)
		if passes(q, row) && (q.Threshold == nil || m.d.Within(s, *q.Threshold)) {
			hits = append(hits, index.Hit{Row: row, Score: s})
		}
	}
	before := q.Before
	if before == nil {
		before = func(a, b uint32) bool { return a < b }
	}
	slices.SortFunc(hits, func(a, b index.Hit) int {
		switch {
		case a.Row == b.Row:
			return 0
		case a.Score != b.Score && m.d.Within(a.Score, b.Score), a.Score == b.Score && before(a.Row, b.Row):
			return -1
		default:
			return 1
		}
	})
	return hits[:min(len(hits), max(0, q.K))]
}

// plausible checks what holds of every index: hits are rows that pass, with
// their exact scores, once each, in order, and no more than K.
func (m *model) plausible(t testing.TB, q *index.Query, hits []index.Hit) {
	t.Helper()
	seen := map[uint32]bool{}
	for i, h := range hits {
		v, ok := m.rows[h.Row]
		if !ok || seen[h.Row] || !passes(q, h.Row) || h.Score != score(m.d, q.Vector, v) {
			t.Fatalf("hit %d is wrong: %v", i, h)
		}
		if q.Threshold != nil && !m.d.Within(h.Score, *q.Threshold) || i > 0 && !m.d.Within(hits[i-1].Score, h.Score) {
			t.Fatalf("hit %d is out of place: %v", i, h)
		}
		seen[h.Row] = true
	}
	if len(hits) > max(0, q.K) {
		t.Fatalf("%d hits for k %d", len(hits), q.K)
	}
}

// randomVector is in stored form.
func randomVector(rng *rand.Rand, dim int, d query.Distance) []float32 {
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	if d == query.Cosine {
		kernel.Normalize(v)
	}
	return v
}
