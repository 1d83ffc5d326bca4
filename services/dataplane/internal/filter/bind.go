package filter

import (
	"slices"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
)

// Texts are the analyzers of the indexes on text, by payload.Path.String of their
// keys. Unlike every other index one on text changes what a filter means, so a
// filter is bound to those in effect before it is compiled or planned.
type Texts map[string]*analysis.Analyzer

// Bind gives f with the analyzer of each Text on an indexed path; f stays as it is.
func (ts Texts) Bind(f *Filter) *Filter {
	if f == nil || len(ts) == 0 {
		return f
	}
	return ts.bind(f, "")
}

// bind knows the beginning of the path of what f is about.
func (ts Texts) bind(f *Filter, at string) *Filter {
	out := &Filter{Must: ts.each(f.Must, at), Should: ts.each(f.Should, at), MustNot: ts.each(f.MustNot, at)}
	if f.MinShould != nil {
		out.MinShould = &MinShould{Conditions: ts.each(f.MinShould.Conditions, at), Count: f.MinShould.Count}
	}
	return out
}

func (ts Texts) each(in []Condition, at string) []Condition {
	out := slices.Clone(in)
	for i, c := range out {
		switch c := c.(type) {
		case Text:
			if path, err := payload.ParsePath(at + string(c.Key)); err == nil {
				c.With = ts[path.String()]
				out[i] = c
			}
		case Nested:
			c.Filter = *ts.bind(&c.Filter, at+Elements(c.Key))
			out[i] = c
		case *Filter:
			if c != nil {
				out[i] = ts.bind(c, at)
			}
		}
	}
	return out
}

// Elements is the beginning of the paths of what a Nested on key is about.
func Elements(key Key) string { return strings.TrimSuffix(string(key), "[]") + "[]." }
