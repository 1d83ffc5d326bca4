package lan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inside marks the environment of a program that Alone has started.
const inside = "PANDO_TEST_ALONE"

// Inside tells whether this program was started by Alone.
func Inside() bool { return os.Getenv(inside) != "" }

// Alone runs this program once more, with these arguments, as the first process of namespaces of its own for network,
// mounts and processes. When it ends, whatever it has started and mounted goes with it, also when it is killed, and it
// is killed when this process is. Without root it asks for a user namespace as well. It fails with ErrNotHere where
// the system allows none of this.
func Alone(ctx context.Context, args ...string) error {
	if err := possible(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrNotHere, err)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(unix.SIGTERM) }, 20*time.Second
	cmd.SysProcAttr = apartFrom()
	return apart(cmd.Run) // on one thread, since the end of that counts as the end of this process
}

func possible(ctx context.Context) error {
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "true")
	cmd.SysProcAttr = apartFrom()
	return errors.Join(apart(cmd.Run), tun.Close())
}

// apartFrom says how the first process is made.
func apartFrom() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
	if uid := os.Geteuid(); uid != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// Disk mounts an empty file system in memory that holds so many bytes. It has to run inside Alone.
func Disk(dir string, bytes int64) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		return fmt.Errorf("file system of %d bytes on %s: %w", bytes, dir, err)
	}
	return nil
}
