package flat

import (
	"context"
	"errors"
	"sync"

	"github.com/pandodb/pando/services/dataplane/internal/index"
	"github.com/pandodb/pando/services/dataplane/internal/index/rank"
	"github.com/pandodb/pando/services/internal/vfs"
)

// blockRows is the greatest number of rows that are scored at once.
const blockRows = 1024

// share is the least number of floats that is worth a goroutine of its own.
const share = 1 << 20

// scratch is what a goroutine needs to scan: reused, so that a search allocates
// nothing per row.
type scratch struct {
	vecs []rank.Probe
	tops []rank.Top
	raws [blockRows]float32
	live [blockRows / 64]uint64
	one  [1]index.Query
}

// size makes room for n queries, keeping the buffers inside.
func (s *scratch) size(n int) {
	for len(s.vecs) < n {
		s.vecs = append(s.vecs, rank.Probe{})
		s.tops = append(s.tops, rank.Top{})
	}
}

// putBack returns s to the pool without what it knows of n queries.
func (x *Index) putBack(s *scratch, n int) {
	for i := range min(n, len(s.tops)) {
		s.tops[i].Release()
		s.vecs[i].Release()
	}
	s.one[0] = index.Query{}
	x.scratch.Put(s)
}

// Search appends the best rows of one query to dst.
func (x *Index) Search(ctx context.Context, q *index.Query, dst []index.Hit) ([]index.Hit, error) {
	s := x.scratch.Get().(*scratch)
	defer x.putBack(s, 1)
	s.one[0] = *q
	if err := x.search(ctx, s, s.one[:]); err != nil {
		return dst, err
	}
	return s.tops[0].Drain(dst), nil
}

// SearchBatch reads each chunk once for all queries.
func (x *Index) SearchBatch(ctx context.Context, qs []index.Query) ([][]index.Hit, error) {
	s := x.scratch.Get().(*scratch)
	defer x.putBack(s, len(qs))
	if err := x.search(ctx, s, qs); err != nil {
		return nil, err
	}
	out := make([][]index.Hit, len(qs))
	for i := range qs {
		out[i] = s.tops[i].Drain(make([]index.Hit, 0, s.tops[i].Len()))
	}
	return out, nil
}

// search leaves the results of qs in s.tops.
func (x *Index) search(ctx context.Context, s *scratch, qs []index.Query) (err error) {
	s.size(len(qs))
	live := x.Len()
	for i := range qs {
		q := &qs[i]
		if err = rank.Check(q, x.dim); err != nil {
			return err
		}
		s.vecs[i].Take(&x.metric, x.form, q)
		n := live
		if q.Rows != nil {
			n = len(q.Rows)
		}
		s.tops[i].Reset(&x.metric, q, n)
	}
	for i := range qs {
		if qs[i].Rows != nil {
			if err := x.pick(ctx, s, i, qs[i].Rows); err != nil {
				return err
			}
		}
	}
	chunks := *x.chunks.Load()
	if n := min(x.workers, live/max(1, share/x.dim), len(chunks)); n > 1 {
		return x.spread(ctx, s, qs, chunks, n)
	}
	return x.scan(ctx, s, qs, chunks, 0)
}

// spread scans in n goroutines, all of which end before it does, and gathers
// their results in s.tops.
func (x *Index) spread(ctx context.Context, s *scratch, qs []index.Query, chunks []*chunk, n int) error {
	var asking sync.Mutex // Accept is called by one goroutine at a time
	parts := make([]*scratch, n)
	errs := make([]error, n)
	var group vfs.Group
	for w := range parts {
		part := x.scratch.Get().(*scratch)
		part.size(len(qs))
		for i := range qs {
			part.vecs[i].Take(&x.metric, x.form, &qs[i])
			t := &part.tops[i]
			t.Reset(&x.metric, &qs[i], s.tops[i].K)
			if accept := qs[i].Accept; accept != nil {
				t.Accept = func(row uint32) bool {
					asking.Lock()
					defer asking.Unlock()
					return accept(row)
				}
			}
		}
		parts[w] = part
		from, to := w*len(chunks)/n, (w+1)*len(chunks)/n
		group.Go(func() { errs[w] = x.scan(ctx, part, qs, chunks[from:to], from) })
	}
	group.Wait()
	for _, part := range parts {
		for i := range qs {
			s.tops[i].Merge(&part.tops[i])
		}
		x.putBack(part, len(qs))
	}
	return errors.Join(errs...)
}

// pick offers query i's own rows.
func (x *Index) pick(ctx context.Context, s *scratch, i int, rows []uint32) error {
	t, last := &s.tops[i], index.MaxRow+1 // none yet
	for n, row := range rows {
		if n%blockRows == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if row == last {
			continue
		}
		last = row
		if c, r := x.at(row); c != nil {
			if raw, ok := x.scoreOne(c, &s.vecs[i], r, s); ok {
				t.Offer(row, raw)
			}
		}
	}
	return nil
}

// scan offers the rows of chunks, the first of which has number first, to those
// of qs that have no rows of their own.
func (x *Index) scan(ctx context.Context, s *scratch, qs []index.Query, chunks []*chunk, first int) error {
	rows := min(blockRows, 1<<x.shift)
	for ci, c := range chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		base := uint32(first+ci) << x.shift
		for from, more := 0, true; more && from < 1<<x.shift; from += rows {
			more = false
			for i := range qs {
				if qs[i].Rows != nil || s.tops[i].K == 0 {
					continue
				}
				n := x.score(c, &s.vecs[i], from, rows, s)
				s.tops[i].Block(base+uint32(from), s.raws[:n], s.live[:])
				more = more || n == rows
			}
		}
	}
	return nil
}
