package schema

import (
	"errors"
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/fault"
)

// TestField: every parameter has its place, and what is not said its default.
func TestField(t *testing.T) {
	type params = qdrant.PayloadIndexParams
	word := analysis.Params{Tokenizer: analysis.Word, Lowercase: true}
	for name, c := range map[string]struct {
		p    *params
		want query.FieldIndex
	}{
		"keyword": {&params{IndexParams: &qdrant.PayloadIndexParams_KeywordIndexParams{KeywordIndexParams: &qdrant.KeywordIndexParams{IsTenant: new(true), OnDisk: new(true), Prefix: &qdrant.KeywordPrefixParams{}}}},
			query.FieldIndex{Type: query.KeywordField, Tenant: true, OnDisk: true}},
		"integer": {&params{IndexParams: &qdrant.PayloadIndexParams_IntegerIndexParams{IntegerIndexParams: &qdrant.IntegerIndexParams{Lookup: new(false), IsPrincipal: new(true)}}},
			query.FieldIndex{Type: query.IntegerField, Range: true, Principal: true}},
		"float": {&params{IndexParams: &qdrant.PayloadIndexParams_FloatIndexParams{FloatIndexParams: &qdrant.FloatIndexParams{IsPrincipal: new(true), Memory: qdrant.Memory_Cold.Enum()}}},
			query.FieldIndex{Type: query.FloatField, Principal: true, OnDisk: true}},
		"bool": {&params{IndexParams: &qdrant.PayloadIndexParams_BoolIndexParams{BoolIndexParams: &qdrant.BoolIndexParams{OnDisk: new(true), Memory: qdrant.Memory_Pinned.Enum()}}},
			query.FieldIndex{Type: query.BoolField}},
		"datetime": {&params{IndexParams: &qdrant.PayloadIndexParams_DatetimeIndexParams{DatetimeIndexParams: &qdrant.DatetimeIndexParams{IsPrincipal: new(true), EnableHnsw: new(true)}}},
			query.FieldIndex{Type: query.DatetimeField, Principal: true}},
		"uuid": {&params{IndexParams: &qdrant.PayloadIndexParams_UuidIndexParams{UuidIndexParams: &qdrant.UuidIndexParams{IsTenant: new(true)}}},
			query.FieldIndex{Type: query.UUIDField, Tenant: true}},
		"geo": {&params{IndexParams: &qdrant.PayloadIndexParams_GeoIndexParams{GeoIndexParams: &qdrant.GeoIndexParams{EnableHnsw: new(false)}}},
			query.FieldIndex{Type: query.GeoField, NoGraph: true}},
		"text": {&params{IndexParams: &qdrant.PayloadIndexParams_TextIndexParams{TextIndexParams: &qdrant.TextIndexParams{}}},
			query.FieldIndex{Type: query.TextField, Text: word}},
		"text, all": {&params{IndexParams: &qdrant.PayloadIndexParams_TextIndexParams{TextIndexParams: &qdrant.TextIndexParams{Tokenizer: qdrant.TokenizerType_Multilingual,
			Lowercase: new(false), MinTokenLen: new(uint64(1)), MaxTokenLen: new(uint64(9)), AsciiFolding: new(true), PhraseMatching: new(true),
			Stopwords: &qdrant.StopwordsSet{Languages: []string{"german", "english", "german"}, Custom: []string{"z", "a"}},
			Stemmer:   &qdrant.StemmingAlgorithm{StemmingParams: &qdrant.StemmingAlgorithm_Snowball{Snowball: &qdrant.SnowballParams{Language: "dutch"}}}}}},
			query.FieldIndex{Type: query.TextField, Text: analysis.Params{Tokenizer: analysis.Multilingual, Folding: true, Phrases: true, MinLen: 1, MaxLen: 9, Stemmer: "dutch",
				StopLanguages: "english\x00german", StopWords: "a\x00z"}}},
	} {
		c.want.Key = "k"
		if got, err := Field("k", c.p); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	text := func(p *qdrant.TextIndexParams) *params {
		return &params{IndexParams: &qdrant.PayloadIndexParams_TextIndexParams{TextIndexParams: p}}
	}
	if _, err := Field("k", text(&qdrant.TextIndexParams{Tokenizer: 77})); !errors.Is(err, analysis.ErrParams) {
		t.Error(err)
	}
	for _, p := range []*params{nil, {}, text(&qdrant.TextIndexParams{Tokenizer: qdrant.TokenizerType_Code}), text(&qdrant.TextIndexParams{Nested: new("a")})} {
		if _, err := Field("k", p); fault.ReasonOf(err) != fault.NotBuilt {
			t.Errorf("%v: %v", p, err)
		}
	}
}
