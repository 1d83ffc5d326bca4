//go:build !race

// See fault_test.go for why these run without the race detector.
package shard

import (
	"context"
	"errors"
	"io"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/budget"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

const week = 7 * 24 * time.Hour

// pass lets time pass in a bubble of synctest.
func pass(d time.Duration) { <-time.After(d) }

// scrubbing are options under which a gallery's files are read again once a week, cold
// ones or such that lie in memory.
func scrubbing(fsys vfs.FS, cold bool) Options {
	o := gallery(fsys)
	o.Background = budget.New(budget.Options{Threads: 1, ScrubEvery: week, ScrubBytesPerSecond: 1 << 20})
	if settings := o.Settings; cold {
		o.Settings = func(b []byte) (query.Settings, error) {
			s, err := settings(b)
			s.PayloadOnDisk = true
			for i := range s.Vectors {
				s.Vectors[i].OnDisk, s.Vectors[i].HNSW.OnDisk = true, true
			}
			return s, err
		}
	}
	return o
}

// TestScrubMends: the file of an artefact that is damaged while the shard is open is made
// again within the week, and answers are right meanwhile.
func TestScrubMends(t *testing.T) {
	whole, artefacts, answers := furnish(t)
	for _, name := range artefacts {
		file := path.Join(dir, "segments", name)
		want, err := vfs.ReadFile(whole, file)
		ok(t, err)
		for _, cold := range []bool{false, true} {
			for what, spoil := range map[string]func(*memfs.FS){
				"a bit":   func(m *memfs.FS) { damage(t, m, file, int64(len(want)/2), 3) },
				"missing": func(m *memfs.FS) { ok(t, m.Remove(file)) },
			} {
				synctest.Test(t, func(t *testing.T) {
					var r reports
					disk := whole.StrictClone()
					s, err := Open(r.of(scrubbing(disk, cold)))
					ok(t, err)
					ok(t, s.Settle(ctx))
					spoil(disk)
					for range 100 {
						pass((week + time.Hour) / 100)
						if got := quiz(t, s); !reflect.DeepEqual(got, answers) {
							t.Fatalf("%s, %s: answers otherwise", name, what)
						}
					}
					ok(t, errors.Join(s.Settle(ctx), s.Err()))
					if got, err := vfs.ReadFile(disk, file); err != nil || !slices.Equal(got, want) || !slices.Equal(r.lost, []string{name}) || !slices.Equal(r.mended, r.lost) {
						t.Errorf("%s, %s, cold %v: %v, lost %v, mended %v", name, what, cold, err, r.lost, r.mended)
					}
					if got := quiz(t, s); !reflect.DeepEqual(got, answers) {
						t.Errorf("%s, %s: answers otherwise when it was mended", name, what)
					}
					ok(t, s.Close())
				})
			}
		}
	}
}

// TestScrubCondemns: a file of a segment that is damaged, missing or unreadable fails the
// shard within the week, with the file's name; reads go on. A fault that passes does not.
func TestScrubCondemns(t *testing.T) {
	whole, _, answers := furnish(t)
	names, err := whole.List(path.Join(dir, "segments"))
	ok(t, err)
	for _, name := range names {
		file := path.Join(dir, "segments", name)
		if !slices.Contains([]string{".ids", ".rows", ".payload", ".records", ".vectors"}, path.Ext(name)) {
			continue
		}
		for what, fails := range map[string]int{"a bit": 0, "missing": 0, "unreadable": 1000, "for a moment": 2} {
			synctest.Test(t, func(t *testing.T) {
				disk := whole.StrictClone()
				faulty := faultfs.New(disk)
				s, err := Open(scrubbing(faulty, false))
				ok(t, err)
				ok(t, s.Settle(ctx))
				switch what {
				case "a bit":
					damage(t, disk, file, 100, 1)
				case "missing":
					ok(t, disk.Remove(file))
				}
				left := fails
				faulty.SetRules(func(o faultfs.Op) error {
					if o.Kind == faultfs.KindRead && o.Path == file && left > 0 {
						left--
						return syscall.EIO
					}
					return nil
				})
				pass(week + time.Hour)
				err = s.Err()
				if passed := what == "for a moment"; passed && (err != nil || left > 0) || !passed && (!errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name)) {
					t.Errorf("%s, %s: %v", name, what, err)
				}
				if got := quiz(t, s); !reflect.DeepEqual(got, answers) {
					t.Errorf("%s, %s: answers otherwise", name, what)
				}
				ok(t, s.Close())
			})
		}
	}
}

// TestScrubRate: in each week every file is read, each once, never faster than is
// allowed; it tells how far it is, and ends with the shard, also in the middle.
func TestScrubRate(t *testing.T) {
	whole, _, _ := furnish(t)
	total := 0
	for _, name := range segmentFiles(t, whole) {
		info, err := whole.Stat(path.Join(dir, "segments", name))
		ok(t, err)
		total += int(info.Size())
	}
	synctest.Test(t, func(t *testing.T) {
		const rate = 4 << 10
		o := scrubbing(whole.StrictClone(), false)
		o.Background = budget.New(budget.Options{Threads: 1, ScrubEvery: week, ScrubBytesPerSecond: rate})
		var read atomic.Int64
		var began time.Time
		o.Events.Scrubbed = func(n int) {
			if read.Load() == 0 {
				began = time.Now()
			}
			if sum := read.Add(int64(n)); float64(sum) > 1.3*(1<<20)+rate*time.Since(began).Seconds() {
				t.Errorf("%d bytes in %v", sum, time.Since(began))
			}
		}
		s, err := Open(o)
		ok(t, err)
		ok(t, s.Settle(ctx))
		if age := time.Since(s.Scrubbed()); age != 0 {
			t.Errorf("read %v ago, just opened", age)
		}
		for n := range 3 {
			pass(week)
			if age := time.Since(s.Scrubbed()); age > week+time.Hour {
				t.Errorf("week %d: a file was read %v ago", n, age)
			}
		}
		if read := int(read.Load()); read < 2*total || read > 4*total {
			t.Errorf("read %d bytes in three weeks, the files have %d", read, total)
		}
		for before := read.Load(); read.Load() == before; {
			pass(time.Minute)
		}
		ok(t, s.Close())
	})
}

// TestScrubBesideMerges: files that are replaced and removed while they are read are not
// taken for lost.
func TestScrubBesideMerges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		disk := memfs.New()
		o := r.of(derived(disk))
		o.Background = budget.New(budget.Options{Threads: 1, ScrubEvery: time.Second, ScrubBytesPerSecond: 1 << 20})
		s, err := Open(o)
		ok(t, err)
		l := parts(8)
		for at := 0; at < len(l.entries); at += 3 {
			ok(t, s.Apply(l.entries[at:min(at+3, len(l.entries))]))
			pass(700 * time.Millisecond)
		}
		bound, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		ok(t, errors.Join(s.Settle(bound), s.Err()))
		pass(time.Minute)
		if l.check(t, s); len(r.lost) > 0 || s.Err() != nil {
			t.Errorf("lost %v, %v", r.lost, s.Err())
		}
		ok(t, s.Close())
	})
}

// TestCopyFindsLost: a file that a copy cannot be made of is looked at then, and not in a
// week: the copy that is asked for a moment later is whole.
func TestCopyFindsLost(t *testing.T) {
	whole, artefacts, answers := furnish(t)
	for _, name := range artefacts {
		for _, what := range []string{"missing", "unreadable"} {
			synctest.Test(t, func(t *testing.T) {
				file := path.Join(dir, "segments", name)
				disk := whole.StrictClone()
				faulty := faultfs.New(disk)
				s, err := Open(scrubbing(faulty, false))
				ok(t, err)
				ok(t, s.Settle(ctx))
				if what == "missing" {
					ok(t, disk.Remove(file))
				} else {
					dead := true
					faulty.SetRules(func(o faultfs.Op) error {
						if dead = dead && (o.Path != file || o.Kind != faultfs.KindRename); dead && o.Path == file && o.Kind == faultfs.KindRead {
							return syscall.EIO
						}
						return nil
					})
				}
				e, err := s.Export()
				if err == nil {
					_, err = io.ReadAll(e)
					ok(t, e.Close())
				}
				if err == nil {
					t.Errorf("%s, %s: copied", name, what)
				}
				pass(time.Minute)
				ok(t, s.Settle(ctx))
				head, body := export(t, s)
				ok(t, s.Close())
				other := memfs.New()
				ok(t, take(gallery(other), head, body, 1<<16))
				c, err := Open(gallery(other))
				ok(t, err)
				if got := quiz(t, c); !reflect.DeepEqual(got, answers) || !slices.Contains(segmentFiles(t, other), name) {
					t.Errorf("%s, %s: the copy is another", name, what)
				}
				ok(t, c.Close())
			})
		}
	}
}
