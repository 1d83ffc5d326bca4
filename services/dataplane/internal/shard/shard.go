package shard

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/pandodb/pando/services/dataplane/internal/index"
	fieldindex "github.com/pandodb/pando/services/dataplane/internal/index/payload"
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
	// Fields reads out of settings (W11) which payload fields are to be indexed;
	// nil: none ever is.
	Fields func(settings []byte) ([]query.FieldIndex, error)
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
// The store keeps goroutines of its own from Open to Close.
type Shard struct {
	opts  Options
	store *store
	rows  *rows
	apply applier
	// exports are those that are open; registered under apply's lock.
	exports sync.Map
}

// applier is the writing side: what it has stored, ahead of what rows show.
type applier struct {
	sync.Mutex
	meta   meta
	closed bool
	// hidden are the stored points that are not alive: tombstones, and points
	// that got partial updates only. Who is in neither map is not stored.
	hidden map[topology.PointID]struct{}
	staged map[topology.PointID]*staged
	order  []*staged
	batch  *pebble.Batch
	// indexes take the place of those in rows when the step is shown; nil: they stay.
	indexes *fieldindex.Set
	// Scratch memory.
	key, val, hash []byte
}

// Open opens or creates the shard in its folder and loads it into memory. Every
// stored byte is read and the digest is computed anew: it does not trust the one
// on the disk. Errors: ErrInUse, ErrVersion, ErrCorrupt, ErrNoSpace, ErrFailed.
func Open(o Options) (*Shard, error) {
	r, err := newRows(o.Schema, o.Index)
	if err != nil {
		return nil, err
	}
	st, err := openStore(&o)
	if err != nil {
		return nil, err
	}
	s := &Shard{opts: o, store: st, rows: r}
	s.apply.hidden = map[topology.PointID]struct{}{}
	s.apply.staged = map[topology.PointID]*staged{}
	if err := s.load(); err != nil {
		return nil, errors.Join(st.classify(err), st.close())
	}
	return s, nil
}

func (s *Shard) load() error {
	v, closer, err := s.store.Get(metaKey())
	switch {
	case errors.Is(err, pebble.ErrNotFound):
	case err != nil:
		return err
	default:
		s.apply.meta, err = decodeMeta(v)
		if err = errors.Join(err, closer.Close()); err != nil {
			return err
		}
	}
	digest, err := s.store.readAll(s.loadPoint)
	if err != nil {
		return err
	}
	if digest != s.apply.meta.digest {
		return fmt.Errorf("%w: %s: digest of the points is %s, was %s when they were written", ErrCorrupt, s.opts.Dir, digest, s.apply.meta.digest)
	}
	if s.rows.indexes, err = s.indexed(s.apply.meta.settings); err != nil {
		return err
	}
	s.rows.publish(&s.apply.meta)
	return nil
}

// indexed makes the indexes that settings ask for.
func (s *Shard) indexed(settings []byte) (*fieldindex.Set, error) {
	if s.opts.Fields == nil {
		return s.rows.indexes, nil
	}
	specs, err := s.opts.Fields(settings)
	var set *fieldindex.Set
	if err == nil {
		set, err = s.rows.indexed(specs)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: settings: %w", ErrCorrupt, s.opts.Dir, err)
	}
	return set, nil
}

// loadPoint brings a stored point into memory.
func (s *Shard) loadPoint(id topology.PointID, stored []byte) error {
	p, err := point.Decode(id, stored)
	if err != nil {
		return storedError(err)
	}
	if !p.Alive {
		s.apply.hidden[id] = struct{}{}
		return nil
	}
	if err := s.rows.show(&p); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// storedError classifies an error of decoding stored bytes.
func storedError(err error) error {
	if errors.Is(err, op.ErrVersion) {
		return fmt.Errorf("%w: %w", ErrVersion, err)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// publish shows the position and what belongs to it.
func (r *rows) publish(m *meta) { r.pos, r.digest, r.config = m.Position, m.digest, *m }

// Applied is the position of the state that reads see.
func (s *Shard) Applied() Position {
	s.rows.RLock()
	defer s.rows.RUnlock()
	return s.rows.pos
}

// Digest is the digest of all stored points, tombstones included, at seq.
func (s *Shard) Digest() (topology.Seq, point.Digest) {
	s.rows.RLock()
	defer s.rows.RUnlock()
	return s.rows.pos.Seq, s.rows.digest
}

// Config gives the last applied Config entry (W11); revision 0 if there is none.
func (s *Shard) Config() (revision uint64, settings []byte) {
	s.rows.RLock()
	defer s.rows.RUnlock()
	return s.rows.config.revision, s.rows.config.settings
}

// Fields gives the revision of the settings in effect and, by its key, how many
// points each index on a payload field holds.
func (s *Shard) Fields() (revision uint64, points map[string]uint64) {
	s.rows.RLock()
	defer s.rows.RUnlock()
	return s.rows.config.revision, s.rows.indexes.Count()
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
// tells up to where: the operation log is not needed up to there any more.
func (s *Shard) Checkpoint() (topology.Seq, error) {
	s.apply.Lock()
	seq, closed := s.apply.meta.Seq, s.apply.closed
	s.apply.Unlock()
	if closed {
		return 0, ErrClosed
	}
	if err := s.store.flush(); err != nil {
		return 0, err
	}
	return seq, nil
}

// Close ends the shard and its exports. It does not checkpoint; no call but on an
// Export may be under way or follow. Closing again does nothing.
func (s *Shard) Close() error {
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
	return errors.Join(err, s.store.close())
}
