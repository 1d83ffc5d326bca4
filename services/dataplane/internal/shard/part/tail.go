package part

import (
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	fieldindex "github.com/pandodb/pando/services/dataplane/internal/index/payload"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part/arena"
	"github.com/pandodb/pando/services/internal/topology"
)

// Store keeps the values of one named vector of a tail.
type Store interface {
	Vectors
	Put(row uint32, v op.Vector) error
	Delete(row uint32)
}

// Tail is the points that were written last, in memory. Its maps and arrays hold
// no pointers per point.
type Tail struct {
	Part
	columns tailColumns
	free    []uint32
	bytes   int // of vectors that are in use
}

// tailColumns are in the order of arrival.
type tailColumns struct {
	ids      map[topology.PointID]uint32
	at       []topology.PointID
	versions []op.HLC
	used     arena.Bits
	payloads arena.Arena
}

func (c *tailColumns) Rows() int                      { return len(c.at) }
func (c *tailColumns) ID(row uint32) topology.PointID { return c.at[row] }
func (c *tailColumns) Version(row uint32) op.HLC      { return c.versions[row] }
func (c *tailColumns) Payload(row uint32) payload.Doc { return c.payloads.Get(row) }
func (c *tailColumns) Find(id topology.PointID) (uint32, bool) {
	row, ok := c.ids[id]
	return row, ok
}

// NewTail makes an empty one without vectors and indexes.
func NewTail() *Tail {
	t := &Tail{columns: tailColumns{ids: map[topology.PointID]uint32{}, payloads: arena.New()}}
	t.Columns, t.used, t.indexes = &t.columns, &t.columns.used, &fieldindex.Set{}
	return t
}

// SetFields replaces the named vectors by what Fit made of them, each a Store.
func (t *Tail) SetFields(fields []Field) {
	for _, f := range t.fields {
		if slices.ContainsFunc(fields, func(g Field) bool { return g.VectorSchema == f.VectorSchema }) {
			continue
		}
		for row := range uint32(t.Rows()) {
			t.drop(f.Vectors.(Store), row)
		}
	}
	t.fields = fields
}

// SetIndexes replaces the indexes on payload fields.
func (t *Tail) SetIndexes(s *fieldindex.Set) { t.indexes = s }

// Points counts the points.
func (t *Tail) Points() int { return len(t.columns.ids) }

// Bytes is about what the points take: vectors and payloads. 0 without points.
func (t *Tail) Bytes() int {
	if t.Points() == 0 {
		return 0
	}
	return t.bytes + t.columns.payloads.Bytes() + rowBytes*len(t.columns.at)
}

// rowBytes is about what else a row takes.
const rowBytes = 64

// Sizes are about what vectors and payloads take.
func (t *Tail) Sizes() (vectors, payloads int) {
	if t.Points() == 0 {
		return 0, 0
	}
	return t.bytes, t.columns.payloads.Bytes()
}

// Seal is the part that t becomes; t must not be changed any more.
func (t *Tail) Seal(number topology.Seq) *Part {
	p := t.Part
	p.Number, p.Dead = number, mask.New(p.Rows())
	return &p
}

// Show makes p, which is alive, visible.
func (t *Tail) Show(p *point.Point) error {
	c := &t.columns
	row, ok := c.ids[p.ID]
	var old payload.Doc
	if ok {
		old = c.payloads.Get(row)
	} else {
		if n := len(t.free); n > 0 {
			row, t.free = t.free[n-1], t.free[:n-1]
			c.at[row] = p.ID
		} else {
			row = uint32(len(c.at))
			c.at, c.versions = append(c.at, p.ID), append(c.versions, 0)
		}
		c.ids[p.ID] = row
		c.used.Set(row)
	}
	c.versions[row] = p.Version()
	c.payloads.Put(row, p.Payload)
	t.indexes.Put(row, old, p.Payload)
	i := 0
	for f := range t.fields {
		x, key := t.fields[f].Vectors.(Store), t.fields[f].key
		for i < len(p.Vectors) && p.Vectors[i].Name < key {
			i++
		}
		t.drop(x, row)
		if i < len(p.Vectors) && p.Vectors[i].Name == key && p.Vectors[i].Data != nil {
			v := &p.Vectors[i]
			if err := x.Put(row, op.Vector{Name: key, Data: v.Data, Indices: v.Indices, Count: v.Count}); err != nil {
				return fmt.Errorf("point %s, vector %q: %w", p.ID, key, err)
			}
			t.bytes += 4 * (len(v.Data) + len(v.Indices))
		}
	}
	return nil
}

func (t *Tail) drop(x Store, row uint32) {
	if v, ok := x.Vector(row); ok {
		t.bytes -= 4 * (len(v.Data) + len(v.Indices))
		x.Delete(row)
	}
}

// Hide takes a point out.
func (t *Tail) Hide(id topology.PointID) {
	c := &t.columns
	row, ok := c.ids[id]
	if !ok {
		return
	}
	for _, f := range t.fields {
		t.drop(f.Vectors.(Store), row)
	}
	t.indexes.Put(row, c.payloads.Get(row), nil)
	c.payloads.Put(row, nil)
	delete(c.ids, id)
	c.used.Clear(row)
	t.free = append(t.free, row)
}

// IDs visits the points in no order.
func (t *Tail) IDs(visit func(topology.PointID)) {
	for id := range t.columns.ids {
		visit(id)
	}
}
