package vfs

import (
	"errors"
	"io"
	"syscall"
)

const (
	// streamChunk is how much Stream reads at once.
	streamChunk = 256 << 10
	// sector is what reads past the cache are aligned to; disks have 512 or 4096 bytes.
	sector = 4096
)

// direct is a file system that can read past the system's cache.
type direct interface {
	openDirect(name string) (File, error)
}

// Stream reads a file from its beginning to its end and gives each its pieces, which are
// lent. Where the system can it reads past its cache: what comes is what the disk has,
// and nothing else leaves the cache for it. Errors: each's, io.ErrUnexpectedEOF for a
// file that was cut meanwhile, the disk's.
func Stream(fsys FS, name string, each func([]byte) error) error {
	if d, ok := fsys.(direct); ok {
		if f, err := d.openDirect(name); err == nil {
			at, err := stream(f, 0, each)
			if err = errors.Join(err, f.Close()); !errors.Is(err, syscall.EINVAL) {
				return err
			}
			return streamFrom(fsys, name, at, each) // a file system that knows no such reads
		}
	}
	return streamFrom(fsys, name, 0, each)
}

func streamFrom(fsys FS, name string, at int64, each func([]byte) error) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	_, err = stream(f, at, each)
	return errors.Join(err, f.Close())
}

// stream tells how far it came.
func stream(f File, at int64, each func([]byte) error) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return at, err
	}
	b := aligned(make([]byte, streamChunk+sector), sector, streamChunk)
	for at < info.Size() {
		n, err := f.ReadAt(b, at)
		n = int(min(int64(n), info.Size()-at))
		switch {
		case n > 0: // what is wrong after it comes up at the next read
		case errors.Is(err, io.EOF):
			return at, io.ErrUnexpectedEOF
		default:
			return at, err
		}
		if err := each(b[:n]); err != nil {
			return at, err
		}
		at += int64(n)
	}
	return at, nil
}
