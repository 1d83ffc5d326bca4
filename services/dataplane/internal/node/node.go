// Package node holds the replicas of this peer: it makes, opens, runs, closes and
// drops them as the placement says, and tells what it holds. A replica that cannot
// be loaded is told with its reason and tried again; it never stops the others.
//
// It is not the protocol (replica) and not the way in (peer).
package node

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
	"golang.org/x/sync/errgroup"
)

const (
	collectionsDir = "collections"
	trashDir       = "trash"
	asideDir       = "set-aside"
)

// What a lookup can end with.
var (
	// ErrNoReplica: this peer holds no replica of the shard.
	ErrNoReplica = errors.New("no replica of the shard on this peer")
	// ErrNotLoaded: it holds one that is not usable at the moment; the reason is wrapped.
	ErrNotLoaded = errors.New("replica is not loaded")
)

// Assignment is what the placement says about a shard of which this peer is to
// hold a replica.
type Assignment struct {
	Placement topology.Placement
	// Schema and Settings are the collection's, of this revision.
	Schema   query.Schema
	Settings []byte
}

// Desired is all that this peer is to hold as of a revision of the placement.
type Desired struct {
	Revision uint64
	// Confirmed: nothing that was decided before this process began is missing.
	// Only then is a replica dropped for not being in Assignments; otherwise it
	// stays on the disk, unopened, until somebody says what it is.
	Confirmed   bool
	Assignments []Assignment
}

// Holding is what the peer holds of one shard (replication.md §2, Inventory).
type Holding struct {
	Shard       topology.Shard
	Incarnation topology.Incarnation // zero: not made yet
	Epoch       topology.Epoch       // highest placement seen
	Last        core.Position
	Applied     topology.Seq
	Bytes       uint64 // on disk, as of the last half minute
	// Scrubbed is when the file was read again that was read longest ago; zero: there
	// is none.
	Scrubbed time.Time
	Loaded   bool
	Ended    bool      // it is to be removed, and does nothing any more
	Why      error     // why not loaded
	Since    time.Time // of being loaded, or not
	Status   replica.Status
}

// Options of a node.
type Options struct {
	Folder *Folder
	Open   Opener
	Limits replica.Limits
	// Peers reaches the other replicas of a shard for one of this incarnation; nil:
	// there are none.
	Peers  func(topology.Shard, topology.Incarnation) replica.Peers
	Tracer replica.Tracer
	// Control and Late are as in replica.Options.
	Control func() time.Time
	Late    func(topology.Shard, []op.Entry)
	// Loads is how many replicas are opened at once; 0: 4.
	Loads  int
	Random io.Reader // for incarnations and sessions
	Now    func() time.Time
	Logger *slog.Logger
}

// retryAfter is the pause before a replica that could not be loaded is tried again.
const retryAfter = 15 * time.Second

// Node is the set of replicas of this peer. Its methods may be called from any
// goroutine; nothing is loaded before Run.
type Node struct {
	o       Options
	loads   chan struct{} // one token per replica being opened
	wake    chan struct{} // cap 1
	changed chan struct{} // cap 1

	mu struct {
		sync.Mutex
		desired Desired
		slots   map[topology.Shard]*slot
	}
}

// New makes a node.
func New(o Options) *Node {
	if o.Loads == 0 {
		o.Loads = 4
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	n := &Node{o: o, loads: make(chan struct{}, o.Loads), wake: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
	n.mu.slots = map[topology.Shard]*slot{}
	return n
}

// Apply says what this peer is to hold. It replaces what was said before, unless
// that was newer. A replica that is not in a confirmed d is dropped with its data.
func (n *Node) Apply(d Desired) {
	n.mu.Lock()
	if d.Revision >= n.mu.desired.Revision {
		n.mu.desired = d
	}
	n.mu.Unlock()
	poke(n.wake)
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Changed ticks when the inventory has changed.
func (n *Node) Changed() <-chan struct{} { return n.changed }

// Run loads and runs the replicas until ctx ends, and closes them.
func (n *Node) Run(ctx context.Context) error {
	if err := n.emptyTrash(); err != nil {
		return fmt.Errorf("empty %s: %w", filepath.Join(n.o.Folder.Dir, trashDir), err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-n.wake:
			}
			started, err := n.reconcile()
			if err != nil {
				return err
			}
			for _, s := range started {
				g.Go(func() error { return s.live(ctx) })
			}
		}
	})
	return g.Wait()
}

// reconcile gives every shard a slot that it needs or has on the disk, and tells
// the slots what is wanted of them.
func (n *Node) reconcile() (started []*slot, err error) {
	onDisk, err := n.scan()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.desired.Revision == 0 {
		return nil, nil
	}
	wanted := map[topology.Shard]*Assignment{}
	for i := range n.mu.desired.Assignments {
		a := &n.mu.desired.Assignments[i]
		if _, ok := a.Placement.Replica(n.o.Folder.Peer); ok {
			wanted[a.Placement.Shard] = a
			onDisk = append(onDisk, a.Placement.Shard)
		}
	}
	for _, id := range onDisk {
		if wanted[id] == nil && !n.mu.desired.Confirmed {
			continue
		}
		if n.mu.slots[id] == nil {
			s := newSlot(n, id)
			n.mu.slots[id] = s
			started = append(started, s)
		}
	}
	for id, s := range n.mu.slots {
		if wanted[id] != nil || n.mu.desired.Confirmed {
			s.tell(wanted[id])
		}
	}
	return started, nil
}

// Aside are the folders of replicas that were overruled (F1): each holds log and state
// as they were. Nobody reads them again, and nobody but an operator removes them.
func (n *Node) Aside() ([]string, error) {
	names, err := n.list(filepath.Join(n.o.Folder.Dir, asideDir))
	for i := range names {
		names[i] = filepath.Join(n.o.Folder.Dir, asideDir, names[i])
	}
	return names, err
}

// session names one start of a replica.
func (n *Node) session() (uint64, error) { return Draw(n.o.Random) }

// Draw makes a random number that is not 0.
func Draw(random io.Reader) (uint64, error) {
	var b [8]byte
	_, err := io.ReadFull(random, b[:])
	return binary.LittleEndian.Uint64(b[:]) | 1, err
}

// scan lists the replicas in the folder.
func (n *Node) scan() (out []topology.Shard, err error) {
	root := filepath.Join(n.o.Folder.Dir, collectionsDir)
	collections, err := n.list(root)
	if err != nil {
		return nil, err
	}
	for _, c := range collections {
		cid, err := strconv.ParseUint(c, 10, 64)
		if err != nil {
			continue // not ours
		}
		shards, err := n.list(filepath.Join(root, c))
		if err != nil {
			return nil, err
		}
		for _, name := range shards {
			if sid, err := strconv.ParseUint(name, 10, 64); err == nil {
				out = append(out, topology.Shard{Collection: topology.CollectionID(cid), ID: topology.ShardID(sid)})
			}
		}
	}
	return out, nil
}

func (n *Node) slot(id topology.Shard) (*slot, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, ok := n.mu.slots[id]
	if !ok {
		return nil, fmt.Errorf("shard %d of collection %d: %w", id.ID, id.Collection, ErrNoReplica)
	}
	return s, nil
}

// Replica finds the replica of a shard. Errors: ErrNoReplica, ErrNotLoaded.
func (n *Node) Replica(id topology.Shard) (*replica.Replica, error) {
	s, err := n.slot(id)
	if err != nil {
		return nil, err
	}
	r, _, err := s.use()
	return r, err
}

// Reads is the reading side of an engine.
type Reads = *shard.Shard

// Reader gives the reading side of a shard's engine, until release is called. The
// replica must be allowed to serve (R1, R2a). Errors: ErrNoReplica, ErrNotLoaded,
// replica.ErrNotReady, replica.ErrStopped, replica.ErrFailed.
func (n *Node) Reader(id topology.Shard) (r Reads, release func(), err error) {
	s, err := n.slot(id)
	if err != nil {
		return nil, nil, err
	}
	rep, parts, err := s.use()
	if err != nil {
		return nil, nil, err
	}
	if release, err = rep.Acquire(); err != nil {
		return nil, nil, fmt.Errorf("shard %d of collection %d: %w", id.ID, id.Collection, err)
	}
	return parts.Reads, release, nil
}

// Export pins the applied state of a shard for a copy. The caller closes it; the
// end of the replica does not wait for that, it ends the export. Errors:
// ErrNoReplica, ErrNotLoaded, shard.ErrClosed.
func (n *Node) Export(id topology.Shard) (*Export, error) {
	s, err := n.slot(id)
	if err != nil {
		return nil, err
	}
	_, parts, err := s.use()
	if err != nil {
		return nil, err
	}
	return parts.Export()
}

// Inventory tells what the peer holds or is told to hold, in the order of the shards.
func (n *Node) Inventory() []Holding {
	n.mu.Lock()
	slots := make([]*slot, 0, len(n.mu.slots))
	for _, s := range n.mu.slots {
		slots = append(slots, s)
	}
	out := make([]Holding, 0, len(slots))
	for _, a := range n.mu.desired.Assignments {
		if _, ok := a.Placement.Replica(n.o.Folder.Peer); ok && n.mu.slots[a.Placement.Shard] == nil {
			out = append(out, Holding{Shard: a.Placement.Shard, Why: errLoading, Since: n.o.Now()})
		}
	}
	n.mu.Unlock()
	for _, s := range slots {
		out = append(out, s.holding())
	}
	slices.SortFunc(out, func(a, b Holding) int { return compare(a.Shard, b.Shard) })
	return out
}

func compare(a, b topology.Shard) int {
	return cmp.Or(cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.ID, b.ID))
}

// gone takes a slot out whose replica was dropped.
func (n *Node) gone(s *slot) {
	n.mu.Lock()
	delete(n.mu.slots, s.id)
	n.mu.Unlock()
	poke(n.changed)
	poke(n.wake) // it may be wanted again by now
}
