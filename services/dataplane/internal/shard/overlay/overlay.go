// Package overlay is the provisional operations of a replica (replication.md P4), shown
// over what its shard has stored. Each point that they name is shown as the fold of the
// stored point and their changes (P5), by the function that folds entries; the row that
// the shard has of it is hidden. Nothing is stored, and no part of the shard changes.
package overlay

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/pandodb/pando/services/dataplane/internal/index/mask"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/internal/topology"
)

// Overlay is operations, and the points that they name as reads see them. View, Hidden
// and Adds are for readers, whom Show and what replaces the Overlay must be kept apart
// from; everything else is for the one who changes it, and shows in nothing before Show.
type Overlay struct {
	shown   *part.Tail
	assumed bool // vectors that the schema does not have stay in points, unseen
	ops     map[op.ID][]topology.PointID
	points  map[topology.PointID]*laid
	changed map[topology.PointID]*laid // since Show
	hidden  map[topology.Seq]*roaring.Bitmap
	hides   int // rows in hidden
}

// Stored is a point as the shard has it; blank if it has not.
type Stored struct {
	point.Point
	Is bool
}

// laid is a point that operations name.
type laid struct {
	stored  Stored
	changes []change
	// What comes of them; differs: not what is stored.
	point   point.Point
	differs bool
	stale   bool // it is to be computed anew
	// hides: row of the part of this number is hidden.
	hides  bool
	number topology.Seq
	row    uint32
}

type change struct {
	id    op.ID
	stamp point.Stamp
	point.Change
}

// Find gives the living row that a shard has of a point, and the number of its part, 0
// of the tail; false: none.
type Find func(topology.PointID) (number topology.Seq, row uint32, ok bool)

// New makes an empty one. shown is empty, with the vectors and indexes of the settings
// in effect; assumed is that of the settings.
func New(shown *part.Tail, assumed bool) *Overlay {
	return &Overlay{shown: shown, assumed: assumed, ops: map[op.ID][]topology.PointID{}, points: map[topology.PointID]*laid{},
		changed: map[topology.PointID]*laid{}, hidden: map[topology.Seq]*roaring.Bitmap{}}
}

// View is the points that are shown and alive.
func (o *Overlay) View() part.View {
	p := o.shown.Part
	return p.At(mask.Now)
}

// Hidden are the rows of a part that are not to be seen, 0 of the tail; nil: none. The
// set never changes.
func (o *Overlay) Hidden(number topology.Seq) *roaring.Bitmap { return o.hidden[number] }

// Adds is how many points are shown more than the shard has, or, negative, less.
func (o *Overlay) Adds() int { return o.shown.Points() - o.hides }

// Empty tells whether there are no operations.
func (o *Overlay) Empty() bool { return len(o.ops) == 0 }

// Has tells whether an operation is laid.
func (o *Overlay) Has(id op.ID) bool {
	_, ok := o.ops[id]
	return ok
}

// Covers tells whether operations name a point.
func (o *Overlay) Covers(id topology.PointID) bool { return o.points[id] != nil }

// Lay adds an operation that is not laid and names points. stored has those that are
// not covered yet; it and x must not change any more.
func (o *Overlay) Lay(id op.ID, at point.Stamp, x *op.Op, stored map[topology.PointID]Stored) {
	point.Changes(x, func(p topology.PointID, c point.Change) bool {
		l := o.points[p]
		if l == nil {
			l = &laid{stored: stored[p]}
			o.points[p] = l
			o.start(l)
		}
		if n := len(l.changes); n == 0 || l.changes[n-1].id != id {
			o.ops[id] = append(o.ops[id], p)
		}
		l.changes = append(l.changes, change{id, at, c})
		o.add(l, &l.changes[len(l.changes)-1])
		o.changed[p] = l
		return true
	})
}

// Lift takes operations out; those that are not laid are passed over.
func (o *Overlay) Lift(ids []op.ID) {
	named := map[topology.PointID]*laid{}
	for _, id := range ids {
		for _, p := range o.ops[id] {
			named[p] = o.points[p]
		}
		delete(o.ops, id)
	}
	for p, l := range named {
		l.changes, l.stale = slices.DeleteFunc(l.changes, func(c change) bool { return !o.Has(c.id) }), true
		o.changed[p] = l
	}
}

// Store tells that the shard stores something else for a point that is covered.
func (o *Overlay) Store(s Stored) {
	l := o.points[s.ID]
	l.stored, l.stale = s, true
	o.changed[s.ID] = l
}

// Fold computes what Show is going to show.
func (o *Overlay) Fold() {
	for _, l := range o.changed {
		if l.stale {
			o.fold(l)
		}
	}
}

// Show lets readers see what has changed and was folded.
func (o *Overlay) Show(find Find) error {
	fresh := map[topology.Seq]*roaring.Bitmap{} // in the place of those that readers may have
	rows := func(number topology.Seq) *roaring.Bitmap {
		if fresh[number] == nil {
			if fresh[number] = roaring.New(); o.hidden[number] != nil {
				fresh[number].Or(o.hidden[number])
			}
		}
		return fresh[number]
	}
	// A row may have passed from one point to another: first all come to light.
	for _, l := range o.changed {
		if l.hides {
			rows(l.number).Remove(l.row)
			l.hides = false
			o.hides--
		}
	}
	for id, l := range o.changed {
		if err := o.show(id, l); err != nil {
			return err
		}
		o.hide(id, l, find, rows)
		if len(l.changes) == 0 {
			delete(o.points, id)
		}
	}
	for number, set := range fresh {
		if o.hidden[number] = set; set.IsEmpty() {
			delete(o.hidden, number)
		}
	}
	clear(o.changed)
	return nil
}

func (o *Overlay) show(id topology.PointID, l *laid) error {
	if l.differs && l.point.Alive {
		return o.shown.Show(&l.point)
	}
	o.shown.Hide(id)
	return nil
}

// hide hides the row of a point that is shown otherwise; rows gives the set of a part.
func (o *Overlay) hide(id topology.PointID, l *laid, find Find, rows func(topology.Seq) *roaring.Bitmap) {
	if !l.differs {
		return
	}
	if l.number, l.row, l.hides = find(id); l.hides {
		rows(l.number).Add(l.row)
		o.hides++
	}
}

// Moved is o for other parts of the shard, which find knows, with the same points.
func (o *Overlay) Moved(find Find) *Overlay {
	next := *o
	next.hidden, next.hides = map[topology.Seq]*roaring.Bitmap{}, 0
	rows := func(number topology.Seq) *roaring.Bitmap {
		if next.hidden[number] == nil {
			next.hidden[number] = roaring.New()
		}
		return next.hidden[number]
	}
	for id, l := range o.points {
		next.hide(id, l, find, rows)
	}
	return &next
}

// Fitted is o for other settings, with the meaning of New; find as for Moved.
func (o *Overlay) Fitted(shown *part.Tail, assumed bool, find Find) (*Overlay, error) {
	next := *o
	next.shown, next.assumed = shown, assumed
	for id, l := range o.points {
		next.fold(l)
		if err := next.show(id, l); err != nil {
			return nil, err
		}
	}
	return next.Moved(find), nil
}

// start and add are the fold, in steps.
func (o *Overlay) start(l *laid) {
	l.point, l.differs, l.stale = l.stored.Point, false, false
	o.trim(&l.point)
}

func (o *Overlay) add(l *laid, c *change) {
	effect := l.point.Apply(c.stamp, c.Change)
	o.trim(&l.point)
	l.differs = l.differs || effect != point.Lost && (l.stored.Is || !l.point.Blank())
}

func (o *Overlay) fold(l *laid) {
	o.start(l)
	for i := range l.changes {
		o.add(l, &l.changes[i])
	}
}

// trim takes out the vectors that the schema does not have, or has of another shape.
func (o *Overlay) trim(p *point.Point) {
	odd := func(v point.Vector) bool {
		f := o.shown.Keyed(v.Name)
		if f == nil {
			return !o.assumed
		}
		return v.Data != nil && f.Fits(v.Value()) != nil
	}
	if slices.ContainsFunc(p.Vectors, odd) {
		p.Vectors = slices.DeleteFunc(slices.Clone(p.Vectors), odd)
	}
}
