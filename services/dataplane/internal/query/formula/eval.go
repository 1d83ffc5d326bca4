package formula

import (
	"fmt"
	"math"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
)

func (p *Program) eval(e *Expr, of *Point) (float64, error) {
	switch e.Op {
	case Constant:
		return e.Number, nil
	case Variable:
		return p.variable(e.Text, of)
	case Condition:
		if of.Holds(e.Index) {
			return 1, nil
		}
		return 0, nil
	case GeoDistance:
		v, err := p.find(e.Text, of)
		if err != nil {
			return 0, err
		}
		to, ok := filter.PlaceOf(v)
		if !ok {
			return 0, fmt.Errorf("%w: Expected geo point for %s in the payload and/or in the formula defaults", ErrValue, e.Text)
		}
		return filter.Distance(e.Origin, to), nil
	case DatetimeKey:
		v, err := p.find(e.Text, of)
		if err != nil {
			return 0, err
		}
		us, ok := payload.Micros(v.Str())
		if v.Kind() != payload.String || !ok {
			return 0, fmt.Errorf("%w: Expected datetime for %s in the payload and/or in the formula defaults", ErrValue, e.Text)
		}
		return float64(us) / 1e6, nil
	case Mult, Sum, Max, Min:
		return p.fold(e, of)
	}
	return p.compute(e, of)
}

// variable is a score or a number of the payload.
func (p *Program) variable(text string, of *Point) (float64, error) {
	if i, ok := p.scores[text]; ok {
		if s, ok := of.Score(i); ok {
			return float64(s), nil
		}
		return p.missing[i], nil
	}
	v, err := p.find(text, of)
	if err != nil {
		return 0, err
	}
	n, ok := v.Number()
	if !ok {
		return 0, fmt.Errorf("%w: Expected number value for %s in the payload and/or in the formula defaults. Error: Value is not a number", ErrValue, text)
	}
	return n, nil
}

// find gives the one value at a path, or its default. A null is none; a list stands
// for its elements.
func (p *Program) find(text string, of *Point) (found payload.Value, err error) {
	n := 0
	take := func(v payload.Value) {
		if v.Kind() != payload.Null {
			found, n = v, n+1
		}
	}
	each := func(v payload.Value) bool {
		if v.Kind() != payload.List {
			take(v)
			return true
		}
		for e := range v.Elements() {
			take(e)
		}
		return true
	}
	if p.paths[text].Walk(of.Payload, each); n == 0 {
		if v, ok := p.defaults.Get(text); ok {
			each(v)
		}
	}
	switch n {
	case 0:
		return nil, fmt.Errorf("%w: No value found for %s in the payload nor the formula defaults", ErrValue, text)
	case 1:
		return found, nil
	}
	return nil, fmt.Errorf("%w: Expected one value for %s in the payload and/or in the formula defaults, found %d", ErrValue, text, n)
}

// fold takes operands from the left. A product ends with the first 0: what comes then
// may have no value.
func (p *Program) fold(e *Expr, of *Point) (float64, error) {
	out := map[Op]float64{Mult: 1, Max: math.Inf(-1), Min: math.Inf(1)}[e.Op]
	for i := range e.Args {
		v, err := p.eval(&e.Args[i], of)
		if err != nil {
			return 0, err
		}
		switch e.Op {
		case Mult:
			if out *= v; v == 0 {
				return 0, nil
			}
		case Sum:
			out += v
		case Max:
			out = max(out, v)
		case Min:
			out = min(out, v)
		}
	}
	return out, nil
}

// compute is what has a fixed number of operands.
func (p *Program) compute(e *Expr, of *Point) (float64, error) {
	a, err := p.eval(&e.Args[0], of)
	if err != nil || e.Op == Div && a == 0 {
		return a, err
	}
	b := 0.0
	if len(e.Args) > 1 {
		if b, err = p.eval(&e.Args[1], of); err != nil {
			return 0, err
		}
	}
	switch e.Op {
	case Neg:
		return -a, nil
	case Abs:
		return math.Abs(a), nil
	case ExpDecay:
		return math.Exp(math.Log(e.Midpoint) / e.Scale * math.Abs(a-b)), nil
	case GaussDecay:
		return math.Exp(math.Log(e.Midpoint) / (e.Scale * e.Scale) * (a - b) * (a - b)), nil
	case LinDecay:
		return max(0, 1-(1-e.Midpoint)/e.Scale*math.Abs(a-b)), nil
	case Div:
		if b == 0 && e.Default != nil {
			return *e.Default, nil
		}
		return finite(a/b, "a division")
	case Sqrt:
		return finite(math.Sqrt(a), "a square root")
	case Pow:
		return finite(math.Pow(a, b), "a power")
	case Exp:
		return finite(math.Exp(a), "an exponential")
	case Log10:
		return finite(math.Log10(a), "a logarithm")
	case Ln:
		return finite(math.Log(a), "a logarithm")
	case Acosh:
		return finite(math.Acosh(a), "an inverse hyperbolic cosine")
	}
	return 0, fmt.Errorf("%w: operation %d is not known", ErrValue, e.Op)
}

func finite(v float64, what string) (float64, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, notFinite(what)
	}
	return v, nil
}
