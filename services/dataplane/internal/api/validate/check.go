// Package validate decides once, before anything is written, whether a request
// of the public API can be right: names, sizes, limits, selectors, filters and
// the vectors of points against a collection's schema. Vectors that it passes
// are in dense form, in the oneof.
//
// It does not look up collections and it writes nothing. A field out of its
// range is reason VALIDATION (422), everything else that cannot be carried out
// is 400, and what this build lacks is NOT_BUILT with its name.
package validate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pandodb/pando/services/internal/fault"
)

// maxErrors bounds the violations that one answer names.
const maxErrors = 10

// Check collects the violations of one request. The zero value is ready.
type Check struct {
	found   []string
	more    int
	refused error
}

// Add records a violation of a field. Fields carry their REST names, with dots
// and indexes: `points[3].vector`.
func (c *Check) Add(field, format string, args ...any) {
	if len(c.found) == maxErrors {
		c.more++
		return
	}
	c.found = append(c.found, field+": "+fmt.Sprintf(format, args...))
}

// refuse records what is wrong without being a field out of its range. The first
// counts, and only where there is no violation.
func (c *Check) refuse(err error) {
	if c.refused == nil {
		c.refused = err
	}
}

// Err is nil, or one fault of reason VALIDATION that names all violations, or what
// was refused. REST says "in JSON body".
func (c *Check) Err() error {
	if len(c.found) == 0 {
		return c.refused
	}
	list := strings.Join(c.found, "; ")
	if c.more > 0 {
		list += fmt.Sprintf("; and %d more", c.more)
	}
	return fault.New(fault.Validation, "Validation error in body: [%s]", list)
}

// number is what limits are made of.
type number interface {
	~uint32 | ~uint64 | ~int | ~float32 | ~float64
}

func show[T number](v T) string {
	switch x := any(v).(type) {
	case float32:
		return decimal(float64(x), 32)
	case float64:
		return decimal(x, 64)
	}
	return fmt.Sprint(v)
}

// decimal prints whole numbers with one place, as clients know it: 1.0.
func decimal(v float64, bits int) string {
	s := strconv.FormatFloat(v, 'g', -1, bits)
	if !strings.ContainsAny(s, ".eNI") {
		s += ".0"
	}
	return s
}

// between wants lo <= v <= hi. NaN is outside of every range.
func between[T number](c *Check, field string, v, lo, hi T) {
	if !(v >= lo && v <= hi) {
		c.Add(field, "value %s invalid, must be from %s to %s", show(v), show(lo), show(hi))
	}
}

// optMost wants v <= hi.
func optMost[T number](c *Check, field string, v *T, hi T) {
	if v != nil && !(*v <= hi) {
		c.Add(field, "value %s invalid, must be %s or smaller", show(*v), show(hi))
	}
}

// atLeast wants v >= lo.
func atLeast[T number](c *Check, field string, v, lo T) {
	if !(v >= lo) {
		c.Add(field, "value %s invalid, must be %s or larger", show(v), show(lo))
	}
}

func optBetween[T number](c *Check, field string, v *T, lo, hi T) {
	if v != nil {
		between(c, field, *v, lo, hi)
	}
}

func optAtLeast[T number](c *Check, field string, v *T, lo T) {
	if v != nil {
		atLeast(c, field, *v, lo)
	}
}

// MaxNameBytes is the longest name of a collection or alias.
const MaxNameBytes = 255

// MaxVectorNameBytes is the longest name of a vector.
const MaxVectorNameBytes = 200

// Name checks the name of a collection that is looked up.
func (c *Check) Name(field, name string) {
	if len(name) == 0 || len(name) > MaxNameBytes {
		c.Add(field, "value %s invalid, must be from 1 to %d characters", quoted(name), MaxNameBytes)
	}
}

// NewName checks a name that is about to be given: it must also be safe as the
// name of a file on every system.
func (c *Check) NewName(field, name string) {
	c.Name(field, name)
	c.safe(field, "collection name", name)
}

// VectorName checks the name of a vector that is about to be given. The empty
// name is the default vector.
func (c *Check) VectorName(field, name string) {
	if len(name) > MaxVectorNameBytes {
		c.Add(field, "value %s invalid, must be from 0 to %d characters", quoted(name), MaxVectorNameBytes)
	}
	c.safe(field, "vector name", name)
}

func (c *Check) safe(field, what, name string) {
	for _, r := range name {
		if r < 0x20 || r == 0x7f || strings.ContainsRune(`<>:"/\|?*`, r) {
			c.Add(field, "%s cannot contain %q char", what, string(r))
			return
		}
	}
	if name == "." || name == ".." {
		c.Add(field, "%s cannot be %q", what, name)
	}
}

// Timeout checks the seconds of a request.
func (c *Check) Timeout(t *uint64) { optAtLeast(c, "timeout", t, 1) }

// quoted prints a name, cut where it is too long to be read.
func quoted(s string) string {
	if len(s) > 64 {
		return fmt.Sprintf("%.64q... (%d bytes)", s, len(s))
	}
	return strconv.Quote(s)
}

// unable is a request that cannot be read (400).
func unable(format string, args ...any) error { return fault.New(fault.Malformed, format, args...) }
