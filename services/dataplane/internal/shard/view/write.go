package view

import (
	"errors"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/topology"
)

// Write is an operation as a coordinator hands it to the primary: not yet
// evaluated. Resolve turns it into an op.Op of explicit ids and stored values.
type Write struct {
	Kind op.Kind // of the operation that it becomes
	// Upsert, UpdateVectors: points as given (vectors not yet normalised).
	Points []op.Point
	// What the others act on: IDs, or all points that satisfy Filter. With Points,
	// those that exist are written only if they satisfy it.
	IDs    []topology.PointID
	Filter *filter.Filter
	// SetPayload, OverwritePayload: the object, put under Path if that is not empty.
	Payload payload.Doc
	Path    filter.Key
	// DeletePayload: payload paths. DeleteVectors: vector names.
	Keys []string
	// Upsert: what to do with ids that exist or do not.
	Mode UpdateMode
	// Routed and Weak are those of core.Proposal.
	Routed uint64
	Weak   bool
}

// UpdateMode restricts an upsert. The numbers are those of the public enum.
type UpdateMode uint8

// The update modes.
const (
	UpsertAny UpdateMode = iota
	InsertOnly
	UpdateOnly
)

// What is wrong with a write.
var (
	ErrNoPoint = errors.New("no such point")
	ErrWrite   = errors.New("malformed write")
)

// NoPointError is ErrNoPoint with the first id that is missing.
type NoPointError struct{ ID topology.PointID }

func (e *NoPointError) Error() string { return fmt.Sprintf("%v: %s", ErrNoPoint, e.ID) }

func (e *NoPointError) Unwrap() error { return ErrNoPoint }
