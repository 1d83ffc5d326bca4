// Package analysis cuts texts into words, the way that an index on a text field asks
// for, and tells whether words that are looked for occur among them. The index
// and whoever reads a payload without it use the same Analyzer, so they agree.
package analysis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/blevesearch/snowballstem"
	"github.com/clipperhouse/uax29/v2/words"
)

// Tokenizer is where words begin and end.
type Tokenizer uint8

// The tokenizers.
const (
	Word         Tokenizer = iota + 1 // letters, digits and their marks; the default
	Whitespace                        // whatever stands between white space
	Prefix                            // as Word; what is looked for may be the beginning of a word
	Multilingual                      // as Unicode's annex 29 has it; in compatibility form, Latin letters without marks
)

// Version changes with every rule by which texts become words, those of Unicode's
// tables, stemmers and lists included: files keep it.
const Version = 1

// Limits of Params.
const (
	MaxLen       = 1 << 16 // of MinLen and MaxLen
	MaxStopBytes = 1 << 16 // of StopWords
)

// maxStemBytes is the longest word that is reduced to its stem: stemmers take
// time that grows faster than the word.
const maxStemBytes = 256

// ErrParams reports parameters that no Analyzer can follow; the wrapping text
// names the parameter.
var ErrParams = errors.New("invalid text parameters")

// Params say how texts become words. Equal parameters compare equal.
type Params struct {
	Tokenizer Tokenizer
	Lowercase bool
	// Folding writes letters that ASCII has without their marks: é is e, ß is ss.
	Folding bool
	// Phrases tells the index to keep the order of words.
	Phrases bool
	// MinLen and MaxLen bound the characters of a word; 0: no bound. Words outside of
	// them are left out; Prefix cuts the longer ones.
	MinLen, MaxLen int
	// Stemmer is one of StemmerLanguages, or empty.
	Stemmer string
	// StopLanguages are some of StopLanguages, StopWords are words: Join made both.
	StopLanguages, StopWords string
}

// Join makes one text of several that hold no NUL, in whatever order they come.
func Join(list []string) string {
	list = slices.Clone(list)
	slices.Sort(list)
	return strings.Join(slices.Compact(list), "\x00")
}

func split(joined string) []string {
	if joined == "" {
		return nil
	}
	return strings.Split(joined, "\x00")
}

// Analyzer follows Params. It is immutable and may be used by many goroutines.
type Analyzer struct {
	params Params
	stop   map[string]struct{}
	stem   func(*snowballstem.Env) bool
}

// New checks p. Errors: ErrParams.
func New(p Params) (*Analyzer, error) {
	a := &Analyzer{params: p}
	switch {
	case p.Tokenizer < Word || p.Tokenizer > Multilingual:
		return nil, fmt.Errorf("%w: tokenizer %d is not known", ErrParams, p.Tokenizer)
	case p.MinLen < 0 || p.MinLen > MaxLen:
		return nil, fmt.Errorf("%w: min_token_len %d, must be from 0 to %d", ErrParams, p.MinLen, MaxLen)
	case p.MaxLen < 0 || p.MaxLen > MaxLen:
		return nil, fmt.Errorf("%w: max_token_len %d, must be from 0 to %d", ErrParams, p.MaxLen, MaxLen)
	case p.MaxLen > 0 && p.MinLen > p.MaxLen:
		return nil, fmt.Errorf("%w: min_token_len %d is above max_token_len %d", ErrParams, p.MinLen, p.MaxLen)
	case len(p.StopWords) > MaxStopBytes:
		return nil, fmt.Errorf("%w: stopwords.custom has %d bytes, must be at most %d", ErrParams, len(p.StopWords), MaxStopBytes)
	}
	if p.Stemmer != "" {
		if a.stem = stemmer(p.Stemmer); a.stem == nil {
			return nil, fmt.Errorf("%w: stemmer.language %.64q is not one of %s", ErrParams, p.Stemmer, strings.Join(StemmerLanguages(), ", "))
		}
	}
	list := split(p.StopWords)
	for _, language := range split(p.StopLanguages) {
		more, ok := stopWords(language)
		if !ok {
			return nil, fmt.Errorf("%w: stopwords.languages: %.64q is not one of %s", ErrParams, language, strings.Join(StopLanguages(), ", "))
		}
		list = append(list, more...)
	}
	a.stop = make(map[string]struct{}, len(list))
	for _, word := range list {
		a.stop[a.normal(word)] = struct{}{}
	}
	return a, nil
}

// Params are what a follows.
func (a *Analyzer) Params() Params { return a.params }

// Words visits the words of s in their order until visit answers false. Each is
// valid UTF-8 if s is.
func (a *Analyzer) Words(s string, visit func(word string) bool) {
	each := func(raw string) bool {
		word, ok := a.word(raw)
		return !ok || visit(word)
	}
	switch a.params.Tokenizer {
	case Whitespace:
		strings.FieldsSeq(s)(each)
	case Multilingual:
		for it := words.FromString(s); it.Next(); {
			if strings.ContainsFunc(it.Value(), alphanumeric) && !each(it.Value()) {
				return
			}
		}
	default:
		strings.FieldsFuncSeq(s, func(r rune) bool { return !inWord(r) })(each)
	}
}

func alphanumeric(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }

// inWord: marks belong to the letter before them.
func inWord(r rune) bool { return alphanumeric(r) || unicode.IsMark(r) }

// normal is the form in which words are compared, before stemming.
func (a *Analyzer) normal(word string) string {
	if a.params.Tokenizer == Multilingual {
		word = compatible(word)
	}
	if a.params.Folding || a.params.Tokenizer == Multilingual {
		word = fold(word)
	}
	if a.params.Lowercase {
		word = strings.ToLower(word)
	}
	return word
}

// word is what is kept of a word; false: nothing.
func (a *Analyzer) word(s string) (string, bool) {
	s = a.normal(s)
	if _, stop := a.stop[s]; stop {
		return "", false
	}
	if a.stem != nil && len(s) <= maxStemBytes {
		env := snowballstem.NewEnv(s)
		a.stem(env)
		s = env.Current()
	}
	n := utf8.RuneCountInString(s)
	switch most := a.params.MaxLen; {
	case n == 0 || n < a.params.MinLen:
		return "", false
	case most == 0 || n <= most:
	case a.params.Tokenizer != Prefix:
		return "", false
	default:
		for i := range s {
			if most == 0 {
				return s[:i], true
			}
			most--
		}
	}
	return s, true
}

// Fits tells whether a word of a text is the asked one.
func (a *Analyzer) Fits(word, asked string) bool {
	return word == asked || a.params.Tokenizer == Prefix && strings.HasPrefix(word, asked)
}

// Mode is what a Query wants.
type Mode uint8

// The modes.
const (
	All    Mode = iota // every word, anywhere in the texts
	Any                // one of the words
	Phrase             // the words side by side, in one text
)

// Query is words that are looked for. It is immutable.
type Query struct {
	a     *Analyzer
	mode  Mode
	words []string
}

// Query cuts s as texts are cut. Without a word it finds nothing.
func (a *Analyzer) Query(mode Mode, s string) *Query {
	q := &Query{a: a, mode: mode}
	a.Words(s, func(word string) bool {
		if mode == Phrase || !slices.Contains(q.words, word) {
			q.words = append(q.words, strings.Clone(word))
		}
		return true
	})
	return q
}

// Words are what is looked for; for All and Any each of them once.
func (q *Query) Words() []string { return q.words }

// Search looks for a Query in the texts of one point.
type Search struct {
	q     *Query
	found []bool // All: of each word; Phrase: that the words up to it end here
	left  int    // All: words that were not found
	done  bool
}

// Search begins with no text.
func (q *Query) Search() Search {
	s := Search{q: q, left: len(q.words)}
	if q.mode != Any {
		s.found = make([]bool, len(q.words))
	}
	return s
}

// Found tells whether the texts so far satisfy the query.
func (s *Search) Found() bool { return s.done }

// Add looks at one more text, and tells what Found does.
func (s *Search) Add(text string) bool {
	if len(s.q.words) == 0 || s.done {
		return s.done
	}
	s.Break()
	s.q.a.Words(text, func(word string) bool { return !s.Word(word) })
	return s.done
}

// Break stands between two texts: no phrase goes over it.
func (s *Search) Break() {
	if s.q.mode == Phrase {
		clear(s.found)
	}
}

// Word looks at the next word of a text, and tells what Found does.
func (s *Search) Word(word string) bool {
	for i := len(s.q.words) - 1; i >= 0; i-- { // down, since a phrase goes on from the word before
		fits := s.q.a.Fits(word, s.q.words[i])
		switch s.q.mode {
		case Any:
			s.done = s.done || fits
		case All:
			if fits && !s.found[i] {
				s.found[i] = true
				s.left--
			}
			s.done = s.left == 0
		default:
			s.found[i] = fits && (i == 0 || s.found[i-1])
			s.done = s.done || s.found[i] && i == len(s.q.words)-1
		}
	}
	return s.done
}
