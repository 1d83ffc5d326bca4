package payload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	doc "github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
)

// allSpecs index one field of each type of what goldenDocs gives.
func allSpecs() []query.FieldIndex {
	return []query.FieldIndex{
		{Key: "word", Type: query.KeywordField, Tenant: true}, {Key: "n", Type: query.IntegerField, Lookup: true, Range: true}, {Key: "f", Type: query.FloatField},
		{Key: "b", Type: query.BoolField}, {Key: "at", Type: query.DatetimeField}, {Key: "id", Type: query.UUIDField}, {Key: "place", Type: query.GeoField},
		{Key: "text", Type: query.TextField, Text: analysis.Params{Tokenizer: analysis.Word, Lowercase: true, Folding: true, Phrases: true, MinLen: 2, MaxLen: 20,
			Stemmer: "english", StopLanguages: "english", StopWords: "pando"}},
	}
}

// sample is rows of every type of value, some without.
func sample(tb testing.TB, n int) []doc.Doc {
	out := make([]doc.Doc, n)
	for i := range out {
		if i%7 == 3 {
			continue
		}
		var b doc.Builder
		b.BeginObject()
		b.Key("word")
		b.BeginList()
		b.Str(fmt.Sprint("w", i%40))
		if i%5 == 0 {
			b.Str(fmt.Sprint("v", i))
			b.Null()
		}
		b.End()
		b.Key("n")
		b.Int(int64(i*7919%50 - 20))
		b.Key("f")
		b.Double(float64(i%9) / 4)
		b.Key("b")
		b.Bool(i%3 == 0)
		b.Key("at")
		b.Str(fmt.Sprintf("2024-05-%02dT01:02:03Z", 1+i%28))
		b.Key("id")
		b.Str(fmt.Sprintf("6ba7b810-9dad-11d1-80b4-%012d", i%30))
		b.Key("place")
		b.BeginObject()
		b.Key("lat")
		b.Int(int64(i*31%180 - 90))
		b.Key("lon")
		b.Double(float64(i*73%360 - 180))
		b.End()
		b.Key("text")
		b.BeginList()
		b.Str("The parsers of Pando run " + strings.Repeat("fast ", i%3) + "and parse")
		b.Str(fmt.Sprint("Café number", i%11))
		b.End()
		b.End()
		var err error
		if out[i], err = b.Doc(); err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

func files(tb testing.TB, specs []query.FieldIndex, docs []doc.Doc) [][]byte {
	tb.Helper()
	b, err := NewBuilder(specs)
	if err != nil {
		tb.Fatal(err)
	}
	for row, d := range docs {
		b.Add(uint32(row), d)
	}
	return b.Files(uint32(len(docs)))
}

// TestGolden: format 1 is read for ever, and the same rows give it byte by byte.
// Stored are the rows and then the files, each behind its length.
func TestGolden(t *testing.T) {
	const name = "testdata/v1.golden"
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	docs := sample(t, 200)
	var got []byte
	for _, b := range files(t, allSpecs(), docs) {
		got = append(binary.LittleEndian.AppendUint32(got, uint32(len(b))), b...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the rows have other bytes now: %d, %d are kept", len(got), len(want))
	}
	var kept [][]byte
	for len(want) > 0 {
		n := binary.LittleEndian.Uint32(want)
		kept, want = append(kept, want[4:4+n]), want[4+n:]
	}
	s, err := Open(kept...)
	if err != nil {
		t.Fatal(err)
	}
	specs := allSpecs()
	specs[0].Tenant = false // not about the index
	if !slices.Equal(s.Specs(), specs) {
		t.Errorf("indexed are %+v", s.Specs())
	}
	if n := s.Count(); n["word"] != 171 || n["text"] != 171 || n["place"] != 171 {
		t.Error(n)
	}
	if n := s.Count(roaring.BitmapOf(0, 1, 3)); n["word"] != 2 {
		t.Error(n)
	}
}

// TestTailAndSealed: a set that was built row by row and one that was opened give
// the same values, counts and orders.
func TestTailAndSealed(t *testing.T) {
	docs := sample(t, 1000)
	tail, _, err := (&Set{}).Change(allSpecs())
	if err != nil {
		t.Fatal(err)
	}
	for row, d := range docs {
		tail.Put(uint32(row), nil, d)
	}
	sealed := build(t, allSpecs(), docs)
	if a, b := tail.Count(), sealed.Count(); !maps.Equal(a, b) {
		t.Errorf("%v, %v", a, b)
	}
	some := Of([]uint32{1, 5, 9, 70, 71, 500})
	for _, key := range []string{"word", "n", "b", "id"} {
		for _, sel := range []*Selection{nil, &some} {
			a, ok := tail.Facet(key, sel, 0)
			b, also := sealed.Facet(key, sel, 0)
			if !ok || !also || len(a) == 0 || !slices.Equal(a, b) {
				t.Errorf("facet of %s: %d hits, %d hits", key, len(a), len(b))
			}
		}
	}
	for _, key := range []string{"text", "place", "f", "at", "none"} {
		if _, ok := sealed.Facet(key, nil, 1); ok {
			t.Errorf("a facet of %s", key)
		}
	}
	for _, o := range []query.Order{{Key: "n"}, {Key: "n", Desc: true}, {Key: "f", From: &query.OrderValue{Float: 0.75, IsFloat: true}}, {Key: "at", Desc: true, From: &query.OrderValue{Int: 1715216523000000}}} {
		var got [2][]string
		for i, s := range []*Set{tail, sealed} {
			sorted, ok := s.Sort(&o)
			if !ok {
				t.Fatalf("no order of %s", o.Key)
			}
			sorted.Groups(func(row uint32) bool { return row%3 > 0 }, func(rank int64, rows []uint32) bool {
				slices.Sort(rows)
				got[i] = append(got[i], fmt.Sprint(rank, rows, sorted.Value(rank, docs[rows[0]])))
				return true
			})
		}
		if len(got[0]) < 3 || !slices.Equal(got[0], got[1]) {
			t.Errorf("%+v: %d groups, %d groups", o, len(got[0]), len(got[1]))
		}
	}
	if _, ok := sealed.Sort(&query.Order{Key: "place"}); ok {
		t.Error("places have an order")
	}
}

// TestDamage: no flipped bit and no missing or added byte is overlooked.
func TestDamage(t *testing.T) {
	for i, b := range files(t, allSpecs(), sample(t, 9)) {
		for at := range b {
			bit := byte(1) << (at % 8)
			b[at] ^= bit
			if _, err := Open(b); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "at byte ") {
				t.Fatalf("file %d, byte %d: %v", i, at, err)
			}
			b[at] ^= bit
			if _, err := Open(b[:at]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("file %d, %d bytes: %v", i, at, err)
			}
		}
		if _, err := Open(append(b, make([]byte, 8)...)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("file %d, more bytes: %v", i, err)
		}
	}
}

// TestStale: words that other rules made are not looked up.
func TestStale(t *testing.T) {
	b := files(t, allSpecs(), nil)[7]
	b[padded(headSize)+3]++
	seal(b)
	if _, err := Open(b); !errors.Is(err, ErrStale) {
		t.Error(err)
	}
}

// seal makes the checksums match where there is a header.
func seal(b []byte) {
	if len(b) < padded(headSize) {
		return
	}
	next := padded(headSize)
	for i := range partCount {
		entry := b[fixed+perPart*i:]
		n := binary.LittleEndian.Uint64(entry)
		if n > uint64(len(b)-next) {
			break
		}
		binary.LittleEndian.PutUint32(entry[8:], crc32.Checksum(b[next:next+int(n)], castagnoli()))
		next = min(len(b), next+padded(int(n)))
	}
	binary.LittleEndian.PutUint32(b[headSize-4:], crc32.Checksum(b[:headSize-4], castagnoli()))
}

// FuzzOpen: whatever is opened can be asked everything. Checksums are made to
// match, so that what they hide is reached.
func FuzzOpen(f *testing.F) {
	for _, b := range files(f, allSpecs(), sample(f, 200)) {
		f.Add(b)
	}
	for _, b := range files(f, allSpecs(), sample(f, 3)) {
		f.Add(b)
	}
	str := func(s string) filter.Scalar { return filter.Scalar{Kind: filter.StringScalar, Str: s} }
	f.Fuzz(func(t *testing.T, b []byte) {
		seal(b)
		s, err := Open(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrStale) {
				t.Fatal(err)
			}
			return
		}
		spec := s.Specs()[0]
		key := filter.Key(spec.Key)
		texts := textsOf(t, []query.FieldIndex{spec})
		rows := numbered(binary.LittleEndian.Uint32(b[16:]))
		for _, c := range []filter.Condition{filter.Match{Key: key, Value: str("w1")}, filter.MatchAny{Key: key, Except: true}, filter.Prefix{Key: key, Text: "w"},
			filter.Range{Key: key, GT: new(0.)}, filter.TimeRange{Key: key, GT: new(int64(0))}, filter.GeoRadius{Key: key, Radius: 1e6}, filter.IsEmpty{Key: key},
			filter.Text{Key: key, Words: "parse fast"}, filter.Text{Key: key, Words: "parse run", Mode: analysis.Phrase}} {
			p := s.Plan(texts.Bind(&filter.Filter{Must: []filter.Condition{c}}), rows)
			if _, ok := p.Most(); ok && rows < 1<<20 {
				p.Select()
			}
		}
		s.Facet(spec.Key, nil, 3)
		if sorted, ok := s.Sort(&query.Order{Key: spec.Key, Desc: true}); ok {
			sorted.Groups(func(uint32) bool { return true }, func(int64, []uint32) bool { return true })
		}
	})
}

// numbered is so many rows of which none is used.
type numbered int

func (n numbered) Len() int                            { return int(n) }
func (n numbered) Points() int                         { return 0 }
func (n numbered) Used() *roaring.Bitmap               { return roaring.New() }
func (n numbered) Row(topology.PointID) (uint32, bool) { return 0, false }

// TestManyReaders asks one opened set from several goroutines, for the race detector.
func TestManyReaders(t *testing.T) {
	docs := sample(t, 500)
	s := build(t, allSpecs(), docs)
	texts := textsOf(t, allSpecs())
	used := make([]bool, len(docs))
	for i := range used {
		used[i] = i%13 != 0
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			rows := &shown{docs: docs, used: used}
			for _, c := range goldenConditions() {
				rows.check(t, s, texts.Bind(&filter.Filter{Must: []filter.Condition{c}}))
				rows.check(t, s, texts.Bind(&filter.Filter{MustNot: []filter.Condition{c}, Should: goldenConditions()}))
			}
			s.Facet("word", nil, 3)
		})
	}
	all.Wait()
}

func goldenConditions() []filter.Condition {
	str := func(s string) filter.Scalar { return filter.Scalar{Kind: filter.StringScalar, Str: s} }
	return []filter.Condition{
		filter.Match{Key: "word", Value: str("w7")}, filter.MatchAny{Key: "word", Values: []filter.Scalar{str("w7"), str("w8"), str("v5")}},
		filter.MatchAny{Key: "word", Values: []filter.Scalar{str("w7")}, Except: true}, filter.Prefix{Key: "word", Text: "w1"},
		filter.Match{Key: "n", Value: filter.Scalar{Kind: filter.IntScalar, Int: -3}}, filter.Range{Key: "n", GT: new(-5.), LTE: new(20.)},
		filter.Range{Key: "f", LT: new(1.)}, filter.Match{Key: "b", Value: filter.Scalar{Kind: filter.BoolScalar, Bool: true}},
		filter.TimeRange{Key: "at", GTE: new(int64(1715216523000000))}, filter.Match{Key: "id", Value: str("6BA7B810-9dad-11d1-80b4-000000000007")},
		filter.GeoRadius{Key: "place", Center: filter.Place{Lon: 10, Lat: 10}, Radius: 4e6},
		filter.GeoBox{Key: "place", TopLeft: filter.Place{Lon: 170, Lat: 50}, BottomRight: filter.Place{Lon: -120, Lat: -50}},
		filter.GeoPolygon{Key: "place", Exterior: []filter.Place{{Lon: -100, Lat: -60}, {Lon: 120, Lat: -40}, {Lon: 30, Lat: 80}},
			Interiors: [][]filter.Place{{{Lon: 0, Lat: 0}, {Lon: 40, Lat: 0}, {Lon: 20, Lat: 30}}}},
		filter.Text{Key: "text", Words: "parsing fast"}, filter.Text{Key: "text", Words: "cafe 7", Mode: analysis.Any},
		filter.Text{Key: "text", Words: "run fast, parse", Mode: analysis.Phrase}, filter.ValuesCount{Key: "word", GTE: new(uint64(2))},
		filter.ValuesCount{Key: "n", LT: new(uint64(1))}, filter.IsEmpty{Key: "word"}, filter.IsNull{Key: "word"},
	}
}

// TestKnown: which conditions an opened set knows without a payload.
func TestKnown(t *testing.T) {
	docs := sample(t, 2000)
	rows := &shown{docs: docs, used: slices.Repeat([]bool{true}, len(docs))}
	s := build(t, allSpecs(), docs)
	texts := textsOf(t, allSpecs())
	for i, c := range goldenConditions() {
		asks := false // the filter has to be asked about the rows
		switch c := c.(type) {
		case filter.MatchAny:
			asks = c.Except
		case filter.Match:
			asks = c.Key == "id"
		case filter.GeoBox, filter.GeoPolygon, filter.GeoRadius:
			asks = true
		case filter.ValuesCount:
			asks = c.Key == "word"
		}
		f := texts.Bind(&filter.Filter{Must: []filter.Condition{c}})
		if bounded, exact := rows.check(t, s, f); !bounded || exact == asks {
			t.Errorf("condition %d, %T: bounded %v, exact %v", i, c, bounded, exact)
		}
		n := s.Plan(f, rows).Select().Len()
		if n == 0 || n == len(docs) {
			t.Errorf("condition %d, %T: %d rows tell nothing", i, c, n)
		}
	}
}

// BenchmarkSealed is a million rows with two keyword fields, one of few values
// and one of as many as rows.
func BenchmarkSealed(b *testing.B) {
	const n = 1_000_000
	docs := make([]doc.Doc, n)
	for i := range docs {
		docs[i] = object(b, "kind", fmt.Sprint("kind", i*7919%100), "word", fmt.Sprintf("%x", rand.New(rand.NewPCG(uint64(i), 1)).Uint64()))
	}
	specs := []query.FieldIndex{{Key: "kind", Type: query.KeywordField}, {Key: "word", Type: query.KeywordField}}
	var made [][]byte
	b.Run("Build", func(b *testing.B) {
		for b.Loop() {
			made = files(b, specs, docs)
		}
		b.ReportMetric(float64(len(made[0])+len(made[1]))/n, "B/row")
	})
	made = files(b, specs, docs)
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			if _, err := Open(made...); err != nil {
				b.Fatal(err)
			}
		}
	})
	s, err := Open(made...)
	if err != nil {
		b.Fatal(err)
	}
	rows := &shown{docs: docs}
	b.Run("Match", func(b *testing.B) {
		f := &filter.Filter{Must: []filter.Condition{filter.Match{Key: "kind", Value: filter.Scalar{Kind: filter.StringScalar, Str: "kind7"}}}}
		for b.Loop() {
			s.Plan(f, rows)
		}
	})
}
