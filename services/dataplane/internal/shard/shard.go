package shard

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// Options of a shard.
type Options struct {
	// FS and Dir: the folder that holds nothing but this shard's state. Open makes
	// it; its parent must be durable.
	FS  vfs.FS
	Dir string
	// Schema is the collection's; Open reads stored vectors against it.
	Schema query.Schema
	// Index makes the index of a named vector.
	Index func(query.VectorSchema) (index.Index, error)
	// Settings reads what a Config entry carries (W11); nil: there is nothing in it.
	Settings func([]byte) (query.Settings, error)
	// Background has a place for each shard that may make segments at a time; nil: no
	// bound.
	Background chan struct{}
	// Cache may be nil: a small one of the shard's own.
	Cache  *Cache
	Events Events
}

// Events are called when something happens that somebody should hear of; any of
// them may be nil. They must not call the Shard.
type Events struct {
	// Failed: the first failure that makes ErrFailed stick.
	Failed func(error)
	// Full: a flush found no space (true), or found some again (false).
	Full func(bool)
	// Corrupt: a file did not fit its checksum.
	Corrupt func(path string)
	// Overtaken: an operation changed a point only in part or not at all,
	// because winner is later (P8).
	Overtaken func(id op.ID, p topology.PointID, e point.Effect, winner op.HLC)
}

// Shard is the state of one shard replica. Apply, Checkpoint and Close may be
// called from one goroutine at a time each, reads from any number beside them.
// The store keeps goroutines of its own from Open to Close, and so does the making
// of segments.
type Shard struct {
	opts  Options
	store *store
	state state
	apply applier
	work  worker
	// exports are those that are open; registered under apply's lock.
	exports sync.Map
}

// applier is the writing side: what it has stored, ahead of what the state shows.
type applier struct {
	sync.Mutex
	meta     meta
	manifest manifest
	settings query.Settings
	jobs     []*job // parts that are to be made, ascending
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
func (o *Options) settings(b []byte) (query.Settings, error) {
	if o.Settings == nil {
		return query.Settings{}, nil
	}
	return o.Settings(b)
}

// Open opens or creates the shard in its folder. Every stored byte is read; the
// digest is computed anew: it does not trust the one on the disk. Errors: ErrInUse,
// ErrVersion, ErrCorrupt, ErrNoSpace, ErrFailed.
func Open(o Options) (*Shard, error) {
	st, err := openStore(&o)
	if err != nil {
		return nil, err
	}
	s := &Shard{opts: o, store: st}
	s.work.news = make(chan struct{}, 1)
	s.apply.dead = map[topology.PointID]bool{}
	s.apply.staged = map[topology.PointID]*staged{}
	s.state.sealed = newParts(nil)
	if err := s.load(); err != nil {
		return nil, errors.Join(st.classify(err), s.state.sealed.release(), st.close())
	}
	s.start()
	return s, nil
}

// storedError classifies an error of decoding stored bytes.
func storedError(err error) error {
	if errors.Is(err, op.ErrVersion) {
		return fmt.Errorf("%w: %w", ErrVersion, err)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// publish shows the position and what belongs to it.
func (st *state) publish(m *meta) { st.pos, st.digest, st.config = m.Position, m.digest, *m }

// Applied is the position of the state that reads see.
func (s *Shard) Applied() Position {
	s.state.RLock()
	defer s.state.RUnlock()
	return s.state.pos
}

// Digest is the digest of all stored points, tombstones included, at seq.
func (s *Shard) Digest() (topology.Seq, point.Digest) {
	s.state.RLock()
	defer s.state.RUnlock()
	return s.state.pos.Seq, s.state.digest
}

// Config gives the last applied Config entry (W11); revision 0 if there is none.
func (s *Shard) Config() (revision uint64, settings []byte) {
	s.state.RLock()
	defer s.state.RUnlock()
	return s.state.config.revision, s.state.config.settings
}

// Fields gives the revision of the settings in effect and, by its key, how many
// points each index on a payload field holds.
func (s *Shard) Fields() (revision uint64, points map[string]uint64) {
	r := s.read()
	defer r.end()
	revision, points = s.state.config.revision, r.tail.FieldCounts()
	for _, v := range r.sealed {
		for key, n := range v.FieldCounts() {
			points[key] += n
		}
	}
	return revision, points
}

// Err is why nothing can be applied at the moment: ErrFailed, ErrCorrupt (both
// stick), ErrNoSpace or nil.
func (s *Shard) Err() error { return s.store.err() }

// Seen finds where an operation was applied (W2), until a Floor forgot it.
func (s *Shard) Seen(id op.ID) (topology.Seq, bool, error) {
	seq, _, found, err := s.store.seen(dedupKey(nil, id))
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
	s.apply.Lock()
	seq, closed, m := s.apply.meta.Seq, s.apply.closed, s.apply.manifest
	s.apply.Unlock()
	if closed {
		return 0, ErrClosed
	}
	if err := s.store.flush(); err != nil || !quiet {
		return seq, err
	}
	return seq, s.clean(m)
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
	return errors.Join(err, s.state.sealed.release(), s.store.close())
}
