// Package scrub reads the files of a shard's sealed parts again, each once in a while:
// what is found lost before it is needed can be made again, or copied from others that
// are whole.
package scrub

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/internal/vfs"
)

const (
	// tries are the readings, pause apart, that must find a file lost: what passes was no
	// damage.
	tries = 3
	pause = 20 * time.Second
)

// Options of a Scrubber.
type Options struct {
	FS  vfs.FS
	Dir string // of the files
	// Every is how often each file is read; 0: never.
	Every time.Duration
	// Files are those that there should be.
	Files func() []segment.File
	// Read is called after so many bytes were read, and waits until more may be. Errors:
	// ctx's.
	Read func(ctx context.Context, bytes int) error
	// Lost is told of a file that is damaged, missing or cannot be read. An error ends
	// the Scrubber.
	Lost func(f segment.File, reason error) error
}

// Scrubber reads files again. Its methods may be called from several goroutines.
type Scrubber struct {
	o        Options
	schedule schedule
	suspects chan segment.File // cap 1
}

// New makes one.
func New(o Options) *Scrubber {
	return &Scrubber{o: o, schedule: schedule{every: o.Every}, suspects: make(chan segment.File, 1)}
}

// Run reads until ctx ends, which is no error. Errors: Lost's.
func (s *Scrubber) Run(ctx context.Context) error {
	if s.o.Every <= 0 {
		return nil
	}
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		f, due := s.schedule.next(s.o.Files(), time.Now())
		wait.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return nil
		case f = <-s.suspects:
		case <-wait.C:
		}
		if f.Kind == 0 {
			continue
		}
		reason := s.verify(ctx, f)
		if ctx.Err() != nil {
			return nil
		}
		s.schedule.done(f, time.Now())
		if reason == nil {
			continue
		}
		if err := s.o.Lost(f, reason); err != nil {
			return err
		}
	}
}

// Suspect has a file read soon that could not be read by somebody.
func (s *Scrubber) Suspect(f segment.File) {
	select {
	case s.suspects <- f:
	default: // another one is about to be; whoever needs it comes again
	}
}

// Oldest is when the file was read that was read longest ago; zero: there are none, or
// nothing is read again.
func (s *Scrubber) Oldest() time.Time { return s.schedule.oldest() }

// verify tells why a file is lost; nil: it is not, is not there any more, or nobody
// knows at the moment.
func (s *Scrubber) verify(ctx context.Context, f segment.File) (reason error) {
	for try := range tries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
		}
		reason = segment.Verify(s.o.FS, s.o.Dir, f, func(n int) error { return s.o.Read(ctx, n) })
		lost := errors.Is(reason, segment.ErrCorrupt) || errors.Is(reason, segment.ErrUnreadable)
		if !lost || !slices.Contains(s.o.Files(), f) {
			return nil
		}
	}
	return reason
}
