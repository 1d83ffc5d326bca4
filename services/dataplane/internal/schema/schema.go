// Package schema reads what an index on a payload field is to be out of the
// message that asks for it: for the API, which refuses what is wrong, and for the
// engine, which finds the message among the settings of a collection.
package schema

import (
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/fault"
)

// hints are the parameters that most types have.
type hints interface {
	GetOnDisk() bool
	GetMemory() qdrant.Memory
	GetEnableHnsw() bool
	GetNested() string
}

// Field gives the index on key. Errors: fault.NotBuilt for what this build lacks, an
// unknown type among them, analysis.ErrParams for words that cannot be cut so.
func Field(key string, p *qdrant.PayloadIndexParams) (query.FieldIndex, error) {
	f := query.FieldIndex{Key: key}
	var h hints
	var graph *bool
	var err error
	switch o := p.GetIndexParams().(type) {
	case *qdrant.PayloadIndexParams_KeywordIndexParams:
		i := o.KeywordIndexParams
		f.Type, h, graph, f.Tenant = query.KeywordField, i, i.EnableHnsw, i.GetIsTenant()
	case *qdrant.PayloadIndexParams_IntegerIndexParams:
		i := o.IntegerIndexParams
		f.Type, h, graph, f.Principal = query.IntegerField, i, i.EnableHnsw, i.GetIsPrincipal()
		f.Lookup, f.Range = i.Lookup == nil || *i.Lookup, i.Range == nil || *i.Range
	case *qdrant.PayloadIndexParams_FloatIndexParams:
		i := o.FloatIndexParams
		f.Type, h, graph, f.Principal = query.FloatField, i, i.EnableHnsw, i.GetIsPrincipal()
	case *qdrant.PayloadIndexParams_BoolIndexParams:
		f.Type, h, graph = query.BoolField, o.BoolIndexParams, o.BoolIndexParams.EnableHnsw
	case *qdrant.PayloadIndexParams_DatetimeIndexParams:
		i := o.DatetimeIndexParams
		f.Type, h, graph, f.Principal = query.DatetimeField, i, i.EnableHnsw, i.GetIsPrincipal()
	case *qdrant.PayloadIndexParams_UuidIndexParams:
		i := o.UuidIndexParams
		f.Type, h, graph, f.Tenant = query.UUIDField, i, i.EnableHnsw, i.GetIsTenant()
	case *qdrant.PayloadIndexParams_GeoIndexParams:
		f.Type, h, graph = query.GeoField, o.GeoIndexParams, o.GeoIndexParams.EnableHnsw
	case *qdrant.PayloadIndexParams_TextIndexParams:
		f.Type, h, graph = query.TextField, o.TextIndexParams, o.TextIndexParams.EnableHnsw
		f.Text, err = textOf(o.TextIndexParams)
	default:
		return f, fault.Missing("payload index of this type")
	}
	if err != nil {
		return f, err
	}
	if h.GetNested() != "" {
		return f, fault.Missing("payload index parameter `nested`")
	}
	f.NoGraph = graph != nil && !*graph
	f.OnDisk = h.GetOnDisk()
	if m := h.GetMemory(); m != qdrant.Memory_MemoryUnknown {
		f.OnDisk = m == qdrant.Memory_Cold
	}
	return f, nil
}

func textOf(t *qdrant.TextIndexParams) (analysis.Params, error) {
	p := analysis.Params{Lowercase: t.Lowercase == nil || *t.Lowercase, Folding: t.GetAsciiFolding(), Phrases: t.GetPhraseMatching(),
		MinLen: length(t.GetMinTokenLen()), MaxLen: length(t.GetMaxTokenLen()), Stemmer: t.GetStemmer().GetSnowball().GetLanguage(),
		StopLanguages: analysis.Join(t.GetStopwords().GetLanguages()), StopWords: analysis.Join(t.GetStopwords().GetCustom())}
	switch t.GetTokenizer() {
	case qdrant.TokenizerType_Unknown, qdrant.TokenizerType_Word:
		p.Tokenizer = analysis.Word
	case qdrant.TokenizerType_Whitespace:
		p.Tokenizer = analysis.Whitespace
	case qdrant.TokenizerType_Prefix:
		p.Tokenizer = analysis.Prefix
	case qdrant.TokenizerType_Multilingual:
		p.Tokenizer = analysis.Multilingual
	case qdrant.TokenizerType_Code:
		return p, fault.Missing("tokenizer `code`")
	}
	if t.GetScoring() != nil {
		return p, fault.Missing("payload index parameter `scoring`")
	}
	_, err := analysis.New(p)
	return p, err
}

// length keeps what is above every limit above it.
func length(n uint64) int { return int(min(n, analysis.MaxLen+1)) }
