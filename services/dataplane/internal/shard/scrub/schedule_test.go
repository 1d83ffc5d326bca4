package scrub

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/segment"
)

func file(n int) segment.File {
	return segment.File{Kind: segment.KindGraph, Sum: [16]byte{byte(n * 37), byte(n), byte(n >> 8)}}
}

// TestEachInTime: with files that come and go, each is read once in an interval, and not
// twice in three quarters of one.
func TestEachInTime(t *testing.T) {
	const every = 1000 * time.Second
	rng := rand.New(rand.NewPCG(1, 1))
	s, now := &schedule{every: every}, time.Unix(0, 0)
	seen := map[string]time.Time{} // made or read last
	var files []segment.File
	for n := range 5000 {
		if rng.IntN(40) == 0 {
			files = append(files, file(n))
			seen[file(n).FileName()] = now
		}
		if len(files) > 0 && rng.IntN(60) == 0 {
			i := rng.IntN(len(files))
			delete(seen, files[i].FileName())
			files = append(files[:i:i], files[i+1:]...)
		}
		f, due := s.next(files, now)
		step := time.Duration(rng.IntN(20)) * time.Second
		if due.After(now.Add(every / watch)) {
			t.Fatalf("nothing to do until %v after", due.Sub(now))
		}
		if f.Kind != 0 && !due.After(now) {
			at, ok := seen[f.FileName()]
			if since := now.Sub(at); !ok || since < every-every/spread-every/watch || since > every+200*time.Second {
				t.Fatalf("%s is due after %v, there: %v", f.FileName(), since, ok)
			}
			s.done(f, now)
			seen[f.FileName()] = now
			step = 0
		}
		oldest := now
		for _, at := range seen {
			if at.Before(oldest) {
				oldest = at
			}
		}
		if got := s.oldest(); len(files) > 0 && !got.Equal(oldest) {
			t.Fatalf("oldest %v, want %v", got, oldest)
		}
		now = now.Add(step)
	}
	if len(files) < 5 {
		t.Fatal("too few files", len(files))
	}
}

// TestSpread: files that were opened together are not due together.
func TestSpread(t *testing.T) {
	s, now := &schedule{every: time.Hour}, time.Unix(0, 0)
	var files []segment.File
	for n := range 100 {
		files = append(files, file(n))
	}
	dues := map[string]bool{}
	for len(dues) < len(files) {
		f, due := s.next(files, now)
		if now = due; f.Kind == 0 {
			continue
		}
		dues[fmt.Sprint(due)] = true
		if due.Before(now) || due.After(time.Unix(3600, 0)) {
			t.Fatal(due)
		}
		s.done(f, now)
	}
	if f, due := (&schedule{every: time.Hour}).next(nil, now); f.Kind != 0 || !due.Equal(now.Add(time.Hour/watch)) {
		t.Error("without files", f, due)
	}
}
