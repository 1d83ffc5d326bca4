package oplog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// indexStep is the distance in bytes between places of a segment that a reader
// can jump to; it walks over the records between them.
const indexStep = 16 << 10

// segment is one file of the log.
type segment struct {
	path   string
	serial uint64
	first  topology.Seq
	head   []byte // what the file starts with: log, shard, serial, first seq
	seed   uint32 // stands for head in every checksum of the file

	// Guarded by Log.mu; the writer alone changes them.
	last   topology.Seq
	end    int64 // behind the last record that readers may see
	sealed bool

	// The writer's own, for the last segment.
	size   int64 // of the file
	synced int64 // durable up to here
	zeroed int64 // blocks up to here were written, so overwriting them needs no metadata

	refs atomic.Int32 // the log's own and one for each read in flight

	mu struct {
		sync.Mutex
		file  vfs.File // nil until first used
		index []place  // nil until the segment was checked
	}
}

// place is where the record of seq starts.
type place struct {
	seq topology.Seq
	off int64
}

// newSegment describes the sealed segment of link k without touching the disk.
func newSegment(dir string, c *chain, k link) *segment {
	s := &segment{path: filepath.Join(dir, k.name()), serial: k.serial, first: k.first, last: k.last, end: k.end, sealed: true}
	s.head = segmentHead(c, k)
	s.seed = crc32.Checksum(s.head[:segHead-8], crcTable())
	s.refs.Store(1)
	return s
}

func segmentHead(c *chain, k link) []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, segHead), segMagic...)
	b = le.AppendUint32(b, format)
	b = le.AppendUint32(b, segHead)
	b = append(b, c.log[:]...)
	b = le.AppendUint64(b, uint64(c.shard.Collection))
	b = le.AppendUint64(b, uint64(c.shard.ID))
	b = le.AppendUint64(b, k.serial)
	b = le.AppendUint64(b, uint64(k.first))
	b = le.AppendUint32(b, crc32.Checksum(b, crcTable()))
	return le.AppendUint32(b, 0)
}

// createSegment makes the file of link k with room for size bytes, durable but
// for its name. After an error there is no such file.
func createSegment(fsys vfs.FS, dir string, c *chain, k link, size int64) (*segment, error) {
	s := newSegment(dir, c, k)
	s.unseal(k.first-1, segHead)
	f, err := fsys.Create(s.path)
	if err != nil {
		return nil, err
	}
	err = func() error {
		if _, err := f.WriteAt(s.head, 0); err != nil {
			return err
		}
		if err := f.Truncate(size); err != nil {
			return err
		}
		if err := f.Preallocate(0, size); err != nil {
			return err
		}
		return f.Sync()
	}()
	if err != nil {
		return nil, errors.Join(err, f.Close(), fsys.Remove(s.path))
	}
	s.size = size
	s.mu.file, s.mu.index = f, []place{{s.first, segHead}}
	return s, nil
}

// unseal makes s the segment that is written to, with durable records to end.
func (s *segment) unseal(last topology.Seq, end int64) {
	s.sealed, s.last, s.end, s.synced, s.zeroed = false, last, end, end, end
}

// shrink gives the unused space of the segment back. What it cuts off is zero,
// so it needs no sync.
func (s *segment) shrink() error {
	if err := s.mu.file.Truncate(s.end); err != nil {
		return err
	}
	s.size, s.zeroed = s.end, s.end
	return nil
}

// trim cuts a sealed segment's file behind its end. That only saves space, so
// failing does not matter.
func (s *segment) trim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.file != nil {
		_ = s.mu.file.Truncate(s.end)
	}
}

// wipe makes everything after end read as zero, durably, so that no record that
// was written there can be found after a crash.
func (s *segment) wipe() error {
	f := s.mu.file
	if err := f.Truncate(s.end); err != nil {
		return err
	}
	if err := f.Truncate(s.size); err != nil {
		return err
	}
	s.zeroed = s.end
	if err := f.Preallocate(0, s.size); err != nil && !vfs.IsNoSpace(err) {
		return err
	}
	return f.Sync()
}

func (s *segment) link() link {
	return link{serial: s.serial, first: s.first, last: s.last, end: s.end}
}

func (s *segment) corrupt(off int64, reason string) error {
	return &CorruptError{File: s.path, Offset: off, Reason: reason}
}

// release gives back one reference; the last one closes the file.
func (s *segment) release() error {
	if s.refs.Add(-1) > 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.mu.file
	s.mu.file = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// open returns the file and a place at or before seq. On first use of a sealed
// segment it checks the whole of it against k.
func (s *segment) open(fsys vfs.FS, k link, seq topology.Seq) (vfs.File, place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.file == nil {
		f, err := fsys.Open(s.path)
		if err != nil {
			return nil, place{}, err
		}
		s.mu.file = f
	}
	if s.mu.index == nil {
		index, err := s.checkSealed(s.mu.file, k)
		if err != nil {
			return nil, place{}, err
		}
		s.mu.index = index
	}
	i, exact := slices.BinarySearchFunc(s.mu.index, seq, func(p place, seq topology.Seq) int { return cmp.Compare(p.seq, seq) })
	if !exact {
		i--
	}
	return s.mu.file, s.mu.index[max(i, 0)], nil
}

// noteRecord adds the start of a record to the index if it is far enough from
// the last place in it.
func noteRecord(index []place, seq topology.Seq, off int64) []place {
	if len(index) == 0 || off-index[len(index)-1].off >= indexStep {
		index = append(index, place{seq, off})
	}
	return index
}

// checkHead compares the start of the file with what the chain says.
func (s *segment) checkHead(w *window) error {
	b, err := w.at(0, segHead)
	if err != nil {
		return err
	}
	if !bytes.Equal(b, s.head) {
		return s.corrupt(0, "segment header differs from the chain")
	}
	return nil
}

// checkSealed reads a sealed segment from end to end.
func (s *segment) checkSealed(f vfs.File, k link) ([]place, error) {
	w := &window{file: f, limit: k.end}
	if err := s.checkHead(w); err != nil {
		return nil, err
	}
	index := []place{{k.first, segHead}}
	walk, err := s.walk(w, topology.Term{}, func(r *record, off int64) {
		index = noteRecord(index, r.entry.Seq, off)
	})
	switch {
	case err != nil:
		return nil, err
	case walk.bad != nil:
		return nil, s.corrupt(walk.end, walk.bad.Error())
	case walk.last != k.last:
		return nil, s.corrupt(walk.end, fmt.Sprintf("ends with entry %d, the chain says %d", walk.last, k.last))
	}
	return index, nil
}

// walked is where a walk over the records of a segment stopped.
type walked struct {
	end     int64        // behind the last good record
	last    topology.Seq // of the last good record
	durable int64        // the greatest durable mark of a good record
	bad     error        // why there is no record at end; nil at the window's limit
}

// walk visits the records from the first one on; term is that of the entry
// before it, if known. err is a failed read.
func (s *segment) walk(w *window, term topology.Term, visit func(r *record, off int64)) (walked, error) {
	at := walked{end: segHead, last: s.first - 1, durable: segHead}
	for at.end < w.limit {
		r, err := w.record(s.seed, at.end)
		if err != nil && !isBad(err) {
			return at, err
		}
		switch {
		case err != nil:
			at.bad = err
		case r.entry.Seq != at.last+1:
			at.bad = errSeq
		case r.entry.Term.Less(term):
			at.bad = errTerm
		}
		if at.bad != nil {
			return at, nil
		}
		visit(&r, at.end)
		term = r.entry.Term
		at.end += r.size
		at.last++
		at.durable = max(at.durable, r.durable)
	}
	return at, nil
}

func isBad(err error) bool {
	return errors.Is(err, errShort) || errors.Is(err, errKind) || errors.Is(err, errLength) || errors.Is(err, errChecksum)
}

// inspectTail looks at what follows the place where a walk stopped. used says
// that there is anything but zeros; proven is a durable mark beyond that place
// in a whole record there: it was on the disk once, and what stood there is
// damaged. 0 means no such mark.
func (s *segment) inspectTail(w *window, at walked) (used bool, proven int64, err error) {
	var zeros [align * 64]byte
	for off := at.end; off < w.limit; {
		b, err := w.at(off, len(zeros))
		if err != nil {
			return false, 0, err
		}
		if bytes.Equal(b, zeros[:len(b)]) {
			off += int64(len(b))
			continue
		}
		used = true
		for stop := off + int64(len(b)); off < stop && off < w.limit; off += align {
			mark, err := s.markAt(w, at, off)
			if err != nil {
				return false, 0, err
			}
			proven = max(proven, mark)
		}
	}
	return used, proven, nil
}

// markAt returns the durable mark of a record at off that speaks against at, or
// 0. Records that could not do so are not even read.
func (s *segment) markAt(w *window, at walked, off int64) (int64, error) {
	b, err := w.at(off, recordHead)
	if err != nil {
		return 0, err
	}
	if _, err := peekSize(b); err != nil {
		return 0, nil
	}
	seq := topology.Seq(binary.LittleEndian.Uint64(b[8:]))
	mark := int64(binary.LittleEndian.Uint32(b[72:]))
	room := topology.Seq((off-at.end)/recordHead) + 1
	if seq <= at.last || seq-at.last > room || mark <= at.end || mark > off {
		return 0, nil
	}
	_, err = w.record(s.seed, off)
	if isBad(err) {
		return 0, nil
	}
	return mark, err
}

// window reads a file through one buffer.
type window struct {
	file  io.ReaderAt
	limit int64 // nothing at or after it is read
	base  int64
	buf   []byte
}

// windowSize is what a window reads at once, in bytes.
const windowSize = 128 << 10

// at returns the n bytes at off, fewer only at the limit. They are valid until
// the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), w.limit-off))
	if n <= 0 {
		return nil, nil
	}
	if in := off - w.base; in >= 0 && in+int64(n) <= int64(len(w.buf)) {
		return w.buf[in : in+int64(n)], nil
	}
	size := int(min(int64(max(n, windowSize)), w.limit-off))
	if cap(w.buf) < size {
		w.buf = make([]byte, size)
	}
	w.buf, w.base = w.buf[:size], off
	got, err := w.file.ReadAt(w.buf, off)
	if got < size {
		w.buf = w.buf[:0]
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return w.buf[:n], nil
}

// record decodes the record at off; its body is valid until the next call.
func (w *window) record(seed uint32, off int64) (record, error) {
	b, err := w.at(off, recordHead)
	if err != nil {
		return record{}, err
	}
	size, err := peekSize(b)
	if err != nil {
		return record{}, err
	}
	if size > w.limit-off {
		return record{}, errShort
	}
	if b, err = w.at(off, int(size)); err != nil {
		return record{}, err
	}
	return decodeRecord(b, seed, off)
}
