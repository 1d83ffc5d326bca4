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
