// Package vfs is the one seam between Pando and a disk.
//
// Nothing else in the engine touches package os, so that everything that must
// survive a crash can be tested on memfs (which crashes) and under faultfs
// (which fails). The contract is deliberately weaker than what a friendly file
// system gives: a write, a truncation, a new name, a rename and a removal are
// durable only after the Sync that covers them, and until then any part of
// them may survive a crash, in any order.
//
// It is not a general file library: no working directory, no symbolic links,
// no permissions beyond those of MkdirAll.
package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
)

// ErrLocked is returned by Lock when another process, or this one, holds it.
var ErrLocked = errors.New("vfs: file is locked by another process")

// ErrUncertain marks a replacement that happened but may not survive a crash.
var ErrUncertain = errors.New("vfs: the directory could not be synced")

// FS is a tree of files. Names are filepath names; a relative one is taken
// from the process's working directory (memfs: from the root). Errors satisfy
// errors.Is with fs.ErrNotExist and fs.ErrExist, and IsNoSpace.
//
// All methods may be called from several goroutines.
type FS interface {
	// Create makes an empty file for reading and writing. A file of that name
	// is removed first, never truncated: its other hard links keep their bytes.
	// The name is durable after a Sync of the directory.
	Create(name string) (File, error)
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// OpenReadWrite opens a file for both, made empty if it does not exist.
	OpenReadWrite(name string) (File, error)
	// Map gives the contents of a file that does not change any more as memory.
	Map(name string) (Mapping, error)
	// OpenDir opens a directory; only Sync, Stat and Close are of use on it.
	OpenDir(name string) (File, error)
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// RemoveAll removes name and all below it; a missing name is no error.
	RemoveAll(name string) error
	// Rename replaces newname atomically if it exists.
	Rename(oldname, newname string) error
	// Link makes a hard link; an existing newname is an error.
	Link(oldname, newname string) error
	// MkdirAll makes dir and its parents; an existing one is no error.
	MkdirAll(dir string, perm fs.FileMode) error
	// Lock takes an exclusive lock of the named file, made if missing, without
	// waiting: ErrLocked if it is held. It ends with Close or with the process.
	Lock(name string) (io.Closer, error)
	// List returns the names in dir, sorted, without dir.
	List(dir string) ([]string, error)
	Stat(name string) (fs.FileInfo, error)
	// DiskUsage describes the file system that holds path.
	DiskUsage(path string) (Usage, error)
}

// File is an open file. Read and Write share one position; ReadAt and WriteAt
// do not move it. ReadAt may be called together with anything but Close; the
// writing methods must be called one at a time.
type File interface {
	io.ReadWriteCloser
	io.ReaderAt
	io.WriterAt
	// Sync returns when contents, size and attributes are on the disk. After
	// an error nothing is known about what was written since the last Sync,
	// and a second call proves nothing: treat the file as lost.
	Sync() error
	// SyncData is Sync without what is not needed to read the contents back
	// (times). The size is covered.
	SyncData() error
	// Truncate sets the size; new bytes read as zero.
	Truncate(size int64) error
	// Preallocate reserves disk space for length bytes at off. It never changes
	// size or contents, and does nothing where that is not supported.
	Preallocate(off, length int64) error
	Stat() (fs.FileInfo, error)
}

// Usage is the space of a file system, in bytes.
type Usage struct {
	Total uint64
	Used  uint64
	// Avail is what this process may still use; less than Total - Used where
	// the system keeps a reserve.
	Avail uint64
}

// IsNoSpace says whether err means that the disk or the quota is full.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// IsUnreadable says whether err means that the disk could not give bytes that it has.
func IsUnreadable(err error) bool { return errors.Is(err, syscall.EIO) || errors.Is(err, ErrFault) }

// SyncDir makes the names in dir durable: creations, renames and removals.
func SyncDir(fsys FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

// ReadFile returns the whole contents of name.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}

// WriteFileAtomic replaces path by data: after a crash at any point path has
// its old contents or the new ones, and after a nil return the new ones. On an
// error before the rename the old contents stay. When the directory could not be
// synced it is open which of the two a crash leaves: the error is ErrUncertain.
// The name path+".tmp" is used on the way; callers must not run two at once on
// one path.
func WriteFileAtomic(fsys FS, path string, data []byte) error {
	tmp := path + ".tmp"
	if err := writeSynced(fsys, tmp, data); err != nil {
		return errors.Join(err, ignoreNotExist(fsys.Remove(tmp)))
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return errors.Join(err, ignoreNotExist(fsys.Remove(tmp)))
	}
	if err := SyncDir(fsys, filepath.Dir(path)); err != nil {
		return fmt.Errorf("replace %s: %w: %w", path, ErrUncertain, err)
	}
	return nil
}

func writeSynced(fsys FS, name string, data []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
