package shard

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// batchBytes is about how much of the log goes into one atomic step.
const batchBytes = 4 << 20

// staged is a point that the current step changes.
type staged struct {
	point.Point
	stored bool         // it was stored before
	old    point.Digest // its contribution then
	touch  bool         // changed in this step
	gone   bool         // forgotten in this step
	buried bool         // gone, but sealed parts have rows of it
	// Where it was before: in the tail, among the dead, or in row of from.
	inTail, inDead bool
	from           *sealed.Part
	row            uint32
}

// Apply applies committed entries in the order of the log (W7, P5). Entries at
// or below the applied position are passed over. What is applied together with
// the position is one atomic step of the store: a crash leaves the fold of a
// prefix. Errors: ErrGap, ErrNoSpace, ErrFailed, ErrCorrupt (stored bytes or an
// entry that cannot be read). After an error Applied says how far it came.
func (s *Shard) Apply(entries []op.Entry) error {
	return s.alone(func() error { return s.applyAll(entries) })
}

// alone changes the state, or what is laid over it, and nobody else does. A disk that
// cannot answer fails this replica, not the process.
func (s *Shard) alone(change func() error) error {
	a := &s.apply
	a.Lock()
	defer a.Unlock()
	if a.closed {
		return ErrClosed
	}
	var err error
	if fault := vfs.Guard(func() { err = change() }); fault != nil {
		return s.giveUp(s.store.Fail(fault))
	}
	return err
}

func (s *Shard) applyAll(entries []op.Entry) error {
	a := &s.apply
	size := 0
	for i := range entries {
		e := &entries[i]
		if e.Seq <= a.meta.Seq {
			continue
		}
		if err := s.store.Err(); err != nil {
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
	s.opts.Background.Wrote()
	return nil
}

// giveUp drops the step that could not be completed.
func (s *Shard) giveUp(err error) error {
	a := &s.apply
	if a.batch != nil {
		err = errors.Join(err, a.batch.Close())
	}
	clear(a.staged)
	a.order, a.batch, a.change = a.order[:0], nil, nil
	s.state.RLock()
	a.meta = s.state.Meta
	s.state.RUnlock()
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
	// of what is stored, a Config indexes what is shown, the others change where it
	// is: each a step of its own.
	alone := o.Kind.Alone()
	if alone {
		if err := s.commit(); err != nil {
			return err
		}
	}
	if a.batch == nil {
		a.batch = s.store.NewBatch()
	}
	if e.ID.Request != [16]byte{} {
		a.key, a.val = store.DedupKey(a.key, e.ID), store.DedupValue(a.val, e.Seq, e.HLC)
		if err := a.batch.Set(a.key, a.val, nil); err != nil {
			return err
		}
		a.key = store.AgeKey(a.key, e.HLC, e.ID)
		if err := a.batch.Set(a.key, nil, nil); err != nil {
			return err
		}
	}
	switch o.Kind {
	case op.Config:
		a.meta.Revision, a.meta.Settings = o.Revision, slices.Clone(o.Settings)
		err = s.stageConfig()
	case op.Floor:
		err = s.stageFloor(o.Floor)
	case op.Mark:
		a.meta.Mark = point.Mark{Seq: e.Seq, Digest: a.meta.Digest}
	case op.Seal:
		err = s.stageSeal(e.Seq)
	case op.Merge:
		err = s.stageMerge(e.Seq, o.Parts)
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
		s.trim(p)
		p.touch = p.touch || (effect != point.Lost && (p.stored || !p.Blank()))
		if effect != point.Whole && s.opts.Events.Overtaken != nil {
			s.opts.Events.Overtaken(e, id, effect, p.Version())
		}
		if err = s.fits(c); err != nil {
			err = fmt.Errorf("%w: entry %d: %w", ErrCorrupt, e.Seq, err)
		}
		return err == nil
	})
	return err
}

// fits checks vectors against the schema. Names that it does not have are not shown.
func (s *Shard) fits(c point.Change) error {
	for _, v := range c.Vectors {
		if f := s.state.Tail.Keyed(v.Name); f != nil {
			if err := f.Fits(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// load1 brings a point into the current step. Only this goroutine changes what the
// state shows, so it reads it without the lock.
func (s *Shard) load1(id topology.PointID) (*staged, error) {
	a := &s.apply
	if p, ok := a.staged[id]; ok {
		return p, nil
	}
	p, err := s.stored(id)
	if err != nil {
		return nil, err
	}
	a.staged[id] = p
	a.order = append(a.order, p)
	return p, nil
}

// stored reads a point as the last step left it.
func (s *Shard) stored(id topology.PointID) (*staged, error) {
	a := &s.apply
	p := &staged{Point: point.Point{ID: id}}
	var err error
	if _, p.inTail = s.state.Tail.Find(id); p.inTail {
		a.key = store.TailKey(a.key, a.manifest.Active, id)
		err = s.loadKey(p)
	} else if buried, ok := a.dead[id]; ok {
		if p.inDead = true; !buried {
			a.key = store.IDKey(a.key, store.DeadSpace, id)
			err = s.loadKey(p)
		}
	} else if p.from, p.row = s.state.Sealed.Find(id); p.from != nil {
		err = s.loadSealed(p)
	}
	if err != nil {
		return nil, err
	}
	s.trim(p)
	return p, nil
}

// loadKey reads a point that is stored under a.key.
func (s *Shard) loadKey(p *staged) error {
	v, closer, err := s.store.Get(s.apply.key)
	if err != nil {
		return s.store.Classify(err)
	}
	// Kept until the step ends, longer than the store lends it.
	v = slices.Clone(v)
	if err := closer.Close(); err != nil {
		return s.store.Classify(err)
	}
	return s.loaded(p, v)
}

func (s *Shard) loadSealed(p *staged) error {
	if gen, waits := p.from.Generation(); waits {
		s.apply.key = store.TailKey(s.apply.key, gen, p.ID)
		return s.loadKey(p)
	}
	if err := p.from.Stored(p.row, &p.Point); err != nil {
		return err
	}
	p.stored = true
	s.apply.val = p.Point.AppendBinary(s.apply.val[:0])
	p.old, s.apply.hash = p.Point.Digest(s.apply.val, s.apply.hash)
	p.Written = nil
	return nil
}

func (s *Shard) loaded(p *staged, v []byte) (err error) {
	id := p.ID
	if p.Point, err = point.Decode(id, v); err != nil {
		return store.Damaged(err)
	}
	p.stored = true
	p.old, s.apply.hash = point.DigestOf(id, v, s.apply.hash)
	return nil
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
	a.val = a.meta.AppendBinary(a.val)
	if err := a.batch.Set(store.MetaKey(), a.val, nil); err != nil {
		return err
	}
	if a.change != nil {
		if err := a.batch.Set(store.ManifestKey(), a.change.manifest.AppendBinary(nil), nil); err != nil {
			return err
		}
	}
	if err := s.store.Commit(a.batch); err != nil {
		return err
	}
	a.batch = nil
	return s.show()
}

// put adds a changed point to the batch and the digest.
func (s *Shard) put(p *staged) error {
	a := &s.apply
	if p.stored {
		a.meta.Digest = a.meta.Digest.Sub(p.old)
	}
	a.key = store.IDKey(a.key, store.OpenSpace, p.ID)
	var err error
	switch {
	case p.gone, p.Settled():
		if p.stored {
			err = a.batch.Delete(a.key, nil)
		}
	default:
		err = a.batch.Set(a.key, nil, nil)
	}
	if err != nil {
		return err
	}
	if p.gone {
		return s.bury(p)
	}
	a.val = p.AppendBinary(a.val[:0])
	var d point.Digest
	d, a.hash = point.DigestOf(p.ID, a.val, a.hash)
	a.meta.Digest = a.meta.Digest.Add(d)
	stays, leaves := store.TailKey(a.key, a.manifest.Active, p.ID), store.IDKey(nil, store.DeadSpace, p.ID)
	left := p.inDead
	if !p.Alive {
		stays, leaves, left = leaves, stays, p.inTail
	}
	if left {
		err = a.batch.Delete(leaves, nil)
	}
	return errors.Join(err, a.batch.Set(stays, a.val, nil))
}

// trim takes out what a point has of vectors that were dropped. It follows from the
// log alone.
func (s *Shard) trim(p *staged) {
	dropped := func(v point.Vector) bool { return s.state.Tail.Keyed(v.Name) == nil }
	if !s.apply.settings.Assumed && slices.ContainsFunc(p.Vectors, dropped) {
		p.Vectors = slices.DeleteFunc(slices.Clone(p.Vectors), dropped)
	}
}

// bury forgets a point. What sealed parts have of it must not come up again.
func (s *Shard) bury(p *staged) error {
	a := &s.apply
	a.key = store.IDKey(a.key, store.DeadSpace, p.ID)
	if p.buried = s.state.Sealed.Contains(p.ID); p.buried {
		return a.batch.Set(a.key, nil, nil)
	}
	return a.batch.Delete(a.key, nil)
}

// show makes the stored step visible, all of it at one instant.
func (s *Shard) show() error {
	a, st := &s.apply, &s.state
	laid, err := s.relay()
	if err != nil {
		return s.store.Fail(err)
	}
	st.Lock()
	defer st.Unlock()
	for _, p := range a.order {
		if !p.touch {
			continue
		}
		if p.from != nil {
			p.from.Dead.Kill(p.row, uint64(a.meta.Seq))
		}
		switch {
		case p.gone:
			if delete(a.dead, p.ID); p.buried {
				a.dead[p.ID] = true
			}
		case p.Alive:
			delete(a.dead, p.ID)
			if err := st.Tail.Show(&p.Point); err != nil {
				return s.store.Fail(err)
			}
		default:
			st.Tail.Hide(p.ID)
			a.dead[p.ID] = false
		}
		st.Points += p.shown() - p.wasShown()
	}
	err = a.change.perform(s)
	if laid != nil {
		st.Overlay = laid
		err = errors.Join(err, laid.Show(where(st.Tail, st.Sealed.List)))
	}
	a.change = nil
	st.Meta = a.meta
	clear(a.staged)
	clear(a.order)
	a.order = a.order[:0]
	return err
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// shown and wasShown count the point in what reads see, after the step and before.
func (p *staged) shown() int    { return count(p.Alive && !p.gone) }
func (p *staged) wasShown() int { return count(p.inTail || p.from != nil) }

// stageFloor folds away what is below floor (D2): stamps, tombstones, dedup.
func (s *Shard) stageFloor(floor op.HLC) error {
	a := &s.apply
	err := s.store.Scan([]byte{store.OpenSpace}, []byte{store.OpenSpace + 1}, func(key, _ []byte) error {
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
	late := op.ID{}.Remembered(floor, op.RetryWindowMS)
	return s.store.Scan([]byte{store.AgeSpace}, []byte{store.AgeSpace + 1}, func(key, _ []byte) error {
		h, id, err := store.DecodeAgeKey(key)
		if err != nil {
			return err
		}
		if h >= late {
			return store.ErrEnough
		}
		if h >= id.Remembered(floor, op.RetryWindowMS) {
			return nil
		}
		a.key = store.DedupKey(a.key, id)
		if !id.IsLast() {
			// The parts of an operation that lost its last one come again with
			// later stamps: what counts is the stamp in the entry.
			_, at, _, err := s.store.Seen(a.key)
			if err != nil || at > h {
				return errors.Join(err, a.batch.Delete(key, nil))
			}
		}
		return errors.Join(a.batch.Delete(key, nil), a.batch.Delete(a.key, nil))
	})
}
