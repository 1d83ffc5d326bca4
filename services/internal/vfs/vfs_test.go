package vfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/faultfs"
	"github.com/pandodb/pando/services/internal/vfs/fstest"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

func TestOS(t *testing.T) {
	fstest.Run(t, func(t *testing.T) (vfs.FS, string) { return vfs.OS(), t.TempDir() })
}

func TestIsNoSpace(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{fs.ErrNotExist, false},
		{syscall.EIO, false},
		{syscall.ENOSPC, true},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}, true},
		{fmt.Errorf("append: %w", &faultfs.ShortWrite{Err: syscall.ENOSPC}), true},
	} {
		if got := vfs.IsNoSpace(c.err); got != c.want {
			t.Errorf("IsNoSpace(%v) = %v", c.err, got)
		}
	}
}

// Every operation of a replacement fails once: the file has the old contents
// or the new ones, and the new ones if no error was returned.
func TestWriteFileAtomicFailsCleanly(t *testing.T) {
	for n := 1; ; n++ {
		mem := memfs.New()
		if err := vfs.WriteFileAtomic(mem, "f", []byte("old")); err != nil {
			t.Fatal(err)
		}
		ffs := faultfs.New(mem, faultfs.Nth(n, syscall.EIO))
		err := vfs.WriteFileAtomic(ffs, "f", []byte("new"))
		got, rerr := vfs.ReadFile(mem, "f")
		if rerr != nil {
			t.Fatal(rerr)
		}
		if n > ffs.Count() {
			if err != nil || string(got) != "new" {
				t.Fatalf("%q, %v", got, err)
			}
			if n < 5 {
				t.Fatalf("only %d operations were counted", n-1)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("operation %d failed, reported %v", n, err)
		}
		if uncertain := errors.Is(err, vfs.ErrUncertain); uncertain == (string(got) == "old") {
			t.Fatalf("operation %d failed, the file holds %q, uncertain: %v", n, got, uncertain)
		}
	}
}
