package multi

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpu is what the process has used; on a machine that is shared it says more than
// the time that has passed.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
