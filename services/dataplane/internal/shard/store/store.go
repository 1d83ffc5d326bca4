// Package store is pebble under a watch, in the folder of a shard: it tells a full
// disk from a failed one and a damaged file from both, and changes nothing any more
// once something failed. It has the keys and the meta record of a shard; what the
// steps are that go into its batches is the shard's affair.
package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/shard/pebblefs"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

const (
	// memTableSize: pebble keeps two of them for good, in every shard.
	memTableSize = 4 << 20
	// compactFrom: the store holds the tail only, which leaves it as a segment soon. What
	// is flushed is merged when there are as many bytes of it as a tail grows to.
	compactFrom = 8
	// MaxUnflushed is how many bytes may wait in memory for the disk. As many may stay
	// there when it has them: pebble cuts its queue of memtables at the front and does not
	// clear what it cuts, and without cgo that memory is the garbage collector's.
	MaxUnflushed = 16 << 20
	// retrySpace is how long a background flush waits before it tries a full
	// disk again.
	retrySpace = 250 * time.Millisecond
	// The size of a shard's own Cache.
	ownCacheBytes = 8 << 20
	ownCacheFiles = 64
	// storeFormat is pebble's own format, raised by hand only.
	storeFormat = pebble.FormatTableFormatV6
	// upgradeBytes is about how much of a store of an older form is moved at once.
	upgradeBytes = 4 << 20
)

// Options of a store.
type Options struct {
	// FS and Dir: the folder. Open makes it; its parent must be durable.
	FS  vfs.FS
	Dir string
	// Cache may be nil: a small one of the store's own.
	Cache  *Cache
	Events Events
}

// Events are called when something happens that somebody should hear of; any of
// them may be nil. They must not call the Store.
type Events struct {
	// Failed: the first failure that makes ErrFailed stick.
	Failed func(error)
	// Full: a flush found no space (true), or found some again (false).
	Full func(bool)
	// Corrupt: a file did not fit its checksum.
	Corrupt func(path string)
}

// Cache is memory for blocks read from disk, and the files that are open to read
// more, shared by the shards of a process.
type Cache struct {
	blocks *pebble.Cache
	files  *pebble.FileCache
}

// NewCache makes a cache of that many bytes and open files. Close it after the
// shards.
func NewCache(bytes int64, files int) *Cache {
	return &Cache{blocks: pebble.NewCache(bytes), files: pebble.NewFileCache(4, files)}
}

// Close gives memory and files back.
func (c *Cache) Close() {
	c.files.Unref()
	c.blocks.Unref()
}

// Store is pebble under a watch. It has no log of its own: the shard's operation
// log is the durable one, so what the store loses in a crash is applied again
// from the position that it kept (both are in the same batch).
type Store struct {
	*pebble.DB
	dir    string
	events Events
	done   chan struct{} // closed when closing begins
	since  int           // bytes written since room last looked
	own    *Cache        // if none was given

	mu struct {
		sync.Mutex
		failed  error         // sticks
		full    bool          // the last flush found no space
		changed chan struct{} // closed and replaced when one of the two may have changed
		damaged string        // file that a checksum did not fit
	}
}

// Open opens or creates the store in its folder. Errors: ErrInUse, ErrVersion,
// ErrCorrupt, ErrNoSpace, ErrFailed.
func Open(o Options) (*Store, error) {
	s := &Store{dir: o.Dir, events: o.Events, done: make(chan struct{})}
	s.mu.changed = make(chan struct{})
	po := &pebble.Options{
		FS:                    pebblefs.New(o.FS, pebblefs.Watch{Before: s.before, Failed: s.changeFailed}),
		DisableWAL:            true,
		FormatMajorVersion:    storeFormat,
		MemTableSize:          memTableSize,
		L0CompactionThreshold: compactFrom,
		// Writes are held back by room, which can give up; pebble cannot.
		MemTableStopWritesThreshold: 1000,
		L0StopWritesThreshold:       1000,
		Logger:                      (*storeLog)(s),
		EventListener: &pebble.EventListener{
			BackgroundError: s.background,
			DataCorruption:  func(i pebble.DataCorruptionInfo) { s.setDamaged(i.Path) },
			FlushEnd:        s.flushEnd,
		},
	}
	cache := o.Cache
	if cache == nil {
		cache = NewCache(ownCacheBytes, ownCacheFiles)
		s.own = cache
	}
	po.Cache, po.FileCache = cache.blocks, cache.files
	gate := pebblefs.NewGate()
	po.Experimental.CompactionScheduler = gate
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := s.openDB(o, po)
	if err != nil {
		if s.own != nil {
			s.own.Close()
		}
		return nil, s.Classify(err)
	}
	s.DB = db
	gate.Open()
	if err := s.Err(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) openDB(o Options, po *pebble.Options) (*pebble.DB, error) {
	if err := o.FS.MkdirAll(o.Dir, 0o750); err != nil {
		return nil, err
	}
	if err := vfs.SyncDir(o.FS, filepath.Dir(o.Dir)); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(o.Dir, po.FS)
	if err != nil {
		return nil, err
	}
	po.Lock = lock
	if err := pebblefs.RemoveLogs(po.FS, o.Dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	db, err := pebble.Open(o.Dir, po)
	return db, errors.Join(err, lock.Close())
}

// Classify turns an error of the store into one of this package. Errors of the disk that it
// does not know leave it unknown what is durable: ErrFailed.
func (s *Store) Classify(err error) error {
	s.mu.Lock()
	damaged := s.mu.damaged
	s.mu.Unlock()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrFailed), errors.Is(err, ErrNoSpace), errors.Is(err, ErrCorrupt), errors.Is(err, ErrVersion):
		return err
	case errors.Is(err, vfs.ErrLocked):
		return fmt.Errorf("%w: %s", ErrInUse, s.dir)
	case vfs.IsNoSpace(err):
		return fmt.Errorf("%w: %s: %w", ErrNoSpace, s.dir, err)
	case pebble.IsCorruptionError(err) && damaged != "":
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, damaged, err)
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, s.dir, err)
	default:
		return fmt.Errorf("%w: %s: %w", ErrFailed, s.dir, err)
	}
}

// Err is why nothing may be written, or nil.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.failed != nil {
		return s.mu.failed
	}
	if s.mu.full {
		return fmt.Errorf("%w: %s", ErrNoSpace, s.dir)
	}
	return nil
}

// Fail makes the first failure stick. From then on nothing is changed on the
// disk any more, so that it stays what it was when the failure happened.
func (s *Store) Fail(err error) error {
	err = s.Classify(err)
	s.mu.Lock()
	first := s.mu.failed == nil
	if first {
		if !errors.Is(err, ErrFailed) && !errors.Is(err, ErrCorrupt) {
			err = fmt.Errorf("%w: %w", ErrFailed, err)
		}
		s.mu.failed = err
		s.signal()
	}
	err = s.mu.failed
	s.mu.Unlock()
	if first && s.events.Failed != nil {
		s.events.Failed(err)
	}
	return err
}

func (s *Store) signal() {
	close(s.mu.changed)
	s.mu.changed = make(chan struct{})
}

func (s *Store) setFull(full bool) {
	s.mu.Lock()
	was := s.mu.full
	s.mu.full = full
	if was != full {
		s.signal()
	}
	s.mu.Unlock()
	if was != full && s.events.Full != nil {
		s.events.Full(full)
	}
}

func (s *Store) setDamaged(path string) {
	s.mu.Lock()
	s.mu.damaged = path
	s.mu.Unlock()
	if s.events.Corrupt != nil {
		s.events.Corrupt(path)
	}
}

// before vetoes changes after a failure. Pebble repeats a failed flush at once and for
// ever: new tables wait a little while the disk is full, and to the end after a failure.
// Where the disk obeys, and it is a sealed part that is damaged, the manifest may change: a
// flush that has nothing to put into a table is over then, and what it makes durable was right.
func (s *Store) before(path string, create bool) error {
	s.mu.Lock()
	failed, full := s.mu.failed, s.mu.full
	s.mu.Unlock()
	table := create && strings.HasSuffix(path, ".sst")
	switch {
	case table && failed != nil:
		<-s.done
	case failed != nil && !create && !errors.Is(failed, ErrFailed) && strings.HasPrefix(filepath.Base(path), "MANIFEST"):
		return nil
	case table && full:
		t := time.NewTimer(retrySpace)
		defer t.Stop()
		select {
		case <-s.done:
		case <-t.C:
		}
	}
	return failed
}

// changeFailed: a failed sync is fatal, always; it is never tried again.
func (s *Store) changeFailed(path string, sync bool, err error) {
	if sync {
		_ = s.Fail(fmt.Errorf("%w: sync %s: %w", ErrFailed, path, err))
	}
}

// background hears of errors of flushes and compactions.
func (s *Store) background(err error) {
	switch {
	case vfs.IsNoSpace(err), errors.Is(err, pebble.ErrCancelledCompaction):
	default:
		_ = s.Fail(err)
	}
}

func (s *Store) flushEnd(i pebble.FlushInfo) {
	if i.Err == nil || vfs.IsNoSpace(i.Err) {
		s.setFull(i.Err != nil)
	}
	s.mu.Lock()
	s.signal()
	s.mu.Unlock()
}

// Commit applies a batch as one atomic step and closes it; it is durable after a Flush.
// It waits until there is room for it in memory, or gives up because the disk is full
// or has failed: then the batch is the caller's to close. One goroutine at a time may
// call it. Errors: ErrNoSpace, ErrFailed, ErrCorrupt, ErrClosed.
func (s *Store) Commit(b *pebble.Batch) error {
	if err := s.room(b.Len()); err != nil {
		return err
	}
	if err := s.Apply(b, pebble.NoSync); err != nil {
		return s.Fail(err)
	}
	if err := b.Close(); err != nil {
		return s.Fail(err)
	}
	return nil
}

// room waits until n more bytes may be written to memory.
func (s *Store) room(n int) error {
	if s.since += n; s.since < memTableSize {
		return nil
	}
	for {
		s.mu.Lock()
		changed := s.mu.changed
		s.mu.Unlock()
		if err := s.Err(); err != nil {
			return err
		}
		if s.Metrics().MemTable.Size < MaxUnflushed {
			s.since = 0
			return nil
		}
		select {
		case <-changed:
		case <-s.done:
			return ErrClosed
		}
	}
}

// Flush makes everything durable that was applied before the call. It gives up
// when the disk is full or has failed.
func (s *Store) Flush() error {
	flushed, err := s.AsyncFlush()
	if err != nil {
		return s.Classify(err)
	}
	for {
		s.mu.Lock()
		changed := s.mu.changed
		s.mu.Unlock()
		if err := s.Err(); err != nil {
			return err
		}
		select {
		case <-flushed:
			return s.Err()
		case <-changed:
		}
	}
}

// Seen reads a dedup entry by its DedupKey.
func (s *Store) Seen(key []byte) (seq topology.Seq, h op.HLC, found bool, err error) {
	v, closer, err := s.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, 0, false, nil
	}
	if err != nil {
		return 0, 0, false, s.Classify(err)
	}
	seq, h, err = DecodeDedupValue(v)
	return seq, h, err == nil, errors.Join(err, closer.Close())
}

// ReadAll reads every stored byte, shows the points of a generation, tells who is
// dead, and computes the digest of both. A buried point is not stored, though sealed
// parts have rows of it.
func (s *Store) ReadAll(active topology.Seq, show func(*point.Point) error, dead func(id topology.PointID, buried bool)) (d point.Digest, err error) {
	if d, err = s.ReadTail(active, show); err != nil {
		return d, err
	}
	var scratch []byte
	err = s.Scan([]byte{DeadSpace}, []byte{DeadSpace + 1}, func(key, v []byte) error {
		id, err := topology.DecodePointID(key[1:])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if dead(id, len(v) == 0); len(v) == 0 {
			return nil
		}
		p, err := point.Decode(id, v)
		if err != nil {
			return Damaged(err)
		}
		if p.Alive {
			return fmt.Errorf("%w: point %s lives among the dead", ErrCorrupt, id)
		}
		var one point.Digest
		one, scratch = point.DigestOf(id, v, scratch)
		d = d.Add(one)
		return nil
	})
	if err != nil {
		return d, err
	}
	// The others are read for their checksums only.
	for _, space := range []byte{OpenSpace, DedupSpace, AgeSpace} {
		if err := s.Scan([]byte{space}, []byte{space + 1}, func(_, _ []byte) error { return nil }); err != nil {
			return d, err
		}
	}
	return d, nil
}

// ReadTail shows the points of a generation and computes their digest.
func (s *Store) ReadTail(gen topology.Seq, show func(*point.Point) error) (d point.Digest, err error) {
	var scratch []byte
	err = s.Scan(Generation(nil, gen), Generation(nil, gen+1), func(key, v []byte) error {
		id, err := topology.DecodePointID(key[TailHead:])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		p, err := point.Decode(id, v)
		if err != nil {
			return Damaged(err)
		}
		if !p.Alive {
			return fmt.Errorf("%w: point %s is dead among the living", ErrCorrupt, id)
		}
		if err := show(&p); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		var one point.Digest
		one, scratch = point.DigestOf(id, v, scratch)
		d = d.Add(one)
		return nil
	})
	return d, err
}

// Scan calls visit for the keys from low to below high, in order, until it answers
// an error; ErrEnough is none.
func (s *Store) Scan(low, high []byte, visit func(key, value []byte) error) error {
	return s.ScanFrom(s.DB, low, high, visit)
}

// ScanFrom is Scan of a snapshot of the store.
func (s *Store) ScanFrom(from pebble.Reader, low, high []byte, visit func(key, value []byte) error) error {
	it, err := from.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: high})
	if err != nil {
		return s.Classify(err)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var v []byte
		if v, err = it.ValueAndErr(); err == nil {
			err = visit(it.Key(), v)
		}
	}
	if errors.Is(err, ErrEnough) {
		err = nil
	}
	return errors.Join(err, s.Classify(errors.Join(it.Error(), it.Close())))
}

// Record reads one record if there is one; read must not keep its argument.
func (s *Store) Record(key []byte, read func([]byte) error) error {
	v, closer, err := s.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(read(v), closer.Close())
}

// Meta reads the meta record, and brings a store of an older form into the present
// one first. A new store has none: it is all zeros.
func (s *Store) Meta() (m Meta, err error) {
	form := byte(formVersion)
	if err := s.Record(MetaKey(), func(v []byte) (err error) {
		m, form, err = decodeMeta(v)
		return err
	}); err != nil {
		return m, err
	}
	return m, s.upgrade(m, form)
}

// upgrade brings a store of forms 1 and 2 into the present one: points leave the
// one space that all had. Nothing is lost when it is cut short: it begins anew, for
// the meta record is written last.
func (s *Store) upgrade(m Meta, form byte) error {
	if form == formVersion {
		return nil
	}
	b := s.NewBatch()
	put := func() error {
		if err := s.Commit(b); err != nil {
			return err
		}
		b = s.NewBatch()
		return nil
	}
	err := s.Scan([]byte{pointSpace}, []byte{pointSpace + 1}, func(key, v []byte) error {
		id, err := topology.DecodePointID(key[1:])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		p, err := point.Decode(id, v)
		if err != nil {
			return Damaged(err)
		}
		to := IDKey(nil, DeadSpace, id)
		if p.Alive {
			to = TailKey(nil, 0, id)
		}
		if err := b.Set(to, v, nil); err != nil || b.Len() < upgradeBytes {
			return err
		}
		return put()
	})
	if err == nil {
		err = errors.Join(b.DeleteRange([]byte{pointSpace}, []byte{pointSpace + 1}, nil), b.Set(MetaKey(), m.AppendBinary(nil), nil))
	}
	if err == nil {
		if err = s.Commit(b); err == nil {
			return nil
		}
	}
	return errors.Join(err, b.Close())
}

// Close ends the store; what was not flushed is lost, as in a crash.
func (s *Store) Close() error {
	close(s.done)
	err := s.DB.Close()
	if s.own != nil {
		s.own.Close()
	}
	if s.Err() != nil || vfs.IsNoSpace(err) {
		// Known already, and nothing was to be made durable by closing.
		return nil
	}
	return s.Classify(err)
}

// storeLog receives what pebble would log. It says nothing, and what pebble
// calls fatal makes the shard fail instead of ending the process.
type storeLog Store

func (*storeLog) Infof(string, ...any)  {}
func (*storeLog) Errorf(string, ...any) {}

func (l *storeLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, a := range args {
		if cause, ok := a.(error); ok {
			err = fmt.Errorf("%s: %w", strings.TrimSuffix(format, ": %v"), cause)
		}
	}
	_ = (*Store)(l).Fail(err)
}
