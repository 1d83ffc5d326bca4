package shard

import (
	"context"
	"errors"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/optimize"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/vector"
	"github.com/pandodb/pando/services/internal/topology"
)

// derive makes the first artefact that is wanted and not there, those of the largest
// parts first; false: there is none.
func (s *Shard) derive(ctx context.Context) (bool, error) {
	if err := s.store.Err(); err != nil {
		return false, err
	}
	p, w, settings := s.lacking()
	if p == nil {
		return s.strip(settings)
	}
	release, err := s.admit(ctx)
	if err == nil {
		err = s.deriveOne(ctx, p, w, settings)
		release()
	}
	return err == nil, errors.Join(err, p.Release())
}

func (s *Shard) deriveOne(ctx context.Context, p *sealed.Part, w vector.Want, settings query.Settings) error {
	write, err := w.Make(ctx)
	if err != nil {
		return err
	}
	s.work.writing.Lock()
	defer s.work.writing.Unlock()
	a, err := s.segments.Derive(w, write, settings)
	if err != nil {
		return err
	}
	return s.adorn(p.Number, a, settings)
}

// lacking is the part that lacks something, held for the caller, what, and by which
// settings; nil: none does.
func (s *Shard) lacking() (*sealed.Part, vector.Want, query.Settings) {
	s.apply.Lock()
	defer s.apply.Unlock()
	settings := s.apply.settings
	soon := optimize.Merge(settings.Optimizers, s.weights(), wanted(), false)
	var largest *sealed.Part
	var what vector.Want
	for _, p := range s.state.Sealed.List {
		if slices.Contains(soon, p.Number) || s.leaves(p.Number) {
			continue // it is about to be merged, or being merged
		}
		if l := p.Lacks(settings); len(l) > 0 && (largest == nil || p.Rows() > largest.Rows()) {
			largest, what = p, l[0]
		}
	}
	if largest != nil {
		largest.Hold()
	}
	return largest, what, settings
}

// leaves tells whether a part is a source of one that is being made.
func (s *Shard) leaves(n topology.Seq) bool {
	return slices.ContainsFunc(s.apply.jobs, func(j *job) bool {
		return slices.ContainsFunc(j.sources, func(in input) bool { return in.Number == n })
	})
}

// adorn gives a part an artefact, if the part is still there.
func (s *Shard) adorn(number topology.Seq, f sealed.Artefact, settings query.Settings) error {
	a := &s.apply
	a.Lock()
	defer a.Unlock()
	i := slices.IndexFunc(s.state.Sealed.List, func(x *sealed.Part) bool { return x.Number == number })
	if a.closed || i < 0 {
		return f.Close()
	}
	if err := s.store.Err(); err != nil {
		return errors.Join(err, f.Close())
	}
	old := s.state.Sealed.List[i]
	old.Hold()
	next, err := old.Adorned(f, a.settings)
	if err != nil {
		return errors.Join(err, f.Close(), old.Release())
	}
	c := s.begin()
	c.sealed = slices.Clone(s.state.Sealed.List)
	c.sealed[i] = next
	c.manifest.Derive(number, next.Origin().Artefacts)
	a.batch, a.change = s.store.NewBatch(), c
	if err := s.commit(); err != nil {
		return errors.Join(s.giveUp(err), next.Release())
	}
	return next.Release()
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
		c := s.begin()
		c.sealed = slices.Clone(s.state.Sealed.List)
		c.sealed[i] = next
		c.manifest.Derive(p.Number, next.Origin().Artefacts)
		a.batch, a.change = s.store.NewBatch(), c
		if err := s.commit(); err != nil {
			return false, s.giveUp(err)
		}
		return true, nil
	}
	return false, nil
}
