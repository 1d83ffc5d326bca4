package formula

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
)

// read makes an expression of the form that REST takes.
func read(v any) Expr {
	list := func(v any) (out []Expr) {
		for _, e := range v.([]any) {
			out = append(out, read(e))
		}
		return out
	}
	switch v := v.(type) {
	case float64:
		return Expr{Number: v}
	case string:
		return Expr{Op: Variable, Text: v}
	}
	for name, in := range v.(map[string]any) {
		m, _ := in.(map[string]any)
		switch name {
		case "geo_distance":
			o := m["origin"].(map[string]any)
			return Expr{Op: GeoDistance, Text: m["to"].(string), Origin: filter.Place{Lon: o["lon"].(float64), Lat: o["lat"].(float64)}}
		case "datetime":
			return Expr{Op: Datetime, Text: in.(string)}
		case "datetime_key":
			return Expr{Op: DatetimeKey, Text: in.(string)}
		case "mult", "sum", "max", "min":
			return Expr{Op: map[string]Op{"mult": Mult, "sum": Sum, "max": Max, "min": Min}[name], Args: list(in)}
		case "div":
			out := Expr{Op: Div, Args: []Expr{read(m["left"]), read(m["right"])}}
			if d, ok := m["by_zero_default"].(float64); ok {
				out.Default = &d
			}
			return out
		case "pow":
			return Expr{Op: Pow, Args: []Expr{read(m["base"]), read(m["exponent"])}}
		case "exp_decay", "gauss_decay", "lin_decay":
			out := Expr{Op: map[string]Op{"exp_decay": ExpDecay, "gauss_decay": GaussDecay, "lin_decay": LinDecay}[name], Args: []Expr{read(m["x"])}, Scale: 1, Midpoint: 0.5}
			if m["target"] != nil {
				out.Args = append(out.Args, read(m["target"]))
			}
			if s, ok := m["scale"].(float64); ok {
				out.Scale = s
			}
			if p, ok := m["midpoint"].(float64); ok {
				out.Midpoint = p
			}
			return out
		default:
			op := map[string]Op{"neg": Neg, "abs": Abs, "sqrt": Sqrt, "exp": Exp, "log10": Log10, "ln": Ln, "acosh": Acosh}[name]
			return Expr{Op: op, Args: []Expr{read(in)}}
		}
	}
	panic("an empty expression")
}

// doc makes a payload of what JSON says; whole numbers are integers.
func doc(t *testing.T, m map[string]any) payload.Doc {
	t.Helper()
	var b payload.Builder
	var put func(any)
	put = func(v any) {
		switch v := v.(type) {
		case nil:
			b.Null()
		case bool:
			b.Bool(v)
		case string:
			b.Str(v)
		case float64:
			if v == math.Trunc(v) {
				b.Int(int64(v))
			} else {
				b.Double(v)
			}
		case []any:
			b.BeginList()
			for _, e := range v {
				put(e)
			}
			b.End()
		case map[string]any:
			b.BeginObject()
			for k, e := range v {
				b.Key(k)
				put(e)
			}
			b.End()
		}
	}
	put(m)
	d, err := b.Doc()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestOracle: values are what the published Python client computes, and where it
// computes none there is an error. testdata/generate.py asked it.
func TestOracle(t *testing.T) {
	var all struct {
		Payload, Defaults map[string]any
		Scores            []*float32
		Cases             []struct {
			Expr  any
			Value *float64
		}
	}
	b, err := os.ReadFile("testdata/oracle.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Cases) != 400 {
		t.Fatalf("%d cases", len(all.Cases))
	}
	of := Point{Payload: doc(t, all.Payload), Score: func(i int) (float32, bool) {
		if all.Scores[i] == nil {
			return 0, false
		}
		return *all.Scores[i], true
	}}
	defaults := doc(t, all.Defaults)
	for i, c := range all.Cases {
		p, err := New(read(c.Expr), defaults)
		var got float32
		if err == nil {
			got, err = p.Value(of)
		}
		switch {
		case c.Value == nil:
			if err == nil {
				t.Errorf("case %d: %v has the value %v", i, c.Expr, got)
			}
		case err != nil || math.Abs(float64(got)-*c.Value) > 1e-6*max(1, math.Abs(*c.Value)):
			t.Errorf("case %d: %v is %v, %v, want %v", i, c.Expr, got, err, *c.Value)
		}
	}
}

func TestConditionsAndWhatIsRead(t *testing.T) {
	p, err := New(Expr{Op: Sum, Args: []Expr{{Op: Mult, Args: []Expr{{Op: Condition, Index: 1}, {Number: 4}}}, {Op: Condition}, {Op: Variable, Text: `a."b c"`},
		{Op: DatetimeKey, Text: `"x y"[0].t`}, {Op: Variable, Text: "a.n"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Paths(), []string{`"x y"`, `a."b c"`, "a.n"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	of := Point{Payload: doc(t, map[string]any{"a": map[string]any{"b c": 1.0, "n": []any{nil, 0.5}}, "x y": []any{map[string]any{"t": "1970-01-01T00:00:10Z"}}}),
		Holds: func(i int) bool { return i == 1 }}
	if v, err := p.Value(of); err != nil || v != 15.5 {
		t.Errorf("%v, %v", v, err)
	}
	of.Payload = doc(t, map[string]any{"a": map[string]any{"b c": []any{1.0, 2.0}}})
	if _, err := p.Value(of); !errors.Is(err, ErrValue) || !strings.Contains(err.Error(), "found 2") {
		t.Errorf("two values: %v", err)
	}
}

func TestMalformed(t *testing.T) {
	deep := Expr{}
	for range MaxDepth + 1 {
		deep = Expr{Op: Neg, Args: []Expr{deep}}
	}
	for name, e := range map[string]Expr{
		"score":             {Op: Variable, Text: "$scores"},
		"negative place":    {Op: Variable, Text: "$score[-1]"},
		"open":              {Op: Variable, Text: "$score[1"},
		"path":              {Op: Variable, Text: "a..b"},
		"path of a place":   {Op: GeoDistance, Text: ""},
		"path of a time":    {Op: DatetimeKey, Text: "a["},
		"time":              {Op: Datetime, Text: "today"},
		"max of nothing":    {Op: Max},
		"min of nothing":    {Op: Min},
		"scale":             {Op: LinDecay, Args: []Expr{{}}, Midpoint: 0.5},
		"midpoint 1":        {Op: ExpDecay, Args: []Expr{{}}, Scale: 1, Midpoint: 1},
		"midpoint above 1":  {Op: LinDecay, Args: []Expr{{}}, Scale: 1, Midpoint: 1.5},
		"midpoint not real": {Op: GaussDecay, Args: []Expr{{}}, Scale: 1, Midpoint: math.NaN()},
		"depth":             deep,
	} {
		if _, err := New(e, nil); !errors.Is(err, ErrFormula) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, key := range []string{"$score[", "a..b"} {
		if _, err := New(Expr{}, doc(t, map[string]any{key: 1.0})); !errors.Is(err, ErrFormula) {
			t.Errorf("default %q: %v", key, err)
		}
	}
	if _, err := New(Expr{}, doc(t, map[string]any{"$score": "x"})); !errors.Is(err, ErrFormula) {
		t.Errorf("a default score that is no number: %v", err)
	}
	p, err := New(Expr{Number: 1e39}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Value(Point{}); !errors.Is(err, ErrValue) {
		t.Errorf("beyond 32 bits: %v", err)
	}
}
