package shard

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pandodb/pando/services/dataplane/internal/query"
	"github.com/pandodb/pando/services/dataplane/internal/segment"
	"github.com/pandodb/pando/services/dataplane/internal/shard/job"
	"github.com/pandodb/pando/services/dataplane/internal/shard/sealed"
	"github.com/pandodb/pando/services/internal/vfs"
)

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
		ended   [workers]bool // it makes nothing any more
		changed chan struct{} // closed and replaced with every change of idle
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
		idle, ended, changed := w.mu.idle, w.mu.ended, w.mu.changed
		w.mu.Unlock()
		switch {
		case idle != [workers]bool{true, true}:
		case ended == [workers]bool{}:
			return nil
		default:
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
func (w *worker) tell(idle [workers]bool) {
	if w.mu.idle == idle || w.mu.changed == nil {
		return
	}
	w.mu.idle = idle
	close(w.mu.changed)
	w.mu.changed = make(chan struct{})
}

// wake tells the workers that there may be something to do.
func (s *Shard) wake() {
	w := &s.work
	w.mu.Lock()
	w.tell(w.mu.ended)
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
		w.mu.ended[which] = true
		idle := w.mu.idle
		idle[which] = true
		w.tell(idle)
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
		w.tell(idle)
	}
}

// due is the first job of a worker, nil: there is none, and the settings.
func (s *Shard) due(which int) (*job.Job, query.Settings, error) {
	s.apply.Lock()
	defer s.apply.Unlock()
	for _, j := range s.apply.jobs {
		if workerOf(j) == which {
			return j, s.apply.settings, s.store.Err()
		}
	}
	return nil, s.apply.settings, s.store.Err()
}

// workerOf a job: one of tails alone is for sealing.
func workerOf(j *job.Job) int {
	for i := range j.Sources {
		if _, waits := j.Sources[i].Generation(); !waits {
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
func (s *Shard) perform(ctx context.Context, j *job.Job, settings query.Settings) error {
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

func (s *Shard) make(ctx context.Context, j *job.Job, settings query.Settings) (err error) {
	settings.Schema = j.Schema
	n := 0
	for i := range j.Sources {
		n += j.Sources[i].Living()
	}
	var made *sealed.Part
	if n > 0 {
		if made, err = s.write(ctx, j, n, settings); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, made.Release()) }()
		if workerOf(j) == optimizing {
			if made, err = s.completeMerge(ctx, j, made, settings); err != nil {
				return err
			}
		}
	}
	return s.install(j, made, settings)
}

// write makes the segment of a job, of n points.
func (s *Shard) write(ctx context.Context, j *job.Job, n int, settings query.Settings) (*sealed.Part, error) {
	if workerOf(j) == optimizing {
		_, release, err := s.opts.Background.Take(ctx, 1)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	return s.segments.Write(ctx, segment.Spec{Part: j.Number, Earlier: j.Earlier, Trim: j.Trim}, n, j.Points(s.store), settings)
}
