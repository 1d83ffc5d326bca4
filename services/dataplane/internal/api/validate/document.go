package validate

import (
	"math"
	"slices"
	"strings"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/query/bm25"
	"github.com/pandodb/pando/services/internal/fault"
)

// bm25Model is the one model that needs no service beside this one. Its name is taken
// in any case of letters.
const bm25Model = "qdrant/bm25"

// text makes the model that a document asks for. Every other than bm25 is NOT_BUILT.
func (v Vector) text(at Place, d *qdrant.Document) (*bm25.Model, error) {
	switch {
	case !strings.EqualFold(d.GetModel(), bm25Model):
		return nil, fault.Missing("inference by model `" + shorten(d.GetModel()) + "`")
	case v.Kind != query.Sparse:
		return nil, fault.BadInput("%s: the model %s makes sparse vectors", at, bm25Model)
	}
	o := options{at: at, of: d.GetOptions()}
	language := "english"
	o.text("language", &language)
	c, err := bm25.Default(language)
	if err != nil {
		return nil, fault.Wrap(fault.InvalidArgument, err, "Wrong input: %s: %v", at, err)
	}
	o.number("k", &c.K)
	o.number("b", &c.B)
	o.number("avg_len", &c.AvgLen)
	o.words(&c.Words)
	if o.err != nil {
		return nil, o.err
	}
	m, err := bm25.New(c)
	if err != nil {
		return nil, fault.Wrap(fault.InvalidArgument, err, "Wrong input: %s: %v", at, err)
	}
	return m, o.unknown()
}

// options reads what a document says of its model; the first mistake sticks.
type options struct {
	at    Place
	of    map[string]*qdrant.Value
	known []string
	err   error
}

func (o *options) get(name string) *qdrant.Value {
	o.known = append(o.known, name)
	return o.of[name]
}

func (o *options) wrong(name, want string) {
	if o.err == nil {
		o.err = fault.BadInput("%s.options.%s is not %s", o.at, name, want)
	}
}

func (o *options) text(name string, to *string) {
	switch k := o.get(name).GetKind().(type) {
	case nil, *qdrant.Value_NullValue:
	case *qdrant.Value_StringValue:
		*to = k.StringValue
	default:
		o.wrong(name, "a text")
	}
}

func (o *options) number(name string, to *float64) {
	switch k := o.get(name).GetKind().(type) {
	case nil, *qdrant.Value_NullValue:
	case *qdrant.Value_IntegerValue:
		*to = float64(k.IntegerValue)
	case *qdrant.Value_DoubleValue:
		*to = k.DoubleValue
	default:
		o.wrong(name, "a number")
	}
}

func (o *options) flag(name string, to *bool) {
	switch k := o.get(name).GetKind().(type) {
	case nil, *qdrant.Value_NullValue:
	case *qdrant.Value_BoolValue:
		*to = k.BoolValue
	default:
		o.wrong(name, "true or false")
	}
}

func (o *options) length(name string, to *int) {
	n := float64(*to)
	if o.number(name, &n); n != math.Trunc(n) || n < 0 || n > analysis.MaxLen {
		o.wrong(name, "a length")
		return
	}
	*to = int(n)
}

// words reads how texts become words.
func (o *options) words(p *analysis.Params) {
	tokenizer := "word"
	o.text("tokenizer", &tokenizer)
	var ok bool
	if p.Tokenizer, ok = map[string]analysis.Tokenizer{"word": analysis.Word, "whitespace": analysis.Whitespace, "prefix": analysis.Prefix, "multilingual": analysis.Multilingual}[tokenizer]; !ok {
		o.wrong("tokenizer", "word, whitespace, prefix or multilingual")
	}
	o.flag("lowercase", &p.Lowercase)
	o.flag("ascii_folding", &p.Folding)
	o.length("min_token_len", &p.MinLen)
	o.length("max_token_len", &p.MaxLen)
	switch k := o.get("stopwords").GetKind().(type) {
	case nil, *qdrant.Value_NullValue:
	case *qdrant.Value_StringValue:
		p.StopLanguages = k.StringValue
	case *qdrant.Value_StructValue:
		p.StopLanguages, p.StopWords = analysis.Join(o.texts(k.StructValue, "languages")), analysis.Join(o.texts(k.StructValue, "custom"))
	default:
		o.wrong("stopwords", "a language or an object of `languages` and `custom`")
	}
	switch k := o.get("stemmer").GetKind().(type) {
	case nil, *qdrant.Value_NullValue:
	case *qdrant.Value_StructValue:
		p.Stemmer = ""
		if f := k.StructValue.GetFields(); f["type"].GetStringValue() == "snowball" {
			p.Stemmer = f["language"].GetStringValue()
		} else if f["type"].GetStringValue() != "none" {
			o.wrong("stemmer", `an object with the type "snowball" or "none"`)
		}
	default:
		o.wrong("stemmer", "an object")
	}
}

func (o *options) texts(of *qdrant.Struct, name string) (out []string) {
	for _, v := range of.GetFields()[name].GetListValue().GetValues() {
		text, ok := v.GetKind().(*qdrant.Value_StringValue)
		if !ok || strings.Contains(text.StringValue, "\x00") {
			o.wrong("stopwords."+name, "a list of texts")
			return nil
		}
		out = append(out, text.StringValue)
	}
	return out
}

// unknown refuses options that would be passed over.
func (o *options) unknown() error {
	for name := range o.of {
		if !slices.Contains(o.known, name) {
			return fault.BadInput("%s.options: %.64q is not known to the model %s", o.at, name, bm25Model)
		}
	}
	return nil
}
