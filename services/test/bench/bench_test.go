package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/bare"
	"golang.org/x/sys/unix"
)

// TestMain lets the test's program be what this one starts: a driver, a peer under a profiler, and another library.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 2 && os.Args[1] == "drive" && os.Args[2] == "--list":
		fmt.Println("qdrant-edge 1.0\nbroken 1.0\nabsent - no such package")
	case len(os.Args) > 2 && os.Args[2] == "broken":
		os.Exit(1)
	case len(os.Args) > 1 && os.Args[1] == "drive":
		if err := drive(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case len(os.Args) > 1 && os.Args[1] == "serve":
		os.Exit(serve())
	default:
		os.Exit(m.Run())
	}
}

// The generated set: rows in groups, of which each has a label.
const rows, asked, dim, groups = 600, 30, 24, 10

func matrixFile(t *testing.T, name, kind string, data any, shape ...int) {
	t.Helper()
	var b bytes.Buffer
	h := fmt.Sprintf("{'descr': '<%s', 'fortran_order': False, 'shape': (%s,), }\n", kind, strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ","), "[]"))
	b.WriteString("\x93NUMPY\x01\x00")
	b.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(h))))
	b.WriteString(h)
	if err := binary.Write(&b, binary.LittleEndian, data); err != nil {
		t.Fatal(err)
	}
	save(t, name, b.Bytes())
}

func save(t *testing.T, name string, b []byte) {
	t.Helper()
	if strings.HasSuffix(name, ".gz") {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		b = z.Bytes()
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// generate writes a data set in the form of the real ones.
func generate(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "words-angular")
	rng := rand.New(rand.NewPCG(1, 2))
	var centres [groups][dim]float64
	for i := range centres {
		for j := range centres[i] {
			centres[i][j] = rng.NormFloat64()
		}
	}
	some := func(n int) (out []float32) {
		for i := range n {
			for j := range dim {
				out = append(out, float32(centres[i%groups][j]+0.5*rng.NormFloat64()))
			}
		}
		return out
	}
	base, queries := some(rows), some(asked)
	matrixFile(t, filepath.Join(dir, "base.f4.npy.gz"), "f4", base, rows, dim)
	matrixFile(t, filepath.Join(dir, "queries.f4.npy"), "f4", queries, asked, dim)
	var lines, questions strings.Builder
	for i := range rows {
		fmt.Fprintf(&lines, `{"id":%d,"rank":%d,"label":%d,"first":"%c"}`+"\n", i, i*100, i%groups, 'p'+i%3)
	}
	for i := range asked {
		fmt.Fprintf(&questions, `{"label":%d}`+"\n", i%groups)
	}
	save(t, filepath.Join(dir, "base.jsonl.gz"), []byte(lines.String()))
	save(t, filepath.Join(dir, "queries.jsonl.gz"), []byte(questions.String()))
	nearest := func(file string, pass func(q, row int) bool) {
		var out []float32
		for q := range asked {
			var all []float64
			for i := range rows {
				if pass(q, i) {
					all = append(all, 1-cosine(queries[q*dim:][:dim], base[i*dim:][:dim]))
				}
			}
			slices.Sort(all)
			for _, x := range all[:k] {
				out = append(out, float32(x))
			}
		}
		matrixFile(t, filepath.Join(dir, file), "f4", out, asked, k)
	}
	nearest("distances.f32.npy", func(int, int) bool { return true })
	nearest("filters/rank_lt_20000.distances.f32.npy", func(_, i int) bool { return i < 200 })
	nearest("filters/first_eq_q.distances.f32.npy", func(_, i int) bool { return i%3 == 1 })
	nearest("filters/label_eq_querylabel_plus5_mod10.distances.f32.npy", func(q, i int) bool { return i%groups == (q+5)%groups })
	ids := make([]int32, 200)
	for i := range ids {
		ids[i] = int32(i)
	}
	matrixFile(t, filepath.Join(dir, "filters/rank_lt_20000.ids.i32.npy"), "i4", ids, len(ids))
	return dir
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab, aa, bb = ab+float64(a[i])*float64(b[i]), aa+float64(a[i])*float64(a[i]), bb+float64(b[i])*float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

func testOptions(t *testing.T, dir string) *options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &options{data: dir, out: t.TempDir(), scratch: t.TempDir(), rounds: 1, quick: true, self: self, cpu: -1, seconds: 0.002}
}

// TestAlone runs the whole benchmark on a small set: it finds what is near, and all is written down.
func TestAlone(t *testing.T) {
	dir := generate(t)
	o := testOptions(t, dir)
	if err := o.alone(t.Context(), []string{dir}); err != nil || len(o.gaps) > 0 {
		t.Fatalf("%v, left out %v", err, o.gaps)
	}
	curves := csvFile(t, filepath.Join(o.out, "curves.csv"))
	if want := 1 + 4*len(o.efs()); len(curves) != want {
		t.Errorf("%d lines of curves, want %d", len(curves), want)
	}
	for _, row := range curves[1:] {
		if row[3] == "512" && row[4] < "0.99" {
			t.Errorf("%v", row)
		}
	}
	for file, lines := range map[string]int{"builds.csv": 2, "searches.csv": 4, "filters.csv": 4} {
		got := csvFile(t, filepath.Join(o.out, file))
		if len(got) != lines {
			t.Errorf("%s has %d lines, want %d", file, len(got), lines)
		}
		for _, row := range got {
			if slices.Contains(row, "-") {
				t.Errorf("%s: %v", file, row)
			}
		}
	}
}

// TestCompare: another library is measured by turns with ours; one that is not there is told, and one that fails.
func TestCompare(t *testing.T) {
	dir := generate(t)
	o := testOptions(t, dir)
	o.python, o.peers = o.self, "drive"
	if err := o.compare(t.Context(), []string{dir}); err != nil {
		t.Fatal(err)
	}
	if len(o.gaps) != 2 || !strings.Contains(o.gaps[0], "absent: no such package") || !strings.Contains(o.gaps[1], "words-angular, broken: ") {
		t.Errorf("left out: %v", o.gaps)
	}
	for file, lines := range map[string]int{"peers-builds.csv": 3, "peers-searches.csv": 7, "peers-filters.csv": 4} {
		if got := csvFile(t, filepath.Join(o.out, file)); len(got) != lines {
			t.Errorf("%s: %v", file, got)
		}
	}
}

// TestUpserts stores points in a peer under the profiler.
func TestUpserts(t *testing.T) {
	dir := generate(t)
	o := testOptions(t, dir)
	if err := o.upserts(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(o.out, "upsert.pprof")); err != nil || info.Size() == 0 {
		t.Errorf("no profile: %v", err)
	}
}

// TestPart: the answers for a part of the rows are computed, and are those that a set of these rows alone has.
func TestPart(t *testing.T) {
	dir := generate(t)
	whole, err := load(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	part, err := load(dir, rows-1)
	if err != nil || len(part.base) != rows-1 || len(part.filters) != 3 {
		t.Fatalf("%v %+v", err, part)
	}
	for q, worst := range part.worst {
		if worst < whole.worst[q]-1e-6 || q > 0 && math.Abs(worst-whole.worst[q]) > 0.2 {
			t.Errorf("query %d: %v of all rows, %v without the last", q, whole.worst[q], worst)
		}
	}
	for i, f := range part.filters {
		if got, want := f.share(rows-1), whole.filters[i].share(rows); math.Abs(got-want) > 0.01 {
			t.Errorf("%s lets %v through, of all %v", f.name, got, want)
		}
	}
	save(t, filepath.Join(dir, "filters/first_eq_q.ids.i32.npy"), nil)
	matrixFile(t, filepath.Join(dir, "filters/first_eq_q.ids.i32.npy"), "i4", []int32{1, 4}, 2)
	if _, err := load(dir, 0); err == nil || !strings.Contains(err.Error(), "first_eq_q") {
		t.Errorf("a filter that is another one: %v", err)
	}
}

func TestRecall(t *testing.T) {
	d := &dataset{name: "d", distance: "Euclid", queries: [][]float32{{0}}, worst: []float64{9}}
	for i := range 20 {
		d.base = append(d.base, []float32{float32(i)})
	}
	d.base[10] = []float32{9} // ties with row 9
	ten := []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	f := &filterSet{name: "f", each: make([][]bare.Condition, 1), pass: []map[uint64]bool{{0: true, 1: true}}, worst: []float64{math.Inf(1)}}
	for name, tc := range map[string]struct {
		ids    []uint64
		f      *filterSet
		recall float64
		says   string
	}{
		"all":         {ten, nil, 1, ""},
		"a tie":       {[]uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 10}, nil, 1, ""},
		"a far one":   {[]uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 11}, nil, 0.9, ""},
		"one twice":   {[]uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 8}, nil, 0.9, ""},
		"too many":    {append([]uint64{11}, ten...), nil, 0.9, ""},
		"few":         {ten[:5], nil, 0.5, ""},
		"filter":      {[]uint64{1, 0}, f, 1, ""},
		"half of it":  {[]uint64{1}, f, 0.5, ""},
		"not passing": {[]uint64{1, 2}, f, 0, "row 2 does not pass f"},
		"no such row": {[]uint64{20}, nil, 0, "there is no row 20"},
	} {
		got, err := d.recall([][]uint64{tc.ids}, tc.f)
		if tc.says != "" {
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: %v", name, err)
			}
		} else if err != nil || math.Abs(got-tc.recall) > 1e-9 {
			t.Errorf("%s: %v, want %v: %v", name, got, tc.recall, err)
		}
	}
	if _, err := d.recall(nil, nil); err == nil {
		t.Error("no answers have a recall")
	}
}

func TestAt(t *testing.T) {
	curve := []sample{{recall: 0.8, qps: 1000}, {recall: 0.9, qps: 100}, {recall: 1, qps: 10}}
	for _, tc := range []struct {
		recall, want float64
		above        bool
	}{{0.85, math.Sqrt(1000 * 100), false}, {0.9, 100, false}, {0.95, math.Sqrt(100 * 10), false}, {1, 10, false}, {0.7, 1000, true}, {0.8, 1000, false}} {
		if got, above := at(curve, tc.recall, qps); math.Abs(got-tc.want) > 1e-6*tc.want || above != tc.above {
			t.Errorf("at %v: %v %v, want %v %v", tc.recall, got, above, tc.want, tc.above)
		}
	}
	if got, _ := at(curve[:2], 0.95, qps); !math.IsNaN(got) {
		t.Errorf("a recall that is not reached has %v", got)
	}
	slow := []sample{{recall: 0.8, p50: 1}, {recall: 1, p50: 100}}
	if got := latencyAt(slow, 0.9, p50); math.Abs(got-10) > 1e-9 {
		t.Errorf("latency %v, want 10", got)
	}
	if m := median([]float64{math.NaN(), 3, 1, 2}); m != 2 {
		t.Errorf("median %v", m)
	}
}

// TestDriverRefuses: what a driver cannot do is an answer, and it goes on.
func TestDriverRefuses(t *testing.T) {
	var out bytes.Buffer
	in := strings.NewReader(`{"do":"search"}` + "\nrubbish\n" + `{"do":"build","folder":"nowhere"}` + "\n" + `{"do":"memory"}` + "\n")
	if err := drive(t.Context(), in, &out); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(&out)
	for _, want := range []string{"must be one build", "invalid character", "nowhere", ""} {
		var a reply
		if err := dec.Decode(&a); err != nil || (want == "") != (a.Error == "") || !strings.Contains(a.Error, want) {
			t.Errorf("%+v %v, want %q", a, err, want)
		}
	}
}

// TestSparse: the plain scan finds the best rows, and what it misses shows.
func TestSparse(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(3, 4))
	const terms, asked = 40, 5
	var dense [2][][]float32
	for part, n := range []int{200, asked} {
		pointers, indices, values := []int32{0}, []int32{}, []float32{}
		for range n {
			row := make([]float32, terms)
			for _, x := range rng.Perm(terms)[:1+rng.IntN(6)] { // in no order
				row[x] = rng.Float32()
				indices, values = append(indices, int32(x)), append(values, row[x])
			}
			dense[part], pointers = append(dense[part], row), append(pointers, int32(len(indices)))
		}
		name := filepath.Join(dir, []string{"base", "queries"}[part])
		matrixFile(t, name+".indptr.i32.npy", "i4", pointers, len(pointers))
		matrixFile(t, name+".indices.i32.npy", "i4", indices, len(indices))
		matrixFile(t, name+".values.f32.npy", "f4", values, len(values))
	}
	var scores []float32
	for _, q := range dense[1] {
		var all []float32
		for _, row := range dense[0] {
			all = append(all, float32(dot(q, row)))
		}
		slices.Sort(all)
		slices.Reverse(all)
		scores = append(scores, all[:k]...)
	}
	matrixFile(t, filepath.Join(dir, "scores.f32.npy"), "f4", scores, asked, k)
	s, err := loadSparse(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, ids := s.scan(asked)
	if r := s.recall(ids); r != 1 {
		t.Errorf("recall %v", r)
	}
	ids[0] = ids[0][:k-1]
	if r := s.recall(ids); math.Abs(r-(1-1.0/(k*asked))) > 1e-9 {
		t.Errorf("recall %v without one row", r)
	}
	if none, err := loadSparse(filepath.Join(dir, "nowhere")); none != nil || err != nil {
		t.Errorf("%v %v", none, err)
	}
	matrixFile(t, filepath.Join(dir, "queries.indptr.i32.npy"), "i4", []int32{0, 1000}, 2)
	if _, err := loadSparse(dir); err == nil || !strings.Contains(err.Error(), "row 0 of queries is from 0 to 1000") {
		t.Error(err)
	}
}

// TestPinned: a thread is bound to one core for as long as something is done, and not afterwards.
func TestPinned(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, within, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !before.IsSet(cpu) {
		cpu++
	}
	failed := errors.New("failed")
	if err := pinned(cpu, func() error { return errors.Join(failed, unix.SchedGetaffinity(0, &within)) }); !errors.Is(err, failed) {
		t.Error(err)
	}
	if within.Count() != 1 || !within.IsSet(cpu) {
		t.Errorf("bound to %d cores", within.Count())
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil || after != before {
		t.Errorf("%v, bound to %d cores afterwards: %v", err, after.Count(), after != before)
	}
}

func TestTokens(t *testing.T) {
	if got := tokens("A parser_of a-B, Ärger 3D"); !slices.Equal(got, []string{"3d", "a", "b", "of", "parser", "ärger"}) {
		t.Errorf("%q", got)
	}
}

func csvFile(t *testing.T, name string) (out [][]string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		out = append(out, strings.Split(strings.TrimSpace(line), ","))
	}
	return out
}
