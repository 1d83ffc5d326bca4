// Package formula computes scores out of scores and payload. It is pure.
//
// A Program is made of an Expr once and asked for each point. Numbers are computed
// with 64 bits; a result that is no finite number of 32 bits is an error.
package formula

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
)

// ErrFormula reports a formula that can be computed for no point.
var ErrFormula = errors.New("malformed formula")

// ErrValue reports a formula that has no value for a point.
var ErrValue = errors.New("formula without a value")

// MaxDepth is how deep expressions may be nested.
const MaxDepth = 128

// Op is what an expression does.
type Op uint8

// The operations. Args are their operands, in the order of the names.
const (
	Constant    Op = iota // Number
	Variable              // Text: `$score`, `$score[i]` or a payload path
	Condition             // Index: 1 if that condition holds, else 0
	GeoDistance           // metres from Origin to the place at the path Text
	Datetime              // Text, a point in time: seconds since 1970
	DatetimeKey           // the path of such a text
	Mult                  // product
	Sum
	Max
	Min
	Div // left, right; Default where right is 0
	Neg
	Abs
	Sqrt
	Pow // base, exponent
	Exp
	Log10
	Ln
	Acosh
	ExpDecay // x and, unless it is 0, target; they have Scale and Midpoint
	GaussDecay
	LinDecay
)

// Expr is a node of a formula.
type Expr struct {
	Op     Op
	Args   []Expr
	Number float64
	Text   string
	Index  int
	Origin filter.Place
	// Default (Div) is the value of a division by 0; nil: an error.
	Default *float64
	// Scale (decays) is the distance between x and target at which the value is
	// Midpoint: above 0; within 0 and 1, which only LinDecay may reach.
	Scale, Midpoint float64
}

// Program is a formula made ready.
type Program struct {
	root     Expr
	paths    map[string]payload.Path // by the text of it
	scores   map[string]int          // by the text of the variable: whose score
	defaults payload.Doc
	missing  map[int]float64 // scores of points that a source does not have
}

// Point is what a formula is computed from.
type Point struct {
	// Score is that of the i-th source, if it has the point.
	Score func(i int) (float32, bool)
	// Payload has at least what Paths names.
	Payload payload.Doc
	// Holds tells of each condition whether it does.
	Holds func(i int) bool
}

// New makes a formula ready. Defaults stand in for variables that a point lacks; their
// keys are the texts of variables. Errors: ErrFormula.
func New(e Expr, defaults payload.Doc) (*Program, error) {
	p := &Program{root: e, paths: map[string]payload.Path{}, scores: map[string]int{}, defaults: defaults, missing: map[int]float64{}}
	for key, v := range defaults.All() {
		i, isScore, err := scoreOf(key)
		if err != nil {
			return nil, err
		}
		n, isNumber := v.Number()
		switch {
		case !isScore:
			if _, err := payload.ParsePath(key); err != nil {
				return nil, fmt.Errorf("%w: defaults: %w", ErrFormula, err)
			}
		case !isNumber:
			return nil, fmt.Errorf("%w: the default of `%s` is not a number", ErrFormula, key)
		default:
			p.missing[i] = n
		}
	}
	return p, p.check(&p.root, 0)
}

// Paths are the payload paths that hold what the formula reads, sorted.
func (p *Program) Paths() []string {
	out := make([]string, 0, len(p.paths))
	for _, path := range p.paths {
		out = append(out, path.Cover())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// scoreOf reads `$score` or `$score[i]`; any other text is none.
func scoreOf(text string) (i int, ok bool, err error) {
	rest, ok := strings.CutPrefix(text, "$score")
	if !ok || rest == "" {
		return 0, ok, nil
	}
	digits, closed := strings.CutSuffix(rest, "]")
	digits, opened := strings.CutPrefix(digits, "[")
	n, bad := strconv.ParseUint(digits, 10, 31)
	if !closed || !opened || bad != nil {
		return 0, false, fmt.Errorf("%w: Invalid score pattern: %.64q", ErrFormula, text)
	}
	return int(n), true, nil
}

func (p *Program) check(e *Expr, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("%w: nested deeper than %d levels", ErrFormula, MaxDepth)
	}
	for i := range e.Args {
		if err := p.check(&e.Args[i], depth+1); err != nil {
			return err
		}
	}
	switch e.Op {
	case Variable:
		i, isScore, err := scoreOf(e.Text)
		if err != nil || isScore {
			p.scores[e.Text] = i
			return err
		}
		return p.path(e.Text)
	case GeoDistance, DatetimeKey:
		return p.path(e.Text)
	case Datetime:
		us, ok := payload.Micros(e.Text)
		if !ok {
			return fmt.Errorf("%w: Expected datetime in supported format for %.64q", ErrFormula, e.Text)
		}
		*e = Expr{Number: float64(us) / 1e6}
	case Max, Min:
		if len(e.Args) == 0 {
			return fmt.Errorf("%w: `%s` needs at least one operand", ErrFormula, map[Op]string{Max: "max", Min: "min"}[e.Op])
		}
	case ExpDecay, GaussDecay, LinDecay:
		return decay(e)
	}
	return nil
}

func decay(e *Expr) error {
	switch {
	case !(e.Scale > 0):
		return fmt.Errorf("%w: decay scale should be above 0, got %v", ErrFormula, e.Scale)
	case e.Op == LinDecay && !(e.Midpoint >= 0 && e.Midpoint <= 1):
		return fmt.Errorf("%w: linear decay midpoint should be from 0 to 1, got %v", ErrFormula, e.Midpoint)
	case e.Op != LinDecay && !(e.Midpoint > 0 && e.Midpoint < 1):
		return fmt.Errorf("%w: decay midpoint should be between 0 and 1, got %v", ErrFormula, e.Midpoint)
	}
	return nil
}

func (p *Program) path(text string) error {
	path, err := payload.ParsePath(text)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormula, err)
	}
	p.paths[text] = path
	return nil
}

// Value computes the formula for a point. Errors: ErrValue.
func (p *Program) Value(of Point) (float32, error) {
	v, err := p.eval(&p.root, &of)
	if err != nil {
		return 0, err
	}
	out := float32(v)
	if math.IsNaN(v) || math.IsInf(float64(out), 0) {
		return 0, notFinite("the formula")
	}
	return out, nil
}

func notFinite(what string) error {
	return fmt.Errorf("%w: %s produced a non-finite number", ErrValue, what)
}
