package member

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// etcd ends the process when its database cannot grow. A full disk must not do that, so two things are done:
// blocks beyond the present end of the database are allocated ahead, which carries what etcd writes by itself (sessions,
// the leader's record, its own index); and Room tells those who would make it grow for good to refuse.
const (
	// ahead is how many bytes are allocated beyond the present end of the database.
	ahead = 16 << 20
	// leastFree is how many bytes must be free on the disk for growth.
	leastFree = 16 << 20
)

// ErrDiskFull reports that the disk of the member folder has too little room for new records.
var ErrDiskFull = errors.New("member: the disk is full")

// Room is ErrDiskFull while new records should be refused.
func (m *Member) Room() error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(m.cfg.Dir, &fs); err != nil {
		return fmt.Errorf("member: free space of %s: %w", m.cfg.Dir, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < leastFree {
		return fmt.Errorf("%w: %d MiB are free in %s, %d are needed", ErrDiskFull, free>>20, m.cfg.Dir, leastFree>>20)
	}
	return nil
}

// allocateAhead reserves blocks for the database file without changing its size. Where the file system cannot do that, or
// has no room, nothing is reserved.
func (m *Member) allocateAhead() error {
	f, err := os.OpenFile(filepath.Join(m.cfg.Dir, "etcd", "member", "snap", "db"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		err = fileutil.Preallocate(f, info.Size()+ahead, false)
	}
	return errors.Join(err, f.Close())
}
