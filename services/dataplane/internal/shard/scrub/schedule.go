package scrub

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/segment"
)

// schedule is when files were read last. Each file has a moment of its own in every
// interval of the calendar, by its name: so disks read evenly, and a process that starts
// often, when files come out of the system's cache, puts nothing off. Its methods may be
// called from several goroutines.
type schedule struct {
	every time.Duration

	mu struct {
		sync.Mutex
		asked time.Time            // last
		read  map[string]time.Time // by file name
	}
}

// watch is the part of the interval after which there may be new files.
const watch = 64

// next is which of files is due first, and when; with none that is due soon, when to ask
// again. Files that it has not seen were made or opened since it was asked last, which is
// as good as read. It forgets those that are not there.
func (s *schedule) next(files []segment.File, now time.Time) (next segment.File, due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.mu.asked
	if s.mu.asked = now; since.IsZero() {
		since = now
	}
	due = now.Add(s.every / watch)
	read := make(map[string]time.Time, len(files))
	for _, f := range files {
		name := f.FileName()
		at, ok := s.mu.read[name]
		if !ok {
			at = since
		}
		read[name] = at
		if d := s.after(f, at); d.Before(due) {
			next, due = f, d
		}
	}
	s.mu.read = read
	return next, due
}

// after is the file's first moment after at.
func (s *schedule) after(f segment.File, at time.Time) time.Time {
	own := s.every / (1 << 16) * time.Duration(binary.LittleEndian.Uint16(f.Sum[:]))
	past := time.Duration(at.UnixNano()-int64(own)) % s.every
	return time.Unix(0, at.UnixNano()).Add(s.every - past)
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
