package vfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pandodb/pando/services/internal/vfs"
)

// TestGuard: a page that the disk does not give is an error, and other panics pass.
func TestGuard(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := vfs.OS().Map(name)
	if err != nil {
		t.Fatal(err)
	}
	b, sum := m.Bytes(), byte(0)
	if err := vfs.Guard(func() { sum += b[1<<20-1] }); err != nil || sum != 0 {
		t.Fatal(err, sum)
	}
	if err := os.Truncate(name, 4096); err != nil {
		t.Fatal(err)
	}
	if err := vfs.Guard(func() { sum += b[1<<19] }); !errors.Is(err, vfs.ErrFault) {
		t.Fatalf("read behind the end: %v", err)
	}
	if err := vfs.Guard(func() {
		var g vfs.Group
		defer g.Wait()
		var sums [3]byte
		for i := range 3 {
			g.Go(func() { sums[i] = b[i<<18] })
		}
	}); !errors.Is(err, vfs.ErrFault) {
		t.Fatalf("read behind the end by others: %v", err)
	}
	func() {
		defer func() {
			if got := recover(); got != "mine" {
				t.Fatalf("panic %v", got)
			}
		}()
		t.Fatal(vfs.Guard(func() { panic("mine") }))
	}()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}
