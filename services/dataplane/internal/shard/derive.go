package shard

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/job"
	"github.com/pandodb/pando/services/dataplane/internal/shard/manifest"
	"github.com/pandodb/pando/services/dataplane/internal/shard/optimize"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/vector"
	"github.com/pandodb/pando/services/internal/topology"
)

// most is the lesser of two numbers of threads, 0: any; below 0: one.
func most(a, b int) int {
	switch {
	case b < 0:
		return 1
	case a <= 0, b > 0 && b < a:
		return b
	}
	return a
}

// derive makes the first artefact that is wanted and not there, those of the largest
// parts first; false: there is none.
func (s *Shard) derive(ctx context.Context, settings query.Settings) (bool, error) {
	if settings.Optimizers.Threads < 0 {
		return false, nil
	}
	p, w := s.lacking(settings)
	if p == nil {
		return s.strip(settings)
	}
	err := s.deriveOne(ctx, p, w, settings)
	return err == nil, errors.Join(err, p.Release())
}

func (s *Shard) deriveOne(ctx context.Context, p *sealed.Part, w vector.Want, settings query.Settings) error {
	write, err := s.artefact(ctx, w, settings)
	if err != nil {
		return err
	}
	s.work.writing.RLock()
	defer s.work.writing.RUnlock()
	a, err := s.segments.Derive(p, w, write, settings)
	if err != nil {
		return err
	}
	return s.adorn(p.Number, a, settings)
}

// artefact computes one within the budget. It gives what writes it.
func (s *Shard) artefact(ctx context.Context, w vector.Want, settings query.Settings) (func(io.Writer) error, error) {
	n, release, err := s.opts.Background.Take(ctx, most(w.Threads, settings.Optimizers.Threads))
	if err != nil {
		return nil, err
	}
	defer release()
	return w.Make(ctx, n)
}

// completeMerge gives what was merged all that it should have, before it takes the place of
// parts that have it: searches would compare every row until then. Whoever had hold of p
// has hold of the result, also with an error.
func (s *Shard) completeMerge(ctx context.Context, j *job.Job, p *sealed.Part, settings query.Settings) (*sealed.Part, error) {
	base := s.base(j)
	if base == nil {
		return s.complete(ctx, p, nil, settings)
	}
	p, err := s.complete(ctx, p, base, settings)
	return p, errors.Join(err, base.Release())
}

// complete takes over what it can of base; nil: there is none.
func (s *Shard) complete(ctx context.Context, p, base *sealed.Part, settings query.Settings) (*sealed.Part, error) {
	for settings.Optimizers.Threads >= 0 {
		lacks := p.Lacks(settings, base)
		if len(lacks) == 0 {
			break
		}
		write, err := s.artefact(ctx, lacks[0], settings)
		if err == nil {
			p, err = s.segments.Adorn(p, lacks[0], write, settings)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// base is the source of a job that has the rows of the first stages, with the artefacts
// that it has by now, held for the caller; nil: there is none.
func (s *Shard) base(j *job.Job) *sealed.Part {
	s.apply.Lock()
	defer s.apply.Unlock()
	for i := range j.Sources {
		if at := s.state.Sealed.Index(j.Sources[i].Number); at >= 0 && j.Sources[i].Stage == manifest.Keep {
			p := s.state.Sealed.List[at]
			p.Hold()
			return p
		}
	}
	return nil
}

// lacking is the part that lacks something, held for the caller, and what.
func (s *Shard) lacking(settings query.Settings) (*sealed.Part, vector.Want) {
	s.apply.Lock()
	defer s.apply.Unlock()
	soon := optimize.Merge(settings.Optimizers, s.weights(), wanted(), false)
	var largest *sealed.Part
	var what vector.Want
	for _, p := range s.state.Sealed.List {
		if slices.Contains(soon, p.Number) {
			continue // it is about to be merged
		}
		if l := p.Lacks(settings, nil); len(l) > 0 && (largest == nil || p.Rows() > largest.Rows()) {
			largest, what = p, l[0]
		}
	}
	if largest != nil {
		largest.Hold()
	}
	return largest, what
}

// adorn gives a part an artefact, if the part is still there.
func (s *Shard) adorn(number topology.Seq, f sealed.Artefact, settings query.Settings) error {
	a := &s.apply
	a.Lock()
	defer a.Unlock()
	i := s.state.Sealed.Index(number)
	if a.closed || i < 0 {
		return f.Close()
	}
	if err := s.store.Err(); err != nil {
		return errors.Join(err, f.Close())
	}
	old := s.state.Sealed.List[i]
	if !old.Takes(&f) {
		return f.Close()
	}
	old.Hold()
	next, err := old.Adorned(f, a.settings)
	if err != nil {
		return errors.Join(err, f.Close(), old.Release())
	}
	return errors.Join(s.dress(i, next), next.Release())
}

// dress shows next in the place of part i, which it is but for its artefacts, and keeps
// those. The applier's lock must be held.
func (s *Shard) dress(i int, next *sealed.Part) error {
	c := s.exchange(i, next)
	c.manifest.Derive(next.Number, next.Origin().Artefacts)
	s.apply.batch, s.apply.change = s.store.NewBatch(), c
	if err := s.commit(); err != nil {
		return s.giveUp(err)
	}
	return nil
}

// strip takes the first artefact off that is not wanted any more; false: there is none.
func (s *Shard) strip(settings query.Settings) (bool, error) {
	a := &s.apply
	a.Lock()
	defer a.Unlock()
	if a.closed || s.store.Err() != nil {
		return false, s.store.Err()
	}
	for i, p := range s.state.Sealed.List {
		next, err := p.Stripped(settings)
		if err != nil {
			return false, err
		}
		if next == nil {
			continue
		}
		err = s.dress(i, next)
		return err == nil, err
	}
	return false, nil
}
