package hnsw

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/npy"
)

// words is the excerpt of real vectors that is part of the repository.
const words = "../../../../test/demo/words"

// dataset is a folder of real vectors with exact answers.
type dataset struct {
	name    string
	v       Vectors
	queries [][]float32
	truth   [][]float32 // distances of the nearest rows
	filters []filter
}

type filter struct {
	name  string
	rows  func(q int) []uint32 // that pass for query q
	truth [][]float32
}

// payload is what filters look at, of all sets together.
type payload struct {
	Length, Rank, Label int
	First               string
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
	d := &dataset{name: filepath.Base(dir), queries: matrix(t, one(t, dir, "queries.*.npy")), truth: matrix(t, one(t, dir, "distances.f32.npy"))}
	base := matrix(t, one(t, dir, "base.*.npy.gz"))
	d.v = Vectors{Dim: len(base[0]), Stride: (len(base[0]) + line - 1) / line * line, Distance: query.Cosine}
	if strings.HasSuffix(dir, "euclidean") {
		d.v.Distance = query.Euclid
	}
	d.v.Float32 = floats(t, len(base)*d.v.Stride)
	for i, v := range base {
		if d.v.Distance == query.Cosine {
			kernel.Normalize(v)
		}
		copy(d.v.Float32[i*d.v.Stride:], v)
	}
	names, err := filepath.Glob(filepath.Join(dir, "filters", "*.distances.f32.npy"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: no filters: %v", dir, err)
	}
	for _, name := range names {
		stem := strings.TrimSuffix(name, ".distances.f32.npy")
		d.filters = append(d.filters, filter{filepath.Base(stem), d.passing(t, dir, stem), matrix(t, name)})
	}
	return d
}

// passing reads which rows a filter lets through, or asks the payload.
func (d *dataset) passing(t testing.TB, dir, stem string) func(int) []uint32 {
	t.Helper()
	if _, err := os.Stat(stem + ".ids.i32.npy"); err == nil {
		var rows []uint32
		for _, r := range matrix(t, stem+".ids.i32.npy") {
			rows = append(rows, uint32(r[0]))
		}
		slices.Sort(rows)
		return func(int) []uint32 { return rows }
	}
	test, ok := map[string]func(p, q payload) bool{
		"rank_lt_20000":                   func(p, _ payload) bool { return p.Rank < 20000 },
		"length_ge_12":                    func(p, _ payload) bool { return p.Length >= 12 },
		"first_eq_q":                      func(p, _ payload) bool { return p.First == "q" },
		"label_eq_querylabel_plus5_mod10": func(p, q payload) bool { return p.Label == (q.Label+5)%10 },
	}[filepath.Base(stem)]
	if !ok {
		t.Fatalf("unknown filter %s", stem)
	}
	base, queries := payloads(t, one(t, dir, "base.jsonl.gz")), payloads(t, one(t, dir, "queries.jsonl.gz"))
	return func(q int) (rows []uint32) {
		for i, p := range base {
			if test(p, queries[q]) {
				rows = append(rows, uint32(i))
			}
		}
		return rows
	}
}

func one(t testing.TB, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %d files are called %s, not one: %v", dir, len(found), pattern, err)
	}
	return found[0]
}

func open(t testing.TB, name string) io.Reader {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if !strings.HasSuffix(name, ".gz") {
		return f
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func matrix(t testing.TB, name string) (rows [][]float32) {
	t.Helper()
	r, err := npy.NewReader(open(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for {
		row, err := r.Next(nil)
		if err == io.EOF {
			return rows
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rows = append(rows, row)
	}
}

func payloads(t testing.TB, name string) (ps []payload) {
	t.Helper()
	d := json.NewDecoder(open(t, name))
	for {
		var p payload
		err := d.Decode(&p)
		if err == io.EOF {
			return ps
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		ps = append(ps, p)
	}
}

func build(t testing.TB, v Vectors, p Params, o BuildOptions) *Index {
	t.Helper()
	g, err := Build(context.Background(), v, p, o)
	if err != nil {
		t.Fatal(err)
	}
	x, err := Open(v, g, o.Skip, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return x
}
