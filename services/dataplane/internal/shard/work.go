package shard

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// job makes a segment out of the rows of sources that were alive at its entry.
type job struct {
	number  topology.Seq
	sources []input
}

// input is a source of a job without the rows that were dead.
type input struct {
	*sealed.Part
	dead *roaring.Bitmap
}

// inputOf takes the rows of p that are alive now.
func inputOf(p *sealed.Part) input {
	in := input{Part: p, dead: roaring.New()}
	p.Dead.Each(func(row uint32, _ uint64) { in.dead.Add(row) })
	return in
}

// worker makes segments in one goroutine and what is derived from them in another:
// tails must not wait in memory for as long as a graph takes.
type worker struct {
	news   [lanes]chan struct{} // cap 1
	cancel context.CancelFunc
	done   sync.WaitGroup
	// writing is held while there are files that no manifest names yet.
	writing sync.Mutex

	mu struct {
		sync.Mutex
		idle    [lanes]bool   // nothing was left to make, and there are no news
		stopped bool          // nothing is made any more
		changed chan struct{} // closed and replaced with every change of both
	}
}

// lane is one of the two.
type lane int

const (
	making lane = iota
	deriving
	lanes
)

// retryWork is how long a full disk is left alone.
const retryWork = time.Second

func (s *Shard) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.work.mu.changed = make(chan struct{})
	s.work.cancel = cancel
	s.work.done.Go(func() { s.toil(ctx, making, s.build) })
	s.work.done.Go(func() { s.toil(ctx, deriving, s.derive) })
}

func (s *Shard) stop() {
	s.work.cancel()
	s.work.done.Wait()
}

// Settle waits until all segments, and all that is derived from them, are made that
// the applied entries ask for. Errors: ctx's, ErrClosed, ErrFailed and the like where
// nothing is made any more.
func (s *Shard) Settle(ctx context.Context) error {
	for {
		w := &s.work
		w.mu.Lock()
		idle, stopped, changed := w.mu.idle, w.mu.stopped, w.mu.changed
		w.mu.Unlock()
		switch {
		case idle == [lanes]bool{true, true}:
			return nil
		case stopped:
			return cmp.Or(s.store.Err(), ErrClosed)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// tell sets what Settle waits for.
func (w *worker) tell(idle [lanes]bool, stopped bool) {
	if w.mu.idle == idle && w.mu.stopped == stopped || w.mu.changed == nil {
		return
	}
	w.mu.idle, w.mu.stopped = idle, stopped
	close(w.mu.changed)
	w.mu.changed = make(chan struct{})
}

// wake tells both lanes that there may be something to do.
func (s *Shard) wake() {
	w := &s.work
	w.mu.Lock()
	w.tell([lanes]bool{}, w.mu.stopped)
	w.mu.Unlock()
	for _, news := range w.news {
		select {
		case news <- struct{}{}:
		default:
		}
	}
}

// toil makes one thing after the other; once answers false when there is none.
func (s *Shard) toil(ctx context.Context, l lane, once func(context.Context) (bool, error)) {
	w := &s.work
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.tell([lanes]bool{}, true)
	}()
	again := time.NewTimer(retryWork)
	defer again.Stop()
	made := false // since the last checkpoint
	for {
		var busy bool
		var err error
		if fault := vfs.Guard(func() { busy, err = once(ctx) }); fault != nil {
			err = fault
		}
		if made = made || busy; made && !busy && err == nil {
			if err = s.keep(); err == nil {
				made = false
			}
		}
		again.Stop()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && vfs.IsNoSpace(err), errors.Is(err, ErrNoSpace):
			again.Reset(retryWork)
		case err != nil:
			_ = s.store.Fail(err)
			return
		case busy:
			continue
		default:
			s.rest(l)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.news[l]:
		case <-again.C:
		}
	}
}

// keep makes what was made durable and removes what it replaced. Until then a restart
// makes it again; and where nobody writes, nobody else may call Checkpoint for long.
func (s *Shard) keep() error {
	s.work.writing.Lock()
	defer s.work.writing.Unlock()
	_, err := s.checkpoint(true)
	return err
}

// rest tells that nothing was left to make, unless there are news.
func (s *Shard) rest(l lane) {
	s.apply.Lock() // what wakes has it
	defer s.apply.Unlock()
	w := &s.work
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.news[l]) == 0 {
		idle := w.mu.idle
		idle[l] = true
		w.tell(idle, w.mu.stopped)
	}
}

// build makes the first part that is to be made; false: there is none.
func (s *Shard) build(ctx context.Context) (bool, error) {
	s.apply.Lock()
	jobs, settings := s.apply.jobs, s.apply.settings
	s.apply.Unlock()
	if err := s.store.Err(); err != nil || len(jobs) == 0 {
		return false, err
	}
	return true, s.perform(ctx, jobs[0], settings)
}

// perform makes the segment of a job.
func (s *Shard) perform(ctx context.Context, j *job, settings query.Settings) (err error) {
	if !j.seals() {
		release, err := s.admit(ctx)
		if err != nil {
			return err
		}
		defer release()
	}
	s.work.writing.Lock()
	defer s.work.writing.Unlock()
	n := 0
	for i := range j.sources {
		n += j.sources[i].alive()
	}
	var made *sealed.Part
	if n > 0 {
		if made, err = s.segments.Write(ctx, j.number, n, s.points(j), settings); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, made.Release()) }()
	}
	return s.install(j, made, settings)
}

// seals tells that the job is of a tail, which is quick and gives memory free.
func (j *job) seals() bool {
	_, waits := j.sources[0].Generation()
	return waits && len(j.sources) == 1
}

// admit waits for a place among those that work in the background.
func (s *Shard) admit(ctx context.Context) (release func(), err error) {
	if s.opts.Background == nil {
		return func() {}, nil
	}
	select {
	case s.opts.Background <- struct{}{}:
		return func() { <-s.opts.Background }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// points are the points that were alive at the job's entry, by id.
func (s *Shard) points(j *job) iter.Seq2[*point.Point, error] {
	return func(yield func(*point.Point, error) bool) {
		var heads []*head
		defer func() {
			for _, h := range heads {
				h.stop()
			}
		}()
		for i := range j.sources {
			h := &head{}
			h.next, h.stop = iter.Pull2(s.alive(&j.sources[i]))
			if h.step() {
				heads = append(heads, h)
			} else {
				h.stop()
			}
		}
		for len(heads) > 0 {
			least := 0
			for i, h := range heads[1:] {
				if heads[least].err == nil && (h.err != nil || h.p.ID.Compare(heads[least].p.ID) < 0) {
					least = i + 1
				}
			}
			h := heads[least]
			if !yield(h.p, h.err) || h.err != nil {
				return
			}
			if !h.step() {
				h.stop()
				heads = slices.Delete(heads, least, least+1)
			}
		}
	}
}

// head is the next point of a source.
type head struct {
	p    *point.Point
	err  error
	next func() (*point.Point, error, bool)
	stop func()
}

func (h *head) step() (ok bool) {
	h.p, h.err, ok = h.next()
	return ok
}

// alive are the points of a source that were alive at the job's entry, by id.
func (s *Shard) alive(in *input) iter.Seq2[*point.Point, error] {
	return func(yield func(*point.Point, error) bool) {
		var p point.Point
		gen, waits := in.Generation()
		if !waits {
			for row := range uint32(in.Rows()) {
				if in.dead.Contains(row) {
					continue
				}
				var err error
				if fault := vfs.Guard(func() { err = in.Stored(row, &p) }); fault != nil { // whoever pulls is another goroutine
					err = fault
				}
				if !yield(&p, err) || err != nil {
					return
				}
			}
			return
		}
		err := s.store.Scan(store.Generation(nil, gen), store.Generation(nil, gen+1), func(key, v []byte) error {
			id, err := topology.DecodePointID(key[store.TailHead:])
			if err != nil || in.dies(id) {
				return err
			}
			if p, err = point.Decode(id, v); err != nil {
				return store.Damaged(err)
			}
			if !yield(&p, nil) {
				return store.ErrEnough
			}
			return nil
		})
		if err != nil {
			yield(&p, err)
		}
	}
}
