package kernel

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// beforeFault gives n elements that end where an unreadable page begins.
func beforeFault[E any](t testing.TB, n int) []E {
	t.Helper()
	page := unix.Getpagesize()
	need := n * int(unsafe.Sizeof(*new(E)))
	size := (need+page-1)/page*page + page
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	if err := unix.Mprotect(mem[size-page:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return unsafe.Slice((*E)(unsafe.Pointer(&mem[size-page-need])), n)
}

// fromRAM gives n elements of memory of its own, in huge pages where allowed.
func fromRAM[E any](t testing.TB, n int) []E {
	t.Helper()
	size := n * int(unsafe.Sizeof(*new(E)))
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	_ = unix.Madvise(mem, unix.MADV_HUGEPAGE)
	return unsafe.Slice((*E)(unsafe.Pointer(&mem[0])), n)
}
