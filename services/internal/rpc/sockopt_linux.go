package rpc

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// limitUnacked ends a connection whose data stays unacknowledged for so long; the kernel's own limit is a quarter of an hour.
func limitUnacked(c *net.TCPConn, limit time.Duration) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit.Milliseconds()))
	}); cerr != nil {
		return cerr
	}
	return err
}
