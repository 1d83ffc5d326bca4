package shard

import (
	"errors"
	"fmt"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	fieldindex "github.com/pandodb/pando/services/dataplane/internal/index/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/job"
	"github.com/pandodb/pando/services/dataplane/internal/shard/manifest"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/dataplane/internal/shard/vector"
	"github.com/pandodb/pando/services/internal/topology"
)

// change is what a step does besides changing points. A nil change does nothing.
type change struct {
	manifest manifest.Manifest
	settings query.Settings
	texts    filter.Texts
	jobs     []*job.Job
	trim     bool         // of jobs that are added
	tail     *part.Tail   // nil: it stays
	fields   []part.Field // of the tail; nil: they stay
	sealed   sealed.List  // nil: they stay
	// indexes on payload fields, of the tail and of each sealed part; nil: they stay.
	indexes  []*fieldindex.Set
	laid     *part.Tail // of the overlay, empty; nil: it stays
	unburied []topology.PointID
}

// begin is a change that changes nothing yet.
func (s *Shard) begin() *change {
	a := &s.apply
	c := &change{manifest: a.manifest, settings: a.settings, texts: s.state.Texts, jobs: a.jobs, trim: !a.settings.Assumed}
	c.manifest.Parts = slices.Clone(a.manifest.Parts)
	return c
}

// exchange is a change that shows next in the place of sealed part i.
func (s *Shard) exchange(i int, next *sealed.Part) *change {
	c := s.begin()
	c.sealed = slices.Clone(s.state.Sealed.List)
	c.sealed[i] = next
	return c
}

// perform makes c visible; the lock of the state must be held.
func (c *change) perform(s *Shard) error {
	if c == nil {
		return nil
	}
	a, st := &s.apply, &s.state
	a.manifest, a.settings, a.jobs = c.manifest, c.settings, c.jobs
	st.Settings, st.Texts = c.settings, c.texts
	if c.fields != nil {
		st.Tail.SetFields(c.fields)
	}
	if c.indexes != nil {
		st.Tail.SetIndexes(c.indexes[0])
		for i, p := range c.sealed {
			c.sealed[i] = p.WithIndexes(c.indexes[i+1])
		}
	}
	for _, id := range c.unburied {
		delete(a.dead, id)
	}
	if c.tail != nil {
		st.Tail = c.tail
	}
	var err error
	if c.sealed != nil {
		old := st.Sealed
		st.Sealed = sealed.NewParts(c.sealed)
		err = old.Release()
	}
	s.wake()
	return err
}

// stageConfig brings a.meta's settings into effect. The indexes are filled off the
// readers' lock.
func (s *Shard) stageConfig() error {
	a := &s.apply
	c := s.begin()
	var err error
	if c.settings, err = s.opts.settings(a.meta.Settings); err != nil {
		return fmt.Errorf("%w: %s: settings: %w", ErrCorrupt, s.opts.Dir, err)
	}
	if err = errors.Join(s.stageVectors(c), s.stageIndexes(c)); err != nil {
		return fmt.Errorf("%w: %s: settings: %w", ErrCorrupt, s.opts.Dir, err)
	}
	c.texts = c.indexes[0].Texts()
	if s.state.Overlay != nil {
		if c.laid, err = s.newTail(c.settings); err != nil {
			return err
		}
	}
	a.change = c
	return nil
}

// stageVectors lets all parts have the vectors of c's settings.
func (s *Shard) stageVectors(c *change) (err error) {
	c.sealed = slices.Clone(s.state.Sealed.List)
	for i, p := range c.sealed {
		if c.sealed[i], err = p.Fitted(c.settings.Schema); err != nil {
			return err
		}
	}
	c.fields, err = part.Fit(s.state.Tail.Fields(), c.settings.Schema, vector.NewStore)
	return err
}

// stageIndexes makes the indexes on payload fields that c's settings ask for.
func (s *Shard) stageIndexes(c *change) error {
	set, err := s.state.Tail.Indexed(c.settings.Fields)
	c.indexes = append(c.indexes, set)
	for _, p := range s.state.Sealed.List {
		if err != nil {
			break
		}
		set, err = p.Indexed(c.settings.Fields)
		c.indexes = append(c.indexes, set)
	}
	return err
}

// stageSeal ends the tail. One without points goes on.
func (s *Shard) stageSeal(seq topology.Seq) error {
	a, st := &s.apply, &s.state
	if st.Tail.Points() == 0 {
		return nil
	}
	c := s.begin()
	tail, err := s.newTail(c.settings)
	if err != nil {
		return err
	}
	p := sealed.Waiting(st.Tail.Seal(seq), a.manifest.Active)
	c.tail, c.sealed = tail, append(slices.Clone(st.Sealed.List), p)
	c.manifest.Active = seq
	c.add(&job.Job{Number: seq, Sources: []job.Input{job.Of(p)}})
	a.change = c
	return nil
}

// stageMerge joins parts. Where one of them is not there any more, since another
// merge was under way, nothing happens, at all replicas alike. One that has not
// been made yet is not going to be: the merge takes its sources.
func (s *Shard) stageMerge(seq topology.Seq, numbers []topology.Seq) error {
	c := s.begin()
	var parts []*job.Job
	for _, n := range numbers {
		i := slices.IndexFunc(c.manifest.Parts, func(e manifest.Entry) bool { return e.Number == n })
		if i < 0 {
			return nil
		}
		if len(c.manifest.Parts[i].Sources) == 0 {
			p := s.state.Sealed.Number(n)
			parts = append(parts, &job.Job{Number: n, Earlier: p.Stages().Earlier, Sources: []job.Input{{Part: p, Gone: roaring.New(), Stage: manifest.Keep}}})
		} else {
			j := slices.IndexFunc(c.jobs, func(j *job.Job) bool { return j.Number == n })
			parts = append(parts, c.jobs[j])
			c.jobs = slices.Delete(slices.Clone(c.jobs), j, j+1)
		}
		c.manifest.Parts = slices.Delete(c.manifest.Parts, i, i+1)
	}
	if len(parts) > 0 {
		c.add(job.Merge(seq, parts))
		s.apply.change = c
	}
	return nil
}

// add puts a part on record that is to be made.
func (c *change) add(j *job.Job) {
	e := manifest.Entry{Number: j.Number, Earlier: j.Earlier}
	for _, src := range j.Sources {
		e.Sources = append(e.Sources, src.Source())
	}
	c.manifest.Parts = append(c.manifest.Parts, e)
	j.Schema, j.Trim = c.settings.Schema, c.trim
	c.jobs = append(slices.Clip(c.jobs), j)
}

// install puts a segment that was made in the place of the job's sources, if that is
// still wanted. settings are those that it was opened with.
func (s *Shard) install(j *job.Job, made *sealed.Part, settings query.Settings) error {
	a, st := &s.apply, &s.state
	a.Lock()
	defer a.Unlock()
	if a.closed || !slices.Contains(a.jobs, j) {
		return nil
	}
	if err := s.store.Err(); err != nil {
		return err
	}
	c := s.begin()
	c.jobs = slices.DeleteFunc(slices.Clone(a.jobs), func(x *job.Job) bool { return x == j })
	i := slices.IndexFunc(c.manifest.Parts, func(e manifest.Entry) bool { return e.Number == j.Number })
	c.sealed = slices.DeleteFunc(slices.Clone(st.Sealed.List), func(p *sealed.Part) bool {
		return slices.ContainsFunc(j.Sources, func(in job.Input) bool { return in.Number == p.Number })
	})
	if made == nil {
		c.manifest.Parts = slices.Delete(c.manifest.Parts, i, i+1)
	} else {
		if !slices.Equal(c.settings.Fields, settings.Fields) { // they have changed since it was opened
			set, err := made.Indexed(c.settings.Fields)
			if err != nil {
				return err
			}
			made = made.WithIndexes(set)
		}
		made, err := made.Fitted(c.settings.Schema)
		if err != nil {
			return err
		}
		c.manifest.Parts[i] = manifest.Entry{Number: j.Number, Origin: made.Origin()}
		at := slices.IndexFunc(c.sealed, func(p *sealed.Part) bool { return p.Number > j.Number })
		if at < 0 {
			at = len(c.sealed)
		}
		c.sealed = slices.Insert(c.sealed, at, made)
		j.Mourn(made)
	}
	a.batch = s.store.NewBatch()
	a.change = c
	err := s.forget(j, c)
	if err == nil {
		err = s.commit()
	}
	if err != nil {
		return s.giveUp(err)
	}
	return nil
}

// forget deletes the generations that j was made of, and what keeps rows buried that
// no part has any more.
func (s *Shard) forget(j *job.Job, c *change) error {
	a := &s.apply
	var err error
	for _, in := range j.Sources {
		if gen, waits := in.Generation(); waits {
			err = errors.Join(err, a.batch.DeleteRange(store.Generation(nil, gen), store.Generation(nil, gen+1), nil))
		}
	}
	for id, buried := range a.dead {
		if buried && !c.sealed.Contains(id) {
			a.key = store.IDKey(a.key, store.DeadSpace, id)
			err = errors.Join(err, a.batch.Delete(a.key, nil))
			c.unburied = append(c.unburied, id)
		}
	}
	return err
}

// newTail makes an empty tail with the vectors and indexes of the settings.
func (s *Shard) newTail(settings query.Settings) (*part.Tail, error) {
	t := part.NewTail()
	fields, err := part.Fit(nil, settings.Schema, vector.NewStore)
	if err != nil {
		return nil, err
	}
	t.SetFields(fields)
	set, err := t.Indexed(settings.Fields)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: settings: %w", ErrCorrupt, s.opts.Dir, err)
	}
	t.SetIndexes(set)
	return t, nil
}
