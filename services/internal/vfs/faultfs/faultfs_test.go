package faultfs_test

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/fstest"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

func TestTransparentWithoutRules(t *testing.T) {
	fstest.Run(t, func(t *testing.T) (vfs.FS, string) { return faultfs.New(memfs.New()), "/" })
}

// workload does one of everything and returns the first error.
func workload(fsys vfs.FS) error {
	f, err := fsys.Create("d/a")
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { _, err := f.Write([]byte("hello")); return err },
		func() error { _, err := f.WriteAt([]byte("J"), 0); return err },
		f.Sync, f.SyncData,
		func() error { return f.Truncate(4) },
		func() error { return f.Preallocate(0, 10) },
		func() error { _, err := f.ReadAt(make([]byte, 4), 0); return err },
		func() error { _, err := f.Read(make([]byte, 1)); return ignoreEOF(err) },
		func() error { return fsys.Rename("d/a", "d/b") },
		func() error { return fsys.Link("d/b", "d/c") },
		func() error { return fsys.Remove("d/b") },
		func() error { return vfs.SyncDir(fsys, "d") },
		func() error { return fsys.MkdirAll("x/y", 0o750) },
		func() error { return fsys.RemoveAll("x") },
		func() error { _, err := fsys.List("d"); return err },
		func() error { _, err := fsys.Stat("d"); return err },
		func() error { _, err := fsys.DiskUsage("d"); return err },
		func() error { _, err := fsys.Open("d/c"); return err },
		func() error { _, err := fsys.OpenReadWrite("d/c"); return err },
		func() error { _, err := fsys.Lock("d/LOCK"); return err },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

const changes = 15 // changing operations of workload

func fresh(t *testing.T) *memfs.FS {
	m := memfs.New()
	if err := m.MkdirAll("d", 0o750); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRules(t *testing.T) {
	eio := errors.New("disk gone")
	ffs := faultfs.New(fresh(t))
	if err := workload(ffs); err != nil {
		t.Fatal(err)
	}
	if ffs.Count() != changes {
		t.Fatalf("%d changing operations, want %d", ffs.Count(), changes)
	}
	for n := 1; n <= changes; n++ {
		ffs := faultfs.New(fresh(t), faultfs.Nth(n, eio))
		if err := workload(ffs); !errors.Is(err, eio) {
			t.Errorf("operation %d: %v", n, err)
		}
		if last := ffs.Last(); last.N != n || last.Path == "" || last.Kind == "" {
			t.Errorf("operation %d: stopped at %+v", n, last)
		}
	}
	if err := workload(faultfs.New(fresh(t), faultfs.Nth(changes+1, eio))); err != nil {
		t.Errorf("a rule for no operation: %v", err)
	}
	for _, k := range []faultfs.Kind{
		faultfs.KindCreate, faultfs.KindOpenRW, faultfs.KindRemove, faultfs.KindRemoveAll, faultfs.KindRename,
		faultfs.KindLink, faultfs.KindMkdir, faultfs.KindLock, faultfs.KindWrite, faultfs.KindSync, faultfs.KindSyncDir,
		faultfs.KindTruncate, faultfs.KindPreallocate, faultfs.KindOpen, faultfs.KindOpenDir, faultfs.KindRead,
		faultfs.KindList, faultfs.KindStat, faultfs.KindUsage,
	} {
		if err := workload(faultfs.New(fresh(t), faultfs.On(eio, k))); !errors.Is(err, eio) {
			t.Errorf("kind %s: %v", k, err)
		}
	}
}

func TestFromAndSetRules(t *testing.T) {
	ffs := faultfs.New(fresh(t), faultfs.From(2, syscall.EIO))
	f, err := ffs.Create("d/a")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := f.Write([]byte("x")); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
	}
	ffs.SetRules()
	if _, err := f.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if ffs.Count() != 5 {
		t.Fatalf("count %d", ffs.Count())
	}
}

func TestShortWrite(t *testing.T) {
	mem := fresh(t)
	ffs := faultfs.New(mem, faultfs.Nth(2, &faultfs.ShortWrite{Bytes: 3, Err: syscall.ENOSPC}))
	f, err := ffs.Create("d/a")
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.WriteAt([]byte("hello"), 0)
	if n != 3 || !vfs.IsNoSpace(err) {
		t.Fatalf("%d, %v", n, err)
	}
	if data, err := vfs.ReadFile(mem, "d/a"); err != nil || string(data) != "hel" {
		t.Fatalf("%q, %v", data, err)
	}
}

func TestCrashStopsEverything(t *testing.T) {
	mem := fresh(t)
	calls := 0
	ffs := faultfs.New(mem, faultfs.Crash(3, func() { calls++ }))
	if err := workload(ffs); !errors.Is(err, faultfs.ErrCrashed) {
		t.Fatal(err)
	}
	if _, err := ffs.Stat("d"); !errors.Is(err, faultfs.ErrCrashed) {
		t.Fatalf("a read after the crash: %v", err)
	}
	if err := ffs.Remove("d/a"); !errors.Is(err, faultfs.ErrCrashed) || calls != 1 {
		t.Fatalf("%v after %d calls", err, calls)
	}
	if data, err := vfs.ReadFile(mem, "d/a"); err != nil || string(data) != "hello" {
		t.Fatalf("what came before must have happened: %q, %v", data, err)
	}
}
