package scrub

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/segment"
)

func file(n int) (f segment.File) {
	f.Kind = segment.KindGraph
	binary.LittleEndian.PutUint16(f.Sum[:], uint16(n*40503))
	binary.LittleEndian.PutUint64(f.Sum[2:], uint64(n))
	return f
}

// TestEachInTime: with files that come and go, each is read within an interval of its
// making, and again an interval later, give or take how long others take.
func TestEachInTime(t *testing.T) {
	const every = 1000 * time.Second
	rng := rand.New(rand.NewPCG(1, 1))
	s, now := &schedule{every: every}, time.Unix(1_700_000_000, 0)
	type past struct {
		made, read time.Time
	}
	seen := map[string]past{}
	var files []segment.File
	reads := 0
	for n := range 20_000 {
		if rng.IntN(40) == 0 {
			files = append(files, file(n))
			seen[file(n).FileName()] = past{made: now}
		}
		if len(files) > 0 && rng.IntN(60) == 0 {
			i := rng.IntN(len(files))
			delete(seen, files[i].FileName())
			files = slices.Delete(files, i, i+1)
		}
		f, due := s.next(files, now)
		if due.After(now.Add(every / watch)) {
			t.Fatalf("nothing to do until %v after", due.Sub(now))
		}
		oldest := now
		for name, p := range seen {
			if late := now.Sub(p.made); p.read.IsZero() && late > every+100*time.Second {
				t.Fatalf("%s was not read for %v", name, late)
			}
			if p.read.IsZero() {
				p.read = p.made
			}
			if p.read.Before(oldest) {
				oldest = p.read
			}
		}
		if got := s.oldest(); len(files) > 0 && (got.After(oldest) || got.Before(oldest.Add(-every/watch))) {
			t.Fatalf("oldest %v, want %v", got, oldest)
		}
		if f.Kind == 0 || due.After(now) {
			now = now.Add(min(due.Sub(now), time.Duration(1+rng.IntN(5))*time.Second))
			continue
		}
		p, ok := seen[f.FileName()]
		if since := now.Sub(p.read); !ok || !p.read.IsZero() && (since < every-100*time.Second || since > every+100*time.Second) {
			t.Fatalf("%s is due again after %v, there: %v", f.FileName(), since, ok)
		}
		p.read, reads = now, reads+1
		seen[f.FileName()] = p
		s.done(f, now)
		now = now.Add(time.Duration(rng.IntN(3)) * time.Second)
	}
	if len(files) < 5 || reads < 500 {
		t.Fatal(len(files), reads)
	}
}

// TestSpread: files that were opened together are due all over the interval, at moments
// that a start in between does not change.
func TestSpread(t *testing.T) {
	begin := time.Unix(1_700_000_000, 0)
	run := func(starts int) (dues []time.Duration) {
		s, now := &schedule{every: time.Hour}, begin
		var files []segment.File
		for n := range 100 {
			files = append(files, file(n))
		}
		for start := 1; len(dues) < len(files); {
			f, due := s.next(files, now)
			if now = due; f.Kind != 0 {
				dues = append(dues, due.Sub(begin))
				s.done(f, now)
			}
			if now.Sub(begin) > time.Duration(start)*time.Hour/time.Duration(starts) {
				s, start = &schedule{every: time.Hour}, start+1
			}
		}
		return dues
	}
	dues := run(1)
	for i, d := range dues {
		if want := time.Duration(i) * time.Hour / 100; d < want-2*time.Minute || d > want+2*time.Minute {
			t.Errorf("%d is due after %v", i, d)
		}
	}
	if other := run(7); !slices.Equal(dues, other) {
		t.Errorf("with starts between: %v, want %v", other, dues)
	}
	if f, due := (&schedule{every: time.Hour}).next(nil, begin); f.Kind != 0 || !due.Equal(begin.Add(time.Hour/watch)) {
		t.Error("without files", f, due)
	}
}
