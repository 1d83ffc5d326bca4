package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/test/vectors"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func excerpt(t *testing.T) *dataset {
	t.Helper()
	d, err := load("words")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestExactAnswers computes the distances of the excerpt again: the readers, float16 and gzip included, the filters and
// the measure must agree with whoever wrote the files.
func TestExactAnswers(t *testing.T) {
	d := excerpt(t)
	if len(d.base) != 4000 || len(d.queries) != 50 || len(d.filters) != 3 {
		t.Fatalf("%d vectors, %d queries, %d filters", len(d.base), len(d.queries), len(d.filters))
	}
	for _, f := range append([]filtered{{name: "none", exact: d.exact}}, d.filters...) {
		for q := range f.exact {
			var all []float64
			for i, v := range d.base {
				if f.keep == nil || f.keep(d.words[i]) {
					all = append(all, cosineDistance(d.queries[q], v))
				}
			}
			slices.Sort(all)
			for i, want := range f.exact[q][:top] {
				if math.Abs(all[i]-float64(want)) > 1e-6 {
					t.Fatalf("filter %s, query %d, place %d: distance %v, the file says %v", f.name, q, i, all[i], want)
				}
			}
		}
	}
}

func TestHits(t *testing.T) {
	d := excerpt(t)
	rows, err := vectors.Matrix(filepath.Join("words", "neighbors.i32.npy"))
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]uint64, top)
	for i := range ids {
		ids[i] = uint64(rows[0][i])
	}
	worse := uint64(rows[0][99])
	longer := func(w word) bool { return w != d.words[ids[3]] }
	for name, tc := range map[string]struct {
		got  []uint64
		keep func(word) bool
		want int
	}{
		"all":                     {ids, nil, 10},
		"in another order":        {backwards(ids), nil, 10},
		"one that is too far":     {replaced(ids, 4, worse), nil, 9},
		"one twice":               {replaced(ids, 4, ids[5]), nil, 9},
		"one that does not exist": {replaced(ids, 4, 1<<40), nil, 9},
		"one that is refused":     {ids, longer, 9},
		"too few":                 {ids[:6], nil, 6},
		"too many":                {append(slices.Clone(ids), ids...), nil, 10},
		"none":                    {nil, nil, 0},
	} {
		if n := d.hits(d.queries[0], tc.got, d.exact[0], top, tc.keep); n != tc.want {
			t.Errorf("%s: %d hits, want %d", name, n, tc.want)
		}
	}
	// Of two rows at one distance either will do.
	tie := &dataset{base: [][]float32{{1, 0}, {2, 0}, {0, 1}}, words: make([]word, 3)}
	for _, id := range []uint64{0, 1} {
		if tie.hits([]float32{3, 0}, []uint64{id}, []float32{0}, 1, nil) != 1 {
			t.Errorf("the tie with row %d is punished", id)
		}
	}
	if recall(500, 500) != "1.0" || recall(4_999_999, 5_000_000) != "0.99999" || recall(1, 2) != "0.50000" {
		t.Error("a recall is rounded to what it is not")
	}
}

func replaced(ids []uint64, at int, by uint64) []uint64 {
	out := slices.Clone(ids)
	out[at] = by
	return out
}

func TestBadFolders(t *testing.T) {
	pack := func(s string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, tc := range map[string]struct {
		file    string
		content []byte
		says    string
	}{
		"missing":      {"queries.f16.npy", nil, "queries.f16.npy"},
		"not gzip":     {"base.jsonl.gz", []byte("{}"), "base.jsonl.gz"},
		"not JSON":     {"base.jsonl.gz", pack(`{"word":"a","length":1}` + "\n{"), "line 2"},
		"wrong":        {"base.jsonl.gz", pack(`{"word":"aé","length":3}`), "length 3"},
		"too short":    {"base.jsonl.gz", pack(`{"word":"a","length":1}`), "4000 vectors but 1 lines"},
		"not a matrix": {"distances.f32.npy", []byte("hello"), "distances.f32.npy"},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("words")); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, tc.file)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if tc.content != nil {
			if err := os.WriteFile(path, tc.content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := load(dir); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v does not say %q", name, err, tc.says)
		}
	}
}

// TestTally: the audit must see every way in which a write can be lost.
func TestTally(t *testing.T) {
	s := &show{data: excerpt(t)}
	stored := func(generation uint64, change func(*qdrant.RetrievedPoint)) *qdrant.RetrievedPoint {
		p := s.version(7, generation)
		got := &qdrant.RetrievedPoint{Id: p.Id, Payload: p.Payload, Vectors: &qdrant.VectorsOutput{VectorsOptions: &qdrant.VectorsOutput_Vector{
			Vector: &qdrant.VectorOutput{Vector: &qdrant.VectorOutput_Dense{Dense: &qdrant.DenseVector{Data: slices.Clone(p.GetVectors().GetVector().GetDense().GetData())}}}}}}
		if change != nil {
			change(got)
		}
		return got
	}
	data := func(p *qdrant.RetrievedPoint) []float32 { return p.GetVectors().GetVector().GetDense().Data }
	for name, tc := range map[string]struct {
		got             *qdrant.RetrievedPoint
		is, acked, sent uint64
		want            tally
	}{
		"as acknowledged":               {stored(2, nil), 2, 2, 2, tally{acked: 1, found: 1}},
		"the one under way":             {stored(3, nil), 3, 2, 3, tally{acked: 1, found: 1}},
		"not yet acknowledged":          {nil, 0, 0, 1, tally{}},
		"not acknowledged, there":       {stored(1, nil), 1, 0, 1, tally{}},
		"missing":                       {nil, 0, 1, 1, tally{acked: 1, missing: 1}},
		"an older one":                  {stored(1, nil), 1, 2, 2, tally{acked: 1, stale: 1}},
		"never written":                 {stored(4, nil), 4, 2, 3, tally{acked: 1, wrong: 1}},
		"another length only":           {stored(1, func(p *qdrant.RetrievedPoint) { scale(data(p), 0.25) }), 1, 1, 1, tally{acked: 1, found: 1}},
		"another vector":                {stored(1, func(p *qdrant.RetrievedPoint) { data(p)[3] += 0.1 }), 1, 1, 1, tally{acked: 1, wrong: 1}},
		"no vector":                     {stored(1, func(p *qdrant.RetrievedPoint) { p.Vectors = nil }), 1, 1, 1, tally{acked: 1, wrong: 1}},
		"another payload":               {stored(1, func(p *qdrant.RetrievedPoint) { p.Payload["word"] = text("x") }), 1, 1, 1, tally{acked: 1, wrong: 1}},
		"less payload":                  {stored(1, func(p *qdrant.RetrievedPoint) { delete(p.Payload, "rank") }), 1, 1, 1, tally{acked: 1, wrong: 1}},
		"half of one, not acknowledged": {stored(1, func(p *qdrant.RetrievedPoint) { p.Payload = nil }), 1, 0, 1, tally{wrong: 1}},
	} {
		var got tally
		got.count(tc.got, tc.is, tc.acked, tc.sent, s.version(7, tc.is))
		if got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func scale(v []float32, by float32) {
	for i := range v {
		v[i] *= by
	}
}

func backwards(ids []uint64) []uint64 {
	out := slices.Clone(ids)
	slices.Reverse(out)
	return out
}

// TestCensus: what an acknowledged point may be on each replica of its shard, and what it may not.
func TestCensus(t *testing.T) {
	at := func(v ...verdict) map[uint64]verdict {
		out := map[uint64]verdict{}
		for i, one := range v {
			if one != (verdict{}) {
				out[uint64(i)] = one
			}
		}
		return out
	}
	first, second := verdict{1, true}, verdict{2, true}
	for name, tc := range map[string]struct {
		acked, sent                  uint64
		here, there                  verdict // zero: the point is not there
		counted, missing, old, wrong int
	}{
		"as acknowledged":                      {1, 1, first, first, 1, 0, 0, 0},
		"one that was under way has come":      {1, 2, second, second, 1, 0, 0, 0},
		"one that was under way has not come":  {0, 1, verdict{}, verdict{}, 0, 0, 0, 0},
		"nowhere":                              {1, 1, verdict{}, verdict{}, 1, 2, 0, 0},
		"on one replica only":                  {1, 1, first, verdict{}, 1, 1, 0, 0},
		"older on one replica":                 {2, 2, second, first, 1, 0, 1, 0},
		"never written":                        {1, 1, second, first, 1, 0, 0, 1},
		"other bytes":                          {1, 1, first, verdict{1, false}, 1, 0, 0, 1},
		"another shard's replicas do not care": {1, 1, first, first, 1, 0, 0, 0},
	} {
		c := census{shards: map[topology.Shard][]*replica{{ID: 0}: {{points: at(tc.here)}, {points: at(tc.there)}}, {ID: 1}: {{points: at()}, {points: at()}}}}
		c.count(0, tc.acked, tc.sent)
		if c.acked != tc.counted || c.missing != tc.missing || c.stale != tc.old || c.wrong != tc.wrong {
			t.Errorf("%s: %+v", name, c.tally)
		}
	}
}

// TestKind: a pause is counted until the next success, failures have their reasons, and what may not be is an error.
func TestKind(t *testing.T) {
	gone := status.Error(codes.Unavailable, "gone")
	k := &kind{what: "reads", retries: true, fails: map[codes.Code]int{}}
	k.note(true, nil, time.Millisecond)
	k.note(false, gone, time.Second)
	k.note(true, nil, 2*time.Second)
	s := &storm{kinds: []*kind{k}}
	if reads, writes := s.lap(); reads != 2*time.Second || writes != 0 {
		t.Errorf("%v %v", reads, writes)
	}
	if reads, _ := s.lap(); reads != 0 || k.pause != 2*time.Second || k.done != 2 || k.fails.Reasons() != " (Unavailable 1)" {
		t.Errorf("%v %+v %s", reads, k, k.fails.Reasons())
	}
	if err := s.report(); !errors.Is(err, gone) {
		t.Error(err)
	}
	k.retries = false
	if err := s.report(); err != nil {
		t.Error(err)
	}
	if k.note(false, nil, 0); s.report() == nil {
		t.Error("an answer that is wrong is none")
	}
}
