// Package pebblefs lets pebble run on the seam vfs.FS, so that the crashing and
// the failing file system reach it too. It adds nothing but a watch over
// changes: a veto before each, and a report of each that failed.
package pebblefs

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	pvfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/pandodb/pando/services/internal/vfs"
)

// Watch sees the changes that pebble makes. Either func may be nil. They are
// called from any goroutine.
type Watch struct {
	// Before may refuse a change of path, or delay it. create tells that a new
	// file is about to be made.
	Before func(path string, create bool) error
	// Failed reports a change that the file system refused; sync tells that it
	// was a sync, after which nothing is known about the file (vfs.File).
	Failed func(path string, sync bool, err error)
}

type fsys struct {
	vfs.FS
	watch Watch
}

// New wraps inner.
func New(inner vfs.FS, w Watch) pvfs.FS {
	if w.Before == nil {
		w.Before = func(string, bool) error { return nil }
	}
	if w.Failed == nil {
		w.Failed = func(string, bool, error) {}
	}
	return &fsys{FS: inner, watch: w}
}

// change runs one change of path under the watch.
func (f *fsys) change(path string, sync bool, do func() error) error {
	if err := f.watch.Before(path, false); err != nil {
		return err
	}
	err := do()
	if err != nil {
		f.watch.Failed(path, sync, err)
	}
	return err
}

// settle makes the names in the folder durable before a marker changes. Pebble
// moves a marker by making the new one, removing the old one and then syncing
// the folder, as if names reached the disk in order. The contract of vfs.FS has
// no order: a crash could leave a marker without the file that it names, or no
// marker at all, which reads as an empty store.
func (f *fsys) settle(name string) error {
	if !strings.HasPrefix(filepath.Base(name), "marker.") {
		return nil
	}
	dir := filepath.Dir(name)
	err := vfs.SyncDir(f.FS, dir)
	if err != nil {
		f.watch.Failed(dir, true, err)
	}
	return err
}

func (f *fsys) wrap(name string, inner vfs.File, err error) (pvfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &file{File: inner, fs: f, name: name}, nil
}

func (f *fsys) Create(name string, _ pvfs.DiskWriteCategory) (pvfs.File, error) {
	if err := f.watch.Before(name, true); err != nil {
		return nil, err
	}
	if err := f.settle(name); err != nil {
		return nil, err
	}
	inner, err := f.FS.Create(name)
	if err != nil {
		f.watch.Failed(name, false, err)
	}
	return f.wrap(name, inner, err)
}

func (f *fsys) Open(name string, _ ...pvfs.OpenOption) (pvfs.File, error) {
	inner, err := f.FS.Open(name)
	return f.wrap(name, inner, err)
}

func (f *fsys) OpenReadWrite(name string, _ pvfs.DiskWriteCategory, _ ...pvfs.OpenOption) (pvfs.File, error) {
	if err := f.watch.Before(name, false); err != nil {
		return nil, err
	}
	inner, err := f.FS.OpenReadWrite(name)
	return f.wrap(name, inner, err)
}

func (f *fsys) OpenDir(name string) (pvfs.File, error) {
	inner, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return directory{&file{File: inner, fs: f, name: name}}, nil
}

func (f *fsys) Remove(name string) error {
	if err := f.watch.Before(name, false); err != nil {
		return err
	}
	if err := f.settle(name); err != nil {
		return err
	}
	err := f.FS.Remove(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.watch.Failed(name, false, err)
	}
	return err
}

func (f *fsys) RemoveAll(name string) error {
	return f.change(name, false, func() error { return f.FS.RemoveAll(name) })
}

func (f *fsys) Rename(from, to string) error {
	return f.change(to, false, func() error { return f.FS.Rename(from, to) })
}

func (f *fsys) Link(from, to string) error {
	return f.change(to, false, func() error { return f.FS.Link(from, to) })
}

func (f *fsys) ReuseForWrite(from, to string, c pvfs.DiskWriteCategory) (pvfs.File, error) {
	if err := f.Rename(from, to); err != nil {
		return nil, err
	}
	return f.OpenReadWrite(to, c)
}

func (f *fsys) MkdirAll(dir string, perm fs.FileMode) error {
	return f.change(dir, false, func() error { return f.FS.MkdirAll(dir, perm) })
}

func (f *fsys) Lock(name string) (io.Closer, error) { return f.FS.Lock(name) }

func (f *fsys) Stat(name string) (pvfs.FileInfo, error) { return fileInfo(f.FS.Stat(name)) }

func (f *fsys) PathBase(path string) string    { return filepath.Base(path) }
func (f *fsys) PathJoin(elem ...string) string { return filepath.Join(elem...) }
func (f *fsys) PathDir(path string) string     { return filepath.Dir(path) }

func (f *fsys) GetDiskUsage(path string) (pvfs.DiskUsage, error) {
	u, err := f.FS.DiskUsage(path)
	return pvfs.DiskUsage{AvailBytes: u.Avail, TotalBytes: u.Total, UsedBytes: u.Used}, err
}

func (f *fsys) Unwrap() pvfs.FS { return nil }

type file struct {
	vfs.File
	fs   *fsys
	name string
}

func (f *file) Write(b []byte) (n int, err error) {
	err = f.fs.change(f.name, false, func() error { n, err = f.File.Write(b); return err })
	return n, err
}

func (f *file) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.fs.change(f.name, false, func() error { n, err = f.File.WriteAt(b, off); return err })
	return n, err
}

func (f *file) Preallocate(off, length int64) error {
	return f.fs.change(f.name, false, func() error { return f.File.Preallocate(off, length) })
}

func (f *file) Sync() error { return f.fs.change(f.name, true, f.File.Sync) }

func (f *file) SyncData() error { return f.fs.change(f.name, true, f.File.SyncData) }

// SyncTo promises nothing, as the contract allows: the Sync at the end counts.
func (f *file) SyncTo(int64) (fullSync bool, err error) { return false, nil }

func (f *file) Prefetch(int64, int64) error { return nil }

// Fd is hidden, so that pebble makes no system call past the seam.
func (f *file) Fd() uintptr { return pvfs.InvalidFd }

func (f *file) Stat() (pvfs.FileInfo, error) { return fileInfo(f.File.Stat()) }

// directory keeps a failed sync from pebble, which would panic, in goroutines of
// its own too. The watch hears of it, and has to see to it that nothing which
// follows counts as durable.
type directory struct{ *file }

func (d directory) Sync() error {
	_ = d.file.Sync()
	return nil
}

// info adds the device, which pebble only uses to name slow disks.
type info struct{ fs.FileInfo }

func (info) DeviceID() pvfs.DeviceID { return pvfs.DeviceID{} }

func fileInfo(fi fs.FileInfo, err error) (pvfs.FileInfo, error) {
	if err != nil {
		return nil, err
	}
	return info{fi}, nil
}
