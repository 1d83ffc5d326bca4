package oplog

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/line"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// roll seals the last segment and starts another one with room for n bytes.
func (l *Log) roll(n int64) error {
	if _, err := l.Sync(); err != nil {
		return err
	}
	s := l.active()
	return l.relink(l.mu.segs, place{s.last, s.end}, s.last+1, l.mu.history, n)
}

// relink replaces the log by the segments in keep, the last of them ending
// behind tail, and a new segment that starts at first with room for n bytes.
// All records of keep up to tail must be durable. The change is durable on
// return; after an error other than ErrFailed nothing has changed.
func (l *Log) relink(keep []*segment, tail place, first topology.Seq, history []TermStart, n int64) error {
	c := l.chainOf(keep, history)
	if len(keep) > 0 {
		k := &c.links[len(keep)-1]
		k.last, k.end = tail.seq, tail.off
	}
	k := link{serial: c.serial, first: first}
	c.links = append(c.links, k)
	c.serial, c.floor = c.serial+1, segHead
	fsys := l.opt.FS
	made, err := createSegment(fsys, l.opt.Dir, &c, k, max(l.opt.SegmentBytes, segHead+n))
	if err != nil {
		return l.refuse(err)
	}
	if err := vfs.SyncDir(fsys, l.opt.Dir); err != nil {
		return errors.Join(l.fail(err), made.release())
	}
	if err := l.commit(&c); err != nil {
		if !errors.Is(err, ErrFailed) {
			err = errors.Join(err, fsys.Remove(made.path))
		}
		return errors.Join(err, made.release())
	}
	l.swap(keep, tail, made, c.history)
	return nil
}

// swap shows the new order of things to readers and drops what is no part of it.
func (l *Log) swap(keep []*segment, tail place, made *segment, history []TermStart) {
	l.mu.Lock()
	old := l.mu.segs
	l.mu.segs = append(slices.Clone(keep), made)
	l.mu.history = slices.Clone(history)
	l.mu.durable = made.last
	if len(keep) > 0 {
		s := keep[len(keep)-1]
		s.sealed, s.last, s.end = true, tail.seq, tail.off
	}
	l.mu.Unlock()
	if len(keep) > 0 {
		keep[len(keep)-1].trim()
	}
	l.drop(old[len(keep):])
}

// drop removes segments that the chain no longer names. What cannot be removed
// now is removed by the next Open.
func (l *Log) drop(segs []*segment) {
	for _, s := range segs {
		_ = l.opt.FS.Remove(s.path)
		_ = s.release()
	}
}

// TruncateFront removes entries up to and including upto, as far as whole
// segments allow; the one written to stays. History and Position(First()-1) stay
// known.
func (l *Log) TruncateFront(upto topology.Seq) error {
	if err := l.ready(); err != nil {
		return err
	}
	n := 0
	for n < len(l.mu.segs)-1 && l.mu.segs[n].last <= upto {
		n++
	}
	if n == 0 {
		return nil
	}
	c := l.chainOf(l.mu.segs[n:], l.mu.history)
	if err := l.commit(&c); err != nil {
		return err
	}
	l.mu.Lock()
	gone := l.mu.segs[:n]
	l.mu.segs = slices.Clone(l.mu.segs[n:])
	l.mu.history = slices.Clone(c.history)
	l.mu.Unlock()
	l.drop(gone)
	return nil
}

// TruncateBack removes all entries after seq `after`, durably before it returns
// (C6). The rest of the log is durable then, too. A crash leaves the log as it
// was or cut. Errors: ErrTruncated, *CorruptError, ErrNoSpace, ErrFailed.
func (l *Log) TruncateBack(after topology.Seq) error {
	if err := l.ready(); err != nil {
		return err
	}
	if after >= l.active().last {
		_, err := l.Sync()
		return err
	}
	if after+1 < l.mu.segs[0].first {
		return fmt.Errorf("%s: cut after entry %d: %w", l.opt.Dir, after, ErrTruncated)
	}
	history := l.mu.history
	for len(history) > 0 && history[len(history)-1].First > after {
		history = history[:len(history)-1]
	}
	keep := l.mu.segs[:l.find(after)+1]
	tail := place{seq: after}
	if len(keep) > 0 {
		var err error
		if tail.off, err = l.endOf(keep[len(keep)-1], after); err != nil {
			return err
		}
	}
	return l.relink(keep, tail, after+1, history, 0)
}

// endOf makes s durable and returns the offset behind the record of seq.
func (l *Log) endOf(s *segment, seq topology.Seq) (int64, error) {
	if !s.sealed {
		if _, err := l.Sync(); err != nil {
			return 0, err
		}
	}
	if seq == s.last {
		return s.end, nil
	}
	r := Reader{log: l, next: seq}
	if _, err := r.Next(); err != nil {
		return 0, err
	}
	return r.off, nil
}

// Reset drops all entries and lets the log go on after pos, as when a snapshot
// at pos was installed (C6a). history is that of the snapshot, oldest first; nil
// means that nothing is known before pos. Durable on return; a crash leaves the
// log as it was or empty at pos.
func (l *Log) Reset(pos Position, history []TermStart) error {
	if err := l.ready(); err != nil {
		return err
	}
	if history == nil && pos.Seq > 0 {
		history = []TermStart{{Term: pos.Term, First: pos.Seq}}
	}
	if term, _ := line.TermAt(history, pos.Seq); term != pos.Term || !line.Ordered(history) ||
		(len(history) > 0 && history[len(history)-1].First > pos.Seq) {
		return fmt.Errorf("%s: reset to entry %d: %w: the history is of another position", l.opt.Dir, pos.Seq, ErrOrder)
	}
	return l.relink(nil, place{}, pos.Seq+1, history, 0)
}
