// Package oplog is the operation log of one shard replica: the dense list of
// entries that replication orders (replication.md §1), kept in segment files.
//
// An entry is durable when Sync has returned its seq, and from then on no crash
// loses it; a crash leaves a prefix of what was appended. Damage is told from a
// crash: bytes that were durable once and no longer are what was written are a
// *CorruptError and never a shorter log. docs/format/oplog.md draws the bytes
// and says where the line runs.
//
// It knows neither commit nor apply nor the network, starts no goroutine and
// evaluates no body.
package oplog

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/pandodb/pando/services/dataplane/internal/line"
	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/oplog/statefile"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// The errors of this package. They come wrapped, with the file or seq.
var (
	// ErrFailed: a write or a sync failed, and nothing is known about what it
	// was to make durable. The log takes nothing more until it is opened again;
	// reads go on.
	ErrFailed = errors.New("operation log has failed")
	// ErrNoSpace: the disk is full. The log is as it was before the call, on the
	// disk too, and the call may be repeated.
	ErrNoSpace = errors.New("no space left for the operation log")
	// ErrOrder: entries that do not continue the log, or of an earlier term.
	ErrOrder = errors.New("entries do not continue the log")
	// ErrTooLarge: a body above op.MaxBody, or a batch above MaxBatch.
	ErrTooLarge = errors.New("too large for the operation log")
	// ErrTruncated: the log begins after the seq asked for.
	ErrTruncated = errors.New("entry was truncated from the operation log")
	// ErrBeyond: the log ends before the seq asked for.
	ErrBeyond = errors.New("entry is beyond the operation log")
	// ErrShard: the folder holds the log of another shard.
	ErrShard = errors.New("operation log is of another shard")
	// ErrFormat: the folder was written by a later Pando.
	ErrFormat = statefile.ErrFormat
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("operation log is closed")
)

// CorruptError names the damaged file and place.
type CorruptError = statefile.CorruptError

// Limits in bytes.
const (
	DefaultSegmentBytes = 32 << 20
	minSegmentBytes     = 4 << 10
	maxSegmentBytes     = 1 << 30
	// MaxBatch is the most that one Append takes, with 88 bytes for each entry.
	MaxBatch = 1 << 30
)

// Names of package line.
type (
	TermStart = line.TermStart
	Position  = line.Position
)

// Options say where the log is and how it is kept.
type Options struct {
	FS vfs.FS
	// Dir belongs to the log alone. It is made if missing; its parent must exist
	// and be durable. Holding a lock on it is the caller's task.
	Dir   string
	Shard topology.Shard
	// SegmentBytes is the size of a segment file (wal_capacity_mb); 0 = 32 MiB.
	// It may differ from one Open to the next.
	SegmentBytes int64
	// AtLeast is a seq that the caller knows to have been durable, such as the
	// applied position of the state. A log that ends before it is corrupt.
	AtLeast topology.Seq
	// Rand gives a new log its identity; nil = crypto/rand.
	Rand io.Reader
}

// Log is an open log. Append, Sync, Mark, TruncateFront, TruncateBack, Reset and
// Close are for one goroutine; all other methods and every Reader may run beside
// them.
type Log struct {
	opt       Options
	chainPath string

	// The writer's own.
	id     [16]byte
	serial uint64 // of the next segment
	floor  int64  // as the chain on the disk says
	buf    []byte

	mu struct {
		sync.RWMutex
		segs    []*segment // the last one is written to
		durable topology.Seq
		history []TermStart
		failed  error
		closed  bool
	}
}

// Open opens the log in o.Dir, or makes an empty one that starts at seq 1. It
// cuts off what a crash left of appends that no Sync covered; all that it
// returns is durable. It reads the last segment; the others are checked when
// they are first read, or by Verify.
//
// Errors: *CorruptError, ErrShard, ErrFormat, ErrNoSpace, or the file system's.
func Open(o Options) (*Log, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	o.SegmentBytes = min(max(o.SegmentBytes, minSegmentBytes), maxSegmentBytes)
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	l := &Log{opt: o, chainPath: filepath.Join(o.Dir, chainName)}
	c, err := loadChain(o.FS, l.chainPath)
	if errors.Is(err, fs.ErrNotExist) {
		c, err = l.conceive()
	}
	if err == nil && c.shard != o.Shard {
		err = fmt.Errorf("%s: %w: it is of shard %d of collection %d, not %d of %d", o.Dir, ErrShard,
			c.shard.ID, c.shard.Collection, o.Shard.ID, o.Shard.Collection)
	}
	if err != nil {
		return nil, spaceErr(err)
	}
	l.id, l.serial, l.floor = c.log, c.serial, c.floor
	// What is seen may not be durable yet: the process that made the folder may
	// have ended before it synced the name.
	err = vfs.SyncDir(o.FS, filepath.Dir(o.Dir))
	if err == nil {
		err = l.load(&c)
	}
	if err != nil {
		return nil, spaceErr(errors.Join(err, l.release()))
	}
	return l, nil
}

// spaceErr adds ErrNoSpace where the file system says so.
func spaceErr(err error) error {
	if vfs.IsNoSpace(err) && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// conceive makes the folder with a chain of no segment, so that a folder with
// segments and no chain is known to have lost it.
func (l *Log) conceive() (chain, error) {
	fsys, dir := l.opt.FS, l.opt.Dir
	c := chain{shard: l.opt.Shard}
	if err := fsys.MkdirAll(dir, 0o750); err != nil {
		return c, err
	}
	names, err := fsys.List(dir)
	if err != nil {
		return c, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			return c, &CorruptError{File: l.chainPath, Reason: "file is missing, but segments are there"}
		}
	}
	if _, err := io.ReadFull(l.opt.Rand, c.log[:]); err != nil {
		return c, err
	}
	return c, c.store(fsys, l.chainPath)
}

// load opens the segments of c.
func (l *Log) load(c *chain) error {
	if len(c.links) == 0 {
		return l.relink(nil, place{}, 1, nil, 0)
	}
	for _, k := range c.links {
		s := newSegment(l.opt.Dir, c, k)
		l.mu.segs = append(l.mu.segs, s)
		info, err := l.opt.FS.Stat(s.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return s.corrupt(0, "segment file is missing")
		case err != nil:
			return err
		case info.Size() < max(k.end, segHead):
			return s.corrupt(info.Size(), "segment file is too short")
		}
	}
	active := l.active()
	for _, h := range c.history {
		if h.First < active.first {
			l.mu.history = append(l.mu.history, h)
		}
	}
	if err := l.recover(active); err != nil {
		return err
	}
	l.mu.durable = active.last
	return l.sweep(c)
}

// recover finds the end of the last segment and makes everything before it
// durable, everything after it zero.
func (l *Log) recover(s *segment) error {
	f, err := l.opt.FS.OpenReadWrite(s.path)
	if err != nil {
		return err
	}
	s.mu.file = f
	info, err := f.Stat()
	if err != nil {
		return err
	}
	w := &window{file: f, limit: info.Size()}
	if err := s.checkHead(w); err != nil {
		return err
	}
	index := []place{{s.first, segHead}}
	before, _ := line.TermAt(l.mu.history, s.first-1)
	at, err := s.walk(w, before, func(r *record, off int64) {
		index = noteRecord(index, r.entry.Seq, off)
		l.mu.history = noteTerm(l.mu.history, &r.entry)
	})
	if err != nil {
		return err
	}
	used, proven, err := s.inspectTail(w, at)
	if err != nil {
		return err
	}
	if err := l.judge(s, at, max(proven, l.floor, at.durable)); err != nil {
		return err
	}
	s.unseal(at.last, at.end)
	s.size, s.mu.index = info.Size(), index
	if known := max(l.floor, at.durable); known < at.end {
		if err := rewrite(w, f, known, at.end); err != nil {
			return err
		}
	}
	if used {
		return s.wipe()
	}
	return nil
}

// judge decides whether the end of a segment is what a crash may leave. proven
// is how far it was durable for sure.
func (l *Log) judge(s *segment, at walked, proven int64) error {
	switch {
	case errors.Is(at.bad, errSeq), errors.Is(at.bad, errTerm):
		return s.corrupt(at.end, at.bad.Error())
	case proven > at.end:
		reason := "the end is missing"
		if at.bad != nil {
			reason = at.bad.Error()
		}
		return s.corrupt(at.end, fmt.Sprintf("%s, but everything before byte %d was durable", reason, proven))
	case at.last < l.opt.AtLeast:
		return s.corrupt(at.end, fmt.Sprintf("the log ends with entry %d, but entry %d was durable", at.last, l.opt.AtLeast))
	}
	return nil
}

// rewrite writes the bytes of [from, to) once more and syncs them. After a
// failed sync of an earlier process the page cache may hold, as clean, pages
// that never reached the disk; a sync alone would say nothing about them.
func rewrite(w *window, f vfs.File, from, to int64) error {
	for off := from; off < to; {
		b, err := w.at(off, int(min(to-off, windowSize)))
		if err != nil {
			return err
		}
		if _, err := f.WriteAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return f.Sync()
}

// sweep removes what an interrupted change of the chain left behind.
func (l *Log) sweep(c *chain) error {
	names, err := l.opt.FS.List(l.opt.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		ours := strings.HasSuffix(name, ".log") || name == chainName+".tmp"
		if !ours || slices.ContainsFunc(c.links, func(k link) bool { return k.name() == name }) {
			continue
		}
		if err := l.opt.FS.Remove(filepath.Join(l.opt.Dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func noteTerm(h []TermStart, e *op.Entry) []TermStart {
	if len(h) == 0 || h[len(h)-1].Term != e.Term {
		h = append(h, TermStart{Term: e.Term, First: e.Seq})
	}
	return h
}

func (l *Log) active() *segment { return l.mu.segs[len(l.mu.segs)-1] }

// find returns the index of the segment that holds seq, which must be in the log.
func (l *Log) find(seq topology.Seq) int {
	return sort.Search(len(l.mu.segs), func(i int) bool { return l.mu.segs[i].first > seq }) - 1
}

// First returns the seq of the first entry, or the next one of an empty log.
func (l *Log) First() topology.Seq {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mu.segs[0].first
}

// Last returns the position of the last entry that the log holds or held,
// durable or not; zero if there never was one.
func (l *Log) Last() Position {
	l.mu.RLock()
	defer l.mu.RUnlock()
	seq := l.active().last
	term, _ := line.TermAt(l.mu.history, seq)
	return Position{Term: term, Seq: seq}
}

// Durable returns the greatest seq that no crash can take away.
func (l *Log) Durable() topology.Seq {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mu.durable
}

// Position returns the position of seq, from First()-1 to the last. It reads
// no file. Errors: ErrTruncated, ErrBeyond.
func (l *Log) Position(seq topology.Seq) (Position, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	term, known := line.TermAt(l.mu.history, seq)
	switch {
	case seq > l.active().last:
		return Position{}, fmt.Errorf("entry %d: %w", seq, ErrBeyond)
	case seq+1 < l.mu.segs[0].first, !known && seq > 0:
		return Position{}, fmt.Errorf("entry %d: %w", seq, ErrTruncated)
	}
	return Position{Term: term, Seq: seq}, nil
}

// History returns where each term starts, oldest first, also of entries that
// were truncated from the front (the last thousand of those).
func (l *Log) History() []TermStart {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.mu.history)
}

// Size returns the bytes of all records, in files of at least that size.
func (l *Log) Size() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	total := int64(0)
	for _, s := range l.mu.segs {
		total += s.end
	}
	return total
}

// Close syncs, marks how far the log is durable, and closes the files. After a
// failure it only closes them. Readers get ErrClosed from then on.
func (l *Log) Close() error {
	l.mu.RLock()
	closed, failed := l.mu.closed, l.mu.failed
	l.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	var err error
	if failed == nil {
		if _, err = l.Sync(); err == nil {
			err = l.Mark()
		}
	}
	return errors.Join(err, l.release())
}

func (l *Log) release() error {
	l.mu.Lock()
	l.mu.closed = true
	segs := slices.Clone(l.mu.segs)
	l.mu.Unlock()
	var err error
	for _, s := range segs {
		err = errors.Join(err, s.release())
	}
	return err
}
