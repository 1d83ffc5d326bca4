package shard

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/shard/record"
	"github.com/pandodb/pando/services/internal/topology"
)

// fillBytes is about how much of a copy an Export holds in memory.
const fillBytes = 256 << 10

// Export reads the state of a shard at the position where it was pinned, as the
// records that follow its head (docs/format/copy.md). What is applied meanwhile
// neither waits for it nor shows in it; what it pins is disk space. Close may be
// called beside Read.
type Export struct {
	shard *Shard
	head  record.Head

	mu struct {
		sync.Mutex
		snap  *pebble.Snapshot // nil: closed
		out   *record.Writer
		space byte   // being read; endSpace: all was read
		next  []byte // first key not read yet
		buf   []byte
		off   int // of the first byte of buf not given out
		err   error
	}
}

// Export pins the applied state. It must be closed; Shard.Close does so, too. It
// may be called beside everything. Errors: ErrClosed.
func (s *Shard) Export() (*Export, error) {
	a := &s.apply
	a.Lock()
	defer a.Unlock()
	if a.closed {
		return nil, ErrClosed
	}
	e := &Export{shard: s, head: record.Head{Term: a.meta.Term, Seq: a.meta.Seq, HLC: a.meta.HLC, Floor: a.meta.Floor, Digest: a.meta.digest,
		Revision: a.meta.revision, Settings: a.meta.settings}}
	s.rows.RLock()
	e.head.Points = uint64(len(s.rows.ids) + len(a.hidden))
	e.head.Bytes = e.head.Points*recordBytes + uint64(s.rows.payloads.Bytes())
	for i := range s.rows.fields {
		f := &s.rows.fields[i]
		e.head.Bytes += 4 * uint64(f.index.Len()) * uint64(f.Size)
	}
	s.rows.RUnlock()
	e.mu.snap = s.store.NewSnapshot()
	e.mu.out = record.NewWriter(e.head.AppendBinary(nil))
	e.mu.space, e.mu.next = pointSpace, []byte{pointSpace}
	s.exports.Store(e, nil)
	return e, nil
}

// recordBytes is about how much a point's record takes besides its values.
const recordBytes = 48

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

// fill encodes the next records. It opens an iterator each time: one that stays
// open would hold the store's memory and files.
func (e *Export) fill() error {
	if e.mu.space == endSpace {
		return io.EOF
	}
	it, err := e.mu.snap.NewIter(&pebble.IterOptions{LowerBound: e.mu.next, UpperBound: []byte{e.mu.space + 1}})
	if err != nil {
		return e.shard.store.classify(err)
	}
	ok := it.First()
	for ; ok && err == nil && len(e.mu.buf) < fillBytes; ok = it.Next() {
		e.mu.next = append(append(e.mu.next[:0], it.Key()...), 0)
		err = e.record(it)
	}
	err = errors.Join(err, e.shard.store.classify(errors.Join(it.Error(), it.Close())))
	switch {
	case err != nil || ok:
	case e.mu.space == pointSpace:
		e.mu.space, e.mu.next = dedupSpace, append(e.mu.next[:0], dedupSpace)
	default:
		e.mu.space, e.mu.buf = endSpace, e.mu.out.End(e.mu.buf)
	}
	return err
}

func (e *Export) record(it *pebble.Iterator) error {
	v, err := it.ValueAndErr()
	if err != nil {
		return e.shard.store.classify(err)
	}
	key := it.Key()[1:]
	if e.mu.space == pointSpace {
		id, err := topology.DecodePointID(key)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		e.mu.buf = e.mu.out.Point(e.mu.buf, id, v)
		return nil
	}
	id, err := op.DecodeID(key)
	if err != nil {
		return storedError(err)
	}
	seq, h, err := decodeDedupValue(v)
	e.mu.buf = e.mu.out.Dedup(e.mu.buf, record.Dedup{ID: id, Seq: seq, HLC: h})
	return err
}

// Close gives the pinned state free. Closing again does nothing.
func (e *Export) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.snap == nil {
		return nil
	}
	err := e.mu.snap.Close()
	e.mu.snap, e.mu.buf, e.mu.off = nil, nil, 0
	e.shard.exports.Delete(e)
	return e.shard.store.classify(err)
}
