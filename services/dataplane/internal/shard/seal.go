package shard

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	fieldindex "github.com/pandodb/pando/services/dataplane/internal/index/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/dataplane/internal/shard/vector"
	"github.com/pandodb/pando/services/internal/topology"
)

// change is what a step does besides changing points. A nil change does nothing.
type change struct {
	manifest manifest
	settings query.Settings
	texts    filter.Texts
	jobs     []*job
	tail     *part.Tail // nil: it stays
	sealed   []*sealed  // nil: they stay
	// indexes on payload fields, of the tail and of each sealed part; nil: they stay.
	indexes  []*fieldindex.Set
	unburied []topology.PointID
}

// begin is a change that changes nothing yet.
func (s *Shard) begin() *change {
	a := &s.apply
	c := &change{manifest: a.manifest, settings: a.settings, texts: s.state.texts, jobs: a.jobs}
	c.manifest.parts = slices.Clone(a.manifest.parts)
	return c
}

// perform makes c visible; the lock of the state must be held.
func (c *change) perform(s *Shard) error {
	if c == nil {
		return nil
	}
	a, st := &s.apply, &s.state
	a.manifest, a.settings, a.jobs = c.manifest, c.settings, c.jobs
	st.settings, st.texts = c.settings, c.texts
	if c.indexes != nil {
		st.tail.SetIndexes(c.indexes[0])
		c.sealed = make([]*sealed, len(st.sealed.list))
		for i, p := range st.sealed.list {
			next := *p
			next.Part = p.With(nil, c.indexes[i+1])
			c.sealed[i] = &next
		}
	}
	for _, id := range c.unburied {
		delete(a.dead, id)
	}
	if c.tail != nil {
		st.tail = c.tail
	}
	var err error
	if c.sealed != nil {
		old := st.sealed
		st.sealed = newParts(c.sealed)
		err = old.release()
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
	if c.settings, err = s.opts.settings(a.meta.settings); err != nil {
		return fmt.Errorf("%w: %s: settings: %w", ErrCorrupt, s.opts.Dir, err)
	}
	if err = s.stageIndexes(c); err != nil {
		return fmt.Errorf("%w: %s: settings: %w", ErrCorrupt, s.opts.Dir, err)
	}
	c.texts = c.indexes[0].Texts()
	a.change = c
	return nil
}

// stageIndexes makes the indexes on payload fields that c's settings ask for.
func (s *Shard) stageIndexes(c *change) error {
	set, err := s.state.tail.Indexed(c.settings.Fields)
	c.indexes = append(c.indexes, set)
	for _, p := range s.state.sealed.list {
		if err != nil {
			break
		}
		if p.seg != nil {
			set, err = p.indexed(c.settings.Fields)
		} else {
			set, err = p.Indexed(c.settings.Fields)
		}
		c.indexes = append(c.indexes, set)
	}
	return err
}

// stageSeal ends the tail. One without points goes on.
func (s *Shard) stageSeal(seq topology.Seq) error {
	a, st := &s.apply, &s.state
	if st.tail.Points() == 0 {
		return nil
	}
	c := s.begin()
	tail, err := s.newTail(c.settings.Fields)
	if err != nil {
		return err
	}
	p := &sealed{Part: st.tail.Seal(seq), gen: a.manifest.active}
	c.tail, c.sealed = tail, append(slices.Clone(st.sealed.list), p)
	c.manifest.active = seq
	c.add(seq, []input{inputOf(p)})
	a.change = c
	return nil
}

// stageMerge joins parts. Where one of them is not there any more, since another
// merge was under way, nothing happens, at all replicas alike. One that has not
// been made yet is not going to be: the merge takes its sources.
func (s *Shard) stageMerge(seq topology.Seq, numbers []topology.Seq) error {
	c := s.begin()
	var in []input
	for _, n := range numbers {
		i := slices.IndexFunc(c.manifest.parts, func(e entry) bool { return e.number == n })
		if i < 0 {
			return nil
		}
		if sources := c.manifest.parts[i].sources; len(sources) == 0 {
			in = append(in, inputOf(s.state.sealed.number(n)))
		} else {
			j := slices.IndexFunc(c.jobs, func(j *job) bool { return j.number == n })
			for _, src := range c.jobs[j].sources {
				in = append(in, inputOf(src.sealed))
			}
			c.jobs = slices.Delete(slices.Clone(c.jobs), j, j+1)
		}
		c.manifest.parts = slices.Delete(c.manifest.parts, i, i+1)
	}
	if len(in) > 0 {
		c.add(seq, in)
		s.apply.change = c
	}
	return nil
}

// add puts a part on record that is to be made.
func (c *change) add(seq topology.Seq, in []input) {
	e := entry{number: seq}
	for _, src := range in {
		e.sources = append(e.sources, src.source())
	}
	c.manifest.parts = append(c.manifest.parts, e)
	c.jobs = append(slices.Clip(c.jobs), &job{number: seq, sources: in})
}

// source is the input as the manifest has it.
func (in *input) source() source {
	s := source{origin: in.origin()}
	if s.segment != nil {
		s.rows = in.dead
		return s
	}
	in.dead.Iterate(func(row uint32) bool {
		s.ids = append(s.ids, in.ID(row))
		return true
	})
	return s
}

// origin is where p's points are, as the manifest has it.
func (p *sealed) origin() origin {
	o := origin{number: p.Number, gen: p.gen}
	for _, a := range p.artefacts {
		o.artefacts = append(o.artefacts, a.artefact)
	}
	if p.seg != nil {
		d := p.seg.Description()
		o.segment = &d
	}
	return o
}

// number finds a part; there must be one.
func (ps *parts) number(n topology.Seq) *sealed {
	return ps.list[slices.IndexFunc(ps.list, func(p *sealed) bool { return p.Number == n })]
}

// install puts a segment that was made in the place of the job's sources, if that is
// still wanted.
func (s *Shard) install(j *job, made *sealed) error {
	a, st := &s.apply, &s.state
	a.Lock()
	defer a.Unlock()
	if a.closed || !slices.Contains(a.jobs, j) {
		return nil
	}
	if err := s.store.err(); err != nil {
		return err
	}
	c := s.begin()
	c.jobs = slices.DeleteFunc(slices.Clone(a.jobs), func(x *job) bool { return x == j })
	i := slices.IndexFunc(c.manifest.parts, func(e entry) bool { return e.number == j.number })
	c.sealed = slices.DeleteFunc(slices.Clone(st.sealed.list), func(p *sealed) bool {
		return slices.ContainsFunc(j.sources, func(in input) bool { return in.Number == p.Number })
	})
	if made == nil {
		c.manifest.parts = slices.Delete(c.manifest.parts, i, i+1)
	} else {
		set, err := made.indexed(c.settings.Fields)
		if err != nil {
			return err
		}
		installed := *made
		installed.Part = made.With(nil, set)
		made = &installed
		c.manifest.parts[i] = entry{number: j.number, origin: made.origin()}
		at := slices.IndexFunc(c.sealed, func(p *sealed) bool { return p.Number > j.number })
		if at < 0 {
			at = len(c.sealed)
		}
		c.sealed = slices.Insert(c.sealed, at, made)
		j.mourn(made)
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

// mourn lets the rows be dead in made that died after the job's entry.
func (j *job) mourn(made *sealed) {
	for _, in := range j.sources {
		in.Dead.Each(func(row uint32, at uint64) {
			if in.dead.Contains(row) {
				return
			}
			if r, ok := made.Find(in.ID(row)); ok {
				made.Dead.Kill(r, at)
			}
		})
	}
}

// forget deletes the generations that j was made of, and what keeps rows buried that
// no part has any more.
func (s *Shard) forget(j *job, c *change) error {
	a := &s.apply
	var err error
	for _, in := range j.sources {
		if in.seg == nil {
			err = errors.Join(err, a.batch.DeleteRange(generation(nil, in.gen), generation(nil, in.gen+1), nil))
		}
	}
	ps := parts{list: c.sealed}
	for id, buried := range a.dead {
		if buried && !ps.contain(id) {
			a.key = idKey(a.key, deadSpace, id)
			err = errors.Join(err, a.batch.Delete(a.key, nil))
			c.unburied = append(c.unburied, id)
		}
	}
	return err
}

// newTail makes an empty tail with such indexes on payload fields.
func (s *Shard) newTail(fields []query.FieldIndex) (*part.Tail, error) {
	t, err := part.NewTail(s.opts.Schema, func(v query.VectorSchema) (part.Store, error) {
		return vector.NewStore(v, s.opts.Index)
	})
	if err != nil {
		return nil, err
	}
	set, err := t.Indexed(fields)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: settings: %w", ErrCorrupt, s.opts.Dir, err)
	}
	t.SetIndexes(set)
	return t, nil
}

// alive counts the living rows of an input.
func (in *input) alive() int {
	return in.Alive() + in.Dead.Len() - int(in.dead.GetCardinality())
}

// dies tells whether an id of the input was dead at the job's entry.
func (in *input) dies(id topology.PointID) bool {
	row, ok := in.Find(id)
	return ok && in.dead.Contains(row)
}
