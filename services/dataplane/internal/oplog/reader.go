package oplog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/internal/topology"
)

// Reader reads entries in order. It is for one goroutine, needs no closing, and
// survives truncation: it goes on with what the log holds at the next seq.
type Reader struct {
	log  *Log
	next topology.Seq
	seg  *segment
	off  int64
	w    window
}

// Reader returns a reader whose first entry is that of seq from.
func (l *Log) Reader(from topology.Seq) *Reader { return &Reader{log: l, next: from} }

// Next returns the next entry; its body is valid until the following call. At
// the end of the log, durable or not, it returns io.EOF, and may be called again
// when there is more. Errors: ErrTruncated, *CorruptError, ErrClosed; the reader
// stays where it is.
func (r *Reader) Next() (op.Entry, error) {
	for {
		s, k, moved, err := r.acquire()
		if err != nil {
			return op.Entry{}, err
		}
		e, err := r.take(s, k, moved)
		// What fails on closing a file that was only read is of no use to anybody.
		_ = s.release()
		if errors.Is(err, fs.ErrNotExist) {
			if r.log.holds(s) {
				err = s.corrupt(0, "segment file is missing")
			} else {
				continue // removed between acquire and open
			}
		}
		return e, err
	}
}

func (r *Reader) take(s *segment, k link, moved bool) (op.Entry, error) {
	if moved {
		if err := r.seek(s, k); err != nil {
			return op.Entry{}, err
		}
	}
	r.w.limit = k.end
	rec, err := r.record(s, r.off, r.next)
	if err != nil {
		return op.Entry{}, err
	}
	r.off += rec.size
	r.next++
	return rec.entry, nil
}

func (l *Log) holds(s *segment) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Contains(l.mu.segs, s)
}

// acquire finds the segment of the next entry and holds it. moved says that the
// reader's place in it is not known. A place once known stays right: what is
// behind a cut goes to a new segment, never to the same place.
func (r *Reader) acquire() (s *segment, k link, moved bool, err error) {
	l := r.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case l.mu.closed:
		return nil, link{}, false, ErrClosed
	case r.next < l.mu.segs[0].first:
		return nil, link{}, false, fmt.Errorf("entry %d: %w", r.next, ErrTruncated)
	case r.next > l.active().last:
		return nil, link{}, false, io.EOF
	}
	s = l.mu.segs[l.find(r.next)]
	s.refs.Add(1)
	return s, s.link(), s != r.seg, nil
}

// seek moves the reader to its next entry in s.
func (r *Reader) seek(s *segment, k link) error {
	r.seg = nil
	f, p, err := s.open(r.log.opt.FS, k, r.next)
	if err != nil {
		return err
	}
	r.w = window{file: f, limit: k.end, buf: r.w.buf[:0]}
	for p.seq < r.next {
		rec, err := r.record(s, p.off, p.seq)
		if err != nil {
			return err
		}
		p = place{p.seq + 1, p.off + rec.size}
	}
	r.seg, r.off = s, p.off
	return nil
}

func (r *Reader) record(s *segment, off int64, seq topology.Seq) (record, error) {
	rec, err := r.w.record(s.seed, off)
	if err == nil && rec.entry.Seq != seq {
		err = errSeq
	}
	if isBad(err) || errors.Is(err, errSeq) {
		err = s.corrupt(off, err.Error())
	}
	return rec, err
}

// Read returns one entry, which belongs to the caller. A walk is cheaper with a
// Reader. Errors: ErrBeyond, ErrTruncated, *CorruptError, ErrClosed.
func (l *Log) Read(seq topology.Seq) (op.Entry, error) {
	e, err := l.Reader(seq).Next()
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("entry %d: %w", seq, ErrBeyond)
	}
	e.Body = slices.Clone(e.Body)
	return e, err
}

// Verify reads every record of the log again and returns the first damage.
func (l *Log) Verify() error {
	r := l.Reader(l.First())
	for {
		switch _, err := r.Next(); {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, ErrTruncated):
			r.next = l.First()
		case err != nil:
			return err
		}
	}
}
