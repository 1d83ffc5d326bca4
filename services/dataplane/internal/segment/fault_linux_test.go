package segment

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/vfs"
)

// TestFault: a page that the disk does not give while a file is checked is an error.
func TestFault(t *testing.T) {
	const n = 2 * parallelFrom / (4 * benchSize)
	path := t.TempDir()
	d, err := Write(t.Context(), vfs.OS(), path, benchSpec(), n, flow(n, even))
	ok(t, err)
	f := d.Files[KindVectors-1]
	_, err = openFile(cutting{vfs.OS()}, path, f, Cached)
	if name := filepath.Join(path, f.FileName()); !errors.Is(err, vfs.ErrFault) || !strings.Contains(err.Error(), name) {
		t.Fatalf("cut while mapped: %v", err)
	}
}

// TestSourceFault: points of a segment whose disk fails are an error of Write.
func TestSourceFault(t *testing.T) {
	const n = parallelFrom / (4 * benchSize)
	path := t.TempDir()
	d, err := Write(t.Context(), vfs.OS(), path, benchSpec(), n, flow(n, even))
	ok(t, err)
	s, err := Open(vfs.OS(), path, benchSpec(), d, nil)
	ok(t, err)
	f, err := vfs.OS().OpenReadWrite(filepath.Join(path, d.Files[KindVectors-1].FileName()))
	ok(t, err)
	ok(t, errors.Join(f.Truncate(1<<20), f.Close()))
	_, err = Write(t.Context(), vfs.OS(), path, benchSpec(), n, func(yield func(Row, error) bool) {
		var p point.Point
		for row := range uint32(n) {
			if err := s.Point(row, &p); !yield(Row{Point: &p}, err) {
				return
			}
		}
	})
	if !errors.Is(err, vfs.ErrFault) {
		t.Fatal(err)
	}
	names, err := vfs.OS().List(path)
	ok(t, err)
	if len(names) != len(d.Files) {
		t.Fatalf("%d files stay", len(names)-len(d.Files))
	}
	ok(t, s.Close())
}

// cutting cuts a file as soon as it is mapped.
type cutting struct{ vfs.FS }

func (c cutting) Map(name string) (vfs.Mapping, error) {
	m, err := c.FS.Map(name)
	if err != nil {
		return nil, err
	}
	f, err := c.OpenReadWrite(name)
	if err == nil {
		err = errors.Join(f.Truncate(1<<20), f.Close())
	}
	return m, err
}
