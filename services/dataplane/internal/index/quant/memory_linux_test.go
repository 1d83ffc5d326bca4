package quant

import (
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// floats takes memory as a segment will: outside of the heap, in huge pages where
// the system has them.
func floats(t testing.TB, n int) []float32 {
	t.Helper()
	b, err := unix.Mmap(-1, 0, max(4, 4*n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	t.Cleanup(func() { _ = unix.Munmap(b) })
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

// cpuTime is what the process has used; on a machine that is shared it says more than
// the time that has passed.
func cpuTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
