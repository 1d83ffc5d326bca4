package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"unicode/utf8"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/test/vectors"
)

// word is the payload of one vector, a line of base.jsonl.gz.
type word struct {
	Word   string `json:"word"`
	Length int64  `json:"length"`
	First  string `json:"first"`
	Rank   int64  `json:"rank"`
	Kind   string `json:"kind"`
}

func (w word) payload() map[string]*qdrant.Value {
	return map[string]*qdrant.Value{"word": text(w.Word), "length": whole(w.Length), "first": text(w.First), "rank": whole(w.Rank), "kind": text(w.Kind)}
}

func text(s string) *qdrant.Value {
	return &qdrant.Value{Kind: &qdrant.Value_StringValue{StringValue: s}}
}

func whole(n int64) *qdrant.Value {
	return &qdrant.Value{Kind: &qdrant.Value_IntegerValue{IntegerValue: n}}
}

// filtered is a question with a filter: what is sent, what it should let through, and the exact answers.
type filtered struct {
	name  string
	send  *qdrant.Filter
	keep  func(word) bool
	exact [][]float32 // distances of the nearest rows that pass, for the first len(exact) queries
}

// dataset is a folder of words, whole in memory.
type dataset struct {
	base, queries, exact [][]float32 // exact: distances of the nearest rows
	words                []word
	filters              []filtered
}

// load reads a folder: base.f16.npy.gz, base.jsonl.gz, queries.f16.npy, distances.f32.npy, filters/*.distances.f32.npy.
func load(dir string) (*dataset, error) {
	d := &dataset{}
	for name, to := range map[string]*[][]float32{"base.f16.npy.gz": &d.base, "queries.f16.npy": &d.queries, "distances.f32.npy": &d.exact} {
		rows, err := vectors.Matrix(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		*to = rows
	}
	var err error
	if d.words, err = lines(filepath.Join(dir, "base.jsonl.gz")); err != nil {
		return nil, err
	}
	if len(d.words) != len(d.base) || len(d.base) == 0 {
		return nil, fmt.Errorf("%s: %d vectors but %d lines of payload", dir, len(d.base), len(d.words))
	}
	if len(d.exact) != len(d.queries) {
		return nil, fmt.Errorf("%s: %d queries but %d answers", dir, len(d.queries), len(d.exact))
	}
	for _, f := range questions() {
		if f.exact, err = vectors.Matrix(filepath.Join(dir, "filters", f.name+".distances.f32.npy")); err != nil {
			return nil, err
		}
		if len(f.exact) > len(d.queries) {
			return nil, fmt.Errorf("%s: more answers to %s than queries", dir, f.name)
		}
		d.filters = append(d.filters, f)
	}
	return d, nil
}

func questions() []filtered {
	rangeOf := func(key string, r *qdrant.Range) *qdrant.Filter {
		return must(&qdrant.FieldCondition{Key: key, Range: r})
	}
	limit, least := 20000.0, 12.0
	q := &qdrant.Match{MatchValue: &qdrant.Match_Keyword{Keyword: "q"}}
	return []filtered{
		{name: "rank_lt_20000", send: rangeOf("rank", &qdrant.Range{Lt: &limit}), keep: func(w word) bool { return w.Rank < 20000 }},
		{name: "length_ge_12", send: rangeOf("length", &qdrant.Range{Gte: &least}), keep: func(w word) bool { return w.Length >= 12 }},
		{name: "first_eq_q", send: must(&qdrant.FieldCondition{Key: "first", Match: q}), keep: func(w word) bool { return w.First == "q" }},
	}
}

func must(f *qdrant.FieldCondition) *qdrant.Filter {
	return &qdrant.Filter{Must: []*qdrant.Condition{{ConditionOneOf: &qdrant.Condition_Field{Field: f}}}}
}

func lines(name string) (words []word, err error) {
	err = vectors.Open(name, func(in io.Reader) error {
		dec := json.NewDecoder(in)
		for {
			var w word
			err := dec.Decode(&w)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return fmt.Errorf("line %d: %w", len(words)+1, err)
			}
			if w.Word == "" || int64(utf8.RuneCountInString(w.Word)) != w.Length {
				return fmt.Errorf("line %d: the word %q has not the length %d", len(words)+1, w.Word, w.Length)
			}
			words = append(words, w)
		}
	})
	return words, err
}
