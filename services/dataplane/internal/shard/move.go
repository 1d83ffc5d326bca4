package shard

import (
	"context"
	"errors"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/job"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
)

// move opens the files of a part anew where the settings want them elsewhere than they
// are: in memory, or left on the disk; false: there is none. Until it ends the files are
// there twice, which is no more than a part more.
func (s *Shard) move(ctx context.Context, settings query.Settings) (bool, error) {
	p := s.misplaced(settings)
	if p == nil {
		return false, nil
	}
	_, release, err := s.opts.Background.Take(ctx, 1)
	if err == nil {
		err = s.moveOne(p, settings)
		release()
	}
	return err == nil, errors.Join(err, p.Release())
}

func (s *Shard) moveOne(p *sealed.Part, settings query.Settings) error {
	next, err := s.segments.Moved(p, settings)
	if err != nil {
		return err
	}
	return errors.Join(s.replace(next), next.Release())
}

// misplaced is a part with a file elsewhere than it should be, held for the caller;
// nil: there is none. One that is going to be merged stays as it is, since a job reads it.
func (s *Shard) misplaced(settings query.Settings) *sealed.Part {
	s.apply.Lock()
	defer s.apply.Unlock()
	for _, p := range s.state.Sealed.List {
		if p.Misplaced(settings) && !s.merging(p) {
			p.Hold()
			return p
		}
	}
	return nil
}

// merging tells whether a job has p for a source.
func (s *Shard) merging(p *sealed.Part) bool {
	return slices.ContainsFunc(s.apply.jobs, func(j *job.Job) bool {
		return slices.ContainsFunc(j.Sources, func(in job.Input) bool { return in.Number == p.Number })
	})
}

// replace shows next in the place of the part of its number, if that is still there.
// Nothing changes on the disk.
func (s *Shard) replace(next *sealed.Part) error {
	a, st := &s.apply, &s.state
	a.Lock()
	defer a.Unlock()
	i := st.Sealed.Index(next.Number)
	if a.closed || i < 0 || s.merging(next) {
		return nil
	}
	set, err := next.Indexed(a.settings.Fields)
	if err != nil {
		return err
	}
	if next, err = next.WithIndexes(set).Fitted(a.settings.Schema); err != nil {
		return err
	}
	c := s.exchange(i, next)
	st.Lock()
	defer st.Unlock()
	return c.perform(s)
}
