// Package replica runs one replica of a shard: it feeds the pure protocol of
// replica/core with writes, placements and what disk and engine report, and
// performs the effects that come back. One goroutine owns the protocol; fsync
// and applying run beside it, so that a batch collects while the one before is
// being synced and the one before that is being applied.
//
//	Propose ─► mailbox ─► loop: W3, core.Step, Log.Append, answers
//	                        │ ▲ │ ▲
//	                        │ │ │ └── done ── worker: Engine.Apply, Engine.Checkpoint
//	                        ▼ └─┼─ durable ─ syncer: Log.Sync
//
// It is not the engine, not the log and not the network: those are behind Log,
// Engine, State and the callers of Propose.
package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
)

// What a write can end with besides its result. Errors of Engine.Resolve pass
// through: they refuse the write before anything is appended.
var (
	// ErrNotPrimary: nothing was appended; Status names the primary known here.
	ErrNotPrimary = errors.New("replica is not the primary of its shard")
	// ErrTooFewActive: nothing was appended, the write consistency factor is not met (W9).
	ErrTooFewActive = errors.New("fewer active replicas than the write consistency factor")
	// ErrRerouted: nothing was appended nor will be, since there are newer settings than
	// those by which the write was sent here.
	ErrRerouted = errors.New("the write was sent here by older settings")
	// ErrDetached: nothing was appended; the write takes all replicas or the control plane,
	// and neither is reached (P1).
	ErrDetached = errors.New("replica reaches neither the other replicas nor the control plane: only weak writes go on")
	// ErrMoving: nothing was appended, another replica is about to become primary.
	ErrMoving = errors.New("primary is moving to another peer")
	// ErrBusy: nothing was appended, too much is waiting already.
	ErrBusy = errors.New("replica has too many writes waiting")
	// ErrNoSpace: nothing was appended, the disk is full. Reads go on.
	ErrNoSpace = errors.New("no space left for the shard's log")
	// ErrUnknownOutcome: the write is in the log and may take effect later (W10).
	ErrUnknownOutcome = errors.New("outcome of the write is unknown")
	// ErrStopped: the replica is shutting down or gone.
	ErrStopped = errors.New("replica is stopped")
	// ErrFailed: disk or engine failed; only a restart of the replica helps.
	ErrFailed = errors.New("replica has failed")
	// ErrWipe ends Run when this disk's copy is wrong: it has to be made anew, empty
	// and with another incarnation.
	ErrWipe = errors.New("copy of the replica is wrong")
	// ErrOverruled is like ErrWipe, but the data is to be kept aside: what was
	// acknowledged once may be nowhere else (F1).
	ErrOverruled = errors.New("replica holds what its shard goes on without")
	// ErrNotReady: reads would not show all that was acknowledged (R2a), or this
	// replica may not serve any.
	ErrNotReady = errors.New("replica does not serve reads")
)

// Log is the shard's operation log. Its methods but Read are called one at a time.
type Log interface {
	Entries
	// Append adds entries at the end, in order. ErrNoSpace promises that none of
	// them is in the log, now or after a crash; any other error ends the replica.
	Append([]op.Entry) error
	// Sync makes all that was appended durable and tells up to where.
	Sync() (topology.Seq, error)
	// TruncateFront lets entries up to and including a place be removed. ErrNoSpace
	// means that it did not for now.
	TruncateFront(topology.Seq) error
	// TruncateBack takes the entries after a place off the log, durably. ErrNoSpace
	// means that it did not.
	TruncateBack(after topology.Seq) error
	// Mark notes on the disk how far the log is durable; called in idle moments.
	// ErrNoSpace as for TruncateFront.
	Mark() error
}

// Entries is the reading side of a log.
type Entries interface {
	Tail() Tail
	// Iterate calls fn for the entries from a place on. Bodies are fn's to keep.
	Iterate(from topology.Seq, fn func(op.Entry) error) error
	// Read gives entries from a place on, dense, about so many bytes of bodies and at
	// least one; none if the log does not hold that place. It may run beside all
	// other methods.
	Read(from topology.Seq, bytes int) ([]op.Entry, error)
}

// Tail tells where a log ends.
type Tail struct {
	Last    core.Position // of the last entry, truncated or not
	History []core.TermStart
}

// Engine is the shard's state.
type Engine interface {
	// Resolve turns a write into operations of explicit ids and stored values
	// (W3, W3a), each of which fits into an entry, or refuses it. It may run beside
	// all other methods.
	Resolve(context.Context, *shard.Write) ([]op.Op, error)
	// Apply folds entries in, in order, and skips those that it has. After
	// ErrNoSpace the same entries may come again; any other error ends the replica.
	Apply([]op.Entry) error
	// Seen looks an operation's last part up in dedup (D1). It may run beside Apply.
	Seen(op.ID) (topology.Seq, bool, error)
	// Position tells what the state covers.
	Position() Position
	// Due is the operation, if any, by which the state should be kept otherwise. It
	// changes nothing that anybody reads, and is the primary's to append.
	Due() (op.Op, bool)
	// Checkpoint makes the state durable without the log and tells up to where.
	// Errors are those of Apply.
	Checkpoint() (topology.Seq, error)
}

// Position of an engine state.
type Position struct {
	Applied topology.Seq
	// MaxHLC is the highest stamp folded in.
	MaxHLC op.HLC
	// Config is the revision of the settings in effect (W11).
	Config uint64
	// Floor is the highest floor applied (D2).
	Floor op.HLC
	// Mark is the last one applied since the state is this replica's own work: a
	// copy brings none.
	Mark point.Mark
}

// Provisional keeps the operations that the replica holds without knowing whether they
// are committed (P3), and shows them over the state.
type Provisional interface {
	// Load gives what is there, by number, and the number of the last one that ever was.
	// It is shown from then on.
	Load() ([]op.Entry, topology.Seq, error)
	// Keep returns when entries are durable and shown. ErrNoSpace promises that nothing
	// of them is there, now or after a crash; any other error ends the replica.
	Keep([]op.Entry) error
	// Lift stops showing operations. Entries up to a number need not be kept.
	Lift(ids []op.ID, upto topology.Seq) error
}

// State keeps the small durable state.
type State interface {
	// Save returns when h is durable.
	Save(h core.Hard) error
}

// Peers reaches the other replicas of the shard and the control plane. Its methods
// return at once; what cannot be sent is dropped.
type Peers interface {
	// Send sends messages in order. traceparents are those of entries, by their seq.
	Send(msgs []core.Envelope, traceparents map[topology.Seq]string)
	// SetState and HandOver ask the control plane (C1, C8, C3b). The answer, if any,
	// comes as a placement.
	SetState(core.SetState)
	HandOver(core.Move)
}

// Tracer follows operations to other replicas; it knows no tracing library.
type Tracer struct {
	// Context gives the W3C trace context of ctx, empty if it is not traced.
	Context func(ctx context.Context) string
	// Follow opens the span of a follower's work on an entry.
	Follow func(traceparent string, s topology.Shard) (end func())
}

// Limits bound what a replica holds. Zero fields take the default.
type Limits struct {
	Mailbox int // writes waiting for the loop; 1024
	Batch   int // writes in one step; 256
	Inbox   int // messages of other replicas waiting for the loop; 1024, beyond that they are lost
	// Unapplied is how many bytes of entries are held before new writes wait; 128 MiB.
	Unapplied int
	// A checkpoint is taken when the log has grown by CheckpointBytes (64 MiB) since
	// the last one, or when that is CheckpointEvery old (5 min) and there is news.
	CheckpointBytes int64
	CheckpointEvery time.Duration
	// Tick is the pace of retries on a full disk and of the checkpoint policy; 500 ms.
	Tick time.Duration
}

func (l Limits) withDefaults() Limits {
	set := func(p *int, d int) {
		if *p == 0 {
			*p = d
		}
	}
	set(&l.Mailbox, 1024)
	set(&l.Batch, 256)
	set(&l.Inbox, 1024)
	set(&l.Unapplied, 128<<20)
	if l.CheckpointBytes == 0 {
		l.CheckpointBytes = 64 << 20
	}
	if l.CheckpointEvery == 0 {
		l.CheckpointEvery = 5 * time.Minute
	}
	if l.Tick == 0 {
		l.Tick = 500 * time.Millisecond
	}
	return l
}

// Options are what a replica is made of. It owns none of the parts: whoever
// opened them closes them after Run has returned.
type Options struct {
	Shard       topology.Shard
	Self        topology.PeerID
	Incarnation topology.Incarnation
	Hard        core.Hard // as State had it
	Log         Log
	Engine      Engine
	Failed      <-chan error // tells of a failure of the engine outside its calls; nil: there is none
	State       State
	Provisional Provisional // nil only without Peers
	// Late is told of operations that were acknowledged and came too late for the log
	// (D2a); nil: nobody is.
	Late func([]op.Entry)
	// Control tells when the control plane was heard last; nil: it always is.
	Control func() time.Time
	Peers   Peers  // nil: there is no other replica
	Copier  Copier // nil only with Peers
	Tracer  Tracer
	Limits  Limits
	Timing  core.Timing      // zero: core.DefaultTiming
	Session uint64           // new with every start, not 0
	Now     func() time.Time // wall clock; nil: time.Now
	Changed func()           // called by the loop when phase or role changed; must not block; nil: nobody is told
	Logger  *slog.Logger
}

// The forms of a write's answer, W8.
type WaitMode = core.WaitMode

// The wait modes.
const (
	WaitCommitted = core.WaitCommitted
	WaitApplied   = core.WaitApplied
)

// Result of a write that is committed, or will be.
type Result struct {
	Seq topology.Seq
	// Applied: every required replica shows it. False is no failure: the caller
	// asked for the commit only, or its time ended between the two.
	Applied bool
	// Disks: it is provisional, and so many have it (P3); 0: it is in the log.
	Disks int
	// Parts is how many entries the operation took; more than one: it is not atomic. 0: a
	// repetition, of which that is not known.
	Parts int
}

// Phase says what a replica can do.
type Phase uint8

// The phases.
const (
	Loading Phase = iota
	Serving       // as its role says
	Full          // the disk is full: reads only
	Failed        // writes are refused for good, reads go on if the engine is sound
	Ended
)

var phaseNames = [...]string{"loading", "serving", "full", "failed", "ended"}

// String names the phase.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "unknown"
}

// Status is a picture of a replica.
type Status struct {
	core.Status
	Phase  Phase
	Reason string    // why it is Full or Failed
	Since  time.Time // of the phase
	// Copy tells how far it has come while one is fetched; nil before its first bytes.
	Copy *CopyProgress
}

// Replica is one replica of a shard. Its methods may be called from any goroutine.
type Replica struct {
	o       Options
	mailbox chan *request
	proofs  chan chan<- told // Linearize
	audits  chan chan<- told // Verify
	inbox   chan arrival     // from other peers
	began   time.Time        // start of the monotonic clock
	news    chan struct{}    // a placement is there, cap 1
	ended   chan struct{}    // closed when Run has ended
	commit  atomic.Uint64
	config  atomic.Uint64 // revision that the engine has
	// progress of the newest copy that was fetched; nil: none.
	progress atomic.Pointer[CopyProgress]

	mu struct {
		sync.Mutex
		status   Status
		placed   chan struct{}      // closed when status has another placement
		seen     core.PlacementSeen // newest placement and settings told
		readable error
		users    int           // goroutines inside the engine
		drained  chan struct{} // set by end while there are users
	}
}

// New makes a replica; Run brings it to life.
func New(o Options) *Replica {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	o.Limits = o.Limits.withDefaults()
	o.Logger = o.Logger.With("collection", uint64(o.Shard.Collection), "shard", uint64(o.Shard.ID))
	r := &Replica{
		o: o, mailbox: make(chan *request, o.Limits.Mailbox), proofs: make(chan chan<- told), audits: make(chan chan<- told), inbox: make(chan arrival, o.Limits.Inbox), began: time.Now(), news: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	r.mu.status, r.mu.placed = Status{Since: o.Now()}, make(chan struct{})
	r.mu.readable = fmt.Errorf("%w: it is loading", ErrNotReady)
	return r
}

// See tells the replica a placement and settings, in any order of epochs.
func (r *Replica) See(p core.PlacementSeen) {
	r.mu.Lock()
	if p.Placement.Epoch >= r.mu.seen.Placement.Epoch {
		r.mu.seen.Placement = p.Placement
	}
	if p.Config.Revision >= r.mu.seen.Config.Revision {
		r.mu.seen.Config = p.Config
	}
	r.mu.Unlock()
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// Receive takes a message of another replica. One that finds no room is lost, as
// it might have been on the way; the sender repeats it.
func (r *Replica) Receive(from topology.PeerID, msg core.Message, traceparents map[topology.Seq]string) {
	r.hear(arrival{core.Received{From: from, Message: msg}, traceparents})
}

// Pinned tells that a copy of the state at seq is being handed to a peer: the log
// after it is kept until the peer has it.
func (r *Replica) Pinned(peer topology.PeerID, seq topology.Seq) {
	r.hear(arrival{core.Pinned{Peer: peer, Seq: seq}, nil})
}

// HandOver asks this replica, if it is the primary, to give its place to an Active
// follower (C3b), and waits for the placement that follows epoch, or for ctx.
func (r *Replica) HandOver(ctx context.Context, epoch topology.Epoch, to topology.PeerID) (topology.Placement, error) {
	r.hear(arrival{core.HandOver{To: to}, nil})
	return r.above(ctx, epoch)
}

// Adopt hands the replica a placement and waits until it holds one as new, or for
// ctx.
func (r *Replica) Adopt(ctx context.Context, p topology.Placement) (topology.Placement, error) {
	r.See(core.PlacementSeen{Placement: p})
	return r.above(ctx, p.Epoch-1)
}

// above waits for a placement of a higher epoch.
func (r *Replica) above(ctx context.Context, epoch topology.Epoch) (topology.Placement, error) {
	for {
		r.mu.Lock()
		p, changed := r.mu.status.Placement, r.mu.placed
		r.mu.Unlock()
		if p.Epoch > epoch {
			return p, nil
		}
		select {
		case <-changed:
		case <-r.ended:
			return p, ErrStopped
		case <-ctx.Done():
			return p, fmt.Errorf("placement after epoch %d: %w", epoch, ctx.Err())
		}
	}
}

func (r *Replica) hear(a arrival) {
	select {
	case r.inbox <- a:
	default:
	}
}

// arrival is what comes from other processes.
type arrival struct {
	core.Event
	traceparents map[topology.Seq]string
}

// Status tells where the replica stands.
func (r *Replica) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.mu.status
	if s.Fetching {
		s.Copy = r.progress.Load()
	}
	return s
}

// Acquire lets the caller read the engine until it calls release; Run does not
// return before. It fails as Readable does.
func (r *Replica) Acquire() (release func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.readable != nil {
		return nil, r.mu.readable
	}
	r.mu.users++
	return r.release, nil
}

func (r *Replica) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.users--; r.mu.users == 0 && r.mu.drained != nil {
		close(r.mu.drained)
	}
}

// Readable is nil if the engine's state may be shown (R1, R2a), or says why not.
func (r *Replica) Readable() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.readable
}

// request is a write on its way. Loop-owned after take, but for done.
type request struct {
	id     op.ID
	trace  string
	write  shard.Write
	wait   core.WaitMode
	factor int
	// Resolved by the caller, under settings of this revision.
	bodies   [][]byte
	refused  error
	revision uint64

	state atomic.Uint32
	parts atomic.Int64
	seq   atomic.Uint64 // its place, once it waits in the log
	done  chan answer   // cap 1
}

type answer struct {
	res Result
	err error
}

const (
	queued uint32 = iota
	taken
	abandoned
)

func (q *request) take() bool { return q.state.CompareAndSwap(queued, taken) }

func (q *request) finish(res Result, err error) {
	res.Parts = int(q.parts.Load())
	q.done <- answer{res, err}
}

// Propose writes through the log. id is the operation's (W1; Part is ignored), w
// is not yet evaluated. It returns when wait is fulfilled (W8), with the place of
// the operation's last part. factor is checked before the append (W9). When ctx
// ends before the append nothing has happened and ctx's error comes back; after
// the commit the result says so; in between it is ErrUnknownOutcome (W10).
func (r *Replica) Propose(ctx context.Context, id op.ID, w shard.Write, wait WaitMode, factor int) (Result, error) {
	q := &request{id: id, write: w, wait: wait, factor: factor, done: make(chan answer, 1)}
	q.id.Part = op.LastPart
	if r.o.Tracer.Context != nil {
		q.trace = r.o.Tracer.Context(ctx)
	}
	r.prepare(ctx, q)
	select {
	case r.mailbox <- q:
	default:
		return Result{}, fmt.Errorf("%w: %d", ErrBusy, r.o.Limits.Mailbox)
	}
	select {
	case a := <-q.done:
		return a.res, a.err
	case <-r.ended:
		return r.leave(q, ErrStopped)
	case <-ctx.Done():
		return r.leave(q, ctx.Err())
	}
}

// prepare resolves in the caller's goroutine what depends on no earlier entry
// (W3). The loop decides whether it can use the outcome.
func (r *Replica) prepare(ctx context.Context, q *request) {
	if q.write.NeedsState() || !r.enter() {
		return
	}
	defer r.release()
	if _, ok, err := r.o.Engine.Seen(q.id); ok || err != nil {
		return
	}
	q.revision = r.config.Load()
	q.bodies, q.refused = resolve(ctx, r.o.Engine, &q.write)
}

// Linearize returns when a read that begins now shows everything that was
// acknowledged before the call, by whichever replica (R3). ErrNotPrimary, ErrFailed,
// ErrStopped, or ctx's error where followers do not answer in time.
func (r *Replica) Linearize(ctx context.Context) error {
	_, err := r.ask(ctx, r.proofs, "the other replicas have not confirmed the primary")
	return err
}

// enter is Acquire for writes: the replica need not be readable.
func (r *Replica) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.mu.status.Phase; p == Loading || p == Ended {
		return false
	}
	r.mu.users++
	return true
}

// leave ends the waiting for a reason of the caller's.
func (r *Replica) leave(q *request, why error) (Result, error) {
	if q.state.CompareAndSwap(queued, abandoned) {
		return Result{}, fmt.Errorf("write not begun: %w", why)
	}
	select {
	case a := <-q.done:
		return a.res, a.err
	default:
	}
	if s := q.seq.Load(); s != 0 && s <= r.commit.Load() {
		return Result{Seq: topology.Seq(s), Parts: int(q.parts.Load())}, nil
	}
	return Result{}, fmt.Errorf("%w: %w", ErrUnknownOutcome, why)
}

// resolve gives the bodies of a write's parts. A write that touches nothing
// still takes a place, so that its repetition finds it.
func resolve(ctx context.Context, e Engine, w *shard.Write) ([][]byte, error) {
	ops, err := e.Resolve(ctx, w)
	if err != nil {
		return nil, err
	}
	if len(ops) == 0 {
		ops = []op.Op{{Kind: op.Delete}}
	}
	bodies := make([][]byte, len(ops))
	for i, o := range ops {
		bodies[i] = o.Append(nil)
	}
	return bodies, nil
}
