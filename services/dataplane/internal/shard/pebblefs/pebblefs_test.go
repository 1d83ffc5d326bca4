package pebblefs

import (
	"errors"
	"io"
	"syscall"
	"testing"

	pvfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPassesThrough(t *testing.T) {
	fs := New(memfs.New(), Watch{})
	ok(t, fs.MkdirAll("d", 0o750))
	name := fs.PathJoin("d", "a")
	f, err := fs.Create(name, pvfs.WriteCategoryUnspecified)
	ok(t, err)
	_, err = f.Write([]byte("hello"))
	ok(t, errors.Join(err, f.Sync(), f.SyncData(), f.Close()))
	ok(t, errors.Join(fs.Rename(name, "d/b"), fs.Link("d/b", "d/c"), fs.Remove("d/b")))
	g, err := fs.ReuseForWrite("d/c", "d/e", pvfs.WriteCategoryUnspecified)
	ok(t, err)
	_, err = g.WriteAt([]byte("j"), 0)
	ok(t, errors.Join(err, g.Close()))
	h, err := fs.Open("d/e")
	ok(t, err)
	got, err := io.ReadAll(h)
	ok(t, errors.Join(err, h.Close()))
	names, err := fs.List("d")
	ok(t, err)
	info, err := fs.Stat("d/e")
	ok(t, err)
	if string(got) != "jello" || len(names) != 1 || info.Size() != 5 || h.Fd() != pvfs.InvalidFd {
		t.Errorf("%q, %v, %d bytes", got, names, info.Size())
	}
	if u, err := fs.GetDiskUsage("d"); err != nil || u.TotalBytes == 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
	ok(t, fs.RemoveAll("d"))
}

func TestWatch(t *testing.T) {
	type failure struct {
		path string
		sync bool
	}
	var failures []failure
	var veto error
	faulty := faultfs.New(memfs.New())
	fs := New(faulty, Watch{
		Before: func(string, bool) error { return veto },
		Failed: func(path string, sync bool, _ error) { failures = append(failures, failure{path, sync}) },
	})
	f, err := fs.Create("a", pvfs.WriteCategoryUnspecified)
	ok(t, err)
	d, err := fs.OpenDir(".")
	ok(t, err)
	faulty.SetRules(faultfs.On(syscall.EIO, faultfs.KindSync, faultfs.KindSyncDir, faultfs.KindWrite))
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	if _, err := f.Write([]byte("x")); !errors.Is(err, syscall.EIO) {
		t.Errorf("write: %v", err)
	}
	ok(t, d.Sync()) // reported, but not to pebble
	want := []failure{{"a", true}, {"a", false}, {".", true}}
	if len(failures) != 3 || failures[0] != want[0] || failures[1] != want[1] || failures[2] != want[2] {
		t.Errorf("reported %v, want %v", failures, want)
	}
	faulty.SetRules()
	before := faulty.Count()
	veto = errors.New("no")
	_, err = fs.Create("b", pvfs.WriteCategoryUnspecified)
	_, err2 := f.Write([]byte("x"))
	_, err3 := fs.OpenReadWrite("c", pvfs.WriteCategoryUnspecified)
	for i, err := range []error{err, err2, err3, f.Sync(), f.SyncData(), fs.Remove("a"), fs.Rename("a", "b"), fs.Link("a", "b"), fs.MkdirAll("x", 0o700), fs.RemoveAll("a"), f.Preallocate(0, 1)} {
		if !errors.Is(err, veto) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	ok(t, d.Sync())
	if n := faulty.Count(); n != before {
		t.Errorf("%d changes in spite of the veto", n-before)
	}
	ok(t, errors.Join(f.Close(), d.Close()))
}
