package store

import (
	"errors"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/op"
)

// The states of a folder that refuses. All wrap the folder's name.
var (
	// ErrInUse: another process, or another Store of this one, has the folder open.
	ErrInUse = errors.New("shard: folder is in use by another process")
	// ErrVersion: a newer Pando wrote the folder.
	ErrVersion = errors.New("shard: folder was written by a newer version")
	// ErrCorrupt: stored bytes are damaged; the text names the file where it is
	// known. The replica must be repaired from another one.
	ErrCorrupt = errors.New("shard: stored data is damaged")
	// ErrNoSpace: the disk is full. Nothing was applied; reads go on; the same
	// call works again when there is space.
	ErrNoSpace = errors.New("shard: no space left on the disk")
	// ErrFailed: the disk refused something that leaves it unknown what is
	// durable. It sticks: nothing is applied any more; close and open again.
	ErrFailed = errors.New("shard: disk failed")
	// ErrClosed: it was closed.
	ErrClosed = errors.New("shard: closed")
)

// ErrEnough from a visit ends a scan early, without an error.
var ErrEnough = errors.New("enough")

// Damaged classifies an error of decoding stored bytes: ErrVersion or ErrCorrupt.
func Damaged(err error) error {
	if errors.Is(err, op.ErrVersion) {
		return fmt.Errorf("%w: %w", ErrVersion, err)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}
