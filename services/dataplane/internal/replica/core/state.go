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
// What travels between replicas is in message.go. Detached mode, leases and
// force are not part of it.
package core

import (
	"fmt"

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
// may jump and makes stamps, and the one since boot, which makes timeouts.
type Time struct{ Wall, Mono int64 }

// Timing holds the waits of replication.md §15, in milliseconds of Time.Mono.
type Timing struct {
	// Deadline: a required follower that moves nothing for so long is reported Dead (C1).
	Deadline int64
	// Repeat: a follower that owes an answer is asked again.
	Repeat int64
	// Heartbeat: an idle follower hears from the primary.
	Heartbeat int64
	// Silence: a Partial that says nothing for so long is reported Dead.
	Silence int64
	// Serve is T_read: a replica that heard nothing for so long stops serving (R2).
	Serve int64
	// Move: a handover that is not over by then is given up (C3b).
	Move int64
	// Compare: the Active replicas compare their states so often while clients write.
	Compare int64
	// Near is N of C8: so close behind, in entries, a Partial becomes required.
	Near topology.Seq
	// Window is how many bytes of entries may be on the way to one follower.
	Window int
}

// DefaultTiming is that of replication.md §15.
func DefaultTiming() Timing {
	return Timing{Deadline: 1000, Repeat: 300, Heartbeat: 2500, Silence: 10_000, Serve: 10_000, Move: 1000, Compare: 20_000, Near: 1000, Window: 8 << 20}
}

// Validate says which wait does not fit the others.
func (t Timing) Validate() error {
	switch {
	case t.Repeat <= 0 || 2*t.Repeat >= t.Deadline:
		return fmt.Errorf("repeat %d ms must be positive and less than half of the deadline of %d ms", t.Repeat, t.Deadline)
	case 3*t.Heartbeat > t.Serve || t.Heartbeat <= 0:
		return fmt.Errorf("heartbeat %d ms must be positive and a third of the time to serve unheard, %d ms, at most", t.Heartbeat, t.Serve)
	case t.Silence < 2*t.Heartbeat:
		return fmt.Errorf("silence %d ms must be two heartbeats of %d ms at least", t.Silence, t.Heartbeat)
	case t.Move <= 0 || t.Compare <= 0 || t.Near == 0 || t.Window <= 0:
		return fmt.Errorf("move %d ms, compare %d ms, near %d entries and window %d bytes must be positive", t.Move, t.Compare, t.Near, t.Window)
	}
	return nil
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
	// Moving: nothing was appended, another replica is about to become primary.
	Moving
	// Unknown: the entry is in the log and may commit later (W10).
	Unknown
	// Rerouted: nothing was appended, the log has newer settings than the write was sent by.
	Rerouted
	// Readable: the state shows everything that was acknowledged before it was asked for (R3).
	Readable
)

var outcomeNames = [...]string{"", "committed", "applied", "not primary", "too few active replicas", "no space", "primary is moving", "unknown", "sent by older settings", "readable"}

// String names the outcome.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "invalid"
}
