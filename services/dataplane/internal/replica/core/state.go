// Package core is the replication protocol of one replica as a pure state
// machine (docs/replication.md, rule names at the code): Step takes an event and
// says what has to be made durable, appended, applied and answered, in that
// order. It is not a server: no clock, goroutine, disk, network, log or random
// source is in here; package replica is the shell that performs the effects.
//
//	            PlacementSeen / Start
//	Idle ──────────────────────────────► Primary   placement names this replica, Active, incarnation matches
//	 │ ▲                                   │ │
//	 │ └───── higher epoch without it ─────┘ └──► Stopped   Stop, or the shell reports that the disk failed
//	 └─────────► Follower   Active, another replica is primary
//
// The state has the form for many replicas (terms, promise, match, pending). The
// events that carry messages between replicas are not part of it yet.
package core

import (
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// Pending is the set of replicas that the primary of Epoch is promoting to
// Active: they are required from before the request is sent (C8), and only a
// higher epoch ends it.
type Pending struct {
	Epoch topology.Epoch
	Peers []topology.PeerID
}

// TermStart says where the entries of a term begin in the log.
type TermStart struct {
	topology.Term
	First topology.Seq
}

// Position names an entry: equal positions imply equal prefixes (I4).
type Position struct {
	topology.Term
	Seq topology.Seq
}

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
	// Primary orders the writes of its epoch.
	Primary
	// Stopped: final; nothing is appended or acknowledged any more.
	Stopped
)

var roleNames = [...]string{"idle", "follower", "primary", "stopped"}

// String names the role.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return "unknown"
}

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
	// Unknown: the entry is in the log and may commit later (W10).
	Unknown
)

var outcomeNames = [...]string{"", "committed", "applied", "not primary", "too few active replicas", "no space", "unknown"}

// String names the outcome.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "invalid"
}
