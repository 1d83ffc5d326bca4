package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/pandodb/pando/services/dataplane/bare"
	"github.com/pandodb/pando/services/test/vectors"
)

// k is how many neighbours each query asks for.
const k = 10

// filterQueries is how many queries the data sets have exact filtered answers for.
const filterQueries = 100

// dataset is a folder of real vectors with exact answers.
type dataset struct {
	name, dir, distance string
	base, queries       [][]float32
	worst               []float64 // distance of the k-th neighbour, per query
	filters             []filterSet
	fields              []bare.Field
	sparse              *sparseSet // nil: there is none
}

// filterSet is a filter: one for all queries, or one for each.
type filterSet struct {
	name  string
	each  [][]bare.Condition
	pass  []map[uint64]bool // one for each in each
	worst []float64         // for the first filterQueries; fewer than k rows that pass: +Inf
}

func (f *filterSet) of(query int) int { return min(query, len(f.each)-1) }

// share is how much of the rows passes, on average.
func (f *filterSet) share(rows int) float64 {
	n := 0
	for _, p := range f.pass {
		n += len(p)
	}
	return float64(n) / float64(len(f.pass)) / float64(rows)
}

// find gives the folders below dir, or dir itself, that hold vectors; sets are parts of their names, none: all.
func find(dir string, sets []string) (out []string, err error) {
	for _, pattern := range []string{"base.*.npy*", "*/base.*.npy*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			d := filepath.Dir(f)
			if len(sets) == 0 || slices.ContainsFunc(sets, func(s string) bool { return strings.Contains(filepath.Base(d), s) }) {
				out = append(out, d)
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("DATA=%s SETS=%s: no such folder with a file base.*.npy(.gz)", dir, strings.Join(sets, ","))
	}
	return out, nil
}

// one gives the only file that fits.
func one(dir, pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%s: %d files %s, not one", dir, len(found), pattern)
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// load reads vectors, filters and answers. Of a part of the rows (0: all) the answers are computed, which takes seconds.
func load(dir string, rows int) (*dataset, error) {
	d := &dataset{name: filepath.Base(dir), dir: dir, distance: "Cosine"}
	if strings.HasSuffix(d.name, "euclidean") {
		d.distance = "Euclid"
	}
	var err error
	if d.base, d.queries, err = matrices(dir); err != nil {
		return nil, err
	}
	whole := rows <= 0 || rows >= len(d.base)
	if !whole {
		d.base = d.base[:rows]
	}
	if err := d.payloads(whole); err != nil {
		return nil, err
	}
	if whole {
		d.worst, err = kth(filepath.Join(dir, "distances.f32.npy"))
	} else {
		d.worst = d.exact(len(d.queries), func(int, uint64) bool { return true })
	}
	if err != nil {
		return nil, err
	}
	d.sparse, err = loadSparse(filepath.Join(dir, "sparse")) // all of it: its answers are quick to be had
	return d, err
}

// matrices reads what every driver reads.
func matrices(dir string) (base, queries [][]float32, err error) {
	for _, f := range []struct {
		pattern string
		to      *[][]float32
	}{{"base.*.npy*", &base}, {"queries.*.npy*", &queries}} {
		name, err := one(dir, f.pattern)
		if err != nil {
			return nil, nil, err
		}
		if *f.to, err = vectors.Matrix(name); err != nil {
			return nil, nil, err
		}
	}
	return base, queries, nil
}

// kth reads the distance of the k-th neighbour.
func kth(name string) (out []float64, err error) {
	rows, err := vectors.Matrix(name)
	for _, r := range rows {
		if len(r) < k {
			return nil, fmt.Errorf("%s: %d distances are too few", name, len(r))
		}
		out = append(out, float64(r[k-1]))
	}
	return out, err
}

// payloads reads the payload of the base, and what the filters on it let through.
func (d *dataset) payloads(whole bool) error {
	base, err := lines(filepath.Join(d.dir, "base.jsonl.gz"), len(d.base))
	if err != nil {
		return err
	}
	queries, err := lines(filepath.Join(d.dir, "queries.jsonl.gz"), filterQueries)
	if err != nil {
		return err
	}
	for _, def := range definitions() {
		if _, err := os.Stat(filepath.Join(d.dir, "filters", def.name+".distances.f32.npy")); err != nil {
			continue
		}
		f := filterSet{name: def.name, each: def.conditions(base, queries)}
		for _, all := range f.each {
			pass := map[uint64]bool{}
			for i, p := range base {
				if passes(all, p) {
					pass[uint64(i)] = true
				}
			}
			f.pass = append(f.pass, pass)
		}
		if whole {
			if err = d.agree(&f); err == nil {
				f.worst, err = kth(filepath.Join(d.dir, "filters", def.name+".distances.f32.npy"))
			}
		} else {
			f.worst = d.exact(filterQueries, func(q int, row uint64) bool { return f.pass[f.of(q)][row] })
		}
		if err != nil {
			return err
		}
		d.filters, d.fields = append(d.filters, f), append(d.fields, def.field)
	}
	slices.SortFunc(d.fields, func(a, b bare.Field) int { return cmp.Compare(a.Key, b.Key) })
	d.fields = slices.Compact(d.fields)
	return nil
}

// agree holds what we let through against what the data says passes, where it does.
func (d *dataset) agree(f *filterSet) error {
	name := filepath.Join(d.dir, "filters", f.name+".ids.i32.npy")
	if _, err := os.Stat(name); err != nil {
		return nil
	}
	ids, err := vectors.Matrix(name)
	if err != nil {
		return err
	}
	same := len(ids) == len(f.pass[0])
	for _, id := range ids {
		same = same && f.pass[0][uint64(id[0])]
	}
	if !same {
		return fmt.Errorf("%s: %d rows pass, which are not the %d of the filter here", name, len(ids), len(f.pass[0]))
	}
	return nil
}

func lines(name string, limit int) (out []map[string]any, err error) {
	if _, err := os.Stat(name); err != nil {
		return nil, nil // a set without payload
	}
	err = vectors.Open(name, func(r io.Reader) error {
		in := bufio.NewScanner(r)
		for len(out) < limit && in.Scan() {
			var m map[string]any
			if err := json.Unmarshal(in.Bytes(), &m); err != nil {
				return fmt.Errorf("line %d: %w", len(out)+1, err)
			}
			if s, ok := m["summary"].(string); ok { // so that a word can be looked for without an index on texts
				m["tokens"] = tokens(s)
			}
			out = append(out, m)
		}
		return in.Err()
	})
	return out, err
}

// tokens are runs of letters and digits in lower case, as the filters of the data sets have them.
func tokens(s string) []string {
	return slices.Compact(slices.Sorted(slices.Values(regexp.MustCompile(`[\p{L}\p{N}]+`).FindAllString(strings.ToLower(s), -1))))
}

// definition is a filter of a data set.
type definition struct {
	name       string
	field      bare.Field
	conditions func(base, queries []map[string]any) [][]bare.Condition
}

func definitions() []definition {
	integer := func(key string) bare.Field { return bare.Field{Key: key, Type: "integer"} }
	keyword := func(key string) bare.Field { return bare.Field{Key: key, Type: "keyword"} }
	fixed := func(all ...bare.Condition) func(_, _ []map[string]any) [][]bare.Condition {
		return func(_, _ []map[string]any) [][]bare.Condition { return [][]bare.Condition{all} }
	}
	number := func(f float64) *float64 { return &f }
	return []definition{
		{"rank_lt_20000", integer("rank"), fixed(bare.Condition{Key: "rank", LT: number(20000)})},
		{"length_ge_12", integer("length"), fixed(bare.Condition{Key: "length", GTE: number(12)})},
		{"first_eq_q", keyword("first"), fixed(bare.Condition{Key: "first", Any: []any{"q"}})},
		{"label_eq_bag", integer("label"), fixed(bare.Condition{Key: "label", Any: []any{8.0}})},
		{"brightness_ge_120", integer("brightness"), fixed(bare.Condition{Key: "brightness", GTE: number(120)})},
		{"label_eq_querylabel_plus5_mod10", integer("label"), func(_, queries []map[string]any) (out [][]bare.Condition) {
			for _, q := range queries {
				label, _ := q["label"].(float64)
				out = append(out, []bare.Condition{{Key: "label", Any: []any{math.Mod(label+5, 10)}}})
			}
			return out
		}},
		{"registry_eq_npm", keyword("registry"), fixed(bare.Condition{Key: "registry", Any: []any{"npm"}})},
		{"downloads_ge_47632503", integer("downloads"), fixed(bare.Condition{Key: "downloads", GTE: number(47632503)})},
		{"summary_has_parser", keyword("tokens"), fixed(bare.Condition{Key: "tokens", Any: []any{"parser"}})},
		{"pypi_and_month_ge_2025-01", keyword("month"), func(base, _ []map[string]any) [][]bare.Condition {
			var months []string // the filter is on the order of texts, which no condition knows
			for _, p := range base {
				if m, ok := p["month"].(string); ok && m >= "2025-01" {
					months = append(months, m)
				}
			}
			slices.Sort(months)
			c := bare.Condition{Key: "month"}
			for _, m := range slices.Compact(months) {
				c.Any = append(c.Any, m)
			}
			return [][]bare.Condition{{{Key: "registry", Any: []any{"pypi"}}, c}}
		}},
	}
}

// passes is what the conditions mean.
func passes(all []bare.Condition, p map[string]any) bool {
	for _, c := range all {
		n, isNumber := p[c.Key].(float64)
		list, isList := p[c.Key].([]string)
		switch {
		case isList:
			if !slices.ContainsFunc(c.Any, func(v any) bool { s, ok := v.(string); return ok && slices.Contains(list, s) }) {
				return false
			}
		case len(c.Any) > 0:
			if !slices.Contains(c.Any, p[c.Key]) {
				return false
			}
		case !isNumber || c.GTE != nil && n < *c.GTE || c.LT != nil && n >= *c.LT:
			return false
		}
	}
	return true
}

// exact gives the distance of the k-th neighbour among the rows that pass, in float64 over the values as stored.
func (d *dataset) exact(queries int, pass func(query int, row uint64) bool) []float64 {
	norms := d.norms(d.base)
	out := make([]float64, min(queries, len(d.queries)))
	var all sync.WaitGroup
	workers := runtime.NumCPU()
	for w := range workers {
		all.Go(func() {
			found := make([]float64, 0, len(d.base))
			for q := w; q < len(out); q += workers {
				found = found[:0]
				own := d.norms(d.queries[q : q+1])[0]
				for i, row := range d.base {
					if pass(q, uint64(i)) {
						found = append(found, d.between(d.queries[q], row, own, norms[i]))
					}
				}
				out[q] = math.Inf(1)
				if len(found) >= k {
					slices.Sort(found)
					out[q] = found[k-1]
				}
			}
		})
	}
	all.Wait()
	return out
}

func (d *dataset) norms(rows [][]float32) []float64 {
	out := make([]float64, len(rows))
	if d.distance == "Cosine" {
		for i, r := range rows {
			out[i] = math.Sqrt(dot(r, r))
		}
	}
	return out
}

// between is the distance of two vectors, as the data sets define it: 1 - cosine, or Euclidean.
func (d *dataset) between(a, b []float32, na, nb float64) float64 {
	if d.distance == "Cosine" {
		return 1 - dot(a, b)/(na*nb)
	}
	return math.Sqrt(squares(a, b))
}

// squares and dot keep four sums, so that one addition need not wait for the one before.
func squares(a, b []float32) float64 {
	var s0, s1, s2, s3 float64
	for ; len(a) >= 4 && len(b) >= 4; a, b = a[4:], b[4:] {
		x0, x1 := float64(a[0])-float64(b[0]), float64(a[1])-float64(b[1])
		x2, x3 := float64(a[2])-float64(b[2]), float64(a[3])-float64(b[3])
		s0, s1, s2, s3 = s0+x0*x0, s1+x1*x1, s2+x2*x2, s3+x3*x3
	}
	for i := range a {
		x := float64(a[i]) - float64(b[i])
		s0 += x * x
	}
	return s0 + s1 + s2 + s3
}

func dot(a, b []float32) float64 {
	var s0, s1, s2, s3 float64
	for ; len(a) >= 4 && len(b) >= 4; a, b = a[4:], b[4:] {
		s0, s1 = s0+float64(a[0])*float64(b[0]), s1+float64(a[1])*float64(b[1])
		s2, s3 = s2+float64(a[2])*float64(b[2]), s3+float64(a[3])*float64(b[3])
	}
	for i := range a {
		s0 += float64(a[i]) * float64(b[i])
	}
	return s0 + s1 + s2 + s3
}
