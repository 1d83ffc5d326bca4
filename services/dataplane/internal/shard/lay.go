package shard

import (
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/shard/overlay"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/topology"
)

// Lay shows operations over the stored points until they are lifted (P4), all of them at
// one instant or, after an error, none; of the entries the term and seq do not count.
// Reads see what they would if these had been applied; what is stored, its digest and
// its files stay as they are, and closing the shard forgets them. An operation that is
// laid already, by its id, is passed over, and so is one that names no point. The bodies
// must not be changed any more. Errors: ErrClosed, ErrCorrupt (a body or stored bytes
// that cannot be read, or a vector that the schema does not allow), ErrFailed.
func (s *Shard) Lay(entries []op.Entry) error {
	return s.alone(func() error { return s.lay(entries) })
}

// Lift takes operations out again, all of them at one instant, by their ids; one that is
// not laid is passed over. Errors: ErrClosed, ErrFailed.
func (s *Shard) Lift(ids []op.ID) error {
	return s.alone(func() error {
		o := s.state.Overlay
		if o == nil {
			return nil
		}
		o.Lift(ids)
		return s.showLaid(o)
	})
}

func (s *Shard) lay(entries []op.Entry) error {
	o := s.state.Overlay
	if o == nil {
		t, err := s.newTail(s.apply.settings)
		if err != nil {
			return err
		}
		o = overlay.New(t, s.apply.settings.Assumed)
	}
	ops := make([]op.Op, len(entries))
	under := map[topology.PointID]overlay.Stored{}
	for i := range entries {
		var err error
		if ops[i], err = s.layable(entries[i].Body); err == nil && !o.Has(entries[i].ID) {
			err = s.under(o, &ops[i], under)
		}
		if err != nil {
			return fmt.Errorf("operation %x-%d-%d: %w", entries[i].ID.Request, entries[i].ID.Index, entries[i].ID.Part, err)
		}
	}
	for i := range entries {
		if e := &entries[i]; !o.Has(e.ID) {
			o.Lay(e.ID, point.Stamp{HLC: e.HLC, Origin: e.Origin}, &ops[i], under)
		}
	}
	return s.showLaid(o)
}

// layable reads a body.
func (s *Shard) layable(body []byte) (op.Op, error) {
	o, err := op.Decode(body)
	if err == nil {
		point.Changes(&o, func(_ topology.PointID, c point.Change) bool {
			err = s.fits(c)
			return err == nil
		})
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return o, err
}

// under reads the points that an operation names and that are not covered.
func (s *Shard) under(o *overlay.Overlay, x *op.Op, points map[topology.PointID]overlay.Stored) (err error) {
	point.Changes(x, func(id topology.PointID, _ point.Change) bool {
		if _, read := points[id]; read || o.Covers(id) {
			return true
		}
		var p *staged
		if p, err = s.stored(id); err == nil {
			points[id], err = p.lasting()
		}
		return err == nil
	})
	return err
}

// lasting is the point in memory of its own: parts that are merged give theirs back.
func (p *staged) lasting() (overlay.Stored, error) {
	if !p.stored && !p.touch || p.gone {
		return overlay.Stored{Point: point.Point{ID: p.ID}}, nil
	}
	own, err := point.Decode(p.ID, p.AppendBinary(nil))
	if err != nil {
		err = store.Damaged(err)
	}
	return overlay.Stored{Point: own, Is: true}, err
}

// showLaid lets reads see o as it is now.
func (s *Shard) showLaid(o *overlay.Overlay) error {
	o.Fold()
	st := &s.state
	st.Lock()
	defer st.Unlock()
	if err := o.Show(where(st.Tail, st.Sealed.List)); err != nil {
		return s.store.Fail(err)
	}
	if st.Overlay = o; o.Empty() {
		st.Overlay = nil
	}
	return nil
}

// relay is the overlay as it is to be after the step that is about to be shown; nil:
// there is none.
func (s *Shard) relay() (*overlay.Overlay, error) {
	o, c := s.state.Overlay, s.apply.change
	if o == nil {
		return nil, nil
	}
	for _, p := range s.apply.order {
		if p.touch && o.Covers(p.ID) {
			under, err := p.lasting()
			if err != nil {
				return nil, err
			}
			o.Store(under)
		}
	}
	o.Fold()
	if c == nil { // a step either changes points or what parts there are
		return o, nil
	}
	tail, list := s.state.Tail, s.state.Sealed.List
	if c.tail != nil {
		tail = c.tail
	}
	if c.sealed != nil {
		list = c.sealed
	}
	if c.laid != nil {
		return o.Fitted(c.laid, c.settings.Assumed, where(tail, list))
	}
	return o.Moved(where(tail, list)), nil
}

// where finds living rows in parts.
func where(t *part.Tail, l sealed.List) overlay.Find {
	return func(id topology.PointID) (topology.Seq, uint32, bool) {
		if row, ok := t.Find(id); ok {
			return 0, row, true
		}
		p, row := l.Find(id)
		if p == nil {
			return 0, 0, false
		}
		return p.Number, row, true
	}
}
