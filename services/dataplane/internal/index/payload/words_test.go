package payload

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	doc "github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// reference is what a match on words means, said without an Analyzer.
type reference struct {
	separators *regexp.Regexp
	prefix     bool
	min, max   int
}

func (r reference) cut(s string) (out []string) {
	for _, w := range r.separators.Split(strings.ToLower(s), -1) {
		runes := []rune(w)
		if r.prefix && len(runes) > r.max {
			runes = runes[:r.max]
		}
		if len(runes) >= max(1, r.min) && len(runes) <= r.max {
			out = append(out, string(runes))
		}
	}
	return out
}

func (r reference) holds(texts []string, c *filter.Text) bool {
	fits := func(word, ask string) bool { return word == ask || r.prefix && strings.HasPrefix(word, ask) }
	asked := r.cut(c.Words)
	hits := 0
	for _, ask := range asked {
		if slices.ContainsFunc(texts, func(t string) bool {
			return slices.ContainsFunc(r.cut(t), func(w string) bool { return fits(w, ask) })
		}) {
			hits++
		}
	}
	switch c.Mode {
	case analysis.All:
		return len(asked) > 0 && hits == len(asked)
	case analysis.Any:
		return hits > 0
	}
	return len(asked) > 0 && slices.ContainsFunc(texts, func(t string) bool {
		words := r.cut(t)
		for i := 0; i+len(asked) <= len(words); i++ {
			if slices.EqualFunc(words[i:i+len(asked)], asked, fits) {
				return true
			}
		}
		return false
	})
}

// TestWords holds matches on words against their meaning: by the filter, by the
// index of a tail and by an opened one, with and without the order of words.
func TestWords(t *testing.T) {
	vocabulary := []string{"red", "Red", "reddish", "fox", "FOX", "a", "ünïcode", "fo", "x1", "wolf", "wolves"}
	gaps := []string{" ", ", ", "-", "  ", "_"}
	alphanumeric := regexp.MustCompile(`[^\pL\pN\pM]+`)
	for seed, c := range []struct {
		p analysis.Params
		r reference
	}{
		{analysis.Params{Tokenizer: analysis.Word, Lowercase: true}, reference{alphanumeric, false, 0, 99}},
		{analysis.Params{Tokenizer: analysis.Word, Lowercase: true, MinLen: 2, MaxLen: 4, Phrases: true}, reference{alphanumeric, false, 2, 4}},
		{analysis.Params{Tokenizer: analysis.Whitespace, Lowercase: true, Phrases: true}, reference{regexp.MustCompile(`\s+`), false, 0, 99}},
		{analysis.Params{Tokenizer: analysis.Prefix, Lowercase: true, MinLen: 2, MaxLen: 4, Phrases: true}, reference{alphanumeric, true, 2, 4}},
		{analysis.Params{Tokenizer: analysis.Prefix, Lowercase: true}, reference{alphanumeric, true, 0, 99}},
	} {
		r := rand.New(rand.NewPCG(uint64(seed), 3))
		phrase := func(n int) string {
			var b strings.Builder
			for range r.IntN(n + 1) {
				b.WriteString(vocabulary[r.IntN(len(vocabulary))] + gaps[r.IntN(len(gaps))])
			}
			return b.String()
		}
		specs := []query.FieldIndex{{Key: "t", Type: query.TextField, Text: c.p}}
		tail, _, err := (&Set{}).Change(specs)
		if err != nil {
			t.Fatal(err)
		}
		texts := textsOf(t, specs)
		var rows shown
		var told [][]string
		for row := range uint32(120) {
			var b doc.Builder
			b.BeginObject()
			b.Key("t")
			b.BeginList()
			told = append(told, nil)
			for range 1 + r.IntN(3) {
				s := phrase(6)
				told[row] = append(told[row], s)
				b.Str(s)
			}
			b.End()
			b.End()
			d, err := b.Doc()
			if err != nil {
				t.Fatal(err)
			}
			rows.put(tail, row, d, true)
		}
		opened := build(t, specs, rows.docs)
		some := 0
		for range 100 {
			ask := &filter.Text{Key: "t", Words: phrase(3), Mode: analysis.Mode(r.IntN(3))}
			f := texts.Bind(&filter.Filter{Must: []filter.Condition{*ask}})
			m, err := filter.Compile(f)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for row := range told {
				rows.row = uint32(row)
				want := c.r.holds(told[row], ask)
				n += btoi(want)
				if got := m.Match(&rows); got != want {
					t.Fatalf("%+v: %+v in %q: %v, want %v", c.p, ask, told[row], got, want)
				}
			}
			some += btoi(n > 0 && n < len(told))
			if bounded, exact := rows.check(t, opened, f); !bounded || c.p.Phrases && !exact {
				t.Errorf("%+v: %+v opened: bounded %v, exact %v", c.p, ask, bounded, exact)
			}
			if bounded, _ := rows.check(t, tail, f); !bounded {
				t.Errorf("%+v: %+v has no bound", c.p, ask)
			}
		}
		if some < 30 {
			t.Errorf("%+v: only %d questions tell something", c.p, some)
		}
	}
}

// TestOtherWords: an index whose words are cut otherwise than the filter asks is
// not looked at, and one that two keys share cuts as the first.
func TestOtherWords(t *testing.T) {
	one := query.FieldIndex{Key: "t", Type: query.TextField, Text: analysis.Params{Tokenizer: analysis.Word, Lowercase: true}}
	two := query.FieldIndex{Key: `"t"`, Type: query.TextField, Text: analysis.Params{Tokenizer: analysis.Word}}
	docs := []doc.Doc{object(t, "t", "Red fox"), object(t, "t", "red")}
	rows := shown{docs: docs, used: []bool{true, true}}
	texts := textsOf(t, []query.FieldIndex{one, two})
	if len(texts) != 1 {
		t.Fatal(texts)
	}
	f := texts.Bind(&filter.Filter{Must: []filter.Condition{filter.Text{Key: "t", Words: "red"}}})
	for want, specs := range map[string][]query.FieldIndex{"[0 1] true": {one}, "false": {two}, "[0 1] true, both": {two, one}} {
		s := build(t, specs, docs)
		got := "false"
		if p := s.Plan(f, &rows); p.t.known {
			got = fmt.Sprint(p.Select().Rows(), " ", p.Select().Exact)
		}
		if !strings.HasPrefix(want, got) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
