package shard

import (
	"errors"

	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/intake"
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/dataplane/internal/shard/view"
)

// The states of a shard that refuses. All wrap the folder's name.
var (
	ErrInUse   = store.ErrInUse
	ErrVersion = store.ErrVersion
	ErrCorrupt = store.ErrCorrupt
	ErrNoSpace = store.ErrNoSpace
	ErrFailed  = store.ErrFailed
	ErrClosed  = store.ErrClosed
	// ErrUnreadable: the disk does not give the bytes of a sealed part's file. It may
	// pass.
	ErrUnreadable = segment.ErrUnreadable
	ErrCopy       = intake.ErrCopy
	// ErrGap: an entry does not follow the applied one.
	ErrGap = errors.New("shard: entry out of order")
)

// What is wrong with a request.
var (
	ErrVectorName = part.ErrVectorName
	ErrNotFinite  = query.ErrNotFinite
	ErrNoIndex    = part.ErrNoIndex
	ErrNoPoint    = view.ErrNoPoint
	ErrWrite      = view.ErrWrite
)

// DimensionError reports a vector of another length than the schema's.
type DimensionError = query.DimensionError

// VectorNameError is ErrVectorName with the name.
type VectorNameError = part.VectorNameError

// NoPointError is ErrNoPoint with the first id that is missing.
type NoPointError = view.NoPointError
