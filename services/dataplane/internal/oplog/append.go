package oplog

import (
	"errors"
	"fmt"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

const (
	// zeroAhead is how far small appends write zeros ahead of themselves: a sync
	// that only overwrites is about twice as fast as one into fresh space.
	zeroAhead = 256 << 10
	// zeroLimit is the size of an append from which that does not pay.
	zeroLimit = 64 << 10
	// keepBuffer is the greatest buffer that is kept between appends.
	keepBuffer = 4 << 20
)

// ready returns why the log takes no writes, if so.
func (l *Log) ready() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.mu.closed {
		return ErrClosed
	}
	return l.mu.failed
}

// fail ends all writing for good.
func (l *Log) fail(cause error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.failed == nil {
		l.mu.failed = fmt.Errorf("%s: %w: %w", l.opt.Dir, ErrFailed, cause)
	}
	return l.mu.failed
}

// refuse is for errors that left the log as it was: ErrNoSpace if that is what
// they mean, the end of all writing otherwise.
func (l *Log) refuse(err error) error {
	if vfs.IsNoSpace(err) && !errors.Is(err, vfs.ErrUncertain) {
		return fmt.Errorf("%s: %w", l.opt.Dir, spaceErr(err))
	}
	return l.fail(err)
}

// Append writes entries to the end of the log: all of them or, on any error but
// ErrFailed, none, and none of them will ever be found in it. They can be read
// at once and are durable after the next Sync. Bodies are copied.
//
// Errors: ErrOrder, ErrTooLarge, ErrNoSpace, ErrFailed, ErrClosed.
func (l *Log) Append(entries []op.Entry) error {
	if err := l.ready(); err != nil || len(entries) == 0 {
		return err
	}
	n, err := l.admit(entries)
	if err != nil {
		return err
	}
	if err := l.makeRoom(n); err != nil {
		return err
	}
	s := l.active()
	if cap(l.buf) > keepBuffer {
		l.buf = nil
	}
	b, off := l.buf[:0], s.end
	for i := range entries {
		b = appendRecord(b, s.seed, off+int64(len(b)), s.synced, &entries[i])
	}
	zeroed := max(s.zeroed, off+n)
	if off+n > s.zeroed && n < zeroLimit {
		zeroed = min(off+n+zeroAhead, s.size)
		b = append(b, make([]byte, zeroed-off-n)...)
	}
	l.buf = b
	if _, err := s.mu.file.WriteAt(b, off); err != nil {
		return l.undo(s, err)
	}
	s.zeroed = zeroed
	l.publish(s, entries, n)
	return nil
}

// admit checks that entries continue the log and returns their size on disk.
func (l *Log) admit(entries []op.Entry) (int64, error) {
	last := l.Last()
	total := int64(0)
	for i := range entries {
		e := &entries[i]
		if e.Seq != last.Seq+1 || e.Term.Less(last.Term) {
			return 0, fmt.Errorf("%s: %w: entry %d of (%d, %d) after entry %d of (%d, %d)", l.opt.Dir, ErrOrder,
				e.Seq, e.Epoch, e.Run, last.Seq, last.Epoch, last.Run)
		}
		if len(e.Body) > op.MaxBody {
			return 0, fmt.Errorf("%s: entry %d: %w: a body of %d bytes", l.opt.Dir, e.Seq, ErrTooLarge, len(e.Body))
		}
		last = Position{Term: e.Term, Seq: e.Seq}
		total += recordSize(len(e.Body))
	}
	if total > MaxBatch {
		return 0, fmt.Errorf("%s: %w: a batch of %d bytes", l.opt.Dir, ErrTooLarge, total)
	}
	return total, nil
}

// publish shows what was written to readers.
func (l *Log) publish(s *segment, entries []op.Entry, n int64) {
	s.mu.Lock()
	off := s.end
	for i := range entries {
		s.mu.index = noteRecord(s.mu.index, entries[i].Seq, off)
		off += recordSize(len(entries[i].Body))
	}
	s.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	s.end += n
	s.last = entries[len(entries)-1].Seq
	for i := range entries {
		l.mu.history = noteTerm(l.mu.history, &entries[i])
	}
}

// makeRoom lets n bytes follow the end of the last segment. Batches are not
// split, so a full disk is noticed before anything is written.
func (l *Log) makeRoom(n int64) error {
	s := l.active()
	switch {
	case s.end+n <= s.size:
		return nil
	case s.end > segHead:
		return l.roll(n)
	}
	if err := s.mu.file.Truncate(s.end + n); err != nil {
		return l.refuse(err)
	}
	s.size = s.end + n
	if err := s.mu.file.Preallocate(0, s.size); err != nil {
		return l.refuse(err)
	}
	return nil
}

// undo removes what a failed write may have left, so that it cannot be found
// after a crash and cannot be mistaken for what is appended next.
func (l *Log) undo(s *segment, cause error) error {
	if !vfs.IsNoSpace(cause) {
		return l.fail(cause)
	}
	if err := s.wipe(); err != nil {
		return l.fail(errors.Join(cause, err))
	}
	l.synced(s)
	return l.refuse(cause)
}

func (l *Log) synced(s *segment) {
	s.synced = s.end
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.durable = s.last
}

// Sync makes everything appended durable and returns the last seq. A failed
// sync is final (ErrFailed): the entries after Durable() may be there or not
// when the log is opened again.
func (l *Log) Sync() (topology.Seq, error) {
	if err := l.ready(); err != nil {
		return 0, err
	}
	s := l.active()
	if s.synced < s.end {
		if err := s.mu.file.SyncData(); err != nil {
			return 0, l.fail(err)
		}
		l.synced(s)
	}
	return s.last, nil
}

// Mark notes durably how far the log is durable, if that is not known on the
// disk already. Until then damage to the entries of the last Sync cannot be told
// from a crash during it. It is meant for idle moments; Close does it.
func (l *Log) Mark() error {
	if err := l.ready(); err != nil {
		return err
	}
	s := l.active()
	if s.synced <= l.floor {
		return nil
	}
	c := l.chainOf(l.mu.segs, l.mu.history)
	c.floor = s.synced
	return l.commit(&c)
}

// chainOf describes segs; the last one is the one written to.
func (l *Log) chainOf(segs []*segment, history []TermStart) chain {
	c := chain{log: l.id, shard: l.opt.Shard, serial: l.serial, floor: l.floor}
	for _, s := range segs {
		k := s.link()
		if !s.sealed {
			k.last, k.end = 0, 0
		}
		c.links = append(c.links, k)
	}
	first := topology.Seq(0)
	if len(segs) > 0 {
		first = segs[0].first
	}
	c.history = pruneHistory(history, first)
	return c
}

// commit makes c the chain. When the disk is full it gives back the unused part
// of the last segment first, so that a log can always be truncated.
func (l *Log) commit(c *chain) error {
	err := c.store(l.opt.FS, l.chainPath)
	if vfs.IsNoSpace(err) && !errors.Is(err, vfs.ErrUncertain) && len(l.mu.segs) > 0 {
		if err := l.active().shrink(); err != nil {
			return l.fail(err)
		}
		err = c.store(l.opt.FS, l.chainPath)
	}
	if err != nil {
		return l.refuse(err)
	}
	l.floor, l.serial = c.floor, c.serial
	return nil
}
