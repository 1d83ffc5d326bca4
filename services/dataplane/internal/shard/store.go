package shard

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
	"github.com/pandodb/pando/services/dataplane/internal/shard/part"
	"github.com/pandodb/pando/services/dataplane/internal/shard/pebblefs"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

const (
	memTableSize = 16 << 20
	// maxUnflushed is how much may wait in memory for the disk.
	maxUnflushed = 4 * memTableSize
	// retrySpace is how long a background flush waits before it tries a full
	// disk again.
	retrySpace = 250 * time.Millisecond
	// The size of a shard's own Cache.
	ownCacheBytes = 8 << 20
	ownCacheFiles = 64
	// storeFormat is pebble's own format, raised by hand only.
	storeFormat = pebble.FormatTableFormatV6
)

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

// store is pebble under a watch. It has no log of its own: the shard's operation
// log is the durable one, so what the store loses in a crash is applied again
// from the position that it kept (both are in the same batch).
type store struct {
	*pebble.DB
	dir    string
	events Events
	done   chan struct{} // closed when closing begins
	since  int           // bytes written since room last looked
	most   uint64        // bytes that may wait in memory for the disk
	own    *Cache        // if none was given

	mu struct {
		sync.Mutex
		failed  error         // sticks
		full    bool          // the last flush found no space
		changed chan struct{} // closed and replaced when one of the two may have changed
		damaged string        // file that a checksum did not fit
	}
}

func openStore(o *Options) (*store, error) {
	s := &store{dir: o.Dir, events: o.Events, done: make(chan struct{}), most: maxUnflushed}
	s.mu.changed = make(chan struct{})
	po := &pebble.Options{
		FS:                 pebblefs.New(o.FS, pebblefs.Watch{Before: s.before, Failed: s.changeFailed}),
		DisableWAL:         true,
		FormatMajorVersion: storeFormat,
		MemTableSize:       memTableSize,
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
		return nil, s.classify(err)
	}
	s.DB = db
	gate.Open()
	if err := s.err(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *store) openDB(o *Options, po *pebble.Options) (*pebble.DB, error) {
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

// classify turns an error of the store into one of this package.
func (s *store) classify(err error) error {
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

// err is why nothing may be written, or nil.
func (s *store) err() error {
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

// fail makes the first failure stick. From then on nothing is changed on the
// disk any more, so that it stays what it was when the failure happened.
func (s *store) fail(err error) error {
	err = s.classify(err)
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

func (s *store) signal() {
	close(s.mu.changed)
	s.mu.changed = make(chan struct{})
}

func (s *store) setFull(full bool) {
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

func (s *store) setDamaged(path string) {
	s.mu.Lock()
	s.mu.damaged = path
	s.mu.Unlock()
	if s.events.Corrupt != nil {
		s.events.Corrupt(path)
	}
}

// before vetoes changes after a failure. New tables also wait a little while
// the disk is full, since pebble repeats a failed flush at once.
func (s *store) before(path string, create bool) error {
	s.mu.Lock()
	failed, full := s.mu.failed, s.mu.full
	s.mu.Unlock()
	if create && strings.HasSuffix(path, ".sst") {
		switch {
		case failed != nil:
			<-s.done
		case full:
			t := time.NewTimer(retrySpace)
			defer t.Stop()
			select {
			case <-s.done:
			case <-t.C:
			}
		}
	}
	return failed
}

// changeFailed: a failed sync is fatal, always; it is never tried again.
func (s *store) changeFailed(path string, sync bool, err error) {
	if sync {
		_ = s.fail(fmt.Errorf("%w: sync %s: %w", ErrFailed, path, err))
	}
}

// background hears of errors of flushes and compactions.
func (s *store) background(err error) {
	switch {
	case vfs.IsNoSpace(err), errors.Is(err, pebble.ErrCancelledCompaction):
	default:
		_ = s.fail(err)
	}
}

func (s *store) flushEnd(i pebble.FlushInfo) {
	if i.Err == nil || vfs.IsNoSpace(i.Err) {
		s.setFull(i.Err != nil)
	}
	s.mu.Lock()
	s.signal()
	s.mu.Unlock()
}

// room waits until n more bytes may be written to memory, or gives up because
// the disk is full or has failed. Only the applier calls it.
func (s *store) room(n int) error {
	if s.since += n; s.since < memTableSize {
		return nil
	}
	for {
		s.mu.Lock()
		changed := s.mu.changed
		s.mu.Unlock()
		if err := s.err(); err != nil {
			return err
		}
		if s.Metrics().MemTable.Size < s.most {
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

// flush makes everything durable that was applied before the call. It gives up
// when the disk is full or has failed.
func (s *store) flush() error {
	flushed, err := s.AsyncFlush()
	if err != nil {
		return s.classify(err)
	}
	for {
		s.mu.Lock()
		changed := s.mu.changed
		s.mu.Unlock()
		if err := s.err(); err != nil {
			return err
		}
		select {
		case <-flushed:
			return s.err()
		case <-changed:
		}
	}
}

// seen reads a dedup entry.
func (s *store) seen(key []byte) (seq topology.Seq, h op.HLC, found bool, err error) {
	v, closer, err := s.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, 0, false, nil
	}
	if err != nil {
		return 0, 0, false, s.classify(err)
	}
	seq, h, err = decodeDedupValue(v)
	return seq, h, err == nil, errors.Join(err, closer.Close())
}

// readAll reads every stored byte, shows the points of a generation in a tail, tells
// who is dead, and computes the digest of both.
func (s *store) readAll(active topology.Seq, tail *part.Tail, dead func(id topology.PointID, buried bool)) (d point.Digest, err error) {
	if d, err = s.readTail(active, tail); err != nil {
		return d, err
	}
	var scratch []byte
	err = s.scan([]byte{deadSpace}, []byte{deadSpace + 1}, func(key, v []byte) error {
		id, err := topology.DecodePointID(key[1:])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if dead(id, len(v) == 0); len(v) == 0 {
			return nil
		}
		p, err := point.Decode(id, v)
		if err != nil {
			return storedError(err)
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
	for _, space := range []byte{openSpace, dedupSpace, ageSpace} {
		if err := s.scan([]byte{space}, []byte{space + 1}, func(_, _ []byte) error { return nil }); err != nil {
			return d, err
		}
	}
	return d, nil
}

// readTail shows the points of a generation in a tail and computes their digest.
func (s *store) readTail(gen topology.Seq, tail *part.Tail) (d point.Digest, err error) {
	var scratch []byte
	err = s.scan(generation(nil, gen), generation(nil, gen+1), func(key, v []byte) error {
		id, err := topology.DecodePointID(key[tailHead:])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		p, err := point.Decode(id, v)
		if err != nil {
			return storedError(err)
		}
		if !p.Alive {
			return fmt.Errorf("%w: point %s is dead among the living", ErrCorrupt, id)
		}
		if err := tail.Show(&p); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		var one point.Digest
		one, scratch = point.DigestOf(id, v, scratch)
		d = d.Add(one)
		return nil
	})
	return d, err
}

// scan calls visit for the keys from low to below high, in order, until it answers
// an error; errEnough is none.
func (s *store) scan(low, high []byte, visit func(key, value []byte) error) error {
	return scan(s, s.DB, low, high, visit)
}

// scan reads a store or a snapshot of it.
func scan(s *store, from pebble.Reader, low, high []byte, visit func(key, value []byte) error) error {
	it, err := from.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: high})
	if err != nil {
		return s.classify(err)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var v []byte
		if v, err = it.ValueAndErr(); err == nil {
			err = visit(it.Key(), v)
		}
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return errors.Join(err, s.classify(errors.Join(it.Error(), it.Close())))
}

// upgrade brings a store of forms 1 and 2 into the present one: points leave the
// one space that all had. Nothing is lost when it is cut short: it begins anew, for
// the meta record is written last.
func (s *store) upgrade(m meta, form byte) error {
	if form == formVersion {
		return nil
	}
	b := s.NewBatch()
	put := func() error {
		err := errors.Join(s.room(b.Len()), s.Apply(b, pebble.NoSync), b.Close())
		b = s.NewBatch()
		return err
	}
	err := s.scan([]byte{pointSpace}, []byte{pointSpace + 1}, func(key, v []byte) error {
		id, err := topology.DecodePointID(key[1:])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		p, err := point.Decode(id, v)
		if err != nil {
			return storedError(err)
		}
		to := idKey(nil, deadSpace, id)
		if p.Alive {
			to = tailKey(nil, 0, id)
		}
		if err := b.Set(to, v, nil); err != nil || b.Len() < batchBytes {
			return err
		}
		return put()
	})
	if err == nil {
		err = errors.Join(b.DeleteRange([]byte{pointSpace}, []byte{pointSpace + 1}, nil), b.Set(metaKey(), m.append(nil), nil))
	}
	if err != nil {
		return errors.Join(err, b.Close())
	}
	return put()
}

// close ends the store; what was not flushed is lost, as in a crash.
func (s *store) close() error {
	close(s.done)
	err := s.DB.Close()
	if s.own != nil {
		s.own.Close()
	}
	if s.err() != nil || vfs.IsNoSpace(err) {
		// Known already, and nothing was to be made durable by closing.
		return nil
	}
	return s.classify(err)
}

// storeLog receives what pebble would log. It says nothing, and what pebble
// calls fatal makes the shard fail instead of ending the process.
type storeLog store

func (*storeLog) Infof(string, ...any)  {}
func (*storeLog) Errorf(string, ...any) {}

func (l *storeLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, a := range args {
		if cause, ok := a.(error); ok {
			err = fmt.Errorf("%s: %w", strings.TrimSuffix(format, ": %v"), cause)
		}
	}
	_ = (*store)(l).fail(err)
}
