package shard

import (
	"errors"
	"fmt"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/shard/job"
	"github.com/pandodb/pando/services/dataplane/internal/shard/manifest"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/topology"
)

// load brings what is stored into view.
func (s *Shard) load() (err error) {
	a := &s.apply
	if a.meta, err = s.store.Meta(); err != nil {
		return err
	}
	if err := s.store.Record(store.ManifestKey(), func(v []byte) (err error) {
		a.manifest, err = manifest.Decode(v)
		return err
	}); err != nil {
		return err
	}
	if a.settings, err = s.opts.settings(a.meta.Settings); err != nil {
		return fmt.Errorf("%w: %s: settings: %w", ErrCorrupt, s.opts.Dir, err)
	}
	if s.state.Tail, err = s.newTail(a.settings); err != nil {
		return err
	}
	if err := s.opts.FS.MkdirAll(s.segments.Dir, 0o750); err != nil {
		return err
	}
	if err := s.store.Classify(s.segments.Clean(&a.manifest)); err != nil {
		return err
	}
	l := loader{Shard: s}
	defer func() {
		for _, p := range l.opened {
			err = errors.Join(err, p.Release())
		}
	}()
	if err := l.all(); err != nil {
		return err
	}
	if l.digest != a.meta.Digest {
		return fmt.Errorf("%w: %s: digest of the points is %s, was %s when they were written", ErrCorrupt, s.opts.Dir, l.digest, a.meta.Digest)
	}
	s.state.Settings, s.state.Texts = a.settings, s.state.Tail.Indexes().Texts()
	s.state.Points = s.state.Tail.Points()
	for _, p := range s.state.Sealed.List {
		s.state.Points += p.Alive()
	}
	s.state.Meta = a.meta
	return nil
}

// loader opens the parts of a manifest and says which of their rows are dead.
type loader struct {
	*Shard
	digest point.Digest
	list   sealed.List
	opened sealed.List // held until the state has hold of them
}

func (l *loader) all() error {
	a := &l.apply
	for i := range a.manifest.Parts {
		if err := l.entry(&a.manifest.Parts[i]); err != nil {
			return err
		}
	}
	slices.SortFunc(l.list, func(p, q *sealed.Part) int { return int(p.Number) - int(q.Number) })
	l.state.Sealed = sealed.NewParts(l.list)
	digest, err := l.store.ReadAll(a.manifest.Active, l.state.Tail.Show, func(id topology.PointID, buried bool) { a.dead[id] = buried })
	if err != nil {
		return err
	}
	l.digest = l.digest.Add(digest)
	l.shadow()
	return l.mourn()
}

// entry opens what a part is, or is to be made of.
func (l *loader) entry(e *manifest.Entry) error {
	if len(e.Sources) == 0 {
		_, err := l.origin(&e.Origin)
		return err
	}
	j := &job.Job{Number: e.Number, Earlier: e.Earlier, Schema: l.apply.settings.Schema, Trim: !l.apply.settings.Assumed}
	for i := range e.Sources {
		src := &e.Sources[i]
		p, err := l.origin(&src.Origin)
		if err != nil {
			return err
		}
		in := job.Input{Part: p, Gone: src.Rows, Stage: src.Stage}
		if own := append(slices.Clone(p.Stages().Earlier), p.Number); in.Stage == manifest.Keep && !slices.Equal(own, j.Earlier[:min(len(own), len(j.Earlier))]) {
			return fmt.Errorf("%w: %s: manifest: part %d has stages %v, part %d is to have %v", ErrCorrupt, l.opts.Dir, p.Number, own, e.Number, e.Earlier)
		}
		if in.Gone == nil {
			in.Gone = roaring.New()
			for _, id := range src.IDs {
				row, ok := p.Find(id)
				if !ok {
					return fmt.Errorf("%w: %s: manifest: part %d lacks the point %s", ErrCorrupt, l.opts.Dir, p.Number, id)
				}
				in.Gone.Add(row)
			}
		}
		j.Sources = append(j.Sources, in)
	}
	l.apply.jobs = append(l.apply.jobs, j)
	return nil
}

// origin opens a sealed part.
func (l *loader) origin(o *manifest.Origin) (*sealed.Part, error) {
	if o.Segment != nil {
		p, err := l.segments.Open(*o, l.apply.settings)
		if err != nil {
			return nil, err
		}
		l.digest = l.digest.Add(o.Segment.Digest)
		l.opened, l.list = append(l.opened, p), append(l.list, p)
		return p, nil
	}
	t, err := l.newTail(l.apply.settings)
	if err != nil {
		return nil, err
	}
	digest, err := l.store.ReadTail(o.Gen, t.Show)
	if err != nil {
		return nil, err
	}
	l.digest = l.digest.Add(digest)
	p := sealed.Waiting(t.Seal(o.Number), o.Gen)
	l.list = append(l.list, p)
	return p, nil
}

// shadow lets rows be dead of which a later part, the tail or the dead have the id.
func (l *loader) shadow() {
	for i, p := range l.list {
		for _, later := range l.list[i+1:] {
			part.Shadow(p.Part, later.Part)
		}
		kill := func(id topology.PointID) {
			if row, ok := p.Find(id); ok {
				p.Dead.Kill(row, 0)
			}
		}
		l.state.Tail.IDs(kill)
		for id := range l.apply.dead {
			kill(id)
		}
	}
}

// mourn takes the dead rows out of the digest.
func (l *loader) mourn() (err error) {
	for _, p := range l.list {
		p.Dead.Each(func(row uint32, _ uint64) {
			if err != nil {
				return
			}
			x := &staged{Point: point.Point{ID: p.ID(row)}, from: p, row: row}
			if err = l.loadSealed(x); err == nil {
				l.digest = l.digest.Sub(x.old)
			}
		})
	}
	return err
}
