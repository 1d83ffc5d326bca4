package replica

import (
	"context"
	"errors"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/internal/topology"
)

var (
	// ErrReopen is what Run ends with after Copy.Commit: whoever opened the parts
	// closes them, opens them again, now with the copy, and makes another Replica.
	ErrReopen = errors.New("replica is to be opened again with another state")
	// ErrCopyOld: what the source has now is of no use to who asked for it.
	ErrCopyOld = errors.New("copy of the shard is not ahead of this replica")
	// ErrClash: it lacks what is committed here (core.Line).
	ErrClash = errors.New("copy of the shard lacks what is committed here")
)

// Copier takes the shard's state over from another replica (C6a).
type Copier interface {
	// Fetch builds the copy beside this replica's own state and returns when it is
	// whole, checked and durable. It may run beside everything; one at a time. progress
	// is called from its goroutine. When ctx ends or anything fails, nothing is left
	// of it. Errors: ErrCopyOld, ErrClash, ErrNoSpace, ctx's, and whatever the source answers.
	Fetch(ctx context.Context, from CopySource, progress func(CopyProgress)) (Copy, error)
}

// CopySource says whose state is wanted.
type CopySource struct {
	Peer topology.PeerID
	// Epoch of the placement that the wish rests on. A source that knows only an
	// older one refuses.
	Epoch topology.Epoch
	// After is a place up to which the state is here already.
	After topology.Seq
	// Line is what is committed here: a copy that clashes with it is not to be taken.
	Line core.Line
}

// CopyProgress tells how far a copy has come. TotalBytes is an estimate. Elapsed is how
// long it has been fetched, which the replica fills in.
type CopyProgress struct {
	Points, TotalPoints uint64
	Bytes, TotalBytes   uint64
	Elapsed             time.Duration
}

// Copy is a state that waits to take the place of the replica's own. Either
// Commit or Drop is called, once.
type Copy interface {
	// At is the last entry in it.
	At() core.Position
	// Commit is the point of no return. After nil the replica applies and
	// acknowledges nothing more, and Run ends with ErrReopen. It does so as well after
	// ErrFailed: nobody knows then which state a crash leaves, and opening finds out.
	// After any other error the replica goes on as it is, and the copy is gone.
	Commit() error
	// Drop removes the copy.
	Drop() error
}
