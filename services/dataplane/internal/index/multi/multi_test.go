package multi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// model is an index that scores everything by the definition and sorts it. It shares
// with the product nothing but the kernel's comparison of a pair, for its bits.
type model struct {
	space Space
	rows  map[uint32][]float32
}

// kept is what the datatype leaves of numbers.
func (m *model) kept(v []float32) []float32 {
	out := slices.Clone(v)
	for i, x := range v {
		switch m.space.Datatype {
		case query.Float16:
			kernel.Widen(out[i:i+1], []uint16{kernel.Half(x)})
		case query.Uint8:
			out[i] = float32(math.Trunc(float64(min(255, max(0, x)))))
		}
	}
	return out
}

// similarity of two vectors: larger is better.
func (m *model) similarity(q, x []float32) float32 {
	whole := m.space.Datatype == query.Uint8
	switch m.space.Distance {
	case query.Euclid:
		return -kernel.L2.PairFloat32(q, x)
	case query.Manhattan:
		return -kernel.L1.PairFloat32(q, x)
	case query.Cosine:
		if !whole {
			break
		}
		dot := float64(kernel.Dot.PairFloat32(q, x))
		if dot == 0 {
			return 0
		}
		return float32(dot / math.Sqrt(float64(kernel.Dot.PairFloat32(q, q))*float64(kernel.Dot.PairFloat32(x, x))))
	}
	return kernel.Dot.PairFloat32(q, x)
}

func (m *model) score(q, v []float32) float32 {
	v = m.kept(v)
	if m.space.Datatype == query.Uint8 {
		q = m.kept(q)
	}
	sum := 0.0
	for qv := range slices.Chunk(q, m.space.Dim) {
		if m.space.Distance == query.Cosine && m.space.Datatype != query.Uint8 {
			qv = slices.Clone(qv)
			kernel.Normalize(qv)
		}
		best := math.Inf(-1)
		for x := range slices.Chunk(v, m.space.Dim) {
			best = max(best, float64(m.similarity(qv, x)))
		}
		sum += best
	}
	switch m.space.Distance {
	case query.Euclid:
		return float32(math.Sqrt(float64(float32(-sum))))
	case query.Manhattan:
		return float32(-sum)
	}
	return float32(sum)
}

func (m *model) search(q *Query) []index.Hit {
	hits := []index.Hit{}
	for row, v := range m.rows {
		if q.Rows != nil && !slices.Contains(q.Rows, row) || q.Dead != nil && q.Dead(row) || q.Accept != nil && !q.Accept(row) {
			continue
		}
		if s := m.score(q.Vector, v); q.Threshold == nil || m.space.Distance.Within(s, *q.Threshold) {
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
		case a.Score == b.Score && before(a.Row, b.Row), a.Score != b.Score && m.space.Distance.Within(a.Score, b.Score):
			return -1
		}
		return 1
	})
	return hits[:min(len(hits), max(0, q.K))]
}

type searching interface {
	Search(ctx context.Context, q *Query, dst []index.Hit) ([]index.Hit, error)
	SearchBatch(ctx context.Context, qs []Query) ([][]index.Hit, error)
	Vector(row uint32, dst []float32) ([]float32, int)
	Len() int
}

func (m *model) encoded(t testing.TB) []byte {
	t.Helper()
	b, err := NewBuilder(m.space)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range slices.Sorted(maps.Keys(m.rows)) {
		if err := b.Add(row, m.rows[row]); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if n, err := b.WriteTo(&out); err != nil || n != int64(out.Len()) {
		t.Fatal(n, err)
	}
	return out.Bytes()
}

// forms are the model's rows as an Index and as a Tail with rows that came and went.
func (m *model) forms(t testing.TB) map[string]searching {
	t.Helper()
	x, err := Open(m.encoded(t))
	if err != nil {
		t.Fatal(err)
	}
	tail, err := NewTail(m.space)
	if err != nil {
		t.Fatal(err)
	}
	other := make([]float32, 3*m.space.Dim)
	for row, v := range m.rows {
		for _, put := range []struct {
			row uint32
			v   []float32
		}{{row + 20000, v}, {row, other}, {row, v}} {
			if err := tail.Put(put.row, put.v); err != nil {
				t.Fatal(err)
			}
		}
	}
	for row := range m.rows {
		if !tail.Delete(row+20000) || tail.Delete(row+20000) {
			t.Fatalf("row %d was not deleted once", row+20000)
		}
	}
	return map[string]searching{"index": x, "tail": tail}
}

// vectors are 1 to n in their stored form.
func vectors(rng *rand.Rand, s Space, n int) (out []float32) {
	for range 1 + rng.IntN(n) {
		v := make([]float32, s.Dim)
		for i := range v {
			if v[i] = float32(rng.NormFloat64()); s.Datatype == query.Uint8 {
				v[i] = max(0, v[i]) * 90
			}
		}
		if s.Distance == query.Cosine && s.Datatype != query.Uint8 {
			kernel.Normalize(v)
		}
		out = append(out, v...)
	}
	return out
}

func spaces(dim int) (out []Space) {
	for _, d := range []query.Distance{query.Cosine, query.Euclid, query.Dot, query.Manhattan} {
		for _, t := range []query.Datatype{query.Float32, query.Float16, query.Uint8} {
			out = append(out, Space{dim, d, t})
		}
	}
	return out
}

// TestExact: both forms answer what the definition says, bit for bit, alone and in a
// batch.
func TestExact(t *testing.T) {
	for _, s := range spaces(9) {
		t.Run(fmt.Sprintf("distance %d, datatype %d", s.Distance, s.Datatype), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(s.Distance), uint64(s.Datatype)))
			m := &model{s, map[uint32][]float32{}}
			for range 500 {
				m.rows[uint32(rng.IntN(1200))] = vectors(rng, s, 6)
			}
			var qs []Query
			for i := range 36 {
				qs = append(qs, m.query(rng, i))
			}
			for form, x := range m.forms(t) {
				batch, err := x.SearchBatch(t.Context(), qs)
				if err != nil {
					t.Fatal(err)
				}
				for i := range qs {
					want := m.search(&qs[i])
					got, err := x.Search(t.Context(), &qs[i], []index.Hit{{Row: 42}})
					if err != nil || !slices.Equal(got[1:], want) || got[0].Row != 42 || !slices.Equal(batch[i], want) {
						t.Fatalf("%s, query %d: %v\n  got %v\nbatch %v\n want %v", form, i, err, got, batch[i], want)
					}
				}
				for row, v := range m.rows {
					got, n := x.Vector(row, []float32{7})
					if n != len(v)/s.Dim || !slices.Equal(got, append([]float32{7}, m.kept(v)...)) {
						t.Fatalf("%s: row %d is %v, not %v", form, row, got, v)
					}
				}
				if got, n := x.Vector(1<<30, nil); n != 0 || got != nil || x.Len() != len(m.rows) {
					t.Errorf("%s: %d rows, a row that is not there: %v", form, x.Len(), got)
				}
			}
		})
	}
}

// query is one of many kinds, by number.
func (m *model) query(rng *rand.Rand, i int) (q Query) {
	q.Vector, q.K = vectors(rng, m.space, 5), []int{1, 10, 100, 0, -1, 9999}[i%6]
	for j := range q.Vector {
		q.Vector[j] *= 1 + float32(i%2)
	}
	switch i % 7 {
	case 1:
		q.Accept = func(row uint32) bool { return row%3 == 0 }
	case 2:
		for range 150 {
			q.Rows = append(q.Rows, uint32(rng.IntN(2000)))
		}
		slices.Sort(q.Rows)
	case 3:
		q.Dead = func(row uint32) bool { return row%3 != 0 }
	case 4:
		near := m.search(&Query{Query: index.Query{Vector: q.Vector, K: 9}})
		q.Threshold = &near[8].Score
	case 5:
		q.Before = func(a, b uint32) bool { return a > b }
	case 6:
		q.Rows = []uint32{}
	}
	return q
}

// TestTies: equal rows are ordered by Before, and it decides which are kept.
func TestTies(t *testing.T) {
	for _, s := range spaces(2) {
		m := &model{s, map[uint32][]float32{}}
		for row := range uint32(300) {
			m.rows[row] = [][]float32{{1, 0}, {0, 1}, {1, 0, 0, 1}}[row%3]
		}
		for form, x := range m.forms(t) {
			for _, before := range []func(a, b uint32) bool{nil, func(a, b uint32) bool { return a > b }} {
				q := Query{Query: index.Query{Vector: []float32{0, 1, 1, 0}, K: 130, Before: before}}
				if got, err := x.Search(t.Context(), &q, []index.Hit{}); err != nil || !slices.Equal(got, m.search(&q)) {
					t.Errorf("%s, %+v: %v", form, s, got)
				}
			}
		}
	}
}

// TestScores are worked out by hand: MaxSim of distances takes the squared ones of
// Euclid and the root of their sum.
func TestScores(t *testing.T) {
	row, q := []float32{3, 4, 0, 1}, []float32{0, 5, 1, 1}
	for d, want := range map[query.Distance]float64{
		query.Dot:       20 + 7,
		query.Cosine:    1 + 7/(5*math.Sqrt2), // (0,5) is along (0,1)
		query.Euclid:    math.Sqrt(10 + 1),    // (3,4)-(0,5) has 10, (0,1)-(1,1) has 1
		query.Manhattan: 4 + 1,
	} {
		for datatype := query.Float32; datatype <= query.Uint8; datatype++ {
			m := &model{Space{2, d, datatype}, map[uint32][]float32{5: slices.Clone(row)}}
			tolerance := 1e-6
			if datatype == query.Float16 {
				tolerance = 1e-3
			}
			if d == query.Cosine && datatype != query.Uint8 {
				for v := range slices.Chunk(m.rows[5], 2) {
					kernel.Normalize(v)
				}
			}
			for form, x := range m.forms(t) {
				got, err := x.Search(t.Context(), &Query{Query: index.Query{Vector: q, K: 1}}, nil)
				if err != nil || len(got) != 1 || got[0].Row != 5 || math.Abs(float64(got[0].Score)-want) > tolerance {
					t.Errorf("%s, distance %d, datatype %d: %v, not %v, %v", form, d, datatype, got, want, err)
				}
			}
		}
	}
}

// TestTail drives a tail and the model by the same random steps.
func TestTail(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	s := Space{300, query.Manhattan, query.Float16}
	tail, err := NewTail(s)
	if err != nil {
		t.Fatal(err)
	}
	m := &model{s, map[uint32][]float32{}}
	for i := range 6000 {
		row := uint32(rng.IntN(120))
		if _, had := m.rows[row]; rng.IntN(3) == 0 {
			if tail.Delete(row) != had {
				t.Fatalf("step %d: delete of row %d did not say %v", i, row, had)
			}
			delete(m.rows, row)
		} else {
			m.rows[row] = vectors(rng, s, 4+i%7/6*500) // now and then more than a chunk
			if err := tail.Put(row, m.rows[row]); err != nil {
				t.Fatal(err)
			}
		}
		if i%500 == 0 || i == 5999 {
			q := &Query{Query: index.Query{Vector: vectors(rng, s, 2), K: 20}}
			if got, err := tail.Search(t.Context(), q, []index.Hit{}); err != nil || !slices.Equal(got, m.search(q)) {
				t.Fatalf("step %d: %v, %v", i, got, err)
			}
		}
		if tail.held > 2*tail.live+4*chunkBytes || len(tail.chunks) > 2*tail.live/chunkBytes+70 {
			t.Fatalf("step %d: %d bytes in %d chunks for %d", i, tail.held, len(tail.chunks), tail.live)
		}
	}
	for row := range m.rows {
		tail.Delete(row)
	}
	if tail.live != 0 || tail.held != 0 || tail.Len() != 0 {
		t.Errorf("empty: %d bytes for %d", tail.held, tail.live)
	}
}

func TestRefusals(t *testing.T) {
	for _, s := range []Space{{0, query.Dot, 0}, {kernel.MaxDim + 1, query.Dot, 0}, {4, 0, 0}, {4, query.Dot, query.Uint8 + 1}} {
		if _, err := NewTail(s); err == nil {
			t.Errorf("a tail of %+v", s)
		}
		if _, err := NewBuilder(s); err == nil {
			t.Errorf("a builder of %+v", s)
		}
	}
	s := Space{2, query.Dot, query.Float32}
	tail, err := NewTail(s)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBuilder(s)
	if err != nil {
		t.Fatal(err)
	}
	one := []float32{1, 2}
	for _, v := range [][]float32{nil, {1}, {1, 2, 3}} {
		_, err := tail.Search(t.Context(), &Query{Query: index.Query{Vector: v, K: 1}}, nil)
		_, err2 := tail.SearchBatch(t.Context(), []Query{{Query: index.Query{Vector: one}}, {Query: index.Query{Vector: v}}})
		for _, err := range []error{err, err2, tail.Put(0, v), b.Add(0, v)} {
			if !errors.Is(err, index.ErrDim) {
				t.Errorf("%v: %v", v, err)
			}
		}
	}
	if err := errors.Join(b.Add(5, one), tail.Put(3, one)); err != nil {
		t.Fatal(err)
	}
	_, err = tail.Search(t.Context(), &Query{Query: index.Query{Vector: one, Rows: []uint32{index.MaxRow + 1}}}, nil)
	for _, err := range []error{err, b.Add(5, one), b.Add(index.MaxRow+1, one), tail.Put(index.MaxRow+1, one)} {
		if !errors.Is(err, index.ErrRow) {
			t.Errorf("row: %v", err)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, rows := range [][]uint32{nil, {3}} {
		if _, err := tail.Search(over, &Query{Query: index.Query{Vector: one, K: 1, Rows: rows}}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
	if got, err := tail.Search(t.Context(), &Query{Query: index.Query{Vector: one, K: 1}}, nil); err != nil || len(got) != 1 || got[0].Score != 5 {
		t.Errorf("after all that: %v, %v", got, err)
	}
}

func BenchmarkSearch(b *testing.B) {
	const rows, each, asked = 2000, 60, 32
	for _, s := range []Space{{128, query.Cosine, query.Float32}, {128, query.Cosine, query.Float16}, {128, query.Cosine, query.Uint8},
		{128, query.Euclid, query.Float32}} {
		rng := rand.New(rand.NewPCG(6, 8))
		draw := func(n int) (v []float32) {
			for range n {
				v = append(v, vectors(rng, s, 1)...)
			}
			return v
		}
		m := &model{s, map[uint32][]float32{}}
		for row := range uint32(rows) {
			m.rows[row] = draw(each)
		}
		x, err := Open(m.encoded(b))
		if err != nil {
			b.Fatal(err)
		}
		for _, n := range []int{1, 8} {
			var qs []Query
			for range n {
				qs = append(qs, Query{Query: index.Query{Vector: draw(asked), K: 10}})
			}
			b.Run(fmt.Sprintf("distance %d, datatype %d/%d at once", s.Distance, s.Datatype, n), func(b *testing.B) {
				b.ReportAllocs()
				begun, i := cpu(), 0
				for ; b.Loop(); i++ {
					if _, err := x.SearchBatch(b.Context(), qs); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64((cpu()-begun).Nanoseconds())/float64(i*n*rows*each*asked), "cpu-ns/pair")
			})
		}
	}
}
