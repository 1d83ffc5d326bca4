package analysis

import (
	"slices"
	"strings"

	"github.com/blevesearch/bleve/v2/analysis/lang/ar"
	"github.com/blevesearch/bleve/v2/analysis/lang/ca"
	"github.com/blevesearch/bleve/v2/analysis/lang/da"
	"github.com/blevesearch/bleve/v2/analysis/lang/de"
	"github.com/blevesearch/bleve/v2/analysis/lang/el"
	"github.com/blevesearch/bleve/v2/analysis/lang/en"
	"github.com/blevesearch/bleve/v2/analysis/lang/es"
	"github.com/blevesearch/bleve/v2/analysis/lang/eu"
	"github.com/blevesearch/bleve/v2/analysis/lang/fi"
	"github.com/blevesearch/bleve/v2/analysis/lang/fr"
	"github.com/blevesearch/bleve/v2/analysis/lang/hu"
	"github.com/blevesearch/bleve/v2/analysis/lang/id"
	"github.com/blevesearch/bleve/v2/analysis/lang/it"
	"github.com/blevesearch/bleve/v2/analysis/lang/nl"
	"github.com/blevesearch/bleve/v2/analysis/lang/no"
	"github.com/blevesearch/bleve/v2/analysis/lang/pt"
	"github.com/blevesearch/bleve/v2/analysis/lang/ro"
	"github.com/blevesearch/bleve/v2/analysis/lang/ru"
	"github.com/blevesearch/bleve/v2/analysis/lang/sv"
	"github.com/blevesearch/bleve/v2/analysis/lang/tr"
	"github.com/blevesearch/snowballstem"
	"github.com/blevesearch/snowballstem/arabic"
	"github.com/blevesearch/snowballstem/danish"
	"github.com/blevesearch/snowballstem/dutch"
	"github.com/blevesearch/snowballstem/english"
	"github.com/blevesearch/snowballstem/finnish"
	"github.com/blevesearch/snowballstem/french"
	"github.com/blevesearch/snowballstem/german"
	"github.com/blevesearch/snowballstem/hungarian"
	"github.com/blevesearch/snowballstem/italian"
	"github.com/blevesearch/snowballstem/norwegian"
	"github.com/blevesearch/snowballstem/portuguese"
	"github.com/blevesearch/snowballstem/romanian"
	"github.com/blevesearch/snowballstem/russian"
	"github.com/blevesearch/snowballstem/spanish"
	"github.com/blevesearch/snowballstem/swedish"
	"github.com/blevesearch/snowballstem/tamil"
	"github.com/blevesearch/snowballstem/turkish"
)

// language is what is known of one: a stemmer, a list of stop words with
// comments behind # and |, or both.
type language struct {
	name string
	stem func(*snowballstem.Env) bool
	stop []byte
}

func languages() []language {
	return []language{
		{"arabic", arabic.Stem, ar.ArabicStopWords},
		{"basque", nil, eu.BasqueStopWords},
		{"catalan", nil, ca.CatalanStopWords},
		{"danish", danish.Stem, da.DanishStopWords},
		{"dutch", dutch.Stem, nl.DutchStopWords},
		{"english", english.Stem, en.EnglishStopWords},
		{"finnish", finnish.Stem, fi.FinnishStopWords},
		{"french", french.Stem, fr.FrenchStopWords},
		{"german", german.Stem, de.GermanStopWords},
		{"greek", nil, el.GreekStopWords},
		{"hungarian", hungarian.Stem, hu.HungarianStopWords},
		{"indonesian", nil, id.IndonesianStopWords},
		{"italian", italian.Stem, it.ItalianStopWords},
		{"norwegian", norwegian.Stem, no.NorwegianStopWords},
		{"portuguese", portuguese.Stem, pt.PortugueseStopWords},
		{"romanian", romanian.Stem, ro.RomanianStopWords},
		{"russian", russian.Stem, ru.RussianStopWords},
		{"spanish", spanish.Stem, es.SpanishStopWords},
		{"swedish", swedish.Stem, sv.SwedishStopWords},
		{"tamil", tamil.Stem, nil},
		{"turkish", turkish.Stem, tr.TurkishStopWords},
	}
}

func names(has func(language) bool) (out []string) {
	for _, l := range languages() {
		if has(l) {
			out = append(out, l.name)
		}
	}
	return out
}

// StemmerLanguages are the languages whose words can be reduced to their stem.
func StemmerLanguages() []string { return names(func(l language) bool { return l.stem != nil }) }

// StopLanguages are the languages whose stop words are known.
func StopLanguages() []string { return names(func(l language) bool { return l.stop != nil }) }

func find(name string) language {
	all := languages()
	if i := slices.IndexFunc(all, func(l language) bool { return l.name == name }); i >= 0 {
		return all[i]
	}
	return language{}
}

func stemmer(name string) func(*snowballstem.Env) bool { return find(name).stem }

func stopWords(name string) (out []string, ok bool) {
	list := find(name).stop
	for line := range strings.Lines(string(list)) {
		if end := strings.IndexAny(line, "#|"); end >= 0 {
			line = line[:end]
		}
		out = append(out, strings.Fields(line)...)
	}
	return out, list != nil
}
