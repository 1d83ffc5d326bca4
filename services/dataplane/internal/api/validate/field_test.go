package validate

import (
	"math"
	"strings"
	"testing"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/internal/fault"
)

func TestFieldIndex(t *testing.T) {
	integer := func(p *qdrant.IntegerIndexParams) *qdrant.PayloadIndexParams {
		return &qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_IntegerIndexParams{IntegerIndexParams: p}}
	}
	type in = qdrant.CreateFieldIndexCollection
	words := func(p *qdrant.TextIndexParams) *in {
		return &in{FieldName: "a", FieldIndexParams: &qdrant.PayloadIndexParams{IndexParams: &qdrant.PayloadIndexParams_TextIndexParams{TextIndexParams: p}}}
	}
	for name, c := range map[string]struct {
		r      *in
		reason fault.Reason
		text   string
	}{
		"type alone":   {&in{FieldName: "a.b", FieldType: qdrant.FieldType_FieldTypeKeyword.Enum()}, 0, ""},
		"params alone": {&in{FieldName: "a[].b", FieldIndexParams: integer(&qdrant.IntegerIndexParams{IsPrincipal: new(true), OnDisk: new(true)})}, 0, ""},
		"both":         {&in{FieldName: `"a b"`, FieldType: qdrant.FieldType_FieldTypeInteger.Enum(), FieldIndexParams: integer(&qdrant.IntegerIndexParams{Lookup: new(false)})}, 0, ""},
		"empty params": {&in{FieldName: "a", FieldType: qdrant.FieldType_FieldTypeInteger.Enum(), FieldIndexParams: &qdrant.PayloadIndexParams{}}, fault.Malformed,
			`field_schema is missing: name the type of the index on "a"`},
		"neither":      {&in{FieldName: "a"}, fault.Malformed, `field_schema is missing: name the type of the index on "a"`},
		"unknown type": {&in{FieldName: "a", FieldType: qdrant.FieldType(99).Enum()}, fault.Malformed, "field_type: value 99 is no type of an index"},
		"disagreeing": {&in{FieldName: "a", FieldType: qdrant.FieldType_FieldTypeUuid.Enum(), FieldIndexParams: integer(&qdrant.IntegerIndexParams{})}, fault.InvalidArgument,
			"Wrong input: field_type is uuid, but field_index_params are those of type integer"},
		"neither lookup nor range": {&in{FieldName: "a", FieldIndexParams: integer(&qdrant.IntegerIndexParams{Lookup: new(false), Range: new(false)})}, fault.Validation,
			"Validation error in body: [field_schema: lookup and range are both false, at least one must be true]"},
		"memory": {&in{FieldName: "a", FieldIndexParams: integer(&qdrant.IntegerIndexParams{Memory: qdrant.Memory(9).Enum()})}, fault.Validation,
			"Validation error in body: [field_schema.memory: value 9 invalid, must be cold, cached or pinned]"},
		"no memory": {&in{FieldName: "a", FieldIndexParams: integer(&qdrant.IntegerIndexParams{Memory: qdrant.Memory_MemoryUnknown.Enum()})}, fault.Validation,
			"Validation error in body: [field_schema.memory: value 0 invalid, must be cold, cached or pinned]"},
		"text": {&in{FieldName: "a", FieldType: qdrant.FieldType_FieldTypeText.Enum()}, 0, ""},
		"geo":  {&in{FieldName: "a", FieldType: qdrant.FieldType_FieldTypeGeo.Enum()}, 0, ""},
		"all of text": {words(&qdrant.TextIndexParams{Tokenizer: qdrant.TokenizerType_Prefix, Lowercase: new(false), MinTokenLen: new(uint64(2)), MaxTokenLen: new(uint64(9)),
			Stopwords: &qdrant.StopwordsSet{Languages: []string{"english", "german"}, Custom: []string{"x"}}, PhraseMatching: new(true), AsciiFolding: new(true),
			Stemmer: &qdrant.StemmingAlgorithm{StemmingParams: &qdrant.StemmingAlgorithm_Snowball{Snowball: &qdrant.SnowballParams{Language: "english"}}},
			OnDisk:  new(true), EnableHnsw: new(false), Memory: qdrant.Memory_Pinned.Enum()}), 0, ""},
		"lengths": {words(&qdrant.TextIndexParams{MinTokenLen: new(uint64(9)), MaxTokenLen: new(uint64(2))}), fault.Validation,
			"Validation error in body: [field_schema: invalid text parameters: min_token_len 9 is above max_token_len 2]"},
		"huge length": {words(&qdrant.TextIndexParams{MaxTokenLen: new(uint64(math.MaxUint64))}), fault.Validation,
			"Validation error in body: [field_schema: invalid text parameters: max_token_len 65537, must be from 0 to 65536]"},
		"tokenizer": {words(&qdrant.TextIndexParams{Tokenizer: 77}), fault.Validation,
			"Validation error in body: [field_schema.tokenizer: value 77 invalid, must be prefix, whitespace, word or multilingual]"},
		"tokenizer of code": {words(&qdrant.TextIndexParams{Tokenizer: qdrant.TokenizerType_Code}), fault.NotBuilt, "tokenizer `code` is not built yet"},
		"scoring":           {words(&qdrant.TextIndexParams{Scoring: &qdrant.TextScoringParams{}}), fault.NotBuilt, "payload index parameter `scoring` is not built yet"},
		"nested":            {&in{FieldName: "a", FieldIndexParams: integer(&qdrant.IntegerIndexParams{Nested: new("b")})}, fault.NotBuilt, "payload index parameter `nested` is not built yet"},
		"stop words": {words(&qdrant.TextIndexParams{Stopwords: &qdrant.StopwordsSet{Languages: []string{"klingon"}}}), fault.Validation,
			"Validation error in body: [field_schema: invalid text parameters: stopwords.languages: \"klingon\" is not one of " + strings.Join(analysis.StopLanguages(), ", ") + "]"},
		"path": {&in{FieldName: "a..b", FieldType: qdrant.FieldType_FieldTypeBool.Enum()}, fault.Malformed, `Invalid json path: "a..b"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := FieldIndex(c.r)
			wants(t, err, c.reason, c.text)
			if err == nil && got.GetIndexParams() == nil {
				t.Error("no parameters")
			}
		})
	}
}

func TestField(t *testing.T) {
	for name, good := range map[string]bool{"a": true, strings.Repeat("x", MaxFieldBytes): true, "": false, strings.Repeat("x", MaxFieldBytes+1): false} {
		var c Check
		if c.Field(name); (c.Err() == nil) != good {
			t.Errorf("a name of %d bytes: %v", len(name), c.Err())
		}
	}
}
