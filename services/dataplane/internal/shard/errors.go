package shard

import (
	"errors"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/internal/topology"
)

// The states of a shard that refuses. All wrap the folder's name.
var (
	// ErrInUse: another process, or another Shard of this one, has the folder open.
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
	// ErrClosed: the Shard was closed.
	ErrClosed = errors.New("shard: closed")
	// ErrCopy: bytes that should be a copy of a shard are damaged, incomplete or not
	// what their head says.
	ErrCopy = errors.New("shard: copy is damaged or incomplete")
	// ErrGap: an entry does not follow the applied one.
	ErrGap = errors.New("shard: entry out of order")
)

// What is wrong with a request.
var (
	ErrVectorName = part.ErrVectorName
	ErrNotFinite  = query.ErrNotFinite
	ErrNoIndex    = part.ErrNoIndex
	ErrNoPoint    = errors.New("no such point")
	ErrWrite      = errors.New("malformed write")
)

// DimensionError reports a vector of another length than the schema's.
type DimensionError = query.DimensionError

// VectorNameError is ErrVectorName with the name.
type VectorNameError = part.VectorNameError

// NoPointError is ErrNoPoint with the first id that is missing.
type NoPointError struct{ ID topology.PointID }

func (e *NoPointError) Error() string { return fmt.Sprintf("%v: %s", ErrNoPoint, e.ID) }

func (e *NoPointError) Unwrap() error { return ErrNoPoint }
