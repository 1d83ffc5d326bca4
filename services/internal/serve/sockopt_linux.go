package serve

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// limitUnacked ends a connection whose data stays unacknowledged for 10 s (a peer that lost power, a cut cable);
// the kernel's own limit is a quarter of an hour. Accepted connections inherit it.
func limitUnacked(c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 10_000)
	}); cerr != nil {
		return cerr
	}
	return err
}
