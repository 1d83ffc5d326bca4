package core

import (
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core/proof"
	"github.com/pandodb/pando/services/internal/topology"
)

// Event is something that happened to a replica.
type Event interface{ event() }

// Start is the first event: what the shell found on the disk (S1).
type Start struct {
	Hard Hard
	// Applied is the position of the engine state; Config and Floor are the
	// highest revision and floor that it has.
	Applied topology.Seq
	Config  uint64
	Floor   op.HLC
	// Mark is the newest one that the engine has applied.
	Mark point.Mark
	// Last is the position of the last entry that the log holds or held.
	Last Position
	// History says where terms start in the log, truncated entries included.
	History []TermStart
	// Entries are those after Applied, dense up to Last. Being readable does not
	// make them durable: a process that died may have left them in the page cache.
	Entries []op.Entry
	// MaxHLC is the highest stamp in the engine state, in the log and in Provisional.
	MaxHLC op.HLC
	// Provisional are the entries of Effects.Keep that were not released yet; they are
	// shown over the state.
	Provisional []op.Entry
	// Kept is the number of the last one that was ever there.
	Kept topology.Seq
}

// PlacementSeen brings a placement, from the control plane or from disk, and the
// settings that the collection's record holds. The placement is a value: nobody
// changes its replicas after it was handed over.
type PlacementSeen struct {
	Placement topology.Placement
	Config    Config
}

// Config is what a config entry brings into effect (W11); revision 0 means none.
type Config struct {
	Revision uint64
	Settings []byte
}

// Propose hands over writes whose bodies are resolved (W3, W3a).
type Propose struct{ Proposals []Proposal }

// Proposal is one write. Its identity is (ID.Request, ID.Index); ID.Part is
// ignored. Bodies are its parts in order; they become the log's property.
type Proposal struct {
	Ref    uint64 // the shell's own name for the waiting client
	ID     op.ID
	Bodies [][]byte
	Wait   WaitMode
	// Factor is the write consistency factor; 0 counts as 1.
	Factor int
	// Seen is the place of the operation's last part in the engine's dedup, looked
	// up after the last AppliedTo that the machine was told; 0: not there.
	Seen topology.Seq
	// Routed is the revision of the settings by which the write was sent to this shard
	// and not to another one; 0: it would have come by any.
	Routed uint64
	// Weak: it may be taken provisionally.
	Weak bool
}

// Linearize asks when a read of the state here will see everything that was
// acknowledged before (R3). Its Ref is of the same kind as a Proposal's.
type Linearize struct{ Ref uint64 }

// Verify asks the primary for what all Active replicas say of a mark that it appends now.
type Verify struct{ Ref uint64 }

// Received brings a message of another replica.
type Received struct {
	From topology.PeerID
	Message
}

// Durable reports that the log is durable up to and including Seq.
type Durable struct{ Seq topology.Seq }

// AppliedTo reports that the engine state covers Seq, and the newest mark that the
// engine has applied itself.
type AppliedTo struct {
	Seq  topology.Seq
	Mark point.Mark
}

// KeptTo reports that Effects.Keep is durable, and shown, up to a number.
type KeptTo struct{ Number topology.Seq }

// KeepFailed reports that nothing of Effects.Keep from a number on is durable, nor
// will ever be found. It follows the step that asked with no other event between.
type KeepFailed struct{ From topology.Seq }

// AppendFailed reports that the log took none of the entries from From on, and
// that none of them can be found in it later, after a crash either. It follows
// the step that asked for them with no other event between; that step's messages
// were not sent.
type AppendFailed struct{ From topology.Seq }

// Maintain asks for an entry that changes how engines keep their state, and nothing
// of what they say: a Seal or a Merge. Only a primary appends it, and not before the
// one before has been applied.
type Maintain struct{ Op op.Op }

// Checkpointed reports that the engine state is durable up to Seq without the log.
type Checkpointed struct{ Seq topology.Seq }

// ReadDone answers Effects.Read. Entries are dense from Read.From on; none means
// that the log does not hold that place any more.
type ReadDone struct {
	Read
	Entries []op.Entry
}

// Pinned reports that a copy of the state at Seq is being handed to a peer.
type Pinned struct {
	Peer topology.PeerID
	Seq  topology.Seq
}

// Fetched answers Effects.Fetch: a copy is complete beside the state, at At.
type Fetched struct{ At topology.Seq }

// FetchFailed answers Effects.Fetch: there is no copy. Clash: since it would clash with
// the own Line.
type FetchFailed struct{ Clash bool }

// HandOver asks the primary to give its place to an Active follower (C3b).
type HandOver struct{ To topology.PeerID }

// Tick comes at Effects.Wake at the latest. It moves what waits for time or for
// a disk that was full.
type Tick struct{}

// Stop ends the replica: waiting clients get Unknown (W10).
type Stop struct{}

func (Start) event()         {}
func (PlacementSeen) event() {}
func (Propose) event()       {}
func (Linearize) event()     {}
func (Verify) event()        {}
func (Received) event()      {}
func (Durable) event()       {}
func (AppliedTo) event()     {}
func (AppendFailed) event()  {}
func (Checkpointed) event()  {}
func (KeptTo) event()        {}
func (KeepFailed) event()    {}
func (Maintain) event()      {}
func (ReadDone) event()      {}
func (Pinned) event()        {}
func (Fetched) event()       {}
func (FetchFailed) event()   {}
func (HandOver) event()      {}
func (Tick) event()          {}
func (Stop) event()          {}

// Effects say what to do, field by field in this order. Slices belong to the
// caller; bodies are shared and never changed.
type Effects struct {
	// Hard, if set, must be durable before the rest is done.
	Hard *Hard
	// Cut, if set, takes the entries after Cut.After off the log, durably.
	Cut *Cut
	// Append goes to the end of the log, in order. If the log refuses it whole,
	// Send is dropped, the rest of the effects stands and AppendFailed follows.
	Append []op.Entry
	// Keep goes to the provisional operations, durably, by number (P3, P4), and is shown
	// over the state. KeptTo follows, or KeepFailed. It is independent of the log.
	Keep []op.Entry
	// Lift are the parts of operations that are not to be shown over the state any more,
	// since it has them; Late those among them that came too late to be appended (D2a). Entries up to
	// Release need not be kept.
	Lift    []op.ID
	Late    []op.Entry
	Release topology.Seq
	// Sync asks for a Durable that covers everything appended so far.
	Sync bool
	// Apply goes to the engine in order; it is committed (W7). AppliedTo follows.
	Apply []op.Entry
	// Truncate: entries up to and including it may be removed from the log's front (C9).
	Truncate topology.Seq
	// Send goes out in order. A message that cannot be sent is dropped.
	Send []Envelope
	// Read asks for entries that are no longer in memory; ReadDone follows each.
	Read []Read
	// Ask and Move are requests to the control plane. A lost one is repeated by a
	// later step; what became of it shows in a placement (C10).
	Ask  []SetState
	Move *Move
	// Fetch, if set, is the peer from which a copy of the state is to be fetched;
	// Fetched or FetchFailed follows.
	Fetch topology.PeerID
	// Copy says what to do with a copy that Fetched brought. After Install the
	// machine is stopped: the replica starts anew on the copy.
	Copy CopyFate
	// Wipe: this disk's copy is wrong. The machine is stopped; the replica starts
	// anew, empty and with another incarnation. Aside: it may be the only one that has
	// what was acknowledged once (F1), so it is kept.
	Wipe  string
	Aside bool
	// Accepted tells the places of proposals that now wait; Answers follow later.
	Accepted []Answer
	Answers  []Answer
	Verified []proof.Verified // answers Verify
	// Broken names a violated invariant. The replica must stop.
	Broken string
	// Wake is the monotonic time of the next Tick at the latest; 0: none is needed.
	Wake int64
}

// Cut names the last entry that stays.
type Cut struct{ After topology.Seq }

// Read names entries for a follower: from From on, about Bytes of bodies, at
// least one. Epoch of reading tells answers of an earlier term.
type Read struct {
	Peer  topology.PeerID
	From  topology.Seq
	Bytes int
	Gen   uint64
}

// SetState asks the control plane to change the state of one replica (C1, C8).
type SetState struct {
	Epoch       topology.Epoch
	Peer        topology.PeerID
	Incarnation topology.Incarnation
	To          topology.ReplicaState
	Reason      string
}

// Move asks the control plane to make another replica primary (C3b): it has all
// of this one's log, and this one appends nothing meanwhile.
type Move struct {
	Epoch       topology.Epoch
	To          topology.PeerID
	Incarnation topology.Incarnation
}

// CopyFate is what becomes of a fetched copy.
type CopyFate uint8

// The fates.
const (
	NoCopy CopyFate = iota
	// Drop it: the state has come as far by itself (C6a).
	Drop
	// Install it in place of state and, where it does not continue the copy, log.
	Install
)

// Answer ends the waiting of one Proposal, Linearize or Verify.
type Answer struct {
	Ref     uint64
	Outcome Outcome      // 0 in Accepted
	Seq     topology.Seq // of the last part; 0 if nothing was appended
	Disks   int          // that have it; of Provisional
}
