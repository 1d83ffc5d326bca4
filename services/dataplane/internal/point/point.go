// Package point is the stored form of one point and the fold that changes it
// (replication.md P5): one function for base and overlay, insensitive to the
// order of operations and to repetition. It is pure. It does not know how or
// where points are kept.
//
// A point has a base (the latest upsert or delete), a base of its payload part
// (the latest clear or overwrite, if later) and fields: each vector name and
// each top-level payload key. A field as old as its base needs no stamp of its
// own; a later one keeps it. A field that was removed later than its base stays
// as a stamp without value, and a point that is not there keeps what arrived
// later than its deletion, unseen. The Floor entry folds old stamps away.
package point

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/topology"
)

// Stamp orders operations on a point: by hlc, then by the peer that stamped.
// A peer never issues an hlc twice (its upper bound is durable), so a stamp
// belongs to one entry, the op_id of the rule P5 decides nothing more, and an
// equal stamp means the same entry again. The zero Stamp is before all.
type Stamp struct {
	HLC    op.HLC
	Origin topology.PeerID
}

// Compare orders stamps.
func (s Stamp) Compare(o Stamp) int {
	if c := cmp.Compare(s.HLC, o.HLC); c != 0 {
		return c
	}
	return cmp.Compare(s.Origin, o.Origin)
}

// After tells whether s is later than o.
func (s Stamp) After(o Stamp) bool { return s.Compare(o) > 0 }

// Point is a point in stored form. Slices may alias what it was decoded from or
// the operation that was applied; they are replaced, never written to.
type Point struct {
	ID    topology.PointID
	Base  Stamp
	Alive bool
	// PayloadBase is zero unless it is later than Base.
	PayloadBase Stamp
	// Vectors are sorted by name.
	Vectors []Vector
	// Payload holds the values of the payload's fields.
	Payload payload.Doc
	// Keys are the fields of the payload later than both bases, sorted by name;
	// one that Payload lacks was removed then.
	Keys []Key
	// Written is not stored: the point as it was written, while vectors are left out of
	// it since; nil: it is as it was.
	Written *Written
}

// Written is what a point counts for, and its version, as it was written.
type Written struct {
	Digest  Digest
	Version op.HLC
}

// Vector is the field of a vector name. Data nil: removed at Stamp. Stamp is
// zero for a field as old as the point's base.
type Vector struct {
	Name  string
	Data  []float32
	Stamp Stamp
	// Indices and Count are those of an op.Vector; of an empty sparse vector Data is
	// empty and not nil.
	Indices []uint32
	Count   int
}

// field is the field that v sets at a stamp.
func field(v *op.Vector, at Stamp) Vector {
	return Vector{Name: v.Name, Data: v.Data, Stamp: at, Indices: v.Indices, Count: v.Count}
}

// Value is the field's vector.
func (v *Vector) Value() op.Vector {
	return op.Vector{Name: v.Name, Data: v.Data, Indices: v.Indices, Count: v.Count}
}

// Key is the stamp of a payload field.
type Key struct {
	Name  string
	Stamp Stamp
}

// Change is what one operation does to one point.
type Change struct {
	Kind    op.Kind
	Vectors []op.Vector
	Payload payload.Doc
	Names   []string
}

// Changes calls do for every point that o names, in the order of o, until do
// answers false.
func Changes(o *op.Op, do func(topology.PointID, Change) bool) {
	for i := range o.Points {
		p := &o.Points[i]
		if !do(p.ID, Change{Kind: o.Kind, Vectors: p.Vectors, Payload: p.Payload}) {
			return
		}
	}
	for i := range o.Groups {
		for _, id := range o.Groups[i].IDs {
			if !do(id, Change{Kind: o.Kind, Payload: o.Groups[i].Payload, Names: o.Names}) {
				return
			}
		}
	}
	for _, id := range o.IDs {
		if !do(id, Change{Kind: o.Kind, Names: o.Names}) {
			return
		}
	}
}

// Effect says how much of a change took effect (P8).
type Effect uint8

// The effects. Lost: everything was overtaken by later stamps.
const (
	Lost Effect = iota
	Partly
	Whole
)

func effect(won, lost int) Effect {
	switch {
	case lost == 0:
		return Whole
	case won == 0:
		return Lost
	default:
		return Partly
	}
}

// Apply is the fold (P5). Any order of the same changes, with any repetitions,
// leaves the same point. Within one stamp the first change of a field counts.
func (p *Point) Apply(s Stamp, c Change) Effect {
	switch c.Kind {
	case op.Upsert:
		return p.rebase(s, true, c.Vectors, c.Payload)
	case op.Delete:
		return p.rebase(s, false, nil, nil)
	case op.OverwritePayload:
		return p.rebasePayload(s, c.Payload)
	case op.ClearPayload:
		return p.rebasePayload(s, nil)
	case op.SetPayload, op.DeletePayload, op.EditPayload:
		return p.editPayload(s, c.Payload, c.Names)
	case op.UpdateVectors:
		return p.setVectors(s, c.Vectors)
	case op.DeleteVectors:
		vs := make([]op.Vector, len(c.Names))
		for i, n := range c.Names {
			vs[i].Name = n
		}
		return p.setVectors(s, vs)
	default:
		return Whole
	}
}

// Version is the latest stamp of anything in the point (R6).
func (p *Point) Version() op.HLC {
	if p.Written != nil {
		return p.Written.Version
	}
	h := max(p.Base.HLC, p.PayloadBase.HLC)
	for _, v := range p.Vectors {
		h = max(h, v.Stamp.HLC)
	}
	for _, k := range p.Keys {
		h = max(h, k.Stamp.HLC)
	}
	return h
}

// Settled tells whether the point is nothing but a base with its values, so
// that no Floor can change it.
func (p *Point) Settled() bool {
	return p.Alive && p.PayloadBase == Stamp{} && len(p.Keys) == 0 &&
		!slices.ContainsFunc(p.Vectors, func(v Vector) bool { return v.Stamp != Stamp{} })
}

// rebase makes s the base unless there is a later one; fields later than s stay.
func (p *Point) rebase(s Stamp, alive bool, vs []op.Vector, doc payload.Doc) Effect {
	if !s.After(p.Base) {
		return Lost
	}
	p.Base, p.Alive = s, alive
	won, lost := 1, 0
	fields := make([]Vector, 0, len(vs))
	for _, v := range p.Vectors {
		if v.Stamp.After(s) {
			fields = append(fields, v)
		}
	}
	later := fields
	for _, v := range vs {
		if slices.ContainsFunc(later, func(l Vector) bool { return l.Name == v.Name }) {
			lost++
			continue
		}
		fields = append(fields, field(&v, Stamp{}))
	}
	if len(later) > 0 {
		slices.SortFunc(fields, func(a, b Vector) int { return strings.Compare(a.Name, b.Name) })
	}
	p.Vectors = fields
	if p.PayloadBase.After(s) {
		return effect(won, lost+doc.Len())
	}
	p.PayloadBase = Stamp{}
	return effect(won, lost+p.replacePayload(s, doc))
}

// rebasePayload makes s the base of the payload part unless there is a later one.
func (p *Point) rebasePayload(s Stamp, doc payload.Doc) Effect {
	if !s.After(p.payloadBase()) {
		return Lost
	}
	p.PayloadBase = s
	return effect(1, p.replacePayload(s, doc))
}

func (p *Point) payloadBase() Stamp {
	if p.PayloadBase.After(p.Base) {
		return p.PayloadBase
	}
	return p.Base
}

// replacePayload makes doc the payload, but for the fields later than s. It
// counts the fields of doc that they overtook.
func (p *Point) replacePayload(s Stamp, doc payload.Doc) (lost int) {
	later := make([]Key, 0, len(p.Keys))
	for _, k := range p.Keys {
		if k.Stamp.After(s) {
			later = append(later, k)
		}
	}
	old := p.Payload
	p.Payload, p.Keys = doc, later
	if len(later) == 0 {
		return 0
	}
	e := newEdit(doc)
	for _, k := range later {
		if _, ok := doc.Get(k.Name); ok {
			lost++
		}
		v, _ := old.Get(k.Name)
		e.put(k.Name, v)
	}
	p.Payload = e.doc()
	return lost
}

// editPayload sets the fields of doc, and removes those of names, that have no later
// stamp.
func (p *Point) editPayload(s Stamp, doc payload.Doc, names []string) Effect {
	if !s.After(p.payloadBase()) {
		return Lost
	}
	won, lost := 0, 0
	e := newEdit(p.Payload)
	put := func(name string, v payload.Value) {
		if p.stampKey(name, s) {
			won++
			e.put(name, v)
		} else {
			lost++
		}
	}
	for name, v := range doc.All() {
		put(name, v)
	}
	for _, name := range names {
		put(name, nil)
	}
	if won > 0 {
		p.Payload = e.doc()
	}
	return effect(won, lost)
}

// stampKey records s for a payload field unless it has a stamp as late.
func (p *Point) stampKey(name string, s Stamp) bool {
	i, found := slices.BinarySearchFunc(p.Keys, name, func(k Key, n string) int { return strings.Compare(k.Name, n) })
	if !found {
		p.Keys = slices.Insert(slices.Clone(p.Keys), i, Key{Name: name, Stamp: s})
		return true
	}
	if !s.After(p.Keys[i].Stamp) {
		return false
	}
	p.Keys = slices.Clone(p.Keys)
	p.Keys[i].Stamp = s
	return true
}

// setVectors sets fields, or removes those whose Data is nil.
func (p *Point) setVectors(s Stamp, vs []op.Vector) Effect {
	if !s.After(p.Base) {
		return Lost
	}
	won, lost := 0, 0
	p.Vectors = slices.Clone(p.Vectors)
	for _, v := range vs {
		i, found := slices.BinarySearchFunc(p.Vectors, v.Name, func(f Vector, n string) int { return strings.Compare(f.Name, n) })
		switch {
		case !found:
			p.Vectors = slices.Insert(p.Vectors, i, field(&v, s))
		case s.After(p.Vectors[i].Stamp):
			p.Vectors[i] = field(&v, s)
		default:
			lost++
			continue
		}
		won++
	}
	return effect(won, lost)
}

// Fold forgets every stamp below floor (D2): nothing that could still arrive is
// older. It tells whether the point itself is forgotten.
func (p *Point) Fold(floor op.HLC) (gone bool) {
	old := func(s Stamp) bool { return s.HLC < floor }
	vs := make([]Vector, 0, len(p.Vectors))
	for _, v := range p.Vectors {
		switch {
		case !old(v.Stamp):
		case !p.Alive || v.Data == nil:
			continue
		default:
			v.Stamp = Stamp{}
		}
		vs = append(vs, v)
	}
	p.Vectors = vs
	p.foldPayload(old)
	return old(p.Base) && p.bare()
}

// Blank tells whether the point is like one that was never heard of.
func (p *Point) Blank() bool { return p.Base == Stamp{} && p.bare() }

// bare: not alive, and nothing waits for it to come alive.
func (p *Point) bare() bool {
	return !p.Alive && p.PayloadBase == Stamp{} && len(p.Vectors)+len(p.Payload)+len(p.Keys) == 0
}

func (p *Point) foldPayload(old func(Stamp) bool) {
	if !p.Alive {
		// What nobody sees and the next upsert would drop goes at once.
		e := newEdit(nil)
		for name, v := range p.Payload.All() {
			s := p.PayloadBase
			for _, k := range p.Keys {
				if k.Name == name {
					s = k.Stamp
				}
			}
			if !old(s) {
				e.put(name, v)
			}
		}
		p.Payload = e.doc()
	}
	p.Keys = slices.DeleteFunc(slices.Clone(p.Keys), func(k Key) bool { return old(k.Stamp) })
	if old(p.PayloadBase) {
		p.PayloadBase = Stamp{}
	}
}

// edit collects changes of top-level fields of a payload.
type edit struct {
	base payload.Doc
	puts []put
}

type put struct {
	name  string
	value payload.Value // nil: removed
}

func newEdit(base payload.Doc) *edit { return &edit{base: base} }

func (e *edit) put(name string, v payload.Value) { e.puts = append(e.puts, put{name, v}) }

// doc merges the changes into the base; of several for one field the last counts.
func (e *edit) doc() payload.Doc {
	slices.SortStableFunc(e.puts, func(a, b put) int { return strings.Compare(a.name, b.name) })
	var w payload.Writer
	i := 0
	flush := func(before string, all bool) {
		for ; i < len(e.puts) && (all || e.puts[i].name < before); i++ {
			last := i+1 == len(e.puts) || e.puts[i+1].name != e.puts[i].name
			if last && e.puts[i].value != nil {
				w.Field(e.puts[i].name, e.puts[i].value)
			}
		}
	}
	for name, v := range e.base.All() {
		flush(name, false)
		if i < len(e.puts) && e.puts[i].name == name {
			continue
		}
		w.Field(name, v)
	}
	flush("", true)
	return w.Doc()
}
