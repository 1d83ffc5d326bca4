// Package core is the replication protocol of one replica as a pure state
// machine (docs/replication.md, rule names at the code): Step takes an event and
// says what has to be made durable, appended, applied and answered, in that
// order. It is not a server: no clock, goroutine, disk, network, log or random
// source is in here; package replica is the shell that performs the effects.
//
//	        a placement of a higher epoch decides on the role:
//	Primary    it is named primary, Active, of this incarnation    (lead.go, write.go)
//	Follower   it is Active, another one is primary                (follow.go)
//	Receiver   it is Partial: it takes the log, or a copy, and serves nothing
//	Idle       anything else
//	Stopped    for good: Stop, a failed disk, or the replica starts anew on a copy
//
// A replica that reaches neither the others nor the control plane is detached
// (detached.go). What travels between replicas is in message.go. Leases are not
// part of it.
package core

import (
	"github.com/pandodb/pando/services/dataplane/internal/line"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/message"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/timing"
	"github.com/pandodb/pando/services/internal/topology"
)

// Pending is the set of replicas that the primary of Epoch is promoting to
// Active: they are required from before the request is sent (C8), and only a
// higher epoch ends it.
type Pending struct {
	Epoch topology.Epoch
	Peers []topology.PeerID
}

// Names of package line.
type (
	TermStart = line.TermStart
	Position  = line.Position
	Line      = line.Line
)

// What replicas say to each other.
type (
	Message    = message.Message
	Append     = message.Append
	Ack        = message.Ack
	Stale      = message.Stale
	Mismatch   = message.Mismatch
	Stranger   = message.Stranger
	Offer      = message.Offer
	Diverged   = message.Diverged
	Copy       = message.Copy
	Kept       = message.Kept
	Reconcile  = message.Reconcile
	Reconciled = message.Reconciled
	Settled    = message.Settled
	Envelope   = message.Envelope
)

// Hard is the small durable state of a replica (replication.md §1). The shell
// makes it durable as a whole before it performs anything else of the same step.
type Hard struct {
	Incarnation topology.Incarnation
	Promised    topology.Term
	Run         topology.Run
	Placement   topology.Placement
	Pending     Pending
	// Commit is a lower bound of the commit index.
	Commit topology.Seq
	// HLCBound is at least every stamp that was issued or merged.
	HLCBound op.HLC
}

// Role is what the replica does under the placement that it holds.
type Role uint8

// The roles.
const (
	// Idle: no placement, or one in which this replica is not Active or not this
	// incarnation (S3). It serves and acknowledges nothing.
	Idle Role = iota
	// Follower: Active, and another replica orders the writes.
	Follower
	// Receiver: Partial. It takes log or copy from the primary and serves nothing.
	Receiver
	// Primary orders the writes of its epoch.
	Primary
	// Stopped: final; nothing is appended or acknowledged any more.
	Stopped
)

var roleNames = [...]string{"idle", "follower", "receiver", "primary", "stopped"}

// String names the role.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return "unknown"
}

// Time is what the clocks show, in milliseconds: the wall clock since 1970, which
// may jump and makes stamps, and the one since boot, which makes timeouts. Control is
// what the latter showed when the control plane was heard last.
type Time struct{ Wall, Mono, Control int64 }

// Timing is that of package timing.
type Timing = timing.Timing

// DefaultTiming is that of replication.md §15.
func DefaultTiming() Timing { return timing.Default() }

// WaitMode says when a write is answered (W8).
type WaitMode uint8

// The wait modes.
const (
	// WaitCommitted answers at commit (`wait=false`).
	WaitCommitted WaitMode = iota
	// WaitApplied answers when every required replica has applied (`wait=true`).
	WaitApplied
)

// Outcome of a proposal.
type Outcome uint8

// The outcomes.
const (
	// Committed: durable at every required replica.
	Committed Outcome = iota + 1
	// Applied: committed, and every required replica shows it.
	Applied
	// NotPrimary: nothing was appended; another replica may take it.
	NotPrimary
	// TooFewActive: nothing was appended, the write consistency factor is not met (W9).
	TooFewActive
	// NoSpace: nothing was appended, the disk is full.
	NoSpace
	// Moving: nothing was appended, another replica is about to become primary.
	Moving
	// Unknown: the entry is in the log and may commit later (W10).
	Unknown
	// Rerouted: nothing was appended, the log has newer settings than the write was sent by.
	Rerouted
	// Readable: the state shows everything that was acknowledged before it was asked for (R3).
	Readable
	// Provisional: durable here and at Disks-1 others, shown here, and it will be in the
	// log when the replicas reach each other again (P3).
	Provisional
	// Detached: nothing was appended, and what was asked for takes all replicas or the
	// control plane (P1).
	Detached
)

var outcomeNames = [...]string{"", "committed", "applied", "not primary", "too few active replicas", "no space", "primary is moving", "unknown", "sent by older settings", "readable", "provisional", "detached"}

// String names the outcome.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "invalid"
}
