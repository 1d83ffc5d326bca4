package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/oplog"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/dataplane/internal/replica/core"
	"github.com/pandodb/pando/services/dataplane/internal/shard"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// Parts are what a replica is opened from.
type Parts struct {
	Log    replica.Log
	Engine replica.Engine
	// Failed tells of a failure of the engine outside its calls.
	Failed <-chan error
	// Reads is the engine's reading side, as Node.Reader hands it out.
	Reads Reads
	// Export pins the state for a copy; it ends with Close.
	Export func() (*Export, error)
	Copier replica.Copier
	// Provisional keeps what may be in no log yet.
	Provisional replica.Provisional
	// Bytes on disk, of log and engine; nil: not known.
	Bytes func() uint64
	// Scrubbed is as in Holding; nil: not known.
	Scrubbed func() time.Time
	Close    func() error
}

// Opener opens or makes log and engine in a replica's folder, which exists. hard
// is the replica's small state.
type Opener func(fsys vfs.FS, dir string, a Assignment, hard core.Hard) (Parts, error)

var (
	errLoading  = errors.New("it is being opened")
	errPanic    = errors.New("opening it panicked")
	errMetaLost = errors.New("meta is missing beside log or state: restore it, or remove the folder and let it fill from another replica")
)

// slot is the life of one shard's replica on this peer: its goroutine makes,
// opens, runs, closes and drops it.
type slot struct {
	n    *Node
	id   topology.Shard
	dir  string
	log  *slog.Logger
	wake chan struct{} // cap 1: what is wanted has changed

	mu struct {
		sync.Mutex
		wanted *Assignment        // nil: to be dropped
		cancel context.CancelFunc // ends the running replica; nil: none runs, or is about to
		parts  Parts
		rep    *replica.Replica // nil: not loaded
		hard   core.Hard        // as of the last opening
		bytes  uint64           // as of sized
		sized  time.Time
		why    error // why not loaded
		since  time.Time
	}
}

func newSlot(n *Node, id topology.Shard) *slot {
	s := &slot{
		n: n, id: id, wake: make(chan struct{}, 1),
		dir: filepath.Join(n.o.Folder.Dir, collectionsDir, strconv.FormatUint(uint64(id.Collection), 10), strconv.FormatUint(uint64(id.ID), 10)),
		log: n.o.Logger.With("collection", uint64(id.Collection), "shard", uint64(id.ID)),
	}
	s.mu.why, s.mu.since = errLoading, n.o.Now()
	return s
}

// tell says what is wanted; nil: the replica is to be dropped.
func (s *slot) tell(a *Assignment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.mu.wanted
	s.mu.wanted = a
	if a != nil && old != nil && a.Placement.Epoch == old.Placement.Epoch && a.Schema.Revision == old.Schema.Revision {
		return
	}
	switch {
	case a == nil && s.mu.cancel != nil:
		s.mu.cancel()
	case a != nil && s.mu.rep != nil:
		s.mu.rep.See(seen(a))
		s.restart()
		return
	}
	poke(s.wake)
}

// tend looks after a replica whose phase or role has changed.
func (s *slot) tend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restart()
}

// restart ends a replica that has failed and is not needed as it is, since the
// placement counts on others: opening it anew is the only way back. The lock must
// be held.
func (s *slot) restart() {
	if s.mu.rep == nil || s.mu.wanted == nil || s.mu.rep.Status().Phase != replica.Failed {
		return
	}
	if me, ok := s.mu.wanted.Placement.Replica(s.n.o.Folder.Peer); !ok || me.State != topology.Active {
		s.mu.cancel()
	}
}

// spoilt tells whether err says that the replica's folder is damaged: no other try
// mends it.
func spoilt(err error) bool {
	damage := []error{shard.ErrCorrupt, replica.ErrStateCorrupt, errMetaLost, errDisagree, errInstall}
	return slices.ContainsFunc(damage, func(d error) bool { return errors.Is(err, d) }) || errors.As(err, new(*oplog.CorruptError))
}

// A file that could not be read at faultTries openings, faultSpan from the first to the
// last of them, is taken for damaged. Faults more than faultApart apart have nothing to
// do with each other.
const (
	faultTries = 3
	faultSpan  = time.Minute
	faultApart = time.Hour
)

// faults are the openings that ended with a file of a sealed part that the disk did not
// give.
type faults struct {
	n           int
	first, last time.Time
}

// lasting takes note of how a replica ended; true: the file will not be read any more.
func (f *faults) lasting(err error, now time.Time) bool {
	if !errors.Is(err, shard.ErrUnreadable) && !errors.Is(err, vfs.ErrFault) {
		*f = faults{}
		return false
	}
	if f.n == 0 || now.Sub(f.last) > faultApart {
		*f = faults{first: now}
	}
	f.n, f.last = f.n+1, now
	return f.n >= faultTries && now.Sub(f.first) >= faultSpan
}

// spare tells whether nobody needs the replica's folder: others are Active and this one
// is not, nor can it be as long as it does not run. With a new incarnation it is one
// whose disk was lost (S3). The last one is never given up: a person may still save
// something.
func (s *slot) spare() bool {
	a := s.wanted()
	if a == nil {
		return false
	}
	me, ok := a.Placement.Replica(s.n.o.Folder.Peer)
	return ok && me.State != topology.Active && a.Placement.ActiveCount() > 0
}

func seen(a *Assignment) core.PlacementSeen {
	return core.PlacementSeen{Placement: a.Placement, Config: core.Config{Revision: a.Schema.Revision, Settings: a.Settings}}
}

func (s *slot) wanted() *Assignment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.wanted
}

// live runs until the replica is dropped or ctx ends.
func (s *slot) live(ctx context.Context) error {
	var f faults
	for ctx.Err() == nil {
		select {
		case <-s.wake: // it is about what is read now
		default:
		}
		var err error
		failed := "replica not loaded"
		if a := s.wanted(); a != nil {
			err = s.serve(ctx, a)
			lasting := f.lasting(err, s.n.o.Now())
			switch {
			case errors.Is(err, replica.ErrReopen):
				s.log.Info("replica opened again", "reason", "a copy of the shard takes the place of its state", "detail", err)
				continue
			case errors.Is(err, replica.ErrWipe): // the primary has all that it had, and more
				s.log.Error("replica removed, it will be copied anew", "reason", err)
				if err = s.remove(); err == nil {
					continue
				}
			case errors.Is(err, replica.ErrOverruled):
				to, moved := s.setAside()
				s.log.Error("replica set aside, it will be copied anew", "reason", err, "folder", to)
				if err = moved; err == nil {
					continue
				}
			case (lasting || spoilt(err)) && s.spare():
				s.log.Error("replica removed since its data is damaged, it will be copied anew", "reason", err)
				if err = s.remove(); err == nil {
					f = faults{}
					continue
				}
			}
		} else if err = s.remove(); err == nil {
			s.log.Info("replica dropped")
			s.n.gone(s)
			return nil
		} else {
			failed = "replica not dropped"
		}
		if err != nil {
			s.log.Error(failed, "reason", err, "again_in", retryAfter)
			s.settle(nil, Parts{}, err)
		}
		retry := time.NewTimer(retryAfter)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-retry.C:
		}
		retry.Stop()
	}
	return nil
}

// settle shows a running replica, or why there is none.
func (s *slot) settle(rep *replica.Replica, p Parts, why error) {
	s.mu.Lock()
	s.mu.rep, s.mu.parts, s.mu.why, s.mu.since = rep, p, why, s.n.o.Now()
	s.mu.sized = time.Time{}
	if rep == nil {
		s.mu.cancel = nil
	}
	s.mu.Unlock()
	poke(s.n.changed)
}

// serve opens the replica and runs it. nil: ctx has ended or it is to be dropped;
// replica.ErrReopen: it is to be opened again at once.
func (s *slot) serve(ctx context.Context, a *Assignment) (err error) {
	select {
	case s.n.loads <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	state, parts, hard, err := s.open(a)
	<-s.n.loads
	if err != nil {
		return err
	}
	defer func() {
		if end := errors.Join(parts.Close(), state.Close()); end != nil {
			s.log.Warn("replica closed with an error", "error", end)
		}
	}()
	session, err := s.n.session()
	if err != nil {
		return err
	}
	o := s.n.o
	ro := replica.Options{
		Shard: s.id, Self: o.Folder.Peer, Incarnation: hard.Incarnation, Session: session, Hard: hard,
		Log: parts.Log, Engine: parts.Engine, Failed: parts.Failed, State: state, Provisional: parts.Provisional, Control: o.Control, Copier: parts.Copier, Tracer: o.Tracer, Limits: o.Limits, Now: o.Now, Logger: o.Logger,
		Changed: func() { poke(s.n.changed); s.tend() },
	}
	if o.Late != nil {
		ro.Late = func(es []op.Entry) { o.Late(s.id, es) }
	}
	if o.Peers != nil {
		ro.Peers = o.Peers(s.id, hard.Incarnation)
	}
	rep := replica.New(ro)
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	now := s.mu.wanted
	if s.mu.hard = hard; now != nil {
		s.mu.cancel = cancel
	}
	s.mu.Unlock()
	if now == nil {
		return nil
	}
	rep.See(seen(now))
	s.settle(rep, parts, nil)
	err = rep.Run(run)
	if err == nil && ctx.Err() == nil && s.wanted() != nil && parts.Reads != nil {
		if end := parts.Reads.Err(); errors.Is(end, shard.ErrCorrupt) || errors.Is(end, vfs.ErrFault) {
			err = end // opening anew may not find it
		}
	}
	s.settle(nil, Parts{}, errors.Join(errLoading, err))
	if failed := rep.Status().Reason; err == nil && failed == "" && s.wanted() != nil {
		if _, end := parts.Engine.Checkpoint(); end != nil {
			s.log.Warn("no checkpoint at the end: the next start reads the log again", "error", end)
		}
	}
	return err
}

// open makes the replica if the folder is new, and opens its parts.
func (s *slot) open(a *Assignment) (_ *replica.StateFile, _ Parts, _ core.Hard, err error) {
	fsys := s.n.o.Folder.FS
	if err := fsys.MkdirAll(s.dir, 0o750); err != nil {
		return nil, Parts{}, core.Hard{}, err
	}
	for d := s.dir; d != s.n.o.Folder.Dir; d = filepath.Dir(d) {
		if err := vfs.SyncDir(fsys, filepath.Dir(d)); err != nil {
			return nil, Parts{}, core.Hard{}, err
		}
	}
	state, hard, err := replica.OpenState(fsys, filepath.Join(s.dir, metaFile))
	if err != nil {
		return nil, Parts{}, hard, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, state.Close())
		}
	}()
	if hard.Incarnation == (topology.Incarnation{}) {
		if hard, err = s.bear(state); err != nil {
			return nil, Parts{}, hard, err
		}
	}
	parts, err := s.openParts(*a, hard)
	return state, parts, hard, err
}

// openParts turns a panic into an error: the engine's store panics when the disk
// fails while it is opened, and one replica must not stop the others.
func (s *slot) openParts(a Assignment, hard core.Hard) (p Parts, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: %w: %v", s.dir, errPanic, r)
		}
	}()
	return s.n.o.Open(s.n.o.Folder.FS, s.dir, a, hard)
}

// bear gives a new replica its incarnation, durably before anything else is in its
// folder (C0, S3).
func (s *slot) bear(state *replica.StateFile) (hard core.Hard, err error) {
	for _, name := range []string{logDir, stateDir, newStateDir, provisionalDir} {
		if _, err := s.n.o.Folder.FS.Stat(filepath.Join(s.dir, name)); err == nil {
			return hard, fmt.Errorf("%s: %w", s.dir, errMetaLost)
		}
	}
	if _, err := io.ReadFull(s.n.o.Random, hard.Incarnation[:]); err != nil {
		return hard, err
	}
	s.log.Info("replica made", "incarnation", fmt.Sprintf("%x", hard.Incarnation))
	return hard, state.Save(hard)
}

// remove takes the replica's folder away: out of the way first, so that a crash leaves
// it whole or gone. What was acknowledged and may be in no log yet (P7) is kept aside.
func (s *slot) remove() error {
	if holdsProvisional(s.n.o.Folder.FS, s.dir, s.id) {
		to, err := s.setAside()
		s.log.Error("replica set aside, not removed: it has operations that were acknowledged while it was cut off and may be in no log", "folder", to)
		return err
	}
	to, err := s.move(trashDir)
	if err != nil || to == "" {
		return err
	}
	return s.n.o.Folder.FS.RemoveAll(to)
}

// setAside keeps the replica's folder where nobody opens it. What it is put under is
// durable before.
func (s *slot) setAside() (to string, err error) {
	f := s.n.o.Folder
	if err := errors.Join(f.FS.MkdirAll(filepath.Join(f.Dir, asideDir), 0o750), vfs.SyncDir(f.FS, f.Dir)); err != nil {
		return "", err
	}
	return s.move(asideDir)
}

// move puts the replica's folder under another one of the peer's, in one step; empty:
// there is none.
func (s *slot) move(under string) (to string, err error) {
	f := s.n.o.Folder
	parent := filepath.Join(f.Dir, under)
	if err := f.FS.MkdirAll(parent, 0o750); err != nil {
		return "", err
	}
	to = filepath.Join(parent, fmt.Sprintf("%d-%d-%d", s.id.Collection, s.id.ID, s.n.o.Now().UnixNano()))
	err = f.FS.Rename(s.dir, to)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return to, errors.Join(err, vfs.SyncDir(f.FS, parent), s.leave(filepath.Dir(s.dir)))
}

// leave makes durable that the replica's folder is no longer in its parent, and
// removes the parent when it was the last. The collection's other replicas may be
// made and dropped there at the same time.
func (s *slot) leave(parent string) error {
	fsys := s.n.o.Folder.FS
	err := vfs.SyncDir(fsys, parent)
	if errors.Is(err, fs.ErrNotExist) { // the one dropped last took it away
		return vfs.SyncDir(fsys, filepath.Dir(parent))
	}
	if left, lerr := s.n.list(parent); err == nil && lerr == nil && len(left) == 0 {
		_ = fsys.Remove(parent) // another shard of the collection may just be made there
	}
	return err
}

// list is the names in a folder, none if it is missing.
func (n *Node) list(dir string) ([]string, error) {
	names, err := n.o.Folder.FS.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// emptyTrash finishes removals that a crash cut short.
func (n *Node) emptyTrash() error {
	trash := filepath.Join(n.o.Folder.Dir, trashDir)
	names, err := n.list(trash)
	for _, name := range names {
		err = errors.Join(err, n.o.Folder.FS.RemoveAll(filepath.Join(trash, name)))
	}
	return err
}

// use gives what a caller works with.
func (s *slot) use() (*replica.Replica, Parts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.rep == nil {
		return nil, Parts{}, fmt.Errorf("shard %d of collection %d: %w: %w", s.id.ID, s.id.Collection, ErrNotLoaded, s.mu.why)
	}
	return s.mu.rep, s.mu.parts, nil
}

func (s *slot) holding() Holding {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := Holding{
		Shard: s.id, Incarnation: s.mu.hard.Incarnation, Epoch: s.mu.hard.Placement.Epoch,
		Last:  core.Position{Term: s.mu.hard.Promised, Seq: s.mu.hard.Commit},
		Ended: s.mu.wanted == nil && s.mu.cancel == nil, Why: s.mu.why, Since: s.mu.since,
	}
	if s.mu.rep == nil {
		return h
	}
	st := s.mu.rep.Status()
	h.Status, h.Bytes = st, s.bytes()
	if s.mu.parts.Scrubbed != nil {
		h.Scrubbed = s.mu.parts.Scrubbed()
	}
	switch st.Phase {
	case replica.Loading:
		h.Why = errLoading
	default:
		h.Loaded, h.Epoch, h.Last, h.Applied, h.Since = true, st.Placement.Epoch, st.Last, st.Applied, st.Since
	}
	return h
}

// sizeEvery is how old the size of a replica may be: it steers the placement of
// new shards, and counting is not free.
const sizeEvery = 30 * time.Second

// bytes is the size on disk. The lock must be held.
func (s *slot) bytes() uint64 {
	if now := s.n.o.Now(); s.mu.parts.Bytes != nil && (s.mu.sized.IsZero() || now.Sub(s.mu.sized) >= sizeEvery) {
		s.mu.bytes, s.mu.sized = s.mu.parts.Bytes(), now
	}
	return s.mu.bytes
}
