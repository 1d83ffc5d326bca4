package hnsw

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/query/turbo"
)

// typed makes n rows of each type; what they hold is the same as numbers.
func typed(seed uint64, n, dim int, d query.Distance, kind query.Datatype) Vectors {
	rng := rand.New(rand.NewPCG(seed, 5))
	v := Vectors{Dim: dim, Stride: dim + int(seed%3), Distance: d}
	if kind == query.Turbo4 {
		v.Stride += turbo.RowBytes(dim) - dim
		c, s, row := turbo.New(dim), turbo.Scratch{}, make([]float32, dim)
		for range n {
			for i := range row {
				row[i] = float32(rng.NormFloat64())
			}
			if d == query.Cosine {
				kernel.Normalize(row)
			}
			v.Turbo = append(c.Append(v.Turbo, row, &s), make([]uint8, seed%3)...)
		}
		return v
	}
	for range n * v.Stride {
		switch kind {
		case query.Float16:
			v.Float16 = append(v.Float16, uint16(rng.Uint32N(8)<<10+0x2c00+rng.Uint32N(2)<<15))
		case query.Uint8:
			v.Uint8 = append(v.Uint8, uint8(rng.Uint32N(6)))
		default:
			v.Float32 = append(v.Float32, float32(rng.IntN(9))-4)
		}
	}
	return v
}

// datatype draws one that d takes.
func datatype(rt *rapid.T, d query.Distance) query.Datatype {
	all := []query.Datatype{query.Float32, query.Float16, query.Uint8, query.Turbo4}
	if d == query.Manhattan {
		all = all[:3]
	}
	return rapid.SampledFrom(all).Draw(rt, "type")
}

// numbers is row r.
func (v *Vectors) numbers(r uint32) []float32 {
	at := int(r) * v.Stride
	out := make([]float32, v.Dim)
	switch {
	case v.Float16 != nil:
		kernel.Widen(out, v.Float16[at:at+v.Dim])
	case v.Turbo != nil:
		turbo.New(v.Dim).Decode(out, v.Turbo[at:])
	case v.Uint8 != nil:
		for i := range out {
			out[i] = float32(v.Uint8[at+i])
		}
	default:
		copy(out, v.Float32[at:])
	}
	return out
}

// scored is the score of row r for q, in float64, and the size of what it adds up, of
// which an inner product may leave next to nothing.
func (v *Vectors) scored(q []float32, r uint32) (score, size float64) {
	row := v.numbers(r)
	var dot, l2, l1, qq, rr float64
	for i, x := range q {
		a, b := float64(x), float64(row[i])
		dot, l2, l1, qq, rr = dot+a*b, l2+(a-b)*(a-b), l1+math.Abs(a-b), qq+a*a, rr+b*b
	}
	switch v.Distance {
	case query.Euclid:
		return math.Sqrt(l2), 1 + math.Sqrt(l2)
	case query.Manhattan:
		return l1, 1 + l1
	case query.Cosine:
		if v.Uint8 == nil {
			rr = 1 // rows have length 1, or what is taken for it
		}
		if qq*rr == 0 {
			return 0, 1
		}
		return dot / math.Sqrt(qq*rr), 1
	default:
		return dot, 1 + math.Sqrt(qq*rr)
	}
}

// TestScan: a scan finds the best of the rows that have a vector, pass, and are
// alive at the position that is asked for, for each type of vector, alone, in a
// batch, and by several goroutines.
func TestScan(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 63, 64, 200, 700}).Draw(rt, "rows")
		d := rapid.SampledFrom([]query.Distance{query.Cosine, query.Dot, query.Euclid, query.Manhattan}).Draw(rt, "distance")
		kind := datatype(rt, d)
		seed := rapid.Uint64().Draw(rt, "seed")
		rng := rand.New(rand.NewPCG(seed, 6))
		v := typed(seed, n, rapid.IntRange(1, 40).Draw(rt, "dim"), d, kind)
		if rapid.Bool().Draw(rt, "some without") {
			v.Has = make([]uint64, (n+63)/64)
			for i := range v.Has {
				v.Has[i] = rng.Uint64() | rng.Uint64()
			}
		}
		dead := mask.New(n)
		for range rapid.IntRange(0, n).Draw(rt, "deaths") {
			dead.Kill(uint32(rng.IntN(n)), 1+rng.Uint64N(10))
		}
		x, err := Open(v, nil, dead, Options{})
		if err != nil {
			rt.Fatal(err)
		}
		var qs []Query
		for range rapid.IntRange(1, 4).Draw(rt, "queries") {
			qs = append(qs, anyQuery(rt, rng, &v, n))
		}
		batch, err := x.SearchBatch(context.Background(), qs)
		if err != nil {
			rt.Fatal(err)
		}
		for i := range qs {
			x.workers = 0
			hits, err := x.Search(context.Background(), &qs[i], nil)
			if err != nil {
				rt.Fatal(err)
			}
			holds(rt, x, &qs[i], hits)
			if !slices.Equal(hits, batch[i]) {
				rt.Fatalf("query %d in a batch: %v, alone: %v", i, batch[i], hits)
			}
		}
	})
}

func anyQuery(rt *rapid.T, rng *rand.Rand, v *Vectors, n int) Query {
	q := Query{At: rapid.Uint64Range(0, 11).Draw(rt, "at"), Exact: rapid.Bool().Draw(rt, "exact")}
	q.K = rapid.IntRange(0, 20).Draw(rt, "k")
	for range v.Dim {
		q.Vector = append(q.Vector, float32(rng.IntN(6)))
	}
	if v.Dim > 2 && rapid.Bool().Draw(rt, "ranked") {
		q.Rank = anyRank(rt, rng, v)
	}
	switch rapid.SampledFrom([]string{"all", "accepted", "few", "listed", "bits", "few bits", "bits and accepted"}).Draw(rt, "filter") {
	case "accepted":
		q.Accept = func(r uint32) bool { return r%3 > 0 }
	case "few":
		q.Accept = func(r uint32) bool { return r%32 == 5 }
	case "bits":
		q.Bits = bitsOf(n, func(r uint32) bool { return rng.IntN(3) == 0 })
	case "few bits":
		q.Bits = bitsOf(n, func(r uint32) bool { return r%64 == 7 })
	case "bits and accepted":
		q.Bits = bitsOf(n, func(r uint32) bool { return r%128 < 100 })
		q.Accept = func(r uint32) bool { return r%3 > 0 }
	case "listed":
		q.Rows = []uint32{}
		for r := range uint32(n + 3) {
			if rng.IntN(3) == 0 {
				q.Rows = append(q.Rows, r, r)
			}
		}
	}
	return q
}

// anyRank is by whole numbers, of which inner products and distances are exact. Equal
// cosines are not equal to the last bit, so no kind is drawn then that depends on it.
func anyRank(rt *rapid.T, rng *rand.Rand, v *Vectors) *query.Rank {
	all := indextest.Rankings(rt, func() op.Vector {
		e := op.Vector{Data: make([]float32, v.Dim)}
		for i := range e.Data {
			e.Data[i] = float32(rng.IntN(6))
		}
		return e
	})
	if v.Distance == query.Cosine {
		all = slices.DeleteFunc(all, func(r indextest.Ranking) bool { return r.Leads() > 0 || strings.HasPrefix(r.Name, "best") })
	}
	return rapid.SampledFrom(all).Draw(rt, "rank").Rank
}

// score is that of a row for a query, in float64, and the size of what it adds up.
func (v *Vectors) score(q *Query, r uint32) (score, size float64) {
	if q.Rank == nil {
		return v.scored(q.Vector, r)
	}
	score = float64(indextest.RankScore(q.Rank, func(e op.Vector) float32 {
		s, of := v.scored(e.Data, r)
		switch v.Distance {
		case query.Euclid:
			s, of = -s*s, of*of
		case query.Manhattan:
			s = -s
		}
		size += of
		return float32(s)
	}))
	return score, size
}

// bitsOf are the bits of those of n rows that pass, and, as it may be, of rows behind.
func bitsOf(n int, pass func(uint32) bool) []uint64 {
	out := make([]uint64, (n+63)/64)
	for r := range uint32(64 * len(out)) {
		if int(r) >= n || pass(r) {
			out[r/64] |= 1 << (r % 64)
		}
	}
	return out
}

// wanted tells whether a row is one of those that a query is restricted to.
func wanted(q *Query, r uint32) bool {
	return (q.Accept == nil || q.Accept(r)) && (q.Rows == nil || slices.Contains(q.Rows, r)) && (q.Bits == nil || q.Bits[r/64]>>(r%64)&1 != 0)
}

// holds compares hits with all rows that pass.
func holds(t *rapid.T, x *Index, q *Query, hits []index.Hit) {
	t.Helper()
	at := q.At
	if at == 0 {
		at = mask.Now
	}
	var scores []float64
	for r := range uint32(x.v.rows) {
		if x.v.has(r) && !x.dead.Dead(r, at) && wanted(q, r) {
			score, _ := x.v.score(q, r)
			scores = append(scores, score)
		}
	}
	slices.Sort(scores)
	if x.v.metric.Sign > 0 || q.Rank != nil {
		slices.Reverse(scores)
	}
	if len(hits) != min(len(scores), q.K) {
		t.Fatalf("%d hits of %d for k %d", len(hits), len(scores), q.K)
	}
	for i, h := range hits {
		if !x.v.has(h.Row) || x.dead.Dead(h.Row, at) || !wanted(q, h.Row) {
			t.Fatalf("row %d does not pass", h.Row)
		}
		if slices.ContainsFunc(hits[:i], func(o index.Hit) bool { return o.Row == h.Row }) {
			t.Fatalf("row %d twice", h.Row)
		}
		own, size := x.v.score(q, h.Row)
		bound := 1e-5 * size
		if q.Rank != nil || x.v.Turbo != nil {
			bound = 3e-4 * size // of weights and sums that are no whole numbers, and of queries in 16 bits
		}
		if math.Abs(own-float64(h.Score)) > bound || math.Abs(own-scores[i]) > bound {
			t.Fatalf("hit %d: row %d with %v, not %v; place %d has %v", i, h.Row, h.Score, own, i, scores[i])
		}
	}
}

// TestWorkers: several goroutines find what one finds.
func TestWorkers(t *testing.T) {
	v := typed(4, 60_000, 48, query.Euclid, query.Float32)
	dead := mask.New(60_000)
	for r := uint32(0); r < 60_000; r += 7 {
		dead.Kill(r, 3)
	}
	var found [3][]index.Hit
	for i := range found {
		x, err := Open(v, nil, dead, Options{Workers: i + 1})
		if err != nil {
			t.Fatal(err)
		}
		q := Query{Query: index.Query{Vector: v.numbers(700), K: 50, Accept: func(r uint32) bool { return r%2 == 0 }}}
		if found[i], err = x.Search(t.Context(), &q, nil); err != nil || len(found[i]) != 50 {
			t.Fatalf("%d hits, %v", len(found[i]), err)
		}
	}
	if !slices.Equal(found[0], found[1]) || !slices.Equal(found[0], found[2]) {
		t.Error("several goroutines find other rows")
	}
}

// TestTypes: graphs over rows of other types than floats find what scans find.
func TestTypes(t *testing.T) {
	for _, kind := range []query.Datatype{query.Float16, query.Uint8, query.Turbo4} {
		for _, d := range []query.Distance{query.Cosine, query.Euclid, query.Dot, query.Manhattan} {
			if kind == query.Turbo4 && d == query.Manhattan {
				if _, err := Open(typed(3, 10, 12, d, kind), nil, mask.New(10), Options{}); err == nil {
					t.Error("rows of turbo4 are compared by Manhattan")
				}
				continue
			}
			v := typed(3, 3000, 12, d, kind)
			v.Has = make([]uint64, 47)
			for r := range 3000 {
				if r%5 > 0 {
					v.Has[r/64] |= 1 << (r % 64)
				}
			}
			x := build(t, v, Params{M: 12, EfConstruct: 80}, BuildOptions{Threads: 2})
			if x.Len() != 2400 {
				t.Errorf("%d rows", x.Len())
			}
			found := 0
			for r := range uint32(100) {
				q := Query{Query: index.Query{Vector: v.numbers(r * 29), K: 10}, ScanBelow: 1, Ef: 150}
				s := x.searchers.Get().(*searcher)
				if s.begin(x, &q); s.plan().way != plain {
					t.Fatal("rows without a vector count as if they did not pass")
				}
				s.release()
				hits, err := x.Search(t.Context(), &q, nil)
				if err != nil || len(hits) != 10 {
					t.Fatalf("%d hits, %v", len(hits), err)
				}
				want := exact(t, x, q)
				for _, h := range hits {
					if !x.v.has(h.Row) {
						t.Fatalf("row %d has no vector", h.Row)
					}
					if !(x.v.metric.Sign*h.Score < x.v.metric.Sign*want[9].Score) {
						found++
					}
				}
			}
			if t.Logf("type %d, distance %d: %d of 1000", kind, d, found); found < 950 {
				t.Errorf("type %d, distance %d: %d of 1000", kind, d, found)
			}
		}
	}
}

// BenchmarkScan takes turns at a scan and at reading the same bytes, so that a busy
// machine disturbs both alike: medians, and the median of their ratios. A batch is
// of 16 queries; its ratio counts the bytes once for each.
func BenchmarkScan(b *testing.B) {
	for _, dim := range []int{128, 256, 384, 784, 1536} {
		rows := 512 << 20 / (4 * dim)
		data := floats(b, rows*dim)
		for i := range data {
			data[i] = float32(i%1021) - 510
		}
		x, err := Open(Vectors{Float32: data, Dim: dim, Stride: dim, Distance: query.Euclid}, nil, mask.New(rows), Options{})
		if err != nil {
			b.Fatal(err)
		}
		for _, n := range []int{1, 16} {
			b.Run(fmt.Sprintf("%d/queries=%d", dim, n), func(b *testing.B) {
				qs := slices.Repeat([]Query{{Query: index.Query{Vector: make([]float32, dim), K: 10}}}, n)
				var ratios, times []float64
				var sum uint64
				for b.Loop() {
					start := time.Now()
					sum += readAll(data)
					middle := time.Now()
					if _, err := x.SearchBatch(b.Context(), qs); err != nil {
						b.Fatal(err)
					}
					took := time.Since(middle).Seconds()
					ratios = append(ratios, middle.Sub(start).Seconds()*float64(n)/took)
					times = append(times, took)
				}
				slices.Sort(ratios)
				slices.Sort(times)
				b.ReportMetric(float64(len(data)*4*n)/1e9/times[len(times)/2], "GB/s")
				b.ReportMetric(ratios[len(ratios)/2], "of-stream")
				runtime.KeepAlive(sum) // so that the stream is read
			})
		}
	}
}

// readAll adds up eight bytes of each cache line: what memory gives.
func readAll(data []float32) (sum uint64) {
	words := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(data))), len(data)/2)
	var a, b, c, d uint64
	for i := 0; i+32 <= len(words); i += 32 {
		w := words[i : i+32 : i+32]
		a += w[0]
		b += w[8]
		c += w[16]
		d += w[24]
	}
	return a + b + c + d
}
