package scrub

import (
	"sync"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/segment"
)

// schedule is when files were read last. Its methods may be called from several
// goroutines.
type schedule struct {
	every time.Duration

	mu struct {
		sync.Mutex
		read map[string]time.Time // by file name
	}
}

const (
	// spread is the part of the interval by which files may come sooner, so that those
	// that were opened at one time, at a start, are not due at one time.
	spread = 4
	// watch is the part of it after which there may be new files.
	watch = 64
)

// next is which of files is due first, and when; with none that is due soon, when to ask
// again. Files that it has not seen were made or opened since it was asked last, which is
// as good as read. It forgets those that are not there.
func (s *schedule) next(files []segment.File, now time.Time) (next segment.File, due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	due = now.Add(s.every / watch)
	read := make(map[string]time.Time, len(files))
	for _, f := range files {
		name := f.FileName()
		at, ok := s.mu.read[name]
		if !ok {
			at = now
		}
		read[name] = at
		if d := at.Add(s.every - s.every/watch - s.every/spread*time.Duration(f.Sum[0])/256); d.Before(due) {
			next, due = f, d
		}
	}
	s.mu.read = read
	return next, due
}

// done notes that a file was read.
func (s *schedule) done(f segment.File, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.mu.read[f.FileName()]; ok {
		s.mu.read[f.FileName()] = now
	}
}

// oldest is when the file was read that was read longest ago; zero: there are no files.
func (s *schedule) oldest() (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.mu.read {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}
