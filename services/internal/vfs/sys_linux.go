package vfs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// fallocKeepSize is FALLOC_FL_KEEP_SIZE of linux/falloc.h.
const fallocKeepSize = 1

func (osFS) openDirect(name string) (File, error) { return openOS(name, os.O_RDONLY|syscall.O_DIRECT) }

func fdatasync(f *os.File) error {
	if err := retry(func() error { return syscall.Fdatasync(int(f.Fd())) }); err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

func fallocate(f *os.File, off, length int64) error {
	err := retry(func() error { return syscall.Fallocate(int(f.Fd()), fallocKeepSize, off, length) })
	if err == nil || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return &fs.PathError{Op: "fallocate", Path: f.Name(), Err: err}
}
