package core

import (
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// Event is something that happened to a replica.
type Event interface{ event() }

// Start is the first event: what the shell found on the disk (S1).
type Start struct {
	Hard Hard
	// Applied is the position of the engine state.
	Applied topology.Seq
	// Last is the position of the last entry that the log holds or held.
	Last Position
	// History says where terms start in the log, truncated entries included.
	History []TermStart
	// Entries are those after Applied, dense up to Last. Being readable does not
	// make them durable: a process that died may have left them in the page cache.
	Entries []op.Entry
	// MaxHLC is the highest stamp in the engine state and in the log.
	MaxHLC op.HLC
	// ConfigRevision is the highest one among applied and logged config entries.
	ConfigRevision uint64
	// Floor is the highest one among applied and logged floor entries.
	Floor op.HLC
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
}

// Durable reports that the log is durable up to and including Seq.
type Durable struct{ Seq topology.Seq }

// AppliedTo reports that the engine state covers Seq.
type AppliedTo struct{ Seq topology.Seq }

// AppendFailed reports that the log took none of the entries from From on, and
// that none of them can be found in it later, after a crash either. It follows
// the step that asked for them with no other event between.
type AppendFailed struct{ From topology.Seq }

// Checkpointed reports that the engine state is durable up to Seq without the log.
type Checkpointed struct{ Seq topology.Seq }

// Tick lets a primary try again what the disk refused, and raise the floor.
type Tick struct{}

// Stop ends the replica: waiting clients get Unknown (W10).
type Stop struct{}

func (Start) event()         {}
func (PlacementSeen) event() {}
func (Propose) event()       {}
func (Durable) event()       {}
func (AppliedTo) event()     {}
func (AppendFailed) event()  {}
func (Checkpointed) event()  {}
func (Tick) event()          {}
func (Stop) event()          {}

// Effects say what to do, field by field in this order. Slices belong to the
// caller; bodies are shared and never changed.
type Effects struct {
	// Hard, if set, must be durable before the rest is done.
	Hard *Hard
	// Append goes to the end of the log, in order. If the log refuses it whole,
	// the rest of the effects stands and AppendFailed follows.
	Append []op.Entry
	// Sync asks for a Durable that covers everything appended so far.
	Sync bool
	// Apply goes to the engine in order; it is committed (W7). AppliedTo follows.
	Apply []op.Entry
	// Truncate: entries up to and including it may be removed from the log's front (C9).
	Truncate topology.Seq
	// Accepted tells the places of proposals that now wait; Answers follow later.
	Accepted []Answer
	Answers  []Answer
	// Broken names a violated invariant. The replica must stop.
	Broken string
}

// Answer ends the waiting of one proposal.
type Answer struct {
	Ref     uint64
	Outcome Outcome      // 0 in Accepted
	Seq     topology.Seq // of the last part; 0 if nothing was appended
}
