// Package scrub decides which file of a shard is to be read again, and when. Pure.
package scrub

import (
	"sync"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/segment"
)

// Schedule is when files were read last. Its methods may be called from several
// goroutines.
type Schedule struct {
	every time.Duration

	mu struct {
		sync.Mutex
		read map[string]time.Time // by file name
	}
}

// New makes a schedule by which each file is read again once in so long.
func New(every time.Duration) *Schedule {
	s := &Schedule{every: every}
	s.mu.read = map[string]time.Time{}
	return s
}

const (
	// spread is the part of the interval by which files may come sooner, so that those
	// that were opened at one time, at a start, are not due at one time.
	spread = 4
	// watch is the part of it after which there may be new files.
	watch = 64
)

// Next is which of files is due first, and when; with none that is due soon, when to ask
// again. Files that it has not seen were made or opened since it was asked last, which is
// as good as read. It forgets those that are not there.
func (s *Schedule) Next(files []segment.File, now time.Time) (next segment.File, due time.Time) {
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

// Read notes that a file was read.
func (s *Schedule) Read(f segment.File, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.read[f.FileName()] = now
}

// Oldest is when the file was read that was read longest ago; zero: there are no files.
func (s *Schedule) Oldest() (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.mu.read {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}
