package shard

import (
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/record"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/vfs"
)

const (
	// fillBytes is about how much of a copy an Export holds in memory.
	fillBytes = 256 << 10
	// pieceBytes is how much of a file goes into one record.
	pieceBytes = 128 << 10
	// recordBytes is about what a point's record takes besides its values.
	recordBytes = 48
)

// Export reads the state of a shard at the position where it was pinned, as the
// records that follow its head (docs/format/copy.md). What is applied meanwhile
// neither waits for it nor shows in it; what it pins is disk space. Close may be
// called beside Read.
type Export struct {
	shard *Shard
	head  record.Head

	mu struct {
		sync.Mutex
		snap     *pebble.Snapshot // nil: closed
		out      *record.Writer
		kind     record.Kind // being read; 0: all was read
		manifest []byte
		named    []segment.File
		files    []vfs.File // open, so that they outlive their names
		file     int
		at       int64
		next     []byte // first key of kind not read yet
		buf      []byte
		off      int // of the first byte of buf not given out
		err      error
	}
}

// Export pins the applied state. It must be closed; Shard.Close does so, too. It
// may be called beside everything. Errors: ErrClosed, ErrFailed.
func (s *Shard) Export() (*Export, error) {
	a := &s.apply
	a.Lock()
	defer a.Unlock()
	if a.closed {
		return nil, ErrClosed
	}
	e := &Export{shard: s, head: record.Head{Term: a.meta.Term, Seq: a.meta.Seq, HLC: a.meta.HLC, Floor: a.meta.Floor, Digest: a.meta.Digest,
		Revision: a.meta.Revision, Settings: a.meta.Settings}}
	x := &e.mu
	m := a.manifest.Without(s.state.Sealed.Spare())
	for _, f := range m.Files() {
		open, err := s.opts.FS.Open(s.segments.Path(f))
		if err != nil {
			s.scrub.Suspect(f)
			return nil, errors.Join(s.store.Classify(err), e.closeFiles())
		}
		x.named, x.files = append(x.named, f), append(x.files, open)
		e.head.Bytes += uint64(f.Size)
	}
	e.head.Points = uint64(len(a.dead) + s.state.Points)
	e.head.Bytes += uint64(s.state.Tail.Bytes() + recordBytes*len(a.dead))
	for _, p := range s.state.Sealed.List {
		if _, waits := p.Generation(); waits {
			e.head.Bytes += uint64(p.Rows() * recordBytes)
		}
	}
	x.manifest = m.AppendBinary(nil)
	x.snap = s.store.NewSnapshot()
	x.out = record.NewWriter(e.head.AppendBinary(nil))
	x.kind = record.Manifest
	s.exports.Store(e, nil)
	return e, nil
}

// Head says what the copy stands for.
func (e *Export) Head() record.Head { return e.head }

// Read gives the next bytes, io.EOF after the last. Errors: ErrClosed, ErrCorrupt,
// ErrFailed.
func (e *Export) Read(p []byte) (n int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.mu.off == len(e.mu.buf) {
		switch {
		case e.mu.err != nil:
			return 0, e.mu.err
		case e.mu.snap == nil:
			return 0, ErrClosed
		}
		e.mu.buf, e.mu.off = e.mu.buf[:0], 0
		if e.mu.err = e.fill(); e.mu.err != nil {
			e.mu.buf = e.mu.buf[:0]
		}
	}
	n = copy(p, e.mu.buf[e.mu.off:])
	e.mu.off += n
	return n, nil
}

// fill encodes the next records.
func (e *Export) fill() error {
	x := &e.mu
	switch x.kind {
	case record.Manifest:
		x.buf, x.kind = x.out.Record(x.buf, record.Manifest, nil, x.manifest), record.File
		return nil
	case record.File:
		return e.fillFile()
	case record.Tail:
		return e.fillSpace(store.TailSpace, record.Dead)
	case record.Dead:
		return e.fillSpace(store.DeadSpace, record.Open)
	case record.Open:
		return e.fillSpace(store.OpenSpace, record.Dedup)
	case record.Dedup:
		return e.fillSpace(store.DedupSpace, 0)
	default:
		if x.out == nil {
			return io.EOF
		}
		x.buf, x.out = x.out.End(x.buf), nil
		return nil
	}
}

// fillFile encodes the next piece of a file.
func (e *Export) fillFile() error {
	x := &e.mu
	if x.file == len(x.files) {
		x.kind = record.Tail
		return nil
	}
	f := x.named[x.file]
	piece := make([]byte, min(pieceBytes, f.Size-x.at))
	if n, err := x.files[x.file].ReadAt(piece, x.at); n < len(piece) {
		e.shard.scrub.Suspect(f)
		return e.shard.store.Classify(err)
	}
	x.buf = x.out.Record(x.buf, record.File, record.FileKey(nil, uint32(x.file), x.at), piece)
	if x.at += int64(len(piece)); x.at == f.Size {
		x.file, x.at = x.file+1, 0
	}
	return nil
}

// fillSpace encodes the next keys of a space of the store, whose keys are those of
// the records. It opens an iterator each time: one that stays open would hold the
// store's memory and files.
func (e *Export) fillSpace(space byte, then record.Kind) error {
	x := &e.mu
	if x.next == nil {
		x.next = []byte{space}
	}
	err := e.shard.store.ScanFrom(x.snap, slices.Clone(x.next), []byte{space + 1}, func(key, v []byte) error {
		if len(x.buf) >= fillBytes {
			return store.ErrEnough
		}
		x.next = append(append(x.next[:0], key...), 0)
		x.buf = x.out.Record(x.buf, x.kind, key[1:], v)
		return nil
	})
	if err == nil && len(x.buf) < fillBytes {
		x.kind, x.next = then, nil
	}
	return err
}

func (e *Export) closeFiles() (err error) {
	for _, f := range e.mu.files {
		err = errors.Join(err, f.Close())
	}
	e.mu.files = nil
	return err
}

// Close gives the pinned state free. Closing again does nothing.
func (e *Export) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.snap == nil {
		return nil
	}
	err := errors.Join(e.mu.snap.Close(), e.closeFiles())
	e.mu.snap, e.mu.buf, e.mu.off = nil, nil, 0
	e.shard.exports.Delete(e)
	return e.shard.store.Classify(err)
}
