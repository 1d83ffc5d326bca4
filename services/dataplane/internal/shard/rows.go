package shard

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
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
	used     bits               // rows that hold a point
	free     []uint32
	payloads arena
	fields   []field // sorted by name
}

// field is one named vector.
type field struct {
	query.VectorSchema
	index   index.Index
	present bits
}

func newRows(schema query.Schema, make func(query.VectorSchema) (index.Index, error)) (*rows, error) {
	r := &rows{ids: map[topology.PointID]uint32{}, payloads: newArena()}
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
	if !ok {
		if n := len(r.free); n > 0 {
			row, r.free = r.free[n-1], r.free[:n-1]
			r.at[row] = p.ID
		} else {
			row = uint32(len(r.at))
			r.at, r.versions = append(r.at, p.ID), append(r.versions, 0)
		}
		r.ids[p.ID] = row
		r.used.set(row)
	}
	r.versions[row] = p.Version()
	r.payloads.put(row, p.Payload)
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
			f.present.set(row)
		} else if f.present.has(row) {
			f.index.Delete(row)
			f.present.clear(row)
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
		if f := &r.fields[f]; f.present.has(row) {
			f.index.Delete(row)
			f.present.clear(row)
		}
	}
	r.payloads.put(row, nil)
	delete(r.ids, id)
	r.used.clear(row)
	r.free = append(r.free, row)
}

// each calls visit for the rows that satisfy m, until it answers false.
func (r *rows) each(m *filter.Matcher, visit func(row uint32) bool) {
	s := subject{rows: r}
	if ids, bounded := m.IDs(); bounded {
		for _, id := range ids {
			if row, ok := r.ids[id]; ok && s.match(m, row) && !visit(row) {
				return
			}
		}
		return
	}
	for row := range uint32(len(r.at)) {
		if r.used.has(row) && s.match(m, row) && !visit(row) {
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

func (s *subject) Payload() payload.Doc { return s.rows.payloads.get(s.row) }

func (s *subject) HasVector(name string) bool {
	f := s.rows.field(name)
	return f != nil && f.present.has(s.row)
}

func (s *subject) match(m *filter.Matcher, row uint32) bool {
	s.row = row
	return m.All() || m.Match(s)
}

// bits is a set of rows.
type bits []uint64

func (b bits) has(row uint32) bool {
	return int(row>>6) < len(b) && b[row>>6]&(1<<(row&63)) != 0
}

func (b *bits) set(row uint32) {
	for int(row>>6) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[row>>6] |= 1 << (row & 63)
}

func (b bits) clear(row uint32) {
	if int(row>>6) < len(b) {
		b[row>>6] &^= 1 << (row & 63)
	}
}
