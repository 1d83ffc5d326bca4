package sparse

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// TestExact: both forms answer what scoring everything does, bit for bit, whatever
// the signs and kinds of weights, ties included.
func TestExact(t *testing.T) {
	shapes := map[string]shape{
		"positive": {300, 20, positive},
		"signed":   {300, 20, signed},
		"few":      {100, 6, few},
		"dense":    {8, 12, positive},
	}
	for name, s := range shapes {
		for _, datatype := range []query.Datatype{query.Float32, query.Float16, query.Uint8} {
			t.Run(fmt.Sprintf("%s/%d", name, datatype), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(3, uint64(datatype)))
				m := &model{datatype, someRows(rng, 5000, 9000, s)}
				forms := m.forms(t, rng)
				for i := range 60 {
					q := m.query(rng, s, i)
					want := m.search(q)
					for form, x := range forms {
						if got := find(t, x, q); !slices.Equal(got, want) {
							t.Fatalf("%s, query %d:\n got %v\nwant %v", form, i, got, want)
						}
					}
				}
			})
		}
	}
}

// query is one of many kinds, by number.
func (m *model) query(rng *rand.Rand, s shape, i int) *Query {
	v := s.vector(rng)
	if i%7 == 5 {
		v.Indices, v.Weights = v.Indices[:1], v.Weights[:1]
	}
	q := &Query{Indices: v.Indices, Query: index.Query{Vector: v.Weights, K: []int{1, 10, 100, 0, -1, 9999}[i%6]}}
	rows := func(n int) {
		q.Rows = []uint32{}
		for range n {
			q.Rows = append(q.Rows, uint32(rng.IntN(10000)))
		}
		slices.Sort(q.Rows)
	}
	switch i % 10 {
	case 1:
		q.Accept = func(row uint32) bool { return row%7 == 0 }
	case 2:
		rows(100)
	case 3:
		rows(4000)
	case 4:
		q.Dead = func(row uint32) bool { return row%3 != 0 }
	case 5:
		q.Before = func(a, b uint32) bool { return a*2654435761 < b*2654435761 }
	case 6:
		if near := m.search(&Query{Indices: q.Indices, Query: index.Query{Vector: q.Vector, K: 20}}); len(near) > 0 {
			q.Threshold = &near[len(near)-1].Score
		}
	case 7:
		rows(200)
		q.FullScan, q.Stored = 200, func(row uint32) (Vector, bool) { v, ok := m.rows[row]; return v, ok }
		q.Dead = func(row uint32) bool { return row%5 == 0 }
	case 8:
		rows(0)
	}
	return q
}

// TestSettle: where a sum in another order is rounded to another score, it is made
// anew in the order of the definition. Terms are added by what they may contribute,
// so that the third would be lost between the first two.
func TestSettle(t *testing.T) {
	m := &model{query.Float32, map[uint32]Vector{}}
	for row := range uint32(5000) {
		m.rows[row] = Vector{[]uint32{1, 2, 3, 4 + row%3}, []float32{1e20, -1e20, float32(row * 7919 % 5000), 1}}
	}
	for form, x := range m.forms(t, rand.New(rand.NewPCG(11, 11))) {
		for _, k := range []int{10, 5000} {
			q := &Query{Indices: []uint32{1, 2, 3, 4}, Query: index.Query{Vector: []float32{1, 1, 1, 0.25}, K: k}}
			got, want := find(t, x, q), m.search(q)
			if !slices.Equal(got, want) || want[0].Score < 4000 {
				t.Fatalf("%s:\n got %v\nwant %v", form, got[:10], want[:10])
			}
		}
	}
}

func TestFrequency(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	m := &model{query.Float32, someRows(rng, 1500, 3000, shape{50, 5, positive})}
	want := map[uint32]int{7: 0}
	for _, v := range m.rows {
		for _, dim := range v.Indices {
			want[dim]++
		}
	}
	for form, x := range m.forms(t, rng) {
		for dim, n := range want {
			if got := x.Frequency(dim); got != n {
				t.Errorf("%s: %d rows have dimension %d, not %d", form, got, dim, n)
			}
		}
		if x.Len() != len(m.rows) {
			t.Errorf("%s: %d rows, not %d", form, x.Len(), len(m.rows))
		}
	}
}

// TestTail drives a tail and the model by the same random steps.
func TestTail(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	s := shape{40, 6, signed}
	tail, m := NewTail(query.Float16), &model{query.Float16, map[uint32]Vector{}}
	for i := range 12000 {
		row := uint32(rng.IntN(700))
		if _, had := m.rows[row]; rng.IntN(3) == 0 {
			if tail.Delete(row) != had {
				t.Fatalf("step %d: delete of row %d did not say %v", i, row, had)
			}
			delete(m.rows, row)
		} else {
			m.rows[row] = s.vector(rng)
			if err := tail.Put(row, m.rows[row]); err != nil {
				t.Fatal(err)
			}
		}
		if i%100 != 0 {
			continue
		}
		v := s.vector(rng)
		q := &Query{Indices: v.Indices, Query: index.Query{Vector: v.Weights, K: 20}}
		if got, want := find(t, tail, q), m.search(q); !slices.Equal(got, want) {
			t.Fatalf("step %d:\n got %v\nwant %v", i, got, want)
		}
	}
	if len(tail.rows) > 2*tail.Len()+2*slack {
		t.Errorf("%d slots for %d rows", len(tail.rows), tail.Len())
	}
	for row, v := range m.rows {
		got, ok := tail.Vector(row)
		if !ok || !slices.Equal(got.Indices, v.Indices) || len(v.Weights) > 0 && got.Weights[0] != Round(query.Float16, v.Weights[0]) {
			t.Fatalf("row %d: %v, put was %v", row, got, v)
		}
	}
}

// TestShares: a row that shares no dimension is not answered, one that shares a
// weight of 0 is, as is one with a negative score.
func TestShares(t *testing.T) {
	m := &model{query.Float32, map[uint32]Vector{
		1: {[]uint32{1, 5}, []float32{0, 9}},
		2: {[]uint32{2}, []float32{9}},
		3: {},
		4: {[]uint32{1}, []float32{-2}},
		6: {[]uint32{1, math.MaxUint32}, []float32{1, 1}},
	}}
	q := &Query{Indices: []uint32{0, 1, math.MaxUint32}, Query: index.Query{Vector: []float32{1, 0.5, 2}, K: 10}}
	want := []index.Hit{{Row: 6, Score: 2.5}, {Row: 1, Score: 0}, {Row: 4, Score: -1}}
	for form, x := range m.forms(t, rand.New(rand.NewPCG(1, 1))) {
		if got := find(t, x, q); !slices.Equal(got, want) {
			t.Errorf("%s: %v", form, got)
		}
		if got := find(t, x, &Query{Query: index.Query{K: 3}}); len(got) != 0 {
			t.Errorf("%s: an empty query finds %v", form, got)
		}
		one := []index.Hit{{Row: 42}}
		if got, err := x.Search(t.Context(), q, one); err != nil || !slices.Equal(got, append(one, want...)) {
			t.Errorf("%s: appended: %v, %v", form, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	bad := map[string]Vector{
		"descending": {[]uint32{2, 1}, []float32{1, 1}},
		"twice":      {[]uint32{2, 2}, []float32{1, 1}},
		"lengths":    {[]uint32{2}, nil},
	}
	tail, b := NewTail(query.Float32), NewBuilder(query.Float32)
	for name, v := range bad {
		q := &Query{Indices: v.Indices, Query: index.Query{Vector: v.Weights, K: 1}}
		_, err := tail.Search(t.Context(), q, nil)
		for _, err := range []error{err, tail.Put(0, v), b.Add(0, v)} {
			if !errors.Is(err, ErrVector) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	one := Vector{[]uint32{1}, []float32{1}}
	if err := b.Add(5, one); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{b.Add(5, one), b.Add(index.MaxRow+1, one), tail.Put(index.MaxRow+1, one)} {
		if !errors.Is(err, index.ErrRow) {
			t.Errorf("row: %v", err)
		}
	}
	x, err := Open(b.Append(nil))
	if err != nil || x.Rows() != 6 || x.Len() != 1 || tail.Len() != 0 {
		t.Fatalf("%v, %d rows, %d in the tail", err, x.Len(), tail.Len())
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, q := range map[string]*Query{
		"walk": {}, "none": {Query: index.Query{K: -1}}, "pick": {Query: index.Query{Rows: []uint32{5}}},
		"scan": {FullScan: 1, Stored: func(uint32) (Vector, bool) { return one, true }, Query: index.Query{Rows: []uint32{5}}},
	} {
		q.Indices, q.Vector, q.K = one.Indices, one.Weights, q.K+1
		if _, err := x.Search(over, q, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		q.Rows = append(q.Rows, index.MaxRow+1)
		if _, err := x.Search(t.Context(), q, nil); !errors.Is(err, index.ErrRow) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// scale appends to dst the weights of a query for an index with the modifier idf, as
// whoever sums the frequencies makes them.
func scale(dst []float32, v Vector, n uint64, df func(dim uint32) uint64) []float32 {
	for i, dim := range v.Indices {
		dst = append(dst, float32(float64(v.Weights[i])*query.IDF(n, min(df(dim), n))))
	}
	return dst
}

// TestScale: the factors are those of the formula, and those of a query that nothing
// has are the greatest.
func TestScale(t *testing.T) {
	df := map[uint32]uint64{1: 0, 2: 1, 3: 50, 4: 100, 5: 1000}
	v := Vector{[]uint32{1, 2, 3, 4, 5}, []float32{1, 2, 1, 1, 1}}
	got := scale([]float32{7}, v, 100, func(dim uint32) uint64 { return df[dim] })
	want := []float64{7, math.Log(202), 2 * math.Log(1+99.5/1.5), math.Log(2), math.Log(1 + 0.5/100.5), math.Log(1 + 0.5/100.5)}
	for i := range want {
		if math.Abs(float64(got[i])-want[i]) > 1e-6*want[i] {
			t.Errorf("weight %d is %v, not %v", i, got[i], want[i])
		}
	}
}

// TestRound: a weight becomes the nearest of those that its datatype has, and those
// stay as they are.
func TestRound(t *testing.T) {
	var codes, halves []float32
	for c := range 256 {
		codes = append(codes, number(uint8(c)))
	}
	for h := range 1 << 16 {
		if h>>10&31 != 31 {
			halves = append(halves, widen(uint16(h)))
		}
	}
	rng := rand.New(rand.NewPCG(2, 2))
	for datatype, all := range map[query.Datatype][]float32{query.Uint8: codes, query.Float16: halves} {
		slices.Sort(all)
		all = slices.Compact(all)
		for _, w := range all {
			if got := Round(datatype, w); got != w || math.Signbit(float64(got)) != (w < 0) {
				t.Fatalf("datatype %d: %v becomes %v", datatype, w, got)
			}
		}
		try := []float32{math.MaxFloat32, -math.MaxFloat32, float32(math.Inf(1)), float32(math.Inf(-1)), math.SmallestNonzeroFloat32, 3840, 3800, 65504, 65520}
		for i := range len(all) - 1 {
			try = append(try, (all[i]+all[i+1])/2) // ties
		}
		for range 20000 {
			try = append(try, float32(rng.NormFloat64()*math.Pow(2, float64(rng.IntN(40)-25))))
		}
		for _, w := range try {
			i, _ := slices.BinarySearch(all, w)
			near := []float32{all[max(0, i-1)], all[min(i, len(all)-1)]}
			got := Round(datatype, w)
			off := math.Abs(float64(got) - float64(w))
			if !slices.Contains(near, got) || off > math.Abs(float64(near[0])-float64(w)) || off > math.Abs(float64(near[1])-float64(w)) {
				t.Fatalf("datatype %d: %v becomes %v, not one of %v", datatype, w, got, near)
			}
		}
	}
	for _, datatype := range []query.Datatype{query.Float32, query.Float16, query.Uint8} {
		if got := Round(datatype, float32(math.NaN())); got != 0 {
			t.Errorf("NaN becomes %v", got)
		}
		if got := Round(datatype, float32(math.Copysign(0, -1))); math.Signbit(float64(got)) {
			t.Errorf("-0 becomes %v", got)
		}
		if got := Round(datatype, float32(math.Inf(-1))); math.IsInf(float64(got), 0) || got > -3840 {
			t.Errorf("-Inf becomes %v", got)
		}
	}
}

// TestParallel: searches that run at once do not disturb each other.
func TestParallel(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	s := shape{100, 10, signed}
	m := &model{query.Float32, someRows(rng, 2500, 5000, s)}
	var qs []*Query
	var want [][]index.Hit
	for range 8 {
		v := s.vector(rng)
		qs = append(qs, &Query{Indices: v.Indices, Query: index.Query{Vector: v.Weights, K: 10}})
		want = append(want, m.search(qs[len(qs)-1]))
	}
	for form, x := range m.forms(t, rng) {
		var group sync.WaitGroup
		for i, q := range qs {
			group.Go(func() {
				for range 20 {
					if got, err := x.Search(context.Background(), q, nil); err != nil || !slices.Equal(got, want[i]) {
						t.Errorf("%s: %v, %v", form, got, err)
					}
				}
			})
		}
		group.Wait()
	}
}
