package shard

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// batchBytes is about how much of the log goes into one atomic step.
const batchBytes = 4 << 20

// coordinatorHead is how much less long the ids that coordinators made are kept
// than those of clients: 2 of the 15 minutes by which floor lags (D2a).
const coordinatorHead = 13 * 60 * 1000

// staged is a point that the current step changes.
type staged struct {
	point.Point
	stored bool         // it was stored before
	old    point.Digest // its contribution then
	touch  bool         // changed in this step
	gone   bool         // forgotten in this step
}

// Apply applies committed entries in the order of the log (W7, P5). Entries at
// or below the applied position are passed over. What is applied together with
// the position is one atomic step of the store: a crash leaves the fold of a
// prefix. Errors: ErrGap, ErrNoSpace, ErrFailed, ErrCorrupt (stored bytes or an
// entry that cannot be read). After an error Applied says how far it came.
func (s *Shard) Apply(entries []op.Entry) error {
	a := &s.apply
	a.Lock()
	defer a.Unlock()
	if a.closed {
		return ErrClosed
	}
	size := 0
	for i := range entries {
		e := &entries[i]
		if e.Seq <= a.meta.Seq {
			continue
		}
		if err := s.store.err(); err != nil {
			return err
		}
		err := s.stage(e)
		if size += len(e.Body); err == nil && size >= batchBytes {
			err, size = s.commit(), 0
		}
		if err != nil {
			return s.giveUp(err)
		}
	}
	if err := s.commit(); err != nil {
		return s.giveUp(err)
	}
	return nil
}

// giveUp drops the step that could not be completed.
func (s *Shard) giveUp(err error) error {
	a := &s.apply
	if a.batch != nil {
		err = errors.Join(err, a.batch.Close())
	}
	clear(a.staged)
	a.order, a.batch, a.indexes = a.order[:0], nil, nil
	s.rows.RLock()
	a.meta = s.rows.config
	s.rows.RUnlock()
	return err
}

// stage folds one entry into the current step.
func (s *Shard) stage(e *op.Entry) error {
	a := &s.apply
	if e.Seq != a.meta.Seq+1 {
		return fmt.Errorf("%w: %s: seq %d after %d", ErrGap, s.opts.Dir, e.Seq, a.meta.Seq)
	}
	o, err := op.Decode(e.Body)
	if err != nil {
		return fmt.Errorf("%w: entry %d: %w", ErrCorrupt, e.Seq, err)
	}
	// A Floor looks at everything stored and forgets points, a Mark takes the digest
	// of what is stored, a Config indexes what is shown: each a step of its own.
	alone := o.Kind == op.Floor || o.Kind == op.Mark || o.Kind == op.Config
	if alone {
		if err := s.commit(); err != nil {
			return err
		}
	}
	if a.batch == nil {
		a.batch = s.store.NewBatch()
	}
	if e.ID.Request != [16]byte{} {
		a.key, a.val = dedupKey(a.key, e.ID), dedupValue(a.val, e.Seq, e.HLC)
		if err := a.batch.Set(a.key, a.val, nil); err != nil {
			return err
		}
		a.key = ageKey(a.key, e.HLC, e.ID)
		if err := a.batch.Set(a.key, nil, nil); err != nil {
			return err
		}
	}
	switch o.Kind {
	case op.Config:
		a.meta.revision, a.meta.settings = o.Revision, slices.Clone(o.Settings)
		a.indexes, err = s.indexed(a.meta.settings)
	case op.Floor:
		err = s.stageFloor(o.Floor)
	case op.Mark:
		a.meta.Mark = point.Mark{Seq: e.Seq, Digest: a.meta.digest}
	default:
		err = s.stageChanges(e, &o)
	}
	a.meta.Term, a.meta.Seq, a.meta.HLC, a.meta.Floor = e.Term, e.Seq, max(a.meta.HLC, e.HLC), max(a.meta.Floor, o.Floor)
	if err == nil && alone {
		err = s.commit()
	}
	return err
}

func (s *Shard) stageChanges(e *op.Entry, o *op.Op) (err error) {
	stamp := point.Stamp{HLC: e.HLC, Origin: e.Origin}
	point.Changes(o, func(id topology.PointID, c point.Change) bool {
		var p *staged
		if p, err = s.load1(id); err != nil {
			return false
		}
		effect := p.Apply(stamp, c)
		p.touch = p.touch || (effect != point.Lost && (p.stored || !p.Blank()))
		if effect != point.Whole && s.opts.Events.Overtaken != nil {
			s.opts.Events.Overtaken(e.ID, id, effect, p.Version())
		}
		if err = s.fits(c); err != nil {
			err = fmt.Errorf("%w: entry %d: %w", ErrCorrupt, e.Seq, err)
		}
		return err == nil
	})
	return err
}

// fits checks vectors against the schema. Names that the schema does not have
// are stored and not shown.
func (s *Shard) fits(c point.Change) error {
	for _, v := range c.Vectors {
		if f := s.rows.field(v.Name); f != nil && len(v.Data) != f.Size {
			return &DimensionError{Name: v.Name, Want: f.Size, Got: len(v.Data)}
		}
	}
	return nil
}

// load1 brings a point into the current step.
func (s *Shard) load1(id topology.PointID) (*staged, error) {
	a := &s.apply
	if p, ok := a.staged[id]; ok {
		return p, nil
	}
	p := &staged{Point: point.Point{ID: id}}
	_, shown := s.rows.ids[id]
	if _, hidden := a.hidden[id]; shown || hidden {
		a.key = idKey(a.key, pointSpace, id)
		v, closer, err := s.store.Get(a.key)
		if err != nil {
			return nil, s.store.classify(err)
		}
		// Kept until the step ends, longer than the store lends it.
		v = slices.Clone(v)
		if err := closer.Close(); err != nil {
			return nil, s.store.classify(err)
		}
		if p.Point, err = point.Decode(id, v); err != nil {
			return nil, storedError(err)
		}
		p.stored = true
		p.old, a.hash = point.DigestOf(id, v, a.hash)
	}
	a.staged[id] = p
	a.order = append(a.order, p)
	return p, nil
}

// commit stores the current step in one batch and then shows it.
func (s *Shard) commit() error {
	a := &s.apply
	if a.batch == nil {
		return nil
	}
	for _, p := range a.order {
		if p.touch {
			if err := s.put(p); err != nil {
				return err
			}
		}
	}
	a.val = a.meta.append(a.val)
	if err := a.batch.Set(metaKey(), a.val, nil); err != nil {
		return err
	}
	if err := s.store.room(a.batch.Len()); err != nil {
		return err
	}
	if err := s.store.Apply(a.batch, pebble.NoSync); err != nil {
		return s.store.fail(err)
	}
	err := a.batch.Close()
	a.batch = nil
	if err != nil {
		return s.store.fail(err)
	}
	return s.show()
}

// put adds a changed point to the batch and the digest.
func (s *Shard) put(p *staged) error {
	a := &s.apply
	if p.stored {
		a.meta.digest = a.meta.digest.Sub(p.old)
	}
	if p.gone {
		a.key = idKey(a.key, pointSpace, p.ID)
		a.val = idKey(a.val, openSpace, p.ID)
		return errors.Join(a.batch.Delete(a.key, nil), a.batch.Delete(a.val, nil))
	}
	a.val = p.AppendBinary(a.val[:0])
	var d point.Digest
	d, a.hash = point.DigestOf(p.ID, a.val, a.hash)
	a.meta.digest = a.meta.digest.Add(d)
	a.key = idKey(a.key, pointSpace, p.ID)
	if err := a.batch.Set(a.key, a.val, nil); err != nil {
		return err
	}
	a.key = idKey(a.key, openSpace, p.ID)
	switch {
	case !p.Settled():
		return a.batch.Set(a.key, nil, nil)
	case p.stored:
		return a.batch.Delete(a.key, nil)
	default:
		return nil
	}
}

// show makes the stored step visible, all of it at one instant.
func (s *Shard) show() error {
	a := &s.apply
	s.rows.Lock()
	defer s.rows.Unlock()
	for _, p := range a.order {
		switch {
		case !p.touch:
		case p.gone:
			delete(a.hidden, p.ID)
		case p.Alive:
			delete(a.hidden, p.ID)
			if err := s.rows.show(&p.Point); err != nil {
				return s.store.fail(err)
			}
		default:
			s.rows.hide(p.ID)
			a.hidden[p.ID] = struct{}{}
		}
	}
	if a.indexes != nil {
		s.rows.indexes, a.indexes = a.indexes, nil
	}
	s.rows.publish(&a.meta)
	clear(a.staged)
	clear(a.order)
	a.order = a.order[:0]
	return nil
}

// stageFloor folds away what is below floor (D2): stamps, tombstones, dedup.
func (s *Shard) stageFloor(floor op.HLC) error {
	a := &s.apply
	err := s.scan(openSpace, func(key []byte) error {
		id, err := topology.DecodePointID(key[1:])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		p, err := s.load1(id)
		if err != nil {
			return err
		}
		p.touch, p.gone = true, p.Fold(floor)
		return nil
	})
	if err != nil {
		return err
	}
	late := floor + op.MakeHLC(coordinatorHead, 0)
	return s.scan(ageSpace, func(key []byte) error {
		h, id, err := decodeAgeKey(key)
		if err != nil {
			return err
		}
		if h >= late {
			return errEnough
		}
		if h >= floor && id.Index&op.ClientIndexBit != 0 {
			return nil
		}
		a.key = dedupKey(a.key, id)
		if !id.IsLast() {
			// The parts of an operation that lost its last one come again with
			// later stamps: what counts is the stamp in the entry.
			_, at, _, err := s.store.seen(a.key)
			if err != nil || at > h {
				return errors.Join(err, a.batch.Delete(key, nil))
			}
		}
		return errors.Join(a.batch.Delete(key, nil), a.batch.Delete(a.key, nil))
	})
}

// errEnough ends a scan early.
var errEnough = errors.New("enough")

// scan calls visit for the keys of a space in order.
func (s *Shard) scan(space byte, visit func(key []byte) error) error {
	it, err := s.store.NewIter(&pebble.IterOptions{LowerBound: []byte{space}, UpperBound: []byte{space + 1}})
	if err != nil {
		return s.store.classify(err)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		err = visit(it.Key())
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return errors.Join(err, s.store.classify(errors.Join(it.Error(), it.Close())))
}
