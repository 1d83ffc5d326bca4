package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sort"
)

// filePerm lets the owner write and the group read (for backups).
const filePerm = 0o640

type osFS struct{}

// OS returns the file system of the machine.
func OS() FS { return osFS{} }

// osFile adds what *os.File lacks. Its promoted Fd method lets a caller that
// really needs the descriptor (mmap, fadvise) assert for it.
type osFile struct{ *os.File }

func (f osFile) SyncData() error { return fdatasync(f.File) }

func (f osFile) Preallocate(off, length int64) error { return fallocate(f.File, off, length) }

func openOS(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, filePerm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Create(name string) (File, error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	f, err := openOS(name, flags)
	for errors.Is(err, fs.ErrExist) {
		if err := os.Remove(name); ignoreNotExist(err) != nil {
			return nil, err
		}
		f, err = openOS(name, flags)
	}
	return f, err
}

func (osFS) Open(name string) (File, error) { return openOS(name, os.O_RDONLY) }

func (osFS) OpenReadWrite(name string) (File, error) { return openOS(name, os.O_RDWR|os.O_CREATE) }

func (osFS) OpenDir(name string) (File, error) {
	f, err := openOS(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "opendir", Path: name, Err: errNotDir}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (osFS) Remove(name string) error    { return os.Remove(name) }
func (osFS) RemoveAll(name string) error { return os.RemoveAll(name) }

func (osFS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }
func (osFS) Link(oldname, newname string) error   { return os.Link(oldname, newname) }

func (osFS) MkdirAll(dir string, perm fs.FileMode) error { return os.MkdirAll(dir, perm) }

func (osFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

func (osFS) List(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	if err = errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	sort.Strings(names)
	return names, nil
}

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "lock", Path: name, Err: err}, f.Close())
	}
	return f, nil
}

func (osFS) DiskUsage(path string) (Usage, error) {
	u, err := statfs(path)
	if err != nil {
		return Usage{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return u, nil
}
