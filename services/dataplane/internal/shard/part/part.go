// Package part is a share of a shard's points as reads see it: the tail, which
// changes, or a sealed part, of which rows can only die. Several make up a shard;
// of an id they show one row at most.
package part

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	fieldindex "github.com/pandodb/pando/services/dataplane/internal/index/payload"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part/arena"
	"github.com/pandodb/pando/services/internal/topology"
)

// Columns are the rows themselves.
type Columns interface {
	// Rows is above every row number.
	Rows() int
	ID(row uint32) topology.PointID
	Version(row uint32) op.HLC
	Payload(row uint32) payload.Doc
	// Find gives the row of an id, dead or alive.
	Find(id topology.PointID) (uint32, bool)
}

// Vectors is what a part has of one named vector.
type Vectors interface {
	// Search answers each query by the rows that are alive at a time.
	Search(ctx context.Context, qs []Query, at uint64) ([][]index.Hit, error)
	// Vector gives the value of a row, which the caller may keep; false: it has none.
	Vector(row uint32) (op.Vector, bool)
	Has(row uint32) bool
	// Len counts the rows that have a value, dead ones included.
	Len() int
}

// Part is immutable but for the mask, if it is sealed; the tail's owner keeps
// readers and its writer apart.
type Part struct {
	Columns
	// Number names a sealed part: the place of the log entry that made it.
	Number topology.Seq
	// Dead rows of a sealed part.
	Dead    *mask.Mask
	used    *arena.Bits // rows that hold a point; nil: all
	fields  []Field     // sorted by name
	indexes *fieldindex.Set
	sorted  bool // rows are in the order of ids
}

// Field is one named vector.
type Field struct {
	query.VectorSchema
	Vectors
	key string // of the schema
}

// Key is the schema's, which is made once.
func (f *Field) Key() string { return f.key }

// Fit gives the fields of a schema, sorted by name: those of have that are in it, and
// others as fresh makes them.
func Fit(have []Field, schema []query.VectorSchema, fresh func(query.VectorSchema) (Vectors, error)) ([]Field, error) {
	out := make([]Field, len(schema))
	for i, v := range schema {
		if at := slices.IndexFunc(have, func(f Field) bool { return f.VectorSchema == v }); at >= 0 {
			out[i] = have[at]
			continue
		}
		x, err := fresh(v)
		if err != nil {
			return nil, err
		}
		out[i] = Field{VectorSchema: v, Vectors: x, key: v.Key()}
	}
	return out, nil
}

// Fits tells whether p has the fields of a schema.
func (p *Part) Fits(schema []query.VectorSchema) bool {
	return slices.EqualFunc(p.fields, schema, func(f Field, v query.VectorSchema) bool { return f.VectorSchema == v })
}

// NewSealed puts together a part whose rows are in the order of ids. fields are
// sorted by name.
func NewSealed(number topology.Seq, c Columns, dead *mask.Mask, fields []Field, indexes *fieldindex.Set) *Part {
	return &Part{Columns: c, Number: number, Dead: dead, fields: fields, indexes: indexes, sorted: true}
}

// With is the part with other fields or indexes; nil leaves them. The mask is shared.
func (p *Part) With(fields []Field, indexes *fieldindex.Set) *Part {
	next := *p
	if fields != nil {
		next.fields = fields
	}
	if indexes != nil {
		next.indexes = indexes
	}
	return &next
}

// Fields are the named vectors, sorted by name, not to be changed.
func (p *Part) Fields() []Field { return p.fields }

// Field finds a named vector; nil if the schema has none of that name.
func (p *Part) Field(name string) *Field {
	i, ok := slices.BinarySearchFunc(p.fields, name, func(f Field, n string) int { return strings.Compare(f.Name, n) })
	if !ok {
		return nil
	}
	return &p.fields[i]
}

// Keyed finds a vector by the name under which points keep it; nil: there is none.
func (p *Part) Keyed(key string) *Field {
	i, ok := slices.BinarySearchFunc(p.fields, key, func(f Field, k string) int { return strings.Compare(f.key, k) })
	if !ok {
		return nil
	}
	return &p.fields[i]
}

// Indexes are those on payload fields.
func (p *Part) Indexes() *fieldindex.Set { return p.indexes }

// Indexed makes the indexes that specs ask for, those that are new filled with all
// rows. It changes nothing that reads see.
func (p *Part) Indexed(specs []query.FieldIndex) (*fieldindex.Set, error) {
	next, fresh, err := p.indexes.Change(specs)
	if err != nil {
		return nil, err
	}
	for row := range uint32(p.Rows()) {
		if !fresh.Empty() && p.holds(row) {
			fresh.Put(row, nil, p.Payload(row))
		}
	}
	return next, nil
}

// holds tells whether a row holds a point, dead or alive.
func (p *Part) holds(row uint32) bool { return p.used == nil || p.used.Has(row) }

// Alive counts the rows that are alive now.
func (p *Part) Alive() int {
	n := p.Rows()
	if p.used != nil {
		n = p.used.Count()
	}
	return n - p.Dead.Len()
}

// At is the part as it was at a time.
func (p *Part) At(at uint64) View { return View{Part: p, at: at} }

// View is a part at one time.
type View struct {
	*Part
	at     uint64
	hidden *roaring.Bitmap // nil: none
}

// Hiding is the view without some of its living rows, which must not change; nil: none.
func (v View) Hiding(rows *roaring.Bitmap) View {
	v.hidden = rows
	return v
}

// Hides tells whether living rows are hidden.
func (v View) Hides() bool { return v.hidden != nil }

// Lives tells whether a row holds a point that is to be seen.
func (v View) Lives(row uint32) bool {
	return v.holds(row) && !v.Dead.Dead(row, v.at) && (v.hidden == nil || !v.hidden.Contains(row))
}

// Row finds a point.
func (v View) Row(id topology.PointID) (uint32, bool) {
	row, ok := v.Find(id)
	return row, ok && v.Lives(row)
}

// Len, Points and Used are what a plan wants to know.
func (v View) Len() int { return v.Rows() }

// Points is about how many rows are alive, hidden ones included.
func (v View) Points() int { return v.Alive() }

// Used are the rows that hold points, dead and hidden ones included.
func (v View) Used() *roaring.Bitmap {
	if v.used != nil {
		return roaring.FromDense(*v.used, true)
	}
	all := roaring.New()
	all.AddRange(0, uint64(v.Rows()))
	return all
}

// dead are the rows that are dead or hidden; nil: none.
func (v View) dead() *roaring.Bitmap {
	if v.Dead.Len() == 0 {
		return v.hidden
	}
	set := roaring.New()
	v.Dead.Each(func(row uint32, at uint64) {
		if at <= v.at {
			set.Add(row)
		}
	})
	if v.hidden != nil {
		set.Or(v.hidden)
	}
	return set
}

// Chosen is a filter with what the indexes of a part say about it.
type Chosen struct {
	*filter.Matcher
	fieldindex.Plan
}

// Choose plans how a filter is asked.
func (v View) Choose(m *filter.Matcher, f *filter.Filter) Chosen {
	c := Chosen{Matcher: m}
	if !m.All() {
		c.Plan = v.indexes.Plan(f, v)
	}
	return c
}

// Each calls visit for the living rows that c chooses, ascending, until it answers
// false.
func (v View) Each(c Chosen, visit func(row uint32) bool) { v.eachFrom(c, 0, visit) }

func (v View) eachFrom(c Chosen, from uint32, visit func(row uint32) bool) {
	s := Subject{view: v}
	if _, bounded := c.Most(); bounded {
		sel := c.Select()
		sel.From(from, func(row uint32) bool {
			return !v.Lives(row) || !sel.Exact && !s.Match(c.Matcher, row) || visit(row)
		})
		return
	}
	for row := from; row < uint32(v.Rows()); row++ {
		if v.Lives(row) && s.Match(c.Matcher, row) && !visit(row) {
			return
		}
	}
}

// checkEvery is how many rows a scan passes between two looks at the context.
const checkEvery = 4096

// Scan is Each with an end of its own: ctx's error.
func (v View) Scan(ctx context.Context, c Chosen, visit func(row uint32)) error {
	next := uint32(0)
	v.Each(c, func(row uint32) bool {
		if row >= next {
			next = row + checkEvery
			if ctx.Err() != nil {
				return false
			}
		}
		visit(row)
		return true
	})
	return ctx.Err()
}

// Count counts the living rows that c chooses; an estimate where approx allows it.
func (v View) Count(ctx context.Context, c Chosen, approx bool) (n uint64, err error) {
	if about, ok := c.Estimate(); ok && approx {
		return uint64(v.less(about, c)), nil
	}
	if _, bounded := c.Most(); bounded {
		if sel := c.Select(); sel.Exact {
			n = uint64(sel.Len())
			v.Dead.Each(func(row uint32, at uint64) {
				if at <= v.at && sel.Has(row) {
					n--
				}
			})
			return n - uint64(v.hiddenIn(sel)), nil
		}
	}
	err = v.Scan(ctx, c, func(uint32) { n++ })
	return n, err
}

// hiddenIn counts the hidden rows in a selection.
func (v View) hiddenIn(sel fieldindex.Selection) (n int) {
	if v.hidden != nil {
		v.hidden.Iterate(func(row uint32) bool {
			if sel.Has(row) {
				n++
			}
			return true
		})
	}
	return n
}

// less is an estimate without its share of hidden rows.
func (v View) less(about int, c Chosen) int {
	if v.hidden == nil || about == 0 {
		return about
	}
	sel := c.Select()
	return about - about*v.hiddenIn(sel)/max(1, sel.Len())
}

// Subject shows a row to a filter.
type Subject struct {
	view View
	row  uint32
}

// Subject shows rows of v.
func (v View) Subject() *Subject { return &Subject{view: v} }

// ID implements filter.Subject.
func (s *Subject) ID() topology.PointID { return s.view.ID(s.row) }

// Payload implements filter.Subject.
func (s *Subject) Payload() payload.Doc { return s.view.Payload(s.row) }

// HasVector implements filter.Subject.
func (s *Subject) HasVector(name string) bool {
	f := s.view.Field(name)
	return f != nil && f.Has(s.row)
}

// Match asks a filter about a row.
func (s *Subject) Match(m *filter.Matcher, row uint32) bool {
	s.row = row
	return m.All() || m.Match(s)
}

// Check tells whether data may be the value of f, or a query for it.
func (f *Field) Check(data []float32) error {
	if len(data) != f.Size {
		return &query.DimensionError{Name: f.Name, Want: f.Size, Got: len(data)}
	}
	for _, x := range data {
		if math.Float32bits(x)&0x7F800000 == 0x7F800000 {
			return fmt.Errorf("%w: vector %q", query.ErrNotFinite, f.Name)
		}
	}
	return nil
}

// Shadow lets the rows of old be dead, for all times, whose ids later has.
func Shadow(old, later *Part) {
	if !old.sorted || !later.sorted {
		for row := range uint32(later.Rows()) {
			if r, ok := old.Find(later.ID(row)); later.holds(row) && ok {
				old.Dead.Kill(r, 0)
			}
		}
		return
	}
	var a, b uint32
	for a < uint32(old.Rows()) && b < uint32(later.Rows()) {
		switch by := old.ID(a).Compare(later.ID(b)); {
		case by < 0:
			a++
		case by > 0:
			b++
		default:
			old.Dead.Kill(a, 0)
			a, b = a+1, b+1
		}
	}
}
