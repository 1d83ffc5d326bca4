package memfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/fstest"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

func TestSuite(t *testing.T) {
	fstest.Run(t, func(t *testing.T) (vfs.FS, string) {
		m := memfs.New()
		if err := m.MkdirAll("a/b", 0o750); err != nil {
			t.Fatal(err)
		}
		return m, "/a/b"
	})
}

func rng(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 1)) }

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fsys vfs.FS, name, data string, sync bool) vfs.File {
	t.Helper()
	f, err := fsys.Create(name)
	ok(t, err)
	_, err = f.Write([]byte(data))
	ok(t, err)
	if sync {
		ok(t, f.Sync())
	}
	return f
}

// read returns the contents, or "-" where there is no file.
func read(t *testing.T, fsys vfs.FS, name string) string {
	t.Helper()
	data, err := vfs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	ok(t, err)
	return string(data)
}

func TestStrictCloneLosesWhatWasNotSynced(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, m *memfs.FS)
		want string // of d/f
	}{
		{"nothing", func(*testing.T, *memfs.FS) {}, "old"},
		{"write", func(t *testing.T, m *memfs.FS) {
			f, err := m.OpenReadWrite("d/f")
			ok(t, err)
			_, err = f.Write([]byte("new, and longer"))
			ok(t, err)
		}, "old"},
		{"write, sync", func(t *testing.T, m *memfs.FS) {
			f, err := m.OpenReadWrite("d/f")
			ok(t, err)
			_, err = f.Write([]byte("new, and longer"))
			ok(t, err)
			ok(t, f.Sync())
		}, "new, and longer"},
		{"truncate", func(t *testing.T, m *memfs.FS) {
			f, err := m.OpenReadWrite("d/f")
			ok(t, err)
			ok(t, f.Truncate(1))
		}, "old"},
		{"truncate, sync", func(t *testing.T, m *memfs.FS) {
			f, err := m.OpenReadWrite("d/f")
			ok(t, err)
			ok(t, f.Truncate(1))
			ok(t, f.Sync())
		}, "o"},
		{"remove", func(t *testing.T, m *memfs.FS) { ok(t, m.Remove("d/f")) }, "old"},
		{"remove, sync other dir", func(t *testing.T, m *memfs.FS) {
			ok(t, m.Remove("d/f"))
			ok(t, vfs.SyncDir(m, "/"))
		}, "old"},
		{"remove, sync dir", func(t *testing.T, m *memfs.FS) {
			ok(t, m.Remove("d/f"))
			ok(t, vfs.SyncDir(m, "d"))
		}, "-"},
		{"replace", func(t *testing.T, m *memfs.FS) { create(t, m, "d/f", "new", true) }, "old"},
		{"replace, sync dir", func(t *testing.T, m *memfs.FS) {
			create(t, m, "d/f", "new", true)
			ok(t, vfs.SyncDir(m, "d"))
		}, "new"},
		{"replace by unsynced, sync dir", func(t *testing.T, m *memfs.FS) {
			create(t, m, "d/f", "new", false)
			ok(t, vfs.SyncDir(m, "d"))
		}, ""},
		{"rename over", func(t *testing.T, m *memfs.FS) {
			create(t, m, "d/g", "new", true)
			ok(t, vfs.SyncDir(m, "d"))
			ok(t, m.Rename("d/g", "d/f"))
		}, "old"},
		{"rename over, sync dir", func(t *testing.T, m *memfs.FS) {
			create(t, m, "d/g", "new", true)
			ok(t, m.Rename("d/g", "d/f"))
			ok(t, vfs.SyncDir(m, "d"))
		}, "new"},
		{"moved away, synced there", func(t *testing.T, m *memfs.FS) {
			ok(t, m.Rename("d/f", "f"))
			ok(t, vfs.SyncDir(m, "/"))
		}, "-"},
		{"new, moved away, synced there, then here", func(t *testing.T, m *memfs.FS) {
			ok(t, m.Remove("d/f"))
			create(t, m, "d/f", "new", true)
			ok(t, m.Rename("d/f", "f"))
			ok(t, vfs.SyncDir(m, "/"))
			ok(t, vfs.SyncDir(m, "d"))
		}, "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := memfs.New()
			ok(t, m.MkdirAll("d", 0o750))
			ok(t, vfs.SyncDir(m, "/"))
			create(t, m, "d/f", "old", true)
			ok(t, vfs.SyncDir(m, "d"))
			c.do(t, m)
			seen := read(t, m, "d/f")
			if got := read(t, m.StrictClone(), "d/f"); got != c.want {
				t.Errorf("after the crash %q, want %q", got, c.want)
			}
			if got := read(t, m, "d/f"); got != seen {
				t.Errorf("the clone changed the original to %q", got)
			}
			// With everything synced no crash changes anything.
			if f, err := m.OpenReadWrite("d/f"); err == nil && seen != "-" {
				ok(t, f.Sync())
			}
			ok(t, vfs.SyncDir(m, "d"))
			ok(t, vfs.SyncDir(m, "/"))
			for seed := range 20 {
				if got := read(t, m.CrashClone(rng(seed)), "d/f"); seen != "-" && got != seen {
					t.Errorf("seed %d: %q was synced, the crash left %q", seed, seen, got)
				}
			}
		})
	}
}

func TestUnsyncedDirectoryIsLostWithAllInIt(t *testing.T) {
	m := memfs.New()
	ok(t, m.MkdirAll("x/y", 0o750))
	create(t, m, "x/y/f", "data", true)
	ok(t, vfs.SyncDir(m, "x/y"))
	ok(t, vfs.SyncDir(m, "x"))
	if got := read(t, m.StrictClone(), "x/y/f"); got != "-" {
		t.Fatalf("found %q below a directory whose name was never synced", got)
	}
	ok(t, vfs.SyncDir(m, "/"))
	if got := read(t, m.StrictClone(), "x/y/f"); got != "data" {
		t.Fatalf("found %q", got)
	}
}

// The random clone must produce each kind of damage that it promises, and
// never damage what was synced.
func TestCrashCloneDamage(t *testing.T) {
	const sector, sectors = 512, 8
	old := bytes.Repeat([]byte{'o'}, sectors*sector)
	mid := bytes.Repeat([]byte{'m'}, sectors*sector)
	cur := bytes.Repeat([]byte{'n'}, (sectors+2)*sector)
	var all, none, mixed, torn, middle, holes int
	for seed := range 2000 {
		m := memfs.New()
		f := create(t, m, "f", string(old), true)
		ok(t, vfs.SyncDir(m, "/"))
		_, err := f.WriteAt(mid[:sector], sector)
		ok(t, err)
		_, err = f.WriteAt(cur[sector:], sector) // sector 0 stays synced
		ok(t, err)
		got := []byte(read(t, m.CrashClone(rng(seed)), "f"))
		again := []byte(read(t, m.CrashClone(rng(seed)), "f"))
		if !bytes.Equal(got, again) {
			t.Fatalf("seed %d gives two clones", seed)
		}
		if len(got) != len(old) && len(got) != len(cur) {
			t.Fatalf("seed %d: size %d", seed, len(got))
		}
		if !bytes.Equal(got[:sector], old[:sector]) {
			t.Fatalf("seed %d: a synced sector changed", seed)
		}
		body := got[sector:]
		o, n := bytes.Count(body, []byte{'o'}), bytes.Count(body, []byte{'n'})
		switch {
		case n == len(body):
			all++
		case o == len(body):
			none++
		default:
			mixed++
		}
		if (o%sector) != 0 || (n%sector) != 0 {
			torn++
		}
		if body[0] == 'm' && body[sector-1] == 'm' {
			middle++
		}
		if bytes.Count(body, []byte{0}) >= sector {
			holes++
		}
	}
	for name, count := range map[string]int{"all kept": all, "none kept": none, "mixed": mixed,
		"torn sector": torn, "earlier contents": middle, "hole": holes} {
		if count == 0 {
			t.Errorf("no clone of 2000 shows %q", name)
		}
	}
}

func TestCrashCloneKeepsHardLinks(t *testing.T) {
	m := memfs.New()
	create(t, m, "a", "one", true)
	ok(t, m.Link("a", "b"))
	ok(t, vfs.SyncDir(m, "/"))
	c := m.StrictClone()
	f, err := c.OpenReadWrite("a")
	ok(t, err)
	_, err = f.Write([]byte("two"))
	ok(t, err)
	if got := read(t, c, "b"); got != "two" {
		t.Fatalf("the other name holds %q", got)
	}
	if got := read(t, m, "b"); got != "one" {
		t.Fatalf("the original changed to %q", got)
	}
}

func TestCrashReleasesLocks(t *testing.T) {
	m := memfs.New()
	_, err := m.Lock("LOCK")
	ok(t, err)
	l, err := m.StrictClone().Lock("LOCK")
	ok(t, err)
	ok(t, l.Close())
}

func TestCapacity(t *testing.T) {
	m := memfs.New()
	m.SetCapacity(3 * 4096)
	f := create(t, m, "a", "x", false)
	_, err := f.WriteAt(make([]byte, 2*4096), 4096)
	ok(t, err)
	_, err = f.WriteAt([]byte("x"), 3*4096)
	if !vfs.IsNoSpace(err) {
		t.Fatalf("a fourth page: %v", err)
	}
	_, err = f.WriteAt([]byte("overwrite"), 4096)
	ok(t, err)
	u, err := m.DiskUsage("/")
	ok(t, err)
	if u != (vfs.Usage{Total: 3 * 4096, Used: 3 * 4096}) {
		t.Fatalf("usage %+v", u)
	}
	ok(t, f.Truncate(4096))
	g := create(t, m, "b", "y", false)
	_, err = g.WriteAt(make([]byte, 4096), 4096)
	if !vfs.IsNoSpace(err) && err == nil {
		_, err = g.WriteAt([]byte("z"), 2*4096)
	}
	if !vfs.IsNoSpace(err) {
		t.Fatalf("beyond the capacity: %v", err)
	}
	ok(t, m.Remove("b"))
	if u, err = m.DiskUsage("/"); err != nil || u.Used != 4096 {
		t.Fatalf("usage %+v, %v", u, err)
	}
	if u, err = m.StrictClone().DiskUsage("/"); err != nil || u.Used != 0 {
		t.Fatalf("usage of the clone %+v, %v", u, err)
	}
}

// A replacement is cut off before each of its operations, with many random
// losses each time: old or new, never anything else, and new once it returned.
func TestWriteFileAtomicCrashes(t *testing.T) {
	old, fresh := string(bytes.Repeat([]byte("old "), 500)), string(bytes.Repeat([]byte("new "), 700))
	points := 0
	for n := 1; ; n++ {
		finished := false
		for seed := range 100 {
			m := memfs.New()
			ok(t, vfs.WriteFileAtomic(m, "f", []byte(old)))
			var crashed *memfs.FS
			ffs := faultfs.New(m, faultfs.Crash(n, func() { crashed = m.CrashClone(rng(seed)) }))
			err := vfs.WriteFileAtomic(ffs, "f", []byte(fresh))
			if finished = crashed == nil; finished {
				crashed = m.CrashClone(rng(seed))
			} else if !errors.Is(err, faultfs.ErrCrashed) {
				t.Fatalf("point %d: %v", n, err)
			}
			got := read(t, crashed, "f")
			if got != fresh && (finished || got != old) {
				t.Fatalf("point %d, seed %d: %.40q… of %d bytes", n, seed, got, len(got))
			}
		}
		if finished {
			break
		}
		points++
	}
	if points != 5 { // create, write, sync, rename, sync of the directory
		t.Fatalf("%d crash points", points)
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	m := memfs.New()
	_, err := m.Open("no/such")
	var pe *fs.PathError
	if !errors.As(err, &pe) || pe.Path != "no/such" {
		t.Fatal(err)
	}
	if _, err := m.Create("/"); !errors.Is(err, fs.ErrInvalid) {
		t.Fatal(err)
	}
	create(t, m, "f", "", true)
	if _, err := m.Open("f/g"); !errors.Is(err, syscall.ENOTDIR) {
		t.Fatal(err)
	}
}

func ExampleFS_CrashClone() {
	m := memfs.New()
	f, _ := m.Create("f")
	_, _ = f.Write([]byte("never synced"))
	names, _ := m.StrictClone().List("/")
	fmt.Println(len(names), "files after the crash")
	// Output: 0 files after the crash
}
