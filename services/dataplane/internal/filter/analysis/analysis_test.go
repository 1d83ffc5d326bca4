package analysis

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func analyzer(t testing.TB, p Params) *Analyzer {
	t.Helper()
	a, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func cut(a *Analyzer, s string) (out []string) {
	a.Words(s, func(w string) bool {
		out = append(out, w)
		return true
	})
	return out
}

func TestWords(t *testing.T) {
	for name, c := range map[string]struct {
		p    Params
		text string
		want string // joined by |
	}{
		"word":              {Params{Tokenizer: Word, Lowercase: true}, "Hello, World_foo x-y 4.5", "hello|world|foo|x|y|4|5"},
		"case kept":         {Params{Tokenizer: Word}, "Hello", "Hello"},
		"nothing":           {Params{Tokenizer: Word}, " ,.- ", ""},
		"marks":             {Params{Tokenizer: Word}, "cafe\u0301 हिन्दी", "cafe\u0301|हिन्दी"},
		"whitespace":        {Params{Tokenizer: Whitespace, Lowercase: true}, "Hello,  World\tx-y\n", "hello,|world|x-y"},
		"lengths":           {Params{Tokenizer: Word, MinLen: 2, MaxLen: 3}, "a bc def ghij éé", "bc|def|éé"},
		"prefix cuts":       {Params{Tokenizer: Prefix, MinLen: 2, MaxLen: 3}, "a bc def ghij äöüß", "bc|def|ghi|äöü"},
		"folding":           {Params{Tokenizer: Word, Folding: true}, "Café naïve Straße Łódź Ærø ﬁn Москва й", "Cafe|naive|Strasse|Lodz|AEro|fin|Москва|й"},
		"folding, marks":    {Params{Tokenizer: Word, Folding: true}, "cafe\u0301", "cafe"},
		"multilingual":      {Params{Tokenizer: Multilingual, Lowercase: true}, "Café can't 日本語テスト ｆｕｌｌ 3.5!", "cafe|can't|日|本|語|テスト|full|3.5"},
		"stop language":     {Params{Tokenizer: Word, Lowercase: true, StopLanguages: "english"}, "The quick and the dead", "quick|dead"},
		"stop case":         {Params{Tokenizer: Word, StopLanguages: "english"}, "The the", "The"},
		"stop words":        {Params{Tokenizer: Word, Lowercase: true, StopWords: Join([]string{"Foo", "bar"})}, "foo bar baz", "baz"},
		"stop folded":       {Params{Tokenizer: Word, Lowercase: true, Folding: true, StopLanguages: "french"}, "été a déjà", "deja"},
		"two languages":     {Params{Tokenizer: Word, Lowercase: true, StopLanguages: Join([]string{"german", "english"})}, "the und house", "house"},
		"stems":             {Params{Tokenizer: Word, Lowercase: true, Stemmer: "english"}, "Running runs easily", "run|run|easili"},
		"stems, German":     {Params{Tokenizer: Word, Lowercase: true, Stemmer: "german"}, "Häuser aufeinander", "haus|aufeinand"},
		"stop before stems": {Params{Tokenizer: Word, Lowercase: true, Stemmer: "english", StopWords: "running"}, "running run", "run"},
	} {
		if got := strings.Join(cut(analyzer(t, c.p), c.text), "|"); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestParams(t *testing.T) {
	for want, p := range map[string]Params{
		"tokenizer 0 is not known":                     {},
		"tokenizer 5 is not known":                     {Tokenizer: 5},
		"min_token_len 3 is above max_token_len 2":     {Tokenizer: Word, MinLen: 3, MaxLen: 2},
		"min_token_len 65537":                          {Tokenizer: Word, MinLen: MaxLen + 1},
		"max_token_len -1":                             {Tokenizer: Word, MaxLen: -1},
		`stemmer.language "klingon" is not one of`:     {Tokenizer: Word, Stemmer: "klingon"},
		`stopwords.languages: "tamil" is not one of`:   {Tokenizer: Word, StopLanguages: "tamil"},
		"stopwords.custom has 65537 bytes, must be at": {Tokenizer: Word, StopWords: strings.Repeat("x", MaxStopBytes+1)},
	} {
		if _, err := New(p); !errors.Is(err, ErrParams) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, l := range StemmerLanguages() {
		if got := cut(analyzer(t, Params{Tokenizer: Word, Stemmer: l}), "working"); len(got) != 1 {
			t.Errorf("%s: %q", l, got)
		}
	}
	for _, l := range StopLanguages() {
		list, _ := stopWords(l)
		if a := analyzer(t, Params{Tokenizer: Word, StopLanguages: l}); len(a.stop) < 20 || slices.Contains(list, "") {
			t.Errorf("%s: %d stop words", l, len(a.stop))
		}
	}
	if len(StemmerLanguages()) != 17 || len(StopLanguages()) != 20 {
		t.Errorf("%d stemmers, %d lists", len(StemmerLanguages()), len(StopLanguages()))
	}
}

func TestSearch(t *testing.T) {
	word, prefix := Params{Tokenizer: Word, Lowercase: true}, Params{Tokenizer: Prefix, Lowercase: true, MinLen: 2, MaxLen: 4}
	texts := []string{"The quick brown fox", "jumps over THE lazy lazy dog"}
	for _, c := range []struct {
		p    Params
		mode Mode
		ask  string
		want bool
	}{
		{word, All, "fox, dog", true}, {word, All, "fox cat", false}, {word, All, "", false}, {word, All, "lazy lazy", true}, {word, All, "laz", false},
		{word, Any, "cat fox", true}, {word, Any, "cat", false}, {word, Any, "...", false},
		{word, Phrase, "quick brown", true}, {word, Phrase, "brown quick", false}, {word, Phrase, "fox jumps", false}, {word, Phrase, "lazy dog", true},
		{word, Phrase, "lazy lazy dog", true}, {word, Phrase, "lazy lazy lazy", false}, {word, Phrase, "", false}, {word, Phrase, "the quick brown fox", true},
		{prefix, All, "qu fo", true}, {prefix, All, "q", false}, {prefix, Any, "quickest", true}, {prefix, All, "quickest", true}, {prefix, All, "qux", false},
		{prefix, Phrase, "qu br", true}, {prefix, Phrase, "qu fo", false},
	} {
		s := analyzer(t, c.p).Query(c.mode, c.ask).Search()
		for _, text := range texts {
			s.Add(text)
		}
		if s.Found() != c.want {
			t.Errorf("tokenizer %d, mode %d, %q: found %v", c.p.Tokenizer, c.mode, c.ask, s.Found())
		}
	}
}

// FuzzWords: whatever is cut gives words that are UTF-8 and of the lengths that
// were asked for, which a text of these words has again, and a text is found by
// its own words.
func FuzzWords(f *testing.F) {
	f.Add("The Café's Straße 日本語", uint8(0), uint8(5), uint8(0), uint8(0))
	f.Add("x", uint8(14), uint8(17), uint8(4), uint8(1))
	f.Fuzz(func(t *testing.T, s string, bits, lang, long, short uint8) {
		if !utf8.ValidString(s) {
			return
		}
		p := Params{Tokenizer: Word + Tokenizer(bits%4), Lowercase: bits&4 > 0, Folding: bits&8 > 0, MinLen: int(short), MaxLen: int(long)}
		if n := int(lang); n < len(StemmerLanguages()) {
			p.Stemmer = StemmerLanguages()[n]
		}
		if n := int(lang >> 3); n < len(StopLanguages()) {
			p.StopLanguages = StopLanguages()[n]
		}
		a, err := New(p)
		if err != nil {
			return
		}
		for _, w := range cut(a, s) {
			n := utf8.RuneCountInString(w)
			if !utf8.ValidString(w) || n == 0 || n < p.MinLen || p.MaxLen > 0 && n > p.MaxLen {
				t.Fatalf("%+v: %q became %q", p, s, w)
			}
		}
		for _, mode := range []Mode{All, Any, Phrase} {
			q := a.Query(mode, s)
			search := q.Search()
			if got := search.Add(s); got != (len(q.Words()) > 0) {
				t.Fatalf("%+v, mode %d: %q is found in itself: %v", p, mode, s, got)
			}
		}
	})
}

func BenchmarkWords(b *testing.B) {
	const s = "A fast parser for the TypeScript definitions of npm packages, written in plain Go"
	for name, p := range map[string]Params{
		"word":         {Tokenizer: Word, Lowercase: true},
		"multilingual": {Tokenizer: Multilingual, Lowercase: true},
		"stems":        {Tokenizer: Word, Lowercase: true, Stemmer: "english", StopLanguages: "english"},
	} {
		a := analyzer(b, p)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			for b.Loop() {
				a.Words(s, func(string) bool { return true })
			}
		})
	}
}
