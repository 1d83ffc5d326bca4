//go:build unix

package vfs

import (
	"errors"
	"os"
	"syscall"
)

const errNotDir = syscall.ENOTDIR

// flock takes the lock that belongs to the open file, so that a second open
// of the same process is refused as well.
func flock(f *os.File) error {
	err := retry(func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) })
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

func statfs(path string) (Usage, error) {
	var st syscall.Statfs_t
	if err := retry(func() error { return syscall.Statfs(path, &st) }); err != nil {
		return Usage{}, err
	}
	block := uint64(st.Bsize)
	return Usage{
		Total: st.Blocks * block,
		Used:  (st.Blocks - st.Bfree) * block,
		Avail: uint64(st.Bavail) * block,
	}, nil
}

// retry repeats a system call that a signal interrupted before it did anything.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
