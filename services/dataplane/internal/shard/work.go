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
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/dataplane/internal/shard/store"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// job makes a segment out of the rows of sources that were alive at its entry.
type job struct {
	number  topology.Seq
	earlier []topology.Seq // stages before the last (segment.Stages)
	sources []input
	// schema is that of its entry, as far as a restart remembers it, so that replicas
	// make equal files; trim: vectors that are not in it are left out.
	schema []query.VectorSchema
	trim   bool
}

// input is a source of a job without the rows that were dead.
type input struct {
	*sealed.Part
	dead  *roaring.Bitmap
	stage int // of its rows in the part that is made; or manifest.Keep
}

// inputOf takes the rows of p that are alive now.
func inputOf(p *sealed.Part) input {
	in := input{Part: p, dead: roaring.New()}
	p.Dead.Each(func(row uint32, _ uint64) { in.dead.Add(row) })
	return in
}

// Two goroutines make things in the background, each one at a time: one turns tails
// that were sealed into segments, which keeps memory bounded and waits for no budget;
// the other merges and makes what is derived from segments. A third one scrubs.
const (
	sealing = iota
	optimizing
	workers
)

type worker struct {
	news   [workers]chan struct{} // cap 1
	cancel context.CancelFunc
	done   sync.WaitGroup
	// writing is held, shared, while there are files that no manifest names yet.
	writing sync.RWMutex

	mu struct {
		sync.Mutex
		idle    [workers]bool // nothing was left to make, and there are no news
		stopped bool          // something is not made any more
		changed chan struct{} // closed and replaced with every change of both
	}
}

// retryWork is how long a full disk is left alone.
const retryWork = time.Second

func (s *Shard) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.work.mu.changed = make(chan struct{})
	s.work.cancel = cancel
	s.work.done.Go(func() { s.toil(ctx, sealing, s.sealNext) })
	s.work.done.Go(func() { s.toil(ctx, optimizing, s.optimizeNext) })
	s.work.done.Go(func() {
		if err := s.scrub.Run(ctx); err != nil {
			_ = s.store.Fail(err)
		}
	})
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
		case idle == [workers]bool{true, true}:
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
func (w *worker) tell(idle [workers]bool, stopped bool) {
	if w.mu.idle == idle && w.mu.stopped == stopped || w.mu.changed == nil {
		return
	}
	w.mu.idle, w.mu.stopped = idle, stopped
	close(w.mu.changed)
	w.mu.changed = make(chan struct{})
}

// wake tells the workers that there may be something to do.
func (s *Shard) wake() {
	w := &s.work
	w.mu.Lock()
	w.tell([workers]bool{}, w.mu.stopped)
	w.mu.Unlock()
	for _, news := range w.news {
		select {
		case news <- struct{}{}:
		default:
		}
	}
}

// toil makes one thing after the other; next tells whether there was one.
func (s *Shard) toil(ctx context.Context, which int, next func(context.Context) (bool, error)) {
	w := &s.work
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.tell([workers]bool{}, true)
	}()
	again := time.NewTimer(retryWork)
	defer again.Stop()
	made := false // since it was kept
	for {
		var busy bool
		var err error
		if fault := vfs.Guard(func() { busy, err = next(ctx) }); fault != nil {
			err = fault
		}
		if made = made || busy; made && !busy && err == nil {
			var kept bool
			kept, err = s.keep()
			made = !kept
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
			s.rest(which)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.news[which]:
		case <-again.C:
		}
	}
}

// keep makes what was made durable and removes what it replaced, unless the other
// worker is writing, who will. Until then a restart makes it again; and where nobody
// writes, nobody else may call Checkpoint for long.
func (s *Shard) keep() (bool, error) {
	if !s.work.writing.TryLock() {
		return false, nil
	}
	defer s.work.writing.Unlock()
	_, err := s.checkpoint(true)
	return err == nil, err
}

// rest tells that nothing was left to make, unless there are news.
func (s *Shard) rest(which int) {
	s.apply.Lock() // what wakes has it
	defer s.apply.Unlock()
	w := &s.work
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.news[which]) == 0 {
		idle := w.mu.idle
		idle[which] = true
		w.tell(idle, w.mu.stopped)
	}
}

// due is the first job of a worker, nil: there is none, and the settings.
func (s *Shard) due(which int) (*job, query.Settings, error) {
	s.apply.Lock()
	defer s.apply.Unlock()
	for _, j := range s.apply.jobs {
		if j.worker() == which {
			return j, s.apply.settings, s.store.Err()
		}
	}
	return nil, s.apply.settings, s.store.Err()
}

// worker of a job: one of tails alone is for sealing.
func (j *job) worker() int {
	for i := range j.sources {
		if _, waits := j.sources[i].Generation(); !waits {
			return optimizing
		}
	}
	return sealing
}

// sealNext makes a segment of sealed tails; false: there are none.
func (s *Shard) sealNext(ctx context.Context) (bool, error) {
	j, settings, err := s.due(sealing)
	if j == nil || err != nil {
		return false, err
	}
	return true, s.perform(ctx, j, settings)
}

// optimizeNext makes again what was lost, also where nothing else is made, does a merge,
// or makes what is derived from a segment; false: there is nothing to do.
func (s *Shard) optimizeNext(ctx context.Context) (bool, error) {
	j, settings, err := s.due(optimizing)
	if err != nil {
		return false, err
	}
	if mended, err := s.mend(ctx); mended || err != nil {
		return mended, err
	}
	if j == nil {
		if moved, err := s.move(ctx, settings); moved || err != nil {
			return moved, err
		}
		return s.derive(ctx, settings)
	}
	return true, s.perform(ctx, j, settings)
}

// perform makes the segment of a job.
func (s *Shard) perform(ctx context.Context, j *job, settings query.Settings) error {
	s.work.writing.RLock()
	defer s.work.writing.RUnlock()
	err := s.make(ctx, j, settings)
	s.apply.Lock()
	defer s.apply.Unlock()
	if !slices.Contains(s.apply.jobs, j) {
		return nil // a merge took it over meanwhile, and what it was to be made of
	}
	return err
}

func (s *Shard) make(ctx context.Context, j *job, settings query.Settings) (err error) {
	settings.Schema = j.schema
	n := 0
	for i := range j.sources {
		n += j.sources[i].alive()
	}
	var made *sealed.Part
	if n > 0 {
		if made, err = s.write(ctx, j, n, settings); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, made.Release()) }()
		if j.worker() == optimizing {
			if made, err = s.completeMerge(ctx, j, made, settings); err != nil {
				return err
			}
		}
	}
	return s.install(j, made, settings)
}

// write makes the segment of a job, of n points.
func (s *Shard) write(ctx context.Context, j *job, n int, settings query.Settings) (*sealed.Part, error) {
	if j.worker() == optimizing {
		_, release, err := s.opts.Background.Take(ctx, 1)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	return s.segments.Write(ctx, segment.Spec{Part: j.number, Earlier: j.earlier, Trim: j.trim}, n, s.points(j), settings)
}

// points are the points that were alive at the job's entry, by id.
func (s *Shard) points(j *job) iter.Seq2[segment.Row, error] {
	return func(yield func(segment.Row, error) bool) {
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
	p    segment.Row
	err  error
	next func() (segment.Row, error, bool)
	stop func()
}

func (h *head) step() (ok bool) {
	h.p, h.err, ok = h.next()
	return ok
}

// alive are the points of a source that were alive at the job's entry, by id.
func (s *Shard) alive(in *input) iter.Seq2[segment.Row, error] {
	return func(yield func(segment.Row, error) bool) {
		var p point.Point
		out := segment.Row{Point: &p}
		gen, waits := in.Generation()
		if !waits {
			for row := range uint32(in.Rows()) {
				if in.dead.Contains(row) {
					continue
				}
				var err error
				if fault := vfs.Guard(func() { // whoever pulls is another goroutine
					err, out.Stage = in.Stored(row, &p), in.stageOf(row)
				}); fault != nil {
					err = fault
				}
				if !yield(out, err) || err != nil {
					return
				}
			}
			return
		}
		out.Stage = uint8(in.stage)
		err := s.store.Scan(store.Generation(nil, gen), store.Generation(nil, gen+1), func(key, v []byte) error {
			id, err := topology.DecodePointID(key[store.TailHead:])
			if err != nil || in.dies(id) {
				return err
			}
			if p, err = point.Decode(id, v); err != nil {
				return store.Damaged(err)
			}
			if !yield(out, nil) {
				return store.ErrEnough
			}
			return nil
		})
		if err != nil {
			yield(out, err)
		}
	}
}
