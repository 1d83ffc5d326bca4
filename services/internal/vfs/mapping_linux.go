package vfs

import (
	"errors"
	"io/fs"
	"syscall"
)

// hugePage is the size of the pages that a transparent huge page stands for on
// amd64 and, with pages of 4 KiB, on arm64.
const hugePage = 2 << 20

func (osFS) Map(name string) (Mapping, error) {
	f, err := openOS(name, syscall.O_RDONLY)
	if err != nil {
		return nil, err
	}
	m, err := mapFile(f.(osFile), name)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return m, nil
}

func mapFile(f osFile, name string) (Mapping, error) {
	size, err := mappable(f, name)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		return &region{bytes: []byte{}, free: nothing}, nil
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, &fs.PathError{Op: "mmap", Path: name, Err: err}
	}
	return &region{bytes: b, free: func() error { return syscall.Munmap(b) }, hint: advise}, nil
}

func advise(b []byte, a Advice) error {
	flags := [...]int{Normal: syscall.MADV_NORMAL, Sequential: syscall.MADV_SEQUENTIAL, WillNeed: syscall.MADV_WILLNEED, Random: syscall.MADV_RANDOM, DontNeed: syscall.MADV_DONTNEED}
	return syscall.Madvise(b, flags[a])
}

// offHeap makes n bytes of anonymous memory. From a huge page on they begin at a
// multiple of one; that the system grants none is no error.
func offHeap(n int) (*region, error) {
	if n == 0 {
		return onHeap(0)
	}
	size := n
	if n >= hugePage {
		size += hugePage
	}
	whole, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return nil, err
	}
	b := whole[:n:n]
	if n >= hugePage {
		b = aligned(whole, hugePage, n)
		if err := syscall.Madvise(b, syscall.MADV_HUGEPAGE); err != nil && !errors.Is(err, syscall.EINVAL) {
			return nil, errors.Join(err, syscall.Munmap(whole))
		}
	}
	return &region{bytes: b, free: func() error { return syscall.Munmap(whole) }}, nil
}
