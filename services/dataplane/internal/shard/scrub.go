package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/internal/vfs"
)

const (
	// scrubTries are the readings, scrubAgain apart, that must find a file damaged: what
	// passes was no damage.
	scrubTries = 3
	scrubAgain = 20 * time.Second
)

// scrub reads the files of sealed parts again, from the disk, each once in a while: what
// is found before it is needed can be made again, or copied from others that are whole.
func (s *Shard) scrub(ctx context.Context) {
	if s.scrubbed == nil {
		return
	}
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		f, due := s.scrubbed.Next(s.files(), time.Now())
		wait.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		if f.Kind == 0 {
			continue
		}
		reason := s.verify(ctx, f)
		if ctx.Err() != nil {
			return
		}
		s.scrubbed.Read(f, time.Now())
		if reason == nil {
			continue
		}
		var err error
		if fault := vfs.Guard(func() { err = s.lose(f, reason) }); fault != nil {
			err = fault
		}
		if err != nil {
			_ = s.store.Fail(err)
			return
		}
	}
}

// Scrubbed is when the file of a sealed part was read, and held against its checksum,
// that was longest ago; zero: there are none, or nothing is read again.
func (s *Shard) Scrubbed() time.Time {
	if s.scrubbed == nil {
		return time.Time{}
	}
	return s.scrubbed.Oldest()
}

// files are those of sealed parts but for artefacts that are being made again.
func (s *Shard) files() []segment.File {
	s.apply.Lock()
	defer s.apply.Unlock()
	lost := s.state.Sealed.Lost()
	return slices.DeleteFunc(s.apply.manifest.Files(), func(f segment.File) bool { return lost[f.FileName()] })
}

// verify tells why a file is lost; nil: it is not, is not there any more, or nobody
// knows at the moment.
func (s *Shard) verify(ctx context.Context, f segment.File) (reason error) {
	for try := range scrubTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(scrubAgain):
			}
		}
		reason = segment.Verify(s.opts.FS, s.segments.Dir, f, func(n int) error {
			if s.opts.Events.Scrubbed != nil {
				s.opts.Events.Scrubbed(n)
			}
			return s.opts.Background.Scrub(ctx, n)
		})
		lost := errors.Is(reason, segment.ErrCorrupt) || errors.Is(reason, segment.ErrUnreadable)
		if !lost || !slices.Contains(s.files(), f) {
			return nil
		}
	}
	return reason
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
	if f.Kind <= segment.KindVectors {
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
