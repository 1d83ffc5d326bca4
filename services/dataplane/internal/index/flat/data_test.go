package flat

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/indextest"
	"github.com/pandodb/pando/services/dataplane/internal/kernel"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// TestRecall searches real word vectors if PANDO_DATA names the folder of a
// words set (base.f16.npy.gz, queries.f16.npy, distances.f32.npy: cosine
// distances of the exact answer, nearest first), generated ones with a float64
// truth otherwise. recall@10 of an exact index is 1.
func TestRecall(t *testing.T) {
	base, queries, truth := generated(t)
	if dir := os.Getenv("PANDO_DATA"); dir != "" {
		base, queries = npy(t, dir, "base.f16.npy.gz"), npy(t, dir, "queries.f16.npy")
		truth = npy(t, dir, "distances.f32.npy")
	}
	x := open(t, len(base[0]), query.Cosine, Options{})
	for row, v := range base {
		kernel.Normalize(v)
		if err := x.Put(uint32(row), v); err != nil {
			t.Fatal(err)
		}
	}
	qs := make([]index.Query, len(queries))
	for i, v := range queries {
		qs[i] = index.Query{Vector: v, K: 10}
	}
	found, err := x.SearchBatch(t.Context(), qs)
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for i, hits := range found {
		// a hit counts if its distance is that of place 10 or less, within 1e-6
		sum += indextest.Recall(query.Cosine, hits, []index.Hit{9: {Score: 1 - truth[i][9] - 1e-6}})
		for j, h := range hits {
			if math.Abs(float64(1-h.Score-truth[i][j])) > 2e-6 {
				t.Errorf("query %d place %d: distance %v, want %v", i, j, 1-h.Score, truth[i][j])
			}
		}
	}
	recall := sum / float64(len(qs))
	t.Logf("%d vectors, %d queries: recall@10 %v", len(base), len(qs), recall)
	if recall != 1 {
		t.Errorf("recall@10 is %v", recall)
	}
}

// TestDatatypeRecall: what of the ten nearest vectors is found where vectors are kept
// in less than float32. Bytes take elements that were moved and stretched, which
// leaves Euclidean distances in proportion.
func TestDatatypeRecall(t *testing.T) {
	base, queries, _ := generated(t)
	if dir := os.Getenv("PANDO_DATA"); dir != "" {
		base, queries = npy(t, dir, "base.f16.npy.gz"), npy(t, dir, "queries.f16.npy")
	}
	dim := len(base[0])
	var most float32
	for _, v := range base {
		for _, x := range v {
			most = max(most, x, -x)
		}
	}
	nearest := func(datatype query.Datatype) (out []map[uint32]bool) {
		form := func(v []float32) []float32 {
			v = slices.Clone(v)
			for i, x := range v {
				if datatype == query.Uint8 {
					v[i] = min(255, max(0, (x/most+1)*127.5+0.5))
				}
			}
			return v
		}
		schema := query.VectorSchema{Size: dim, Distance: query.Euclid, Datatype: datatype}
		x := open(t, dim, query.Euclid, Options{Bytes: datatype == query.Uint8, Turbo: datatype == query.Turbo4})
		for row, v := range base {
			stored, err := schema.Stored(op.Vector{Data: form(v)})
			if err == nil {
				err = x.Put(uint32(row), stored.Data)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, q := range queries {
			hits, err := x.Search(t.Context(), &index.Query{Vector: form(q), K: 10}, nil)
			if err != nil {
				t.Fatal(err)
			}
			rows := map[uint32]bool{}
			for _, h := range hits {
				rows[h.Row] = true
			}
			out = append(out, rows)
		}
		return out
	}
	truth := nearest(query.Float32)
	for datatype, least := range map[query.Datatype]float64{query.Float16: 0.98, query.Uint8: 0.9, query.Turbo4: 0.8} {
		found := 0
		for i, rows := range nearest(datatype) {
			for row := range rows {
				if truth[i][row] {
					found++
				}
			}
		}
		recall := float64(found) / float64(10*len(queries))
		if t.Logf("datatype %d, %d bytes a vector instead of %d: recall@10 %.4f", datatype, datatype.RowBytes(dim), 4*dim, recall); recall < least {
			t.Errorf("datatype %d: recall@10 is %v", datatype, recall)
		}
	}
}

func generated(t *testing.T) (base, queries, truth [][]float32) {
	rng := rand.New(rand.NewPCG(11, 12))
	draw := func(n int) (vs [][]float32) {
		for range n {
			v := make([]float32, 48)
			for i := range v {
				v[i] = float32(rng.NormFloat64())
			}
			vs = append(vs, v)
		}
		return vs
	}
	base, queries = draw(3000), draw(20)
	dot := func(a, b []float32) (s float64) {
		for i := range a {
			s += float64(a[i]) * float64(b[i])
		}
		return s
	}
	for _, q := range queries {
		var ds []float32
		for _, v := range base {
			ds = append(ds, float32(1-dot(q, v)/math.Sqrt(dot(q, q)*dot(v, v))))
		}
		slices.Sort(ds)
		truth = append(truth, ds[:10])
	}
	return base, queries, truth
}

// npy reads a two-dimensional array of <f2 or <f4, gzipped if it is called so.
func npy(t *testing.T, dir, name string) [][]float32 {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err == nil {
			raw, err = io.ReadAll(z)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	header := string(raw[10 : 10+binary.LittleEndian.Uint16(raw[8:])])
	m := regexp.MustCompile(`'<f([24])'.*\((\d+), (\d+)\)`).FindStringSubmatch(header)
	if m == nil {
		t.Fatalf("%s: header %q", name, header)
	}
	n, _ := strconv.Atoi(m[2])
	dim, _ := strconv.Atoi(m[3])
	raw = raw[10+len(header):]
	out := make([][]float32, n)
	for i := range out {
		out[i] = make([]float32, dim)
		for j := range out[i] {
			if m[1] == "2" {
				out[i][j] = half(binary.LittleEndian.Uint16(raw[2*(i*dim+j):]))
			} else {
				out[i][j] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*(i*dim+j):]))
			}
		}
	}
	return out
}

// half widens a finite IEEE binary16.
func half(h uint16) float32 {
	exp, frac := int(h>>10&31), float64(h&1023)
	f := math.Ldexp(frac/1024+1, exp-15)
	if exp == 0 {
		f = math.Ldexp(frac/1024, -14)
	}
	if h>>15 != 0 {
		f = -f
	}
	return float32(f)
}
