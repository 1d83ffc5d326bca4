package points

import (
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/dataplane/internal/api/validate"
	"github.com/pandodb/pando/services/dataplane/internal/coordinator/plan"
	"github.com/pandodb/pando/services/dataplane/internal/document"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/query/formula"
	"github.com/pandodb/pando/services/internal/fault"
)

// formulaOf reads a formula and makes it ready.
func formulaOf(f *qdrant.Formula) (*plan.Formula, error) {
	defaults, err := document.Of(f.GetDefaults())
	if err != nil {
		return nil, err
	}
	r := expressions{}
	root := r.expr(f.GetExpression(), 0)
	if r.err != nil {
		return nil, r.err
	}
	program, err := formula.New(root, defaults)
	if err != nil {
		return nil, fault.Wrap(fault.InvalidArgument, err, "Wrong input: %v", err)
	}
	return &plan.Formula{Program: program, Conditions: r.conditions}, nil
}

// expressions reads expressions; the first mistake sticks.
type expressions struct {
	conditions []*qdrant.Condition
	err        error
}

func (r *expressions) expr(x *qdrant.Expression, depth int) formula.Expr {
	if depth > formula.MaxDepth && r.err == nil {
		r.err = fault.BadInput("the formula is nested deeper than %d levels", formula.MaxDepth)
	}
	if r.err != nil {
		return formula.Expr{}
	}
	with := func(op formula.Op, args ...*qdrant.Expression) formula.Expr {
		out := formula.Expr{Op: op}
		for _, a := range args {
			out.Args = append(out.Args, r.expr(a, depth+1))
		}
		return out
	}
	switch o := x.GetVariant().(type) {
	case *qdrant.Expression_Constant:
		return formula.Expr{Number: float64(o.Constant)}
	case *qdrant.Expression_Variable:
		return formula.Expr{Op: formula.Variable, Text: o.Variable}
	case *qdrant.Expression_Condition:
		return r.condition(o.Condition)
	case *qdrant.Expression_GeoDistance:
		return r.geo(o.GeoDistance)
	case *qdrant.Expression_Datetime:
		return formula.Expr{Op: formula.Datetime, Text: o.Datetime}
	case *qdrant.Expression_DatetimeKey:
		return formula.Expr{Op: formula.DatetimeKey, Text: o.DatetimeKey}
	case *qdrant.Expression_Mult:
		return with(formula.Mult, o.Mult.GetMult()...)
	case *qdrant.Expression_Sum:
		return with(formula.Sum, o.Sum.GetSum()...)
	case *qdrant.Expression_Max:
		return with(formula.Max, o.Max.GetMax()...)
	case *qdrant.Expression_Min:
		return with(formula.Min, o.Min.GetMin()...)
	case *qdrant.Expression_Div:
		out := with(formula.Div, o.Div.GetLeft(), o.Div.GetRight())
		if o.Div != nil && o.Div.ByZeroDefault != nil {
			out.Default = new(float64(*o.Div.ByZeroDefault))
		}
		return out
	case *qdrant.Expression_Pow:
		return with(formula.Pow, o.Pow.GetBase(), o.Pow.GetExponent())
	case *qdrant.Expression_ExpDecay:
		return decay(with, formula.ExpDecay, o.ExpDecay)
	case *qdrant.Expression_GaussDecay:
		return decay(with, formula.GaussDecay, o.GaussDecay)
	case *qdrant.Expression_LinDecay:
		return decay(with, formula.LinDecay, o.LinDecay)
	}
	if op, of := unary(x); op != 0 {
		return with(op, of)
	}
	r.err = fault.New(fault.Malformed, "Malformed formula: an expression holds none of the known kinds")
	return formula.Expr{}
}

// unary is what an operation on one operand does, and to what; 0: it is none.
func unary(x *qdrant.Expression) (formula.Op, *qdrant.Expression) {
	switch o := x.GetVariant().(type) {
	case *qdrant.Expression_Neg:
		return formula.Neg, o.Neg
	case *qdrant.Expression_Abs:
		return formula.Abs, o.Abs
	case *qdrant.Expression_Sqrt:
		return formula.Sqrt, o.Sqrt
	case *qdrant.Expression_Exp:
		return formula.Exp, o.Exp
	case *qdrant.Expression_Log10:
		return formula.Log10, o.Log10
	case *qdrant.Expression_Ln:
		return formula.Ln, o.Ln
	case *qdrant.Expression_Acosh:
		return formula.Acosh, o.Acosh
	}
	return 0, nil
}

func decay(with func(formula.Op, ...*qdrant.Expression) formula.Expr, op formula.Op, d *qdrant.DecayParamsExpression) formula.Expr {
	args := []*qdrant.Expression{d.GetX()}
	if d.GetTarget() != nil {
		args = append(args, d.GetTarget())
	}
	out := with(op, args...)
	out.Scale, out.Midpoint = 1, 0.5
	if d != nil && d.Scale != nil {
		out.Scale = float64(*d.Scale)
	}
	if d != nil && d.Midpoint != nil {
		out.Midpoint = float64(*d.Midpoint)
	}
	return out
}

func (r *expressions) condition(c *qdrant.Condition) formula.Expr {
	if r.err = validate.Filter(&qdrant.Filter{Must: []*qdrant.Condition{c}}); r.err != nil {
		return formula.Expr{}
	}
	r.conditions = append(r.conditions, c)
	return formula.Expr{Op: formula.Condition, Index: len(r.conditions) - 1}
}

func (r *expressions) geo(g *qdrant.GeoDistance) formula.Expr {
	lon, lat := g.GetOrigin().GetLon(), g.GetOrigin().GetLat()
	if g.GetOrigin() == nil || !(lon >= -180 && lon <= 180 && lat >= -90 && lat <= 90) {
		r.err = fault.BadInput("geo_distance.origin is no place: lon is from -180 to 180, lat from -90 to 90")
	}
	return formula.Expr{Op: formula.GeoDistance, Text: g.GetTo(), Origin: filter.Place{Lon: lon, Lat: lat}}
}
