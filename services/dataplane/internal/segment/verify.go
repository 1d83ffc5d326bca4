package segment

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/pandodb/pando/services/internal/vfs"
)

// Verify reads a file from the disk, beside whoever uses it, and tells whether it is
// what its name says. read is called after each piece with its size in bytes and may end
// it with an error. Errors: ErrCorrupt, with fs.ErrNotExist if it is missing;
// ErrUnreadable; read's; others of the disk, which say nothing about the file.
func Verify(fsys vfs.FS, dir string, f File, read func(n int) error) error {
	path := filepath.Join(dir, f.FileName())
	sum, size := sha256.New(), int64(0)
	err := vfs.Stream(fsys, path, func(b []byte) error {
		sum.Write(b)
		size += int64(len(b))
		return read(len(b))
	})
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case err != nil:
		return refused(err)
	case size != f.Size || [sumSize]byte(sum.Sum(nil)) != f.Sum:
		return fmt.Errorf("%w: %s: its %d bytes are not those that it was written with", ErrCorrupt, path, size)
	}
	return nil
}
