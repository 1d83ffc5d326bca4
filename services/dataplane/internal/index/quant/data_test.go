package quant

import (
	"bufio"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/npy"
)

// words is the excerpt of real vectors that is part of the repository.
const words = "../../../../test/demo/words"

// dataset are real vectors and queries.
type dataset struct {
	name    string
	v       Vectors
	d       query.Distance
	queries [][]float32
}

// folders gives the sets to test with: the excerpt, and those in the folder that
// PANDO_DATA names.
func folders(t testing.TB) []string {
	t.Helper()
	dirs := []string{words}
	if more := os.Getenv("PANDO_DATA"); more != "" {
		found, err := filepath.Glob(filepath.Join(more, "*", "base.*.npy.gz"))
		if err != nil || len(found) == 0 {
			t.Fatalf("PANDO_DATA=%s holds no folder with a base.*.npy.gz: %v", more, err)
		}
		for _, f := range found {
			dirs = append(dirs, filepath.Dir(f))
		}
	}
	return dirs
}

func load(t testing.TB, dir string) *dataset {
	t.Helper()
	base := matrix(t, dir, "base.*.npy.gz")
	s := &dataset{name: filepath.Base(dir), d: query.Cosine, queries: matrix(t, dir, "queries.*.npy")}
	if strings.HasSuffix(dir, "euclidean") {
		s.d = query.Euclid
	}
	s.v = Vectors{Dim: len(base[0]), Stride: padded(len(base[0]), 16)}
	s.v.Data = make([]float32, len(base)*s.v.Stride)
	for i, row := range base {
		if s.d == query.Cosine {
			kernel.Normalize(row)
		}
		copy(s.v.Data[i*s.v.Stride:], row)
	}
	for _, q := range s.queries {
		if s.d == query.Cosine {
			kernel.Normalize(q)
		}
	}
	return s
}

func matrix(t testing.TB, dir, pattern string) (rows [][]float32) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %d files are called %s, not one: %v", dir, len(found), pattern, err)
	}
	f, err := os.Open(found[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var in io.Reader = bufio.NewReaderSize(f, 1<<20)
	if strings.HasSuffix(found[0], ".gz") {
		if in, err = gzip.NewReader(in); err != nil {
			t.Fatal(err)
		}
	}
	r, err := npy.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	for {
		row, err := r.Next(nil)
		if err == io.EOF {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
}

// best gives the rows with the k best raws.
func best(m *rank.Metric, rows []uint32, raws []float32, k int) []uint32 {
	var top rank.Top
	top.Reset(m, &index.Query{K: k}, len(raws))
	for i, raw := range raws {
		top.Offer(rows[i], raw)
	}
	var out []uint32
	for _, h := range top.Drain(nil) {
		out = append(out, h.Row)
	}
	return out
}

// answer is the truth about one query.
type answer struct {
	raws  []float32
	worst float32 // the raw value of place 10
}

func (s *dataset) answers(m *rank.Metric, all []uint32) (as []answer) {
	for _, q := range s.queries {
		raws := exact(&s.v, m.Distance, q)
		as = append(as, answer{raws, raws[best(m, all, raws, 10)[9]]})
	}
	return as
}

// recalls scans codes for 10 rows: by estimates only, and after so many times ten
// were compared again.
func (s *dataset) recalls(c *Codes, as []answer, all []uint32, oversampling []int) []float64 {
	found := make([]float64, len(oversampling))
	raws := make([]float32, c.Rows())
	var sc Scratch
	for i, q := range s.queries {
		c.Prepare(q, &sc).Range(0, raws)
		for j, times := range oversampling {
			near := best(&c.metric, all, raws, 10*max(1, times))
			if times > 0 {
				again := make([]float32, len(near))
				for k, r := range near {
					again[k] = as[i].raws[r]
				}
				near = best(&c.metric, near, again, 10)
			}
			for _, r := range near {
				if c.metric.Sign*as[i].raws[r] >= c.metric.Sign*as[i].worst {
					found[j]++
				}
			}
		}
	}
	for i := range found {
		found[i] /= float64(10 * len(s.queries))
	}
	return found
}

// TestRecall scans the codes of real vectors.
func TestRecall(t *testing.T) {
	oversampling := []int{0, 2, 4, 8}
	for _, dir := range folders(t) {
		s := load(t, dir)
		s.queries = s.queries[:min(100, len(s.queries))]
		all := make([]uint32, s.v.rows())
		for i := range all {
			all[i] = uint32(i)
		}
		for _, d := range []query.Distance{s.d, query.Manhattan} {
			m, _ := rank.MetricOf(d)
			as := s.answers(&m, all)
			for _, name := range sortedKinds() {
				q := kinds()[name]
				c := build(t, s.v, d, q, 2)
				got := s.recalls(c, as, all, oversampling)
				t.Logf("%s distance %d %s: %d bytes a row; recall@10 plain %.3f, rescored x2 %.3f x4 %.3f x8 %.3f",
					s.name, d, name, c.RowBytes(), got[0], got[1], got[2], got[3])
				if floor := floors(d, q); got[0] < floor[0] || got[2] < floor[1] {
					t.Errorf("%s distance %d %s: recall %.3f, rescored x4 %.3f; at least %v are expected", s.name, d, name, got[0], got[2], floor)
				}
			}
		}
	}
}

func sortedKinds() (names []string) {
	for name := range kinds() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// floors of recall: plain, and of four times as many rows compared again.
func floors(d query.Distance, q query.Quantization) [2]float64 {
	if q.Kind == query.ScalarQuantization {
		return [2]float64{0.93, 0.985}
	}
	if q.Kind == query.ProductQuantization {
		return map[int][2]float64{4: {0.8, 0.9}, 8: {0.5, 0.9}, 16: {0.3, 0.6}, 32: {0.2, 0.3}, 64: {0.05, 0.1}}[q.Compression]
	}
	floor := map[query.BinaryEncoding][2]float64{query.OneBit: {0.37, 0.66}, query.OneAndHalfBits: {0.5, 0.81}, query.TwoBits: {0.62, 0.92}, query.FourBits: {0.85, 0.98}}[q.Encoding]
	if q.Kind == query.BinaryQuantization && q.Query == query.OneBit {
		floor[0], floor[1] = 0.6*floor[0], 0.68*floor[1]
	}
	if d == query.Manhattan { // concluded from another distance, however near that is
		floor[0], floor[1] = min(0.8*floor[0], 0.62), 0.9*floor[1]
	}
	return floor
}
