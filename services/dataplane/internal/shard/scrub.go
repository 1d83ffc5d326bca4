package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/scrub"
	"github.com/pandodb/pando/services/internal/vfs"
)

// scrubber reads the files of sealed parts again.
func (s *Shard) scrubber() *scrub.Scrubber {
	return scrub.New(scrub.Options{FS: s.opts.FS, Dir: s.segments.Dir, Every: s.opts.Background.ScrubEvery(), Files: s.files,
		Read: func(ctx context.Context, n int) error {
			if s.opts.Events.Scrubbed != nil {
				s.opts.Events.Scrubbed(n)
			}
			return s.opts.Background.Scrub(ctx, n)
		},
		Lost: func(f segment.File, reason error) (err error) {
			if fault := vfs.Guard(func() { err = s.lose(f, reason) }); fault != nil {
				err = fault
			}
			return err
		}})
}

// Scrubbed is when the file of a sealed part was read, and held against its checksum,
// that was longest ago; zero: there are none, or nothing is read again.
func (s *Shard) Scrubbed() time.Time { return s.scrub.Oldest() }

// files are those of sealed parts but for artefacts that are being made again.
func (s *Shard) files() []segment.File {
	s.apply.Lock()
	defer s.apply.Unlock()
	lost := s.state.Sealed.Lost()
	return slices.DeleteFunc(s.apply.manifest.Files(), func(f segment.File) bool { return lost[f.FileName()] })
}

// lose takes note that a file is lost: an artefact is made again, anything else condemns
// the replica.
func (s *Shard) lose(f segment.File, reason error) error {
	a, st := &s.apply, &s.state
	a.Lock()
	defer a.Unlock()
	if a.closed || !slices.Contains(a.manifest.Files(), f) {
		return nil
	}
	if f.Kind.InSegment() {
		return fmt.Errorf("%w: %w", ErrCorrupt, reason)
	}
	if s.opts.Events.Lost != nil {
		s.opts.Events.Lost(s.segments.Path(f), reason)
	}
	for i, p := range st.Sealed.List {
		next, err := p.Losing(f, a.settings)
		if err != nil {
			return err
		}
		if next == nil {
			continue
		}
		c := s.exchange(i, next)
		st.Lock()
		err = c.perform(s)
		st.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// mend makes the first artefact again that was lost; false: there is none.
func (s *Shard) mend(ctx context.Context) (bool, error) {
	s.apply.Lock()
	settings := s.apply.settings
	for _, p := range s.state.Sealed.List {
		if lost := p.Lost(settings); len(lost) > 0 {
			p.Hold()
			s.apply.Unlock()
			err := s.deriveOne(ctx, p, lost[0], settings)
			return err == nil, errors.Join(err, p.Release())
		}
	}
	s.apply.Unlock()
	return false, nil
}
