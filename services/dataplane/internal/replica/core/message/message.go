// Package message is what the replicas of a shard say to each other.
package message

import (
	"github.com/pandodb/pando/services/dataplane/internal/line"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/topology"
)

// Message travels between two replicas of a shard. It may be lost, late,
// repeated or out of order; every one is fenced by the term that it names (C5).
type Message interface{ message() }

// Append: primary to follower. It may be empty: then it tells the commit index,
// or asks whether the follower holds Prev.
type Append struct {
	topology.Term
	Prev    line.Position
	Entries []op.Entry
	Commit  topology.Seq
	// Complete: Commit covers whatever earlier terms may have acknowledged (R2a).
	Complete bool
	// Session is the receiver's as the primary knows it, 0 if it does not.
	Session uint64
	// Round is echoed in the acknowledgement: the receiver obeyed this term after it
	// was sent (R3).
	Round uint64
	// Placement is set until the follower is known to have one of this epoch.
	Placement *topology.Placement
}

// Ack: follower to primary.
type Ack struct {
	topology.Term // of the primary that it is for, never the follower's own idea
	// Durable counts only entries that are proven equal to the primary's.
	Durable, Applied topology.Seq
	// Mark is the newest one that the follower has applied.
	Mark    point.Mark
	Session uint64
	Round   uint64 // highest of this term's appends
	// Owes: it has provisional operations of which it does not know whether they are
	// committed.
	Owes bool
}

// Stale refuses a term that is lower than the promise.
type Stale struct {
	topology.Term // refused
	Placement     topology.Placement
}

// Mismatch says that Append.Prev is not in the follower's log, and what is (C6).
type Mismatch struct {
	topology.Term
	History []line.TermStart
	Last    topology.Seq
	Session uint64
}

// Stranger says that the receiver's disk is not the one that the placement means.
type Stranger struct{ topology.Term }

// Offer: primary to a Partial replica whose place in the log is gone: fetch a
// copy of the state (C6a). Session is the receiver's as for Append: one that has
// started anew since, perhaps on a copy, says so first.
type Offer struct {
	topology.Term
	Session uint64
}

// Diverged: primary to a Partial replica: the digests at Mark differ, so that
// copy is wrong (C8).
type Diverged struct {
	topology.Term
	Mark topology.Seq
}

// Copy: a detached replica to the other Active ones, to be kept provisionally (P3).
// Upto is echoed once all of it is durable.
type Copy struct {
	Placement topology.Placement
	Upto      topology.Seq
	Entries   []op.Entry
}

// Kept answers Copy.
type Kept struct{ Upto topology.Seq }

// Reconcile: provisional operations to the primary, oldest first, parts in order
// (P6). Seen is what the primary's engine has in its dedup, in the order of the
// operations; the receiver's shell fills it in.
type Reconcile struct {
	Entries []op.Entry
	Seen    []topology.Seq
}

// Reconciled answers Reconcile, operation by operation as they are committed.
type Reconciled struct{ Settled []Settled }

// Settled is where an operation is in the committed log; 0: it came too late to be
// appended (D2a).
type Settled struct {
	ID  op.ID
	Seq topology.Seq
}

func (Append) message()     {}
func (Ack) message()        {}
func (Stale) message()      {}
func (Mismatch) message()   {}
func (Stranger) message()   {}
func (Offer) message()      {}
func (Diverged) message()   {}
func (Copy) message()       {}
func (Kept) message()       {}
func (Reconcile) message()  {}
func (Reconciled) message() {}

// Envelope is a message and the peer that it is for.
type Envelope struct {
	To topology.PeerID
	Message
}
