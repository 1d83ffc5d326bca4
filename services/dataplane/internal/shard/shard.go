// Package shard is the state of one shard replica: points in the stored form of
// replication.md §1, changed only by applying committed log entries in order
// (P5, W7), and the reads over them. The applied position is stored atomically
// with the data that it covers. Provisional operations can be laid over the points, for
// reads alone (P4).
package shard

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/budget"
	"github.com/pandodb/pando/services/dataplane/internal/shard/job"
	"github.com/pandodb/pando/services/dataplane/internal/shard/manifest"
	"github.com/pandodb/pando/services/dataplane/internal/shard/scrub"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/dataplane/internal/shard/view"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// Options of a shard.
type Options struct {
	// FS and Dir: the folder that holds nothing but this shard's state. Open makes
	// it; its parent must be durable.
	FS  vfs.FS
	Dir string
	// Schema is the collection's until a Config entry brings another.
	Schema query.Schema
	// Settings reads what a Config entry carries (W11); nil: there is nothing in it.
	Settings func([]byte) (query.Settings, error)
	// Background is what merges and artefacts may take of the process; nil: all of it.
	Background *budget.Budget
	// Cache may be nil: a small one of the shard's own.
	Cache  *store.Cache
	Events Events
}

// Events are called when something happens that somebody should hear of; any of
// them may be nil. They must not call the Shard.
type Events struct {
	store.Events
	// Lost: an artefact is damaged, missing or cannot be read, which reason says. It
	// is made again from its segment; searches compare row by row meanwhile.
	Lost func(file string, reason error)
	// Mended: it was made again, to the byte.
	Mended func(file string)
	// Scrubbed: so many bytes of sealed parts were read again from the disk.
	Scrubbed func(bytes int)
	// Overtaken: an operation changed a point only in part or not at all,
	// because winner is later (P8).
	Overtaken func(e *op.Entry, p topology.PointID, left point.Effect, winner op.HLC)
}

// Shard is the state of one shard replica. Apply, Lay, Lift, Checkpoint and Close may be
// called from one goroutine at a time each, reads from any number beside them.
// The store keeps goroutines of its own from Open to Close, and so does the making
// of segments.
type Shard struct {
	view.Reads
	opts     Options
	store    *store.Store
	segments sealed.Folder
	state    view.State // changed by whoever holds apply's lock
	apply    applier
	work     worker
	scrub    *scrub.Scrubber
	// exports are those that are open; registered under apply's lock.
	exports sync.Map
}

// applier is the writing side: what it has stored, ahead of what the state shows.
type applier struct {
	sync.Mutex
	meta     store.Meta
	manifest manifest.Manifest
	settings query.Settings
	jobs     []*job.Job // parts that are to be made, ascending
	closed   bool
	// dead are the stored points that are not alive: tombstones, and points that got
	// partial updates only; and, as true, ids that are not stored though sealed parts
	// have rows of them.
	dead   map[topology.PointID]bool
	staged map[topology.PointID]*staged
	order  []*staged
	batch  *pebble.Batch
	change *change // what the step does besides; nil: nothing
	// Calls of Due since an entry was applied, and which.
	quiet   int
	quietAt topology.Seq
	// Scratch memory.
	key, val, hash []byte
}

// settings reads what a Config entry carries.
func (o *Options) settings(b []byte) (s query.Settings, err error) {
	if o.Settings != nil {
		s, err = o.Settings(b)
	}
	if s.Schema == nil {
		s.Schema, s.Assumed = slices.Clone(o.Schema.Vectors), true
		slices.SortFunc(s.Schema, func(a, b query.VectorSchema) int { return strings.Compare(a.Name, b.Name) })
	}
	return s, err
}

// openStore opens the store of a shard.
func (o *Options) openStore() (*store.Store, error) {
	return store.Open(store.Options{FS: o.FS, Dir: o.Dir, Cache: o.Cache, Events: o.Events.Events})
}

// segments are in a folder beside the store's files.
func (o *Options) segments() sealed.Folder {
	f := sealed.NewFolder(o.Background.Paced(o.FS), o.Dir)
	f.Lost, f.Mended = o.Events.Lost, o.Events.Mended
	return f
}

// Open opens or creates the shard in its folder. Every stored byte is read; the
// digest is computed anew: it does not trust the one on the disk. Errors: ErrInUse,
// ErrVersion, ErrCorrupt, ErrNoSpace, ErrFailed.
func Open(o Options) (*Shard, error) {
	if o.Background == nil {
		o.Background = budget.New(budget.Options{Threads: runtime.GOMAXPROCS(0)})
	}
	st, err := o.openStore()
	if err != nil {
		return nil, err
	}
	s := &Shard{opts: o, store: st, segments: o.segments()}
	s.Reads = view.New(&s.state, st.Fail)
	s.scrub = s.scrubber()
	for i := range s.work.news {
		s.work.news[i] = make(chan struct{}, 1)
	}
	s.apply.dead = map[topology.PointID]bool{}
	s.apply.staged = map[topology.PointID]*staged{}
	s.state.Sealed = sealed.NewParts(nil)
	if fault := vfs.Guard(func() { err = s.load() }); fault != nil {
		err = fault
	}
	if err != nil {
		return nil, errors.Join(st.Classify(err), s.state.Sealed.Release(), st.Close())
	}
	s.start()
	return s, nil
}

// Err is why nothing can be applied at the moment: ErrFailed, ErrCorrupt (both
// stick), ErrNoSpace or nil.
func (s *Shard) Err() error { return s.store.Err() }

// Seen finds where an operation was applied (W2), until a Floor forgot it.
func (s *Shard) Seen(id op.ID) (topology.Seq, bool, error) {
	seq, _, found, err := s.store.Seen(store.DedupKey(nil, id))
	return seq, found, err
}

// Checkpoint makes everything durable that was applied before the call, and
// tells up to where: the operation log is not needed up to there any more. Files of
// segments that the durable state does not name are removed then, or by a later call if
// some are being made.
func (s *Shard) Checkpoint() (topology.Seq, error) {
	// While no file is made, whatever becomes durable names no other files.
	quiet := s.work.writing.TryLock()
	if quiet {
		defer s.work.writing.Unlock()
	}
	return s.checkpoint(quiet)
}

// checkpoint is Checkpoint; quiet: the caller holds writing.
func (s *Shard) checkpoint(quiet bool) (topology.Seq, error) {
	s.apply.Lock()
	seq, closed, m := s.apply.meta.Seq, s.apply.closed, s.apply.manifest
	s.apply.Unlock()
	if closed {
		return 0, ErrClosed
	}
	if err := s.store.Flush(); err != nil || !quiet {
		return seq, err
	}
	return seq, s.store.Classify(s.segments.Clean(&m))
}

// Close ends the shard and its exports. It does not checkpoint; no call but on an
// Export may be under way or follow. Closing again does nothing.
func (s *Shard) Close() error {
	s.stop()
	s.apply.Lock()
	defer s.apply.Unlock()
	if s.apply.closed {
		return nil
	}
	s.apply.closed = true
	var err error
	for e := range s.exports.Range {
		err = errors.Join(err, e.(*Export).Close())
	}
	return errors.Join(err, s.state.Sealed.Release(), s.store.Close())
}
