// Package shard is the state of one shard replica: points in the stored form of
// replication.md §1, changed only by applying committed log entries in order
// (P5, W7), and the reads over them. The applied position is stored atomically
// with the data that it covers.
package shard

import (
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/dataplane/internal/shard/view"
)

// Write is an operation that Resolve evaluates.
type Write = view.Write

// UpdateMode restricts an upsert.
type UpdateMode = view.UpdateMode

// The update modes.
const (
	UpsertAny  = view.UpsertAny
	InsertOnly = view.InsertOnly
	UpdateOnly = view.UpdateOnly
)

// Position is the last applied entry and what was seen up to it.
type Position = store.Position
