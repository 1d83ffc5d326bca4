package sparse

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/npy"
)

// set is rows and queries.
type set struct {
	name    string
	rows    []Vector
	queries []Vector
	scores  [][]float32 // of the ten best rows, if known from elsewhere
}

// synthetic is shaped like the output of a learned sparse encoder: 50 to 120 weights
// of a vocabulary of 30,000, rank r with a chance like 1/(r+20), rare words weigh
// more; queries of 10 to 40. Rows and queries share no topics, which is the
// hardest case: no row stands out.
func synthetic(rows, queries int) *set {
	const vocabulary = 30000
	rng := rand.New(rand.NewPCG(30000, 1))
	sums := make([]float64, vocabulary)
	total := 0.0
	for r := range sums {
		total += 1 / float64(r+20)
		sums[r] = total
	}
	draw := func(least, most int) (v Vector) {
		dims := map[uint32]bool{}
		for n := least + rng.IntN(most-least+1); len(dims) < n; {
			r, _ := slices.BinarySearch(sums, rng.Float64()*total)
			dims[uint32(r)] = true
		}
		v.Indices = slices.Sorted(maps.Keys(dims))
		for _, dim := range v.Indices {
			rarity := math.Log1p(float64(dim)) / math.Log(vocabulary)
			v.Weights = append(v.Weights, float32(math.Log1p(rng.ExpFloat64()*(0.3+2*rarity))))
		}
		return v
	}
	s := &set{name: "synthetic"}
	for range rows {
		s.rows = append(s.rows, draw(50, 120))
	}
	for range queries {
		s.queries = append(s.queries, draw(10, 40))
	}
	return s
}

// summaries are BM25 weights of short texts, if PANDO_DATA names the folder that has
// a folder of them.
func summaries(t testing.TB) (*set, bool) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(os.Getenv("PANDO_DATA"), "*", "sparse"))
	if err != nil || os.Getenv("PANDO_DATA") == "" {
		return nil, false
	}
	if len(found) != 1 {
		t.Fatalf("%d folders are called sparse", len(found))
	}
	file := func(pattern string) []float32 {
		names, err := filepath.Glob(filepath.Join(found[0], pattern))
		if err != nil || len(names) != 1 {
			t.Fatalf("%d files are called %s: %v", len(names), pattern, err)
		}
		return numbers(t, names[0])
	}
	vectors := func(what string) (out []Vector) {
		starts, dims, ws := file(what+".indptr.*"), file(what+".indices.*"), file(what+".values.*")
		for i := range len(starts) - 1 {
			var v Vector
			var order []int
			for j := int(starts[i]); j < int(starts[i+1]); j++ {
				order = append(order, j)
			}
			slices.SortFunc(order, func(a, b int) int { return cmp.Compare(dims[a], dims[b]) })
			for _, j := range order {
				v.Indices, v.Weights = append(v.Indices, uint32(dims[j])), append(v.Weights, ws[j])
			}
			out = append(out, v)
		}
		return out
	}
	return &set{name: "summaries", rows: vectors("base"), queries: vectors("queries"), scores: slices.Collect(slices.Chunk(file("scores.*"), 10))}, true
}

// numbers reads a file whose values are exact as float32.
func numbers(t testing.TB, name string) (out []float32) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var in io.Reader = bufio.NewReader(f)
	if strings.HasSuffix(name, ".gz") {
		if in, err = gzip.NewReader(in); err != nil {
			t.Fatal(err)
		}
	}
	r, err := npy.NewReader(in)
	for err == nil {
		var row []float32
		row, err = r.Next(nil)
		out = append(out, row...)
	}
	if err != io.EOF {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

func (s *set) all(yield func(uint32, Vector) bool) {
	for i, v := range s.rows {
		if !yield(uint32(i), v) {
			return
		}
	}
}

func ask(v Vector, k int) *Query {
	return &Query{Indices: v.Indices, Query: index.Query{Vector: v.Weights, K: k}}
}

// plain scores all rows one after the other.
type plain struct {
	starts  []int
	dims    []uint32
	weights []float32
	table   []float32 // of the query, by dimension
	s       *searcher
}

func newPlain(s *set) *plain {
	p := &plain{starts: []int{0}, s: newSearcher().(*searcher)}
	for _, v := range s.rows {
		p.dims, p.weights = append(p.dims, v.Indices...), append(p.weights, v.Weights...)
		p.starts = append(p.starts, len(p.dims))
	}
	p.table = make([]float32, slices.Max(p.dims)+1)
	return p
}

func (p *plain) search(q *Query, dst []index.Hit) []index.Hit {
	for i, dim := range q.Indices {
		if int(dim) < len(p.table) {
			p.table[dim] = q.Vector[i]
		}
	}
	p.s.top.Reset(&p.s.metric, &q.Query, len(p.starts)-1)
	for row := range len(p.starts) - 1 {
		from, to := p.starts[row], p.starts[row+1]
		dims, ws := p.dims[from:to], p.weights[from:to]
		sum := 0.0
		for i, dim := range dims {
			sum += float64(p.table[dim]) * float64(ws[i])
		}
		if sum != 0 {
			p.s.top.Offer(uint32(row), float32(sum))
		}
	}
	for _, dim := range q.Indices {
		if int(dim) < len(p.table) {
			p.table[dim] = 0
		}
	}
	return p.s.top.Drain(dst)
}

// merged is plain by walking along the query and each row.
func (p *plain) merged(q *Query, dst []index.Hit) []index.Hit {
	p.s.q, p.s.datatype = q, query.Float32
	p.s.top.Reset(&p.s.metric, &q.Query, len(p.starts)-1)
	for row := range len(p.starts) - 1 {
		from, to := p.starts[row], p.starts[row+1]
		if sum, ok := p.s.score(Vector{p.dims[from:to], p.weights[from:to]}); ok {
			p.s.top.Offer(uint32(row), sum)
		}
	}
	return p.s.top.Drain(dst)
}

// TestSets: what is found among many rows is what a plain scan finds, and has the
// scores that were computed elsewhere.
func TestSets(t *testing.T) {
	sets := []*set{synthetic(20000, 40)}
	if s, ok := summaries(t); ok {
		sets = append(sets, s)
	}
	for _, s := range sets {
		x, err := Build(query.Float32, s.all)
		if err != nil {
			t.Fatal(err)
		}
		p := newPlain(s)
		for i, v := range s.queries {
			q := ask(v, 10)
			want, got := p.search(q, nil), find(t, x, q)
			if !slices.Equal(got, want) || !slices.Equal(p.merged(q, nil), want) {
				t.Fatalf("%s, query %d:\n got %v\nwant %v", s.name, i, got, want)
			}
			if i >= len(s.scores) {
				continue
			}
			for j, score := range s.scores[i] {
				if off := got[j].Score - score; off > 1e-5*score || off < -1e-5*score {
					t.Errorf("%s, query %d: score %d is %v, not %v", s.name, i, j, got[j].Score, score)
				}
			}
		}
	}
}

// once keeps what benchmarks share.
type once struct {
	sync.Once
	sets []*set
}

func (o *once) get(b *testing.B) []*set {
	o.Do(func() {
		o.sets = []*set{synthetic(100000, 100)}
		if s, ok := summaries(b); ok {
			o.sets = append(o.sets, s)
		}
	})
	return o.sets
}

func BenchmarkSearch(b *testing.B) {
	var o once
	for _, s := range o.get(b) {
		p := newPlain(s)
		run := func(name string, k int, search func(q *Query, dst []index.Hit) []index.Hit) {
			b.Run(fmt.Sprintf("%s/top-%d/%s", s.name, k, name), func(b *testing.B) {
				var hits []index.Hit
				b.ReportAllocs()
				begun, i := cpu(), 0
				for ; b.Loop(); i++ {
					hits = search(ask(s.queries[i%len(s.queries)], k), hits[:0])
				}
				b.ReportMetric(float64((cpu()-begun).Nanoseconds())/float64(i), "cpu-ns/op")
			})
		}
		run("scan by merging", 10, p.merged)
		run("scan by table", 10, p.search)
		for _, datatype := range []query.Datatype{query.Float32, query.Float16, query.Uint8} {
			x, err := Build(datatype, s.all)
			if err != nil {
				b.Fatal(err)
			}
			for _, k := range []int{10, 100} {
				run(fmt.Sprintf("index of %d-byte weights", datatype.Size()), k, func(q *Query, dst []index.Hit) []index.Hit { return find(b, x, q) })
			}
			if datatype != query.Float32 {
				continue
			}
			run("index, one row in 3 accepted", 10, func(q *Query, dst []index.Hit) []index.Hit {
				q.Accept = func(row uint32) bool { return row%3 == 0 }
				return find(b, x, q)
			})
			var one, tenth []uint32
			for row := range uint32(len(s.rows)) {
				if row%100 == 0 {
					one = append(one, row)
				}
				if row%10 == 0 {
					tenth = append(tenth, row)
				}
			}
			run("index, 1 % of rows", 10, func(q *Query, dst []index.Hit) []index.Hit { q.Rows = one; return find(b, x, q) })
			run("index, 10 % of rows", 10, func(q *Query, dst []index.Hit) []index.Hit { q.Rows = tenth; return find(b, x, q) })
			run("index, 1 % of rows by their vectors", 10, func(q *Query, dst []index.Hit) []index.Hit {
				q.Rows, q.FullScan, q.Stored = one, len(one), func(row uint32) (Vector, bool) { return s.rows[row], true }
				return find(b, x, q)
			})
		}
		tail := NewTail(query.Float32)
		for row, v := range s.all {
			if err := tail.Put(row, v); err != nil {
				b.Fatal(err)
			}
		}
		run("tail", 10, func(q *Query, dst []index.Hit) []index.Hit { return find(b, tail, q) })
	}
}

func BenchmarkBuild(b *testing.B) {
	var o once
	for _, s := range o.get(b) {
		for _, datatype := range []query.Datatype{query.Float32, query.Float16, query.Uint8} {
			b.Run(fmt.Sprintf("%s/%d bytes", s.name, datatype.Size()), func(b *testing.B) {
				for b.Loop() {
					builder := NewBuilder(datatype)
					for row, v := range s.all {
						if err := builder.Add(row, v); err != nil {
							b.Fatal(err)
						}
					}
					raw := builder.Append(nil)
					b.ReportMetric(float64(len(raw))/float64(builder.postings), "B/posting")
				}
			})
		}
	}
}
