package payload

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	doc "github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/npy"
)

// excerpt is the part of the real data that is in the repository; PANDO_DATA names
// a folder with the rest.
const excerpt = "../../../../test/demo/words"

// realSpecs index every field of the real payloads, of all sets together.
func realSpecs() []query.FieldIndex {
	out := []query.FieldIndex{{Key: "summary", Type: query.TextField, Text: analysis.Params{Tokenizer: analysis.Word, Lowercase: true, Phrases: true}}}
	for _, key := range []string{"word", "first", "kind", "name", "registry", "version", "month", "label_name"} {
		out = append(out, query.FieldIndex{Key: key, Type: query.KeywordField})
	}
	for _, key := range []string{"length", "rank", "downloads", "label", "brightness"} {
		out = append(out, query.FieldIndex{Key: key, Type: query.IntegerField, Lookup: true, Range: true})
	}
	return out
}

// realRows reads the payloads of a set.
func realRows(tb testing.TB, dir string) (docs []doc.Doc) {
	tb.Helper()
	f, err := os.Open(filepath.Join(dir, "base.jsonl.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	for lines := bufio.NewScanner(z); lines.Scan(); {
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.UseNumber()
		var row map[string]any
		if err := d.Decode(&row); err != nil {
			tb.Fatal(err)
		}
		var b doc.Builder
		b.BeginObject()
		for key, v := range row {
			b.Key(key)
			switch v := v.(type) {
			case json.Number:
				n, err := v.Int64()
				if err != nil {
					tb.Fatal(err)
				}
				b.Int(n)
			case string:
				b.Str(v)
			default:
				b.Null()
			}
		}
		b.End()
		one, err := b.Doc()
		if err != nil {
			tb.Fatal(err)
		}
		docs = append(docs, one)
	}
	return docs
}

func text(s string) filter.Scalar { return filter.Scalar{Kind: filter.StringScalar, Str: s} }

// namedFilters are those whose rows are kept beside the data.
func namedFilters(docs []doc.Doc) map[string][]filter.Condition {
	months := map[string]bool{}
	var late []filter.Scalar
	for _, d := range docs {
		v, _ := d.Get("month")
		if s := v.Str(); s >= "2025-01" && !months[s] {
			months[s] = true
			late = append(late, text(s))
		}
	}
	return map[string][]filter.Condition{
		"first_eq_q":                {filter.Match{Key: "first", Value: text("q")}},
		"length_ge_12":              {filter.Range{Key: "length", GTE: new(12.)}},
		"rank_lt_20000":             {filter.Range{Key: "rank", LT: new(20000.)}},
		"downloads_ge_47632503":     {filter.Range{Key: "downloads", GTE: new(47632503.)}},
		"registry_eq_npm":           {filter.Match{Key: "registry", Value: text("npm")}},
		"summary_has_parser":        {filter.Text{Key: "summary", Words: "Parser"}},
		"pypi_and_month_ge_2025-01": {filter.Match{Key: "registry", Value: text("pypi")}, filter.MatchAny{Key: "month", Values: late}},
		"label_eq_bag":              {filter.Match{Key: "label_name", Value: text("Bag")}},
		"brightness_ge_120":         {filter.Range{Key: "brightness", GTE: new(120.)}},
	}
}

// TestRealData: the filters that come with the data select their rows, and all
// estimates are within a factor of 3.
func TestRealData(t *testing.T) {
	dirs := []string{excerpt}
	if more := os.Getenv("PANDO_DATA"); more != "" {
		found, err := filepath.Glob(filepath.Join(more, "*", "base.jsonl.gz"))
		if err != nil || len(found) == 0 {
			t.Fatalf("PANDO_DATA=%s holds no folder with a base.jsonl.gz: %v", more, err)
		}
		for _, f := range found {
			dirs = append(dirs, filepath.Dir(f))
		}
	}
	texts := textsOf(t, realSpecs())
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			docs := realRows(t, dir)
			rows := &shown{docs: docs, used: slices.Repeat([]bool{true}, len(docs))}
			s := build(t, realSpecs(), docs)
			named := namedFilters(docs)
			found, err := filepath.Glob(filepath.Join(dir, "filters", "*.neighbors.i32.npy"))
			if err != nil || len(found) == 0 {
				t.Fatalf("no filters: %v", err)
			}
			for _, file := range found {
				stem := strings.TrimSuffix(file, ".neighbors.i32.npy")
				name := filepath.Base(stem)
				if named[name] == nil { // another filter for each query
					continue
				}
				f := texts.Bind(&filter.Filter{Must: named[name]})
				p := s.Plan(f, rows)
				guess, ok := p.Estimate()
				got := p.Select()
				want := got.Rows()
				if _, err := os.Stat(stem + ".ids.i32.npy"); err == nil {
					want = ids(t, stem+".ids.i32.npy")
				}
				if !ok || !got.Exact || !slices.Equal(got.Rows(), want) || got.Len() != rows.satisfying(t, f) {
					t.Errorf("%s: %d rows (exact %v), want %d", name, got.Len(), got.Exact, len(want))
				}
				t.Logf("%s: about %d, there are %d", name, guess, len(want))
				if n := len(want); guess > 3*n || n > 3*guess {
					t.Errorf("%s: about %d rows, there are %d", name, guess, n)
				}
			}
			near, all := 0, 0
			r := rand.New(rand.NewPCG(9, 9))
			for range 150 {
				f := texts.Bind(realFilter(r, docs))
				guess, ok := s.Plan(f, rows).Estimate()
				n := rows.satisfying(t, f)
				if !ok {
					t.Fatalf("%+v: no estimate", f)
				}
				if n < 10 {
					continue
				}
				if all++; guess <= 3*n && n <= 3*guess {
					near++
				}
			}
			t.Logf("%d of %d random filters of one to three parts within a factor of 3", near, all)
			if near < all*95/100 {
				t.Errorf("only %d of %d random filters are within a factor of 3", near, all)
			}
		})
	}
}

// realFilter joins one to three conditions that a random row satisfies.
func realFilter(r *rand.Rand, docs []doc.Doc) *filter.Filter {
	f := &filter.Filter{}
	d := docs[r.IntN(len(docs))]
	var all []filter.Condition
	for key, v := range d.All() {
		k := filter.Key(key)
		n, isNumber := v.Number()
		switch {
		case key == "id":
		case isNumber && r.IntN(2) == 0:
			all = append(all, filter.Range{Key: k, GTE: &n})
		case isNumber:
			all = append(all, filter.Range{Key: k, LT: &n})
		case key == "summary":
			for word := range bytes.FieldsSeq([]byte(v.Str())) {
				all = append(all, filter.Text{Key: k, Words: string(word)})
			}
		case key == "word" || key == "name" || key == "version":
			all = append(all, filter.Prefix{Key: k, Text: string([]rune(v.Str())[:1])})
		default:
			all = append(all, filter.Match{Key: k, Value: text(v.Str())})
		}
	}
	for range 1 + r.IntN(3) {
		c := all[r.IntN(len(all))]
		if r.IntN(4) == 0 {
			f.MustNot = append(f.MustNot, c)
		} else {
			f.Must = append(f.Must, c)
		}
	}
	return f
}

func ids(tb testing.TB, name string) []uint32 {
	tb.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := npy.NewReader(bytes.NewReader(raw))
	if err != nil {
		tb.Fatal(err)
	}
	var out []uint32
	for {
		row, err := r.NextInts(nil)
		if err == io.EOF {
			slices.Sort(out)
			return out
		}
		if err != nil {
			tb.Fatal(err)
		}
		for _, n := range row {
			out = append(out, uint32(n))
		}
	}
}
