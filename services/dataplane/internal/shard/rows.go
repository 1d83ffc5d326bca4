package shard

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/index"
	fieldindex "github.com/pandodb/pando/services/dataplane/internal/index/payload"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/arena"
	"github.com/pandodb/pando/services/internal/topology"
)

// rows is what reads see: the living points of the applied state in memory,
// numbered by row. Its maps and arrays hold no pointers per point. A reader
// holds the lock in shared mode for one call and so sees one applied state; the
// applier holds it only to show what it has already computed and stored.
type rows struct {
	sync.RWMutex
	pos    Position
	digest point.Digest
	config meta // revision and settings only

	ids      map[topology.PointID]uint32
	at       []topology.PointID // by row
	versions []op.HLC           // by row
	used     arena.Bits         // rows that hold a point
	free     []uint32
	payloads arena.Arena
	fields   []field // sorted by name
	// indexes are those on payload fields that config asks for.
	indexes *fieldindex.Set
}

// field is one named vector.
type field struct {
	query.VectorSchema
	index   index.Index
	present arena.Bits
}

func newRows(schema query.Schema, make func(query.VectorSchema) (index.Index, error)) (*rows, error) {
	r := &rows{ids: map[topology.PointID]uint32{}, payloads: arena.New(), indexes: &fieldindex.Set{}}
	for _, v := range schema.Vectors {
		x, err := make(v)
		if err != nil {
			return nil, fmt.Errorf("index of vector %q: %w", v.Name, err)
		}
		r.fields = append(r.fields, field{VectorSchema: v, index: x})
	}
	slices.SortFunc(r.fields, func(a, b field) int { return strings.Compare(a.Name, b.Name) })
	return r, nil
}

// field finds a named vector; nil if the schema has none of that name.
func (r *rows) field(name string) *field {
	i, ok := slices.BinarySearchFunc(r.fields, name, func(f field, n string) int { return strings.Compare(f.Name, n) })
	if !ok {
		return nil
	}
	return &r.fields[i]
}

// show makes p, which is alive, visible.
func (r *rows) show(p *point.Point) error {
	row, ok := r.ids[p.ID]
	var old payload.Doc
	if ok {
		old = r.payloads.Get(row)
	} else {
		if n := len(r.free); n > 0 {
			row, r.free = r.free[n-1], r.free[:n-1]
			r.at[row] = p.ID
		} else {
			row = uint32(len(r.at))
			r.at, r.versions = append(r.at, p.ID), append(r.versions, 0)
		}
		r.ids[p.ID] = row
		r.used.Set(row)
	}
	r.versions[row] = p.Version()
	r.payloads.Put(row, p.Payload)
	r.indexes.Put(row, old, p.Payload)
	i := 0
	for f := range r.fields {
		f := &r.fields[f]
		for i < len(p.Vectors) && p.Vectors[i].Name < f.Name {
			i++
		}
		if i < len(p.Vectors) && p.Vectors[i].Name == f.Name && p.Vectors[i].Data != nil {
			if err := f.index.Put(row, p.Vectors[i].Data); err != nil {
				return fmt.Errorf("point %s, vector %q: %w", p.ID, f.Name, err)
			}
			f.present.Set(row)
		} else if f.present.Has(row) {
			f.index.Delete(row)
			f.present.Clear(row)
		}
	}
	return nil
}

// hide takes a point out.
func (r *rows) hide(id topology.PointID) {
	row, ok := r.ids[id]
	if !ok {
		return
	}
	for f := range r.fields {
		if f := &r.fields[f]; f.present.Has(row) {
			f.index.Delete(row)
			f.present.Clear(row)
		}
	}
	r.indexes.Put(row, r.payloads.Get(row), nil)
	r.payloads.Put(row, nil)
	delete(r.ids, id)
	r.used.Clear(row)
	r.free = append(r.free, row)
}

// indexed makes the indexes that specs ask for, those that are new filled with
// what r shows. It changes nothing that reads see, so the applier calls it
// without the lock.
func (r *rows) indexed(specs []query.FieldIndex) (*fieldindex.Set, error) {
	next, fresh, err := r.indexes.Change(specs)
	if err != nil {
		return nil, err
	}
	for row := range uint32(len(r.at)) {
		if !fresh.Empty() && r.used.Has(row) {
			fresh.Put(row, nil, r.payloads.Get(row))
		}
	}
	return next, nil
}

// Len, Points, Used and Row are what a plan wants to know.
func (r *rows) Len() int { return len(r.at) }

func (r *rows) Points() int { return len(r.ids) }

func (r *rows) Used() *roaring.Bitmap { return roaring.FromDense(r.used, true) }

func (r *rows) Row(id topology.PointID) (uint32, bool) {
	row, ok := r.ids[id]
	return row, ok
}

// chosen is a filter with what the indexes say about it.
type chosen struct {
	*filter.Matcher
	fieldindex.Plan
}

func (r *rows) choose(m *filter.Matcher, f *filter.Filter) chosen {
	c := chosen{Matcher: m}
	if !m.All() {
		c.Plan = r.indexes.Plan(f, r)
	}
	return c
}

// each calls visit for the rows that c chooses, ascending, until it answers false.
func (r *rows) each(c chosen, visit func(row uint32) bool) {
	s := subject{rows: r}
	if _, bounded := c.Most(); bounded {
		sel := c.Select()
		sel.All(func(row uint32) bool { return !sel.Exact && !s.match(c.Matcher, row) || visit(row) })
		return
	}
	for row := range uint32(len(r.at)) {
		if r.used.Has(row) && s.match(c.Matcher, row) && !visit(row) {
			return
		}
	}
}

// subject shows a row to a filter.
type subject struct {
	rows *rows
	row  uint32
}

func (s *subject) ID() topology.PointID { return s.rows.at[s.row] }

func (s *subject) Payload() payload.Doc { return s.rows.payloads.Get(s.row) }

func (s *subject) HasVector(name string) bool {
	f := s.rows.field(name)
	return f != nil && f.present.Has(s.row)
}

func (s *subject) match(m *filter.Matcher, row uint32) bool {
	s.row = row
	return m.All() || m.Match(s)
}
