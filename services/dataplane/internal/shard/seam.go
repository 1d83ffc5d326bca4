// Package shard is the state of one shard replica: points in the stored form of
// replication.md §1, changed only by applying committed log entries in order
// (P5, W7), and the reads over them. The applied position is stored atomically
// with the data that it covers.
package shard

import (
	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/topology"
)

// Write is an operation as a coordinator hands it to the primary: not yet
// evaluated. Resolve turns it into an op.Op of explicit ids and stored values.
type Write struct {
	Kind Kind
	// Upsert, UpdateVectors: points as given (vectors not yet normalised).
	Points []op.Point
	// What the others act on: IDs, or all points that satisfy Filter.
	IDs    []topology.PointID
	Filter *filter.Filter
	// SetPayload, OverwritePayload: the object, put under Path if that is not empty.
	Payload payload.Doc
	Path    filter.Key
	// DeletePayload: payload paths. DeleteVectors: vector names.
	Keys []string
	// Upsert: what to do with ids that exist or do not.
	Mode UpdateMode
}

// Kind of a Write is the kind of the operation that it becomes.
type Kind = op.Kind

// UpdateMode restricts an upsert. The numbers are those of the public enum.
type UpdateMode uint8

// The update modes.
const (
	UpsertAny UpdateMode = iota
	InsertOnly
	UpdateOnly
)
