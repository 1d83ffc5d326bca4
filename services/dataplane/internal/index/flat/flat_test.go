package flat

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, dim int, d query.Distance, o Options) *Index {
	t.Helper()
	x, err := New(dim, d, o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestSuite(t *testing.T) {
	indextest.Suite{Recall: 1, Open: func(t testing.TB, dim int, d query.Distance) index.Index {
		return open(t, dim, d, Options{})
	}}.Run(t)
}

// TestTurbo: what turbo4 keeps of vectors is given back and compared.
func TestTurbo(t *testing.T) {
	const dim, n = 70, 200
	rng := rand.New(rand.NewPCG(5, 5))
	vector := func() []float32 {
		v := make([]float32, dim)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	for _, d := range []query.Distance{query.Dot, query.Euclid} {
		x := open(t, dim, d, Options{Turbo: true})
		schema := query.VectorSchema{Size: dim, Distance: d, Datatype: query.Turbo4}
		kept := map[uint32][]float32{}
		for row := range uint32(n) {
			v, err := schema.Stored(op.Vector{Data: vector()})
			if err != nil {
				t.Fatal(err)
			}
			kept[row] = v.Data
			if err := x.Put(row, v.Data); err != nil {
				t.Fatal(err)
			}
		}
		q := vector()
		hits, err := x.Search(t.Context(), &index.Query{Vector: q, K: n}, nil)
		if err != nil || len(hits) != n {
			t.Fatal(len(hits), err)
		}
		for i, h := range hits {
			if v, ok := x.Vector(h.Row, nil); !ok || !slices.Equal(v, kept[h.Row]) {
				t.Fatalf("row %d is given back as %v", h.Row, v)
			}
			var want float64
			for j, y := range kept[h.Row] {
				if d == query.Dot {
					want += float64(q[j]) * float64(y)
				} else {
					want += float64(q[j]-y) * float64(q[j]-y)
				}
			}
			if d == query.Euclid {
				want = math.Sqrt(want)
			}
			if math.Abs(want-float64(h.Score)) > 2e-3 {
				t.Fatalf("distance %d, place %d: %v, not %v", d, i, h.Score, want)
			}
		}
	}
	if _, err := New(dim, query.Manhattan, Options{Turbo: true}); err == nil {
		t.Error("turbo4 is compared by Manhattan")
	}
}

// TestBytes: whole numbers take a byte each and are compared without rounding; Cosine
// divides by lengths.
func TestBytes(t *testing.T) {
	const dim = 300
	for d, want := range map[query.Distance]float32{query.Dot: dim * 255 * 251, query.Cosine: 1, query.Euclid: float32(math.Sqrt(dim * 16)), query.Manhattan: dim * 4} {
		x := open(t, dim, d, Options{Bytes: true})
		for row, v := range []float32{255, 0} {
			if err := x.Put(uint32(row), slices.Repeat([]float32{v}, dim)); err != nil {
				t.Fatal(err)
			}
		}
		if v, ok := x.Vector(0, nil); !ok || !slices.Equal(v, slices.Repeat([]float32{255}, dim)) {
			t.Errorf("distance %d: stored %v", d, v)
		}
		q := &index.Query{Vector: slices.Repeat([]float32{251.9}, dim), K: 2}
		for _, rows := range [][]uint32{nil, {0, 1}} {
			q.Rows = rows
			hits, err := x.Search(t.Context(), q, nil)
			if err != nil || len(hits) != 2 || hits[0].Row != 0 || math.Abs(float64(hits[0].Score-want)) > 1e-6*float64(want) {
				t.Errorf("distance %d: %v %v, want %v", d, hits, err, want)
			}
		}
		if d == query.Cosine {
			q.Rows = nil
			if hits, _ := x.Search(t.Context(), q, nil); hits[1].Score != 0 {
				t.Errorf("the zero vector is near: %v", hits)
			}
		}
		if !x.Delete(0) || !x.Delete(1) || x.Len() != 0 {
			t.Errorf("distance %d: rows stay", d)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, dim := range []int{-1, 0, MaxDim + 1} {
		if _, err := New(dim, query.Dot, Options{}); err == nil {
			t.Errorf("dim %d", dim)
		}
	}
	if _, err := New(3, 9, Options{}); err == nil {
		t.Error("distance 9")
	}
}

// TestDims walks chunk shapes from one float a row to one row a chunk.
func TestDims(t *testing.T) {
	for _, dim := range []int{1, 2, 63, 64, 65, 1000, 1025, 32768, 40000, MaxDim} {
		x := open(t, dim, query.Manhattan, Options{})
		n := min(3000, 3*(1<<x.shift)+1)
		v := make([]float32, dim)
		for row := range n {
			v[dim-1] = float32(n - row)
			if err := x.Put(uint32(row), v); err != nil {
				t.Fatal(err)
			}
		}
		hits, err := x.Search(t.Context(), &index.Query{Vector: make([]float32, dim), K: 2}, nil)
		if err != nil || len(hits) != 2 || hits[0] != (index.Hit{Row: uint32(n - 1), Score: 1}) || hits[1].Score != 2 {
			t.Errorf("dim %d: %v %v", dim, hits, err)
		}
		for _, c := range *x.chunks.Load() {
			if len(c.vecs) > MaxDim || cap(c.vecs) > MaxDim {
				t.Errorf("dim %d: a chunk of %d floats", dim, cap(c.vecs))
			}
		}
	}
}

func fill(t testing.TB, x *Index, n int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 6))
	v := make([]float32, x.dim)
	for row := range n {
		for i := range v {
			v[i] = rng.Float32() - 0.5
		}
		if err := x.Put(uint32(row), v); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWorkers: several goroutines answer as one does, ties included, and ask
// Accept one at a time.
func TestWorkers(t *testing.T) {
	const dim = 1024
	one, many := open(t, dim, query.Euclid, Options{}), open(t, dim, query.Euclid, Options{Workers: 3})
	fill(t, one, 4000)
	fill(t, many, 4000)
	row0, _ := one.Vector(0, nil)
	for row := uint32(1); row < 4000; row += 97 { // ties across the shares
		_, _ = one.Put(row, row0), many.Put(row, row0)
	}
	var inside atomic.Int32
	accept := func(row uint32) bool {
		if inside.Add(1) != 1 {
			t.Error("Accept is asked by two goroutines at once")
		}
		defer inside.Add(-1)
		return row%2 == 1
	}
	qs := []index.Query{{Vector: row0, K: 10}, {Vector: row0, K: 10, Before: func(a, b uint32) bool { return a > b }},
		{Vector: row0, K: 60, Accept: accept}, {Vector: row0, K: 3, Rows: []uint32{5, 3000}}, {Vector: row0}}
	want, err := one.SearchBatch(t.Context(), qs)
	if err != nil {
		t.Fatal(err)
	}
	got, err := many.SearchBatch(t.Context(), qs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range qs {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("query %d:\n got %v\nwant %v", i, got[i], want[i])
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := many.SearchBatch(ctx, qs[:1]); err == nil {
		t.Error("cancelled, but no error")
	}
}

// TestOverflow: scores beyond float32 rank last and are never NaN.
func TestOverflow(t *testing.T) {
	x := open(t, 2, query.Dot, Options{})
	for row, v := range [][]float32{{math.MaxFloat32, -math.MaxFloat32}, {1, 1}, {-math.MaxFloat32, -math.MaxFloat32}} {
		if err := x.Put(uint32(row), v); err != nil {
			t.Fatal(err)
		}
	}
	hits, err := x.Search(t.Context(), &index.Query{Vector: []float32{10, 10}, K: 3}, nil)
	worst := float32(math.Inf(-1))
	if want := []index.Hit{{Row: 1, Score: 20}, {Row: 0, Score: worst}, {Row: 2, Score: worst}}; err != nil || !slices.Equal(hits, want) {
		t.Errorf("got %v %v", hits, err)
	}
}

// TestRootTies: squares that differ may have equal roots; such rows tie.
func TestRootTies(t *testing.T) {
	x := open(t, 1, query.Euclid, Options{})
	a := float32(1.25)
	b := math.Nextafter32(a, 2)
	if x.metric.Key(a) != x.metric.Key(b) {
		t.Fatalf("roots of %v and %v differ: the case is not the one meant", a, b)
	}
	var tp rank.Top
	tp.Reset(&x.metric, &index.Query{K: 1}, 2)
	raws, live := []float32{b, a}, []uint64{3}
	tp.Block(0, raws, live)
	if got := tp.Drain(nil); got[0].Row != 0 {
		t.Errorf("row %d was kept", got[0].Row)
	}
	tp.Reset(&x.metric, &index.Query{K: 1}, 2)
	slices.Reverse(raws)
	tp.Block(0, raws, live)
	if got := tp.Drain(nil); got[0].Row != 0 {
		t.Errorf("row %d was kept", got[0].Row)
	}
	tp.Reset(&x.metric, &index.Query{K: 1, Before: func(a, b uint32) bool { return a > b }}, 2)
	tp.Block(0, raws, live)
	if got := tp.Drain(nil); got[0].Row != 1 {
		t.Errorf("row %d was kept although its root ties and it comes later", got[0].Row)
	}
}

func TestAllocations(t *testing.T) {
	x := open(t, 20, query.Cosine, Options{})
	fill(t, x, 5000)
	q := index.Query{Vector: make([]float32, 20), K: 10}
	q.Vector[3] = 1
	var dst []index.Hit
	if n := testing.AllocsPerRun(50, func() { dst, _ = x.Search(t.Context(), &q, dst[:0]) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
	if len(dst) != 10 {
		t.Fatal(dst)
	}
}

// TestAcceptIsLazy: few rows are asked about.
func TestAcceptIsLazy(t *testing.T) {
	x := open(t, 20, query.Dot, Options{})
	fill(t, x, 20000)
	asked := 0
	q := index.Query{Vector: make([]float32, 20), K: 10, Accept: func(row uint32) bool { asked++; return row%100 == 0 }}
	q.Vector[3] = 1
	hits, err := x.Search(t.Context(), &q, nil)
	if err != nil || len(hits) != 10 {
		t.Fatal(hits, err)
	}
	// K/selectivity·(1+ln(rows·selectivity/K)) is about 4000
	if asked < 1000 || asked > 8000 {
		t.Errorf("asked about %d rows", asked)
	}
}

// readAll adds up the bytes of v, eight words at a time.
func readAll(v []float32) (sum uint64) {
	w := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(v))), len(v)/2)
	var s0, s1, s2, s3, s4, s5, s6, s7 uint64
	for ; len(w) >= 8; w = w[8:] {
		s0, s1, s2, s3 = s0+w[0], s1+w[1], s2+w[2], s3+w[3]
		s4, s5, s6, s7 = s4+w[4], s5+w[5], s6+w[6], s7+w[7]
	}
	return s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7
}

var shapes = []struct {
	rows, dim int
	d         query.Distance
}{{150_000, 100, query.Cosine}, {60_000, 784, query.Euclid}}

// BenchmarkScan is exact search; GB/s of rows that are compared.
func BenchmarkScan(b *testing.B) {
	for _, s := range shapes {
		x := open(b, s.dim, s.d, Options{})
		fill(b, x, s.rows)
		q := index.Query{Vector: make([]float32, s.dim), K: 10}
		for i := range q.Vector {
			q.Vector[i] = float32(i%7) - 3
		}
		run := func(name string, x *Index, queries int) {
			b.Run(fmt.Sprintf("%dx%d/%s", s.rows, s.dim, name), func(b *testing.B) {
				b.SetBytes(int64(s.rows) * int64(s.dim) * 4 * int64(queries))
				b.ReportAllocs()
				var dst []index.Hit
				for b.Loop() {
					if queries > 1 {
						_, _ = x.SearchBatch(b.Context(), slices.Repeat([]index.Query{q}, queries))
						continue
					}
					dst, _ = x.Search(b.Context(), &q, dst[:0])
				}
			})
		}
		run("one", x, 1)
		run("batch16", x, 16)
		x.workers = 2
		run("workers2", x, 1)
	}
}

// BenchmarkStream reads the same bytes and adds them up, the yardstick for Scan.
func BenchmarkStream(b *testing.B) {
	for _, s := range shapes {
		x := open(b, s.dim, s.d, Options{})
		fill(b, x, s.rows)
		b.Run(fmt.Sprintf("%dx%d", s.rows, s.dim), func(b *testing.B) {
			b.SetBytes(int64(s.rows) * int64(s.dim) * 4)
			var sum uint64
			for b.Loop() {
				for _, c := range *x.chunks.Load() {
					sum += readAll(c.vecs)
				}
			}
			runtime.KeepAlive(sum) // so that the stream is read
		})
	}
}

// BenchmarkScanOfStream takes turns at both, so that a busy machine disturbs
// them alike: medians in GB/s and their ratio.
func BenchmarkScanOfStream(b *testing.B) {
	for _, s := range shapes {
		x := open(b, s.dim, s.d, Options{})
		fill(b, x, s.rows)
		q := index.Query{Vector: make([]float32, s.dim), K: 10}
		q.Vector[0] = 1
		b.Run(fmt.Sprintf("%dx%d", s.rows, s.dim), func(b *testing.B) {
			var scan, stream []time.Duration
			var sum uint64
			var dst []index.Hit
			for b.Loop() {
				start := time.Now()
				for _, c := range *x.chunks.Load() {
					sum += readAll(c.vecs)
				}
				middle := time.Now()
				dst, _ = x.Search(b.Context(), &q, dst[:0])
				stream, scan = append(stream, middle.Sub(start)), append(scan, time.Since(middle))
			}
			slices.Sort(scan)
			slices.Sort(stream)
			gb := float64(s.rows) * float64(s.dim) * 4 / 1e9
			a, c := gb/scan[len(scan)/2].Seconds(), gb/stream[len(stream)/2].Seconds()
			b.ReportMetric(a, "scan-GB/s")
			b.ReportMetric(c, "stream-GB/s")
			b.ReportMetric(a/c, "ratio")
			runtime.KeepAlive(sum) // so that the stream is read
		})
	}
}
